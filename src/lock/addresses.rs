//! Which of Windows' sections stands at which address, so that none is lost where memory is initialised anew. It reads
//! nothing of the program's memory, and does not know what Windows promises of it.
//!
//! A program that frees a CRITICAL_SECTION without having deleted it, or initialises one a second time, leaves a
//! section behind that no handle names any more. But two CRITICAL_SECTIONs do not overlap: one whose memory belongs
//! to another from now on is over. So each that begins learns which others stood there.
//!
//! A hash table with a chain of section slots in each bucket. It grows by one bucket where a section comes that has
//! none for itself, by dividing an older one in two (linear hashing): no call pays for all that there are. Each single
//! store leaves all chains whole, but for one slot at most: a fork may come at any moment (see `sys::mutex`).

use crate::base::hash::fibonacci_hash;
use crate::base::region::SMALLEST_STEP;
use crate::error::{Error, Result};
use crate::state::addresses::Addresses;
use crate::state::mirror::CriticalSection;
use crate::state::registry::REGISTRY;
use crate::state::section::Section;
use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

const FIRST_WIDTH: u32 = 1024;
const WORD_BYTES: usize = size_of::<AtomicU32>();

/// Addresses in one such stretch share a bucket. A CRITICAL_SECTION overlaps with no other but in its own stretch and
/// one beside it.
const STRETCH: usize = 128;
const REACH: usize = size_of::<CriticalSection>() - 1;
const _: () = assert!(2 * REACH < STRETCH);

/// Sections found where a new one begins. If there are more, the next that begins there finds them.
pub(crate) struct Found {
    handles: [u64; MOST_FOUND],
    count: usize,
}

const MOST_FOUND: usize = 8;

impl Found {
    pub(crate) fn handles(&self) -> &[u64] {
        &self.handles[..self.count]
    }

    fn add(&mut self, handle: u64) {
        if let Some(place) = self.handles.get_mut(self.count) {
            *place = handle;
            self.count += 1;
        }
    }
}

impl Addresses {
    /// Reserves address space for as many sections as there are slots, a power of two. Once.
    pub(crate) fn reserve(&self, slots: u32) -> Result<()> {
        if self.links.base() != 0 {
            return Ok(());
        }
        let links = (slots as usize * WORD_BYTES).next_multiple_of(SMALLEST_STEP);
        let heads = (links / 4).next_multiple_of(SMALLEST_STEP);
        let base = sys::reserve_pages(links + heads).ok_or(Error::OutOfMemory)? as usize;
        // SAFETY: both parts of the new reservation are whole pages.
        unsafe {
            self.heads.begin(base + links, heads);
            self.links.begin(base, links);
        }
        Ok(())
    }

    /// How many sections are in the table.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds the section in a slot by its mirror. Returns which others overlap with it.
    pub(crate) fn add(&self, slot: u32) -> Result<Found> {
        let _guard = self.lock.lock();
        self.links.cover((slot as usize + 1) * WORD_BYTES)?;
        if self.count() >= self.width.load(Ordering::Relaxed) {
            self.widen()?;
        }
        let address = section(slot).mirror();
        let mut found = Found { handles: [0; MOST_FOUND], count: 0 };
        self.each_near(address, |other| {
            if section(other).mirror().abs_diff(address) <= REACH {
                found.add(handle_in(other));
            }
        });
        self.push(slot);
        self.count.store(self.count() + 1, Ordering::Relaxed);
        Ok(found)
    }

    /// Takes out the section in a slot.
    pub(crate) fn remove(&self, slot: u32) {
        let _guard = self.lock.lock();
        if self.pull(slot) {
            self.count.store(self.count() - 1, Ordering::Relaxed);
        }
    }

    /// Sets the mirror of the section in a slot.
    pub(crate) fn change(&self, slot: u32, address: usize) {
        let _guard = self.lock.lock();
        if self.pull(slot) {
            section(slot).set_mirror(address);
            self.push(slot);
        }
    }

