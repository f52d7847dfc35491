//! The deadlocks that were found: how many, and the members of the last ones. How one is found is not known here.

use core::ffi::c_void;

use crate::base::memory::{Memory, Shown, readable_in_copies};
use crate::base::name::{Name, NameCopy};
use crate::base::seqlock::SeqLock;
use crate::constants::{HOST_DEADLOCK_ABORT, HOST_DEADLOCK_ERROR, HOST_DEADLOCK_REPORT};
use crate::sys::Mutex;
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// What is done when a deadlock is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Policy {
    /// One wait fails, the rest goes on. Where none may fail, and one of them cannot, a report goes to stderr.
    Error = HOST_DEADLOCK_ERROR,
    /// A report goes to stderr; the tasks stay as they are.
    Report = HOST_DEADLOCK_REPORT,
    /// A report goes to stderr, and the process aborts.
    Abort = HOST_DEADLOCK_ABORT,
}

impl Policy {
    pub(crate) const fn from_number(number: u32) -> Option<Policy> {
        match number {
            HOST_DEADLOCK_ERROR => Some(Policy::Error),
            HOST_DEADLOCK_REPORT => Some(Policy::Report),
            HOST_DEADLOCK_ABORT => Some(Policy::Abort),
            _ => None,
        }
    }
}

/// A deadlock, as passed to the callback.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct host_deadlock_t {
    /// sizeof(host_deadlock_t) in the library; a later version may have more fields.
    pub size: u32,
    /// The number of tasks in the cycle.
    pub tasks: u32,
    /// The task whose wait gets HOST_E_DEADLOCK (a host_task_t); 0 if the cycle stands.
    pub victim: u64,
    /// The section or resource that the victim waited for (a hostcrst_t or host_resource_t); without a victim, the one
    /// that the task which found the cycle waits for. For a CRITICAL_SECTION, the value of its LockSemaphore, which no
    /// function takes.
    pub section: u64,
}

/// Called for each deadlock: which wait was broken, or that none was.
pub(crate) type Callback = extern "C" fn(*const host_deadlock_t, *mut c_void);

/// Deadlocks remembered for reports.
pub(crate) const REMEMBERED: usize = 8;
/// One place more, so that the oldest is still there while the next is written.
const PLACES: usize = REMEMBERED + 1;
/// Tasks remembered of one.
pub(crate) const MEMBERS: usize = 16;

/// What the process has seen of deadlocks. Zeroed memory is none.
#[repr(C)]
pub(crate) struct Deadlocks {
    pub(crate) lock: Mutex,
    pub(crate) policy: AtomicU32,
    /// How many were found; number n, from 0, is remembered at n modulo PLACES.
    pub(crate) found: AtomicU64,
    /// Of how many a wait was broken.
    pub(crate) broken: AtomicU64,
    pub(crate) callback: AtomicPtr<c_void>,
    pub(crate) context: AtomicPtr<c_void>,
    pub(crate) remembered: [Deadlock; PLACES],
}

/// One deadlock as it was found. Written under the lock of Deadlocks by a search, which leaves the write open if it
/// finds none.
#[repr(C)]
pub(crate) struct Deadlock {
    pub(crate) lock: SeqLock,
    /// Tasks in the cycle; more may be than are remembered.
    pub(crate) length: AtomicU32,
    /// Which member's wait was broken; `length` if none was.
    pub(crate) victim: AtomicU32,
    /// Of a cycle of two, when the one that closed it took what it owns.
    pub(crate) closer_took: AtomicU32,
    /// How many were found before it.
    pub(crate) number: AtomicU64,
    pub(crate) found_at: AtomicU64,
    pub(crate) members: [Member; MEMBERS],
}

/// A task of a deadlock: it waited for `awaited`, a section or resource, which the next member owned.
#[repr(C)]
pub(crate) struct Member {
    pub(crate) task: AtomicU64,
    pub(crate) awaited: AtomicU64,
    /// Where it called, 0 if unknown.
    pub(crate) site: AtomicU64,
    /// Where it had entered the section that the member before it waited for, 0 if that was not tracked.
    pub(crate) entered_at: AtomicU64,
    pub(crate) thread_id: AtomicU32,
    pub(crate) _reserved: AtomicU32,
    pub(crate) task_name: Name,
    pub(crate) awaited_name: Name,
}

