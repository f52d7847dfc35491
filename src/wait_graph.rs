//! Who waits for whom, and what is done about a cycle.
//!
//! A task waits for one section at most and a section has one owner at most, so from any task there is one way to go:
//! to the section it waits for, to that section's owner, and on. Detection is a walk along this chain, by the task
//! that begins a wait, after it has announced itself. An enter that need not wait never gets here. A wait with a time
//! limit resolves itself and is no edge.
//!
//! **No cycle is missed.** The last event of a cycle is always that one of its tasks announces a wait: a task that is
//! given a section cannot be waiting any more. Of the announcements in a cycle one is last in the order of the SeqCst
//! fences that follow them. Each other task of the cycle took its sections before its own announcement and fence,
//! so this last one, looking after its fence, sees every wait and every owner of the cycle.
//!
//! **None is reported that was not there.** A chain that seems to close is looked at again under one lock. The first
//! round notes the number of each wait. The second goes from a task to the section it waits for, to its owner, and looks
//! at the number of the task's wait after that: if it is the one noted, the task has been in that one wait all the time
//! in between, and the section read was of that wait. A task that waits neither leaves a section nor takes one, but for
//! the one it waits for, which makes it no owner in this chain. So each owner that the second round saw had its section
//! already when the first round ended, and at that moment all edges of the cycle stood together.
//!
//! **One task is told.** Waits are broken only under that lock, and only while they are still the ones noted, in their
//! queue. Two tasks that find the same cycle take the lock in turn; the second finds a wait of it gone. If something
//! else has ended the chosen wait first, the cycle is open and nothing is said of it. Where no wait is broken the
//! cycle stands, and the second finds all of its waits marked: told. A wait is born without the mark, and the wait that
//! closes a cycle is a new one, so each is told.
//!
//! **The program is told outside.** The task that found the cycle leaves the queue before it calls the program's callback, and
//! waits anew after it. That opens a cycle which stands and closes it again: so the new wait takes the mark over, unless
//! the task has other sections than before.

use core::ffi::c_void;

use crate::crst;
use crate::error::Error;
use crate::ffi::deadlock::host_deadlock_t;
use crate::name::{Name, NameCopy};
use crate::registry::REGISTRY;
use crate::report;
use crate::report::picture::Picture;
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::{self, Mutex};
use crate::task::{self, TaskRef};
use crate::waiting;

/// A wait with this option is not to be broken: WAIT_NOTINDEADLOCK.
pub(crate) const WAIT_NOTINDEADLOCK: u32 = 0x4;

/// What is done when a deadlock is found: `HOST_DEADLOCK_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Policy {
    /// One wait fails, the rest goes on. Where none may fail, and one of them cannot, a report goes to stderr.
    Error = 0,
    /// A report goes to stderr; the tasks stay as they are.
    Report = 1,
    /// A report goes to stderr, and the process aborts.
    Abort = 2,
}

impl Policy {
    pub(crate) const fn from_number(number: u32) -> Option<Policy> {
        match number {
            0 => Some(Policy::Error),
            1 => Some(Policy::Report),
            2 => Some(Policy::Abort),
            _ => None,
        }
    }
}

/// Deadlocks remembered for reports.
pub(crate) const REMEMBERED: usize = 8;
/// One place more, so that the oldest is still there while the next is looked into.
const PLACES: usize = REMEMBERED + 1;
/// Tasks remembered of one.
pub(crate) const MEMBERS: usize = 16;

/// What the process has seen of deadlocks. Zeroed memory is none.
#[repr(C)]
pub(crate) struct Deadlocks {
    lock: Mutex,
    policy: AtomicU32,
    /// How many were found; number n, from 0, is remembered at n modulo PLACES.
    found: AtomicU64,
    /// Of how many a wait was broken.
    broken: AtomicU64,
    callback: AtomicPtr<c_void>,
    context: AtomicPtr<c_void>,
    remembered: [Deadlock; PLACES],
}

/// One deadlock as it was found. Written under the lock of Deadlocks.
#[repr(C)]
struct Deadlock {
    /// Odd while it is written.
    sequence: AtomicU32,
    /// Tasks in the cycle; more may be than are remembered.
    length: AtomicU32,
    /// Which member's wait was broken; `length` if none was.
    victim: AtomicU32,
    _reserved: AtomicU32,
    /// How many were found before it.
    number: AtomicU64,
    found_at: AtomicU64,
    members: [Member; MEMBERS],
}

