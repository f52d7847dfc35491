//! What the threads do: enter, compute inside, leave, compute outside, as in the contended rows of
//! `benches/contended.h`.

use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::Kind;
use crate::host::{runtime, threads};
use crate::sys;
use crate::sys::atomic::AtomicU64;
use crate::sys::{Body, Figures, Machine, NANOSECOND, Time, compute, is_over, simulate, spend, virtual_now};

/// How long a thread computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) inside: Time,
    pub(super) outside: Time,
}

/// Eight dependent additions, and 40 multiply-adds outside. Measured: the row with one processor takes 64 ns, of
/// which 20 are the lock's.
pub(super) const SHORT: Work = Work { name: "short", inside: 3 * NANOSECOND, outside: 41 * NANOSECOND };
pub(super) const HALF_MICROSECOND: Work =
    Work { name: "500 ns", inside: 500 * NANOSECOND, outside: 41 * NANOSECOND };
pub(super) const FIVE_MICROSECONDS: Work =
    Work { name: "5 us", inside: 5_000 * NANOSECOND, outside: 41 * NANOSECOND };

/// One simulation.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) threads: usize,
    pub(super) work: Work,
    pub(super) time: Time,
    pub(super) seed: u64,
}

/// What it showed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Entries of each thread.
    pub(super) entries: Vec<u64>,
    /// How often the next owner was another thread than the last.
    pub(super) hand_offs: u64,
    pub(super) longest_wait: Time,
    /// Two were inside at once.
    pub(super) intrusions: u64,
    pub(super) figures: Figures,
}

#[derive(Default)]
struct Tally {
    entries: Vec<u64>,
    last: usize,
    hand_offs: u64,
    longest_wait: Time,
    inside: u32,
    intrusions: u64,
}

impl Tally {
    fn enter(&mut self, thread: usize, wait: Time) {
        self.hand_offs += u64::from(self.last != thread);
        self.last = thread;
        self.longest_wait = self.longest_wait.max(wait);
        self.intrusions += u64::from(self.inside != 0);
        self.inside += 1;
    }
}

/// What is written inside: a line of its own.
#[repr(align(128))]
struct Shared(AtomicU64);

impl Run {
    /// Simulates it with a lock of this kind.
    pub(super) fn of(&self, kind: Kind) -> Outcome {
        let tally = Rc::new(RefCell::new(Tally { entries: std::vec![0; self.threads], ..Tally::default() }));
        let shared = Rc::new(Shared(AtomicU64::new(0)));
        // Kept until the simulation has put back what was in memory.
        let mut lock = None;
        let scene = || {
            runtime::start().expect("memory for the arenas");
            let made = (kind.make)(self.threads);
            lock = Some(made.clone());
            let thread = |number| {
                let (lock, tally, shared) = (made.clone(), tally.clone(), shared.clone());
                let (work, calls) = (self.work, self.machine.calls);
                let body: Body = Box::new(move || {
                    while !is_over() {
                        let begin = virtual_now();
                        lock.enter(number);
                        tally.borrow_mut().enter(number, virtual_now() - begin);
                        shared.0.count();
                        compute(work.inside);
                        tally.borrow_mut().inside -= 1;
                        lock.leave(number);
                        tally.borrow_mut().entries[number] += 1;
                        compute(work.outside);
                        spend(calls);
                    }
                });
                (new_task(), body)
            };
            (0..self.threads).map(thread).collect()
        };
        let figures = simulate(&self.machine, self.seed, self.time, scene);
        drop(lock);
        let tally = tally.take();
        Outcome {
            entries: tally.entries,
            hand_offs: tally.hand_offs,
            longest_wait: tally.longest_wait,
            intrusions: tally.intrusions,
            figures,
        }
    }
}

/// A new task: the words by which a thread becomes it.
fn new_task() -> (u64, usize) {
    sys::set_current(0, 0);
    threads::current().expect("a place for a task");
    let words = sys::current();
    sys::set_current(0, 0);
    words
}

impl Outcome {
    pub(super) fn all_entries(&self) -> u64 {
        self.entries.iter().sum()
    }

    /// Millions a second.
    pub(super) fn throughput(&self) -> f64 {
        self.all_entries() as f64 / (self.figures.measured as f64 / 1e6)
    }

    /// The busiest thread's entries to the laziest's.
    pub(super) fn fairness(&self) -> f64 {
        let most = self.entries.iter().max().copied().unwrap_or(0);
        let least = self.entries.iter().min().copied().unwrap_or(0);
        most as f64 / least.max(1) as f64
    }

    /// Lines that came to a processor that did not have them, for each time that another thread became the owner.
    pub(super) fn transfers_per_hand_off(&self) -> f64 {
        self.figures.transfers as f64 / self.hand_offs.max(1) as f64
    }

    /// Processor time of an entry, in ns.
    pub(super) fn processor_time(&self) -> f64 {
        let used: Time = self.figures.used.iter().sum();
        used as f64 / NANOSECOND as f64 / self.all_entries().max(1) as f64
    }
}
