//! What the child of a fork finds: the forking thread's task with all that it had. Every other task has ended there.
//!
//! Those others were stopped anywhere, a lock of the library's in hand or not (see `sys::mutex`). A wait of the forking thread
//! itself, which a signal handler interrupted in order to fork, is over in the child: whoever could end it is gone.
//!
//! Whatever is as it should be is only read: the child of a program with a million sections shares their pages with its
//! parent.

use crate::host::{ends, locks};
use crate::lock::{self, condition, crst, queue};
use crate::report;
use crate::state::addresses::ATTACHING;
use crate::state::registry::REGISTRY;
use crate::sys::{self, Mutex};

/// Every lock but those of sections and of condition variables, which are unlocked where they stand, and that of the
/// managed threads' names, as no CLR goes on in a child.
fn every_lock() -> [&'static Mutex; 12] {
    [
        REGISTRY.prepare_lock(),
        &locks::READING,
        REGISTRY.deadlocks.lock(),
        &locks::NAMING,
        &locks::REAPING,
        &locks::HOOKS,
        &ATTACHING,
        REGISTRY.addresses.lock(),
        REGISTRY.sections.lock(),
        REGISTRY.tasks.lock(),
        REGISTRY.names.lock(),
        REGISTRY.chunks.lock(),
    ]
}

/// Puts things in order in the child; by its only thread, before anything else of the library.
pub(crate) fn repair_child() {
    every_lock().iter().for_each(|lock| lock.reset_after_fork());
    report::free_after_fork();
    if !REGISTRY.is_ready() {
        // Another thread was making the first call. The child makes its own.
        return;
    }
    let me = sys::current_id();
    REGISTRY.tasks.iter().for_each(queue::forget_wait_after_fork);
    crst::abandon_after_fork(me);
    condition::forget_after_fork();
    REGISTRY.deadlocks.reset_after_fork();
    lock::holds::settle_after_fork();
    ends::end_others_after_fork(me);
}
