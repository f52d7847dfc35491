//! Statistics: for which sections tasks wait, how long, and who holds them longest.

use super::hresult;
use crate::host::statistics;
use crate::state::registry::REGISTRY;
use crate::sys::preserving_errno;

/// Begins to count, for each section, the waits for it, or ceases to.
///
/// Counted are the enters that found the section owned by another task, whether they spun or slept, got it or
/// failed, also at once with a time limit of 0, but not what hostcrst_try_enter does: how many, how long all of them
/// took, the longest, and how many took up to 1 us, 10 us and so on up to 10 s. While hold tracking is on as well
/// (host_set_hold_tracking), also how long the section was owned, by the task that leaves it for the last time: how
/// often, in all, and the longest time with its thread and where that had entered; not of a CRITICAL_SECTION.
///
/// Reports show the figures, and so does hostcrst-dump, also as OpenMetrics text with --metrics. Off by default.
/// Where no task waits, entering and leaving cost the same while this is on. The environment variable
/// HOSTCRST_STATS=1 switches it on when the runtime is first started.
///
/// Parameters:
/// - on (0 = off, any other value = on): what was counted before is kept, shown, and added to if this is switched on
///   again. The figures of a section end with it.
///
/// Returns:
/// - S_OK: in force for waits that begin, and holds that end, from here on.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_OUTOFMEMORY: no address space or memory for the figures, 136 bytes for each section; nothing changed.
///
/// Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe. The child of a
/// fork inherits the figures.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_set_statistics(on: i32) -> i32 {
    hresult(preserving_errno(|| {
        REGISTRY.runtime.require_usable()?;
        statistics::switch(on != 0)
    }))
}
