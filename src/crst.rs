//! Critical sections: entering, leaving, and what becomes of one. How a task waits for one is in `waiting`.
//!
//! The lock word and its proof are explained in `handle`; why a plain store can be the release, in `waiting`.

use core::mem::offset_of;

use crate::arena::Slot;
use crate::bias;
use crate::error::{Error, Result};
use crate::handle::{self, ABANDONED, BIASED, DESTROYED, LAST_SECTION_GENERATION, REVOKING};
use crate::holds;
use crate::name::NameCopy;
use crate::registry::REGISTRY;
use crate::sys::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::{self, Mutex, preserving_errno};
use crate::task::{self, TaskRef};
use crate::waiting::{self, Request, SpinPolicy};

/// The option bits a caller may pass: WAIT_MSGPUMP, WAIT_ALERTABLE, WAIT_NOTINDEADLOCK.
pub(crate) const WAIT_OPTIONS: u32 = 0x7;

/// A critical section: one cache line. Zeroed memory is a slot never used.
#[repr(C, align(64))]
pub(crate) struct Section {
    /// The handle XOR the owner's id.
    word: AtomicU64,
    /// How often the owner has entered; 1 while the section is free, so that entering need not write it. Owner only.
    entries: AtomicU32,
    /// Not 0 if a leave has more to do than to store the word.
    attention: AtomicU32,
    queue_lock: Mutex,
    /// The task slot that is first in the circle of waiters, 0 for none.
    first_waiter: AtomicU16,
    /// The task slot that this slot was last lent to, 0 for none. Stays with the slot.
    lent_to: AtomicU16,
    /// As set.
    spin_count: AtomicU32,
    /// Leaves by the fenced way since they began or a waiter was last woken. Counted by the owner.
    leaves: AtomicU16,
    /// Under the queue lock, or before the section has a handle.
    flags: AtomicU16,
    /// The slot of the section's name, 0 for none. Stays with the slot.
    name: AtomicU32,
    /// Entries that had to wait; under the queue lock.
    contended: AtomicU64,
    /// One more than the entries of the task that the section is lent to, which alone writes it: see `bias`.
    hold: AtomicU32,
    /// Which task was found owning it, and how often in a row. Of a section that is never lent and whose owner has
    /// ended (see `orphaned_by`): that thread's id.
    looks: AtomicU32,
    /// The address of the CRITICAL_SECTION that shows this one, or 0: then it is a section of the host's.
    mirror: AtomicU64,
}

const _: () = assert!(size_of::<Section>() == handle::SECTION_BYTES);
// Fields that name a task are as wide as the number of its slot.
const _: () = assert!(handle::MAX_TASKS == 1 << u16::BITS);

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 8] = [
    ("section.bytes", size_of::<Section>()),
    ("section.word", offset_of!(Section, word)),
    ("section.entries", offset_of!(Section, entries)),
    ("section.attention", offset_of!(Section, attention)),
    ("section.contended", offset_of!(Section, contended)),
    ("section.name", offset_of!(Section, name)),
    ("section.hold", offset_of!(Section, hold)),
    ("section.mirror", offset_of!(Section, mirror)),
];

/// flags: the spin count is the program's, not the library's.
const SPIN_COUNT_SET: u16 = 1;
/// flags: the section was lent and taken away; it is not lent again.
const BIAS_SPENT: u16 = 2;

// SAFETY: all fields are atomics or made of such.
unsafe impl Slot for Section {}

/// How long a caller is ready to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Milliseconds(u32),
    Unbounded,
}

impl Patience {
    /// What a time limit of the C interface means.
    pub(crate) const fn of_milliseconds(milliseconds: u32) -> Self {
        match milliseconds {
            u32::MAX => Patience::Unbounded,
            milliseconds => Patience::Milliseconds(milliseconds),
        }
    }
}

/// The states of `hostcrst_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Free = 0,
    Owned = 1,
    Abandoned = 2,
}

