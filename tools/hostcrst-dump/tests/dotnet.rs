//! Lines of places in .NET's code: from assemblies and portable PDBs that are made here byte by byte, then damaged, or made to
//! harm: the right line or none, no panic, no hang.

mod common;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostcrst::inspect::IlPlace;
use hostcrst_dump::core_file::Bytes;
use hostcrst_dump::symbols::{Places, Symbols};
use hostcrst_dump::target::{Mapping, Target};
use hostcrst_dump::time_limit::TimeLimit;

const PATIENCE: Duration = Duration::from_secs(60);

const VERSION: [u8; 16] = *b"which assembly !";
const ID: [u8; 20] = *b"which PDB it is!0815";
/// Where the assembly stands in memory, and in the file that is mapped there.
const BASE: u64 = 0x7f00_0000_0000;
const INSIDE: usize = 4096;
/// In an assembly, where its section lies in the file, and where it is to be loaded.
const SECTION: usize = 0x200;
const LOADED: usize = 0x2000;
const CODE: u64 = 0x7fff_0000;
const METHOD: u32 = 0x0600_0002;

fn compressed(value: u32) -> Vec<u8> {
    match value {
        0..0x80 => vec![value as u8],
        0x80..0x4000 => (value as u16 | 0x8000).to_be_bytes().to_vec(),
        _ => (value | 0xC000_0000).to_be_bytes().to_vec(),
    }
}

fn compressed_signed(value: i32) -> Vec<u8> {
    let (bits, negative) = match value {
        -0x40..0x40 => (7, value < 0),
        -0x2000..0x2000 => (14, value < 0),
        _ => (29, value < 0),
    };
    let rotated = (value << 1) as u32 & ((1 << bits) - 1) | u32::from(negative);
    match bits {
        7 => vec![rotated as u8],
        14 => (rotated as u16 | 0x8000).to_be_bytes().to_vec(),
        _ => (rotated | 0xC000_0000).to_be_bytes().to_vec(),
    }
}

/// The head of metadata, and its streams.
fn metadata(streams: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut head = b"BSJB\x01\0\x01\0\0\0\0\0\x0c\0\0\0PDB v1.0\0\0\0\0\0\0".to_vec();
    head.extend((streams.len() as u16).to_le_bytes());
    let names = streams.iter().map(|(name, _)| 8 + (name.len() + 1).next_multiple_of(4));
    let mut at = head.len() + names.sum::<usize>();
    for (name, content) in streams {
        head.extend((at as u32).to_le_bytes());
        head.extend((content.len() as u32).to_le_bytes());
        head.extend(*name);
        head.resize(head.len() + 4 - name.len() % 4, 0);
        at += content.len();
    }
    streams.iter().for_each(|(_, content)| head.extend(content));
    head
}

/// The stream of tables: their numbers, how many rows each has, and the rows.
fn tables(of: &[(u32, u32)], rows: &[u8]) -> Vec<u8> {
    let mut stream = b"\0\0\0\0\x02\0\0\x01".to_vec();
    stream.extend(of.iter().map(|(table, _)| 1_u64 << table).sum::<u64>().to_le_bytes());
    stream.extend(0_u64.to_le_bytes());
    of.iter().for_each(|(_, rows)| stream.extend(rows.to_le_bytes()));
    stream.extend(rows);
    stream
}

/// The blobs of a PDB, one behind the other, and where the next one stands.
struct Blobs(Vec<u8>);

impl Blobs {
    fn add(&mut self, blob: &[u8]) -> u16 {
        let at = self.0.len() as u16;
        self.0.extend(compressed(blob.len() as u32));
        self.0.extend(blob);
        at
    }
}

