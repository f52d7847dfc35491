//! Cores and files that are cut, damaged, or made to harm: no panic, no hang, no report that looks whole and is not.

mod common;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hostcrst::inspect::Format;
use hostcrst_dump::core_file::Core;
use hostcrst_dump::failure::Failure;
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::report::report;
use hostcrst_dump::symbols::Symbols;
use hostcrst_dump::target::{Mapping, Target};
use hostcrst_dump::time_limit::TimeLimit;

use common::{Altered, Subject};

/// What a report on damaged memory may take, and what it may then take to end.
const PATIENCE: Duration = Duration::from_millis(300);
const TO_END: Duration = Duration::from_secs(60);

/// xorshift64*: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

fn core_of_hung_process() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::read(Subject::start("hang").take_core(folder.path())).unwrap()
}

fn parse(bytes: &[u8]) -> Result<Core<&[u8]>, Failure> {
    Core::parse(Path::new("core"), bytes)
}

/// A core whose process's files are not at hand: looking into them takes most of the time of a report.
fn without_files(core: Core<&[u8]>) -> Altered<'_, Core<&[u8]>> {
    Altered::new(core, |core: &Core<&[u8]>, address, buffer: &mut [u8]| core.read(address, buffer))
        .without_files()
}

/// Whether a deadlock stands in the core; a failure if that cannot be told.
fn verdict(bytes: &[u8], format: Format) -> Result<bool, Failure> {
    report(&without_files(parse(bytes)?), format, StacksOf::Cycles, TimeLimit::of(PATIENCE))?.deadlock
}

fn positions(bytes: &[u8], pattern: &[u8]) -> Vec<usize> {
    let first = pattern[0];
    let starts = bytes.iter().enumerate().filter(|&(_, &byte)| byte == first).map(|(at, _)| at);
    starts.filter(|&at| bytes[at..].starts_with(pattern)).collect()
}

/// Where the registry stands in the core.
fn registry_in(bytes: &[u8]) -> usize {
    let mut header = b"hostcrst".to_vec();
    header.extend(hostcrst::inspect::LAYOUT_VERSION.to_le_bytes());
    header.extend(hostcrst::inspect::Registry::HEADER.size.to_le_bytes());
    let found = positions(bytes, &header);
    assert_eq!(found.len(), 1);
    found[0]
}

#[test]
fn an_undamaged_core_is_told_from_damaged_ones() {
    let core = core_of_hung_process();
    for format in [Format::Text, Format::Json, Format::Dot, Format::Html] {
        assert!(verdict(&core, format).unwrap());
    }
}

#[test]
fn a_cut_core_is_refused_wherever_it_is_cut() {
    let core = core_of_hung_process();
    let (mut random, mut length) = (Random(1), 0);
    while length < core.len() {
        assert!(matches!(verdict(&core[..length], Format::Text), Err(Failure::Core { .. })), "{length}");
        length += if length < 8192 { 1 + random.below(32) } else { 1 + random.below(core.len() / 50) };
    }
}

#[test]
fn another_layout_is_refused() {
    let mut core = core_of_hung_process();
    let registry = registry_in(&core);
    // The version, the size, and an offset in the table of fields.
    for at in [8, 12, 16 + 24] {
        core[registry + at] ^= 1;
        assert!(matches!(verdict(&core, Format::Text), Err(Failure::UnknownLayout { .. })), "{at}");
        core[registry + at] ^= 1;
    }
    core[registry] ^= 1;
    assert!(matches!(verdict(&core, Format::Text), Err(Failure::Incomplete(_))));
}

#[test]
fn a_core_without_the_memory_of_the_program_that_has_the_library_in_it_is_told_from_one_without_the_library()
{
    let mut core = core_of_hung_process();
    let registry = registry_in(&core) as u64;
    let field = |core: &[u8], at: usize| u64::from_le_bytes(core[at..at + 8].try_into().unwrap());
    let (table, count) = (field(&core, 32) as usize, u16::from_le_bytes([core[56], core[57]]) as usize);
    let mut headers = (0..count).map(|index| table + index * 56);
    let holds = |&header: &usize| {
        (0..field(&core, header + 32)).contains(&(registry.wrapping_sub(field(&core, header + 8))))
    };
    let header = headers.find(holds).unwrap();
    // The data of other libraries stays.
    core[header + 16 + 5] ^= 1;
    assert!(matches!(verdict(&core, Format::Text), Err(Failure::LacksMemory { .. })));
}

