//! The lock word, the waiter's announcement, park and wake, and every way in which a wait ends.

use std::vec;

use super::random::breaks_at_random;
use super::*;
use crate::constants::WAIT_ALERTABLE;
use crate::error::Error;
use crate::state::section::waiters;
use crate::sys::atomic::Ordering;

/// One task owns the section, does something in it and leaves it; `others` come.
fn leave_while_others_come(barriers: Barriers, others: Vec<Body>, section: &Protected, visits: u32) -> Scene {
    model::set_barriers(barriers);
    let owner = new_task();
    act_as(owner, || section.enter());
    let leave = section.then(Protected::touch_and_leave);
    let mut threads = vec![(owner, leave)];
    threads.extend(others.into_iter().map(|other| (new_task(), other)));
    let section = section.clone();
    scene(threads, move || section.assert_free_after(visits))
}

fn visit_during_leave() -> Scene {
    let section = Protected::new();
    let visit = section.then(Protected::visit);
    leave_while_others_come(Barriers::Work, vec![visit], &section, 2)
}

#[test]
fn a_leave_wakes_who_announced_itself() {
    holds(visit_during_leave);
}

#[test]
fn control_owner_without_its_barrier() {
    breaks(Sight::LostWakeUp, &[place("leave-light-barrier")], visit_during_leave);
}

#[test]
fn control_waiter_without_the_heavy_barrier() {
    breaks(Sight::LostWakeUp, &[place("announcement-heavy-barrier")], visit_during_leave);
}

#[test]
fn control_leave_that_saw_a_waiter_come_without_its_fence() {
    breaks(Sight::LostWakeUp, &[place("leave-wake-fence")], visit_during_leave);
}

#[test]
fn control_leave_without_release() {
    breaks(Sight::Race, &[place("leave-word-store")], visit_during_leave);
}

#[test]
fn control_entry_without_acquire() {
    let places = [
        place("enter-word-load"),
        place("enter-word-exchange"),
        place("owner-word-load"),
        place("take-word-exchange"),
    ];
    breaks(Sight::Race, &places, visit_during_leave);
}

/// As above, with a section that is left by the fenced way already.
fn visit_during_fenced_leave() -> Scene {
    model::set_barriers(Barriers::Refused);
    let section = Protected::new();
    let visit = section.then(Protected::visit);
    leave_while_others_come(Barriers::Refused, vec![visit], &section, 2)
}

#[test]
fn a_fenced_leave_needs_no_heavy_barrier() {
    holds(visit_during_fenced_leave);
}

#[test]
fn control_fenced_leave_with_a_weak_check() {
    breaks(Sight::LostWakeUp, &[place("fenced-leave-queue-state")], visit_during_fenced_leave);
}

#[test]
fn control_announcement_without_its_fence() {
    breaks(Sight::LostWakeUp, &[place("announcement-fence")], visit_during_fenced_leave);
}

#[test]
fn control_fenced_leave_that_is_a_plain_one() {
    breaks(Sight::LostWakeUp, &[place("fenced-leave-swap")], visit_during_fenced_leave);
}

/// The waiter announced itself where the heavy barrier was refused just then: nothing is known of the owner's leave.
fn visit_where_the_barrier_went() -> Scene {
    let section = Protected::new();
    let visit = section.then(Protected::visit);
    leave_while_others_come(Barriers::Refused, vec![visit], &section, 2)
}

#[test]
fn a_waiter_without_barriers_rechecks() {
    holds_with_preemptions(3, visit_where_the_barrier_went);
}

#[test]
fn control_waiter_without_barriers_that_does_not_nap() {
    // With the barrier taken for one that works, no nap is taken.
    let places = [place("leave-light-barrier"), place("announcement-heavy-barrier")];
    breaks(Sight::LostWakeUp, &places, visit_during_leave);
}

/// Two visits one after the other by each of two tasks, where the barrier went.
fn visits_where_the_barrier_went() -> Scene {
    let section = Protected::new();
    let visit = section.then(|section| {
        section.visit();
        section.visit();
    });
    leave_while_others_come(Barriers::Refused, vec![visit], &section, 3)
}

