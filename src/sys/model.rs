//! The platform of the models: the crate's own code runs on atomics, futexes and threads that loom or shuttle
//! schedules.
//!
//! Loom tries every order, of loads and stores too, for a few threads that do little. Shuttle draws orders at random,
//! for more threads that do more; what one of them stores, all see at once.
//!
//! The code under test uses statics and mapped pages, which outlive an execution and cannot contain loom's atomics. So
//! the memory itself is never written. The value of an atomic is looked up by its address in a `World`, a new one for
//! each execution: first the value in memory, later what was stored. During the set-up of an execution, on one thread,
//! values are plain numbers. When its threads start, the *shared* atomics, used by two threads of which one writes,
//! become loom's. Which atomics are shared is found by trial: a thread that shares a plain value ends the attempt, and
//! the exploration begins again with that address known as shared (`NowShared`). Under shuttle all values stay plain
//! numbers, and a thread may be stopped before each access.
//!
//! **Orderings**, under loom. Loom treats a SeqCst access as AcqRel. So here a fence follows a SeqCst write, as late as
//! possible: before the thread's next SeqCst load or weaker write. A SeqCst load has no fence, and so does not order
//! weaker writes before it, in the language as on most processors. All SeqCst fences are read-modify-writes of one
//! atomic, so that loom tries every order of them.
//!
//! **Barriers**, under loom too. The heavy barrier acts as a full barrier on every thread, which loom cannot express. A
//! fence in each `light_barrier` would be ordered with any other fence, which is stronger than the real one. So each
//! thread has an atomic of its own: a light barrier is a read-modify-write of that one, a heavy one of those of all
//! other threads in turn. So a light and a heavy barrier are ordered, and two light ones are not.
//!
//! **Negative controls.** `World::weakened` names places of the source, by file and line. Under loom an access or a
//! barrier there has no ordering. Under shuttle, where that would change nothing, it is left out: a load gives 0, a
//! store writes nothing, a mutex is not locked.

mod threads;

use core::ffi::c_int;
use core::panic::Location;
use std::any::Any;
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use crate::places::SourceLine;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use threads::{Held, Monitor, Scheduler, switch};

pub(crate) use super::files::write_all;
pub(crate) use super::stand_ins::*;

// ---- the world --------------------------------------------------------------------------------------------

/// What the atomics of one execution hold, and what is known for all executions of one exploration.
#[derive(Default)]
struct World {
    scheduler: Scheduler,
    phase: Phase,
    places: HashMap<usize, Place>,
    /// For the mutexes and the words that threads sleep on.
    monitors: HashMap<usize, Rc<dyn Monitor>>,
    /// The atomic that orders SeqCst fences; None during set-up.
    turns: Option<Rc<Turns>>,
    /// For each thread, the atomic that orders its light barriers with all heavy ones.
    barriers: Vec<Rc<Turns>>,
    /// Which task each thread is, and its clock.
    threads: Vec<Thread>,
    thread_exit: Option<fn()>,
    /// How often a thread has become a task.
    tasks_become: u32,
    heavy: bool,
    light: bool,
    pages_given: usize,

    /// Of all executions: the atomics that must be loom's.
    shared: HashMap<usize, Maker>,
    /// Of all executions: the mutexes of which is_locked was asked. They show their state in an atomic.
    asked: HashSet<usize>,
    /// Pages that each execution gets, in this order.
    pages: Vec<(usize, usize)>,
    weakened: Vec<SourceLine>,
    executions: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// One thread, plain values.
    #[default]
    SetUp,
    /// Threads run.
    Run,
    /// One thread again.
    Done,
}

/// Makes loom's atomic of a value; for one that set-up did not use, of the value in memory.
#[derive(Clone, Copy)]
struct Maker {
    make: fn(u64) -> Rc<dyn Any>,
    initial: u64,
}

/// The state of an atomic of the crate.
struct Place {
    value: u64,
    live: Option<Rc<dyn Any>>,
    /// The threads that used it while threads ran, one bit each.
    users: u8,
    written: bool,
}

impl Place {
    fn new(value: u64) -> Self {
        Place { value, live: None, users: 0, written: false }
    }
}