/// The second of two methods has statements of `Shop.cs`, and one of a file of which the path is of Windows.
fn pdb(id: [u8; 20]) -> Vec<u8> {
    let mut blobs = Blobs(vec![0]);
    let mut names = Vec::new();
    for parts in [["", "src", "Shop.cs"], ["C:", "a\\b", "Till (1).cs"]] {
        let parts: Vec<u16> = parts.iter().map(|part| blobs.add(part.as_bytes())).collect();
        let separator = if names.is_empty() { b'/' } else { b'\\' };
        let name: Vec<u8> =
            [separator].into_iter().chain(parts.iter().flat_map(|&part| compressed(part.into()))).collect();
        names.push(blobs.add(&name));
    }
    let mut points = vec![0, 1];
    // At 0 line 300, of one line; at 5 nothing; at 6 line 12, of three lines; at 300 line 13 of the second file.
    points.extend([vec![0, 0, 7], compressed(300), vec![9]].concat());
    points.extend([5, 0, 0]);
    points
        .extend([vec![1, 2], compressed_signed(-4), compressed_signed(-288), compressed_signed(3)].concat());
    points.extend([0, 2]);
    points.extend([compressed(294), vec![0, 1], compressed_signed(1), compressed_signed(0)].concat());
    let points = blobs.add(&points);
    let mut rows = Vec::new();
    names.iter().for_each(|name| rows.extend([name.to_le_bytes(), [0; 2], [0; 2], [0; 2]].concat()));
    // Of the first method nothing is known; the second one's document stands with its statements.
    rows.extend([[0; 2], [0; 2], [0; 2], points.to_le_bytes()].concat());
    let head = [&id[..], &[0; 12]].concat();
    metadata(&[(b"#Pdb", head), (b"#~", tables(&[(0x30, 2), (0x31, 2)], &rows)), (b"#Blob", blobs.0)])
}

fn embedded(pdb: &[u8], size: usize) -> Vec<u8> {
    let packed = miniz_oxide::deflate::compress_to_vec(pdb, 6);
    [b"MPDB", &(size as u32).to_le_bytes()[..], &packed].concat()
}

/// An assembly with one section: .NET's head, metadata, and what it says of its PDB.
fn assembly(path: &str, embedded: Option<Vec<u8>>) -> Vec<u8> {
    let mut section = Vec::new();
    let address = |section: &Vec<u8>| (LOADED + section.len()) as u32;
    let module = [[0; 2], [1, 0], [2, 0], [0; 2], [0; 2]].concat();
    let guids = [[0; 16], VERSION].concat();
    let content = metadata(&[(b"#~", tables(&[(0, 1)], &module)), (b"#GUID", guids)]);
    let metadata_at = address(&section);
    section.extend(&content);
    let cli_at = address(&section);
    section.extend(
        [72_u32.to_le_bytes(), [2, 0, 5, 0], metadata_at.to_le_bytes(), (content.len() as u32).to_le_bytes()]
            .concat(),
    );
    section.resize(section.len() + 56, 0);
    let view = [b"RSDS", &ID[..16], &[1, 0, 0, 0], path.as_bytes(), &[0]].concat();
    let mut entries = Vec::new();
    for (kind, content) in [(2_u32, Some(view)), (17, embedded)] {
        let Some(content) = content else { continue };
        let at = address(&section);
        let entry =
            [0, u32::from_le_bytes(*ID[16..].first_chunk().unwrap()), 0, kind, content.len() as u32, at];
        entries.extend(entry.iter().flat_map(|number| number.to_le_bytes()));
        entries.extend((at - LOADED as u32 + SECTION as u32).to_le_bytes());
        section.extend(content);
    }
    let debug_at = address(&section);
    section.extend(&entries);

    let mut file = b"MZ".to_vec();
    file.resize(60, 0);
    file.extend(64_u32.to_le_bytes());
    file.extend(b"PE\0\0\x64\x86\x01\0");
    file.resize(file.len() + 12, 0);
    file.extend([240, 0, 0, 0]);
    file.extend(0x20B_u16.to_le_bytes());
    file.resize(file.len() + 106, 0);
    file.extend(16_u32.to_le_bytes());
    for directory in 0..16 {
        let (at, size) = match directory {
            6 => (debug_at, entries.len() as u32),
            14 => (cli_at, 72),
            _ => (0, 0),
        };
        file.extend([at.to_le_bytes(), size.to_le_bytes()].concat());
    }
    file.extend(b".text\0\0\0");
    let size = section.len() as u32;
    file.extend([size, LOADED as u32, size, SECTION as u32].iter().flat_map(|number| number.to_le_bytes()));
    file.resize(SECTION, 0);
    file.extend(section);
    file
}

/// As its loader has placed it.
fn loaded(assembly: &[u8]) -> Vec<u8> {
    let mut memory = assembly[..SECTION].to_vec();
    memory.resize(LOADED, 0);
    memory.extend(&assembly[SECTION..]);
    memory
}

/// A process that has an assembly mapped, from a file with something before it, or has its bytes in memory.
struct Process {
    mappings: Vec<Mapping>,
    assembly: RefCell<Vec<u8>>,
    memory: Vec<u8>,
    pdb: RefCell<Vec<u8>>,
    opened: RefCell<Vec<PathBuf>>,
    place: Cell<IlPlace>,
}