/// When, of two tasks that wait for each other, the one that waited last took what the other waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Took {
    Unknown,
    /// Before the other one took what it owns.
    First,
    /// After that, and before the other one waited.
    Second,
    /// After the other one had begun to wait, from another owner.
    Third,
}

impl Took {
    /// 0 stands for a time that is not known.
    pub(crate) fn by_times(own: u64, others: u64, other_waited: u64) -> Took {
        match own {
            _ if own == 0 || others == 0 => Took::Unknown,
            _ if own < others => Took::First,
            _ if own < other_waited => Took::Second,
            _ => Took::Third,
        }
    }

    fn from_number(number: u32) -> Took {
        [Took::First, Took::Second, Took::Third]
            .into_iter()
            .find(|took| *took as u32 == number)
            .unwrap_or(Took::Unknown)
    }
}

/// A copy of a deadlock that is remembered.
#[derive(Clone, Copy)]
pub(crate) struct DeadlockCopy {
    /// Tasks in the cycle.
    pub(crate) length: u32,
    /// The member whose wait was broken, by its place; None if none was.
    pub(crate) victim: Option<u32>,
    /// Of a cycle of two.
    pub(crate) closer_took: Took,
    pub(crate) found_at: u64,
    pub(crate) members: [MemberCopy; MEMBERS],
}

/// A copy of a member.
#[derive(Clone, Copy)]
pub(crate) struct MemberCopy {
    pub(crate) task: u64,
    /// The section or resource it waited for.
    pub(crate) awaited: u64,
    /// Where it called, 0 if unknown.
    pub(crate) site: u64,
    /// Where it had entered the section that the member before it waited for, 0 if that was not tracked.
    pub(crate) entered_at: u64,
    pub(crate) thread_id: u32,
    pub(crate) task_name: NameCopy,
    pub(crate) awaited_name: NameCopy,
}

readable_in_copies!(Deadlocks);

impl Shown<Deadlocks> {
    /// How many deadlocks were found since the process began.
    pub(crate) fn found(&self) -> u64 {
        self.fields().found.load(Ordering::Acquire)
    }

    /// Of how many deadlocks a wait was broken.
    pub(crate) fn broken(&self) -> u64 {
        self.fields().broken.load(Ordering::Acquire)
    }

    /// Copies deadlock number `number`, counted from 0, of deadlocks that `M` shows, if it is still remembered.
    pub(crate) fn copy_remembered<M: Memory>(&self, number: u64, into: &mut DeadlockCopy) -> bool {
        let found = self.found();
        let recent = number < found && found - number <= REMEMBERED as u64;
        recent && Shown::of(self.fields().place_of(number)).copy::<M>(number, into)
    }
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

    pub(crate) fn next_place(&self) -> &Deadlock {
        self.place_of(self.found.load(Ordering::Relaxed))
    }

    pub(crate) fn place_of(&self, number: u64) -> &Deadlock {
        &self.remembered[(number % PLACES as u64) as usize]
    }

    /// The lock of the search.
    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }

    /// In the child of a fork: another thread may have been writing one down. A place that is half written, its names
    /// too, is written anew by the next search.
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
            lock: SeqLock::new(),
            length: AtomicU32::new(0),
            victim: AtomicU32::new(0),
            closer_took: AtomicU32::new(0),
            number: AtomicU64::new(0),
            found_at: AtomicU64::new(0),
            members: [const { Member::new() }; MEMBERS],
        }
    }
}

impl Shown<Deadlock> {
    /// Copies what `M` shows here; true if that is all of deadlock `number`.
    fn copy<M: Memory>(&self, number: u64, into: &mut DeadlockCopy) -> bool {
        let deadlock = self.fields();
        let copied = deadlock.lock.read(|| {
            let length = deadlock.length.load(Ordering::Relaxed);
            let victim = deadlock.victim.load(Ordering::Relaxed);
            into.length = length;
            into.victim = (victim < length).then_some(victim);
            into.closer_took = Took::from_number(deadlock.closer_took.load(Ordering::Relaxed));
            into.found_at = deadlock.found_at.load(Ordering::Relaxed);
            let members = into.members.iter_mut().zip(&deadlock.members);
            members.for_each(|(copy, member)| *copy = Shown::of(member).copy::<M>());
            deadlock.number.load(Ordering::Relaxed)
        });
        copied == Some(number)
    }
}

