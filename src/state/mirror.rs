//! The bytes of a CRITICAL_SECTION and of a CONDITION_VARIABLE, as Windows lays them out. What Windows promises of
//! them is `win32`'s.

use core::mem::offset_of;

use crate::sys;
use crate::sys::atomic::{AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// A CRITICAL_SECTION: memory of the program's that shows the state of a section of ours.
#[repr(C)]
#[derive(Debug)]
pub struct CriticalSection {
    pub(crate) debug_info: AtomicUsize,
    /// Bit 0: 0 = locked. Bit 1: 0 = a waiter has been woken. Above: the ones-complement of how many others wait.
    pub(crate) lock_count: AtomicI32,
    pub(crate) recursion_count: AtomicI32,
    /// The owner's thread id, whatever the type says on Windows.
    pub(crate) owning_thread: AtomicUsize,
    /// Which section this is: see `win32`.
    pub(crate) lock_semaphore: AtomicU64,
    /// The spin count in the low 24 bits, flags above.
    pub(crate) spin_count: AtomicUsize,
}

const _: () = assert!(size_of::<CriticalSection>() == 40 && align_of::<CriticalSection>() == 8);
const _: () = assert!(offset_of!(CriticalSection, debug_info) == 0);
const _: () = assert!(offset_of!(CriticalSection, lock_count) == 8);
const _: () = assert!(offset_of!(CriticalSection, recursion_count) == 12);
const _: () = assert!(offset_of!(CriticalSection, owning_thread) == 16);
const _: () = assert!(offset_of!(CriticalSection, lock_semaphore) == 24);
const _: () = assert!(offset_of!(CriticalSection, spin_count) == 32);

/// A CRITICAL_SECTION_DEBUG: its size, and where the address of its CRITICAL_SECTION stands and that of the section's name, a
/// string that ends with 0.
pub(crate) const DEBUG_RECORD_BYTES: usize = 48;
pub(crate) const DEBUG_RECORD_SECTION: u64 = 8;
pub(crate) const DEBUG_RECORD_NAME: u64 = 40;

/// A CONDITION_VARIABLE: one pointer on Windows, bytes here, so that it may stand at any address.
#[repr(C)]
#[derive(Debug)]
pub struct ConditionVariable {
    /// Not 0 if a task may sleep there: see `condition`.
    pub(crate) may_sleep: AtomicU8,
    reserved: [AtomicU8; 7],
}

const _: () = assert!(size_of::<ConditionVariable>() == 8 && align_of::<ConditionVariable>() == 1);

impl ConditionVariable {
    #[cfg(test)]
    pub(crate) const fn new() -> Self {
        ConditionVariable { may_sleep: AtomicU8::new(0), reserved: [const { AtomicU8::new(0) }; 7] }
    }

    pub(crate) fn address(&self) -> usize {
        self as *const ConditionVariable as usize
    }

    pub(crate) fn clear(&self) {
        self.may_sleep.store(0, Ordering::Relaxed);
        self.reserved.iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
    }
}

/// LockCount of a free section, and of an owned one, without waiters.
pub(crate) const FREE: i32 = -1;
pub(crate) const LOCKED: i32 = -2;
/// The bit of LockCount that belongs to the owner.
pub(crate) const FREE_BIT: i32 = 1;

/// A queue as LockCount publishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublishedQueue {
    /// A waiter has been woken and contends.
    pub(crate) woken: bool,
    /// How many others wait.
    pub(crate) asleep: u32,
}

impl PublishedQueue {
    /// LockCount with this queue and the owner's bit of `state`, FREE or LOCKED.
    pub(crate) const fn lock_count(self, state: i32) -> i32 {
        !((self.woken as i32) << 1 | (self.asleep as i32) << 2) & state
    }
}

/// Publishes a queue in LockCount of the CRITICAL_SECTION at `address`, and leaves the owner's bit to the owner.
///
/// # Safety
/// A CRITICAL_SECTION stands at that address.
pub(crate) unsafe fn publish_queue(address: usize, queue: PublishedQueue) {
    // SAFETY: the caller says so.
    let shown = unsafe { &*(address as *const CriticalSection) };
    let with_its_bit = |now| Some(queue.lock_count(now | !FREE_BIT));
    let _ = shown.lock_count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_its_bit);
}

// ---- in the child of a fork -------------------------------------------------------------------------------
//
// There the section is known and not the call: the program may have freed the memory, or may use it for something else.
// So the system is asked to read and write it, and it is written only if it is the section's. Where the system refuses
// that, nothing is.

/// A field of the CRITICAL_SECTION at `address`, if one stands there that names the section with this handle.
fn field_after_fork<const BYTES: usize>(address: usize, handle: u64, offset: usize) -> Option<[u8; BYTES]> {
    let mut named = [0; size_of::<u64>()];
    let mut field = [0; BYTES];
    let is_read =
        |offset, bytes: &mut [u8]| sys::read_own_memory((address + offset) as u64, bytes) == bytes.len();
    let is_whole = address != 0
        && is_read(offset_of!(CriticalSection, lock_semaphore), &mut named)
        && is_read(offset, &mut field);
    (is_whole && u64::from_ne_bytes(named) == handle).then_some(field)
}

/// The thread that owns the section with this handle has another id in the child: publishes it, if the former one is.
pub(crate) fn publish_thread_after_fork(address: usize, handle: u64, before: u32, now: u32) {
    const OFFSET: usize = offset_of!(CriticalSection, owning_thread);
    let id = |thread| (thread as usize).to_ne_bytes();
    if field_after_fork(address, handle, OFFSET) == Some(id(before)) {
        sys::write_own_memory((address + OFFSET) as u64, &id(now));
    }
}

/// As publish_queue.
pub(crate) fn publish_queue_after_fork(address: usize, handle: u64, queue: PublishedQueue) {
    const OFFSET: usize = offset_of!(CriticalSection, lock_count);
    if let Some(field) = field_after_fork(address, handle, OFFSET) {
        let lock_count = queue.lock_count(i32::from_ne_bytes(field) | !FREE_BIT);
        sys::write_own_memory((address + OFFSET) as u64, &lock_count.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_counts_are_those_that_windows_documents() {
        let queue = |woken, asleep| PublishedQueue { woken, asleep };
        assert_eq!(queue(false, 0).lock_count(FREE), -1);
        assert_eq!(queue(false, 0).lock_count(LOCKED), -2);
        assert_eq!(queue(false, 1).lock_count(LOCKED), -6);
        assert_eq!(queue(false, 5).lock_count(LOCKED), -22);
        assert_eq!(queue(true, 0).lock_count(FREE), -3);
        assert_eq!(queue(true, 2).lock_count(LOCKED), -12);
    }
}
