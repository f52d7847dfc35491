//! What a reader copies while its owner changes it: names, waits, layers. None of it is torn.

use std::vec;

use super::*;
use crate::base::memory::{Here, Memory, Shown};
use crate::base::name::Name;
use crate::constants::WAIT_ALERTABLE;
use crate::error::Error;
use crate::state::layers::{Layer, LayerKind, Origin};
use crate::state::registry::REGISTRY;
use crate::view::picture::Picture;

/// One task changes something while another reads it.
fn read_during(change: ((u64, usize), Body), read: Body) -> Scene {
    scene(vec![change, (new_task(), read)], || {})
}

// ---- names ------------------------------------------------------------------------------------------------

static NAME: Name = Name::new();

/// Memory that a reader does not wait for: one read, and none if that was torn.
struct OneRead;

impl Memory for OneRead {
    const LIVE: bool = false;
    unsafe fn read<T, R>(&self, _address: usize, _take: impl FnOnce(&Shown<T>) -> R) -> Option<R> {
        None
    }
}

fn name_while_it_is_set() -> Scene {
    runtime::start().expect("memory for the arenas");
    NAME.set(b"first");
    let read = body(|| {
        let name = NAME.get_in::<OneRead>();
        assert!([&b"first"[..], b"the next", b""].contains(&name.bytes()), "a torn name");
    });
    read_during((new_task(), body(|| NAME.set(b"the next"))), read)
}

#[test]
fn a_name_is_never_torn() {
    holds_with_preemptions(2, name_while_it_is_set);
}

#[test]
fn control_name_without_the_reader_s_fence() {
    breaks_with_preemptions(
        2,
        Sight::Said("a torn name"),
        &[place("seqlock-read-fence")],
        name_while_it_is_set,
    );
}

#[test]
fn control_name_without_the_writer_s_fence() {
    let place = place("seqlock-write-fence");
    breaks_with_preemptions(2, Sight::Said("a torn name"), &[place], name_while_it_is_set);
}

#[test]
fn control_name_that_is_not_released() {
    breaks_with_preemptions(
        2,
        Sight::Said("a torn name"),
        &[place("seqlock-write-end")],
        name_while_it_is_set,
    );
}

// ---- names of targets ---------------------------------------------------------------------------------------

/// One thread names a target while another asks for the name.
fn target_while_it_is_named() -> Scene {
    runtime::start().expect("memory for the arenas");
    let read = body(|| {
        let name = REGISTRY.targets.name(&Here, Origin::Address, 7);
        assert!(name.is_none_or(|name| name.bytes() == b"n"), "a name that is not whole");
    });
    read_during((new_task(), body(|| REGISTRY.targets.intern(Origin::Address, 7, b"n"))), read)
}

#[test]
fn a_target_s_name_is_found_whole() {
    holds_with_preemptions(2, target_while_it_is_named);
}

#[test]
fn control_target_found_without_acquire() {
    let said = Sight::Said("a name that is not whole");
    breaks_with_preemptions(2, said, &[place("table-find")], target_while_it_is_named);
}

#[test]
fn control_target_added_without_release() {
    let said = Sight::Said("a name that is not whole");
    breaks_with_preemptions(2, said, &[place("table-add")], target_while_it_is_named);
}

// ---- waits ------------------------------------------------------------------------------------------------

/// A task waits for one section and then for another, each time from another site, while `read` copies its waits.
fn wait_after_wait(read: fn(task::TaskRef, u64)) -> Scene {
    let sections = [Protected::new(), Protected::new()];
    act_as(new_task(), || sections.iter().for_each(Protected::enter));
    let [first, second] = sections.map(|section| section.crst);
    let waiter = new_task();
    let wait = body(move || {
        for (crst, site) in [(first, 1), (second, 2)] {
            let waited = enter::enter_checked(crst, 0, Patience::Milliseconds(1), site);
            assert_eq!(waited, Err(Error::Timeout));
        }
    });
    read_during((waiter, wait), body(move || read(tasks::of_owner(waiter.0), first)))
}

