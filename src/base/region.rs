//! A range of reserved address space, of which a growing first part is committed memory. The rest cannot be read, so it
//! is in no core, and tools that copy all readable memory do not copy it.

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::atomic::{AtomicUsize, Ordering};

/// Memory is added in steps of at least this, doubling the region up to steps of LARGEST_STEP. Whole pages.
pub(crate) const SMALLEST_STEP: usize = 64 << 10;
const LARGEST_STEP: usize = 4 << 20;

/// Begun before the registry is ready, and after that changed under a lock of its owner's.
#[repr(C)]
pub(crate) struct Region {
    base: AtomicUsize,
    /// Bytes of address space from `base` on, whole pages.
    reserved: AtomicUsize,
    /// Bytes of writable memory from `base` on, whole pages. Zeros until they are written.
    committed: AtomicUsize,
    /// Bytes from `base` on that can be read, whole pages, if those are more.
    shown: AtomicUsize,
}

impl Region {
    pub(crate) const fn new() -> Self {
        Region {
            base: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            committed: AtomicUsize::new(0),
            shown: AtomicUsize::new(0),
        }
    }

    /// Begins at `base`.
    ///
    /// # Safety
    /// So many bytes, whole pages, were reserved there for this region alone.
    pub(crate) unsafe fn begin(&self, base: usize, bytes: usize) {
        self.reserved.store(bytes, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
    }

    /// Where it begins, 0 if it has not begun.
    #[inline(always)]
    pub(crate) fn base(&self) -> usize {
        self.base.load(Ordering::Relaxed)
    }

    /// Whether the first `bytes` are memory.
    pub(crate) fn covers(&self, bytes: usize) -> bool {
        bytes <= self.committed.load(Ordering::Relaxed)
    }

    /// Makes the first `bytes` readable, whole pages: as zeros, where they are not memory.
    pub(crate) fn show(&self, bytes: usize) -> Result<()> {
        let readable = self.committed.load(Ordering::Relaxed).max(self.shown.load(Ordering::Relaxed));
        if bytes > readable {
            let start = (self.base() + readable) as *mut u8;
            // SAFETY: the range is within the reservation if its end is, and lies behind what is committed.
            let shown = bytes <= self.reserved.load(Ordering::Relaxed)
                && unsafe { sys::show_pages(start, bytes - readable) };
            if !shown {
                return Err(Error::OutOfMemory);
            }
            self.shown.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the first `bytes` memory.
    #[inline(always)]
    pub(crate) fn cover(&self, bytes: usize) -> Result<()> {
        if self.covers(bytes) { Ok(()) } else { self.grow(bytes) }
    }

    #[cold]
    fn grow(&self, bytes: usize) -> Result<()> {
        let reserved = self.reserved.load(Ordering::Relaxed);
        let mut committed = self.committed.load(Ordering::Relaxed);
        while committed < bytes {
            let step = committed.clamp(SMALLEST_STEP, LARGEST_STEP).min(reserved - committed);
            let start = (self.base() + committed) as *mut u8;
            // SAFETY: `committed + step` is within the reservation; both are whole pages.
            if step == 0 || !unsafe { sys::commit_pages(start, step) } {
                return Err(Error::OutOfMemory);
            }
            committed += step;
            self.committed.store(committed, Ordering::Relaxed);
        }
        Ok(())
    }
}
