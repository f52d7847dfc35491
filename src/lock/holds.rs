//! Hold records: since when and from where each section is owned. They are written only while tracking is on, as an
//! uncontended enter would pay for it; that it is switched on and off is `host::holds`'s.

use crate::state::holds::Hold;
use crate::state::registry::REGISTRY;
use crate::state::runtime::TRACKING;
use crate::state::section::Section;
use crate::sys;
use crate::sys::atomic::Ordering;

impl Hold {
    /// By the owner.
    fn write(&self, owner: u64, site: usize, era: u32) {
        self.lock.write(|| {
            self.owner.store(owner, Ordering::Relaxed);
            self.since.store(sys::now(), Ordering::Relaxed);
            self.site.store(site as u64, Ordering::Relaxed);
            self.era.store(era, Ordering::Relaxed);
        });
    }
}

/// In the child of a fork: another thread may have been switching tracking on or off.
pub(crate) fn settle_after_fork() {
    REGISTRY.runtime.set_watching(TRACKING, REGISTRY.holds.is_on());
}

/// The task `owner` has just become the owner of the section in slot `index`.
pub(crate) fn record(index: u32, owner: u64, site: usize) {
    if let Some(hold) = REGISTRY.holds.of_slot(index) {
        hold.write(owner, site, REGISTRY.holds.era.load(Ordering::Relaxed));
    }
}

impl Section {
    /// Records that `owner` has just entered, while tracking is on.
    #[inline]
    pub(crate) fn note_owner(&self, owner: u64, site: usize) {
        if REGISTRY.holds.is_on() {
            record(REGISTRY.sections.index_of(self), owner, site);
        }
    }
}
