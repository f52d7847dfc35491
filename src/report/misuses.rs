//! Counts each misuse of a CRITICAL_SECTION or an SRWLOCK, and reports the first of each kind on stderr.

use crate::report;
use crate::state::misuses::{Counts, Misuse};
use crate::sys::atomic::Ordering;
use crate::sys::{self, preserving_errno};

impl Counts {
    /// Counts a misuse of what stands at `address` by the calling thread; reports the first one of a kind.
    /// `site` is the call site, 0 if unknown.
    #[cold]
    pub(crate) fn count(&self, misuse: Misuse, address: usize, site: usize) {
        self.count_of(sys::thread_id(), misuse, address, site);
    }

    pub(crate) fn count_of(&self, thread_id: u32, misuse: Misuse, address: usize, site: usize) {
        if self.0[misuse as usize].fetch_add(1, Ordering::Relaxed) == 0 {
            preserving_errno(|| report::write_misuse(misuse, address, thread_id, site));
        }
    }

    /// Counts a section that stays locked, at `address`, as its owner has ended.
    pub(crate) fn count_ended_owner(&self, thread_id: u32, address: usize) {
        self.count_of(thread_id, Misuse::OwnerEnded, address, 0);
    }
}
