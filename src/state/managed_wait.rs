//! How a task waits for a lock of managed code, as the CLR has told: the fields, and how a reader gets those of one wait.
//! Who owns the lock is not kept: it changes without the CLR telling, and is looked up when it is asked for.

use foreign_locks::{ManagedWait as Told, OwnerStands};

use crate::base::memory::{Shown, readable_in_copies};
use crate::sys::Instant;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A wait of managed code. Written by the task's own thread only.
#[repr(C)]
pub(crate) struct ManagedWait {
    /// Odd while it lasts. Counts up at each beginning and end, so it is the number of the wait too. What stands beside it
    /// is whole while it is odd.
    number: AtomicU64,
    /// The lock, as the CLR calls it: its address, or a number.
    lock: AtomicU64,
    /// How its owner is found: the number of an OwnerStands.
    owner_stands: AtomicU64,
    /// The thread that owned it when the wait began; 0 if the CLR named none.
    owner: AtomicU32,
    /// A Pause, which is its own thread's alone.
    pause: AtomicU32,
    since: AtomicU64,
    /// The type of the object that has the lock, as the CLR calls it.
    of_type: AtomicU64,
}

/// Where in a wait a thread is whose sleeps are told, and which may sleep more than once in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pause {
    /// In none.
    No = 0,
    /// It has not slept yet.
    Before = 1,
    /// It sleeps.
    Asleep = 2,
    /// It has slept. The wait is over, unless it sleeps in it again.
    After = 3,
}

/// A wait of managed code as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ManagedWaitCopy {
    /// What the CLR told when it began.
    pub told: Told,
    /// When it began.
    pub since: Instant,
}

readable_in_copies!(ManagedWait);

impl Shown<ManagedWait> {
    /// How the task waits, all of one wait; None if it does not.
    pub(crate) fn copy(&self) -> Option<ManagedWaitCopy> {
        let wait = self.fields();
        loop {
            // Acquire pairs with the Release in begin.
            let number = wait.number.load(Ordering::Acquire);
            if number & 1 == 0 {
                return None;
            }
            let copy = ManagedWaitCopy { told: wait.told(), since: wait.since.load(Ordering::Relaxed) };
            // Pairs with the Release fence in begin: a reader that sees something of the next wait finds this one over.
            fence(Ordering::Acquire);
            if wait.number.load(Ordering::Relaxed) == number {
                return Some(copy);
            }
        }
    }
}

impl ManagedWait {
    #[cfg(test)]
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let (owner, pause) = (AtomicU32::new(0), AtomicU32::new(0));
        let of_type = zero();
        ManagedWait {
            number: zero(),
            lock: zero(),
            owner_stands: zero(),
            owner,
            pause,
            since: zero(),
            of_type,
        }
    }

    /// What was told of the wait, or of the last one.
    pub(crate) fn told(&self) -> Told {
        Told {
            lock: self.lock.load(Ordering::Relaxed),
            owner_stands: OwnerStands::of_number(self.owner_stands.load(Ordering::Relaxed)),
            owner: self.owner.load(Ordering::Relaxed),
            of_type: self.of_type.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn pause(&self) -> Pause {
        match self.pause.load(Ordering::Relaxed) {
            1 => Pause::Before,
            2 => Pause::Asleep,
            3 => Pause::After,
            _ => Pause::No,
        }
    }

    pub(crate) fn set_pause(&self, pause: Pause) {
        self.pause.store(pause as u32, Ordering::Relaxed);
    }

    /// A wait begins. One before it is over, if its end was not told.
    pub(crate) fn begin(&self, ManagedWaitCopy { told, since }: ManagedWaitCopy) {
        self.end();
        // Pairs with the Acquire fence in copy.
        fence(Ordering::Release);
        self.lock.store(told.lock, Ordering::Relaxed);
        self.owner_stands.store(told.owner_stands.as_number(), Ordering::Relaxed);
        self.owner.store(told.owner, Ordering::Relaxed);
        self.of_type.store(told.of_type, Ordering::Relaxed);
        self.since.store(since, Ordering::Relaxed);
        // Release pairs with the Acquire in copy: a reader that finds it odd finds this wait's fields.
        self.number.store(self.number.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The wait is over, if there is one.
    pub(crate) fn end(&self) {
        let number = self.number.load(Ordering::Relaxed);
        if number & 1 != 0 {
            self.number.store(number + 1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ManagedWaitCopy = ManagedWaitCopy {
        told: Told { lock: 0x5000, owner_stands: OwnerStands::InMonitor, owner: 7, of_type: 0x7000 },
        since: 1,
    };

    #[test]
    fn one_wait_is_read_until_it_is_over_or_another_begins() {
        let waits = ManagedWait::new();
        assert_eq!(waits.copy(), None);
        waits.begin(FIRST);
        assert_eq!(waits.copy(), Some(FIRST));
        // The first was not told to be over.
        let told = Told { lock: 3, owner_stands: OwnerStands::InObject(0x5570), owner: 0, of_type: 0 };
        let second = ManagedWaitCopy { told, since: 2 };
        waits.begin(second);
        assert_eq!(waits.copy(), Some(second));
        waits.end();
        assert_eq!((waits.copy(), waits.told()), (None, told));
        waits.end();
        assert_eq!(waits.copy(), None);
    }
}
