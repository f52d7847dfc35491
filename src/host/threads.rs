//! Tasks: the unit that owns sections, waits for them, and is in managed or native code. A thread is one by default.
//! How a task waits is `lock`'s, how it ends `ends`'.

use crate::base::memory::Here;
use crate::base::name::NameCopy;
use crate::error::{Error, Result};
use crate::handle;
use crate::host::{ends, locks, prepare};
use crate::lock::queue;
use crate::state::layers::{Layer, LayerKind, Mode, Origin};
use crate::state::registry::REGISTRY;
use crate::state::task::{self, Task, TaskRef};
use crate::state::tasks;
use crate::sys::atomic::{Ordering, fence};
use crate::sys::{self, preserving_errno};
use crate::view::names::task_name;

/// The calling thread's task, which it becomes at the first call.
#[inline(always)]
pub(crate) fn current() -> Result<TaskRef> {
    match task::current_if_any() {
        Some(task) => Ok(task),
        None => register(),
    }
}

/// The calling thread's task, which it becomes only while the runtime runs.
#[cold]
pub(crate) fn current_in_runtime() -> Result<TaskRef> {
    REGISTRY.runtime.require_running()?;
    current()
}

/// Gives the task with this handle a name.
pub(crate) fn set_name(handle: u64, utf8: &[u8]) -> Result<()> {
    let (id, task) = tasks::named(handle)?;
    task.set_name(id, utf8)
}

/// The name of the task with this handle, or of its thread.
pub(crate) fn name(handle: u64) -> Result<NameCopy> {
    let task = tasks::of_handle(handle)?;
    let name = task_name(task);
    task.still(handle).map(|()| name)
}

/// How many more threads can become tasks before one of them ends.
pub(crate) fn left() -> Result<u32> {
    REGISTRY.runtime.require_usable()?;
    Ok(preserving_errno(|| sys::without_handlers(|| REGISTRY.tasks.left())))
}

/// Ends the alertable wait of the task with this handle, or its next one.
pub(crate) fn alert(handle: u64) -> Result<()> {
    let (id, task) = tasks::named(handle)?;
    task.alert(id)
}

/// What `host_task_info` tells.
#[derive(Clone, Copy)]
pub(crate) struct TaskInfo {
    pub(crate) mode: Mode,
    pub(crate) thread_id: u32,
    pub(crate) owned: u32,
    pub(crate) depth: usize,
    pub(crate) waiting_for: u64,
}

/// What the task with this handle is doing.
pub(crate) fn info(handle: u64) -> Result<TaskInfo> {
    let task = tasks::of_handle(handle)?;
    let (depth, mode) = task.layers.depth_and_mode(REGISTRY.runtime.word());
    let info = TaskInfo {
        mode,
        thread_id: task.thread_id(),
        owned: task.owned(),
        depth,
        waiting_for: Some(task.wait.awaited()).filter(|&awaited| !handle::is_srw_lock(awaited)).unwrap_or(0),
    };
    task.still(handle).map(|()| info)
}

/// Calls `take` with up to `most` layers of the task with this handle, outermost first; how many are open.
pub(crate) fn layers(handle: u64, most: usize, mut take: impl FnMut(usize, Layer)) -> Result<usize> {
    let task = tasks::of_handle(handle)?;
    loop {
        let runtime = REGISTRY.runtime.word();
        let position = || Some(task.layers.position(runtime));
        let taken = task.layers.snapshot(&Here, runtime, position, 0, most, &mut take);
        task.still(handle)?;
        if let Some((depth, _)) = taken {
            return Ok(depth);
        }
    }
}

#[cold]
fn register() -> Result<TaskRef> {
    preserving_errno(|| sys::without_handlers(begin_current))
}

/// Makes the calling thread a task; no handler interrupts it.
fn begin_current() -> Result<TaskRef> {
    // A handler that came just before may have made it one.
    if let Some(task) = task::current_if_any() {
        return Ok(task);
    }
    prepare::prepare()?;
    ends::reap_earlier_thread();
    let index = REGISTRY.tasks.allocate().or_else(|_| {
        for task in tasks::all() {
            ends::reap_if_gone(task.id());
        }
        REGISTRY.tasks.allocate()
    })?;
    let task = TaskRef(REGISTRY.tasks.at(index));
    if !sys::expect_thread_exit() {
        REGISTRY.tasks.release(index, false);
        return Err(Error::OutOfMemory);
    }
    task.begin(index);
    // Pairs with the Acquire of a thread that finds the task's id in a word, or is given its handle: see arena.
    fence(Ordering::Release);
    ends::remember_thread(index);
    sys::set_current(task.id(), task.0 as *const Task as usize);
    Ok(task)
}

