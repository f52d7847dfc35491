//! Whether the runtime is available: one word that every call looks at.

use crate::error::{Error, Result};
use crate::registry::REGISTRY;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::{report, task};

/// The states of `host_runtime_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    NotLoaded = 0,
    Running = 1,
    Stopped = 2,
    Failed = 3,
}

/// The state in the low byte, above it how often the runtime was started: the epoch that layers belong to.
///
/// A transition compares the whole word with the one its task last saw, which asks at once whether the runtime
/// runs and whether the task's layers are of this run. A later "suspend all managed tasks" can be a change of
/// this word too, and will then cost a transition nothing.
#[repr(C)]
pub(crate) struct Runtime {
    word: AtomicU64,
}

const STATE_BITS: u32 = 8;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;

impl Runtime {
    pub(crate) const fn new() -> Self {
        Runtime { word: AtomicU64::new(State::NotLoaded as u64) }
    }

    /// The word itself, for comparing.
    #[inline(always)]
    pub(crate) fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Whether entries and transitions are allowed.
    #[inline(always)]
    pub(crate) fn is_running(&self) -> bool {
        self.word() as u8 == State::Running as u8
    }

    pub(crate) fn state(&self) -> State {
        match self.word() & STATE_MASK {
            1 => State::Running,
            2 => State::Stopped,
            3 => State::Failed,
            _ => State::NotLoaded,
        }
    }

    /// Whether two words belong to the same run of the runtime, whatever its state.
    pub(crate) fn same_epoch(one: u64, other: u64) -> bool {
        one >> STATE_BITS == other >> STATE_BITS
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
    report::read_settings();
    let word = &REGISTRY.runtime.word;
    let mut now = word.load(Ordering::Relaxed);
    loop {
        match REGISTRY.runtime.state() {
            State::Running => return Ok(false),
            State::Failed => return Err(Error::NotAvailable),
            State::NotLoaded | State::Stopped => {}
        }
        let next = ((now >> STATE_BITS) + 1) << STATE_BITS | State::Running as u64;
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
    task::end_all_waits(Error::NotAvailable);
    Ok(true)
}

/// Makes the runtime unavailable for the life of the process; every wait ends with NotAvailable.
pub(crate) fn fail() -> Result<()> {
    REGISTRY.prepare()?;
    let failed = |word| Some(word & !STATE_MASK | State::Failed as u64);
    let _ = REGISTRY.runtime.word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, failed);
    task::end_all_waits(Error::NotAvailable);
    Ok(())
}
