//! How a task waits: written by the task, and under the lock of what it waits for by tasks that end the wait. Who that is and why is
//! known above: here are the fields, and how a reader gets those of one wait.

use core::mem::offset_of;

use crate::base::memory::{Shown, readable_in_copies};
use crate::constants::{WAIT_NOTINDEADLOCK, WAIT_OPTION_MASK};
use crate::error::Error;
use crate::handle;
use crate::sys::Instant;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Beside the options of a caller: the wait does not end with the runtime. For the Win32 face.
pub(crate) const WAIT_WITHOUT_RUNTIME: u32 = 1 << 31;
/// Beside them: the wait is for a lock that is to be shared.
pub(crate) const WAIT_SHARED: u32 = 1 << 30;
/// Beside them: the task owns what it waits for. In any other wait, a task that owns what it waited for has just been
/// handed it.
pub(crate) const WAIT_FOR_ITSELF: u32 = 1 << 29;
const _: () = assert!(WAIT_OPTION_MASK & (WAIT_WITHOUT_RUNTIME | WAIT_SHARED | WAIT_FOR_ITSELF) == 0);

// presence: of a waiter that was woken to contend or to stand by.
/// It does not run yet.
pub(crate) const ON_ITS_WAY: u32 = 0;
/// It runs.
pub(crate) const HERE: u32 = 1;
/// It contends, and the next leave is to hand the section off to it.
pub(crate) const ASKS: u32 = 2;

// park: the outcome of a wait; other values are failure codes.
/// In the queue, parked or about to park.
pub(crate) const PARKED: u32 = 0;
/// In the queue, awake, to contend.
pub(crate) const CONTEND: u32 = 1;
/// Out of the queue, as the owner.
pub(crate) const ACQUIRED: u32 = 2;
/// ACQUIRED, and the task has noticed; or it has told that its wait for a resource is over.
pub(crate) const OVER: u32 = 3;
/// Of a wait for a resource: the task was answered that it may block, in the program's own lock. Until then it is
/// PARKED, though it has not gone to sleep.
pub(crate) const BLOCKED: u32 = 4;
/// In the queue, awake before its turn to contend.
pub(crate) const STANDBY: u32 = 5;
/// ACQUIRED, an SRW lock, by a task whose thread is gone: who waits for the lock gives it back.
pub(crate) const LEFT_BEHIND: u32 = 6;
/// The task's own thread ends it: it is given nothing more.
pub(crate) const ENDING: u32 = 7;
/// Another thread does, as that is gone.
pub(crate) const REAPED: u32 = 8;

/// What a caller asks for when it has to wait.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) option: u32,
    /// None for a wait without limit.
    pub(crate) deadline: Option<Instant>,
    /// Where the caller called from, 0 if unknown.
    pub(crate) site: usize,
}

/// What a wait begins with. A wait that was interrupted so that the program could be told of a deadlock begins again.
#[derive(Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) since: Instant,
    /// The run of the runtime then.
    pub(crate) run: u64,
    /// The number of the deadlock of which it was a part when the program was told; 0 for none.
    pub(crate) told: u64,
}

