//! Programs drawn at random, run in orders drawn at random: more tasks than loom can follow, and an oracle that judges
//! every answer.
//!
//! Each program has some of these: tasks that end, politely or in their sections, and others in their slots; sections
//! that are destroyed and made anew, and spin counts that are set meanwhile; stops and starts of the runtime; a section
//! of Windows' with a condition variable; SRW locks among the sections; a lock made of waits on its address, and an
//! initialisation that is run once; sections biased at once, soon or never; a heavy barrier that is refused; processors to
//! spare, so that waiters stand by.

mod oracle;
mod windows;

use core::ffi::c_void;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};

use super::*;
use crate::error::Error;
use crate::host::deadlocks;
use crate::lock::srw::Mode;
use crate::state::deadlocks::host_deadlock_t;
use crate::state::registry::REGISTRY;
use crate::sys::model::Strategy;
use oracle::{Kind, Oracle, SRW_LOCKS, Seen};
use windows::Windows;

// ---- drawing orders ---------------------------------------------------------------------------------------

/// How many orders are drawn from one seed.
const ORDERS: usize = 700;
const STRATEGIES: [Strategy; 3] = [Strategy::AnyThread, Strategy::Preemptions(3), Strategy::Preemptions(10)];
const FIXED_SEEDS: [u64; 3] = [1, 2, 3];
/// From how many seeds a mistake is searched for, until it is seen.
const SEEDS_FOR_MISTAKES: u64 = 64;
/// Shuttle takes the seed that this variable holds, whatever it is told.
const SEED: &str = "SHUTTLE_RANDOM_SEED";
/// For how long to go on with new seeds.
const SECONDS: &str = "SHUTTLE_SECONDS";

fn number_in(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("a number"))
}

/// `shows` says whether what happened from one seed is all that is meant to.
fn holds_at_random(scene: fn() -> Scene, shows: fn(&Seen) -> bool) {
    let holds_from = |seed| holds_from(seed, scene, shows);
    match number_in(SEED) {
        Some(seed) => holds_from(seed),
        None => {
            let end = Instant::now() + Duration::from_secs(number_in(SECONDS).unwrap_or(0));
            FIXED_SEEDS.into_iter().for_each(holds_from);
            holds_from(new_seed());
            while Instant::now() < end {
                holds_from(new_seed());
            }
        }
    }
}

fn holds_from(seed: u64, scene: fn() -> Scene, shows: fn(&Seen) -> bool) {
    for strategy in STRATEGIES {
        if let Outcome::Broken(how) = model::wander(strategy, seed, ORDERS, &[], scene) {
            panic!("{how}\n{strategy:?}; again: {SEED}={seed} ./dev check shuttle");
        }
    }
    let seen = SEEN.take();
    assert!(shows(&seen), "not all that is meant to happen: {seen:?}");
    show(format_args!("seed {seed}: {seen:?}"));
}

std::thread_local! {
    /// In all executions since this was last asked.
    static SEEN: Cell<Seen> = Cell::default();
}

fn new_seed() -> u64 {
    RandomState::new().hash_one(())
}

/// With what stands at `place` left out, one of the orders from the fixed seeds must break the scene: one of these is
/// said then. Not where a failure is run again, as all seeds are one then.
pub(super) fn breaks_at_random(said: &[&str], place: SourceLine, scene: fn() -> Scene) {
    if number_in(SEED).is_some() {
        return;
    }
    let left_out = [place];
    let tries = (1..=SEEDS_FOR_MISTAKES).flat_map(|seed| STRATEGIES.map(|strategy| (strategy, seed)));
    // A mistake may also show in another way first.
    let mut others = Vec::new();
    for (strategy, seed) in tries {
        if let Outcome::Broken(how) = model::wander(strategy, seed, ORDERS, &left_out, scene) {
            if said.iter().any(|text| how.contains(text)) {
                return;
            }
            others.push(how);
        }
    }
    panic!("seen in no order: {said:?}, but {others:?}");
}

// ---- programs ---------------------------------------------------------------------------------------------

/// What the tasks of a program share.
struct Program {
    oracle: Mutex<Oracle>,
    windows: Windows,
    mix: Mix,
}

