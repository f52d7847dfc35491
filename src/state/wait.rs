//! How a task waits: written by the task, and under the queue lock by tasks that end the wait. Who that is and why is
//! known above: here are the fields, and how a reader gets those of one wait.

use core::mem::offset_of;

use crate::base::memory::{Shown, readable_in_copies};
use crate::constants::WAIT_OPTION_MASK;
use crate::sys::Instant;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Beside the options of a caller: the wait does not end with the runtime. For the Win32 face.
pub(crate) const WAIT_WITHOUT_RUNTIME: u32 = 1 << 31;
const _: () = assert!(WAIT_OPTION_MASK & WAIT_WITHOUT_RUNTIME == 0);

// park: the outcome of a wait; other values are failure codes.
/// In the queue, parked or about to park.
pub(crate) const PARKED: u32 = 0;
/// In the queue, awake, to contend.
pub(crate) const CONTEND: u32 = 1;
/// Out of the queue, as the owner.
pub(crate) const ACQUIRED: u32 = 2;
/// ACQUIRED, and the task has noticed.
pub(crate) const OVER: u32 = 3;

/// How a task waits. A task waits for one section at most.
#[repr(C)]
pub(crate) struct Wait {
    pub(crate) park: AtomicU32,
    /// The neighbours in the circle of waiters: task slots; under the queue lock.
    pub(crate) next: AtomicU32,
    pub(crate) previous: AtomicU32,
    pub(crate) option: AtomicU32,
    /// The run of the runtime that it began in.
    pub(crate) run: AtomicU64,
    /// The section's handle while in its queue, otherwise 0.
    pub(crate) section: AtomicU64,
    /// When the wait began.
    pub(crate) since: AtomicU64,
    /// When it ends by itself, NO_DEADLINE for never.
    pub(crate) deadline: AtomicU64,
    /// Counts the task's waits, so that two reads can tell one wait from the next. No sequence lock: it is never odd,
    /// as `section` says whether there is a wait, and it is part of the SeqCst order that the search for deadlocks
    /// rests on.
    pub(crate) sequence: AtomicU64,
    /// The sequence as the search for a deadlock has seen it; under the lock of that.
    pub(crate) noted: AtomicU64,
    /// The number, from 1, of the deadlock that the present wait was told of as part of; 0 for none.
    pub(crate) told: AtomicU64,
    /// Where the caller called from, 0 if unknown.
    pub(crate) site: AtomicU64,
    /// When it was last woken to contend, or came out of the queue as the owner.
    pub(crate) awake_since: AtomicU64,
    /// How long it has spun since it last left a queue as the owner, in nanoseconds. Written by the task alone.
    pub(crate) spun: AtomicU32,
    /// 1 once it runs after it was woken to contend.
    pub(crate) arrived: AtomicU32,
    /// How often it was woken to contend in this wait and parked again.
    pub(crate) losses: AtomicU32,
    /// The section slot that the queue gave it last; of meaning while `park` is ACQUIRED.
    pub(crate) acquired: AtomicU32,
}

pub(crate) const NO_DEADLINE: u64 = u64::MAX;

/// For `layout`.
pub(crate) const NUMBERS: [(&str, u64); 1] = [("wait.no_deadline", NO_DEADLINE)];

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 4] = [
    ("wait.section", offset_of!(Wait, section)),
    ("wait.since", offset_of!(Wait, since)),
    ("wait.deadline", offset_of!(Wait, deadline)),
    ("wait.site", offset_of!(Wait, site)),
];

readable_in_copies!(Wait);

impl Shown<Wait> {
    /// The section the task waits for, or 0.
    pub(crate) fn section(&self) -> u64 {
        self.fields().section.load(Ordering::SeqCst)
    }

    /// The section the task waits for without a time limit, if it does.
    pub(crate) fn unbounded_section(&self) -> Option<u64> {
        let section = self.section();
        (section != 0 && self.fields().deadline.load(Ordering::Relaxed) == NO_DEADLINE).then_some(section)
    }

    /// The options of the present wait.
    pub(crate) fn option(&self) -> u32 {
        self.fields().option.load(Ordering::Relaxed)
    }

    /// Where the present wait was called for, 0 if unknown.
    pub(crate) fn site(&self) -> u64 {
        self.fields().site.load(Ordering::Relaxed)
    }

    /// Which of the task's waits this is.
    pub(crate) fn number(&self) -> u64 {
        self.fields().sequence.load(Ordering::SeqCst)
    }

    /// What the task waits for, all of one wait; None if it waits for nothing.
    pub(crate) fn copy(&self) -> Option<WaitCopy> {
        loop {
            let sequence = self.number();
            let section = self.section();
            if section == 0 {
                return None;
            }
            let copy = WaitCopy {
                section,
                since: self.fields().since.load(Ordering::Relaxed),
                site: self.site(),
                limited: self.fields().deadline.load(Ordering::Relaxed) != NO_DEADLINE,
                option: self.option() & WAIT_OPTION_MASK,
            };
            // Pairs with the Release fence in enqueue: a reader that sees something of the next wait finds this one
            // over.
            // place: wait-read-fence
            fence(Ordering::Acquire);
            // First the section: if the next wait is for the same one, its number is found with it.
            if self.section() == section && self.number() == sequence {
                return Some(copy);
            }
        }
    }
}

impl Wait {
    pub(crate) fn prepare(&self) {
        self.section.store(0, Ordering::Relaxed);
        self.park.store(OVER, Ordering::Relaxed);
    }

    pub(crate) fn join(&self, previous: u32, next: u32) {
        self.previous.store(previous, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
    }

    /// Whether nothing but the section can end the present wait: it has no way to fail.
    pub(crate) fn cannot_fail(&self) -> bool {
        self.option() & WAIT_WITHOUT_RUNTIME != 0
    }

    /// Notes which wait this is.
    pub(crate) fn note_sequence(&self) {
        // place: noted-wait-store
        self.noted.store(self.number(), Ordering::Relaxed);
    }

    /// Marks the present wait as part of deadlock number `told`, of which the program is told; under the queue lock.
    pub(crate) fn set_told(&self, told: u64) {
        // place: told-wait-store
        self.told.store(told, Ordering::Relaxed);
    }

    /// The deadlock that the present wait was told of as part of; 0 for none.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Whether the task is still, without a break, in the wait that was noted; and all that was read of it before this
    /// call was of that wait.
    pub(crate) fn is_as_noted(&self) -> bool {
        // Pairs with the Release fence in enqueue.
        // place: noted-wait-fence
        fence(Ordering::Acquire);
        self.section() != 0 && self.sequence.load(Ordering::SeqCst) == self.noted.load(Ordering::Relaxed)
    }
}

/// A wait as it was at one moment.
#[derive(Clone, Copy)]
pub struct WaitCopy {
    pub(crate) section: u64,
    pub(crate) since: Instant,
    /// Where it was called for, 0 if unknown.
    pub(crate) site: u64,
    /// Whether it has a time limit.
    pub(crate) limited: bool,
    pub(crate) option: u32,
}
