//! Files and descriptors.
//!
//! The system calls are made directly. The functions of libc that have their names are cancellation points: a thread
//! that was cancelled would end inside the library, in a queue or with a lock of it. The raw ones only return.

use core::ffi::{CStr, c_int, c_long};

use super::linux::errno;

/// The descriptor of standard error.
pub(crate) const STDERR: c_int = libc::STDERR_FILENO;

/// Makes a system call until no signal handler interrupts it. None if it fails: `errno` says why.
fn retried(mut call: impl FnMut() -> c_long) -> Option<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(result) => return Some(result),
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return None,
        }
    }
}

// ---- files ------------------------------------------------------------------------------------------------

/// An open file of the library's own, closed on drop.
pub(crate) struct File(c_int);

impl File {
    /// Opens a file without becoming the terminal's process; `flags` say for what.
    fn open(path: &CStr, flags: c_int) -> Option<File> {
        const MODE: c_int = 0o644;
        let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY;
        // SAFETY: openat(2) reads the zero-terminated path.
        let open = || unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, MODE) };
        retried(open).map(|descriptor| File(descriptor as c_int))
    }

    /// Opens for reading whatever stands at the path: it may be a FIFO by now, which is not waited for.
    pub(crate) fn read_only(path: &CStr) -> Option<File> {
        File::open(path, libc::O_RDONLY | libc::O_NONBLOCK)
    }

    /// Creates a file, or empties it, for writing.
    pub(crate) fn create(path: &CStr) -> Option<File> {
        File::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)
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
        // SAFETY: the descriptor was opened by this value, which alone closes it. Not tried again where a signal handler
        // interrupts it: it is closed all the same.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

/// Reads from the start of a file into `buffer`; how many bytes were there, 0 if it cannot be read.
pub(crate) fn read_file(path: &CStr, buffer: &mut [u8]) -> usize {
    File::read_only(path).and_then(|file| file.read_at(0, buffer)).unwrap_or(0)
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
    is_taken(descriptor, core::ptr::null());
}

/// Whether `descriptor` takes a write within `time`; NULL for no limit.
fn is_taken(descriptor: c_int, time: *const libc::timespec) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    let same_mask = core::ptr::null::<Signals>();
    // SAFETY: ppoll(2) reads and writes the one pollfd, and reads the time.
    unsafe { libc::syscall(libc::SYS_ppoll, &raw mut poll, 1, time, same_mask, size_of::<Signals>()) };
    poll.revents & libc::POLLOUT != 0
}

/// Writes a line, unless nobody takes it just now: for callers that others wait for.
pub(crate) fn write_if_taken(descriptor: c_int, line: &[u8]) {
    if is_taken(descriptor, &libc::timespec { tv_sec: 0, tv_nsec: 0 }) {
        write_all(descriptor, line);
    }
}

// ---- signals ----------------------------------------------------------------------------------------------

/// A set of signals, as the kernel has it.
type Signals = u64;

const fn set_of(signal: c_int) -> Signals {
    1 << (signal - 1)
}

/// Runs `write`. What it fails with may come with a signal that ends the process: SIGPIPE from a pipe without a reader,
/// SIGXFSZ at the limit for the size of a file. Both go to the calling thread, which blocks them and takes them back.
/// One that the program has pending itself stays.
fn without_signals(write: impl FnOnce() -> bool) -> bool {
    const BOTH: Signals = set_of(libc::SIGPIPE) | set_of(libc::SIGXFSZ);
    let before = change_mask(libc::SIG_BLOCK, BOTH);
    let pending = pending_signals();
    let written = write();
    let signal = match errno() {
        _ if written => 0,
        libc::EPIPE => set_of(libc::SIGPIPE),
        libc::EFBIG => set_of(libc::SIGXFSZ),
        _ => 0,
    };
    if signal & !pending != 0 {
        take_back(signal);
    }
    change_mask(libc::SIG_SETMASK, before);
    written
}

/// Changes which signals the calling thread blocks. Returns which it did.
fn change_mask(how: c_int, signals: Signals) -> Signals {
    let mut before: Signals = 0;
    // SAFETY: rt_sigprocmask(2) reads the one set and writes the other, both of the given size.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const signals,
            &raw mut before,
            size_of::<Signals>(),
        )
    };
    before
}

fn pending_signals() -> Signals {
    let mut pending: Signals = 0;
    // SAFETY: rt_sigpending(2) writes a set of the given size.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, size_of::<Signals>()) };
    pending
}

/// Takes one of these signals, which the calling thread blocks, if one is pending.
fn take_back(signals: Signals) {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let no_details = core::ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: rt_sigtimedwait(2) reads a set of the given size and the timespec.
    retried(|| unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const signals,
            no_details,
            &raw const at_once,
            size_of::<Signals>(),
        )
    });
}
