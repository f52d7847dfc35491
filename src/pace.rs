//! How long to look before sleeping, and how to take turns: the waiting policy, in times rather than in counts.
//!
//! A saturated short section does best if one processor works in long batches while the others look seldom; a section
//! that is fought over now and then does best if the loser looks again at once. So a section has a pace (`Hints`): it doubles
//! with each newcomer that finds the section owned soon after the last one did, and falls back when that was long ago.
//!
//! Each look costs the owner, which has to get the section's line back; and one that looks seldom finds a section that
//! is nearly always owned by luck alone. So a newcomer that has had no luck for a while asks the owner to give way: that
//! one keeps off for a moment after its next leave, during which the newcomer looks as often as it can.
//!
//! With more threads than processors, newcomers that only look never queue: each gets the section within a few looks
//! while it runs, and who runs is for the scheduler to say, for milliseconds at a time. So looking is limited to turns:
//! a task that has been awake for that long queues behind those that wait, and the queue rotates instead.
//!
//! Nor does the scheduler know that who looks has nothing to do: a thread that has a processor to itself may keep it for a
//! tenth of a second while all others share what is left. So a task that has looked for long altogether rests: it queues,
//! and sleeps for a moment before it contends. Its processor is free for another; and who looks in that moment finds
//! somebody in the queue and follows, so that the queue rotates from then on.
//!
//! On a single processor a queue rotates because each owner yields to the next, which has been woken. The last has nobody
//! to yield to, and would keep the processor for the rest of a slice many times as long as everybody else's turn; and it is
//! the last because it has had most: the scheduler let it run, and so queue, after all others. So there the owner yields
//! once more when the section has calmed down.

use crate::handle;
use crate::registry::REGISTRY;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::{self, Instant};

/// The shortest and the longest time between two looks of a newcomer.
const FASTEST: u64 = 80;
const SLOWEST_DOUBLINGS: u32 = 5;
/// How long a newcomer looks before it asks the owner to give way.
const NEWCOMER_TIME: u64 = 18_000;
/// The time between two looks after that, and how long until it queues.
const ASKING_STEP: u64 = 80;
const ASKING_TIME: u64 = 10_000;
/// Newcomers that come within this time of each other slow the section's pace. Longer than a newcomer takes where it has
/// to ask: otherwise the next one, that comes when it has got in, would look at the fastest pace again.
const CROWDED: u64 = 2 * NEWCOMER_TIME;
/// How long who was asked keeps off: a look, and the section's line on its way from one processor to another.
const GIVE_WAY_TIME: u64 = 600;
/// The time between two looks of the contender, and how long it looks before it sleeps.
const CONTENDER_STEP: u64 = 80;
const CONTENDER_TIME: u64 = 45_000;
/// How long a newcomer looks at most, however many looks the program has asked for.
const COUNTED_TIME: u64 = 1_000_000;
/// How long the contender looks before it asks for hand-off.
const CONTENDER_ASKS: u64 = 4_000;
/// How long a task may look before it queues, after it came out of the queue, while others wait there.
const TURN: u64 = 200_000;
/// How long a task may look altogether until it is to rest, how much longer if it then need not queue, and how long it
/// rests.
pub(crate) const LOOKING_TIME: u32 = 2_000_000;
pub(crate) const LOOKING_TIME_ONCE_MORE: u32 = 500_000;
const REST: u64 = 50_000;
/// A leave yields the processor if a woken contender has not arrived after this time.
const ARRIVAL_TIME: u64 = 100_000;

/// How many pauses of the processor take a microsecond; measured, as processors differ many times over.
pub(crate) fn measure_pauses() -> u32 {
    const PAUSES: u32 = 200;
    let time = || {
        let start = sys::now();
        pause(PAUSES);
        sys::now() - start
    };
    // The shortest of a few: an interruption makes a measurement longer, nothing makes it shorter.
    let shortest = (0..5).map(|_| time()).min().unwrap_or(1).max(1);
    (u64::from(PAUSES) * 1000 / shortest).clamp(1, 1000) as u32
}

fn pauses(nanoseconds: u64) -> u32 {
    (nanoseconds * u64::from(REGISTRY.pauses_per_microsecond()) / 1000).max(1) as u32
}

/// What is learnt about a contended section. Not in the section's slot: whoever looks has found it and no more, and may not
/// write to it. So this is a table of lines, each of which belongs to the section that last took it: others whose handles
/// select the same line take it in turn and learn anew. Written by whoever comes; a lost update costs nothing but speed.
#[repr(C, align(64))]
pub(crate) struct Hints {
    /// The handle of the section they are about.
    section: AtomicU64,
    /// When a newcomer last found it owned (24 bits, in microseconds), and how often the time between two looks is
    /// doubled.
    pace: AtomicU32,
}

