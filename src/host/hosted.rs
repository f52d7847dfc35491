//! What of a hosted CLR is to be reported: `HOSTCRST_CLR`. And what is asked of it: where in managed code a call came from.

use crate::state::registry::REGISTRY;
use crate::state::task::TaskRef;
use crate::sys::atomic::{AtomicU32, AtomicUsize, Ordering};

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

/// Finds the place in managed code that a call came from which seems to have come from `site`. With a task, which is about
/// to wait, the places on its stack get names.
pub(crate) type FindPlace = fn(site: usize, waits: Option<TaskRef>) -> usize;

/// A FindPlace, or 0 as long as no CLR is hosted.
static FIND_PLACE: AtomicUsize = AtomicUsize::new(0);

/// From here on calls may come from managed code.
pub(crate) fn find_places_by(find: FindPlace) {
    FIND_PLACE.store(find as usize, Ordering::Release);
}

fn find_place(site: usize, waits: Option<TaskRef>) -> usize {
    // Acquire pairs with the Release in find_places_by.
    let find = FIND_PLACE.load(Ordering::Acquire);
    if find == 0 {
        return site;
    }
    // SAFETY: only find_places_by stores anything but 0: a function of this type.
    let find = unsafe { core::mem::transmute::<usize, FindPlace>(find) };
    find(site, waits)
}

/// Where a call came from that is about to enter what it does not have to wait for, if that is recorded; else `site`.
#[inline]
pub(crate) fn place_of_entry(site: usize) -> usize {
    if REGISTRY.holds.is_on() || REGISTRY.orders.is_on() { find_place(site, None) } else { site }
}

/// Where a call came from in which `me` is about to wait.
pub(crate) fn place_of_wait(me: TaskRef, site: usize) -> usize {
    find_place(site, Some(me))
}
