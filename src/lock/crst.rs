//! Critical sections: entering, leaving, and how one begins and ends. How a task waits for one stands in `queue`; what
//! a thread has to do to become a task is not known here.
//!
//! The lock word and its proof are explained in `handle`; why a plain store can be the release, in `queue`.

use crate::constants::WAIT_OPTION_MASK;
use crate::error::{Error, Result};
use crate::handle::{self, ABANDONED, BIASED, DESTROYED, LAST_SECTION_GENERATION, REVOKING};
use crate::lock::{queue, slots};
use crate::state::registry::REGISTRY;
use crate::state::section::{
    ALWAYS_FENCED, ARMED, SPIN_COUNT_SET, Section, SectionInfo, SpinPolicy, handle_in, is_biased, waiters,
};
use crate::state::{mirror, sections, task, tasks};
use crate::sys::atomic::{Ordering, fence};
use crate::sys::{self, preserving_errno};

/// Makes a new section, free and without a name. Returns its handle.
pub(crate) fn create(spin: SpinPolicy) -> Result<u64> {
    REGISTRY.runtime.require_running()?;
    Ok(begin(take_slot()?, spin, 0))
}

/// Makes a section that the CRITICAL_SECTION at `mirror` shows. Only once the registry is ready.
pub(crate) fn make(spin: SpinPolicy, mirror: usize) -> Result<u64> {
    let index = take_slot()?;
    REGISTRY.sections.at(index).set_mirror(mirror);
    let overwritten = REGISTRY.addresses.add(index).inspect_err(|_| slots::release_to_arena(index, false))?;
    let handle = begin(index, spin, mirror);
    // Sections that no CRITICAL_SECTION names any more end here, unless they are owned or waited for.
    overwritten.handles().iter().for_each(|&other| _ = retire_as(other, 0));
    Ok(handle)
}

/// A slot for a section to begin in.
#[inline]
fn take_slot() -> Result<u32> {
    let index = slots::take()?;
    if REGISTRY.holds.is_on() || REGISTRY.statistics.is_on() {
        cover_slot(index)?;
    }
    Ok(index)
}

/// Makes the records beside section slot `index`, which has just been taken, or gives it back. Either this finds that they
/// are kept, or who switches that on finds the slot: both take the lock of the sections, the former when the slot was
/// allocated.
#[cold]
fn cover_slot(index: u32) -> Result<()> {
    let (holds, statistics) = (&REGISTRY.holds, &REGISTRY.statistics);
    let is_covered = preserving_errno(|| {
        if holds.is_on() {
            holds.table.cover(&REGISTRY.sections, index)?;
        }
        if statistics.is_on() {
            statistics.table.cover(&REGISTRY.sections, index)?;
        }
        Ok(())
    });
    is_covered.inspect_err(|_| slots::release_to_arena(index, false))
}

/// A section begins in this slot, shown by the CRITICAL_SECTION at `mirror` unless that is 0. Returns its handle.
#[inline]
fn begin(index: u32, spin: SpinPolicy, mirror: usize) -> u64 {
    let section = REGISTRY.sections.at(index);
    if spin != SpinPolicy::Adaptive || mirror != 0 || !section.is_as_new() {
        section.make_new(spin, mirror);
    }
    // A slot never used is in generation 0; no handle is.
    let generation = handle::section_generation(section.word.load(Ordering::Relaxed)).max(1);
    let handle = handle_in(REGISTRY.copy(), index, generation, mirror);
    // Release pairs with the Acquire of a task that enters with a handle passed on without synchronising.
    section.word.store(handle, Ordering::Release);
    // Pairs with the Acquire fence in find_of_kind: see arena.
    fence(Ordering::Release);
    handle
}

/// How far a fast path got. What is left is for its caller to do as its last act, so that the compiler makes that call
/// a jump and the fast path needs no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastPath {
    Done,
    /// Done, but something is left to do that the result does not depend on: sample_entry, wake_after_leave.
    DoneWithFollowUp,
    /// The section was biased to the caller, and the bias was revoked just now: settle_entry, settle_leave.
    Revoked,
    /// Nothing was done, the slow path is to be taken: enter_checked, leave_checked.
    NotTaken,
}