/// What happens in a program.
#[derive(Clone, Copy)]
struct Mix {
    alerts: bool,
    ends: bool,
    replacements: bool,
    stops: bool,
    windows: bool,
    srw_locks: bool,
    addresses: bool,
    /// With processors to spare.
    spares: bool,
}

impl Mix {
    const NOTHING: Mix = Mix {
        alerts: false,
        ends: false,
        replacements: false,
        stops: false,
        windows: false,
        srw_locks: false,
        addresses: false,
        spares: false,
    };

    fn draw() -> Self {
        let draw = || thread_rng().gen_ratio(1, 2);
        Mix {
            alerts: draw(),
            ends: draw(),
            replacements: draw(),
            stops: draw(),
            windows: draw(),
            srw_locks: draw(),
            addresses: draw(),
            spares: draw(),
        }
    }
}

fn one_in(most: u32) -> bool {
    thread_rng().gen_ratio(1, most)
}

/// What a task has.
#[derive(Default)]
struct Held {
    sections: Vec<usize>,
    /// Exclusively. It acquires those with higher numbers only, and waits for sections so that the wait can be broken: no
    /// cycle is of waits for SRW locks and such as are not to be broken alone.
    srw_locks: Vec<usize>,
}

impl Held {
    fn draw_kind(&self) -> Kind {
        if self.srw_locks.is_empty() { Kind::draw() } else { Kind::draw_breakable() }
    }
}

