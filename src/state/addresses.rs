//! Which section the CRITICAL_SECTION at an address shows: the table as it stands in memory. How it is searched and
//! grows is `lock::addresses`'s.

use crate::base::region::Region;
use crate::sys::Mutex;
use crate::sys::atomic::AtomicU32;

/// Sections by the address of their CRITICAL_SECTION, which is their `mirror`: that changes under `lock` as well.
#[repr(C)]
pub(crate) struct Addresses {
    pub(crate) lock: Mutex,
    /// Sections in the table.
    pub(crate) count: AtomicU32,
    /// Buckets.
    pub(crate) width: AtomicU32,
    /// The power of two from there on, less one.
    pub(crate) mask: AtomicU32,
    /// For each bucket the first slot of its chain, an AtomicU32; 0 for none.
    pub(crate) heads: Region,
    /// For each section slot in a chain the next one, an AtomicU32.
    pub(crate) links: Region,
}

impl Addresses {
    pub(crate) const fn new() -> Self {
        Addresses {
            lock: Mutex::new(),
            count: AtomicU32::new(0),
            width: AtomicU32::new(0),
            mask: AtomicU32::new(0),
            heads: Region::new(),
            links: Region::new(),
        }
    }

    /// The lock of the table.
    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }
}

/// Held while a CRITICAL_SECTION that names no section is given one.
pub(crate) static ATTACHING: Mutex = Mutex::new();
