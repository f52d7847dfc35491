//! Since when and from where each section is owned: kept only when asked for, as an uncontended enter would pay for it.

use crate::crst::Section;
use crate::error::{Error, Result};
use crate::region::{Region, SMALLEST_STEP};
use crate::registry::REGISTRY;
use crate::sys;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// What is known of the present ownership of one section. Written by the owner.
#[repr(C)]
pub(crate) struct Hold {
    since: AtomicU64,
    site: AtomicU64,
    owner: AtomicU64,
    /// The era of tracking it was written in: one that was not switched off since.
    era: AtomicU32,
    /// Odd while the owner writes.
    sequence: AtomicU32,
}

/// One Hold for each section slot that was ever handed out, from when tracking is first switched on.
#[repr(C)]
pub(crate) struct Holds {
    table: Region,
    /// Odd while tracking is on.
    era: AtomicU32,
    _reserved: AtomicU32,
}

impl Holds {
    pub(crate) const fn new() -> Self {
        Holds { table: Region::new(), era: AtomicU32::new(0), _reserved: AtomicU32::new(0) }
    }

    /// Whether tracking is on.
    pub(crate) fn is_on(&self) -> bool {
        self.era.load(Ordering::Relaxed) & 1 == 1
    }

    /// Where the Hold of section slot `index` stands, if it has one; None while tracking is off.
    pub(crate) fn address(&self, index: u32) -> Option<usize> {
        // Acquire pairs with the Release in set_tracking: the table is there.
        let on = self.era.load(Ordering::Acquire) & 1 == 1;
        let (start, end) = (index as usize * size_of::<Hold>(), (index as usize + 1) * size_of::<Hold>());
        (on && self.table.covers(end)).then(|| self.table.base().wrapping_add(start))
    }

    /// Since when and from where, both of one entry, if `hold` is of this owner and of this era of tracking. None also
    /// while the owner writes: it has only just entered.
    pub(crate) fn read(&self, hold: &Hold, owner: u64) -> Option<(u64, u64)> {
        let before = hold.sequence.load(Ordering::Acquire);
        let known = hold.owner.load(Ordering::Relaxed) == owner
            && hold.era.load(Ordering::Relaxed) == self.era.load(Ordering::Relaxed);
        let entry = (hold.since.load(Ordering::Relaxed), hold.site.load(Ordering::Relaxed));
        // Pairs with the Release fence in write: who reads something of the next entry finds the number changed.
        fence(Ordering::Acquire);
        let same = before & 1 == 0 && hold.sequence.load(Ordering::Relaxed) == before;
        (known && same).then_some(entry)
    }
}

impl Hold {
    /// By the owner.
    fn write(&self, owner: u64, site: usize, era: u32) {
        // Odd already if a thread that vanished in a fork was at it.
        let sequence = self.sequence.load(Ordering::Relaxed) | 1;
        self.sequence.store(sequence, Ordering::Relaxed);
        // Pairs with the Acquire fence in read.
        fence(Ordering::Release);
        self.owner.store(owner, Ordering::Relaxed);
        self.since.store(sys::now(), Ordering::Relaxed);
        self.site.store(site as u64, Ordering::Relaxed);
        self.era.store(era, Ordering::Relaxed);
        // Release pairs with the Acquire in read: who sees this number sees all of the entry.
        self.sequence.store(sequence.wrapping_add(1), Ordering::Release);
    }
}

/// Switches tracking on or off.
pub(crate) fn set_tracking(on: bool) -> Result<()> {
    REGISTRY.prepare()?;
    let holds = &REGISTRY.holds;
    let _guard = REGISTRY.sections.lock().lock();
    if on == holds.is_on() {
        return Ok(());
    }
    if holds.table.base() == 0 {
        let bytes = REGISTRY.sections.capacity() as usize * size_of::<Hold>();
        let bytes = bytes.next_multiple_of(SMALLEST_STEP);
        let base = sys::reserve_pages(bytes).ok_or(Error::OutOfMemory)?;
        // SAFETY: a new reservation, of whole pages.
        unsafe { holds.table.begin(base as usize, bytes) };
    }
    if on {
        holds.table.cover(REGISTRY.sections.used() as usize * size_of::<Hold>())?;
    }
    holds.era.fetch_add(1, Ordering::Release);
    REGISTRY.runtime.set_tracking(on);
    Ok(())
}

/// In the child of a fork: another thread may have been switching tracking on or off.
pub(crate) fn settle_after_fork() {
    let on = REGISTRY.holds.is_on();
    if on != REGISTRY.runtime.is_tracking() {
        REGISTRY.runtime.set_tracking(on);
    }
}

/// Section slot `index` has just been handed out while tracking is on: makes its Hold. That it is on here, or that slot was
/// known to set_tracking, is settled by the lock of the sections, which both take.
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
    /// Notes that `owner` has just entered, where that is asked for.
    #[inline]
    pub(crate) fn note_owner(&self, owner: u64, site: usize) {
        if REGISTRY.holds.is_on() {
            record(REGISTRY.sections.index_of(self), owner, site);
        }
    }
}
