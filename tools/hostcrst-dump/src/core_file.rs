//! A core file: its segments are the memory, its notes describe files and threads.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use elf_names::BLOCK;
use elf_names::elf::{Elf, ProgramHeader};
use elf_names::maps;
use elf_names::notes::{Note, Notes};
use object::LittleEndian;
use object::elf;

use crate::core_threads::{self, CoreThread};
use crate::elf_file::{At, Budget, read_table};
use crate::failure::Failure;
use crate::target::{Mapping, Target, open_regular, sort_out};

/// Bytes that do not change.
pub trait Bytes {
    fn length(&self) -> u64;
    /// Copies as much as there is from `offset` on. Returns how much.
    fn copy(&self, offset: u64, buffer: &mut [u8]) -> usize;
}

impl Bytes for File {
    fn length(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn copy(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset.saturating_add(done as u64)) {
                Ok(count) if count != 0 => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        done
    }
}

impl Bytes for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn copy(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let there = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or(&[]);
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        count
    }
}

pub struct Core<B> {
    path: PathBuf,
    bytes: B,
    /// In the order of their addresses, without overlaps.
    segments: Vec<Segment>,
    mappings: Vec<Mapping>,
    threads: Vec<CoreThread>,
    process_id: u32,
    program_name: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Segment {
    start: u64,
    end: u64,
    offset: u64,
    is_writable: bool,
}

/// What was mapped, whether the core has what was there or not.
struct Area {
    start: u64,
    end: u64,
    is_executable: bool,
}

/// What a note has of a mapping.
struct StoredFile {
    start: u64,
    end: u64,
    offset: u64,
    path: Vec<u8>,
}

/// The first bytes of compressed files, and the command that unpacks them.
const COMPRESSED: [(&[u8], &str); 5] = [
    (b"\x28\xb5\x2f\xfd", "zstd -dc"),
    (b"\x1f\x8b", "gzip -dc"),
    (b"\xfd7zXZ\0", "xz -dc"),
    (b"\x04\x22\x4d\x18", "lz4 -dc"),
    (b"BZh", "bzip2 -dc"),
];

/// More notes than a process of many thousand threads and mappings has.
const MOST_NOTE_BYTES: u64 = 256 << 20;

impl Core<File> {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failure = |reason: String| Failure::Core { path: path.display().to_string(), reason };
        let what = "give the id of a process or the path of a core file";
        std::fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::Usage(format!("{}: {error}; {what}", path.display())),
            _ => failure(format!("{error}; {what}")),
        })?;
        let file =
            open_regular(path).ok_or_else(|| failure(format!("it is no file that can be read; {what}")))?;
        Core::parse(path, file)
    }
}

impl<B: Bytes> Core<B> {
    pub fn parse(path: &Path, bytes: B) -> Result<Self, Failure> {
        let failure =
            |reason: &str| Failure::Core { path: path.display().to_string(), reason: reason.to_owned() };
        if let Some(command) = unpacking_command(&bytes) {
            let path = path.display();
            return Err(failure(&format!(
                "it is compressed; unpack it first, with `{command} {path} >core`"
            )));
        }
        let headers = program_headers(&bytes).map_err(failure)?;
        let mut core = Core {
            path: path.to_owned(),
            bytes,
            segments: Vec::new(),
            mappings: Vec::new(),
            threads: Vec::new(),
            process_id: 0,
            program_name: Vec::new(),
        };
        let length = core.bytes.length();
        let mut areas = Vec::new();
        let field = |value: object::U64<LittleEndian>| value.get(LittleEndian);
        for header in &headers {
            let (offset, size) = (field(header.p_offset), field(header.p_filesz));
            if offset.checked_add(size).is_none_or(|end| end > length) {
                return Err(failure(
                    "it is truncated: raise the limit (ulimit -c unlimited) or make room on the disk, and take it again",
                ));
            }
            let start = field(header.p_vaddr);
            if header.p_type.get(LittleEndian) != elf::PT_LOAD {
                continue;
            }
            let flags = header.p_flags.get(LittleEndian).0;
            if let Some(end) = start.checked_add(field(header.p_memsz)) {
                areas.push(Area { start, end, is_executable: flags & elf::PF_X.0 != 0 });
            }
            if size != 0
                && let Some(end) = start.checked_add(size)
            {
                core.segments.push(Segment { start, end, offset, is_writable: flags & elf::PF_W.0 != 0 });
            }
        }
        areas.sort_by_key(|area| area.start);
        core.segments.sort_by_key(|segment| segment.start);
        let mut end = 0;
        core.segments.retain(|segment| {
            let is_apart = segment.start >= end;
            end = end.max(segment.end);
            is_apart
        });
        let mut files = Vec::new();
        for header in headers.iter().filter(|header| header.p_type.get(LittleEndian) == elf::PT_NOTE) {
            let size = field(header.p_filesz).min(MOST_NOTE_BYTES) as usize;
            let mut notes = vec![0; size];
            let there = core.bytes.copy(field(header.p_offset), &mut notes);
            core.read_notes(Notes::new(&notes[..there], field(header.p_align)), &mut files);
        }
        if !core_threads::are_known(machine_of(&core.bytes)) {
            core.threads.clear();
        }
        files.sort_by_key(|file| file.start);
        core.mappings = core.sort_out(&files, &areas);
        Ok(core)
    }