#[test]
fn a_core_without_the_arenas_is_not_called_clean() {
    let mut core = core_of_hung_process();
    // The segments' addresses are changed, so that memory which came from no file is missing.
    let mapped: Vec<_> = parse(&core).unwrap().mappings().to_vec();
    let field = |core: &[u8], at: usize| u64::from_le_bytes(core[at..at + 8].try_into().unwrap());
    let (table, count) = (field(&core, 32) as usize, u16::from_le_bytes([core[56], core[57]]) as usize);
    for header in (0..count).map(|index| table + index * 56) {
        let address = field(&core, header + 16);
        if !mapped.iter().any(|mapping| mapping.holds(address)) {
            core[header + 16..header + 24].copy_from_slice(&(address ^ 1 << 40).to_le_bytes());
        }
    }
    assert!(matches!(verdict(&core, Format::Text), Err(Failure::Incomplete(_))));
}

#[test]
fn a_program_that_is_mapped_once_more_to_be_read_is_not_missed_there() {
    let core = core_of_hung_process();
    // Behind all else.
    const ABOVE: u64 = 1 << 47;
    let program = fs::read(common::program()).unwrap();
    let read = |core: &Core<&[u8]>, address: u64, buffer: &mut [u8]| match address.checked_sub(ABOVE) {
        Some(at) => hostcrst_dump::core_file::Bytes::copy(&program.as_slice(), at, buffer),
        None => core.read(address, buffer),
    };
    let mut target = Altered::new(parse(&core).unwrap(), read).without_files();
    target.mappings.push(common::mapping(ABOVE, program.len(), 0, &common::program()));
    assert!(
        report(&target, Format::Text, StacksOf::Cycles, TimeLimit::of(TO_END)).unwrap().deadlock.unwrap()
    );
}

/// The parts of a core that matter to the tool.
fn parts(core: &[u8]) -> Vec<std::ops::Range<usize>> {
    let registry = registry_in(core);
    let around =
        |at: usize, before: usize, after: usize| at.saturating_sub(before)..(at + after).min(core.len());
    // The headers, and the notes: those of one thread are enough.
    let notes = positions(core, b"CORE\0");
    let files = positions(core, b"ELIF");
    let mut parts =
        vec![0..4096, around(notes[0], 64, 256), around(registry, 0, 4096), around(registry, 0, 4096)];
    parts.extend(std::iter::repeat_n(around(files[0], 12, 160), 4));
    for name in [&b"alice\0"[..], b"bob\0", b"accounts\0", b"journal\0"] {
        parts.extend(positions(core, name).into_iter().map(|at| around(at, 512, 512)));
    }
    // The upper half of a first section's word, whatever its number and owner, and that it was entered once.
    let section = [0, 1, 0, 0, 1, 0, 0, 0];
    let sections = positions(core, &section);
    assert!((2..100).contains(&sections.len()), "{}", sections.len());
    parts.extend(sections.into_iter().map(|at| around(at, 4, 64)));
    parts
}

fn mutate(
    core: &mut [u8],
    parts: &[std::ops::Range<usize>],
    random: &mut Random,
    undo: &mut Vec<(usize, u64)>,
) {
    let part = &parts[random.below(parts.len())];
    let at = part.start + random.below(part.len().saturating_sub(8).max(1)) / 4 * 4;
    let Some(place) = core.get_mut(at..at + 8) else { return };
    let old = u64::from_le_bytes(place.as_ref().try_into().unwrap());
    undo.push((at, old));
    let mut new = match random.below(4) {
        0 => old ^ 1 << random.below(64),
        1 => random.next(),
        2 => random.of(&[0, 1, u64::MAX, u64::MAX - 7, 1 << 32, 1 << 31, 1 << 63, 0xffff_ffff, 0x7fff_ffff]),
        _ => old.wrapping_add(random.of(&[1, u64::MAX, 8, 64, 512, 4096, 1 << 32])),
    };
    if random.below(2) == 0 {
        new = new & 0xffff_ffff | old >> 32 << 32;
    }
    place.copy_from_slice(&new.to_le_bytes());
}

