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
//! No function of libc is called: `files` makes the bare system calls, which take no lock. Nothing is allocated, and
//! little stack is used: what memory it takes stands in the Resolver. `errno` is overwritten; a caller that must keep
//! it saves it. What can still stall a look-up is the kernel, reading from a file system that does not answer.
//!
//! Files may be torn, replaced or hostile: every offset is checked, every loop bounded, and the worst answer
//! is an address without a name. Understood are 64-bit little-endian ELF files with section headers.

use core::ffi::CStr;

use super::files::File;

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
/// Mappings remembered, without anonymous memory that has no label; one for all of a library's that follow each other
/// and are no code.
const MAX_REGIONS: usize = 2048;
/// Files and labels remembered, and the bytes of their paths with a NUL each.
const MAX_LIBRARIES: usize = 1024;
const TEXTS: usize = 128 * 1024;
/// Files kept open.
const MAX_FILES: usize = 8;
/// Answers remembered: most layers of most threads lead to few functions.
const ANSWERS: usize = 256;

/// What is known of a code address.
pub struct Symbol<'a> {
    library: &'a [u8],
    name: Option<&'a [u8]>,
    offset: u64,
}

impl Symbol<'_> {
    /// Base name of the mapped file (`libfoo.so.1`, the program's name), or the kernel's label (`[vdso]`).
    pub fn library(&self) -> &[u8] {
        self.library
    }

    /// Name of the function as it stands in the file: mangled, any bytes but NUL.
    pub fn name(&self) -> Option<&[u8]> {
        self.name
    }

    /// Distance from the start of the function, or from where the library is loaded if there is no name.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// Looks addresses up. It reads the list of mappings once, keeps files open and remembers answers: meant to live for one
/// report, as mappings change. It is large: it has the memory for all that, so that a caller needs little stack. Where
/// that is too small, the rest are addresses without names.
pub struct Resolver {
    is_read: bool,
    regions: [Region; MAX_REGIONS],
    region_count: usize,
    libraries: [Library; MAX_LIBRARIES],
    library_count: usize,
    texts: [u8; TEXTS],
    text_length: usize,
    files: [OpenFile; MAX_FILES],
    next_file: usize,
    answers: [Answer; ANSWERS],
    scratch: Scratch,
}

/// Room for what is read of files.
struct Scratch {
    line: [u8; LINE_CAPACITY],
    block: [u8; BLOCK],
    name: [u8; NAME_CAPACITY],
}

/// A mapping, or several of a library.
#[derive(Clone, Copy)]
struct Region {
    start: u64,
    end: u64,
    /// Where `start` lies in the file.
    offset: u64,
    /// Where the library's first mapping starts.
    base: u64,
    library: u32,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum What {
    Data,
    Code,
    /// What a library's zeroed data needs beyond its file: anonymous memory behind its last mapping.
    Tail,
}

/// A mapped file or a label: a piece of the texts.
#[derive(Clone, Copy)]
struct Library {
    start: u32,
    length: u32,
}

/// A library's file that is open, or could not be opened.
struct OpenFile {
    /// One more than the library's number, 0 for none. (An Option would make a new Resolver more than zeros.)
    library: u32,
    file: Option<File>,
}

impl OpenFile {
    const NONE: OpenFile = OpenFile { library: 0, file: None };
}

/// What was found out about an address.
#[derive(Clone, Copy)]
struct Answer {
    /// 0 for no answer: nothing is at that address.
    address: u64,
    region: u32,
    /// Where in the file the name stands, 0 for nowhere.
    name: u64,
    offset: u64,
}

impl Scratch {
    const fn new() -> Self {
        Scratch { line: [0; LINE_CAPACITY], block: [0; BLOCK], name: [0; NAME_CAPACITY] }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver {
    /// A resolver that has looked at nothing yet.
    pub const fn new() -> Self {
        let region = Region { start: 0, end: 0, offset: 0, base: 0, library: 0, what: What::Data };
        Resolver {
            is_read: false,
            regions: [region; MAX_REGIONS],
            region_count: 0,
            libraries: [Library { start: 0, length: 0 }; MAX_LIBRARIES],
            library_count: 0,
            texts: [0; TEXTS],
            text_length: 0,
            files: [OpenFile::NONE; MAX_FILES],
            next_file: 0,
            answers: [Answer { address: 0, region: 0, name: 0, offset: 0 }; ANSWERS],
            scratch: Scratch::new(),
        }
    }

    /// Forgets what it has looked at, and closes its files.
    pub fn forget(&mut self) {
        self.is_read = false;
        (self.region_count, self.library_count, self.text_length) = (0, 0, 0);
        self.files.iter_mut().for_each(|file| *file = OpenFile::NONE);
        self.answers.iter_mut().for_each(|answer| answer.address = 0);
    }

    /// Gives its files up without closing them. In the child of a fork: the numbers may be another's by now.
    pub fn abandon_files(&mut self) {
        self.files.iter_mut().for_each(|open| core::mem::forget(open.file.take()));
    }

    /// Names `address`, or `None` if it lies in no mapping, or in one of anonymous memory without a label.
    pub fn resolve(&mut self, address: u64) -> Option<Symbol<'_>> {
        let place = address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let place = place as usize % ANSWERS;
        let known = *self.answers.get(place)?;
        let answer = if known.address == address && address != 0 {
            known
        } else {
            let answer = self.look_up(address, false)?;
            *self.answers.get_mut(place)? = answer;
            answer
        };
        self.symbol(answer)
    }

    /// Names the variable at `address`: a global one's symbol, otherwise the label of its mapping (`[heap]`) or the
    /// library whose data it is in, as resolve does.
    pub fn resolve_data(&mut self, address: u64) -> Option<Symbol<'_>> {
        let answer = self.look_up(address, true)?;
        self.symbol(answer)
    }