#[derive(Clone, Copy, Default)]
struct Thread {
    task: (u64, usize),
    clock: Instant,
    timed_waits: u32,
    last_error: u32,
    /// Its last write was SeqCst, and no fence has followed.
    wrote_seq_cst: bool,
}

type Turns = loom::sync::atomic::AtomicUsize;

/// Ends an attempt in which an address turned out to be shared.
struct NowShared;

std::thread_local! {
    // One operating-system thread runs all of loom's threads, so each test has a world of its own.
    static WORLD: RefCell<World> = RefCell::default();
}

fn world<T>(body: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(body)
}

/// Runs `body` with the calling thread's own part of the world.
fn thread<T>(body: impl FnOnce(&mut Thread) -> T) -> T {
    let number = number();
    world(|world| {
        if world.threads.len() <= number {
            world.threads.resize(number + 1, Thread::default());
        }
        body(&mut world.threads[number])
    })
}

fn number() -> usize {
    if world(|world| world.phase == Phase::SetUp) { 0 } else { threads::number() }
}

// ---- exploring --------------------------------------------------------------------------------------------

/// How an exploration ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// No execution of so many broke anything.
    Holds(u64),
    /// One did: the message of loom or of an assertion.
    Broken(String),
}

/// What the heavy barrier does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barriers {
    /// It works.
    Work,
    /// It is refused, and owners have no barrier.
    Refused,
    /// It is refused, and a nap takes its place.
    RefusedButTimePasses,
}

/// A thread of a model.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// What one execution consists of.
pub(crate) struct Scene {
    /// The threads, with the words of their tasks.
    pub(crate) threads: Vec<((u64, usize), Body)>,
    /// Runs when they have ended.
    pub(crate) after: Body,
}

/// Explores what can happen when the threads of `scene` run; all of it unless `preemptions` limits that. Orderings
/// at the places of `weakened` have no effect.
pub(crate) fn explore(preemptions: Option<usize>, weakened: &[SourceLine], scene: fn() -> Scene) -> Outcome {
    begin_exploration(Scheduler::Loom, weakened);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    loop {
        world(|world| world.executions = 0);
        if let Ok(outcome) = outcome_of(|| builder.check(move || execute(scene))) {
            return outcome;
        }
    }
}

/// How shuttle chooses the thread that runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Any one, at each point.
    AnyThread,
    /// The thread of the highest priority, in random order; at so many random points the running thread gets the
    /// lowest: PCT (Burckhardt et al., 2010).
    Preemptions(usize),
}

/// Runs `scene` in so many random orders, without the accesses at the places of `left_out`.
pub(crate) fn wander(
    strategy: Strategy,
    seed: u64,
    orders: usize,
    left_out: &[SourceLine],
    scene: fn() -> Scene,
) -> Outcome {
    const STACK_BYTES: usize = 1 << 18;
    begin_exploration(Scheduler::Shuttle, left_out);
    let mut config = shuttle::Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = shuttle::FailurePersistence::None;
    let scheduler: Box<dyn shuttle::scheduler::Scheduler + Send> = match strategy {
        Strategy::AnyThread => Box::new(RandomScheduler::new_from_seed(seed, orders)),
        Strategy::Preemptions(most) => Box::new(PctScheduler::new_from_seed(seed, most + 1, orders)),
    };
    let runner = shuttle::Runner::new(scheduler, config);
    let run = || {
        runner.run(move || execute(scene));
    };
    outcome_of(run).unwrap_or_else(|NowShared| unreachable!("only loom needs to know"))
}

fn begin_exploration(scheduler: Scheduler, weakened: &[SourceLine]) {
    // Shuttle has each panic printed from its first run on. Below loom, threads end by panics which it keeps from what
    // was installed before: so shuttle comes first.
    static SHUTTLE: std::sync::Once = std::sync::Once::new();
    SHUTTLE.call_once(|| shuttle::check_random(|| {}, 1));
    world(|world| {
        let pages = core::mem::take(&mut world.pages);
        *world = World { scheduler, weakened: weakened.to_vec(), pages, ..World::default() };
    });
}

fn outcome_of(executions: impl FnOnce()) -> Result<Outcome, NowShared> {
    let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(executions)) else {
        return Ok(Outcome::Holds(world(|world| world.executions)));
    };
    panic
        .downcast::<NowShared>()
        .map_or_else(|panic| Ok(Outcome::Broken(text_of(&*panic))), |shared| Err(*shared))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?").into()
}

