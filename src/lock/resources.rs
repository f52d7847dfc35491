//! Resources: locks that the program has of its own, of which it tells when a task acquires or releases one, and when
//! it is about to block for one. Nothing here waits. How a resource stands in memory, and why its owner's word takes no
//! lock, is `state::resource`'s.
//!
//! **What is told, and when.** The program tells `acquired` after it has locked its lock and `released` before it
//! unlocks it, each by the thread that does so. So a task that is known to own a resource does own the lock. The other
//! way round there are gaps, in which a task has the lock and is not known to: each is within a run of that task, which
//! has told by the time that it waits for anything. And the marks of two owners are ordered by the lock itself, which
//! is why they can be plain stores.
//!
//! **A told wait** stands from `host_resource_wait` on until the task tells that it has acquired the resource or has
//! given up. What is known of a wait begins and ends under the resource's lock, as that of a wait for a section does
//! under the queue lock. Until `host_resource_wait` returns, the wait can be broken as one for a section (PARKED);
//! after it the task blocks in the program's lock, where the library cannot reach it (BLOCKED). A task turns the one
//! into the other under the resource's lock, so a search that wants to break the wait does so before that, or finds
//! that it cannot.

use crate::error::{Error, Result};
use crate::handle::{self, ABANDONED, LAST_SECTION_GENERATION};
use crate::lock::queue::failure;
use crate::state::registry::REGISTRY;
use crate::state::resource::{Resource, VACANT};
use crate::state::task::{self, TaskRef};
use crate::state::wait::{BLOCKED, Beginning, OVER, PARKED, Request};
use crate::state::{resources, tasks};
use crate::sys::atomic::{Ordering, fence};
use crate::sys::{self, preserving_errno};

/// Makes a new resource, which nobody owns, without a name. Returns its handle.
pub(crate) fn create() -> Result<u64> {
    REGISTRY.runtime.require_running()?;
    preserving_errno(|| Ok(begin(REGISTRY.resources.allocate()?)))
}

/// A resource begins in this slot. Returns its handle.
fn begin(index: u32) -> u64 {
    let resource = REGISTRY.resources.at(index);
    let generation = resource.generation.load(Ordering::Relaxed) + 1;
    // Pairs with the Acquire fence in is_still: who reads a field of this resource finds the last one ended.
    fence(Ordering::Release);
    resource.generation.store(generation, Ordering::Relaxed);
    let handle = handle::resource_handle(REGISTRY.copy(), index, u64::from(generation));
    resource.owner.store(handle, Ordering::Relaxed);
    resource.entries.store(1, Ordering::Relaxed);
    resource.waiters.store(0, Ordering::Relaxed);
    resource.contended.store(0, Ordering::Relaxed);
    // Release pairs with the Acquire in handle: who finds the resource finds its fields.
    resource.handle.store(handle, Ordering::Release);
    // Pairs with the Acquire fence in find: see arena.
    fence(Ordering::Release);
    handle
}

/// Gives the resource a name for reports.
pub(crate) fn set_name(handle: u64, utf8: &[u8]) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let resource = resources::find(handle)?;
    preserving_errno(|| {
        let _guard = resource.hold_lock();
        resource.owner(handle).ok_or(Error::Handle)?;
        if resource.name.load(Ordering::Relaxed) == 0 {
            // Release pairs with the Acquire in name_slot: the name's slot may be read.
            resource.name.store(REGISTRY.names.allocate()?, Ordering::Release);
        }
        REGISTRY.names.at(resource.name.load(Ordering::Relaxed)).name.set(utf8);
        Ok(())
    })
}

/// Ends a resource that nobody is known to own, that is abandoned or the caller's; told waits for it are over.
pub(crate) fn destroy(handle: u64) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let resource = resources::find(handle)?;
    preserving_errno(|| {
        {
            let _guard = resource.hold_lock();
            let owner = resource.owner(handle).ok_or(Error::Handle)?;
            if owner != 0 && owner != ABANDONED && owner != sys::current_id() {
                return Err(Error::NotOwner);
            }
            resource.handle.store(VACANT, Ordering::Relaxed);
            resource.end_all_waits(handle);
            let name = resource.name.load(Ordering::Relaxed);
            if name != 0 {
                REGISTRY.names.at(name).name.set(&[]);
            }
        }
        let retire = handle::section_generation(handle) == LAST_SECTION_GENERATION;
        REGISTRY.resources.release(handle::section_index(handle), retire);
        Ok(())
    })
}

/// Marks that the caller has acquired a resource which nobody is known to own, if nothing is unusual. False if nothing
/// was done: then acquire is to be called.
#[inline(always)]
pub(crate) fn acquire_fast(handle: u64) -> bool {
    if !REGISTRY.runtime.is_plain() {
        return false;
    }
    let resource = resources::slot_of(handle);
    let Some((id, me)) = task::current_with_id() else { return false };
    let is_free =
        resource.handle.load(Ordering::Relaxed) == handle && resource.owner.load(Ordering::Relaxed) == handle;
    if !is_free || !me.may_own_resources() || me.wait.awaited.load(Ordering::Relaxed) != 0 {
        return false;
    }
    // Release pairs with the Acquire in owner.
    resource.owner.store(handle ^ id, Ordering::Release);
    true
}

