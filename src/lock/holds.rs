//! Hold records: since when and from where each section is owned. They are written only while tracking is on, as an
//! uncontended enter would pay for it; that it is switched on and off is `host::holds`'s.

use crate::error::Result;
use crate::state::holds::Hold;
use crate::state::registry::REGISTRY;
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
    let on = REGISTRY.holds.is_on();
    if on != REGISTRY.runtime.is_tracking() {
        REGISTRY.runtime.set_tracking(on);
    }
}

/// Makes the Hold of section slot `index`, which has just been allocated while tracking is on. Either this finds
/// tracking on, or set_tracking finds the slot: both take the lock of the sections.
#[cold]
pub(crate) fn cover(index: u32) -> Result<()> {
    let _guard = REGISTRY.sections.lock().lock();
    REGISTRY.holds.table.cover((index as usize + 1) * size_of::<Hold>())
}

/// The task `owner` has just become the owner of the section in slot `index`.
pub(crate) fn record(index: u32, owner: u64, site: usize) {
    let Some(address) = REGISTRY.holds.address(index) else { return };
    // SAFETY: the table has a Hold for each slot, zeroed pages are valid ones, and they are never unmapped.
    let hold = unsafe { &*(address as *const Hold) };
    hold.write(owner, site, REGISTRY.holds.era.load(Ordering::Relaxed));
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
