//! The task of a managed thread, and its managed name.
//!
//! The CLR identifies a thread by its ThreadID, which exists before the thread runs; the task exists from the thread's
//! first call of the library. So a name that is set earlier is kept in a small table until the task is known.

use core::sync::atomic::{Ordering, fence};

use super::info::ProfilerInfo;
use super::own_code;
use super::session;
use crate::base::name::NameCopy;
use crate::host;
use crate::state::task::{self, TaskRef};
use crate::state::tasks;
use crate::sys::Mutex;

/// How many threads can be named before they run. A name beyond these is dropped; reports then show the
/// operating system's name of the thread.
const WAITING_NAMES: usize = 64;

struct WaitingName {
    thread: u64,
    name: NameCopy,
}

struct WaitingNames {
    mutex: Mutex,
    names: core::cell::UnsafeCell<[WaitingName; WAITING_NAMES]>,
}

// SAFETY: `names` is reached in `with` only, under the mutex.
unsafe impl Sync for WaitingNames {}

/// A slot whose thread is 0 is free: no ThreadID is 0.
static WAITING: WaitingNames = WaitingNames {
    mutex: Mutex::new(),
    names: core::cell::UnsafeCell::new(
        [const { WaitingName { thread: 0, name: NameCopy::new() } }; WAITING_NAMES],
    ),
};

impl WaitingNames {
    fn with<T>(&self, body: impl FnOnce(&mut [WaitingName; WAITING_NAMES]) -> T) -> T {
        let _guard = self.mutex.lock();
        // SAFETY: the mutex is held until `body` has returned, and nothing else makes a reference to `names`.
        body(unsafe { &mut *self.names.get() })
    }

    fn put(&self, thread: u64, name: NameCopy) {
        self.with(|names| {
            let slot = names.iter().position(|slot| slot.thread == thread);
            let slot = slot.or_else(|| names.iter().position(|slot| slot.thread == 0));
            if let Some(slot) = slot.and_then(|index| names.get_mut(index)) {
                *slot = WaitingName { thread, name };
            }
        });
    }

    fn take(&self, thread: u64) -> Option<NameCopy> {
        self.with(|names| {
            let slot = names.iter_mut().find(|slot| slot.thread == thread)?;
            slot.thread = 0;
            Some(core::mem::replace(&mut slot.name, NameCopy::new()))
        })
    }
}

/// The calling thread's task, which it becomes at its first callback; none if the thread is the library's own.
#[inline]
pub(crate) fn current() -> Option<TaskRef> {
    task::current_if_any().or_else(first_seen)
}

#[cold]
fn first_seen() -> Option<TaskRef> {
    if session::is_own_thread() { None } else { host::threads::current().ok() }
}

/// Ties the current thread's task to its ThreadID, if it is not tied yet.
#[inline]
pub(crate) fn tie_current(task: TaskRef, info: Option<ProfilerInfo>) {
    if task.clr_thread() == 0 {
        tie_at_first_sight(task, info);
    }
}

#[cold]
fn tie_at_first_sight(task: TaskRef, info: Option<ProfilerInfo>) {
    if let Some(thread) = info.and_then(ProfilerInfo::current_thread) {
        tie(task, thread);
    }
}

fn tie(task: TaskRef, thread: u64) {
    task.set_clr_thread(thread);
    // Pairs with the fence in `named`: either this thread sees the stored name, or the naming thread sees
    // the task.
    fence(Ordering::SeqCst);
    deliver(thread, (task.id(), task));
}

fn deliver(thread: u64, (id, task): (u64, TaskRef)) {
    if let Some(name) = WAITING.take(thread) {
        // It fails only if the task has ended meanwhile.
        let _ = task.set_name(id, name.bytes());
    }
}

/// The CLR runs a managed thread on an OS thread. It calls this on that thread.
pub(crate) fn assigned(thread: u64, os_thread: u32) {
    if os_thread == crate::sys::thread_id()
        && let Some(task) = current()
    {
        tie(task, thread);
        if task.name().is_empty()
            && let Some(name) = own_code::name_of_foreign_thread()
        {
            // It fails only if the task has ended.
            let _ = task.set_name(task.id(), name.bytes());
        }
    }
}

/// A managed thread was named; called on any thread.
pub(crate) fn named(thread: u64, name: &[u16], info: Option<ProfilerInfo>) {
    // The main thread is assigned before there are callbacks, and may never make a transition that is reported.
    if info.and_then(ProfilerInfo::current_thread) == Some(thread)
        && let Some(task) = current()
    {
        tie_current(task, info);
    }
    WAITING.put(thread, NameCopy::of_utf16(name));
    // Pairs with the fence in `tie`.
    fence(Ordering::SeqCst);
    if let Some(task) = tasks::find_clr_thread(thread) {
        deliver(thread, task);
    }
}

/// A managed thread has ended, and its ThreadID may be reused.
pub(crate) fn destroyed(thread: u64) {
    WAITING.take(thread);
    if let Some((_, task)) = tasks::find_clr_thread(thread) {
        task.forget_clr_thread(thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> WaitingNames {
        WaitingNames {
            mutex: Mutex::new(),
            names: core::cell::UnsafeCell::new(
                [const { WaitingName { thread: 0, name: NameCopy::new() } }; WAITING_NAMES],
            ),
        }
    }

    fn text(name: &str) -> NameCopy {
        NameCopy::of(name.as_bytes())
    }

    fn taken(names: &WaitingNames, thread: u64) -> Option<std::vec::Vec<u8>> {
        names.take(thread).map(|name| name.bytes().to_vec())
    }

    #[test]
    fn a_waiting_name_is_delivered_once_and_the_latest_wins() {
        let names = waiting();
        names.put(8, text("first"));
        names.put(16, text("other"));
        names.put(8, text("second"));
        assert_eq!(taken(&names, 8).as_deref(), Some(&b"second"[..]));
        assert_eq!(taken(&names, 8), None);
        assert_eq!(taken(&names, 16).as_deref(), Some(&b"other"[..]));
    }

    #[test]
    fn a_full_table_drops_the_newcomer_and_has_room_again_after_a_delivery() {
        let names = waiting();
        for thread in 1..=WAITING_NAMES as u64 {
            names.put(thread, text("early"));
        }
        names.put(1000, text("late"));
        assert_eq!(taken(&names, 1000), None);
        assert!(taken(&names, 1).is_some());
        names.put(1000, text("late"));
        assert!(taken(&names, 1000).is_some());
    }
}
