//! The target of a report: a process or its core, behind one interface.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use elf_names::maps::base_name;

use crate::core_threads::CoreThread;

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
        let path = PathBuf::from("/memfd:doublemapper (deleted)");
        let mapping = Mapping { start: 0, end: 1, file_offset: 0, is_writable: false, path, inode: 0 };
        assert_eq!(mapping.file_name(), b"memfd:doublemapper");
    }
}