/// What a section looks like at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Info {
    pub(crate) state: State,
    /// The owner's id, 0 for none.
    pub(crate) owner: u64,
    pub(crate) recursion: u32,
    pub(crate) waiters: u32,
    pub(crate) spin_count: u32,
    pub(crate) contended: u64,
}

/// The slot that a handle of the host's names, whatever value it is. Only once the registry is ready.
#[inline(always)]
pub(crate) fn slot_of(handle: u64) -> &'static Section {
    REGISTRY.sections.at_offset::<0>(handle)
}

/// The slot that a handle of Windows' names, whatever value it is. Only once the registry is ready.
#[inline(always)]
pub(crate) fn win32_slot_of(handle: u64) -> &'static Section {
    REGISTRY.sections.at_offset::<{ handle::WIN32_SLOT }>(handle)
}

/// The slot that a handle of either kind names, whatever value it is. Only once the registry is ready.
pub(crate) fn any_slot_of(handle: u64) -> &'static Section {
    REGISTRY.sections.at(handle::section_index(handle))
}

/// The section of the host's with this handle.
pub(crate) fn find(handle: u64) -> Result<&'static Section> {
    find_of_kind(handle, 0)
}

/// The section of Windows' with this handle.
pub(crate) fn find_win32(handle: u64) -> Result<&'static Section> {
    find_of_kind(handle, handle::WIN32)
}

/// The section with this handle, which is one of the host's XOR `kind`.
#[inline(always)]
fn find_of_kind(handle: u64, kind: u64) -> Result<&'static Section> {
    if !REGISTRY.is_ready() {
        return Err(Error::Handle);
    }
    // Pairs with the Release fence in make: who was given this handle in whatever way finds its slot.
    fence(Ordering::Acquire);
    let index = handle::host_index(REGISTRY.copy(), handle ^ kind).ok_or(Error::Handle)?;
    let section = REGISTRY.sections.get(index).ok_or(Error::Handle)?;
    if section.owner(handle).is_some() { Ok(section) } else { Err(Error::Handle) }
}

/// Makes a new section, free and without a name. Returns its handle.
pub(crate) fn create(spin: SpinPolicy) -> Result<u64> {
    REGISTRY.runtime.require_running()?;
    preserving_errno(|| Ok(begin(take_slot()?, spin, 0)))
}

/// Makes a section that the CRITICAL_SECTION at `mirror` shows. Only once the registry is ready.
pub(crate) fn make(spin: SpinPolicy, mirror: usize) -> Result<u64> {
    let index = take_slot()?;
    REGISTRY.sections.at(index).set_mirror(mirror);
    let overwritten =
        REGISTRY.addresses.add(index).inspect_err(|_| REGISTRY.sections.release(index, false))?;
    let handle = begin(index, spin, mirror);
    // Those that nobody can name any more, unless somebody owns them or waits for them.
    overwritten.handles().iter().for_each(|&other| _ = retire_as(other, 0));
    Ok(handle)
}

/// A slot for a section to begin in.
fn take_slot() -> Result<u32> {
    let index = REGISTRY.sections.allocate()?;
    if REGISTRY.holds.is_on() {
        holds::cover(index).inspect_err(|_| REGISTRY.sections.release(index, false))?;
    }
    Ok(index)
}

/// A section begins in this slot, shown by the CRITICAL_SECTION at `mirror` unless that is 0. Returns its handle.
fn begin(index: u32, spin: SpinPolicy, mirror: usize) -> u64 {
    let section = REGISTRY.sections.at(index);
    section.flags.store(0, Ordering::Relaxed);
    section.write_spin_policy(spin);
    section.set_mirror(mirror);
    section.attention.store(waiting::initial_attention(), Ordering::Relaxed);
    section.contended.store(0, Ordering::Relaxed);
    section.looks.store(0, Ordering::Relaxed);
    section.reset_leaves();
    section.entries.store(1, Ordering::Relaxed);
    // A slot never used is in generation 0; no handle is.
    let generation = handle::section_generation(section.word.load(Ordering::Relaxed)).max(1);
    let handle = handle_in(REGISTRY.copy(), index, generation, mirror);
    // Release pairs with the Acquire of whoever enters with a handle passed on without synchronising.
    section.word.store(handle, Ordering::Release);
    // Pairs with the Acquire fence in find_of_kind: see arena.
    fence(Ordering::Release);
    handle
}

