//! Addresses of code and of variables as `library!symbol+0xoffset`, found while the rest of the process may be stuck.
//!
//! A report is wanted most when threads hang, and a hung thread may hold any lock of the C library: `dladdr`
//! and `dl_iterate_phdr` take the dynamic loader's (held through a whole `dlopen`, constructors included),
//! the allocator and stdio have their own. So the kernel is asked instead, in four steps:
//!
//! ```text
//! address ─ list of mappings ─> file, offset in it ─ program headers ─> virtual address ─ symbols ─> name
//! ```
//!
//! No function of libc is called: `files` makes the bare system calls, which take no lock. Nothing is allocated, and an optimised build uses less than 16 KiB of stack. `errno` is overwritten; a caller that
//! must keep it saves it. What can still stall a look-up is the kernel, reading from a file system that does
//! not answer.
//!
//! Files may be torn, replaced or hostile: every offset is checked, every loop bounded, and the worst answer
//! is an address without a name. Understood are 64-bit little-endian ELF files with section headers.

use core::ffi::CStr;

use super::files::File;

/// Longest library name kept; a file name has at most 255 bytes.
const LIBRARY_CAPACITY: usize = 256;
/// Longest symbol name kept; a longer one is cut.
const NAME_CAPACITY: usize = 512;
/// Longest path the kernel opens, with its NUL.
const PATH_CAPACITY: usize = 4096;
/// Kept of a line of the mapping list: its numbers and any path that can be opened.
const LINE_CAPACITY: usize = PATH_CAPACITY + 256;
/// Bytes of an ELF table read at once.
const BLOCK: usize = 4096;
/// Symbols looked at in one table.
const MAX_SYMBOLS: u64 = 1 << 21;
/// Names remembered for one address.
const MAX_ALIASES: usize = 8;

/// What is known of a code address.
pub struct Symbol {
    library: Text<LIBRARY_CAPACITY>,
    name: Option<Text<NAME_CAPACITY>>,
    offset: u64,
}

impl Symbol {
    /// Base name of the mapped file (`libfoo.so.1`, the program's name), or the kernel's label (`[vdso]`).
    pub fn library(&self) -> &[u8] {
        self.library.bytes()
    }

    /// Name of the function as it stands in the file: mangled, any bytes but NUL.
    pub fn name(&self) -> Option<&[u8]> {
        self.name.as_ref().map(Text::bytes)
    }

    /// Distance from the start of the function, or from where the library is loaded if there is no name.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// Looks addresses up. It remembers the last mapping and keeps its file open: fastest when neighbours follow
/// each other, and meant to live for one report, as mappings change.
#[derive(Default)]
pub struct Resolver {
    region: Option<Region>,
}

impl Resolver {
    /// A resolver that has looked at nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names `address`, or `None` if it lies in no mapping, or in one of anonymous memory without a label.
    pub fn resolve(&mut self, address: u64) -> Option<Symbol> {
        if !self.region.as_ref().is_some_and(|region| region.holds(address)) {
            self.region = Some(Region::holding(address, &open_maps()?)?);
        }
        let region = self.region.as_ref().filter(|region| !region.library.bytes().is_empty())?;
        let function = region.file.as_ref().and_then(|file| find_function(file, region.file_offset(address)));
        let (name, offset) = match function {
            Some((name, offset)) => (Some(name), offset),
            None => (None, address.saturating_sub(region.base)),
        };
        Some(Symbol { library: region.library, name, offset })
    }

    /// Names the variable at `address`: a global one's symbol, otherwise the label of its mapping (`[heap]`) or the
    /// library whose data it is in, as resolve does.
    pub fn resolve_data(&mut self, address: u64) -> Option<Symbol> {
        let data = DataRegion::holding(address, &open_maps()?)?;
        let variable =
            data.file.as_ref().and_then(|file| find_variable(file, address.saturating_sub(data.base)));
        let (name, offset) = match variable {
            Some((name, offset)) => (Some(name), offset),
            None => (None, address.saturating_sub(data.base)),
        };
        Some(Symbol { library: data.library, name, offset })
    }
}

/// Bytes in a fixed buffer.
#[derive(Clone, Copy)]
struct Text<const CAPACITY: usize> {
    buffer: [u8; CAPACITY],
    length: usize,
}

impl<const CAPACITY: usize> Text<CAPACITY> {
    /// Keeps as much of `bytes` as fits.
    fn new(bytes: &[u8]) -> Self {
        let mut buffer = [0; CAPACITY];
        buffer.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        Self { buffer, length: bytes.len().min(CAPACITY) }
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

// ---- Files ------------------------------------------------------------------------------------------------

/// Something with bytes at offsets.
trait ReadAt {
    /// Fills the front of `buffer` from `offset` on and says how far: 0 at the end, `None` on failure.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        File::read_at(self, offset, buffer)
    }
}

#[inline(never)]
fn open(path: &[u8]) -> Option<File> {
    let mut buffer = [0; PATH_CAPACITY];
    buffer.iter_mut().zip(path).for_each(|(slot, byte)| *slot = *byte);
    // The path may name something else by now: see read_only.
    File::read_only(CStr::from_bytes_until_nul(&buffer).ok()?)
}

// ---- Step 1: the list of mappings -------------------------------------------------------------------------

/// The calling thread's list: `/proc/self` is empty once the main thread has ended. Linux before 3.17 has
/// only that.
fn open_maps() -> Option<File> {
    File::read_only(c"/proc/thread-self/maps").or_else(|| File::read_only(c"/proc/self/maps"))
}

/// One line of the list.
struct Mapping<'a> {
    start: u64,
    end: u64,
    executable: bool,
    offset: u64,
    device: (u64, u64),
    inode: u64,
    /// A path, a label such as `[heap]`, or nothing.
    path: &'a [u8],
}

impl<'a> Mapping<'a> {
    /// Reads `start-end permissions offset major:minor inode   path`, all but the inode in hexadecimal. The
    /// path is all that follows, spaces included.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (start, end) = hexadecimal_pair(fields.next()?)?;
        let executable = fields.next()?.get(2) == Some(&b'x');
        let offset = number(fields.next()?, 16)?;
        let device = hexadecimal_pair(fields.next()?)?;
        let inode = number(fields.next()?, 10)?;
        let path = fields.next().unwrap_or_default().trim_ascii_start();
        Some(Self { start, end, executable, offset, device, inode, path })
    }

