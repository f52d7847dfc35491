//! Who waits for whom: what each thread waits for, and the cycles that stand.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use foreign_locks::glibc::{Thing, recognise};
use foreign_locks::{
    Caller, FutexWait, Glance, ManagedWait, Operation, Patience, STANDS_AFTER, State, Verdicts,
};
use hostcrst::inspect::{Blocked, LockKind, LockSeen, ManagedWaitCopy, Memory, Picture, Registry, TaskSeen};

use super::callers::Callers;
use super::calls;
use super::file_locks::FileLocks;
use super::processes::{self, ProcessCycle, ProcessWait};
use super::sockets::Sockets;
use super::threads::Threads;
use crate::failure::Failure;
use crate::stacks::{Stack, Walker};
use crate::symbols::Symbols;
use crate::target::Target;
use crate::time_limit::TimeLimit;

/// What is known of the threads of a process.
pub struct Chains {
    pub threads: Threads,
    /// By the places of threads: what each does.
    pub does: Vec<Does>,
    pub cycles: Vec<Cycle>,
    /// Through other processes.
    pub process_cycles: Vec<ProcessCycle>,
    /// The names of the types of objects whose locks are waited for.
    pub types: HashMap<u64, String>,
}

/// What a thread does.
pub struct Does {
    /// The name of its task, or its own.
    pub name: Vec<u8>,
    pub state: State,
    /// The system call that it is in, and what that waits for; None if that is not known, or it is in none.
    pub call: Option<calls::Call>,
    pub wait: Option<Wait>,
    /// What it waits for that a process has.
    pub process_wait: Option<ProcessWait>,
    /// If it was asked for and the thread stood still while it was read.
    pub stack: Option<Stack>,
}

/// Whose stacks are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StacksOf {
    /// Of the threads that wait for each other in a cycle.
    Cycles,
    All,
}

/// What a thread waits for.
#[derive(Clone)]
pub struct Wait {
    pub what: Awaited,
    /// Everything said of it is known, and not only likely.
    pub is_certain: bool,
    pub is_limited: bool,
    /// The place of the thread that it cannot go on before.
    pub owner: Option<usize>,
    /// How many other threads wait for the same.
    pub others: usize,
    /// When it has stood for so long that a cycle of such waits is a deadlock, if that takes a while: an instant of the
    /// target's clock.
    stands_at: Option<u64>,
}

#[derive(Clone)]
pub enum Awaited {
    /// A section or resource of the library's, and who owns it, by the copy of the library that it is of.
    Owned {
        copy: usize,
        blocked: Box<Blocked>,
    },
    /// What the library says, of a wait that is no edge.
    Task(Box<TaskSeen>),
    Thing(Thing),
}

/// The address of a lock of the library's, if it is an SRW lock.
fn srw_lock(seen: LockSeen) -> Option<u64> {
    (seen.kind() == LockKind::SrwLock).then(|| seen.number())
}

/// Threads of which each waits for the next, and the last for the first, at least one of them for what is not the
/// library's.
pub struct Cycle {
    pub places: Vec<usize>,
    pub is_certain: bool,
    /// A lock of managed code is among those that are waited for.
    pub is_managed: bool,
}

impl Chains {
    pub fn deadlocks(&self) -> usize {
        let of_threads = self.cycles.iter().map(|cycle| cycle.is_certain);
        let of_processes = self.process_cycles.iter().map(|cycle| cycle.is_certain);
        of_threads.chain(of_processes).filter(|&is_certain| is_certain).count()
    }

    /// With those that are probable.
    pub fn all_deadlocks(&self) -> usize {
        self.cycles.len() + self.process_cycles.len()
    }

    /// The locks that are waited for and are no sections: SRW locks, and those that are not the library's.
    pub fn other_locks(&self) -> usize {
        let addresses = self.waits().filter_map(|wait| match &wait.what {
            Awaited::Thing(thing) => thing.address().filter(|_| thing.is_lock()),
            Awaited::Owned { blocked, .. } => srw_lock(blocked.awaited),
            Awaited::Task(task) => task.awaited().and_then(srw_lock),
        });
        addresses.collect::<HashSet<_>>().len()
    }

