//! The scheduler: which thread a processor runs, and for how long. A plain one, in the manner of Linux's since 6.6:
//! each processor has a queue and runs the thread that has had least; a thread runs on until the tick that finds its
//! slice used up, also when another is woken; one that is woken goes to an idle processor if there is one; a
//! processor that becomes idle takes a thread from the longest queue.

use std::vec::Vec;

use super::machine::Time;
use super::world::{State, What, World};

/// A processor and the threads that wait for it.
#[derive(Default)]
pub(super) struct Processor {
    running: Option<usize>,
    /// A thread is on its way to it.
    is_awaited: bool,
    queue: Vec<usize>,
    since: Time,
    pub(super) busy: Time,
    idle: Time,
    idle_since: Option<Time>,
    has_begun: bool,
}

impl Processor {
    fn is_idle(&self) -> bool {
        self.running.is_none() && !self.is_awaited && self.queue.is_empty()
    }

    /// How many threads are there.
    fn load(&self) -> usize {
        self.queue.len() + usize::from(self.running.is_some()) + usize::from(self.is_awaited)
    }

    /// How long it was idle since `start`.
    pub(super) fn idle_until(&self, now: Time, start: Time) -> Time {
        match self.idle_since {
            Some(since) => self.idle + now - since,
            None if !self.has_begun => now - start,
            None => self.idle,
        }
    }
}

impl World {
    /// Each processor's tick comes at another moment.
    pub(super) fn begin_ticks(&mut self) {
        for processor in 0..self.processors.len() {
            self.processors[processor].idle_since = Some(self.now);
            let first = self.now + self.random.below(self.machine.tick);
            self.add_event(first, What::Tick { processor });
        }
    }

    pub(super) fn tick(&mut self, processor: usize) {
        self.add_event(self.now + self.machine.tick, What::Tick { processor });
        self.balance(processor);
        let Some(thread) = self.processors[processor].running else { return };
        let is_used_up = self.now - self.processors[processor].since >= self.machine.slice;
        if is_used_up && self.least(processor).is_some() {
            self.preempt(thread);
        }
    }

    /// The place in the queue of the thread that has had least.
    fn least(&self, processor: usize) -> Option<usize> {
        let queue = &self.processors[processor].queue;
        (0..queue.len()).min_by_key(|&place| self.threads[queue[place]].virtual_time)
    }

    /// A queue that is longer than another by two gives it a thread.
    fn balance(&mut self, processor: usize) {
        let shortest = (0..self.processors.len()).min_by_key(|&other| self.processors[other].load());
        let shortest =
            shortest.filter(|&other| self.processors[other].load() + 1 < self.processors[processor].load());
        if let Some(other) = shortest
            && let Some(thread) = self.processors[processor].queue.pop()
        {
            self.threads[thread].left += self.machine.migration;
            self.enqueue(thread, other);
        }
    }

    /// Takes a running thread, which is not the one whose code runs just now, from its processor for another.
    fn preempt(&mut self, thread: usize) {
        self.threads[thread].left = self.threads[thread].resumes - self.now;
        self.begin_turn(thread);
        let processor = self.threads[thread].processor;
        self.stop(thread);
        self.run_next(processor);
        self.threads[thread].state = State::Ready;
        self.processors[processor].queue.push(thread);
    }

    /// The running thread lets the others of its processor run first. Whether there is one.
    pub(super) fn yield_processor(&mut self) -> bool {
        let thread = self.running;
        let processor = self.threads[thread].processor;
        let queue = &self.processors[processor].queue;
        let Some(last) = queue.iter().map(|&other| self.threads[other].virtual_time).max() else {
            return false;
        };
        self.threads[thread].left = 0;
        self.begin_turn(thread);
        self.stop(thread);
        self.threads[thread].virtual_time = self.threads[thread].virtual_time.max(last + 1);
        self.run_next(processor);
        self.threads[thread].state = State::Ready;
        self.processors[processor].queue.push(thread);
        true
    }

    /// The thread is asleep or has ended.
    pub(super) fn leave_processor(&mut self, thread: usize) {
        self.stop(thread);
        self.run_next(self.threads[thread].processor);
    }

