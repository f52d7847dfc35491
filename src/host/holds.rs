//! Switches hold records on and off: since when, and from where, each section is owned. They are written in
//! `lock::holds`.

use crate::base::region::SMALLEST_STEP;
use crate::error::{Error, Result};
use crate::host::prepare::prepare;
use crate::state::holds::Hold;
use crate::state::registry::REGISTRY;
use crate::sys;
use crate::sys::atomic::Ordering;

/// Switches tracking on or off.
pub(crate) fn set_tracking(on: bool) -> Result<()> {
    prepare()?;
    let holds = &REGISTRY.holds;
    let _guard = REGISTRY.sections.lock().lock();
    if on == holds.is_on() {
        return Ok(());
    }
    if holds.table.base() == 0 {
        let bytes = REGISTRY.sections.capacity() as usize * size_of::<Hold>();
        let bytes = bytes.next_multiple_of(SMALLEST_STEP);
        let base = sys::reserve_pages(bytes).ok_or(Error::OutOfMemory)?;
        // SAFETY: a new reservation, of whole pages.
        unsafe { holds.table.begin(base as usize, bytes) };
    }
    if on {
        holds.table.cover(REGISTRY.sections.used() as usize * size_of::<Hold>())?;
    }
    holds.era.fetch_add(1, Ordering::Release);
    REGISTRY.runtime.set_tracking(on);
    Ok(())
}
