//! Free slots of sections that a task keeps for those that it will make: what stands in its record. How they are kept, and
//! taken away again, is `lock::slots`'s.

use crate::sys::atomic::AtomicU32;

/// As many as fill a cache line with what stands beside them.
pub(crate) const MOST_FREE_SLOTS: usize = 13;

/// Stays with the record: the next task in it has what the last one kept. Zeroed memory is none.
#[repr(C, align(64))]
pub(crate) struct FreeSlots {
    /// 1 while the task's own thread may change what follows.
    pub(crate) in_use: AtomicU32,
    /// 1 while another thread takes them away.
    pub(crate) closed: AtomicU32,
    /// How many there are; those behind are of no meaning.
    pub(crate) count: AtomicU32,
    pub(crate) slots: [AtomicU32; MOST_FREE_SLOTS],
}

const _: () = assert!(size_of::<FreeSlots>() == 64);