/// The handle of the section in a slot, shown by the CRITICAL_SECTION at `mirror` unless that is 0.
fn handle_in(copy: u32, index: u32, generation: u64, mirror: usize) -> u64 {
    match mirror {
        0 => handle::section_handle(copy, index, generation),
        _ => handle::win32_handle(copy, index, generation),
    }
}

/// How far a fast path got. What is left is for its caller to do as its last act, so that the compiler makes that call
/// a jump and the fast path needs no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fast {
    Done,
    /// Done, but for something that the caller need not wait for: look_at_entry, wake_after_leave.
    Almost,
    /// The section was lent to the caller and was taken away just now: settle_entry, settle_leave.
    Unsettled,
    /// Nothing was done: enter_checked, leave_checked.
    No,
}

/// Enters, if that needs no waiting and nothing unusual: the path that must be short.
#[inline(always)]
pub(crate) fn enter_fast(handle: u64, option: u32) -> Fast {
    if option > WAIT_OPTIONS || !REGISTRY.runtime.is_plain() {
        return Fast::No;
    }
    let section = slot_of(handle);
    // Acquire pairs with the Release of who revoked a bias: the owner sees its entries.
    let word = section.word.load(Ordering::Acquire);
    let lent_to_me = sys::xor_biased_id(handle);
    if word == lent_to_me {
        return section.enter_biased(lent_to_me);
    }
    let mine = lent_to_me ^ BIASED;
    if word != handle {
        return if word == mine && section.reenter() { Fast::Done } else { Fast::No };
    }
    let Some(task) = task::current_if_any() else { return Fast::No };
    // Acquire pairs with the Release of the last leave.
    if section.word.compare_exchange(handle, mine, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return Fast::No;
    }
    if REGISTRY.bias.is_look_due(task.count_entry()) { Fast::Almost } else { Fast::Done }
}

/// Enters by the fast path with all that may be left of it. False if nothing was entered.
#[inline]
pub(crate) fn enter_now(handle: u64, option: u32) -> bool {
    match enter_fast(handle, option) {
        Fast::Done => true,
        Fast::Almost => {
            look_at_entry(handle);
            true
        }
        Fast::Unsettled => settle_entry(handle),
        Fast::No => false,
    }
}

/// The caller has just entered: see `bias`.
#[cold]
pub(crate) fn look_at_entry(handle: u64) {
    slot_of(handle).look_at_entry(handle, sys::current_id());
}

/// The bias went while the caller entered. False if nothing was entered.
#[cold]
pub(crate) fn settle_entry(handle: u64) -> bool {
    slot_of(handle).settle_entry(handle, sys::current_id())
}

/// Enters, waiting as long as `patience` allows, where enter_now could not. False only where that is not at all and
/// the section is owned. `site` is where the caller called from.
#[cold]
pub(crate) fn enter_checked(handle: u64, option: u32, patience: Patience, site: usize) -> Result<bool> {
    REGISTRY.runtime.require_running()?;
    if option > WAIT_OPTIONS {
        return Err(Error::InvalidArgument);
    }
    let section = find(handle)?;
    preserving_errno(|| section.enter_as(handle, task::current()?, option, patience, site))
}

