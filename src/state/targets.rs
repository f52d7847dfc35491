//! Names of layer targets: set once, kept for ever, found without a lock. Where a name comes from is not known here.

use crate::base::memory::{Here, Memory, Shown};
use crate::state::layers::Origin;
use crate::sys;
use crate::sys::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::text::{TextBuffer, cut};

/// The bytes of a target's name at most.
pub(crate) const TEXT_BYTES: usize = 232;
/// Targets that can have a name; further ones are shown as numbers. A power of two.
const CAPACITY: usize = 1 << 15;
/// Entries probed before giving up: the table is open-addressed and never shrinks.
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

    /// The addresses of the entries at which a target may stand, best first.
    fn candidates(&self, origin: Origin, target: u64) -> impl Iterator<Item = usize> {
        let base = self.entries.load(Ordering::Acquire);
        let hash = (target ^ origin as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let probes = if base == 0 { 0 } else { PROBES };
        let offset = move |probe| (hash as usize + probe) % CAPACITY * size_of::<Entry>();
        (0..probes).map(move |probe| base.wrapping_add(offset(probe)))
    }

    fn find<M: Memory, R>(
        &self,
        memory: &M,
        origin: Origin,
        target: u64,
        found: impl FnOnce(&Shown<Entry>) -> R,
    ) -> Option<R> {
        let claim = |entry: &Entry| entry.claim.load(Ordering::Acquire);
        for address in self.candidates(origin, target) {
            // SAFETY: candidates gives addresses within the table; its pages are zeroed and hold atomics only.
            let (claim, same) = unsafe {
                memory.look(address, |entry: &Shown<Entry>| {
                    let entry = entry.fields();
                    (claim(entry), entry.target.load(Ordering::Relaxed) == target)
                })
            }?;
            if claim == EMPTY {
                return None;
            }
            if claim == NAMED + origin as u32 && same {
                // SAFETY: as above.
                return unsafe { memory.look(address, found) };
            }
        }
        None
    }

    /// Whether the target has a name.
    pub(crate) fn is_known(&self, origin: Origin, target: u64) -> bool {
        self.find(&Here, origin, target, |_| ()).is_some()
    }

    /// Gives the target a name, cut to what fits, unless it has one.
    pub(crate) fn intern(&self, origin: Origin, target: u64, text: &[u8]) {
        if self.is_known(origin, target) {
            return;
        }
        let text = cut(text, TEXT_BYTES);
        for address in self.candidates(origin, target) {
            // SAFETY: an entry within the table: zeroed pages of atomics, never unmapped.
            let entry = unsafe { &*(address as *const Entry) };
            if entry.claim.compare_exchange(EMPTY, CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            for (byte, value) in entry.text.iter().zip(text) {
                byte.store(*value, Ordering::Relaxed);
            }
            entry.length.store(text.len() as u32, Ordering::Relaxed);
            entry.target.store(target, Ordering::Relaxed);
            // Release pairs with the Acquire in find: a reader that sees the claim sees target and text.
            entry.claim.store(NAMED + origin as u32, Ordering::Release);
            return;
        }
    }

    /// The target's name, if it has one.
    pub(crate) fn name<M: Memory>(
        &self,
        memory: &M,
        origin: Origin,
        target: u64,
    ) -> Option<TextBuffer<TEXT_BYTES>> {
        self.find(memory, origin, target, |entry| {
            let entry = entry.fields();
            let mut name = TextBuffer::new();
            for byte in entry.text.iter().take(entry.length.load(Ordering::Relaxed) as usize) {
                name.push_what_fits(&[byte.load(Ordering::Relaxed)]);
            }
            name
        })
    }
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
        assert_eq!(targets.name(&Here, Origin::Address, 7).unwrap().bytes(), b"seven");
        assert_eq!(targets.name(&Here, Origin::ClrFunction, 7).unwrap().bytes(), b"method");
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
            let name = targets.name(&Here, Origin::Address, target).unwrap();
            assert_eq!(name.bytes(), target.to_le_bytes());
            count += 1;
        }
        assert!(count > CAPACITY / 2 && count <= CAPACITY, "{count}");
    }
}
