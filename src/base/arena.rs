//! Type-stable slots: memory that once held a section or a task never holds anything else and is never unmapped.
//!
//! A stale handle is therefore recognised by reading its slot, and an owner may read a section's slot after it
//! has let the section go. A late reader finds an object of the same kind, perhaps a newer one.
//!
//! **A slot is free because its link says so.** The free list is kept outside of the slots, in one link for each, so
//! that a late store to a slot's field cannot reach it. A link says that its slot is in use, retired, or free, and then
//! which free slot is next. A slot is allocated only if its own link says free, and released only if its own link says
//! in use: no slot is allocated twice, whatever else went wrong.

use core::marker::PhantomData;
use core::mem::offset_of;

use crate::base::memory::{Shown, readable_in_copies};
use crate::base::region::{Region, SMALLEST_STEP};
use crate::error::{Error, Result};
use crate::sys::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sys::{self, Mutex};

/// What an arena can hold: all zero bytes is a valid value.
///
/// # Safety
/// Every field is an atomic or an array of such, so zeroed memory is valid and may be shared.
pub(crate) unsafe trait Slot: Sized {}

/// A growing array of slots at a fixed address. Slot 0 is never allocated, so 0 can mean "none".
///
/// Only slots below `used` are certain to be memory; `at_offset` reads slots without that check. A thread gets the
/// number of a slot from the thread that allocated it, or from a caller. In the first case the number comes through an
/// atomic or a lock, and `used` with it: the allocating thread issues a Release fence before it passes the number on,
/// and the reader acquires. A caller may pass any number, received in any way; the functions that take handles begin
/// with an Acquire fence. A number that is not below `used` is not a slot.
#[repr(C)]
pub(crate) struct Arena<T> {
    slots: Region,
    /// Turns any number into the offset of a slot that can be read. See show.
    offset_mask: AtomicUsize,
    /// Reserved slots, a power of two.
    capacity: AtomicU32,
    /// Slots 1 to `used - 1` were allocated at some time.
    used: AtomicU32,
    /// Slots in use now.
    live: AtomicU32,
    /// The first slot of the free list, 0 for none; under `lock`, as are the changes of the fields above.
    free: AtomicU32,
    lock: Mutex,
    /// The link of each slot, an AtomicU32; under `lock`.
    links: Region,
    kind: PhantomData<T>,
}

/// A link: the slot is in use, or was never.
const IN_USE: u32 = 0;
/// A link: the slot is not used again.
const RETIRED: u32 = 1 << 30;
/// A link: the slot is free. The other bits are the number of the next free slot, 0 for none.
const FREE: u32 = 1 << 31;

const LINK_BYTES: usize = size_of::<AtomicU32>();

/// For `layout`. The same for every kind of slot.
pub(crate) const LAYOUT: [(&str, usize); 3] = [
    ("arena.base", offset_of!(Arena<()>, slots)),
    ("arena.capacity", offset_of!(Arena<()>, capacity)),
    ("arena.used", offset_of!(Arena<()>, used)),
];

// SAFETY: an arena hands out shared references to slots of atomics only (see Slot).
unsafe impl<T: Slot> Sync for Arena<T> {}

/// An arena takes at most this part of a limited address space.
const SHARE_OF_ADDRESS_SPACE: u64 = 8;

readable_in_copies!(Arena<T>, T);

impl<T> Shown<Arena<T>> {
    /// The address of slot `index`, if it was ever allocated, in the memory that this arena is in.
    pub(crate) fn address(&self, index: u32) -> Option<usize> {
        let base = self.fields().slots.base();
        // A copy of another process's arena may contain any number.
        (index != 0 && index < self.end()).then(|| base.wrapping_add(index as usize * size_of::<T>()))
    }

    /// The addresses of all slots ever allocated, from slot 1 on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = usize> {
        (1..self.end()).filter_map(|index| self.address(index))
    }

    /// The last slot ever allocated: its number and its address.
    pub(crate) fn last(&self) -> Option<(u32, usize)> {
        let index = self.end().checked_sub(1)?;
        self.address(index).map(|address| (index, address))
    }

    /// The number after the last slot ever allocated.
    pub(crate) fn end(&self) -> u32 {
        let arena = self.fields();
        // Acquire pairs with the Release in extend.
        arena.used.load(Ordering::Acquire).min(arena.capacity.load(Ordering::Relaxed))
    }

    /// Slots in use now.
    pub(crate) fn live(&self) -> u32 {
        self.fields().live.load(Ordering::Relaxed)
    }
}

impl<T: Slot> Arena<T> {
    pub(crate) const fn new() -> Self {
        Arena {
            slots: Region::new(),
            offset_mask: AtomicUsize::new(0),
            capacity: AtomicU32::new(0),
            used: AtomicU32::new(1),
            live: AtomicU32::new(0),
            free: AtomicU32::new(0),
            lock: Mutex::new(),
            links: Region::new(),
            kind: PhantomData,
        }
    }