/// A task of a deadlock: it waited for `section`, which the next member owned.
#[repr(C)]
struct Member {
    task: AtomicU64,
    section: AtomicU64,
    /// Where it called, 0 if unknown.
    site: AtomicU64,
    /// Where it had entered the section that the member before it waited for, 0 if that was not tracked.
    entered_at: AtomicU64,
    thread_id: AtomicU32,
    _reserved: AtomicU32,
    task_name: Name,
    section_name: Name,
}

/// A copy of a deadlock that is remembered.
#[derive(Clone, Copy)]
pub(crate) struct DeadlockCopy {
    /// Tasks in the cycle.
    pub(crate) length: u32,
    /// The member whose wait was broken, by its place; None if none was.
    pub(crate) victim: Option<u32>,
    pub(crate) found_at: u64,
    members: [MemberCopy; MEMBERS],
}

/// A copy of a member.
#[derive(Clone, Copy)]
pub(crate) struct MemberCopy {
    pub(crate) task: u64,
    /// The section it waited for.
    pub(crate) section: u64,
    /// Where it called, 0 if unknown.
    pub(crate) site: u64,
    /// Where it had entered the section that the member before it waited for, 0 if that was not tracked.
    pub(crate) entered_at: u64,
    pub(crate) thread_id: u32,
    pub(crate) task_name: NameCopy,
    pub(crate) section_name: NameCopy,
}

impl Deadlocks {
    pub(crate) const fn new() -> Self {
        Deadlocks {
            lock: Mutex::new(),
            policy: AtomicU32::new(Policy::Error as u32),
            found: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            callback: AtomicPtr::new(core::ptr::null_mut()),
            context: AtomicPtr::new(core::ptr::null_mut()),
            remembered: [const { Deadlock::new() }; PLACES],
        }
    }

    /// How many deadlocks were found since the process began.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Acquire)
    }

    /// Of how many deadlocks a wait was broken.
    pub(crate) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Acquire)
    }

    /// Copies deadlock number `number`, counted from 0, if it is still remembered.
    pub(crate) fn copy_remembered(&self, number: u64, into: &mut DeadlockCopy) -> bool {
        let found = self.found();
        let recent = number < found && found - number <= REMEMBERED as u64;
        recent && self.place_of(number).copy(number, into)
    }

    fn place_of(&self, number: u64) -> &Deadlock {
        &self.remembered[(number % PLACES as u64) as usize]
    }

    /// The lock of the search.
    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }

    /// In the child of a fork: another thread may have been writing one down. A place that is half written, its names too,
    /// is written anew by the next search.
    pub(crate) fn reset_after_fork(&self) {
        let found = self.found();
        if self.broken() > found {
            self.broken.store(found, Ordering::Relaxed);
        }
    }
}

impl Deadlock {
    const fn new() -> Self {
        Deadlock {
            sequence: AtomicU32::new(0),
            length: AtomicU32::new(0),
            victim: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            number: AtomicU64::new(0),
            found_at: AtomicU64::new(0),
            members: [const { Member::new() }; MEMBERS],
        }
    }

