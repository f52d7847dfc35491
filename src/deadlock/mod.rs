//! The search for a cycle in the wait-for graph, and how one wait of it is broken. It does not know whom to tell of
//! one.
//!
//! A task waits for one section or resource at most and each of these has one owner at most, so from any task there is
//! one way to go: to what it waits for, to the owner of that, and on. The search is a walk along this chain, by the task
//! that begins a wait, after it has announced itself. An enter that need not wait never gets here. A wait with a
//! timeout resolves itself and is no edge.
//!
//! **Resources** are the program's own locks: who owns one is what the program has told, and a wait for one is announced
//! by the program before it blocks (see `lock::resources`). The arguments below are about what was told; what they need
//! of it is that a task tells it before it waits for anything, and that a task which waits acquires nothing else. That
//! a told edge is a true one follows from the order in which the program tells: a task known to own a resource owns the
//! lock, since it tells after it has locked and before it unlocks. A task that has got the lock and whose wait is still
//! told has no edge: as it owns the lock, nobody else does, so nobody else is known to own the resource.
//!
//! **No cycle is missed.** The last event of a cycle is always that one of its tasks announces a wait: a task that is
//! handed a section is no longer waiting. Of the announcements in a cycle one is last in the order of the SeqCst
//! fences that follow them. Each other task of the cycle took its sections and told of its resources before its own
//! announcement and fence, so this last one, searching after its fence, sees every wait and every owner of the cycle.
//! A resource that is acquired while others wait for it is the end of no cycle: its owner waits for nothing yet. Most
//! chains end within a few steps; that is found first (`chain_ends`), with the same loads in the same order.
//!
//! **None is reported that was not there.** A chain that seems to close is verified under one lock. The first round
//! notes the number of each wait. The second goes from a task to what it waits for, to the owner of that, and then
//! reads the number of the task's wait again: if it is the one noted, the task has been in that one wait all the time
//! in between, and what was read was of that wait. A task that waits takes nothing but what it waits for; and once it
//! has taken that it is blocked by no other task, and the chain ends there. So each owner that the second round saw had
//! what it owns before its own wait began, which was before the first round ended, and at that moment all edges of the
//! cycle stood together. An owner that had released a resource before it began to wait is not seen as its owner: it
//! stored that before the number of its wait, which the first round has read.
//!
//! **One task is told.** Waits are broken only under that lock, and only while they are still the ones noted, in their
//! queue; or of a resource and not yet answered, as the library cannot reach a task that blocks in the program's lock.
//! Two tasks that find the same cycle take the lock in turn; the second finds a wait of it gone. If something else has
//! ended the chosen wait first, the cycle is open and nothing is reported; if its task was answered in between, the
//! cycle stands, and one more search finds which wait can be broken now. Where no wait is broken the cycle stands, and
//! each of its waits is marked with the number of this deadlock: the second search finds that number at all of them and
//! reports nothing. A wait begins without a mark, and the wait that closes a cycle is a new one, so each cycle is told.
//!
//! **The program is told outside.** The task that found the cycle leaves the queue before it calls the program's
//! callback, and waits anew after it. That opens a cycle which stands and closes it again, so the new wait takes over
//! the number of the deadlock that its task has told of, not one that others have told of meanwhile. So only one task
//! ever waits anew with a given number, and a cycle whose waits all have one number is the one that was told: the
//! others are in the same waits as then, own what they owned, and each waits for the same next one; the wait that was
//! begun anew is for the same. Waits that were told of as part of different deadlocks close a new one. Where
//! a wait was broken, the task leaves the queue under the lock: no other search finds a cycle that only stands until
//! it does.

use crate::base::name::NameCopy;
use crate::error::Error;
use crate::handle;
use crate::lock::queue;
use crate::state::deadlocks::{Deadlock, Deadlocks, Member, Policy, Took};
use crate::state::registry::REGISTRY;
use crate::state::task::TaskRef;
use crate::state::{resources, sections, tasks};
use crate::sys;
use crate::sys::atomic::{Ordering, fence};
use crate::view::names;
use crate::view::picture::Picture;

