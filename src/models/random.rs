//! Programs drawn at random, run in orders drawn at random: more tasks than loom can follow, and an oracle that judges
//! every answer.
//!
//! The oracle knows nothing of the library's search. It keeps who owns what, from after the return of enter until before
//! the call of leave, and who waits for what, from before the call of enter until after its return.
//!
//! **Why its verdict is sound.** The members of a cycle are all blocked, and nothing here but the refusal of one of them, or
//! an alert, opens a cycle. Each told the oracle of what it owns and then of its wait, so the oracle sees every cycle
//! when the last of them begins its wait, and marks those waits. A refused wait must be marked, and unless an alert ended a
//! wait of the cycle, the cycle must still be seen by the task that was refused: then a second refusal for one cycle shows
//! as well, for it finds the first one's wait gone. A cycle that was missed leaves threads asleep for ever, which shuttle
//! reports.

use core::ffi::c_void;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::string::String;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};

use super::*;
use crate::error::Error;
use crate::ffi::deadlock::host_deadlock_t;
use crate::registry::REGISTRY;
use crate::sys::model::Strategy;
use crate::wait_graph::{self, WAIT_NOTINDEADLOCK};
use crate::waiting::WAIT_ALERTABLE;

// ---- drawing orders ---------------------------------------------------------------------------------------

/// How many orders are drawn from one seed.
const ORDERS: usize = 1000;
const STRATEGIES: [Strategy; 3] = [Strategy::AnyThread, Strategy::Preemptions(3), Strategy::Preemptions(10)];
const FIXED_SEEDS: [u64; 3] = [1, 2, 3];
/// Shuttle takes the seed that this variable holds, whatever it is told.
const SEED: &str = "SHUTTLE_RANDOM_SEED";
/// For how long to go on with new seeds.
const SECONDS: &str = "SHUTTLE_SECONDS";

fn number_in(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("a number"))
}

fn holds_at_random(scene: fn() -> Scene) {
    match number_in(SEED) {
        Some(seed) => holds_from(seed, scene),
        None => {
            let end = Instant::now() + Duration::from_secs(number_in(SECONDS).unwrap_or(0));
            FIXED_SEEDS.into_iter().for_each(|seed| holds_from(seed, scene));
            holds_from(new_seed(), scene);
            while Instant::now() < end {
                holds_from(new_seed(), scene);
            }
        }
    }
}

fn holds_from(seed: u64, scene: fn() -> Scene) {
    for strategy in STRATEGIES {
        if let Outcome::Broken(how) = model::wander(strategy, seed, ORDERS, &[], scene) {
            panic!("{how}\n{strategy:?}; again: {SEED}={seed} ./dev check shuttle");
        }
    }
    let Seen { orders, broken, stood, interrupted } = SEEN.take();
    assert!(broken + stood != 0, "no deadlock in {orders} orders");
    std::println!(
        "seed {seed}: {orders} orders, {broken} deadlocks broken, {stood} stood, {interrupted} waits interrupted"
    );
}

/// What happened in all executions since this was last asked.
#[derive(Clone, Copy, Default)]
struct Seen {
    orders: u64,
    broken: u64,
    stood: u64,
    interrupted: u64,
}

std::thread_local! {
    static SEEN: Cell<Seen> = Cell::default();
}

fn new_seed() -> u64 {
    RandomState::new().hash_one(())
}

/// With what stands at `place` left out, one of the orders from the fixed seeds must break the scene: one of these is
/// said then. Not where a failure is run again, as all seeds are one then.
pub(super) fn breaks_at_random(said: &[&str], place: Place, scene: fn() -> Scene) {
    if number_in(SEED).is_some() {
        return;
    }
    let left_out = [(place.file, place.line())];
    let tries = FIXED_SEEDS.into_iter().flat_map(|seed| STRATEGIES.map(|strategy| (strategy, seed)));
    for (strategy, seed) in tries {
        if let Outcome::Broken(how) = model::wander(strategy, seed, ORDERS, &left_out, scene) {
            assert!(said.iter().any(|text| how.contains(text)), "none of {said:?}, but: {how}");
            return;
        }
    }
    panic!("seen in no order: {said:?}");
}

// ---- the oracle -------------------------------------------------------------------------------------------

