//! Critical sections and condition variables by Windows' rules, in memory that belongs to the program. Knows nothing of
//! the C types of `ffi`.
//!
//! A CRITICAL_SECTION is the mirror of one section of the core. Its field LockSemaphore holds the handle of that
//! section, a kind of handle that the `hostcrst_*` functions refuse (see `handle`). The section is created when the
//! CRITICAL_SECTION is initialised, or at its first use if it never was: zeroed memory works. Until its first use one that
//! was initialised has NEVER_ENTERED beside the handle: the first use sees whether it is the memory that the section was
//! created for, or a copy of it, which gets a section of its own. The core alone decides who owns the section and who
//! waits; the other fields are published for readers, and no decision depends on them.
//!
//! **Publishing the fields.** Only the owner writes RecursionCount and OwningThread. Bit 0 of LockCount is the owner's,
//! the other bits belong to the holder of the queue lock:
//! - `queue_state` is not 0: each side changes its own bits by a read-modify-write, so neither overwrites the other's.
//! - `queue_state` is 0, there are no waiters: the owner stores the whole word (S) and then reads `queue_state` again
//!   (L).
//!   A first waiter sets ARMED, issues the heavy barrier (H) and then publishes the queue (W). If L came before
//!   H, so did S, and W came after S. If L came after H, it saw ARMED: S may have overwritten W, so the owner
//!   publishes the whole word again under the queue lock. (If the barrier is refused at that moment, S can overwrite W
//!   without either side noticing. The waiters of such a section, FENCE_PENDING in `queue`, publish the queue again
//!   every millisecond, until an owner that has seen them has left. Every later owner sees them, too.)
//!
//! A handler that interrupts the owner may fork, and in the child the owner's thread has another id. The repair there
//! corrects the OwningThread of what it owns, and sets ARMED. The owner stores OwningThread before L: if it stores the
//! former id after the repair, L sees ARMED, and it publishes all again.
//!
//! "Locked" is published before the owner's RecursionCount, and "free" after it is 0: LockCount and RecursionCount,
//! read together as 64 bits, never show recursion in a free section.
//!
//! **When the memory may be accessed.** The program may free a CRITICAL_SECTION as soon as it has owned and left it,
//! even while an earlier owner is still returning from its leave. So an owner does not access it after it has let the
//! section go. After that only the queue is published, and only while it has a waiter; the waiter is inside an Enter of
//! this CRITICAL_SECTION, which every waiter makes the section's mirror.

pub(crate) mod address;
pub(crate) mod once;
pub(crate) mod srw;

use core::fmt::Write;

use crate::constants::WAIT_NOTINDEADLOCK;
use crate::error::{Error, Result};
use crate::handle::{self, ABANDONED, NEVER_ENTERED};
use crate::host::{ends, order, prepare, settings, threads};
use crate::lock::{condition, crst};
use crate::messages;
use crate::state::addresses::ATTACHING;
use crate::state::mirror::{ConditionVariable, CriticalSection, DEBUG_RECORD_BYTES, FREE, FREE_BIT, LOCKED};
use crate::state::misuses::Misuse;
use crate::state::registry::REGISTRY;
use crate::state::section::{Section, SpinPolicy};
use crate::state::task::{self, TaskRef};
use crate::state::wait::{Request, WAIT_WITHOUT_RUNTIME};
use crate::state::{sections, tasks};
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::{self, preserving_errno};
use crate::text::TextBuffer;

/// LockSemaphore of a deleted section; not a handle.
const DELETED: u64 = 4;
/// DebugInfo of a section that keeps no debug information.
const NO_DEBUG_INFO: usize = usize::MAX;

/// SpinCount: the part that counts, and the flag that says the library chooses.
const SPIN_COUNT_BITS: u32 = 0x00FF_FFFF;
const DYNAMIC_SPIN: u32 = 0x0200_0000;
/// The flags of InitializeCriticalSectionEx that Windows names: NO_DEBUG_INFO, DYNAMIC_SPIN, STATIC_INIT,
/// RESOURCE_TYPE, FORCE_DEBUG_INFO.
const KNOWN_FLAGS: u32 = 0x1F00_0000;

