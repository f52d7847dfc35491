//! All threads of this process at one time, each with what it waits for, and the cycles that stand. In pages of its own.

use foreign_locks::{State, SystemCall};

use super::chain;
use super::observer::{Observer, Wait};
use super::who::Who;
use crate::base::memory::Here;
use crate::handle;
use crate::sys;
use crate::view::picture::Picture;

/// A thread as it was seen.
pub(crate) struct Seen {
    pub(crate) who: Who,
    pub(crate) state: State,
    /// The system call that it sleeps in, if it is known.
    pub(crate) call: Option<SystemCall>,
    /// What it waits for, if that is not the library's.
    pub(crate) wait: Option<Wait>,
    /// It is in a wait or sleep that the library knows of; whether that is for what is owned, and by which thread.
    pub(crate) own_wait: Option<OwnWait>,
    /// The number of the cycle that it is part of, from 1; 0 for none.
    pub(crate) cycle: u32,
    /// Whether that is known, and not only likely.
    pub(crate) is_cycle_certain: bool,
    /// The first of its cycle in the list.
    pub(crate) begins_cycle: bool,
}

/// A wait that the library knows of.
#[derive(Clone, Copy)]
pub(crate) struct OwnWait {
    pub(crate) is_for_what_is_owned: bool,
    pub(crate) is_limited: bool,
    pub(crate) owner: Option<u32>,
    /// The address of the SRW lock that it is for, if it is for one.
    srw_lock: Option<u64>,
}

/// The threads of this process.
pub(crate) struct Threads {
    start: *mut Seen,
    capacity: usize,
    count: usize,
    /// There are more than are listed.
    pub(crate) more: bool,
    /// Of a thread that lives, the system does not show what it is blocked in.
    pub(crate) hides_calls: bool,
}

/// More threads than these are not looked at.
const MOST: usize = 1 << 16;
/// Room for threads that begin while others are counted.
const SPARE: usize = 16;

impl Threads {
    /// Looks at all threads. None if the system lists none, or has no memory.
    pub(crate) fn look(picture: &Picture<'_, Here>, observer: &mut Observer<'_>) -> Option<Threads> {
        let mut threads = Threads::list(observer)?;
        for place in 0..threads.count {
            if let Some(seen) = threads.seen_mut().get_mut(place) {
                seen.look(picture, observer);
                threads.hides_calls |= threads.seen().get(place)?.hides_call();
            }
        }
        threads.find_cycles(picture, observer);
        Some(threads)
    }

    fn list(observer: &mut Observer<'_>) -> Option<Threads> {
        let mut count = 0;
        sys::each_thread(observer.room.bytes(), |_| {
            count += 1;
            count < MOST
        });
        let capacity = count + SPARE;
        let start = sys::borrow_pages(capacity * size_of::<Seen>()).filter(|_| count != 0)?.cast();
        let mut threads = Threads { start, capacity, count: 0, more: false, hides_calls: false };
        sys::each_thread(observer.room.bytes(), |thread| {
            threads.more = threads.count == capacity;
            if !threads.more {
                threads.add(Seen::unseen(thread));
            }
            !threads.more
        });
        Some(threads)
    }

    fn add(&mut self, seen: Seen) {
        // SAFETY: fewer than `capacity` have been added, for which the pages have room, and they are aligned to any type.
        unsafe { self.start.add(self.count).write(seen) };
        self.count += 1;
    }

    pub(crate) fn seen(&self) -> &[Seen] {
        // SAFETY: the first `count` were written; the pages are this value's alone.
        unsafe { core::slice::from_raw_parts(self.start, self.count) }
    }

    fn seen_mut(&mut self) -> &mut [Seen] {
        // SAFETY: as in seen.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.count) }
    }

    pub(crate) fn of_thread(&self, thread: u32) -> Option<&Seen> {
        self.seen().iter().find(|seen| seen.who.thread == thread)
    }

    // ---- cycles ----------------------------------------------------------------------------------------

    /// Marks the cycles of unlimited waits that lead through something that is not the library's, and that stand.
    fn find_cycles(&mut self, picture: &Picture<'_, Here>, observer: &mut Observer<'_>) {
        let mut found = 0;
        for place in 0..self.count {
            let Some(start) = self.seen().get(place).filter(|seen| seen.cycle == 0 && seen.wait.is_some())
            else {
                continue;
            };
            let start = start.who;
            if self.leads_back(start.thread)
                && let Some(cycle) = chain::cycle(picture, observer, start)
                && cycle.is_foreign
            {
                found += 1;
                self.mark_cycle(start.thread, found, cycle.is_certain);
            }
        }
    }

    /// Whether, by what was seen, the chain of unlimited waits from a thread comes back to it.
    fn leads_back(&self, start: u32) -> bool {
        let mut thread = start;
        for _ in 0..self.count {
            match self.of_thread(thread).and_then(Seen::next) {
                Some(next) if next == start => return true,
                Some(next) => thread = next,
                None => return false,
            }
        }
        false
    }

    fn mark_cycle(&mut self, start: u32, number: u32, is_certain: bool) {
        let mut thread = start;
        for _ in 0..self.count {
            let seen = self.seen_mut().iter_mut().find(|seen| seen.who.thread == thread);
            let Some(seen) = seen.filter(|seen| seen.cycle == 0) else { return };
            (seen.cycle, seen.is_cycle_certain, seen.begins_cycle) = (number, is_certain, thread == start);
            match seen.next() {
                Some(next) => thread = next,
                None => return,
            }
        }
    }

