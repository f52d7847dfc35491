//! A resource as it stands in memory: a lock that the program has of its own, of which it tells who owns it and who
//! waits for it. How each field is read, and how a told wait ends; when it is told is not known here.
//!
//! **The owner's word** is written without a lock and without a read-modify-write, by the task that takes the resource
//! or gives it up, while it owns the program's lock: so there is one writer at a time, if the program tells what is
//! true. If it does not, a store may come late, when the slot holds a later resource. Such a store cannot change which
//! resource that is, which `handle` says. It names another generation, and so says of the later one that nobody is
//! known to own it: an edge of the wait-for graph may be missed until that one is next acquired, and none is made up.

use core::mem::offset_of;

use crate::base::arena::Slot;
use crate::base::memory::{Shown, readable_in_copies};
use crate::handle::{self, ABANDONED};
use crate::state::section::State;
use crate::state::wait::Wait;
use crate::sys::Mutex;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A resource. Zeroed memory is a slot never used.
#[repr(C, align(64))]
pub(crate) struct Resource {
    /// The handle of the resource that is in this slot; VACANT if none is. Under `lock`.
    pub(crate) handle: AtomicU64,
    /// That handle XOR the owner's id; the handle alone if nobody is known to own the resource.
    pub(crate) owner: AtomicU64,
    /// The owner's recursion; 1 while nobody owns it, so that acquiring need not write it. Owner only.
    pub(crate) entries: AtomicU32,
    /// How many resources the slot has held.
    pub(crate) generation: AtomicU32,
    /// Guards that a wait for it begins, is marked and ends, its name and its end.
    pub(crate) lock: Mutex,
    /// The slot of its name, 0 for none. Stays with the slot.
    pub(crate) name: AtomicU32,
    /// Tasks that have told that they wait; under `lock`.
    pub(crate) waiters: AtomicU32,
    pub(crate) _reserved: AtomicU32,
    /// Waits that were told of; under `lock`.
    pub(crate) contended: AtomicU64,
}

const _: () = assert!(size_of::<Resource>() == handle::SECTION_BYTES);

/// handle: no resource. No handle, as its tag is none of a resource's.
pub(crate) const VACANT: u64 = u64::MAX;

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 5] = [
    ("resource.bytes", size_of::<Resource>()),
    ("resource.handle", offset_of!(Resource, handle)),
    ("resource.owner", offset_of!(Resource, owner)),
    ("resource.entries", offset_of!(Resource, entries)),
    ("resource.name", offset_of!(Resource, name)),
];

/// For `layout`.
pub(crate) const NUMBERS: [(&str, u64); 1] = [("resource.vacant", VACANT)];

// SAFETY: all fields are atomics or made of such.
unsafe impl Slot for Resource {}

readable_in_copies!(Resource);

/// What a report tells of a resource.
#[derive(Clone, Copy)]
pub(crate) struct ResourceInfo {
    pub(crate) state: State,
    /// The owner's id, 0 for none.
    pub(crate) owner: u64,
    pub(crate) recursion: u32,
    pub(crate) waiters: u32,
    pub(crate) contended: u64,
}

impl Shown<Resource> {
    /// The handle of the resource in this slot, if there is one.
    pub(crate) fn handle(&self) -> Option<u64> {
        // Acquire pairs with the Release in create: its fields are seen.
        let handle = self.fields().handle.load(Ordering::Acquire);
        (handle != VACANT && handle::section_generation(handle) != 0).then_some(handle)
    }

    /// Who owns the resource with this handle, as far as it was told: an owner id, ABANDONED, 0 for nobody; None if
    /// there is no such resource in this slot.
    pub(crate) fn owner(&self, handle: u64) -> Option<u64> {
        if self.handle() != Some(handle) {
            return None;
        }
        // Acquire pairs with the Release of who becomes the owner: a reader that finds a task finds its slot.
        let owner = self.fields().owner.load(Ordering::Acquire) ^ handle;
        let is_known = owner == ABANDONED || handle::is_task(owner);
        Some(if is_known { owner } else { 0 })
    }

    /// What is known of the resource with this handle; None if there is no such resource in this slot.
    pub(crate) fn info(&self, handle: u64) -> Option<ResourceInfo> {
        let resource = self.fields();
        let (state, owner, recursion) = match self.owner(handle)? {
            0 => (State::Free, 0, 0),
            ABANDONED => (State::Abandoned, 0, 0),
            owner => (State::Owned, owner, resource.entries.load(Ordering::Relaxed)),
        };
        let info = ResourceInfo {
            state,
            owner,
            recursion,
            waiters: resource.waiters.load(Ordering::Relaxed),
            contended: resource.contended.load(Ordering::Relaxed),
        };
        self.is_still(handle).then_some(info)
    }

    /// Whether the resource with this handle, which was found here before, has not ended: all that was read since is its.
    pub(crate) fn is_still(&self, handle: u64) -> bool {
        // Pairs with the Release fence of the resource that begins here next.
        fence(Ordering::Acquire);
        self.handle() == Some(handle)
    }

    /// The slot of its name, 0 if it never had one.
    pub(crate) fn name_slot(&self) -> u32 {
        // Acquire pairs with the Release in set_name: the slot may be read.
        self.fields().name.load(Ordering::Acquire)
    }
}

impl Resource {
    /// Ends a told wait for this resource; what `park` holds from here on; under `lock`.
    pub(crate) fn end_wait(&self, wait: &Wait, outcome: u32) {
        wait.park.store(outcome, Ordering::Relaxed);
        // Last of what is written of the wait: the task does not sleep on `park`, and begins another wait when it finds
        // this one over.
        wait.awaited.store(0, Ordering::SeqCst);
        self.waiters.store(self.waiters.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}