/// The flag that asks for a debug record.
const FORCE_DEBUG_INFO: u32 = 0x1000_0000;

/// A wait here does not depend on the runtime and cannot fail.
pub(crate) const WAIT: u32 = WAIT_WITHOUT_RUNTIME | WAIT_NOTINDEADLOCK;

/// How long an Enter that can neither fail nor wait in the queue sleeps before it tries again.
pub(crate) const NAP: u64 = 1_000_000;

/// Windows' error codes.
pub(crate) const ERROR_NOT_ENOUGH_MEMORY: u32 = 8;
pub(crate) const ERROR_GEN_FAILURE: u32 = 31;
pub(crate) const ERROR_INVALID_PARAMETER: u32 = 87;
pub(crate) const ERROR_NOT_OWNER: u32 = 288;
pub(crate) const ERROR_TIMEOUT: u32 = 1460;

/// A Windows error code.
pub(crate) type Win32Result = core::result::Result<(), u32>;

// ---- initialise, delete -----------------------------------------------------------------------------------

/// How a section is to spin, and what SpinCount shows of it.
#[derive(Clone, Copy)]
pub(crate) enum Spin {
    Chosen,
    Count(u32),
}

impl Spin {
    /// Of InitializeCriticalSectionAndSpinCount, which ignores the upper 8 bits of the count.
    pub(crate) const fn of_count(count: u32) -> Self {
        Spin::Count(count & SPIN_COUNT_BITS)
    }

    /// Of InitializeCriticalSectionEx.
    pub(crate) const fn of_count_and_flags(count: u32, flags: u32) -> core::result::Result<Self, u32> {
        if count & !SPIN_COUNT_BITS != 0 || flags & !KNOWN_FLAGS != 0 {
            Err(ERROR_INVALID_PARAMETER)
        } else if flags & DYNAMIC_SPIN != 0 {
            Ok(Spin::Chosen)
        } else {
            Ok(Spin::Count(count))
        }
    }

    /// As on Windows, a count is 0 where there is one processor.
    fn possible(self) -> Self {
        match self {
            Spin::Count(_) if !REGISTRY.spinning_helps() => Spin::Count(0),
            spin => spin,
        }
    }

    /// Of the SpinCount field of memory that was never initialised.
    fn of_field(field: u32) -> Self {
        match field & SPIN_COUNT_BITS {
            0 => Spin::Chosen,
            count => Spin::Count(count),
        }
    }

    /// Of the SpinCount field as `begin` has set it.
    fn of_initialized_field(field: u32) -> Self {
        if field & DYNAMIC_SPIN != 0 { Spin::Chosen } else { Spin::of_count(field) }
    }

    fn field(self) -> usize {
        match self {
            Spin::Chosen => DYNAMIC_SPIN as usize,
            Spin::Count(count) => count as usize,
        }
    }

    fn policy(self) -> SpinPolicy {
        match self {
            Spin::Chosen => SpinPolicy::Adaptive,
            Spin::Count(count) => SpinPolicy::Count(count),
        }
    }
}

/// Initialises the memory, whatever it contained. On failure nothing is changed.
pub(crate) fn initialize(mirror: &CriticalSection, spin: Spin) -> Win32Result {
    preserving_errno(|| {
        let handle = prepare().and_then(|()| mirror.make(spin.possible()));
        let handle = handle.map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
        mirror.begin(spin.possible(), handle | NEVER_ENTERED);
        Ok(())
    })
}

/// Gives a section that was just initialised the process's debug record, if the flags of InitializeCriticalSectionEx ask
/// for one: what code writes there is nobody's, but it may write.
pub(crate) fn set_debug_record(mirror: &CriticalSection, flags: u32) {
    static RECORD: [AtomicU64; DEBUG_RECORD_BYTES / 8] =
        [const { AtomicU64::new(0) }; DEBUG_RECORD_BYTES / 8];
    if flags & FORCE_DEBUG_INFO != 0 {
        mirror.debug_info.store(RECORD.as_ptr() as usize, Ordering::Relaxed);
    }
}