    /// Reserves address space for up to `most` slots (a power of two), or as much as the process may have. Once.
    pub(crate) fn reserve(&self, most: u32) -> Result<()> {
        if self.slots.base() != 0 {
            return Ok(());
        }
        let share = sys::address_space_limit() / SHARE_OF_ADDRESS_SPACE;
        let mut capacity = most;
        while capacity as u64 * (size_of::<T>() + LINK_BYTES) as u64 > share {
            capacity /= 2;
        }
        loop {
            let slots = capacity as usize * size_of::<T>();
            let links = (capacity as usize * LINK_BYTES).next_multiple_of(SMALLEST_STEP);
            if slots < SMALLEST_STEP {
                return Err(Error::OutOfMemory);
            }
            if let Some(base) = sys::reserve_pages(slots + links) {
                self.capacity.store(capacity, Ordering::Relaxed);
                // SAFETY: both parts of the new reservation are whole pages, as a capacity is.
                unsafe {
                    self.links.begin(base as usize + slots, links);
                    self.slots.begin(base as usize, slots);
                }
                return Ok(());
            }
            capacity /= 2;
        }
    }

    /// Makes the first `slots` readable, in use or not: a power of two. From here on at_offset looks among those.
    pub(crate) fn show(&self, slots: u32) -> Result<()> {
        let bytes = slots as usize * size_of::<T>();
        self.slots.show(bytes)?;
        self.offset_mask.store(bytes - size_of::<T>(), Ordering::Relaxed);
        Ok(())
    }

    /// How many slots at_offset looks among.
    fn shown(&self) -> u32 {
        (self.offset_mask.load(Ordering::Relaxed) / size_of::<T>()) as u32 + 1
    }

