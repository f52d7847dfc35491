//! `random_locks SEED REPORT`: threads take, release and join at random, one step at a time, so it is known what each owns and
//! waits for. At the end it has the library write its report on the process into the file REPORT, as JSON, says on one line
//! what it knows itself, and stands still:
//! `{"edges": [[waiter, owner], …], "ownerless": [waiter, …], "cycles": [[thread, …], …], "kinds": [kind, …], "chains":
//! [[thread, …], …], "closed": [thread, …], "other_locks": count}`, by thread ids and by kinds of what is waited for.
//! "chains" and "closed" are what `host_wait_chain` says of the threads that are tasks: the threads of each chain, and the
//! first ones of those that it calls deadlocks.

mod locks;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::thread::JoinHandleExt;
use std::sync::mpsc::{Receiver, Sender, channel};

use hostcrst::constants::{HOST_REPORT_JSON, HOST_WAIT_NODE_TASK};
use hostcrst::ffi::report;
use locks::{KINDS, Kind, Lock};

enum Step {
    Lock(usize),
    Read(usize),
    Unlock(usize),
    Join(libc::pthread_t),
}

/// A thread that does what it is told.
struct Actor {
    id: i32,
    thread: libc::pthread_t,
    /// Of those that are tasks from the beginning.
    task: Option<u64>,
    orders: Sender<Step>,
}

fn act(locks: &[&Lock], orders: Receiver<Step>, place: usize, done: Sender<usize>) {
    for step in orders {
        match step {
            Step::Lock(lock) => locks[lock].lock(),
            Step::Read(lock) => locks[lock].read_lock(),
            Step::Unlock(lock) => locks[lock].unlock(),
            // SAFETY: a thread that runs, and that nobody else joins.
            Step::Join(thread) => unsafe {
                libc::pthread_join(thread, std::ptr::null_mut());
            },
        }
        done.send(place).unwrap();
    }
}

/// What is true of the program.
struct Oracle {
    locks: Vec<&'static Lock>,
    actors: Vec<Actor>,
    done: Receiver<usize>,
    /// By locks: the actors that own it, once for each time.
    owners: Vec<Vec<usize>>,
    /// By locks: whether the owners only read.
    is_read: Vec<bool>,
    /// By actors.
    waits: Vec<Option<Wait>>,
    joined: Vec<Option<usize>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Wait {
    For(usize),
    Join(usize),
}

impl Oracle {
    fn new() -> Self {
        let locks: Vec<_> =
            (0..fastrand::usize(2..9)).map(|_| Lock::create(KINDS[fastrand::usize(..KINDS.len())])).collect();
        let (say, done) = channel();
        let actors: Vec<_> = (0..fastrand::usize(3..9))
            .map(|place| {
                let (orders, of_actor) = channel();
                let (say_ids, ids) = channel();
                let (locks, say) = (locks.clone(), say.clone());
                let is_task = fastrand::bool();
                let handle = std::thread::spawn(move || {
                    // SAFETY: has no preconditions.
                    say_ids.send((unsafe { libc::gettid() }, is_task.then(locks::current_task))).unwrap();
                    act(&locks, of_actor, place, say);
                });
                let (id, task) = ids.recv().unwrap();
                let actor = Actor { id, thread: handle.as_pthread_t(), task, orders };
                // Only pthread_join is to wait for it.
                std::mem::forget(handle);
                actor
            })
            .collect();
        Oracle {
            owners: vec![Vec::new(); locks.len()],
            is_read: vec![false; locks.len()],
            waits: vec![None; actors.len()],
            joined: vec![None; actors.len()],
            locks,
            actors,
            done,
        }
    }

    fn step(&mut self) {
        let actor = fastrand::usize(..self.actors.len());
        if self.waits[actor].is_some() {
            return;
        }
        let lock = fastrand::usize(..self.locks.len());
        match fastrand::u8(..20) {
            0 => self.join(actor, fastrand::usize(..self.actors.len())),
            1..7 => self.unlock(actor, lock),
            7..11 if self.locks[lock].kind() == Kind::RwLock => self.read(actor, lock),
            _ => self.lock(actor, lock),
        }
    }