    /// Ends the thread's time on its processor.
    fn stop(&mut self, thread: usize) {
        let processor = &mut self.processors[self.threads[thread].processor];
        let time = self.now - processor.since;
        processor.running = None;
        processor.busy += time;
        let thread = &mut self.threads[thread];
        thread.used += time;
        thread.virtual_time += time;
    }

    /// Lets a processor that runs nothing run the next of its queue, or of the longest one.
    fn run_next(&mut self, processor: usize) {
        if self.processors[processor].queue.is_empty() {
            self.steal(processor);
        }
        match self.least(processor) {
            Some(place) => {
                let thread = self.processors[processor].queue.remove(place);
                self.run(thread, processor);
            }
            None => self.processors[processor].idle_since = Some(self.now),
        }
    }

    fn steal(&mut self, processor: usize) {
        let is_longer = |&other: &usize| !self.processors[other].queue.is_empty();
        let longest = (0..self.processors.len()).filter(is_longer).max_by_key(|&other| {
            let near = self.machine.distance(processor, other) == 0;
            (self.processors[other].queue.len(), near, core::cmp::Reverse(other))
        });
        if let Some(thread) = longest.and_then(|other| self.processors[other].queue.pop()) {
            self.threads[thread].left += self.machine.migration;
            self.processors[processor].queue.push(thread);
        }
    }

    fn run(&mut self, thread: usize, processor: usize) {
        let (now, switch) = (self.now, self.machine.switch);
        let place = &mut self.processors[processor];
        if let Some(since) = place.idle_since.take() {
            place.idle += now - since;
        }
        place.has_begun = true;
        place.is_awaited = false;
        place.running = Some(thread);
        place.since = now;
        let running = &mut self.threads[thread];
        running.state = State::Running(processor);
        running.processor = processor;
        running.in_kernel += switch;
        let at = now + switch + core::mem::take(&mut running.left);
        self.resume_at(thread, at);
    }

    /// A thread can run: in the queue of this processor, or at once if that is idle.
    pub(super) fn enqueue(&mut self, thread: usize, processor: usize) {
        self.threads[thread].processor = processor;
        self.threads[thread].state = State::Ready;
        if self.processors[processor].is_idle() {
            self.run(thread, processor);
        } else {
            self.processors[processor].queue.push(thread);
        }
    }

    /// Wakes a thread that sleeps.
    pub(super) fn wake(&mut self, thread: usize) {
        self.begin_turn(thread);
        self.threads[thread].state = State::Ready;
        let last = self.threads[thread].processor;
        // Who has slept is not to make up for all of that.
        let running = self.processors[last].running.map_or(0, |other| self.threads[other].virtual_time);
        let least = running.saturating_sub(self.machine.slice);
        self.threads[thread].virtual_time = self.threads[thread].virtual_time.max(least);
        let idle = (0..self.processors.len()).filter(|&other| self.processors[other].is_idle());
        let nearest = idle.min_by_key(|&other| (other != last, self.machine.distance(last, other), other));
        match nearest {
            Some(processor) => {
                self.processors[processor].is_awaited = true;
                let arrives = self.now + self.random.about(self.machine.idle_wake, 4);
                self.add_event(arrives, What::Arrival { thread, processor });
            }
            None => self.enqueue(thread, last),
        }
    }

    /// A thread that was woken has come to a processor that was idle.
    pub(super) fn arrive(&mut self, thread: usize, processor: usize) {
        self.run(thread, processor);
    }

    /// Interrupts all processors that run a thread, but that of the running one. How many there are.
    pub(super) fn interrupt_others(&mut self) -> u64 {
        let own = self.threads[self.running].processor;
        let others: Vec<_> = (0..self.processors.len())
            .filter(|&other| other != own)
            .filter_map(|other| self.processors[other].running)
            .collect();
        for &thread in &others {
            let at = self.threads[thread].resumes + self.machine.interruption;
            self.threads[thread].in_kernel += self.machine.interruption;
            self.resume_at(thread, at);
        }
        others.len() as u64
    }
}
