//! The search for deadlocks: no cycle is missed, and one task is told.

use core::ffi::c_void;
use std::vec;

use super::*;
use crate::error::Error;
use crate::ffi::deadlock::host_deadlock_t;
use crate::registry::REGISTRY;
use crate::wait_graph::{self, WAIT_NOTINDEADLOCK};
use crate::waiting::WAIT_ALERTABLE;

/// Two tasks, each of which owns the section that the other comes for. Who is told of the deadlock leaves its own.
fn each_wants_what_the_other_has() -> Scene {
    each_wants(0, Error::Deadlock)
}

/// As before, but no wait may be broken: who finds the deadlock ends its own wait by an alert.
fn each_insists_on_what_the_other_has() -> Scene {
    wait_graph::set_callback(Some(alert_oneself), core::ptr::null_mut());
    each_wants(WAIT_NOTINDEADLOCK | WAIT_ALERTABLE, Error::Interrupted)
}

extern "C" fn alert_oneself(_: *const host_deadlock_t, _: *mut c_void) {
    task::current_if_any().expect("a task").alert().expect("alerted");
}

/// One of the two waits, with this option, ends with `refusal`.
fn each_wants(option: u32, refusal: Error) -> Scene {
    let (first, second) = (Protected::new(), Protected::new());
    let wants = |own: &Protected, other: &Protected| {
        let (own, other) = (own.clone(), other.clone());
        let task = new_task();
        act_as(task, || own.enter());
        let run = body(move || {
            match other.enter_with(option, Patience::Unbounded) {
                Ok(()) => other.touch_and_leave(),
                Err(error) => assert_eq!(error, refusal),
            }
            own.leave();
        });
        (task, run)
    };
    let threads = vec![wants(&first, &second), wants(&second, &first)];
    scene(threads, move || {
        assert_eq!(REGISTRY.deadlocks.found(), 1, "deadlocks found");
        assert_eq!(first.count() + second.count(), 1, "tasks that went on");
    })
}

#[test]
fn one_of_two_is_told() {
    holds_with_preemptions(2, each_wants_what_the_other_has);
}

#[test]
fn a_cycle_that_stands_is_told_of_once() {
    holds_with_preemptions(2, each_insists_on_what_the_other_has);
}

#[test]
fn control_search_without_the_announcement_fence() {
    let place = place!("waiting.rs", "fence(Ordering::SeqCst);", 0);
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place], each_wants_what_the_other_has);
}
