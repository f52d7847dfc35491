//! Which sections are biased: after how many entries.

use crate::sys::atomic::{AtomicU32, Ordering};

/// One of so many entries of a task is looked at. A power of two.
const ENTRIES_PER_LOOK: u32 = 1024;
/// Looks in a row that must find the same task.
const LOOKS_TO_EARN: u32 = 16;
/// Whether sections are lent.
#[repr(C)]
pub(crate) struct Policy {
    /// An entry is looked at when the number of the task's entries has none of these bits.
    pub(crate) mask: AtomicU32,
    /// How many looks in a row must find the same task; 0 for never.
    pub(crate) looks: AtomicU32,
}

impl Policy {
    pub(crate) const fn new() -> Self {
        Policy { mask: AtomicU32::new(ENTRIES_PER_LOOK - 1), looks: AtomicU32::new(LOOKS_TO_EARN) }
    }

    /// Lends every section to whoever enters it, as HOSTCRST_BIAS=always does.
    pub(crate) fn lend_at_once(&self) {
        self.set(0, 1);
    }

    pub(crate) fn set(&self, mask: u32, looks: u32) {
        self.mask.store(mask, Ordering::Relaxed);
        self.looks.store(looks, Ordering::Relaxed);
    }

    /// Whether the entry that makes `entries` is to be looked at.
    #[inline(always)]
    pub(crate) fn is_look_due(&self, entries: u32) -> bool {
        entries & self.mask.load(Ordering::Relaxed) == 0
    }
}