    /// The last part of the path, without the mark of a file that is no longer there; a label as it is.
    fn library(&self) -> &'a [u8] {
        if !self.path.starts_with(b"/") {
            return self.path;
        }
        let name = self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        name.strip_suffix(b" (deleted)").unwrap_or(name)
    }

    /// Opens the mapped file by its path. Only code has symbols, and only code is sure not to be a device
    /// that minds being opened. The path of a file that was deleted or replaced carries a mark, so it opens
    /// nothing.
    fn open(&self) -> Option<File> {
        (self.executable && self.path.starts_with(b"/")).then(|| open(self.path)).flatten()
    }
}

/// Reads two hexadecimal numbers with one character between them.
fn hexadecimal_pair(text: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = text.splitn(2, |byte| !byte.is_ascii_hexdigit());
    Some((number(numbers.next()?, 16)?, number(numbers.next()?, 16)?))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// The mapping an address was found in, with its library.
struct Region {
    start: u64,
    end: u64,
    /// Where `start` lies in the file.
    offset: u64,
    /// Where the library's first mapping starts.
    base: u64,
    library: Text<LIBRARY_CAPACITY>,
    file: Option<File>,
}

impl Region {
    /// Finds the mapping that holds `address`, or the gap between two mappings, which has no library.
    #[inline(never)]
    fn holding(address: u64, maps: &impl ReadAt) -> Option<Region> {
        // A library is mapped piece by piece, at rising addresses and offsets of one file.
        let (mut file, mut offset, mut base) = (None, 0, 0);
        let mut gap = Region::gap(0, u64::MAX);
        let found = find_line(maps, |line| {
            let mapping = Mapping::parse(line)?;
            if address < mapping.start {
                return Some(Region::gap(gap.start, mapping.start));
            }
            gap.start = mapping.end;
            if mapping.inode != 0 {
                let mapped = Some((mapping.device, mapping.inode));
                if file != mapped || mapping.offset < offset {
                    (file, base) = (mapped, mapping.start);
                }
                offset = mapping.offset;
            }
            (address < mapping.end).then(|| Region {
                start: mapping.start,
                end: mapping.end,
                offset: mapping.offset,
                base: if mapping.inode == 0 { mapping.start } else { base },
                library: Text::new(mapping.library()),
                file: mapping.open(),
            })
        });
        found.or(Some(gap))
    }

    /// Where nothing is mapped.
    fn gap(start: u64, end: u64) -> Region {
        Region { start, end, offset: 0, base: 0, library: Text::new(&[]), file: None }
    }

    fn holds(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    fn file_offset(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start).wrapping_add(self.offset)
    }
}

/// What a variable's address lies in: the data of a library, or memory with a label.
struct DataRegion {
    /// Where the library's first mapping starts, or the label's own.
    base: u64,
    library: Text<LIBRARY_CAPACITY>,
    file: Option<File>,
}

impl DataRegion {
    /// Finds the mapping that holds `address`, unless it is anonymous memory that is no library's. What a library's
    /// zeroed data needs beyond its file is anonymous, right behind its last mapping.
    #[inline(never)]
    fn holding(address: u64, maps: &impl ReadAt) -> Option<DataRegion> {
        let (mut mapped, mut offset, mut end) = (None, 0, 0);
        let mut library: Option<DataRegion> = None;
        find_line(maps, |line| {
            let mapping = Mapping::parse(line)?;
            let file = (mapping.inode != 0).then_some((mapping.device, mapping.inode));
            let is_tail = file.is_none() && mapping.path.is_empty() && mapping.start == end;
            if file.is_none() && !is_tail || file.is_some() && (file != mapped || mapping.offset < offset) {
                let name = mapping.library();
                library = (!name.is_empty()).then(|| DataRegion {
                    base: mapping.start,
                    library: Text::new(name),
                    file: None,
                });
                mapped = file;
            }
            if !is_tail {
                offset = mapping.offset;
            }
            // Its code says that the file is a program's or a library's: see open.
            if let Some(library) = library.as_mut().filter(|library| library.file.is_none()) {
                library.file = mapping.open();
            }
            end = if file.is_some() { mapping.end } else { 0 };
            (mapping.start..mapping.end).contains(&address).then(|| library.take())
        })?
    }
}

/// Shows `visit` one line after the other, without its end and at most `LINE_CAPACITY` bytes of it, until it
/// answers.
fn find_line<T>(source: &impl ReadAt, mut visit: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    let mut line = [0; LINE_CAPACITY];
    let mut length = 0;
    let mut block = [0; 2048];
    let mut offset = 0;
    loop {
        let read = source.read_at(offset, &mut block)?;
        if read == 0 {
            return None;
        }
        for &byte in block.get(..read)? {
            if byte == b'\n' {
                if let Some(found) = visit(line.get(..length)?) {
                    return Some(found);
                }
                length = 0;
            } else if let Some(slot) = line.get_mut(length) {
                *slot = byte;
                length += 1;
            }
        }
        offset = offset.checked_add(read as u64)?;
    }
}

// ---- Steps 2 to 4: the ELF file ---------------------------------------------------------------------------

const MAGIC_64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01\x01";
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const PT_LOAD: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_DYNSYM: u32 = 11;
const SHN_LORESERVE: u16 = 0xff00;
const STT_OBJECT: u8 = 1;
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;

type FileHeader = [u8; 64];
type ProgramHeader = [u8; 56];
type SectionHeader = [u8; 64];
type SymbolEntry = [u8; 24];

fn field<const SIZE: usize>(record: &[u8], at: usize) -> [u8; SIZE] {
    record.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; SIZE])
}

