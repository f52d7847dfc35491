//! A biased section: its task enters and leaves it with plain stores while another revokes the bias.

use std::vec;

use super::random::breaks_at_random;
use super::*;
use crate::error::Error;
use crate::state::registry::REGISTRY;
use crate::state::section::is_biased;

use crate::sys::atomic::Ordering;

/// A section that is biased to a new task, which has not entered it.
fn biased_section() -> (Protected, (u64, usize)) {
    let section = Protected::new();
    let task = new_task();
    REGISTRY.bias.grant_at_once();
    act_as(task, || {
        section.enter();
        section.leave();
    });
    let word = sections::slot_of(section.crst).word().load(Ordering::Relaxed);
    assert!(is_biased(word ^ section.crst), "it is biased");
    (section, task)
}

/// The task visits its section while another tries to enter, which revokes the bias.
fn try_during_visit(barriers: Barriers) -> Scene {
    let (section, task) = biased_section();
    model::set_barriers(barriers);
    let attempt = section.then(|section| {
        if section.try_enter() {
            section.touch_and_leave();
        }
    });
    scene(vec![(task, section.then(Protected::visit)), (new_task(), attempt)], move || {
        assert_eq!(crst::info(section.crst).expect("it lives").state, section::State::Free);
    })
}

fn revocation_during_visit() -> Scene {
    try_during_visit(Barriers::Work)
}

#[test]
fn a_bias_is_revoked_during_a_visit() {
    holds_with_preemptions(3, revocation_during_visit);
}

#[test]
fn control_biased_entry_without_its_barrier() {
    breaks(Sight::Race, &[place("biased-enter-barrier")], revocation_during_visit);
}

#[test]
fn control_revocation_without_the_heavy_barrier() {
    breaks(Sight::Race, &[place("revoke-heavy-barrier")], revocation_during_visit);
}

#[test]
fn control_biased_leave_without_release() {
    breaks(Sight::Race, &[place("biased-leave-release")], revocation_during_visit);
}

/// The task is in its section and leaves it while another comes, which revokes the bias and waits.
fn revocation_during_leave() -> Scene {
    let (section, task) = biased_section();
    act_as(task, || section.enter());
    let leave = section.then(Protected::touch_and_leave);
    let visit = section.then(Protected::visit);
    scene(vec![(task, leave), (new_task(), visit)], move || section.assert_free_after(2))
}

#[test]
fn a_bias_is_revoked_during_a_leave() {
    holds(revocation_during_leave);
}

#[test]
fn control_biased_leave_without_its_barrier() {
    breaks(Sight::LostWakeUp, &[place("biased-leave-barrier")], revocation_during_leave);
}

/// The heavy barrier is refused when the bias is revoked.
fn late_refusal_during_visit() -> Scene {
    try_during_visit(Barriers::RefusedButTimePasses)
}

#[test]
fn a_bias_is_revoked_where_the_barrier_went() {
    holds_with_preemptions(3, late_refusal_during_visit);
}

#[test]
fn control_revocation_without_the_nap() {
    breaks(Sight::Race, &[place("revoke-nap")], late_refusal_during_visit);
}

/// The task enters twice, so that the revocation finds it inside, once or twice.
fn revocation_during_reentry() -> Scene {
    let (section, task) = biased_section();
    let visit = section.then(|section| {
        section.enter();
        section.enter();
        section.touch();
        section.leave();
        section.leave();
    });
    let other = section.then(Protected::visit);
    scene(vec![(task, visit), (new_task(), other)], move || section.assert_free_after(2))
}

#[test]
fn a_bias_is_revoked_during_entries_in_entries() {
    holds_with_preemptions(3, revocation_during_reentry);
}

#[test]
fn control_owner_that_does_not_see_its_entries() {
    breaks_with_preemptions(3, Sight::Said("left"), &[place("owner-word-load")], revocation_during_reentry);
}

/// The task ends while another revokes the bias.
fn revocation_at_the_end_of_the_task() -> Scene {
    let (section, task) = biased_section();
    let end = section.then(|section| {
        section.visit();
        model::end_thread();
    });
    let other = section.then(Protected::visit);
    scene(vec![(task, end), (new_task(), other)], move || section.assert_free_after(2))
}

#[test]
fn a_bias_is_returned_at_the_end_of_its_task() {
    holds_with_preemptions(3, revocation_at_the_end_of_the_task);
}

/// A section becomes biased to the task that has just entered it, while another comes.
fn grant_during_visit() -> Scene {
    let section = Protected::new();
    REGISTRY.bias.grant_at_once();
    let visit = || (new_task(), section.then(Protected::visit));
    scene(vec![visit(), visit()], move || section.assert_free_after(2))
}

#[test]
fn a_bias_is_granted_while_another_comes() {
    holds_with_preemptions(3, grant_during_visit);
}