impl TaskRef {
    fn begin(self, index: u32) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.generation.store(generation, Ordering::Relaxed);
        self.layers.prepare();
        self.wait.prepare();
        self.managed_wait.end();
        self.clr_thread.store(0, Ordering::Relaxed);
        self.last_return.store(0, Ordering::Relaxed);
        self.entries.store(0, Ordering::Relaxed);
        self.leaves.store(0, Ordering::Relaxed);
        self.revoked_entries.store(0, Ordering::Relaxed);
        self.resources.store(0, Ordering::Relaxed);
        // The last task of the record may have ended in a change.
        self.free_slots.in_use.store(0, Ordering::Relaxed);
        self.thread_id.store(sys::thread_id(), Ordering::Relaxed);
        for anomaly in &self.anomalies {
            anomaly.store(0, Ordering::Relaxed);
        }
        {
            // See set_name: a thread that names an earlier task of this slot was here before, or finds that it has
            // ended.
            let _naming = locks::NAMING.lock();
            self.name.set(&[]);
        }
        // Release pairs with the Acquire in id: a reader that sees the task alive sees its fields set.
        self.id.store(handle::owner_id(index, u64::from(generation)), Ordering::Release);
    }

    /// Gives the task with this id a name, cut to what fits; an empty one brings the thread's own back. Fails with
    /// Handle if it has ended.
    pub(crate) fn set_name(self, id: u64, utf8: &[u8]) -> Result<()> {
        preserving_errno(|| {
            // place: task-name-lock
            let _naming = locks::NAMING.lock();
            // The next task of the slot takes this lock before it has an id: it clears this name, or is seen here.
            if self.id() != id {
                return Err(Error::Handle);
            }
            self.name.set(utf8);
            Ok(())
        })
    }

    /// Drops the innermost layers until `depth` are left. Own thread only.
    pub(crate) fn truncate(self, depth: usize) {
        self.layers.truncate(depth);
    }

    /// Opens a layer, if nothing about that is unusual. Own thread only.
    #[inline(always)]
    pub(crate) fn push_fast(self, kind: LayerKind, origin: Origin, target: u64) -> bool {
        self.0.layers.push_fast(kind, origin, target)
    }

    /// Opens a layer. Own thread only.
    #[inline(always)]
    pub(crate) fn push(self, kind: LayerKind, origin: Origin, target: u64) -> Result<()> {
        self.0.layers.push(kind, origin, target)
    }

    /// Closes the innermost layer, if nothing about that is unusual. Own thread only.
    #[inline(always)]
    pub(crate) fn pop_fast(self, kind: LayerKind) -> bool {
        self.0.layers.pop_fast(kind)
    }

    /// Closes the innermost layer. Own thread only.
    #[inline(always)]
    pub(crate) fn pop(self, kind: LayerKind) -> Result<()> {
        self.0.layers.pop(kind)
    }

    /// How many layers are open.
    pub(crate) fn depth(self) -> usize {
        self.layers.depth()
    }

    /// Notes which method the callback that is the layer at `index` has called. Own thread only.
    pub(crate) fn set_callee(self, index: usize, callee: u16) {
        self.layers.set_callee(index, callee);
    }

    /// The layer at `index`, outermost 0. Own thread only.
    pub(crate) fn layer(self, index: usize) -> Option<Layer> {
        self.layers.layer(index)
    }

    /// Fails if the slot has another task by now: then what was read was not all of one task.
    fn still(self, handle: u64) -> Result<()> {
        tasks::of_handle(handle).map(|_| ())
    }

    /// Ends the alertable wait of the task with this id, or its next one.
    pub(crate) fn alert(self, id: u64) -> Result<()> {
        loop {
            // Acquire: a thread that finds an alert for a later task of the slot finds that this one has ended.
            // place: alert-pending-load
            let pending = self.alert.load(Ordering::Acquire);
            if self.id() != id {
                return Err(Error::Handle);
            }
            // SeqCst here and in the waiter, which announces itself first and then loads `alert`: one sees the other.
            let set = self.alert.compare_exchange(pending, id, Ordering::SeqCst, Ordering::Relaxed);
            if pending == id || set.is_ok() {
                break;
            }
        }
        queue::interrupt(self);
        Ok(())
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use crate::handle::LAST_TASK_GENERATION;
    use std::vec::Vec;

    /// The task of a thread that ends: its slot, its handle, its name when it began.
    fn task_of_a_thread(act: impl FnOnce(TaskRef) + Send + 'static) -> (u32, u64, NameCopy) {
        let thread = std::thread::spawn(|| {
            let task = current().unwrap();
            let seen = (task.index(), tasks::handle_of(task.id()), task.name());
            act(task);
            seen
        });
        thread.join().unwrap()
    }

    /// What became of a slot that was nearly used up: the handle of its task, the tasks of ten threads that came later, and the
    /// generations of those in the slot.
    fn tasks_after_a_late_one() -> (u64, Vec<(u32, u64, NameCopy)>, Vec<u64>) {
        let (slot, first, _) = task_of_a_thread(|task| {
            task.name.set(b"of the first");
            // As if there had been so many tasks in the slot.
            task.generation.store(LAST_TASK_GENERATION as u32 - 3, Ordering::Relaxed);
        });
        let later: Vec<_> = (0..10).map(|_| task_of_a_thread(|_| {})).collect();
        let in_slot = later.iter().filter(|task| task.0 == slot);
        let generation =
            |handle| handle::owner_generation(handle::task_owner_id(REGISTRY.copy(), handle).unwrap());
        let generations = in_slot.map(|task| generation(task.1)).collect();
        (first, later, generations)
    }

    #[test]
    fn a_slot_is_retired_after_its_last_generation_and_keeps_no_name() {
        crate::host::runtime::start().unwrap();
        // A thread of another test may have been a task of the slot, too.
        let ours =
            (0..100).map(|_| tasks_after_a_late_one()).find(|(.., generations)| generations.len() >= 3);
        let (first, later, generations) = ours.expect("a slot that nobody else takes");
        assert_eq!(generations, [2, 1, 0].map(|left| LAST_TASK_GENERATION - left));
        assert!(later.iter().all(|task| task.2.is_empty()));
        let mut handles: Vec<_> = later.iter().map(|task| task.1).chain([first]).collect();
        assert!(handles.iter().all(|&handle| tasks::of_handle(handle).is_err()));
        handles.sort();
        handles.dedup();
        assert_eq!(handles.len(), 11);
    }
}