    /// How many threads are blocked in something that no thread or process is known to own.
    pub fn blocked_without_owner(&self) -> usize {
        let is_owned = |does: &Does| {
            does.process_wait.is_some() || does.wait.as_ref().is_some_and(Wait::is_for_what_is_owned)
        };
        self.does.iter().filter(|does| does.is_blocked() && !is_owned(does)).count()
    }

    pub fn waits(&self) -> impl Iterator<Item = &Wait> {
        self.does.iter().filter_map(|does| does.wait.as_ref())
    }
}

impl Does {
    pub fn is_blocked(&self) -> bool {
        self.state.is_asleep()
    }
}

/// Looks at all threads, and joins them with what the copies of the library say.
pub fn look<M: Memory>(
    target: &dyn Target,
    threads: Threads,
    pictures: &[Picture<'_, M>],
    symbols: &mut Symbols<'_>,
    stacks_of: StacksOf,
    time_limit: TimeLimit,
    stops: &dyn Fn() -> Vec<u32>,
) -> Result<Chains, Failure> {
    let mut tasks = HashMap::new();
    let mut blocked = HashMap::new();
    for (copy, picture) in pictures.iter().enumerate() {
        tasks.extend(picture.tasks_seen().map(|task| (task.thread_id, task)));
        blocked.extend(picture.blocked().map(|blocked| (blocked.thread_id, (copy, blocked))));
    }
    let callers = Callers::default();
    let sockets = Sockets::new(threads.net_folder());
    // Copies may have tasks with the same id, but no two waits begin at the same time.
    let is_managed_wait_now =
        |task: u64, wait| pictures.iter().any(|picture| picture.is_managed_wait_now(task, wait));
    let mut viewer = Viewer {
        target,
        threads: &threads,
        tasks: &tasks,
        symbols,
        callers,
        time_limit,
        is_managed_wait_now: &is_managed_wait_now,
        stops,
        patience: if target.now().is_some() { Patience::with_managed_code() } else { Patience::none() },
        patience_with_threads: Patience::with_threads(),
        abandoned: Verdicts::none(),
    };
    let has_layout = is_of_64_bits(target);
    let mut does = Vec::new();
    for (place, thread) in threads.list.iter().enumerate() {
        if time_limit.is_over() {
            return Err(time_limit.failure(target.description()));
        }
        let task = tasks.get(&thread.id);
        let name = task.map(|task| task.name.bytes()).filter(|name| !name.is_empty());
        let mut glance = thread.glance.clone();
        let wait = match (task, blocked.get(&thread.id)) {
            (_, Some((copy, blocked))) => viewer.section_wait(*copy, blocked),
            (Some(task), None) if task.waits() => Some(Wait::of_task(task)),
            _ if has_layout => viewer.futex_wait(place, &mut glance),
            _ => None,
        };
        let call = glance
            .call
            .as_ref()
            .filter(|_| has_layout)
            .map(|call| calls::explain(target, &threads, &sockets, place, call));
        let name = name.unwrap_or(&thread.name).to_vec();
        does.push(Does { name, state: glance.state, call, wait, process_wait: None, stack: None });
    }
    count_others(&mut does);
    let closed = closed_paths(&does);
    let cycles = viewer.cycles(&closed, &does, pictures);
    let mut process_cycles = Vec::new();
    if has_layout {
        process_cycles = add_process_waits(&threads, &mut does);
        viewer.add_stacks(stacks_of, &closed, &mut does);
    }
    if time_limit.is_over() {
        return Err(time_limit.failure(target.description()));
    }
    let types = tasks.values().filter_map(|task: &TaskSeen| {
        let name = task.type_of_lock.as_ref()?;
        Some((task.managed_wait?.told.of_type, String::from_utf8_lossy(name.bytes()).into_owned()))
    });
    let types = types.collect();
    Ok(Chains { threads, does, cycles, process_cycles, types })
}

/// Adds the waits for what processes have. The cycles of them.
fn add_process_waits(threads: &Threads, does: &mut [Does]) -> Vec<ProcessCycle> {
    let locks = LazyCell::new(FileLocks::read);
    let mut waiting = Vec::new();
    let may_wait = |does: &Does| {
        let name = does.call.as_ref().map(|call| call.name.as_str());
        does.wait.is_none() && matches!(name, Some("flock" | "fcntl" | "wait4" | "waitid"))
    };
    for (place, does) in does.iter_mut().enumerate().filter(|(_, does)| may_wait(does)) {
        let Some((process, thread)) = threads.ids_here(place) else { return Vec::new() };
        let Some(glance) = threads.glance(place) else { continue };
        does.process_wait = processes::wait_of(process, thread, &glance, &locks);
        waiting.extend(does.process_wait.is_some().then_some((process, thread)));
    }
    processes::cycles(threads, &waiting)
}

/// Counts for each wait who else waits for the same thing in memory.
fn count_others(does: &mut [Does]) {
    let address = |wait: &Wait| match &wait.what {
        Awaited::Thing(thing) => thing.address(),
        _ => None,
    };
    let mut counts = HashMap::<u64, usize>::new();
    let waits = does.iter().filter_map(|does| does.wait.as_ref());
    waits.filter_map(address).for_each(|address| *counts.entry(address).or_default() += 1);
    for wait in does.iter_mut().filter_map(|does| does.wait.as_mut()) {
        wait.others = address(wait).map_or(0, |address| counts[&address] - 1);
    }
}

impl Wait {
    /// Whether it is for a lock of managed code.
    fn is_managed(&self) -> bool {
        matches!(&self.what, Awaited::Thing(thing) if thing.is_managed())
    }

    /// The lock of managed code that it is for, if the owner of that seems to have ended.
    fn abandoned(&self) -> Option<u64> {
        match &self.what {
            Awaited::Thing(thing) => thing.abandoned(),
            _ => None,
        }
    }

    /// Whether some thread owns what is waited for, even if it is not known here which.
    fn is_for_what_is_owned(&self) -> bool {
        match &self.what {
            Awaited::Owned { .. } => true,
            // Who shares an SRW lock is not known.
            Awaited::Task(task) => task.awaited().is_some_and(|lock| srw_lock(lock).is_none()),
            Awaited::Thing(thing) => self.owner.is_some() || thing.owner().is_some(),
        }
    }

    fn of_task(task: &TaskSeen) -> Wait {
        let what = Awaited::Task(Box::new(*task));
        Wait {
            what,
            is_certain: true,
            is_limited: task.is_limited(),
            owner: None,
            others: 0,
            stands_at: None,
        }
    }
}

/// Whether the system calls and locks of the process are those of a 64-bit machine, as this tool's are.
pub fn is_of_64_bits(target: &dyn Target) -> bool {
    let heads = target.mappings().iter().filter(|mapping| mapping.file_offset == 0);
    let classes = heads.filter_map(|head| {
        let mut bytes = [0; 5];
        (target.read(head.start, &mut bytes) == bytes.len() && bytes.starts_with(b"\x7fELF"))
            .then_some(bytes[4])
    });
    classes.take(1).all(|class| class == 2)
}

struct Viewer<'v, 't> {
    target: &'v dyn Target,
    threads: &'v Threads,
    /// By the ids of their threads.
    tasks: &'v HashMap<u32, TaskSeen>,
    symbols: &'v mut Symbols<'t>,
    callers: Callers,
    time_limit: TimeLimit,
    /// Whether the task with this id is still in this wait.
    is_managed_wait_now: &'v dyn Fn(u64, ManagedWaitCopy) -> bool,
    /// What each copy's registry says now of how its CLR stops managed code.
    stops: &'v dyn Fn() -> Vec<u32>,
    patience: Patience,
    patience_with_threads: Patience,
    /// Of locks of managed code.
    abandoned: Verdicts,
}

/// The memory of the target.
struct TargetMemory<'a>(&'a dyn Target);