fn execute(scene: fn() -> Scene) {
    world(World::begin);
    let Scene { threads, after } = scene();
    world(|world| world.start_threads(threads.len()));
    let become_task = |((id, task), body): ((u64, usize), Body)| -> Body {
        Box::new(move || {
            super::set_current(id, task);
            body();
        })
    };
    threads::run(threads.into_iter().map(become_task).collect());
    world(|world| world.phase = Phase::Done);
    after();
}

impl World {
    fn begin(&mut self) {
        *self = World {
            heavy: true,
            light: true,
            scheduler: self.scheduler,
            shared: core::mem::take(&mut self.shared),
            asked: core::mem::take(&mut self.asked),
            pages: core::mem::take(&mut self.pages),
            weakened: core::mem::take(&mut self.weakened),
            executions: self.executions + 1,
            ..World::default()
        };
    }

    fn start_threads(&mut self, count: usize) {
        self.phase = Phase::Run;
        if self.scheduler == Scheduler::Shuttle {
            return;
        }
        for (&address, maker) in &self.shared {
            let place = self.places.entry(address).or_insert(Place::new(maker.initial));
            place.live = Some((maker.make)(place.value));
        }
        self.turns = Some(Rc::new(Turns::new(0)));
        // The first is of the thread that sets the scene.
        self.barriers = (0..=count).map(|_| Rc::new(Turns::new(0))).collect();
    }

    fn is_weakened(&self, at: &Location<'_>) -> bool {
        self.weakened.iter().any(|line| at.line() == line.number && at.file().ends_with(line.file))
    }

    fn is_left_out(&self, at: &Location<'_>) -> bool {
        self.scheduler == Scheduler::Shuttle && self.is_weakened(at)
    }
}

/// The heavy barrier from here on. During set-up.
pub(crate) fn set_barriers(barriers: Barriers) {
    world(|world| {
        world.heavy = barriers == Barriers::Work;
        world.light = barriers != Barriers::Refused;
    });
}

/// Does what the end of the calling thread does.
pub(crate) fn end_thread() {
    if let Some(hook) = world(|world| world.thread_exit) {
        hook();
    }
}

// ---- atomics ----------------------------------------------------------------------------------------------

/// What `core::sync::atomic` is elsewhere.
pub(crate) mod atomic {
    use super::*;
    pub(crate) use core::sync::atomic::Ordering;
    use loom::sync::atomic as live;

    /// As in core.
    #[track_caller]
    pub(crate) fn fence(ordering: Ordering) {
        let at = Location::caller();
        if !world(|world| world.is_weakened(at)) {
            strong_fence(ordering);
        }
    }

    /// A fence whatever is weakened.
    pub(super) fn strong_fence(ordering: Ordering) {
        let Some(turns) = world(|world| world.turns.clone()) else { return };
        if ordering == Ordering::SeqCst {
            turns.fetch_add(1, Ordering::Relaxed);
            thread(|thread| thread.wrote_seq_cst = false);
        }
        live::fence(ordering);
    }

    /// Comes before a write of one of loom's atomics.
    fn note_write(ordering: Ordering, for_loom: Ordering) {
        let seq_cst = ordering == Ordering::SeqCst && for_loom != Ordering::Relaxed;
        if !seq_cst && thread(|thread| thread.wrote_seq_cst) {
            strong_fence(Ordering::SeqCst);
        }
        thread(|thread| thread.wrote_seq_cst = seq_cst);
    }

    /// Comes before a load of one of loom's atomics.
    fn order_after_write(ordering: Ordering, for_loom: Ordering) {
        let seq_cst = ordering == Ordering::SeqCst && for_loom != Ordering::Relaxed;
        if seq_cst && thread(|thread| thread.wrote_seq_cst) {
            strong_fence(ordering);
        }
    }

    /// The ordering that loom is to use for an access, `seq_cst` in place of SeqCst.
    fn for_loom(ordering: Ordering, seq_cst: Ordering, at: &Location<'_>) -> Ordering {
        match ordering {
            _ if world(|world| world.is_weakened(at)) => Ordering::Relaxed,
            Ordering::SeqCst => seq_cst,
            ordering => ordering,
        }
    }

