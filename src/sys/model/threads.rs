//! The threads of an execution, and how they wait for each other: loom's or shuttle's, by the same names.

use core::time::Duration;
use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use shuttle::rand::{Rng, thread_rng};

use super::{Body, world};

/// Which library runs the threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scheduler {
    /// In every order.
    #[default]
    Loom,
    /// In an order drawn at random.
    Shuttle,
}

fn scheduler() -> Scheduler {
    world(|world| world.scheduler)
}

loom::thread_local! {
    /// The number of the thread in its execution.
    static NUMBER: core::cell::Cell<usize> = core::cell::Cell::new(0);
}

/// The number of the calling thread in its execution, from 1; 0 for the one that sets the scene.
pub(super) fn number() -> usize {
    match scheduler() {
        Scheduler::Loom => NUMBER.with(core::cell::Cell::get),
        Scheduler::Shuttle => shuttle::current::me().into(),
    }
}

/// Runs them, each with its number, until all have ended.
pub(super) fn run(threads: Vec<Body>) {
    const ENDS_WELL: &str = "a thread of a model does not panic on its own";
    match scheduler() {
        Scheduler::Loom => {
            const STACK_WORDS: usize = 1 << 15;
            let spawn = |(number, body): (usize, Body)| {
                let run = move || {
                    NUMBER.with(|own| own.set(number));
                    body();
                };
                loom::thread::Builder::new().stack_size(STACK_WORDS).spawn(run).expect("loom spawns")
            };
            let handles: Vec<_> = (1..).zip(threads).map(spawn).collect();
            handles.into_iter().for_each(|handle| handle.join().expect(ENDS_WELL));
        }
        Scheduler::Shuttle => {
            let handles: Vec<_> = threads.into_iter().map(shuttle::thread::spawn).collect();
            handles.into_iter().for_each(|handle| handle.join().expect(ENDS_WELL));
        }
    }
}

/// Lets another thread run, or not. Loom has such points in its own atomics.
pub(super) fn switch() {
    if scheduler() == Scheduler::Shuttle {
        // What sleep is in shuttle, which knows no time.
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Lets others run first.
pub(super) fn yield_now() {
    match scheduler() {
        Scheduler::Loom => loom::thread::yield_now(),
        Scheduler::Shuttle => shuttle::thread::yield_now(),
    }
}

/// Whether a wait with a limit is to go on a little longer.
pub(super) fn draws_another_moment() -> bool {
    scheduler() == Scheduler::Shuttle && thread_rng().gen_ratio(3, 4)
}

/// A mutex, and the threads that sleep until they are woken.
pub(super) trait Monitor {
    /// Enters it until what is returned is dropped.
    fn enter(&self) -> Box<dyn Held + '_>;
    /// Sleeps if `condition` holds inside of it.
    fn sleep_if(&self, condition: &dyn Fn() -> bool);
    fn wake_one(&self);
    fn wake_all(&self);
}

/// A monitor is left when this is dropped.
pub(super) trait Held {}

impl<T> Held for T {}

macro_rules! monitor {
    ($name:ident, $library:ident) => {
        #[derive(Default)]
        struct $name {
            mutex: $library::sync::Mutex<()>,
            sleepers: $library::sync::Condvar,
        }

        impl Monitor for $name {
            fn enter(&self) -> Box<dyn Held + '_> {
                Box::new(self.mutex.lock().expect("never poisoned"))
            }

            fn sleep_if(&self, condition: &dyn Fn() -> bool) {
                let guard = self.mutex.lock().expect("never poisoned");
                if condition() {
                    drop(self.sleepers.wait(guard));
                }
            }

            fn wake_one(&self) {
                let _guard = self.mutex.lock().expect("never poisoned");
                self.sleepers.notify_one();
            }

            fn wake_all(&self) {
                let _guard = self.mutex.lock().expect("never poisoned");
                self.sleepers.notify_all();
            }
        }
    };
}

monitor!(LoomMonitor, loom);
monitor!(ShuttleMonitor, shuttle);

/// A new monitor for the threads of `scheduler`.
pub(super) fn monitor(scheduler: Scheduler) -> Rc<dyn Monitor> {
    match scheduler {
        Scheduler::Loom => Rc::new(LoomMonitor::default()),
        Scheduler::Shuttle => Rc::new(ShuttleMonitor::default()),
    }
}
