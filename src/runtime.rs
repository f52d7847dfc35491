//! Whether the runtime is available: one word that every call looks at.

use crate::error::{Error, Result};
use crate::registry::REGISTRY;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::{settings, task};

/// The states of `host_runtime_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    NotLoaded = 0,
    Running = 1,
    Stopped = 2,
    Failed = 3,
}

/// The state in the low byte, with TRACKING beside it; above it how often the runtime was started: the epoch that
/// layers belong to.
///
/// A transition compares the whole word with the one its task last saw, which asks at once whether the runtime
/// runs and whether the task's layers are of this run. A later "suspend all managed tasks" can be a change of
/// this word too, and will then cost a transition nothing.
#[repr(C)]
pub(crate) struct Runtime {
    word: AtomicU64,
}

const STATE_MASK: u64 = 3;
/// Entering must go the slow way, because owners are tracked.
const TRACKING: u64 = 4;
const EPOCH_SHIFT: u32 = 8;

const fn run_of(word: u64) -> u64 {
    word >> EPOCH_SHIFT
}

impl Runtime {
    pub(crate) const fn new() -> Self {
        Runtime { word: AtomicU64::new(State::NotLoaded as u64) }
    }

    /// The word itself, for comparing.
    #[inline(always)]
    pub(crate) fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Whether entries are allowed and nothing about them is unusual: the one question of the fast paths.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        // Acquire pairs with the SeqCst in start: a thread that was handed a handle in any way whatever, and is no task
        // yet, finds the arenas where the handle leads.
        self.word.load(Ordering::Acquire) as u8 == State::Running as u8
    }

    /// Whether entries and transitions are allowed.
    pub(crate) fn is_running(&self) -> bool {
        self.state() == State::Running
    }

    /// Whether entering must go the slow way.
    #[inline(always)]
    pub(crate) fn is_tracking(&self) -> bool {
        self.word() & TRACKING != 0
    }

    /// Makes entering go the slow way, or no more.
    pub(crate) fn set_tracking(&self, on: bool) {
        if on {
            self.word.fetch_or(TRACKING, Ordering::Relaxed);
        } else {
            self.word.fetch_and(!TRACKING, Ordering::Relaxed);
        }
    }

    pub(crate) fn state(&self) -> State {
        match self.word() & STATE_MASK {
            1 => State::Running,
            2 => State::Stopped,
            3 => State::Failed,
            _ => State::NotLoaded,
        }
    }

    /// Which run of the runtime this is, counted by its starts.
    pub(crate) fn run(&self) -> u64 {
        run_of(self.word())
    }

    /// Whether entries and transitions are allowed, in this run.
    pub(crate) fn is_in_run(&self, run: u64) -> bool {
        let word = self.word();
        word & STATE_MASK == State::Running as u64 && run_of(word) == run
    }

    /// Whether two words belong to the same run of the runtime, whatever its state.
    pub(crate) fn same_epoch(one: u64, other: u64) -> bool {
        run_of(one) == run_of(other)
    }

    /// Fails unless entries and transitions are allowed.
    pub(crate) fn require_running(&self) -> Result<()> {
        if self.is_running() { Ok(()) } else { Err(Error::NotAvailable) }
    }

    /// Fails unless what exists may be left, changed and destroyed: while the runtime runs or is stopped.
    pub(crate) fn require_usable(&self) -> Result<()> {
        match self.state() {
            State::Running | State::Stopped => Ok(()),
            State::NotLoaded | State::Failed => Err(Error::NotAvailable),
        }
    }
}

/// Makes the runtime available. False if it already was.
pub(crate) fn start() -> Result<bool> {
    REGISTRY.prepare()?;
    settings::read_once();
    let word = &REGISTRY.runtime.word;
    let mut now = word.load(Ordering::Relaxed);
    loop {
        match REGISTRY.runtime.state() {
            State::Running => return Ok(false),
            State::Failed => return Err(Error::NotAvailable),
            State::NotLoaded | State::Stopped => {}
        }
        let next = (run_of(now) + 1) << EPOCH_SHIFT | now & TRACKING | State::Running as u64;
        match word.compare_exchange(now, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return Ok(true),
            Err(changed) => now = changed,
        }
    }
}

/// Makes the runtime unavailable until started again; every wait ends with NotAvailable. False if it was stopped.
pub(crate) fn stop() -> Result<bool> {
    let word = &REGISTRY.runtime.word;
    let mut now = word.load(Ordering::Relaxed);
    loop {
        match REGISTRY.runtime.state() {
            State::Running => {}
            State::Stopped => return Ok(false),
            State::NotLoaded | State::Failed => return Err(Error::NotAvailable),
        }
        let next = now & !STATE_MASK | State::Stopped as u64;
        // SeqCst here and in the waiter's look after it has registered: one of the two sees the other.
        match word.compare_exchange(now, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => break,
            Err(changed) => now = changed,
        }
    }
    // The runtime may be started again before this is done: what waits then, waits in the next run.
    task::end_waits_of_run(run_of(now), Error::NotAvailable);
    Ok(true)
}

/// Makes the runtime unavailable for the life of the process; every wait ends with NotAvailable.
pub(crate) fn fail() -> Result<()> {
    REGISTRY.prepare()?;
    let failed = |word| Some(word & !STATE_MASK | State::Failed as u64);
    let _ = REGISTRY.runtime.word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, failed);
    task::end_waits_of_run(u64::MAX, Error::NotAvailable);
    Ok(())
}