    fn is_left_out(at: &Location<'_>) -> bool {
        world(|world| world.is_left_out(at))
    }

    /// What an atomic can hold.
    trait Value: Copy + 'static {
        type Live: Any;
        fn make(bits: u64) -> Rc<dyn Any>;
        fn bits(self) -> u64;
        fn of(bits: u64) -> Self;
    }

    /// Does `live` with loom's atomic if the one at `address` is shared, and `plain` with its value otherwise.
    fn access<T: Value, R>(
        address: usize,
        initial: T,
        writes: bool,
        live: impl FnOnce(&T::Live) -> R,
        plain: impl FnOnce(&mut T) -> R,
    ) -> R {
        let number = number();
        if number != 0 {
            switch();
        }
        let found = world(|world| {
            let place = world.places.entry(address).or_insert(Place::new(initial.bits()));
            if let Some(shared) = &place.live {
                return Ok(Ok(shared.clone()));
            }
            if world.phase == Phase::Run && world.scheduler == Scheduler::Loom {
                place.users |= 1 << number;
                place.written |= writes;
                if place.written && !place.users.is_power_of_two() {
                    world.shared.insert(address, Maker { make: T::make, initial: initial.bits() });
                    return Err(NowShared);
                }
            }
            let mut value = T::of(place.value);
            let result = plain(&mut value);
            place.value = value.bits();
            Ok(Err(result))
        });
        match found {
            Ok(Ok(shared)) => live(shared.downcast_ref().expect("one type at one address")),
            Ok(Err(result)) => result,
            Err(now_shared) => std::panic::resume_unwind(Box::new(now_shared)),
        }
    }

    macro_rules! atomic_integer {
        ($name:ident, $value:ty) => {
            #[derive(Debug)]
            #[repr(transparent)]
            pub(crate) struct $name(core::sync::atomic::$name);

            impl Value for $value {
                type Live = live::$name;
                fn make(bits: u64) -> Rc<dyn Any> {
                    Rc::new(live::$name::new(bits as $value))
                }
                fn bits(self) -> u64 {
                    self as u64
                }
                fn of(bits: u64) -> Self {
                    bits as $value
                }
            }

            // Not every type is used in every way.
            #[allow(dead_code)]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    $name(core::sync::atomic::$name::new(value))
                }

                fn access<R>(
                    &self,
                    writes: bool,
                    live: impl FnOnce(&live::$name) -> R,
                    plain: impl FnOnce(&mut $value) -> R,
                ) -> R {
                    let initial = self.0.load(Ordering::Relaxed);
                    access(&raw const self.0 as usize, initial, writes, live, plain)
                }

                /// A read-modify-write.
                fn change(
                    &self,
                    ordering: Ordering,
                    at: &Location<'_>,
                    live: impl FnOnce(&live::$name, Ordering) -> $value,
                    plain: impl FnOnce($value) -> $value,
                ) -> $value {
                    let loom = for_loom(ordering, Ordering::AcqRel, at);
                    self.access(
                        true,
                        |atomic| {
                            note_write(ordering, loom);
                            live(atomic, loom)
                        },
                        |value| core::mem::replace(value, plain(*value)),
                    )
                }

                #[track_caller]
                pub(crate) fn load(&self, ordering: Ordering) -> $value {
                    let at = Location::caller();
                    let loom = for_loom(ordering, Ordering::Acquire, at);
                    let left_out = is_left_out(at);
                    self.access(
                        false,
                        |atomic| {
                            order_after_write(ordering, loom);
                            atomic.load(loom)
                        },
                        |value| if left_out { 0 } else { *value },
                    )
                }

                #[track_caller]
                pub(crate) fn store(&self, new: $value, ordering: Ordering) {
                    let at = Location::caller();
                    let loom = for_loom(ordering, Ordering::Release, at);
                    let left_out = is_left_out(at);
                    self.access(
                        true,
                        |atomic| {
                            note_write(ordering, loom);
                            atomic.store(new, loom);
                        },
                        |value| *value = if left_out { *value } else { new },
                    )
                }

                #[track_caller]
                pub(crate) fn swap(&self, new: $value, ordering: Ordering) -> $value {
                    self.change(ordering, Location::caller(), |atomic, by| atomic.swap(new, by), |_| new)
                }

                #[track_caller]
                pub(crate) fn fetch_add(&self, n: $value, ordering: Ordering) -> $value {
                    let plain = |value: $value| value.wrapping_add(n);
                    self.change(ordering, Location::caller(), |atomic, by| atomic.fetch_add(n, by), plain)
                }

                #[track_caller]
                pub(crate) fn fetch_sub(&self, n: $value, ordering: Ordering) -> $value {
                    let plain = |value: $value| value.wrapping_sub(n);
                    self.change(ordering, Location::caller(), |atomic, by| atomic.fetch_sub(n, by), plain)
                }

                #[track_caller]
                pub(crate) fn fetch_and(&self, n: $value, ordering: Ordering) -> $value {
                    self.change(ordering, Location::caller(), |atomic, by| atomic.fetch_and(n, by), |v| v & n)
                }

                #[track_caller]
                pub(crate) fn fetch_or(&self, n: $value, ordering: Ordering) -> $value {
                    self.change(ordering, Location::caller(), |atomic, by| atomic.fetch_or(n, by), |v| v | n)
                }

                #[track_caller]
                pub(crate) fn fetch_max(&self, n: $value, ordering: Ordering) -> $value {
                    let plain = |value: $value| value.max(n);
                    self.change(ordering, Location::caller(), |atomic, by| atomic.fetch_max(n, by), plain)
                }

                #[track_caller]
                pub(crate) fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    let at = Location::caller();
                    let loom = for_loom(success, Ordering::AcqRel, at);
                    let failure = match failure {
                        _ if loom == Ordering::Relaxed => Ordering::Relaxed,
                        Ordering::SeqCst => Ordering::Acquire,
                        failure => failure,
                    };
                    let plain = |value: &mut $value| match *value {
                        now if now == old => Ok(core::mem::replace(value, new)),
                        now => Err(now),
                    };
                    let live = |atomic: &live::$name| {
                        note_write(success, loom);
                        atomic.compare_exchange(old, new, loom, failure)
                    };
                    self.access(true, live, plain)
                }

                #[track_caller]
                pub(crate) fn compare_exchange_weak(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(old, new, success, failure)
                }

                #[track_caller]
                pub(crate) fn fetch_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    mut update: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    let mut now = self.load(failure);
                    while let Some(new) = update(now) {
                        match self.compare_exchange(now, new, success, failure) {
                            Ok(old) => return Ok(old),
                            Err(changed) => now = changed,
                        }
                    }
                    Err(now)
                }
            }
        };
    }

    atomic_integer!(AtomicU8, u8);
    atomic_integer!(AtomicU16, u16);
    atomic_integer!(AtomicI32, i32);
    atomic_integer!(AtomicU32, u32);
    atomic_integer!(AtomicU64, u64);
    atomic_integer!(AtomicUsize, usize);

    /// As a number.
    #[repr(transparent)]
    pub(crate) struct AtomicPtr<T>(AtomicUsize, core::marker::PhantomData<*mut T>);

    // SAFETY: it only hands out the pointer that it was given, as core's does.
    unsafe impl<T> Sync for AtomicPtr<T> {}

    impl<T> AtomicPtr<T> {
        pub(crate) const fn new(pointer: *mut T) -> Self {
            assert!(pointer.is_null(), "a number is all that a constant can hold");
            AtomicPtr(AtomicUsize::new(0), core::marker::PhantomData)
        }

        #[track_caller]
        pub(crate) fn load(&self, ordering: Ordering) -> *mut T {
            self.0.load(ordering) as *mut T
        }

        #[track_caller]
        pub(crate) fn store(&self, new: *mut T, ordering: Ordering) {
            self.0.store(new as usize, ordering);
        }
    }
}

