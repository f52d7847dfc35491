//! A table beside an arena: one record for each slot that was ever handed out, in memory that is taken when records are
//! first wanted. What they say, and who writes them, is not known here.

use core::marker::PhantomData;

use crate::base::arena::{Arena, Slot};
use crate::base::memory::{Shown, readable_in_copies};
use crate::base::region::{Region, SMALLEST_STEP};
use crate::error::{Error, Result};
use crate::sys;

/// The records, by the numbers of the slots. Zeroed memory is the first record of a slot. Changed under the lock of the
/// arena.
#[repr(transparent)]
pub(crate) struct Beside<T> {
    records: Region,
    kind: PhantomData<T>,
}

// SAFETY: as an arena, it hands out shared references to records of atomics only (see Slot).
unsafe impl<T: Slot> Sync for Beside<T> {}

readable_in_copies!(Beside<T>, T);

impl<T> Shown<Beside<T>> {
    /// Where the record of slot `index` stands, in the memory that the table is in, if it has one.
    pub(crate) fn address(&self, index: u32) -> Option<usize> {
        let records = &self.fields().records;
        let start = index as usize * size_of::<T>();
        records.covers(start + size_of::<T>()).then(|| records.base().wrapping_add(start))
    }
}

impl<T: Slot> Beside<T> {
    pub(crate) const fn new() -> Self {
        Beside { records: Region::new(), kind: PhantomData }
    }

    /// Gives every slot of the arena that was ever handed out a record; under the lock of the arena.
    pub(crate) fn begin<S: Slot>(&self, arena: &Arena<S>) -> Result<()> {
        if self.records.base() == 0 {
            let bytes = arena.capacity() as usize * size_of::<T>();
            let bytes = bytes.next_multiple_of(SMALLEST_STEP);
            let base = sys::reserve_pages(bytes).ok_or(Error::OutOfMemory)?;
            // SAFETY: a new reservation, of whole pages.
            unsafe { self.records.begin(base as usize, bytes) };
        }
        self.records.cover(arena.used() as usize * size_of::<T>())
    }

    /// Gives slot `index` of the arena, which has just been handed out, a record.
    #[cold]
    pub(crate) fn cover<S: Slot>(&self, arena: &Arena<S>, index: u32) -> Result<()> {
        let _guard = arena.lock().lock();
        self.records.cover((index as usize + 1) * size_of::<T>())
    }

    /// The record of slot `index`, if it has one. For who knows that the table has begun.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: the region has memory for a T there, which is never unmapped; zeroed records are valid (Slot).
        self.address(index).map(|address| unsafe { &*(address as *const T) })
    }
}
