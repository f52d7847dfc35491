//! The mutex of the library's own bookkeeping, for which the other models have a simpler one.

use std::vec;

use super::*;
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
