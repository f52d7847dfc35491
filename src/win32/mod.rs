//! Critical sections and condition variables by Windows' rules, in memory of the program's.
//!
//! A CRITICAL_SECTION names one section of the core: its field LockSemaphore holds that section's handle, which is of a
//! kind of its own (see `handle`): no handle of the host's. A section is made when the CRITICAL_SECTION is initialised, or at its first use
//! where it never was: zeroed memory works. Who owns it, who waits and what a report shows is the core's business. The
//! other fields are a picture of it, drawn for whoever reads them; nothing is decided by them.
//!
//! **The picture.** RecursionCount and OwningThread are written by the owner alone. Of LockCount bit 0 is the owner's,
//! the rest belongs to whoever holds the queue lock:
//! - `queue_state` is not 0: either side changes its own bits by a read-modify-write, so neither undoes the other's.
//! - `queue_state` is 0, nobody waits: the owner stores the whole word without one (S) and then looks at `queue_state`
//!   again (L). A first waiter sets ARMED, issues the heavy barrier (H) and then draws the queue (W). If L came before
//!   H, so did S, and W was drawn on top of it. If L came after H, it saw ARMED: the owner may have wiped out W, so it
//!   draws the whole word again under the queue lock. (Where the barrier is refused just then, S can wipe W out
//!   unnoticed. The waiters of such a section, FENCE_PENDING in `queue`, draw the queue again every millisecond, until an
//!   owner has left who knew of them. Each owner after that one does.)
//!
//! Locked is shown before an owner's RecursionCount, and free after it is 0: LockCount and RecursionCount, read at
//! once as 64 bits, never show entries in a free section.
//!
//! **When the memory may be touched.** The program may free a CRITICAL_SECTION as soon as it owned and left it, even
//! while an earlier owner is still on its way out of the leave. So an owner touches it until it lets the section go and
//! not after. What is drawn after that is the queue, only while somebody is in it, and that is somebody inside an
//! Enter with this very CRITICAL_SECTION, which every waiter makes the section's mirror.

use core::fmt::Write;

use crate::constants::WAIT_NOTINDEADLOCK;
use crate::error::{Error, Result};
use crate::handle::{self, ABANDONED};
use crate::host::{prepare, settings, threads};
use crate::lock::queue::Request;
use crate::lock::{condition, crst};
use crate::messages;
use crate::state::addresses::ATTACHING;
use crate::state::mirror::{ConditionVariable, CriticalSection, FREE, FREE_BIT, LOCKED};
use crate::state::misuses::Misuse;
use crate::state::registry::REGISTRY;
use crate::state::section::{Section, SpinPolicy};
use crate::state::task::{self, TaskRef};
use crate::state::wait::WAIT_WITHOUT_RUNTIME;
use crate::state::{sections, tasks};
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::{self, preserving_errno};
use crate::text::Text;

/// LockSemaphore of a deleted section: no handle.
const DELETED: u64 = 4;
/// DebugInfo of a section that keeps no debug information.
const NO_DEBUG_INFO: usize = usize::MAX;

/// SpinCount: the part that counts, and the flag that says the library chooses.
const SPIN_COUNT_BITS: u32 = 0x00FF_FFFF;
const DYNAMIC_SPIN: u32 = 0x0200_0000;
/// The flags of InitializeCriticalSectionEx that Windows has names for: NO_DEBUG_INFO, DYNAMIC_SPIN, STATIC_INIT,
/// RESOURCE_TYPE, FORCE_DEBUG_INFO.
const KNOWN_FLAGS: u32 = 0x1F00_0000;

/// A wait here depends on no runtime and cannot fail.
const WAIT: u32 = WAIT_WITHOUT_RUNTIME | WAIT_NOTINDEADLOCK;

/// How long an Enter that can neither fail nor wait in the queue sleeps before it tries again.
const NAP: u64 = 1_000_000;

/// Codes of Windows for what can go wrong.
pub(crate) const ERROR_NOT_ENOUGH_MEMORY: u32 = 8;
pub(crate) const ERROR_INVALID_PARAMETER: u32 = 87;
pub(crate) const ERROR_NOT_OWNER: u32 = 288;
pub(crate) const ERROR_TIMEOUT: u32 = 1460;

/// A Windows error code.
type Win32Result = core::result::Result<(), u32>;

