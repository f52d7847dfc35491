//! Files and descriptors.
//!
//! The system calls are made directly. libc's functions of the same names are cancellation points: a cancelled thread
//! would end inside the library, in a queue or with one of its locks held.

use core::ffi::{CStr, c_int, c_long};
use core::fmt::Write;

use super::linux::{errno, retried};
use super::signals::{Signals, without_signals};
use crate::text::TextBuffer;

/// The descriptor of standard error.
pub(crate) const STDERR: c_int = libc::STDERR_FILENO;

// ---- files ------------------------------------------------------------------------------------------------

/// An open file of the library's own, closed on drop.
pub(crate) struct File(c_int);

impl File {
    /// Opens a file without becoming the terminal's process; `flags` say for what.
    fn open(path: &CStr, flags: c_int) -> Option<File> {
        File::open_in(libc::AT_FDCWD, path, flags)
    }

    /// The same; a path that does not begin at the root does at the folder.
    fn open_in(folder: c_int, path: &CStr, flags: c_int) -> Option<File> {
        const MODE: c_int = 0o644;
        let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY;
        // SAFETY: openat(2) reads the zero-terminated path.
        let open = || unsafe { libc::syscall(libc::SYS_openat, folder, path.as_ptr(), flags, MODE) };
        retried(open).map(|descriptor| File(descriptor as c_int))
    }

    /// Opens whatever is at the path for reading; if it is a FIFO by now, without waiting for a writer.
    pub(crate) fn read_only(path: &CStr) -> Option<File> {
        File::read_only_in(None, path)
    }

    /// The same; a path that does not begin at the root does at the folder.
    pub(super) fn read_only_in(folder: Option<&File>, path: &CStr) -> Option<File> {
        let folder = folder.map_or(libc::AT_FDCWD, File::descriptor);
        File::open_in(folder, path, libc::O_RDONLY | libc::O_NONBLOCK)
    }

    /// Creates or truncates a file for writing; a FIFO, without waiting for a reader.
    pub(crate) fn create(path: &CStr) -> Option<File> {
        File::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NONBLOCK)
    }

    /// As create, but appends to an existing file.
    pub(crate) fn append(path: &CStr) -> Option<File> {
        File::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK)
    }

    /// Opens a folder to list it.
    pub(super) fn folder(path: &CStr) -> Option<File> {
        File::open(path, libc::O_RDONLY | libc::O_DIRECTORY)
    }

    pub(crate) fn descriptor(&self) -> c_int {
        self.0
    }

    /// Fills the front of `buffer` from `offset` on and says how far: 0 at the end, None on failure.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let offset = libc::off_t::try_from(offset).ok()?;
        // SAFETY: pread(2) writes at most the length of the one exclusively borrowed buffer.
        retried(|| unsafe {
            libc::syscall(libc::SYS_pread64, self.0, buffer.as_mut_ptr(), buffer.len(), offset)
        })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor was opened by this value, which alone closes it. Not tried again where a signal
        // handler interrupts it: it is closed all the same.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

/// Reads from the start of a file into `buffer`; how many bytes were there, 0 if it cannot be read.
pub(crate) fn read_file(path: &CStr, buffer: &mut [u8]) -> usize {
    File::read_only(path).and_then(|file| file.read_at(0, buffer)).unwrap_or(0)
}

/// Whether programs may have huge pages, by the administrator's setting: MADV_COLLAPSE does not ask.
pub(crate) fn may_have_huge_pages() -> bool {
    let mut setting = [0; 64];
    let length = read_file(c"/sys/kernel/mm/transparent_hugepage/enabled", &mut setting);
    !setting[..length].windows(7).any(|word| word == b"[never]")
}

/// Whether a folder is at the path.
pub(crate) fn is_folder(path: &CStr) -> bool {
    File::open(path, libc::O_PATH | libc::O_DIRECTORY).is_some()
}

/// How many folders are in one, if the system says so.
pub(super) fn folders_in(folder: &File) -> Option<u64> {
    // SAFETY: a stat is plain data, for which all zeros is valid.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: fstat(2) writes the struct, which is the kernel's own on 64-bit systems.
    retried(|| unsafe { libc::syscall(libc::SYS_fstat, folder.descriptor(), &raw mut status) })?;
    // Each of them is a link to this one, which has two others.
    (status.st_nlink as u64).checked_sub(2)
}

// ---- writing ----------------------------------------------------------------------------------------------

/// Whether something can be written to `descriptor`.
pub(crate) fn is_writable(descriptor: c_int) -> bool {
    // SAFETY: fcntl(2) F_GETFL takes no pointer.
    let flags = retried(|| unsafe { libc::syscall(libc::SYS_fcntl, descriptor, libc::F_GETFL) });
    flags.is_some_and(|flags| matches!(flags as c_int & libc::O_ACCMODE, libc::O_WRONLY | libc::O_RDWR))
}

/// Writes all of `bytes`. False if the descriptor refused.
pub(crate) fn write_all(descriptor: c_int, mut bytes: &[u8]) -> bool {
    without_signals(|| {
        while !bytes.is_empty() {
            match write(descriptor, bytes) {
                Some(written) => bytes = bytes.get(written..).unwrap_or(&[]),
                None if errno() == libc::EAGAIN => wait_writable(descriptor),
                None => return false,
            }
        }
        true
    })
}

fn write(descriptor: c_int, bytes: &[u8]) -> Option<usize> {
    // SAFETY: write(2) reads the slice.
    retried(|| unsafe { libc::syscall(libc::SYS_write, descriptor, bytes.as_ptr(), bytes.len()) })
}

