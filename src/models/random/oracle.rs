//! What the tasks of a random program own and wait for, as far as they have told, and the judgement on each answer.
//!
//! It knows nothing of the library's search. It keeps who owns what, from after the return of enter or recover until
//! before the call of leave, and who waits for what, from before the call of enter until after its return. What ends a
//! section, a task or a run of the runtime is told before the call, what begins one after it.
//!
//! **Why its verdict is sound.** The members of a cycle are all blocked, and nothing here but the refusal of one of
//! them, an alert or a stop opens a cycle. Each told of what it owns and then of its wait, so the oracle sees every
//! cycle when the last of them begins its wait, and marks those waits. A refused wait must be marked, and unless an
//! alert or a stop ended a wait of the cycle, the cycle must still be seen by the task that was refused: then a second
//! refusal for one cycle shows as well, for it finds the first one's wait gone. A cycle that was missed leaves threads
//! asleep for ever, which shuttle reports.

use std::string::String;
use std::vec::Vec;

use shuttle::rand::{Rng, thread_rng};

use crate::constants::{WAIT_ALERTABLE, WAIT_NOTINDEADLOCK};
use crate::error::{Error, Result};
use crate::host::enter::Patience;
use crate::lock::srw::Mode;

/// How a task waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unbounded,
    Alertable,
    /// Also alertable: only an alert or a stop can end a cycle of such waits.
    NotBreakable,
    Limited,
    Try,
    /// For an SRW lock: it ends in no other way than with the lock.
    Infallible,
}

impl Kind {
    pub(super) fn draw() -> Self {
        match thread_rng().gen_range(0..16) {
            0 => Kind::Try,
            1 | 2 => Kind::Limited,
            3 => Kind::Alertable,
            4..=6 => Kind::NotBreakable,
            _ => Kind::Unbounded,
        }
    }

    /// One that opens the cycles which it is part of.
    pub(super) fn draw_breakable() -> Self {
        match Kind::draw() {
            Kind::NotBreakable => Kind::Unbounded,
            kind => kind,
        }
    }

    pub(super) fn option(self) -> u32 {
        match self {
            Kind::Alertable => WAIT_ALERTABLE,
            Kind::NotBreakable => WAIT_ALERTABLE | WAIT_NOTINDEADLOCK,
            Kind::Unbounded | Kind::Limited | Kind::Try | Kind::Infallible => 0,
        }
    }

    pub(super) fn patience(self) -> Patience {
        match self {
            Kind::Try => Patience::None,
            Kind::Limited => Patience::Milliseconds(1),
            Kind::Unbounded | Kind::Alertable | Kind::NotBreakable | Kind::Infallible => Patience::Unbounded,
        }
    }
}

/// What had happened when a call began.
#[derive(Clone, Copy)]
pub(super) struct Since {
    stops: u64,
    was_stopped: bool,
}

/// What a task waits for, by its number here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Section(usize),
    SrwLock(usize),
}

impl Awaited {
    pub(super) fn section(self) -> Option<usize> {
        if let Awaited::Section(section) = self { Some(section) } else { None }
    }
}

#[derive(Clone, Copy)]
pub(super) struct KnownWait {
    pub(super) awaited: Awaited,
    /// No other wait has this number.
    pub(super) number: u64,
    kind: Kind,
    since: Since,
    /// How many waits an alert or a stop had ended when it began.
    interrupted_before: u64,
    /// How often the section, if it is for one, had been abandoned; also now, if it was then.
    abandoned_before: u64,
    /// It was part of a cycle.
    closed: bool,
    /// Which of the cycles that stood it was told of as part of, from 1; 0 for none.
    told: u64,
    /// It was seen in the queue of an owner that ends.
    pub(super) ends: bool,
}

/// A section as the tasks know it.
pub(super) struct KnownSection {
    pub(super) crst: u64,
    pub(super) owner: Option<usize>,
    pub(super) entries: u32,
    /// Its owner has ended, or is about to, and it was not recovered.
    pub(super) abandoned: bool,
    abandonments: u64,
    /// So many try to destroy it who do not own it.
    destroying: u32,
    pub(super) destroyed: bool,
    /// Somebody has set its spin count, or is about to.
    pub(super) spin_count_set: bool,
}

impl KnownSection {
    fn new(crst: u64) -> Self {
        KnownSection {
            crst,
            owner: None,
            entries: 0,
            abandoned: false,
            abandonments: 0,
            destroying: 0,
            destroyed: false,
            spin_count_set: false,
        }
    }

    fn may_be_gone(&self) -> bool {
        self.destroyed || self.destroying != 0
    }

    fn become_owned(&mut self, task: usize) {
        assert!(self.owner.is_none_or(|owner| owner == task), "two owners");
        assert!(!self.destroyed, "entered what was destroyed");
        self.owner = Some(task);
        self.entries += 1;
    }
}

