//! Counts each misuse of a CRITICAL_SECTION or an SRWLOCK, and reports the first one from each call site on stderr.

use crate::report;
use crate::state::misuses::{Misuse, Misuses};
use crate::sys::{self, preserving_errno};

impl Misuses {
    /// Counts a misuse of what stands at `address` by the calling thread; reports the first one from each
    /// call site. `site` is the call site, 0 if unknown.
    #[cold]
    pub(crate) fn tell(&self, misuse: Misuse, address: usize, site: usize) {
        self.tell_of(sys::thread_id(), misuse, address, site);
    }

    pub(crate) fn tell_of(&self, thread_id: u32, misuse: Misuse, address: usize, site: usize) {
        if self.count(misuse, address as u64, thread_id, site as u64) {
            preserving_errno(|| report::write_misuse(misuse, address, thread_id, site));
        }
    }

    /// Counts a section that stays locked, at `address`, as its owner has ended.
    pub(crate) fn tell_of_ended_owner(&self, thread_id: u32, address: usize) {
        self.tell_of(thread_id, Misuse::OwnerEnded, address, 0);
    }
}