/// How a task waits. A task waits for one section or resource at most.
#[repr(C)]
pub(crate) struct Wait {
    pub(crate) park: AtomicU32,
    /// The neighbours in the circle of waiters: task slots; under the queue lock.
    pub(crate) next: AtomicU32,
    pub(crate) previous: AtomicU32,
    pub(crate) option: AtomicU32,
    /// The run of the runtime that it began in.
    pub(crate) run: AtomicU64,
    /// The handle of what the task waits for, or what stands for one: of a section or an SRW lock while it is in the
    /// queue of that, of a resource from when it has told that it waits; otherwise 0.
    pub(crate) awaited: AtomicU64,
    /// When the wait began.
    pub(crate) since: AtomicU64,
    /// When it ends by itself, NO_DEADLINE for never.
    pub(crate) deadline: AtomicU64,
    /// Counts the task's waits, so that two reads can tell one wait from the next. No sequence lock: it is never odd,
    /// as `awaited` says whether there is a wait, and it is part of the SeqCst order that the search for deadlocks
    /// rests on.
    pub(crate) sequence: AtomicU64,
    /// The sequence as the search for a deadlock has seen it; under the lock of that.
    pub(crate) noted: AtomicU64,
    /// The number, from 1, of the deadlock that the present wait was told of as part of; 0 for none.
    pub(crate) told: AtomicU64,
    /// Where the caller called from, 0 if unknown.
    pub(crate) site: AtomicU64,
    /// When it was last woken to contend, or came out of the queue as the owner; 0 for long ago, where nobody asks.
    pub(crate) awake_since: AtomicU64,
    /// How long it has spun since it last left a queue as the owner, in nanoseconds. Written by the task alone.
    pub(crate) spun: AtomicU32,
    /// How far it is, if it has been woken. After that it writes this by itself.
    pub(crate) presence: AtomicU32,
    /// How often it was woken to contend in this wait and parked again.
    pub(crate) losses: AtomicU32,
    /// 1 from before it waits for a section or an SRW lock until it knows the outcome, which others may have written long
    /// before. Written by the task alone.
    under_way: AtomicU32,
    /// As `awaited`: what the queue gave it last; of meaning while `park` is ACQUIRED.
    pub(crate) acquired: AtomicU64,
}

pub(crate) const NO_DEADLINE: u64 = u64::MAX;

/// For `layout`.
pub(crate) const NUMBERS: [(&str, u64); 2] =
    [("wait.no_deadline", NO_DEADLINE), ("wait.for_itself", WAIT_FOR_ITSELF as u64)];

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 5] = [
    ("wait.option", offset_of!(Wait, option)),
    ("wait.awaited", offset_of!(Wait, awaited)),
    ("wait.since", offset_of!(Wait, since)),
    ("wait.deadline", offset_of!(Wait, deadline)),
    ("wait.site", offset_of!(Wait, site)),
];

readable_in_copies!(Wait);

impl Shown<Wait> {
    /// The section or resource the task waits for, or 0.
    pub(crate) fn awaited(&self) -> u64 {
        self.fields().awaited.load(Ordering::SeqCst)
    }

    /// The section or resource the task waits for without a time limit, if it does.
    pub(crate) fn unbounded(&self) -> Option<u64> {
        let awaited = self.awaited();
        (awaited != 0 && self.fields().deadline.load(Ordering::Relaxed) == NO_DEADLINE).then_some(awaited)
    }

    /// The options of the present wait.
    pub(crate) fn option(&self) -> u32 {
        self.fields().option.load(Ordering::Relaxed)
    }

    /// Whether the task owns what it waits for.
    pub(crate) fn is_for_itself(&self) -> bool {
        self.option() & WAIT_FOR_ITSELF != 0
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
            let awaited = self.awaited();
            if awaited == 0 {
                return None;
            }
            let copy = WaitCopy {
                awaited,
                since: self.fields().since.load(Ordering::Relaxed),
                site: self.site(),
                limited: self.fields().deadline.load(Ordering::Relaxed) != NO_DEADLINE,
                option: self.option() & WAIT_OPTION_MASK,
                is_shared: self.option() & WAIT_SHARED != 0,
                is_for_itself: self.is_for_itself(),
            };
            // Pairs with the Release fence in begin: a reader that sees something of the next wait finds this one over.
            // place: wait-read-fence
            fence(Ordering::Acquire);
            // First what is waited for: if the next wait is for the same, its number is found with it.
            if self.awaited() == awaited && self.number() == sequence {
                return Some(copy);
            }
        }
    }
}

impl Wait {
    pub(crate) fn prepare(&self) {
        self.awaited.store(0, Ordering::Relaxed);
        self.finish();
    }

    /// The task is about to wait for a section or an SRW lock: from here on a handler that interrupts it finds that out.
    pub(crate) fn start(&self) {
        self.under_way.store(1, Ordering::Relaxed);
    }