    fn order(&self, actor: usize, step: Step) {
        self.actors[actor].orders.send(step).unwrap();
    }

    fn do_at_once(&self, actor: usize, step: Step) {
        self.order(actor, step);
        assert_eq!(self.done.recv().unwrap(), actor);
    }

    fn lock(&mut self, actor: usize, lock: usize) {
        use Kind::{Adaptive, Plain, Recursive, Resource, Robust, Section, SrwLock, WindowsSection};
        let kind = self.locks[lock].kind();
        let is_own = self.owners[lock].contains(&actor);
        let is_recursive = matches!(kind, Recursive | Section | WindowsSection | Resource);
        if self.owners[lock].is_empty() || is_own && is_recursive {
            self.do_at_once(actor, Step::Lock(lock));
            self.owners[lock].push(actor);
            self.is_read[lock] = false;
            return;
        }
        // The others refuse it.
        if is_own && !matches!(kind, Plain | Adaptive | Robust | SrwLock) {
            return;
        }
        // The kernel refuses to close a cycle of these.
        if kind == Kind::Inheriting && self.leads_to(self.owners[lock][0], actor) {
            return;
        }
        self.order(actor, Step::Lock(lock));
        self.waits[actor] = Some(Wait::For(lock));
        self.wait_until_asleep(actor);
    }

    fn read(&mut self, actor: usize, lock: usize) {
        if self.owners[lock].contains(&actor) {
            return;
        }
        if !self.owners[lock].is_empty() && !self.is_read[lock] {
            self.order(actor, Step::Read(lock));
            self.waits[actor] = Some(Wait::For(lock));
            return self.wait_until_asleep(actor);
        }
        self.do_at_once(actor, Step::Read(lock));
        self.owners[lock].push(actor);
        self.is_read[lock] = true;
    }

    fn unlock(&mut self, actor: usize, lock: usize) {
        let Some(owned) = self.owners[lock].iter().position(|&owner| owner == actor) else { return };
        let waiters: Vec<_> =
            (0..self.actors.len()).filter(|&at| self.waits[at] == Some(Wait::For(lock))).collect();
        // Who gets it then is not as simple.
        if self.locks[lock].kind() == Kind::RwLock && !waiters.is_empty() {
            return;
        }
        self.order(actor, Step::Unlock(lock));
        self.owners[lock].remove(owned);
        let is_passed_on = self.owners[lock].is_empty() && !waiters.is_empty();
        let mut said: Vec<_> =
            (0..1 + usize::from(is_passed_on)).map(|_| self.done.recv().unwrap()).collect();
        said.retain(|&who| who != actor);
        if let Some(&next) = said.first() {
            assert!(waiters.contains(&next));
            self.waits[next] = None;
            self.owners[lock].push(next);
            waiters
                .into_iter()
                .filter(|&waiter| waiter != next)
                .for_each(|waiter| self.wait_until_asleep(waiter));
        }
    }

    fn join(&mut self, actor: usize, other: usize) {
        // These are refused.
        if actor == other || self.joined[other].is_some() || self.joined[actor] == Some(other) {
            return;
        }
        self.order(actor, Step::Join(self.actors[other].thread));
        self.joined[other] = Some(actor);
        self.waits[actor] = Some(Wait::Join(other));
        self.wait_until_asleep(actor);
    }

