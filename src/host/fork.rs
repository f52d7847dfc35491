//! What the child of a fork finds: the forking thread's task with all that it had. Every other task has ended there.
//! How a queue or a section is repaired is known below.
//!
//! Those others were stopped anywhere, a lock of the library's in hand or not (see `sys::mutex`). A wait of the
//! forking thread itself, which a signal handler interrupted in order to fork, is over in the child: the threads that
//! could end it are gone.
//!
//! **Another thread may be first.** In a child of _Fork, where no handlers run, the forking thread may enter and
//! leave by fast paths and start other threads before it comes here. If one of those comes first, it is not known
//! which of the tasks is the forking thread's. So none is ended, and nothing is abandoned: the sections of tasks that
//! are gone stay owned. No section has two owners.
//!
//! What is in order already is only read: the child of a program with a million sections shares their pages with its
//! parent.

use crate::host::{ends, locks};
use crate::lock::{self, condition, crst, queue, resources, slots, srw};
use crate::order;
use crate::report;
use crate::state::addresses::ATTACHING;
use crate::state::once::CHANGING;
use crate::state::registry::REGISTRY;
use crate::sys::{self, Mutex};

/// Every lock but those of sections, of resources, of SRW locks and of condition variables, which are unlocked where they stand, and that of the
/// managed threads' names, as no CLR goes on in a child.
fn every_lock() -> [&'static Mutex; 16] {
    [
        REGISTRY.prepare_lock(),
        &locks::READING,
        REGISTRY.deadlocks.lock(),
        &REGISTRY.orders.lock,
        &locks::NAMING,
        &locks::REAPING,
        &locks::HOOKS,
        &ATTACHING,
        &CHANGING,
        &slots::RECLAIMING,
        REGISTRY.addresses.lock(),
        REGISTRY.sections.lock(),
        REGISTRY.tasks.lock(),
        REGISTRY.names.lock(),
        REGISTRY.resources.lock(),
        REGISTRY.chunks.lock(),
    ]
}

/// Puts things in order in the child, before any of its threads takes a lock or becomes a task.
pub(crate) fn repair_child() {
    every_lock().iter().for_each(|lock| lock.reset_after_fork());
    report::free_after_fork();
    if !REGISTRY.is_ready() {
        // Another thread was making the first call. The child makes its own.
        return;
    }
    REGISTRY.tasks.iter().for_each(queue::forget_wait_after_fork);
    resources::forget_waits_after_fork();
    condition::forget_after_fork();
    srw::forget_after_fork();
    REGISTRY.deadlocks.reset_after_fork();
    slots::settle_after_fork();
    lock::holds::settle_after_fork();
    order::settle_after_fork();
    if is_forking_thread() {
        let me = sys::current_id();
        crst::abandon_after_fork(me);
        resources::abandon_after_fork(me);
        ends::end_others_after_fork(me);
    } else {
        crst::forget_queues_after_fork();
        ends::keep_all_after_fork();
    }
}

/// Whether the calling thread of the child is the one that forked: its first one, whose task, if it is one, is the
/// only one that a thread of the child has yet.
fn is_forking_thread() -> bool {
    sys::current_id() != 0 || sys::thread_id() == sys::process_id()
}
