//! Type-stable slots: memory that once held a section or a task never holds anything else and is never unmapped.
//!
//! A stale handle is therefore recognised by reading its slot, and an owner may look at a section's slot after it
//! has let it go. Whoever reads a slot late finds the same kind of object, perhaps a newer one.

use core::marker::PhantomData;
use core::mem::offset_of;

use crate::error::{Error, Result};
use crate::sys::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sys::{self, Mutex};

/// What an arena can hold: all zero bytes is a valid value, and there is a place for the free list.
///
/// # Safety
/// Every field is an atomic or an array of such, so zeroed memory is valid and may be shared.
pub(crate) unsafe trait Slot: Sized {
    /// The link of the free list, untouched while the slot is in use.
    fn next_free(&self) -> &AtomicU32;
}

/// A growing array of slots at a fixed address. Slot 0 is never handed out, so 0 can mean "none".
///
/// Address space is reserved once; pages are made writable as slots are first used. Reserved pages read as zeros.
#[repr(C)]
pub(crate) struct Arena<T> {
    base: AtomicUsize,
    /// Turns any number into the offset of a slot, if the slot's size is a power of two.
    offset_mask: AtomicUsize,
    /// Reserved slots, a power of two.
    capacity: AtomicU32,
    /// Bytes of writable memory from `base` on: whole pages, so the last slot in it may lie only partly there.
    committed: AtomicUsize,
    /// Slots ever handed out are 1 to `used - 1`.
    used: AtomicU32,
    /// Slots in use now.
    live: AtomicU32,
    /// The first slot of the free list; under `lock`, as are the changes of the fields above.
    free: AtomicU32,
    lock: Mutex,
    slots: PhantomData<T>,
}

/// For `layout`. The same for every kind of slot.
pub(crate) const LAYOUT: [(&str, usize); 3] = [
    ("arena.base", offset_of!(Arena<()>, base)),
    ("arena.capacity", offset_of!(Arena<()>, capacity)),
    ("arena.used", offset_of!(Arena<()>, used)),
];

// SAFETY: an arena hands out shared references to slots of atomics only (see Slot).
unsafe impl<T: Slot> Sync for Arena<T> {}

/// Pages are committed in steps of at least this, doubling the arena up to steps of LARGEST_STEP.
const SMALLEST_STEP: usize = 64 << 10;
const LARGEST_STEP: usize = 4 << 20;
/// An arena takes at most this part of a limited address space.
const SHARE_OF_ADDRESS_SPACE: u64 = 8;

impl<T: Slot> Arena<T> {
    pub(crate) const fn new() -> Self {
        Arena {
            base: AtomicUsize::new(0),
            offset_mask: AtomicUsize::new(0),
            capacity: AtomicU32::new(0),
            committed: AtomicUsize::new(0),
            used: AtomicU32::new(1),
            live: AtomicU32::new(0),
            free: AtomicU32::new(0),
            lock: Mutex::new(),
            slots: PhantomData,
        }
    }

    /// Reserves address space for up to `most` slots (a power of two), or as much as the process may have. Once.
    pub(crate) fn reserve(&self, most: u32) -> Result<()> {
        if self.base.load(Ordering::Relaxed) != 0 {
            return Ok(());
        }
        let share = sys::address_space_limit() / SHARE_OF_ADDRESS_SPACE;
        let mut capacity = most;
        while capacity as u64 * size_of::<T>() as u64 > share {
            capacity /= 2;
        }
        loop {
            let bytes = capacity as usize * size_of::<T>();
            if bytes < SMALLEST_STEP {
                return Err(Error::OutOfMemory);
            }
            if let Some(base) = sys::reserve_pages(bytes) {
                self.capacity.store(capacity, Ordering::Relaxed);
                if size_of::<T>().is_power_of_two() {
                    self.offset_mask.store(bytes - size_of::<T>(), Ordering::Relaxed);
                }
                self.base.store(base as usize, Ordering::Release);
                return Ok(());
            }
            capacity /= 2;
        }
    }

    /// The slot at `index` modulo the capacity: readable whatever the number is, once reserve has succeeded.
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> &T {
        let base = self.base.load(Ordering::Relaxed);
        let index = index & self.capacity.load(Ordering::Relaxed).wrapping_sub(1);
        // SAFETY: the reservation holds `capacity` slots and is never unmapped; zeroed slots are valid (Slot).
        unsafe { &*(base as *const T).add(index as usize) }
    }

    /// The slot at the offset in `bits`, which may hold anything above and below: readable whatever they are, once
    /// reserve has succeeded. Only for slots whose size is a power of two.
    #[inline(always)]
    pub(crate) fn at_offset(&self, bits: u64) -> &T {
        const { assert!(size_of::<T>().is_power_of_two()) };
        let offset = bits as usize & self.offset_mask.load(Ordering::Relaxed);
        let address = sys::in_one_register(self.base.load(Ordering::Relaxed) + offset);
        // SAFETY: the mask lets through multiples of the size below the reservation's; as in at.
        unsafe { &*(address as *const T) }
    }

    /// The number of a slot of this arena.
    pub(crate) fn index_of(&self, slot: &T) -> u32 {
        ((slot as *const T as usize - self.base.load(Ordering::Relaxed)) / size_of::<T>()) as u32
    }

    /// Takes a slot out of the free list, or a new one.
    pub(crate) fn allocate(&self) -> Result<u32> {
        let _guard = self.lock.lock();
        let free = self.free.load(Ordering::Relaxed);
        let index = if free != 0 {
            self.free.store(self.at(free).next_free().load(Ordering::Relaxed), Ordering::Relaxed);
            free
        } else {
            self.extend()?
        };
        self.live.fetch_add(1, Ordering::Relaxed);
        Ok(index)
    }