    /// The members of the cycle that begins with a thread, in order.
    pub(crate) fn cycle_from<'t>(&'t self, first: &'t Seen) -> impl Iterator<Item = &'t Seen> {
        let next = |seen: &&'t Seen| self.of_thread(seen.next()?);
        let all = core::iter::successors(Some(first), next).take(self.count);
        all.enumerate().take_while(|(place, seen)| *place == 0 || !seen.begins_cycle).map(|(_, seen)| seen)
    }

    /// Whether a lock of managed code is in the cycle that begins with a thread.
    pub(crate) fn is_managed(&self, first: &Seen) -> bool {
        self.cycle_from(first).any(|seen| seen.wait.is_some_and(|wait| wait.thing.is_managed()))
    }

    pub(crate) fn cycles(&self, are_certain: bool) -> usize {
        let mut cycles = self.seen().iter().filter(|seen| seen.begins_cycle);
        cycles.by_ref().filter(|seen| seen.is_cycle_certain == are_certain).count()
    }

    // ---- numbers ---------------------------------------------------------------------------------------

    /// The locks that are waited for and are no sections: SRW locks, and those that are not the library's.
    pub(crate) fn other_locks(&self) -> usize {
        let foreign =
            |seen: &Seen| seen.wait.map(|wait| wait.thing).filter(|thing| thing.is_lock())?.address();
        let lock = |seen: &Seen| seen.own_wait.and_then(|wait| wait.srw_lock).or_else(|| foreign(seen));
        let is_first = |(place, address): &(usize, u64)| {
            !self.seen().iter().take(*place).any(|earlier| lock(earlier) == Some(*address))
        };
        let locks = self.seen().iter().enumerate();
        locks.filter_map(|(place, seen)| Some((place, lock(seen)?))).filter(is_first).count()
    }

    /// How many other threads wait for the same thing in memory.
    pub(crate) fn others(&self, wait: &Wait) -> usize {
        let same =
            |seen: &&Seen| seen.wait.is_some_and(|other| other.thing.address() == wait.thing.address());
        if wait.thing.address().is_some() {
            self.seen().iter().filter(same).count().saturating_sub(1)
        } else {
            0
        }
    }

    /// How many are blocked in something that no thread is known to own.
    pub(crate) fn blocked_without_owner(&self) -> usize {
        self.seen().iter().filter(|seen| seen.state.is_asleep() && !seen.waits_for_what_is_owned()).count()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: the pages that list got; what is in them is borrowed from this, and needs no drop.
        unsafe { sys::return_pages(self.start.cast(), self.capacity * size_of::<Seen>()) };
    }
}

impl Seen {
    fn unseen(thread: u32) -> Seen {
        Seen {
            who: Who { thread, task: 0 },
            state: State::Unknown,
            call: None,
            wait: None,
            own_wait: None,
            cycle: 0,
            is_cycle_certain: false,
            begins_cycle: false,
        }
    }

    #[inline(never)]
    fn look(&mut self, picture: &Picture<'_, Here>, observer: &mut Observer<'_>) {
        self.who = Who::of_thread(picture, self.who.thread);
        self.own_wait = OwnWait::of(picture, self.who.task);
        let mut glance = observer.glance(self.who.thread);
        if self.own_wait.is_none() {
            self.wait = observer.wait_of(self.who, &mut glance);
        }
        self.state = glance.as_ref().map_or(State::Ended, |glance| glance.state);
        self.call = glance.and_then(|glance| glance.call);
    }

    /// It sleeps, and it is not shown in what.
    fn hides_call(&self) -> bool {
        self.state.is_asleep() && self.call.is_none() && self.own_wait.is_none()
    }

    /// The thread that it cannot go on before.
    fn next(&self) -> Option<u32> {
        match (self.wait, self.own_wait) {
            (Some(wait), _) if !wait.is_limited => wait.owner,
            (None, Some(wait)) if !wait.is_limited => wait.owner,
            _ => None,
        }
    }

    fn waits_for_what_is_owned(&self) -> bool {
        self.own_wait.is_some_and(|wait| wait.is_for_what_is_owned)
            || self.wait.is_some_and(|wait| wait.is_for_what_is_owned())
    }
}

impl OwnWait {
    fn of(picture: &Picture<'_, Here>, task: u64) -> Option<OwnWait> {
        let task = picture.task(task).filter(|_| task != 0)?;
        match (task.wait, task.sleep) {
            (Some(wait), _) => {
                let owner = picture.blocked_by(task.id).and_then(|owner| picture.thread_id(owner));
                let srw_lock = handle::is_srw_lock(wait.awaited).then(|| handle::number_shown(wait.awaited));
                // Who shares an SRW lock is not known.
                let is_for_what_is_owned = srw_lock.is_none() || owner.is_some();
                Some(OwnWait { is_for_what_is_owned, is_limited: wait.limited, owner, srw_lock })
            }
            (None, Some(sleep)) => Some(OwnWait {
                is_for_what_is_owned: false,
                is_limited: sleep.limited,
                owner: None,
                srw_lock: None,
            }),
            (None, None) => None,
        }
    }
}