// ---- waiting ----------------------------------------------------------------------------------------------

/// The monitor of the word at `address`. It orders memory as the kernel does.
fn monitor(address: usize) -> Rc<dyn Monitor> {
    world(|world| {
        let scheduler = world.scheduler;
        world.monitors.entry(address).or_insert_with(|| threads::monitor(scheduler)).clone()
    })
}

/// A wait with a limit may end by it at any moment, as the thread may be stopped after that; under shuttle later, too.
/// Before it waits again it lets others run, or it could wait for ever.
pub(crate) fn futex_wait(word: &atomic::AtomicU32, expected: u32, deadline: Option<Instant>) -> Slept {
    if let Some(deadline) = deadline {
        while threads::draws_another_moment() {
            if word.load(atomic::Ordering::Relaxed) != expected {
                return Slept::CheckAgain;
            }
            threads::yield_now();
        }
        let again = thread(|thread| {
            thread.clock = thread.clock.max(deadline);
            thread.timed_waits += 1;
            thread.timed_waits > 1
        });
        if again {
            threads::yield_now();
        }
        return Slept::TimedOut;
    }
    monitor(core::ptr::from_ref(word) as usize)
        .sleep_if(&|| word.load(atomic::Ordering::Relaxed) == expected);
    Slept::CheckAgain
}