/// An SRW lock as the tasks know it.
#[derive(Default)]
struct KnownSrwLock {
    /// The one that has it exclusively.
    owner: Option<usize>,
    sharers: u32,
}

/// So many are in a program.
pub(super) const SRW_LOCKS: usize = 3;

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) orders: u64,
    /// Deadlocks.
    pub(super) broken: u64,
    pub(super) stood: u64,
    /// Waits that an alert, a stop, the end of an owner or of a section has ended.
    pub(super) alerted: u64,
    pub(super) stopped: u64,
    pub(super) abandoned: u64,
    pub(super) destroyed: u64,
    /// Tasks that ended, and sections that were recovered or made anew.
    pub(super) ended: u64,
    pub(super) recovered: u64,
    pub(super) made_anew: u64,
    /// Sleeps on a condition variable, and waits on an address.
    pub(super) slept: u64,
    pub(super) slept_at_address: u64,
    /// Deadlocks with a wait for an SRW lock in them, and waits that shared one.
    pub(super) through_srw_locks: u64,
    pub(super) shared: u64,
    /// Initialisations that were done, and those that failed.
    pub(super) initialised: u64,
    pub(super) not_initialised: u64,
}

impl Seen {
    fn counts(&mut self) -> [&mut u64; 16] {
        let Seen {
            orders,
            broken,
            stood,
            alerted,
            stopped,
            abandoned,
            destroyed,
            ended,
            recovered,
            made_anew,
            slept,
            slept_at_address,
            through_srw_locks,
            shared,
            initialised,
            not_initialised,
        } = self;
        [
            orders,
            broken,
            stood,
            alerted,
            stopped,
            abandoned,
            destroyed,
            ended,
            recovered,
            made_anew,
            slept,
            slept_at_address,
            through_srw_locks,
            shared,
            initialised,
            not_initialised,
        ]
    }

    pub(super) fn add(&mut self, mut other: Seen) {
        self.counts().into_iter().zip(other.counts()).for_each(|(all, more)| *all += *more);
    }

    pub(super) fn has_everything(&self) -> bool {
        let mut seen = *self;
        seen.counts().into_iter().all(|count| *count != 0)
    }
}

pub(super) struct Oracle {
    /// All that ever were.
    pub(super) sections: Vec<KnownSection>,
    /// Those that tasks enter.
    pub(super) places: Vec<usize>,
    srw_locks: [KnownSrwLock; SRW_LOCKS],
    pub(super) waits: Vec<Option<KnownWait>>,
    /// The ids of the tasks, 0 of one that is about to end.
    pub(super) ids: Vec<u64>,
    /// Alerts sent to each task that have ended no wait so far.
    alerts: Vec<u32>,
    waits_begun: u64,
    /// Calls of stop.
    stops: u64,
    /// The runtime may be stopped.
    pub(super) stopped: bool,
    pub(super) seen: Seen,
    /// What the callback, which may not unwind, found wrong.
    pub(super) wrong: Option<String>,
}

impl Oracle {
    pub(super) fn new(ids: Vec<u64>, crsts: impl Iterator<Item = u64>) -> Self {
        let sections: Vec<_> = crsts.map(KnownSection::new).collect();
        Oracle {
            places: (0..sections.len()).collect(),
            sections,
            srw_locks: Default::default(),
            waits: ids.iter().map(|_| None).collect(),
            alerts: ids.iter().map(|_| 0).collect(),
            ids,
            waits_begun: 0,
            stops: 0,
            stopped: false,
            seen: Seen { orders: 1, ..Seen::default() },
            wrong: None,
        }
    }

    /// The tasks of the cycle through the wait of `task`, if there is one.
    fn cycle(&self, task: usize) -> Option<Vec<usize>> {
        let mut tasks = Vec::new();
        let mut here = task;
        while tasks.len() < self.waits.len() {
            tasks.push(here);
            let is_in_cycles = |wait: &KnownWait| wait.kind.patience() == Patience::Unbounded && !wait.ends;
            let wait = self.waits[here].filter(is_in_cycles)?;
            here = match wait.awaited {
                Awaited::Section(section) => self.sections[section].owner?,
                Awaited::SrwLock(lock) => self.srw_locks[lock].owner?,
            };
            if here == task {
                return Some(tasks);
            }
        }
        None
    }

    fn interrupted(&self) -> u64 {
        self.seen.alerted + self.seen.stopped
    }

    /// Whether an alert or a stop may have opened a cycle of which `wait` was part.
    fn may_be_opened(&self, wait: KnownWait) -> bool {
        self.interrupted() != wait.interrupted_before
    }

