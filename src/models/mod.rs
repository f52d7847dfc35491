//! What loom and shuttle explore: the crate's own code, between threads that wait for each other.
//!
//! `sys::model` says how. A model is a function that sets the scene; `holds` explores it and `breaks` is its
//! negative control: with the ordering at one place of the source gone, the same scene must be seen to fail. The line
//! of such a place stands below a comment with its name (`places`). `random` has what shuttle runs.

mod bias;
mod condition;
mod deadlock;
mod mutex;
mod random;
mod readers;
mod resource;
mod srw;
mod successors;
mod waiting;

use std::boxed::Box;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::vec::Vec;

use loom::cell::UnsafeCell;

use crate::error::Result;
use crate::host::enter::Patience;
use crate::host::{ends, enter, runtime, threads};
use crate::lock::crst::{self, FastPath};
use crate::places::{SourceLine, place};
use crate::state::registry::REGISTRY;
use crate::state::section::{CONTENDER, HANDOFF, SpinPolicy};
use crate::state::wait::ASKS;
use crate::state::{section, sections, task, tasks};
use crate::sys;
use crate::sys::atomic::Ordering;
use crate::sys::model::{self, Barriers, Body, Outcome, Scene};

/// Explores all that can happen.
fn holds(scene: fn() -> Scene) {
    expect_holds(model::explore(None, &[], scene));
}

/// Explores all that can happen with so many preemptions, or with more if LOOM_MAX_PREEMPTIONS says so.
fn holds_with_preemptions(most: usize, scene: fn() -> Scene) {
    let asked = std::env::var("LOOM_MAX_PREEMPTIONS").ok();
    let most = asked.map_or(most, |number| most.max(number.parse().expect("LOOM_MAX_PREEMPTIONS: a number")));
    expect_holds(model::explore(Some(most), &[], scene));
}

fn expect_holds(outcome: Outcome) {
    match outcome {
        Outcome::Holds(executions) => {
            let thread = std::thread::current();
            show(format_args!("explored {}: {executions} executions", thread.name().unwrap_or("?")));
        }
        Outcome::Broken(how) => panic!("{how}"),
    }
}

/// A line that is shown of a test that passes, too: what println! writes is not.
fn show(line: core::fmt::Arguments<'_>) {
    let _ = std::writeln!(std::io::stdout(), "{line}");
}

/// What a negative control sees.
enum Sight {
    /// Threads that sleep for ever.
    LostWakeUp,
    /// Two threads in one section, or one that does not see what the last one did in it.
    Race,
    /// An assertion of the scene.
    Said(&'static str),
}

/// Explores with the orderings at `places` gone, and must see that the scene breaks.
fn breaks(sight: Sight, places: &[SourceLine], scene: fn() -> Scene) {
    expect_broken(None, sight, places, scene);
}

/// As breaks, with so many preemptions.
fn breaks_with_preemptions(most: usize, sight: Sight, places: &[SourceLine], scene: fn() -> Scene) {
    expect_broken(Some(most), sight, places, scene);
}

fn expect_broken(preemptions: Option<usize>, sight: Sight, places: &[SourceLine], scene: fn() -> Scene) {
    let expected = match sight {
        Sight::LostWakeUp => "deadlock; threads",
        Sight::Race => "Causality violation",
        Sight::Said(text) => text,
    };
    match model::explore(preemptions, places, scene) {
        Outcome::Holds(executions) => panic!("seen in none of {executions} executions: {expected}"),
        Outcome::Broken(how) => assert!(how.contains(expected), "not {expected}, but: {how}"),
    }
}

// ---- what scenes are made of ------------------------------------------------------------------------------

/// A new task: the words by which a thread becomes it.
fn new_task() -> (u64, usize) {
    sys::set_current(0, 0);
    threads::current().expect("a place for a task");
    let words = sys::current();
    sys::set_current(0, 0);
    words
}

/// A section and what it protects: how often it was entered, as loom watches it.
#[derive(Clone)]
struct Protected {
    crst: u64,
    count: Arc<Watched>,
}

/// A number that loom watches.
struct Watched(UnsafeCell<u32>);

// SAFETY: all threads of a model are one for the machine; what they do to the cell at once, loom reports.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

impl Protected {
    /// A new section. Starts the runtime if need be.
    fn new() -> Self {
        runtime::start().expect("memory for the arenas");
        let crst = crst::create(SpinPolicy::Adaptive).expect("a place for a section");
        Protected { crst, count: Arc::new(Watched(UnsafeCell::new(0))) }
    }

