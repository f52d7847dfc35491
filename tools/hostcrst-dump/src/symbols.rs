//! What stands at an address: `library!symbol+offset`; of code the source line too, where debug information tells.

use hostcrst::inspect::Printable;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gimli::{EndianRcSlice, LittleEndian as Little, SectionId};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

use crate::target::{Mapping, Target, open_regular, read_bytes};

/// The files that a target has mapped, each read when first needed.
pub struct Symbols<'a> {
    target: &'a dyn Target,
    files: HashMap<PathBuf, Option<Image>>,
}

struct Image {
    segments: Vec<Segment>,
    functions: Names,
    variables: Names,
    lines: Option<addr2line::Context<EndianRcSlice<Little>>>,
}

/// What is loaded: a part of the file, in memory followed by zeroes.
struct Segment {
    file_offset: u64,
    file_size: u64,
    address: u64,
    size: u64,
}

/// What has names, by address.
struct Names(Vec<Named>);

struct Named {
    start: u64,
    end: u64,
    name: Vec<u8>,
}

/// Larger files are not looked into.
const LARGEST_FILE: u64 = 1 << 30;
/// What has a name may lie inside others: this many before an address are considered.
const NESTED: usize = 16;
/// Longer names are cut.
const LONGEST_NAME: usize = 512;

impl<'a> Symbols<'a> {
    pub fn new(target: &'a dyn Target) -> Self {
        Symbols { target, files: HashMap::new() }
    }

    /// Writes what stands at the address; false if that is not known, and the address itself was written.
    pub fn write_address(&mut self, out: &mut dyn Write, address: u64) -> Result<bool, fmt::Error> {
        let Some(mapping) = self.target.mappings().iter().find(|mapping| mapping.holds(address)) else {
            write!(out, "0x{address:x}")?;
            return Ok(false);
        };
        write_library(out, mapping)?;
        let file_offset = (address - mapping.start).wrapping_add(mapping.file_offset);
        match self.image(mapping).and_then(|image| Some((image, image.address_of(file_offset)?))) {
            Some((image, address)) => image.write(out, address, file_offset)?,
            None => write!(out, "+0x{file_offset:x}")?,
        }
        Ok(true)
    }

    /// Writes an address, and which variable stands there if it is one of a library's.
    pub fn write_variable(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        write!(out, "0x{address:x}")?;
        let Some((head, mapping)) = self.library_before(address) else { return Ok(()) };
        let Some(image) = self.image(mapping) else { return Ok(()) };
        let Some(address) = image.address_behind_head(address - head.start) else { return Ok(()) };
        out.write_char(' ')?;
        write_library(out, mapping)?;
        match image.variables.at(address) {
            Some(variable) => variable.write(out, address),
            None => write!(out, "+0x{address:x}"),
        }
    }

    /// The first and the last mapping up to the address of the library there: pieces of one file at rising offsets. The
    /// address may be behind the last one: what zeroed data needs beyond the file is anonymous.
    fn library_before(&self, address: u64) -> Option<(&'a Mapping, &'a Mapping)> {
        let mut before = self.target.mappings().iter().rev().skip_while(|mapping| mapping.start > address);
        let last = before.next()?;
        let mut head = last;
        for mapping in before {
            if mapping.path != head.path || mapping.file_offset > head.file_offset {
                break;
            }
            head = mapping;
        }
        (head.file_offset == 0).then_some((head, last))
    }

    fn image(&mut self, mapping: &Mapping) -> Option<&Image> {
        let target = self.target;
        let image = self.files.entry(mapping.path.clone()).or_insert_with(|| Image::open(target, mapping));
        image.as_ref()
    }
}

fn write_library(out: &mut dyn Write, mapping: &Mapping) -> fmt::Result {
    let file_name = mapping.path.file_name().unwrap_or_default().as_encoded_bytes();
    write_printable(out, &String::from_utf8_lossy(file_name))
}

impl Segment {
    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|within| within < self.size)
    }
}

impl Named {
    /// Writes the name, and how far behind its beginning the address is.
    fn write(&self, out: &mut dyn Write, address: u64) -> fmt::Result {
        out.write_char('!')?;
        write_demangled(out, &self.name)?;
        write!(out, "+0x{:x}", address - self.start)
    }
}

impl Image {
    fn open(target: &dyn Target, mapping: &Mapping) -> Option<Image> {
        let bytes = read_file(target.open(mapping)?)?;
        let elf = ElfFile64::<LittleEndian>::parse(&*bytes).ok()?;
        let build_id = elf.build_id().ok().flatten();
        // A file that was replaced since would give wrong names. What is in memory says which one it was.
        if let (Some(mapped), Some(build_id)) = (mapped_build_id(target, mapping), build_id)
            && mapped != build_id
        {
            return None;
        }
        let segments = elf.segments().map(|segment| {
            let (offset, size) = segment.file_range();
            Segment { file_offset: offset, file_size: size, address: segment.address(), size: segment.size() }
        });
        let detached =
            build_id.filter(|_| elf.section_by_name(".debug_info").is_none()).and_then(read_detached);
        let detached = detached.as_ref().and_then(|bytes| ElfFile64::<LittleEndian>::parse(&**bytes).ok());
        let names_of = |kind| Names::of(&elf, detached.as_ref(), kind);
        Some(Image {
            segments: segments.collect(),
            functions: names_of(SymbolKind::Text),
            variables: names_of(SymbolKind::Data),
            lines: lines_of(detached.as_ref().unwrap_or(&elf)),
        })
    }