/// Enters, if that needs no waiting and nothing unusual: the path that must be short.
#[inline(always)]
pub(crate) fn enter_fast(handle: u64, option: u32) -> FastPath {
    if option & !WAIT_OPTION_MASK != 0 || !REGISTRY.runtime.is_plain() {
        return FastPath::NotTaken;
    }
    let section = sections::slot_of(handle);
    // Acquire pairs with the Release of a revoker: the owner sees its entries.
    // place: enter-word-load
    let word = section.word.load(Ordering::Acquire);
    let biased_to_me = sys::xor_biased_id(handle);
    if word == biased_to_me {
        return section.enter_biased(biased_to_me);
    }
    let mine = biased_to_me ^ BIASED;
    if word == mine {
        return if section.reenter() { FastPath::Done } else { FastPath::NotTaken };
    }
    if word != handle {
        return FastPath::NotTaken;
    }
    let Some(task) = task::current_if_any() else { return FastPath::NotTaken };
    // Acquire pairs with the Release of the last leave.
    // place: enter-word-exchange
    if section.word.compare_exchange(handle, mine, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return FastPath::NotTaken;
    }
    if REGISTRY.bias.is_sample_due(task.count_entry()) { FastPath::DoneWithFollowUp } else { FastPath::Done }
}

/// Enters by the fast path with all that may be left of it. False if nothing was entered.
#[inline]
pub(crate) fn enter_now(handle: u64, option: u32) -> bool {
    match enter_fast(handle, option) {
        FastPath::Done => true,
        FastPath::DoneWithFollowUp => {
            sample_entry(handle);
            true
        }
        FastPath::Revoked => settle_entry(handle),
        FastPath::NotTaken => false,
    }
}

/// Samples an entry that the caller has just made: see `bias`.
#[cold]
pub(crate) fn sample_entry(handle: u64) {
    sections::slot_of(handle).sample_entry(handle, sys::current_id());
}

/// The bias was revoked while the caller entered. False if nothing was entered.
#[cold]
pub(crate) fn settle_entry(handle: u64) -> bool {
    sections::slot_of(handle).settle_entry(handle, sys::current_id())
}

/// Leaves once, if nothing is unusual; the last leave releases the section.
#[inline(always)]
pub(crate) fn leave_fast(handle: u64) -> FastPath {
    if !REGISTRY.runtime.is_plain() {
        return FastPath::NotTaken;
    }
    let section = sections::slot_of(handle);
    // Acquire pairs with the Release of a revoker: the owner sees its entries.
    let word = section.word.load(Ordering::Acquire);
    let biased_to_me = sys::xor_biased_id(handle);
    if word == biased_to_me {
        return section.leave_biased(biased_to_me);
    }
    if word != biased_to_me ^ BIASED {
        return FastPath::NotTaken;
    }
    let entries = section.entries.load(Ordering::Relaxed);
    if entries > 1 {
        section.entries.store(entries - 1, Ordering::Relaxed);
        return FastPath::Done;
    }
    // A slot never used has 0 entries: see handle, "every 64-bit value".
    if entries != 1 {
        return FastPath::NotTaken;
    }
    let Some(task) = task::current_if_any() else { return FastPath::NotTaken };
    let queue_state = section.queue_state.load(Ordering::Relaxed);
    if queue_state == 0 {
        task.count_leave();
        // Release pairs with the Acquire of the next owner. Not a read-modify-write: see queue, "no wake-up is lost".
        // place: leave-word-store
        section.word.store(handle, Ordering::Release);
        // place: leave-light-barrier
        sys::light_barrier();
    } else if queue_state == ALWAYS_FENCED {
        task.count_leave();
        // SeqCst with the waiter's announcement, as in leave_contended.
        // place: fenced-leave-swap
        section.word.swap(handle, Ordering::SeqCst);
    } else {
        return FastPath::NotTaken;
    }
    // place: fenced-leave-queue-state
    if section.queue_state.load(Ordering::SeqCst) == queue_state {
        FastPath::Done
    } else {
        FastPath::DoneWithFollowUp
    }
}

