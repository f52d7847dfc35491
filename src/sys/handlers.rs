//! Handlers of signals, each put before what was in force for its signal and followed by that. Does not know what is done
//! in one.
//!
//! A handler runs on whichever thread gets the signal, in the middle of anything: what it calls must take no lock, call no
//! allocator, and be content with little stack.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::linux::{preserving_errno, process_id, thread_id};

/// When a handler is put in force. One that is put first can be followed by one that is put later: a program that has a
/// handler of its own put between them then finds the first again, when it takes its own away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Load,
    Start,
}

/// What follows a handler where nothing was in force, by which the process ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// The process ends, as if there had been no handler.
    End,
    /// It goes on.
    GoOn,
}

/// What is done at a signal, of which it gets the number.
pub(crate) type Deed = fn(c_int);

/// Signals are numbers from 1 to 64.
const SIGNALS: usize = 65;

struct Slot {
    /// A [`Deed`]; null until `before` is written.
    deed: AtomicPtr<c_void>,
    before: UnsafeCell<MaybeUninit<(libc::sigaction, Otherwise)>>,
}

// SAFETY: `before` is written in put_before, by one thread before `deed` is stored, and then only read.
unsafe impl Sync for Slot {}

static SLOTS_BY_SIGNAL: [[Slot; 2]; SIGNALS] = [const {
    [const { Slot { deed: AtomicPtr::new(core::ptr::null_mut()), before: UnsafeCell::new(MaybeUninit::uninit()) } };
        2]
}; SIGNALS];

/// By signal, the thread that is in the handler from the start; 0 for none.
static INSIDE: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];

fn slot(signal: c_int, stage: Stage) -> Option<&'static Slot> {
    SLOTS_BY_SIGNAL.get(usize::try_from(signal).ok()?)?.get(stage as usize)
}

/// A handler with which the kernel passes all that it knows.
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn handler(stage: Stage) -> Handler {
    match stage {
        Stage::Load => at_signal_from_load,
        Stage::Start => at_signal_from_start,
    }
}

/// From here on, `deed` is done at a signal before what is in force for it now. Nothing changes for a signal that is
/// ignored, or that has a handler of this module already. For each stage and signal once, by one thread at a time.
pub(crate) fn put_before(signal: c_int, stage: Stage, deed: Deed, otherwise: Otherwise) {
    let Some(slot) = slot(signal, stage).filter(|slot| slot.deed.load(Ordering::Relaxed).is_null()) else {
        return;
    };
    let Some(before) = in_force(signal) else { return };
    let ours = [Stage::Load, Stage::Start].map(|stage| handler(stage) as usize);
    if before.sa_sigaction == libc::SIG_IGN || ours.contains(&before.sa_sigaction) {
        return;
    }
    // SAFETY: nobody reads it before the deed is stored, and only this thread writes.
    unsafe { (*slot.before.get()).write((before, otherwise)) };
    // Release pairs with the Acquire in due: who finds the deed finds what was before.
    slot.deed.store(deed as *mut c_void, Ordering::Release);
    // What was before runs with the mask, on the stack and with the restarts that it asked for.
    let mut action = before;
    action.sa_sigaction = handler(stage) as usize;
    action.sa_flags |= libc::SA_SIGINFO;
    if before.sa_sigaction == libc::SIG_DFL {
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    }
    // SAFETY: a valid action, whose handler is this library's, never unloaded.
    unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) };
}

fn in_force(signal: c_int) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a successful sigaction(2) writes the action.
    unsafe {
        (libc::sigaction(signal, core::ptr::null(), action.as_mut_ptr()) == 0).then(|| action.assume_init())
    }
}

/// The deed was done already if this one follows the other one, as a program's own handler between them calls it.
extern "C" fn at_signal_from_load(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some((slot, deed)) = due(signal, Stage::Load) else { return };
    if inside(signal).is_none_or(|inside| inside.load(Ordering::Relaxed) != thread_id()) {
        preserving_errno(|| deed(signal));
    }
    follow(slot, signal, info, context);
}

extern "C" fn at_signal_from_start(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some((slot, deed)) = due(signal, Stage::Start) else { return };
    preserving_errno(|| deed(signal));
    let Some(inside) = inside(signal) else { return };
    inside.store(thread_id(), Ordering::Relaxed);
    follow(slot, signal, info, context);
    inside.store(0, Ordering::Relaxed);
}

fn inside(signal: c_int) -> Option<&'static AtomicU32> {
    INSIDE.get(usize::try_from(signal).ok()?)
}

/// What is to be done, and followed.
fn due(signal: c_int, stage: Stage) -> Option<(&'static Slot, Deed)> {
    let slot = slot(signal, stage)?;
    // Acquire pairs with the Release in put_before.
    let deed = slot.deed.load(Ordering::Acquire);
    // SAFETY: put_before stored a `Deed`.
    (!deed.is_null()).then(|| (slot, unsafe { core::mem::transmute::<*mut c_void, Deed>(deed) }))
}

