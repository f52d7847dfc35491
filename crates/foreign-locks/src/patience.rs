//! How long an observer lets a wait for a lock of managed code settle before it says that what it sees of it is certain.

/// One nap, in nanoseconds: managed code is mostly stopped for a few milliseconds.
const NAP: u64 = 10_000_000;
/// All naps of one observer.
const MOST_NAPS: u32 = 50;
/// Between that a thread takes a lock of managed code and that it leaves its name there, it may have to wait for a processor: so
/// many naps.
const NAPS_FOR_A_NAME: u32 = 20;

/// What is left of an observer's time to wait. It waits so as not to be wrong, and not for ever.
#[derive(Debug)]
pub struct Patience {
    naps: u32,
    /// Which lock without an owner was seen last, and whether a new owner has had the time to leave its name there.
    ownerless: (u64, bool),
}

impl Patience {
    /// That of who looks at a process which goes on.
    pub const fn some() -> Self {
        Patience { naps: MOST_NAPS, ownerless: (0, false) }
    }

    /// That of who looks at one moment, as of a core: nothing changes there.
    pub const fn none() -> Self {
        Patience { naps: 0, ownerless: (0, false) }
    }

    /// Whether managed code has run, or does before the naps are used up.
    pub fn lets_run(&mut self, has_run: &dyn Fn() -> bool, nap: fn(u64)) -> bool {
        while !has_run() {
            if !self.sleeps(1, nap) {
                return false;
            }
        }
        true
    }

    /// Whether who has just taken a lock, which seems to be abandoned, has had the time since to leave its name there.
    pub fn lets_owner_be_named(&mut self, lock: u64, nap: fn(u64)) -> bool {
        if self.ownerless.0 != lock {
            self.ownerless = (lock, self.sleeps(NAPS_FOR_A_NAME, nap));
        }
        self.ownerless.1
    }

    fn sleeps(&mut self, naps: u32, nap: fn(u64)) -> bool {
        let left = self.naps.checked_sub(naps);
        if let Some(left) = left {
            self.naps = left;
            nap(NAP * u64::from(naps));
        }
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    std::thread_local!(static SLEPT: Cell<u64> = const { Cell::new(0) });

    fn nap(time: u64) {
        SLEPT.set(SLEPT.get() + time);
    }

    fn slept() -> u64 {
        SLEPT.take() / NAP
    }

    #[test]
    fn an_observer_sleeps_until_managed_code_has_run_and_not_for_ever() {
        let mut patience = Patience::some();
        assert!(patience.lets_run(&|| true, nap));
        assert_eq!(slept(), 0);
        assert!(patience.lets_run(&|| SLEPT.get() == 3 * NAP, nap));
        assert_eq!(slept(), 3);
        assert!(!patience.lets_run(&|| false, nap));
        assert_eq!(slept(), u64::from(MOST_NAPS) - 3);
        assert!(patience.lets_run(&|| true, nap) && !patience.lets_run(&|| false, nap));
        assert_eq!(slept(), 0);
    }

    #[test]
    fn a_new_owner_gets_its_time_once_for_each_lock_that_is_seen() {
        let mut patience = Patience::some();
        let mut named = |lock| (patience.lets_owner_be_named(lock, nap), slept());
        let time = u64::from(NAPS_FOR_A_NAME);
        assert_eq!([named(7), named(7), named(8)], [(true, time), (true, 0), (true, time)]);
        assert_eq!([named(9), named(9)], [(false, 0), (false, 0)], "its time is used up");
    }

    #[test]
    fn who_looks_at_one_moment_does_not_sleep() {
        let mut patience = Patience::none();
        assert!(!patience.lets_run(&|| false, nap) && !patience.lets_owner_be_named(7, nap));
        assert!(patience.lets_run(&|| true, nap));
        assert_eq!(slept(), 0);
    }
}
