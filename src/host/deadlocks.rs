//! What is done about a deadlock that was found: the report, the program's callback, and waiting for that.

use core::ffi::c_void;

use crate::deadlock::{self, Cycle, Link};
use crate::host::{calls, ends};
use crate::report;
use crate::state::deadlocks::{Callback, Deadlocks, Policy, host_deadlock_t};
use crate::state::registry::REGISTRY;
use crate::state::task::{self, TaskRef};
use crate::state::tasks;
use crate::sys;
use crate::sys::atomic::{AtomicU64, Ordering};

pub(crate) fn set_policy(policy: Policy) {
    REGISTRY.deadlocks.policy.store(policy as u32, Ordering::Relaxed);
}

/// How often it was set who is told, from 1; under the lock. The number of the present setting.
static SETTINGS: AtomicU64 = AtomicU64::new(1);

/// Sets who is told of deadlocks. On return nobody who was told before is being told any more, unless the caller is: two
/// that are told at once would wait for each other.
pub(crate) fn set_callback(callback: Option<Callback>, context: *mut c_void) {
    let before = REGISTRY.deadlocks.set_callback(callback, context);
    if !task::current_if_any().is_some_and(|me| me.tells_one_of(u64::MAX)) {
        wait_for_calls(before);
    }
}

/// What the program's callback is to be told.
pub(crate) struct Notice {
    deadlock: host_deadlock_t,
    callback: Callback,
    context: *mut c_void,
    /// Who tells it, and what that task was telling before.
    me: TaskRef,
    outer: u64,
}

impl Notice {
    /// Calls the program. It may never come back: by an exception, `longjmp`, or the end of the thread.
    pub(crate) fn tell(self) {
        (self.callback)(&raw const self.deadlock, self.context);
        self.me.end_telling(self.outer);
        calls::a_call_has_ended();
    }
}

/// How long a call of a callback is waited for before it is looked whether its thread is still there.
const CALL_RECHECK_MILLISECONDS: u32 = 1000;

/// Waits until no task tells what a setting up to number `last` is to be told.
fn wait_for_calls(last: u64) {
    loop {
        let ended = calls::ENDED.load(Ordering::Acquire);
        if !tasks::all().any(|task| task.tells_one_of(last)) {
            return;
        }
        let recheck = sys::deadline_after(CALL_RECHECK_MILLISECONDS);
        let _ = sys::futex_wait(&calls::ENDED, ended, Some(recheck));
        // A thread may be gone without having said so: then its task is ended here.
        for task in tasks::all().filter(|task| task.tells_one_of(last)) {
            ends::reap_if_gone(task.id());
        }
    }
}

/// `me` has just announced a wait: if that closed a cycle, does what the policy says. What the program is to be told of
/// it, once `me` is out of the queue.
#[cold]
pub(crate) fn search_for_deadlock(me: TaskRef) -> Option<Notice> {
    deadlock::cycle_length(me)?;
    let policy = deadlock::policy();
    let deadlocks = &REGISTRY.deadlocks;
    // place: deadlock-search-lock
    let guard = deadlocks.lock.lock();
    let cycle = deadlock::search(me)?;
    let victim = deadlock::break_or_tell(&cycle, policy)?;
    let notice = deadlocks.notice(me, &cycle, victim);
    drop(guard);
    report(&cycle, victim, policy);
    notice
}

/// Writes the report that the policy asks for.
fn report(cycle: &Cycle, victim: Option<Link>, policy: Policy) {
    if policy == Policy::Error && (victim.is_some() || !cycle.has_infallible) {
        return;
    }
    report::write_deadlock(cycle.closer.task);
    if policy == Policy::Abort {
        sys::abort();
    }
}

impl Deadlocks {
    /// Sets who is told; the number of the setting before. Whoever was to be told by that one has been noted by then, as
    /// `notice` is under the same lock.
    fn set_callback(&self, callback: Option<Callback>, context: *mut c_void) -> u64 {
        let _guard = self.lock.lock();
        self.context.store(context, Ordering::Relaxed);
        let callback = callback.map_or(core::ptr::null_mut(), |function| function as *mut c_void);
        self.callback.store(callback, Ordering::Relaxed);
        let before = SETTINGS.load(Ordering::Relaxed);
        SETTINGS.store(before + 1, Ordering::Relaxed);
        before
    }

    /// What the callback is to be told by `me`, if there is one; under the lock.
    fn notice(&self, me: TaskRef, cycle: &Cycle, victim: Option<Link>) -> Option<Notice> {
        let callback = self.callback.load(Ordering::Relaxed);
        if callback.is_null() {
            return None;
        }
        let deadlock = host_deadlock_t {
            size: size_of::<host_deadlock_t>() as u32,
            tasks: cycle.length,
            victim: victim.map_or(0, |victim| tasks::handle_of(victim.id)),
            section: victim.unwrap_or(cycle.closer).section,
        };
        // SAFETY: set_callback stored a Callback.
        let callback = unsafe { core::mem::transmute::<*mut c_void, Callback>(callback) };
        let context = self.context.load(Ordering::Relaxed);
        let outer = me.begin_telling(SETTINGS.load(Ordering::Relaxed));
        Some(Notice { deadlock, callback, context, me, outer })
    }
}
