//! Virtual time: the events, the threads, and how one of them runs at a time. What a processor does between two
//! threads stands in `processors`.
//!
//! A simulated thread is a coroutine. It runs until its time comes to pass: then it is resumed by an event, after all
//! that happen earlier. So what threads do to memory happens in the order of virtual time, and the same seed gives
//! the same order.
//!
//! Time that a thread spends by itself adds up as its debt, which is paid before it does something that others can
//! see. An access to a line that only this thread has used is nothing of that kind.

use std::boxed::Box;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::vec::Vec;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::lines::{Access, Lines};
use super::machine::{Machine, NANOSECOND, Time};
use super::processors::Processor;

/// What a thread does.
pub(crate) type Body = Box<dyn FnOnce()>;

/// A thread pays its debt at the latest when it is this large: others see what it does.
const MOST_DEBT: Time = 100 * NANOSECOND;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// One thread, and no time passes but its own.
    #[default]
    SetUp,
    Run,
}

/// What happens at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A thread goes on, or its sleep is over: if it is still in this turn.
    Thread {
        thread: usize,
        turn: u32,
    },
    /// A thread that was woken arrives at a processor that was idle.
    Arrival {
        thread: usize,
        processor: usize,
    },
    Tick {
        processor: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// On this processor.
    Running(usize),
    /// In the queue of this one, or on its way there.
    Ready,
    /// On the word at this address, 0 for on none.
    Asleep(usize),
    Ended,
}

pub(super) struct Thread {
    /// Its task, as `sys::current` has it.
    pub(super) task: (u64, usize),
    pub(super) last_error: u32,
    pub(super) state: State,
    /// Each event of the thread is of one turn; the next turn makes it void.
    pub(super) turn: u32,
    /// When it goes on, while it runs; and how long it still has to run first, while it does not.
    pub(super) resumes: Time,
    pub(super) left: Time,
    pub(super) debt: Time,
    /// How much of what it does next has happened while its last store was on its way.
    overlap: Time,
    pub(super) timed_out: bool,
    /// Where it ran last.
    pub(super) processor: usize,
    /// Time that it has had on processors, in the order of which they choose; and really, that in the kernel apart.
    pub(super) virtual_time: Time,
    pub(super) used: Time,
    pub(super) in_kernel: Time,
    yielder: usize,
}

impl Thread {
    fn new(task: (u64, usize), processor: usize) -> Self {
        Thread {
            task,
            last_error: 0,
            state: State::Ready,
            turn: 0,
            resumes: 0,
            left: 0,
            debt: 0,
            overlap: 0,
            timed_out: false,
            processor,
            virtual_time: 0,
            used: 0,
            in_kernel: 0,
            yielder: 0,
        }
    }

    fn spend(&mut self, time: Time) {
        let overlapped = time.min(self.overlap);
        self.overlap -= overlapped;
        self.debt += time - overlapped;
    }
}

/// xorshift* (Vigna, 2016).
pub(super) struct Random(u64);

impl Random {
    /// Evenly from 0 to below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        (u128::from(drawn) * u128::from(limit) >> 64) as u64
    }

    /// Evenly from one `part`th less to one more.
    pub(super) fn about(&mut self, time: Time, part: Time) -> Time {
        time - time / part + self.below(time * 2 / part + 1)
    }
}

pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) phase: Phase,
    pub(super) now: Time,
    /// When the threads are to come to their ends.
    pub(super) end: Time,
    events: BinaryHeap<Reverse<(Time, u64, What)>>,
    events_made: u64,
    /// How many of them are not ticks.
    events_left: u64,
    trace: u64,
    pub(super) processors: Vec<Processor>,
    /// The first is the one that sets the scene.
    pub(super) threads: Vec<Thread>,
    pub(super) running: usize,
    pub(super) lines: Lines,
    /// Who sleeps on which word, and until when the kernel's lock of it is taken.
    pub(super) sleepers: HashMap<usize, Sleepers>,
    pub(super) random: Random,
    pub(super) pages_given: usize,
    /// How often a thread has become a task.
    pub(super) tasks_become: u32,
}

#[derive(Default)]
pub(super) struct Sleepers {
    pub(super) threads: VecDeque<usize>,
    free_at: Time,
}

std::thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