impl foreign_locks::Memory for TargetMemory<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        self.0.read(address, buffer)
    }
}

/// How often a wait is looked at until it stands still.
const TRIES: usize = 3;

/// For so many nanoseconds.
fn nap(time: u64) {
    thread::sleep(Duration::from_nanos(time));
}

impl Viewer<'_, '_> {
    fn section_wait(&self, copy: usize, blocked: &Blocked) -> Option<Wait> {
        Some(Wait {
            what: Awaited::Owned { copy, blocked: Box::new(*blocked) },
            is_certain: true,
            is_limited: false,
            owner: self.threads.place(blocked.owner_thread_id),
            others: 0,
            stands_at: None,
        })
    }

    /// What the thread waits for, found twice: while it did not run between, if it may wait for another thread. `glance` is what
    /// it was first seen to do, and then what it was last.
    fn futex_wait(&mut self, place: usize, glance: &mut Glance) -> Option<Wait> {
        let wait = self.thing_of(place, glance)?;
        let is_brief = matches!(&wait.what, Awaited::Thing(thing) if !thing.is_of_threads());
        let is_in_call = |call| self.threads.is_in_call(place, call);
        let again = is_brief && glance.call.as_ref().is_some_and(is_in_call);
        if again && self.thing_of(place, glance).is_some_and(|again| again.is_same(&wait)) {
            return Some(wait);
        }
        match self.threads.glance(place) {
            Some(now) => *glance = now,
            None => {
                glance.state = State::Ended;
                return None;
            }
        }
        self.still_wait(place, glance)
    }

