//! Slots for sections: where a new one begins, and what becomes of that of one that has ended.
//!
//! A task keeps the slots of some sections that it has ended (`state::free_slots`) and makes its next sections there: that
//! takes no lock and no read-modify-write. It takes several at a time from the arena, and gives several back when it has
//! too many, so that tasks which only make sections, or only end them, lock the arena seldom.
//!
//! **One thread changes them at a time.** That is the task's own thread, unless another one, the reclaimer, takes them away
//! because the arena has no slot left:
//!
//! ```text
//!   the task's own thread                    the reclaimer, one at a time
//!   store in_use: 1                          store closed: 1
//!   light barrier                            heavy barrier
//!   load closed: still 0?                    load in_use: 0 again?
//! ```
//!
//! Store, then load, on both sides, where the reclaimer pays for both barriers (Dekker's pattern, as in `bias`). If the own
//! thread's store came before the heavy barrier, the reclaimer sees it and waits until it is taken back. If it came after,
//! the own thread sees that it is closed, and goes to the arena.
//!
//! **Nobody is refused a slot that is free.** Once the arena has no slot that was never used, tasks keep no more. They look
//! whether it is so in a change as above: what came before the heavy barrier of a reclaimer is taken away by that one.
//! Only a thread that stops inside a change for long (in a handler of the program's that came there) keeps its slots.
//!
//! For the arena a kept slot is in use. So it is in no list twice, and who ends the section in a slot, which is one thread
//! as the word changes only once, is alone with the slot until it has given it away.

use crate::error::Result;
use crate::lock::barrier::pass_heavy_barrier;
use crate::state::free_slots::{FreeSlots, MOST_FREE_SLOTS};
use crate::state::registry::REGISTRY;
use crate::state::task::{self, Task};
use crate::sys::atomic::Ordering;
use crate::sys::{self, Mutex, preserving_errno};

/// How many go between a task and the arena at a time.
const BATCH: usize = MOST_FREE_SLOTS / 2;

/// Held by the reclaimer.
pub(crate) static RECLAIMING: Mutex = Mutex::new();

/// A slot for a section to begin in.
#[inline]
pub(crate) fn take() -> Result<u32> {
    let kept = task::current_if_any().and_then(|me| me.0.free_slots.pop());
    kept.map_or_else(take_from_arena, Ok)
}

/// Slot `index` is free again, or never used again. By the thread that has ended the section in it, or has not begun one.
#[inline]
pub(crate) fn release(index: u32, retire: bool) {
    let is_kept = !retire && task::current_if_any().is_some_and(|me| me.0.free_slots.push(index));
    if !is_kept {
        release_to_arena(index, retire);
    }
}

#[cold]
fn take_from_arena() -> Result<u32> {
    preserving_errno(|| {
        let kept = task::current_if_any().map(|me| &me.0.free_slots);
        kept.map_or_else(|| REGISTRY.sections.allocate(), FreeSlots::fetch).or_else(|_| {
            reclaim();
            REGISTRY.sections.allocate()
        })
    })
}

/// As release, where that need not be fast.
#[cold]
pub(crate) fn release_to_arena(index: u32, retire: bool) {
    preserving_errno(|| {
        REGISTRY.sections.release(index, retire);
        if let Some(me) = task::current_if_any() {
            me.0.free_slots.give_back(BATCH);
        }
    });
}

/// Gives the arena what a task keeps whose thread ends: by that one. Of a task that ends otherwise the next one in its
/// record has them.
pub(crate) fn give_back_all(task: &Task) {
    task.free_slots.give_back(MOST_FREE_SLOTS);
}

/// The right of the task's own thread to change what it keeps, until dropped.
struct Change<'a>(&'a FreeSlots);

