//! What stands at a code address: `library!symbol+offset`, and the source line where debug information tells.

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
    /// File offset, size and address of what is loaded.
    segments: Vec<(u64, u64, u64)>,
    /// By address.
    functions: Vec<Function>,
    lines: Option<addr2line::Context<EndianRcSlice<Little>>>,
}

struct Function {
    start: u64,
    end: u64,
    name: Vec<u8>,
}

/// Larger files are not looked into.
const LARGEST_FILE: u64 = 1 << 30;
/// A function may lie inside others: this many before an address are considered.
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
        let file_name = mapping.path.file_name().unwrap_or_default().as_encoded_bytes();
        write_printable(out, &String::from_utf8_lossy(file_name))?;
        let file_offset = (address - mapping.start).wrapping_add(mapping.file_offset);
        let target = self.target;
        let image = self.files.entry(mapping.path.clone()).or_insert_with(|| Image::open(target, mapping));
        match image.as_ref().and_then(|image| Some((image, image.address_of(file_offset)?))) {
            Some((image, address)) => image.write(out, address, file_offset)?,
            None => write!(out, "+0x{file_offset:x}")?,
        }
        Ok(true)
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
            (offset, size, segment.address())
        });
        let detached =
            build_id.filter(|_| elf.section_by_name(".debug_info").is_none()).and_then(read_detached);
        let detached = detached.as_ref().and_then(|bytes| ElfFile64::<LittleEndian>::parse(&**bytes).ok());
        let mut functions = functions_of(&elf);
        functions.extend(detached.as_ref().map(functions_of).unwrap_or_default());
        functions.sort_by(|one, other| (one.start, other.end).cmp(&(other.start, one.end)));
        Some(Image {
            segments: segments.collect(),
            functions,
            lines: lines_of(detached.as_ref().unwrap_or(&elf)),
        })
    }

    fn address_of(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|&(offset, size, address)| {
            let within = file_offset.checked_sub(offset).filter(|&within| within < size)?;
            Some(address.wrapping_add(within))
        })
    }

    fn write(&self, out: &mut dyn Write, address: u64, file_offset: u64) -> fmt::Result {
        let function = self.function(address);
        match function {
            Some(function) => {
                out.write_char('!')?;
                write_demangled(out, &function.name)?;
                write!(out, "+0x{:x}", address - function.start)?;
            }
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

    fn function(&self, address: u64) -> Option<&Function> {
        let after = self.functions.partition_point(|function| function.start <= address);
        self.functions[..after].iter().rev().take(NESTED).find(|function| address < function.end)
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

fn functions_of(elf: &ElfFile64<'_, LittleEndian>) -> Vec<Function> {
    let symbols = elf.symbols().chain(elf.dynamic_symbols());
    let function = |symbol: object::read::elf::ElfSymbol64<'_, '_, LittleEndian>| {
        let is_function = symbol.kind() == SymbolKind::Text && symbol.is_definition();
        let name = symbol.name_bytes().ok().filter(|name| is_function && !name.is_empty())?;
        let end = symbol.address().saturating_add(symbol.size().max(1));
        Some(Function { start: symbol.address(), end, name: name.to_vec() })
    };
    symbols.filter_map(function).collect()
}

fn lines_of(elf: &ElfFile64<'_, LittleEndian>) -> Option<addr2line::Context<EndianRcSlice<Little>>> {
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
    text.chars().try_for_each(|character| {
        out.write_char(if character.is_control() || character == '"' { '?' } else { character })
    })
}