#[test]
fn thousands_of_damaged_cores_do_no_harm() {
    let mut core = core_of_hung_process();
    let parts = parts(&core);
    let mut random = Random(20);
    let (mut refused, mut reported) = (0, 0);
    for round in 0..4000 {
        let mut undo = Vec::new();
        for _ in 0..1 + random.below(4) {
            mutate(&mut core, &parts, &mut random, &mut undo);
        }
        let format = random.of(&[Format::Text, Format::Json, Format::Dot, Format::Html]);
        let start = Instant::now();
        match verdict(&core, format) {
            Ok(_) => reported += 1,
            Err(_) => refused += 1,
        }
        assert!(start.elapsed() < TO_END, "round {round} took {:?}: {undo:?}", start.elapsed());
        undo.iter().rev().for_each(|&(at, old)| core[at..at + 8].copy_from_slice(&old.to_le_bytes()));
    }
    // The damage is neither too small to matter nor so large that nothing behind the first checks is reached.
    assert!(refused > 100 && reported > 1000, "{refused} refused, {reported} reported");
}

#[test]
fn each_field_of_the_registry_may_be_anything() {
    let mut core = core_of_hung_process();
    let registry = registry_in(&core);
    // The table of fields ends with an entry of zeros; behind it are the runtime, the arenas and the other tables.
    let entries = (registry + 16..).step_by(32);
    let table_end = entries.take_while(|&at| core[at] != 0).last().unwrap() + 32;
    let values = [0, 1, 3, u64::MAX, 1 << 63, 0x7fff_ffff];
    for at in (table_end..table_end + 1024).step_by(4) {
        for (size, value) in
            values.map(|value: u64| (4, value)).into_iter().chain(values.map(|value| (8, value)))
        {
            let old: Vec<u8> = core[at..at + size].to_vec();
            core[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
            let start = Instant::now();
            let _ = verdict(&core, Format::Text);
            assert!(start.elapsed() < TO_END, "{value:x} at {}", at - registry);
            core[at..at + size].copy_from_slice(&old);
        }
    }
}

/// A process that has one file mapped as its whole memory, whatever is in that file at the moment.
struct OneFile {
    mappings: [Mapping; 1],
    bytes: RefCell<Vec<u8>>,
    file: RefCell<File>,
}

impl Target for OneFile {
    fn description(&self) -> String {
        "a file".to_owned()
    }
    fn process_id(&self) -> u32 {
        1
    }
    fn is_live(&self) -> bool {
        false
    }
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        hostcrst_dump::core_file::Bytes::copy(&self.bytes.borrow().as_slice(), address, buffer)
    }
    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }
    fn open(&self, _: &Mapping) -> Option<File> {
        let mut file = self.file.borrow_mut();
        file.rewind().unwrap();
        file.set_len(0).unwrap();
        file.write_all(&self.bytes.borrow()).unwrap();
        file.rewind().unwrap();
        Some(file.try_clone().unwrap())
    }
    fn now(&self) -> Option<u64> {
        None
    }
    fn thread_names(&self) -> HashMap<u32, Vec<u8>> {
        HashMap::new()
    }
}

impl OneFile {
    fn name(&self, address: u64) -> String {
        let mut text = String::new();
        Symbols::new(self, TimeLimit::of(TO_END)).write_address(&mut text, address).unwrap();
        text
    }

    fn variable(&self, address: u64) -> String {
        let mut text = String::new();
        Symbols::new(self, TimeLimit::of(TO_END)).write_variable(&mut text, address).unwrap();
        text
    }
}

/// A small library with debug information.
fn library() -> OneFile {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("small.c"), folder.path().join("small.so"));
    fs::write(&source, "int twice(int number)\n{\n    return 2 * number;\n}\nint seven = 7;\n").unwrap();
    let options = ["-g", "-shared", "-fPIC", "-nostdlib", "-o"];
    assert!(Command::new("cc").args(options).args([&library, &source]).status().unwrap().success());
    let bytes = fs::read(&library).unwrap();
    OneFile {
        mappings: [Mapping { tail_end: 1 << 16, ..common::mapping(0, bytes.len(), 0, &library) }],
        bytes: RefCell::new(bytes),
        file: RefCell::new(tempfile::tempfile().unwrap()),
    }
}