    fn wait_until_asleep(&self, actor: usize) {
        let waits_for =
            |lock: usize| self.waits.iter().filter(|&&wait| wait == Some(Wait::For(lock))).count();
        loop {
            let word = futex_of(self.actors[actor].id);
            let sleeps = match self.waits[actor] {
                Some(Wait::For(lock)) => {
                    let waiters = self.locks[lock].waiters();
                    self.locks[lock].has_word(word)
                        && waiters.is_none_or(|waiters| waiters as usize == waits_for(lock))
                }
                // The word is one of the joined thread's own record.
                Some(Wait::Join(other)) => word.wrapping_sub(self.actors[other].thread as usize) < 4096,
                None => true,
            };
            if sleeps {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn waits_for(&self, actor: usize) -> Option<usize> {
        match self.waits[actor]? {
            Wait::Join(other) => Some(other),
            Wait::For(lock) if self.is_read[lock] => None,
            Wait::For(lock) => self.owners[lock].first().copied(),
        }
    }

    fn leads_to(&self, from: usize, to: usize) -> bool {
        let steps = std::iter::successors(Some(from), |&at| self.waits_for(at));
        steps.take(self.actors.len() + 1).any(|at| at == to)
    }

    fn say(&self) {
        let id = |actor: usize| self.actors[actor].id;
        let (mut edges, mut ownerless, mut cycles) = (Vec::new(), Vec::new(), BTreeSet::new());
        for actor in (0..self.actors.len()).filter(|&actor| self.waits[actor].is_some()) {
            match self.waits_for(actor) {
                Some(owner) => edges.push([id(actor), id(owner)]),
                None => ownerless.push(id(actor)),
            }
            let chain = std::iter::successors(self.waits_for(actor), |&at| self.waits_for(at));
            let chain: Vec<_> = chain.take(self.actors.len()).collect();
            if let Some(back) = chain.iter().position(|&at| at == actor) {
                let cycle: BTreeSet<_> = chain[..=back].iter().map(|&at| id(at)).collect();
                cycles.insert(cycle.into_iter().collect::<Vec<_>>());
            }
        }
        let (chains, closed) = self.chains();
        let kinds: Vec<_> = self.waits.iter().flatten().map(|wait| self.kind(*wait)).collect();
        println!(
            "{{\"edges\": {edges:?}, \"ownerless\": {ownerless:?}, \"cycles\": {:?}, \"kinds\": {kinds:?}, \"chains\": \
             {chains:?}, \"closed\": {closed:?}, \"other_locks\": {}}}",
            Vec::from_iter(cycles),
            self.other_locks()
        );
    }

    /// How many locks somebody waits for, of those that a verdict does not count as sections or resources.
    fn other_locks(&self) -> usize {
        let is_other = |&lock: &usize| {
            !matches!(self.locks[lock].kind(), Kind::Section | Kind::WindowsSection | Kind::Resource)
        };
        let awaited = self.waits.iter().filter_map(|wait| match wait {
            Some(Wait::For(lock)) => Some(*lock),
            _ => None,
        });
        awaited.filter(is_other).collect::<BTreeSet<_>>().len()
    }

    fn kind(&self, wait: Wait) -> String {
        match wait {
            Wait::For(lock) => format!("{:?}", self.locks[lock].kind()),
            Wait::Join(_) => "Join".to_string(),
        }
    }

    /// What the library says of each task: the threads of its wait chain; and from which ones on it is a deadlock.
    fn chains(&self) -> (Vec<Vec<u32>>, Vec<u32>) {
        let (mut chains, mut closed) = (Vec::new(), Vec::new());
        for task in self.actors.iter().filter_map(|actor| actor.task) {
            let nodes = locks::wait_chain(task);
            let threads = nodes.iter().filter(|node| node.kind == HOST_WAIT_NODE_TASK);
            let threads: Vec<_> = threads.map(|node| node.thread_id).collect();
            if locks::is_closed(&nodes) {
                closed.push(threads[0]);
            }
            chains.push(threads);
        }
        (chains, closed)
    }
}

/// The address of the word that the thread sleeps on; 0 if it does not.
fn futex_of(thread: i32) -> usize {
    let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).unwrap();
    let mut words = call.split_ascii_whitespace();
    if words.next().and_then(|number| number.parse().ok()) != Some(libc::SYS_futex) {
        return 0;
    }
    words.next().map_or(0, |word| usize::from_str_radix(&word[2..], 16).unwrap())
}

fn main() {
    let [seed, report] = [1, 2].map(|place| std::env::args().nth(place).unwrap());
    fastrand::seed(seed.parse().unwrap());
    locks::prepare();
    let mut oracle = Oracle::new();
    for _ in 0..fastrand::usize(10..80) {
        oracle.step();
    }
    let file = File::create(report).unwrap();
    assert_eq!(report::host_report(file.as_raw_fd(), HOST_REPORT_JSON), 0);
    oracle.say();
    loop {
        std::thread::park();
    }
}