/// The caller has just left while a waiter announced itself.
#[cold]
pub(crate) fn wake_after_leave(handle: u64) {
    sections::slot_of(handle).wake_after_plain_leave();
}

/// The bias was revoked while the caller left.
#[cold]
pub(crate) fn settle_leave(handle: u64) {
    let section = sections::slot_of(handle);
    preserving_errno(|| {
        if section.settle_leave(handle, sys::current_id()) {
            section.wake_after_leave();
        }
    });
}

/// Leaves once, where leave_fast could not.
#[cold]
pub(crate) fn leave_checked(handle: u64) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = sections::find(handle)?;
    let me = sys::current_id();
    let owner = section.word.load(Ordering::Relaxed) ^ handle;
    if me != 0 && is_biased(owner) && owner & !(BIASED | REVOKING) == me {
        // Biased to the caller, or being revoked at this moment: the queue lock waits for that.
        preserving_errno(|| section.revoke(handle));
    }
    if me == 0 || section.word.load(Ordering::Acquire) != handle ^ me {
        return Err(Error::NotOwner);
    }
    match section.entries.load(Ordering::Relaxed) {
        1 => {
            let me = task::current_if_any().ok_or(Error::NotOwner)?;
            section.count_hold(handle, &me);
            me.count_leave();
            preserving_errno(|| section.leave_contended(handle));
        }
        // Only here while the runtime is stopped or tracks owners.
        entries => section.entries.store(entries - 1, Ordering::Relaxed),
    }
    Ok(())
}

/// Ends a section of the host's that is free; its waiters get Abandoned. False if it is not, or something is unusual.
#[inline]
pub(crate) fn destroy_at_once(handle: u64) -> bool {
    let is_done = REGISTRY.runtime.is_plain() && sections::slot_of(handle).make_stale_at_once(handle);
    if is_done {
        release_slot(handle);
    }
    is_done
}

/// Ends a section that is free, abandoned or the caller's; its waiters get Abandoned.
#[cold]
pub(crate) fn destroy(handle: u64) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = sections::find(handle)?;
    preserving_errno(|| {
        {
            let _queue = section.lock_queue();
            section.make_stale(handle, sys::current_id())?;
            section.drain(Error::Abandoned);
        }
        release_slot(handle);
        Ok(())
    })
}

/// Ends a section of Windows' that nobody waits for and that is free, abandoned or the caller's; otherwise fails with
/// NotOwner.
pub(crate) fn retire(handle: u64) -> Result<()> {
    retire_as(handle, sys::current_id())
}

/// As retire by the task with this id; by 0 if the section must not be owned.
fn retire_as(handle: u64, id: u64) -> Result<()> {
    let section = sections::find_win32(handle)?;
    {
        let _queue = section.lock_queue();
        if section.has_waiters() {
            return Err(Error::NotOwner);
        }
        section.make_stale(handle, id)?;
    }
    release_slot(handle);
    Ok(())
}

/// Ends a section of Windows' that is the caller's; its waiters get Handle.
pub(crate) fn retire_with_waiters(handle: u64) -> Result<()> {
    let section = sections::find_win32(handle)?;
    {
        let _queue = section.lock_queue();
        section.make_stale(handle, sys::current_id())?;
        section.drain(Error::Handle);
    }
    release_slot(handle);
    Ok(())
}

fn release_slot(handle: u64) {
    let (index, generation) = (handle::section_index(handle), handle::section_generation(handle));
    if handle::is_win32(handle) {
        REGISTRY.addresses.remove(index);
    }
    slots::release(index, generation == LAST_SECTION_GENERATION);
}

/// Sets how often a spinner polls before it waits.
pub(crate) fn set_spin_count(handle: u64, count: u32) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = sections::find(handle)?;
    preserving_errno(|| section.set_spin_policy(handle, SpinPolicy::Count(count)))
}

