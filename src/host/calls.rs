//! Calls of the program's callbacks that are over: with them, or with their threads.

use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// Counts calls of callbacks that are over. Who waits for them sleeps on it.
pub(crate) static ENDED: AtomicU32 = AtomicU32::new(0);

/// A callback of the program's has returned, or its thread has ended in it.
pub(crate) fn a_call_has_ended() {
    // Release pairs with the Acquire in wait_for_calls: who finds this counted finds the task telling nothing.
    ENDED.fetch_add(1, Ordering::Release);
    sys::futex_wake(&ENDED, i32::MAX);
}
