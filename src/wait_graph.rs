//! Who waits for whom, and what is done about a cycle.
//!
//! A task waits for one section at most and a section has one owner at most, so from any task there is one way to go:
//! to the section it waits for, to that section's owner, and on. Detection is a walk along this chain, by the task
//! that begins a wait, after it has announced itself. An enter that need not wait never gets here. A wait with a time
//! limit resolves itself and is no edge.
//!
//! **No cycle is missed.** The last event of a cycle is always that one of its tasks announces a wait: a task that is
//! given a section cannot be waiting any more. Of the announcements in a cycle one is last in the order of the SeqCst
//! fences that follow them. Each other task of the cycle took its sections before its own announcement and fence,
//! so this last one, looking after its fence, sees every wait and every owner of the cycle.
//!
//! **None is reported that was not there.** A chain that seems to close is looked at again under one lock. The first
//! round notes the number of each wait. The second looks at each owner again and after that at the number of that
//! owner's wait. A task whose wait has the same number in both rounds has been in that one wait all the time in
//! between, and a task that waits neither leaves nor takes a section. So each owner that the second round saw had
//! its section already when the first round ended, and at that moment all edges of the cycle stood together.
//!
//! **One task is told.** Waits are broken only under that lock, and only while they are still in their queue. Two tasks
//! that find the same cycle take the lock in turn; the second finds a wait of it gone.

use core::ffi::c_void;

use crate::crst;
use crate::error::Error;
use crate::ffi::deadlock::host_deadlock_t;
use crate::handle;
use crate::name::Name;
use crate::registry::REGISTRY;
use crate::report::picture::Picture;
use crate::report::{self, Format};
use crate::settings;
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::{self, Mutex};
use crate::task::{self, TaskRef};
use crate::waiting;

/// A wait with this option is not to be broken: WAIT_NOTINDEADLOCK.
pub(crate) const WAIT_NOTINDEADLOCK: u32 = 0x4;

/// What is done when a deadlock is found: `HOST_DEADLOCK_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Policy {
    /// One wait fails, the rest goes on.
    Error = 0,
    /// A report goes to stderr; the tasks stay as they are.
    Report = 1,
    /// A report goes to stderr, and the process aborts.
    Abort = 2,
}

impl Policy {
    pub(crate) const fn from_number(number: u32) -> Option<Policy> {
        match number {
            0 => Some(Policy::Error),
            1 => Some(Policy::Report),
            2 => Some(Policy::Abort),
            _ => None,
        }
    }
}

/// Deadlocks remembered for reports.
pub(crate) const REMEMBERED: usize = 8;
/// Tasks remembered of one.
pub(crate) const MEMBERS: usize = 16;

/// What the process has seen of deadlocks. Zeroed memory is none.
#[repr(C)]
pub(crate) struct Deadlocks {
    lock: Mutex,
    policy: AtomicU32,
    /// How many were found; number n is remembered at n modulo REMEMBERED.
    found: AtomicU64,
    callback: AtomicPtr<c_void>,
    context: AtomicPtr<c_void>,
    remembered: [Deadlock; REMEMBERED],
}

/// One deadlock as it was found. Written under the lock of Deadlocks.
#[repr(C)]
pub(crate) struct Deadlock {
    /// Odd while it is written.
    sequence: AtomicU32,
    /// Tasks in the cycle; more may be than are remembered.
    pub(crate) length: AtomicU32,
    /// Which member's wait was broken; `length` if none was.
    pub(crate) victim: AtomicU32,
    _reserved: AtomicU32,
    pub(crate) found_at: AtomicU64,
    pub(crate) members: [Member; MEMBERS],
}

/// A task of a deadlock: it waited for `section`, which the next member owned.
#[repr(C)]
pub(crate) struct Member {
    pub(crate) task: AtomicU64,
    section: AtomicU64,
    /// Where it called, 0 if unknown.
    pub(crate) site: AtomicU64,
    pub(crate) thread_id: AtomicU32,
    _reserved: AtomicU32,
    pub(crate) task_name: Name,
    pub(crate) section_name: Name,
}