#[test]
fn a_section_that_lost_its_barrier_finds_its_way() {
    holds_with_preemptions(3, visits_where_the_barrier_went);
}

// ---- barging ----------------------------------------------------------------------------------------------

/// The owner leaves and comes again: it may be there before the waiter that it woke, which then goes back to sleep.
fn owner_that_comes_again() -> Scene {
    let section = Protected::new();
    let visit = section.then(Protected::visit);
    let mut scene = leave_while_others_come(Barriers::Work, vec![visit], &section, 3);
    scene.threads[0].1 = section.then(|section| {
        section.touch_and_leave();
        section.visit();
    });
    scene
}

#[test]
fn a_contender_that_lost_is_woken_again() {
    holds_with_preemptions(2, owner_that_comes_again);
}

#[test]
fn control_contender_that_sleeps_without_its_fence() {
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place("contender-fence")], owner_that_comes_again);
}

fn two_visits_during_leave() -> Scene {
    let section = Protected::new();
    let visits = vec![section.then(Protected::visit), section.then(Protected::visit)];
    leave_while_others_come(Barriers::Work, visits, &section, 3)
}

#[test]
fn two_waiters_are_served() {
    holds_with_preemptions(1, two_visits_during_leave);
}

// ---- hand-off ---------------------------------------------------------------------------------------------

/// The owner finds that hand-off was asked for: at a time when there is no contender, when there is one, and when the
/// one that asked has gone.
fn hand_off_during_visit() -> Scene {
    let section = Protected::new();
    let visit = section.then(Protected::visit);
    let mut scene = leave_while_others_come(Barriers::Work, vec![visit], &section, 3);
    let again = section.clone();
    scene.threads[0].1 = body(move || {
        again.touch_and_leave();
        again.enter();
        request_hand_off(again.crst);
        again.touch_and_leave();
    });
    scene
}

#[test]
fn a_section_is_handed_over_or_left() {
    holds_with_preemptions(2, hand_off_during_visit);
}

/// The new owner does not see how often the section counts as entered.
#[test]
fn control_hand_off_without_release() {
    let places = [place("hand-off-word-store"), place("hand-off-grant")];
    breaks_with_preemptions(2, Sight::Said("left: NotOwner"), &places, hand_off_during_visit);
}

// ---- standing by ------------------------------------------------------------------------------------------

/// With processors to spare: of two that come one contends at once, and the other is awake before its turn. The owner may be
/// asked for hand-off.
fn two_visits_with_processors_to_spare() -> Scene {
    let section = Protected::new();
    REGISTRY.processors.store(4, Ordering::Relaxed);
    let visits = vec![section.then(Protected::visit), section.then(Protected::visit)];
    let mut scene = leave_while_others_come(Barriers::Work, visits, &section, 3);
    scene.threads[0].1 = section.then(|section: &Protected| {
        ask_for_hand_off(section.crst);
        section.touch_and_leave();
    });
    scene
}

#[test]
fn who_stands_by_is_served() {
    holds_with_preemptions(0, two_visits_with_processors_to_spare);
}

/// Nobody barges from behind others: so somebody has to be woken.
#[test]
fn control_leave_that_wakes_nobody_with_processors_to_spare() {
    let places = [place("contender-fence"), place("fenced-leave-swap")];
    breaks_with_preemptions(1, Sight::LostWakeUp, &places, two_visits_with_processors_to_spare);
}

// ---- backing off ------------------------------------------------------------------------------------------

/// A spinner requests a back-off at any time, and gets the section by that or does not.
fn back_off_request_during_leave() -> Scene {
    let section = Protected::new();
    let ask_and_visit = section.then(|section: &Protected| {
        sections::slot_of(section.crst).request_back_off(section.crst);
        section.visit();
    });
    leave_while_others_come(Barriers::Work, vec![ask_and_visit], &section, 2)
}

#[test]
fn a_leave_that_backs_off_wakes_who_announced_itself() {
    holds_with_preemptions(3, back_off_request_during_leave);
}

// ---- waits that end otherwise -----------------------------------------------------------------------------

fn visit_unless_time_is_up(section: &Protected) {
    match section.enter_with(0, Patience::Milliseconds(1)) {
        Ok(()) => section.leave(),
        Err(error) => assert_eq!(error, Error::Timeout),
    }
}