pub(crate) fn futex_wake(word: &atomic::AtomicU32, count: i32) {
    let monitor = monitor(core::ptr::from_ref(word) as usize);
    if count == 1 { monitor.wake_one() } else { monitor.wake_all() }
}

/// One poll: more would only add equivalent executions.
pub(crate) const POLLS_BEFORE_SLEEP: u32 = 1;
pub(crate) const MOST_POLLS: u32 = 0;

pub(crate) fn pause() {}

pub(crate) fn yield_now() {}

/// Long enough that all threads see every earlier store.
#[track_caller]
pub(crate) fn nap(nanoseconds: u64) {
    thread(|thread| thread.clock += nanoseconds);
    let at = Location::caller();
    if !world(|world| world.is_weakened(at)) {
        reach_all_threads();
    }
}

/// A clock for each thread, which advances only in its timed waits.
pub(crate) fn now() -> Instant {
    const START: Instant = 1_000_000_000;
    thread(|thread| START + thread.clock)
}

pub(crate) fn deadline_after(milliseconds: u32) -> Instant {
    now() + u64::from(milliseconds) * 1_000_000
}

/// The mutex of `mutex` has a model of its own; all other models use this one, which takes far fewer steps.
#[repr(transparent)]
pub(crate) struct Mutex(atomic::AtomicU32);

/// Holds the mutex until dropped.
pub(crate) struct Guard<'a> {
    /// Whether the atomic says that it is locked.
    is_shown: bool,
    /// Of the monitor beside it; dropped first.
    _held: Option<Box<dyn Held>>,
    _monitor: Option<Rc<dyn Monitor>>,
    mutex: &'a Mutex,
}

impl Mutex {
    pub(crate) const fn new() -> Self {
        Mutex(atomic::AtomicU32::new(0))
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> Guard<'_> {
        let at = Location::caller();
        let is_locked = world(|world| world.phase == Phase::Run && !world.is_left_out(at));
        let monitor = is_locked.then(|| monitor(&raw const self.0 as usize));
        let held = monitor.as_ref().map(|monitor| {
            // SAFETY: it stands beside a count of the monitor and is dropped before it.
            unsafe { core::mem::transmute::<Box<dyn Held + '_>, Box<dyn Held>>(monitor.enter()) }
        });
        let is_asked = |world: &mut World| {
            world.scheduler == Scheduler::Shuttle || world.asked.contains(&(&raw const self.0 as usize))
        };
        let is_shown = is_locked && world(is_asked);
        if is_shown {
            // As in the real one, and so is the store in drop.
            self.0.swap(1, atomic::Ordering::Acquire);
        }
        Guard { is_shown, _held: held, _monitor: monitor, mutex: self }
    }

    /// As the real one: by an atomic of its own, which only those mutexes have of which this is asked. Which these are is
    /// found by trial, as with shared atomics.
    #[track_caller]
    pub(crate) fn is_locked(&self) -> bool {
        let address = &raw const self.0 as usize;
        let is_first = world(|world| {
            world.phase == Phase::Run && world.scheduler == Scheduler::Loom && world.asked.insert(address)
        });
        if is_first {
            std::panic::resume_unwind(Box::new(NowShared));
        }
        self.0.load(atomic::Ordering::SeqCst) != 0
    }

    /// Always waits: a busy mutex only affects speed.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_>> {
        Some(self.lock())
    }

