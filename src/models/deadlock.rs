//! The search for deadlocks: no cycle is missed, and one task is told.

use std::vec;

use super::*;
use crate::error::Error;
use crate::registry::REGISTRY;

/// Two tasks, each of which owns the section that the other comes for. Who is told of the deadlock leaves its own.
fn each_wants_what_the_other_has() -> Scene {
    let (first, second) = (Protected::new(), Protected::new());
    let wants = |own: &Protected, other: &Protected| {
        let (own, other) = (own.clone(), other.clone());
        let task = new_task();
        act_as(task, || own.enter());
        let run = body(move || {
            match other.enter_with(0, Patience::Unbounded) {
                Ok(()) => other.touch_and_leave(),
                Err(error) => assert_eq!(error, Error::Deadlock),
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
fn control_search_without_the_announcement_fence() {
    let place = place!("waiting.rs", "fence(Ordering::SeqCst);", 0);
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place], each_wants_what_the_other_has);
}
