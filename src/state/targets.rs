//! Names of layer targets: set once, kept for ever, found without a lock. Where a name comes from is not known here.

use crate::base::arena::Slot;
use crate::base::memory::{Memory, Shown, readable_in_copies};
use crate::base::table::{Key, Table};
use crate::state::layers::Origin;
use crate::sys;
use crate::sys::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::text::{TextBuffer, cut};

/// The bytes of a target's name at most.
pub(crate) const TARGET_NAME_BYTES: usize = 232;
/// Targets that can have a name; further ones are shown as numbers. A power of two.
const CAPACITY: usize = 1 << 15;
/// Entries probed before giving up.
const PROBES: usize = 64;

/// A name, copied in order. Its length is the entry's detail.
#[repr(transparent)]
struct Bytes([AtomicU8; TARGET_NAME_BYTES]);

// SAFETY: atomics only.
unsafe impl Slot for Bytes {}

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
            && let Some(pages) = sys::allocate_pages(Table::<Bytes>::bytes(CAPACITY))
        {
            // Pairs with the Acquire in table.
            self.entries.store(pages as usize, Ordering::Release);
        }
    }

    fn table(&self) -> Option<Table<Bytes>> {
        // Pairs with the Release in reserve.
        let base = self.entries.load(Ordering::Acquire);
        // SAFETY: reserve has stored the address of zeroed pages of this size, which are never unmapped.
        (base != 0).then(|| unsafe { Table::at(base, CAPACITY, PROBES) })
    }

    /// Whether the target has a name.
    pub(crate) fn is_known(&self, origin: Origin, target: u64) -> bool {
        self.table().is_some_and(|table| table.find(key(origin, target)).is_some())
    }

    /// Gives the target a name, cut to what fits, unless it has one.
    pub(crate) fn intern(&self, origin: Origin, target: u64, text: &[u8]) {
        let Some(table) = self.table() else { return };
        if self.is_known(origin, target) {
            return;
        }
        let text = cut(text, TARGET_NAME_BYTES);
        // Where there is no room the target stays a number.
        let _ = table.add(key(origin, target), |entry| {
            entry.value.0.iter().zip(text).for_each(|(byte, &value)| byte.store(value, Ordering::Relaxed));
            entry.detail.store(text.len() as u32, Ordering::Relaxed);
        });
    }
}

readable_in_copies!(Targets);

impl Shown<Targets> {
    /// The target's name, if it has one.
    pub(crate) fn name<M: Memory>(
        &self,
        memory: &M,
        origin: Origin,
        target: u64,
    ) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        self.fields().table()?.find_in(memory, key(origin, target), |entry| {
            let entry = entry.fields();
            let mut name = TextBuffer::new();
            for byte in entry.value.0.iter().take(entry.detail.load(Ordering::Relaxed) as usize) {
                name.push_what_fits(&[byte.load(Ordering::Relaxed)]);
            }
            name
        })
    }
}

fn key(origin: Origin, target: u64) -> Key {
    Key { kind: origin as u32, number: target }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Here;

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