fn file_of(before: usize, bytes: &[u8]) -> Option<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![0; before]).unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    Some(file)
}

impl Target for Process {
    fn description(&self) -> String {
        "a process".to_owned()
    }
    fn process_id(&self) -> u32 {
        1
    }
    fn is_live(&self) -> bool {
        false
    }
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        address.checked_sub(BASE).map_or(0, |offset| self.memory.as_slice().copy(offset, buffer))
    }
    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }
    fn open(&self, _: &Mapping) -> Option<File> {
        file_of(INSIDE, &self.assembly.borrow())
    }
    fn open_path(&self, path: &Path) -> Option<File> {
        self.opened.borrow_mut().push(path.to_owned());
        file_of(0, &self.pdb.borrow())
    }
    fn now(&self) -> Option<u64> {
        None
    }
}

impl Places for Process {
    fn place_at(&self, address: u64) -> Option<String> {
        (address == CODE).then(|| "Shop.Sell(…)+0x1f".to_owned())
    }
    fn il_place_at(&self, address: u64) -> Option<IlPlace> {
        (address == CODE).then(|| self.place.get())
    }
}

impl Process {
    fn new(assembly: Vec<u8>, pdb: Vec<u8>) -> Process {
        let place = IlPlace { assembly: BASE, version: VERSION, method: METHOD, offset: 0 };
        Process {
            mappings: vec![common::mapping(
                BASE - 4096,
                0x10_1000,
                INSIDE as u64 - 4096,
                Path::new("/shop/Shop.dll"),
            )],
            assembly: RefCell::new(assembly),
            memory: Vec::new(),
            pdb: RefCell::new(pdb),
            opened: RefCell::new(Vec::new()),
            place: Cell::new(place),
        }
    }

    /// What stands behind the name of the method.
    fn line(&self) -> String {
        let mut text = String::new();
        let mut symbols = Symbols::new(self, TimeLimit::of(PATIENCE)).with_places(self);
        assert!(symbols.write_code(&mut text, CODE, true).unwrap());
        text.strip_prefix("Shop.Sell(…)+0x1f").expect("its method").to_owned()
    }

    fn line_at(&self, method: u32, offset: u32) -> String {
        self.place.set(IlPlace { method, offset, ..self.place.get() });
        self.line()
    }
}

#[test]
fn a_line_is_that_of_the_last_statement_that_has_begun() {
    let process = Process::new(assembly("/elsewhere/Shop.pdb", None), pdb(ID));
    for (offset, line) in [
        (0, " (Shop.cs:300)"),
        (4, " (Shop.cs:300)"),
        (5, " (Shop.cs:300)"),
        (6, " (Shop.cs:12)"),
        (299, " (Shop.cs:12)"),
        (300, " (Till _1_.cs:13)"),
        (u32::MAX, " (Till _1_.cs:13)"),
    ] {
        assert_eq!(process.line_at(METHOD, offset), line, "{offset}");
    }
    assert_eq!(process.opened.borrow()[0], Path::new("/shop/Shop.pdb"));
    for method in [0x0600_0000, 0x0600_0001, 0x0600_0003, 0x06FF_FFFF] {
        assert_eq!(process.line_at(method, 0), "", "{method:x}");
    }
}

#[test]
fn a_pdb_is_believed_if_it_is_the_one_that_was_made_with_the_assembly() {
    for at in [0, 15, 16, 19] {
        let mut other = ID;
        other[at] += 1;
        let process = Process::new(assembly("Shop.pdb", None), pdb(other));
        assert_eq!(process.line(), "", "{at}");
        let process =
            Process::new(assembly("Shop.pdb", Some(embedded(&pdb(other), pdb(other).len()))), pdb(ID));
        assert_eq!(
            process.line(),
            " (Shop.cs:300)",
            "the one inside is another one's, the one beside its own"
        );
    }
    let process = Process::new(assembly("Shop.pdb", None), pdb(ID));
    let place = process.place.get();
    process.place.set(IlPlace { version: [1; 16], ..place });
    assert_eq!(process.line(), "", "another assembly stands there by now");
    process.place.set(IlPlace { assembly: BASE + 1, ..place });
    assert_eq!(process.line(), "");
    // A name leads to no other folder.
    for (path, name) in
        [("C:\\src\\Shop.pdb", "Shop.pdb"), ("/a/../b.pdb", "b.pdb"), ("../../c.pdb", "c.pdb")]
    {
        let process = Process::new(assembly(path, None), pdb(ID));
        assert_eq!(process.line(), " (Shop.cs:300)");
        assert_eq!(process.opened.take(), [Path::new("/shop").join(name)]);
    }
    for path in ["", "..", "/a/..", "/", "."] {
        let process = Process::new(assembly(path, None), pdb(ID));
        assert_eq!((process.line(), process.opened.take()), (String::new(), vec![]), "{path}");
    }
}