    /// The slot at `index`, if it was ever allocated or skipped.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: slots below `used` are memory, never unmapped; zeroed slots are valid (Slot).
        (index < self.used()).then(|| unsafe { &*(self.slots.base() as *const T).add(index as usize) })
    }

    /// The slot at `index`, or slot 0 if there is no such slot. Once the registry is ready.
    pub(crate) fn at(&self, index: u32) -> &T {
        let index = if index < self.used() { index } else { 0 };
        // SAFETY: slots below `used` are memory, never unmapped, and slot 0 is if any is; zeroed slots are valid
        // (Slot).
        unsafe { &*(self.slots.base() as *const T).add(index as usize) }
    }

    /// The slot at the offset in `bits` XOR `FLIP`, or another one: readable whatever the bits are, which may hold
    /// anything above and below the offset. Only for slots whose size is a power of two, once some are shown.
    ///
    /// A thread may read an old mask, as it may be stopped between its reads for any time. It then finds another slot
    /// than the one meant, and must check what it found; `at` finds the right one.
    #[inline(always)]
    pub(crate) fn at_offset<const FLIP: usize>(&self, bits: u64) -> &T {
        const { assert!(size_of::<T>().is_power_of_two()) };
        const { assert!(FLIP.is_multiple_of(size_of::<T>()) && FLIP < SMALLEST_STEP) };
        // FLIP is applied last, so that `bits` stays unchanged in the register in which the caller needs it.
        let offset = bits as usize & self.offset_mask.load(Ordering::Relaxed) ^ FLIP;
        let address = sys::in_one_register(self.slots.base() + offset);
        // SAFETY: the mask lets through multiples of the size below a power of two, which FLIP is less than: show has
        // made as many bytes readable before it stored the mask. As in at.
        unsafe { &*(address as *const T) }
    }

    /// The number of a slot of this arena.
    pub(crate) fn index_of(&self, slot: &T) -> u32 {
        ((slot as *const T as usize - self.slots.base()) / size_of::<T>()) as u32
    }

    /// Takes a slot out of the free list, or a new one.
    pub(crate) fn allocate(&self) -> Result<u32> {
        self.allocate_with(0, |_| ())
    }

    /// As allocate; gives `keep` up to `most` further slots that were free and are in use from here on. None if no slot
    /// is left that was never used.
    pub(crate) fn allocate_with(&self, most: usize, mut keep: impl FnMut(u32)) -> Result<u32> {
        let guard = self.lock.lock();
        let most = if self.is_used_up() { 0 } else { most };
        let free = self.take_free();
        let index = match free {
            Some(index) => index,
            None => self.extend()?,
        };
        self.live.store(self.live() + 1, Ordering::Relaxed);
        (0..most).map_while(|_| self.take_free()).for_each(|further| {
            self.live.store(self.live() + 1, Ordering::Relaxed);
            keep(further);
        });
        drop(guard);
        if free.is_none() {
            self.gather_before(index);
        }
        Ok(index)
    }

    /// The first free slot, which is in use from here on; under `lock`. If the list leads to a slot that is not free,
    /// it ends there: the slots after it are leaked, and no slot in use is allocated again.
    fn take_free(&self) -> Option<u32> {
        let index = self.free.load(Ordering::Relaxed);
        let link = self.link(index)?;
        let next = link.load(Ordering::Relaxed) ^ FREE;
        if next & FREE != 0 {
            return None;
        }
        // In this order: a fork between the two leaves the list consistent (see `sys::mutex`), without one slot.
        self.free.store(next, Ordering::Relaxed);
        link.store(IN_USE, Ordering::Relaxed);
        Some(index)
    }

    /// The link of a slot that was ever allocated; under `lock`.
    fn link(&self, index: u32) -> Option<&AtomicU32> {
        let exists = index != 0 && index < self.used.load(Ordering::Relaxed);
        // SAFETY: extend has committed the links of all slots below `used`.
        exists.then(|| unsafe { &*(self.links.base() as *const AtomicU32).add(index as usize) })
    }

    /// The next slot never used; under `lock`.
    fn extend(&self) -> Result<u32> {
        let index = self.used.load(Ordering::Relaxed);
        if index >= self.capacity() {
            return Err(Error::OutOfMemory);
        }
        let shown = self.shown();
        if self.offset_mask.load(Ordering::Relaxed) != 0 && index >= shown {
            self.show(shown * 2)?;
        }
        // The last slot may lie only partly in committed memory.
        let count = index as usize + 1;
        self.slots.cover(count * size_of::<T>())?;
        self.links.cover(count * LINK_BYTES)?;
        // Release pairs with the Acquire in used: a thread that sees the number may access the slot.
        self.used.store(index + 1, Ordering::Release);
        Ok(index)
    }

    /// Moves a whole huge page of slots to one, once the last of them was taken: a program with so many enters them in
    /// no order. All of its pages are in use by then, so no memory is taken for it. Without the lock: the system moves what
    /// others use meanwhile.
    fn gather_before(&self, index: u32) {
        let (base, end) = (self.slots.base(), self.slots.base() + index as usize * size_of::<T>());
        let is_whole = end.is_multiple_of(sys::HUGE_PAGE) && end - base >= sys::HUGE_PAGE;
        if is_whole && sys::may_have_huge_pages() {
            // SAFETY: slots below `used` are committed memory of this arena.
            unsafe { sys::gather_pages((end - sys::HUGE_PAGE) as *mut u8) };
        }
    }

    /// Releases slot `index`, so that it can be allocated again, or retires it for good. A slot that is not in use does
    /// not change.
    pub(crate) fn release(&self, index: u32, retire: bool) {
        let _guard = self.lock.lock();
        self.release_locked(index, retire);
    }

    /// Releases these slots, each as release does.
    pub(crate) fn release_all(&self, indices: impl Iterator<Item = u32>) {
        let _guard = self.lock.lock();
        indices.for_each(|index| self.release_locked(index, false));
    }

    fn release_locked(&self, index: u32, retire: bool) {
        let Some(link) = self.link(index).filter(|link| link.load(Ordering::Relaxed) == IN_USE) else {
            return;
        };
        if retire {
            link.store(RETIRED, Ordering::Relaxed);
        } else {
            link.store(FREE | self.free.load(Ordering::Relaxed), Ordering::Relaxed);
            self.free.store(index, Ordering::Relaxed);
        }
        self.live.store(self.live() - 1, Ordering::Relaxed);
    }

    /// Every slot ever allocated, in use or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (1..self.used.load(Ordering::Acquire)).map(|index| self.at(index))
    }

    /// All slots ever allocated are below this number.
    pub(crate) fn used(&self) -> u32 {
        // Acquire pairs with the Release in extend.
        self.used.load(Ordering::Acquire)
    }

    /// How many slots can be allocated before one has to be released.
    pub(crate) fn left(&self) -> u32 {
        let _guard = self.lock.lock();
        let used = self.used.load(Ordering::Relaxed);
        let is_free =
            |index: &u32| self.link(*index).is_some_and(|link| link.load(Ordering::Relaxed) & FREE != 0);
        self.capacity() - used + (1..used).filter(is_free).count() as u32
    }

    /// Whether there is no slot that was never used.
    #[inline(always)]
    pub(crate) fn is_used_up(&self) -> bool {
        self.used() >= self.capacity()
    }

    /// Whether no slot can be allocated before one is released.
    pub(crate) fn is_full(&self) -> bool {
        self.is_used_up() && self.free.load(Ordering::Relaxed) == 0
    }

    /// Slots reserved, a power of two.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Skips the slots below `index` for ever: they can be read and are never allocated. Before the first allocation.
    pub(crate) fn skip_to(&self, index: u32) -> Result<()> {
        let _guard = self.lock.lock();
        while self.used.load(Ordering::Relaxed) < index {
            self.extend()?;
        }
        Ok(())
    }

    /// The allocation lock.
    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Small {
        value: AtomicU32,
        _more: AtomicU32,
    }

    // SAFETY: all fields are atomics.
    unsafe impl Slot for Small {}

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

        assert_eq!(arena.left(), 0);
        arena.release(slots[7], false);
        assert_eq!(arena.left(), 1);
        assert_eq!(arena.allocate(), Ok(slots[7]));
        arena.release(slots[8], true);
        assert_eq!(arena.left(), 0, "a retired slot is not left");
        assert_eq!(arena.allocate(), Err(Error::OutOfMemory));
        assert_eq!(arena.live(), (1 << 14) - 2);
    }

    #[test]
    fn a_slot_that_is_free_is_not_taken_back() {
        let arena = Arena::<Small>::new();
        arena.reserve(1 << 14).unwrap();
        assert_eq!((arena.allocate(), arena.allocate(), arena.allocate()), (Ok(1), Ok(2), Ok(3)));
        for index in [2, 2, 0, 4, u32::MAX] {
            arena.release(index, false);
        }
        assert_eq!(arena.live(), 2);
        assert_eq!((arena.allocate(), arena.allocate()), (Ok(2), Ok(4)));
        arena.release(3, true);
        arena.release(3, false);
        assert_eq!(arena.allocate(), Ok(5), "3 is retired");
        assert_eq!(arena.live(), 4);
    }

    #[test]
    fn a_damaged_list_hands_out_nothing_that_is_in_use() {
        for link in [IN_USE, RETIRED, FREE | 1, FREE | 2, FREE | 5, FREE | 1 << 20, u32::MAX] {
            let arena = Arena::<Small>::new();
            arena.reserve(1 << 14).unwrap();
            (1..=4).for_each(|index| assert_eq!(arena.allocate(), Ok(index)));
            [2, 3].iter().for_each(|&index| arena.release(index, false));
            arena.link(3).unwrap().store(link, Ordering::Relaxed);
            let mut taken = std::vec![1, 4];
            for _ in 0..10 {
                let index = arena.allocate().unwrap();
                assert!(!taken.contains(&index), "{index} twice after {link:#x}");
                taken.push(index);
            }
        }
    }

    #[test]
    fn writing_all_of_a_free_slot_leads_the_list_nowhere() {
        let arena = Arena::<Small>::new();
        arena.reserve(1 << 14).unwrap();
        (1..=4).for_each(|index| assert_eq!(arena.allocate(), Ok(index)));
        [2, 3].iter().for_each(|&index| arena.release(index, false));
        // As a thread does that found the slot in use.
        arena.at(3).value.store(4, Ordering::Relaxed);
        arena.at(3)._more.store(4, Ordering::Relaxed);
        assert_eq!((arena.allocate(), arena.allocate(), arena.allocate()), (Ok(3), Ok(2), Ok(5)));
    }

    /// As large as no number of pages is a multiple of.
    #[repr(C)]
    struct Odd([AtomicU32; 19]);

    // SAFETY: all fields are atomics.
    unsafe impl Slot for Odd {}

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
    fn any_number_finds_something_readable() {
        let arena = Arena::<Small>::new();
        arena.reserve(1 << 20).unwrap();
        arena.show(1 << 13).unwrap();
        arena.skip_to(3).unwrap();
        arena.at(2).value.store(7, Ordering::Relaxed);
        for index in [0, 3, 1 << 13, 1 << 19, (1 << 20) - 1, 1 << 20, u32::MAX] {
            assert_eq!(arena.index_of(arena.at(index)), 0);
            assert_eq!(arena.at_offset::<16>((u64::from(index) * 8) ^ 16).value.load(Ordering::Relaxed), 0);
        }
        assert_eq!(arena.at(2).value.load(Ordering::Relaxed), 7);
        assert_eq!(arena.at_offset::<0>((2 * 8 + 5) | (1 << 40)).value.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn what_is_shown_doubles_and_is_never_less_than_what_is_used() {
        let arena = Arena::<Small>::new();
        arena.reserve(1 << 16).unwrap();
        arena.show(1 << 13).unwrap();
        while let Ok(index) = arena.allocate() {
            arena.at(index).value.store(index, Ordering::Relaxed);
            assert_eq!(arena.at_offset::<0>(u64::from(index) * 8).value.load(Ordering::Relaxed), index);
        }
        assert_eq!((arena.used(), arena.shown()), (1 << 16, 1 << 16));
    }
}