    /// Does what one may only do inside.
    fn touch(&self) {
        // SAFETY: loom says so if two threads do this at once, or one that does not see the other's.
        self.count.0.with_mut(|count| unsafe { *count += 1 });
    }

    /// What a thread does with it.
    fn then(&self, act: fn(&Self)) -> Body {
        let section = self.clone();
        body(move || act(&section))
    }

    fn count(&self) -> u32 {
        // SAFETY: as in touch.
        self.count.0.with(|count| unsafe { *count })
    }

    fn enter(&self) {
        self.enter_with(0, Patience::Unbounded).expect("entered");
    }

    fn enter_with(&self, option: u32, patience: Patience) -> Result<()> {
        enter(self.crst, option, patience).map(|_| ())
    }

    fn try_enter(&self) -> bool {
        enter(self.crst, 0, Patience::None).expect("free or owned")
    }

    fn leave(&self) {
        leave(self.crst);
    }

    fn touch_and_leave(&self) {
        self.touch();
        self.leave();
    }

    fn visit(&self) {
        self.enter();
        self.touch_and_leave();
    }

    /// At the end: nobody waits, nobody owns it, and so many have been in it.
    fn assert_free_after(&self, visits: u32) {
        let info = crst::info(self.crst).expect("it lives");
        assert_eq!((info.state, info.waiters), (section::State::Free, 0), "left and without waiters");
        assert_eq!(self.count(), visits);
    }
}

// These two are what the exported functions do, which may not unwind.

fn enter(crst: u64, option: u32, patience: Patience) -> Result<bool> {
    if crst::enter_now(crst, option) {
        return Ok(true);
    }
    enter::enter_checked(crst, option, patience, 0)
}

fn leave(crst: u64) {
    match crst::leave_fast(crst) {
        FastPath::Done => {}
        FastPath::DoneWithFollowUp => crst::wake_after_leave(crst),
        FastPath::Revoked => crst::settle_leave(crst),
        FastPath::NotTaken => crst::leave_checked(crst).expect("left"),
    }
}

/// Asks for hand-off as the contender, if there is one.
fn ask_for_hand_off(crst: u64) {
    let section = sections::slot_of(crst);
    let _queue = section.lock_queue();
    if section.queue_state().load(Ordering::Relaxed) & CONTENDER != 0 {
        REGISTRY.tasks.at(section.first_waiter()).wait.presence.store(ASKS, Ordering::Relaxed);
    }
}

/// Requests hand-off, as a contender does that has lost for a while.
fn request_hand_off(crst: u64) {
    let section = sections::slot_of(crst);
    let _queue = section.lock_queue();
    section.queue_state().fetch_or(HANDOFF, Ordering::Relaxed);
}

/// Does `act` as the task with these words, while the scene is set.
fn act_as(task: (u64, usize), act: impl FnOnce()) {
    sys::set_current(task.0, task.1);
    act();
    sys::set_current(0, 0);
}

fn body(run: impl FnOnce() + Send + 'static) -> Body {
    Box::new(run)
}

/// Sets the scene: what each task does, and what holds in the end.
fn scene(threads: Vec<((u64, usize), Body)>, after: impl FnOnce() + Send + 'static) -> Scene {
    Scene { threads, after: body(after) }
}

/// It would be most of what a run of all models shows.
#[test]
fn what_models_say_goes_nowhere() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    assert_eq!(sys::write_at_once(writer.as_raw_fd(), sys::Way::Pipe, b"said"), Some(4));
    drop(writer);
    let mut said = Vec::new();
    assert_eq!(reader.read_to_end(&mut said).expect("read"), 0, "said: {said:?}");
}