impl Deadlocks {
    pub(crate) const fn new() -> Self {
        Deadlocks {
            lock: Mutex::new(),
            policy: AtomicU32::new(Policy::Error as u32),
            found: AtomicU64::new(0),
            callback: AtomicPtr::new(core::ptr::null_mut()),
            context: AtomicPtr::new(core::ptr::null_mut()),
            remembered: [const { Deadlock::new() }; REMEMBERED],
        }
    }

    /// How many deadlocks were found since the process began.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Acquire)
    }

    /// Deadlock number `number`, counted from 0, if it is still remembered and not just being written.
    pub(crate) fn remembered(&self, number: u64) -> Option<&Deadlock> {
        let found = self.found();
        let recent = number < found && number + REMEMBERED as u64 >= found;
        let deadlock = &self.remembered[(number % REMEMBERED as u64) as usize];
        (recent && deadlock.sequence.load(Ordering::Acquire) & 1 == 0).then_some(deadlock)
    }

    /// The lock, held across a fork.
    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }
}

impl Deadlock {
    const fn new() -> Self {
        Deadlock {
            sequence: AtomicU32::new(0),
            length: AtomicU32::new(0),
            victim: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            found_at: AtomicU64::new(0),
            members: [const { Member::new() }; MEMBERS],
        }
    }

    /// The members that are remembered.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members[..(self.length.load(Ordering::Relaxed) as usize).min(MEMBERS)]
    }
}

impl Member {
    const fn new() -> Self {
        Member {
            task: AtomicU64::new(0),
            section: AtomicU64::new(0),
            site: AtomicU64::new(0),
            thread_id: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            task_name: Name::new(),
            section_name: Name::new(),
        }
    }

    /// The section it waited for.
    pub(crate) fn section(&self) -> u64 {
        self.section.load(Ordering::Relaxed)
    }

    fn remember(&self, task: TaskRef) {
        let section = task.wait.section();
        self.task.store(task.id(), Ordering::Relaxed);
        self.section.store(section, Ordering::Relaxed);
        self.site.store(task.wait.site(), Ordering::Relaxed);
        self.thread_id.store(task.thread_id(), Ordering::Relaxed);
        self.task_name.set(report::task_name(task).bytes());
        let name = crst::slot_of(section).name();
        self.section_name.set(name.as_ref().map_or(&[], |name| name.bytes()));
    }
}

// ---- settings ---------------------------------------------------------------------------------------------

/// Told of each deadlock: which wait was broken, or that none was.
pub(crate) type Callback = extern "C" fn(*const host_deadlock_t, *mut c_void);

pub(crate) fn set_policy(policy: Policy) {
    REGISTRY.deadlocks.policy.store(policy as u32, Ordering::Relaxed);
}

fn policy() -> Policy {
    Policy::from_number(REGISTRY.deadlocks.policy.load(Ordering::Relaxed)).unwrap_or(Policy::Error)
}

/// Sets who is told of deadlocks.
pub(crate) fn set_callback(callback: Option<Callback>, context: *mut c_void) {
    let deadlocks = &REGISTRY.deadlocks;
    let _guard = deadlocks.lock.lock();
    deadlocks.context.store(context, Ordering::Relaxed);
    let callback = callback.map_or(core::ptr::null_mut(), |function| function as *mut c_void);
    deadlocks.callback.store(callback, Ordering::Relaxed);
}

/// Reads HOSTCRST_ON_DEADLOCK.
pub(crate) fn read_settings() {
    settings::read(settings::ON_DEADLOCK, |value| {
        set_policy(match value {
            b"error" => Policy::Error,
            b"report" => Policy::Report,
            b"abort" => Policy::Abort,
            _ => return false,
        });
        true
    });
}

// ---- the walk ---------------------------------------------------------------------------------------------

/// The task that `task` cannot go on before, if it waits without limit for a section that a live task owns.
fn blocked_by(task: TaskRef) -> Option<TaskRef> {
    Picture::here().blocked_by(task.id()).map(task::of_owner)
}