    /// The handle of a section whose CRITICAL_SECTION stands, or stood, at this very address.
    pub(crate) fn find(&self, address: usize, is_meant: impl Fn(u64, &Section) -> bool) -> Option<u64> {
        let _guard = self.lock.lock();
        let mut found = None;
        self.each_near(address, |slot| {
            let handle = handle_in(slot);
            if section(slot).mirror() == address && is_meant(handle, section(slot)) {
                found = Some(handle);
            }
        });
        found
    }

    // ---- under the lock -----------------------------------------------------------------------------------

    /// Calls `visit` with the slot of every section that may overlap with one at `address`.
    fn each_near(&self, address: usize, mut visit: impl FnMut(u32)) {
        let [low, high] =
            [address.saturating_sub(REACH), address.saturating_add(REACH)].map(|end| self.bucket_of(end));
        self.each_in(low, &mut visit);
        if high != low {
            self.each_in(high, &mut visit);
        }
    }

    fn each_in(&self, bucket: u32, visit: &mut impl FnMut(u32)) {
        let mut slot = self.head(bucket).load(Ordering::Relaxed);
        while slot != 0 {
            visit(slot);
            slot = self.link(slot).load(Ordering::Relaxed);
        }
    }

    fn push(&self, slot: u32) {
        let head = self.head(self.bucket_of(section(slot).mirror()));
        self.link(slot).store(head.load(Ordering::Relaxed), Ordering::Relaxed);
        head.store(slot, Ordering::Relaxed);
    }

    /// Takes a slot out of its chain. False if it is in none.
    fn pull(&self, slot: u32) -> bool {
        let mut place = self.head(self.bucket_of(section(slot).mirror()));
        loop {
            match place.load(Ordering::Relaxed) {
                0 => return false,
                here if here == slot => break,
                here => place = self.link(here),
            }
        }
        place.store(self.link(slot).load(Ordering::Relaxed), Ordering::Relaxed);
        true
    }

    /// Adds a bucket, with what of an older one belongs there. Where there is no memory for it chains grow longer
    /// instead.
    #[cold]
    fn widen(&self) -> Result<()> {
        let width = self.width.load(Ordering::Relaxed);
        if width == 0 {
            self.heads.cover(FIRST_WIDTH as usize * WORD_BYTES)?;
            self.set_width(FIRST_WIDTH);
            return Ok(());
        }
        if self.heads.cover((width as usize + 1) * WORD_BYTES).is_err() {
            return Ok(());
        }
        let mut place = self.head(width - (1 << width.ilog2()));
        self.set_width(width + 1);
        loop {
            let slot = place.load(Ordering::Relaxed);
            if slot == 0 {
                return Ok(());
            }
            if self.bucket_of(section(slot).mirror()) == width {
                place.store(self.link(slot).load(Ordering::Relaxed), Ordering::Relaxed);
                self.push(slot);
            } else {
                place = self.link(slot);
            }
        }
    }

    fn set_width(&self, width: u32) {
        // In this order: until the second store each address has the bucket that it had.
        self.mask.store(width.next_power_of_two() - 1, Ordering::Relaxed);
        self.width.store(width, Ordering::Relaxed);
    }

    /// The bucket of an address: its hash modulo the power of two from `width` on, or modulo half of that where there
    /// is no such bucket yet.
    fn bucket_of(&self, address: usize) -> u32 {
        let hash = fibonacci_hash((address / STRETCH) as u64) >> 32;
        let mask = self.mask.load(Ordering::Relaxed);
        match hash as u32 & mask {
            bucket if bucket < self.width.load(Ordering::Relaxed) => bucket,
            bucket => bucket & (mask / 2),
        }
    }

    fn head(&self, bucket: u32) -> &AtomicU32 {
        // SAFETY: widen has made memory of the heads of all buckets, and every section came after a first widen.
        unsafe { &*(self.heads.base() as *const AtomicU32).add(bucket as usize) }
    }

    fn link(&self, slot: u32) -> &AtomicU32 {
        // SAFETY: add has made memory of the link of every slot that is in a chain, or was.
        unsafe { &*(self.links.base() as *const AtomicU32).add(slot as usize) }
    }
}

fn section(slot: u32) -> &'static Section {
    REGISTRY.sections.at(slot)
}

fn handle_in(slot: u32) -> u64 {
    section(slot).handle(REGISTRY.copy(), slot)
}
