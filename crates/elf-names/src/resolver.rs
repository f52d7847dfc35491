//! All steps from an address to its name, with caches of earlier look-ups.

use core::ffi::CStr;

use crate::ReadAt;
use crate::maps::{LINE_CAPACITY, Line, Mapping, Piece, Pieces, What, base_name, each_mapping};
use crate::symbols::{Scratch, Wanted, find, read_name};

/// Mappings remembered, without anonymous memory that has no label; one for all of a library's that follow each other
/// and are no code.
const MAX_REGIONS: usize = 2048;
/// Files and labels remembered, and the bytes of their paths with a NUL each.
const MAX_LIBRARIES: usize = 1024;
const TEXTS: usize = 128 * 1024;
/// Files kept open.
const MAX_FILES: usize = 8;
/// Cached results: most layers of most threads have few different targets.
const ANSWERS: usize = 256;

/// Where a process's files are.
pub trait Files {
    /// A file that is open.
    type File: ReadAt;
    /// Opens the list of what the process has mapped, of the form of `/proc/PID/maps`.
    fn maps(&self) -> Option<Self::File>;
    /// Opens the file at a path of that list. It may be something else by now.
    fn open(&self, path: &CStr) -> Option<Self::File>;
}

/// What is known of an address.
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

    /// Name of the function or variable as in the file: mangled, any bytes but NUL.
    pub fn name(&self) -> Option<&[u8]> {
        self.name
    }

    /// Distance from the start of the function or variable, or from where the library is loaded if there is no name.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// Looks addresses up. It reads the list of mappings once, keeps files open and caches results, so it is meant for one
/// report, as mappings change. It is large, as it contains all its memory, so that a caller needs little stack. When
/// this memory is full, further addresses have no names.
///
/// A new one is all zeros.
pub struct Resolver<F> {
    is_read: bool,
    regions: [Region; MAX_REGIONS],
    region_count: usize,
    libraries: [Library; MAX_LIBRARIES],
    library_count: usize,
    texts: [u8; TEXTS],
    text_length: usize,
    files: [OpenFile<F>; MAX_FILES],
    next_file: usize,
    answers: [Answer; ANSWERS],
    line: Line,
    scratch: Scratch,
}

/// A mapping, or several of a library.
#[derive(Clone, Copy)]
struct Region {
    start: u64,
    end: u64,
    /// Where `start` lies in the file.
    offset: u64,
    /// Where the beginning of the library's file is, or would be if it were mapped before its first mapping.
    base: u64,
    library: u32,
    what: What,
}

/// A mapped file or a label: a piece of the texts.
#[derive(Clone, Copy)]
struct Library {
    start: u32,
    length: u32,
}

/// A library's file that is open, or could not be opened.
struct OpenFile<F> {
    /// One more than the library's number, 0 for none. (An Option would make a new Resolver more than zeros.)
    library: u32,
    file: Option<F>,
}

impl<F> OpenFile<F> {
    const NONE: OpenFile<F> = OpenFile { library: 0, file: None };
}

/// What was found out about an address.
#[derive(Clone, Copy)]
struct Answer {
    /// 0 for no answer: nothing is at that address.
    address: u64,
    /// Whether a variable was asked for.
    is_data: bool,
    region: u32,
    /// Where in the file the name stands, 0 for nowhere.
    name: u64,
    offset: u64,
}