impl Program {
    /// Not to be held where another thread may run.
    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().expect("the first panic ends the execution")
    }

    fn enter(&self, task: usize, section: usize, kind: Kind) -> Result<bool> {
        let crst = self.oracle().begin_wait(task, section, kind);
        let answer = enter(crst, kind.option(), kind.patience());
        self.oracle().end_wait(task, answer);
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
        let crst = self.oracle().leave(section);
        leave(crst);
    }

    fn alert(&self, task: usize) {
        let id = self.oracle().alert(task);
        let alerted = threads::alert(tasks::handle_of(id));
        let has_ended = self.oracle().ids[task] != id || id == 0;
        assert!(alerted == Ok(()) || (alerted == Err(Error::Handle) && has_ended), "{alerted:?}");
    }

    /// All that `task` has is still as it was.
    fn assert_has(&self, task: usize, held: &[usize]) {
        for &section in held {
            let (crst, entries, id) = {
                let oracle = self.oracle();
                let known = &oracle.sections[section];
                (known.crst, known.entries, oracle.ids[task])
            };
            let info = crst::info(crst).expect("it lives");
            assert_eq!((info.owner, info.recursion), (id, entries), "what it had");
        }
    }

    /// What a task does: enters a few sections, whichever they are, and leaves them or ends in them; and again.
    fn wander(&self, task: usize) {
        const ROUNDS: usize = 3;
        for _ in 0..ROUNDS {
            let mut held = Held::default();
            for _ in 0..thread_rng().gen_range(2..=4) {
                self.do_something_else(&mut held.sections);
                self.visit_windows_locks(task, &mut held);
                let section = self.draw_place().1;
                match self.enter(task, section, held.draw_kind()) {
                    Ok(true) => held.sections.push(section),
                    Err(Error::Deadlock) => {
                        self.assert_has(task, &held.sections);
                        break;
                    }
                    Err(Error::Abandoned) => self.recover(task, section, &mut held.sections),
                    Err(Error::NotAvailable) if one_in(2) => self.start(),
                    Err(Error::Handle) => self.make_anew(),
                    _ => {}
                }
            }
            if one_in(2) {
                self.release_all(&mut held);
            }
            if self.mix.ends && one_in(4) {
                self.release_all(&mut held);
                self.end(task, &held.sections);
                continue;
            }
            self.leave_all(&mut held.sections);
            self.release_all(&mut held);
            if self.mix.windows && one_in(2) {
                self.sleep(u32::MAX);
            }
        }
        if self.mix.windows {
            self.windows.finish();
        }
    }

    fn leave_all(&self, held: &mut Vec<usize>) {
        while !held.is_empty() {
            let section = held.swap_remove(thread_rng().gen_range(0..held.len()));
            if one_in(8) {
                // As a contender does that has lost or spun for a while.
                let crst = self.oracle().sections[section].crst;
                if one_in(2) { request_hand_off(crst) } else { ask_for_hand_off(crst) }
            }
            self.leave(section);
        }
    }

    /// Acquires or shares an SRW lock, is in what a lock at an address protects, initialises once.
    fn visit_windows_locks(&self, task: usize, held: &mut Held) {
        let first = held.srw_locks.last().map_or(0, |last| last + 1);
        match thread_rng().gen_range(0..16) {
            0..=3 if self.mix.srw_locks && first < SRW_LOCKS => {
                let lock = thread_rng().gen_range(first..SRW_LOCKS);
                self.acquire(task, lock, Mode::Exclusive);
                held.srw_locks.push(lock);
            }
            4 | 5 if self.mix.srw_locks && first < SRW_LOCKS => {
                let lock = thread_rng().gen_range(first..SRW_LOCKS);
                self.acquire(task, lock, Mode::Shared);
                self.release(lock, Mode::Shared);
            }
            6 if self.mix.srw_locks => {
                let lock = thread_rng().gen_range(0..SRW_LOCKS);
                self.try_acquire(task, lock);
            }
            7..=9 if self.mix.addresses => {
                let slept = self.windows.visit_lock_at_address();
                self.oracle().seen.slept_at_address += u64::from(slept);
            }
            10..=12 if self.mix.addresses => {
                if let Some(is_done) = self.windows.initialise_once(one_in(3)) {
                    let seen = &mut self.oracle().seen;
                    let count = if is_done { &mut seen.initialised } else { &mut seen.not_initialised };
                    *count += 1;
                }
            }
            _ => {}
        }
    }

    fn acquire(&self, task: usize, lock: usize, mode: Mode) {
        self.oracle().begin_acquiring(task, lock);
        self.windows.acquire(lock, mode);
        self.oracle().end_acquiring(task, lock, mode);
    }

    fn try_acquire(&self, task: usize, lock: usize) {
        if self.windows.try_acquire(lock) {
            self.oracle().end_acquiring(task, lock, Mode::Exclusive);
            self.release(lock, Mode::Exclusive);
        }
    }

    fn release(&self, lock: usize, mode: Mode) {
        self.oracle().release(lock, mode);
        self.windows.release(lock, mode);
    }

    fn release_all(&self, held: &mut Held) {
        while !held.srw_locks.is_empty() {
            let lock = held.srw_locks.swap_remove(thread_rng().gen_range(0..held.srw_locks.len()));
            self.release(lock, Mode::Exclusive);
        }
    }

    /// A place, and the section there.
    fn draw_place(&self) -> (usize, usize) {
        let oracle = self.oracle();
        let place = thread_rng().gen_range(0..oracle.places.len());
        (place, oracle.places[place])
    }

    fn do_something_else(&self, held: &mut Vec<usize>) {
        let Mix { alerts, replacements, stops, windows, .. } = self.mix;
        match thread_rng().gen_range(0..40) {
            0..=2 if alerts => {
                let tasks = self.oracle().ids.len();
                self.alert(thread_rng().gen_range(0..tasks));
            }
            3 | 4 if replacements => {
                if let Some(section) = held.pop() {
                    held.retain(|&other| other != section);
                    let crst = self.oracle().destroy(section);
                    ends::destroy(crst).expect("the owner may");
                    self.make_anew();
                }
            }
            5..=7 if replacements => self.destroy_what_is_free(held),
            8..=10 if replacements => self.make_anew(),
            11..=13 if replacements => {
                let section = self.draw_place().1;
                let crst = self.oracle().begin_setting_spin_count(section);
                let set = crst::set_spin_count(crst, 7);
                self.oracle().end_setting_spin_count(section, set);
            }
            14..=16 if stops => self.stop_and_start(),
            17..=19 if windows => self.sleep(1),
            20..=22 if windows => {
                self.windows.change_and_wake_one();
            }
            _ => {}
        }
    }

    fn destroy_what_is_free(&self, held: &[usize]) {
        let section = self.draw_place().1;
        if !held.contains(&section) {
            let crst = self.oracle().begin_destroying(section);
            let destroyed = ends::destroy(crst);
            self.oracle().end_destroying(section, destroyed);
        }
    }

    /// Makes a section in the place of one that was destroyed.
    fn make_anew(&self) {
        let (place, section) = self.draw_place();
        let since = {
            let oracle = self.oracle();
            oracle.sections[section].destroyed.then(|| oracle.now())
        };
        if let Some(since) = since {
            let made = crst::create(SpinPolicy::Adaptive);
            self.oracle().end_making(place, since, made);
        }
    }

    fn recover(&self, task: usize, section: usize, held: &mut Vec<usize>) {
        let (since, crst) = {
            let oracle = self.oracle();
            (oracle.now(), oracle.sections[section].crst)
        };
        let recovered = enter::recover(crst, 0);
        self.oracle().end_recovering(task, section, since, recovered);
        if recovered.is_ok() {
            held.push(section);
        }
    }

    /// The task ends, in these sections; its thread becomes another one.
    fn end(&self, task: usize, held: &[usize]) {
        let waits: Vec<_> = {
            let oracle = self.oracle();
            let waits = oracle.ids.iter().zip(&oracle.waits);
            let waits = waits.filter_map(|(&id, wait)| wait.map(|wait| (id, wait)));
            let waits = waits.filter_map(|(id, wait)| Some((id, wait.number, wait.awaited.section()?)));
            let waits = waits.filter(|(_, _, section)| held.contains(section));
            waits.map(|(id, number, section)| (id, number, oracle.sections[section].crst)).collect()
        };
        let is_queued = |&&(id, _, crst): &&(u64, u64, u64)| tasks::of_owner(id).wait.awaited() == crst;
        let queued: Vec<_> = waits.iter().filter(is_queued).map(|&(_, number, _)| number).collect();
        self.oracle().end_task(task, held, &queued);
        model::end_thread();
        let id = threads::current().expect("a place for a task").id();
        self.oracle().ids[task] = id;
    }

    fn stop_and_start(&self) {
        let begun = self.oracle().begin_stopping();
        if begun {
            assert_eq!(runtime::stop(), Ok(true));
            shuttle::thread::yield_now();
            self.start();
        }
    }

    fn start(&self) {
        if runtime::start().expect("it can be started") {
            self.oracle().stopped = false;
        }
    }

    /// Sleeps until something changes or for so long; without limit only if others will change something.
    fn sleep(&self, milliseconds: u32) {
        let tasks = self.oracle().ids.len();
        if self.windows.sleep(milliseconds, tasks) {
            self.oracle().seen.slept += 1;
        }
    }

    fn assert_all_ended(&self) {
        let oracle = self.oracle();
        assert_eq!(oracle.wrong, None);
        let seen = &oracle.seen;
        assert_eq!(REGISTRY.deadlocks.found(), seen.broken + seen.stood, "deadlocks found");
        assert_eq!(REGISTRY.deadlocks.broken(), seen.broken, "deadlocks broken");
        let mut all = SEEN.get();
        all.add(*seen);
        SEEN.set(all);
        for known in &oracle.sections {
            let state = crst::info(known.crst).ok().map(|info| (info.state, info.waiters));
            let rests = if known.abandoned { section::State::Abandoned } else { section::State::Free };
            assert_eq!(state, (!known.destroyed).then_some((rests, 0)), "in the end");
            let is_adaptive = sections::slot_of(known.crst).spin_policy() == SpinPolicy::Adaptive;
            assert!(known.destroyed || known.spin_count_set || is_adaptive, "the spin count of another");
        }
        self.windows.assert_free();
        let misused = REGISTRY.win32.all().find(|(_, count, ..)| *count != 0);
        assert_eq!(misused, None, "a misuse that there was not");
    }
}

