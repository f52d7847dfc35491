//! The tasks of the registry, by their handles and owner ids. How a thread becomes one is not known here.

use crate::error::{Error, Result};
use crate::handle;
use crate::state::registry::REGISTRY;
use crate::state::sections;
use crate::state::task::{Task, TaskRef};
use crate::state::wait::{LEFT_BEHIND, REAPED};
use crate::sys::atomic::{Ordering, fence};

/// The task with this owner id, live or not.
pub(crate) fn of_owner(id: u64) -> TaskRef {
    TaskRef(REGISTRY.tasks.at(handle::owner_slot(id)))
}

/// The handle of the task with this owner id, 0 for none.
pub(crate) fn handle_of(id: u64) -> u64 {
    if id == 0 { 0 } else { handle::task_handle(REGISTRY.copy(), id) }
}

/// The live task with this handle.
pub(crate) fn of_handle(handle: u64) -> Result<TaskRef> {
    named(handle).map(|(_, task)| task)
}

/// The live task with this handle, and its id: by the time that something is done with it, the slot may be another's.
pub(crate) fn named(handle: u64) -> Result<(u64, TaskRef)> {
    let id = handle::task_owner_id(REGISTRY.copy(), handle).ok_or(Error::Handle)?;
    if !REGISTRY.is_ready() || id == 0 {
        return Err(Error::Handle);
    }
    // Pairs with the Release fence in register: a thread that was given this handle in any way finds its slot.
    fence(Ordering::Acquire);
    let task = of_owner(id);
    if task.id() == id { Ok((id, task)) } else { Err(Error::Handle) }
}

/// Whether the task with this owner id is ending, or has been given up but for a lock that it was given. A number that is
/// no task's is that of a slot that none ever has.
pub(crate) fn is_ending(id: u64) -> bool {
    matches!(of_owner(id).wait.park.load(Ordering::Relaxed), LEFT_BEHIND..=REAPED)
}

/// Every live task.
pub(crate) fn all() -> impl Iterator<Item = TaskRef> {
    REGISTRY.tasks.iter().filter(|task| task.id() != 0).map(TaskRef)
}

/// The handle of every live task.
pub(crate) fn handles() -> impl Iterator<Item = u64> {
    REGISTRY.tasks.iter().map(|task| task.id()).filter(|&id| id != 0).map(handle_of)
}

/// The live task of a managed thread, with the id that it has if it is still that one.
pub(crate) fn find_clr_thread(thread: u64) -> Option<(u64, TaskRef)> {
    // First the id: if it is found again later, the slot was that task's all the time.
    let tasks = REGISTRY.tasks.iter().map(|task| (task.id(), TaskRef(task)));
    tasks.filter(|(id, _)| *id != 0).find(|(_, task)| task.clr_thread() == thread)
}

/// Whether a task runs on a thread that a CLR has named by a ThreadID.
pub(crate) fn has_clr_threads() -> bool {
    all().any(|task| task.clr_thread() != 0)
}

impl Task {
    pub(crate) fn index(&self) -> u32 {
        REGISTRY.tasks.index_of(self)
    }

    /// How many sections the task owns.
    pub(crate) fn owned(&self) -> u32 {
        let id = self.id();
        self.owned_with(|handle| sections::slot_of(handle).is_biased_and_entered(handle, id))
    }
}
