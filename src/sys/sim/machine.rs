//! What a simulated machine costs: one structure, in which each figure says where it comes from.
//!
//! *Measured* figures are medians of `benches/simulation/machine.c` on a quiet virtual machine with two processors of
//! an Intel Xeon of the fourth generation (2.1 GHz nominal, KVM, Linux 6.18). *Literature* says whose figure it is.

/// A point in virtual time, or a time, in picoseconds: an access that hits takes less than a nanosecond.
pub(crate) type Time = u64;

pub(crate) const NANOSECOND: Time = 1_000;
pub(crate) const MICROSECOND: Time = 1_000 * NANOSECOND;
pub(crate) const MILLISECOND: Time = 1_000 * MICROSECOND;

/// A machine, and what things take on it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Processors in all, spread evenly over the sockets.
    pub(crate) processors: usize,
    pub(crate) sockets: usize,

    // ---- memory
    /// A load or a store of a line that the processor has. Measured: 0.6 to 1.1 for both; they overlap with all else.
    pub(crate) hit: Time,
    /// A read-modify-write of a line that the processor has alone. Measured: 8.
    pub(crate) change: Time,
    /// From a miss until the request has reached the cache that has the line, of the same socket and of another one,
    /// a quarter more or less; until then the owner goes on.
    pub(crate) request: [Time; 2],
    /// The line's way back; an invalidation is answered in half of that. Together with `request` a transfer.
    /// Measured: 77 to 125 from a store until another processor has loaded it, an invalidation and a transfer: 120
    /// here. Literature: 60 to 70 a transfer between two cores of such a processor, twice that between sockets
    /// (Molka et al., ICPP 2015, for earlier ones). How the two parts share that time follows from
    /// how long an owner keeps a line that another one wants: with these, throughput and changes of the owner come
    /// out as measured for the short rows.
    pub(crate) data: [Time; 2],
    /// How long a line stays at least where it was fetched to: the access itself, and one right after it.
    pub(crate) dwell: Time,
    /// A line that several processors have is handed out by the shared cache, to one after the other at this
    /// interval. Literature: a slice answers every second or third cycle.
    pub(crate) copy_interval: Time,
    /// What each further copy adds to an invalidation. Literature: the cost of a store to a line that all have grows
    /// little (David, Guerraoui and Trigonakis, SOSP 2013).
    pub(crate) per_copy: Time,

    // ---- the processor
    /// Measured: 19 to 20.
    pub(crate) pause: Time,
    /// Measured: 37.
    pub(crate) clock: Time,

    // ---- the scheduler
    /// A futex call that finds the word changed, or nobody to wake. Measured: 260 to 300, and 180 to 207.
    pub(crate) futex_wait: Time,
    pub(crate) futex_wake: Time,
    /// The kernel's lock of a futex's bucket is held for so long, by one call after the other. Estimated.
    pub(crate) bucket: Time,
    /// What waking a thread adds to the call. Measured: 1,550 to 3,500 in all.
    pub(crate) waking: Time,
    /// From there until it runs on an idle processor, `switch` apart. Measured: 5.4 to 7.3 us in all while the
    /// processor idles awake, 13 to 20 us once it sleeps.
    pub(crate) idle_wake: Time,
    /// From one thread to another. Measured: 1,800 to 2,300 for two of them with their calls of sched_yield.
    pub(crate) switch: Time,
    /// A call of sched_yield that finds nobody. Measured: 340 to 380.
    pub(crate) yielding: Time,
    /// How much later than asked for a timer ends a sleep: Linux's timer slack. Measured: 156 to 165 us for 100 us.
    pub(crate) timer_slack: Time,
    /// The scheduler's tick. Measured: a thread keeps the processor for 4.02 ms.
    pub(crate) tick: Time,
    /// A thread that has run for less when the tick comes goes on. Literature: base_slice_ns of Linux 6.6 and later.
    pub(crate) slice: Time,
    /// What it costs a thread that another processor has taken over from a queue. Estimated: its working set is
    /// small.
    pub(crate) migration: Time,

    // ---- the heavy barrier
    /// With nobody else running. Measured: 130 to 200.
    pub(crate) barrier: Time,
    /// With another processor running the process. Measured: 1.5 to 2.3 us (8.7 us on another host).
    pub(crate) barrier_reach: Time,
    /// What each further processor adds: the interrupts are sent one after the other. Estimated.
    pub(crate) barrier_per_processor: Time,
    /// How long it holds up each of those. Estimated: an interrupt.
    pub(crate) interruption: Time,

    // ---- the program
    /// A call of enter and one of leave. Measured by `./dev bench`: the row "calls", 4.2.
    pub(crate) calls: Time,
}

impl Machine {
    /// With so many processors in so many sockets.
    pub(crate) fn new(processors: usize, sockets: usize) -> Self {
        Machine {
            processors,
            sockets,
            hit: 300,
            change: 8 * NANOSECOND,
            request: [30 * NANOSECOND, 70 * NANOSECOND],
            data: [40 * NANOSECOND, 80 * NANOSECOND],
            dwell: 10 * NANOSECOND,
            copy_interval: 3 * NANOSECOND,
            per_copy: NANOSECOND,
            pause: 19_500,
            clock: 37 * NANOSECOND,
            futex_wait: 280 * NANOSECOND,
            futex_wake: 190 * NANOSECOND,
            bucket: 150 * NANOSECOND,
            waking: 1_800 * NANOSECOND,
            idle_wake: 8 * MICROSECOND,
            switch: 900 * NANOSECOND,
            yielding: 350 * NANOSECOND,
            timer_slack: 50 * MICROSECOND,
            tick: 4 * MILLISECOND,
            slice: 2_800 * MICROSECOND,
            migration: 2 * MICROSECOND,
            barrier: 160 * NANOSECOND,
            barrier_reach: 2_200 * NANOSECOND,
            barrier_per_processor: 150 * NANOSECOND,
            interruption: MICROSECOND,
            calls: 4_200,
        }
    }

    pub(crate) fn socket_of(&self, processor: usize) -> usize {
        processor * self.sockets / self.processors
    }

    /// 0 within a socket, 1 between two.
    pub(super) fn distance(&self, one: usize, other: usize) -> usize {
        usize::from(self.socket_of(one) != self.socket_of(other))
    }

    /// Where thread number `number` begins: one socket after the other gets a thread.
    pub(super) fn home_of(&self, number: usize) -> usize {
        let at = number % self.processors;
        let each = self.processors / self.sockets;
        if self.processors.is_multiple_of(self.sockets) {
            at % self.sockets * each + at / self.sockets
        } else {
            at
        }
    }
}