/// Gives the section a name for reports.
pub(crate) fn set_name(handle: u64, utf8: &[u8]) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = sections::find(handle)?;
    preserving_errno(|| {
        let _queue = section.lock_queue_of(handle)?;
        if section.name.load(Ordering::Relaxed) == 0 {
            // Release pairs with the Acquire in name: the name's slot may be read.
            section.name.store(REGISTRY.names.allocate()?, Ordering::Release);
        }
        REGISTRY.names.at(section.name.load(Ordering::Relaxed)).name.set(utf8);
        Ok(())
    })
}

/// The state of the section.
pub(crate) fn info(handle: u64) -> Result<SectionInfo> {
    let section = sections::find(handle)?;
    section.info(handle).ok_or(Error::Handle)
}

/// The word after the section with this handle: of the slot's next generation, owned by nobody ever.
fn stale_word(handle: u64) -> u64 {
    let index = handle::section_index(handle);
    // After the last generation the slot keeps a word of that generation and is not handed out again.
    let next = (handle::section_generation(handle) + 1).min(LAST_SECTION_GENERATION);
    handle::section_handle(REGISTRY.copy(), index, next) ^ DESTROYED
}

impl Section {
    /// Whether all but the word is as in a section of the host's without a spin count: most that have ended were never waited
    /// for.
    #[inline(always)]
    fn is_as_new(&self) -> bool {
        let small = self.flags.load(Ordering::Relaxed) | self.leaves.load(Ordering::Relaxed);
        let words = self.spin_count.load(Ordering::Relaxed)
            | self.bias_sample.load(Ordering::Relaxed)
            | (self.queue_state.load(Ordering::Relaxed) ^ queue::initial_queue_state())
            | (self.entries.load(Ordering::Relaxed) ^ 1);
        let long = self.contended.load(Ordering::Relaxed) | self.mirror.load(Ordering::Relaxed);
        u64::from(small) | u64::from(words) | long == 0
    }

    /// Makes all but the word that of a new section.
    fn make_new(&self, spin: SpinPolicy, mirror: usize) {
        // Pairs with the Acquire fence in is_still: who reads a field of this section finds the last one ended.
        fence(Ordering::Release);
        self.flags.store(0, Ordering::Relaxed);
        self.write_spin_policy(spin);
        self.set_mirror(mirror);
        self.queue_state.store(queue::initial_queue_state(), Ordering::Relaxed);
        self.contended.store(0, Ordering::Relaxed);
        self.bias_sample.store(0, Ordering::Relaxed);
        self.reset_leaves();
        self.entries.store(1, Ordering::Relaxed);
    }

    /// The plain leave: releases a section whose `queue_state` was just found 0. By the owner.
    #[inline(always)]
    pub(crate) fn leave_plain(&self, handle: u64) {
        // Release pairs with the Acquire of the next owner. Not a read-modify-write: see queue, "no wake-up is lost".
        self.word.store(handle, Ordering::Release);
        sys::light_barrier();
        if self.queue_state.load(Ordering::Relaxed) != 0 {
            self.wake_after_plain_leave();
        }
    }

    /// The owner has just left by a plain store while a waiter announced itself.
    #[cold]
    fn wake_after_plain_leave(&self) {
        // Orders that store before the load of the number of waiters: what was seen is ARMED, and after that only
        // fences order the two sides.
        // place: leave-wake-fence
        fence(Ordering::SeqCst);
        preserving_errno(|| self.wake_after_leave());
    }

    /// As make_stale, of a section of the host's, if it is free: without the queue lock, for which it waits only if that is
    /// held or tasks wait. Whether it was done. See queue, "A section that ends".
    #[inline(always)]
    fn make_stale_at_once(&self, handle: u64) -> bool {
        if !self.is_free(handle) {
            return false;
        }
        let stale = stale_word(handle);
        // Acquire as in make_stale. SeqCst, as are the loads below: with the fence in require_alive.
        // place: destroy-at-once-exchange
        if self.word.compare_exchange(handle, stale, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return false;
        }
        // First the lock: who gets it after it was found unlocked finds the section gone, and whom those before left in the
        // queue is seen.
        // place: destroy-queue-loads
        if self.queue_lock.is_locked() || waiters(self.queue_state.load(Ordering::SeqCst)) != 0 {
            self.empty_queue();
        }
        self.clear_name();
        true
    }

