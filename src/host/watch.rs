//! The thread that the library has of its own in a process with managed code, and what it does there: it tells of deadlocks
//! through locks of managed code, and of such locks whose owner has ended.
//!
//! Who waits for such a lock sleeps in the CLR, and nobody of the library's needs to be in the cycle: so there is no enter
//! that could search. No wait is broken: it is the CLR's, and may end by itself yet. A cycle is told once it has stood for
//! a while, and was found the same twice (`foreign::chain`).
//!
//! **A process in which nobody waits is left alone.** This thread then sleeps without a limit, until a wait begins. While
//! one lasts it looks now and then, and less often as long as no other begins.

use foreign_locks::glibc::Thing;
use foreign_locks::{ManagedKind, STANDS_AFTER};

use crate::base::hash::fibonacci_hash;
use crate::deadlock;
use crate::foreign::chain::{self, Cycle};
use crate::foreign::observer::{Observer, OwnMemory, call_of, lives};
use crate::foreign::ownerless::each_managed_wait;
use crate::foreign::who::Who;
use crate::report;
use crate::state::deadlocks::Policy;
use crate::state::managed_wait::ManagedWaitCopy;
use crate::state::task::TaskRef;
use crate::sys::atomic::{AtomicU32, Ordering, fence};
use crate::sys::{self, Instant};
use crate::view::picture::Picture;

/// What STATE says: the thread sleeps until a wait begins, or it looks now and then.
const SLEEPS: u32 = 0;
const LOOKS: u32 = 1;

static STATE: AtomicU32 = AtomicU32::new(LOOKS);

/// 1 once the managed code has ended: of its threads, which go on for a while, no wait and no end of one is told any more.
static OVER: AtomicU32 = AtomicU32::new(0);

/// How long the thread sleeps from one look to the next, in nanoseconds, the first time after a wait has begun; then twice
/// as long each time, up to the last.
const FIRST_NAP: u64 = 500_000_000;
const LAST_NAP: u64 = 8_000_000_000;

/// The calling thread has begun a wait for a lock of managed code.
pub(crate) fn a_wait_has_begun() {
    // Pairs with the fence in sleep: either this finds that the thread is to sleep, or the thread finds the wait.
    fence(Ordering::SeqCst);
    if STATE.load(Ordering::Relaxed) == SLEEPS && STATE.swap(LOOKS, Ordering::Relaxed) == SLEEPS {
        sys::futex_wake(&STATE, 1);
    }
}

/// From here on nothing is told.
pub(crate) fn end() {
    OVER.store(1, Ordering::Relaxed);
}

fn is_over() -> bool {
    OVER.load(Ordering::Relaxed) != 0
}

/// What the thread does for as long as the process lives.
pub(crate) fn watch() {
    let (mut deadlocks, mut abandoned) = (Told::new(), Told::new());
    loop {
        sleep();
        let (mut nap, mut looked_at) = (FIRST_NAP, 0);
        while let Some(newest) = newest_wait() {
            nap = if newest >= looked_at { FIRST_NAP } else { LAST_NAP.min(nap * 2) };
            looked_at = sys::now();
            sys::nap(nap);
            look(&mut deadlocks, &mut abandoned);
        }
    }
}

/// Sleeps until somebody waits for a lock of managed code.
fn sleep() {
    STATE.store(SLEEPS, Ordering::Relaxed);
    // Pairs with the fence in a_wait_has_begun.
    fence(Ordering::SeqCst);
    while newest_wait().is_none() && STATE.load(Ordering::Relaxed) == SLEEPS {
        let _ = sys::futex_wait(&STATE, SLEEPS, None);
    }
    STATE.store(LOOKS, Ordering::Relaxed);
}

/// When the newest of all waits for locks of managed code began.
fn newest_wait() -> Option<Instant> {
    let mut newest = None;
    each_managed_wait(&mut |_, wait| newest = newest.max(Some(wait.since)));
    newest
}

/// Tells of what is new since the last look.
fn look(deadlocks: &mut Told, abandoned: &mut Told) {
    abandoned.begin_look();
    each_lock_waited_for(&mut |task, wait| tell_if_abandoned(task, wait, abandoned));
    abandoned.end_look();
    // After that, which may take a while: a report has all deadlocks that stand, and these are known then.
    deadlocks.begin_look();
    let (mut has_new, mut members) = (false, Filter::new());
    each_lock_waited_for(&mut |task, _| {
        if !members.has(task.thread_id().into())
            && let Some(cycle) = cycle_behind(task.thread_id(), &mut members)
        {
            has_new |= deadlocks.is_new(cycle.identity);
        }
    });
    deadlocks.end_look();
    if has_new && !is_over() {
        report::write_managed_deadlock();
        if deadlock::policy() == Policy::Abort {
            report::spare_exit_on_stderr();
            sys::abort();
        }
    }
}

/// Visits one of the waits for each lock that have stood for a while, or some of them.
fn each_lock_waited_for(visit: &mut dyn FnMut(TaskRef, &ManagedWaitCopy)) {
    let mut seen = Filter::new();
    let stood = sys::now().saturating_sub(STANDS_AFTER);
    each_managed_wait(&mut |task, wait| {
        if wait.since <= stood && seen.is_new(wait.told.lock) {
            visit(task, wait);
        }
    });
}

