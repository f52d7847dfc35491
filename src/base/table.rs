//! An open-addressed hash table: entries are added, never taken out, and found without a lock. What is kept in it, and
//! where its memory comes from, is not known here.

use core::marker::PhantomData;
use core::mem::offset_of;

use crate::base::arena::Slot;
use crate::base::hash::fibonacci_hash;
use crate::base::memory::{Here, Memory, Shown};
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

/// What an entry is found by: a number, and which kind of number it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// A small number.
    pub(crate) kind: u32,
    pub(crate) number: u64,
}

impl Key {
    /// What the entry says of its state once it is whole.
    pub(crate) const fn state(self) -> u32 {
        WHOLE + self.kind
    }
}

/// One entry. Zeroed memory is an empty one.
#[repr(C)]
pub(crate) struct Entry<V> {
    /// EMPTY, CLAIMED, or WHOLE and the kind of its key. It goes this way only.
    state: AtomicU32,
    /// A number that belongs to the value.
    pub(crate) detail: AtomicU32,
    number: AtomicU64,
    pub(crate) value: V,
}

/// For `layout`. The same for every kind of value.
pub(crate) const LAYOUT: [(&str, usize); 4] = [
    ("entry.state", offset_of!(Entry<()>, state)),
    ("entry.detail", offset_of!(Entry<()>, detail)),
    ("entry.number", offset_of!(Entry<()>, number)),
    ("entry.value", offset_of!(Entry<()>, value)),
];

const EMPTY: u32 = 0;
/// A writer has it that has not yet filled it, or never will: a thread that vanished in a fork.
const CLAIMED: u32 = 1;
/// Added to the key's kind.
const WHOLE: u32 = 2;

/// The value of entries that need none beside their detail.
// SAFETY: no fields.
unsafe impl Slot for () {}

/// A table of so many entries, a power of two, in memory that begins zeroed and stays.
///
/// **Why an entry is found whole.** A writer claims an empty entry by a compare-exchange, so it alone fills it, and
/// then says that it is whole by a Release store. Who reads that, with Acquire, sees the key and what the entry was
/// filled with.
///
/// **Why a search may end at an empty entry.** A key gets the first entry that is empty on the way that every search
/// for the key goes, and none becomes empty again. So a search that begins after the key was added sees no empty one
/// before it.
pub(crate) struct Table<V> {
    base: usize,
    capacity: usize,
    /// So many entries are looked at for a key.
    probes: usize,
    entries: PhantomData<V>,
}

impl<V: Slot> Table<V> {
    /// The bytes of a table.
    pub(crate) const fn bytes(capacity: usize) -> usize {
        capacity * size_of::<Entry<V>>()
    }

    /// The table at `base`.
    ///
    /// # Safety
    /// In the memory that the table is used with, as many bytes as `bytes` says stand there, which are never unmapped;
    /// they were zeros, and have been written by such tables of this capacity alone.
    pub(crate) unsafe fn at(base: usize, capacity: usize, probes: usize) -> Self {
        Table { base, capacity, probes, entries: PhantomData }
    }

    /// The addresses of the entries at which a key may stand, in the order of a search.
    fn candidates(&self, key: Key) -> impl Iterator<Item = usize> {
        let hash = fibonacci_hash(key.number ^ u64::from(key.kind)) >> 32;
        let (base, mask) = (self.base, self.capacity - 1);
        let offset = move |probe| ((hash as usize + probe) & mask) * size_of::<Entry<V>>();
        (0..self.probes).map(move |probe| base.wrapping_add(offset(probe)))
    }

    /// The address of a key's entry, if it has one.
    fn address_of<M: Memory>(&self, memory: &M, key: Key) -> Option<usize> {
        for address in self.candidates(key) {
            let state_and_number = |entry: &Shown<Entry<V>>| {
                let entry = entry.fields();
                // Pairs with the Release in add.
                // place: table-find
                let state = entry.state.load(Ordering::Acquire);
                (state, entry.number.load(Ordering::Relaxed))
            };
            // SAFETY: `candidates` gives addresses within the table, which `at` was told of.
            let (state, number) = unsafe { memory.read(address, state_and_number) }?;
            if state == EMPTY {
                return None;
            }
            if state == key.state() && number == key.number {
                return Some(address);
            }
        }
        None
    }

    /// A key's entry, if it has one.
    pub(crate) fn find(&self, key: Key) -> Option<&Entry<V>> {
        // SAFETY: an entry of the table, which is memory of this process.
        self.address_of(&Here, key).map(|address| unsafe { &*(address as *const Entry<V>) })
    }

    /// As find, in the memory that the table stands in: what `found` says of the entry.
    pub(crate) fn find_in<M: Memory, R>(
        &self,
        memory: &M,
        key: Key,
        found: impl FnOnce(&Shown<Entry<V>>) -> R,
    ) -> Option<R> {
        // SAFETY: an entry of the table.
        self.address_of(memory, key).and_then(|address| unsafe { memory.read(address, found) })
    }