/// As initialize, but cannot fail: without memory the section is created at its first use.
pub(crate) fn initialize_in_any_case(mirror: &CriticalSection) {
    if initialize(mirror, Spin::Chosen).is_err() {
        mirror.begin(Spin::Chosen, 0);
    }
}

/// Deletes a section that no other thread owns or waits for; refused and counted otherwise. `site` is the call site.
pub(crate) fn delete(mirror: &CriticalSection, site: usize) {
    let semaphore = mirror.handle();
    let is_unused = semaphore == 0 || semaphore & NEVER_ENTERED != 0 && mirror.named().is_none();
    if !is_unused {
        let deleted = preserving_errno(|| ends::retire(semaphore & !NEVER_ENTERED));
        if let Err(error) = deleted {
            let in_use = error == Error::NotOwner || is_anothers(semaphore);
            let misuse = if in_use { Misuse::DeleteInUse } else { Misuse::UseAfterDelete };
            REGISTRY.win32.tell(misuse, mirror.address(), site);
            if in_use {
                return;
            }
        }
    }
    mirror.debug_info.store(0, Ordering::Relaxed);
    mirror.recursion_count.store(0, Ordering::Relaxed);
    mirror.owning_thread.store(0, Ordering::Relaxed);
    mirror.lock_count.store(FREE, Ordering::Relaxed);
    mirror.spin_count.store(0, Ordering::Relaxed);
    let _ = mirror.lock_semaphore.compare_exchange(semaphore, DELETED, Ordering::Release, Ordering::Relaxed);
}

/// Sets the spin count. Returns the previous one.
pub(crate) fn set_spin_count(mirror: &CriticalSection, count: u32) -> u32 {
    preserving_errno(|| {
        let _ = prepare();
        let spin = Spin::of_count(count).possible();
        let before = mirror.spin_count.swap(spin.field(), Ordering::Relaxed);
        // Memory without a section: the field is read when one is created.
        if let Some((handle, section)) = mirror.named() {
            let _ = section.set_spin_policy(handle, spin.policy());
        }
        before as u32 & SPIN_COUNT_BITS
    })
}

/// The section, unless it is not aligned.
pub(crate) fn aligned(section: *mut CriticalSection) -> core::result::Result<*mut CriticalSection, u32> {
    if section.is_aligned() { Ok(section) } else { Err(ERROR_INVALID_PARAMETER) }
}

/// Ends the process: an atomic operation across two cache lines is slow on some processors and a fault on others, and
/// Enter cannot fail.
#[cold]
#[inline(never)]
pub(crate) fn end_misaligned(address: usize) -> ! {
    let mut line = TextBuffer::<64>::new();
    let _ = write!(line, "CRITICAL_SECTION 0x{address:x}");
    messages::complain(&[line.bytes(), b" is not aligned to 8 bytes. The process ends"]);
    sys::abort()
}

/// Whether a LockSemaphore names a section of another copy of the library.
fn is_anothers(semaphore: u64) -> bool {
    handle::win32_copy(semaphore & !NEVER_ENTERED).is_some_and(|copy| REGISTRY.is_copy(copy))
}

pub(crate) fn prepare() -> Result<()> {
    prepare::prepare()?;
    settings::read_once();
    Ok(())
}

impl CriticalSection {
    fn address(&self) -> usize {
        self as *const CriticalSection as usize
    }

    /// What LockSemaphore holds: the handle of the section this names, if a thread has entered it.
    #[inline(always)]
    fn handle(&self) -> u64 {
        // Acquire pairs with the Release in create_and_attach, begin and named_from_now_on.
        self.lock_semaphore.load(Ordering::Acquire)
    }

    /// Sets the fields of an initialised section. Reads none of them: they may never have been written.
    fn begin(&self, spin: Spin, semaphore: u64) {
        self.debug_info.store(NO_DEBUG_INFO, Ordering::Relaxed);
        self.lock_count.store(FREE, Ordering::Relaxed);
        self.recursion_count.store(0, Ordering::Relaxed);
        self.owning_thread.store(0, Ordering::Relaxed);
        self.spin_count.store(spin.field(), Ordering::Relaxed);
        self.lock_semaphore.store(semaphore, Ordering::Release);
    }