    fn read_notes(&mut self, notes: Notes, files: &mut Vec<StoredFile>) {
        for Note { kind, content, .. } in notes.filter(|note| note.name == b"CORE\0") {
            match kind {
                elf::NT_FILE => read_files(content, files),
                elf::NT_PRSTATUS => self.threads.extend(CoreThread::parse(content)),
                elf::NT_PRPSINFO => {
                    // prpsinfo: state and flags, user, group; then the process id, and after three more the name.
                    self.process_id = u32_at(content, 24).unwrap_or(0);
                    let name = content.get(40..56).unwrap_or(&[]);
                    self.program_name = name.split(|&byte| byte == 0).next().unwrap_or(&[]).to_vec();
                }
                _ => {}
            }
        }
    }

    /// The mappings of files. What else there is of memory, in the order of addresses, tells what lies behind them.
    fn sort_out(&self, files: &[StoredFile], areas: &[Area]) -> Vec<Mapping> {
        let mut numbers = HashMap::new();
        let mut list: Vec<_> = Vec::new();
        for &StoredFile { start, end, offset, ref path } in files {
            let next = numbers.len() as u64 + 1;
            // A core that has no memory of a file may not say either whether that is code.
            let is_executable = area_at(areas, start).is_none_or(|area| area.is_executable);
            list.push(maps::Mapping {
                start,
                end,
                is_writable: self.segment(start).is_some_and(|segment| segment.is_writable),
                is_executable,
                offset,
                device: (0, 0),
                inode: *numbers.entry(path).or_insert(next),
                path,
            });
        }
        list.extend(anonymous(files, areas).into_iter().map(|Range { start, end }| maps::Mapping {
            start,
            end,
            is_writable: true,
            is_executable: false,
            offset: 0,
            device: (0, 0),
            inode: 0,
            path: b"",
        }));
        list.sort_by_key(|mapping| mapping.start);
        let (mut mappings, _) = sort_out(list.into_iter());
        mappings.iter_mut().for_each(|mapping| mapping.inode = 0);
        mappings
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.start <= address);
        self.segments.get(after.checked_sub(1)?).filter(|segment| address < segment.end)
    }
}

/// NT_FILE: how many, the unit of the offsets; start, end and offset of each; the paths, each ended by a zero.
fn read_files(content: &[u8], files: &mut Vec<StoredFile>) {
    let (Some(count), Some(unit)) = (u64_at(content, 0), u64_at(content, 8)) else { return };
    let Some(table) = content.get(16..) else { return };
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(table.len() / 24);
    let (table, paths) = table.split_at(count * 24);
    for (entry, path) in table.chunks_exact(24).zip(paths.split(|&byte| byte == 0)) {
        let (Some(start), Some(end), Some(offset)) = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16))
        else {
            return;
        };
        files.push(StoredFile { start, end, offset: offset.wrapping_mul(unit), path: path.to_vec() });
    }
}