    /// Adds an entry for a key, which `fill` fills; false if there is no room on its way. By any thread at any time. Of
    /// two entries of one key the first on the way is found.
    pub(crate) fn add(&self, key: Key, fill: impl FnOnce(&Entry<V>)) -> bool {
        for address in self.candidates(key) {
            // SAFETY: as in find.
            let entry = unsafe { &*(address as *const Entry<V>) };
            // Relaxed: nothing was written to an empty entry, and what is written from here on is read by way of the
            // store below.
            if entry.state.compare_exchange(EMPTY, CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            fill(entry);
            entry.number.store(key.number, Ordering::Relaxed);
            // Pairs with the Acquire in find: a reader that sees this sees key and value.
            // place: table-add
            entry.state.store(key.state(), Ordering::Release);
            return true;
        }
        false
    }

    /// Shows every whole entry with its key.
    pub(crate) fn each(&self, mut show: impl FnMut(Key, &Entry<V>)) {
        for index in 0..self.capacity {
            // SAFETY: as in find.
            let entry = unsafe { &*(self.base as *const Entry<V>).add(index) };
            // Pairs with the Release in add.
            if let Some(kind) = entry.state.load(Ordering::Acquire).checked_sub(WHOLE) {
                show(Key { kind, number: entry.number.load(Ordering::Relaxed) }, entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    fn table(capacity: usize, probes: usize) -> Table<()> {
        let pages = sys::allocate_pages(Table::<()>::bytes(capacity)).expect("memory");
        // SAFETY: new pages of that size, never unmapped.
        unsafe { Table::at(pages as usize, capacity, probes) }
    }

    fn add(table: &Table<()>, kind: u32, number: u64, detail: u32) -> bool {
        table.add(Key { kind, number }, |entry| entry.detail.store(detail, Ordering::Relaxed))
    }

    fn detail(table: &Table<()>, kind: u32, number: u64) -> Option<u32> {
        table.find(Key { kind, number }).map(|entry| entry.detail.load(Ordering::Relaxed))
    }

    #[test]
    fn what_is_added_is_found_by_all_of_its_key() {
        let table = table(64, 64);
        assert!(add(&table, 0, 7, 70) && add(&table, 1, 7, 71) && add(&table, 0, 0, 1));
        assert_eq!((detail(&table, 0, 7), detail(&table, 1, 7)), (Some(70), Some(71)));
        assert_eq!((detail(&table, 0, 0), detail(&table, 1, 0), detail(&table, 0, 8)), (Some(1), None, None));
        assert!(add(&table, 0, 7, 72));
        assert_eq!(detail(&table, 0, 7), Some(70), "the first stays");
    }

    #[test]
    fn a_full_table_refuses_and_keeps_what_it_has() {
        let table = table(64, 64);
        assert!((0..64).all(|number| add(&table, 0, number, number as u32)));
        assert!(!add(&table, 0, 64, 64));
        assert!((0..64).all(|number| detail(&table, 0, number) == Some(number as u32)));
        assert_eq!((detail(&table, 0, 64), detail(&table, 1, 5)), (None, None));
        let mut all = std::vec::Vec::new();
        table.each(|key, entry| all.push((key.kind, key.number, entry.detail.load(Ordering::Relaxed))));
        all.sort();
        assert!(all.into_iter().eq((0..64).map(|number| (0, number, number as u32))));
    }

    #[test]
    fn a_search_gives_up_after_so_many_probes() {
        let table = table(64, 2);
        let added: std::vec::Vec<u64> = (0..64).filter(|&number| add(&table, 0, number, 1)).collect();
        assert!((3..64).contains(&added.len()), "{added:?}");
        assert!((0..64).all(|number| detail(&table, 0, number).is_some() == added.contains(&number)));
    }

    #[test]
    fn an_entry_that_is_not_whole_is_passed_over() {
        let table = table(64, 64);
        let key = Key { kind: 0, number: 7 };
        let is_found = || table.find(key).is_some();
        assert!(table.add(key, |_| {
            assert!(!is_found());
            assert!(add(&table, 0, 7, 2), "a second one, behind it");
            assert_eq!(detail(&table, 0, 7), Some(2));
        }));
        assert!(is_found());
        let mut entries = 0;
        table.each(|_, _| entries += 1);
        assert_eq!(entries, 2, "each has an entry of its own");
    }

    #[test]
    fn threads_add_at_once_and_lose_nothing() {
        let table = table(1 << 12, 1 << 12);
        std::thread::scope(|scope| {
            for kind in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for number in 0..1000 {
                        assert!(add(table, kind, number, number as u32 + kind));
                    }
                });
            }
            for number in 0..1000 {
                let detail = detail(&table, 3, number);
                assert!(detail.is_none_or(|detail| detail == number as u32 + 3));
            }
        });
        for (kind, number) in (0..4).flat_map(|kind| (0..1000).map(move |number| (kind, number))) {
            assert_eq!(detail(&table, kind, number), Some(number as u32 + kind));
        }
    }
}
