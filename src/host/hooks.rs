//! Which calls the runtime must report: the policy behind `host_call_needs_host_hook`. What a report of a call does
//! is not known here.

use crate::error::{Error, Result};
use crate::host::locks;
use crate::state::registry::REGISTRY;
use crate::sys;
use crate::sys::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A target that has a policy of its own.
#[repr(C)]
struct Entry {
    target: AtomicU64,
    policy: AtomicU32,
}

const UNSET: u32 = 0;
const NOT_NEEDED: u32 = 1;
const NEEDED: u32 = 2;

/// An open-addressed table that doubles; readers need no lock, as a table that was outgrown stays readable.
struct Table {
    /// A TableHead followed by its entries, 0 while no policy was set.
    head: AtomicUsize,
}

#[repr(C)]
struct TableHead {
    /// A power of two.
    capacity: AtomicUsize,
    used: AtomicUsize,
}

const FIRST_CAPACITY: usize = 256;

static TABLE: Table = Table { head: AtomicUsize::new(0) };

impl TableHead {
    fn allocate(capacity: usize) -> Result<&'static TableHead> {
        let bytes = size_of::<TableHead>() + capacity * size_of::<Entry>();
        let pages = sys::allocate_pages(bytes).ok_or(Error::OutOfMemory)?;
        // SAFETY: the pages are large and aligned enough, zeroed (a valid TableHead of atomics), never unmapped.
        let head = unsafe { &*pages.cast::<TableHead>() };
        head.capacity.store(capacity, Ordering::Relaxed);
        Ok(head)
    }

    /// The entry of `target`, or the empty one where it would stand. A table is never full.
    fn entry(&self, target: u64) -> &Entry {
        let mask = self.capacity.load(Ordering::Relaxed) - 1;
        let mut index = target.wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> 20;
        loop {
            // SAFETY: the entries follow the head in the same pages; the index is below the capacity.
            let entry = unsafe { &*(self as *const TableHead).add(1).cast::<Entry>().add(index & mask) };
            // Acquire pairs with the Release in set: a reader that sees a policy sees its target.
            let empty = entry.policy.load(Ordering::Acquire) == UNSET;
            if empty || entry.target.load(Ordering::Relaxed) == target {
                return entry;
            }
            index += 1;
        }
    }

    fn set(&self, target: u64, policy: u32) {
        let entry = self.entry(target);
        if entry.policy.load(Ordering::Relaxed) == UNSET {
            entry.target.store(target, Ordering::Relaxed);
            self.used.fetch_add(1, Ordering::Relaxed);
        }
        entry.policy.store(policy, Ordering::Release);
    }

    fn is_half_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) * 2 >= self.capacity.load(Ordering::Relaxed)
    }

    /// A table of twice the size with the same content.
    fn grown(&self) -> Result<&'static TableHead> {
        let capacity = self.capacity.load(Ordering::Relaxed);
        let larger = TableHead::allocate(capacity * 2)?;
        for index in 0..capacity {
            // SAFETY: as in entry.
            let entry = unsafe { &*(self as *const TableHead).add(1).cast::<Entry>().add(index) };
            let policy = entry.policy.load(Ordering::Relaxed);
            if policy != UNSET {
                larger.set(entry.target.load(Ordering::Relaxed), policy);
            }
        }
        Ok(larger)
    }
}

fn table() -> Option<&'static TableHead> {
    let head = TABLE.head.load(Ordering::Acquire) as *const TableHead;
    // SAFETY: only addresses from TableHead::allocate are stored; they are never unmapped.
    unsafe { head.as_ref() }
}

/// Whether calls to `target` must be reported; they must unless the policy says otherwise.
pub(crate) fn needs_hook(target: u64) -> bool {
    table().is_none_or(|table| table.entry(target).policy.load(Ordering::Acquire) != NOT_NEEDED)
}

/// Sets the policy for `target`.
pub(crate) fn set_hook(target: u64, needed: bool) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    sys::preserving_errno(|| {
        let _guard = locks::HOOKS.lock();
        let table = match table() {
            None => TableHead::allocate(FIRST_CAPACITY)?,
            Some(table) if table.is_half_full() => table.grown()?,
            Some(table) => table,
        };
        table.set(target, if needed { NEEDED } else { NOT_NEEDED });
        // Release pairs with the Acquire in table: a reader that sees the table sees its content.
        TABLE.head.store(table as *const TableHead as usize, Ordering::Release);
        Ok(())
    })
}