fn wait_while_it_is_copied() -> Scene {
    wait_after_wait(|task, first| {
        if let Some(copy) = task.wait.copy() {
            assert_eq!(copy.awaited == first, copy.site == 1, "a torn wait");
        }
    })
}

#[test]
fn a_copy_is_of_one_wait() {
    holds_with_preemptions(2, wait_while_it_is_copied);
}

#[test]
fn control_copy_without_its_fence() {
    let place = place("wait-read-fence");
    breaks_with_preemptions(2, Sight::Said("a torn wait"), &[place], wait_while_it_is_copied);
}

/// What the second round of the search does.
fn wait_that_was_noted() -> Scene {
    wait_after_wait(|task, first| {
        task.wait.note_sequence();
        let (section, site) = (task.wait.awaited(), task.wait.site());
        if section != 0 && task.wait.is_as_noted() {
            assert_eq!(section == first, site == 1, "of another wait");
        }
    })
}

#[test]
fn what_was_read_of_a_noted_wait_is_of_that_wait() {
    holds_with_preemptions(2, wait_that_was_noted);
}

#[test]
fn control_noted_wait_without_its_fence() {
    let place = place("noted-wait-fence");
    breaks_with_preemptions(2, Sight::Said("of another wait"), &[place], wait_that_was_noted);
}

/// Both waits are for one section.
fn wait_for_the_same_while_it_is_copied() -> Scene {
    let section = Protected::new();
    act_as(new_task(), || section.enter());
    let (crst, waiter) = (section.crst, new_task());
    let wait = body(move || {
        for (option, site) in [(0, 1), (WAIT_ALERTABLE, 2)] {
            let waited = enter::enter_checked(crst, option, Patience::Milliseconds(1), site);
            assert_eq!(waited, Err(Error::Timeout));
        }
    });
    let read = body(move || {
        if let Some(copy) = tasks::of_owner(waiter.0).wait.copy() {
            assert_eq!(copy.option == 0, copy.site == 1, "a torn wait");
        }
    });
    read_during((waiter, wait), read)
}

#[test]
fn a_copy_is_of_one_wait_for_the_same_section() {
    holds_with_preemptions(2, wait_for_the_same_while_it_is_copied);
}

// ---- holds ------------------------------------------------------------------------------------------------

/// A task enters a section twice, from two places, while another reads its hold record.
fn hold_while_it_is_written() -> Scene {
    let section = Protected::new();
    crate::host::holds::set_tracking(true).expect("memory for the table");
    let (crst, owner) = (section.crst, new_task());
    let own = body(move || {
        for site in [1, 2] {
            assert_eq!(enter::enter_checked(crst, 0, Patience::Unbounded, site), Ok(true));
            leave(crst);
            // The clock goes on.
            sys::nap(1);
        }
    });
    let read = body(move || {
        let start = sys::now();
        let section = Picture::here().section(crst).expect("it lives");
        if let Some((since, site)) = section.hold {
            assert_eq!(since == start, site == 1, "since one entry, from the place of another");
        }
    });
    read_during((owner, own), read)
}

#[test]
fn a_hold_is_of_one_entry() {
    holds_with_preemptions(2, hold_while_it_is_written);
}

#[test]
fn control_hold_without_the_reader_s_fence() {
    let place = place("seqlock-read-fence");
    let said = Sight::Said("since one entry, from the place of another");
    breaks_with_preemptions(2, said, &[place], hold_while_it_is_written);
}

#[test]
fn control_hold_without_the_writer_s_fence() {
    let place = place("seqlock-write-fence");
    let said = Sight::Said("since one entry, from the place of another");
    breaks_with_preemptions(2, said, &[place], hold_while_it_is_written);
}

// ---- layers -----------------------------------------------------------------------------------------------