/// Leaves once, if nothing is unusual; the last leave lets the section go.
#[inline(always)]
pub(crate) fn leave_fast(handle: u64) -> Fast {
    if !REGISTRY.runtime.is_plain() {
        return Fast::No;
    }
    let section = slot_of(handle);
    // Acquire pairs with the Release of who revoked a bias: the owner sees its entries.
    let word = section.word.load(Ordering::Acquire);
    let lent_to_me = sys::xor_biased_id(handle);
    if word == lent_to_me {
        return section.leave_biased(lent_to_me);
    }
    // To a thread that is no task, a free section's word looks like its own.
    if word != lent_to_me ^ BIASED || word == handle {
        return Fast::No;
    }
    let entries = section.entries.load(Ordering::Relaxed);
    if entries > 1 {
        section.entries.store(entries - 1, Ordering::Relaxed);
        return Fast::Done;
    }
    // A slot never used has 0 entries: see handle, "every 64-bit value".
    let attention = section.attention.load(Ordering::Relaxed);
    if entries != 1 || (attention != 0 && attention != waiting::ALWAYS_FENCED) {
        return Fast::No;
    }
    let Some(task) = task::current_if_any() else { return Fast::No };
    task.count_leave();
    if attention == 0 {
        // Release pairs with the Acquire of the next owner. Not a read-modify-write: see waiting, "no wake-up is lost".
        section.word.store(handle, Ordering::Release);
        sys::light_barrier();
    } else {
        // SeqCst with the waiter's announcement, as in leave_contended.
        section.word.swap(handle, Ordering::SeqCst);
    }
    if section.attention.load(Ordering::SeqCst) == attention { Fast::Done } else { Fast::Almost }
}

/// The caller has just left while a waiter announced itself.
#[cold]
pub(crate) fn wake_after_leave(handle: u64) {
    slot_of(handle).wake_after_plain_leave();
}

/// The bias went while the caller left.
#[cold]
pub(crate) fn settle_leave(handle: u64) {
    slot_of(handle).settle_leave(handle, sys::current_id());
}

/// Leaves once, where leave_fast could not.
#[cold]
pub(crate) fn leave_checked(handle: u64) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = find(handle)?;
    let me = sys::current_id();
    let owner = section.word.load(Ordering::Relaxed) ^ handle;
    if me != 0 && bias::is_biased(owner) && owner & !(BIASED | REVOKING) == me {
        // Lent to the caller, or being taken from it at this moment: the queue lock waits for that.
        preserving_errno(|| section.revoke(handle));
    }
    if me == 0 || section.word.load(Ordering::Acquire) != handle ^ me {
        return Err(Error::NotOwner);
    }
    match section.entries.load(Ordering::Relaxed) {
        1 => {
            task::current()?.count_leave();
            preserving_errno(|| section.leave_contended(handle));
        }
        // Only here while the runtime is stopped or tracks owners.
        entries => section.entries.store(entries - 1, Ordering::Relaxed),
    }
    Ok(())
}

/// Ends a section that is free, abandoned or the caller's; its waiters get Abandoned.
pub(crate) fn destroy(handle: u64) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = find(handle)?;
    preserving_errno(|| {
        let me = sys::current_id();
        {
            let _queue = section.queue_lock.lock();
            section.make_stale(handle, me)?;
            section.drain(Error::Abandoned);
        }
        release_slot(handle);
        Ok(())
    })
}

/// Ends a section of Windows' that nobody waits for and that is free, abandoned or the caller's; otherwise fails with NotOwner.
pub(crate) fn retire(handle: u64) -> Result<()> {
    retire_as(handle, sys::current_id())
}

