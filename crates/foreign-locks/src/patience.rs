//! How long an observer waits for what has to happen before what it sees of locks of managed code is certain, and what it then
//! found of each.

/// One nap, in nanoseconds: managed code is mostly stopped for less than a few milliseconds.
const NAP: u64 = 1_000_000;
/// So many for one thing that is to happen.
const MOST_NAPS: u32 = 500;

/// What is left of an observer's time to wait. It waits so as not to be wrong, and not for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    naps: u32,
}

impl Patience {
    /// With managed code, which runs again after each stop: there may be as many stops as there are waits to be looked at. If
    /// it once did not, no more.
    pub const fn with_managed_code() -> Self {
        Patience { naps: 10 * MOST_NAPS }
    }

    /// With threads that are awake, all together.
    pub const fn with_threads() -> Self {
        Patience { naps: MOST_NAPS }
    }

    /// That of who looks at one moment, as of a core: nothing changes there.
    pub const fn none() -> Self {
        Patience { naps: 0 }
    }

    /// Whether something has happened, or does before the time is over.
    pub fn lets_happen(&mut self, has_happened: &mut dyn FnMut() -> bool, nap: fn(u64)) -> bool {
        for _ in 0..MOST_NAPS {
            if has_happened() {
                return true;
            }
            if self.naps == 0 {
                return false;
            }
            self.naps -= 1;
            nap(NAP);
        }
        self.naps = 0;
        has_happened()
    }

    /// Whether a thread has run since the call, or does before the time is over, unless it is asleep. `time_run` says how long
    /// it has run in all, if the system tells.
    pub fn lets_run(
        &mut self,
        is_asleep: &mut dyn FnMut() -> bool,
        time_run: &dyn Fn() -> Option<u64>,
        nap: fn(u64),
    ) -> bool {
        let before = time_run();
        self.lets_happen(&mut || is_asleep() || before.is_some() && time_run() != before, nap)
    }
}

/// Whether locks, in which no live owner stands, are abandoned, as was found out: to ask again would take the same time again.
#[derive(Debug)]
pub struct Verdicts([u64; Self::ROOM]);

impl Verdicts {
    const ROOM: usize = 64;

    /// Zeroed memory is that, too.
    pub const fn none() -> Self {
        Verdicts([0; Self::ROOM])
    }

    /// That of a lock; None if there is none, or another has its place.
    pub fn of(&self, lock: u64) -> Option<bool> {
        let verdict = *self.0.get(Self::place(lock))?;
        (verdict >> 1 == lock).then_some(verdict & 1 != 0)
    }

    /// Remembers it.
    pub fn add(&mut self, lock: u64, is_abandoned: bool) {
        if let Some(verdict) = self.0.get_mut(Self::place(lock)) {
            *verdict = lock << 1 | u64::from(is_abandoned);
        }
    }

    /// Ids are addresses of what is aligned to 8, or multiples of 4.
    fn place(lock: u64) -> usize {
        ((lock / 8) ^ (lock / 512)) as usize % Self::ROOM
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

    fn after(naps: u64) -> impl FnMut() -> bool {
        move || SLEPT.get() >= naps * NAP
    }

    #[test]
    fn an_observer_sleeps_until_it_has_happened_and_not_for_ever() {
        let mut patience = Patience::with_managed_code();
        assert!(patience.lets_happen(&mut || true, nap));
        assert_eq!(slept(), 0);
        assert!(patience.lets_happen(&mut after(3), nap));
        assert_eq!(slept(), 3);
        let most = u64::from(MOST_NAPS);
        assert!(patience.lets_happen(&mut after(most), nap), "at the last moment");
        assert_eq!(slept(), most);
        let mut patience = Patience::with_managed_code();
        assert!(!patience.lets_happen(&mut || false, nap));
        assert_eq!(slept(), u64::from(MOST_NAPS));
        assert!(patience.lets_happen(&mut || true, nap) && !patience.lets_happen(&mut || false, nap));
        assert_eq!(slept(), 0, "it did not happen once");
    }

    #[test]
    fn each_of_many_waits_gets_its_time() {
        let mut patience = Patience::with_managed_code();
        assert!((0..100).all(|_| {
            SLEPT.set(0);
            patience.lets_happen(&mut after(40), nap)
        }));
        let mut patience = Patience::with_threads();
        let times = (0..100).take_while(|_| {
            SLEPT.set(0);
            patience.lets_happen(&mut after(40), nap)
        });
        assert_eq!(times.count(), MOST_NAPS as usize / 40, "in all");
    }

    #[test]
    fn a_thread_is_asleep_or_has_to_run() {
        let lets_run = |is_asleep: &mut dyn FnMut() -> bool, time_run: &dyn Fn() -> Option<u64>| {
            SLEPT.set(0);
            (Patience::with_threads().lets_run(is_asleep, time_run, nap), slept())
        };
        let never = u64::from(MOST_NAPS);
        assert_eq!(lets_run(&mut || true, &|| None), (true, 0));
        assert_eq!(lets_run(&mut after(2), &|| Some(7)), (true, 2), "it has run, or could not fall asleep");
        assert_eq!(lets_run(&mut || false, &|| Some(SLEPT.get() / (5 * NAP))), (true, 5));
        assert_eq!(lets_run(&mut || false, &|| Some(7)), (false, never), "it gets no processor");
        assert_eq!(lets_run(&mut || false, &|| None), (false, never), "the system does not tell");
    }

    #[test]
    fn who_looks_at_one_moment_does_not_sleep() {
        let mut patience = Patience::none();
        assert!(!patience.lets_happen(&mut || false, nap));
        assert!(patience.lets_happen(&mut || true, nap));
        assert_eq!(slept(), 0);
    }

    #[test]
    fn a_verdict_is_remembered_until_another_takes_its_place() {
        let mut verdicts = Verdicts::none();
        const ONE: u64 = 0x7f18_3400_2350;
        verdicts.add(ONE, true);
        verdicts.add(ONE + 8, false);
        assert_eq!([ONE, ONE + 8, ONE + 16].map(|lock| verdicts.of(lock)), [Some(true), Some(false), None]);
        let places: std::collections::BTreeSet<_> =
            (0..32).map(|at| Verdicts::place(ONE + at * 0x20)).collect();
        assert!(places.len() > 24, "{places:?}");
        let other =
            (1..).map(|at| ONE + 8 * at).find(|&lock| Verdicts::place(lock) == Verdicts::place(ONE)).unwrap();
        verdicts.add(other, false);
        assert_eq!([ONE, other].map(|lock| verdicts.of(lock)), [None, Some(false)]);
    }
}