/// How a task waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unbounded,
    Alertable,
    /// Also alertable: only an alert can end a cycle of such waits.
    NotBreakable,
    Limited,
    Try,
}

impl Kind {
    fn draw() -> Self {
        match thread_rng().gen_range(0..16) {
            0 => Kind::Try,
            1 | 2 => Kind::Limited,
            3 => Kind::Alertable,
            4..=6 => Kind::NotBreakable,
            _ => Kind::Unbounded,
        }
    }

    fn option(self) -> u32 {
        match self {
            Kind::Alertable => WAIT_ALERTABLE,
            Kind::NotBreakable => WAIT_ALERTABLE | WAIT_NOTINDEADLOCK,
            Kind::Unbounded | Kind::Limited | Kind::Try => 0,
        }
    }

    fn patience(self) -> Patience {
        match self {
            Kind::Try => Patience::None,
            Kind::Limited => Patience::Milliseconds(1),
            Kind::Unbounded | Kind::Alertable | Kind::NotBreakable => Patience::Unbounded,
        }
    }
}

#[derive(Clone, Copy)]
struct KnownWait {
    section: usize,
    kind: Kind,
    /// How many waits an alert had ended when it began.
    interrupted_before: u64,
    /// It was part of a cycle.
    closed: bool,
    /// It was part of a cycle that stands and was told of.
    told: bool,
}

/// A section as the tasks know it.
#[derive(Default)]
struct KnownSection {
    owner: Option<usize>,
    entries: u32,
    destroyed: bool,
}

#[derive(Default)]
struct Oracle {
    sections: Vec<KnownSection>,
    waits: Vec<Option<KnownWait>>,
    /// Alerts sent to each task that have ended no wait so far.
    alerts: Vec<u32>,
    refused: u64,
    /// Cycles that stood.
    stood: u64,
    interrupted: u64,
    /// What the callback, which may not unwind, found wrong.
    wrong: Option<String>,
}

impl Oracle {
    fn new(tasks: usize, sections: usize) -> Self {
        Oracle {
            sections: (0..sections).map(|_| KnownSection::default()).collect(),
            waits: (0..tasks).map(|_| None).collect(),
            alerts: (0..tasks).map(|_| 0).collect(),
            ..Oracle::default()
        }
    }

    /// The tasks of the cycle through the wait of `task`, if there is one.
    fn cycle(&self, task: usize) -> Option<Vec<usize>> {
        let mut tasks = Vec::new();
        let mut here = task;
        while tasks.len() < self.waits.len() {
            tasks.push(here);
            let wait = self.waits[here].filter(|wait| wait.kind.patience() == Patience::Unbounded)?;
            here = self.sections[wait.section].owner?;
            if here == task {
                return Some(tasks);
            }
        }
        None
    }

    /// Whether an alert may have opened a cycle of which `wait` was part.
    fn may_be_opened(&self, wait: KnownWait) -> bool {
        self.interrupted != wait.interrupted_before
    }

    fn wait(&mut self, task: usize) -> &mut KnownWait {
        self.waits[task].as_mut().expect("it waits")
    }

    fn begin(&mut self, task: usize, section: usize, kind: Kind) {
        let interrupted_before = self.interrupted;
        self.waits[task] = Some(KnownWait { section, kind, interrupted_before, closed: false, told: false });
        for member in self.cycle(task).into_iter().flatten() {
            self.wait(member).closed = true;
        }
    }

