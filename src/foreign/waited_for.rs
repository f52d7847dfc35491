//! How many threads wait at each address, and at how many of them locks are: counted once, since a report says it of each
//! thread. In pages of its own.

use crate::base::hash::fibonacci_hash;
use crate::sys;

/// A hash table with open addressing, at most half full.
pub(crate) struct WaitedFor {
    start: *mut Place,
    /// A power of two.
    capacity: usize,
    locks: usize,
}

/// Zeroed memory is a free one.
struct Place {
    address: u64,
    waiters: u32,
    is_lock: bool,
}

impl WaitedFor {
    /// With room for so many addresses; None if the system has none.
    pub(crate) fn new(addresses: usize) -> Option<Self> {
        let capacity = (2 * addresses).next_power_of_two();
        let start = sys::borrow_pages(capacity * size_of::<Place>())?.cast();
        Some(WaitedFor { start, capacity, locks: 0 })
    }

    /// Counts a thread that waits at an address other than 0.
    pub(crate) fn add_waiter(&mut self, address: u64) {
        if let Some(place) = self.place(address) {
            (place.address, place.waiters) = (address, place.waiters + 1);
        }
    }

    /// Counts the lock at an address other than 0, once.
    pub(crate) fn add_lock(&mut self, address: u64) {
        if let Some(place) = self.place(address) {
            let is_new = !place.is_lock;
            (place.address, place.is_lock) = (address, true);
            self.locks += usize::from(is_new);
        }
    }

    /// How many locks there are.
    pub(crate) fn locks(&self) -> usize {
        self.locks
    }

    /// How many threads wait at the address.
    pub(crate) fn waiters(&self, address: u64) -> usize {
        let places = self.places();
        self.index(address).and_then(|index| places.get(index)).map_or(0, |place| place.waiters as usize)
    }

    fn place(&mut self, address: u64) -> Option<&mut Place> {
        let index = self.index(address)?;
        // SAFETY: as in places, and this value is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.capacity) }.get_mut(index)
    }

    /// Of the place that has the address, or of the free one for it.
    fn index(&self, address: u64) -> Option<usize> {
        let places = self.places();
        let first = (fibonacci_hash(address) >> 32) as usize;
        let mut ways = (0..self.capacity).map(|step| first.wrapping_add(step) & (self.capacity - 1));
        ways.find(|&index| {
            places.get(index).is_some_and(|place| place.address == address || place.address == 0)
        })
    }

    fn places(&self) -> &[Place] {
        // SAFETY: the pages that new got, zeroed and aligned to any type, are this value's alone.
        unsafe { core::slice::from_raw_parts(self.start, self.capacity) }
    }
}

impl Drop for WaitedFor {
    fn drop(&mut self) {
        // SAFETY: the pages that new got; what is in them is borrowed from this, and needs no drop.
        unsafe { sys::return_pages(self.start.cast(), self.capacity * size_of::<Place>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_count() {
        const ADDRESSES: u64 = 1000;
        let mut counts = WaitedFor::new(ADDRESSES as usize).unwrap();
        for address in (1..=ADDRESSES).map(|number| number * 8) {
            (0..address % 5).for_each(|_| counts.add_waiter(address));
            (0..address % 3).for_each(|_| counts.add_lock(address));
        }
        let locks = (1..=ADDRESSES).filter(|number| number * 8 % 3 != 0).count();
        assert_eq!(counts.locks(), locks);
        for address in (1..=ADDRESSES).map(|number| number * 8) {
            assert_eq!(counts.waiters(address), (address % 5) as usize, "{address}");
        }
        assert_eq!(counts.waiters(4), 0);
    }
}