    /// Creates a section whose mirror this is.
    fn make(&self, spin: Spin) -> Result<u64> {
        let handle = crst::make(spin.policy(), self.address())?;
        if REGISTRY.addresses.count() >= WARN_AT_SECTIONS {
            MANY_SECTIONS.say();
        }
        Ok(handle)
    }

    /// The section this names, created now if it names none. `site` is the call site.
    #[cold]
    fn attach(&self, site: usize) -> Result<u64> {
        if let Some(handle) = self.named_from_now_on() {
            return Ok(handle);
        }
        prepare()?;
        let (handle, semaphore) = self.create_and_attach()?;
        // It named a section that has ended, or was never a handle; or it is the copy of one that nobody had entered.
        if semaphore != 0 && semaphore & NEVER_ENTERED == 0 {
            REGISTRY.win32.tell(Misuse::UseAfterDelete, self.address(), site);
        }
        Ok(handle)
    }

    /// The section this names, if it names one. Memory that was copied before a thread entered names none.
    fn named(&self) -> Option<(u64, &'static Section)> {
        let semaphore = self.handle();
        let handle = semaphore & !NEVER_ENTERED;
        let section = sections::find_win32(handle).ok()?;
        (semaphore == handle || section.mirror() == self.address()).then_some((handle, section))
    }

    /// As named; from now on a copy of this memory names the same section.
    fn named_from_now_on(&self) -> Option<u64> {
        let (handle, _) = self.named()?;
        let never_entered = handle | NEVER_ENTERED;
        if self.handle() == never_entered {
            // Another thread may have done the same.
            let _ = self.lock_semaphore.compare_exchange(
                never_entered,
                handle,
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
        Some(handle)
    }

    /// As attach; also returns the former LockSemaphore, 0 if another thread has attached a section meanwhile. Fails
    /// with InvalidOperation if it names a section of another copy of the library, which a thread may own.
    fn create_and_attach(&self) -> Result<(u64, u64)> {
        // One thread at a time: a second one would retire this section as a stale one in the same memory.
        // place: attach-lock
        let _attaching = ATTACHING.lock();
        if let Some(handle) = self.named_from_now_on() {
            return Ok((handle, 0));
        }
        let semaphore = self.lock_semaphore.load(Ordering::Relaxed);
        if is_anothers(semaphore) {
            return Err(Error::InvalidOperation);
        }
        let field = self.spin_count.load(Ordering::Relaxed) as u32;
        let is_initialized = semaphore & NEVER_ENTERED != 0;
        let spin = if is_initialized { Spin::of_initialized_field(field) } else { Spin::of_field(field) };
        let handle = self.make(spin.possible())?;
        // Zeroed memory; no section ever has LockCount 0.
        let _ = self.lock_count.compare_exchange(0, FREE, Ordering::Relaxed, Ordering::Relaxed);
        // Release pairs with the Acquire in handle.
        self.lock_semaphore.store(handle, Ordering::Release);
        Ok((handle, semaphore))
    }

    // ---- publishing the fields ----------------------------------------------------------------------------

    /// Publishes who has just become the owner; before publish_state, which sees whether the thread has got another id
    /// meanwhile, in the child of a fork.
    #[inline(always)]
    fn publish_owner(&self, me: TaskRef) {
        self.owning_thread.store(me.thread_id() as usize, Ordering::Relaxed);
    }

    /// As publish_owner, where publish_state has seen something.
    #[inline]
    fn publish_owner_slow(&self, me: TaskRef) {
        loop {
            let thread = me.thread_id();
            self.owning_thread.store(thread as usize, Ordering::Relaxed);
            sys::light_barrier();
            if me.thread_id() == thread {
                return;
            }
        }
    }

    /// Publishes the owner's recursion; after "locked" was published.
    #[inline(always)]
    fn publish_entries(&self, entries: u32) {
        // Release: not visible before "locked".
        self.recursion_count.store(entries as i32, Ordering::Release);
    }

    /// Publishes FREE or LOCKED, as the owner.
    #[inline(always)]
    fn publish_state(&self, section: &Section, state: i32) -> Published {
        let queue_state = section.queue_state();
        if queue_state.load(Ordering::Relaxed) != 0 {
            return Published::QueueInUse;
        }
        // Release: "free" is not visible before RecursionCount 0.
        self.lock_count.store(state, Ordering::Release);
        sys::light_barrier();
        if queue_state.load(Ordering::Relaxed) == 0 { Published::Done } else { Published::QueueAppeared }
    }

    /// Completes a publish_state that returned `how_far`.
    #[inline(always)]
    fn publish_state_slow(&self, section: &Section, state: i32, how_far: Published) {
        match how_far {
            Published::Done => {}
            Published::QueueInUse => self.publish_free_bit(state),
            Published::QueueAppeared => self.republish(section, state),
        }
    }

    /// Publishes that `me` has entered, once; `how_far` publish_state got.
    fn publish_entry_slow(&self, section: &Section, me: TaskRef, how_far: Published) {
        self.publish_state_slow(section, LOCKED, how_far);
        self.publish_owner_slow(me);
        self.publish_entries(1);
    }

    #[inline(always)]
    fn publish_free_bit(&self, state: i32) {
        match state & FREE_BIT {
            0 => self.lock_count.fetch_and(!FREE_BIT, Ordering::Release),
            _ => self.lock_count.fetch_or(FREE_BIT, Ordering::Release),
        };
    }

    #[cold]
    fn republish(&self, section: &Section, state: i32) {
        preserving_errno(|| {
            let _queue = section.lock_queue();
            self.lock_count.store(section.published_queue().lock_count(state), Ordering::Release);
        });
    }
}

/// The result of publish_state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Done,
    /// Not done: others publish the queue, so a read-modify-write is needed.
    QueueInUse,
    /// Stored, but others began to publish the queue, which the store may have overwritten.
    QueueAppeared,
}

// ---- enter, leave -----------------------------------------------------------------------------------------

/// How far the fast path of an Enter got. The caller makes the slow path a tail call, so that the fast path needs no
/// stack frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastEnter {
    Done,
    /// Entered, but the fields are not published: publish_entry.
    Unpublished(Published),
    /// Not entered: enter_slowly.
    No,
}