// ---- initialise, delete -----------------------------------------------------------------------------------

/// How a section is to spin, and what SpinCount shows of it.
#[derive(Clone, Copy)]
pub(crate) enum Spin {
    Chosen,
    Count(u32),
}

impl Spin {
    /// InitializeCriticalSectionAndSpinCount: the upper 8 bits of the count meant something else once.
    pub(crate) const fn of_count(count: u32) -> Self {
        Spin::Count(count & SPIN_COUNT_BITS)
    }

    /// InitializeCriticalSectionEx.
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

    /// Of memory that was never initialised.
    fn of_field(field: u32) -> Self {
        match field & SPIN_COUNT_BITS {
            0 => Spin::Chosen,
            count => Spin::Count(count),
        }
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

/// Begins anew, whatever the memory held. On failure nothing is changed.
pub(crate) fn initialize(shown: &CriticalSection, spin: Spin) -> Win32Result {
    preserving_errno(|| {
        let handle = prepare().and_then(|()| shown.make(spin.possible()));
        let handle = handle.map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
        shown.begin(spin.possible(), handle);
        Ok(())
    })
}

/// As initialize, but cannot fail: without memory the section is made at its first use.
pub(crate) fn initialize_in_any_case(shown: &CriticalSection) {
    if initialize(shown, Spin::Chosen).is_err() {
        shown.begin(Spin::Chosen, 0);
    }
}

/// Ends a section that nobody else uses; refused and counted otherwise. `site` is where the caller called from.
pub(crate) fn delete(shown: &CriticalSection, site: usize) {
    let semaphore = shown.lock_semaphore.load(Ordering::Acquire);
    if semaphore != 0 {
        let deleted = preserving_errno(|| crst::retire(semaphore));
        if let Err(error) = deleted {
            let in_use = error == Error::NotOwner || is_anothers(semaphore);
            let misuse = if in_use { Misuse::DeleteInUse } else { Misuse::UseAfterDelete };
            REGISTRY.win32.count(misuse, shown.address(), site);
            if in_use {
                return;
            }
        }
    }
    shown.debug_info.store(0, Ordering::Relaxed);
    shown.recursion_count.store(0, Ordering::Relaxed);
    shown.owning_thread.store(0, Ordering::Relaxed);
    shown.lock_count.store(FREE, Ordering::Relaxed);
    shown.spin_count.store(0, Ordering::Relaxed);
    let _ = shown.lock_semaphore.compare_exchange(semaphore, DELETED, Ordering::Release, Ordering::Relaxed);
}

/// Sets how often a newcomer looks before it waits. Returns the count until now.
pub(crate) fn set_spin_count(shown: &CriticalSection, count: u32) -> u32 {
    preserving_errno(|| {
        let _ = prepare();
        let spin = Spin::of_count(count).possible();
        let before = shown.spin_count.swap(spin.field(), Ordering::Relaxed);
        // Of memory that names no section the field is read when one is made.
        let handle = shown.handle();
        if let Ok(section) = sections::find_win32(handle) {
            let _ = section.set_spin_policy(handle, spin.policy());
        }
        before as u32 & SPIN_COUNT_BITS
    })
}

/// The section, unless it is not aligned.
pub(crate) fn aligned(section: *mut CriticalSection) -> core::result::Result<*mut CriticalSection, u32> {
    if section.is_aligned() { Ok(section) } else { Err(ERROR_INVALID_PARAMETER) }
}

/// A lock across two cache lines is slow on some processors and a fault on others, and Enter cannot fail.
#[cold]
#[inline(never)]
pub(crate) fn end_misaligned(address: usize) -> ! {
    let mut line = Text::<64>::new();
    let _ = write!(line, "CRITICAL_SECTION 0x{address:x}");
    messages::complain(&[line.bytes(), b" is not aligned to 8 bytes. The process ends"]);
    sys::abort()
}

/// Whether a LockSemaphore names a section of another copy of the library.
fn is_anothers(semaphore: u64) -> bool {
    handle::win32_copy(semaphore).is_some_and(|copy| REGISTRY.is_copy(copy))
}

fn prepare() -> Result<()> {
    prepare::prepare()?;
    settings::read_once();
    Ok(())
}

impl CriticalSection {
    fn address(&self) -> usize {
        self as *const CriticalSection as usize
    }

    /// The handle of the section this names, if it names one.
    #[inline(always)]
    fn handle(&self) -> u64 {
        // Acquire pairs with the Release of whoever attached the section.
        self.lock_semaphore.load(Ordering::Acquire)
    }

    /// Fields as after an initialisation. Reads none of them: they may never have been written.
    fn begin(&self, spin: Spin, semaphore: u64) {
        self.debug_info.store(NO_DEBUG_INFO, Ordering::Relaxed);
        self.lock_count.store(FREE, Ordering::Relaxed);
        self.recursion_count.store(0, Ordering::Relaxed);
        self.owning_thread.store(0, Ordering::Relaxed);
        self.spin_count.store(spin.field(), Ordering::Relaxed);
        self.lock_semaphore.store(semaphore, Ordering::Release);
    }

    /// A section that this shows.
    fn make(&self, spin: Spin) -> Result<u64> {
        let handle = crst::make(spin.policy(), self.address())?;
        if REGISTRY.addresses.count() >= MANY {
            VERY_MANY.say();
        }
        Ok(handle)
    }

    /// The section this names, made now if it names none. `site` is where the caller called from.
    #[cold]
    fn attach(&self, site: usize) -> Result<u64> {
        if let Some(handle) = self.named() {
            return Ok(handle);
        }
        prepare()?;
        let (handle, semaphore) = self.attach_anew()?;
        // Of no section of ours, or of one that is no more.
        if semaphore != 0 {
            REGISTRY.win32.count(Misuse::UseAfterDelete, self.address(), site);
        }
        Ok(handle)
    }

    /// The section this names, if it names one.
    fn named(&self) -> Option<u64> {
        Some(self.handle()).filter(|&handle| sections::find_win32(handle).is_ok())
    }

    /// As attach, with what LockSemaphore held in place of a section; 0 if it names one by now. Fails with InvalidOperation if
    /// it names one of another copy of the library: who has entered that one may be inside.
    fn attach_anew(&self) -> Result<(u64, u64)> {
        // One thread at a time: another that made one for the same memory would take this one for a relic of it.
        // place: attach-lock
        let _attaching = ATTACHING.lock();
        if let Some(handle) = self.named() {
            return Ok((handle, 0));
        }
        let semaphore = self.lock_semaphore.load(Ordering::Relaxed);
        if is_anothers(semaphore) {
            return Err(Error::InvalidOperation);
        }
        let spin = Spin::of_field(self.spin_count.load(Ordering::Relaxed) as u32).possible();
        let handle = self.make(spin)?;
        // Zeroed memory; 0 is no LockCount that a section ever shows.
        let _ = self.lock_count.compare_exchange(0, FREE, Ordering::Relaxed, Ordering::Relaxed);
        // Release: who finds the handle finds the section.
        self.lock_semaphore.store(handle, Ordering::Release);
        Ok((handle, semaphore))
    }

    // ---- the picture --------------------------------------------------------------------------------------

    /// Who owns it, and how often; after "locked" has been shown.
    #[inline(always)]
    fn show_entries(&self, entries: u32, me: TaskRef) {
        // Each time: a fork gives the owner another thread id.
        self.owning_thread.store(me.thread_id() as usize, Ordering::Relaxed);
        // Release: never seen before "locked".
        self.recursion_count.store(entries as i32, Ordering::Release);
    }

    /// Shows FREE or LOCKED, by the owner; how, if that is not done yet.
    #[inline(always)]
    fn show_state(&self, section: &Section, state: i32) -> Shown {
        let queue_state = section.queue_state();
        if queue_state.load(Ordering::Relaxed) != 0 {
            return Shown::NotYet;
        }
        // Release: free is never seen before 0 entries.
        self.lock_count.store(state, Ordering::Release);
        sys::light_barrier();
        if queue_state.load(Ordering::Relaxed) == 0 { Shown::Done } else { Shown::Doubtful }
    }

    /// As show_state, to the end.
    #[cold]
    fn show_state_at_last(&self, section: &Section, state: i32, how_far: Shown) {
        match how_far {
            Shown::Done => {}
            Shown::NotYet => self.show_bit(state),
            Shown::Doubtful => preserving_errno(|| self.show_again(section, state)),
        }
    }

    fn show_bit(&self, state: i32) {
        match state & FREE_BIT {
            0 => self.lock_count.fetch_and(!FREE_BIT, Ordering::Release),
            _ => self.lock_count.fetch_or(FREE_BIT, Ordering::Release),
        };
    }

    fn show_again(&self, section: &Section, state: i32) {
        let _queue = section.queue_lock().lock();
        self.lock_count.store(section.queue_shown().lock_count(state), Ordering::Release);
    }
}

/// How far show_state got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Done,
    /// Others draw the queue: a read-modify-write is needed.
    NotYet,
    /// Others have begun to draw the queue just then.
    Doubtful,
}

// ---- enter, leave -----------------------------------------------------------------------------------------

/// How far the fast path of an Enter got. What is left is for its caller to do as its last act, so that the compiler
/// makes that call a jump and the fast path needs no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fast {
    Done,
    /// Entered, but not Done with showing it: show_entry.
    Entered(Shown),
    /// Nothing was done: enter_slowly.
    No,
}

