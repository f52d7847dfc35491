//! The platform of the simulated machine: the crate's own code runs in virtual time, on as many processors as are
//! asked for, and each access to an atomic, each system call and each turn of the scheduler takes what it takes
//! there.
//!
//! `machine` has what things cost and where that is known from, `lines` the caches, `processors` the scheduler,
//! `world` the time and the threads. As with the models, the crate's state machines are the real ones; what is not is
//! the order of memory: what a thread stores, all see at once, in the order of virtual time. That stores leave a
//! processor late shows in what they cost alone.
//!
//! What is computed between two accesses costs nothing here but what `compute` and `spend` are told.

mod lines;
mod machine;
mod processors;
mod world;

use std::vec::Vec;

use lines::Access;
use world::{access, pass_bucket, pass_in_kernel, sleep, thread, world};

pub(crate) use super::files::{write_all, write_at_once};
pub(crate) use super::mutex::{Guard, Mutex};
pub(crate) use super::stand_ins::*;
pub(crate) use super::threads::read_own_memory;
pub(crate) use machine::{MICROSECOND, MILLISECOND, Machine, NANOSECOND, Time};
pub(crate) use world::{Body, Figures, compute, is_over, simulate, spend, virtual_now};

// ---- atomics ----------------------------------------------------------------------------------------------

/// What `core::sync::atomic` is elsewhere. One thread of the operating system runs all of a simulation, so the values
/// stand in memory and orderings order nothing.
pub(crate) mod atomic {
    use super::*;
    pub(crate) use core::sync::atomic::Ordering;
    use core::sync::atomic::Ordering::Relaxed;

    /// A full one waits for the stores before it, as a read-modify-write does; on x86-64 the others are free.
    pub(crate) fn fence(ordering: Ordering) {
        if ordering == Ordering::SeqCst {
            world::fence();
        }
    }

    macro_rules! atomic_integer {
        ($name:ident, $value:ty) => {
            #[derive(Debug)]
            #[repr(transparent)]
            pub(crate) struct $name(core::sync::atomic::$name);

            // Not every type is used in every way.
            #[allow(dead_code)]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    $name(core::sync::atomic::$name::new(value))
                }

                fn access(&self, what: Access) -> &core::sync::atomic::$name {
                    access(&raw const self.0 as usize, size_of::<$value>(), what);
                    &self.0
                }

                pub(crate) fn load(&self, _: Ordering) -> $value {
                    self.access(Access::Load).load(Relaxed)
                }

                /// One that is a fence too is a read-modify-write on x86-64.
                pub(crate) fn store(&self, new: $value, ordering: Ordering) {
                    let fenced = ordering == Ordering::SeqCst;
                    self.access(if fenced { Access::Change } else { Access::Store }).store(new, Relaxed);
                }

                pub(crate) fn swap(&self, new: $value, _: Ordering) -> $value {
                    self.access(Access::Change).swap(new, Relaxed)
                }

                pub(crate) fn fetch_add(&self, n: $value, _: Ordering) -> $value {
                    self.access(Access::Change).fetch_add(n, Relaxed)
                }

                pub(crate) fn fetch_sub(&self, n: $value, _: Ordering) -> $value {
                    self.access(Access::Change).fetch_sub(n, Relaxed)
                }

                pub(crate) fn fetch_and(&self, n: $value, _: Ordering) -> $value {
                    self.access(Access::Change).fetch_and(n, Relaxed)
                }

                pub(crate) fn fetch_or(&self, n: $value, _: Ordering) -> $value {
                    self.access(Access::Change).fetch_or(n, Relaxed)
                }

                pub(crate) fn fetch_max(&self, n: $value, _: Ordering) -> $value {
                    self.access(Access::Change).fetch_max(n, Relaxed)
                }

                pub(crate) fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    _: Ordering,
                    _: Ordering,
                ) -> Result<$value, $value> {
                    self.access(Access::Change).compare_exchange(old, new, Relaxed, Relaxed)
                }

                pub(crate) fn compare_exchange_weak(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(old, new, success, failure)
                }

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

    impl AtomicU64 {
        /// Adds one as plain code does, not as one step.
        pub(crate) fn count(&self) {
            let value = self.access(Access::Update);
            value.store(value.load(Relaxed) + 1, Relaxed);
        }
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

        pub(crate) fn load(&self, ordering: Ordering) -> *mut T {
            self.0.load(ordering) as *mut T
        }

