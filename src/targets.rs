//! Names of layer targets: told once, kept for ever, looked up without a lock.

use crate::layers::Origin;
use crate::name::cut;
use crate::sys;
use crate::sys::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The bytes of a target's name at most.
const TEXT_BYTES: usize = 232;
/// Targets that can have a name; further ones are shown as numbers. A power of two.
const CAPACITY: usize = 1 << 15;
/// Entries looked at before giving up: the table is open-addressed and never shrinks.
const PROBES: usize = 64;

/// One target. Zeroed memory is an empty entry.
#[repr(C)]
struct Entry {
    /// 0 while the entry is empty, then CLAIMED with the origin; never changes again.
    claim: AtomicU32,
    /// The text's length, 0 until all of it stands.
    length: AtomicU32,
    target: AtomicU64,
    /// The bytes are copied in order.
    text: [AtomicU8; TEXT_BYTES],
}

const EMPTY: u32 = 0;
/// Claimed by a writer that has not yet written the target.
const CLAIMED: u32 = 1;
/// Added to the origin once the target stands.
const NAMED: u32 = 2;

/// The table, in pages that are taken when the library is prepared.
#[repr(C)]
pub(crate) struct Targets {
    entries: AtomicUsize,
}

impl Targets {
    pub(crate) const fn new() -> Self {
        Targets { entries: AtomicUsize::new(0) }
    }

    /// Takes address space for the table; without it every target is shown as a number.
    pub(crate) fn reserve(&self) {
        if self.entries.load(Ordering::Relaxed) == 0
            && let Some(pages) = sys::allocate_pages(CAPACITY * size_of::<Entry>())
        {
            self.entries.store(pages as usize, Ordering::Release);
        }
    }

    /// The entries at which a target may stand, best first.
    fn candidates(&self, origin: Origin, target: u64) -> impl Iterator<Item = &Entry> {
        let base = self.entries.load(Ordering::Acquire) as *const Entry;
        let hash = (target ^ origin as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let probes = if base.is_null() { 0 } else { PROBES };
        (0..probes).map(move |probe| {
            // SAFETY: the index is within CAPACITY; the pages are zeroed, hold atomics only and are never unmapped.
            unsafe { &*base.add((hash as usize + probe) % CAPACITY) }
        })
    }

    fn find(&self, origin: Origin, target: u64) -> Option<&Entry> {
        self.candidates(origin, target)
            .map(|entry| (entry, entry.claim.load(Ordering::Acquire)))
            .take_while(|(_, claim)| *claim != EMPTY)
            .find(|(entry, claim)| {
                *claim == NAMED + origin as u32 && entry.target.load(Ordering::Relaxed) == target
            })
            .map(|(entry, _)| entry)
    }

    /// Whether the target has a name.
    pub(crate) fn is_known(&self, origin: Origin, target: u64) -> bool {
        self.find(origin, target).is_some()
    }

    /// Gives the target a name, cut to what fits, unless it has one.
    pub(crate) fn intern(&self, origin: Origin, target: u64, text: &[u8]) {
        if self.is_known(origin, target) {
            return;
        }
        let text = cut(text, TEXT_BYTES);
        for entry in self.candidates(origin, target) {
            if entry.claim.compare_exchange(EMPTY, CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            for (byte, value) in entry.text.iter().zip(text) {
                byte.store(*value, Ordering::Relaxed);
            }
            entry.length.store(text.len() as u32, Ordering::Relaxed);
            entry.target.store(target, Ordering::Relaxed);
            // Release pairs with the Acquire in find: who sees the claim sees target and text.
            entry.claim.store(NAMED + origin as u32, Ordering::Release);
            return;
        }
    }

    /// Shows the target's name to `show`, if it has one. False if not.
    pub(crate) fn with_name(&self, origin: Origin, target: u64, show: impl FnOnce(&[u8])) -> bool {
        let Some(entry) = self.find(origin, target) else { return false };
        let mut text = [0; TEXT_BYTES];
        let length = (entry.length.load(Ordering::Relaxed) as usize).min(TEXT_BYTES);
        for (byte, stored) in text.iter_mut().zip(&entry.text).take(length) {
            *byte = stored.load(Ordering::Relaxed);
        }
        show(&text[..length]);
        true
    }
}

/// Whether the target has a name.
pub(crate) fn known(origin: Origin, target: u64) -> bool {
    crate::registry::REGISTRY.targets.is_known(origin, target)
}

/// Gives the target a name, cut to what fits, unless it has one.
pub(crate) fn intern(origin: Origin, target: u64, text: &[u8]) {
    crate::registry::REGISTRY.targets.intern(origin, target, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_and_the_first_one_wins() {
        let targets = Targets::new();
        assert!(!targets.is_known(Origin::Address, 7), "no table yet");
        targets.reserve();
        targets.intern(Origin::Address, 7, b"seven");
        targets.intern(Origin::Address, 7, b"other");
        targets.intern(Origin::ClrFunction, 7, b"method");
        let name = |origin| {
            let mut copy = std::vec::Vec::new();
            targets.with_name(origin, 7, |text| copy.extend_from_slice(text)).then_some(copy)
        };
        assert_eq!(name(Origin::Address).unwrap(), b"seven");
        assert_eq!(name(Origin::ClrFunction).unwrap(), b"method");
        assert!(!targets.is_known(Origin::Address, 8));
    }

    #[test]
    fn a_crowded_table_refuses_without_harm() {
        let targets = Targets::new();
        targets.reserve();
        for target in 0..2 * CAPACITY as u64 {
            targets.intern(Origin::Address, target, &target.to_le_bytes());
        }
        let known = (0..2 * CAPACITY as u64).filter(|&target| targets.is_known(Origin::Address, target));
        let mut count = 0;
        for target in known {
            targets.with_name(Origin::Address, target, |text| assert_eq!(text, target.to_le_bytes()));
            count += 1;
        }
        assert!(count > CAPACITY / 2 && count <= CAPACITY, "{count}");
    }
}
