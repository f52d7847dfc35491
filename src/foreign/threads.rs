//! All threads of this process at one time, each with what it waits for, and the cycles that stand. In pages of its own.

use core::cell::Cell;

use foreign_locks::{State, SystemCall};

use super::chain;
use super::observer::{Observer, Wait};
use super::waited_for::WaitedFor;
use super::who::Who;
use crate::base::memory::Here;
use crate::base::name::NameCopy;
use crate::base::sort::sort_by_number;
use crate::handle;
use crate::sys;
use crate::view::names;
use crate::view::picture::Picture;

/// A thread as it was seen.
pub(crate) struct Seen {
    pub(crate) who: Who,
    /// The system's name of it.
    pub(crate) name: NameCopy,
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
    /// Another thread waits for what is not the library's, and this one owns it.
    pub(crate) is_waited_for: bool,
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

/// The threads of this process, in the order of their ids.
pub(crate) struct Threads {
    start: *mut Seen,
    capacity: usize,
    count: usize,
    waited_for: WaitedFor,
    /// Where a thread was found last: they are mostly asked for in order.
    last: Cell<usize>,
    /// How many are blocked in something that no thread is known to own.
    pub(crate) blocked_without_owner: usize,
    /// There are more than are listed.
    pub(crate) more: bool,
    /// Of a thread that lives, the system does not show what it is blocked in.
    pub(crate) hides_calls: bool,
    /// Some are in a cycle.
    pub(crate) have_cycles: bool,
}

/// More threads than these are not looked at.
const MOST: usize = 1 << 16;
/// Room for threads that begin once they are counted.
const SPARE: usize = 16;

impl Threads {
    /// Looks at all threads. None if the system lists none, or has no memory.
    pub(crate) fn look(picture: &Picture<'_, Here>, observer: &mut Observer<'_>) -> Option<Threads> {
        let mut threads = Threads::list(observer)?;
        threads.join_tasks(picture);
        // Seen from another namespace, threads have other ids in `/proc`: then nothing there is known to be of these.
        let are_ids_their_own = observer.glance(sys::thread_id()).is_some();
        for place in 0..threads.count {
            let Some(seen) = threads.seen_mut().get_mut(place) else { continue };
            seen.look(picture, observer, are_ids_their_own);
            let is_blocked_without_owner = seen.state.is_asleep() && !seen.waits_for_what_is_owned();
            threads.hides_calls |= seen.hides_call();
            threads.blocked_without_owner += usize::from(is_blocked_without_owner);
            threads.count_wait(place);
        }
        threads.find_cycles(picture, observer);
        Some(threads)
    }

    /// Counts the thread at a place beside all that wait for the same.
    fn count_wait(&mut self, place: usize) {
        let Some(seen) = self.seen().get(place) else { return };
        let (wait, lock) = (seen.wait, seen.lock());
        if let Some(address) = wait.and_then(|wait| wait.thing.address()).filter(|&address| address != 0) {
            self.waited_for.add_waiter(address);
        }
        if let Some(address) = lock.filter(|&address| address != 0) {
            self.waited_for.add_lock(address);
        }
        if let Some(owner) = wait.and_then(|wait| wait.owner).and_then(|owner| self.place(owner))
            && let Some(owner) = self.seen_mut().get_mut(owner)
        {
            owner.is_waited_for = true;
        }
    }

    fn list(observer: &mut Observer<'_>) -> Option<Threads> {
        let (folder, buffer) = observer.open_folder()?;
        // A system that counts no links has one thread at least.
        let count = folder.count().filter(|&count| count != 0);
        let count = count.map_or(MOST, |count| MOST.min(count as usize));
        let mut threads = Threads::with_room(count + SPARE)?;
        sys::each_thread(folder, buffer, &mut |thread| {
            threads.more = threads.count == threads.capacity;
            if !threads.more {
                threads.add(Seen::unseen(thread));
            }
            !threads.more
        });
        if threads.count == 0 {
            return None;
        }
        // The system lists them by their age, and ids begin again.
        if !threads.seen().is_sorted_by_key(|seen| seen.who.thread) {
            sort_by_number(threads.seen_mut(), |seen| seen.who.thread);
        }
        Some(threads)
    }

