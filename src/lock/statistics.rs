//! Counts waits and holds of each section, while that is switched on. A wait that has ended with the section is counted
//! by the new owner, any other under the queue lock, so that nothing is counted for the next section of the slot; the
//! fast paths count nothing. That it is switched on and off is `host::statistics`'s.

use crate::base::memory::Shown;
use crate::state::registry::REGISTRY;
use crate::state::section::Section;
use crate::state::statistics::{Figures, HoldCopy};
use crate::state::task::Task;
use crate::sys;

impl Section {
    /// Counts a wait for the section with this handle, which has taken so long. `is_owner`: the caller owns it now.
    #[cold]
    pub(crate) fn count_wait(&self, handle: u64, time: u64, is_owner: bool) {
        self.with_figures(handle, is_owner, |figures| figures.count_wait(time));
    }

    /// Counts how long `me`, which is about to leave, has owned the section, if that is tracked.
    pub(crate) fn count_hold(&self, handle: u64, me: &Task) {
        if !REGISTRY.statistics.is_on() {
            return;
        }
        let hold = REGISTRY.holds.of_slot(REGISTRY.sections.index_of(self));
        let entry = hold.and_then(|hold| REGISTRY.holds.read(Shown::of(hold), me.id()));
        let Some((since, site)) = entry else { return };
        let hold = HoldCopy { time: sys::now().saturating_sub(since), site, thread_id: me.thread_id() };
        self.with_figures(handle, true, |figures| figures.count_hold(hold));
    }

    /// Calls `count` with the figures of the section with this handle, unless it has ended.
    fn with_figures(&self, handle: u64, is_owner: bool, count: impl FnOnce(&Figures)) {
        let Some(figures) = REGISTRY.statistics.table.get(REGISTRY.sections.index_of(self)) else { return };
        if is_owner && figures.are_of(handle) {
            // What the caller owns does not end.
            return count(figures);
        }
        if let Ok(_queue) = self.lock_queue_of(handle) {
            figures.begin(handle);
            count(figures);
        }
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use crate::handle;
    use crate::host::{runtime, statistics};
    use crate::lock::crst;
    use crate::state::section::SpinPolicy;
    use crate::state::sections;

    #[test]
    fn a_wait_is_not_counted_for_another_section_of_the_slot() {
        runtime::start().expect("memory");
        statistics::switch(true).expect("memory");
        let crst = crst::create(SpinPolicy::Adaptive).expect("a place");
        let section = sections::slot_of(crst);
        let index = handle::section_index(crst);
        let other = handle::section_handle(REGISTRY.copy(), index, handle::section_generation(crst) + 1);
        let counted = || {
            let figures = REGISTRY.statistics.table.get(index).and_then(|figures| figures.copy(crst));
            figures.map(|figures| (figures.all_waits(), figures.waited))
        };
        section.count_wait(other, 5, false);
        assert_eq!(counted(), None);
        section.count_wait(crst, 7, false);
        section.count_wait(other, 5, false);
        assert_eq!(counted(), Some((1, 7)));
        section.count_wait(crst, 2, true);
        assert_eq!(counted(), Some((2, 9)));
        crst::destroy(crst).expect("free");
    }
}
