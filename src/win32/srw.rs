//! SRW locks by Windows' rules: who waits, how long, and what is told of it. Knows nothing of the C types of `ffi`.

use crate::host::enter::{OwnerCheck, Stall};
use crate::host::{deadlocks, ends, threads};
use crate::lock::srw::{self, Mode};
use crate::lock::{condition, queue, resources};
use crate::report;
use crate::state::mirror::ConditionVariable;
use crate::state::misuses::Misuse;
use crate::state::registry::REGISTRY;
use crate::state::srw::{Place, SrwLock};
use crate::state::task::TaskRef;
use crate::state::tasks;
use crate::state::wait::{ACQUIRED, Beginning, CONTEND, PARKED, Request, WAIT_FOR_ITSELF};
use crate::sys::atomic::Ordering;
use crate::sys::{self, preserving_errno};
use crate::win32::{
    ERROR_INVALID_PARAMETER, ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_OWNER, ERROR_TIMEOUT, OnceMessage,
    Win32Result,
};
use crate::{handle, win32};

/// Why an acquisition that can neither fail nor wait in the queue tries again and again.
static NO_MEMORY: OnceMessage = OnceMessage::new(b"out of memory: AcquireSRWLock waits until there is some");
static IN_HANDLER: OnceMessage = OnceMessage::new(
    b"AcquireSRWLock in a signal handler that interrupted a wait has to wait: no report shows that",
);

/// Makes the memory a free lock.
pub(crate) fn initialize(lock: &SrwLock) {
    lock.place().clear();
}

/// Acquires the lock if that needs one operation.
#[inline(always)]
pub(crate) fn acquire_fast(lock: &SrwLock, mode: Mode) -> bool {
    let id = sys::current_id();
    // An owner is a task: whoever waits for it finds who it is. Who shares the lock is not known anyway.
    (mode == Mode::Shared || id != 0) && lock.word().is_some_and(|word| srw::take_fast(word, id, mode))
}

/// Acquires the lock, where acquire_fast could not. `site` is the call site, 0 if unknown.
#[cold]
pub(crate) fn acquire(lock: &SrwLock, mode: Mode, site: usize) {
    if srw::barge(lock.place(), sys::current_id(), mode) {
        return;
    }
    preserving_errno(|| {
        loop {
            match win32::prepare().and_then(|()| threads::current()) {
                Ok(me) if acquire_as(lock.place(), mode, me, site) => return,
                Ok(_) => {}
                Err(_) => NO_MEMORY.nap(),
            }
        }
    });
}

/// Acquires the lock if it is free, or shared and to be shared, and nobody waits for it.
#[cold]
pub(crate) fn try_acquire(lock: &SrwLock, mode: Mode) -> bool {
    preserving_errno(|| {
        let me = win32::prepare().and_then(|()| threads::current());
        me.is_ok_and(|me| srw::try_take(lock.place(), me.id(), mode))
    })
}

/// False if the wait has ended without the lock, in the child of a fork, and is to begin anew.
fn acquire_as(place: Place<'_>, mode: Mode, me: TaskRef, site: usize) -> bool {
    if srw::spin(place, me, mode) {
        return true;
    }
    if me.wait.is_under_way() {
        // A signal handler interrupted a wait of this very thread.
        let is_acquired = srw::take_before_all(place, me.id(), mode);
        if !is_acquired {
            IN_HANDLER.nap();
        }
        return is_acquired;
    }
    let owner = srw::owner_of(place);
    let is_mine = owner == me.id();
    let has_told = if is_mine {
        REGISTRY.win32.tell(Misuse::SrwAcquiredAgain, place.address() as usize, site);
        true
    } else {
        tell_if_ended(owner, place, site)
    };
    let for_itself = if is_mine { WAIT_FOR_ITSELF } else { 0 };
    resources::end_told_wait(me);
    let option = win32::WAIT | mode.option() | for_itself;
    announce(place, mode, me, Request { option, deadline: None, site })
        .unwrap_or_else(|| sleep_until_acquired(place, me, has_told))
}

/// Counts a wait for a lock whose owner has ended. Whether it has.
fn tell_if_ended(owner: u64, place: Place<'_>, site: usize) -> bool {
    let has_ended = owner != 0 && has_ended(owner, place);
    if has_ended {
        REGISTRY.win32.tell(Misuse::SrwOwnerEnded, place.address() as usize, site);
    }
    has_ended
}

/// Whether the owner of the lock has ended. It may have released the lock before it did.
fn has_ended(id: u64, place: Place<'_>) -> bool {
    tasks::of_owner(id).id() != id && srw::owner_of(place) == id
}

