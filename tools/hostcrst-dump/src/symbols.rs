//! Names of addresses: `library!symbol+offset`, and for code the source line if there is debug information.

use hostcrst::inspect::{IlPlace, Memory, Picture, Printable};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use elf_names::elf::ProgramHeader;
use object::LittleEndian;
use object::elf::{self, Sym64};
use object::pod;

use crate::core_file::Bytes;
use crate::dotnet;
use crate::elf_file::{Budget, ElfFile, string_at};
use crate::lines::Lines;
use crate::perf_map::PerfMap;
use crate::target::{Mapping, Target, open_regular, read_bytes};
use crate::time_limit::TimeLimit;

/// The files that a target has mapped, each read when first needed.
pub struct Symbols<'a> {
    target: &'a dyn Target,
    time_limit: TimeLimit,
    budget: Budget,
    files: HashMap<PathBuf, Option<Image>>,
    /// What a runtime says of the code that it made, once it was asked for.
    made: Option<Option<PerfMap>>,
    /// What the library has kept of places there.
    places: Option<&'a dyn Places>,
    dotnet: dotnet::Lines,
    /// What was written of addresses, and of those that calls return to.
    written: HashMap<(u64, bool), String>,
}

/// Places at single addresses of code, as a library in the target has kept them.
pub trait Places {
    fn place_at(&self, address: u64) -> Option<String>;
    fn il_place_at(&self, address: u64) -> Option<IlPlace>;
}

impl<M: Memory> Places for Vec<Picture<'_, M>> {
    fn place_at(&self, address: u64) -> Option<String> {
        let place = self.iter().find_map(|picture| picture.place(address))?;
        Some(String::from_utf8_lossy(place.bytes()).into_owned())
    }

    fn il_place_at(&self, address: u64) -> Option<IlPlace> {
        self.iter().find_map(|picture| picture.il_place(address))
    }
}

struct Image {
    file: ElfFile<File>,
    segments: Vec<Segment>,
    functions: Names,
    variables: Names,
    lines: Option<Lines>,
}

/// What is loaded: a part of the file, in memory followed by zeroes.
struct Segment {
    file_offset: u64,
    file_size: u64,
    address: u64,
    size: u64,
}

/// What has names, a table for each list of symbols.
struct Names(Vec<Table>);

struct Table {
    /// By address.
    named: Vec<Named>,
    /// The names, each ended by a zero.
    strings: Rc<[u8]>,
}

struct Named {
    start: u64,
    end: u64,
    name: u32,
}

/// What is read of all files together, and of one list of symbols or of names at most. Larger ones are not looked into.
const MOST_BYTES: u64 = 512 << 20;
const LARGEST_LIST: u64 = 128 << 20;
/// Addresses of which is kept what was written: the same few appear again and again.
const MOST_WRITTEN: usize = 1 << 16;
/// Pieces in which a library is mapped at most.
const MOST_PIECES: usize = 64;
/// What has a name may lie inside others: this many before an address are considered.
const NESTED: usize = 16;
/// Longer names are cut.
const LONGEST_NAME: usize = 512;

impl<'a> Symbols<'a> {
    pub fn new(target: &'a dyn Target, time_limit: TimeLimit) -> Self {
        let budget = Budget::of(MOST_BYTES);
        let (files, written) = (HashMap::new(), HashMap::new());
        let dotnet = dotnet::Lines::default();
        Symbols { target, time_limit, budget, files, made: None, places: None, dotnet, written }
    }

    /// The same, with the places that are known beside.
    pub fn with_places(self, places: &'a dyn Places) -> Self {
        Symbols { places: Some(places), ..self }
    }

    /// Writes what stands at the address; false if that is not known, and the address itself was written.
    pub fn write_address(&mut self, out: &mut dyn Write, address: u64) -> Result<bool, fmt::Error> {
        self.write_code(out, address, false)
    }

