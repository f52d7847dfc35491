//! The life of the runtime: started, stopped, failed. What each state allows is decided where it is checked.

use crate::error::{Error, Result};
use crate::host::{prepare, settings};
use crate::lock::queue;
use crate::state::registry::REGISTRY;
use crate::state::runtime::{EPOCH_SHIFT, STATE_MASK, State, TRACKING, run_of};
use crate::state::tasks;
use crate::sys::atomic::Ordering;
use crate::sys::preserving_errno;

/// Makes the runtime available. False if it already was.
pub(crate) fn start() -> Result<bool> {
    prepare::prepare()?;
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
        // SeqCst here and in the waiter's check after it has announced itself: one of the two sees the other.
        match word.compare_exchange(now, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => break,
            Err(changed) => now = changed,
        }
    }
    // The runtime may be started again before this is done: what waits then, waits in the next run.
    end_waits_of_run(run_of(now), Error::NotAvailable);
    Ok(true)
}

/// Makes the runtime unavailable for the life of the process; every wait ends with NotAvailable.
pub(crate) fn fail() -> Result<()> {
    prepare::prepare()?;
    let failed = |word| Some(word & !STATE_MASK | State::Failed as u64);
    let _ = REGISTRY.runtime.word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, failed);
    end_waits_of_run(u64::MAX, Error::NotAvailable);
    Ok(())
}

/// Ends every wait that depends on the runtime and began in this run of it or an earlier one.
fn end_waits_of_run(run: u64, reason: Error) {
    preserving_errno(|| tasks::all().for_each(|task| queue::end_wait_of_run(&task, run, reason)));
}
