//! Switches the figures of contention on and off. They are counted in `lock::statistics`.

use crate::error::Result;
use crate::host::prepare::prepare;
use crate::state::registry::REGISTRY;

/// Begins to count waits and holds, or ceases to. What was counted stays.
pub(crate) fn switch(on: bool) -> Result<()> {
    prepare()?;
    let statistics = &REGISTRY.statistics;
    let _guard = REGISTRY.sections.lock().lock();
    if on {
        statistics.table.begin(&REGISTRY.sections)?;
    }
    statistics.switch(on);
    Ok(())
}
