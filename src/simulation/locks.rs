//! Textbook locks, written from their papers over the simulated machine's atomics.

use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use super::{Kind, Lock};
use crate::sys::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sys::{self, futex_wait, futex_wake, pause};

pub(super) const PEERS: [Kind; 5] = [
    Kind { name: "back-off", make: |_| Rc::new(BackOff::default()) },
    TICKET,
    MCS,
    GLIBC,
    Kind { name: "glibc adaptive", make: |_| Rc::new(Glibc::with_spinning(true)) },
];

pub(super) const TICKET: Kind = Kind { name: "ticket", make: |_| Rc::new(Ticket::default()) };
pub(super) const MCS: Kind = Kind { name: "MCS", make: |threads| Rc::new(Mcs::for_threads(threads)) };
pub(super) const GLIBC: Kind = Kind { name: "glibc", make: |_| Rc::new(Glibc::with_spinning(false)) };

/// The control: all that wait write its line all the time.
pub(super) const TEST_AND_SET: Kind = Kind { name: "test-and-set", make: |_| Rc::new(TestAndSet::new()) };

use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// A word with a line of its own.
#[repr(align(128))]
struct Word(AtomicU32);

impl Default for Word {
    fn default() -> Self {
        Word(AtomicU32::new(0))
    }
}

fn pauses(times: u32) {
    (0..times).for_each(|_| pause());
}

struct TestAndSet(Word);

impl TestAndSet {
    fn new() -> Self {
        TestAndSet(Word::default())
    }
}

impl Lock for TestAndSet {
    fn enter(&self, _: usize) {
        while self.0.0.swap(1, Acquire) != 0 {}
    }

    fn leave(&self, _: usize) {
        self.0.0.store(0, Release);
    }
}

/// Test and test-and-set with exponential back-off: T. E. Anderson, "The performance of spin lock alternatives for
/// shared-memory multiprocessors", 1990.
#[derive(Default)]
struct BackOff(Word);

impl Lock for BackOff {
    fn enter(&self, _: usize) {
        const MOST_PAUSES: u32 = 256;
        let mut times = 1;
        while self.0.0.load(Relaxed) != 0 || self.0.0.swap(1, Acquire) != 0 {
            pauses(times);
            times = (times * 2).min(MOST_PAUSES);
        }
    }

    fn leave(&self, _: usize) {
        self.0.0.store(0, Release);
    }
}

/// A ticket lock with a pause for each that is ahead: J. M. Mellor-Crummey and M. L. Scott, "Algorithms for scalable
/// synchronization on shared-memory multiprocessors", 1991.
#[derive(Default)]
struct Ticket {
    next: Word,
    served: Word,
}

impl Lock for Ticket {
    fn enter(&self, _: usize) {
        let own = self.next.0.fetch_add(1, Relaxed);
        loop {
            match own.wrapping_sub(self.served.0.load(Acquire)) {
                0 => return,
                ahead => pauses(ahead),
            }
        }
    }

    fn leave(&self, _: usize) {
        self.served.0.store(self.served.0.load(Relaxed).wrapping_add(1), Release);
    }
}

/// The queue lock of Mellor-Crummey and Scott: each waits at a line of its own. Same paper.
struct Mcs {
    /// The number of the last thread in the queue, from 1; 0 for none.
    last: AtomicUsize,
    nodes: Box<[Node]>,
}

#[repr(align(128))]
struct Node {
    next: AtomicUsize,
    waits: AtomicU32,
}

impl Mcs {
    fn for_threads(threads: usize) -> Self {
        let node = |_| Node { next: AtomicUsize::new(0), waits: AtomicU32::new(0) };
        Mcs { last: AtomicUsize::new(0), nodes: (0..threads).map(node).collect::<Vec<_>>().into() }
    }
}

impl Lock for Mcs {
    fn enter(&self, thread: usize) {
        let node = &self.nodes[thread];
        node.next.store(0, Relaxed);
        node.waits.store(1, Relaxed);
        let before = self.last.swap(thread + 1, AcqRel);
        if before == 0 {
            return;
        }
        self.nodes[before - 1].next.store(thread + 1, Release);
        while node.waits.load(Acquire) != 0 {
            pause();
        }
    }

    fn leave(&self, thread: usize) {
        let node = &self.nodes[thread];
        if node.next.load(Acquire) == 0 {
            if self.last.compare_exchange(thread + 1, 0, Release, Relaxed).is_ok() {
                return;
            }
            while node.next.load(Acquire) == 0 {
                pause();
            }
        }
        self.nodes[node.next.load(Relaxed) - 1].waits.store(0, Release);
    }
}

/// glibc's recursive mutex, whose word is free, owned, or owned with sleepers: U. Drepper, "Futexes are tricky",
/// 2011. With spinning as its adaptive mutex: up to a limit that follows how long it took lately.
struct Glibc {
    line: GlibcLine,
    spins: bool,
}

#[repr(align(64))]
struct GlibcLine {
    word: AtomicU32,
    owner: AtomicU32,
    entries: AtomicU32,
    lately: AtomicU32,
}

const FREE: u32 = 0;
const OWNED: u32 = 1;
const WITH_SLEEPERS: u32 = 2;

impl Glibc {
    fn with_spinning(spins: bool) -> Self {
        let zero = || AtomicU32::new(0);
        Glibc { line: GlibcLine { word: zero(), owner: zero(), entries: zero(), lately: zero() }, spins }
    }

    fn try_take(&self) -> bool {
        self.line.word.compare_exchange(FREE, OWNED, Acquire, Relaxed).is_ok()
    }

    fn spin(&self) -> bool {
        const MOST: u32 = 100;
        let lately = self.line.lately.load(Relaxed);
        let most = MOST.min(lately * 2 + 10);
        let mut polls = 0;
        let taken = loop {
            if polls >= most {
                break false;
            }
            polls += 1;
            pause();
            if self.line.word.load(Relaxed) == FREE && self.try_take() {
                break true;
            }
        };
        let change = (polls as i32 - lately as i32) / 8;
        self.line.lately.store(lately.wrapping_add_signed(change), Relaxed);
        taken
    }

    fn sleep_until_taken(&self) {
        while self.line.word.swap(WITH_SLEEPERS, Acquire) != FREE {
            let _: sys::Slept = futex_wait(&self.line.word, WITH_SLEEPERS, None);
        }
    }
}

impl Lock for Glibc {
    fn enter(&self, thread: usize) {
        let _ = self.line.owner.load(Relaxed);
        if !self.try_take() && !(self.spins && self.spin()) {
            self.sleep_until_taken();
        }
        self.line.owner.store(thread as u32 + 1, Relaxed);
        self.line.entries.store(1, Relaxed);
    }

    fn leave(&self, _: usize) {
        self.line.owner.store(0, Relaxed);
        self.line.entries.store(0, Relaxed);
        if self.line.word.swap(FREE, Release) == WITH_SLEEPERS {
            futex_wake(&self.line.word, 1);
        }
    }
}
