//! How a task sleeps on a condition variable or an address: the fields, and how a reader gets those of one sleep. Who sleeps where is
//! `lock::condition`'s.

use crate::base::memory::{Shown, readable_in_copies};
use crate::sys::Instant;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// How a task sleeps. Written under the lock of the bucket that it stands in.
#[repr(C)]
pub(crate) struct Sleep {
    /// Odd while in a queue. Counts up at each end of a sleep and at each beginning, so it is the number of the sleep
    /// too. No sequence lock: the sleeper's futex is this word, and what stands beside it is whole while it is odd.
    pub(crate) word: AtomicU32,
    /// The neighbours in the circle of a bucket's sleepers: task slots.
    pub(crate) next: AtomicU32,
    pub(crate) previous: AtomicU32,
    /// 1 if the sleep has a time limit.
    pub(crate) limited: AtomicU32,
    /// The address of the variable, or that in WaitOnAddress, of this sleep or the last one.
    pub(crate) variable: AtomicU64,
    /// The handle of the section that was left for the sleep, or what stands for an SRW lock; a mark if none was.
    pub(crate) section: AtomicU64,
    /// When the sleep began.
    pub(crate) since: AtomicU64,
    /// Where the caller called from, 0 if unknown.
    pub(crate) site: AtomicU64,
}

/// What a task can sleep on until another wakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepKind {
    /// Windows' CONDITION_VARIABLE.
    ConditionVariable,
    /// An address in WaitOnAddress.
    Address,
    /// Windows' INIT_ONCE, until another thread has run the initialisation.
    InitOnce,
}

impl SleepKind {
    /// What the task does, for people; the address follows.
    pub const fn sleeping(self) -> &'static str {
        match self {
            SleepKind::ConditionVariable => "asleep on CONDITION_VARIABLE",
            SleepKind::Address => "waiting on address",
            SleepKind::InitOnce => "waiting for INIT_ONCE",
        }
    }
}

impl SleepKind {
    /// What `section` holds in such a sleep, if that is no handle.
    pub(crate) const fn mark(self) -> Option<u64> {
        match self {
            SleepKind::ConditionVariable => None,
            SleepKind::Address => Some(ON_ADDRESS),
            SleepKind::InitOnce => Some(ON_INIT_ONCE),
        }
    }

    const fn of(section: u64) -> Self {
        match section {
            ON_ADDRESS => SleepKind::Address,
            ON_INIT_ONCE => SleepKind::InitOnce,
            _ => SleepKind::ConditionVariable,
        }
    }
}

// section: no section was left for the sleep. Neither is a handle of one.
const ON_ADDRESS: u64 = 0;
const ON_INIT_ONCE: u64 = 2;

/// A sleep as it was at one moment.
#[derive(Clone, Copy)]
pub struct SleepCopy {
    /// The address of the variable.
    pub(crate) variable: u64,
    /// The section that was left for it.
    pub(crate) section: u64,
    pub(crate) since: Instant,
    /// Where it was called for, 0 if unknown.
    pub(crate) site: u64,
    /// Whether it has a time limit.
    pub(crate) limited: bool,
}

impl SleepCopy {
    pub(crate) const fn kind(&self) -> SleepKind {
        SleepKind::of(self.section)
    }
}

/// Whether a task with this `word` sleeps.
pub(crate) const fn is_of_sleep(word: u32) -> bool {
    word & 1 != 0
}

readable_in_copies!(Sleep);

impl Shown<Sleep> {
    /// How the task sleeps, all of one sleep; None if it does not.
    pub(crate) fn copy(&self) -> Option<SleepCopy> {
        let sleep = self.fields();
        loop {
            // place: sleep-read-begin
            let number = sleep.word.load(Ordering::Acquire);
            if !is_of_sleep(number) {
                return None;
            }
            let copy = SleepCopy {
                variable: sleep.variable.load(Ordering::Relaxed),
                section: sleep.section.load(Ordering::Relaxed),
                since: sleep.since.load(Ordering::Relaxed),
                site: sleep.site.load(Ordering::Relaxed),
                limited: sleep.limited.load(Ordering::Relaxed) != 0,
            };
            // Pairs with the Release fence in join: a reader that sees something of the next sleep finds this one over.
            // place: sleep-read-fence
            fence(Ordering::Acquire);
            if sleep.word.load(Ordering::Relaxed) == number {
                return Some(copy);
            }
        }
    }
}

impl Sleep {
    /// Whether the task sleeps.
    pub(crate) fn is_asleep(&self) -> bool {
        is_of_sleep(self.word.load(Ordering::Relaxed))
    }

    /// Whether the task sleeps on what stands at this address, in this way.
    pub(crate) fn matches(&self, address: usize, kind: SleepKind) -> bool {
        self.variable.load(Ordering::Relaxed) == address as u64
            && SleepKind::of(self.section.load(Ordering::Relaxed)) == kind
    }

    pub(crate) fn set_neighbours(&self, previous: u32, next: u32) {
        self.previous.store(previous, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
    }

    /// The sleep is over; under the bucket's lock, after all else that is to be done before the sleeper goes on. By one
    /// store: from then on the sleeper may sleep elsewhere, in a queue of another lock. Nothing changes if it was over
    /// already: in the child of a fork the repair may have ended it, too.
    pub(crate) fn end(&self) {
        let ended = self.word.load(Ordering::Relaxed).wrapping_add(1) & !1;
        // place: sleep-end-release
        self.word.store(ended, Ordering::Release);
    }
}