    fn with_room(capacity: usize) -> Option<Threads> {
        // What has pages of its own comes first: it gives them back if there are no others.
        let waited_for = WaitedFor::new(capacity)?;
        let start = sys::borrow_pages(capacity * size_of::<Seen>())?.cast();
        Some(Threads {
            start,
            capacity,
            count: 0,
            waited_for,
            last: Cell::new(0),
            blocked_without_owner: 0,
            more: false,
            hides_calls: false,
            have_cycles: false,
        })
    }

    /// Finds the task of each thread: in one pass over the tasks, as both may be many.
    fn join_tasks(&mut self, picture: &Picture<'_, Here>) {
        for (thread, task) in picture.threads_of_tasks() {
            if let Some(place) = self.place(thread)
                && let Some(seen) = self.seen_mut().get_mut(place)
            {
                seen.who.task = task;
            }
        }
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
        self.place(thread).and_then(|place| self.seen().get(place))
    }

    fn place(&self, thread: u32) -> Option<usize> {
        let (seen, last) = (self.seen(), self.last.get());
        let is_it = |place: &usize| seen.get(*place).is_some_and(|seen| seen.who.thread == thread);
        let near = [last, last + 1].into_iter().find(is_it);
        let place = near.or_else(|| seen.binary_search_by_key(&thread, |seen| seen.who.thread).ok())?;
        self.last.set(place);
        Some(place)
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
                self.have_cycles = true;
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
            let seen = self.place(thread).and_then(|place| self.seen_mut().get_mut(place));
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

    /// The first of each cycle.
    pub(crate) fn begins_of_cycles(&self) -> impl Iterator<Item = &Seen> {
        let seen = if self.have_cycles { self.seen() } else { &[] };
        seen.iter().filter(|seen| seen.begins_cycle)
    }

    pub(crate) fn cycles(&self, are_certain: bool) -> usize {
        self.begins_of_cycles().filter(|seen| seen.is_cycle_certain == are_certain).count()
    }

    // ---- numbers ---------------------------------------------------------------------------------------

    /// The locks that are waited for and are no sections: SRW locks, and those that are not the library's.
    pub(crate) fn other_locks(&self) -> usize {
        self.waited_for.locks()
    }

    /// How many other threads wait for the same thing in memory.
    pub(crate) fn others(&self, wait: &Wait) -> usize {
        wait.thing.address().map_or(0, |address| self.waited_for.waiters(address).saturating_sub(1))
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
            name: NameCopy::new(),
            state: State::Unknown,
            call: None,
            wait: None,
            own_wait: None,
            cycle: 0,
            is_cycle_certain: false,
            begins_cycle: false,
            is_waited_for: false,
        }
    }

    #[inline(never)]
    fn look(&mut self, picture: &Picture<'_, Here>, observer: &mut Observer<'_>, is_id_its_own: bool) {
        self.own_wait = OwnWait::of(picture, self.who.task);
        let seen = if is_id_its_own { observer.brief_glance(self.who.thread) } else { None };
        let (name, mut glance) = seen.unzip();
        self.name = name.unwrap_or_else(|| names::thread_name(self.who.thread));
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

    /// The address of the lock that it waits for, if that is no section: an SRW lock, or one that is not the library's.
    fn lock(&self) -> Option<u64> {
        let foreign = || self.wait.map(|wait| wait.thing).filter(|thing| thing.is_lock())?.address();
        self.own_wait.and_then(|wait| wait.srw_lock).or_else(foreign)
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
        match picture.wait_or_sleep(task) {
            (Some(wait), _) => {
                let owner = picture.blocked_by(task).and_then(|owner| picture.thread_id(owner));
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