/// Opens a cycle that stands, by alerting the task that closed it: the caller.
extern "C" fn on_deadlock(deadlock: *const host_deadlock_t, program: *mut c_void) {
    // SAFETY: the library hands over a deadlock and the context that was set; the program lives as long as its tasks.
    let (deadlock, program) = unsafe { (&*deadlock, &*program.cast_const().cast::<Program>()) };
    if deadlock.victim == 0 {
        let me = sys::current_id();
        let closer = {
            let mut oracle = program.oracle();
            let closer = oracle.ids.iter().position(|&id| id == me).expect("a task of the program");
            oracle.stands(closer);
            closer
        };
        // Callbacks take their time.
        shuttle::thread::yield_now();
        program.alert(closer);
    }
}

/// So many tasks and sections, what may happen, and what each task does.
fn program(tasks: usize, sections: usize, mix: Mix, act: fn(&Program, usize)) -> Scene {
    runtime::start().expect("memory for the arenas");
    if mix.spares {
        REGISTRY.processors.store(4, Ordering::Relaxed);
    }
    let tasks: Vec<_> = (0..tasks).map(|_| new_task()).collect();
    let ids = tasks.iter().map(|&(id, _)| id).collect();
    let crsts = (0..sections).map(|_| crst::create(SpinPolicy::Adaptive).expect("a place for a section"));
    let oracle = Mutex::new(Oracle::new(ids, crsts));
    let program = Arc::new(Program { oracle, windows: Windows::new(), mix });
    deadlocks::set_callback(Some(on_deadlock), Arc::as_ptr(&program).cast_mut().cast());
    let threads = tasks.into_iter().enumerate().map(|(number, task)| {
        let program = program.clone();
        (task, body(move || act(&program, number)))
    });
    let threads = threads.collect();
    scene(threads, move || program.assert_all_ended())
}

