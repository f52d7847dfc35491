//! How a task waits for a lock of managed code, as the CLR has told: the fields, and how a reader gets those of one wait.
//! Who owns the lock is not kept: it changes without the CLR telling, and is looked up when it is asked for.

use foreign_locks::ManagedWait as Told;

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
    /// 1 if that is an address at which the owner was seen to stand.
    stands_at_address: AtomicU32,
    /// The thread that owned it when the wait began; 0 if the CLR named none.
    owner: AtomicU32,
    since: AtomicU64,
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
            let copy = ManagedWaitCopy {
                told: Told {
                    lock: wait.lock.load(Ordering::Relaxed),
                    stands_at_address: wait.stands_at_address.load(Ordering::Relaxed) != 0,
                    owner: wait.owner.load(Ordering::Relaxed),
                },
                since: wait.since.load(Ordering::Relaxed),
            };
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
        let (stands_at_address, owner) = (AtomicU32::new(0), AtomicU32::new(0));
        ManagedWait { number: zero(), lock: zero(), stands_at_address, owner, since: zero() }
    }

    /// A wait begins. One before it is over, if its end was not told.
    pub(crate) fn begin(&self, ManagedWaitCopy { told, since }: ManagedWaitCopy) {
        self.end();
        // Pairs with the Acquire fence in copy.
        fence(Ordering::Release);
        self.lock.store(told.lock, Ordering::Relaxed);
        self.stands_at_address.store(u32::from(told.stands_at_address), Ordering::Relaxed);
        self.owner.store(told.owner, Ordering::Relaxed);
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

    const FIRST: ManagedWaitCopy =
        ManagedWaitCopy { told: Told { lock: 0x5000, stands_at_address: true, owner: 7 }, since: 1 };

    #[test]
    fn one_wait_is_read_until_it_is_over_or_another_begins() {
        let waits = ManagedWait::new();
        assert_eq!(waits.copy(), None);
        waits.begin(FIRST);
        assert_eq!(waits.copy(), Some(FIRST));
        // The first was not told to be over.
        let told = Told { lock: 3, stands_at_address: false, owner: 0 };
        let second = ManagedWaitCopy { told, since: 2 };
        waits.begin(second);
        assert_eq!(waits.copy(), Some(second));
        waits.end();
        assert_eq!(waits.copy(), None);
        waits.end();
        assert_eq!(waits.copy(), None);
    }
}