    /// Judges the answer that `task` got.
    fn end(&mut self, task: usize, answer: Result<bool>) {
        let wait = *self.wait(task);
        let cycle = self.cycle(task);
        self.waits[task] = None;
        let section = &mut self.sections[wait.section];
        match answer {
            Ok(true) => {
                assert!(section.owner.is_none_or(|owner| owner == task), "two owners");
                assert!(!section.destroyed, "entered what was destroyed");
                section.owner = Some(task);
                section.entries += 1;
            }
            Ok(false) => assert_eq!(wait.kind, Kind::Try),
            Err(Error::Deadlock) => {
                assert!(matches!(wait.kind, Kind::Unbounded | Kind::Alertable), "refused {:?}", wait.kind);
                assert!(wait.closed, "refused without a cycle");
                assert!(cycle.is_some() || self.may_be_opened(wait), "refused after the cycle was broken");
                self.refused += 1;
            }
            Err(Error::Timeout) => assert_eq!(wait.kind, Kind::Limited),
            Err(Error::Interrupted) => {
                assert!(wait.kind.option() & WAIT_ALERTABLE != 0 && self.alerts[task] != 0, "not alerted");
                self.alerts[task] -= 1;
                self.interrupted += 1;
            }
            Err(Error::Abandoned | Error::Handle) => assert!(section.destroyed, "not destroyed"),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The wait of `closer` closed a cycle, and no wait is to be broken.
    fn stands(&mut self, closer: usize) {
        self.stood += 1;
        let wait = *self.wait(closer);
        if !wait.closed {
            self.wrong = Some("a cycle is told of that is none".into());
        }
        if wait.told {
            self.wrong = Some("a cycle is told of twice".into());
        }
        if self.may_be_opened(wait) {
            // By now there may be another cycle through this wait.
            self.wait(closer).told = true;
            return;
        }
        for member in self.cycle(closer).into_iter().flatten() {
            let wait = self.wait(member);
            wait.told = true;
            if wait.kind != Kind::NotBreakable {
                self.wrong = Some("a cycle stands that could be broken".into());
            }
        }
    }
}

// ---- programs ---------------------------------------------------------------------------------------------

/// What the tasks of a program share.
struct Program {
    crsts: Vec<u64>,
    tasks: Vec<(u64, usize)>,
    oracle: Mutex<Oracle>,
}

impl Program {
    /// Not to be held where another thread may run.
    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().expect("the first panic ends the execution")
    }

    fn enter(&self, task: usize, section: usize, kind: Kind) -> Result<bool> {
        self.oracle().begin(task, section, kind);
        let answer = enter(self.crsts[section], kind.option(), kind.patience());
        self.oracle().end(task, answer);
        answer
    }

    /// Enters one section and then another, and leaves what it got.
    fn enter_both(&self, task: usize, [first, second]: [usize; 2], kind: Kind) {
        let entered = [first, second].map(|section| (section, self.enter(task, section, kind)));
        for (section, answer) in entered {
            if answer.is_ok() {
                self.leave(section);
            }
        }
    }

    fn leave(&self, section: usize) {
        {
            let known = &mut self.oracle().sections[section];
            known.entries -= 1;
            if known.entries == 0 {
                known.owner = None;
            }
        }
        leave(self.crsts[section]);
    }

    fn destroy(&self, section: usize) {
        self.oracle().sections[section] = KnownSection { destroyed: true, ..KnownSection::default() };
        crst::destroy(self.crsts[section]).expect("the owner may");
    }

    fn alert(&self, task: usize) {
        self.oracle().alerts[task] += 1;
        task::alert(task::handle_of(self.tasks[task].0)).expect("it lives");
    }

    /// All that `task` has is still as it was.
    fn assert_has(&self, task: usize, held: &[usize]) {
        for &section in held {
            let info = crst::info(self.crsts[section]).expect("it lives");
            let entries = self.oracle().sections[section].entries;
            assert_eq!((info.owner, info.recursion), (self.tasks[task].0, entries), "what it had");
        }
    }

    /// What a task does: enters a few sections, whichever they are, and leaves them; and again.
    fn wander(&self, task: usize) {
        const ROUNDS: usize = 3;
        for _ in 0..ROUNDS {
            let mut held = Vec::new();
            for _ in 0..thread_rng().gen_range(2..=4) {
                self.do_something_else(&mut held);
                let section = thread_rng().gen_range(0..self.crsts.len());
                match self.enter(task, section, Kind::draw()) {
                    Ok(true) => held.push(section),
                    Err(Error::Deadlock) => {
                        self.assert_has(task, &held);
                        break;
                    }
                    _ => {}
                }
            }
            while !held.is_empty() {
                let section = held.swap_remove(thread_rng().gen_range(0..held.len()));
                if thread_rng().gen_ratio(1, 8) {
                    // As a contender does that has lost for a while.
                    ask_for_hand_off(self.crsts[section]);
                }
                self.leave(section);
            }
        }
    }

    fn do_something_else(&self, held: &mut Vec<usize>) {
        match thread_rng().gen_range(0..40) {
            0..=2 => self.alert(thread_rng().gen_range(0..self.tasks.len())),
            3 => {
                if let Some(section) = held.pop() {
                    held.retain(|&other| other != section);
                    self.destroy(section);
                }
            }
            _ => {}
        }
    }

    fn assert_all_ended(&self) {
        let oracle = self.oracle();
        assert_eq!(oracle.wrong, None);
        assert_eq!(REGISTRY.deadlocks.found(), oracle.refused + oracle.stood, "deadlocks found");
        assert_eq!(REGISTRY.deadlocks.broken(), oracle.refused, "deadlocks broken");
        let seen = SEEN.get();
        SEEN.set(Seen {
            orders: seen.orders + 1,
            broken: seen.broken + oracle.refused,
            stood: seen.stood + oracle.stood,
            interrupted: seen.interrupted + oracle.interrupted,
        });
        for (&crst, known) in self.crsts.iter().zip(&oracle.sections) {
            let state = crst::info(crst).ok().map(|info| (info.state, info.waiters));
            assert_eq!(state, (!known.destroyed).then_some((crst::State::Free, 0)), "in the end");
        }
    }
}

/// Opens a cycle that stands, by alerting the task that closed it: the caller.
extern "C" fn on_deadlock(deadlock: *const host_deadlock_t, program: *mut c_void) {
    // SAFETY: the library hands over a deadlock and the context that was set; the program lives as long as its tasks.
    let (deadlock, program) = unsafe { (&*deadlock, &*program.cast_const().cast::<Program>()) };
    if deadlock.victim == 0 {
        let me = sys::current_id();
        let closer = program.tasks.iter().position(|task| task.0 == me).expect("a task of the program");
        program.oracle().stands(closer);
        // Callbacks take their time.
        shuttle::thread::yield_now();
        program.alert(closer);
    }
}

/// So many tasks and sections, and what each task does.
fn program(tasks: usize, sections: usize, act: fn(&Program, usize)) -> Scene {
    runtime::start().expect("memory for the arenas");
    let crsts = (0..sections).map(|_| crst::create(SpinPolicy::Adaptive).expect("a place for a section"));
    let program = Arc::new(Program {
        crsts: crsts.collect(),
        tasks: (0..tasks).map(|_| new_task()).collect(),
        oracle: Mutex::new(Oracle::new(tasks, sections)),
    });
    wait_graph::set_callback(Some(on_deadlock), Arc::as_ptr(&program).cast_mut().cast());
    let task = |number: usize| {
        let program = program.clone();
        (program.tasks[number], body(move || act(&program, number)))
    };
    let threads = (0..tasks).map(task).collect();
    scene(threads, move || program.assert_all_ended())
}

fn programs_at_random() -> Scene {
    let scene = program(thread_rng().gen_range(3..=6), thread_rng().gen_range(3..=5), Program::wander);
    if thread_rng().gen_ratio(1, 2) {
        REGISTRY.bias.lend_at_once();
    }
    if thread_rng().gen_ratio(1, 4) {
        model::set_barriers(Barriers::RefusedButTimePasses);
    }
    scene
}

#[test]
fn every_deadlock_is_broken_and_nothing_else_is() {
    holds_at_random(programs_at_random);
}

#[test]
fn control_search_that_forgets_what_it_noted() {
    let place = place!("waiting.rs", "self.noted.store(self.number(), Ordering::Relaxed);");
    breaks_at_random(&["deadlock! blocked tasks"], place, programs_at_random);
}

#[test]
fn control_search_without_its_lock() {
    let place = place!("wait_graph.rs", "let guard = deadlocks.lock.lock();");
    breaks_at_random(&["refused after the cycle was broken", "deadlocks found"], place, programs_at_random);
}

/// Two tasks whose waits are not to be broken.
fn cycle_that_stands() -> Scene {
    program(2, 2, |program, task| program.enter_both(task, [task, 1 - task], Kind::NotBreakable))
}

#[test]
fn a_cycle_that_stands_is_told_of_once() {
    holds_at_random(cycle_that_stands);
}

#[test]
fn control_cycle_that_is_not_marked_as_told() {
    let place = place!("waiting.rs", "self.set_told_number(self.noted.load(");
    breaks_at_random(&["a cycle is told of twice"], place, cycle_that_stands);
}