// ---- settings ---------------------------------------------------------------------------------------------

pub(crate) fn policy() -> Policy {
    Policy::from_number(REGISTRY.deadlocks.policy.load(Ordering::Relaxed)).unwrap_or(Policy::Error)
}

impl Member {
    fn remember(&self, link: Link) {
        let Link { task, id, awaited, .. } = link;
        self.task.store(id, Ordering::Relaxed);
        self.awaited.store(awaited, Ordering::Relaxed);
        self.site.store(task.wait.site(), Ordering::Relaxed);
        self.thread_id.store(task.thread_id(), Ordering::Relaxed);
        self.task_name.set(names::task_name(task).bytes());
        let name = name_of(awaited);
        self.awaited_name.set(name.as_ref().map_or(&[], |name| name.bytes()));
    }
}

/// The name of a section or resource, if it has one. An SRW lock has none.
fn name_of(awaited: u64) -> Option<NameCopy> {
    if handle::is_resource(awaited) {
        resources::slot_of_awaited(awaited).name()
    } else if handle::is_srw_lock(awaited) {
        None
    } else {
        sections::any_slot_of(awaited).name()
    }
}

// ---- the walk ---------------------------------------------------------------------------------------------

/// The task that `task` cannot go on before, if it waits without limit for a section or resource that a live task owns.
fn blocked_by(task: TaskRef) -> Option<TaskRef> {
    Picture::here().blocked_by(task.id()).map(tasks::of_owner)
}

/// Whether the chain of waits for a section ends after a few steps, as most do: at an owner that waits for nothing. Asked
/// by a task that has announced its wait for it, which then has closed no cycle. Takes a wait with a limit for an edge.
pub(crate) fn chain_ends(section: u64) -> bool {
    const STEPS: u32 = 8;
    let mut awaited = section;
    for _ in 0..STEPS {
        if handle::is_resource(awaited) || handle::is_srw_lock(awaited) {
            break;
        }
        let owner = sections::any_slot_of(awaited).word().load(Ordering::Acquire) ^ awaited;
        // Whatever it is, a record is read; that of no task is in no wait.
        awaited = tasks::of_owner(owner).wait.awaited();
        if awaited == 0 {
            return true;
        }
    }
    false
}

/// How many tasks the chain from `start` passes before it is back there; None if it ends or loops elsewhere.
pub(crate) fn cycle_length(start: TaskRef) -> Option<u32> {
    Picture::here().cycle_length(start.id())
}

/// Notes the number of each wait of the cycle: the first round of the proof above.
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
pub(crate) struct Link {
    pub(crate) place: u32,
    pub(crate) task: TaskRef,
    pub(crate) id: u64,
    /// What it is for.
    pub(crate) awaited: u64,
}

/// A cycle that stood.
pub(crate) struct Cycle {
    /// How many tasks it has.
    pub(crate) length: u32,
    /// The wait that closed it.
    pub(crate) closer: Link,
    /// The first one from there on that may be broken. None if none may.
    pub(crate) breakable: Option<Link>,
    /// Whether one of its waits cannot fail at all.
    pub(crate) has_infallible: bool,
    /// Whether each of its waits was told of as part of one and the same deadlock.
    pub(crate) was_told: bool,
}

/// When and where the present owner entered the section, zeros if that is not tracked, or if it is no section.
fn hold_of(awaited: u64) -> (u64, u64) {
    // Compiled code may read the hold of no section before it finds that there is none, which valgrind takes for a fault.
    if handle::is_resource(awaited) || handle::is_srw_lock(awaited) {
        return (0, 0);
    }
    let hold = Picture::here().section(awaited).and_then(|section| section.hold);
    hold.unwrap_or((0, 0))
}

