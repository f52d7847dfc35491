//! The search for deadlocks: no cycle is missed, and one task is told.

use super::*;
use crate::error::Error;
use crate::registry::REGISTRY;

/// A ring of tasks, each of which owns a section and comes for that of the next one. Who is told of the deadlock leaves
/// its own, and so all the others get on.
fn ring(tasks: usize) -> Scene {
    let sections: Vec<_> = (0..tasks).map(|_| Protected::new()).collect();
    let wants = |place: usize| {
        let (own, next) = (sections[place].clone(), sections[(place + 1) % tasks].clone());
        let task = new_task();
        act_as(task, || own.enter());
        let run = body(move || {
            match next.enter_with(0, Patience::Unbounded) {
                Ok(()) => next.touch_and_leave(),
                Err(error) => assert_eq!(error, Error::Deadlock),
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
    ring(2)
}

fn ring_of_three() -> Scene {
    ring(3)
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
fn control_search_without_the_announcement_fence() {
    let place = place!("waiting.rs", "fence(Ordering::SeqCst);", 0);
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place], ring_of_two);
}

#[test]
fn control_search_of_three_without_the_announcement_fence() {
    let place = place!("waiting.rs", "fence(Ordering::SeqCst);", 0);
    breaks_with_preemptions(1, Sight::LostWakeUp, &[place], ring_of_three);
}