fn programs_at_random() -> Scene {
    let (tasks, sections) = (thread_rng().gen_range(3..=6), thread_rng().gen_range(3..=5));
    let scene = program(tasks, sections, Mix::draw(), Program::wander);
    match thread_rng().gen_range(0..4) {
        0 => REGISTRY.bias.set(u32::MAX, 0),
        1 => REGISTRY.bias.set(0, 2),
        _ => REGISTRY.bias.grant_at_once(),
    }
    if one_in(4) {
        model::set_barriers(Barriers::RefusedButTimePasses);
    }
    scene
}

#[test]
fn every_deadlock_is_broken_and_nothing_else_is() {
    holds_at_random(programs_at_random, Seen::has_everything);
}

#[test]
fn control_search_that_forgets_what_it_noted() {
    // Where the heavy barrier was refused, waiters poll again and again.
    let said = ["deadlock! blocked tasks", "exceeded max_steps"];
    breaks_at_random(&said, place("noted-wait-store"), programs_at_random);
}

#[test]
fn control_search_without_its_lock() {
    let place = place("deadlock-search-lock");
    breaks_at_random(&["refused after the cycle was broken", "deadlocks found"], place, programs_at_random);
}

#[test]
fn control_recovery_without_the_queue_lock() {
    breaks_at_random(&["refused without a cycle"], place("recover-queue-lock"), programs_at_random);
}

#[test]
fn control_task_that_forgets_its_biased_sections() {
    let place = place("biased-owner-load");
    breaks_at_random(&["in the end", "deadlock! blocked tasks"], place, programs_at_random);
}

#[test]
fn control_stop_that_ends_waits_of_the_next_run() {
    breaks_at_random(&["not stopped since it began"], place("run-of-wait"), programs_at_random);
}

#[test]
fn control_spin_count_without_the_queue_lock() {
    breaks_at_random(&["the spin count of another"], place("spin-policy-queue-lock"), programs_at_random);
}

#[test]
fn control_sleeper_that_withdraws_without_the_lock() {
    let place = place("withdraw-lock");
    breaks_at_random(&["deadlock! blocked tasks", "nobody sleeps"], place, programs_at_random);
}

#[test]
fn control_windows_section_that_two_attach_at_once() {
    let place = place("attach-lock");
    breaks_at_random(&["two owners", "left", "refused without a cycle"], place, programs_at_random);
}

/// Two tasks whose waits are not to be broken.
fn cycle_that_stands() -> Scene {
    program(2, 2, Mix::NOTHING, |program, task| {
        program.enter_both(task, [task, 1 - task], Kind::NotBreakable)
    })
}

#[test]
fn a_cycle_that_stands_is_told_of_once() {
    holds_at_random(cycle_that_stands, |seen| seen.stood != 0);
}

#[test]
fn control_cycle_that_is_not_marked_as_told() {
    breaks_at_random(&["a cycle is told of twice"], place("told-wait-store"), cycle_that_stands);
}