/// The visitor's time may be up at any moment.
fn withdrawal_during_leave() -> Scene {
    let section = Protected::new();
    let limited = section.then(visit_unless_time_is_up);
    leave_while_others_come(Barriers::Work, vec![limited], &section, 1)
}

#[test]
fn a_waiter_may_withdraw() {
    holds_with_preemptions(3, withdrawal_during_leave);
}

/// The one that withdraws may be the contender whom a leave has relied on.
fn withdrawal_beside_a_waiter() -> Scene {
    let section = Protected::new();
    let limited = section.then(visit_unless_time_is_up);
    let visit = section.then(Protected::visit);
    leave_while_others_come(Barriers::Work, vec![limited, visit], &section, 2)
}

#[test]
fn a_waiter_behind_one_that_withdraws_is_served() {
    holds_with_preemptions(1, withdrawal_beside_a_waiter);
}

/// As above, and the leave finds a contender that an earlier one has woken: it wakes nobody. A section that is left by
/// the fenced way takes fewer steps.
fn withdrawal_of_the_contender() -> Scene {
    model::set_barriers(Barriers::Refused);
    let section = Protected::new();
    let limited = section.then(visit_unless_time_is_up);
    let visit = section.then(Protected::visit);
    let mut scene = leave_while_others_come(Barriers::Refused, vec![limited, visit], &section, 2);
    scene.threads[0].1 = section.then(|section| {
        // What is left to do of the leave before, as late as it may be.
        crst::wake_after_leave(section.crst);
        section.touch_and_leave();
    });
    scene.threads.rotate_left(1);
    scene
}

#[test]
fn a_contender_that_withdraws_leaves_nobody_asleep() {
    holds_with_preemptions(2, withdrawal_of_the_contender);
}

#[test]
fn control_contender_that_withdraws_without_its_fence() {
    let place = place("contender-withdraws-fence");
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place], withdrawal_of_the_contender);
}

/// The owner destroys the section while another comes.
fn destroy_during_visit() -> Scene {
    let section = Protected::new();
    let owner = new_task();
    act_as(owner, || section.enter());
    let destroy = section.then(|section| {
        section.touch();
        ends::destroy(section.crst).expect("the owner may");
    });
    let come = section.then(|section| match section.enter_with(0, Patience::Unbounded) {
        Ok(()) => panic!("entered what was owned and then destroyed"),
        // Found it gone, or was told so in the queue.
        Err(error) => assert!(matches!(error, Error::Handle | Error::Abandoned), "{error:?}"),
    });
    let gone = section.crst;
    scene(vec![(owner, destroy), (new_task(), come)], move || {
        assert!(crst::info(gone).is_err(), "gone");
        assert_eq!(waiters(sections::slot_of(gone).queue_state().load(Ordering::Relaxed)), 0);
    })
}

#[test]
fn a_section_ends_under_its_waiter() {
    holds(destroy_during_visit);
}

/// A free section is destroyed by one task while another visits it.
fn destroy_of_a_free_section_during_visit() -> Scene {
    let section = Protected::new();
    let destroy = section.then(|section| match ends::destroy(section.crst) {
        Ok(()) => section.touch(),
        Err(error) => assert_eq!(error, Error::NotOwner),
    });
    let visit = section.then(|section| match section.enter_with(0, Patience::Unbounded) {
        Ok(()) => section.touch_and_leave(),
        Err(error) => assert!(matches!(error, Error::Handle | Error::Abandoned), "{error:?}"),
    });
    scene(vec![(new_task(), destroy), (new_task(), visit)], || {})
}

#[test]
fn a_free_section_is_destroyed_or_visited() {
    holds(destroy_of_a_free_section_during_visit);
}

#[test]
fn control_destroy_without_acquire() {
    let exchanges = [place("destroy-at-once-exchange"), place("destroy-word-exchange")];
    breaks(Sight::Race, &exchanges, destroy_of_a_free_section_during_visit);
}

