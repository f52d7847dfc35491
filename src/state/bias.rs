//! The settings of owner bias: which entries are sampled, and how many samples grant a bias. What is done with a sample
//! stands in `lock::bias`.

use crate::sys::atomic::{AtomicU32, Ordering};

/// One of so many entries of a task is sampled. A power of two.
const ENTRIES_PER_SAMPLE: u32 = 1024;
/// Samples in a row that must find the same task.
const SAMPLES_TO_GRANT: u32 = 16;

/// Which sections become biased.
#[repr(C)]
pub(crate) struct Policy {
    /// An entry is sampled when the number of the task's entries has none of these bits.
    pub(crate) mask: AtomicU32,
    /// How many samples in a row must find the same task; 0 for never.
    pub(crate) samples: AtomicU32,
}

impl Policy {
    pub(crate) const fn new() -> Self {
        Policy { mask: AtomicU32::new(ENTRIES_PER_SAMPLE - 1), samples: AtomicU32::new(SAMPLES_TO_GRANT) }
    }

    /// Makes every section biased to the first task that enters it, as HOSTCRST_BIAS=always does.
    pub(crate) fn grant_at_once(&self) {
        self.set(0, 1);
    }

    pub(crate) fn set(&self, mask: u32, samples: u32) {
        self.mask.store(mask, Ordering::Relaxed);
        self.samples.store(samples, Ordering::Relaxed);
    }

    /// Whether the entry that makes `entries` is to be sampled.
    #[inline(always)]
    pub(crate) fn is_sample_due(&self, entries: u32) -> bool {
        entries & self.mask.load(Ordering::Relaxed) == 0
    }
}