/// Enters a section that is free or the caller's, if nothing unusual is needed.
#[inline(always)]
pub(crate) fn enter_fast(mirror: &CriticalSection) -> FastEnter {
    // The thread is a task, so the registry is ready and slots can be read.
    let Some((id, me)) = task::current_with_id() else { return FastEnter::No };
    if REGISTRY.runtime.is_watching() {
        return FastEnter::No;
    }
    let handle = mirror.handle();
    let section = sections::win32_slot_of(handle);
    let word = section.word().load(Ordering::Relaxed);
    if word != handle {
        if word != handle ^ id || !section.reenter() {
            return FastEnter::No;
        }
        mirror.publish_entries(section.entries().load(Ordering::Relaxed));
        return FastEnter::Done;
    }
    // Acquire pairs with the Release of the last leave.
    if section.word().compare_exchange(handle, handle ^ id, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return FastEnter::No;
    }
    me.count_entry();
    mirror.publish_owner(me);
    match mirror.publish_state(section, LOCKED) {
        Published::Done => {}
        how_far => return FastEnter::Unpublished(how_far),
    }
    mirror.publish_entries(1);
    FastEnter::Done
}

/// Publishes that the caller has just entered a section that has, or recently had, waiters. Returns 1, for TryEnter.
#[cold]
pub(crate) fn publish_entry(mirror: &CriticalSection, how_far: Published) -> i32 {
    if let Some(me) = task::current_if_any() {
        mirror.publish_entry_slow(sections::win32_slot_of(mirror.handle()), me, how_far);
    }
    1
}