pub(super) fn world<T>(body: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| body(world.as_mut().expect("inside of a simulation")))
}

/// The running thread's own part of the world.
pub(super) fn thread<T>(body: impl FnOnce(&mut Thread) -> T) -> T {
    world(|world| {
        let running = world.running;
        body(&mut world.threads[running])
    })
}

// ---- time -------------------------------------------------------------------------------------------------

/// The running thread is busy for so long.
pub(crate) fn spend(time: Time) {
    thread(|thread| thread.spend(time));
}

/// As `spend`, and then lets happen what comes first.
pub(super) fn pass(time: Time) {
    spend(time);
    settle();
}

/// In the kernel.
pub(super) fn pass_in_kernel(time: Time) {
    thread(|thread| {
        thread.overlap = 0;
        thread.in_kernel += time;
    });
    pass(time);
}

/// Pays the debt of the running thread: all that happens earlier has happened then.
pub(super) fn settle() {
    if world(World::must_wait) {
        suspend();
    }
}

/// Runs the others until the running thread is resumed.
pub(super) fn suspend() {
    let yielder = thread(|thread| thread.yielder) as *const Yielder<(), ()>;
    // SAFETY: the yielder of the coroutine that this runs in, which is alive while it does.
    unsafe { (*yielder).suspend(()) };
}

impl World {
    fn new(machine: Machine, seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let processors = (0..machine.processors).map(|_| Processor::default()).collect();
        World {
            machine,
            phase: Phase::SetUp,
            now: 1_000_000 * NANOSECOND,
            end: 0,
            events: BinaryHeap::new(),
            events_made: 0,
            events_left: 0,
            trace: 0,
            processors,
            threads: std::vec![Thread::new((0, 0), 0)],
            running: 0,
            lines: Lines::default(),
            sleepers: HashMap::new(),
            random,
            pages_given: 0,
            tasks_become: 0,
        }
    }

    /// What the running thread takes for the time.
    pub(super) fn own_now(&self) -> Time {
        self.now + self.threads[self.running].debt
    }

    pub(super) fn add_event(&mut self, at: Time, what: What) {
        self.events_made += 1;
        self.events_left += u64::from(!matches!(what, What::Tick { .. }));
        self.events.push(Reverse((at, self.events_made, what)));
    }

    /// Moves the time on by the debt of the running thread. Whether that thread has to wait until others have done
    /// what they do first.
    fn must_wait(&mut self) -> bool {
        let debt = core::mem::take(&mut self.threads[self.running].debt);
        let until = self.now + debt;
        if self.phase == Phase::SetUp || self.events.peek().is_none_or(|Reverse((at, ..))| *at > until) {
            self.now = until;
            return false;
        }
        self.resume_at(self.running, until);
        true
    }

    /// The thread, which is on a processor, goes on at that time.
    pub(super) fn resume_at(&mut self, thread: usize, at: Time) {
        self.threads[thread].resumes = at;
        let turn = self.begin_turn(thread);
        self.add_event(at, What::Thread { thread, turn });
    }

    pub(super) fn begin_turn(&mut self, thread: usize) -> u32 {
        self.threads[thread].turn += 1;
        self.threads[thread].turn
    }

    /// Lets happen what comes next, until a thread is to run.
    fn next_thread(&mut self) -> usize {
        loop {
            assert_ne!(self.events_left, 0, "a wake-up was lost: all threads sleep");
            let Reverse((at, number, what)) = self.events.pop().expect("counted");
            self.events_left -= u64::from(!matches!(what, What::Tick { .. }));
            self.now = at;
            self.trace = (self.trace ^ at ^ number << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            match what {
                What::Thread { thread, turn } if turn == self.threads[thread].turn => {
                    match self.threads[thread].state {
                        State::Running(_) => return thread,
                        State::Asleep(word) => self.end_sleep(thread, word),
                        State::Ready | State::Ended => {}
                    }
                }
                What::Thread { .. } => {}
                What::Arrival { thread, processor } => self.arrive(thread, processor),
                What::Tick { processor } => self.tick(processor),
            }
        }
    }

    fn end_sleep(&mut self, thread: usize, word: usize) {
        if let Some(sleepers) = self.sleepers.get_mut(&word) {
            sleepers.threads.retain(|&sleeper| sleeper != thread);
        }
        self.threads[thread].timed_out = true;
        self.wake(thread);
    }
}

// ---- memory -----------------------------------------------------------------------------------------------

/// The running thread accesses so many bytes of memory: the time that takes passes, and what it does to them happens
/// now.
pub(super) fn access(address: usize, bytes: usize, access: Access) {
    let (line, is_shared) = world(|world| world.begin_access(address, bytes, access));
    if is_shared || thread(|thread| thread.debt > MOST_DEBT) {
        settle();
    }
    if !is_shared || world(|world| world.try_hit(line, access)) {
        return;
    }
    let begin = world(|world| world.now);
    pass(world(|world| {
        let request = world.lines.request(line, world.processor(), access, &world.machine);
        world.random.about(request, 4)
    }));
    pass(world(|world| {
        let processor = world.processor();
        world.lines.reserve(line, processor, access, world.now, &world.machine) - world.now
    }));
    world(|world| world.end_miss(line, access, begin));
}

impl World {
    /// The processor that the running thread is on.
    fn processor(&self) -> usize {
        self.threads[self.running].processor
    }