    /// The same; of an address that a call returns to, what made the call.
    pub fn write_code(
        &mut self,
        out: &mut dyn Write,
        address: u64,
        is_return: bool,
    ) -> Result<bool, fmt::Error> {
        let mapping = mapping_at(self.target, address);
        if mapping.is_none_or(|mapping| self.image(mapping).is_none()) {
            if let Some(place) = self.places.and_then(|places| places.place_at(address)) {
                write_printable(out, &place)?;
                return self.write_line_of_place(out, address).map(|()| true);
            }
            if let Some((function, distance)) = self.made_at(address, is_return) {
                write_printable(out, &function)?;
                write!(out, "+0x{distance:x}")?;
                return Ok(true);
            }
        }
        let Some(mapping) = mapping else {
            if self.write_label(out, address, "")? {
                return Ok(true);
            }
            write!(out, "0x{address:x}")?;
            return Ok(false);
        };
        if !self.written.contains_key(&(address, is_return)) {
            let text = self.text_of(mapping, address, is_return)?;
            if self.written.len() == MOST_WRITTEN {
                self.written.clear();
            }
            self.written.insert((address, is_return), text);
        }
        out.write_str(&self.written[&(address, is_return)])?;
        Ok(true)
    }

    /// Writes file and line of a place that the library has kept, if they are known.
    pub fn write_line_of_place(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        let Some(place) = self.places.and_then(|places| places.il_place_at(address)) else { return Ok(()) };
        if self.time_limit.is_over() {
            return Ok(());
        }
        let line = self.dotnet.find(self.target, &self.budget, place);
        line.map_or(Ok(()), |(file, line)| write_line(out, &file, line.into()))
    }

    fn text_of(&mut self, mapping: &Mapping, address: u64, is_return: bool) -> Result<String, fmt::Error> {
        let mut text = String::new();
        write_library(&mut text, mapping)?;
        let file_offset = (address - mapping.start).wrapping_add(mapping.file_offset);
        let distance = address.wrapping_sub(mapping.base);
        match self.image(mapping).and_then(|image| Some((image, image.address_of(file_offset)?))) {
            Some((image, address)) => image.write(&mut text, address, is_return, distance)?,
            None => write!(text, "+0x{distance:x}")?,
        }
        Ok(text)
    }

    /// The function of a runtime's making that the address lies in, and how far behind its beginning.
    fn made_at(&mut self, address: u64, is_return: bool) -> Option<(String, u64)> {
        let target = self.target;
        let made = self.made.get_or_insert_with(|| PerfMap::read(target.perf_map()?)).as_ref()?;
        // A call that does not return may be the last instruction of its function.
        let (name, distance) = made.find(if is_return { address.wrapping_sub(1) } else { address })?;
        let end = (0..=LONGEST_NAME.min(name.len())).rev().find(|&end| name.is_char_boundary(end))?;
        Some((name[..end].to_string(), distance + u64::from(is_return)))
    }

    /// Writes an address, and the variable at it if it is one of a library's, or what that memory is called.
    pub fn write_variable(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        write!(out, "0x{address:x}")?;
        let Some(mapping) = mapping_or_tail_at(self.target, address) else {
            return self.write_label(out, address, " ").map(|_| ());
        };
        let distance = address.wrapping_sub(mapping.base);
        let image = if mapping.has_code { self.image(mapping) } else { None };
        let loaded = image.and_then(|image| Some((image, image.loaded_at(distance)?)));
        // What adjoins a library may be other memory.
        if loaded.is_none() && !mapping.holds(address) {
            return Ok(());
        }
        out.write_char(' ')?;
        write_library(out, mapping)?;
        match loaded.and_then(|(image, address)| Some((image.variables.at(address)?, address))) {
            Some(((variable, name), address)) => variable.write(out, name, address),
            None => write!(out, "+0x{distance:x}"),
        }
    }

    /// Writes what the kernel calls the memory there: whether it does.
    fn write_label(&self, out: &mut dyn Write, address: u64, before: &str) -> Result<bool, fmt::Error> {
        let labels = self.target.labels();
        let after = labels.partition_point(|label| label.start <= address);
        let Some(label) = labels[..after].last().filter(|label| address < label.end) else {
            return Ok(false);
        };
        out.write_str(before)?;
        write_printable(out, &String::from_utf8_lossy(&label.text))?;
        write!(out, "+0x{:x}", address - label.start)?;
        Ok(true)
    }

