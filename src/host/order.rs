//! Switches the examination of orders on and off, and tells of what it finds. How that is found stands in `order`.

use core::fmt::Write;

use crate::error::{Error, Result};
use crate::handle;
use crate::host::prepare::prepare;
use crate::messages;
use crate::order::{self, Found};
use crate::report;
use crate::state::registry::REGISTRY;
use crate::state::runtime::EXAMINING;
use crate::state::task::TaskRef;
use crate::state::{resources, sections};
use crate::sys::preserving_errno;
use crate::text::TextBuffer;

/// Begins to examine the orders in which sections are entered, or ceases to. What was found stays.
pub(crate) fn switch(on: bool) -> Result<()> {
    prepare()?;
    let orders = &REGISTRY.orders;
    if on {
        order::begin()?;
    }
    let _guard = REGISTRY.tasks.lock().lock();
    if on {
        orders.lists.begin(&REGISTRY.tasks)?;
    }
    orders.switch(on);
    REGISTRY.runtime.set_watching(EXAMINING, on);
    Ok(())
}

/// Declares that it is good to enter the section `then` while owning `first`.
pub(crate) fn allow(first: u64, then: u64) -> Result<()> {
    REGISTRY.runtime.require_usable()?;
    if first == then {
        return Err(Error::InvalidArgument);
    }
    require_live(first).and_then(|()| require_live(then))?;
    preserving_errno(|| {
        order::begin()?;
        order::allow(first, then)
    })
}

/// Fails unless there is a section or resource with this handle.
fn require_live(section: u64) -> Result<()> {
    if handle::is_resource(section) {
        resources::find(section).map(|_| ())
    } else {
        sections::find(section).map(|_| ())
    }
}

/// `me` has just become the owner of a section or resource. `waits`: it would have waited for ever.
#[inline]
pub(crate) fn note_entry(me: TaskRef, section: u64, site: usize, waits: bool) {
    if REGISTRY.orders.is_on() {
        examine(me, section, site, waits);
    }
}

#[cold]
fn examine(me: TaskRef, section: u64, site: usize, waits: bool) {
    let Some(Found { alarms, is_full, is_silent }) = order::entered(me, section, site, waits) else { return };
    (alarms.0..alarms.1).for_each(report::write_alarm);
    if is_full {
        complain_of_limit(
            order::MOST_EDGES,
            "pairs of sections are remembered: the orders of others are not examined",
        );
    }
    if is_silent {
        complain_of_limit(order::MOST_TOLD, "orders that could deadlock are told: others are not");
    }
}

fn complain_of_limit(limit: usize, what: &str) {
    let mut line = TextBuffer::<128>::new();
    // It fits.
    let _ = write!(line, "{limit} {what}");
    messages::complain(&[line.bytes()]);
}