/// Goes on as it would have gone without the handler. `slot` has its deed.
fn follow(slot: &Slot, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: written before the deed was.
    let (before, otherwise) = unsafe { (*slot.before.get()).assume_init_ref() };
    match before.sa_sigaction {
        libc::SIG_DFL if *otherwise == Otherwise::End => preserving_errno(|| end_by(signal, info)),
        libc::SIG_DFL => {}
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: the program had this handler of this kind in force.
            let handler = unsafe { core::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: as above.
            let handler = unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
            handler(signal);
        }
    }
}

/// Has the calling thread get the signal again, with what the kernel does at it by default: at once, or when the handler
/// returns where it is blocked. Who sent it stays known.
fn end_by(signal: c_int, info: *mut libc::siginfo_t) {
    // SAFETY: zeros are a valid action: the default one.
    let default = unsafe { core::mem::zeroed::<libc::sigaction>() };
    // SAFETY: reads a valid action; rt_tgsigqueueinfo(2) reads what the kernel passed.
    unsafe {
        libc::sigaction(signal, &raw const default, core::ptr::null_mut());
        let (process, thread) = (process_id(), thread_id());
        if info.is_null() || libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, signal, info) != 0 {
            libc::syscall(libc::SYS_tgkill, process, thread, signal);
        }
    }
}

/// How many bytes of stack a handler has left, if it runs on a stack of its own.
pub(crate) fn handler_stack_room() -> Option<usize> {
    let mut stack = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: a successful sigaltstack(2) writes the present stack.
    let stack = unsafe {
        (libc::sigaltstack(core::ptr::null(), stack.as_mut_ptr()) == 0).then(|| stack.assume_init())
    }?;
    let here = (&raw const stack) as usize;
    (stack.ss_flags & libc::SS_ONSTACK != 0).then(|| here.saturating_sub(stack.ss_sp as usize))
}

// ---- names ------------------------------------------------------------------------------------------------

/// Signals that a program may choose to mean something: none by which faults are told.
const NAMES: [(&[u8], c_int); 8] = [
    (b"HUP", libc::SIGHUP),
    (b"QUIT", libc::SIGQUIT),
    (b"USR1", libc::SIGUSR1),
    (b"USR2", libc::SIGUSR2),
    (b"URG", libc::SIGURG),
    (b"WINCH", libc::SIGWINCH),
    (b"IO", libc::SIGIO),
    (b"PWR", libc::SIGPWR),
];
/// What [`signal_of`] knows, for people.
pub(crate) const SIGNAL_NAMES: &str = "HUP, QUIT, USR1, USR2, URG, WINCH, IO, PWR, or RTMIN+n";

/// The signal with a name such as `USR2`, `SIGUSR2` or `RTMIN+3`.
pub(crate) fn signal_of(name: &[u8]) -> Option<c_int> {
    let name = name.strip_prefix(b"SIG").unwrap_or(name);
    if let Some(number) = name.strip_prefix(b"RTMIN+") {
        let number: c_int = core::str::from_utf8(number).ok()?.parse().ok()?;
        let signal = libc::SIGRTMIN().checked_add(number)?;
        return (number >= 0 && signal <= libc::SIGRTMAX()).then_some(signal);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|&(_, signal)| signal)
}

/// The signals at which a process ends that its program, or its user, wants to end.
pub(crate) const ENDINGS: [c_int; 2] = [libc::SIGABRT, libc::SIGTERM];

/// The name of a signal; None for a real-time one.
pub(crate) fn signal_name(signal: c_int) -> Option<&'static [u8]> {
    match signal {
        libc::SIGABRT => Some(b"ABRT"),
        libc::SIGTERM => Some(b"TERM"),
        _ => NAMES.iter().find(|&&(_, known)| known == signal).map(|&(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_with_or_without_its_prefix() {
        assert_eq!(signal_of(b"USR2"), Some(libc::SIGUSR2));
        assert_eq!(signal_of(b"SIGHUP"), Some(libc::SIGHUP));
        assert_eq!(signal_of(b"RTMIN+0"), Some(libc::SIGRTMIN()));
        assert_eq!(signal_of(b"SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        for wrong in
            ["", "SIG", "usr2", "SEGV", "KILL", "STOP", "12", "RTMIN", "RTMIN+", "RTMIN+-1", "RTMIN+99"]
        {
            assert_eq!(signal_of(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(signal_name(libc::SIGTERM), Some(&b"TERM"[..]));
        assert_eq!(signal_name(libc::SIGUSR2), Some(&b"USR2"[..]));
        assert_eq!(signal_name(libc::SIGRTMIN()), None);
    }
}