/// A task closes its inner layer and opens another in its place.
fn layers_while_one_is_replaced() -> Scene {
    runtime::start().expect("memory for the arenas");
    let owner = new_task();
    let task = tasks::of_owner(owner.0);
    let inner = LayerKind::ReverseEnter;
    act_as(owner, || {
        task.layers.push(LayerKind::Leave, Origin::Address, 1).expect("opened");
        task.layers.push(inner, Origin::Address, 2).expect("opened");
    });
    let replace = body(move || {
        task.layers.pop(inner).expect("closed");
        task.layers.push(inner, Origin::ClrFunction, 3).expect("opened");
    });
    let read = body(move || {
        let mut layers = [None; 2];
        let show = |index: usize, layer: Layer| layers[index] = Some((layer.origin, layer.target));
        let depth = threads::layers(tasks::handle_of(owner.0), 2, show).expect("it lives");
        let outer = Some((Origin::Address, 1));
        let inner = [Some((Origin::Address, 2)), Some((Origin::ClrFunction, 3))];
        assert!(layers[0] == outer && (depth == 1 || inner.contains(&layers[1])), "torn layers");
    });
    read_during((owner, replace), read)
}

#[test]
fn layers_are_those_of_one_moment() {
    holds_with_preemptions(2, layers_while_one_is_replaced);
}

#[test]
fn control_layers_without_the_target_s_acquire() {
    let place = place("layer-target-load");
    breaks_with_preemptions(2, Sight::Said("torn layers"), &[place], layers_while_one_is_replaced);
}

#[test]
fn control_layers_without_the_target_s_release() {
    let place = place("layer-target-store");
    breaks_with_preemptions(2, Sight::Said("torn layers"), &[place], layers_while_one_is_replaced);
}

#[test]
fn control_layers_without_the_stamp_s_acquire() {
    let places = [place("layer-stamp-load"), place("layers-read-fence")];
    breaks_with_preemptions(2, Sight::Said("torn layers"), &places, layers_while_one_is_replaced);
}

#[test]
fn control_layers_without_the_stamp_s_release() {
    let place = place("layer-stamp-store");
    breaks_with_preemptions(2, Sight::Said("torn layers"), &[place], layers_while_one_is_replaced);
}

/// A task that has layers of the last run makes its first transition in this one.
fn layers_of_the_last_run() -> Scene {
    runtime::start().expect("memory for the arenas");
    let owner = new_task();
    let task = tasks::of_owner(owner.0);
    act_as(owner, || task.layers.push(LayerKind::Leave, Origin::Address, 1).expect("opened"));
    runtime::stop().expect("it runs");
    runtime::start().expect("it was stopped");
    let push = body(move || task.layers.push(LayerKind::Leave, Origin::Address, 2).expect("opened"));
    let read = body(move || {
        let mut target = 0;
        let depth = threads::layers(tasks::handle_of(owner.0), 1, |_, layer| target = layer.target);
        assert!(depth == Ok(0) || (depth, target) == (Ok(1), 2), "layers of the last run");
    });
    read_during((owner, push), read)
}

#[test]
fn layers_are_of_this_run() {
    holds_with_preemptions(2, layers_of_the_last_run);
}

#[test]
fn control_layers_without_the_run_s_acquire() {
    let place = place("layers-run-load");
    breaks_with_preemptions(2, Sight::Said("layers of the last run"), &[place], layers_of_the_last_run);
}

// ---- the arenas -------------------------------------------------------------------------------------------

/// One thread starts the runtime, and another, which is no task and was told of nothing, sees it running: then it finds
/// the arenas that a handle leads to.
fn first_look_during_start() -> Scene {
    const NO_TASK: (u64, usize) = (0, 0);
    let start = body(|| assert_eq!(runtime::start(), Ok(true)));
    let read = body(|| {
        if REGISTRY.runtime.is_plain() {
            assert_ne!(REGISTRY.sections.capacity(), 0, "running, and no arena");
        }
    });
    scene(vec![(NO_TASK, start), (NO_TASK, read)], || {})
}

#[test]
fn who_sees_the_runtime_run_finds_the_arenas() {
    holds_with_preemptions(2, first_look_during_start);
}

#[test]
fn control_check_of_the_runtime_without_acquire() {
    let place = place("running-load");
    breaks_with_preemptions(2, Sight::Said("running, and no arena"), &[place], first_look_during_start);
}