    /// What the thread waits for, found twice while it did not run between.
    fn still_wait(&mut self, place: usize, glance: &mut Glance) -> Option<Wait> {
        for attempt in 0..TRIES {
            let wait = self.thing_of(place, glance);
            let ownerless = wait.as_ref().and_then(Wait::abandoned);
            let is_held_no_more = (!wait.as_ref().is_some_and(Wait::is_managed)
                || self.lets_managed_code_run())
                && ownerless.is_none_or(|lock| self.is_left_without_owner(lock));
            let Some(now) = self.threads.glance(place) else {
                glance.state = State::Ended;
                return None;
            };
            let is_same = now == *glance;
            *glance = now;
            let again = self.thing_of(place, glance);
            if let Some(lock) = ownerless
                && again.as_ref().and_then(Wait::abandoned).is_none()
            {
                self.abandoned.add(lock, false);
            }
            match (wait, again) {
                (None, None) => return None,
                (Some(first), Some(second)) if is_same && first.is_same(&second) => {
                    return Some(Wait { is_certain: second.is_certain && is_held_no_more, ..second });
                }
                (_, Some(last)) if attempt + 1 == TRIES => {
                    return Some(Wait { is_certain: false, ..last });
                }
                _ => {}
            }
        }
        None
    }

    /// What the thread waits for, if it still does what was seen of it.
    fn thing_of(&mut self, place: usize, glance: &Glance) -> Option<Wait> {
        let call = glance.call.as_ref()?;
        let wait = FutexWait::of(call)?;
        let task = self.tasks.get(&self.threads.list[place].id);
        let caller = self.callers.of(call.code_address, self.symbols);
        let threads = self.threads;
        let mut thing = recognise(&wait, &TargetMemory(self.target), &|id| threads.lives(id));
        let of_kernel = wait.operation == Operation::LockPi;
        if caller == Caller::Other && !of_kernel {
            thing = Thing::Futex(wait.word);
        }
        // The thread may have got that lock since it was read what its task waits for, and sleep for another.
        let managed = task.and_then(|task| Some((task.id, task.managed_wait?)));
        if let Some((_, told)) = managed.filter(|(id, wait)| (self.is_managed_wait_now)(*id, *wait))
            && let Some(is_certain) = ManagedWait::is_slept_for(&wait, caller, &thing)
        {
            let managed = self.managed_wait(&told, call.stack_pointer, &wait, glance);
            // Nobody waits for what it owns: it has just got it.
            if managed.owner != Some(place) {
                return Some(Wait { is_certain: is_certain && managed.is_certain, ..managed });
            }
        }
        let owner = thing.owner().and_then(|id| threads.place(id));
        let is_known = of_kernel || caller == Caller::Glibc && !thing.is_doubtful();
        // A thread that was stopped may have been woken before: then its wait is over, although its call is not.
        let is_asleep = glance.is_sure_sleep_for(&thing);
        let has_owner = owner.is_some() || thing.owner().is_none();
        // Nobody joins itself.
        let owner = owner.filter(|&owner| owner != place || thing.is_lock());
        Some(Wait {
            // That it sleeps on a word is no guess.
            is_certain: is_asleep && (matches!(thing, Thing::Futex(_)) || is_known && has_owner),
            what: Awaited::Thing(thing),
            is_limited: wait.is_limited,
            owner,
            others: 0,
            stands_at: None,
        })
    }