    /// Waits for who holds the queue lock; waiters get Abandoned.
    #[cold]
    fn empty_queue(&self) {
        preserving_errno(|| {
            let _queue = self.lock_queue();
            self.drain(Error::Abandoned);
        });
    }

    /// Moves the slot to its next generation, owned by nobody ever; under the queue lock.
    fn make_stale(&self, handle: u64, me: u64) -> Result<()> {
        let stale = stale_word(handle);
        loop {
            self.revoke_locked(handle);
            let owner = self.owner(handle).ok_or(Error::Handle)?;
            let mine = me != 0 && owner == me;
            if owner != 0 && owner != ABANDONED && !mine {
                return Err(Error::NotOwner);
            }
            // The word that names this owner, not one that was loaded apart: its owner may have left and entered since.
            let word = handle ^ owner;
            // Acquire: what the last owner did under the section happens before its slot is used anew.
            // place: destroy-word-exchange
            if self.word.compare_exchange(word, stale, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                if mine {
                    tasks::of_owner(me).count_leave();
                }
                break;
            }
        }
        self.clear_name();
        Ok(())
    }

    fn clear_name(&self) {
        let name = self.name.load(Ordering::Relaxed);
        if name != 0 {
            REGISTRY.names.at(name).name.set(&[]);
        }
    }

    /// Sets how spinners poll the section with this handle, which names this slot.
    pub(crate) fn set_spin_policy(&self, handle: u64, spin: SpinPolicy) -> Result<()> {
        // place: spin-policy-queue-lock
        let _queue = self.lock_queue_of(handle)?;
        self.write_spin_policy(spin);
        Ok(())
    }

    /// Under the queue lock, or before the section has a handle.
    fn write_spin_policy(&self, spin: SpinPolicy) {
        let (count, flag) = match spin {
            SpinPolicy::Adaptive => (0, 0),
            // As on Windows: spinning on one processor only delays the owner.
            SpinPolicy::Count(count) if REGISTRY.spinning_helps() => (count, SPIN_COUNT_SET),
            SpinPolicy::Count(_) => (0, SPIN_COUNT_SET),
        };
        self.spin_count.store(count, Ordering::Relaxed);
        let others = self.flags.load(Ordering::Relaxed) & !SPIN_COUNT_SET;
        self.flags.store(others | flag, Ordering::Relaxed);
    }

    /// Slot `index` holds no section, ever: makes its word one that matches no handle.
    pub(crate) fn take(&self, index: u32) {
        self.word.store(handle::section_handle(REGISTRY.copy(), index, 1) ^ DESTROYED, Ordering::Relaxed);
    }

    /// In the child of a fork: the task with this id, which owns the section, is another thread of the system's, which
    /// the CRITICAL_SECTION is to show.
    fn keep_after_fork(&self, handle: u64, me: u64) {
        if self.mirror() != 0 {
            // An Enter that a handler interrupted may be about to store the former id: it sees this, and stores anew.
            self.queue_state.fetch_or(ARMED, Ordering::Relaxed);
            let before = tasks::of_owner(me).thread_id();
            mirror::publish_thread_after_fork(self.mirror(), handle, before, sys::thread_id());
        }
    }

    /// Leaves the section with this handle without an owner, if `id` owned it; its waiters get Abandoned. Whether it
    /// is one of Windows' that stays locked.
    fn abandon(&self, handle: u64, id: u64) -> bool {
        if self.owner(handle) != Some(id) {
            return false;
        }
        let _queue = self.lock_queue();
        // Of two threads that abandon the sections of one task the second finds this done.
        if self.owner(handle) != Some(id) {
            return false;
        }
        if self.mirror() != 0 {
            // As on Windows: locked for ever, and its waiters go on waiting.
            self.last_owner_thread.store(tasks::of_owner(id).thread_id(), Ordering::Relaxed);
            self.word.store(handle ^ ABANDONED, Ordering::Release);
            return true;
        }
        self.entries.store(1, Ordering::Relaxed);
        self.word.store(handle ^ ABANDONED, Ordering::Release);
        self.drain(Error::Abandoned);
        false
    }
}

