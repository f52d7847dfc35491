//! Tasks: the unit that owns sections, waits for them, and is in managed or native code. A thread is one by default.

use core::mem::offset_of;
use core::ops::Deref;

use crate::arena::Slot;
use crate::condition::Sleep;
use crate::error::{Error, Result};
use crate::handle::{self, LAST_TASK_GENERATION};
use crate::layers::Layers;
use crate::memory::{Here, Memory};
use crate::name::{Name, NameCopy};
use crate::registry::REGISTRY;
use crate::sys::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::{self, preserving_errno};
use crate::waiting::Wait;
use crate::{condition, crst, wait_graph, waiting};

pub(crate) use crate::layers::{Layer, LayerKind, Mode, Origin};

/// What the CLR's callbacks can get wrong; counted, and shown in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Anomaly {
    /// A return for a call that was never announced.
    UnmatchedPop = 0,
    /// A call announced twice.
    RepeatedPush = 1,
    /// A function id that names no function.
    UnknownFunction = 2,
    /// Calls whose return was never announced.
    MissedPop = 3,
}

pub(crate) const ANOMALIES: usize = 4;

/// Held while the name of a task is written, whichever task's.
static NAMING: sys::Mutex = sys::Mutex::new();

/// The lock of the names of tasks.
pub(crate) fn naming_lock() -> &'static sys::Mutex {
    &NAMING
}

/// A task's record. The first lines are written by its own thread all the time, the rest seldom.
#[repr(C, align(64))]
pub(crate) struct Task {
    pub(crate) layers: Layers,
    /// How it waits, if it does; written by those who end the wait too.
    pub(crate) wait: Wait,
    /// How it sleeps on a condition variable, if it does; written by those who wake it too.
    pub(crate) sleep: Sleep,
    /// The owner id, 0 while the slot is not in use.
    id: AtomicU64,
    /// The id of the task when an alert is pending for it: an alert meant for an earlier task has no effect.
    alert: AtomicU64,
    /// The number of the setting (see `wait_graph`) that asked for the call of the program that the task is inside of; of
    /// the outermost one. 0 for none.
    telling: AtomicU64,
    /// The CLR's id of the managed thread, 0 if none.
    clr_thread: AtomicU64,
    /// What the CLR's callbacks remember between two of them; own thread only.
    last_return: AtomicU64,
    /// Sections it has entered and left, counted when it becomes the owner and when it ceases to be. Being lent a section
    /// counts as leaving it: what is lent is looked at in `biases`.
    entries: AtomicU32,
    leaves: AtomicU32,
    /// Sections it was in when their bias went, counted by whoever took it away.
    returned: AtomicU32,
    thread_id: AtomicU32,
    generation: AtomicU32,
    anomalies: [AtomicU32; ANOMALIES],
    name: Name,
    /// Sections lent to it (see `bias`), 0 for a free place.
    biases: [AtomicU64; MOST_BIASES],
}

/// How many sections are lent to one task at a time.
pub(crate) const MOST_BIASES: usize = 8;

const _: () = assert!(size_of::<Task>() == 704);

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 6] = [
    ("task.bytes", size_of::<Task>()),
    ("task.layers", offset_of!(Task, layers)),
    ("task.wait", offset_of!(Task, wait)),
    ("task.id", offset_of!(Task, id)),
    ("task.thread_id", offset_of!(Task, thread_id)),
    ("task.name", offset_of!(Task, name)),
];

// SAFETY: all fields are atomics or made of such.
unsafe impl Slot for Task {}