    /// The line, and whether others have used it.
    fn begin_access(&mut self, address: usize, bytes: usize, access: Access) -> (usize, bool) {
        let line = self.lines.find(address);
        if access != Access::Load {
            self.lines.note_write(line, address, bytes);
        }
        if self.phase == Phase::SetUp {
            return (line, false);
        }
        let processor = self.processor();
        let is_private = self.lines.is_private(line, self.running, processor);
        let thread = &mut self.threads[self.running];
        if access == Access::Change {
            // It waits for the stores before it, and nothing else happens meanwhile.
            thread.overlap = 0;
        }
        if is_private {
            thread.spend(if access == Access::Change { self.machine.change } else { self.machine.hit });
        }
        (line, !is_private)
    }

    fn try_hit(&mut self, line: usize, access: Access) -> bool {
        let hits = self.lines.hits(line, self.processor(), access);
        if hits {
            let time = if access == Access::Change { self.machine.change } else { self.machine.hit };
            self.threads[self.running].spend(time);
        }
        hits
    }

    fn end_miss(&mut self, line: usize, access: Access, begin: Time) {
        let processor = self.processor();
        let data = self.lines.fetch(line, processor, access, &self.machine);
        let now = self.now;
        let change = self.machine.change;
        let thread = &mut self.threads[self.running];
        match access {
            Access::Load | Access::Update => thread.debt += data,
            // The store waited in the store buffer, and the thread did not: what it does next has happened meanwhile.
            Access::Store => {
                thread.debt += data;
                thread.overlap = now - begin + data;
            }
            Access::Change => thread.debt += data + change,
        }
    }
}

/// A full fence: waits for the stores before it.
pub(super) fn fence() {
    world(|world| {
        let change = world.machine.change;
        let thread = &mut world.threads[world.running];
        thread.overlap = 0;
        thread.debt += change;
    });
}

// ---- sleep ------------------------------------------------------------------------------------------------

/// The running thread takes the kernel's lock of a word for a moment, after those that came before.
pub(super) fn pass_bucket(word: usize) {
    let wait = world(|world| {
        let bucket = world.machine.bucket;
        let sleepers = world.sleepers.entry(word).or_default();
        let begin = sleepers.free_at.max(world.now);
        sleepers.free_at = begin + bucket;
        begin + bucket - world.now
    });
    pass_in_kernel(wait);
}

/// The running thread sleeps on the word at `address` until woken or until `deadline`. Whether it was woken.
pub(super) fn sleep(address: usize, deadline: Option<Time>) -> bool {
    world(|world| {
        let thread = world.running;
        if address != 0 {
            world.sleepers.entry(address).or_default().threads.push_back(thread);
        }
        world.threads[thread].state = State::Asleep(address);
        world.threads[thread].timed_out = false;
        let turn = world.begin_turn(thread);
        if let Some(deadline) = deadline {
            let at = deadline.max(world.now) + world.machine.timer_slack;
            world.add_event(at, What::Thread { thread, turn });
        }
        world.leave_processor(thread);
    });
    suspend();
    thread(|thread| !thread.timed_out)
}

impl World {
    pub(super) fn has_sleepers(&self, address: usize) -> bool {
        self.sleepers.get(&address).is_some_and(|sleepers| !sleepers.threads.is_empty())
    }

