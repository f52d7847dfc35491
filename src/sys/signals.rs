//! Which signals reach the calling thread while it does something that no handler may interrupt, or whose failure is
//! told by a signal. Does not know what that is.

use core::ffi::c_int;

use super::linux::{errno, retried};

/// A set of signals, as the kernel has it.
pub(super) type Signals = u64;

const fn set_of(signal: c_int) -> Signals {
    1 << (signal - 1)
}

/// Runs `write`. A failed write may raise a signal that ends the process: SIGPIPE for a pipe without a reader, SIGXFSZ
/// at the limit for the size of a file. Both go to the calling thread, which blocks and then consumes them. A signal
/// that the program already has pending stays pending. SIGTTOU, which stops a background process that writes to its
/// terminal, is not sent to a thread that blocks it.
pub(crate) fn without_signals(write: impl FnOnce() -> bool) -> bool {
    const ALL: Signals = set_of(libc::SIGPIPE) | set_of(libc::SIGXFSZ) | set_of(libc::SIGTTOU);
    let before = change_mask(libc::SIG_BLOCK, ALL);
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

/// Runs `body` while no signal handler interrupts the calling thread: for what cannot be put in order in the child of a
/// handler that forks. There the repair comes first (see `forks`), and then the interrupted thread completes its call. If
/// it were in the middle of `body`, it would go on with what it had read before, such as its own thread id or which
/// threads are gone, and the repair would find a task, or a preparation, that is none yet. Signals that arrive are handled
/// after it.
///
/// **This makes no handler safe that calls the library.** It may interrupt its thread in any other call, under a lock
/// that its own call then waits for: one that calls host_runtime_start over itself can wait for ever in
/// settings::read_once. So no function is async-signal-safe, unless its comment says so.
///
/// Not held back are the signals by which the thread's own faults are told and by which sandboxes take over system calls,
/// nor those of libc's own. So a handler of one of the former must not fork if it has interrupted the library.
pub(crate) fn without_handlers<T>(body: impl FnOnce() -> T) -> T {
    const OF_FAULTS: Signals = set_of(libc::SIGSEGV)
        | set_of(libc::SIGBUS)
        | set_of(libc::SIGFPE)
        | set_of(libc::SIGILL)
        | set_of(libc::SIGTRAP)
        | set_of(libc::SIGSYS);
    const OF_LIBC: Signals = set_of(32) | set_of(33) | set_of(34);
    let before = change_mask(libc::SIG_BLOCK, !(OF_FAULTS | OF_LIBC));
    let result = body();
    change_mask(libc::SIG_SETMASK, before);
    result
}