    /// Nobody waits for what is done once: it is done before the threads run.
    pub(crate) fn lock_unless(&self, _done: &atomic::AtomicU32) -> Option<Guard<'_>> {
        self.try_lock()
    }

    pub(crate) fn wake_all(&self) {}

    // Models do not fork.
    pub(crate) fn reset_after_fork(&self) {}
}

impl Guard<'_> {
    pub(crate) fn is_of_parent(&self) -> bool {
        false
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.is_shown {
            self.mutex.0.store(0, atomic::Ordering::Release);
        }
    }
}

// ---- processors, barriers, pages --------------------------------------------------------------------------

/// One: spinning would only add equivalent executions.
pub(crate) fn processors() -> u32 {
    1
}

#[track_caller]
pub(crate) fn heavy_barrier() -> bool {
    let at = Location::caller();
    if world(|world| world.heavy && !world.is_weakened(at)) {
        reach_all_threads();
    }
    world(|world| world.heavy)
}

fn reach_all_threads() {
    let own = number();
    for (number, turns) in world(|world| world.barriers.clone()).iter().enumerate() {
        if number != 0 && number != own {
            turns.fetch_add(1, atomic::Ordering::AcqRel);
        }
    }
}

pub(crate) fn register_heavy_barrier() -> bool {
    world(|world| world.heavy)
}

#[track_caller]
pub(crate) fn light_barrier() {
    let at = Location::caller();
    let number = number();
    let own = world(|world| match world.barriers.get(number) {
        Some(own) if world.light && !world.is_weakened(at) => Some(own.clone()),
        _ => None,
    });
    if let Some(own) = own {
        own.fetch_add(1, atomic::Ordering::AcqRel);
    }
}

/// The same pages in each execution, never written.
pub(crate) fn reserve_pages(bytes: usize) -> Option<*mut u8> {
    world(|world| {
        let given = world.pages_given;
        world.pages_given += 1;
        match world.pages.get(given) {
            Some(&(start, size)) if size == bytes => Some(start as *mut u8),
            Some(_) => None,
            None => {
                let start = super::linux::allocate_pages(bytes)?;
                world.pages.push((start as usize, bytes));
                Some(start)
            }
        }
    })
}

pub(crate) fn allocate_pages(bytes: usize) -> Option<*mut u8> {
    reserve_pages(bytes)
}

/// An atomic of the program's, of eight bytes, has its value in the world.
pub(crate) fn read_own_memory(address: u64, buffer: &mut [u8]) -> usize {
    let read = super::threads::read_own_memory(address, buffer);
    if read == size_of::<u64>() && world(|world| world.places.contains_key(&(address as usize))) {
        // SAFETY: it is readable memory, and an atomic stands there.
        let word = unsafe { &*(address as *const atomic::AtomicU64) };
        buffer.copy_from_slice(&word.load(atomic::Ordering::Relaxed).to_ne_bytes());
    }
    read
}

// ---- output -----------------------------------------------------------------------------------------------

/// Thousands of orders say the same, and how fast somebody reads it is no part of a scene: all is taken, and goes nowhere.
pub(crate) fn write_at_once(_descriptor: c_int, _way: Way, bytes: &[u8]) -> Option<usize> {
    Some(bytes.len())
}

// ---- threads and the process ------------------------------------------------------------------------------

pub(crate) fn current() -> (u64, usize) {
    thread(|thread| thread.task)
}

pub(crate) fn set_current(id: u64, task: usize) {
    thread(|thread| thread.task = (id, task));
    world(|world| world.tasks_become += u32::from(id != 0));
}

pub(crate) fn last_error() -> u32 {
    thread(|thread| thread.last_error)
}

pub(crate) fn set_last_error(code: u32) {
    thread(|thread| thread.last_error = code);
}

/// During set-up, a different id for each task: one thread creates them all.
pub(crate) fn thread_id() -> u32 {
    const OF_THE_SCENE: u32 = 100;
    let made = world(|world| (world.phase == Phase::SetUp).then_some(world.tasks_become));
    made.map_or_else(|| number() as u32 + 1, |made| OF_THE_SCENE + made)
}

/// Every thread ends regularly, and the set-up thread creates many tasks.
pub(crate) const THREADS_MAY_VANISH: bool = false;

pub(crate) fn on_thread_exit(hook: fn()) -> bool {
    world(|world| world.thread_exit = Some(hook));
    true
}