    fn wait(&mut self, task: usize) -> &mut KnownWait {
        self.waits[task].as_mut().expect("it waits")
    }

    /// A call begins.
    pub(super) fn now(&self) -> Since {
        Since { stops: self.stops, was_stopped: self.stopped }
    }

    /// Whether a call that began then may have found the runtime stopped.
    fn may_have_been_stopped(&self, since: Since) -> bool {
        since.was_stopped || self.stops != since.stops
    }

    /// `task` is about to wait for a section. Which that is.
    pub(super) fn begin_wait(&mut self, task: usize, section: usize, kind: Kind) -> u64 {
        self.begin_wait_for(task, Awaited::Section(section), kind);
        self.sections[section].crst
    }

    fn begin_wait_for(&mut self, task: usize, awaited: Awaited, kind: Kind) {
        self.waits_begun += 1;
        let abandonments = |known: &KnownSection| known.abandonments - u64::from(known.abandoned);
        self.waits[task] = Some(KnownWait {
            awaited,
            number: self.waits_begun,
            kind,
            since: self.now(),
            interrupted_before: self.interrupted(),
            abandoned_before: awaited.section().map_or(0, |section| abandonments(&self.sections[section])),
            closed: false,
            told: 0,
            ends: false,
        });
        for member in self.cycle(task).into_iter().flatten() {
            self.wait(member).closed = true;
        }
    }