/// A task waits so that an alert ends its wait, and is alerted; the section stays owned.
fn alert_during_wait() -> Scene {
    let section = Protected::new();
    let owner = new_task();
    act_as(owner, || section.enter());
    let waiter = new_task();
    let wait = section.then(|section| {
        assert_eq!(section.enter_with(WAIT_ALERTABLE, Patience::Unbounded), Err(Error::Interrupted));
    });
    let alert = body(move || threads::alert(tasks::handle_of(waiter.0)).expect("it lives"));
    scene(vec![(owner, alert), (waiter, wait)], move || {
        assert_eq!(crst::info(section.crst).expect("it lives").waiters, 0);
    })
}

#[test]
fn an_alert_is_never_lost() {
    holds(alert_during_wait);
}

#[test]
fn control_waiter_that_misses_an_alert() {
    breaks(Sight::LostWakeUp, &[place("announcement-fence")], alert_during_wait);
}

/// As above, and the runtime stops.
fn stop_during_wait() -> Scene {
    let section = Protected::new();
    let owner = new_task();
    act_as(owner, || section.enter());
    let wait = section.then(|section| {
        assert_eq!(section.enter_with(0, Patience::Unbounded), Err(Error::NotAvailable));
    });
    let stop = body(|| assert_eq!(runtime::stop(), Ok(true)));
    scene(vec![(owner, stop), (new_task(), wait)], move || {
        assert_eq!(crst::info(section.crst).expect("it lives").waiters, 0);
    })
}

#[test]
fn a_stop_ends_every_wait() {
    holds(stop_during_wait);
}

#[test]
fn control_waiter_that_misses_a_stop() {
    breaks(Sight::LostWakeUp, &[place("announcement-fence")], stop_during_wait);
}

/// The runtime stops and is started again by another task, which then waits for a section that stays owned.
fn wait_after_restart() -> Scene {
    runtime::start().expect("memory for the arenas");
    let crst = crst::create(SpinPolicy::Adaptive).expect("a place for a section");
    act_as(new_task(), || assert_eq!(enter(crst, 0, Patience::Unbounded), Ok(true)));
    let stop = body(|| assert_eq!(runtime::stop(), Ok(true)));
    let restart = body(move || {
        if runtime::start() == Ok(true) {
            let waited = enter(crst, 0, Patience::Milliseconds(1));
            assert_eq!(waited, Err(Error::Timeout), "of the next run");
        }
    });
    scene(vec![(new_task(), stop), (new_task(), restart)], || {})
}

#[test]
fn a_stop_ends_no_wait_of_the_next_run() {
    holds_with_preemptions(3, wait_after_restart);
}

#[test]
fn control_wait_that_does_not_say_its_run() {
    breaks_at_random(&["of the next run"], place("run-of-wait"), wait_after_restart);
}

/// The contender of an alertable wait is alerted as it takes the section that its owner leaves: that ends its wait, or
/// is pending after it.
fn alert_of_the_contender() -> Scene {
    let section = Protected::new();
    let owner = new_task();
    act_as(owner, || section.enter());
    let waiter = new_task();
    let interrupted = Arc::new(core::sync::atomic::AtomicBool::new(false));
    let (own, is_interrupted) = (section.clone(), interrupted.clone());
    let wait = body(move || match own.enter_with(WAIT_ALERTABLE, Patience::Unbounded) {
        Ok(()) => own.touch_and_leave(),
        Err(error) => {
            assert_eq!(error, Error::Interrupted);
            is_interrupted.store(true, Ordering::Relaxed);
        }
    });
    let alert = body(move || threads::alert(tasks::handle_of(waiter.0)).expect("it lives"));
    let leave = section.then(Protected::touch_and_leave);
    scene(vec![(owner, leave), (waiter, wait), (new_task(), alert)], move || {
        let info = crst::info(section.crst).expect("it lives");
        assert_eq!((info.state, info.waiters), (section::State::Free, 0), "left and without waiters");
        let is_pending = tasks::of_owner(waiter.0).take_alert();
        assert_ne!(interrupted.load(Ordering::Relaxed), is_pending, "the alert was lost, or came twice");
    })
}

#[test]
fn a_contender_whose_wait_was_ended_gives_back_what_it_took() {
    holds_with_preemptions(2, alert_of_the_contender);
}