/// Enters, if that needs no waiting and nothing unusual.
#[inline(always)]
pub(crate) fn enter_fast(shown: &CriticalSection) -> Fast {
    // A thread that is a task: so there are slots to look at.
    let Some((id, me)) = task::current_with_id() else { return Fast::No };
    if REGISTRY.runtime.is_tracking() {
        return Fast::No;
    }
    let handle = shown.handle();
    let section = sections::win32_slot_of(handle);
    let word = section.word().load(Ordering::Relaxed);
    if word != handle {
        if word != handle ^ id || !section.reenter() {
            return Fast::No;
        }
        shown.show_entries(section.entries().load(Ordering::Relaxed), me);
        return Fast::Done;
    }
    // Acquire pairs with the Release of the last leave.
    if section.word().compare_exchange(handle, handle ^ id, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return Fast::No;
    }
    me.count_entry();
    match shown.show_state(section, LOCKED) {
        Shown::Done => {}
        how_far => return Fast::Entered(how_far),
    }
    shown.show_entries(1, me);
    Fast::Done
}

/// The caller has just entered a section that somebody waits for, or did lately: shows it. Always 1, for TryEnter.
#[cold]
pub(crate) fn show_entry(shown: &CriticalSection, how_far: Shown) -> i32 {
    if let Some(me) = task::current_if_any() {
        shown.show_state_at_last(sections::win32_slot_of(shown.handle()), LOCKED, how_far);
        shown.show_entries(1, me);
    }
    1
}

