//! Switches hold records on and off: since when, and from where, each section is owned. They are written in
//! `lock::holds`.

use crate::error::Result;
use crate::host::prepare::prepare;
use crate::state::registry::REGISTRY;
use crate::state::runtime::TRACKING;
use crate::sys::atomic::Ordering;

/// Switches tracking on or off.
pub(crate) fn set_tracking(on: bool) -> Result<()> {
    prepare()?;
    let holds = &REGISTRY.holds;
    let _guard = REGISTRY.sections.lock().lock();
    if on == holds.is_on() {
        return Ok(());
    }
    if on {
        holds.table.begin(&REGISTRY.sections)?;
    }
    holds.era.fetch_add(1, Ordering::Release);
    REGISTRY.runtime.set_watching(TRACKING, on);
    Ok(())
}