// ---- several sections a task ------------------------------------------------------------------------------

fn new_section() -> u64 {
    runtime::start().expect("memory for the arenas");
    crst::create(SpinPolicy::Adaptive).expect("a place for a section")
}

fn try_to_visit(crst: u64) {
    if enter(crst, 0, Patience::None).expect("it lives") {
        leave(crst);
    }
}

/// A task that has entered a section which is biased to it is granted a second one and ends, while the first is
/// revoked.
fn end_during_revocation() -> Scene {
    let (first, second) = (new_section(), new_section());
    let task = new_task();
    REGISTRY.bias.grant_at_once();
    act_as(task, || assert_eq!(enter(first, 0, Patience::Unbounded), Ok(true)));
    let end = body(move || {
        try_to_visit(second);
        model::end_thread();
    });
    let revoke = body(move || match enter(first, 0, Patience::None) {
        Ok(entered) => assert!(!entered, "two owners"),
        Err(error) => assert_eq!(error, Error::Abandoned),
    });
    scene(vec![(task, end), (new_task(), revoke)], move || {
        assert_eq!(
            crst::info(first).expect("it lives").state,
            section::State::Abandoned,
            "of a task that is gone"
        );
        assert_eq!(crst::info(second).expect("it lives").state, section::State::Free);
    })
}

#[test]
fn a_section_being_revoked_is_not_forgotten() {
    holds_with_preemptions(3, end_during_revocation);
}

#[test]
fn control_place_of_a_section_being_revoked() {
    breaks_at_random(&["of a task that is gone"], place("biased-owner-load"), end_during_revocation);
}

#[test]
fn control_place_of_a_section_just_revoked() {
    let place = place("biased-owner-load");
    breaks_with_preemptions(3, Sight::Said("of a task that is gone"), &[place], end_during_revocation);
}

/// The task that a section is biased to is entering it, while another destroys it, makes a new one in its slot, and
/// enters and leaves that.
fn replacement_during_entry() -> Scene {
    let crst = new_section();
    let task = new_task();
    REGISTRY.bias.grant_at_once();
    act_as(task, || try_to_visit(crst));
    let come_late = body(move || match enter(crst, 0, Patience::None) {
        Ok(entered) => assert!(entered, "nobody else enters it"),
        Err(error) => assert_eq!(error, Error::Handle),
    });
    let slot = sections::slot_of(crst);
    let replace = body(move || {
        if ends::destroy(crst).is_ok() {
            let next = new_section();
            assert!(core::ptr::eq(sections::slot_of(next), slot), "the same slot");
            try_to_visit(next);
        }
    });
    scene(vec![(task, come_late), (new_task(), replace)], move || {
        let handle = slot.handle(REGISTRY.copy(), crate::handle::section_index(crst));
        let state = crst::info(handle).expect("it lives").state;
        assert_eq!(state == section::State::Owned, handle == crst, "owned by nobody");
    })
}

#[test]
fn a_slot_is_biased_to_no_other_before_the_last_one_has_ended() {
    holds_with_preemptions(3, replacement_during_entry);
}

// ---- which sections are biased ----------------------------------------------------------------------------

fn is_section_biased(crst: u64) -> bool {
    is_biased(sections::slot_of(crst).word().load(Ordering::Relaxed) ^ crst)
}

/// What one task does, and what it finds.
fn one_task(act: fn()) -> Scene {
    runtime::start().expect("memory for the arenas");
    REGISTRY.bias.grant_at_once();
    scene(vec![(new_task(), body(act))], || {})
}

#[test]
fn a_revoked_section_is_not_biased_again() {
    holds(|| {
        one_task(|| {
            let crst = new_section();
            try_to_visit(crst);
            assert!(is_section_biased(crst));
            sections::slot_of(crst).revoke(crst);
            try_to_visit(crst);
            assert!(!is_section_biased(crst), "biased again");
            ends::destroy(crst).expect("free");
            let next = new_section();
            assert!(core::ptr::eq(sections::slot_of(next), sections::slot_of(crst)), "the same slot");
            try_to_visit(next);
            assert!(is_section_biased(next), "another section, whose bias was never revoked");
        })
    });
}

#[test]
fn as_many_are_biased_to_a_task_as_it_can_release() {
    const MOST: usize = crate::state::task::MOST_BIASES;
    holds(|| {
        one_task(|| {
            let crsts: [u64; MOST + 1] = core::array::from_fn(|_| new_section());
            crsts.iter().for_each(|&crst| try_to_visit(crst));
            assert_eq!(crsts.map(is_section_biased), core::array::from_fn(|index| index < MOST));
            sections::slot_of(crsts[2]).revoke(crsts[2]);
            try_to_visit(crsts[MOST]);
            assert!(is_section_biased(crsts[MOST]), "in the place of the one that was revoked");
        })
    });
}