fn cycle_behind(waits: u32, members: &mut Filter) -> Option<Cycle> {
    let picture = Picture::here();
    let search = |observer: &mut Observer<'_>| {
        let glance = observer.glance(waits)?;
        let owner = observer.thing_of(Who::of_thread(&picture, waits), &glance)?.owner?;
        let mut visit = |who: Who| _ = members.is_new(who.thread.into());
        chain::cycle_of(&picture, observer, Who::of_thread(&picture, owner), &mut visit)
            .filter(|cycle| cycle.is_managed && cycle.is_certain)
    };
    report::with_observer(search).flatten()
}

/// Tells of the lock once, whoever else waits for it.
fn tell_if_abandoned(task: TaskRef, wait: &ManagedWaitCopy, told: &mut Told) {
    let lock = wait.told.lock;
    if !is_abandoned(&thing_of(task, wait)) || told.is_known(lock) {
        return;
    }
    let is_left = report::with_observer(|observer| observer.is_left_without_owner(lock));
    let thing = thing_of(task, wait);
    if is_left == Some(true) && is_abandoned(&thing) && !is_over() && told.is_new(lock) {
        report::write_wait_for_orphaned(task.thread_id(), &thing);
    }
}

/// What is waited for. Where a System.Threading.Lock stands only its waiter's stack says.
fn thing_of(task: TaskRef, wait: &ManagedWaitCopy) -> Thing {
    const NO_STACK: u64 = 0;
    let stack_pointer = match ManagedKind::of(wait.told.lock) {
        ManagedKind::Monitor => None,
        ManagedKind::Lock => call_of(task.thread_id()).map(|call| call.stack_pointer),
    };
    wait.told.thing(&OwnMemory, stack_pointer.unwrap_or(NO_STACK), &lives).0
}

fn is_abandoned(thing: &Thing) -> bool {
    thing.abandoned().is_some()
}

// ---- what was told ----------------------------------------------------------------------------------------

/// More than these are not told of while all of them stand.
const MOST: usize = 64;

/// What was told of and stands, each with a number of its own. 0 is a free place.
struct Told {
    numbers: [u64; MOST],
    /// A bit for each that was found again in the present look.
    found: u64,
}

impl Told {
    fn new() -> Self {
        Told { numbers: [0; MOST], found: 0 }
    }

    fn begin_look(&mut self) {
        self.found = 0;
    }

    /// Whether it was told of. It stands, then.
    fn is_known(&mut self, number: u64) -> bool {
        let place = self.numbers.iter().position(|&other| other == number);
        self.found |= place.map_or(0, |place| 1 << place);
        place.is_some()
    }

    /// Whether it was not told of, and is to be now.
    fn is_new(&mut self, number: u64) -> bool {
        if self.is_known(number) {
            return false;
        }
        if let Some(free) = self.numbers.iter_mut().find(|slot| **slot == 0) {
            *free = number;
        }
        self.is_known(number)
    }

    /// What was not found again is over.
    fn end_look(&mut self) {
        for (place, number) in self.numbers.iter_mut().enumerate() {
            if self.found & 1 << place == 0 {
                *number = 0;
            }
        }
    }
}

/// Which locks or threads were seen in a look; it forgets some, if there are many.
struct Filter([u64; MOST]);

impl Filter {
    fn new() -> Self {
        Filter([0; MOST])
    }

    fn is_new(&mut self, number: u64) -> bool {
        let is_new = !self.has(number);
        if let Some(seen) = self.0.get_mut(Self::place(number)) {
            *seen = number;
        }
        is_new
    }

    fn has(&self, number: u64) -> bool {
        self.0.get(Self::place(number)) == Some(&number)
    }

    fn place(number: u64) -> usize {
        (fibonacci_hash(number) / (u64::MAX / MOST as u64 + 1)) as usize
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_while_it_stands_and_again_after_it_was_gone() {
        let mut told = Told::new();
        let mut look = |numbers: &[u64]| {
            told.begin_look();
            let new = numbers.iter().filter(|&&number| told.is_new(number)).count();
            told.end_look();
            new
        };
        assert_eq!([look(&[7]), look(&[7, 8, 8]), look(&[8]), look(&[7, 8])], [1, 1, 0, 1]);
        let many: std::vec::Vec<u64> = (1..=MOST as u64 + 3).collect();
        assert_eq!([look(&many), look(&many)], [MOST - 2, 0]);
        let rest = &many[MOST..];
        assert_eq!([look(rest), look(rest), look(rest)], [0, 3, 0], "there is room once others are over");
    }

    #[test]
    fn a_lock_is_new_once_in_a_look() {
        let mut filter = Filter::new();
        let new: std::vec::Vec<bool> =
            [0x7000, 0x7000, 0x7000, 0x7008].map(|lock| filter.is_new(lock)).to_vec();
        assert_eq!(new[..3], [true, false, false]);
        assert!(new[3] && filter.is_new(0x7010));
        // Addresses of monitors have places of their own as well as can be.
        let places: std::collections::BTreeSet<_> =
            (0..32).map(|at| Filter::place(0x7f18_3400_2350 + at * 0x28)).collect();
        assert!(places.len() > 20, "{places:?}");
    }
}