impl DeadlockCopy {
    /// A place for a copy.
    pub(crate) const fn new() -> Self {
        const NOBODY: MemberCopy = MemberCopy {
            task: 0,
            awaited: 0,
            site: 0,
            entered_at: 0,
            thread_id: 0,
            task_name: NameCopy::new(),
            awaited_name: NameCopy::new(),
        };
        DeadlockCopy {
            length: 0,
            victim: None,
            closer_took: Took::Unknown,
            found_at: 0,
            members: [NOBODY; MEMBERS],
        }
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
            awaited: AtomicU64::new(0),
            site: AtomicU64::new(0),
            entered_at: AtomicU64::new(0),
            thread_id: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            task_name: Name::new(),
            awaited_name: Name::new(),
        }
    }
}

impl Shown<Member> {
    fn copy<M: Memory>(&self) -> MemberCopy {
        let member = self.fields();
        MemberCopy {
            task: member.task.load(Ordering::Relaxed),
            awaited: member.awaited.load(Ordering::Relaxed),
            site: member.site.load(Ordering::Relaxed),
            entered_at: member.entered_at.load(Ordering::Relaxed),
            thread_id: member.thread_id.load(Ordering::Relaxed),
            task_name: member.task_name.get_in::<M>(),
            awaited_name: member.awaited_name.get_in::<M>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Here;
    use std::time::{Duration, Instant};

    impl Deadlocks {
        /// Writes down the next deadlock, of no tasks, and counts it.
        fn write_one(&self) {
            let number = self.found();
            let place = self.place_of(number);
            place.lock.write(|| place.number.store(number, Ordering::Relaxed));
            self.found.store(number + 1, Ordering::Release);
        }

        fn numbers_remembered(&self) -> std::vec::Vec<u64> {
            let mut copy = DeadlockCopy::new();
            (0..self.found()).filter(|&number| self.copy_remembered::<Here>(number, &mut copy)).collect()
        }
    }

    #[test]
    fn the_last_ones_are_remembered_while_the_next_is_written() {
        let deadlocks = Deadlocks::new();
        (0..REMEMBERED + 3).for_each(|_| deadlocks.write_one());
        let last: std::vec::Vec<u64> = (3..3 + REMEMBERED as u64).collect();
        assert_eq!(deadlocks.numbers_remembered(), last);
        deadlocks.place_of(deadlocks.found()).lock.begin_write();
        assert_eq!(deadlocks.numbers_remembered(), last);
    }

    #[test]
    fn a_search_that_finds_nothing_spoils_no_place() {
        let deadlocks = Deadlocks::new();
        deadlocks.write_one();
        deadlocks.place_of(1).lock.begin_write();
        assert_eq!(deadlocks.numbers_remembered(), [0]);
        deadlocks.write_one();
        assert_eq!(deadlocks.numbers_remembered(), [0, 1]);
    }

    struct Copied;

    impl Memory for Copied {
        const LIVE: bool = false;
        unsafe fn read<T, R>(&self, _address: usize, _take: impl FnOnce(&Shown<T>) -> R) -> Option<R> {
            None
        }
    }

    /// In damaged memory every name may seem to be half written.
    #[test]
    fn nobody_waits_for_the_names_in_a_copy() {
        fn shortest<M: Memory>(deadlocks: &Deadlocks) -> Duration {
            let mut copy = DeadlockCopy::new();
            let times = (0..10).map(|_| {
                let begin = Instant::now();
                assert!(deadlocks.copy_remembered::<M>(0, &mut copy));
                assert!(copy.members.iter().all(|member| member.task_name.is_empty()));
                begin.elapsed()
            });
            times.min().unwrap()
        }
        let deadlocks = Deadlocks::new();
        deadlocks.write_one();
        for member in &deadlocks.place_of(0).members {
            member.task_name.begin_a_write_that_never_ends();
            member.awaited_name.begin_a_write_that_never_ends();
        }
        let (here, copied) = (shortest::<Here>(&deadlocks), shortest::<Copied>(&deadlocks));
        assert!(copied * 20 < here, "{copied:?}, where a live writer is given {here:?}");
    }
}
