//! Which calls the runtime must report: the policy behind `host_call_needs_host_hook`. What a report of a call does
//! is not known here.

use crate::base::table::{Key, Table};
use crate::error::{Error, Result};
use crate::host::locks;
use crate::state::registry::REGISTRY;
use crate::sys;
use crate::sys::atomic::{AtomicUsize, Ordering};

/// The policy of a target is its entry's detail.
type Policies = Table<()>;

// Policies of a target; one that has none needs a hook.
const NOT_NEEDED: u32 = 1;
const NEEDED: u32 = 2;

/// The table, which is replaced by one of twice the size when it is half full: its address, and in the bits below a
/// page's the binary logarithm of its capacity. 0 while no policy was set. One that was replaced stays readable.
static TABLE: AtomicUsize = AtomicUsize::new(0);
/// How many entries it has; under the lock of hooks.
static USED: AtomicUsize = AtomicUsize::new(0);

const LOGARITHM: usize = 0xfff;
const FIRST_CAPACITY: usize = 256;

fn table() -> Option<Policies> {
    // Pairs with the Release in make_room: who sees the table sees its content.
    let word = TABLE.load(Ordering::Acquire);
    (word != 0).then(|| table_of(word))
}

fn capacity_of(word: usize) -> usize {
    1 << (word & LOGARITHM)
}

fn table_of(word: usize) -> Policies {
    // As many probes as there are entries: a search always ends, as it is half empty.
    let capacity = capacity_of(word);
    // SAFETY: a word of `allocate`: zeroed pages of this size, never unmapped.
    unsafe { Policies::at(word & !LOGARITHM, capacity, capacity) }
}

/// The word of a new table, empty.
fn allocate(capacity: usize) -> Result<usize> {
    let pages = sys::allocate_pages(Policies::bytes(capacity)).ok_or(Error::OutOfMemory)?;
    Ok(pages as usize | capacity.ilog2() as usize)
}

/// Sees to it that there is a table, and room in it; under the lock.
fn make_room() -> Result<Policies> {
    let word = TABLE.load(Ordering::Relaxed);
    let larger = match word {
        0 => allocate(FIRST_CAPACITY)?,
        _ if USED.load(Ordering::Relaxed) * 2 < capacity_of(word) => return Ok(table_of(word)),
        _ => allocate(capacity_of(word) * 2)?,
    };
    let table = table_of(larger);
    if word != 0 {
        table_of(word).each(|key, entry| {
            set(&table, key, entry.detail.load(Ordering::Relaxed));
        });
    }
    // Pairs with the Acquire in table.
    TABLE.store(larger, Ordering::Release);
    Ok(table)
}

/// Whether the policy is a target's first; under the lock.
fn set(table: &Policies, key: Key, policy: u32) -> bool {
    match table.find(key) {
        Some(entry) => {
            entry.detail.store(policy, Ordering::Relaxed);
            false
        }
        None => table.add(key, |entry| entry.detail.store(policy, Ordering::Relaxed)),
    }
}

fn key(target: u64) -> Key {
    Key { kind: 0, number: target }
}

/// Whether calls to `target` must be reported; they must unless the policy says otherwise.
pub(crate) fn needs_hook(target: u64) -> bool {
    table().is_none_or(|table| {
        table.find(key(target)).is_none_or(|entry| entry.detail.load(Ordering::Relaxed) != NOT_NEEDED)
    })
}

/// Sets the policy for `target`.
pub(crate) fn set_hook(target: u64, needed: bool) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    sys::preserving_errno(|| {
        let _guard = locks::HOOKS.lock();
        let table = make_room()?;
        if set(&table, key(target), if needed { NEEDED } else { NOT_NEEDED }) {
            USED.store(USED.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        Ok(())
    })
}