        pub(crate) fn store(&self, new: *mut T, ordering: Ordering) {
            self.0.store(new as usize, ordering);
        }
    }
}

// ---- waiting ----------------------------------------------------------------------------------------------

pub(crate) fn futex_wait(word: &atomic::AtomicU32, expected: u32, deadline: Option<Instant>) -> Slept {
    let address = core::ptr::from_ref(word) as usize;
    pass_in_kernel(world(|world| world.machine.futex_wait));
    if deadline.is_some_and(|deadline| deadline * NANOSECOND <= virtual_now()) {
        return Slept::TimedOut;
    }
    pass_bucket(address);
    // The kernel's own load, under its lock.
    if word.load(atomic::Ordering::Relaxed) != expected {
        return Slept::CheckAgain;
    }
    match sleep(address, deadline.map(|deadline| deadline * NANOSECOND)) {
        true => Slept::CheckAgain,
        false => Slept::TimedOut,
    }
}

pub(crate) fn futex_wake(word: &atomic::AtomicU32, count: i32) {
    let address = core::ptr::from_ref(word) as usize;
    pass_in_kernel(world(|world| world.machine.futex_wake));
    if !world(|world| world.has_sleepers(address)) {
        return;
    }
    pass_bucket(address);
    for _ in 0..count {
        if !world(|world| world.wake_first(address)) {
            break;
        }
        pass_in_kernel(world(|world| world.machine.waking));
    }
}

/// As on Linux.
pub(crate) const POLLS_BEFORE_SLEEP: u32 = super::linux::POLLS_BEFORE_SLEEP;
pub(crate) const MOST_POLLS: u32 = super::linux::MOST_POLLS;

pub(crate) fn pause() {
    spend(world(|world| world.machine.pause));
}

pub(crate) fn yield_now() {
    pass_in_kernel(world(|world| world.machine.yielding));
    if world(|world| world.yield_processor()) {
        world::suspend();
    }
}

pub(crate) fn nap(nanoseconds: u64) {
    pass_in_kernel(world(|world| world.machine.futex_wait));
    sleep(0, Some(virtual_now() + nanoseconds * NANOSECOND));
}

pub(crate) fn now() -> Instant {
    spend(world(|world| world.machine.clock));
    virtual_now() / NANOSECOND
}

pub(crate) fn deadline_after(milliseconds: u32) -> Instant {
    now() + u64::from(milliseconds) * (MILLISECOND / NANOSECOND)
}

// ---- processors, barriers, pages --------------------------------------------------------------------------

pub(crate) fn processors() -> u32 {
    world(|world| world.machine.processors as u32)
}

pub(crate) fn register_heavy_barrier() -> bool {
    true
}

pub(crate) fn heavy_barrier() -> bool {
    pass_in_kernel(world(|world| world.machine.barrier));
    let others = world(|world| world.interrupt_others());
    if others != 0 {
        pass_in_kernel(world(|world| {
            world.machine.barrier_reach + (others - 1) * world.machine.barrier_per_processor
        }));
    }
    true
}

pub(crate) fn light_barrier() {}

std::thread_local! {
    /// The pages that each simulation gets, in this order; each puts back what it has changed.
    static PAGES: core::cell::RefCell<Vec<(usize, usize)>> = const { core::cell::RefCell::new(Vec::new()) };
}

pub(crate) fn reserve_pages(bytes: usize) -> Option<*mut u8> {
    let given = world(|world| {
        world.pages_given += 1;
        world.pages_given - 1
    });
    PAGES.with_borrow_mut(|pages| match pages.get(given) {
        Some(&(start, size)) if size == bytes => Some(start as *mut u8),
        Some(_) => None,
        None => {
            let start = super::linux::allocate_pages(bytes)?;
            pages.push((start as usize, bytes));
            Some(start)
        }
    })
}

pub(crate) fn allocate_pages(bytes: usize) -> Option<*mut u8> {
    reserve_pages(bytes)
}

// ---- threads ----------------------------------------------------------------------------------------------

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

/// A different one for each task: the thread that sets the scene creates them all.
pub(crate) fn thread_id() -> u32 {
    const FIRST: u32 = 100;
    world(|world| FIRST + world.tasks_become)
}

/// As on Linux: that waiters check whether the owner is there still is part of what a wait costs.
pub(crate) const THREADS_MAY_VANISH: bool = super::linux::THREADS_MAY_VANISH;

/// Threads end when the simulation does.
pub(crate) fn on_thread_exit(_hook: fn()) -> bool {
    true
}