    /// The name of the file that the code address lies in, and of the function there.
    pub fn function_at(&mut self, address: u64) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let mapping = mapping_at(self.target, address)?;
        let file = mapping.file_name().to_vec();
        let file_offset = (address - mapping.start).wrapping_add(mapping.file_offset);
        let function = self.image(mapping).and_then(|image| {
            let (_, name) = image.functions.at(image.address_of(file_offset)?)?;
            Some(name.to_vec())
        });
        Some((file, function))
    }

    /// Whether a file is mapped whose name is of this kind.
    pub fn has_file(&self, is_of_kind: impl Fn(&[u8]) -> bool) -> bool {
        let mut mappings = self.target.mappings().iter();
        mappings.any(|mapping| is_of_kind(mapping.file_name()))
    }

    /// Whether the file that the code address lies in has names of functions at all.
    pub fn knows_functions_at(&mut self, address: u64) -> bool {
        let image = mapping_at(self.target, address).and_then(|mapping| self.image(mapping));
        image.is_some_and(|image| image.functions.0.iter().any(|table| !table.named.is_empty()))
    }

    /// Where the program or library begins in memory that the code address lies in.
    pub fn library_at(&self, code_address: u64) -> Option<u64> {
        mapping_at(self.target, code_address)?;
        self.head_before(code_address)
    }

    /// Address and size of the section with this name in the file of the library that begins there in memory.
    pub fn section_of(&mut self, library: u64, name: &[u8]) -> Option<(u64, u64)> {
        let mapping = mapping_at(self.target, library)?;
        self.image(mapping)?.file.section_extent(name)
    }

    /// Up to `size` bytes of a program or library: from memory, or where that does not have all of them, from its file.
    pub fn image_bytes(&mut self, address: u64, size: u64) -> Option<Vec<u8>> {
        self.budget.take(size)?;
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        let mut there = self.target.read(address, &mut bytes);
        if there < bytes.len() {
            let mapping = mapping_at(self.target, address)?;
            let file_offset = (address - mapping.start).wrapping_add(mapping.file_offset);
            let of_file = self.image(mapping).map(|image| image.file.copy(file_offset, &mut bytes));
            there = of_file.unwrap_or(there);
        }
        bytes.truncate(there);
        (there != 0).then_some(bytes)
    }

    /// So many bytes of code.
    pub fn code_at(&mut self, address: u64, size: usize) -> Option<Vec<u8>> {
        mapping_at(self.target, address).filter(|mapping| !mapping.is_writable)?;
        self.image_bytes(address, size as u64).filter(|bytes| bytes.len() == size)
    }

    /// A pointer in the data of a program or library.
    pub fn pointer_at(&mut self, address: u64) -> Option<u64> {
        let bytes = self.image_bytes(address, 8)?;
        bytes.first_chunk().copied().map(u64::from_le_bytes)
    }

    /// The start of the first mapping of the library there: pieces of one file at rising offsets.
    fn head_before(&self, code_address: u64) -> Option<u64> {
        let mappings = self.target.mappings();
        let after = mappings.partition_point(|mapping| mapping.start <= code_address);
        let mut before = mappings[..after].iter().rev().take(MOST_PIECES);
        let mut head = before.next()?;
        for mapping in before {
            if mapping.path != head.path || mapping.file_offset > head.file_offset {
                break;
            }
            head = mapping;
        }
        (head.file_offset == 0).then_some(head.start)
    }

    fn image(&mut self, mapping: &Mapping) -> Option<&Image> {
        if self.time_limit.is_over() {
            return None;
        }
        if !self.files.contains_key(&mapping.path) {
            let image = Image::open(self.target, mapping, &self.budget, self.time_limit);
            self.files.insert(mapping.path.clone(), image);
        }
        self.files.get(&mapping.path)?.as_ref()
    }
}

/// The mapping that the address lies in.
fn mapping_at(target: &dyn Target, address: u64) -> Option<&Mapping> {
    mapping_or_tail_at(target, address).filter(|mapping| mapping.holds(address))
}

/// The same, or the one behind which the address lies in anonymous memory. They come in the order of their addresses, and
/// lie apart.
fn mapping_or_tail_at(target: &dyn Target, address: u64) -> Option<&Mapping> {
    let after = target.mappings().partition_point(|mapping| mapping.start <= address);
    target.mappings()[..after].last().filter(|mapping| address < mapping.tail_end)
}

fn write_library(out: &mut dyn Write, mapping: &Mapping) -> fmt::Result {
    write_printable(out, &String::from_utf8_lossy(mapping.file_name()))
}