    fn address_of(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = file_offset.checked_sub(segment.file_offset)?;
            (within < segment.file_size).then(|| segment.address.wrapping_add(within))
        })
    }

    /// The address, as the file has it, of what is so far behind the mapped beginning of the file.
    fn address_behind_head(&self, distance: u64) -> Option<u64> {
        let head = self.segments.iter().find(|segment| segment.file_offset == 0)?;
        let address = head.address.checked_add(distance)?;
        self.segments.iter().any(|segment| segment.holds(address)).then_some(address)
    }

    fn write(&self, out: &mut dyn Write, address: u64, file_offset: u64) -> fmt::Result {
        let function = self.functions.at(address);
        match function {
            Some(function) => function.write(out, address)?,
            None => write!(out, "+0x{file_offset:x}")?,
        }
        // Inside a function it is where a call returns to: the call is before it.
        let is_start = function.is_some_and(|function| function.start == address);
        let probe = if is_start { address } else { address.saturating_sub(1) };
        let location = self.lines.as_ref().and_then(|lines| lines.find_location(probe).ok().flatten());
        let Some((Some(file), Some(line))) = location.map(|location| (location.file, location.line)) else {
            return Ok(());
        };
        out.write_str(" (")?;
        write_printable(out, file.rsplit('/').next().unwrap_or(file))?;
        write!(out, ":{line})")
    }
}

fn read_file(file: File) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = file.take(LARGEST_FILE).read_to_end(&mut bytes).ok()?;
    (count as u64 != LARGEST_FILE).then_some(bytes)
}

/// The debug information that a distribution packages apart.
fn read_detached(build_id: &[u8]) -> Option<Vec<u8>> {
    let hex: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (folder, name) = hex.split_at_checked(2)?;
    read_file(open_regular(Path::new(&format!("/usr/lib/debug/.build-id/{folder}/{name}.debug")))?)
}

type Elf<'a> = ElfFile64<'a, LittleEndian>;

impl Names {
    /// Those of one kind, from a file and from what a distribution packages apart.
    fn of(elf: &Elf<'_>, detached: Option<&Elf<'_>>, kind: SymbolKind) -> Self {
        let symbols =
            core::iter::once(elf).chain(detached).flat_map(|elf| elf.symbols().chain(elf.dynamic_symbols()));
        let mut names: Vec<Named> = symbols
            .filter(|symbol| symbol.kind() == kind && symbol.is_definition())
            .filter_map(|symbol| {
                let name = symbol.name_bytes().ok().filter(|name| !name.is_empty())?.to_vec();
                let end = symbol.address().saturating_add(symbol.size().max(1));
                Some(Named { start: symbol.address(), end, name })
            })
            .collect();
        names.sort_by(|one, other| (one.start, other.end).cmp(&(other.start, one.end)));
        Names(names)
    }

    fn at(&self, address: u64) -> Option<&Named> {
        let after = self.0.partition_point(|named| named.start <= address);
        self.0[..after].iter().rev().take(NESTED).find(|named| address < named.end)
    }
}

fn lines_of(elf: &Elf<'_>) -> Option<addr2line::Context<EndianRcSlice<Little>>> {
    elf.section_by_name(".debug_line")?;
    let section = |id: SectionId| {
        let bytes = elf.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or(&[]);
        Ok::<_, ()>(EndianRcSlice::new(Rc::from(bytes), Little))
    };
    addr2line::Context::from_dwarf(gimli::Dwarf::load(section).ok()?).ok()
}

/// The build id in the mapped copy of the file's head, if that is in memory.
fn mapped_build_id(target: &dyn Target, mapping: &Mapping) -> Option<Vec<u8>> {
    const HEAD: usize = 4096;
    let of_file = |other: &&Mapping| other.path == mapping.path && other.file_offset == 0;
    let head = target.mappings().iter().find(of_file)?;
    let bytes = read_bytes(target, head.start, HEAD)?;
    use object::read::elf::{FileHeader, ProgramHeader};
    let header = object::elf::FileHeader64::<LittleEndian>::parse(&*bytes).ok()?;
    let segments = header.program_headers(LittleEndian, &*bytes).ok()?;
    segments.iter().find_map(|segment| {
        let mut notes = segment.notes(LittleEndian, &*bytes).ok()??;
        while let Ok(Some(note)) = notes.next() {
            if note.name() == object::elf::ELF_NOTE_GNU
                && note.n_type(LittleEndian) == object::elf::NT_GNU_BUILD_ID
            {
                return Some(note.desc().to_vec());
            }
        }
        None
    })
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
fn write_printable(out: &mut dyn Write, text: &str) -> fmt::Result {
    write!(out, "{}", Printable(text.as_bytes()))
}