fn u16_at(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(record, at))
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(record, at))
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(record, at))
}

/// Equally long records, one after the other in a file.
#[derive(Clone, Copy)]
struct Table<const RECORD: usize> {
    offset: u64,
    count: u64,
}

impl<const RECORD: usize> Table<RECORD> {
    /// Shows `visit` one record after the other until it answers, or the table or the file ends.
    fn find<T>(&self, file: &impl ReadAt, mut visit: impl FnMut(&[u8; RECORD]) -> Option<T>) -> Option<T> {
        let mut block = [0; BLOCK];
        let mut offset = self.offset;
        let mut left = self.count;
        while left > 0 {
            let wanted = left.min((BLOCK / RECORD) as u64) as usize * RECORD;
            let read = file.read_at(offset, block.get_mut(..wanted)?)?;
            let (records, _) = block.get(..read)?.as_chunks::<RECORD>();
            if records.is_empty() {
                return None;
            }
            if let Some(found) = records.iter().find_map(&mut visit) {
                return Some(found);
            }
            offset = offset.checked_add((records.len() * RECORD) as u64)?;
            left = left.saturating_sub(records.len() as u64);
        }
        None
    }

    fn get(&self, file: &impl ReadAt, index: u64) -> Option<[u8; RECORD]> {
        if index >= self.count {
            return None;
        }
        let offset = index.checked_mul(RECORD as u64)?.checked_add(self.offset)?;
        Self { offset, count: 1 }.find(file, |record| Some(*record))
    }
}

/// Finds the function at an offset of an ELF file: its name, and how far into the function that is.
#[inline(never)]
fn find_function(file: &impl ReadAt, file_offset: u64) -> Option<(Text<NAME_CAPACITY>, u64)> {
    let elf = Elf::open(file)?;
    let address = elf.virtual_address(file_offset)?;
    elf.find_symbol(&[STT_FUNC, STT_GNU_IFUNC], address)
}

/// Finds the variable of an ELF file at a distance from where the file is loaded.
#[inline(never)]
fn find_variable(file: &impl ReadAt, distance: u64) -> Option<(Text<NAME_CAPACITY>, u64)> {
    let elf = Elf::open(file)?;
    elf.find_symbol(&[STT_OBJECT], elf.load_address()?.checked_add(distance)?)
}

/// An ELF file of a kind that is understood.
struct Elf<'a, F> {
    file: &'a F,
    segments: Table<{ size_of::<ProgramHeader>() }>,
    sections: Table<{ size_of::<SectionHeader>() }>,
}

impl<'a, F: ReadAt> Elf<'a, F> {
    fn open(file: &'a F) -> Option<Self> {
        let header: FileHeader = Table { offset: 0, count: 1 }.get(file, 0)?;
        let understood = header.starts_with(MAGIC_64_LITTLE_ENDIAN)
            && matches!(u16_at(&header, 18), EM_X86_64 | EM_AARCH64)
            && usize::from(u16_at(&header, 54)) == size_of::<ProgramHeader>()
            && usize::from(u16_at(&header, 58)) == size_of::<SectionHeader>();
        understood.then(|| Elf {
            file,
            segments: Table { offset: u64_at(&header, 32), count: u16_at(&header, 56).into() },
            sections: Table { offset: u64_at(&header, 40), count: u16_at(&header, 60).into() },
        })
    }

    /// Where the loader is asked to put what lies at `file_offset`; symbols are given in such addresses.
    fn virtual_address(&self, file_offset: u64) -> Option<u64> {
        self.segments.find(self.file, |segment| {
            let (offset, address, size) = (u64_at(segment, 8), u64_at(segment, 16), u64_at(segment, 32));
            let distance = file_offset.checked_sub(offset)?;
            (u32_at(segment, 0) == PT_LOAD && distance < size).then(|| address.checked_add(distance))?
        })
    }

    /// Where the loader is asked to put the start of the file.
    fn load_address(&self) -> Option<u64> {
        self.segments.find(self.file, |segment| {
            let (offset, address) = (u64_at(segment, 8), u64_at(segment, 16));
            (u32_at(segment, 0) == PT_LOAD).then(|| address.checked_sub(offset))?
        })
    }

    /// Finds what stands at `address` and is of one of these kinds of symbol. The full table first; a stripped file has
    /// only the names it exports.
    fn find_symbol(&self, kinds: &[u8], address: u64) -> Option<(Text<NAME_CAPACITY>, u64)> {
        [SHT_SYMTAB, SHT_DYNSYM].into_iter().find_map(|table| self.find_in_table(table, kinds, address))
    }

    fn find_in_table(&self, kind: u32, kinds: &[u8], address: u64) -> Option<(Text<NAME_CAPACITY>, u64)> {
        let table = self.sections.find(self.file, |section| {
            (u32_at(section, 4) == kind && u64_at(section, 56) == size_of::<SymbolEntry>() as u64)
                .then_some(*section)
        })?;
        let strings = self.sections.get(self.file, u32_at(&table, 40).into())?;
        if u32_at(&strings, 4) != SHT_STRTAB {
            return None;
        }
        let count = u64_at(&table, 32) / size_of::<SymbolEntry>() as u64;
        let symbols = Table { offset: u64_at(&table, 24), count: count.min(MAX_SYMBOLS) };

        let mut nearest = Nearest { address, kinds, last_sized: 0, covering: None, open_ended: None };
        symbols.find(self.file, |symbol| {
            nearest.offer(symbol);
            None::<()>
        });
        let function = nearest.covering.or_else(|| {
            let open_ended = nearest.open_ended?;
            let section = self.sections.get(self.file, open_ended.section.into())?;
            let distance = address.checked_sub(u64_at(&section, 16))?;
            (open_ended.start > nearest.last_sized && distance < u64_at(&section, 32)).then_some(open_ended)
        })?;
        let name = self.best_name(&strings, function.names())?;
        Some((name, address.saturating_sub(function.start)))
    }

