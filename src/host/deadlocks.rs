//! What is done about a deadlock that was found: the report, the program's callback, and waiting for that. How one is
//! found and broken is `deadlock`'s.

use core::ffi::c_void;

use crate::deadlock::{self, Cycle, Link, Outcome};
use crate::handle;
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

/// The number of the present setting of the callback, from 1; under the lock.
static SETTINGS: AtomicU64 = AtomicU64::new(1);

/// Sets the callback. On return no call of the former one is in progress, unless the caller is inside of a callback
/// itself: two callbacks that set another at once would wait for each other.
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
    stands: Option<u64>,
    /// The task that makes the call, and the setting whose call it was inside of before.
    me: TaskRef,
    outer: u64,
}

impl Notice {
    /// The number of the deadlock if it stands, from 1; None if a wait of it was broken.
    pub(crate) fn stands(&self) -> Option<u64> {
        self.stands
    }

    /// Calls the program. That may never return: an exception, `longjmp`, or the end of the thread.
    pub(crate) fn tell(self) {
        (self.callback)(&raw const self.deadlock, self.context);
        self.me.end_telling(self.outer);
        calls::a_call_has_ended();
    }
}

/// How long a call of a callback is waited for before it is checked whether its thread still exists.
const CALL_RECHECK_MILLISECONDS: u32 = 1000;

/// Waits until no task is inside of a call that a setting up to number `last` asked for.
fn wait_for_calls(last: u64) {
    loop {
        let ended = calls::ENDED.load(Ordering::Acquire);
        if !tasks::all().any(|task| task.tells_one_of(last)) {
            return;
        }
        let recheck = sys::deadline_after(CALL_RECHECK_MILLISECONDS);
        let _ = sys::futex_wait(&calls::ENDED, ended, Some(recheck));
        // A thread may be gone without having ended its task: that is done here.
        for task in tasks::all().filter(|task| task.tells_one_of(last)) {
            ends::reap_if_gone(task.id());
        }
    }
}

/// `me` has just announced a wait: searches, and if the wait closed a cycle, does what the policy says. Returns what
/// the program is to be told of it, and what `step_out`, which takes `me` out of the queue for that, has returned.
#[cold]
pub(crate) fn search_for_deadlock<T>(me: TaskRef, step_out: impl Fn() -> T) -> Option<(Notice, T)> {
    deadlock::cycle_length(me)?;
    let policy = deadlock::policy();
    let deadlocks = &REGISTRY.deadlocks;
    // place: deadlock-search-lock
    let guard = deadlocks.lock.lock();
    let (cycle, victim) = loop {
        let cycle = deadlock::search(me)?;
        match deadlock::break_or_tell(&cycle, policy) {
            Outcome::Broken(victim) => break (cycle, Some(victim)),
            Outcome::Stands => break (cycle, None),
            Outcome::WasTold => return None,
            Outcome::Changed => {}
        }
    };
    let notice = deadlocks.notice(me, &cycle, victim);
    // Under the lock: no other search shall find a cycle that only stands until `me` steps out.
    let out = notice.as_ref().and(victim).map(|_| step_out());
    drop(guard);
    report(&cycle, victim, policy);
    notice.map(|notice| (notice, out.unwrap_or_else(step_out)))
}

/// Writes the report that the policy asks for.
fn report(cycle: &Cycle, victim: Option<Link>, policy: Policy) {
    if policy == Policy::Error && (victim.is_some() || !cycle.has_infallible) {
        return;
    }
    report::write_deadlock(cycle.closer.task);
    if policy == Policy::Abort {
        report::spare_exit_on_stderr();
        sys::abort();
    }
}

impl Deadlocks {
    /// Sets the callback; returns the number of the setting before. The calls that one asked for have been noted by
    /// then, as `notice` is under the same lock.
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
            section: Some(victim.unwrap_or(cycle.closer).awaited)
                .filter(|&lock| !handle::is_srw_lock(lock))
                .unwrap_or(0),
        };
        // SAFETY: set_callback stored a Callback.
        let callback = unsafe { core::mem::transmute::<*mut c_void, Callback>(callback) };
        let context = self.context.load(Ordering::Relaxed);
        let outer = me.begin_telling(SETTINGS.load(Ordering::Relaxed));
        let stands = victim.is_none().then(|| self.found());
        Some(Notice { deadlock, callback, context, stands, me, outer })
    }
}