impl Segment {
    fn of(header: &ProgramHeader) -> Segment {
        Segment {
            file_offset: header.p_offset.get(LittleEndian),
            file_size: header.p_filesz.get(LittleEndian),
            address: header.p_vaddr.get(LittleEndian),
            size: header.p_memsz.get(LittleEndian),
        }
    }

    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|within| within < self.size)
    }
}

impl Named {
    /// Writes the name, and how far behind its beginning the address is.
    fn write(&self, out: &mut dyn Write, name: &[u8], address: u64) -> fmt::Result {
        out.write_char('!')?;
        write_demangled(out, name)?;
        write!(out, "+0x{:x}", address - self.start)
    }
}

impl Image {
    fn open(target: &dyn Target, mapping: &Mapping, budget: &Budget, time_limit: TimeLimit) -> Option<Image> {
        let elf = ElfFile::open(target.open(mapping)?, budget)?;
        let build_id = elf.build_id(budget);
        // A file that was replaced since would give wrong names. What is in memory says which one it was.
        if let (Some(mapped), Some(build_id)) = (mapped_build_id(target, mapping), &build_id)
            && mapped != *build_id
        {
            return None;
        }
        let segments: Vec<_> = elf.loaded().map(Segment::of).collect();
        let lines = Lines::of(&elf, budget, time_limit);
        let detached = build_id.filter(|_| lines.is_none()).and_then(|id| open_detached(&id, budget));
        let mut images = vec![&elf];
        images.extend(&detached);
        let (functions, variables) = read_names(&images, budget);
        let lines = lines.or_else(|| Lines::of(detached.as_ref()?, budget, time_limit));
        Some(Image { file: elf, segments, functions, variables, lines })
    }

    fn address_of(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = file_offset.checked_sub(segment.file_offset)?;
            (within < segment.file_size).then(|| segment.address.wrapping_add(within))
        })
    }

    /// The address, as the file has it, of what is so far behind the beginning of the file in memory, if that is loaded.
    fn loaded_at(&self, distance: u64) -> Option<u64> {
        let address = self.file.load_address()?.checked_add(distance)?;
        self.segments.iter().any(|segment| segment.holds(address)).then_some(address)
    }

    /// Writes the function and the line at an address, as the file has it; `distance` is how far behind the beginning of the
    /// file in memory that is, which `addr2line` takes.
    fn write(&self, out: &mut dyn Write, address: u64, is_return: bool, distance: u64) -> fmt::Result {
        // A call that does not return may be the last instruction of its function.
        let function = self.functions.at(if is_return { address.wrapping_sub(1) } else { address });
        match function {
            Some((function, name)) => function.write(out, name, address)?,
            None => write!(out, "+0x{distance:x}")?,
        }
        // Inside a function it is where a call returns to: the call is before it.
        let is_start = !is_return && function.is_some_and(|(function, _)| function.start == address);
        let probe = if is_start { address } else { address.saturating_sub(1) };
        let Some((file, line)) = self.lines.as_ref().and_then(|lines| lines.find(probe)) else {
            return Ok(());
        };
        write_line(out, &file, line)
    }
}

/// Writes ` (file:line)`, which must have no other parentheses.
fn write_line(out: &mut dyn Write, file: &str, line: u64) -> fmt::Result {
    out.write_str(" (")?;
    write_printable(out, &file.replace(['(', ')'], "_"))?;
    write!(out, ":{line})")
}

/// The debug information that a distribution packages apart.
fn open_detached(build_id: &[u8], budget: &Budget) -> Option<ElfFile<std::fs::File>> {
    let hex: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (folder, name) = hex.split_at_checked(2)?;
    let path = format!("/usr/lib/debug/.build-id/{folder}/{name}.debug");
    ElfFile::open(open_regular(Path::new(&path))?, budget)
}

/// The names of functions and those of variables in files that belong together.
fn read_names(files: &[&ElfFile<impl Bytes>], budget: &Budget) -> (Names, Names) {
    let (mut functions, mut variables) = (Vec::new(), Vec::new());
    let lists = [(&b".symtab"[..], &b".strtab"[..]), (b".dynsym", b".dynstr")];
    for (file, (list, strings)) in files.iter().flat_map(|file| lists.map(|list| (file, list))) {
        let Some(list) = file.section(list, LARGEST_LIST, budget) else { continue };
        let Some(strings) = file.section(strings, LARGEST_LIST, budget) else { continue };
        let strings: Rc<[u8]> = strings.into();
        for (kind, tables) in [(elf::STT_FUNC, &mut functions), (elf::STT_OBJECT, &mut variables)] {
            tables.push(Table::of_kind(kind, &list, &strings));
        }
    }
    (Names(functions), Names(variables))
}

