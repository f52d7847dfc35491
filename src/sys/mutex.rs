//! A mutex for the library's own short bookkeeping: free lists, queues of waiters, tables.
//!
//! Three states of one futex word, zero is unlocked, so it works in zeroed memory. Never held while user code
//! runs or while a caller waits for a section.
//!
//! **Forks.** No mutex is locked around a fork, so that a fork may happen in any handler of the program, in any order.
//! A thread that holds a mutex at that moment does not exist in the child. So every mutex is unlocked in the child (see
//! `fork`), and the data under it is written such that every single store leaves it usable, at the cost of a few
//! slots at most. The child does that before its first lock, so no call finds what the parent's threads left, such as their
//! queues.
//!
//! A thread that a handler interrupts to fork while it holds a mutex goes on in the child without it: there is no other
//! thread yet. But what it then writes, it writes after the repair. Where the repair changes the same data, the guard
//! says so at the end (`is_of_parent`), and the data is put in order again.

use super::atomic::{AtomicU32, Ordering};
use super::{
    POLLS_BEFORE_SLEEP, THREADS_MAY_VANISH, futex_wait, futex_wake, now, pause, repairs, settle_fork,
};

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
/// Locked, and a thread may be asleep on the word: unlock must wake.
const CONTENDED: u32 = 2;

/// How long a thread sleeps before it checks whether it is in the child of a fork, where the holder is not: in nanoseconds.
const HOLDER_CHECK: u64 = 1_000_000_000;

#[repr(transparent)]
pub(crate) struct Mutex(AtomicU32);

/// Holds the mutex until dropped.
pub(crate) struct Guard<'a> {
    mutex: &'a Mutex,
    /// `repairs` once it was locked.
    repairs: u32,
}

impl Mutex {
    pub(crate) const fn new() -> Mutex {
        Mutex(AtomicU32::new(UNLOCKED))
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_> {
        settle_fork();
        // Acquire pairs with the Release in unlock: sees what the last holder wrote.
        // place: mutex-lock-exchange
        if self.0.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_contended();
        }
        self.guard()
    }

    /// Only after it was locked: if a fork comes before that, the guard is the child's.
    #[inline]
    fn guard(&self) -> Guard<'_> {
        Guard { mutex: self, repairs: repairs() }
    }

    /// Locks the mutex if it is unlocked.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_>> {
        settle_fork();
        // As in lock.
        self.0
            .compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| self.guard())
    }

    /// Locks the mutex unless `done` is set: by a holder, once and for all, who calls `wake_all` then. What all wait for
    /// is over, so none of them need have the mutex for it, one after the other.
    pub(crate) fn lock_unless(&self, done: &AtomicU32) -> Option<Guard<'_>> {
        self.try_lock().or_else(|| self.lock_contended_unless(done).then(|| self.guard()))
    }

    /// By the holder: `done` is set. Who begins to sleep meanwhile is woken by its unlock.
    pub(crate) fn wake_all(&self) {
        if self.0.load(Ordering::Relaxed) == CONTENDED {
            futex_wake(&self.0, i32::MAX);
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_contended(&self) {
        static NEVER: AtomicU32 = AtomicU32::new(0);
        self.lock_contended_unless(&NEVER);
    }

    #[cold]
    #[inline(never)]
    fn lock_contended_unless(&self, done: &AtomicU32) -> bool {
        for _ in 0..POLLS_BEFORE_SLEEP {
            pause();
            if self.0.load(Ordering::Relaxed) == UNLOCKED
                && self.0.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return true;
            }
        }
        // From here on the mutex is locked as CONTENDED even if no other thread sleeps: at worst one wake too many.
        // place: mutex-sleeper-swap
        while self.0.swap(CONTENDED, Ordering::Acquire) != UNLOCKED {
            // Acquire pairs with the Release of who set it: sees what was done. Nobody's wake-up is lost with who goes away
            // here: the holder now finds CONTENDED, and wakes another.
            // place: mutex-done-load
            if done.load(Ordering::Acquire) != 0 {
                return false;
            }
            let check = THREADS_MAY_VANISH.then(|| now() + HOLDER_CHECK);
            let _ = futex_wait(&self.0, CONTENDED, check);
            settle_fork();
        }
        true
    }

    #[inline]
    fn unlock(&self) {
        // place: mutex-unlock-swap
        if self.0.swap(UNLOCKED, Ordering::Release) == CONTENDED {
            futex_wake(&self.0, 1);
        }
    }

    /// Whether a thread holds it. SeqCst: who stores before, SeqCst, and finds it unlocked is seen by the next holder, if
    /// that one has a SeqCst fence before it loads.
    #[inline]
    pub(crate) fn is_locked(&self) -> bool {
        self.0.load(Ordering::SeqCst) != UNLOCKED
    }

    /// Forgets every holder and sleeper. Only in the child of a fork, where neither exists any more. Writes nothing to
    /// a mutex that nobody held: most lie in pages that the child shares with its parent.
    pub(crate) fn reset_after_fork(&self) {
        if self.0.load(Ordering::Relaxed) != UNLOCKED {
            self.0.store(UNLOCKED, Ordering::Relaxed);
        }
    }
}

impl Guard<'_> {
    /// Whether the mutex was locked before a fork, in a child of which the caller goes on: it is unlocked there.
    #[inline]
    pub(crate) fn is_of_parent(&self) -> bool {
        self.repairs != repairs()
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_of_parent() {
            self.mutex.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::UnsafeCell;

    struct Guarded(UnsafeCell<u64>);
    // SAFETY: the cell is only touched while the mutex is held.
    unsafe impl Sync for Guarded {}
    impl Guarded {
        fn add_one(&self, _guard: &Guard<'_>) {
            // SAFETY: the guard is held.
            unsafe { *self.0.get() += 1 };
        }
    }

    #[test]
    fn excludes() {
        let (mutex, count) = (Mutex::new(), Guarded(UnsafeCell::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_000).for_each(|_| count.add_one(&mutex.lock())));
            }
        });
        assert_eq!(count.0.into_inner(), 80_000);
    }

    #[test]
    fn a_try_takes_what_nobody_has() {
        let mutex = Mutex::new();
        let guard = mutex.try_lock();
        assert!(guard.is_some() && mutex.try_lock().is_none());
        drop(guard);
        assert!(mutex.try_lock().is_some());
    }
}