/// Enters where enter_fast could not; false only if another thread owns the section and the caller is not `patient`.
/// `site` is where the caller called from, 0 if unknown.
#[cold]
pub(crate) fn enter_slowly(shown: &CriticalSection, patient: bool, site: usize) -> bool {
    preserving_errno(|| {
        loop {
            let prepared = shown.attach(site).and_then(|handle| Ok((handle, threads::current()?)));
            let entered = match prepared {
                Ok((handle, me)) => enter_section(shown, handle, me, patient, site),
                Err(_) if !patient => Some(false),
                Err(Error::InvalidOperation) => {
                    OF_ANOTHER_COPY.nap();
                    None
                }
                Err(_) => {
                    end_without_place(shown);
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
    shown: &CriticalSection,
    handle: u64,
    me: TaskRef,
    patient: bool,
    site: usize,
) -> Option<bool> {
    let section = sections::find_win32(handle).ok()?;
    loop {
        match section.owner(handle)? {
            0 if section.try_take(handle, me) => break,
            0 => {}
            owner if owner == me.id() => {
                if section.reenter() {
                    shown.show_entries(section.entries().load(Ordering::Relaxed), me);
                    return Some(true);
                }
                REGISTRY.win32.count(Misuse::TooManyEntries, shown.address(), site);
                return Some(patient);
            }
            _ if !patient => return Some(false),
            _ if me.wait.section() != 0 => IN_HANDLER.nap(),
            _ => {
                if set_mirror(section, handle, shown)? && is_entered_elsewhere(section, handle, shown) {
                    REGISTRY.win32.count(Misuse::Copied, shown.address(), site);
                }
                if section.owner(handle)? == ABANDONED {
                    REGISTRY.win32.count(Misuse::EnterAfterOwnerEnded, shown.address(), site);
                }
                section.wait(handle, me, Request { option: WAIT, deadline: None, site }).ok()?;
                break;
            }
        }
    }
    me.count_entry();
    section.note_owner(me.id(), site);
    shown.show_state_at_last(section, LOCKED, shown.show_state(section, LOCKED));
    shown.show_entries(1, me);
    Some(true)
}

/// The program may have moved the memory since the section was made. Whether it has.
fn set_mirror(section: &Section, handle: u64, shown: &CriticalSection) -> Option<bool> {
    let _queue = section.queue_lock().lock();
    section.owner(handle)?;
    let moved = section.mirror() != shown.address();
    if moved {
        REGISTRY.addresses.change(handle::section_index(handle), shown.address());
    }
    Some(moved)
}

/// Whether the owner of the section is not shown here, although it has had time to be: then it has entered by another copy
/// of this memory.
fn is_entered_elsewhere(section: &Section, handle: u64, shown: &CriticalSection) -> bool {
    const TIME: u64 = 1_000_000;
    let owner = || section.owner(handle).filter(|&owner| owner != 0 && owner != ABANDONED);
    let Some(before) = owner() else { return false };
    let is_shown =
        || shown.owning_thread.load(Ordering::Relaxed) == tasks::of_owner(before).thread_id() as usize;
    if is_shown() {
        return false;
    }
    // It may be between entering and showing that.
    sys::nap(TIME);
    owner() == Some(before) && !is_shown()
}

/// Where every place for a section is taken there is no use in waiting for one: a program has that many by not deleting
/// them.
fn end_without_place(shown: &CriticalSection) {
    if shown.named().is_none() && REGISTRY.is_ready() && REGISTRY.sections.is_full() {
        let mut line = Text::<128>::new();
        let sections = REGISTRY.sections.live();
        let _ = write!(line, "no place for CRITICAL_SECTION {:p}: all {sections} are in use. ", shown);
        messages::complain(&[line.bytes(), b"Were they deleted? The process ends"]);
        sys::abort();
    }
}

/// What is said on stderr once in a process.
struct Sentence {
    text: &'static [u8],
    was_said: AtomicU32,
}

/// Why an Enter that can neither fail nor wait in the queue tries again and again.
static NO_MEMORY: Sentence = Sentence::new(b"out of memory: EnterCriticalSection waits until there is some");
static OF_ANOTHER_COPY: Sentence = Sentence::new(
    b"a CRITICAL_SECTION is used by two copies of the library in this process: EnterCriticalSection waits, in the one that \
      did not make it, until it is initialised anew; have all parts of the program use one libhostcrst.so",
);
static IN_HANDLER: Sentence = Sentence::new(
    b"EnterCriticalSection in a signal handler that interrupted a wait has to wait: no report shows that",
);
/// So many are rather forgotten than needed.
const MANY: u32 = 1_000_000;
static VERY_MANY: Sentence = Sentence::new(
    b"a million CRITICAL_SECTIONs are in use: are they deleted? Where all places are taken, the process ends",
);

impl Sentence {
    const fn new(text: &'static [u8]) -> Self {
        Sentence { text, was_said: AtomicU32::new(0) }
    }

    #[cold]
    fn say(&self) {
        if self.was_said.load(Ordering::Relaxed) == 0 && self.was_said.swap(1, Ordering::Relaxed) == 0 {
            messages::complain(&[self.text]);
        }
    }

    /// Says so and sleeps for a moment.
    #[cold]
    fn nap(&self) {
        self.say();
        sys::nap(NAP);
    }
}

/// Leaves once; the last leave lets the section go. False if the caller is not the owner: leave_refused.
#[inline(always)]
pub(crate) fn leave(shown: &CriticalSection) -> bool {
    let Some((id, me)) = task::current_with_id() else { return false };
    let handle = shown.handle();
    let section = sections::win32_slot_of(handle);
    if section.word().load(Ordering::Relaxed) != handle ^ id {
        return false;
    }
    let entries = section.entries().load(Ordering::Relaxed);
    if entries != 1 {
        // A slot never used has 0: see handle, "every 64-bit value".
        if entries == 0 {
            return false;
        }
        section.entries().store(entries - 1, Ordering::Relaxed);
        shown.show_entries(entries - 1, me);
        return true;
    }
    me.count_leave();
    shown.recursion_count.store(0, Ordering::Relaxed);
    shown.owning_thread.store(0, Ordering::Relaxed);
    match shown.show_state(section, FREE) {
        Shown::Done => section.leave_plain(handle),
        how_far => leave_contended(shown, how_far),
    }
    true
}

/// The caller's last leave of a section that somebody waits for, or did lately.
#[cold]
fn leave_contended(shown: &CriticalSection, how_far: Shown) {
    let handle = shown.handle();
    let section = sections::win32_slot_of(handle);
    shown.show_state_at_last(section, FREE, how_far);
    preserving_errno(|| section.leave_contended(handle));
}

/// A leave by a thread that is not the owner: counted. `site` is where it called from.
#[cold]
pub(crate) fn leave_refused(shown: &CriticalSection, site: usize) {
    let ended = preserving_errno(|| leave_what_was_here(shown));
    let misuse = if ended { Misuse::InitializeInUse } else { Misuse::LeaveByOther };
    REGISTRY.win32.count(misuse, shown.address(), site);
}

/// The program may have initialised the memory anew while the caller owned the section it named. Ends that one: those
/// who wait for it look at the memory again, and find the new one.
fn leave_what_was_here(shown: &CriticalSection) -> bool {
    let Some(me) = task::current_if_any().filter(|me| me.owned() != 0) else { return false };
    let was_mine = |handle, section: &Section| section.owner(handle) == Some(me.id());
    let found = REGISTRY.addresses.find(shown.address(), was_mine);
    found.is_some_and(|handle| crst::retire_with_waiters(handle).is_ok())
}

// ---- condition variables ----------------------------------------------------------------------------------

/// As zeroed memory.
pub(crate) fn initialize_variable(variable: &ConditionVariable) {
    preserving_errno(|| condition::initialize(variable));
}

/// Leaves the section, sleeps until woken or for so long, enters it again.
pub(crate) fn sleep(
    variable: &ConditionVariable,
    shown: &CriticalSection,
    milliseconds: u32,
    site: usize,
) -> Win32Result {
    let me = entered_once(shown, site)?;
    preserving_errno(|| {
        let deadline = (milliseconds != u32::MAX).then(|| sys::deadline_after(milliseconds));
        let request = condition::Request { section: shown.handle(), deadline, site };
        let number = condition::join(variable, me, request);
        leave(shown);
        let in_time = condition::sleep(me, number, deadline);
        match enter_fast(shown) {
            Fast::Done => {}
            Fast::Entered(how_far) => _ = show_entry(shown, how_far),
            Fast::No => _ = enter_slowly(shown, true, site),
        }
        if in_time { Ok(()) } else { Err(ERROR_TIMEOUT) }
    })
}

/// The calling thread's task, if it has entered the section, and that once.
fn entered_once(shown: &CriticalSection, site: usize) -> core::result::Result<TaskRef, u32> {
    let handle = shown.handle();
    let owner = task::current_with_id()
        .filter(|(id, _)| sections::win32_slot_of(handle).word().load(Ordering::Relaxed) == handle ^ id);
    match owner {
        Some((_, me)) if sections::win32_slot_of(handle).entries().load(Ordering::Relaxed) == 1 => {
            return Ok(me);
        }
        _ => REGISTRY.win32.count(Misuse::SleepNotEnteredOnce, shown.address(), site),
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
        REGISTRY.win32.all().find(|(_, name, _)| *name == "too_many_entries").unwrap().0
    }

    #[test]
    fn more_entries_than_can_be_counted_are_counted_as_misuse() {
        // SAFETY: zeroed memory is a CRITICAL_SECTION.
        let mut section: CriticalSection = unsafe { core::mem::zeroed() };
        let shown = &raw mut section;
        // SAFETY: the section stays in place, here and below.
        unsafe { hostcrst_cs_enter(shown) };
        let entries = sections::find_win32(section.handle()).unwrap().entries();
        // As if it had been entered so often.
        entries.store(u32::MAX, Ordering::Relaxed);
        let before = too_many_entries();
        // SAFETY: as above.
        unsafe {
            hostcrst_cs_enter(shown);
            assert_eq!(hostcrst_cs_try_enter(shown), 0);
        }
        assert_eq!(entries.load(Ordering::Relaxed), u32::MAX);
        assert_eq!(too_many_entries(), before + 2);
        // SAFETY: as above.
        unsafe { hostcrst_cs_delete(shown) };
    }
}
