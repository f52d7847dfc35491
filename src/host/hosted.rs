//! What of a hosted CLR is to be reported: `HOSTCRST_CLR`.

use crate::sys::atomic::{AtomicU32, Ordering};

/// 1 if each transition is to be reported.
static TRANSITIONS: AtomicU32 = AtomicU32::new(1);

/// Takes a value of the variable; false if it is none.
pub(crate) fn set(value: &[u8]) -> bool {
    match value {
        b"transitions" => TRANSITIONS.store(1, Ordering::Relaxed),
        b"locks" => TRANSITIONS.store(0, Ordering::Relaxed),
        _ => return false,
    }
    true
}

/// Whether the CLR reports each transition. Decided when the CLR starts.
pub(crate) fn reports_transitions() -> bool {
    TRANSITIONS.load(Ordering::Relaxed) != 0
}