const DOUBLINGS_BITS: u32 = 8;

const LINES: usize = 512;
static HINTS: [Hints; LINES] = [const { Hints::new() }; LINES];

impl Hints {
    const fn new() -> Self {
        Hints { section: AtomicU64::new(0), pace: AtomicU32::new(0) }
    }

    /// Those about the section with this handle.
    pub(crate) fn of(handle: u64) -> &'static Hints {
        let hints = &HINTS[handle::section_index(handle) as usize % LINES];
        if hints.section.load(Ordering::Relaxed) != handle {
            hints.section.store(handle, Ordering::Relaxed);
            hints.pace.store(0, Ordering::Relaxed);
        }
        hints
    }

    /// A newcomer has found the section owned: how it is to look.
    pub(crate) fn newcomer(&self, now: Instant) -> Looks {
        let now = (now / 1000) as u32;
        let last = self.pace.load(Ordering::Relaxed);
        let since = now.wrapping_sub(last >> DOUBLINGS_BITS) & (u32::MAX >> DOUBLINGS_BITS);
        let doublings = match u64::from(since) * 1000 < CROWDED {
            true => ((last & 0xff) + 1).min(SLOWEST_DOUBLINGS),
            false => 0,
        };
        self.pace.store(now << DOUBLINGS_BITS | doublings, Ordering::Relaxed);
        Looks::new(FASTEST << doublings, NEWCOMER_TIME)
    }
}

/// A limited number of looks with pauses between them.
pub(crate) struct Looks {
    /// The pause between two, in nanoseconds.
    step: u64,
    limit: u32,
    done: u32,
    /// After so many it is time to ask for hand-off; None for never.
    asks_after: Option<u32>,
}

impl Looks {
    fn new(step: u64, time: u64) -> Self {
        Looks { step, limit: (time / step) as u32, done: 0, asks_after: None }
    }

    /// The looks of a newcomer that has asked the owner to give way.
    pub(crate) fn after_asking() -> Self {
        Looks::new(ASKING_STEP, ASKING_TIME)
    }

    /// The looks of the contender.
    pub(crate) fn contender() -> Self {
        // On one processor the owner cannot go on while this thread looks.
        let time = if REGISTRY.spinning_helps() { CONTENDER_TIME } else { CONTENDER_STEP };
        let asks_after = Some((CONTENDER_ASKS / CONTENDER_STEP) as u32);
        Looks { asks_after, ..Looks::new(CONTENDER_STEP, time) }
    }

    /// How long the looks so far took, in nanoseconds.
    pub(crate) fn time(&self) -> u32 {
        self.step as u32 * self.done
    }

    /// Pauses until the next look; false if there is none.
    pub(crate) fn pause(&mut self) -> bool {
        pause(pauses(self.step));
        self.done += 1;
        self.done < self.limit
    }

    /// Looks until `look` has an answer.
    pub(crate) fn find(&mut self, look: impl Fn() -> Option<bool>) -> Option<bool> {
        while self.pause() {
            let answer = look();
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// Whether it is time to ask for hand-off: true once.
    pub(crate) fn is_time_to_ask(&self) -> bool {
        self.asks_after == Some(self.done)
    }
}

/// As many looks as a program has asked for, one pause before each, for a limited time.
pub(crate) struct CountedLooks {
    count: u32,
    end: Instant,
}

impl CountedLooks {
    pub(crate) fn new(count: u32, deadline: Option<Instant>) -> Self {
        let end = sys::now() + COUNTED_TIME;
        CountedLooks { count, end: deadline.map_or(end, |deadline| deadline.min(end)) }
    }

    /// Looks until `look` has an answer.
    pub(crate) fn find(&self, look: impl Fn() -> Option<bool>) -> Option<bool> {
        const LOOKS_PER_CLOCK: u32 = 64;
        for done in 0..self.count {
            if done % LOOKS_PER_CLOCK == LOOKS_PER_CLOCK - 1 && sys::now() >= self.end {
                return None;
            }
            sys::pause();
            let answer = look();
            if answer.is_some() {
                return answer;
            }
        }
        None
    }
}

/// The caller has queued for a rest.
pub(crate) fn rest() {
    sys::nap(REST);
}

/// The caller has left a section and was asked to give way.
pub(crate) fn give_way() {
    pause(pauses(GIVE_WAY_TIME));
}

fn pause(times: u32) {
    (0..times).for_each(|_| sys::pause());
}

/// Whether a contender that was woken at `woken` should have arrived by now.
pub(crate) fn is_late(woken: Instant) -> bool {
    sys::now().saturating_sub(woken) > ARRIVAL_TIME
}

/// Whether a task that is awake since `since` is to let those who wait go before it.
pub(crate) fn is_turn_over(since: Instant, now: Instant) -> bool {
    now.saturating_sub(since) > TURN
}