/// As retire by the task with this id; by 0 if the section must not be owned.
fn retire_as(handle: u64, id: u64) -> Result<()> {
    let section = find_win32(handle)?;
    {
        let _queue = section.queue_lock.lock();
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
    let section = find_win32(handle)?;
    {
        let _queue = section.queue_lock.lock();
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
    REGISTRY.sections.release(index, generation == LAST_SECTION_GENERATION);
}

/// Makes the caller the owner, once, of a section whose owner ended without leaving it.
pub(crate) fn recover(handle: u64, site: usize) -> Result<()> {
    REGISTRY.runtime.require_running()?;
    let section = find(handle)?;
    preserving_errno(|| {
        let me = task::current()?;
        let abandoned = handle ^ ABANDONED;
        // Not before those who waited for the last owner are told: they would seem to wait for the new one, and a
        // search would find a deadlock that there is not.
        let queue = section.queue_lock.lock();
        section
            .word
            .compare_exchange(abandoned, handle ^ me.id(), Ordering::Acquire, Ordering::Relaxed)
            .map_err(|_| Error::InvalidOperation)?;
        drop(queue);
        me.count_entry();
        section.note_owner(me.id(), site);
        Ok(())
    })
}

/// How often a newcomer is to look before it waits.
pub(crate) fn set_spin_count(handle: u64, count: u32) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = find(handle)?;
    preserving_errno(|| section.set_spin_policy(handle, SpinPolicy::Count(count)))
}

/// Gives the section a name for reports.
pub(crate) fn set_name(handle: u64, utf8: &[u8]) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    let section = find(handle)?;
    preserving_errno(|| {
        let _queue = section.queue_lock.lock();
        if section.owner(handle).is_none() {
            return Err(Error::Handle);
        }
        if section.name.load(Ordering::Relaxed) == 0 {
            // Release pairs with the Acquire in name: the name's slot may be read.
            section.name.store(REGISTRY.names.allocate()?, Ordering::Release);
        }
        REGISTRY.names.at(section.name.load(Ordering::Relaxed)).name.set(utf8);
        Ok(())
    })
}

/// What the section looks like.
pub(crate) fn info(handle: u64) -> Result<Info> {
    let section = find(handle)?;
    section.info(handle).ok_or(Error::Handle)
}