/// Puts `me` into the queue, unless a last attempt gets the lock, and searches for a cycle that this closed. As in a wait
/// for a section, `me` waits for nothing while the program is told of one, and anew after it. None while it waits; otherwise
/// whether it has the lock.
fn announce(place: Place<'_>, mode: Mode, me: TaskRef, request: Request) -> Option<bool> {
    let mut beginning = Beginning { since: sys::now(), run: REGISTRY.runtime.run(), told: 0 };
    loop {
        if srw::enqueue(place, me, mode, request, beginning) {
            return Some(true);
        }
        let step_out = || {
            let has_left = srw::withdraw(place, me);
            (has_left, me.wait.finish() == ACQUIRED)
        };
        let (notice, (has_left, has_acquired)) = deadlocks::search_for_deadlock(me, step_out)?;
        beginning.told = notice.stands().unwrap_or(beginning.told);
        notice.tell();
        if !has_left {
            return Some(has_acquired);
        }
    }
}

/// Sleeps and contends until `me`, which is in the queue, has the lock. False if its wait has ended otherwise. `has_told`:
/// that this wait cannot end has been told.
pub(crate) fn sleep_until_acquired(place: Place<'_>, me: TaskRef, mut has_told: bool) -> bool {
    let mut stall = Stall::begin();
    let mut check = OwnerCheck::of_wait_since(me.wait.since.load(Ordering::Relaxed));
    loop {
        match me.wait.park.load(Ordering::Relaxed) {
            PARKED => {
                let until = [stall.next, check.next].into_iter().flatten().min();
                let in_time = queue::sleep_on(&me.wait.park, PARKED, until);
                if stall.is_due() && me.wait.park.load(Ordering::Relaxed) == PARKED {
                    report::write_stall(me);
                }
                if !in_time && check.is_due() {
                    reap_who_is_gone(place);
                    let site = me.wait.site.load(Ordering::Relaxed) as usize;
                    has_told = has_told || tell_if_ended(srw::owner_of(place), place, site);
                }
            }
            CONTEND => srw::contend(place, me),
            _ => return me.wait.finish() == ACQUIRED,
        }
    }
}

/// Ends the tasks that every waiter here depends on, if their threads are gone: those that have been given the lock in
/// their wait, the owner, and those at the head of the queue, of which a release may have woken the first.
fn reap_who_is_gone(place: Place<'_>) {
    let reap = |id| ends::reap_if_gone_after(id, &|task| srw::give_back_unnoticed(place, task));
    tasks::all().filter(|task| srw::is_unnoticed(place, task)).for_each(|task| {
        reap(task.id());
    });
    reap(srw::owner_of(place));
    while reap(srw::first_waiter(place)) {}
}

/// Releases the lock if that needs one operation.
#[inline(always)]
pub(crate) fn release_fast(lock: &SrwLock, mode: Mode) -> bool {
    lock.word().is_some_and(|word| srw::release_fast(word, sys::current_id(), mode))
}

/// Releases the lock, where release_fast could not. `site` is the call site, 0 if unknown.
#[cold]
pub(crate) fn release(lock: &SrwLock, mode: Mode, site: usize) {
    preserving_errno(|| {
        if !srw::release(lock.place(), sys::current_id(), mode) {
            REGISTRY.win32.tell(Misuse::SrwNotHeld, lock.place().address() as usize, site);
        }
    });
}

/// CONDITION_VARIABLE_LOCKMODE_SHARED.
const LOCKMODE_SHARED: u32 = 1;

/// Releases the lock, which is held as `flags` say, sleeps until woken or until the time limit, and acquires it again.
pub(crate) fn sleep(
    variable: &ConditionVariable,
    lock: &SrwLock,
    milliseconds: u32,
    flags: u32,
    site: usize,
) -> Win32Result {
    let mode = match flags {
        0 => Mode::Exclusive,
        LOCKMODE_SHARED => Mode::Shared,
        _ => return Err(ERROR_INVALID_PARAMETER),
    };
    preserving_errno(|| {
        let me = win32::prepare().and_then(|()| threads::current());
        let me = me.map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
        if !srw::may_hold(lock.place(), me.id(), mode) {
            REGISTRY.win32.tell(Misuse::SrwNotHeld, lock.place().address() as usize, site);
            return Err(ERROR_NOT_OWNER);
        }
        let deadline = (milliseconds != u32::MAX).then(|| sys::deadline_after(milliseconds));
        let section = handle::of_srw_lock(lock.place().address());
        let number = condition::join(variable, me, condition::Request { section, deadline, site });
        release(lock, mode, site);
        let in_time = condition::sleep(me, number, deadline);
        if !acquire_fast(lock, mode) {
            acquire(lock, mode, site);
        }
        if in_time { Ok(()) } else { Err(ERROR_TIMEOUT) }
    })
}