    /// Whether managed code has run since the call, for which this sleeps a while: a thread that was seen before, and does not run
    /// until it is seen again, was not held in the CLR on its way back from a wait.
    fn lets_managed_code_run(&mut self) -> bool {
        let (stops, before) = (self.stops, (self.stops)());
        let has_run = |(&before, now)| Registry::has_managed_code_run(before, now);
        self.patience.lets_happen(&mut || before.iter().zip(stops()).all(has_run), nap)
    }

    /// Whether a lock, in which no live owner was found before the call, is abandoned if none is found after it: as in the
    /// library (`foreign::ownerless`). In a core there is no time in which it could be seen.
    fn is_left_without_owner(&mut self, lock: u64) -> bool {
        if self.target.now().is_none() {
            return false;
        }
        if let Some(verdict) = self.abandoned.of(lock) {
            return verdict;
        }
        let rest = self.rest_of_those_who_wait_for(lock);
        let is_left = rest.is_some()
            && self.lets_managed_code_run()
            && self.threads.let_awake_ones_run(&mut self.patience_with_threads, nap)
            && self.rest_of_those_who_wait_for(lock) == rest;
        self.abandoned.add(lock, is_left);
        is_left
    }

    /// How often each of those who wait for the lock has stopped running; None if one is awake.
    fn rest_of_those_who_wait_for(&self, lock: u64) -> Option<BTreeMap<u32, Option<u64>>> {
        let waits = |task: &TaskSeen| task.managed_wait.is_some_and(|wait| wait.told.lock == lock);
        let waiting = self.tasks.iter().filter(|(_, task)| waits(task));
        let rests = waiting.map(|(&thread, _)| {
            let glance = self.threads.glance(self.threads.place(thread)?).filter(Glance::is_sure_sleep)?;
            Some((thread, glance.switches()))
        });
        rests.collect()
    }

    /// What a thread that is known to wait for a lock of managed code, and sleeps so, waits for. It may sleep in something else
    /// while managed code is stopped: so it is looked at again when that code has run.
    fn managed_wait(
        &self,
        wait: &ManagedWaitCopy,
        stack_pointer: u64,
        sleep: &FutexWait,
        glance: &Glance,
    ) -> Wait {
        let (thing, is_owner_of_now) =
            wait.told.thing(&TargetMemory(self.target), stack_pointer, &|id| self.threads.lives(id));
        let owner = thing.owner().and_then(|id| self.threads.place(id));
        let has_owner = owner.is_some() || thing.owner().is_none();
        let owner_waits_since = || self.tasks.get(&thing.owner()?)?.waits_since();
        let is_owner_known = is_owner_of_now || owner_waits_since().is_some_and(|since| since <= wait.since);
        Wait {
            what: Awaited::Thing(thing),
            is_certain: glance.is_sure_sleep() && is_owner_known && has_owner,
            is_limited: sleep.is_limited,
            owner,
            others: 0,
            stands_at: Some(wait.since.saturating_add(STANDS_AFTER)),
        }
    }

    // ---- stacks --------------------------------------------------------------------------------------------

    fn add_stacks(&mut self, of: StacksOf, closed: &[Vec<usize>], does: &mut [Does]) {
        let mut walker = Walker::new(self.target);
        let places: Vec<usize> = match of {
            StacksOf::Cycles => closed.iter().flatten().copied().collect(),
            StacksOf::All => (0..does.len()).collect(),
        };
        let time_limit = self.time_limit;
        for place in places.into_iter().take_while(|_| !time_limit.is_over()) {
            does[place].stack = self.stack(place, &mut walker);
        }
    }

    /// The stack of a thread that is in the same system call, at the same place, before and after it is read, and did not run
    /// between.
    fn stack(&mut self, place: usize, walker: &mut Walker<'_>) -> Option<Stack> {
        let mut before = self.threads.glance(place)?;
        for _ in 0..TRIES {
            let registers = self.threads.registers(place, &before)?;
            let stack = walker.walk(&registers, self.symbols);
            let after = self.threads.glance(place)?;
            if after == before {
                return Some(stack);
            }
            before = after;
        }
        None
    }