/// Abandons what tasks own that are ending, however many these are. `each_locked` is called for each section that stays
/// locked, as on Windows.
pub(crate) fn abandon_all_of_ending(each_locked: impl Fn(&Section)) {
    #[cfg(test)]
    PASSES.set(PASSES.get() + 1);
    for (handle, section) in sections::all() {
        if let Some(owner) = section.owner(handle)
            && tasks::is_ending(owner)
            && section.abandon(handle, owner)
        {
            each_locked(section);
        }
    }
}

#[cfg(test)]
std::thread_local! {
    /// How often this thread has looked through all sections for those of tasks that end.
    pub(crate) static PASSES: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// In the child of a fork that may have other threads by now: there are no waiters; which owners are gone is not known.
pub(crate) fn forget_queues_after_fork() {
    for (handle, section) in sections::all() {
        queue::forget_queue_after_fork(section);
        section.revoke_after_fork(handle);
    }
}

/// In the child of a fork: there are no waiters, and every owner but `me` is gone.
pub(crate) fn abandon_after_fork(me: u64) {
    for (handle, section) in sections::all() {
        queue::forget_queue_after_fork(section);
        section.unbias_after_fork(handle);
        match section.owner(handle) {
            None | Some(0 | ABANDONED) => {}
            Some(owner) if owner == me => section.keep_after_fork(handle, me),
            Some(owner) => _ = section.abandon(handle, owner),
        }
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn more_entries_than_can_be_counted_are_refused() {
        use crate::error::S_OK;
        use crate::ffi::crst::{hostcrst_enter, hostcrst_enter_timeout, hostcrst_try_enter};
        crate::host::runtime::start().unwrap();
        let crst = create(SpinPolicy::Adaptive).unwrap();
        assert_eq!(hostcrst_enter(crst, 0), S_OK);
        // As if it had been entered so often.
        sections::slot_of(crst).entries.store(u32::MAX, Ordering::Relaxed);
        let refused = Error::InvalidOperation.hresult();
        let mut entered = 7;
        assert_eq!(hostcrst_enter(crst, 0), refused);
        assert_eq!(hostcrst_enter_timeout(crst, 0, 1), refused);
        // SAFETY: `entered` is valid for writing.
        assert_eq!(unsafe { hostcrst_try_enter(crst, 0, &raw mut entered) }, refused);
        assert_eq!(entered, 0);
        assert_eq!(sections::slot_of(crst).info(crst).unwrap().recursion, u32::MAX);
        destroy(crst).unwrap();
    }

    /// A section of a slot that is nearly used up, and ten later ones; then those of them in the slot.
    fn sections_from_a_late_one() -> [Vec<u64>; 2] {
        let first = create(SpinPolicy::Adaptive).unwrap();
        let index = handle::section_index(first);
        // As if there had been so many sections in the slot.
        let late = handle::section_handle(REGISTRY.copy(), index, LAST_SECTION_GENERATION - 3);
        sections::slot_of(first).word.store(late, Ordering::Relaxed);
        let mut handles = std::vec![late];
        for _ in 0..10 {
            destroy(handles[handles.len() - 1]).unwrap();
            handles.push(create(SpinPolicy::Adaptive).unwrap());
        }
        let in_slot =
            handles.iter().copied().filter(|&handle| handle::section_index(handle) == index).collect();
        [handles, in_slot]
    }

    #[test]
    fn a_slot_is_retired_after_its_last_generation() {
        crate::host::runtime::start().unwrap();
        // Another test may have had a section in the slot, too.
        let ours = (0..100).map(|_| sections_from_a_late_one()).find(|[_, in_slot]| in_slot.len() >= 4);
        let [mut handles, in_slot] = ours.expect("a slot that nobody else takes");
        let generations: Vec<_> = in_slot.iter().map(|&handle| handle::section_generation(handle)).collect();
        assert_eq!(generations, [3, 2, 1, 0].map(|left| LAST_SECTION_GENERATION - left));
        assert!(in_slot.iter().all(|&handle| sections::find(handle).is_err()));
        handles.sort();
        handles.dedup();
        assert_eq!(handles.len(), 11);
    }
}
