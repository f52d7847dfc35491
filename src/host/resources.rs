//! What a program tells of its own locks, step by step: a wait is announced, searched for a cycle that it closes, and
//! refused if it is the victim. How each step is done is known in the rooms below.

use crate::constants::WAIT_OPTION_MASK;
use crate::error::{Error, Result};
use crate::host::{deadlocks, ends, hosted, order, threads};
use crate::lock::resources as told;
use crate::state::registry::REGISTRY;
use crate::state::resource::Resource;
use crate::state::task::TaskRef;
use crate::state::wait::{Beginning, Request};
use crate::sys::{self, preserving_errno};

/// The caller is about to block for the resource with this handle. `site` is where it called from.
pub(crate) fn wait(handle: u64, option: u32, site: usize) -> Result<()> {
    REGISTRY.runtime.require_running()?;
    if option & !WAIT_OPTION_MASK != 0 {
        return Err(Error::InvalidArgument);
    }
    let resource = told::find(handle)?;
    preserving_errno(|| {
        let me = threads::current()?;
        if me.wait.is_under_way() {
            // A signal handler interrupted a wait of this very thread.
            return Err(Error::InvalidOperation);
        }
        told::end_told_wait(me);
        let site = hosted::place_of_wait(me, site);
        resource.announce(handle, me, Request { option, deadline: None, site })
    })
}

/// The caller has acquired the resource with this handle, where acquire_fast could not mark it. `site` is where it
/// called from.
#[cold]
pub(crate) fn acquired(handle: u64, site: usize) -> Result<()> {
    let resource = told::find(handle)?;
    preserving_errno(|| {
        let me = threads::current()?;
        // A thread that ended without a trace had it.
        ends::reap_if_gone(resource.owner(handle).unwrap_or(0));
        let is_first = resource.owner(handle) != Some(me.id());
        resource.acquire(handle, me)?;
        if is_first {
            // Whether it was only tried is not told.
            order::note_entry(me, handle, hosted::place_of_entry(site), true);
        }
        Ok(())
    })
}

impl Resource {
    /// Announces the wait of `me` and searches for a cycle that it closed. As in a wait for a section, `me` waits for
    /// nothing while the program is told of one, and anew after it.
    fn announce(&self, handle: u64, me: TaskRef, request: Request) -> Result<()> {
        let mut beginning = Beginning { since: sys::now(), run: REGISTRY.runtime.run(), told: 0 };
        loop {
            self.begin_wait(handle, me, request, beginning)?;
            let Some((notice, ended)) = deadlocks::search_for_deadlock(me, || self.step_out(me)) else {
                return self.settle_wait(me);
            };
            beginning.told = notice.stands().unwrap_or(beginning.told);
            notice.tell();
            if let Some(reason) = ended {
                return Err(reason);
            }
        }
    }
}
