//! Condition variables: a wake is for the sleeper that came first, reaches it on its way, and ends its sleep once.

use std::vec;

use super::random::breaks_at_random;
use super::*;
use crate::lock::condition::{self, Request};
use crate::state::mirror::ConditionVariable;
use crate::state::sleep::SleepKind;
use crate::sys::Instant;
use crate::sys::atomic::AtomicU32;
use crate::win32;

static VARIABLE: ConditionVariable = ConditionVariable::new();

/// A time limit that may pass at any moment.
const LIMIT: Option<Instant> = Some(1);

/// Begins to sleep on the variable, for the section with this handle, called for at `site`. The number of the sleep.
fn join_at(section: u64, deadline: Option<Instant>, site: usize) -> u32 {
    let me = threads::current().expect("a task");
    condition::join(&VARIABLE, me, Request { section, deadline, site })
}

fn join(section: u64, deadline: Option<Instant>) -> u32 {
    join_at(section, deadline, 0)
}

/// Sleeps until woken or until the deadline: false if that passed first.
fn sleep(number: u32, deadline: Option<Instant>) -> bool {
    condition::sleep(threads::current().expect("a task"), number, deadline)
}

/// A new task that has begun to sleep, in front of those that do later, and the number of its sleep.
fn sleeper(deadline: Option<Instant>) -> ((u64, usize), u32) {
    runtime::start().expect("memory for the arenas");
    let task = new_task();
    let mut number = 0;
    act_as(task, || number = join(1, deadline));
    (task, number)
}

fn assert_nobody_sleeps() {
    assert!(tasks::all().all(|task| !task.sleep.is_asleep()), "in the queue after its sleep");
    win32::wake_all(&VARIABLE);
    assert_eq!(VARIABLE.may_sleep.load(Ordering::Relaxed), 0, "nobody may sleep there");
}

// ---- a sleeper on its way ---------------------------------------------------------------------------------

/// Whether what the sleepers wait for is so; changed under the section.
static SO: AtomicU32 = AtomicU32::new(0);

/// Waits until another task has made it so.
fn wait_until_so(section: &Protected) {
    section.enter();
    while SO.load(Ordering::Relaxed) == 0 {
        let number = join(section.crst, None);
        section.leave();
        sleep(number, None);
        section.enter();
    }
    section.leave();
}

/// As above, but too late: between its leave and its sleep a wake finds nobody.
fn wait_until_so_and_join_late(section: &Protected) {
    section.enter();
    let is_so = SO.load(Ordering::Relaxed) != 0;
    section.leave();
    if !is_so {
        sleep(join(section.crst, None), None);
    }
}

fn make_it_so(section: &Protected) {
    section.enter();
    SO.store(1, Ordering::Relaxed);
    section.leave();
    win32::wake_one(&VARIABLE);
}

fn change_while(wait: fn(&Protected)) -> Scene {
    let section = Protected::new();
    let threads = vec![(new_task(), section.then(wait)), (new_task(), section.then(make_it_so))];
    scene(threads, move || section.assert_free_after(0))
}

fn change_while_another_waits() -> Scene {
    change_while(wait_until_so)
}

fn change_while_another_joins_late() -> Scene {
    change_while(wait_until_so_and_join_late)
}

#[test]
fn a_wake_after_the_leave_reaches_who_sleeps() {
    holds_with_preemptions(3, change_while_another_waits);
}

#[test]
fn control_sleeper_that_joins_after_its_leave() {
    breaks_with_preemptions(2, Sight::LostWakeUp, &[], change_while_another_joins_late);
}

/// The wake may see that nobody sleeps, as the sleeper's leave does not hand on what it wrote before.
#[test]
fn control_sleeper_whose_leave_is_not_released() {
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place("leave-word-store")], change_while_another_waits);
}

// ---- who is woken -----------------------------------------------------------------------------------------

/// Two tasks sleep, and one wake comes. The second one's time may be up at any moment.
fn wake_of_the_first_of_two() -> Scene {
    let ((first, number), (second, second_number)) = (sleeper(None), sleeper(LIMIT));
    let served = body(move || assert!(sleep(number, None)));
    let other = body(move || assert!(!sleep(second_number, LIMIT), "woken by another's wake"));
    let wake = body(|| win32::wake_one(&VARIABLE));
    scene(vec![(first, served), (second, other), (new_task(), wake)], assert_nobody_sleeps)
}

#[test]
fn a_wake_is_for_who_came_first() {
    holds_with_preemptions(2, wake_of_the_first_of_two);
}

