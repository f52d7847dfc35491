//! The search for deadlocks: no cycle is missed, and one task is told.

use core::ffi::c_void;

use std::vec;

use super::random::breaks_at_random;
use super::*;
use crate::constants::{WAIT_ALERTABLE, WAIT_NOTINDEADLOCK};
use crate::error::Error;
use crate::host::deadlocks;
use crate::state::deadlocks::host_deadlock_t;
use crate::state::registry::REGISTRY;

/// A ring of tasks, each of which owns a section and comes for that of the next one, with this option. One of the waits
/// ends with `refusal`; that task leaves its own section, and so all the others get on.
fn ring(tasks: usize, option: u32, refusal: Error) -> Scene {
    let sections: Vec<_> = (0..tasks).map(|_| Protected::new()).collect();
    let wants = |place: usize| {
        let (own, next) = (sections[place].clone(), sections[(place + 1) % tasks].clone());
        let task = new_task();
        act_as(task, || own.enter());
        let run = body(move || {
            match next.enter_with(option, Patience::Unbounded) {
                Ok(()) => next.touch_and_leave(),
                Err(error) => assert_eq!(error, refusal),
            }
            own.leave();
        });
        (task, run)
    };
    let threads = (0..tasks).map(wants).collect();
    scene(threads, move || {
        assert_eq!(REGISTRY.deadlocks.found(), 1, "deadlocks found");
        let went_on: u32 = sections.iter().map(Protected::count).sum();
        assert_eq!(went_on as usize, tasks - 1, "tasks that went on");
    })
}

fn ring_of_two() -> Scene {
    ring(2, 0, Error::Deadlock)
}

fn ring_of_three() -> Scene {
    ring(3, 0, Error::Deadlock)
}

/// No wait may be broken: who finds the deadlock ends its own wait by an alert.
fn ring_that_insists() -> Scene {
    deadlocks::set_callback(Some(alert_oneself), core::ptr::null_mut());
    ring(2, WAIT_NOTINDEADLOCK | WAIT_ALERTABLE, Error::Interrupted)
}

extern "C" fn alert_oneself(_: *const host_deadlock_t, _: *mut c_void) {
    threads::alert(tasks::handle_of(sys::current_id())).expect("it lives");
}

/// Two tasks in a cycle, the first of which is refused once and then insists as the other does. So one cycle is broken,
/// and one stands until a third task alerts the first.
fn refused_one_that_insists() -> Scene {
    deadlocks::set_callback(Some(be_told), core::ptr::null_mut());
    let [first, second] = [new_section(), new_section()];
    let [refused, insists, alerts] = [new_task(), new_task(), new_task()];
    act_as(refused, || assert_eq!(enter(first, 0, Patience::Unbounded), Ok(true)));
    act_as(insists, || assert_eq!(enter(second, 0, Patience::Unbounded), Ok(true)));
    let insist = |section| match enter(section, WAIT_NOTINDEADLOCK | WAIT_ALERTABLE, Patience::Unbounded) {
        Ok(_) => leave(section),
        Err(error) => assert_eq!(error, Error::Interrupted),
    };
    let be_refused = body(move || {
        assert_eq!(enter(second, 0, Patience::Unbounded), Err(Error::Deadlock));
        insist(second);
        leave(first);
    });
    let wait = body(move || {
        insist(first);
        leave(second);
    });
    let alert = body(move || threads::alert(tasks::handle_of(refused.0)).expect("it lives"));
    scene(vec![(refused, be_refused), (insists, wait), (alerts, alert)], || {
        assert!(REGISTRY.deadlocks.found() <= 2, "told of twice");
    })
}

extern "C" fn be_told(_: *const host_deadlock_t, _: *mut c_void) {}

/// A task ends in a section for which another waits, which is in a second one. A third recovers the first and enters
/// the second. (Without a waiter the first is left.)
fn recovery_during_abandonment() -> Scene {
    let [first, second] = [new_section(), new_section()];
    let [ends, waits, recovers] = [new_task(), new_task(), new_task()];
    act_as(ends, || assert_eq!(enter(first, 0, Patience::Unbounded), Ok(true)));
    act_as(waits, || assert_eq!(enter(second, 0, Patience::Unbounded), Ok(true)));
    let wait = body(move || {
        match enter(first, 0, Patience::Unbounded) {
            Ok(_) => leave(first),
            Err(error) => assert_eq!(error, Error::Abandoned),
        }
        leave(second);
    });
    let recover = body(move || {
        if enter::recover(first, 0).is_ok() {
            assert_eq!(enter(second, 0, Patience::Unbounded), Ok(true), "a deadlock that there is not");
            leave(second);
            leave(first);
        }
    });
    let end = body(move || {
        if tasks::of_owner(waits.0).wait.awaited() == first {
            model::end_thread();
        } else {
            leave(first);
        }
    });
    scene(vec![(ends, end), (waits, wait), (recovers, recover)], || {
        assert_eq!(REGISTRY.deadlocks.found(), 0, "a deadlock that there is not");
    })
}

fn new_section() -> u64 {
    runtime::start().expect("memory for the arenas");
    crst::create(SpinPolicy::Adaptive).expect("a place for a section")
}

#[test]
fn who_recovers_a_section_waits_for_nobody_who_waited_for_it() {
    holds_with_preemptions(2, recovery_during_abandonment);
}

#[test]
fn control_recovery_without_the_queue_lock() {
    let place = place("recover-queue-lock");
    breaks_at_random(&["a deadlock that there is not"], place, recovery_during_abandonment);
}

#[test]
fn one_of_two_is_told() {
    holds_with_preemptions(2, ring_of_two);
}

#[test]
fn one_of_three_is_told() {
    holds_with_preemptions(2, ring_of_three);
}

#[test]
fn a_cycle_that_stands_is_told_of_once() {
    holds_with_preemptions(2, ring_that_insists);
}

#[test]
fn a_cycle_is_told_of_once_though_one_like_it_was_just_broken() {
    holds_with_preemptions(1, refused_one_that_insists);
}

#[test]
fn control_search_without_the_announcement_fence() {
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place("announcement-fence")], ring_of_two);
}

#[test]
fn control_search_of_three_without_the_announcement_fence() {
    breaks_with_preemptions(1, Sight::LostWakeUp, &[place("announcement-fence")], ring_of_three);
}