impl Table {
    fn of_kind(kind: elf::SymbolType, list: &[u8], strings: &Rc<[u8]>) -> Self {
        let symbols =
            pod::slice_from_bytes::<Sym64<LittleEndian>>(list, list.len() / size_of::<Sym64<LittleEndian>>());
        let symbols = symbols.map_or(&[][..], |(symbols, _)| symbols).iter();
        let is_defined = |symbol: &&Sym64<LittleEndian>| {
            symbol.st_type() == kind && symbol.st_shndx.get(LittleEndian) != elf::SHN_UNDEF
        };
        let named = symbols.filter(is_defined).map(|symbol| {
            let start = symbol.st_value.get(LittleEndian);
            let end = start.saturating_add(symbol.st_size.get(LittleEndian).max(1));
            Named { start, end, name: symbol.st_name.get(LittleEndian) }
        });
        let mut named: Vec<_> =
            named.filter(|named| strings.get(named.name as usize).is_some_and(|&first| first != 0)).collect();
        named.sort_by(|one, other| (one.start, other.end).cmp(&(other.start, one.end)));
        Table { named, strings: strings.clone() }
    }

    fn at(&self, address: u64) -> Option<(&Named, &[u8])> {
        let after = self.named.partition_point(|named| named.start <= address);
        let named = self.named[..after].iter().rev().take(NESTED).find(|named| address < named.end)?;
        Some((named, string_at(&self.strings, named.name as usize)))
    }
}

impl Names {
    /// The innermost one; of two that begin at the same address, that of the list which comes first.
    fn at(&self, address: u64) -> Option<(&Named, &[u8])> {
        self.0.iter().rev().filter_map(|table| table.at(address)).max_by_key(|(named, _)| named.start)
    }
}

/// The build id in the mapped copy of the file's head, if that is in memory.
fn mapped_build_id(target: &dyn Target, mapping: &Mapping) -> Option<Vec<u8>> {
    const HEAD: usize = 4096;
    let of_file = |other: &&Mapping| other.path == mapping.path && other.file_offset == 0;
    let head = target.mappings().iter().find(of_file)?;
    let bytes = read_bytes(target, head.start, HEAD)?;
    let elf = ElfFile::parse(&*bytes, &Budget::of(MOST_BYTES))?;
    elf.build_id(&Budget::of(MOST_BYTES))
}

fn write_demangled(out: &mut dyn Write, name: &[u8]) -> fmt::Result {
    let name = String::from_utf8_lossy(name);
    let mut text = Limited(String::new());
    let _ = if let Ok(rust) = rustc_demangle::try_demangle(&name) {
        write!(text, "{rust:#}")
    } else if name.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(name.as_bytes())
    {
        let options = cpp_demangle::DemangleOptions::new();
        let mut demangled = Limited(String::new());
        match symbol.structured_demangle(&mut demangled, &options) {
            Ok(()) => text.write_str(&demangled.0),
            Err(_) => text.write_str(&name),
        }
    } else {
        text.write_str(&name)
    };
    write_printable(out, &text.0)
}

/// A text that ends where a name has become too long.
struct Limited(String);

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST_NAME - self.0.len();
        let fitting = (0..=room.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        self.0.push_str(&text[..fitting]);
        if fitting == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Without what could garble a line or end a quoted text.
pub(crate) fn write_printable(out: &mut dyn Write, text: &str) -> fmt::Result {
    write!(out, "{}", Printable(text.as_bytes()))
}

/// A thread by its name, if that is known, and its id.
pub(crate) fn thread_name(name: &[u8], id: u32) -> String {
    if name.is_empty() { format!("tid={id}") } else { format!("\"{}\" tid={id}", printable(name)) }
}

/// A name that may stand between quotation marks in each of the formats.
pub(crate) fn printable(name: &[u8]) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write_printable(&mut text, &String::from_utf8_lossy(name).replace('\\', "/"));
    text
}