    /// The task knows the outcome of its wait, which this returns.
    pub(crate) fn finish(&self) -> u32 {
        // Acquire pairs with the Release of the task that wrote the outcome.
        // place: wait-outcome-acquire
        let outcome = self.park.swap(OVER, Ordering::Acquire);
        // Release: a handler that finds the wait over writes a new one after this.
        self.under_way.store(0, Ordering::Release);
        outcome
    }

    /// Whether the caller is a signal handler that has interrupted a wait of this very thread for a section or an SRW lock.
    /// That may be in no queue any more.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn join(&self, previous: u32, next: u32) {
        self.previous.store(previous, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
    }

    /// Whether a task that breaks a deadlock may still end the present wait.
    pub(crate) fn is_breakable(&self) -> bool {
        self.option() & WAIT_NOTINDEADLOCK == 0 && !self.is_blocked_outside()
    }

    /// Whether the present wait has no way to fail, though the program has not asked for that.
    pub(crate) fn cannot_fail(&self) -> bool {
        let option = self.option();
        option & WAIT_WITHOUT_RUNTIME != 0 || option & WAIT_NOTINDEADLOCK == 0 && self.is_blocked_outside()
    }

    /// Whether the task blocks in a lock of the program's, where the library cannot end its wait.
    fn is_blocked_outside(&self) -> bool {
        self.park.load(Ordering::Relaxed) == BLOCKED
    }

    /// Whether the task is in the queue of a section or an SRW lock.
    pub(crate) fn is_in_queue(&self) -> bool {
        let awaited = self.awaited();
        awaited != 0 && !handle::is_resource(awaited)
    }

    /// The wait is over, as the task is in the child of a fork, where nobody could end it. The handler that forked may wait
    /// there: then the outcome is OVER.
    pub(crate) fn end_after_fork(&self) {
        self.awaited.store(0, Ordering::Relaxed);
        self.park.store(Error::Abandoned.hresult() as u32, Ordering::Relaxed);
        self.under_way.store(0, Ordering::Relaxed);
    }

    /// Writes down a wait that begins, all but what it is for; by the task. `awaited` is set after it, under the lock of
    /// what that names.
    pub(crate) fn begin(&self, request: Request, beginning: Beginning) {
        // Pairs with the Acquire fences in copy and is_as_noted: a reader that sees something of this wait finds the
        // one before over.
        fence(Ordering::Release);
        self.park.store(PARKED, Ordering::Relaxed);
        self.option.store(request.option, Ordering::Relaxed);
        self.run.store(beginning.run, Ordering::Relaxed);
        self.since.store(beginning.since, Ordering::Relaxed);
        self.deadline.store(request.deadline.unwrap_or(NO_DEADLINE), Ordering::Relaxed);
        self.site.store(request.site as u64, Ordering::Relaxed);
        self.losses.store(0, Ordering::Relaxed);
        // SeqCst: a reader that finds `awaited` set finds this number, or a later one.
        self.sequence.fetch_add(1, Ordering::SeqCst);
        self.set_told(beginning.told);
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
        // Pairs with the Release fence in begin.
        // place: noted-wait-fence
        fence(Ordering::Acquire);
        self.awaited() != 0 && self.sequence.load(Ordering::SeqCst) == self.noted.load(Ordering::Relaxed)
    }
}

/// A wait as it was at one moment.
#[derive(Clone, Copy)]
pub struct WaitCopy {
    /// The section or resource.
    pub(crate) awaited: u64,
    pub(crate) since: Instant,
    /// Where it was called for, 0 if unknown.
    pub(crate) site: u64,
    /// Whether it has a time limit.
    pub(crate) limited: bool,
    pub(crate) option: u32,
    /// Whether what it is for is to be shared.
    pub(crate) is_shared: bool,
    /// Whether the task owns what it waits for.
    pub(crate) is_for_itself: bool,
}