/// Enters if enter_fast could not; false only if another thread owns the section and the caller is not `patient`.
/// `site` is the call site, 0 if unknown.
#[cold]
pub(crate) fn enter_slowly(mirror: &CriticalSection, patient: bool, site: usize) -> bool {
    preserving_errno(|| {
        loop {
            let prepared = mirror.attach(site).and_then(|handle| Ok((handle, threads::current()?)));
            let entered = match prepared {
                Ok((handle, me)) => enter_section(mirror, handle, me, patient, site),
                Err(_) if !patient => Some(false),
                Err(Error::InvalidOperation) => {
                    OF_ANOTHER_COPY.nap();
                    None
                }
                Err(_) => {
                    abort_if_full(mirror);
                    NO_MEMORY.nap();
                    None
                }
            };
            if let Some(entered) = entered {
                return entered;
            }
        }
    })
}

/// None if the section has ended meanwhile.
fn enter_section(
    mirror: &CriticalSection,
    handle: u64,
    me: TaskRef,
    patient: bool,
    site: usize,
) -> Option<bool> {
    // It was found just now.
    let section = sections::any_slot_of(handle);
    loop {
        match section.owner(handle)? {
            0 if section.try_take(handle, me) => break,
            0 => {}
            owner if owner == me.id() => {
                if section.reenter() {
                    mirror.publish_entries(section.entries().load(Ordering::Relaxed));
                    return Some(true);
                }
                REGISTRY.win32.tell(Misuse::TooManyEntries, mirror.address(), site);
                return Some(patient);
            }
            _ if !patient => return Some(false),
            _ if me.wait.is_under_way() => IN_HANDLER.nap(),
            owner => {
                if section.mirror() != mirror.address()
                    && set_mirror(section, handle, mirror)?
                    && is_entered_elsewhere(section, handle, mirror)
                {
                    REGISTRY.win32.tell(Misuse::Copied, mirror.address(), site);
                }
                if owner == ABANDONED {
                    REGISTRY.win32.tell(Misuse::EnterAfterOwnerEnded, mirror.address(), site);
                }
                section.wait(handle, me, Request { option: WAIT, deadline: None, site }).ok()?;
                break;
            }
        }
    }
    me.count_entry();
    section.note_owner(me.id(), site);
    mirror.publish_entry_slow(section, me, mirror.publish_state(section, LOCKED));
    order::note_entry(me, handle, site, patient);
    Some(true)
}

/// Makes this memory the section's mirror: the program may have moved it since the section was created. Returns whether
/// it has.
fn set_mirror(section: &Section, handle: u64, mirror: &CriticalSection) -> Option<bool> {
    let _queue = section.lock_queue();
    section.owner(handle)?;
    let moved = section.mirror() != mirror.address();
    if moved {
        REGISTRY.addresses.change(handle::section_index(handle), mirror.address());
    }
    Some(moved)
}

/// Whether the owner has entered through another copy of this memory: it has had time to publish itself here, and has
/// not.
fn is_entered_elsewhere(section: &Section, handle: u64, mirror: &CriticalSection) -> bool {
    const TIME: u64 = 1_000_000;
    let owner = || section.owner(handle).filter(|&owner| owner != 0 && owner != ABANDONED);
    let Some(before) = owner() else { return false };
    let is_shown =
        || mirror.owning_thread.load(Ordering::Relaxed) == tasks::of_owner(before).thread_id() as usize;
    if is_shown() {
        return false;
    }
    // The owner may be between entering and publishing that.
    sys::nap(TIME);
    owner() == Some(before) && !is_shown()
}

/// Ends the process if every place for a section is taken: waiting would not end, as a program gets there by not
/// deleting sections.
fn abort_if_full(mirror: &CriticalSection) {
    if mirror.named().is_none() && REGISTRY.is_ready() && REGISTRY.sections.is_full() {
        let mut line = TextBuffer::<128>::new();
        let sections = REGISTRY.sections.live();
        let _ = write!(line, "no place for CRITICAL_SECTION {:p}: all {sections} are in use. ", mirror);
        messages::complain(&[line.bytes(), b"Were they deleted? The process ends"]);
        sys::abort();
    }
}

/// A message that is written to stderr once in a process.
pub(crate) struct OnceMessage {
    text: &'static [u8],
    was_said: AtomicU32,
}