/// Two tasks sleep, and one wake comes while the time of the first one may be up. Who is woken in time wakes another.
fn wake_while_a_limit_passes() -> Scene {
    let ((first, number), (second, second_number)) = (sleeper(LIMIT), sleeper(None));
    let limited = body(move || {
        if sleep(number, LIMIT) {
            win32::wake_one(&VARIABLE);
        }
    });
    let other = body(move || assert!(sleep(second_number, None)));
    let wake = body(|| win32::wake_one(&VARIABLE));
    scene(vec![(first, limited), (second, other), (new_task(), wake)], assert_nobody_sleeps)
}

#[test]
fn a_wake_is_not_lost_to_a_limit() {
    holds_with_preemptions(2, wake_while_a_limit_passes);
}

/// Both take the first one out: it finds its time up, and the wake was for it.
#[test]
fn control_withdrawal_without_the_lock() {
    breaks_at_random(&["deadlock! blocked tasks"], place("withdraw-lock"), wake_while_a_limit_passes);
}

fn wake_of_all() -> Scene {
    let sleepers = [sleeper(None), sleeper(None)];
    let mut threads: Vec<_> = sleepers
        .into_iter()
        .map(|(task, number)| (task, body(move || assert!(sleep(number, None)))))
        .collect();
    threads.push((new_task(), body(|| win32::wake_all(&VARIABLE))));
    scene(threads, assert_nobody_sleeps)
}

#[test]
fn a_wake_of_all_reaches_each() {
    holds_with_preemptions(2, wake_of_all);
}

// ---- addresses --------------------------------------------------------------------------------------------

/// What stands at the address, which is only a name here.
static VALUE: AtomicU32 = AtomicU32::new(0);
const ADDRESS: usize = 0x1000;

fn wait_for_change() {
    let me = threads::current().expect("a task");
    while VALUE.load(Ordering::Relaxed) == 0 {
        let number = condition::join_at(ADDRESS, me, SleepKind::Address, None, 0);
        if VALUE.load(Ordering::Relaxed) != 0 {
            condition::withdraw(&me);
            return;
        }
        condition::sleep(me, number, None);
    }
}

fn change_and_wake() {
    VALUE.store(1, Ordering::Relaxed);
    condition::wake_at(ADDRESS, SleepKind::Address, 1);
}

fn change_of_what_is_waited_on() -> Scene {
    runtime::start().expect("memory for the arenas");
    let threads = vec![(new_task(), body(wait_for_change)), (new_task(), body(change_and_wake))];
    scene(threads, assert_nobody_sleeps)
}

#[test]
fn a_wake_after_the_change_reaches_who_waits_on_the_address() {
    holds_with_preemptions(3, change_of_what_is_waited_on);
}

#[test]
fn control_waiter_on_an_address_without_its_fence() {
    let place = place("sleeper-at-address-fence");
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place], change_of_what_is_waited_on);
}

#[test]
fn control_wake_at_an_address_without_its_fence() {
    let place = place("wake-at-address-fence");
    breaks_with_preemptions(2, Sight::LostWakeUp, &[place], change_of_what_is_waited_on);
}

// ---- the end of a sleep -----------------------------------------------------------------------------------

/// The last sleeper returns and uses the variable's memory for something else.
fn reuse_of_the_memory() -> Scene {
    let (task, number) = sleeper(None);
    let use_anew = body(move || {
        sleep(number, None);
        assert_eq!(VARIABLE.may_sleep.load(Ordering::Relaxed), 0, "not what the wake has left there");
        VARIABLE.may_sleep.store(7, Ordering::Relaxed);
    });
    scene(vec![(task, use_anew), (new_task(), body(|| win32::wake_one(&VARIABLE)))], || {
        assert_eq!(VARIABLE.may_sleep.load(Ordering::Relaxed), 7, "memory that is a variable no more");
    })
}

#[test]
fn a_wake_leaves_the_memory_alone_once_the_sleeper_returns() {
    holds(reuse_of_the_memory);
}

#[test]
fn control_sleeper_that_does_not_acquire_its_end() {
    breaks(Sight::Said("not what the wake has left there"), &[place("sleeper-acquire")], reuse_of_the_memory);
}

#[test]
fn control_end_of_a_sleep_that_is_not_released() {
    let place = place("sleep-end-release");
    breaks(Sight::Said("not what the wake has left there"), &[place], reuse_of_the_memory);
}