/// Marks that the caller has released a resource that it owns once, if nothing is unusual. False if nothing was done:
/// then release is to be called.
#[inline(always)]
pub(crate) fn release_fast(handle: u64) -> bool {
    if !REGISTRY.runtime.is_plain() {
        return false;
    }
    let resource = resources::slot_of(handle);
    let id = sys::current_id();
    let is_mine = id != 0
        && resource.handle.load(Ordering::Relaxed) == handle
        && resource.owner.load(Ordering::Relaxed) == handle ^ id;
    if !is_mine || resource.entries.load(Ordering::Relaxed) != 1 {
        return false;
    }
    // A search that finds a wait which this task begins after it finds the resource without it: Wait::begin has a
    // Release of its own. This one pairs with the Acquire in owner.
    resource.owner.store(handle, Ordering::Release);
    true
}

/// Marks that the caller has released a resource once, where release_fast could not.
#[cold]
pub(crate) fn release(handle: u64) -> Result<()> {
    let resource = resources::find(handle)?;
    let id = sys::current_id();
    if id == 0 || resource.owner(handle) != Some(id) {
        return Err(Error::NotOwner);
    }
    match resource.entries.load(Ordering::Relaxed) {
        // As in release_fast.
        1 => resource.owner.store(handle, Ordering::Release),
        entries => resource.entries.store(entries - 1, Ordering::Relaxed),
    }
    Ok(())
}

/// The resource with this handle. Where it is just being destroyed, no told wait of the caller's for it is left.
pub(crate) fn find(handle: u64) -> Result<&'static Resource> {
    resources::find(handle).inspect_err(|_| {
        task::current_if_any().filter(|me| me.wait.awaited() == handle).into_iter().for_each(end_told_wait);
    })
}

/// The caller gives up its told wait for the resource.
pub(crate) fn end_wait(handle: u64) -> Result<()> {
    find(handle)?;
    preserving_errno(|| match task::current_if_any() {
        Some(me) if me.wait.awaited() == handle => {
            end_told_wait(me);
            Ok(())
        }
        // It may just have been destroyed, which ends the wait.
        _ => resources::find(handle).and(Err(Error::InvalidOperation)),
    })
}

/// Ends the told wait for a resource that `me` is in, if it is in one: it runs, so the wait is over. By its own thread.
pub(crate) fn end_told_wait(me: TaskRef) {
    let handle = me.wait.awaited();
    if handle == 0 || !handle::is_resource(handle) {
        return;
    }
    let resource = resources::slot_of_awaited(handle);
    // place: resource-wait-end-lock
    let _guard = resource.hold_lock();
    if me.wait.awaited() == handle {
        resource.end_wait(&me.wait, OVER);
    }
}

/// Holds the lock of a resource until dropped.
struct Held<'a> {
    resource: &'a Resource,
    lock: sys::Guard<'a>,
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.is_of_parent() {
            self.resource.settle_interrupted_change();
        }
    }
}