/// Why an Enter that can neither fail nor wait in the queue tries again and again.
static NO_MEMORY: OnceMessage =
    OnceMessage::new(b"out of memory: EnterCriticalSection waits until there is some");
static OF_ANOTHER_COPY: OnceMessage = OnceMessage::new(
    b"a CRITICAL_SECTION is used by two copies of the library in this process: EnterCriticalSection waits, in the one that \
      did not make it, until it is initialised anew; have all parts of the program use one libhostcrst.so",
);
static IN_HANDLER: OnceMessage = OnceMessage::new(
    b"EnterCriticalSection in a signal handler that interrupted a wait has to wait: no report shows that",
);
/// So many live sections suggest that the program does not delete them.
const WARN_AT_SECTIONS: u32 = 1_000_000;
static MANY_SECTIONS: OnceMessage = OnceMessage::new(
    b"a million CRITICAL_SECTIONs are in use: are they deleted? Where all places are taken, the process ends",
);

impl OnceMessage {
    pub(crate) const fn new(text: &'static [u8]) -> Self {
        OnceMessage { text, was_said: AtomicU32::new(0) }
    }

    #[cold]
    fn say(&self) {
        if self.was_said.load(Ordering::Relaxed) == 0 && self.was_said.swap(1, Ordering::Relaxed) == 0 {
            messages::complain(&[self.text]);
        }
    }

    /// Writes the message and sleeps for a moment.
    #[cold]
    pub(crate) fn nap(&self) {
        self.say();
        sys::nap(NAP);
        sys::settle_fork();
    }
}

/// Leaves once; the last leave releases the section. False if the caller is not the owner: leave_refused.
#[inline(always)]
pub(crate) fn leave(mirror: &CriticalSection) -> bool {
    let Some((id, me)) = task::current_with_id() else { return false };
    let handle = mirror.handle();
    let section = sections::win32_slot_of(handle);
    if section.word().load(Ordering::Relaxed) != handle ^ id {
        return false;
    }
    let entries = section.entries().load(Ordering::Relaxed);
    if entries != 1 {
        // Only a slot that was never used has 0: see handle, "every 64-bit value".
        if entries == 0 {
            return false;
        }
        section.entries().store(entries - 1, Ordering::Relaxed);
        mirror.publish_entries(entries - 1);
        return true;
    }
    me.count_leave();
    mirror.recursion_count.store(0, Ordering::Relaxed);
    mirror.owning_thread.store(0, Ordering::Relaxed);
    match mirror.publish_state(section, FREE) {
        Published::Done => section.leave_plain(handle),
        how_far => leave_contended(mirror, section, handle, how_far),
    }
    true
}

/// The caller's last leave of a section that has, or recently had, waiters.
#[cold]
fn leave_contended(mirror: &CriticalSection, section: &Section, handle: u64, how_far: Published) {
    mirror.publish_state_slow(section, FREE, how_far);
    preserving_errno(|| section.leave_contended(handle));
}

/// Counts a leave by a thread that is not the owner. `site` is the call site.
#[cold]
pub(crate) fn leave_refused(mirror: &CriticalSection, site: usize) {
    let ended = preserving_errno(|| retire_replaced(mirror));
    let misuse = if ended { Misuse::InitializeInUse } else { Misuse::LeaveByOther };
    REGISTRY.win32.tell(misuse, mirror.address(), site);
}

/// Retires the caller's section that this memory named before the program initialised it again, if there is one. Its
/// waiters then read the memory again, and find the new section.
fn retire_replaced(mirror: &CriticalSection) -> bool {
    let Some(me) = task::current_if_any().filter(|me| me.owned() != 0) else { return false };
    let was_mine = |handle, section: &Section| section.owner(handle) == Some(me.id());
    let found = REGISTRY.addresses.find(mirror.address(), was_mine);
    found.is_some_and(|handle| crst::retire_with_waiters(handle).is_ok())
}

// ---- condition variables ----------------------------------------------------------------------------------

/// Sets the variable to zeros, and wakes what sleeps on it.
pub(crate) fn initialize_variable(variable: &ConditionVariable) {
    preserving_errno(|| condition::initialize(variable));
}

