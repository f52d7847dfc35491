//! Whether the runtime is available: one word that every call loads. Starting and stopping it is `host::runtime`'s.

use crate::base::memory::{Shown, readable_in_copies};
use crate::constants::{
    HOST_RUNTIME_FAILED, HOST_RUNTIME_NOT_LOADED, HOST_RUNTIME_RUNNING, HOST_RUNTIME_STOPPED,
};
use crate::error::{Error, Result};
use crate::sys::atomic::{AtomicU64, Ordering};

/// The states of `host_runtime_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    NotLoaded = HOST_RUNTIME_NOT_LOADED,
    Running = HOST_RUNTIME_RUNNING,
    Stopped = HOST_RUNTIME_STOPPED,
    Failed = HOST_RUNTIME_FAILED,
}

/// The state in the low byte, with WATCHING beside it; above it how often the runtime was started: the epoch that
/// layers belong to.
///
/// A transition compares the whole word with the one its task last saw, which asks at once whether the runtime
/// runs and whether the task's layers are of this run. A later "suspend all managed tasks" can be a change of
/// this word too, and will then cost a transition nothing.
#[repr(C)]
pub(crate) struct Runtime {
    pub(crate) word: AtomicU64,
}

pub(crate) const STATE_MASK: u64 = 3;
/// Entering takes the slow path, because hold records are kept.
pub(crate) const TRACKING: u64 = 4;
/// Entering takes the slow path, because orders are examined.
pub(crate) const EXAMINING: u64 = 8;
/// Whatever makes entering take the slow path while the runtime runs.
pub(crate) const WATCHING: u64 = TRACKING | EXAMINING;
pub(crate) const EPOCH_SHIFT: u32 = 8;

/// For `layout`.
pub(crate) const NUMBERS: [(&str, u64); 2] =
    [("runtime.state_mask", STATE_MASK), ("runtime.run_shift", EPOCH_SHIFT as u64)];

pub(crate) const fn run_of(word: u64) -> u64 {
    word >> EPOCH_SHIFT
}

pub(crate) const fn state_of(word: u64) -> State {
    match (word & STATE_MASK) as u32 {
        HOST_RUNTIME_RUNNING => State::Running,
        HOST_RUNTIME_STOPPED => State::Stopped,
        HOST_RUNTIME_FAILED => State::Failed,
        _ => State::NotLoaded,
    }
}

readable_in_copies!(Runtime);

impl Shown<Runtime> {
    /// The word itself, for comparing.
    #[inline(always)]
    pub(crate) fn word(&self) -> u64 {
        self.fields().word.load(Ordering::Relaxed)
    }

    pub(crate) fn state(&self) -> State {
        state_of(self.word())
    }
}

impl Runtime {
    pub(crate) const fn new() -> Self {
        Runtime { word: AtomicU64::new(State::NotLoaded as u64) }
    }

    /// Whether entries are allowed and nothing about them is unusual: the one question of the fast paths.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        // Acquire pairs with the SeqCst in start: a thread that was handed a handle in any way whatever, and is no task
        // yet, finds the arenas where the handle leads.
        // place: running-load
        self.word.load(Ordering::Acquire) as u8 == State::Running as u8
    }

    /// Whether entries and transitions are allowed.
    pub(crate) fn is_running(&self) -> bool {
        self.state() == State::Running
    }

    /// Whether entering must take the slow path.
    #[inline(always)]
    pub(crate) fn is_watching(&self) -> bool {
        self.word() & WATCHING != 0
    }

    /// Makes entering take the slow path for this reason, one of WATCHING, or no more.
    pub(crate) fn set_watching(&self, reason: u64, on: bool) {
        if on {
            self.word.fetch_or(reason, Ordering::Relaxed);
        } else {
            self.word.fetch_and(!reason, Ordering::Relaxed);
        }
    }

    /// Which run of the runtime this is, counted by its starts.
    pub(crate) fn run(&self) -> u64 {
        run_of(self.word())
    }

    /// Whether entries and transitions are allowed, in this run.
    pub(crate) fn is_in_run(&self, run: u64) -> bool {
        let word = self.word();
        state_of(word) == State::Running && run_of(word) == run
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
