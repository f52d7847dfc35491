//! SRW locks: an owner is alone, who comes next sees what was done, and no wake-up is lost.

use super::*;
use crate::lock::srw::{self, Mode};
use crate::state::srw::Place;
use crate::state::wait::{Beginning, Request};
use crate::sys::Instant;
use crate::sys::atomic::AtomicU64;
use crate::win32;

static WORD: AtomicU64 = AtomicU64::new(0);

fn acquire(mode: Mode) {
    let me = threads::current().expect("a task");
    let place = Place::Aligned(&WORD);
    let request = Request { option: mode.option(), deadline: None, site: 0 };
    let beginning = Beginning { since: 0, run: 0, told: 0 };
    let is_acquired = srw::take_fast(&WORD, me.id(), mode)
        || srw::spin(place, me, mode)
        || srw::enqueue(place, me, mode, request, beginning)
        || win32::srw::sleep_until_acquired(place, me, false);
    assert!(is_acquired);
}

fn release(mode: Mode) {
    let id = sys::current_id();
    assert!(srw::release_fast(&WORD, id, mode) || srw::release(Place::Aligned(&WORD), id, mode));
}

/// Does what only an owner may do.
fn own(count: &Watched) {
    own_and(count, || ());
}

fn own_and(count: &Watched, act: fn()) {
    acquire(Mode::Exclusive);
    // SAFETY: loom says so if two threads do this at once, or one that does not see the other's.
    count.0.with_mut(|count| unsafe { *count += 1 });
    act();
    release(Mode::Exclusive);
}

/// As own, and gives the lock to the first waiter, however long it has been fought over.
fn own_and_hand_off(count: &Watched) {
    own_and(count, || set_next_hand_off(0));
}

fn set_next_hand_off(at: Instant) {
    srw::set_next_hand_off(Place::Aligned(&WORD), at);
}

fn share(count: &Watched) {
    acquire(Mode::Shared);
    // SAFETY: loom says so if an owner changes it meanwhile, or this thread does not see what one did.
    count.0.with(|count| unsafe { *count });
    release(Mode::Shared);
}

fn threads_that(visits: &[fn(&Watched)]) -> Scene {
    runtime::start().expect("memory for the arenas");
    set_next_hand_off(Instant::MAX);
    let count = Arc::new(Watched(UnsafeCell::new(0)));
    let visit = |visit: &fn(&Watched)| {
        let (visit, count) = (*visit, count.clone());
        (new_task(), body(move || visit(&count)))
    };
    scene(visits.iter().map(visit).collect(), || {
        assert_eq!(WORD.load(Ordering::Relaxed), 0, "given up, and nobody waits");
    })
}

fn two_owners() -> Scene {
    threads_that(&[own, own])
}

fn owner_and_sharer() -> Scene {
    threads_that(&[own, share])
}

fn two_owners_and_sharer() -> Scene {
    threads_that(&[own, own, share])
}

/// One that comes takes the lock before the waiter that was woken to take it.
fn three_owners() -> Scene {
    threads_that(&[own, own, own])
}

fn owner_and_who_hands_off() -> Scene {
    threads_that(&[own, own_and_hand_off])
}

/// From one to the next.
fn owners_and_who_hands_off() -> Scene {
    threads_that(&[own, own, own_and_hand_off])
}

/// The sharer has no part in the change of the word by which it shares the lock.
fn who_hands_off_and_sharer() -> Scene {
    threads_that(&[own_and_hand_off, share])
}

fn who_hands_off_and_sharers() -> Scene {
    threads_that(&[own_and_hand_off, share, share])
}

fn sharer_and_who_hands_off() -> Scene {
    threads_that(&[own, share, own_and_hand_off])
}

fn owner_and_two_sharers() -> Scene {
    threads_that(&[own, share, share])
}

/// A sharer that has got the lock as the contender takes the other along, before an owner.
fn owners_and_two_sharers() -> Scene {
    threads_that(&[own, share, share, own])
}

#[test]
fn an_owner_is_alone() {
    holds_with_preemptions(3, two_owners);
}

#[test]
fn an_owner_is_alone_among_who_share() {
    holds_with_preemptions(3, owner_and_sharer);
}

#[test]
fn nobody_sleeps_for_ever() {
    holds_with_preemptions(2, two_owners_and_sharer);
}

#[test]
fn a_waiter_that_loses_is_woken_again() {
    holds_with_preemptions(2, three_owners);
}

#[test]
fn a_lock_that_is_handed_off_has_one_owner() {
    holds_with_preemptions(3, owner_and_who_hands_off);
}

#[test]
fn a_hand_off_leaves_nobody_asleep() {
    holds_with_preemptions(2, owners_and_who_hands_off);
}

#[test]
fn a_hand_off_leaves_no_sharer_asleep() {
    holds_with_preemptions(2, sharer_and_who_hands_off);
}

#[test]
fn who_shares_takes_the_next_along() {
    holds_with_preemptions(2, owners_and_two_sharers);
}

#[test]
fn all_who_share_are_handed_the_lock() {
    holds_with_preemptions(2, who_hands_off_and_sharers);
}

#[test]
fn all_who_share_are_served() {
    holds_with_preemptions(2, owner_and_two_sharers);
}

#[test]
fn control_take_that_does_not_acquire() {
    breaks_with_preemptions(2, Sight::Race, &[place("srw-take-fast")], two_owners);
}

#[test]
fn control_release_that_does_not_release() {
    breaks_with_preemptions(2, Sight::Race, &[place("srw-release-fast")], two_owners);
}

#[test]
fn control_slow_change_without_order() {
    breaks_with_preemptions(2, Sight::Race, &[place("srw-replace")], two_owners);
}

/// A sharer that is handed the lock does not see what the owner did.
#[test]
fn control_outcome_that_is_not_acquired() {
    breaks_with_preemptions(2, Sight::Race, &[place("wait-outcome-acquire")], who_hands_off_and_sharer);
}