/// Memory that came from no file; what adjoins is one.
fn anonymous(files: &[StoredFile], areas: &[Area]) -> Vec<Range<u64>> {
    let mut found = Vec::<Range<u64>>::new();
    let mut start = 0;
    for area in areas {
        start = area.start.max(start);
        while start < area.end {
            let after = files.partition_point(|file| file.start <= start);
            if let Some(file) = files[..after].last().filter(|file| start < file.end) {
                start = file.end;
                continue;
            }
            let end = files.get(after).map_or(area.end, |next| next.start.min(area.end));
            match found.last_mut().filter(|last| last.end == start) {
                Some(last) => last.end = end,
                None => found.push(start..end),
            }
            start = end;
        }
    }
    found
}

fn area_at(areas: &[Area], address: u64) -> Option<&Area> {
    let after = areas.partition_point(|area| area.start <= address);
    areas[..after].last().filter(|area| address < area.end)
}

fn machine_of(bytes: &impl Bytes) -> u16 {
    const MACHINE: u64 = 18;
    let mut machine = [0; 2];
    bytes.copy(MACHINE, &mut machine);
    u16::from_le_bytes(machine)
}

fn unpacking_command(bytes: &impl Bytes) -> Option<&'static str> {
    let mut head = [0; 8];
    let there = bytes.copy(0, &mut head);
    let is_so = |(magic, _): &&(&[u8], &str)| head[..there].starts_with(magic);
    COMPRESSED.iter().find(is_so).map(|&(_, command)| command)
}

fn program_headers(bytes: &impl Bytes) -> Result<Vec<ProgramHeader>, &'static str> {
    let mut block = [0; BLOCK];
    let core = Elf::open(At(bytes), &mut block).filter(|core| core.kind == elf::ET_CORE);
    let core = core.ok_or("it is no core file of a 64-bit little-endian process; `file` tells what it is")?;
    let mut count = core.segments.count;
    if count == u64::from(elf::PN_XNUM) {
        // Too many for the field.
        let first = core.sections.get(&core.file, &mut block, 0);
        let first = first.ok_or("it is truncated: its section header is missing")?;
        count = first.sh_info.get(LittleEndian).into();
    }
    read_table(bytes, core.segments.offset, count, &Budget::of(u64::MAX))
        .ok_or("it is truncated or damaged: its program headers are missing")
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<B: Bytes> Target for Core<B> {
    fn description(&self) -> String {
        self.path.display().to_string()
    }

    fn process_id(&self) -> u32 {
        self.process_id
    }

    fn is_live(&self) -> bool {
        false
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            let Some(here) = address.checked_add(done as u64) else { break };
            let Some(segment) = self.segment(here) else { break };
            let there = usize::try_from(segment.end - here).unwrap_or(usize::MAX);
            let part = there.min(buffer.len() - done);
            let count =
                self.bytes.copy(segment.offset + (here - segment.start), &mut buffer[done..done + part]);
            done += count;
            if count != part {
                break;
            }
        }
        done
    }

    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// The writable memory that it has of what came from files; of all, where it does not say what that is.
    fn data(&self) -> Vec<Range<u64>> {
        let mut mappings = self.mappings.iter().peekable();
        let mut mapped_until = if self.mappings.is_empty() { u64::MAX } else { 0 };
        let of_file = |segment: &&Segment| {
            while let Some(mapping) = mappings.next_if(|mapping| mapping.start < segment.end) {
                mapped_until = mapped_until.max(mapping.end);
            }
            segment.is_writable && segment.start < mapped_until
        };
        self.segments.iter().filter(of_file).map(|segment| segment.start..segment.end).collect()
    }

    /// It has none at all, or it names the library as a file whose memory it does not have.
    fn lacks_data(&self) -> bool {
        let names_library = |mapping: &Mapping| {
            mapping.path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"libhostcrst"))
        };
        self.data().is_empty() || self.mappings.iter().any(names_library)
    }

    fn open(&self, mapping: &Mapping) -> Option<File> {
        self.open_path(&mapping.path)
    }

    fn open_path(&self, path: &Path) -> Option<File> {
        path.is_absolute().then(|| open_regular(path)).flatten()
    }

    /// A core does not contain the time when it was taken.
    fn now(&self) -> Option<u64> {
        None
    }

    fn stored_threads(&self) -> &[CoreThread] {
        &self.threads
    }

    /// A core has the name of the program only, which is that of the first thread.
    fn thread_names(&self) -> HashMap<u32, Vec<u8>> {
        HashMap::from([(self.process_id, self.program_name.clone())])
    }
}
