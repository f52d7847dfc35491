//! Figures of contention: how often and how long tasks waited for each section, and how long it was held. When they are
//! counted is not known here.

use core::array;

use crate::base::arena::Slot;
use crate::base::beside::Beside;
use crate::base::memory::{Shown, readable_in_copies};
use crate::base::seqlock::SeqLock;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// The longest wait of each class, in nanoseconds. One more class has those that are longer than all of these.
pub(crate) const CLASS_LIMITS: [u64; 8] =
    [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];
/// Classes of waits by their length.
pub(crate) const CLASSES: usize = CLASS_LIMITS.len() + 1;

/// The figures of one section. Times are in nanoseconds.
#[repr(C)]
pub(crate) struct Figures {
    /// The handle of the section that they are of, which may have ended; 0 while they begin anew.
    section: AtomicU64,
    /// Waits that are over, in classes by their length.
    waits: [AtomicU64; CLASSES],
    /// How long all of them took.
    waited: AtomicU64,
    longest_wait: AtomicU64,
    /// Holds that are over, as far as they were tracked, and how long all of them took. Written by the owner.
    holds: AtomicU64,
    held: AtomicU64,
    longest_hold: LongestHold,
}

/// Written by the owner.
#[repr(C)]
struct LongestHold {
    time: AtomicU64,
    site: AtomicU64,
    thread_id: AtomicU32,
    lock: SeqLock,
}

// SAFETY: all fields are atomics or made of such.
unsafe impl Slot for Figures {}

/// The figures of all sections, from when counting is first switched on.
#[repr(C)]
pub(crate) struct Statistics {
    pub(crate) table: Beside<Figures>,
    /// OFF, ON, or PAUSED.
    state: AtomicU32,
    _reserved: AtomicU32,
}

/// state: nothing was ever counted.
const OFF: u32 = 0;
const ON: u32 = 1;
/// state: what was counted before is still shown.
const PAUSED: u32 = 2;

/// A hold that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HoldCopy {
    pub(crate) time: u64,
    /// Where the section was entered, 0 if unknown.
    pub(crate) site: u64,
    pub(crate) thread_id: u32,
}

/// A copy of the figures of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FiguresCopy {
    /// In classes by their length.
    pub(crate) waits: [u64; CLASSES],
    pub(crate) waited: u64,
    pub(crate) longest_wait: u64,
    pub(crate) holds: u64,
    pub(crate) held: u64,
    /// None if none was tracked, or it is just being written.
    pub(crate) longest_hold: Option<HoldCopy>,
}

impl FiguresCopy {
    /// How many waits in all.
    pub(crate) fn all_waits(&self) -> u64 {
        self.waits.iter().fold(0, |sum, waits| sum.saturating_add(*waits))
    }
}

impl Statistics {
    pub(crate) const fn new() -> Self {
        Statistics { table: Beside::new(), state: AtomicU32::new(OFF), _reserved: AtomicU32::new(0) }
    }

    /// Begins to count, once the table has begun, or ceases to; under the lock of the sections.
    pub(crate) fn switch(&self, on: bool) {
        let next = match (on, self.state.load(Ordering::Relaxed)) {
            (true, _) => ON,
            (false, OFF) => OFF,
            (false, _) => PAUSED,
        };
        // Release pairs with the Acquires below: the table is there.
        self.state.store(next, Ordering::Release);
    }
}

readable_in_copies!(Statistics);

impl Shown<Statistics> {
    /// Whether waits and holds are counted.
    pub(crate) fn is_on(&self) -> bool {
        self.fields().state.load(Ordering::Acquire) == ON
    }

    /// Whether they ever were.
    pub(crate) fn has_begun(&self) -> bool {
        self.fields().state.load(Ordering::Acquire) != OFF
    }

    /// Where the figures of section slot `index` stand, if it has any.
    pub(crate) fn address(&self, index: u32) -> Option<usize> {
        self.has_begun().then(|| self.fields().table.address(index)).flatten()
    }
}

fn class_of(time: u64) -> usize {
    CLASS_LIMITS.iter().position(|&limit| time <= limit).unwrap_or(CLASS_LIMITS.len())
}