#[test]
fn an_assembly_may_have_its_pdb_inside_and_stand_in_memory_alone() {
    let pdb = pdb(ID);
    let whole = assembly("Shop.pdb", Some(embedded(&pdb, pdb.len())));
    assert_eq!(Process::new(whole.clone(), Vec::new()).line(), " (Shop.cs:300)");
    for memory in [whole.clone(), loaded(&whole)] {
        for is_mapped in [false, true] {
            let mut process = Process { memory: memory.clone(), ..Process::new(Vec::new(), Vec::new()) };
            process.mappings.truncate(usize::from(is_mapped));
            assert_eq!(process.line(), " (Shop.cs:300)");
        }
    }
    // It is as large as it says, and no PDB is so large as this says.
    for (pdb, size) in [
        (vec![0; 100 << 20], pdb.len()),
        (pdb.clone(), pdb.len() - 1),
        (pdb.clone(), pdb.len() + 1),
        (pdb, 1 << 30),
    ] {
        assert_eq!(
            Process::new(assembly("Shop.pdb", Some(embedded(&pdb, size))), Vec::new()).line(),
            "",
            "{size}"
        );
    }
}

/// Changes some of the bytes there, and says how to undo it.
fn damage(bytes: &mut [u8], parts: &[Range<usize>]) -> Vec<(usize, u8)> {
    let mut undo = Vec::new();
    for _ in 0..1 + fastrand::usize(..4) {
        let at = fastrand::usize(fastrand::choice(parts).unwrap().clone());
        undo.push((at, bytes[at]));
        bytes[at] = fastrand::choice([0, 1, 0x7f, 0x80, 0xbf, 0xc0, 0xff, fastrand::u8(..)]).unwrap();
    }
    undo
}

#[test]
fn damaged_assemblies_and_pdbs_give_no_line_or_a_wrong_one() {
    fastrand::seed(7);
    let pdb = pdb(ID);
    let process = Process::new(assembly("Shop.pdb", Some(embedded(&pdb, pdb.len()))), pdb.clone());
    let beside = Process::new(assembly("Shop.pdb", None), pdb);
    for (process, is_of_pdb) in [(&process, false), (&beside, false), (&beside, true)] {
        let bytes = if is_of_pdb { &process.pdb } else { &process.assembly };
        let length = bytes.borrow().len();
        let mut without = 0;
        for round in 0..10_000 {
            let undo = damage(&mut bytes.borrow_mut(), &[0..length, length / 2..length]);
            let start = Instant::now();
            without += u32::from(process.line_at(METHOD, fastrand::u32(..400)).is_empty());
            assert!(start.elapsed() < Duration::from_secs(10), "round {round}");
            undo.iter().rev().for_each(|&(at, old)| bytes.borrow_mut()[at] = old);
        }
        assert!(without > 100, "{without}");
        let whole = bytes.take();
        for end in 0..length {
            bytes.replace(whole[..end].to_vec());
            process.line_at(METHOD, 299);
        }
        bytes.replace(whole);
        assert_eq!(process.line_at(METHOD, 299), " (Shop.cs:12)");
    }
}

#[test]
fn statements_without_end_are_not_read() {
    let mut pdb = pdb(ID);
    // The blob of the statements grows to the end of the file.
    let points = pdb.windows(3).position(|bytes| bytes == [0, 1, 0]).unwrap();
    let blob: Vec<u8> = [&[0, 1][..], &[1, 0, 0].repeat(32 << 20 >> 2)].concat();
    pdb.truncate(points - 1);
    pdb.extend(compressed(blob.len() as u32));
    pdb.extend(blob);
    let process = Process::new(assembly("Shop.pdb", None), pdb);
    let start = Instant::now();
    assert_eq!(process.line_at(METHOD, u32::MAX), "");
    assert!(start.elapsed() < Duration::from_secs(10));
}