/// Walks around once more and records the members in `deadlock`: the second round of the proof above. None if the
/// waits that were noted form no cycle.
fn verify(deadlock: &Deadlock, closer: TaskRef, length: u32) -> Option<Cycle> {
    let (mut first, mut breakable, mut has_infallible, mut was_told) = (None, None, false, true);
    let told = closer.wait.told();
    // Since when the last one waits, and when the owners of what the first two wait for took that.
    let (mut waited, mut taken) = (0, [0; 2]);
    let mut task = closer;
    for place in 0..length {
        // After the first round, and after the owner that led here.
        fence(Ordering::SeqCst);
        let link = Link { place, task, id: task.id(), awaited: task.wait.unbounded()? };
        let may_be_broken = task.wait.is_breakable();
        let cannot_fail = task.wait.cannot_fail();
        if let Some(member) = deadlock.members.get(place as usize) {
            member.remember(link);
        }
        let next = blocked_by(task)?;
        if let Some(owner) = deadlock.members.get(((place + 1) % length) as usize) {
            let (time, site) = hold_of(link.awaited);
            owner.entered_at.store(site, Ordering::Relaxed);
            waited = task.wait.since.load(Ordering::Relaxed);
            taken[place as usize % 2] = time;
        }
        // Only if this still holds was all of it read of the wait that was noted.
        if !task.wait.is_as_noted() {
            return None;
        }
        first = first.or(Some(link));
        breakable = breakable.or(may_be_broken.then_some(link));
        has_infallible |= cannot_fail;
        was_told &= told != 0 && task.wait.told() == told;
        task = next;
    }
    let took = Took::by_times(taken[1], taken[0], waited);
    deadlock.closer_took.store(took as u32, Ordering::Relaxed);
    let closes = task.id() == closer.id();
    closes.then_some(Cycle { length, closer: first?, breakable, has_infallible, was_told })
}

/// Marks each wait of a cycle that stands as part of deadlock number `told`; under the lock.
fn tell_waits(start: TaskRef, length: u32, told: u64) {
    let mut task = Some(start);
    for _ in 0..length {
        let Some(here) = task else { return };
        queue::tell_noted_wait(&here, told);
        task = blocked_by(here);
    }
}

/// The cycle that the wait of `me` is part of, if there is one; under the lock. It is recorded at the place of the next
/// deadlock, for `publish`.
pub(crate) fn search(me: TaskRef) -> Option<Cycle> {
    let length = cycle_length(me)?;
    note_waits(me, length);
    let place = REGISTRY.deadlocks.next_place();
    place.lock.begin_write();
    verify(place, me, length)
}

/// What came of a cycle.
pub(crate) enum Outcome {
    /// One wait was broken.
    Broken(Link),
    /// It stands, and is to be told of.
    Stands,
    /// It stands, and was told of.
    WasTold,
    /// The wait that was to be broken has ended, or cannot be broken any more: another search says which.
    Changed,
}

/// Breaks the wait that the policy wants broken, if it wants one. Under the lock.
pub(crate) fn break_or_tell(cycle: &Cycle, policy: Policy) -> Outcome {
    let publish = |victim| REGISTRY.deadlocks.publish(cycle, victim);
    match cycle.breakable.filter(|_| policy == Policy::Error) {
        Some(victim) => {
            // Published before the victim can know of it.
            let broken = queue::end_noted_wait(&victim.task, Error::Deadlock, || publish(Some(victim)));
            if broken { Outcome::Broken(victim) } else { Outcome::Changed }
        }
        None if cycle.was_told => Outcome::WasTold,
        None => {
            tell_waits(cycle.closer.task, cycle.length, REGISTRY.deadlocks.found() + 1);
            publish(None);
            Outcome::Stands
        }
    }
}

impl Deadlocks {
    /// Completes and counts what was recorded at the next place.
    fn publish(&self, cycle: &Cycle, victim: Option<Link>) {
        let number = self.found.load(Ordering::Relaxed);
        let place = self.place_of(number);
        place.length.store(cycle.length, Ordering::Relaxed);
        place.victim.store(victim.map_or(cycle.length, |victim| victim.place), Ordering::Relaxed);
        place.number.store(number, Ordering::Relaxed);
        place.found_at.store(sys::now(), Ordering::Relaxed);
        place.lock.end_write();
        self.broken.fetch_add(u64::from(victim.is_some()), Ordering::Relaxed);
        // Release pairs with the Acquire in found: a reader that counts it can read it.
        self.found.store(number + 1, Ordering::Release);
    }
}
