//! A task's record, and what is read and counted there. How a thread becomes a task, waits and ends is not known here.

use core::mem::offset_of;
use core::ops::Deref;

use crate::base::arena::Slot;
use crate::base::memory::{Here, Memory, Shown, readable_in_copies};
use crate::base::name::{Name, NameCopy};
use crate::state::free_slots::FreeSlots;
use crate::state::layers::Layers;
use crate::state::managed_wait::ManagedWait;
use crate::state::sleep::Sleep;
use crate::state::wait::Wait;
use crate::sys;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

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

/// A task's record. The first lines are written by its own thread all the time, the rest seldom.
#[repr(C, align(64))]
pub(crate) struct Task {
    pub(crate) layers: Layers,
    /// How it waits, if it does; written also by tasks that end the wait.
    pub(crate) wait: Wait,
    /// How it sleeps on a condition variable, if it does; written also by threads that wake it.
    pub(crate) sleep: Sleep,
    /// The owner id, 0 while the slot is not in use.
    pub(crate) id: AtomicU64,
    /// The id of the task when an alert is pending for it: an alert meant for an earlier task has no effect.
    pub(crate) alert: AtomicU64,
    /// The number of the setting (see `deadlock`) that asked for the call of the program that the task is inside of; of
    /// the outermost one. 0 for none.
    pub(crate) telling: AtomicU64,
    /// The CLR's id of the managed thread, 0 if none.
    pub(crate) clr_thread: AtomicU64,
    /// What the CLR's callbacks remember between two of them; own thread only.
    pub(crate) last_return: AtomicU64,
    /// Sections it has entered and left, counted when it becomes the owner and when it ceases to be. Biased sections
    /// are not in these counts, so a grant counts as leaving; `biases` says which they are.
    pub(crate) entries: AtomicU32,
    pub(crate) leaves: AtomicU32,
    /// Sections that it had entered when their bias was revoked, counted by the revoker.
    pub(crate) revoked_entries: AtomicU32,
    pub(crate) thread_id: AtomicU32,
    pub(crate) generation: AtomicU32,
    /// 1 once it has acquired a resource: when it ends, it may own some.
    pub(crate) resources: AtomicU32,
    pub(crate) anomalies: [AtomicU32; ANOMALIES],
    pub(crate) name: Name,
    /// Sections biased to it (see `bias`), 0 for a free place.
    pub(crate) biases: [AtomicU64; MOST_BIASES],
    /// How it waits for a lock of managed code, if it does.
    pub(crate) managed_wait: ManagedWait,
    /// Until when the places on its stack of managed code get no names; its own thread only.
    pub(crate) stack_rests_until: AtomicU64,
    pub(crate) free_slots: FreeSlots,
}

/// How many sections are biased to one task at a time, at most.
pub(crate) const MOST_BIASES: usize = 8;

const _: () = assert!(size_of::<Task>() == 832);

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
pub(crate) struct TaskRef(pub(crate) &'static Task);

impl Deref for TaskRef {
    type Target = Task;
    fn deref(&self) -> &Task {
        self.0
    }
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

readable_in_copies!(Task);

impl Shown<Task> {
    /// The owner id, 0 if the slot is not in use.
    pub(crate) fn id(&self) -> u64 {
        self.fields().id.load(Ordering::Acquire)
    }

    pub(crate) fn thread_id(&self) -> u32 {
        self.fields().thread_id.load(Ordering::Relaxed)
    }

    /// How many sections the task owns. `is_biased_and_entered` says so of a section that is or was biased to it.
    pub(crate) fn owned_with(&self, is_biased_and_entered: impl Fn(u64) -> bool) -> u32 {
        // Another thread may read these at different times; leaves first, so that it does not see fewer entries.
        let leaves = self.fields().leaves.load(Ordering::Acquire);
        let biased = self.fields().biases.iter().map(|place| place.load(Ordering::Relaxed));
        let entered = biased.filter(|&handle| handle != 0 && is_biased_and_entered(handle)).count();
        self.counted().wrapping_sub(leaves).wrapping_add(entered as u32)
    }

    /// Sections entered, as leaves counts them.
    pub(crate) fn counted(&self) -> u32 {
        let Task { entries, revoked_entries, .. } = self.fields();
        entries.load(Ordering::Relaxed).wrapping_add(revoked_entries.load(Ordering::Relaxed))
    }

    /// As name, of a task that `M` shows.
    pub(crate) fn name_in<M: Memory>(&self) -> NameCopy {
        self.fields().name.get_in::<M>()
    }

    pub(crate) fn anomalies(&self) -> [u32; ANOMALIES] {
        core::array::from_fn(|kind| self.fields().anomalies[kind].load(Ordering::Relaxed))
    }

    pub(crate) fn wait(&self) -> &Shown<Wait> {
        &self.fields().wait
    }

    pub(crate) fn sleep(&self) -> &Shown<Sleep> {
        &self.fields().sleep
    }

    pub(crate) fn managed_wait(&self) -> &Shown<ManagedWait> {
        &self.fields().managed_wait
    }

    pub(crate) fn layers(&self) -> &Shown<Layers> {
        &self.fields().layers
    }
}

impl Task {
    /// Counts a section more and returns how many there were in all. Own thread only, so no read-modify-write is
    /// needed.
    #[inline(always)]
    pub(crate) fn count_entry(&self) -> u32 {
        let entries = self.entries.load(Ordering::Relaxed).wrapping_add(1);
        self.entries.store(entries, Ordering::Relaxed);
        entries
    }

    /// Counts a section less. Own thread only.
    #[inline(always)]
    pub(crate) fn count_leave(&self) {
        // Release pairs with the Acquire in owned: a reader that sees this leave sees the entry before it.
        self.leaves.store(self.leaves.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// How often the task has left a section. An owner that seems to stay in one has not if this has changed.
    pub(crate) fn leaves(&self) -> u32 {
        self.leaves.load(Ordering::Relaxed)
    }

    /// Whether the task is known to be blocked: it waits for a section or a resource, or sleeps on a condition variable.
    pub(crate) fn is_blocked(&self) -> bool {
        self.wait.awaited() != 0 || self.sleep.is_asleep()
    }

    /// Counts a section that was biased to the task and entered, and is now owned by it like any other. Any thread.
    pub(crate) fn count_revoked_entry(&self) {
        self.revoked_entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it has noted that it may own resources.
    #[inline(always)]
    pub(crate) fn may_own_resources(&self) -> bool {
        self.resources.load(Ordering::Relaxed) != 0
    }

    /// Notes that it may own resources from here on. Own thread only.
    pub(crate) fn note_resources(&self) {
        self.resources.store(1, Ordering::Relaxed);
    }

    pub(crate) fn biases(&self) -> &[AtomicU64] {
        &self.biases
    }

    /// Notes that the task is about to call what setting number `setting` says is told of deadlocks; what it was
    /// telling already, 0 for nothing. Own thread only.
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

    pub(crate) fn count_anomaly(&self, kind: Anomaly) {
        self.anomalies[kind as usize].fetch_add(1, Ordering::Relaxed);
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

    pub(crate) fn stack_rests_until(&self) -> u64 {
        self.stack_rests_until.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stack_rests_until(&self, until: u64) {
        self.stack_rests_until.store(until, Ordering::Relaxed);
    }
}
