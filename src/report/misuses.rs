//! The first misuse of a kind is said on stderr, each is counted.

use crate::report;
use crate::state::misuses::{Counts, MISUSES, Misuse};
use crate::sys::atomic::Ordering;
use crate::sys::{self, preserving_errno};

impl Counts {
    /// Counts what the calling thread did with the CRITICAL_SECTION at `address`; at the first time says so on stderr.
    /// `site` is where it called from, 0 if unknown.
    #[cold]
    pub(crate) fn count(&self, misuse: Misuse, address: usize, site: usize) {
        self.count_of(sys::thread_id(), misuse, address, site);
    }

    pub(crate) fn count_of(&self, thread_id: u32, misuse: Misuse, address: usize, site: usize) {
        if self.0[misuse as usize].fetch_add(1, Ordering::Relaxed) == 0 {
            let (.., sentence) = MISUSES[misuse as usize];
            preserving_errno(|| report::write_misuse(address, sentence, thread_id, site));
        }
    }

    /// Counts a section that stays locked, at `address`, as its owner has ended.
    pub(crate) fn count_ended_owner(&self, thread_id: u32, address: usize) {
        self.count_of(thread_id, Misuse::OwnerEnded, address, 0);
    }
}
