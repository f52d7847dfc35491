//! Calls of the program's callbacks that have ended, by returning or with their threads. Which callbacks there are is
//! not known here.

use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// Counts calls of callbacks that have ended. A thread that waits for one sleeps on this word.
pub(crate) static ENDED: AtomicU32 = AtomicU32::new(0);

/// A callback of the program's has returned, or its thread has ended in it.
pub(crate) fn a_call_has_ended() {
    // Release pairs with the Acquire in wait_for_calls: a thread that finds this counted finds the task in no call.
    ENDED.fetch_add(1, Ordering::Release);
    sys::futex_wake(&ENDED, i32::MAX);
}
