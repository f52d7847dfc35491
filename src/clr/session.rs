//! When the session of the CLR's events begins, by which it tells of waits for locks.
//!
//! A session costs the CLR 15 to 20 ms of a processor: its event source, which is managed code, looks at itself by
//! reflection to find out which events it has. Begun while the CLR starts, it also makes calls of managed code that the CLR
//! does not report. So the session begins when it is first needed: with the second thread that runs the program's managed
//! code, as one alone waits for none.
//!
//! **No wait is missed.** That thread, and any that comes meanwhile, is held back at its very beginning until the session
//! has begun, so none of its waits is before that. The CLR tells of a new thread before any of its code runs, in a call
//! during which its collector goes on (`thread_created`). It is not held for ever: code of the CLR's runs in a session's
//! beginning, and may need a lock that somebody owns who waits for the new thread.
//!
//! A thread of the library's own begins the session: it owns nothing and is part of no call.
//!
//! What is missed: waits between the first thread and the CLR's finalizer that begin before there is another thread.

use core::ffi::c_void;
use core::ptr::null_mut;

use super::info::EventSource;
use crate::host::watch;
use crate::state::registry::REGISTRY;
use crate::sys;
use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering};

/// ContentionKeyword of Microsoft-Windows-DotNETRuntime, WaitHandleKeyword, which older ones do not have, and
/// TRACE_LEVEL_VERBOSE.
const KEYWORDS: u64 = 0x4000 | 1 << 42;
const LEVEL: u32 = 5;

/// What STATE says: there is no session to begin; one is to; it is just beginning; that is over.
const NONE: u32 = 0;
const DUE: u32 = 1;
const BEGINS: u32 = 2;
const OVER: u32 = 3;

static STATE: AtomicU32 = AtomicU32::new(NONE);
/// The CLR's events. Their reference is never released.
static SOURCE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// The thread that the CLR was started on, and the library's own.
static FIRST_THREAD: AtomicU32 = AtomicU32::new(0);
static OWN_THREAD: AtomicU32 = AtomicU32::new(0);
/// 1 once the CLR's finalizer thread was seen. Later ones of its name were begun by finalizers.
static HAS_FINALIZER: AtomicU32 = AtomicU32::new(0);

/// How long a thread is held back at most, in milliseconds. Where transitions are reported the CLR does without some of its
/// precompiled code, and beside a few busy threads a session was seen to take more than a second to begin.
const PATIENCE: u32 = 5000;

/// Threads of the CLR's own that run no code of the program's, as they are called when they begin.
const FINALIZER: &[u8] = b".NET Finalizer\n";
const COMPILER: &[u8] = b".NET Tiered Com\n";
/// It begins and ends the sessions that other processes ask for.
const SERVER: &[u8] = b".NET EventPipe\n";

/// A session of these events is to begin when it is needed. Called on the thread that the CLR starts on.
///
/// # Safety
/// `source` came from EventSource::query and its reference is never released.
pub(crate) unsafe fn prepare(source: *mut c_void) {
    SOURCE.store(source, Ordering::Relaxed);
    FIRST_THREAD.store(sys::thread_id(), Ordering::Relaxed);
    REGISTRY.set_sees_managed_locks(true);
    // Release pairs with the Acquire in thread_begins: who finds it due finds the source.
    STATE.store(DUE, Ordering::Release);
}

/// The calling thread is about to run managed code for the first time.
pub(crate) fn thread_begins() {
    if matches!(STATE.load(Ordering::Acquire), NONE | OVER) || !may_wait_for_locks() {
        return;
    }
    if STATE.compare_exchange(DUE, BEGINS, Ordering::Acquire, Ordering::Relaxed).is_ok()
        && !sys::begin_thread(run)
    {
        end(false);
    }
    let deadline = sys::deadline_after(PATIENCE);
    while STATE.load(Ordering::Relaxed) == BEGINS && sys::now() < deadline {
        let _ = sys::futex_wait(&STATE, BEGINS, Some(deadline));
    }
}

/// Whether managed code of the program's is to run on the calling thread, beside the first one.
fn may_wait_for_locks() -> bool {
    let thread = sys::thread_id();
    if thread == FIRST_THREAD.load(Ordering::Relaxed) || is_own_thread() {
        return false;
    }
    match sys::read_thread_file(None, thread, "comm", &mut [0; 32]) {
        Some(FINALIZER) => HAS_FINALIZER.swap(1, Ordering::Relaxed) != 0,
        name => name != Some(COMPILER),
    }
}

/// 1 once waits are not seen any more, since the session has ended.
static HAS_ENDED: AtomicU32 = AtomicU32::new(0);

/// A session is about to end, by the calling thread. Managed code ends its own ones, and all when the process ends, before
/// its last handlers run.
pub(crate) fn session_ends() {
    if REGISTRY.sees_managed_locks()
        && sys::read_thread_file(None, sys::thread_id(), "comm", &mut [0; 32]) != Some(SERVER)
    {
        HAS_ENDED.store(1, Ordering::Relaxed);
        REGISTRY.set_sees_managed_locks(false);
    }
}

/// No more waits can begin, and the last handlers, whose were not seen, are over: what a report now says is of before.
pub(crate) fn managed_code_has_ended() {
    if HAS_ENDED.load(Ordering::Relaxed) != 0 {
        REGISTRY.set_sees_managed_locks(true);
    }
}

/// Whether the calling thread is the library's own, which is no task whatever the CLR tells of it.
pub(crate) fn is_own_thread() -> bool {
    let own = OWN_THREAD.load(Ordering::Relaxed);
    own != 0 && own == sys::thread_id()
}

/// The library's own thread.
extern "C" fn run() {
    OWN_THREAD.store(sys::thread_id(), Ordering::Relaxed);
    // SAFETY: only `prepare` stores it, before a session is due; what it stores is what `from_raw` asks for.
    let source = unsafe { EventSource::from_raw(SOURCE.load(Ordering::Relaxed)) };
    let has_begun = source.start_session(KEYWORDS, LEVEL);
    end(has_begun);
    if has_begun {
        watch::watch();
    }
}

/// The session has begun, or cannot.
fn end(has_begun: bool) {
    if !has_begun {
        REGISTRY.set_sees_managed_locks(false);
    }
    STATE.store(OVER, Ordering::Relaxed);
    sys::futex_wake(&STATE, i32::MAX);
}
