//! The threads of this process as the system shows them, and its memory read without trust in any address.
//!
//! As in `files`, no function of libc is called but the one for system calls.
//!
//! Memory and descriptors are asked for as the calling thread's, not by the id of the process: that is the first thread's,
//! which may have ended, and then has none.

use core::ffi::{CStr, c_ulong, c_void};
use core::fmt::Write;

use super::files::{File, folders_in};
use super::linux::{errno, retried};
use crate::text::TextBuffer;

/// Fills the front of `buffer` from an address on and says how far: what is not mapped, or not by the end, is no fault.
pub(crate) fn read_own_memory(address: u64, buffer: &mut [u8]) -> usize {
    let to = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let from = libc::iovec { iov_base: address as usize as *mut c_void, iov_len: buffer.len() };
    let (one, no_flags): (c_ulong, c_ulong) = (1, 0);
    let caller = super::thread_id();
    // SAFETY: process_vm_readv(2) writes at most the length of the one exclusively borrowed buffer; from a bad address it
    // reads nothing.
    let read = retried(|| unsafe {
        libc::syscall(libc::SYS_process_vm_readv, caller, &raw const to, one, &raw const from, one, no_flags)
    });
    let mut by_file = || File::read_only(c"/proc/thread-self/mem")?.read_at(address, buffer);
    match read {
        Some(length) => length,
        None if errno() == libc::EFAULT => 0,
        // A system call filter may refuse it.
        None => by_file().unwrap_or(0),
    }
}

/// Writes `bytes` to an address, or nothing if it is not that of memory that may be written, or the system refuses that.
pub(crate) fn write_own_memory(address: u64, bytes: &[u8]) {
    let from = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let to = libc::iovec { iov_base: address as usize as *mut c_void, iov_len: bytes.len() };
    let (one, no_flags): (c_ulong, c_ulong) = (1, 0);
    let caller = super::thread_id();
    // SAFETY: process_vm_writev(2) reads the bytes; to a bad address it writes nothing. What else stands at a good one is
    // made of atomics.
    unsafe {
        libc::syscall(libc::SYS_process_vm_writev, caller, &raw const from, one, &raw const to, one, no_flags)
    };
}

/// The open folder in `/proc` that has one of each thread.
pub(crate) struct ThreadFolder(File);

impl ThreadFolder {
    pub(crate) fn open() -> Option<ThreadFolder> {
        File::folder(c"/proc/self/task").map(ThreadFolder)
    }

    /// How many threads there are, if the system says so.
    pub(crate) fn count(&self) -> Option<u64> {
        folders_in(&self.0)
    }
}

/// How many threads the process has, if the system says so.
pub(crate) fn thread_count() -> Option<u64> {
    ThreadFolder::open()?.count()
}

/// An open file of a thread in `/proc`, which says at each reading what is so then, and nothing of a later thread with the
/// same id.
pub(crate) struct ThreadFile(File);

impl ThreadFile {
    /// Where `folder` is open, the way from there is shorter.
    pub(crate) fn open(folder: Option<&ThreadFolder>, thread: u32, name: &str) -> Option<ThreadFile> {
        let mut path = TextBuffer::<64>::new();
        let before = if folder.is_some() { "" } else { "/proc/self/task/" };
        write!(path, "{before}{thread}/{name}\0").ok()?;
        let path = CStr::from_bytes_with_nul(path.bytes()).ok()?;
        File::read_only_in(folder.map(|folder| &folder.0), path).map(ThreadFile)
    }

    /// Reads from its start; None if it cannot be read.
    pub(crate) fn read<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let length = self.0.read_at(0, buffer)?;
        buffer.get(..length)
    }
}

/// Reads from the start of a thread's file in `/proc`; None if it cannot be read.
pub(crate) fn read_thread_file<'b>(
    folder: Option<&ThreadFolder>,
    thread: u32,
    name: &str,
    buffer: &'b mut [u8],
) -> Option<&'b [u8]> {
    ThreadFile::open(folder, thread, name)?.read(buffer)
}

/// The target of a descriptor's link in `/proc`; None if it cannot be read.
pub(crate) fn read_descriptor_link(descriptor: i32, buffer: &mut [u8]) -> Option<&[u8]> {
    let mut path = TextBuffer::<40>::new();
    write!(path, "/proc/thread-self/fd/{descriptor}\0").ok()?;
    // SAFETY: readlinkat(2) reads the zero-terminated path and writes at most the length of the borrowed buffer.
    let length = retried(|| unsafe {
        libc::syscall(
            libc::SYS_readlinkat,
            libc::AT_FDCWD,
            path.bytes().as_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    })?;
    buffer.get(..length)
}

/// Visits the ids of the threads of this process, until `visit` says false. `buffer` is a place for some of the list. The
/// folder has just been opened.
pub(crate) fn each_thread(folder: &ThreadFolder, buffer: &mut [u8], visit: &mut dyn FnMut(u32) -> bool) {
    let folder = folder.0.descriptor();
    loop {
        // SAFETY: getdents64(2) writes at most the length of the borrowed buffer.
        let read = retried(|| unsafe {
            libc::syscall(libc::SYS_getdents64, folder, buffer.as_mut_ptr(), buffer.len())
        });
        let mut entries = read.and_then(|length| buffer.get(..length)).unwrap_or(&[]);
        if entries.is_empty() {
            return;
        }
        while let Some((name, rest)) = split_entry(entries) {
            entries = rest;
            let id = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            if id.is_some_and(|id| !visit(id)) {
                return;
            }
        }
    }
}

/// The name in the first entry of a list of getdents64(2), and the list behind it.
fn split_entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    // `number: u64, offset: u64, length: u16, kind: u8`, and the name with a zero at its end.
    const NAME: usize = 19;
    let length = usize::from(u16::from_ne_bytes(*entries.get(16..)?.first_chunk()?));
    let (entry, rest) = entries.split_at_checked(length)?;
    let name = entry.get(NAME..)?.split(|&byte| byte == 0).next()?;
    Some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn memory_that_is_not_mapped_is_no_fault() {
        let there = [1_u8, 2, 3, 4];
        let mut bytes = [0; 4];
        assert_eq!(read_own_memory(there.as_ptr() as u64, &mut bytes), 4);
        assert_eq!(bytes, there);
        for nowhere in [0, 8, 1 << 47, u64::MAX, u64::MAX - 2] {
            assert_eq!(read_own_memory(nowhere, &mut bytes), 0, "{nowhere:x}");
        }
    }

    #[test]
    fn every_thread_is_listed_through_any_buffer() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            tell.send(super::super::thread_id()).unwrap();
            let _ = gone.recv();
        });
        let (me, other_id) = (super::super::thread_id(), told.recv().unwrap());
        for size in [64, 4096] {
            let folder = ThreadFolder::open().unwrap();
            assert!(folder.count().unwrap() >= 2);
            let mut buffer = std::vec![0; size];
            let mut found = Vec::new();
            each_thread(&folder, &mut buffer, &mut |id| {
                found.push(id);
                true
            });
            assert!([me, other_id].iter().all(|id| found.contains(id)), "{found:?}");
        }
        drop(go);
        other.join().unwrap();
    }
}