impl Resource {
    #[track_caller]
    fn hold_lock(&self) -> Held<'_> {
        Held { resource: self, lock: self.lock.lock() }
    }

    /// A handler that interrupted the caller under the lock has forked, and the caller has completed its change in the
    /// child, where at most its own wait is left.
    #[cold]
    fn settle_interrupted_change(&self) {
        let awaited = task::current_if_any().map_or(0, |me| me.wait.awaited());
        let waits = awaited != 0 && self.handle() == Some(awaited);
        self.waiters.store(u32::from(waits), Ordering::Relaxed);
    }

    /// Marks that `me` has acquired the resource with this handle, which ends its told wait for it.
    pub(crate) fn acquire(&self, handle: u64, me: TaskRef) -> Result<()> {
        let awaited = me.wait.awaited();
        if awaited != 0 && awaited != handle {
            // A task that waits acquires nothing else: the proof of the search for deadlocks rests on it.
            return Err(Error::InvalidOperation);
        }
        let id = me.id();
        let Some(owner) = self.owner(handle) else {
            end_told_wait(me);
            return Err(Error::Handle);
        };
        match owner {
            0 | ABANDONED => {
                me.note_resources();
                self.entries.store(1, Ordering::Relaxed);
                // Release pairs with the Acquire in owner.
                self.owner.store(handle ^ id, Ordering::Release);
            }
            owner if owner == id => {
                let entries = self.entries.load(Ordering::Relaxed).checked_add(1);
                self.entries.store(entries.ok_or(Error::InvalidOperation)?, Ordering::Relaxed);
            }
            _ => return Err(Error::InvalidOperation),
        }
        end_told_wait(me);
        Ok(())
    }

    /// Announces that `me` is about to block for the resource with this handle.
    pub(crate) fn begin_wait(
        &self,
        handle: u64,
        me: TaskRef,
        request: Request,
        beginning: Beginning,
    ) -> Result<()> {
        let _guard = self.hold_lock();
        // Under this lock the resource cannot end.
        self.owner(handle).ok_or(Error::Handle)?;
        me.wait.begin(request, beginning);
        // SeqCst as in enqueue.
        // place: resource-announcement-store
        me.wait.awaited.store(handle, Ordering::SeqCst);
        self.waiters.store(self.waiters.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Between the announcement and the search that follows: of the announcements of a cycle the last one finds all
        // others (see `deadlock`).
        // place: resource-announcement-fence
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Nothing has ended the wait of `me` while it was announced and searched: from here on it is in the program's hands.
    /// Otherwise why it has failed.
    pub(crate) fn settle_wait(&self, me: TaskRef) -> Result<()> {
        // place: resource-settle-lock
        let _guard = self.hold_lock();
        match me.wait.park.load(Ordering::Relaxed) {
            PARKED => {
                me.wait.park.store(BLOCKED, Ordering::Relaxed);
                self.contended.store(self.contended.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                Ok(())
            }
            // The child of a fork, made by a signal handler meanwhile.
            OVER => Ok(()),
            code => Err(failure(code)),
        }
    }

    /// Takes back the announcement of `me`; why its wait has failed, if it has.
    pub(crate) fn step_out(&self, me: TaskRef) -> Option<Error> {
        let _guard = self.hold_lock();
        match me.wait.park.load(Ordering::Relaxed) {
            PARKED => {
                self.end_wait(&me.wait, OVER);
                None
            }
            OVER => None,
            code => Some(failure(code)),
        }
    }

    /// Ends every told wait for the resource with this handle; under `lock`.
    fn end_all_waits(&self, handle: u64) {
        if self.waiters.load(Ordering::Relaxed) == 0 {
            return;
        }
        for task in tasks::all().filter(|task| task.wait.awaited() == handle) {
            self.end_wait(&task.wait, Error::Handle.hresult() as u32);
        }
    }

    /// Leaves the resource without an owner if the task with this id, which makes no more calls, owned it.
    fn abandon(&self, id: u64) {
        let Some(handle) = self.handle() else { return };
        // A later owner may have told already that it has it.
        let _ = self.owner.compare_exchange(
            handle ^ id,
            handle ^ ABANDONED,
            Ordering::Release,
            Ordering::Relaxed,
        );
    }
}

/// Abandons what tasks own that are ending, however many these are.
pub(crate) fn abandon_all_of_ending() {
    for resource in REGISTRY.resources.iter() {
        if let Some(owner) = resource.handle().and_then(|handle| resource.owner(handle))
            && tasks::is_ending(owner)
        {
            resource.abandon(owner);
        }
    }
}

/// In the child of a fork: no task waits.
pub(crate) fn forget_waits_after_fork() {
    for resource in REGISTRY.resources.iter() {
        resource.lock.reset_after_fork();
        if resource.waiters.load(Ordering::Relaxed) != 0 {
            resource.waiters.store(0, Ordering::Relaxed);
        }
    }
}

/// In the child of a fork: every owner but `me` is gone.
pub(crate) fn abandon_after_fork(me: u64) {
    for resource in REGISTRY.resources.iter() {
        let owner = resource.handle().and_then(|handle| resource.owner(handle)).unwrap_or(0);
        if ![0, ABANDONED, me].contains(&owner) {
            resource.abandon(owner);
        }
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use crate::host::{self, runtime};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// What `end` answers, and what its thread still waits for, while another is just destroying the resource.
    fn beside_a_destruction(end: fn(u64) -> Result<()>) -> (Result<()>, u64) {
        runtime::start().expect("memory");
        let handle = create().expect("a place");
        let resource = resources::slot_of(handle);
        let (tell, told) = channel();
        let (go, gone) = channel::<()>();
        let (finish, finished) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                assert_eq!(host::resources::wait(handle, 0, 0), Ok(()));
                tell.send(()).expect("heard");
                gone.recv().expect("told");
                let answer = end(handle);
                let me = task::current_if_any().expect("it has waited");
                finish.send((answer, me.wait.awaited())).expect("heard");
            });
            told.recv().expect("told");
            let guard = resource.hold_lock();
            resource.handle.store(VACANT, Ordering::Relaxed);
            go.send(()).expect("heard");
            // It is not to have answered before the waits have ended.
            let early = finished.recv_timeout(Duration::from_millis(50));
            resource.end_all_waits(handle);
            drop(guard);
            REGISTRY.resources.release(handle::section_index(handle), false);
            early.unwrap_or_else(|_| finished.recv().expect("answered"))
        })
    }

    #[test]
    fn a_wait_for_what_is_being_destroyed_is_over_when_that_is_said() {
        assert_eq!(beside_a_destruction(end_wait), (Err(Error::Handle), 0));
        assert_eq!(
            beside_a_destruction(|handle| host::resources::acquired(handle, 0)),
            (Err(Error::Handle), 0)
        );
    }
}
