//! A slot's next object: what was meant for the one before does not reach it.

use std::vec;

use super::random::breaks_at_random;
use super::*;
use crate::error::Error;
use crate::handle;
use crate::lock::slots;
use crate::state::registry::REGISTRY;
use crate::state::section::{ARMED, FENCE_PENDING, FENCED};
use crate::sys::atomic::Ordering;

fn new_section() -> u64 {
    runtime::start().expect("memory for the arenas");
    create()
}

fn create() -> u64 {
    crst::create(SpinPolicy::Adaptive).expect("a place for a section")
}

// ---- sections ---------------------------------------------------------------------------------------------

/// A spin count is set while the section is destroyed and another one is made in its slot.
fn spin_count_during_replacement() -> Scene {
    let crst = new_section();
    let set = body(move || {
        let set = crst::set_spin_count(crst, 7);
        assert!(matches!(set, Ok(()) | Err(Error::Handle)), "{set:?}");
    });
    let replace = body(move || {
        ends::destroy(crst).expect("free");
        assert!(core::ptr::eq(sections::slot_of(create()), sections::slot_of(crst)), "the same slot");
    });
    scene(vec![(new_task(), set), (new_task(), replace)], move || {
        let policy = sections::slot_of(crst).spin_policy();
        assert_eq!(policy, SpinPolicy::Adaptive, "the spin count of the section before");
    })
}

#[test]
fn a_spin_count_is_that_of_the_section_named() {
    holds_with_preemptions(3, spin_count_during_replacement);
}

#[test]
fn control_spin_count_without_the_queue_lock() {
    let place = place("spin-policy-queue-lock");
    breaks_at_random(&["the spin count of the section before"], place, spin_count_during_replacement);
}

#[test]
fn control_spin_count_without_the_fence() {
    spin_count_breaks_without(place("section-is-alive-fence"));
}

#[test]
fn control_spin_count_by_a_weak_exchange_of_destroy() {
    spin_count_breaks_without(place("destroy-at-once-exchange"));
}

#[test]
fn control_spin_count_by_weak_loads_of_destroy() {
    spin_count_breaks_without(place("destroy-queue-loads"));
}

fn spin_count_breaks_without(ordering: SourceLine) {
    let sight = Sight::Said("the spin count of the section before");
    breaks_with_preemptions(3, sight, &[ordering], spin_count_during_replacement);
}

/// The owner leaves a section and destroys it, while another enters, and makes one in its slot.
fn entry_during_replacement() -> Scene {
    let crst = new_section();
    let owner = new_task();
    act_as(owner, || assert_eq!(enter(crst, 0, Patience::Unbounded), Ok(true)));
    let visit = body(move || match enter(crst, 0, Patience::Unbounded) {
        Ok(_) => leave(crst),
        failed => assert!(matches!(failed, Err(Error::Handle | Error::Abandoned)), "{failed:?}"),
    });
    let replace = body(move || {
        leave(crst);
        if ends::destroy(crst).is_ok() {
            let next = create();
            assert!(core::ptr::eq(sections::slot_of(next), sections::slot_of(crst)), "the same slot");
        }
    });
    scene(vec![(owner, replace), (new_task(), visit)], move || {
        let section = sections::slot_of(crst);
        let waiters = section::waiters(section.queue_state().load(Ordering::Relaxed));
        assert_eq!((section.has_waiters(), waiters), (false, 0), "waiters of the section before");
    })
}

#[test]
fn who_comes_for_a_section_that_ends_is_not_left_in_its_queue() {
    holds_with_preemptions(3, entry_during_replacement);
}

/// Two destroy one section, and each makes another one.
fn two_destroys() -> Scene {
    let crst = new_section();
    let outcomes: [Arc<Watched>; 2] = core::array::from_fn(|_| Arc::new(Watched(UnsafeCell::new(0))));
    let destroys = |outcome: &Arc<Watched>| {
        let outcome = outcome.clone();
        body(move || {
            let is_destroyed = ends::destroy(crst).is_ok();
            let next = create();
            // SAFETY: of this thread alone until both have ended.
            outcome.0.with_mut(|value| unsafe {
                *value = handle::section_index(next) << 1 | u32::from(is_destroyed)
            });
        })
    };
    let threads = outcomes.iter().map(|outcome| (new_task(), destroys(outcome))).collect();
    scene(threads, move || {
        // SAFETY: both have ended.
        let [one, other] = outcomes.each_ref().map(|outcome| outcome.0.with(|value| unsafe { *value }));
        assert_eq!((one & 1) + (other & 1), 1, "how many have destroyed it");
        assert_ne!(one >> 1, other >> 1, "one slot for two sections");
    })
}

#[test]
fn of_two_destroys_one_succeeds_and_no_slot_is_given_twice() {
    holds_with_preemptions(3, two_destroys);
}

// ---- slots that a task keeps ------------------------------------------------------------------------------

fn slots_break_without(ordering: SourceLine) {
    breaks_with_preemptions(3, Sight::Said("one slot for two sections"), &[ordering], one_kept_slot);
}

