//! A sequence lock: one thread changes something while others copy it, and no copy is torn. What stands under it is not
//! known here.

use crate::sys::atomic::{AtomicU32, Ordering, fence};

/// The number beside what it protects. Zeroed memory is a lock that nobody has written under.
///
/// The number is odd while a writer is at work. Writers take turns by a lock of their own, or there is only one.
/// Readers never write. What is protected is kept in atomics, read and written Relaxed: a reader that loses the race
/// copies stale values, not undefined ones, and finds the number changed.
///
/// **Why no copy is torn.** A reader finds an even number, copies, and finds the same number again.
/// - It has copied nothing older than the write that ended with this number: its Acquire load pairs with the Release
///   store in `end_write`.
/// - It has copied nothing newer: who reads a value of the next write has its odd number, or a later one, when it
///   loads the number again, as the Acquire fence before that pairs with the Release fence in `begin_write`.
///
/// Only a reader that is stopped while 2^31 writes are made can take one number for another.
#[repr(transparent)]
pub(crate) struct SeqLock(AtomicU32);

impl SeqLock {
    pub(crate) const fn new() -> Self {
        SeqLock(AtomicU32::new(0))
    }

    /// Makes a change that readers see all of or nothing.
    #[inline]
    pub(crate) fn write(&self, change: impl FnOnce()) {
        self.begin_write();
        change();
        self.end_write();
    }

    /// From here to `end_write` no reader gets a copy. Readers are kept out no less if it is not ended before the next
    /// write begins, as a search gives up and a thread vanishes in a fork.
    #[inline]
    pub(crate) fn begin_write(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
        // Pairs with the Acquire fence in read: who reads one of the new values finds the odd number after it.
        // place: seqlock-write-fence
        fence(Ordering::Release);
    }

    #[inline]
    pub(crate) fn end_write(&self) {
        let number = self.0.load(Ordering::Relaxed);
        // Pairs with the Acquire load in read: who reads the new number reads all of the new values.
        // place: seqlock-write-end
        self.0.store(number.wrapping_add(1), Ordering::Release);
    }

    /// What `copy` returns, if nobody was writing meanwhile.
    #[inline]
    pub(crate) fn read<T>(&self, copy: impl FnOnce() -> T) -> Option<T> {
        // Pairs with the Release store in end_write.
        let before = self.0.load(Ordering::Acquire);
        let copied = copy();
        // Pairs with the Release fence in begin_write.
        // place: seqlock-read-fence
        fence(Ordering::Acquire);
        let is_whole = before & 1 == 0 && self.0.load(Ordering::Relaxed) == before;
        is_whole.then_some(copied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicBool;

    #[test]
    fn who_reads_while_it_is_written_gets_nothing() {
        let lock = SeqLock::new();
        assert_eq!(lock.read(|| 1), Some(1));
        lock.begin_write();
        assert_eq!(lock.read(|| 1), None);
        // The first write was given up.
        lock.begin_write();
        assert_eq!(lock.read(|| 1), None);
        lock.end_write();
        assert_eq!(lock.read(|| lock.read(|| 1)), Some(Some(1)));
        assert_eq!(lock.read(|| lock.write(|| ())), None);
    }

    #[test]
    fn a_number_that_wraps_is_one_that_nobody_writes_under() {
        let lock = SeqLock(AtomicU32::new(u32::MAX - 1));
        lock.write(|| assert_eq!(lock.read(|| ()), None));
        assert_eq!(lock.0.load(Ordering::Relaxed), 0);
        assert_eq!(lock.read(|| 1), Some(1));
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let (lock, stop) = (SeqLock::new(), AtomicBool::new(false));
        let values = [const { AtomicU32::new(0) }; 16];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for next in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    lock.write(|| values.iter().for_each(|value| value.store(next, Ordering::Relaxed)));
                }
            });
            for _ in 0..100_000 {
                let copy = lock.read(|| values.each_ref().map(|value| value.load(Ordering::Relaxed)));
                assert!(copy.is_none_or(|copy| copy.iter().all(|&value| value == copy[0])));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
