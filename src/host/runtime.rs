//! The life of the runtime: started, stopped, failed. What each state allows is decided where it is checked.

use crate::error::{Error, Result};
use crate::host::{prepare, settings};
use crate::lock::queue;
use crate::state::registry::REGISTRY;
use crate::state::runtime::{EPOCH_SHIFT, STATE_MASK, State, WATCHING, run_of, state_of};
use crate::state::tasks;
use crate::sys::atomic::Ordering;

/// Makes the runtime available. False if it already was.
pub(crate) fn start() -> Result<bool> {
    prepare::prepare()?;
    settings::read_once();
    Ok(replace_word(started)?.is_some())
}

/// Makes the runtime unavailable until started again; every wait ends with NotAvailable. False if it was stopped.
pub(crate) fn stop() -> Result<bool> {
    let Some(before) = replace_word(stopped)? else { return Ok(false) };
    // The runtime may be started again before this is done: what waits then, waits in the next run.
    end_waits_of_run(run_of(before), Error::NotAvailable);
    Ok(true)
}

/// Makes the runtime unavailable for the life of the process; every wait ends with NotAvailable.
pub(crate) fn fail() -> Result<()> {
    prepare::prepare()?;
    replace_word(failed)?;
    end_waits_of_run(u64::MAX, Error::NotAvailable);
    Ok(())
}

/// The word in which the runtime runs once more; None if it runs.
fn started(word: u64) -> Result<Option<u64>> {
    match state_of(word) {
        State::NotLoaded | State::Stopped => {
            Ok(Some((run_of(word) + 1) << EPOCH_SHIFT | word & WATCHING | State::Running as u64))
        }
        State::Running => Ok(None),
        State::Failed => Err(Error::NotAvailable),
    }
}

/// The word in which the runtime is stopped; None if it is.
fn stopped(word: u64) -> Result<Option<u64>> {
    match state_of(word) {
        State::Running => Ok(Some(with_state(word, State::Stopped))),
        State::Stopped => Ok(None),
        State::NotLoaded | State::Failed => Err(Error::NotAvailable),
    }
}

/// The word in which the runtime has failed; None if it has.
fn failed(word: u64) -> Result<Option<u64>> {
    let has_failed = state_of(word) == State::Failed;
    Ok((!has_failed).then_some(with_state(word, State::Failed)))
}

fn with_state(word: u64, state: State) -> u64 {
    word & !STATE_MASK | state as u64
}

/// Puts what `next` makes of the runtime's word in its place, and returns the word before; None if that stays.
fn replace_word(next: fn(u64) -> Result<Option<u64>>) -> Result<Option<u64>> {
    let word = &REGISTRY.runtime.word;
    let mut before = word.load(Ordering::Relaxed);
    while let Some(after) = next(before)? {
        // SeqCst here and in the waiter's check after it has announced itself: one of the two sees the other.
        match word.compare_exchange(before, after, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return Ok(Some(before)),
            Err(changed) => before = changed,
        }
    }
    Ok(None)
}

/// Ends every wait that depends on the runtime and began in this run of it or an earlier one.
fn end_waits_of_run(run: u64, reason: Error) {
    tasks::all().for_each(|task| queue::end_wait_of_run(&task, run, reason));
}