#[test]
fn damaged_libraries_give_no_name_or_a_wrong_one() {
    let target = library();
    let length = target.bytes.borrow().len();
    let at = (0..length as u64).find(|&at| target.name(at).contains("!twice+0x0")).unwrap();
    assert_eq!(target.name(at), "small.so!twice+0x0 (small.c:2)");
    assert_eq!(target.name(at + 5), "small.so!twice+0x5 (small.c:2)");
    let data = (0..1 << 16).find(|&data| target.variable(data).contains("!seven+0x0")).unwrap();
    assert_eq!(target.variable(data + 3), format!("0x{:x} small.so!seven+0x3", data + 3));

    let mut random = Random(3);
    let mut changed = 0;
    for round in 0..2000 {
        let mut undo = Vec::new();
        for _ in 0..1 + random.below(8) {
            mutate(&mut target.bytes.borrow_mut(), &[0..1024, 0..length], &mut random, &mut undo);
        }
        let start = Instant::now();
        changed += u32::from(target.name(at + 5) != "small.so!twice+0x5 (small.c:2)");
        target.variable(data);
        assert!(start.elapsed() < TO_END, "round {round}");
        let bytes = &mut target.bytes.borrow_mut();
        undo.iter().rev().for_each(|&(at, old)| bytes[at..at + 8].copy_from_slice(&old.to_le_bytes()));
    }
    assert!(changed > 100, "{changed}");
}

/// A table of lines: one program with a header that has so many names, and then so many rows.
fn table_of_lines(names: usize, rows: usize) -> Vec<u8> {
    const OPCODES: &[u8] = &[1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    // One path for each name, as a text, and each text is empty.
    let mut header = [OPCODES, &[1, 1, 8, 1, 0, 1, 1, 8]].concat();
    // The number of names, in as many groups of seven bits as there may be.
    header.extend((0..5).map(|group| (names >> (7 * group)) as u8 & 0x7f | if group < 4 { 0x80 } else { 0 }));
    header.resize(header.len() + names, 0);
    let mut program = vec![0, 9, 2];
    program.extend(4096_u64.to_le_bytes());
    program.resize(program.len() + rows, 13 + 14 + 6);
    program.extend([0, 1, 1]);
    let mut table = ((2 + 2 + 4 + header.len() + program.len()) as u32).to_le_bytes().to_vec();
    table.extend([5, 0, 8, 0]);
    table.extend((header.len() as u32).to_le_bytes());
    [table, header, program].concat()
}

#[test]
fn large_tables_of_lines_take_no_more_memory_than_small_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (program, lines) = (folder.path().join("subject"), folder.path().join("lines"));
    let change = |option: &str| {
        let mut objcopy = Command::new("objcopy");
        let status = objcopy.arg(option).arg(common::program()).arg(&program).status();
        assert!(status.expect("objcopy, of Debian's package binutils").success());
        explain_within_300_megabytes(&program);
    };
    for (names, rows) in [(0, 100 << 20), (10 << 20, 0), (0, 4 << 20)] {
        fs::write(&lines, table_of_lines(names, rows)).unwrap();
        change(&format!("--update-section=.debug_line={}", lines.display()));
    }
    change("--compress-debug-sections=zlib");
}

fn explain_within_300_megabytes(program: &Path) {
    use std::os::unix::process::CommandExt;
    let subject = Subject::run(Command::new(program).arg("hang"));
    let mut tool = Command::new(env!("CARGO_BIN_EXE_hostcrst-dump"));
    let limit_memory = || {
        let limit = libc::rlimit { rlim_cur: 300 << 20, rlim_max: 300 << 20 };
        // SAFETY: the limit is a valid one.
        if unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) } == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: setrlimit may be called between fork and exec.
    unsafe { tool.pre_exec(limit_memory) };
    let output = tool.arg(subject.id().to_string()).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(text.contains("native   subject!subject::create+0x0"), "{text}");
}