    #[inline(never)]
    fn look_up(&mut self, address: u64, is_data: bool) -> Option<Answer> {
        if !self.is_read {
            self.is_read = true;
            self.read_maps(&open_maps()?);
        }
        let index = self.region_of(address)?;
        let region = *self.regions.get(index)?;
        let found = match region.what {
            What::Tail if !is_data => return None,
            _ if is_data => self.with_file(region.library, |file, scratch| {
                find_variable(file, scratch, address.saturating_sub(region.base))
            }),
            What::Code => self.with_file(region.library, |file, scratch| {
                find_function(file, scratch, address.wrapping_sub(region.start).wrapping_add(region.offset))
            }),
            _ => None,
        };
        let (name, offset) = found.unwrap_or((0, address.saturating_sub(region.base)));
        Some(Answer { address, region: index as u32, name, offset })
    }

    /// The answer with its texts.
    fn symbol(&mut self, answer: Answer) -> Option<Symbol<'_>> {
        let library = self.regions.get(answer.region as usize)?.library;
        let length = match answer.name {
            0 => None,
            name => self.with_file(library, |file, scratch| read_name(file, name, &mut scratch.name)),
        };
        let name = length.and_then(|length| self.scratch.name.get(..length));
        Some(Symbol { library: base_name(self.text(library)), name, offset: answer.offset })
    }

    /// The path of a library, or its label.
    fn text(&self, library: u32) -> &[u8] {
        let Library { start, length } =
            self.libraries.get(library as usize).copied().unwrap_or(Library { start: 0, length: 0 });
        self.texts.get(start as usize..).and_then(|texts| texts.get(..length as usize)).unwrap_or_default()
    }

    /// Runs `body` with the library's file, if that can be opened, which it is once.
    fn with_file<R>(
        &mut self,
        library: u32,
        body: impl FnOnce(&File, &mut Scratch) -> Option<R>,
    ) -> Option<R> {
        let number = library.wrapping_add(1);
        let place = match self.files.iter().position(|open| open.library == number) {
            Some(place) => place,
            None => {
                let file = self.open(library);
                let place = self.next_file % MAX_FILES;
                self.next_file = self.next_file.wrapping_add(1);
                *self.files.get_mut(place)? = OpenFile { library: number, file };
                place
            }
        };
        body(self.files.get(place)?.file.as_ref()?, &mut self.scratch)
    }