/// How many tasks the chain from `start` passes before it is back there; None if it ends or loops elsewhere.
fn cycle_length(start: TaskRef) -> Option<u32> {
    Picture::here().cycle_length(start.id())
}

/// Notes the number of each wait of the cycle; the first round of the proof above.
fn note_waits(start: TaskRef, length: u32) -> bool {
    let mut task = Some(start);
    for _ in 0..length {
        let Some(here) = task else { return false };
        here.wait.note_sequence();
        task = blocked_by(here);
    }
    task.is_some_and(|task| task.id() == start.id())
}

/// Looks whether every wait is the one noted and still leads to the next; the second round.
fn waits_are_as_noted(start: TaskRef, length: u32) -> bool {
    // The second round begins after the first has ended.
    fence(Ordering::SeqCst);
    let mut task = Some(start);
    for _ in 0..length {
        let Some(here) = task.filter(|task| task.wait.is_as_noted()) else { return false };
        task = blocked_by(here);
    }
    task.is_some_and(|task| task.id() == start.id() && task.wait.is_as_noted())
}

/// The task of the cycle whose wait may be broken, at its place: the one that closed it if possible.
fn choose_victim(closer: TaskRef, length: u32) -> Option<(u32, TaskRef)> {
    let mut task = closer;
    for place in 0..length {
        if task.wait.option() & WAIT_NOTINDEADLOCK == 0 {
            return Some((place, task));
        }
        task = blocked_by(task)?;
    }
    None
}

/// `me` has just announced a wait: if that closed a cycle, does what the policy says.
#[cold]
pub(crate) fn look_for_deadlock(me: TaskRef) {
    if cycle_length(me).is_none() {
        return;
    }
    let deadlocks = &REGISTRY.deadlocks;
    let guard = deadlocks.lock.lock();
    let Some(length) = cycle_length(me) else { return };
    if !note_waits(me, length) || !waits_are_as_noted(me, length) {
        return;
    }
    let policy = policy();
    let victim = if policy == Policy::Error { choose_victim(me, length) } else { None };
    let section = victim.map_or(me, |(_, task)| task).wait.section();
    remember(me, length, victim.map_or(length, |(place, _)| place));
    let broken = victim.filter(|(_, task)| waiting::end_noted_wait(task, Error::Deadlock));
    let callback = deadlocks.callback.load(Ordering::Relaxed);
    let context = deadlocks.context.load(Ordering::Relaxed);
    drop(guard);

    if policy != Policy::Error {
        // There may be no stderr to write to; the deadlock is remembered all the same.
        let _ = report::write(sys::STDERR, Format::Text);
        if policy == Policy::Abort {
            sys::abort();
        }
    }
    if !callback.is_null() {
        let notice = host_deadlock_t {
            size: size_of::<host_deadlock_t>() as u32,
            tasks: length,
            victim: broken.map_or(0, |(_, task)| handle::task_handle_or_zero(task.id())),
            section,
        };
        // SAFETY: set_callback stored a Callback.
        unsafe { core::mem::transmute::<*mut c_void, Callback>(callback)(&raw const notice, context) };
    }
}

/// Keeps the cycle for reports; under the lock.
fn remember(closer: TaskRef, length: u32, victim: u32) {
    let deadlocks = &REGISTRY.deadlocks;
    let number = deadlocks.found.load(Ordering::Relaxed);
    let deadlock = &deadlocks.remembered[(number % REMEMBERED as u64) as usize];
    deadlock.sequence.fetch_add(1, Ordering::AcqRel);
    deadlock.length.store(length, Ordering::Relaxed);
    deadlock.victim.store(victim, Ordering::Relaxed);
    deadlock.found_at.store(sys::now(), Ordering::Relaxed);
    let mut task = Some(closer);
    for member in &deadlock.members[..(length as usize).min(MEMBERS)] {
        let Some(here) = task else { break };
        member.remember(here);
        task = blocked_by(here);
    }
    deadlock.sequence.fetch_add(1, Ordering::Release);
    // Release pairs with the Acquire in found: who counts it can read it.
    deadlocks.found.store(number + 1, Ordering::Release);
}