/// A task, live or not: its record is always readable.
#[derive(Clone, Copy)]
pub(crate) struct TaskRef(&'static Task);

impl Deref for TaskRef {
    type Target = Task;
    fn deref(&self) -> &Task {
        self.0
    }
}

/// The calling thread's task, which it becomes at the first call.
#[inline(always)]
pub(crate) fn current() -> Result<TaskRef> {
    match current_if_any() {
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

/// The calling thread's task, if it is one already.
#[inline(always)]
pub(crate) fn current_if_any() -> Option<TaskRef> {
    let address = sys::current_task();
    // SAFETY: set_current is only given 0 or the address of a slot of the task arena, which is type-stable.
    (address != 0).then(|| TaskRef(unsafe { &*(address as *const Task) }))
}

/// The calling thread's owner id and task, if it is one already.
#[inline(always)]
pub(crate) fn current_with_id() -> Option<(u64, TaskRef)> {
    let (id, address) = sys::current();
    // SAFETY: as in current_if_any.
    (address != 0).then(|| (id, TaskRef(unsafe { &*(address as *const Task) })))
}

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
fn named(handle: u64) -> Result<(u64, TaskRef)> {
    let id = handle::task_owner_id(REGISTRY.copy(), handle).ok_or(Error::Handle)?;
    if !REGISTRY.is_ready() || id == 0 {
        return Err(Error::Handle);
    }
    // Pairs with the Release fence in register: who was given this handle in whatever way finds its slot.
    fence(Ordering::Acquire);
    let task = of_owner(id);
    if task.id() == id { Ok((id, task)) } else { Err(Error::Handle) }
}

/// Gives the task with this handle a name.
pub(crate) fn set_name(handle: u64, utf8: &[u8]) -> Result<()> {
    let (id, task) = named(handle)?;
    task.set_name(id, utf8)
}

/// Ends the alertable wait of the task with this handle, or its next one.
pub(crate) fn alert(handle: u64) -> Result<()> {
    let (id, task) = named(handle)?;
    task.alert(id)
}

/// What `host_task_info` tells.
#[derive(Clone, Copy)]
pub(crate) struct Info {
    pub(crate) mode: Mode,
    pub(crate) thread_id: u32,
    pub(crate) owned: u32,
    pub(crate) depth: usize,
    pub(crate) waiting_for: u64,
}

/// What the task with this handle is doing.
pub(crate) fn info(handle: u64) -> Result<Info> {
    let task = of_handle(handle)?;
    let (depth, mode) = task.layers.depth_and_mode(REGISTRY.runtime.word());
    let info = Info {
        mode,
        thread_id: task.thread_id(),
        owned: task.owned(),
        depth,
        waiting_for: task.wait.section(),
    };
    task.still(handle).map(|()| info)
}

/// Shows `take` up to `most` layers of the task with this handle, outermost first; how many are open.
pub(crate) fn layers(handle: u64, most: usize, mut take: impl FnMut(usize, Layer)) -> Result<usize> {
    let task = of_handle(handle)?;
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

/// Every live task.
pub(crate) fn all() -> impl Iterator<Item = TaskRef> {
    REGISTRY.tasks.iter().filter(|task| task.id() != 0).map(TaskRef)
}

/// The live task of a managed thread, with the id that it has if it is still that one.
pub(crate) fn find_clr_thread(thread: u64) -> Option<(u64, TaskRef)> {
    // First the id: if it is found again later, the slot was that task's all the time.
    let tasks = REGISTRY.tasks.iter().map(|task| (task.id(), TaskRef(task)));
    tasks.filter(|(id, _)| *id != 0).find(|(_, task)| task.clr_thread() == thread)
}

#[cold]
fn register() -> Result<TaskRef> {
    preserving_errno(|| {
        REGISTRY.prepare()?;
        reap_earlier_thread();
        let index = REGISTRY.tasks.allocate().or_else(|_| {
            all().for_each(|task| reap_if_gone(task.id()));
            REGISTRY.tasks.allocate()
        })?;
        let task = TaskRef(REGISTRY.tasks.at(index));
        if !sys::expect_thread_exit() {
            REGISTRY.tasks.release(index, false);
            return Err(Error::OutOfMemory);
        }
        task.begin(index);
        // Pairs with the Acquire of whoever finds the task's id in a word, or is given its handle: see arena.
        fence(Ordering::Release);
        remember_thread(index);
        sys::set_current(task.id(), task.0 as *const Task as usize);
        Ok(task)
    })
}

impl TaskRef {
    fn begin(self, index: u32) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.generation.store(generation, Ordering::Relaxed);
        self.layers.prepare();
        self.wait.prepare();
        self.clr_thread.store(0, Ordering::Relaxed);
        self.last_return.store(0, Ordering::Relaxed);
        self.entries.store(0, Ordering::Relaxed);
        self.leaves.store(0, Ordering::Relaxed);
        self.returned.store(0, Ordering::Relaxed);
        self.thread_id.store(sys::thread_id(), Ordering::Relaxed);
        for anomaly in &self.anomalies {
            anomaly.store(0, Ordering::Relaxed);
        }
        {
            // See set_name: who means an earlier task of this slot was there before, or finds that it has ended.
            let _naming = NAMING.lock();
            self.name.set(&[]);
        }
        // Release pairs with the Acquire in id: who sees the task alive sees its fields set.
        self.id.store(handle::owner_id(index, u64::from(generation)), Ordering::Release);
    }

    /// Gives the task with this id a name, cut to what fits; an empty one brings the thread's own back. Fails with Handle
    /// if it has ended.
    pub(crate) fn set_name(self, id: u64, utf8: &[u8]) -> Result<()> {
        preserving_errno(|| {
            let _naming = NAMING.lock();
            // The next task of the slot takes this lock before it has an id: it takes this name away, or is seen here.
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

    /// The layer at `index`, outermost 0. Own thread only.
    pub(crate) fn layer(self, index: usize) -> Option<Layer> {
        self.layers.layer(index)
    }

    /// Fails if the slot has another task by now: then what was read was not all of one task.
    fn still(self, handle: u64) -> Result<()> {
        of_handle(handle).map(|_| ())
    }

    /// Ends the alertable wait of the task with this id, or its next one.
    pub(crate) fn alert(self, id: u64) -> Result<()> {
        loop {
            // Acquire: who finds an alert for a later task of the slot finds that this one has ended.
            let pending = self.alert.load(Ordering::Acquire);
            if self.id() != id {
                return Err(Error::Handle);
            }
            // SeqCst here and in the waiter, which registers first and then looks for an alert: one sees the other.
            let set = self.alert.compare_exchange(pending, id, Ordering::SeqCst, Ordering::Relaxed);
            if pending == id || set.is_ok() {
                break;
            }
        }
        waiting::interrupt(self);
        Ok(())
    }
}

impl Task {
    /// The owner id, 0 if the slot is not in use.
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    pub(crate) fn index(&self) -> u32 {
        REGISTRY.tasks.index_of(self)
    }

    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id.load(Ordering::Relaxed)
    }

    /// How many sections the task owns. `is_lent_and_entered` says so of a section that is or was lent to it.
    pub(crate) fn owned_with(&self, is_lent_and_entered: impl Fn(u64) -> bool) -> u32 {
        // Another thread may read these at different times; leaves first, so that it does not see fewer entries.
        let leaves = self.leaves.load(Ordering::Acquire);
        let lent = self.biases.iter().map(|place| place.load(Ordering::Relaxed));
        let entered = lent.filter(|&handle| handle != 0 && is_lent_and_entered(handle)).count();
        self.counted().wrapping_sub(leaves).wrapping_add(entered as u32)
    }

    /// Sections entered, as leaves counts them.
    fn counted(&self) -> u32 {
        self.entries.load(Ordering::Relaxed).wrapping_add(self.returned.load(Ordering::Relaxed))
    }

    /// How many sections the task owns.
    pub(crate) fn owned(&self) -> u32 {
        let id = self.id();
        self.owned_with(|handle| crst::slot_of(handle).is_lent_and_entered(handle, id))
    }

    /// Counts a section more and returns how many there were in all. Own thread only, so no read-modify-write is needed.
    #[inline(always)]
    pub(crate) fn count_entry(&self) -> u32 {
        let entries = self.entries.load(Ordering::Relaxed).wrapping_add(1);
        self.entries.store(entries, Ordering::Relaxed);
        entries
    }

    /// Counts a section less. Own thread only.
    #[inline(always)]
    pub(crate) fn count_leave(&self) {
        // Release pairs with the Acquire in owned: who sees this leave sees the entry before it.
        self.leaves.store(self.leaves.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// How often the task has left a section. An owner that seems to stay in one has not if this has changed.
    pub(crate) fn leaves(&self) -> u32 {
        self.leaves.load(Ordering::Relaxed)
    }

    /// Whether the task is known to sleep: it waits for a section, or on a condition variable.
    pub(crate) fn is_blocked(&self) -> bool {
        self.wait.section() != 0 || self.sleep.is_asleep()
    }

    /// Counts a section that was lent to the task and is now its own like any other. Any thread.
    pub(crate) fn count_returned(&self) {
        self.returned.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn biases(&self) -> &[AtomicU64] {
        &self.biases
    }

    /// Notes that the task is about to call what setting number `setting` says is told of deadlocks; what it was telling
    /// already, 0 for nothing. Own thread only.
    pub(crate) fn begin_telling(&self, setting: u64) -> u64 {
        let outer = self.telling.load(Ordering::Relaxed);
        if outer == 0 {
            self.telling.store(setting, Ordering::Relaxed);
        }
        outer
    }

    /// That call is over. Own thread only.
    pub(crate) fn end_telling(&self, outer: u64) {
        // Release pairs with the Acquire in tells_one_of: what the program did in the call is seen.
        self.telling.store(outer, Ordering::Release);
    }

    /// Whether the task is inside a call that a setting up to number `last` asked for.
    pub(crate) fn tells_one_of(&self, last: u64) -> bool {
        (1..=last).contains(&self.telling.load(Ordering::Acquire))
    }

    /// Takes a pending alert, if there is one.
    pub(crate) fn take_alert(&self) -> bool {
        let id = self.id();
        self.alert.compare_exchange(id, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The name that was set, or none.
    pub(crate) fn name(&self) -> NameCopy {
        self.name_in::<Here>()
    }

    /// As name, of a task that `M` shows.
    pub(crate) fn name_in<M: Memory>(&self) -> NameCopy {
        self.name.get_in::<M>()
    }

    pub(crate) fn count_anomaly(&self, kind: Anomaly) {
        self.anomalies[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn anomalies(&self) -> [u32; ANOMALIES] {
        core::array::from_fn(|kind| self.anomalies[kind].load(Ordering::Relaxed))
    }

    pub(crate) fn last_return(&self) -> u64 {
        self.last_return.load(Ordering::Relaxed)
    }

    pub(crate) fn set_last_return(&self, mark: u64) {
        self.last_return.store(mark, Ordering::Relaxed);
    }

    pub(crate) fn set_clr_thread(&self, thread: u64) {
        self.clr_thread.store(thread, Ordering::Relaxed);
    }

    /// The task is no longer that of the managed thread, if it is: by now the slot may be another's.
    pub(crate) fn forget_clr_thread(&self, thread: u64) {
        let _ = self.clr_thread.compare_exchange(thread, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn clr_thread(&self) -> u64 {
        self.clr_thread.load(Ordering::Relaxed)
    }
}

/// Ends every wait that depends on the runtime and began in this run of it or an earlier one.
pub(crate) fn end_waits_of_run(run: u64, reason: Error) {
    preserving_errno(|| all().for_each(|task| waiting::end_wait_of_run(&task, run, reason)));
}

/// Registers what must happen at the end of a thread.
pub(crate) fn install_hooks() -> bool {
    static INSTALLED: AtomicU32 = AtomicU32::new(0);
    if INSTALLED.load(Ordering::Relaxed) != 0 {
        return true;
    }
    let installed = sys::on_thread_exit(end_current);
    INSTALLED.store(u32::from(installed), Ordering::Relaxed);
    installed
}

/// The calling thread is a task no more; sections it still owns are abandoned.
fn end_current() {
    let Some(task) = current_if_any() else { return };
    sys::set_current(0, 0);
    end(task, false);
}

/// Ends a task whose thread does nothing of that kind any more, by whatever way it went. `silently`: nobody knows where it
/// stopped.
fn end(task: TaskRef, silently: bool) {
    let id = task.id();
    condition::withdraw(&task);
    waiting::forget_wait(&task);
    task.return_biases();
    if silently || task.owned() != 0 || waiting::has_unused_grant(&task) {
        crst::abandon_all_of(id);
    }
    if task.tells_one_of(u64::MAX) {
        task.end_telling(0);
        wait_graph::a_call_has_ended();
    }
    // From here on handles of the task are stale. After the sections: no word may name a task that is gone.
    task.id.store(0, Ordering::Release);
    task.layers.prepare();
    let retire = handle::owner_generation(id) == LAST_TASK_GENERATION;
    REGISTRY.tasks.release(task.index(), retire);
}

// ---- threads that are gone --------------------------------------------------------------------------------
//
// A thread ends its task itself, in a late round of destructors. One that first calls the library in the very last round, or
// that ends by the bare system call, does not. Its task is ended by others: by who waits for what it owns, by a later
// thread that the system gives the same id, and when there is no place for another task.

/// Held by who ends the task of a thread that is gone, so that one does. The thread itself can be no other: it is seen
/// as gone only after its last destructor.
static REAPING: sys::Mutex = sys::Mutex::new();

/// For `fork`.
pub(crate) fn reaping_lock() -> &'static sys::Mutex {
    &REAPING
}

/// Ends the task with this owner id if its thread is gone.
pub(crate) fn reap_if_gone(id: u64) {
    let task = of_owner(id);
    if id != 0 && task.id() == id && sys::is_thread_gone(task.thread_id()) {
        reap(id);
    }
}

/// The thread of the task with this owner id is gone.
fn reap(id: u64) {
    let _guard = REAPING.lock();
    let task = of_owner(id);
    // Another may have ended it first.
    if task.id() == id {
        end(task, true);
    }
}

/// The slots of tasks by a part of their threads' ids: where a task of the same thread id may be found.
static SLOTS_BY_THREAD: [AtomicU16; 1 << 12] = [const { AtomicU16::new(0) }; 1 << 12];

fn slot_by_thread(thread: u32) -> &'static AtomicU16 {
    &SLOTS_BY_THREAD[thread as usize % SLOTS_BY_THREAD.len()]
}

/// A task of another thread that had the id of the calling one is of a thread that is gone. Threads whose ids are not known
/// are not the same for that.
fn reap_earlier_thread() {
    let thread = sys::thread_id();
    if thread == 0 {
        return;
    }
    let slot = slot_by_thread(thread).load(Ordering::Relaxed);
    let earlier = TaskRef(REGISTRY.tasks.at(u32::from(slot)));
    let id = earlier.id();
    if sys::THREADS_MAY_VANISH && id != 0 && earlier.thread_id() == thread {
        reap(id);
    }
}

fn remember_thread(index: u32) {
    slot_by_thread(sys::thread_id()).store(index as u16, Ordering::Relaxed);
}

/// In the child of a fork: the task with this id is the only one, on another thread of the system's.
pub(crate) fn end_others_after_fork(me: u64) {
    for task in all() {
        if task.id() == me {
            task.thread_id.store(sys::thread_id(), Ordering::Relaxed);
        } else {
            // What it owned is abandoned already.
            task.leaves.store(task.counted(), Ordering::Relaxed);
            end(task, false);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The task of a thread that ends: its slot, its handle, its name when it began.
    fn task_of_a_thread(act: impl FnOnce(TaskRef) + Send + 'static) -> (u32, u64, NameCopy) {
        let thread = std::thread::spawn(|| {
            let task = current().unwrap();
            let seen = (task.index(), handle_of(task.id()), task.name());
            act(task);
            seen
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_slot_is_retired_after_its_last_generation_and_keeps_no_name() {
        crate::runtime::start().unwrap();
        let (slot, first, _) = task_of_a_thread(|task| {
            task.name.set(b"of the first");
            // As if there had been so many tasks in the slot.
            task.generation.store(LAST_TASK_GENERATION as u32 - 3, Ordering::Relaxed);
        });
        let later: Vec<_> = (0..10).map(|_| task_of_a_thread(|_| {})).collect();
        let in_slot = later.iter().filter(|task| task.0 == slot);
        let generation =
            |handle| handle::owner_generation(handle::task_owner_id(REGISTRY.copy(), handle).unwrap());
        let generations: Vec<_> = in_slot.map(|task| generation(task.1)).collect();
        assert_eq!(generations, [2, 1, 0].map(|left| LAST_TASK_GENERATION - left));
        assert!(later.iter().all(|task| task.2.is_empty()));
        let mut handles: Vec<_> = later.iter().map(|task| task.1).chain([first]).collect();
        assert!(handles.iter().all(|&handle| of_handle(handle).is_err()));
        handles.sort();
        handles.dedup();
        assert_eq!(handles.len(), 11);
    }
}