    /// Of several names for one function the one with the fewest leading underscores, the plainest: `malloc`,
    /// not `__libc_malloc`.
    fn best_name(&self, strings: &SectionHeader, names: &[u32]) -> Option<Text<NAME_CAPACITY>> {
        names
            .iter()
            .filter_map(|&name| self.name(strings, name.into()))
            .min_by_key(|name| name.bytes().iter().take_while(|&&byte| byte == b'_').count())
    }

    /// The string at an index of the string table `strings`, cut if it is too long; `None` if empty or torn.
    fn name(&self, strings: &SectionHeader, index: u64) -> Option<Text<NAME_CAPACITY>> {
        let (offset, size) = (u64_at(strings, 24), u64_at(strings, 32));
        let wanted = size.checked_sub(index)?.min(NAME_CAPACITY as u64) as usize;
        let mut name = Text::new(&[]);
        let read = self.file.read_at(offset.checked_add(index)?, name.buffer.get_mut(..wanted)?)?;
        let end = name.buffer.get(..read)?.iter().position(|&byte| byte == 0);
        name.length = end.or((read == NAME_CAPACITY).then_some(read))?;
        (name.length > 0).then_some(name)
    }
}

/// A function that may be the one looked for, with the string indices of its names.
#[derive(Clone, Copy)]
struct Function {
    start: u64,
    section: u16,
    names: [u32; MAX_ALIASES],
    aliases: usize,
}

impl Function {
    fn names(&self) -> &[u32] {
        self.names.get(..self.aliases).unwrap_or_default()
    }
}

/// The best functions so far for an address. One whose size covers it is best, and of those the last.
/// Hand-written assembly often has no size: such a function reaches up to the next one or the end of its
/// section. Any other that merely comes before is not named: the address belongs to a function whose name was
/// stripped.
struct Nearest<'a> {
    address: u64,
    /// The types of symbol that count.
    kinds: &'a [u8],
    /// Start of the last function that has a size and starts at or before the address.
    last_sized: u64,
    covering: Option<Function>,
    open_ended: Option<Function>,
}