/// Leaves the section, sleeps until woken or until the time limit, and enters the section again.
pub(crate) fn sleep(
    variable: &ConditionVariable,
    mirror: &CriticalSection,
    milliseconds: u32,
    site: usize,
) -> Win32Result {
    let me = entered_once(mirror, site)?;
    preserving_errno(|| {
        let deadline = (milliseconds != u32::MAX).then(|| sys::deadline_after(milliseconds));
        let request = condition::Request { section: mirror.handle(), deadline, site };
        let number = condition::join(variable, me, request);
        leave(mirror);
        let in_time = condition::sleep(me, number, deadline);
        match enter_fast(mirror) {
            FastEnter::Done => {}
            FastEnter::Unpublished(how_far) => _ = publish_entry(mirror, how_far),
            FastEnter::No => _ = enter_slowly(mirror, true, site),
        }
        if in_time { Ok(()) } else { Err(ERROR_TIMEOUT) }
    })
}

/// The calling thread's task, if it has entered the section exactly once.
fn entered_once(mirror: &CriticalSection, site: usize) -> core::result::Result<TaskRef, u32> {
    let handle = mirror.handle();
    let owner = task::current_with_id()
        .filter(|(id, _)| sections::win32_slot_of(handle).word().load(Ordering::Relaxed) == handle ^ id);
    match owner {
        Some((_, me)) if sections::win32_slot_of(handle).entries().load(Ordering::Relaxed) == 1 => {
            return Ok(me);
        }
        _ => REGISTRY.win32.tell(Misuse::SleepNotEnteredOnce, mirror.address(), site),
    }
    Err(if owner.is_some() { ERROR_INVALID_PARAMETER } else { ERROR_NOT_OWNER })
}

/// Wakes one sleeper, if there is one.
pub(crate) fn wake_one(variable: &ConditionVariable) {
    if variable.may_sleep.load(Ordering::Relaxed) != 0 {
        preserving_errno(|| condition::wake(variable, 1));
    }
}

/// Wakes all sleepers.
pub(crate) fn wake_all(variable: &ConditionVariable) {
    if variable.may_sleep.load(Ordering::Relaxed) != 0 {
        preserving_errno(|| condition::wake(variable, u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::win32::{hostcrst_cs_delete, hostcrst_cs_enter, hostcrst_cs_try_enter};

    #[test]
    fn the_known_flags_are_those_of_the_header() {
        let header = include_str!("../../include/hostcrst/win32.h");
        let flag = |line: &str| {
            let (name, value) = line.strip_prefix("#define RTL_CRITICAL_SECTION_FLAG_")?.split_once(" 0x")?;
            let value = u32::from_str_radix(value, 16).unwrap();
            assert!(name != "DYNAMIC_SPIN" || value == DYNAMIC_SPIN);
            Some(value)
        };
        let flags = header.lines().filter_map(flag);
        assert_eq!(flags.fold(0, |all, flag| all | flag), KNOWN_FLAGS);
    }

    fn too_many_entries() -> u32 {
        REGISTRY.win32.all().find(|(misuse, ..)| *misuse == Misuse::TooManyEntries).unwrap().1
    }

    #[test]
    fn more_entries_than_can_be_counted_are_counted_as_misuse() {
        // SAFETY: zeroed memory is a CRITICAL_SECTION.
        let mut section: CriticalSection = unsafe { core::mem::zeroed() };
        let mirror = &raw mut section;
        // SAFETY: the section stays in place, here and below.
        unsafe { hostcrst_cs_enter(mirror) };
        let entries = sections::find_win32(section.handle()).unwrap().entries();
        // As if it had been entered that often.
        entries.store(u32::MAX, Ordering::Relaxed);
        let before = too_many_entries();
        // SAFETY: as above.
        unsafe {
            hostcrst_cs_enter(mirror);
            assert_eq!(hostcrst_cs_try_enter(mirror), 0);
        }
        assert_eq!(entries.load(Ordering::Relaxed), u32::MAX);
        assert_eq!(too_many_entries(), before + 2);
        // SAFETY: as above.
        unsafe { hostcrst_cs_delete(mirror) };
    }
}