    // ---- cycles --------------------------------------------------------------------------------------------

    /// The closed paths that lead through something that is not the library's, and that stand.
    fn cycles<M: Memory>(
        &mut self,
        closed: &[Vec<usize>],
        does: &[Does],
        pictures: &[Picture<'_, M>],
    ) -> Vec<Cycle> {
        let mut cycles = BTreeMap::new();
        for places in closed {
            let waits: Vec<_> = places.iter().filter_map(|&place| does[place].wait.as_ref()).collect();
            let is_foreign = waits.iter().any(|wait| matches!(wait.what, Awaited::Thing(_)));
            if !is_foreign {
                continue;
            }
            self.let_stand(&waits);
            if let Some(is_certain) = self.stands(places, &waits, pictures) {
                let is_managed = waits.iter().any(|wait| wait.is_managed());
                cycles.insert(places[0], Cycle { places: places.clone(), is_certain, is_managed });
            }
        }
        cycles.into_values().collect()
    }

    /// Sleeps until each wait has stood for long enough. A core is of one moment, and does not tell when that was.
    fn let_stand(&self, waits: &[&Wait]) {
        let stands_at = waits.iter().filter_map(|wait| wait.stands_at).max();
        if let (Some(stands_at), Some(now)) = (stands_at, self.target.now()) {
            nap(stands_at.saturating_sub(now).min(STANDS_AFTER));
        }
    }

    /// Finds each wait of the cycle twice, in two rounds. If no thread has run between them, then all of these waits and
    /// owners stood together at the moment between. Whether that is certain, which takes that managed code has run between if one
    /// of the waits is for a lock of its; None if it is not so.
    fn stands<M: Memory>(
        &mut self,
        places: &[usize],
        waits: &[&Wait],
        pictures: &[Picture<'_, M>],
    ) -> Option<bool> {
        let mut is_certain = true;
        let mut round = |viewer: &mut Self| -> Option<Vec<Option<Glance>>> {
            let links = places.iter().zip(waits);
            let glances = links.map(|(&place, wait)| {
                if viewer.time_limit.is_over() {
                    return None;
                }
                is_certain &= wait.is_certain;
                match &wait.what {
                    Awaited::Owned { copy, blocked } => {
                        pictures[*copy].blocked_now(blocked).filter(|now| blocked.is_same(now))?;
                        Some(None)
                    }
                    Awaited::Thing(_) => {
                        let glance = viewer.threads.glance(place)?;
                        let now = viewer.thing_of(place, &glance).filter(|now| now.is_same(wait))?;
                        is_certain &= now.is_certain;
                        Some(Some(glance))
                    }
                    Awaited::Task(_) => None,
                }
            });
            glances.collect()
        };
        let first = round(self)?;
        let is_held_no_more = !waits.iter().any(|wait| wait.is_managed()) || self.lets_managed_code_run();
        (first == round(self)?).then_some(is_certain && is_held_no_more)
    }
}

/// The cycles of waits without a time limit, as they were seen, whether they stand or not.
fn closed_paths(does: &[Does]) -> Vec<Vec<usize>> {
    let edge = |place: usize| {
        let wait = does[place].wait.as_ref().filter(|wait| !wait.is_limited)?;
        wait.owner
    };
    let mut passed = vec![false; does.len()];
    let mut closed = Vec::new();
    for start in 0..does.len() {
        let mut path = Vec::new();
        let mut next = Some(start);
        while let Some(place) = next.filter(|&place| !passed[place]) {
            passed[place] = true;
            path.push(place);
            next = edge(place);
        }
        if let Some(first) = path.iter().position(|&place| Some(place) == next) {
            closed.push(path.split_off(first));
        }
    }
    closed
}

impl Wait {
    fn is_same(&self, other: &Wait) -> bool {
        let Wait { is_limited, owner, .. } = other;
        let is_same_thing = match (&self.what, &other.what) {
            (Awaited::Thing(one), Awaited::Thing(other)) => one == other,
            _ => false,
        };
        // One that was found to be probable only is the same wait when it is found so again.
        is_same_thing && (self.is_limited, self.owner) == (*is_limited, *owner)
    }
}