    /// Opens the mapped file by its path. Only what is mapped as code, too, has symbols, and only that is sure not to be a
    /// device that minds being opened. The path of a file that was deleted or replaced carries a mark, so it opens
    /// nothing.
    #[inline(never)]
    fn open(&self, library: u32) -> Option<File> {
        let regions = self.regions.get(..self.region_count)?;
        let is_code = regions.iter().any(|region| region.library == library && region.what == What::Code);
        if !is_code || !self.text(library).starts_with(b"/") {
            return None;
        }
        let start = self.libraries.get(library as usize)?.start as usize;
        // The path may name something else by now: see read_only.
        File::read_only(CStr::from_bytes_until_nul(self.texts.get(start..)?).ok()?)
    }

    // ---- Step 1: the list of mappings ---------------------------------------------------------------------

    /// The region that holds `address`.
    fn region_of(&self, address: u64) -> Option<usize> {
        let regions = self.regions.get(..self.region_count)?;
        let index = regions.partition_point(|region| region.start <= address).checked_sub(1)?;
        (address < regions.get(index)?.end).then_some(index)
    }

    /// Reads the list. A library is mapped piece by piece, at rising addresses and offsets of one file.
    #[inline(never)]
    fn read_maps(&mut self, maps: &impl ReadAt) {
        let (mut file, mut offset, mut base, mut end) = (None, 0, 0, 0);
        let mut library = None;
        let Resolver { scratch, regions, region_count, libraries, library_count, texts, text_length, .. } =
            self;
        let mut remember = |text: &[u8]| {
            let start = *text_length;
            let place = texts.get_mut(start..start + text.len() + 1)?;
            place.split_last_mut()?.1.copy_from_slice(text);
            *place.last_mut()? = 0;
            *libraries.get_mut(*library_count)? = Library { start: start as u32, length: text.len() as u32 };
            *text_length += text.len() + 1;
            *library_count += 1;
            Some(*library_count as u32 - 1)
        };
        find_line(maps, &mut scratch.line, &mut scratch.block, |line| {
            let mapping = Mapping::parse(line)?;
            let is_tail = mapping.inode == 0 && mapping.path.is_empty() && mapping.start == end;
            let what = match mapping.executable {
                _ if is_tail => What::Tail,
                true => What::Code,
                false => What::Data,
            };
            if mapping.inode != 0 {
                let mapped = Some((mapping.device, mapping.inode));
                if file != mapped || mapping.offset < offset {
                    (file, base) = (mapped, mapping.start);
                    library = remember(mapping.path);
                }
                (offset, end) = (mapping.offset, mapping.end);
            } else if !is_tail {
                end = 0;
            }
            let (library, base) = match mapping.inode {
                0 if !is_tail && mapping.path.is_empty() => return None,
                0 if !is_tail => (remember(mapping.path), mapping.start),
                _ => (library, base),
            };
            let Mapping { start, end, offset, .. } = mapping;
            let region = Region { start, end, offset, base, library: library?, what };
            let last = region_count.checked_sub(1).and_then(|last| regions.get_mut(last));
            match last {
                Some(last)
                    if (last.end, last.library, last.what) == (start, region.library, what)
                        && what == What::Data =>
                {
                    last.end = end
                }
                _ => {
                    *regions.get_mut(*region_count)? = region;
                    *region_count += 1;
                }
            }
            None::<()>
        });
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

/// The calling thread's list: `/proc/self` is empty once the main thread has ended. Linux before 3.17 has
/// only that.
fn open_maps() -> Option<File> {
    File::read_only(c"/proc/thread-self/maps").or_else(|| File::read_only(c"/proc/self/maps"))
}

/// One line of the list of mappings.
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
}

/// The last part of a path, without the mark of a file that is no longer there; a label as it is.
fn base_name(path: &[u8]) -> &[u8] {
    if !path.starts_with(b"/") {
        return path;
    }
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.strip_suffix(b" (deleted)").unwrap_or(name)
}

/// Reads two hexadecimal numbers with one character between them.
fn hexadecimal_pair(text: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = text.splitn(2, |byte| !byte.is_ascii_hexdigit());
    Some((number(numbers.next()?, 16)?, number(numbers.next()?, 16)?))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// Shows `visit` one line after the other, without its end and at most as much of it as `line` holds, until it answers.
fn find_line<T>(
    source: &impl ReadAt,
    line: &mut [u8; LINE_CAPACITY],
    block: &mut [u8; BLOCK],
    mut visit: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut length = 0;
    let mut offset = 0;
    loop {
        let read = source.read_at(offset, block)?;
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
    fn find<T>(
        &self,
        file: &impl ReadAt,
        block: &mut [u8; BLOCK],
        mut visit: impl FnMut(&[u8; RECORD]) -> Option<T>,
    ) -> Option<T> {
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

    fn get(&self, file: &impl ReadAt, block: &mut [u8; BLOCK], index: u64) -> Option<[u8; RECORD]> {
        if index >= self.count {
            return None;
        }
        let offset = index.checked_mul(RECORD as u64)?.checked_add(self.offset)?;
        Self { offset, count: 1 }.find(file, block, |record| Some(*record))
    }
}

/// Finds the function at an offset of an ELF file: where its name stands, and how far into the function that is.
#[inline(never)]
fn find_function(file: &impl ReadAt, scratch: &mut Scratch, file_offset: u64) -> Option<(u64, u64)> {
    let mut elf = Elf::open(file, scratch)?;
    let address = elf.virtual_address(file_offset)?;
    elf.find_symbol(&[STT_FUNC, STT_GNU_IFUNC], address)
}

/// Finds the variable of an ELF file at a distance from where the file is loaded.
#[inline(never)]
fn find_variable(file: &impl ReadAt, scratch: &mut Scratch, distance: u64) -> Option<(u64, u64)> {
    let mut elf = Elf::open(file, scratch)?;
    let address = elf.load_address()?.checked_add(distance)?;
    elf.find_symbol(&[STT_OBJECT], address)
}

/// Reads the string at `offset` of a file into `name`, cut if it is too long: its length. `None` if it is empty, or the
/// file ends in it.
fn read_name(file: &impl ReadAt, offset: u64, name: &mut [u8; NAME_CAPACITY]) -> Option<usize> {
    let read = file.read_at(offset, name)?;
    let end = name.get(..read)?.iter().position(|&byte| byte == 0);
    end.or((read == NAME_CAPACITY).then_some(read)).filter(|&length| length > 0)
}

/// An ELF file of a kind that is understood.
struct Elf<'a, F> {
    file: &'a F,
    scratch: &'a mut Scratch,
    segments: Table<{ size_of::<ProgramHeader>() }>,
    sections: Table<{ size_of::<SectionHeader>() }>,
}

impl<'a, F: ReadAt> Elf<'a, F> {
    fn open(file: &'a F, scratch: &'a mut Scratch) -> Option<Self> {
        let header: FileHeader = Table { offset: 0, count: 1 }.get(file, &mut scratch.block, 0)?;
        let understood = header.starts_with(MAGIC_64_LITTLE_ENDIAN)
            && matches!(u16_at(&header, 18), EM_X86_64 | EM_AARCH64)
            && usize::from(u16_at(&header, 54)) == size_of::<ProgramHeader>()
            && usize::from(u16_at(&header, 58)) == size_of::<SectionHeader>();
        understood.then(|| Elf {
            file,
            scratch,
            segments: Table { offset: u64_at(&header, 32), count: u16_at(&header, 56).into() },
            sections: Table { offset: u64_at(&header, 40), count: u16_at(&header, 60).into() },
        })
    }

    /// Where the loader is asked to put what lies at `file_offset`; symbols are given in such addresses.
    fn virtual_address(&mut self, file_offset: u64) -> Option<u64> {
        self.segments.find(self.file, &mut self.scratch.block, |segment| {
            let (offset, address, size) = (u64_at(segment, 8), u64_at(segment, 16), u64_at(segment, 32));
            let distance = file_offset.checked_sub(offset)?;
            (u32_at(segment, 0) == PT_LOAD && distance < size).then(|| address.checked_add(distance))?
        })
    }

    /// Where the loader is asked to put the start of the file.
    fn load_address(&mut self) -> Option<u64> {
        self.segments.find(self.file, &mut self.scratch.block, |segment| {
            let (offset, address) = (u64_at(segment, 8), u64_at(segment, 16));
            (u32_at(segment, 0) == PT_LOAD).then(|| address.checked_sub(offset))?
        })
    }

    /// Finds what stands at `address` and is of one of these kinds of symbol. The full table first; a stripped file has
    /// only the names it exports.
    fn find_symbol(&mut self, kinds: &[u8], address: u64) -> Option<(u64, u64)> {
        [SHT_SYMTAB, SHT_DYNSYM].into_iter().find_map(|table| self.find_in_table(table, kinds, address))
    }

    fn find_in_table(&mut self, kind: u32, kinds: &[u8], address: u64) -> Option<(u64, u64)> {
        let block = &mut self.scratch.block;
        let table = self.sections.find(self.file, block, |section| {
            (u32_at(section, 4) == kind && u64_at(section, 56) == size_of::<SymbolEntry>() as u64)
                .then_some(*section)
        })?;
        let strings = self.sections.get(self.file, block, u32_at(&table, 40).into())?;
        if u32_at(&strings, 4) != SHT_STRTAB {
            return None;
        }
        let count = u64_at(&table, 32) / size_of::<SymbolEntry>() as u64;
        let symbols = Table { offset: u64_at(&table, 24), count: count.min(MAX_SYMBOLS) };

        let mut nearest = Nearest { address, kinds, last_sized: 0, covering: None, open_ended: None };
        symbols.find(self.file, block, |symbol| {
            nearest.offer(symbol);
            None::<()>
        });
        let function = nearest.covering.or_else(|| {
            let open_ended = nearest.open_ended?;
            let section = self.sections.get(self.file, block, open_ended.section.into())?;
            let distance = address.checked_sub(u64_at(&section, 16))?;
            (open_ended.start > nearest.last_sized && distance < u64_at(&section, 32)).then_some(open_ended)
        })?;
        let name = self.best_name(&strings, function.names())?;
        Some((name, address.saturating_sub(function.start)))
    }

    /// Where it stands: of several names for one function the one with the fewest leading underscores, the plainest:
    /// `malloc`, not `__libc_malloc`.
    fn best_name(&mut self, strings: &SectionHeader, names: &[u32]) -> Option<u64> {
        let underscores = |name: &[u8]| name.iter().take_while(|&&byte| byte == b'_').count();
        let (offset, size) = (u64_at(strings, 24), u64_at(strings, 32));
        let places = names.iter().filter_map(|&name| {
            let name = u64::from(name);
            let place = offset.checked_add(name).filter(|_| name < size)?;
            let length = read_name(self.file, place, &mut self.scratch.name)? as u64;
            // All that was read is in the table, and its end too.
            (length < size - name)
                .then(|| (place, underscores(self.scratch.name.get(..length as usize).unwrap_or_default())))
        });
        places.min_by_key(|&(_, underscores)| underscores).map(|(place, _)| place)
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
        let mut resolver = Resolver::new();
        let symbol = resolver.resolve(address)?;
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
        let mut resolver = Resolver::new();
        let found = resolver.resolve(black_box(not_exported as *const ()) as u64).unwrap();
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
    fn the_list_is_read_once_and_files_stay_open() {
        let mut resolver = Resolver::new();
        let mut descriptor = || {
            resolver.resolve(address_of_getpid())?;
            let library = resolver.regions[resolver.region_of(address_of_getpid())?].library;
            let is_it = |open: &&OpenFile| open.library == library + 1;
            Some(resolver.files.iter().find(is_it)?.file.as_ref()?.descriptor())
        };
        let first = descriptor();
        assert!(first.is_some());
        assert_eq!(first, descriptor());
        // Mapped after the list was read.
        let pages = Pages::new(0, first.unwrap(), 0);
        assert!(resolver.resolve(pages.address()).is_none());
        resolver.forget();
        assert!(resolver.resolve(pages.address()).is_some());
    }

    #[test]
    fn more_files_and_answers_than_are_remembered_do_no_harm() {
        let mut resolver = Resolver::new();
        let (getpid, own) = (address_of_getpid(), not_exported as *const () as u64);
        for round in 0..4 * ANSWERS as u64 {
            let symbol = resolver.resolve(getpid + round % 2).unwrap();
            assert_eq!((symbol.name(), symbol.offset()), (Some(&b"getpid"[..]), round % 2));
            resolver.next_file = round as usize;
            resolver.resolve(0x10_0000 + round);
            assert_eq!(resolver.resolve(own).unwrap().offset(), 0);
        }
    }

    /// The list of mappings in another file, read.
    fn resolver_of(maps: &Image) -> std::boxed::Box<Resolver> {
        let mut resolver = std::boxed::Box::new(Resolver::new());
        resolver.is_read = true;
        resolver.read_maps(maps);
        resolver
    }

    #[test]
    fn only_files_mapped_as_code_are_opened() {
        // The last is a label, not the file of that name in the current directory.
        for (mapping, opened) in [
            ("r-xp 0 fd:00 1 /proc/self/exe", true),
            ("rw-s 0 fd:00 1 /proc/self/exe", false),
            ("r-xp 0 0:0 0 src", false),
        ] {
            let maps = Image::new(format!("1000-2000 {mapping}\n"));
            assert_eq!(resolver_of(&maps).open(0).is_some(), opened, "{mapping}");
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
        let path = std::ffi::CString::new(copy.as_os_str().as_encoded_bytes()).unwrap();
        let file = File::read_only(&path).unwrap();

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
        let lowest_free = || open_maps().unwrap().descriptor();
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
            let resolver = resolver_of(&maps);
            let found = |address| {
                let region = resolver.regions[resolver.region_of(address)?];
                let library = String::from_utf8_lossy(base_name(resolver.text(region.library))).into_owned();
                let is_code = region.what == What::Code;
                let file_offset = if is_code { address - region.start + region.offset } else { 0 };
                Some((library, address - region.base, file_offset))
            };
            let at = |library: &str, distance, offset| Some((library.into(), distance, offset));
            assert_eq!(found(0x40_1234), at("pro gram", 0x1234, 0x1234));
            assert_eq!(found(0x100_0010), at("[heap]", 0x10, 0));
            assert_eq!(found(0x7f00_0000_1040), at("libsmall.so", 0x1040, 0x40), "two pieces from one page");
            assert_eq!(found(0x7f00_0000_3040), at("libsmall.so", 0x3040, 0), "beyond a hole");
            assert_eq!(found(0x7f00_0000_5040), at("libsmall.so", 0x1040, 0x1040), "loaded a second time");
            assert_eq!(found(0x7f00_0000_6040), at("memfd:doublemapper", 0x40, 0x5040));
            assert_eq!(found(0xffff_ffff_ff60_0000), at("[vsyscall]", 0, 0));
            assert_eq!(found(0x7f00_0000_2000), at("libsmall.so", 0x2000, 0), "zeroed data");
            assert_eq!(found(0x40_2000), None, "between mappings");
            assert_eq!(found(u64::MAX - 1), None);
        }
    }

    #[test]
    fn more_mappings_than_are_remembered_are_left_out() {
        let line = |at: usize| format!("{at:x}000-{at:x}800 r-xp 00000000 fd:00 {at}   /lib/number {at}\n");
        let maps: String = (1..4000).map(line).collect();
        let mut resolver = resolver_of(&Image::new(maps));
        let symbol =
            resolver.resolve(0x400 * 0x1000 + 5).map(|symbol| (symbol.library().to_vec(), symbol.offset()));
        assert_eq!(symbol, Some((b"number 1024".to_vec(), 5)));
        assert!(resolver.resolve(3999 * 0x1000 + 5).is_none());
    }

    #[test]
    fn lines_longer_than_the_buffer_do_no_harm() {
        let long = "/".to_owned() + &"directory/".repeat(LINE_CAPACITY / 5) + "lib.so";
        let maps =
            format!("1000-2000 r-xp 00000000 fd:00 1   {long}\n2000-3000 r-xp 00000000 fd:00 2 /b/next\n");
        let resolver = resolver_of(&Image::new(maps));
        assert!(resolver.open(0).is_none());
        assert_eq!(base_name(resolver.text(1)), b"next");
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
        let mut scratch = Scratch::new();
        let (name, distance) = find_function(elf, &mut scratch, TEXT + offset)?;
        let length = read_name(elf, name, &mut scratch.name)?;
        Some((String::from_utf8_lossy(&scratch.name[..length]).into_owned(), distance))
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
        let mut block = [0; BLOCK];
        assert_eq!(table.get(&endless, &mut block, 0), Some([1; 8]));
        assert_eq!(table.get(&endless, &mut block, 2), None);
        assert_eq!(table.get(&endless, &mut block, u64::MAX / 2), None);
        assert_eq!(table.find(&endless, &mut block, |_| None::<()>), None);
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