    /// Judges the answer that `task` got.
    pub(super) fn end_wait(&mut self, task: usize, answer: Result<bool>) {
        let wait = *self.wait(task);
        let cycle = self.cycle(task);
        self.waits[task] = None;
        let section = &mut self.sections[wait.awaited.section().expect("no other wait has an answer")];
        match answer {
            Ok(true) => {
                assert!(!section.abandoned, "entered what was abandoned");
                section.become_owned(task);
            }
            Ok(false) => assert_eq!(wait.kind, Kind::Try),
            Err(Error::Deadlock) => {
                assert!(matches!(wait.kind, Kind::Unbounded | Kind::Alertable), "refused {:?}", wait.kind);
                assert!(wait.closed, "refused without a cycle");
                assert!(cycle.is_some() || self.may_be_opened(wait), "refused after the cycle was broken");
                let is_through_srw_lock = cycle
                    .into_iter()
                    .flatten()
                    .any(|member| self.waits[member].is_some_and(|other| other.kind == Kind::Infallible));
                self.seen.through_srw_locks += u64::from(is_through_srw_lock);
                self.seen.broken += 1;
            }
            Err(Error::Timeout) => assert_eq!(wait.kind, Kind::Limited),
            Err(Error::Interrupted) => {
                assert!(wait.kind.option() & WAIT_ALERTABLE != 0 && self.alerts[task] != 0, "not alerted");
                self.alerts[task] -= 1;
                self.seen.alerted += 1;
            }
            Err(Error::Abandoned) if section.abandonments != wait.abandoned_before => {
                self.seen.abandoned += 1
            }
            Err(Error::Abandoned | Error::Handle) => {
                assert!(section.may_be_gone(), "neither abandoned nor destroyed");
                self.seen.destroyed += 1;
            }
            Err(Error::NotAvailable) => {
                assert!(self.may_have_been_stopped(wait.since), "not stopped since it began");
                self.seen.stopped += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The wait of `closer` closed a cycle, and no wait is to be broken.
    pub(super) fn stands(&mut self, closer: usize) {
        self.seen.stood += 1;
        let wait = *self.wait(closer);
        if !wait.closed {
            self.wrong = Some("a cycle is told of that is none".into());
        }
        // Waits that were told of as part of different cycles are a new one.
        let is_told = |&member: &usize| {
            wait.told != 0 && self.waits[member].is_some_and(|other| other.told == wait.told)
        };
        if self.cycle(closer).is_some_and(|members| members.iter().all(is_told)) {
            self.wrong = Some("a cycle is told of twice".into());
        }
        if self.may_be_opened(wait) {
            // By now there may be another cycle through this wait.
            self.wait(closer).told = self.seen.stood;
            return;
        }
        for member in self.cycle(closer).into_iter().flatten() {
            let number = self.seen.stood;
            let wait = self.wait(member);
            wait.told = number;
            if wait.kind != Kind::NotBreakable {
                self.wrong = Some("a cycle stands that could be broken".into());
            }
        }
    }

    /// The owner is about to leave once.
    pub(super) fn leave(&mut self, section: usize) -> u64 {
        let known = &mut self.sections[section];
        known.entries -= 1;
        if known.entries == 0 {
            known.owner = None;
        }
        known.crst
    }

    /// `task` is about to acquire an SRW lock.
    pub(super) fn begin_acquiring(&mut self, task: usize, lock: usize) {
        self.begin_wait_for(task, Awaited::SrwLock(lock), Kind::Infallible);
    }

    /// `task` has acquired it.
    pub(super) fn end_acquiring(&mut self, task: usize, lock: usize, mode: Mode) {
        self.waits[task] = None;
        let known = &mut self.srw_locks[lock];
        assert_eq!(known.owner, None, "acquired from its owner");
        match mode {
            Mode::Exclusive => {
                assert_eq!(known.sharers, 0, "acquired from those who share it");
                known.owner = Some(task);
            }
            Mode::Shared => {
                known.sharers += 1;
                self.seen.shared += 1;
            }
        }
    }

    /// It is about to be released.
    pub(super) fn release(&mut self, lock: usize, mode: Mode) {
        let known = &mut self.srw_locks[lock];
        match mode {
            Mode::Exclusive => known.owner = None,
            Mode::Shared => known.sharers -= 1,
        }
    }

    /// `task` is about to be alerted. Its id.
    pub(super) fn alert(&mut self, task: usize) -> u64 {
        self.alerts[task] += 1;
        self.ids[task]
    }

    /// The owner is about to destroy the section.
    pub(super) fn destroy(&mut self, section: usize) -> u64 {
        let known = &mut self.sections[section];
        (known.owner, known.entries, known.destroyed) = (None, 0, true);
        known.crst
    }

    /// A stranger is about to destroy the section, if nobody owns it.
    pub(super) fn begin_destroying(&mut self, section: usize) -> u64 {
        self.sections[section].destroying += 1;
        self.sections[section].crst
    }

    pub(super) fn end_destroying(&mut self, section: usize, answer: Result<()>) {
        let known = &mut self.sections[section];
        known.destroying -= 1;
        match answer {
            Ok(()) => {
                assert!(known.owner.is_none() && !known.destroyed, "destroyed under its owner, or twice");
                known.destroyed = true;
            }
            Err(Error::Handle) => assert!(known.may_be_gone(), "not destroyed"),
            Err(error) => assert_eq!(error, Error::NotOwner),
        }
    }

    /// A section was to be made for this place.
    pub(super) fn end_making(&mut self, place: usize, since: Since, answer: Result<u64>) {
        match answer {
            Ok(crst) => {
                assert!(self.sections.iter().all(|other| other.crst != crst), "a handle given twice");
                self.places[place] = self.sections.len();
                self.sections.push(KnownSection::new(crst));
                self.seen.made_anew += 1;
            }
            Err(error) => {
                assert!(error == Error::NotAvailable && self.may_have_been_stopped(since), "{error:?}")
            }
        }
    }

    pub(super) fn begin_setting_spin_count(&mut self, section: usize) -> u64 {
        self.sections[section].spin_count_set = true;
        self.sections[section].crst
    }

    pub(super) fn end_setting_spin_count(&mut self, section: usize, answer: Result<()>) {
        match answer {
            Ok(()) => {}
            Err(error) => {
                assert!(error == Error::Handle && self.sections[section].may_be_gone(), "{error:?}")
            }
        }
    }

    /// `task` is about to end, in these sections. `queued` are the waits that were seen in their queues: they are over
    /// before there is another owner. Not one that was part of a cycle: while its task tells of that it is in no queue,
    /// and it waits anew after that.
    pub(super) fn end_task(&mut self, task: usize, held: &[usize], queued: &[u64]) {
        for &section in held {
            let known = &mut self.sections[section];
            if known.owner == Some(task) {
                (known.owner, known.entries, known.abandoned) = (None, 0, true);
                known.abandonments += 1;
            }
        }
        for wait in self.waits.iter_mut().flatten() {
            wait.ends |= queued.contains(&wait.number) && !wait.closed;
        }
        (self.ids[task], self.alerts[task]) = (0, 0);
        self.seen.ended += 1;
    }

    /// Judges the answer to recover.
    pub(super) fn end_recovering(&mut self, task: usize, section: usize, since: Since, answer: Result<()>) {
        let known = &mut self.sections[section];
        match answer {
            Ok(()) => {
                assert!(known.abandoned, "recovered what was not abandoned");
                known.abandoned = false;
                known.become_owned(task);
                self.seen.recovered += 1;
            }
            Err(Error::InvalidOperation) => {}
            Err(Error::Handle) => assert!(known.may_be_gone(), "not destroyed"),
            Err(error) => {
                assert!(error == Error::NotAvailable && self.may_have_been_stopped(since), "{error:?}")
            }
        }
    }

    /// The runtime is about to be stopped. False if it may be so already.
    pub(super) fn begin_stopping(&mut self) -> bool {
        let running = !self.stopped;
        self.stopped = true;
        self.stops += u64::from(running);
        running
    }
}