/// A task makes a section in the slot that it keeps, while another takes that away and makes one.
fn one_kept_slot() -> Scene {
    let crst = new_section();
    let keeps = new_task();
    act_as(keeps, || ends::destroy(crst).expect("free"));
    let slots: [Arc<Watched>; 2] = core::array::from_fn(|_| Arc::new(Watched(UnsafeCell::new(0))));
    let make = |slot: &Arc<Watched>, reclaims: bool| {
        let slot = slot.clone();
        body(move || {
            if reclaims {
                slots::reclaim();
            }
            let made = handle::section_index(create());
            // SAFETY: of this thread alone until both have ended.
            slot.0.with_mut(|value| unsafe { *value = made });
        })
    };
    let threads = vec![(keeps, make(&slots[0], false)), (new_task(), make(&slots[1], true))];
    scene(threads, move || {
        // SAFETY: both have ended.
        let [one, other] = slots.each_ref().map(|slot| slot.0.with(|value| unsafe { *value }));
        assert_ne!(one, other, "one slot for two sections");
    })
}

#[test]
fn a_kept_slot_is_used_or_taken_away() {
    holds_with_preemptions(3, one_kept_slot);
}

#[test]
fn control_kept_slot_without_the_barrier() {
    slots_break_without(place("free-slots-barrier"));
}

#[test]
fn control_kept_slot_by_a_weak_load_of_closed() {
    slots_break_without(place("free-slots-closed-load"));
}

#[test]
fn control_kept_slot_by_a_weak_store_of_closed() {
    slots_break_without(place("free-slots-closed-store"));
}

#[test]
fn control_kept_slot_by_a_weak_load_of_in_use() {
    slots_break_without(place("free-slots-in-use-load"));
}

#[test]
fn control_kept_slot_by_a_weak_store_of_in_use() {
    slots_break_without(place("free-slots-in-use-store"));
}

/// What a section comes to be whose first waiter is refused the heavy barrier.
const LATE_FENCED: u32 = ARMED | FENCED | FENCE_PENDING;

/// A leave by the fenced way, of a section that another task destroys as soon as it is free; the next section in its
/// slot comes to be fenced late, too.
fn leave_during_replacement() -> Scene {
    let crst = new_section();
    let owner = new_task();
    act_as(owner, || assert_eq!(enter(crst, 0, Patience::Unbounded), Ok(true)));
    let slot = sections::slot_of(crst);
    slot.queue_state().fetch_or(LATE_FENCED, Ordering::Relaxed);
    let replace = body(move || {
        if ends::destroy(crst).is_ok() {
            create();
            slot.queue_state().fetch_or(LATE_FENCED, Ordering::Relaxed);
        }
    });
    scene(vec![(owner, body(move || leave(crst))), (new_task(), replace)], move || {
        let is_next = !slot.is_free(crst);
        let queue_state = slot.queue_state().load(Ordering::Relaxed);
        assert!(!is_next || queue_state & LATE_FENCED == LATE_FENCED, "waiters that nobody wakes");
    })
}

#[test]
fn a_leave_clears_nothing_of_the_next_section() {
    holds_with_preemptions(3, leave_during_replacement);
}

// ---- tasks ------------------------------------------------------------------------------------------------

/// A task is named while its thread ends, and another takes its place.
fn name_during_the_end_of_the_task() -> Scene {
    runtime::start().expect("memory for the arenas");
    let ends = new_task();
    let set = body(move || {
        let set = threads::set_name(tasks::handle_of(ends.0), b"the first");
        assert!(matches!(set, Ok(()) | Err(Error::Handle)), "{set:?}");
    });
    let begin_anew = body(move || {
        model::end_thread();
        assert_eq!(handle::owner_slot(threads::current().expect("a task").id()), handle::owner_slot(ends.0));
    });
    scene(vec![(new_task(), set), (ends, begin_anew)], move || {
        let slot = REGISTRY.tasks.at(handle::owner_slot(ends.0));
        assert!(slot.name().is_empty(), "the name of the task before");
    })
}

#[test]
fn a_name_is_that_of_the_task_named() {
    holds_with_preemptions(3, name_during_the_end_of_the_task);
}

#[test]
fn control_name_of_a_task_without_the_lock() {
    let place = place("task-name-lock");
    breaks_at_random(&["the name of the task before"], place, name_during_the_end_of_the_task);
}

/// A task is alerted while its thread ends and another takes its place, which is alerted as well.
fn alert_during_the_end_of_the_task() -> Scene {
    runtime::start().expect("memory for the arenas");
    let ends = new_task();
    let alert = body(move || {
        let alerted = threads::alert(tasks::handle_of(ends.0));
        assert!(matches!(alerted, Ok(()) | Err(Error::Handle)), "{alerted:?}");
    });
    let begin_anew = body(move || {
        model::end_thread();
        let me = threads::current().expect("a task");
        assert!(!me.take_alert(), "the alert of the task before");
        me.alert(me.id()).expect("it lives");
        assert!(me.take_alert(), "its own alert is lost");
    });
    scene(vec![(new_task(), alert), (ends, begin_anew)], || {})
}

#[test]
fn an_alert_is_for_the_task_named() {
    holds_with_preemptions(3, alert_during_the_end_of_the_task);
}

#[test]
fn control_alert_that_does_not_see_the_end_of_the_task() {
    breaks_with_preemptions(
        3,
        Sight::Said("its own alert is lost"),
        &[place("alert-pending-load")],
        alert_during_the_end_of_the_task,
    );
}
