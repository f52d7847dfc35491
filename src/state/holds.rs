//! Hold records: since when, and from where, each section is owned, where that is tracked. When one is written is not
//! known here.

use crate::base::arena::Slot;
use crate::base::beside::Beside;
use crate::base::memory::{Shown, readable_in_copies};
use crate::base::seqlock::SeqLock;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

/// The record of the present ownership of one section. Written by the owner.
#[repr(C)]
pub(crate) struct Hold {
    pub(crate) since: AtomicU64,
    pub(crate) site: AtomicU64,
    pub(crate) owner: AtomicU64,
    /// The era of tracking that it was written in: each time that tracking is switched on begins one.
    pub(crate) era: AtomicU32,
    pub(crate) lock: SeqLock,
}

// SAFETY: all fields are atomics or made of such.
unsafe impl Slot for Hold {}

/// The hold records, from when tracking is first switched on.
#[repr(C)]
pub(crate) struct Holds {
    pub(crate) table: Beside<Hold>,
    /// Odd while tracking is on.
    pub(crate) era: AtomicU32,
    pub(crate) _reserved: AtomicU32,
}

impl Holds {
    pub(crate) const fn new() -> Self {
        Holds { table: Beside::new(), era: AtomicU32::new(0), _reserved: AtomicU32::new(0) }
    }

    /// The Hold of section slot `index`, if it has one; None while tracking is off.
    pub(crate) fn of_slot(&self, index: u32) -> Option<&Hold> {
        self.address(index).and_then(|_| self.table.get(index))
    }

    /// Whether tracking is on.
    pub(crate) fn is_on(&self) -> bool {
        self.era.load(Ordering::Relaxed) & 1 == 1
    }
}

readable_in_copies!(Holds);

impl Shown<Holds> {
    /// Where the Hold of section slot `index` stands, if it has one; None while tracking is off.
    pub(crate) fn address(&self, index: u32) -> Option<usize> {
        // Acquire pairs with the Release in set_tracking: the table is there.
        let on = self.fields().era.load(Ordering::Acquire) & 1 == 1;
        self.fields().table.address(index).filter(|_| on)
    }

    /// Since when and from where, both of one entry, if `hold` is of this owner and of this era of tracking. None also
    /// while the owner writes: it has only just entered.
    pub(crate) fn read(&self, hold: &Shown<Hold>, owner: u64) -> Option<(u64, u64)> {
        let hold = hold.fields();
        let (known, entry) = hold.lock.read(|| {
            let known = hold.owner.load(Ordering::Relaxed) == owner
                && hold.era.load(Ordering::Relaxed) == self.fields().era.load(Ordering::Relaxed);
            (known, (hold.since.load(Ordering::Relaxed), hold.site.load(Ordering::Relaxed)))
        })?;
        known.then_some(entry)
    }
}