impl<F: ReadAt> Default for Resolver<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: ReadAt> Resolver<F> {
    /// An empty resolver.
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
            answers: [Answer { address: 0, is_data: false, region: 0, name: 0, offset: 0 }; ANSWERS],
            line: [0; LINE_CAPACITY],
            scratch: Scratch::new(),
        }
    }

    /// Empties the caches and closes the files.
    pub fn forget(&mut self) {
        self.is_read = false;
        (self.region_count, self.library_count, self.text_length) = (0, 0, 0);
        self.files.iter_mut().for_each(|file| *file = OpenFile::NONE);
        self.answers.iter_mut().for_each(|answer| answer.address = 0);
    }

    /// Empties the caches without closing the files. In the child of a fork: their numbers may be other files' by now.
    pub fn abandon_files(&mut self) {
        self.files.iter_mut().for_each(|open| core::mem::forget(open.file.take()));
    }

    /// Names `address`, or `None` if it lies in no mapping, or in one of anonymous memory without a label.
    pub fn resolve(&mut self, files: &impl Files<File = F>, address: u64) -> Option<Symbol<'_>> {
        self.resolve_as(files, address, false)
    }

    /// Names the variable at `address`: a global one's symbol, otherwise the label of its mapping (`[heap]`) or the
    /// library whose data it is in, as resolve does.
    pub fn resolve_data(&mut self, files: &impl Files<File = F>, address: u64) -> Option<Symbol<'_>> {
        self.resolve_as(files, address, true)
    }

    fn resolve_as(
        &mut self,
        files: &impl Files<File = F>,
        address: u64,
        is_data: bool,
    ) -> Option<Symbol<'_>> {
        let place = address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let place = place as usize % ANSWERS;
        let known = *self.answers.get(place)?;
        let answer = if known.address == address && known.is_data == is_data && address != 0 {
            known
        } else {
            let answer = self.look_up(files, address, is_data)?;
            *self.answers.get_mut(place)? = answer;
            answer
        };
        self.symbol(files, answer)
    }

    #[inline(never)]
    fn look_up(&mut self, files: &impl Files<File = F>, address: u64, is_data: bool) -> Option<Answer> {
        if !self.is_read {
            self.is_read = true;
            self.read_maps(&files.maps()?);
        }
        let index = self.region_of(address)?;
        let region = *self.regions.get(index)?;
        let distance = address.wrapping_sub(region.base);
        let wanted = match region.what {
            _ if is_data => Some(Wanted::Variable(distance)),
            What::Code => {
                Some(Wanted::Function(address.wrapping_sub(region.start).wrapping_add(region.offset)))
            }
            _ => None,
        };
        let found = wanted.and_then(|wanted| {
            self.with_file(files, region.library, |file, scratch| find(file, scratch, wanted))
        });
        let (name, offset) = match found {
            Some(found) if found.name != 0 => (found.name, found.distance),
            None if region.what == What::Tail => return None,
            _ => (0, distance),
        };
        Some(Answer { address, is_data, region: index as u32, name, offset })
    }

    /// The answer with its texts.
    fn symbol(&mut self, files: &impl Files<File = F>, answer: Answer) -> Option<Symbol<'_>> {
        let library = self.regions.get(answer.region as usize)?.library;
        let length = match answer.name {
            0 => None,
            name => self.with_file(files, library, |file, scratch| read_name(file, name, &mut scratch.name)),
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

    // ---- Files ----------------------------------------------------------------------------------------------

    /// Runs `body` with the library's file, if it can be opened; it is opened once.
    fn with_file<R>(
        &mut self,
        files: &impl Files<File = F>,
        library: u32,
        body: impl FnOnce(&F, &mut Scratch) -> Option<R>,
    ) -> Option<R> {
        let number = library.wrapping_add(1);
        let place = match self.files.iter().position(|open| open.library == number) {
            Some(place) => place,
            None => {
                let file = self.open(files, library);
                let place = self.next_file % MAX_FILES;
                self.next_file = self.next_file.wrapping_add(1);
                *self.files.get_mut(place)? = OpenFile { library: number, file };
                place
            }
        };
        body(self.files.get(place)?.file.as_ref()?, &mut self.scratch)
    }

    /// Opens the mapped file by its path. Only files that are mapped as code, too, have symbols, and only those are
    /// certain not to be devices, which opening could affect. The path of a file that was deleted or replaced has a
    /// suffix, so that it cannot be opened.
    #[inline(never)]
    fn open(&self, files: &impl Files<File = F>, library: u32) -> Option<F> {
        let regions = self.regions.get(..self.region_count)?;
        let is_code = regions.iter().any(|region| region.library == library && region.what == What::Code);
        if !is_code || !self.text(library).starts_with(b"/") {
            return None;
        }
        let start = self.libraries.get(library as usize)?.start as usize;
        files.open(CStr::from_bytes_until_nul(self.texts.get(start..)?).ok()?)
    }

    // ---- The list of mappings -------------------------------------------------------------------------------

    /// The region that holds `address`.
    fn region_of(&self, address: u64) -> Option<usize> {
        let regions = self.regions.get(..self.region_count)?;
        let index = regions.partition_point(|region| region.start <= address).checked_sub(1)?;
        (address < regions.get(index)?.end).then_some(index)
    }

    /// Reads the list.
    #[inline(never)]
    fn read_maps(&mut self, maps: &F) {
        let mut pieces = Pieces::new();
        let mut library = None;
        let Resolver {
            line,
            scratch,
            regions,
            region_count,
            libraries,
            library_count,
            texts,
            text_length,
            ..
        } = self;
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
        let mut add = |mapping: &Mapping<'_>| {
            let Piece { what, base, is_first } = pieces.follow(mapping)?;
            if is_first {
                library = remember(mapping.path);
            }
            let Mapping { start, end, offset, .. } = *mapping;
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
            Some(())
        };
        each_mapping(maps, line, &mut scratch.block, |mapping| {
            // A mapping without room has no names.
            let _ = add(mapping);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::PATH_CAPACITY;
    use crate::testing::{Image, typical};
    use core::cell::RefCell;
    use std::borrow::ToOwned;
    use std::boxed::Box;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    /// A list of mappings, and files in memory. What was opened, in that order.
    struct Disk {
        maps: Option<Image>,
        files: Vec<(&'static str, Image)>,
        opened: RefCell<Vec<String>>,
    }

    impl Disk {
        fn new(maps: impl Into<Vec<u8>>) -> Disk {
            Disk { maps: Some(Image::new(maps)), files: Vec::new(), opened: RefCell::default() }
        }

        fn with(maps: &str, paths: &[&'static str]) -> Disk {
            Disk { files: paths.iter().map(|&path| (path, typical().image())).collect(), ..Disk::new(maps) }
        }

        fn opened(&self) -> Vec<String> {
            self.opened.take()
        }
    }

    impl Files for Disk {
        type File = Image;

        fn maps(&self) -> Option<Image> {
            self.opened.borrow_mut().push("maps".to_owned());
            self.maps.clone()
        }

        fn open(&self, path: &CStr) -> Option<Image> {
            let path = path.to_str().unwrap();
            self.opened.borrow_mut().push(path.to_owned());
            self.files.iter().find(|(name, _)| *name == path).map(|(_, file)| file.clone())
        }
    }

    fn new() -> Box<Resolver<Image>> {
        Box::new(Resolver::new())
    }

    fn shown(symbol: Option<Symbol<'_>>) -> Option<String> {
        let symbol = symbol?;
        let name = symbol.name().map(String::from_utf8_lossy).unwrap_or_default();
        Some(format!("{}!{}+{:#x}", String::from_utf8_lossy(symbol.library()), name, symbol.offset()))
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
7f0000008000-7f0000009000 r-xp 00000000 00:00 0
not a mapping
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn a_mapping_gives_library_and_distance_from_its_load_base() {
        for piece in [1, 7, 2048] {
            let disk = Disk { maps: Some(Image { piece, ..Image::new(MAPS) }), ..Disk::new("") };
            let mut resolver = new();
            let mut found = |address| {
                let found = shown(resolver.resolve(&disk, address));
                let place = resolver.region_of(address).map(|index| {
                    let region = resolver.regions[index];
                    (region.what == What::Code).then(|| address - region.start + region.offset)
                });
                Some((found?, place??))
            };
            let at = |shown: &str, offset| Some((shown.to_owned(), offset));
            assert_eq!(found(0x40_1234), at("pro gram!+0x1234", 0x1234));
            assert_eq!(found(0x7f00_0000_1040), at("libsmall.so!+0x1040", 0x40), "two pieces from one page");
            assert_eq!(found(0x7f00_0000_5040), at("libsmall.so!+0x1040", 0x1040), "loaded a second time");
            assert_eq!(found(0x7f00_0000_6040), at("memfd:doublemapper!+0x5040", 0x5040));
            assert_eq!(found(0xffff_ffff_ff60_0000), at("[vsyscall]!+0x0", 0));
        }
    }

    #[test]
    fn data_has_the_library_or_label_of_its_mapping() {
        let disk = Disk::new(MAPS);
        let mut resolver = new();
        let mut found = |address| shown(resolver.resolve_data(&disk, address));
        assert_eq!(found(0x100_0010).unwrap(), "[heap]!+0x10");
        assert_eq!(found(0x7f00_0000_3040).unwrap(), "libsmall.so!+0x3040", "beyond a hole");
        for nowhere in [0, 0x40_2000, 0x7f00_0000_2000, 0x7f00_0000_8040, u64::MAX - 1] {
            assert_eq!(found(nowhere), None, "{nowhere:x}");
        }
    }

    #[test]
    fn of_the_memory_behind_a_file_what_is_loaded_is_its_data() {
        let disk = Disk::with(
            "\
1000-2000 r-xp 0227e000 fd:00 11                                     /lib/program
2000-2800 rw-p 0227f000 fd:00 11                                     /lib/program
2800-3000 rw-p 00000000 00:00 0
11000-12000 r--p 00000000 fd:00 11                                     /lib/program
12000-13000 r-xp 00001000 fd:00 11                                     /lib/program
13000-15000 rw-p 00000000 00:00 0
15000-16000 rw-p 00000000 00:00 0                                      [heap]
21000-22000 r--s 0101a000 fd:00 11                                     /lib/program
22000-24000 rw-p 00000000 00:00 0
31000-32000 rw-s 00000000 00:01 12                                     /lib/data
32000-34000 rw-p 00000000 00:00 0
41000-43000 r-xp 00000000 fd:00 13                                     /lib/program (deleted)
43000-44000 rw-p 00000000 00:00 0
",
            &["/lib/program", "/lib/data"],
        );
        let mut resolver = new();
        let mut found = |address| shown(resolver.resolve_data(&disk, address));
        assert_eq!(found(0x13010).unwrap(), "program!+0x2010", "zeroed data");
        assert_eq!(found(0x21010).unwrap(), "program!+0x101a010", "mapped by itself");
        assert_eq!(found(0x2160).unwrap(), "program!+0x227f160", "not a_table, though it is mapped as code");
        let nowhere = [
            (0x2810, "behind what a program maps of its own file"),
            (0x14010, "other memory, which adjoins"),
            (0x22010, "behind what it maps as data"),
            (0x33010, "behind a file that is no library"),
            (0x43010, "of a file that cannot be read"),
        ];
        for (address, why) in nowhere {
            assert_eq!(found(address), None, "{why}");
        }
    }

    #[test]
    fn what_is_no_code_of_a_file_or_label_is_unknown() {
        let disk = Disk::new(MAPS);
        let mut resolver = new();
        for nowhere in [0, 0x40_2000, 0x7f00_0000_8040, u64::MAX - 1] {
            assert_eq!(shown(resolver.resolve(&disk, nowhere)), None, "{nowhere:x}");
        }
        assert_eq!(shown(resolver.resolve(&disk, 0x7f00_0000_2000)), None, "zeroed data is no code");
    }

    #[test]
    fn functions_and_variables_are_named() {
        let disk = Disk::with("5000-6000 r-xp 00001000 fd:00 1   /lib/small\n", &["/lib/small"]);
        let mut resolver = new();
        assert_eq!(shown(resolver.resolve(&disk, 0x5150)).unwrap(), "small!inner+0x10");
        assert_eq!(shown(resolver.resolve_data(&disk, 0x5000 + 0x1150)), None, "behind the mapping");
        let disk = Disk::with("5000-7000 r-xp 00000000 fd:00 1   /lib/small\n", &["/lib/small"]);
        let mut resolver = new();
        assert_eq!(shown(resolver.resolve_data(&disk, 0x5000 + 0x1150)).unwrap(), "small!a_table+0x0");
        assert_eq!(shown(resolver.resolve(&disk, 0x5000 + 0x1150)).unwrap(), "small!inner+0x10", "as code");
    }

    #[test]
    fn what_was_found_is_remembered() {
        let disk = Disk::with("5000-7000 r-xp 00000000 fd:00 1   /lib/small\n", &["/lib/small"]);
        let mut resolver = new();
        for is_data in [false, true] {
            let mut reads = || {
                assert!(resolver.resolve_as(&disk, 0x5000 + 0x1150, is_data).is_some());
                resolver.files[0].file.as_ref().unwrap().reads.get()
            };
            let before = reads();
            assert_eq!(reads(), before + 1, "the name alone");
        }
    }

    #[test]
    fn the_list_is_read_once_and_files_are_opened_once() {
        let maps = "5000-6000 r-xp 00001000 fd:00 1 /lib/small\n6000-7000 r-xp 0 fd:00 2 /lib/gone\n";
        let mut disk = Disk::with(maps, &["/lib/small"]);
        let mut resolver = new();
        for address in [0x5100, 0x5150, 0x6000, 0x5100, 0x6001] {
            assert!(resolver.resolve(&disk, address).is_some());
        }
        assert_eq!(disk.opened(), ["maps", "/lib/small", "/lib/gone"]);
        disk.maps = None;
        assert!(resolver.resolve(&disk, 0x5000).is_some());
        resolver.forget();
        assert!(resolver.resolve(&disk, 0x5000).is_none());
        assert!(resolver.resolve(&disk, 0x5000).is_none());
        assert_eq!(disk.opened(), ["maps"], "once, though it cannot be opened");
    }

    #[test]
    fn more_files_and_answers_than_are_remembered_do_no_harm() {
        let path = |at: usize| -> &'static str { format!("/lib/{at}").leak() };
        let line = |at: usize| format!("{at:x}0000-{at:x}1000 r-xp 00001000 fd:00 {at} {}\n", path(at));
        let count = 2 * MAX_FILES;
        let maps: String = (1..=count).map(line).collect();
        let disk = Disk::with(&maps, &(1..=count).map(path).collect::<Vec<_>>());
        let mut resolver = new();
        for round in 0..4 * ANSWERS as u64 {
            let (library, place) = (round % count as u64 + 1, round / count as u64 % 0x20);
            let address = (library << 16) + 0x140 + place;
            assert_eq!(
                shown(resolver.resolve(&disk, address)).unwrap(),
                format!("{library}!inner+{place:#x}")
            );
        }
    }

    #[test]
    fn only_files_mapped_as_code_are_opened() {
        // The last is a label, not the file of that name in the current directory.
        for (mapping, opened) in [
            ("r-xp 0 fd:00 1 /lib/small", &["maps", "/lib/small"][..]),
            ("rw-s 0 fd:00 1 /lib/small", &["maps"]),
            ("r-xp 0 0:0 0 small", &["maps"]),
        ] {
            let disk = Disk::with(&format!("1000-2000 {mapping}\n"), &["/lib/small", "small"]);
            let mut resolver = new();
            assert!(resolver.resolve_data(&disk, 0x1000).is_some());
            assert_eq!(disk.opened(), opened, "{mapping}");
        }
    }

    #[test]
    fn more_mappings_than_are_remembered_are_left_out() {
        let line = |at: usize| format!("{at:x}000-{at:x}800 r-xp 00000000 fd:00 {at}   /lib/number {at}\n");
        let disk = Disk::new((1..4000).map(line).collect::<String>());
        let mut resolver = new();
        assert_eq!(shown(resolver.resolve(&disk, 0x400 * 0x1000 + 5)).unwrap(), "number 1024!+0x5");
        assert!(resolver.resolve(&disk, 3999 * 0x1000 + 5).is_none());
    }

    #[test]
    fn a_path_that_was_cut_is_one_that_no_kernel_opens_and_harms_no_other() {
        let long = "/".to_owned() + &"directory/".repeat(LINE_CAPACITY / 5) + "lib.so";
        let maps = format!("1000-2000 r-xp 0 fd:00 1 {long}\n2000-3000 r-xp 00001000 fd:00 2 /b/next\n");
        let disk = Disk::with(&maps, &["/b/next"]);
        let mut resolver = new();
        assert_eq!(shown(resolver.resolve(&disk, 0x2150)).unwrap(), "next!inner+0x10");
        assert!(shown(resolver.resolve(&disk, 0x1150)).unwrap().ends_with("!+0x150"));
        assert!(disk.opened()[2].len() >= PATH_CAPACITY);
    }

    #[test]
    fn files_that_were_given_up_are_not_closed() {
        struct Closes<'a>(&'a core::cell::Cell<u32>);
        impl ReadAt for Closes<'_> {
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
                Image::new("1000-2000 r-xp 0 fd:00 1 /lib\n").read_at(offset, buffer)
            }
        }
        impl Drop for Closes<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        struct Counted<'a>(&'a core::cell::Cell<u32>);
        impl<'a> Files for Counted<'a> {
            type File = Closes<'a>;
            fn maps(&self) -> Option<Closes<'a>> {
                Some(Closes(self.0))
            }
            fn open(&self, _: &CStr) -> Option<Closes<'a>> {
                Some(Closes(self.0))
            }
        }
        let closed = core::cell::Cell::new(0);
        let mut resolver = Box::new(Resolver::new());
        resolver.resolve(&Counted(&closed), 0x1000);
        assert_eq!(closed.get(), 1, "the list");
        resolver.forget();
        assert_eq!(closed.get(), 2);
        resolver.resolve(&Counted(&closed), 0x1000);
        resolver.abandon_files();
        resolver.forget();
        assert_eq!(closed.get(), 3, "the list, but not the file");
    }
}