    fn begin_to_write(&self) {
        // Release after it, with the Acquire in copy: who reads something new finds the odd number.
        self.sequence.store(self.sequence.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    fn end_writing(&self) {
        self.sequence.store(self.sequence.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Copies what stands here; true if that is all of deadlock `number`.
    fn copy(&self, number: u64, into: &mut DeadlockCopy) -> bool {
        let before = self.sequence.load(Ordering::Acquire);
        let length = self.length.load(Ordering::Relaxed);
        let victim = self.victim.load(Ordering::Relaxed);
        into.length = length;
        into.victim = (victim < length).then_some(victim);
        into.found_at = self.found_at.load(Ordering::Relaxed);
        into.members.iter_mut().zip(&self.members).for_each(|(copy, member)| *copy = member.copy());
        let same_number = self.number.load(Ordering::Relaxed) == number;
        fence(Ordering::Acquire);
        before & 1 == 0 && self.sequence.load(Ordering::Relaxed) == before && same_number
    }
}

impl DeadlockCopy {
    /// A place for a copy.
    pub(crate) const fn new() -> Self {
        const NOBODY: MemberCopy = MemberCopy {
            task: 0,
            section: 0,
            site: 0,
            entered_at: 0,
            thread_id: 0,
            task_name: NameCopy::EMPTY,
            section_name: NameCopy::EMPTY,
        };
        DeadlockCopy { length: 0, victim: None, found_at: 0, members: [NOBODY; MEMBERS] }
    }

    /// The members that are remembered.
    pub(crate) fn members(&self) -> &[MemberCopy] {
        &self.members[..(self.length as usize).min(MEMBERS)]
    }
}

impl Member {
    const fn new() -> Self {
        Member {
            task: AtomicU64::new(0),
            section: AtomicU64::new(0),
            site: AtomicU64::new(0),
            entered_at: AtomicU64::new(0),
            thread_id: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            task_name: Name::new(),
            section_name: Name::new(),
        }
    }

    fn remember(&self, link: Link) {
        let Link { task, id, section, .. } = link;
        self.task.store(id, Ordering::Relaxed);
        self.section.store(section, Ordering::Relaxed);
        self.site.store(task.wait.site(), Ordering::Relaxed);
        self.thread_id.store(task.thread_id(), Ordering::Relaxed);
        self.task_name.set(report::task_name(task).bytes());
        let name = crst::any_slot_of(section).name();
        self.section_name.set(name.as_ref().map_or(&[], |name| name.bytes()));
    }

    fn copy(&self) -> MemberCopy {
        MemberCopy {
            task: self.task.load(Ordering::Relaxed),
            section: self.section.load(Ordering::Relaxed),
            site: self.site.load(Ordering::Relaxed),
            entered_at: self.entered_at.load(Ordering::Relaxed),
            thread_id: self.thread_id.load(Ordering::Relaxed),
            task_name: self.task_name.get(),
            section_name: self.section_name.get(),
        }
    }
}

// ---- settings ---------------------------------------------------------------------------------------------

/// Told of each deadlock: which wait was broken, or that none was.
pub(crate) type Callback = extern "C" fn(*const host_deadlock_t, *mut c_void);

pub(crate) fn set_policy(policy: Policy) {
    REGISTRY.deadlocks.policy.store(policy as u32, Ordering::Relaxed);
}

fn policy() -> Policy {
    Policy::from_number(REGISTRY.deadlocks.policy.load(Ordering::Relaxed)).unwrap_or(Policy::Error)
}

/// How often it was set who is told, from 1; under the lock. The number of the present setting.
static SETTINGS: AtomicU64 = AtomicU64::new(1);
/// Counts calls of callbacks that are over. Who waits for them sleeps on it.
static CALLS_ENDED: AtomicU32 = AtomicU32::new(0);

/// Sets who is told of deadlocks. On return nobody who was told before is being told any more, unless the caller is: two
/// that are told at once would wait for each other.
pub(crate) fn set_callback(callback: Option<Callback>, context: *mut c_void) {
    let before = REGISTRY.deadlocks.set_callback(callback, context);
    if !task::current_if_any().is_some_and(|me| me.tells_one_of(u64::MAX)) {
        wait_for_calls(before);
    }
}

// ---- the walk ---------------------------------------------------------------------------------------------

/// The task that `task` cannot go on before, if it waits without limit for a section that a live task owns.
fn blocked_by(task: TaskRef) -> Option<TaskRef> {
    Picture::here().blocked_by(task.id()).map(task::of_owner)
}

/// How many tasks the chain from `start` passes before it is back there; None if it ends or loops elsewhere.
fn cycle_length(start: TaskRef) -> Option<u32> {
    Picture::here().cycle_length(start.id())
}

/// Notes the number of each wait of the cycle; the first round of the proof above.
fn note_waits(closer: TaskRef, length: u32) {
    let mut task = Some(closer);
    for _ in 0..length {
        let Some(here) = task else { return };
        here.wait.note_sequence();
        task = blocked_by(here);
    }
}

/// A wait of a cycle.
#[derive(Clone, Copy)]
struct Link {
    place: u32,
    task: TaskRef,
    id: u64,
    section: u64,
}

/// A cycle that stood.
struct Cycle {
    /// How many tasks it has.
    length: u32,
    /// The wait that closed it.
    closer: Link,
    /// The first one from there on that may be broken. None if none may.
    breakable: Option<Link>,
    /// Whether one of its waits cannot fail at all.
    has_infallible: bool,
    /// Whether each of its waits was part of a cycle told of.
    was_told: bool,
}

/// Where the present owner entered the section, 0 if that is not tracked.
fn entered_at(section: u64) -> u64 {
    let hold = Picture::here().section(section).and_then(|section| section.hold);
    hold.map_or(0, |(_, site)| site)
}

/// Goes around once more and writes down in `deadlock` what is there; the second round of the proof above. None if
/// there is no cycle of the waits that were noted.
fn look_again(deadlock: &Deadlock, closer: TaskRef, length: u32) -> Option<Cycle> {
    let (mut first, mut breakable, mut has_infallible, mut was_told) = (None, None, false, true);
    let mut task = closer;
    for place in 0..length {
        // After the first round, and after the owner that led here.
        fence(Ordering::SeqCst);
        let link = Link { place, task, id: task.id(), section: task.wait.unbounded_section()? };
        let may_be_broken = task.wait.option() & WAIT_NOTINDEADLOCK == 0;
        let cannot_fail = task.wait.cannot_fail();
        if let Some(member) = deadlock.members.get(place as usize) {
            member.remember(link);
        }
        let next = blocked_by(task)?;
        if let Some(owner) = deadlock.members.get(((place + 1) % length) as usize) {
            owner.entered_at.store(entered_at(link.section), Ordering::Relaxed);
        }
        // Only if this still holds was all of it read of the wait that was noted.
        if !task.wait.is_as_noted() {
            return None;
        }
        first = first.or(Some(link));
        breakable = breakable.or(may_be_broken.then_some(link));
        has_infallible |= cannot_fail;
        was_told &= task.wait.was_told();
        task = next;
    }
    let closes = task.id() == closer.id();
    closes.then_some(Cycle { length, closer: first?, breakable, has_infallible, was_told })
}

/// Marks each wait of a cycle that stands as told; under the lock.
fn tell_waits(start: TaskRef, length: u32) {
    let mut task = Some(start);
    for _ in 0..length {
        let Some(here) = task else { return };
        here.wait.set_told();
        task = blocked_by(here);
    }
}

/// What the program's callback is to be told.
pub(crate) struct Notice {
    deadlock: host_deadlock_t,
    callback: Callback,
    context: *mut c_void,
    /// Who tells it, and what that task was telling before.
    me: TaskRef,
    outer: u64,
}

impl Notice {
    /// Calls the program. It may never come back: by an exception, `longjmp`, or the end of the thread.
    pub(crate) fn tell(self) {
        (self.callback)(&raw const self.deadlock, self.context);
        self.me.end_telling(self.outer);
        a_call_has_ended();
    }
}

/// A callback of the program's has returned, or its thread has ended in it.
pub(crate) fn a_call_has_ended() {
    // Release pairs with the Acquire in wait_for_calls: who finds this counted finds the task telling nothing.
    CALLS_ENDED.fetch_add(1, Ordering::Release);
    sys::futex_wake(&CALLS_ENDED, i32::MAX);
}

/// How long a call of a callback is waited for before it is looked whether its thread is still there.
const CALL_RECHECK_MILLISECONDS: u32 = 1000;

/// Waits until no task tells what a setting up to number `last` is to be told.
fn wait_for_calls(last: u64) {
    loop {
        let ended = CALLS_ENDED.load(Ordering::Acquire);
        if !task::all().any(|task| task.tells_one_of(last)) {
            return;
        }
        let recheck = sys::deadline_after(CALL_RECHECK_MILLISECONDS);
        let _ = sys::futex_wait(&CALLS_ENDED, ended, Some(recheck));
        // A thread may be gone without having said so: then its task is ended here.
        task::all().filter(|task| task.tells_one_of(last)).for_each(|task| task::reap_if_gone(task.id()));
    }
}

/// `me` has just announced a wait: if that closed a cycle, does what the policy says. What the program is to be told of
/// it, once `me` is out of the queue.
#[cold]
pub(crate) fn look_for_deadlock(me: TaskRef) -> Option<Notice> {
    cycle_length(me)?;
    let policy = policy();
    let deadlocks = &REGISTRY.deadlocks;
    let guard = deadlocks.lock.lock();
    let cycle = search(me)?;
    let victim = break_or_tell(&cycle, policy)?;
    let notice = deadlocks.notice(me, &cycle, victim);
    drop(guard);
    report(&cycle, victim, policy);
    notice
}

/// The cycle that the wait of `me` is part of, if there is one; under the lock. It is written down at the place of the
/// next deadlock, for `publish`.
fn search(me: TaskRef) -> Option<Cycle> {
    let length = cycle_length(me)?;
    note_waits(me, length);
    let place = REGISTRY.deadlocks.next_place();
    place.begin_to_write();
    look_again(place, me, length)
}

/// Breaks the wait that the policy wants broken: that one, or None for none. None at all if the cycle is open by now
/// or was told of. Under the lock.
fn break_or_tell(cycle: &Cycle, policy: Policy) -> Option<Option<Link>> {
    let publish = |victim| REGISTRY.deadlocks.publish(cycle, victim);
    match cycle.breakable.filter(|_| policy == Policy::Error) {
        Some(victim) => {
            // Published before the victim can know of it.
            let broken = waiting::end_noted_wait(&victim.task, Error::Deadlock, || publish(Some(victim)));
            broken.then_some(Some(victim))
        }
        None if cycle.was_told => None,
        None => {
            tell_waits(cycle.closer.task, cycle.length);
            publish(None);
            Some(None)
        }
    }
}

/// Writes the report that the policy asks for.
fn report(cycle: &Cycle, victim: Option<Link>, policy: Policy) {
    if policy == Policy::Error && (victim.is_some() || !cycle.has_infallible) {
        return;
    }
    report::write_deadlock(cycle.closer.task);
    if policy == Policy::Abort {
        sys::abort();
    }
}

impl Deadlocks {
    fn next_place(&self) -> &Deadlock {
        self.place_of(self.found.load(Ordering::Relaxed))
    }

    /// Counts what was written at the next place.
    fn publish(&self, cycle: &Cycle, victim: Option<Link>) {
        let number = self.found.load(Ordering::Relaxed);
        let place = self.place_of(number);
        place.length.store(cycle.length, Ordering::Relaxed);
        place.victim.store(victim.map_or(cycle.length, |victim| victim.place), Ordering::Relaxed);
        place.number.store(number, Ordering::Relaxed);
        place.found_at.store(sys::now(), Ordering::Relaxed);
        place.end_writing();
        self.broken.fetch_add(u64::from(victim.is_some()), Ordering::Relaxed);
        // Release pairs with the Acquire in found: who counts it can read it.
        self.found.store(number + 1, Ordering::Release);
    }

    /// Sets who is told; the number of the setting before. Whoever was to be told by that one has been noted by then, as
    /// `notice` is under the same lock.
    fn set_callback(&self, callback: Option<Callback>, context: *mut c_void) -> u64 {
        let _guard = self.lock.lock();
        self.context.store(context, Ordering::Relaxed);
        let callback = callback.map_or(core::ptr::null_mut(), |function| function as *mut c_void);
        self.callback.store(callback, Ordering::Relaxed);
        let before = SETTINGS.load(Ordering::Relaxed);
        SETTINGS.store(before + 1, Ordering::Relaxed);
        before
    }

    /// What the callback is to be told by `me`, if there is one; under the lock.
    fn notice(&self, me: TaskRef, cycle: &Cycle, victim: Option<Link>) -> Option<Notice> {
        let callback = self.callback.load(Ordering::Relaxed);
        if callback.is_null() {
            return None;
        }
        let deadlock = host_deadlock_t {
            size: size_of::<host_deadlock_t>() as u32,
            tasks: cycle.length,
            victim: victim.map_or(0, |victim| task::handle_of(victim.id)),
            section: victim.unwrap_or(cycle.closer).section,
        };
        // SAFETY: set_callback stored a Callback.
        let callback = unsafe { core::mem::transmute::<*mut c_void, Callback>(callback) };
        let context = self.context.load(Ordering::Relaxed);
        let outer = me.begin_telling(SETTINGS.load(Ordering::Relaxed));
        Some(Notice { deadlock, callback, context, me, outer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Deadlocks {
        /// Writes down the next deadlock, of no tasks, and counts it.
        fn write_one(&self) {
            let number = self.found();
            let place = self.place_of(number);
            place.begin_to_write();
            place.number.store(number, Ordering::Relaxed);
            place.end_writing();
            self.found.store(number + 1, Ordering::Release);
        }

        fn numbers_remembered(&self) -> std::vec::Vec<u64> {
            let mut copy = DeadlockCopy::new();
            (0..self.found()).filter(|&number| self.copy_remembered(number, &mut copy)).collect()
        }
    }

    #[test]
    fn the_last_ones_are_remembered_while_the_next_is_looked_into() {
        let deadlocks = Deadlocks::new();
        (0..REMEMBERED + 3).for_each(|_| deadlocks.write_one());
        let last: std::vec::Vec<u64> = (3..3 + REMEMBERED as u64).collect();
        assert_eq!(deadlocks.numbers_remembered(), last);
        deadlocks.place_of(deadlocks.found()).begin_to_write();
        assert_eq!(deadlocks.numbers_remembered(), last);
    }

    #[test]
    fn a_search_that_finds_nothing_spoils_no_place() {
        let deadlocks = Deadlocks::new();
        deadlocks.write_one();
        deadlocks.place_of(1).begin_to_write();
        assert_eq!(deadlocks.numbers_remembered(), [0]);
        deadlocks.write_one();
        assert_eq!(deadlocks.numbers_remembered(), [0, 1]);
    }
}