/// As above, but the sleeper finds by itself that what it waits for is so.
fn reuse_of_the_memory_after_a_withdrawal() -> Scene {
    let (task, _) = sleeper(None);
    let use_anew = body(move || {
        if !condition::withdraw(&threads::current().expect("a task")) {
            assert_eq!(VARIABLE.may_sleep.load(Ordering::Relaxed), 0, "not what the wake has left there");
        }
    });
    scene(vec![(new_task(), body(|| win32::wake_one(&VARIABLE))), (task, use_anew)], assert_nobody_sleeps)
}

#[test]
fn who_withdraws_too_late_goes_on_after_the_wake() {
    holds(reuse_of_the_memory_after_a_withdrawal);
}

#[test]
fn control_withdrawal_that_does_not_acquire_the_end() {
    let place = place("withdraw-word-load");
    breaks(Sight::Said("not what the wake has left there"), &[place], reuse_of_the_memory_after_a_withdrawal);
}

/// A task withdraws while a wake takes it out, and sleeps at an address of another bucket: the first wake ends none but the
/// first sleep.
fn sleep_after_a_withdrawal() -> Scene {
    const BEFORE: usize = ADDRESS + 0x1000;
    runtime::start().expect("memory for the arenas");
    let task = new_task();
    act_as(task, || {
        let me = threads::current().expect("a task");
        condition::join_at(BEFORE, me, SleepKind::Address, None, 0);
    });
    let sleep_again = body(|| {
        condition::withdraw(&threads::current().expect("a task"));
        wait_for_change();
    });
    let wake_twice = body(|| {
        condition::wake_at(BEFORE, SleepKind::Address, 1);
        change_and_wake();
    });
    scene(vec![(new_task(), wake_twice), (task, sleep_again)], assert_nobody_sleeps)
}

#[test]
fn a_wake_ends_no_later_sleep() {
    holds_with_preemptions(3, sleep_after_a_withdrawal);
}

/// A task that has begun to sleep ends, as after a jump out of a signal handler; another takes its slot and sleeps
/// there, while a wake comes.
fn end_of_a_sleeper() -> Scene {
    let (ends, _) = sleeper(None);
    let begin_anew = body(move || {
        model::end_thread();
        let next = threads::current().expect("a task");
        assert_eq!(next.index(), tasks::of_owner(ends.0).index(), "the same slot");
        assert!(!next.sleep.is_asleep(), "in the queue after its end");
        sleep(join(1, LIMIT), LIMIT);
    });
    let wake = body(|| win32::wake_one(&VARIABLE));
    scene(vec![(ends, begin_anew), (new_task(), wake)], assert_nobody_sleeps)
}

#[test]
fn a_sleep_ends_with_its_task() {
    holds_with_preemptions(3, end_of_a_sleeper);
}

#[test]
fn control_end_of_a_task_that_does_not_withdraw() {
    breaks_at_random(
        &["in the queue after its end", "in the queue after its sleep"],
        place("withdraw-word-load"),
        end_of_a_sleeper,
    );
}

// ---- sleeps that are copied -------------------------------------------------------------------------------

/// A task sleeps for one section and then for another, each time from another site, while its sleep is copied.
fn sleep_after_sleep() -> Scene {
    runtime::start().expect("memory for the arenas");
    let task = new_task();
    let sleeps = body(|| {
        for site in [1, 2] {
            sleep(join_at(10 * site as u64, LIMIT, site), LIMIT);
        }
    });
    let copy = body(move || {
        if let Some(copy) = tasks::of_owner(task.0).sleep.copy() {
            assert_eq!(copy.section, 10 * copy.site, "a torn sleep");
        }
    });
    scene(vec![(task, sleeps), (new_task(), copy)], || {})
}

#[test]
fn a_copy_is_of_one_sleep() {
    holds_with_preemptions(2, sleep_after_sleep);
}

#[test]
fn control_copy_of_a_sleep_without_its_fence() {
    breaks_with_preemptions(2, Sight::Said("a torn sleep"), &[place("sleep-read-fence")], sleep_after_sleep);
}

#[test]
fn control_next_sleep_without_its_fence() {
    breaks_with_preemptions(2, Sight::Said("a torn sleep"), &[place("sleep-write-fence")], sleep_after_sleep);
}

#[test]
fn control_sleep_that_is_not_released() {
    breaks_with_preemptions(2, Sight::Said("a torn sleep"), &[place("sleep-write-end")], sleep_after_sleep);
}

#[test]
fn control_copy_that_does_not_acquire() {
    breaks_with_preemptions(2, Sight::Said("a torn sleep"), &[place("sleep-read-begin")], sleep_after_sleep);
}