impl Nearest<'_> {
    fn offer(&mut self, symbol: &SymbolEntry) {
        let (name, kind, section) = (u32_at(symbol, 0), u16_at(symbol, 4) as u8 & 0xf, u16_at(symbol, 6));
        let (start, size) = (u64_at(symbol, 8), u64_at(symbol, 16));
        let defined = self.kinds.contains(&kind) && (1..SHN_LORESERVE).contains(&section);
        if !defined || start > self.address {
            return;
        }
        let best = if size == 0 {
            &mut self.open_ended
        } else {
            self.last_sized = self.last_sized.max(start);
            if self.address - start >= size {
                return;
            }
            &mut self.covering
        };
        match best {
            Some(best) if best.start > start => {}
            Some(best) if best.start == start => {
                if let Some(slot) = best.names.get_mut(best.aliases) {
                    *slot = name;
                    best.aliases += 1;
                }
            }
            _ => *best = Some(Function { start, section, names: [name; MAX_ALIASES], aliases: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::ffi::c_int;
    use core::hint::black_box;
    use core::ptr::null_mut;
    use std::borrow::ToOwned;
    use std::format;
    use std::fs;
    use std::path::PathBuf;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    // ---- A running process ----

    /// How a report shows an address.
    fn shown(address: u64) -> Option<String> {
        let symbol = Resolver::new().resolve(address)?;
        let name = symbol.name().map(String::from_utf8_lossy).unwrap_or_default();
        Some(format!("{}!{}+{:#x}", String::from_utf8_lossy(symbol.library()), name, symbol.offset()))
    }

    fn address_of_getpid() -> u64 {
        libc::getpid as *const () as u64
    }

    #[inline(never)]
    fn not_exported(value: u32) -> u32 {
        black_box(value).rotate_left(5) ^ 0x5eed
    }

    #[test]
    fn functions_of_libc_are_named() {
        for (function, name) in [
            (libc::malloc as *const (), "malloc"),
            (libc::getpid as *const (), "getpid"),
            (libc::pthread_mutex_lock as *const (), "pthread_mutex_lock"),
        ] {
            let found = shown(function as u64).unwrap();
            assert!(found.ends_with(&format!("!{name}+0x0")), "{found}");
            assert!(found.starts_with("libc.") || found.starts_with("ld-musl"), "{found}");
            let inside = shown(function as u64 + 2).unwrap();
            assert!(inside.ends_with(&format!("!{name}+0x2")), "{inside}");
        }
    }

    #[test]
    fn a_function_the_program_does_not_export_is_named_from_its_full_table() {
        let program = std::env::current_exe().unwrap();
        let found = Resolver::new().resolve(black_box(not_exported as *const ()) as u64).unwrap();
        assert_eq!(found.library(), program.file_name().unwrap().as_encoded_bytes());
        let name = String::from_utf8_lossy(found.name().unwrap());
        assert!(name.contains("not_exported"), "{name}");
        assert_eq!(found.offset(), 0);
    }

    #[test]
    fn one_resolver_follows_addresses_from_file_to_file_and_back() {
        let mut resolver = Resolver::new();
        for _ in 0..3 {
            let libc = resolver.resolve(address_of_getpid()).unwrap();
            assert_eq!(libc.name(), Some(&b"getpid"[..]));
            assert!(resolver.resolve(0).is_none());
            let own = resolver.resolve(not_exported as *const () as u64).unwrap();
            assert!(own.name().unwrap().windows(12).any(|part| part == b"not_exported"));
        }
    }

    #[test]
    fn the_file_of_the_last_mapping_stays_open() {
        let mut resolver = Resolver::new();
        let mut descriptor = || {
            resolver.resolve(address_of_getpid())?;
            Some(resolver.region.as_ref()?.file.as_ref()?.descriptor())
        };
        let first = descriptor();
        assert!(first.is_some());
        assert_eq!(first, descriptor());
    }

    #[test]
    fn only_files_mapped_as_code_are_opened() {
        // The last is a label, not the file of that name in the current directory.
        for (mapping, opened) in [
            ("r-xp 0 fd:00 1 /proc/self/exe", true),
            ("rw-s 0 fd:00 1 /proc/self/exe", false),
            ("r-xp 0 0:0 0 src", false),
        ] {
            let line = format!("1000-2000 {mapping}");
            assert_eq!(Mapping::parse(line.as_bytes()).unwrap().open().is_some(), opened, "{mapping}");
        }
    }

    #[test]
    fn the_kernels_own_code_has_a_label() {
        // SAFETY: no pointers are passed.
        let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        assert_eq!(shown(vdso + 0x10).unwrap(), "[vdso]!+0x10");
    }

    /// Pages of code, as a just-in-time compiler or the loader maps them; unmapped on drop.
    struct Pages(*mut libc::c_void);

    const PAGES: usize = 4096;

    impl Pages {
        fn new(flags: c_int, file: c_int, offset: u64) -> Pages {
            let protection = libc::PROT_READ | libc::PROT_EXEC;
            // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
            let start = unsafe {
                libc::mmap(
                    null_mut(),
                    PAGES,
                    protection,
                    libc::MAP_PRIVATE | flags,
                    file,
                    offset as libc::off_t,
                )
            };
            assert_ne!(start, libc::MAP_FAILED);
            Pages(start)
        }

        fn address(&self) -> u64 {
            self.0 as u64
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: the pages were mapped by this value and nothing refers to them any more.
            unsafe { libc::munmap(self.0, PAGES) };
        }
    }

    #[test]
    fn anonymous_code_is_unknown() {
        let pages = Pages::new(libc::MAP_ANONYMOUS, -1, 0);
        assert_eq!(shown(pages.address() + 0x40), None);
    }

    /// The file that holds `getpid`, and where in it.
    fn file_of_getpid() -> (PathBuf, u64) {
        let address = address_of_getpid();
        let maps = fs::read("/proc/self/maps").unwrap();
        let mapping = maps
            .split(|&byte| byte == b'\n')
            .filter_map(Mapping::parse)
            .find(|mapping| (mapping.start..mapping.end).contains(&address))
            .unwrap();
        let path = String::from_utf8(mapping.path.to_vec()).unwrap();
        (path.into(), address - mapping.start + mapping.offset)
    }

    #[test]
    fn a_path_may_hold_spaces_and_its_file_may_go_away() {
        let (original, offset) = file_of_getpid();
        let folder = std::env::temp_dir().join(format!("of  process {} (deleted)", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let copy = folder.join("a library.so.1 ");
        fs::copy(original, &copy).unwrap();
        let file = open(copy.as_os_str().as_encoded_bytes()).unwrap();

        let page = offset & !(PAGES as u64 - 1);
        let pages = Pages::new(0, file.descriptor(), page);
        let address = pages.address() + (offset - page);
        assert_eq!(shown(address).unwrap(), "a library.so.1 !getpid+0x0");

        fs::remove_file(&copy).unwrap();
        assert_eq!(shown(address).unwrap(), format!("a library.so.1 !+{:#x}", offset - page));
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn no_descriptor_stays_open() {
        let lowest_free = || open(b"/proc/self/maps").unwrap().descriptor();
        // In a child, where no other test opens files.
        let leaked = in_child(move || {
            let before = lowest_free();
            let mut resolver = Resolver::new();
            for address in [address_of_getpid(), 0, not_exported as *const () as u64, address_of_getpid()] {
                resolver.resolve(address);
            }
            drop(resolver);
            before != lowest_free()
        });
        assert!(!leaked);
    }

    #[test]
    fn the_main_thread_may_have_ended() {
        extern "C" fn resolve_and_exit(_: *mut libc::c_void) -> *mut libc::c_void {
            while fs::read("/proc/self/maps").is_ok_and(|maps| !maps.is_empty()) {
                std::thread::yield_now();
            }
            let named = shown(address_of_getpid()).is_some_and(|found| found.ends_with("!getpid+0x0"));
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(named.into()) }
        }
        let named = in_child(|| {
            let mut thread = 0;
            // SAFETY: the function needs no argument, and the child has this one thread to end by itself.
            unsafe {
                libc::pthread_create(&mut thread, core::ptr::null(), resolve_and_exit, null_mut());
                libc::syscall(libc::SYS_exit, 0);
            }
            false
        });
        assert!(named);
    }

    /// Runs `body` in a forked child and hands back its answer.
    fn in_child(body: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child goes on with this thread alone, in which libc keeps the allocator usable, and
        // leaves by `_exit` without touching what belongs to the other tests.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no pointers are passed; a child that hangs is ended.
            unsafe { libc::alarm(20) };
            let answer = body();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(answer.into()) };
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
        libc::WEXITSTATUS(status) == 1
    }

    // ---- Never stall ----

    #[test]
    fn no_function_of_libc_is_called() {
        let code = |file: &'static str| file.split("#[cfg(test)]").next().unwrap();
        assert!(!code(include_str!("symbols.rs")).contains("libc::"));
        let called = code(include_str!("files.rs")).split("libc::").skip(1).filter_map(|after| {
            let name = after.split(|letter: char| letter != '_' && !letter.is_ascii_lowercase()).next()?;
            after[name.len()..].starts_with('(').then_some(name)
        });
        assert_eq!(called.collect::<std::collections::BTreeSet<_>>(), ["syscall"].into());
    }

    #[test]
    fn the_loaders_lock_may_be_held() {
        use std::sync::mpsc;
        use std::time::Duration;
        extern "C" fn resolve_elsewhere(
            _: *mut libc::dl_phdr_info,
            _: usize,
            in_time: *mut libc::c_void,
        ) -> c_int {
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || sender.send(shown(address_of_getpid())));
            let found = receiver.recv_timeout(Duration::from_secs(20));
            // SAFETY: points to the flag below, which no one else uses meanwhile.
            unsafe { *in_time.cast::<bool>() = found.is_ok_and(|found| found.is_some()) };
            1
        }
        let mut in_time = false;
        // SAFETY: the callback is given the flag, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(resolve_elsewhere), (&raw mut in_time).cast()) };
        assert!(in_time);
    }

    // ---- Lists of mappings ----

    /// Bytes read in pieces that end anywhere.
    struct Image {
        bytes: Vec<u8>,
        piece: usize,
        reads: Cell<usize>,
    }

    impl Image {
        fn new(bytes: impl Into<Vec<u8>>) -> Image {
            Image { bytes: bytes.into(), piece: usize::MAX, reads: Cell::new(0) }
        }
    }

    impl ReadAt for Image {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
            self.reads.set(self.reads.get() + 1);
            let rest = self.bytes.get(usize::try_from(offset).ok()?..).unwrap_or_default();
            let length = rest.len().min(buffer.len()).min(self.piece);
            buffer[..length].copy_from_slice(&rest[..length]);
            Some(length)
        }
    }

    const MAPS: &str = "\
400000-401000 r--p 00000000 fd:00 11                                     /no such folder/pro gram
401000-402000 r-xp 00001000 fd:00 11                                     /no such folder/pro gram
1000000-1021000 rw-p 00000000 00:00 0                                    [heap]
7f0000000000-7f0000001000 r--p 00000000 fd:00 22                         /no such folder/libsmall.so
7f0000001000-7f0000002000 r-xp 00000000 fd:00 22                         /no such folder/libsmall.so
7f0000002000-7f0000003000 ---p 00000000 00:00 0
7f0000003000-7f0000004000 rw-p 00001000 fd:00 22                         /no such folder/libsmall.so
7f0000004000-7f0000005000 r--p 00000000 fd:00 22                         /no such folder/libsmall.so
7f0000005000-7f0000006000 r-xp 00001000 fd:00 22                         /no such folder/libsmall.so (deleted)
7f0000006000-7f0000007000 r-xs 00005000 00:01 2048                       /memfd:doublemapper (deleted)
not a mapping
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn a_mapping_gives_library_and_distance_from_its_load_base() {
        for piece in [1, 7, 2048] {
            let maps = Image { piece, ..Image::new(MAPS) };
            let found = |address| {
                let region = Region::holding(address, &maps)?;
                assert!(region.holds(address));
                let library = String::from_utf8_lossy(region.library.bytes()).into_owned();
                let is_named = !library.is_empty();
                is_named.then(|| (library, address - region.base, region.file_offset(address)))
            };
            let at = |library: &str, distance, offset| Some((library.into(), distance, offset));
            assert_eq!(found(0x40_1234), at("pro gram", 0x1234, 0x1234));
            assert_eq!(found(0x100_0010), at("[heap]", 0x10, 0x10));
            assert_eq!(found(0x7f00_0000_1040), at("libsmall.so", 0x1040, 0x40), "two pieces from one page");
            assert_eq!(found(0x7f00_0000_3040), at("libsmall.so", 0x3040, 0x1040), "beyond a hole");
            assert_eq!(found(0x7f00_0000_5040), at("libsmall.so", 0x1040, 0x1040), "loaded a second time");
            assert_eq!(found(0x7f00_0000_6040), at("memfd:doublemapper", 0x40, 0x5040));
            assert_eq!(found(0xffff_ffff_ff60_0000), at("[vsyscall]", 0, 0));
            assert_eq!(found(0x7f00_0000_2000), None, "anonymous");
            assert_eq!(found(0x40_2000), None, "between mappings");
            assert_eq!(found(u64::MAX - 1), None);
            let gap = Region::holding(0x40_2000, &maps).unwrap();
            assert!(
                !gap.holds(0x40_1fff) && gap.holds(0xff_ffff) && !gap.holds(0x100_0000),
                "looked for once"
            );
        }
    }

    #[test]
    fn lines_longer_than_the_buffer_do_no_harm() {
        let long = "/".to_owned() + &"directory/".repeat(LINE_CAPACITY / 5) + "lib.so";
        let maps =
            format!("1000-2000 r-xp 00000000 fd:00 1   {long}\n2000-3000 r-xp 00000000 fd:00 2 /b/next\n");
        let maps = Image::new(maps);
        assert!(Region::holding(0x1800, &maps).unwrap().file.is_none());
        assert_eq!(Region::holding(0x2800, &maps).unwrap().library.bytes(), b"next");
        assert!(open(long.as_bytes()).is_none());
    }

    // ---- ELF files ----

    struct Sym(&'static str, u8, u16, u64, u64);

    const OBJECT: u8 = 1;
    const GLOBAL: u8 = 1 << 4;
    const TEXT: u64 = 0x1000;
    const TEXT_ADDRESS: u64 = 0x40_1000;

    fn put(bytes: &mut [u8], at: usize, value: u64, size: usize) {
        bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }

    /// A small ELF file: code from 0x1000 to 0x2000, to be loaded at 0x401000, `.text` its first 0xc00 bytes
    /// and `.fini` the rest (sections 1 and 2); exported symbols (section 3, strings in 4) and all symbols (5
    /// and 4).
    fn elf(exported: &[Sym], all: &[Sym]) -> Vec<u8> {
        let mut bytes = vec![0; 0x2000];
        bytes[..7].copy_from_slice(MAGIC_64_LITTLE_ENDIAN);
        for (at, value) in [(16, 3), (18, EM_X86_64), (54, 56), (56, 2), (58, 64), (60, 6)] {
            put(&mut bytes, at, value.into(), 2);
        }
        put(&mut bytes, 32, 64, 8);
        put(&mut bytes, 40, 0x200, 8);
        // One segment of another kind that spans everything, then the code.
        for (at, kind, offset, address, size) in
            [(64, 4, 0, 0x70_0000, 0x2000), (120, PT_LOAD, TEXT, TEXT_ADDRESS, 0x1000)]
        {
            put(&mut bytes, at, kind.into(), 4);
            put(&mut bytes, at + 8, offset, 8);
            put(&mut bytes, at + 16, address, 8);
            put(&mut bytes, at + 32, size, 8);
        }
        let mut strings = vec![0];
        let mut tables = Vec::new();
        for symbols in [exported, all] {
            let mut table = vec![0; 24];
            for Sym(name, info, section, start, size) in symbols {
                let mut entry = [0; 24];
                put(&mut entry, 0, strings.len() as u64, 4);
                put(&mut entry, 4, (*info).into(), 1);
                put(&mut entry, 6, (*section).into(), 2);
                put(&mut entry, 8, *start, 8);
                put(&mut entry, 16, *size, 8);
                table.extend(entry);
                strings.extend(name.as_bytes());
                strings.push(0);
            }
            tables.push(table);
        }
        let mut section = |index: usize, kind: u32, address, offset, size, link, entry| {
            let at = 0x200 + index * 64;
            put(&mut bytes, at + 4, kind.into(), 4);
            for (field, value) in [(16, address), (24, offset), (32, size), (56, entry)] {
                put(&mut bytes, at + field, value, 8);
            }
            put(&mut bytes, at + 40, link, 4);
        };
        let sizes = [strings.len() as u64, tables[0].len() as u64, tables[1].len() as u64];
        section(1, 1, TEXT_ADDRESS, TEXT, 0xc00, 0, 0);
        section(2, 1, TEXT_ADDRESS + 0xc00, TEXT + 0xc00, 0x400, 0, 0);
        section(3, SHT_DYNSYM, 0, 0x2000 + sizes[0], sizes[1], 4, 24);
        section(4, SHT_STRTAB, 0, 0x2000, sizes[0], 0, 0);
        section(5, SHT_SYMTAB, 0, 0x2000 + sizes[0] + sizes[1], sizes[2], 4, 24);
        bytes.extend(strings);
        bytes.extend(tables.concat());
        bytes
    }

    fn typical() -> Vec<u8> {
        let exported = [
            Sym("wanted_elsewhere", GLOBAL | STT_FUNC, 0, 0, 0),
            Sym("outer", GLOBAL | STT_FUNC, 1, TEXT_ADDRESS + 0x100, 0x100),
            Sym("only_exported", GLOBAL | STT_FUNC, 1, TEXT_ADDRESS + 0xa00, 0x10),
        ];
        let all = [
            Sym("__libc_alias", GLOBAL | STT_FUNC, 1, TEXT_ADDRESS + 0x300, 0x80),
            Sym("alias", GLOBAL | STT_GNU_IFUNC, 1, TEXT_ADDRESS + 0x300, 0x80),
            Sym("_alias", STT_FUNC, 1, TEXT_ADDRESS + 0x300, 0x80),
            Sym("inner", STT_FUNC, 1, TEXT_ADDRESS + 0x140, 0x20),
            Sym("outer", STT_FUNC, 1, TEXT_ADDRESS + 0x100, 0x100),
            Sym("a_table", OBJECT, 1, TEXT_ADDRESS + 0x150, 0x100),
            Sym("assembly", STT_FUNC, 1, TEXT_ADDRESS + 0x800, 0),
            Sym("imported", STT_FUNC, 0, TEXT_ADDRESS + 0x840, 0),
            Sym("sized", STT_FUNC, 1, TEXT_ADDRESS + 0x900, 0x10),
            Sym("absolute", STT_FUNC, 0xfff1, TEXT_ADDRESS + 0x980, 0x10),
            Sym("last", STT_FUNC, 1, TEXT_ADDRESS + 0xb00, 0),
        ];
        elf(&exported, &all)
    }

    /// The function at an offset into the code of an ELF file.
    fn function(elf: &impl ReadAt, offset: u64) -> Option<(String, u64)> {
        let (name, distance) = find_function(elf, TEXT + offset)?;
        Some((String::from_utf8_lossy(name.bytes()).into_owned(), distance))
    }

    #[test]
    fn the_innermost_covering_function_is_named() {
        let elf = Image::new(typical());
        let at = |name: &str, distance| Some((name.into(), distance));
        assert_eq!(function(&elf, 0xff), None, "before the first");
        assert_eq!(function(&elf, 0x100), at("outer", 0));
        assert_eq!(function(&elf, 0x13f), at("outer", 0x3f));
        assert_eq!(function(&elf, 0x150), at("inner", 0x10));
        assert_eq!(function(&elf, 0x160), at("outer", 0x60), "past the inner one, in data beside code");
        assert_eq!(function(&elf, 0x1ff), at("outer", 0xff));
        assert_eq!(function(&elf, 0x200), None, "past the end of a function of known size");
        assert_eq!(function(&elf, 0x310), at("alias", 0x10), "the plainest of three names");
        assert_eq!(function(&elf, 0xa08), at("only_exported", 8), "not in the full table");
        assert_eq!(function(&elf, 0x2000), None, "in no segment");
    }

    #[test]
    fn a_function_of_unknown_size_reaches_to_the_next_or_the_end_of_its_section() {
        let elf = Image::new(typical());
        let at = |name: &str, distance| Some((name.into(), distance));
        assert_eq!(function(&elf, 0x8ff), at("assembly", 0xff));
        assert_eq!(function(&elf, 0x910), None, "a function came between");
        assert_eq!(function(&elf, 0x984), None, "an absolute symbol is no code");
        assert_eq!(function(&elf, 0xbff), at("last", 0xff));
        assert_eq!(function(&elf, 0xc00), None, "in the next section");
    }

    #[test]
    fn a_name_longer_than_the_buffer_is_cut() {
        let name: &'static str = "n".repeat(NAME_CAPACITY + 9).leak();
        let elf = Image::new(elf(&[], &[Sym(name, STT_FUNC, 1, TEXT_ADDRESS, 8)]));
        assert_eq!(function(&elf, 1), Some((name[..NAME_CAPACITY].into(), 1)));
    }

    #[test]
    fn a_name_that_is_empty_or_not_wholly_in_the_string_table_is_none() {
        let whole = elf(&[], &[Sym("name", STT_FUNC, 1, TEXT_ADDRESS, 8)]);
        let (strings, symbols) = (0x200 + 4 * 64, 0x200 + 5 * 64);
        let name = u64_at(&whole, symbols + 24) as usize + 24;
        let with = |at, value, size| {
            let mut bytes = whole.clone();
            put(&mut bytes, at, value, size);
            function(&Image::new(bytes), 1)
        };
        assert_eq!(with(name, 2, 4), Some(("ame".into(), 1)));
        assert_eq!(with(name, 0, 4), None, "empty");
        assert_eq!(with(strings + 32, 5, 8), None, "without its end");
        assert_eq!(with(strings + 32, 0, 8), None, "beyond the table");
        assert_eq!(with(strings + 4, 1, 4), None, "in a section of another kind");
    }

    #[test]
    fn a_table_ends_with_the_address_space() {
        let endless = Endless { image: Image::new([]), filler: 1 };
        let table = Table::<8> { offset: u64::MAX - 10, count: u64::MAX };
        assert_eq!(table.get(&endless, 0), Some([1; 8]));
        assert_eq!(table.get(&endless, 2), None);
        assert_eq!(table.get(&endless, u64::MAX / 2), None);
        assert_eq!(table.find(&endless, |_| None::<()>), None);
    }

    #[test]
    fn a_table_may_arrive_in_pieces() {
        let many: Vec<Sym> = (0..1000)
            .map(|index| Sym("other", STT_FUNC, 1, TEXT_ADDRESS + 0x200, index % 2))
            .chain([Sym("wanted", STT_FUNC, 1, TEXT_ADDRESS, 8)])
            .collect();
        for piece in [100, 1000, usize::MAX] {
            let elf = Image { piece, ..Image::new(elf(&[], &many)) };
            assert_eq!(function(&elf, 3), Some(("wanted".into(), 3)));
        }
    }

    #[test]
    fn files_of_another_kind_have_no_names() {
        // 32-bit, big-endian, another version, another processor, records of another size.
        for at in [0, 4, 5, 6, 18, 54, 58] {
            let mut bytes = typical();
            assert!(function(&Image::new(bytes.clone()), 0x100).is_some());
            bytes[at] ^= 3;
            assert_eq!(function(&Image::new(bytes), 0x100), None, "byte {at}");
        }
        assert_eq!(function(&Image::new(*b"#!/bin/sh"), 0x100), None);
    }

    #[test]
    fn a_truncated_file_gives_the_whole_name_or_none() {
        let whole = typical();
        let mut named = 0;
        for length in 0..whole.len() {
            if let Some(found) = function(&Image::new(&whole[..length]), 0x310) {
                assert!(found.0.ends_with("alias") && found.1 == 0x10, "{found:?} in {length} bytes");
                named += 1;
            }
        }
        assert!((1..whole.len() / 2).contains(&named), "{named}");
    }

    #[test]
    fn a_corrupt_file_is_read_to_a_bounded_end() {
        let whole = typical();
        // The tables, without the code between them, which is not read.
        let interesting: Vec<usize> = (0..0x380).chain(0x2000..whole.len()).collect();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let extremes = [0, 1, 0x7f, 0x80, 0xff];
        let (mut named, mut unnamed) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=random(6) {
                let at = interesting[random(interesting.len())];
                let width = 1 << random(4);
                let value = if random(2) == 0 { extremes[random(5)] } else { random(256) as u8 };
                let end = bytes.len().min(at + width);
                bytes[at..end].fill(value);
            }
            let image = Image::new(bytes);
            match function(&image, [0x150, 0x310, 0x8ff, 0xa08][random(4)]) {
                Some(_) => named += 1,
                None => unnamed += 1,
            }
            assert!(image.reads.get() < 100, "{} reads", image.reads.get());
        }
        assert!(named > 1000 && unnamed > 1000, "{named} {unnamed}");
    }

    /// A file that never ends: its headers, then for ever the same bytes.
    struct Endless {
        image: Image,
        filler: u8,
    }

    impl ReadAt for Endless {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
            buffer.fill(self.filler);
            self.image.read_at(offset, buffer)?;
            Some(buffer.len())
        }
    }

    #[test]
    fn a_table_without_end_is_given_up() {
        let mut bytes = typical();
        for symbols in [3, 5] {
            put(&mut bytes, 0x200 + symbols * 64 + 32, u64::MAX, 8);
        }
        put(&mut bytes, 56, 0xffff, 2);
        put(&mut bytes, 60, 0xffff, 2);
        // Symbols of this filling are functions.
        let endless = Endless { image: Image::new(bytes), filler: STT_FUNC };
        assert_eq!(function(&endless, 0x280), None);
        let blocks =
            2 * (MAX_SYMBOLS as usize / (BLOCK / 24) + 0xffff / (BLOCK / 64) + 0xffff / (BLOCK / 56));
        assert!(endless.image.reads.get() <= blocks + 100, "{} reads", endless.image.reads.get());
    }
}
