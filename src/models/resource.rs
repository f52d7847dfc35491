//! Resources: cycles through a lock of the program's are found at their last wait, and a wait is refused or answered,
//! never both. The program's lock is a word that knows nothing of resources.

use core::ffi::c_void;

use std::vec;

use super::random::breaks_at_random;
use super::*;
use crate::constants::{WAIT_ALERTABLE, WAIT_NOTINDEADLOCK};
use crate::error::Error;
use crate::host::{deadlocks, resources};
use crate::lock::resources as told;
use crate::state::deadlocks::host_deadlock_t;
use crate::state::registry::REGISTRY;
use crate::sys::atomic::AtomicU32;

/// The program's lock: 1 while it is locked.
static LOCK: AtomicU32 = AtomicU32::new(0);

fn try_lock() -> bool {
    LOCK.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

fn new_resource() -> u64 {
    runtime::start().expect("memory for the arenas");
    told::create().expect("a place for a resource")
}

fn new_section() -> u64 {
    runtime::start().expect("memory for the arenas");
    crst::create(SpinPolicy::Adaptive).expect("a place for a section")
}

fn tell_acquired(resource: u64) {
    if !told::acquire_fast(resource) {
        resources::acquired(resource, 0).expect("nobody else is known to own it");
    }
}

/// Locks the program's lock, and tells of it.
fn lock(resource: u64) -> Result<()> {
    if !try_lock() {
        resources::wait(resource, 0, 0)?;
        while !try_lock() {
            let _ = sys::futex_wait(&LOCK, 1, None);
        }
    }
    tell_acquired(resource);
    Ok(())
}

fn unlock(resource: u64) {
    if !told::release_fast(resource) {
        told::release(resource).expect("owned");
    }
    LOCK.store(0, Ordering::Release);
    sys::futex_wake(&LOCK, 1);
}

/// A task that owns a section comes for the resource of one that comes for the section with this option. If the latter
/// is refused with `refusal`, it goes on without.
fn crossing(option: u32, refusal: Error) -> Scene {
    let (section, resource) = (new_section(), new_resource());
    let [in_section, with_resource] = [new_task(), new_task()];
    act_as(in_section, || assert_eq!(enter(section, 0, Patience::Unbounded), Ok(true)));
    assert!(try_lock());
    act_as(with_resource, || tell_acquired(resource));
    let come_for_resource = body(move || {
        match lock(resource) {
            Ok(()) => unlock(resource),
            Err(error) => assert_eq!(error, Error::Deadlock),
        }
        leave(section);
    });
    let come_for_section = body(move || {
        match enter(section, option, Patience::Unbounded) {
            Ok(_) => leave(section),
            Err(error) => assert_eq!(error, refusal),
        }
        unlock(resource);
    });
    scene(vec![(in_section, come_for_resource), (with_resource, come_for_section)], || {
        assert_eq!(REGISTRY.deadlocks.found(), 1, "deadlocks found");
    })
}

/// As above, of a task that acquires the resource meanwhile: if it is first, the two wait for each other.
fn crossing_from_the_start() -> Scene {
    // A heavy barrier in the wait for the section would order what the search of the other has to.
    model::set_barriers(Barriers::Refused);
    let (section, resource) = (new_section(), new_resource());
    let [in_section, acquires] = [new_task(), new_task()];
    act_as(in_section, || assert_eq!(enter(section, 0, Patience::Unbounded), Ok(true)));
    let come_for_resource = body(move || {
        match lock(resource) {
            Ok(()) => unlock(resource),
            Err(error) => assert_eq!(error, Error::Deadlock),
        }
        leave(section);
    });
    let acquire_and_enter = body(move || {
        lock(resource).expect("it owns nothing yet");
        match enter(section, 0, Patience::Unbounded) {
            Ok(_) => leave(section),
            Err(error) => assert_eq!(error, Error::Deadlock),
        }
        unlock(resource);
    });
    scene(vec![(in_section, come_for_resource), (acquires, acquire_and_enter)], || {
        assert!(REGISTRY.deadlocks.found() <= 1, "told of twice");
    })
}

fn either_is_refused() -> Scene {
    crossing(0, Error::Deadlock)
}

/// The wait for the section is not to be broken: that for the resource is, unless its task was answered before.
fn only_the_resource_can_be_refused() -> Scene {
    deadlocks::set_callback(Some(alert_who_stands), core::ptr::null_mut());
    crossing(WAIT_NOTINDEADLOCK | WAIT_ALERTABLE, Error::Interrupted)
}

extern "C" fn alert_who_stands(deadlock: *const host_deadlock_t, _: *mut c_void) {
    // SAFETY: a callback is given a deadlock.
    if unsafe { (*deadlock).victim } == 0 {
        threads::alert(tasks::handle_of(sys::current_id())).expect("it lives");
    }
}

/// A task releases a resource and comes for the section of one that comes for the resource: each gets what it wants.
fn release_before_the_wait() -> Scene {
    let (section, resource) = (new_section(), new_resource());
    let [in_section, releases] = [new_task(), new_task()];
    act_as(in_section, || assert_eq!(enter(section, 0, Patience::Unbounded), Ok(true)));
    assert!(try_lock());
    act_as(releases, || tell_acquired(resource));
    let come_for_resource = body(move || {
        lock(resource).expect("a deadlock that there is not");
        unlock(resource);
        leave(section);
    });
    let release_and_enter = body(move || {
        unlock(resource);
        assert_eq!(enter(section, 0, Patience::Unbounded), Ok(true), "a deadlock that there is not");
        leave(section);
    });
    scene(vec![(in_section, come_for_resource), (releases, release_and_enter)], || {
        assert_eq!(REGISTRY.deadlocks.found(), 0, "a deadlock that there is not");
    })
}

/// A task gives up its wait for a resource that another one destroys, and waits for a second one.
fn destruction_as_the_wait_ends() -> Scene {
    let [first, second] = [new_resource(), new_resource()];
    let [waits, destroys] = [new_task(), new_task()];
    act_as(waits, || resources::wait(first, 0, 0).expect("told"));
    let wait_for_another = body(move || {
        let _ = told::end_wait(first);
        resources::wait(second, 0, 0).expect("told");
    });
    let destroy = body(move || told::destroy(first).expect("nobody owns it"));
    scene(vec![(waits, wait_for_another), (destroys, destroy)], move || {
        let awaited = tasks::of_owner(waits.0).wait.awaited();
        assert_eq!(awaited, second, "a wait that the end of another resource has ended");
    })
}

#[test]
fn one_of_the_two_is_refused() {
    holds_with_preemptions(2, either_is_refused);
}

#[test]
fn a_resource_that_was_just_acquired_is_seen() {
    holds_with_preemptions(2, crossing_from_the_start);
}

#[test]
fn control_told_wait_without_the_announcement_fence() {
    // In the model the store and the search's first load, which is of the same word, are together as strong as the fence.
    let places = [place("resource-announcement-store"), place("resource-announcement-fence")];
    breaks_with_preemptions(2, Sight::LostWakeUp, &places, crossing_from_the_start);
}

#[test]
fn a_wait_is_refused_or_answered() {
    holds_with_preemptions(2, only_the_resource_can_be_refused);
}

#[test]
fn control_answer_without_the_lock_of_the_resource() {
    let place = place("resource-settle-lock");
    breaks_at_random(&["deadlock"], place, only_the_resource_can_be_refused);
}

#[test]
fn what_was_released_before_the_wait_is_no_edge() {
    holds_with_preemptions(2, release_before_the_wait);
}

#[test]
fn the_end_of_a_resource_ends_no_later_wait() {
    holds_with_preemptions(2, destruction_as_the_wait_ends);
}

#[test]
fn control_wait_that_ends_without_the_lock_of_the_resource() {
    let place = place("resource-wait-end-lock");
    let said = ["a wait that the end of another resource has ended", "told: Handle"];
    breaks_at_random(&said, place, destruction_as_the_wait_ends);
}
