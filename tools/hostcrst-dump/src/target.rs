//! The target of a report: a process or its core, behind one interface.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use elf_names::maps::{self, Pieces, What, base_name};

use crate::core_threads::CoreThread;
use crate::failure::Failure;

/// Memory with what the system knows about it. Nothing that comes from it can be trusted.
pub trait Target {
    /// Its name in messages.
    fn description(&self) -> String;
    /// Its process id, in its own namespace, as are the ids of threads.
    fn process_id(&self) -> u32;
    /// Its id where this tool runs, if that is another one.
    fn outer_process_id(&self) -> Option<u32> {
        None
    }
    /// Whether the memory may change between two reads.
    fn is_live(&self) -> bool;
    /// Copies as much as there is from `address` on, up to the first byte that cannot be read. Returns how much.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize;
    /// The parts of memory that came from files, in the order of their addresses.
    fn mappings(&self) -> &[Mapping];
    /// What the kernel calls others of its parts, in that order, as far as it is known.
    fn labels(&self) -> &[Label] {
        &[]
    }
    /// Where the data of programs and libraries stands: writable memory that came from files.
    fn data(&self) -> Vec<Range<u64>> {
        let writable = self.mappings().iter().filter(|mapping| mapping.is_writable);
        writable.map(|mapping| mapping.start..mapping.end).collect()
    }
    /// Whether such memory is missing in which a registry may stand.
    fn lacks_data(&self) -> bool {
        false
    }
    /// Opens the file of a mapping, if it is still the one that was mapped.
    fn open(&self, mapping: &Mapping) -> Option<File>;
    /// Opens the file that it finds by this absolute path, whichever that is by now.
    fn open_path(&self, _path: &Path) -> Option<File> {
        None
    }
    /// The map of code that its runtime has made, if it wrote one for `perf`.
    fn perf_map(&self) -> Option<File> {
        None
    }
    /// The present instant of its monotonic clock in nanoseconds, if that is known.
    fn now(&self) -> Option<u64>;
    /// The names of its threads by their ids, as far as a core has them.
    fn thread_names(&self) -> HashMap<u32, Vec<u8>> {
        HashMap::new()
    }
    /// Its threads, if they are known and do not run: those of a core.
    fn stored_threads(&self) -> &[CoreThread] {
        &[]
    }
    /// By which id `/proc` shows its threads, if it runs.
    fn id_in_proc(&self) -> Option<u32> {
        None
    }
    /// Why what was read of it until now is no state of it, if it ends or became another program meanwhile.
    fn change(&self) -> Option<Failure> {
        None
    }
}

/// A part of memory that came from a file.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    /// Where in the file it begins.
    pub file_offset: u64,
    pub is_writable: bool,
    pub path: PathBuf,
    /// The file's number in its file system, 0 if unknown.
    pub inode: u64,
    /// Where the beginning of the file is, or would be if it were mapped before the first of its pieces there.
    pub base: u64,
    /// Whether one of its pieces there is code: otherwise it is no program or library that is loaded.
    pub has_code: bool,
    /// The end of the anonymous memory that adjoins a library's piece, in which its zeroed data is; of others, their own end.
    pub tail_end: u64,
}

/// A part of memory that has a label, such as `[heap]`.
#[derive(Clone, Debug)]
pub struct Label {
    pub start: u64,
    pub end: u64,
    pub text: Vec<u8>,
}

/// What of a list, in the order of addresses, came from files, and what has labels.
pub fn sort_out<'a>(list: impl Iterator<Item = maps::Mapping<'a>>) -> (Vec<Mapping>, Vec<Label>) {
    let (mut files, mut labels) = (Vec::<Mapping>::new(), Vec::new());
    let mut pieces = Pieces::new();
    let mut first = 0;
    for mapping in list {
        let Some(piece) = pieces.follow(&mapping) else { continue };
        let maps::Mapping { start, end, .. } = mapping;
        if piece.what == What::Tail {
            files.iter_mut().last().into_iter().for_each(|last| last.tail_end = end);
        } else if mapping.inode == 0 {
            labels.push(Label { start, end, text: mapping.path.to_vec() });
        } else {
            if piece.is_first {
                first = files.len();
            }
            let has_code = files[first..].first().is_some_and(|first| first.has_code);
            files.push(Mapping {
                start,
                end,
                file_offset: mapping.offset,
                is_writable: mapping.is_writable,
                path: PathBuf::from(OsStr::from_bytes(mapping.path)),
                inode: mapping.inode,
                base: piece.base,
                has_code,
                tail_end: end,
            });
            if piece.what == What::Code && !has_code {
                files[first..].iter_mut().for_each(|piece| piece.has_code = true);
            }
        }
    }
    (files, labels)
}

impl Mapping {
    /// As the library's own reports show it: without the mark of a file that is no longer there.
    pub fn file_name(&self) -> &[u8] {
        base_name(self.path.as_os_str().as_encoded_bytes())
    }

    pub fn holds(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// Opens a regular file, and nothing that could block or have effects.
pub fn open_regular(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

/// Reads all of `size` bytes at `address`, in steps, so that a size that is not true costs nothing.
pub fn read_bytes(target: &dyn Target, address: u64, size: usize) -> Option<Vec<u8>> {
    const STEP: usize = 64 << 10;
    let mut bytes = Vec::new();
    while bytes.len() < size {
        let done = bytes.len();
        bytes.resize(size.min(done + STEP), 0);
        let wanted = bytes.len() - done;
        if target.read(address.checked_add(done as u64)?, &mut bytes[done..]) != wanted {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_keeps_its_name() {
        let line = b"1000-2000 r-xs 00000000 00:01 2048                       /memfd:doublemapper (deleted)";
        let (files, _) = sort_out(maps::Mapping::parse(line).into_iter());
        assert_eq!(files[0].file_name(), b"memfd:doublemapper");
    }
}
