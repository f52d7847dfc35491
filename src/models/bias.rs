//! A lent section: its task enters and leaves it with plain stores while another takes the bias away.

use std::vec;

use super::*;
use crate::registry::REGISTRY;
use crate::sys::atomic::Ordering;

/// A section that is lent to a new task, which is not in it.
fn lent() -> (Protected, (u64, usize)) {
    let section = Protected::new();
    let task = new_task();
    REGISTRY.bias.lend_at_once();
    act_as(task, || {
        section.enter();
        section.leave();
    });
    let word = crst::slot_of(section.crst).word().load(Ordering::Relaxed);
    assert!(crate::bias::is_biased(word ^ section.crst), "it is lent");
    (section, task)
}

/// The task visits its section while another tries to enter, which takes the bias away.
fn try_during_visit(barriers: Barriers) -> Scene {
    let (section, task) = lent();
    model::set_barriers(barriers);
    let attempt = section.then(|section| {
        if section.try_enter() {
            section.touch_and_leave();
        }
    });
    scene(vec![(task, section.then(Protected::visit)), (new_task(), attempt)], move || {
        assert_eq!(crst::info(section.crst).expect("it lives").state, crst::State::Free);
    })
}

fn revocation_during_visit() -> Scene {
    try_during_visit(Barriers::Work)
}

#[test]
fn a_bias_is_revoked_during_a_visit() {
    holds(revocation_during_visit);
}

#[test]
fn control_lent_entry_without_its_barrier() {
    breaks(Sight::Race, &[place!("bias.rs", "sys::light_barrier();", 0)], revocation_during_visit);
}

#[test]
fn control_revocation_without_the_heavy_barrier() {
    breaks(Sight::Race, &[place!("bias.rs", "if !sys::heavy_barrier()")], revocation_during_visit);
}

#[test]
fn control_lent_leave_without_release() {
    let place = place!("bias.rs", "self.hold().store(hold - 1, Ordering::Release);");
    breaks(Sight::Race, &[place], revocation_during_visit);
}

/// The task is in its section and leaves it while another comes, which takes the bias away and waits.
fn revocation_during_leave() -> Scene {
    let (section, task) = lent();
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
fn control_lent_leave_without_its_barrier() {
    breaks(Sight::LostWakeUp, &[place!("bias.rs", "sys::light_barrier();", 1)], revocation_during_leave);
}

/// The heavy barrier is refused when the bias is taken away.
fn late_refusal_during_visit() -> Scene {
    try_during_visit(Barriers::RefusedButTimePasses)
}

#[test]
fn a_bias_is_revoked_where_the_barrier_went() {
    holds(late_refusal_during_visit);
}

#[test]
fn control_revocation_without_the_nap() {
    breaks(Sight::Race, &[place!("bias.rs", "sys::nap(UNFENCED_NAP);")], late_refusal_during_visit);
}

/// The task enters twice, so that the revocation finds it inside, once or twice.
fn revocation_during_reentry() -> Scene {
    let (section, task) = lent();
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
    let place = place!("crst.rs", "let mut owner = self.word.load(Ordering::Acquire) ^ handle;");
    breaks_with_preemptions(3, Sight::Said("left"), &[place], revocation_during_reentry);
}

/// The task ends while another takes the bias away.
fn revocation_at_the_end_of_the_task() -> Scene {
    let (section, task) = lent();
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

/// A section is lent to the task that has just entered it, while another comes.
fn grant_during_visit() -> Scene {
    let section = Protected::new();
    REGISTRY.bias.lend_at_once();
    let visit = || (new_task(), section.then(Protected::visit));
    scene(vec![visit(), visit()], move || section.assert_free_after(2))
}

#[test]
fn a_bias_is_granted_while_another_comes() {
    holds_with_preemptions(3, grant_during_visit);
}