fn add(sum: &AtomicU64, value: u64) {
    sum.store(sum.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
}

impl Figures {
    /// Whether they are of the section with this handle.
    pub(crate) fn are_of(&self, section: u64) -> bool {
        // Acquire pairs with the Release in begin: nothing that is counted from here on is reset.
        self.section.load(Ordering::Acquire) == section
    }

    /// Begins the figures of this section, unless they are its own; under its queue lock, while it cannot end.
    pub(crate) fn begin(&self, section: u64) {
        if self.are_of(section) {
            return;
        }
        self.section.store(0, Ordering::Relaxed);
        // Pairs with the Acquire fence in copy: who reads one of the new values finds that the section is another one.
        fence(Ordering::Release);
        let LongestHold { time, site, thread_id, .. } = &self.longest_hold;
        let sums = [&self.waited, &self.longest_wait, &self.holds, &self.held, time, site];
        self.waits.iter().chain(sums).for_each(|figure| figure.store(0, Ordering::Relaxed));
        thread_id.store(0, Ordering::Relaxed);
        self.section.store(section, Ordering::Release);
    }

    /// Counts a wait that is over: the owner at the same time as those whose waits have failed.
    pub(crate) fn count_wait(&self, time: u64) {
        self.waits[class_of(time)].fetch_add(1, Ordering::Relaxed);
        self.waited.fetch_add(time, Ordering::Relaxed);
        self.longest_wait.fetch_max(time, Ordering::Relaxed);
    }

    /// Counts a hold that is about to end. By the owner.
    pub(crate) fn count_hold(&self, hold: HoldCopy) {
        add(&self.holds, 1);
        add(&self.held, hold.time);
        let longest = &self.longest_hold;
        if hold.time > longest.time.load(Ordering::Relaxed) {
            longest.lock.write(|| {
                longest.time.store(hold.time, Ordering::Relaxed);
                longest.site.store(hold.site, Ordering::Relaxed);
                longest.thread_id.store(hold.thread_id, Ordering::Relaxed);
            });
        }
    }
}

readable_in_copies!(Figures);

impl Shown<Figures> {
    /// A copy, if they are of the section with this handle. Each figure was true at some moment meanwhile.
    pub(crate) fn copy(&self, section: u64) -> Option<FiguresCopy> {
        let figures = self.fields();
        if !figures.are_of(section) {
            return None;
        }
        let longest = &figures.longest_hold;
        let longest_hold = longest.lock.read(|| HoldCopy {
            time: longest.time.load(Ordering::Relaxed),
            site: longest.site.load(Ordering::Relaxed),
            thread_id: longest.thread_id.load(Ordering::Relaxed),
        });
        let copy = FiguresCopy {
            waits: array::from_fn(|class| figures.waits[class].load(Ordering::Relaxed)),
            waited: figures.waited.load(Ordering::Relaxed),
            longest_wait: figures.longest_wait.load(Ordering::Relaxed),
            holds: figures.holds.load(Ordering::Relaxed),
            held: figures.held.load(Ordering::Relaxed),
            longest_hold: longest_hold.filter(|hold| hold.thread_id != 0),
        };
        // Pairs with the Release fence in begin.
        fence(Ordering::Acquire);
        (figures.section.load(Ordering::Relaxed) == section).then_some(copy)
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;

    fn new() -> std::boxed::Box<Figures> {
        // SAFETY: zeroed figures are valid (Slot).
        unsafe { std::boxed::Box::new(core::mem::zeroed()) }
    }

    #[test]
    fn a_wait_is_in_the_first_class_that_is_long_enough() {
        for (time, class) in
            [(0, 0), (1_000, 0), (1_001, 1), (10_000_000_000, 7), (10_000_000_001, 8), (u64::MAX, 8)]
        {
            assert_eq!(class_of(time), class, "{time}");
        }
    }

    #[test]
    fn figures_are_of_one_section() {
        let figures = new();
        assert_eq!(figures.copy(7), None);
        figures.begin(7);
        figures.count_wait(5_000);
        figures.count_wait(2_000);
        figures.begin(7);
        let copy = figures.copy(7).unwrap();
        assert_eq!((copy.all_waits(), copy.waits[1], copy.waited, copy.longest_wait), (2, 2, 7_000, 5_000));
        assert_eq!((copy.holds, copy.longest_hold), (0, None));
        figures.begin(8);
        assert_eq!(figures.copy(7), None);
        assert_eq!(
            figures.copy(8).map(|copy| (copy.all_waits(), copy.waited, copy.longest_wait)),
            Some((0, 0, 0))
        );
    }

    #[test]
    fn the_longest_hold_is_kept_with_its_place() {
        let figures = new();
        figures.begin(7);
        let [short, long] = [(5, 1), (9, 2)].map(|(time, site)| HoldCopy { time, site, thread_id: 3 });
        for (hold, longest) in [(short, short), (long, long), (short, long)] {
            figures.count_hold(hold);
            assert_eq!(figures.copy(7).unwrap().longest_hold, Some(longest));
        }
        let copy = figures.copy(7).unwrap();
        assert_eq!((copy.holds, copy.held), (3, 19));
        figures.begin(8);
        assert_eq!(figures.copy(8).unwrap().longest_hold, None);
    }
}