impl FreeSlots {
    /// None while another thread takes them away, and for a handler that has interrupted the thread in a change.
    #[inline(always)]
    fn begin_change(&self) -> Option<Change<'_>> {
        if self.in_use.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.in_use.store(1, Ordering::Relaxed);
        let change = Change(self);
        // Keeps the compiler from moving the store behind the load below; the reclaimer's heavy barrier does the rest.
        // place: free-slots-barrier
        sys::light_barrier();
        // Acquire pairs with the Release in reclaim: what was taken away is not there.
        // place: free-slots-closed-load
        (self.closed.load(Ordering::Acquire) == 0).then_some(change)
    }

    #[inline(always)]
    fn pop(&self) -> Option<u32> {
        let _change = self.begin_change()?;
        self.take_last()
    }

    /// Whether it is kept.
    #[inline(always)]
    fn push(&self, index: u32) -> bool {
        let Some(_change) = self.begin_change() else { return false };
        !REGISTRY.sections.is_used_up() && self.add(index)
    }

    /// A slot from the arena, where others are taken along to be kept. In a change, so that a reclaimer waits for them.
    fn fetch(&self) -> Result<u32> {
        let change = self.begin_change();
        let most = change.as_ref().map_or(0, |_| BATCH);
        REGISTRY.sections.allocate_with(most, |index| _ = self.add(index))
    }

    /// Gives up to `most` to the arena. By the task's own thread.
    fn give_back(&self, most: usize) {
        if let Some(_change) = self.begin_change() {
            REGISTRY.sections.release_all((0..most).map_while(|_| self.take_last()));
        }
    }

    /// Whether there was room. By who may change them.
    #[inline(always)]
    fn add(&self, index: u32) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        let Some(place) = self.slots.get(count as usize) else { return false };
        // In this order: a fork in between leaves them consistent (see sys::mutex), without one slot.
        place.store(index, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
        true
    }

    /// By who may change them.
    #[inline(always)]
    fn take_last(&self) -> Option<u32> {
        let count = self.count.load(Ordering::Relaxed);
        let index = self.slots.get(count.wrapping_sub(1) as usize)?.load(Ordering::Relaxed);
        self.count.store(count - 1, Ordering::Relaxed);
        Some(index)
    }
}

impl Drop for Change<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release pairs with the Acquire in is_settled.
        // place: free-slots-in-use-store
        self.0.in_use.store(0, Ordering::Release);
    }
}

/// Gives the arena what all tasks keep, and what ended ones left in their records.
pub(crate) fn reclaim() {
    let _reclaiming = RECLAIMING.lock();
    for task in REGISTRY.tasks.iter() {
        task.free_slots.closed.store(1, Ordering::Relaxed);
    }
    pass_heavy_barrier();
    for task in REGISTRY.tasks.iter() {
        let kept = &task.free_slots;
        if kept.closed.load(Ordering::Relaxed) == 0 {
            continue;
        }
        if is_settled(task) {
            REGISTRY.sections.release_all(core::iter::from_fn(|| kept.take_last()));
        }
        // Release pairs with the Acquire in begin_change.
        // place: free-slots-closed-store
        kept.closed.store(0, Ordering::Release);
    }
}

/// Waits until the task's own thread is in no change that began before they were closed. False if that takes too long.
fn is_settled(task: &Task) -> bool {
    const MOMENT: u64 = 1_000_000;
    const MOST_MOMENTS: u32 = 100;
    // Acquire pairs with the Release of the own thread. A task that has ended is in no change, as its thread is not.
    // place: free-slots-in-use-load
    let is_settled = || task.free_slots.in_use.load(Ordering::Acquire) == 0 || task.id() == 0;
    is_settled()
        || (0..sys::MOST_POLLS.min(MOST_MOMENTS)).any(|_| {
            sys::nap(MOMENT);
            is_settled()
        })
}

/// In the child of a fork: another thread may have been the reclaimer.
pub(crate) fn settle_after_fork() {
    for task in REGISTRY.tasks.iter() {
        if task.free_slots.closed.load(Ordering::Relaxed) != 0 {
            task.free_slots.closed.store(0, Ordering::Relaxed);
        }
    }
}
