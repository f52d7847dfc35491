//! The mutex of the library's own bookkeeping, for which the other models have a simpler one.

use std::vec;

use super::*;
use crate::sys::atomic::AtomicU32;
use crate::sys::mutex::Mutex;

static MUTEX: Mutex = Mutex::new();

/// Two tasks hold it in turn.
fn two_holders() -> Scene {
    let section = Protected::new();
    let hold = |section: &Protected| {
        let guard = MUTEX.lock();
        section.touch();
        drop(guard);
    };
    let threads = vec![(new_task(), section.then(hold)), (new_task(), section.then(hold))];
    scene(threads, move || assert_eq!(section.count(), 2))
}

static DONE: AtomicU32 = AtomicU32::new(0);

/// Three tasks want something done: one does it, and all see what it did.
fn once_for_all() -> Scene {
    let section = Protected::new();
    let have_it_done = |section: &Protected| {
        let guard = MUTEX.lock_unless(&DONE);
        if DONE.load(Ordering::Relaxed) == 0 {
            section.touch();
            DONE.store(1, Ordering::Release);
            MUTEX.wake_all();
        }
        assert_eq!(section.count(), 1);
        drop(guard);
    };
    let threads = (0..3).map(|_| (new_task(), section.then(have_it_done))).collect();
    scene(threads, || {})
}

#[test]
fn what_is_done_once_is_done_for_all() {
    holds_with_preemptions(3, once_for_all);
}

#[test]
fn control_done_without_acquire() {
    breaks(Sight::Race, &[place("mutex-done-load")], once_for_all);
}

#[test]
fn it_excludes_and_wakes() {
    holds(two_holders);
}

#[test]
fn control_lock_without_acquire() {
    breaks(Sight::Race, &[place("mutex-lock-exchange")], two_holders);
}

#[test]
fn control_sleeper_without_acquire() {
    breaks(Sight::Race, &[place("mutex-sleeper-swap")], two_holders);
}

#[test]
fn control_unlock_without_release() {
    breaks(Sight::Race, &[place("mutex-unlock-swap")], two_holders);
}