fn wait_writable(descriptor: c_int) {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    let no_limit = core::ptr::null::<libc::timespec>();
    let same_mask = core::ptr::null::<Signals>();
    // SAFETY: ppoll(2) reads and writes the one pollfd.
    unsafe { libc::syscall(libc::SYS_ppoll, &raw mut poll, 1, no_limit, same_mask, size_of::<Signals>()) };
}

// ---- writing at once, or not at all -----------------------------------------------------------------------

/// The identity of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// How to write to a descriptor of the program without waiting for a reader. Its O_NONBLOCK stays as it is, because it
/// is shared by all that have the same file open, also in other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A plain write: a file on a disk does not block, unless its file system does not answer; nor does a file that was
    /// opened with O_NONBLOCK.
    Plain,
    Pipe,
    /// A terminal, or another device.
    Device,
    Socket,
    /// No way is known for other kinds of files.
    None,
}

/// The file of a descriptor, and how to write to it.
pub(crate) fn identify(descriptor: c_int) -> Option<(FileId, Way)> {
    // SAFETY: a stat is plain data, for which all zeros is valid.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: fstat(2) writes the struct, which is the kernel's own on 64-bit systems.
    retried(|| unsafe { libc::syscall(libc::SYS_fstat, descriptor, &raw mut status) })?;
    let way = match status.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFBLK => Way::Plain,
        libc::S_IFIFO => Way::Pipe,
        libc::S_IFCHR => Way::Device,
        libc::S_IFSOCK => Way::Socket,
        _ => Way::None,
    };
    Some((FileId { device: status.st_dev as u64, inode: status.st_ino as u64 }, way))
}

/// Writes as much of `bytes` as there is room for now. None if there is none (see `has_no_room`), or nothing can be
/// written without waiting.
pub(crate) fn write_at_once(descriptor: c_int, way: Way, bytes: &[u8]) -> Option<usize> {
    match way {
        Way::Plain => write(descriptor, bytes),
        Way::Socket => send(descriptor, bytes),
        Way::Pipe | Way::Device => match write_no_wait(descriptor, bytes) {
            None if !matches!(errno(), libc::EOPNOTSUPP | libc::ENOSYS) => None,
            // Kernels before 6.4 do not know this of pipes, and none does of terminals.
            None => match File::open_once_more(descriptor) {
                Some(file) => write(file.descriptor(), bytes),
                None if way == Way::Pipe => splice(descriptor, bytes),
                None => None,
            },
            written => written,
        },
        Way::None => None,
    }
}

/// Whether the last write failed only for lack of room.
pub(crate) fn has_no_room() -> bool {
    errno() == libc::EAGAIN
}

fn send(socket: c_int, bytes: &[u8]) -> Option<usize> {
    let (address, length) = (core::ptr::null::<libc::sockaddr>(), 0);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: sendto(2) reads the slice; there is no address.
    retried(|| unsafe {
        libc::syscall(libc::SYS_sendto, socket, bytes.as_ptr(), bytes.len(), flags, address, length)
    })
}

fn write_no_wait(descriptor: c_int, bytes: &[u8]) -> Option<usize> {
    const AT_ITS_POSITION: c_long = -1;
    let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: pwritev2(2) reads the one vector, and the slice that it names. The position is passed in two halves.
    retried(|| unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            descriptor,
            &raw const vector,
            1,
            AT_ITS_POSITION,
            AT_ITS_POSITION,
            c_long::from(libc::RWF_NOWAIT),
        )
    })
}

impl File {
    /// Opens the file of a descriptor once more, so that writing to it never waits. Needs `/proc`, and the permission
    /// to open the file.
    fn open_once_more(descriptor: c_int) -> Option<File> {
        let mut path = TextBuffer::<40>::new();
        write!(path, "/proc/thread-self/fd/{descriptor}\0").ok()?;
        File::open(CStr::from_bytes_with_nul(path.bytes()).ok()?, libc::O_WRONLY | libc::O_NONBLOCK)
    }
}

/// Writes to a pipe that cannot be opened once more, because a process of another user created it: splice(2) moves the
/// content of one pipe to another without waiting.
fn splice(pipe: c_int, bytes: &[u8]) -> Option<usize> {
    let mut ends: [c_int; 2] = [0; 2];
    // SAFETY: pipe2(2) writes the two descriptors.
    retried(|| unsafe {
        libc::syscall(libc::SYS_pipe2, ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK)
    })?;
    let (from, to) = (File(ends[0]), File(ends[1]));
    let bytes = bytes.get(..libc::PIPE_BUF).unwrap_or(bytes);
    let length = write(to.descriptor(), bytes)?;
    let no_offset = core::ptr::null_mut::<libc::loff_t>();
    // SAFETY: splice(2) is given no offsets, as pipes have none.
    retried(|| unsafe {
        libc::syscall(
            libc::SYS_splice,
            from.descriptor(),
            no_offset,
            pipe,
            no_offset,
            length,
            libc::SPLICE_F_NONBLOCK,
        )
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_function_of_libc_is_called_but_the_one_for_system_calls() {
        let code = include_str!("files.rs").split("#[cfg(test)]").next().unwrap();
        let called = code.split("libc::").skip(1).filter_map(|after| {
            let name = after.split(|letter: char| letter != '_' && !letter.is_ascii_lowercase()).next()?;
            after[name.len()..].starts_with('(').then_some(name)
        });
        assert_eq!(called.collect::<std::collections::BTreeSet<_>>(), ["syscall"].into());
    }
}