impl Section {
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.word
    }
    pub(crate) fn attention(&self) -> &AtomicU32 {
        &self.attention
    }
    pub(crate) fn queue_lock(&self) -> &Mutex {
        &self.queue_lock
    }
    /// The task slot that is first in the circle of waiters, 0 for none.
    pub(crate) fn first_waiter(&self) -> u32 {
        u32::from(self.first_waiter.load(Ordering::Relaxed))
    }
    pub(crate) fn set_first_waiter(&self, slot: u32) {
        self.first_waiter.store(slot as u16, Ordering::Relaxed);
    }
    pub(crate) fn hold(&self) -> &AtomicU32 {
        &self.hold
    }
    /// The task slot that this slot was last lent to, 0 for none.
    pub(crate) fn lent_to(&self) -> u32 {
        u32::from(self.lent_to.load(Ordering::Relaxed))
    }
    pub(crate) fn set_lent_to(&self, slot: u32) {
        self.lent_to.store(slot as u16, Ordering::Relaxed);
    }
    pub(crate) fn looks(&self) -> &AtomicU32 {
        &self.looks
    }

    pub(crate) fn set_entries(&self, entries: u32) {
        self.entries.store(entries, Ordering::Relaxed);
    }

    pub(crate) fn spend_bias(&self) {
        self.flags.fetch_or(BIAS_SPENT, Ordering::Relaxed);
    }

    pub(crate) fn is_bias_spent(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & BIAS_SPENT != 0
    }

    /// Who owns the section with this handle, which names this slot: an owner id, 0 if it is free, None if there is no
    /// such section.
    pub(crate) fn owner(&self, handle: u64) -> Option<u64> {
        // The word of a slot never used is 0: to a handle of generation 0 it would look owned.
        let was_given = handle::section_generation(handle) != 0;
        // Acquire pairs with the Release of who revoked a bias: an owner that finds itself here sees its entries.
        let mut owner = self.word.load(Ordering::Acquire) ^ handle;
        let same_generation = handle::section_generation(owner) == 0;
        if same_generation && bias::is_biased(owner) {
            // What is in the slot may be of the other kind by now: see handle.
            if handle::is_win32(handle) || owner & BIASED != 0 && owner & REVOKING != 0 {
                return None;
            }
            // Lent: owned only while it is entered.
            owner = if self.lent_entries() == 0 { 0 } else { owner & !(BIASED | REVOKING) };
        }
        (was_given && same_generation && owner != DESTROYED).then_some(owner)
    }

    /// The handle of the section that is, or was last, in this slot, number `index` in this copy of the library; of
    /// generation 0 if none ever was.
    pub(crate) fn handle(&self, copy: u32, index: u32) -> u64 {
        // Acquire pairs with the Release in make: the mirror is of the section that the word is of, or of a newer one.
        let generation = handle::section_generation(self.word.load(Ordering::Acquire));
        handle_in(copy, index, generation, self.mirror())
    }

    /// Whether the section with this handle is free.
    #[inline(always)]
    pub(crate) fn is_free(&self, handle: u64) -> bool {
        self.word.load(Ordering::Relaxed) == handle
    }

    /// Makes `me` the owner if the section is free.
    #[inline(always)]
    pub(crate) fn try_take(&self, handle: u64, me: TaskRef) -> bool {
        self.word.compare_exchange(handle, handle ^ me.id(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The plain leave: lets a section go whose `attention` was just seen to be 0. By the owner.
    #[inline(always)]
    pub(crate) fn let_go(&self, handle: u64) {
        // Release pairs with the Acquire of the next owner. Not a read-modify-write: see waiting, "no wake-up is lost".
        self.word.store(handle, Ordering::Release);
        sys::light_barrier();
        if self.attention.load(Ordering::Relaxed) != 0 {
            self.wake_after_plain_leave();
        }
    }

    /// The owner has just left by a plain store while a waiter announced itself.
    #[cold]
    fn wake_after_plain_leave(&self) {
        // Puts that store before the look at the waiters: what was seen is that the section is ARMED, and after that only
        // fences order the two sides.
        fence(Ordering::SeqCst);
        preserving_errno(|| self.wake_after_leave());
    }

    /// The owner enters once more. False if it has done so too often to count, or if the slot was never used: its
    /// zero word looks like the caller's to a handle that is the caller's own id.
    #[inline(always)]
    pub(crate) fn reenter(&self) -> bool {
        let entries = self.entries.load(Ordering::Relaxed);
        if entries == 0 || entries == u32::MAX {
            return false;
        }
        self.entries.store(entries + 1, Ordering::Relaxed);
        true
    }

    /// Enters for `me`. A lent section is made an ordinary one first.
    fn enter_as(
        &self,
        handle: u64,
        me: TaskRef,
        option: u32,
        patience: Patience,
        site: usize,
    ) -> Result<bool> {
        loop {
            if bias::is_biased(self.word.load(Ordering::Relaxed) ^ handle) {
                self.revoke(handle);
            }
            match self.owner(handle) {
                None => return Err(Error::Handle),
                Some(0) if self.try_take(handle, me) => break,
                Some(0) => {}
                Some(ABANDONED) => return Err(Error::Abandoned),
                Some(owner) if owner == me.id() => {
                    return if self.reenter() { Ok(true) } else { Err(Error::InvalidOperation) };
                }
                Some(_) => {
                    let deadline = match patience {
                        Patience::None => return Ok(false),
                        Patience::Milliseconds(0) => return Err(Error::Timeout),
                        Patience::Milliseconds(time) => Some(sys::deadline_after(time)),
                        Patience::Unbounded => None,
                    };
                    self.wait(handle, me, Request { option, deadline, site })?;
                    break;
                }
            }
        }
        me.count_entry();
        self.note_owner(me.id(), site);
        Ok(true)
    }

    /// Moves the slot to its next generation, owned by nobody ever; under the queue lock.
    fn make_stale(&self, handle: u64, me: u64) -> Result<()> {
        let index = handle::section_index(handle);
        // After the last generation the slot keeps a word of that generation and is not handed out again.
        let next = (handle::section_generation(handle) + 1).min(LAST_SECTION_GENERATION);
        let stale = handle::section_handle(REGISTRY.copy(), index, next) ^ DESTROYED;
        self.revoke_locked(handle);
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let owner = self.owner(handle).ok_or(Error::Handle)?;
            let mine = me != 0 && owner == me;
            if owner != 0 && owner != ABANDONED && !mine {
                return Err(Error::NotOwner);
            }
            // Acquire: what the last owner did under the section happens before its slot is used anew.
            if self.word.compare_exchange(word, stale, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                if mine {
                    task::of_owner(me).count_leave();
                }
                break;
            }
        }
        self.clear_name();
        Ok(())
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.first_waiter() != 0
    }

    fn clear_name(&self) {
        let name = self.name.load(Ordering::Relaxed);
        if name != 0 {
            REGISTRY.names.at(name).name.set(&[]);
        }
    }

    /// The slot of the section's name, 0 if it never had one.
    pub(crate) fn name_slot(&self) -> u32 {
        // Acquire pairs with the Release in set_name: the slot may be read.
        self.name.load(Ordering::Acquire)
    }

    /// The name, if there is one.
    pub(crate) fn name(&self) -> Option<NameCopy> {
        let slot = self.name_slot();
        (slot != 0).then(|| REGISTRY.names.at(slot).name.get()).filter(|name| !name.is_empty())
    }

    /// What the section with this handle looks like; None if there is no such section in this slot.
    pub(crate) fn info(&self, handle: u64) -> Option<Info> {
        let owner = self.owner(handle)?;
        let (state, recursion) = match owner {
            0 => (State::Free, 0),
            ABANDONED => (State::Abandoned, 0),
            _ if bias::is_biased(self.word.load(Ordering::Relaxed) ^ handle) => {
                (State::Owned, self.lent_entries().max(1))
            }
            _ => (State::Owned, self.entries.load(Ordering::Relaxed)),
        };
        Some(Info {
            state,
            owner: if state == State::Owned { owner } else { 0 },
            recursion,
            waiters: waiting::waiters(self.attention.load(Ordering::Relaxed)),
            spin_count: self.spin_count.load(Ordering::Relaxed),
            contended: self.contended(),
        })
    }

    /// How newcomers to the section with this handle, which names this slot, are to look.
    pub(crate) fn set_spin_policy(&self, handle: u64, spin: SpinPolicy) -> Result<()> {
        let _queue = self.queue_lock.lock();
        // Under this lock the section cannot end: what is written is written to the one with this handle.
        self.owner(handle).ok_or(Error::Handle)?;
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

    pub(crate) fn spin_policy(&self) -> SpinPolicy {
        if self.flags.load(Ordering::Relaxed) & SPIN_COUNT_SET != 0 {
            SpinPolicy::Count(self.spin_count.load(Ordering::Relaxed))
        } else {
            SpinPolicy::Adaptive
        }
    }

    pub(crate) fn contended(&self) -> u64 {
        self.contended.load(Ordering::Relaxed)
    }

    pub(crate) fn count_contended(&self) {
        self.contended.store(self.contended() + 1, Ordering::Relaxed);
    }

    pub(crate) fn entries(&self) -> &AtomicU32 {
        &self.entries
    }

    /// The address of the CRITICAL_SECTION that shows this section, or 0.
    pub(crate) fn mirror(&self) -> usize {
        self.mirror.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn set_mirror(&self, address: usize) {
        self.mirror.store(address as u64, Ordering::Relaxed);
    }

    /// The id of the thread that ended as the owner of a section that stays locked for ever.
    pub(crate) fn orphaned_by(&self, handle: u64) -> Option<u32> {
        let orphaned = self.mirror() != 0 && self.owner(handle) == Some(ABANDONED);
        orphaned.then(|| self.looks.load(Ordering::Relaxed))
    }

    /// Counts a leave by the fenced way, up to what fits. By the owner.
    pub(crate) fn count_leave(&self) -> u32 {
        let leaves = self.leaves.load(Ordering::Relaxed).wrapping_add(1);
        self.leaves.store(leaves, Ordering::Relaxed);
        u32::from(leaves)
    }

    pub(crate) fn reset_leaves(&self) {
        self.leaves.store(0, Ordering::Relaxed);
    }

    /// Slot `index` holds no section, ever: makes its word one that matches no handle.
    pub(crate) fn take(&self, index: u32) {
        self.word.store(handle::section_handle(REGISTRY.copy(), index, 1) ^ DESTROYED, Ordering::Relaxed);
    }

    /// Leaves the section with this handle without an owner, if `id` owned it; its waiters get Abandoned. Whether it is one of
    /// Windows' that stays locked.
    fn abandon(&self, handle: u64, id: u64) -> bool {
        if self.owner(handle) != Some(id) {
            return false;
        }
        let _queue = self.queue_lock.lock();
        // Of two that come for the sections of one task the second finds this done.
        if self.owner(handle) != Some(id) {
            return false;
        }
        if self.mirror() != 0 {
            // As on Windows: locked for ever, and who waits goes on waiting.
            self.looks.store(task::of_owner(id).thread_id(), Ordering::Relaxed);
            self.word.store(handle ^ ABANDONED, Ordering::Release);
            return true;
        }
        self.entries.store(1, Ordering::Relaxed);
        self.word.store(handle ^ ABANDONED, Ordering::Release);
        self.drain(Error::Abandoned);
        false
    }
}

/// Every section with its handle.
pub(crate) fn all() -> impl Iterator<Item = (u64, &'static Section)> {
    let sections = REGISTRY.sections.iter();
    sections.map(|section| (section.handle(REGISTRY.copy(), REGISTRY.sections.index_of(section)), section))
}

/// The task with this id has ended: what it owned is abandoned.
pub(crate) fn abandon_all_of(id: u64) {
    for (handle, section) in all() {
        if section.abandon(handle, id) {
            REGISTRY.win32.count_ended_owner(task::of_owner(id).thread_id(), section.mirror());
        }
    }
}

/// In the child of a fork: nobody waits, and every owner but `me` is gone.
pub(crate) fn abandon_after_fork(me: u64) {
    for (handle, section) in all() {
        waiting::forget_queue_after_fork(section);
        section.unbias_after_fork(handle);
        if let Some(owner) = section.owner(handle)
            && ![0, ABANDONED, me].contains(&owner)
        {
            section.abandon(handle, owner);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn more_entries_than_can_be_counted_are_refused() {
        use crate::error::S_OK;
        use crate::ffi::crst::{hostcrst_enter, hostcrst_enter_timeout, hostcrst_try_enter};
        crate::runtime::start().unwrap();
        let crst = create(SpinPolicy::Adaptive).unwrap();
        assert_eq!(hostcrst_enter(crst, 0), S_OK);
        // As if it had been entered so often.
        slot_of(crst).entries.store(u32::MAX, Ordering::Relaxed);
        let refused = Error::InvalidOperation.hresult();
        let mut entered = 7;
        assert_eq!(hostcrst_enter(crst, 0), refused);
        assert_eq!(hostcrst_enter_timeout(crst, 0, 1), refused);
        // SAFETY: `entered` is valid for writing.
        assert_eq!(unsafe { hostcrst_try_enter(crst, 0, &raw mut entered) }, refused);
        assert_eq!(entered, 0);
        assert_eq!(slot_of(crst).info(crst).unwrap().recursion, u32::MAX);
        destroy(crst).unwrap();
    }

    #[test]
    fn a_slot_is_retired_after_its_last_generation() {
        crate::runtime::start().unwrap();
        let first = create(SpinPolicy::Adaptive).unwrap();
        let index = handle::section_index(first);
        // As if there had been so many sections in the slot.
        let late = handle::section_handle(REGISTRY.copy(), index, LAST_SECTION_GENERATION - 3);
        slot_of(first).word.store(late, Ordering::Relaxed);
        let mut handles = std::vec![late];
        for _ in 0..10 {
            destroy(handles[handles.len() - 1]).unwrap();
            handles.push(create(SpinPolicy::Adaptive).unwrap());
        }
        let in_slot: Vec<_> =
            handles.iter().copied().filter(|&handle| handle::section_index(handle) == index).collect();
        let generations: Vec<_> = in_slot.iter().map(|&handle| handle::section_generation(handle)).collect();
        assert_eq!(generations, [3, 2, 1, 0].map(|left| LAST_SECTION_GENERATION - left));
        assert!(in_slot.iter().all(|&handle| find(handle).is_err()));
        handles.sort();
        handles.dedup();
        assert_eq!(handles.len(), 11);
    }
}