    /// Wakes who sleeps longest on the word. False if nobody does.
    pub(super) fn wake_first(&mut self, address: usize) -> bool {
        let first = self.sleepers.get_mut(&address).and_then(|sleepers| sleepers.threads.pop_front());
        if let Some(thread) = first {
            self.wake(thread);
        }
        first.is_some()
    }
}

// ---- simulations ------------------------------------------------------------------------------------------

/// What a simulation shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    /// How long it took, to the end of the last thread, and to when threads were asked to end.
    pub(crate) time: Time,
    pub(crate) measured: Time,
    /// Of each thread, the time on processors, and how much of that was in the kernel.
    pub(crate) used: Vec<Time>,
    pub(crate) in_kernel: Vec<Time>,
    /// Of each processor: busy, and from one thread to another.
    pub(crate) busy: Vec<Time>,
    pub(crate) idle: Vec<Time>,
    /// Lines that came to a processor that did not have them.
    pub(crate) transfers: u64,
    /// Differs if anything happened at another time or in another order.
    pub(crate) trace: u64,
}

/// Whether the threads are to come to their ends.
pub(crate) fn is_over() -> bool {
    world(|world| world.own_now() >= world.end)
}

/// The time, to the picosecond and for nothing.
pub(crate) fn virtual_now() -> Time {
    world(|world| world.own_now())
}

/// The running thread computes for about so long: an eighth more or less.
pub(crate) fn compute(time: Time) {
    spend(world(|world| world.random.about(time, 8)));
}

/// Runs the threads of a scene on this machine for `time`. Each comes with the words of its task.
///
/// One simulation at a time in a process, as the code that is simulated has statics. When it ends, they are as
/// before.
pub(crate) fn simulate(
    machine: &Machine,
    seed: u64,
    time: Time,
    scene: impl FnOnce() -> Vec<((u64, usize), Body)>,
) -> Figures {
    const STACK_BYTES: usize = 1 << 17;
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    WORLD.set(Some(World::new(machine.clone(), seed)));
    let threads = scene();
    let mut coroutines = Vec::new();
    for (number, (task, body)) in threads.into_iter().enumerate() {
        let stack = DefaultStack::new(STACK_BYTES).expect("memory for a stack");
        let coroutine = Coroutine::<(), (), (), _>::with_stack(stack, |yielder, ()| {
            thread(|thread| thread.yielder = core::ptr::from_ref(yielder) as usize);
            body();
            settle();
        });
        coroutines.push(Some(coroutine));
        world(|world| {
            let home = world.machine.home_of(number);
            world.threads.push(Thread::new(task, home));
        });
    }
    let start = world(|world| {
        world.begin(time);
        world.now
    });
    let mut alive = coroutines.len();
    while alive != 0 {
        let next = world(|world| {
            world.running = world.next_thread();
            world.running
        });
        let coroutine = coroutines[next - 1].as_mut().expect("it has not ended");
        if let CoroutineResult::Return(()) = coroutine.resume(()) {
            alive -= 1;
            world(|world| {
                world.threads[next].state = State::Ended;
                world.begin_turn(next);
                world.leave_processor(next);
            });
        }
    }
    let figures = world(|world| world.end(start));
    // Not before: a stack may hold an atomic.
    drop(coroutines);
    WORLD.set(None);
    figures
}

impl World {
    fn begin(&mut self, time: Time) {
        self.phase = Phase::Run;
        self.end = self.now + time;
        self.begin_ticks();
        for thread in 1..self.threads.len() {
            self.enqueue(thread, self.threads[thread].processor);
        }
    }

    fn end(&mut self, start: Time) -> Figures {
        self.phase = Phase::SetUp;
        self.running = 0;
        self.lines.restore();
        let time = self.now - start;
        let threads = &self.threads[1..];
        Figures {
            time,
            measured: self.end - start,
            used: threads.iter().map(|thread| thread.used).collect(),
            in_kernel: threads.iter().map(|thread| thread.in_kernel).collect(),
            busy: self.processors.iter().map(|processor| processor.busy).collect(),
            idle: self.processors.iter().map(|processor| processor.idle_until(self.now, start)).collect(),
            transfers: self.lines.transfers,
            trace: self.trace,
        }
    }
}