    /// The next slot never used; under `lock`.
    fn extend(&self) -> Result<u32> {
        let index = self.used.load(Ordering::Relaxed);
        if index >= self.capacity() {
            return Err(Error::OutOfMemory);
        }
        while (index as usize + 1) * size_of::<T>() > self.committed.load(Ordering::Relaxed) {
            self.commit_more()?;
        }
        // Release pairs with the Acquire in used: who sees the number may touch the slot.
        self.used.store(index + 1, Ordering::Release);
        Ok(index)
    }

    fn commit_more(&self) -> Result<()> {
        let committed = self.committed.load(Ordering::Relaxed);
        let reserved = self.capacity() as usize * size_of::<T>();
        let step = committed.clamp(SMALLEST_STEP, LARGEST_STEP).min(reserved - committed);
        let start = (self.base.load(Ordering::Relaxed) + committed) as *mut u8;
        // SAFETY: `committed + step` is within the reservation; both are whole pages, as a capacity is.
        if step == 0 || !unsafe { sys::commit_pages(start, step) } {
            return Err(Error::OutOfMemory);
        }
        self.committed.store(committed + step, Ordering::Relaxed);
        Ok(())
    }

    /// Makes slot `index` the last of its use: it can be handed out again, unless it is to `retire` for good.
    pub(crate) fn release(&self, index: u32, retire: bool) {
        let _guard = self.lock.lock();
        if !retire {
            self.at(index).next_free().store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
            self.free.store(index, Ordering::Relaxed);
        }
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// Every slot ever handed out, in use or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (1..self.used.load(Ordering::Acquire)).map(|index| self.at(index))
    }

    /// The address of slot `index`, if it was ever handed out. In the memory that this arena stands in.
    pub(crate) fn address(&self, index: u32) -> Option<usize> {
        let base = self.base.load(Ordering::Acquire);
        // In a copy of another process's arena any number may stand.
        (index != 0 && index < self.end()).then(|| base.wrapping_add(index as usize * size_of::<T>()))
    }

    /// The addresses of all slots ever handed out, from slot 1 on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = usize> {
        (1..self.end()).filter_map(|index| self.address(index))
    }

    /// The last slot ever handed out: its number and its address.
    pub(crate) fn last(&self) -> Option<(u32, usize)> {
        let index = self.end().checked_sub(1)?;
        self.address(index).map(|address| (index, address))
    }

    /// The number above those of all slots ever handed out.
    fn end(&self) -> u32 {
        self.used.load(Ordering::Acquire).min(self.capacity.load(Ordering::Relaxed))
    }

    /// Slots ever handed out are below this number.
    pub(crate) fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// Slots in use now.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// Slots reserved, a power of two.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Leaves the slots below `index` out for ever. Before the first allocation.
    pub(crate) fn skip_to(&self, index: u32) {
        self.used.fetch_max(index, Ordering::Relaxed);
    }

    /// Makes the first slots writable, slot 0 among them.
    pub(crate) fn commit_first(&self) -> Result<()> {
        let _guard = self.lock.lock();
        if self.committed.load(Ordering::Relaxed) == 0 { self.commit_more() } else { Ok(()) }
    }

    /// The allocation lock, held across a fork so that the child finds the free list whole.
    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Small {
        next_free: AtomicU32,
        value: AtomicU32,
    }

    // SAFETY: all fields are atomics.
    unsafe impl Slot for Small {
        fn next_free(&self) -> &AtomicU32 {
            &self.next_free
        }
    }

    #[test]
    fn a_full_arena_says_so_and_loses_nothing() {
        let arena = Arena::<Small>::new();
        arena.reserve(1 << 14).unwrap();
        let mut slots = std::vec::Vec::new();
        while let Ok(index) = arena.allocate() {
            arena.at(index).value.store(index, Ordering::Relaxed);
            slots.push(index);
        }
        assert_eq!(slots.len(), (1 << 14) - 1);
        assert!(slots.iter().all(|&index| arena.at(index).value.load(Ordering::Relaxed) == index));

        arena.release(slots[7], false);
        assert_eq!(arena.allocate(), Ok(slots[7]));
        arena.release(slots[8], true);
        assert_eq!(arena.allocate(), Err(Error::OutOfMemory));
        assert_eq!(arena.live(), (1 << 14) - 2);
    }

    /// As large as no number of pages is a multiple of.
    #[repr(C)]
    struct Odd([AtomicU32; 19]);

    // SAFETY: all fields are atomics.
    unsafe impl Slot for Odd {
        fn next_free(&self) -> &AtomicU32 {
            &self.0[0]
        }
    }

    #[test]
    fn slots_may_lie_across_pages() {
        let arena = Arena::<Odd>::new();
        arena.reserve(1 << 16).unwrap();
        for index in 1..1 << 16 {
            assert_eq!(arena.allocate(), Ok(index));
            arena.at(index).0[18].store(index, Ordering::Relaxed);
        }
        assert_eq!(arena.allocate(), Err(Error::OutOfMemory));
        assert!((1..1 << 16).all(|index| arena.at(index).0[18].load(Ordering::Relaxed) == index));
    }

    #[test]
    fn slots_never_used_read_as_zeros() {
        let arena = Arena::<Small>::new();
        arena.reserve(1 << 14).unwrap();
        assert_eq!(arena.at((1 << 14) - 1).value.load(Ordering::Relaxed), 0);
        assert_eq!(arena.at(u32::MAX).value.load(Ordering::Relaxed), 0);
    }
}
