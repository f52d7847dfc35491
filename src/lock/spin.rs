//! How long to spin before parking, and how tasks take turns: the waiting policy, in times rather than in counts. It
//! decides how long something takes, never whether it is right, and knows nothing of the queue but what its callers
//! say.
//!
//! **Pace.** A saturated short section does best if one processor works in long batches while the others poll seldom;
//! a section that is fought over now and then does best if the loser polls again at once. So a section has a pace
//! (`Hints`): the interval between two polls doubles with each spinner that finds the section owned soon after the
//! last one did, and falls back when that was long ago.
//!
//! **Backing off.** Each poll costs the owner, which has to fetch the section's cache line back; and a spinner that
//! polls seldom finds a section that is nearly always owned by luck alone. So a spinner that has had no luck for a
//! while requests that the owner back off: the owner pauses for a moment after its next leave, while the spinner
//! polls as fast as it can.
//!
//! **Stepping aside.** Those that share a lock need not wait for each other, but its word still goes from one processor to
//! another with each that comes or goes, which takes longer than all else that they do. So one that raced with another
//! steps aside, for longer the more races there are, while the other comes and goes many times with the word at hand.
//!
//! **Credit.** All of that is for owners that run and leave soon. A task that spins while the owner sleeps takes a
//! processor from others, perhaps the very one that the owner needs to go on. So nobody spins for an owner that is
//! known to be blocked; and nobody for longer than the section's credit lasts, which grows with each spin that ends
//! in an entry and shrinks by the time spent in vain. Where it is used up, one of many tasks that have to wait spins
//! for a short time, to find out whether that pays again; where tasks wait for each other's changes, one of more waits spins for
//! longer, as the other sleeps in the same way. So the time spent in vain on a section is, all in all, no
//! more than a constant, a constant for each success and a little for each wait. An owner that leaves and enters
//! again and again costs no credit while it is polled: it will leave soon.
//!
//! **Hand-off after a loss to a blocked owner.** Where owners block at another section, a contender that is woken
//! mostly finds that a spinner has taken the section and sleeps in turn: each such wake-up is wasted. So the next few
//! leaves hand the section off to the first waiter while it is parked. The section then goes from one to the next in
//! the order in which they came, which is what such programs need: producers and consumers that meet in one section
//! take turns, rather than fill and empty what is between them. But the section is nobody's while its new owner wakes,
//! and to wake on an idle processor can take ten times as long as on a busy one. So hand-off has a credit as well: it
//! grows with each waiter that woke sooner than others could have been parked and woken, and shrinks by the time that
//! the others took longer.
//!
//! **Standing by.** With more than two processors, one may be awake beside the owner and the contender. A spinner
//! then soon queues, and goes to sleep there only if two are ahead of it: the contender, and one that stands by and
//! looks at nothing but its own word. The contender wakes the next one to stand by as soon as it is awake itself, so
//! that what this takes passes while others work; it polls seldom, and asks for hand-off when it has been the
//! contender for a while. So the section goes from one to the next in the order in which they came, each has it for
//! some microseconds, and nobody polls it meanwhile. However many wait, two spin.
//!
//! **Turns.** With more threads than processors, tasks that spin never queue: each gets the section within a few
//! polls while it runs, and the scheduler decides which one runs, for milliseconds at a time. So spinning is limited
//! to turns: a task that has been awake for longer queues behind the waiters, and the queue rotates instead.
//!
//! **Rests.** Nor does the scheduler know that a spinner has nothing to do: a thread that has a processor to itself
//! may keep it for a tenth of a second while all others share what is left. So a task that has spun for long in all
//! rests: it queues, and sleeps for a moment before it contends. Its processor is free for another; and a task that
//! comes in that moment finds a waiter in the queue and follows, so that the queue rotates from then on.
//!
//! **One processor.** There a queue rotates because each owner yields to the next, which has been woken. The last one
//! has nobody to yield to, and would keep the processor for the rest of a time slice many times as long as everybody
//! else's turn; and it is the last because it has had most: the scheduler let it run, and so queue, after all others.
//! So there the owner yields once more when the section has calmed down.

use crate::base::hash::fibonacci_hash;
use crate::handle;
use crate::state::registry::REGISTRY;
use crate::state::tasks;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::{self, Instant};

/// The shortest interval between two polls of a spinner, in nanoseconds, as all times here; and how often it doubles
/// at most.
const SHORTEST_INTERVAL: u32 = 80;
const MOST_DOUBLINGS: u32 = 5;
/// How long a spinner spins before it requests that the owner back off.
const SPIN_TIME: u32 = 18_000;
/// How long it spins before it queues where waiters stand by.
const SHORT_SPIN_TIME: u32 = 2_000;
/// The interval between two polls after that, and how long until it queues.
const AFTER_REQUEST_INTERVAL: u32 = 80;
const AFTER_REQUEST_TIME: u32 = 10_000;
/// Spinners that come within this time of each other slow the section's pace. Longer than a spinner takes that has to
/// request a back-off: otherwise the next one, which comes when that one has entered, would poll at the fastest pace
/// again.
const CROWDED: u64 = 2 * SPIN_TIME as u64;
/// For how many of these intervals a task steps aside that raced with others: less than CROWDED, so that the pace is as
/// slow as it was when it comes back.
const INTERVALS_ASIDE: u32 = 12;
const _: () = assert!(((INTERVALS_ASIDE * SHORTEST_INTERVAL) << MOST_DOUBLINGS) < CROWDED as u32);
/// How long an owner backs off: a poll, and the section's cache line on its way from one processor to another.
const BACK_OFF_TIME: u32 = 600;
/// The interval between two polls of the contender, and how long it spins before it parks.
const CONTENDER_INTERVAL: u32 = 80;
const CONTENDER_TIME: u32 = 45_000;
/// How long a spinner spins at most, whatever spin count the program has set.
const COUNTED_TIME: u64 = 1_000_000;
/// A section's credit at most, which is also what it begins with; what a success adds, which is about what it costs
/// to park and be woken. With less than the least, one of so many tasks that have to wait spins for that long.
const MOST_CREDIT: u32 = 60_000;
const SUCCESS: u32 = 10_000;
const LEAST_CREDIT: u32 = 2_000;
const WAITS_PER_TRY: u64 = 32;
/// Where tasks wait for each other's changes: how many waits there are for each such try, and how long that is.
const WAITS_PER_LONG_TRY: u64 = 256;
const LONG_TRY: u32 = 60_000;
/// How often these numbers double at most, each time that a try was in vain.
const MOST_DOUBLINGS_OF_TRIES: u32 = 3;
/// How many leaves hand a section off after its contender lost it to a blocked owner. Few, as that may have been one
/// owner of many: then spinners take it again.
const HAND_OFFS: u32 = 8;
/// Without credit, hand-offs begin with a loss all the same at one of so many waits.
const WAITS_PER_TRY_OF_HAND_OFFS: u64 = 64;
/// After how long it is first checked whether an owner that seems to stay has left and entered again; later checks
/// come after doubling times, and after this one once the owner has been seen to do so. Each check fetches a cache
/// line of the owner's.
const FIRST_CHECK: u32 = 1_000;
const CHECK_OF_THE_BUSY: u32 = 8_000;
/// How long the contender spins before it requests hand-off, and how long it then gives the owner to answer before it
/// polls again.
const HAND_OFF_REQUEST_TIME: u32 = 4_000;
const ANSWER_TIME: u32 = 1_000;
/// By how much its intervals grow where another waiter stands by, and the longest.
const CONTENDER_GROWTH: u32 = 16;
const MOST_CONTENDER_INTERVAL: u32 = 5_000;
/// For how long after it left a queue a task may still spin while others wait.
const TURN: u64 = 200_000;
/// How long a task may spin in all before it rests; how much longer if it then gets the section without queueing; and
/// how long it rests.
pub(crate) const SPIN_TIME_BEFORE_REST: u32 = 2_000_000;
pub(crate) const SPIN_TIME_BEFORE_NEXT_REST: u32 = 500_000;
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

fn pauses(nanoseconds: u32) -> u32 {
    (u64::from(nanoseconds) * u64::from(REGISTRY.pauses_per_microsecond()) / 1000).max(1) as u32
}

/// What is learnt about a contended section, or about what tasks wait for at an address. Not in the section's slot: a
/// spinner has no proof that the slot still holds the section it means, and may not write there. So this is a table of
/// cache lines, each of which belongs to what last claimed it: others that select the same line claim it in turn and
/// learn anew. Written by any task; a lost update costs nothing but speed.
#[repr(C, align(64))]
pub(crate) struct Hints {
    /// The handle of the section they are about, or the address of what else.
    subject: AtomicU64,
    /// When a spinner last found it owned (24 bits, in microseconds), and how often the interval between two polls is
    /// doubled.
    pace: AtomicU32,
    /// For how long tasks may still spin in vain, in nanoseconds.
    credit: AtomicU32,
    /// How often WAITS_PER_TRY has doubled.
    tries: AtomicU32,
    /// How many more leaves are to hand it off; for how long, in nanoseconds, it may still be nobody's while its new
    /// owner wakes.
    hand_offs: AtomicU32,
    hand_off_credit: AtomicU32,
    /// How many waits there were for what is no section.
    waits: AtomicU32,
}

const DOUBLINGS_BITS: u32 = 8;

const LINES: usize = 512;
static HINTS: [Hints; LINES] = [const { Hints::new() }; LINES];

impl Hints {
    const fn new() -> Self {
        Hints {
            subject: AtomicU64::new(0),
            pace: AtomicU32::new(0),
            credit: AtomicU32::new(0),
            tries: AtomicU32::new(0),
            hand_offs: AtomicU32::new(0),
            hand_off_credit: AtomicU32::new(0),
            waits: AtomicU32::new(0),
        }
    }

    /// Those about the section with this handle.
    pub(crate) fn of(handle: u64) -> &'static Hints {
        HINTS[handle::section_index(handle) as usize % LINES].claimed_for(handle)
    }

    /// Those about what stands at this address: an SRW lock, or what a task waits to see changed.
    pub(crate) fn at(address: u64) -> &'static Hints {
        HINTS[(fibonacci_hash(address) >> 32) as usize % LINES].claimed_for(address)
    }

    fn claimed_for(&self, subject: u64) -> &Self {
        if self.subject.load(Ordering::Relaxed) != subject {
            self.subject.store(subject, Ordering::Relaxed);
            self.pace.store(0, Ordering::Relaxed);
            self.credit.store(MOST_CREDIT, Ordering::Relaxed);
            self.tries.store(0, Ordering::Relaxed);
            self.hand_offs.store(0, Ordering::Relaxed);
            self.hand_off_credit.store(MOST_CREDIT, Ordering::Relaxed);
        }
        self
    }

    /// Counts a wait for what no section counts waits of. How many there were before.
    pub(crate) fn count_wait(&self) -> u64 {
        let before = self.waits.load(Ordering::Relaxed);
        self.waits.store(before.wrapping_add(1), Ordering::Relaxed);
        u64::from(before)
    }

    /// For how long at most a task spins while one owner stays in the section, which had so many waits so far; 0 for
    /// not at all.
    pub(crate) fn stay_limit(&self, waits: impl FnOnce() -> u64) -> u32 {
        self.limit(waits, WAITS_PER_TRY, LEAST_CREDIT)
    }

    /// How a task watches what another is to change, which may be asleep itself, waiting for a change in turn: where tasks do not
    /// spin, one of many tries until the other has woken and made its change, so that both are awake from then on.
    pub(crate) fn watcher(&self) -> SpinLoop {
        let limit = self.limit(|| self.count_wait(), WAITS_PER_LONG_TRY, LONG_TRY);
        SpinLoop::new(limit, SHORTEST_INTERVAL, LONG_TRY)
    }

    /// The credit, if there is any; otherwise, at one of so many waits, the time of a try.
    fn limit(&self, waits: impl FnOnce() -> u64, waits_per_try: u64, try_time: u32) -> u32 {
        match self.credit.load(Ordering::Relaxed) {
            0..LEAST_CREDIT => {
                let between = waits_per_try << self.tries.load(Ordering::Relaxed);
                if waits() & (between - 1) == 0 { try_time } else { 0 }
            }
            credit => credit,
        }
    }

    /// Whether tasks spin for the section in this slot; for that in another one that has the same line, if that was there
    /// later.
    pub(crate) fn is_spinning_worthwhile_in(slot: u32) -> bool {
        HINTS[slot as usize % LINES].credit.load(Ordering::Relaxed) >= LEAST_CREDIT
    }

    /// Whether a waiter is to be awake before its turn.
    pub(crate) fn is_standing_by_worthwhile(&self) -> bool {
        REGISTRY.has_spare_processors() && self.credit.load(Ordering::Relaxed) >= LEAST_CREDIT
    }

    /// How a task spins that comes now.
    pub(crate) fn spinner(&self, stay_limit: u32, now: Instant) -> SpinLoop {
        SpinLoop::new(stay_limit, self.interval(now), SPIN_TIME)
    }

    /// As spinner, of a task that may stand by in the queue soon.
    pub(crate) fn short_spinner(&self, stay_limit: u32, now: Instant) -> SpinLoop {
        SpinLoop::new(stay_limit, self.interval(now), SHORT_SPIN_TIME)
    }

    /// Steps aside: the caller has raced with others that may have the lock at the same time.
    pub(crate) fn step_aside(&self, now: Instant) {
        pause(pauses(self.interval(now) * INTERVALS_ASIDE));
    }

    /// The interval between two polls of a task that comes now.
    fn interval(&self, now: Instant) -> u32 {
        let now = (now / 1000) as u32;
        let last = self.pace.load(Ordering::Relaxed);
        let since = now.wrapping_sub(last >> DOUBLINGS_BITS) & (u32::MAX >> DOUBLINGS_BITS);
        let doublings = match u64::from(since) * 1000 < CROWDED {
            true => ((last & 0xff) + 1).min(MOST_DOUBLINGS),
            false => 0,
        };
        self.pace.store(now << DOUBLINGS_BITS | doublings, Ordering::Relaxed);
        SHORTEST_INTERVAL << doublings
    }

    /// The contender of a section that had so many waits so far lost it to a blocked owner. Whether the next leaves are to
    /// hand it off.
    pub(crate) fn begin_hand_offs(&self, waits: impl FnOnce() -> u64) -> bool {
        let pays = self.hand_off_credit.load(Ordering::Relaxed) != 0
            || waits().is_multiple_of(WAITS_PER_TRY_OF_HAND_OFFS);
        if pays {
            self.hand_offs.store(HAND_OFFS, Ordering::Relaxed);
        }
        pays
    }

    /// A task that was handed the section while it slept has woken so long after: adjusts the credit of hand-offs.
    pub(crate) fn learn_of_hand_off(&self, latency: u64) {
        let latency = latency.min(MOST_CREDIT.into()) as u32;
        let credit = self.hand_off_credit.load(Ordering::Relaxed);
        let left = (credit + SUCCESS).saturating_sub(latency).min(MOST_CREDIT);
        self.hand_off_credit.store(left, Ordering::Relaxed);
    }

    /// The section is handed off. How many leaves are to do so, with this one; 0 if only this one is.
    pub(crate) fn count_hand_off(&self) -> u32 {
        let left = self.hand_offs.load(Ordering::Relaxed);
        if left != 0 {
            self.hand_offs.store(left - 1, Ordering::Relaxed);
        }
        left
    }

    /// A task has stopped spinning: adjusts the credit.
    pub(crate) fn learn(&self, spin_loop: &SpinLoop, success: bool) {
        if spin_loop.time == 0 {
            return;
        }
        let credit = self.credit.load(Ordering::Relaxed);
        let left = match success {
            // However long a try took: it pays to look once more.
            true => (credit + SUCCESS).saturating_sub(spin_loop.stayed).clamp(SUCCESS, MOST_CREDIT),
            false => credit.saturating_sub(spin_loop.time),
        };
        if credit < LEAST_CREDIT {
            let tries = self.tries.load(Ordering::Relaxed);
            let tries = if success { 0 } else { (tries + 1).min(MOST_DOUBLINGS_OF_TRIES) };
            self.tries.store(tries, Ordering::Relaxed);
        }
        if left != credit {
            self.credit.store(left, Ordering::Relaxed);
        }
    }
}

/// What one poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    /// The section was free, and is now owned by the task that polled.
    Acquired,
    /// It was free, and another task took it first.
    Raced,
    /// It is owned by the task with this id.
    Owned(u64),
    /// No further poll can find it free: it was destroyed, abandoned or is biased.
    Futile,
}

impl Poll {
    /// Whether the section is owned by a task that is known to be blocked.
    pub(crate) fn is_owner_blocked(self) -> bool {
        matches!(self, Poll::Owned(owner) if tasks::of_owner(owner).is_blocked())
    }
}

/// A limited number of polls with pauses between them, which end sooner if the owner stays.
pub(crate) struct SpinLoop {
    /// The pauses between two polls, and the same in nanoseconds.
    pauses: u32,
    interval: u32,
    left: u32,
    end: Option<Instant>,
    /// How long the loop has run so far.
    time: u32,
    /// How long one owner may stay before the loop ends.
    stay_limit: u32,
    /// The owner that the last polls found, and for how long; after how long to check whether it has stayed all the
    /// time, and how often it had left sections at the last check.
    owner: u64,
    stayed: u32,
    next_check: u32,
    leaves: Option<u32>,
    /// Of the contender: after how long it polls next, the interval after that, by how much that grows; for how long it
    /// was the contender before, and whether it has requested hand-off.
    next_poll: u32,
    next_interval: u32,
    growth: u32,
    before: u32,
    has_requested: bool,
}

impl SpinLoop {
    fn new(stay_limit: u32, interval: u32, time: u32) -> Self {
        // A short loop is not to be over after one poll or two.
        let interval = interval.min((stay_limit / 16).max(SHORTEST_INTERVAL));
        SpinLoop {
            pauses: pauses(interval),
            interval,
            left: if stay_limit == 0 { 0 } else { (time / interval).min(sys::MOST_POLLS) },
            end: None,
            time: 0,
            stay_limit,
            owner: 0,
            stayed: 0,
            next_check: FIRST_CHECK,
            leaves: None,
            next_poll: 0,
            next_interval: interval,
            growth: 1,
            before: 0,
            has_requested: false,
        }
    }

    /// With a spin count of the program's: one pause before each poll, for a limited time.
    pub(crate) fn counted(stay_limit: u32, count: u32, deadline: Option<Instant>) -> Self {
        let end = sys::now() + COUNTED_TIME;
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        let interval = (1000 / REGISTRY.pauses_per_microsecond()).max(1);
        SpinLoop {
            pauses: 1,
            interval,
            left: count,
            end: Some(end),
            ..SpinLoop::new(stay_limit, SHORTEST_INTERVAL, 0)
        }
    }

    /// Of the contender, after its first poll.
    pub(crate) fn contender(stay_limit: u32) -> Self {
        SpinLoop::new(stay_limit, CONTENDER_INTERVAL, CONTENDER_TIME)
    }

    /// It is the contender since then, while another waiter stands by: the next owner is to have its turn from then on,
    /// without many polls.
    pub(crate) fn contend_since(&mut self, since: Instant) {
        self.before = sys::now().saturating_sub(since).min(HAND_OFF_REQUEST_TIME.into()) as u32;
        self.growth = CONTENDER_GROWTH;
    }

    /// Of a task that waits for its turn: nobody is slowed by its polls, and nobody takes it first.
    pub(crate) fn of_next_in_turn(stay_limit: u32) -> Self {
        SpinLoop::new(stay_limit, SHORTEST_INTERVAL, SPIN_TIME)
    }

    /// More polls, after the owner was requested to back off.
    pub(crate) fn extend_after_request(&mut self) {
        let SpinLoop { pauses, interval, left, .. } =
            SpinLoop::new(self.stay_limit, AFTER_REQUEST_INTERVAL, AFTER_REQUEST_TIME);
        (self.pauses, self.interval, self.left) = (pauses, interval, left);
    }

    /// How long the loop has run so far, in nanoseconds.
    pub(crate) fn time(&self) -> u32 {
        self.time
    }

    /// Whether all polls were made: no owner stayed for too long.
    pub(crate) fn is_used_up(&self) -> bool {
        self.time != 0 && self.left == 0
    }

    /// Pauses until the next poll; false if there is to be none, given what the last one found.
    pub(crate) fn again(&mut self, polled: Poll) -> bool {
        if self.left == 0 || !self.is_worthwhile(polled) || self.is_time_up() {
            return false;
        }
        self.left -= 1;
        pause(self.pauses);
        self.time += self.interval;
        self.stayed += self.interval;
        true
    }

    fn is_time_up(&self) -> bool {
        const POLLS_PER_CLOCK_READ: u32 = 64;
        self.left.is_multiple_of(POLLS_PER_CLOCK_READ) && self.end.is_some_and(|end| sys::now() >= end)
    }

    /// Whether the owner may leave soon.
    fn is_worthwhile(&mut self, polled: Poll) -> bool {
        let owner = match polled {
            Poll::Acquired | Poll::Futile => return false,
            Poll::Raced => {
                self.stayed = 0;
                return true;
            }
            Poll::Owned(owner) => owner,
        };
        if owner != self.owner {
            (self.owner, self.stayed, self.leaves) = (owner, 0, None);
            return !tasks::of_owner(owner).is_blocked();
        }
        if self.stayed < self.next_check.min(self.stay_limit) {
            return true;
        }
        let task = tasks::of_owner(owner);
        let leaves = task.leaves();
        if self.leaves.is_some_and(|before| before != leaves) {
            self.stayed = 0;
            self.next_check = CHECK_OF_THE_BUSY;
        } else {
            self.next_check *= 2;
        }
        self.leaves = Some(leaves);
        self.stayed < self.stay_limit && !task.is_blocked()
    }

    /// Polls until `poll` has taken the section, or spinning on is not worthwhile.
    pub(crate) fn run(&mut self, poll: impl Fn() -> Poll) -> bool {
        loop {
            let polled = poll();
            if !self.again(polled) {
                return polled == Poll::Acquired;
            }
        }
    }

    /// Whether it is time to ask for hand-off: true once.
    pub(crate) fn is_hand_off_request_due(&mut self) -> bool {
        if self.has_requested || self.before + self.time < HAND_OFF_REQUEST_TIME {
            return false;
        }
        self.has_requested = true;
        self.next_poll = self.time + ANSWER_TIME;
        true
    }

    /// Whether the contender is to poll now; in between it looks at its own word alone.
    pub(crate) fn is_poll_due(&mut self) -> bool {
        let due = self.time >= self.next_poll;
        if due {
            self.next_poll = self.time + self.next_interval;
            self.next_interval = (self.next_interval * self.growth).min(MOST_CONTENDER_INTERVAL);
        }
        due
    }
}

/// Rests: the caller has queued.
pub(crate) fn rest() {
    sys::nap(REST);
}

/// Backs off: the caller has left a section, and a spinner has requested it.
pub(crate) fn back_off() {
    pause(pauses(BACK_OFF_TIME));
}

fn pause(times: u32) {
    (0..times).for_each(|_| sys::pause());
}

/// How often the contender loses a section to spinners before it is handed off to it, parked or not.
pub(crate) const MOST_LOSSES: u32 = 16;
/// For how long it waits at most before that is so with its next loss, however few they are: each may have been to an owner
/// that stayed for long.
const MOST_TIME_OF_LOSSES: u64 = 10_000_000;

/// Whether a contender that has waited since then is to lose no more.
pub(crate) fn is_too_long(since: Instant) -> bool {
    sys::now().saturating_sub(since) > MOST_TIME_OF_LOSSES
}

/// Whether a contender that was woken at `woken` should have arrived by now.
pub(crate) fn is_late(woken: Instant) -> bool {
    sys::now().saturating_sub(woken) > ARRIVAL_TIME
}

/// Whether it is measured how long it takes to wake a task that is handed a section, where so many hand-offs are left:
/// where there are many, a few will do.
pub(crate) const fn is_hand_off_measured(left: u32) -> bool {
    left.is_multiple_of(4)
}

/// Whether a task that is awake since `since` is to let the waiters go before it.
pub(crate) fn is_turn_over(since: Instant, now: Instant) -> bool {
    now.saturating_sub(since) > TURN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::enter::{self, Patience};
    use crate::host::{runtime, threads};
    use crate::lock::crst;
    use crate::state::section::SpinPolicy;
    use std::sync::mpsc::channel;
    use std::vec::Vec;

    const fn some_handle(index: u32, generation: u64) -> u64 {
        handle::section_handle(0, index, generation)
    }

    fn spun_for(time: u32, stayed: u32) -> SpinLoop {
        SpinLoop { time, stayed, ..SpinLoop::new(MOST_CREDIT, SHORTEST_INTERVAL, SPIN_TIME) }
    }

    #[test]
    fn who_spins_in_vain_uses_up_the_credit_and_a_try_that_succeeds_brings_it_back() {
        let hints = Hints::of(some_handle(1, 1));
        assert_eq!(hints.stay_limit(|| 1), MOST_CREDIT);
        (0..3).for_each(|_| hints.learn(&spun_for(28_000, 28_000), false));
        let tries = (0..10 * WAITS_PER_TRY).filter(|&waits| hints.stay_limit(|| waits) != 0).count();
        assert_eq!(tries, 10);
        hints.learn(&spun_for(LEAST_CREDIT, LEAST_CREDIT), false);
        assert_eq!(hints.stay_limit(|| 1), 0);
        hints.learn(&spun_for(500, 500), true);
        assert_eq!(hints.stay_limit(|| 1), SUCCESS);
        (0..100).for_each(|_| hints.learn(&spun_for(500, 500), true));
        assert_eq!(hints.stay_limit(|| 1), MOST_CREDIT);
    }

    #[test]
    fn tries_in_vain_become_rarer_until_one_succeeds() {
        let hints = Hints::of(some_handle(6, 1));
        (0..3).for_each(|_| hints.learn(&spun_for(28_000, 28_000), false));
        let waits = 1..=32 * WAITS_PER_TRY;
        let tries = waits.filter(|&waits| hints.stay_limit(|| waits) != 0);
        let tries = tries.inspect(|_| hints.learn(&spun_for(LEAST_CREDIT, LEAST_CREDIT), false));
        let tries: Vec<u64> = tries.map(|waits| waits / WAITS_PER_TRY).collect();
        assert_eq!(tries, [1, 2, 4, 8, 16, 24, 32]);
        hints.learn(&spun_for(500, 500), true);
        hints.learn(&spun_for(28_000, 28_000), false);
        assert_eq!([1, WAITS_PER_TRY].map(|waits| hints.stay_limit(|| waits)), [0, LEAST_CREDIT]);
    }

    #[test]
    fn who_watches_tries_until_the_other_has_woken_and_then_looks_again() {
        let hints = Hints::at(0x7200);
        (0..3).for_each(|_| hints.learn(&spun_for(28_000, 28_000), false));
        let watchers = (0..=WAITS_PER_LONG_TRY).map(|wait| (wait, hints.watcher()));
        let tries: Vec<_> = watchers.filter(|(_, watcher)| watcher.left != 0).collect();
        assert_eq!(tries.iter().map(|&(wait, _)| wait).collect::<Vec<_>>(), [0, WAITS_PER_LONG_TRY]);
        let lasts = |watcher: &SpinLoop| watcher.stay_limit.min(watcher.left * watcher.interval);
        assert!(tries.iter().all(|(_, watcher)| lasts(watcher) == LONG_TRY));
        hints.learn(&spun_for(50_000, 50_000), true);
        assert_eq!(hints.watcher().stay_limit, SUCCESS);
    }

    #[test]
    fn a_success_that_takes_longer_than_sleeping_does_not_pay() {
        let hints = Hints::of(some_handle(2, 1));
        let before = hints.stay_limit(|| 1);
        hints.learn(&spun_for(25_000, 25_000), true);
        assert_eq!(hints.stay_limit(|| 1), before + SUCCESS - 25_000);
        // The owner had come and gone for most of the time.
        hints.learn(&spun_for(25_000, 1_000), true);
        assert_eq!(hints.stay_limit(|| 1), (before + 2 * SUCCESS - 26_000).min(MOST_CREDIT));
    }

    #[test]
    fn another_section_learns_anew() {
        let (one, other) = (some_handle(3, 1), some_handle(3, 2));
        Hints::of(one).learn(&spun_for(28_000, 28_000), false);
        assert_eq!(Hints::of(one).stay_limit(|| 1), MOST_CREDIT - 28_000);
        assert_eq!(Hints::of(other).stay_limit(|| 1), MOST_CREDIT);
    }

    #[test]
    fn what_stands_at_an_address_has_hints_and_waits_of_its_own() {
        let (one, other) = (Hints::at(0x7000), Hints::at(0x7100));
        assert!(!core::ptr::eq(one, other));
        one.learn(&spun_for(28_000, 28_000), false);
        assert_eq!((one.stay_limit(|| 1), other.stay_limit(|| 1)), (MOST_CREDIT - 28_000, MOST_CREDIT));
        assert_eq!([(); 3].map(|()| one.count_wait()), [0, 1, 2]);
        assert_eq!(other.count_wait(), 0);
    }

    #[test]
    fn an_owner_that_stays_is_polled_as_long_as_the_credit_lasts() {
        runtime::start().expect("memory");
        let me = threads::current().expect("a place");
        let spin_time = |comes_and_goes: bool| {
            let mut spin_loop = SpinLoop::new(4_000, SHORTEST_INTERVAL, SPIN_TIME);
            while spin_loop.again(Poll::Owned(me.id())) {
                if comes_and_goes {
                    me.count_entry();
                    me.count_leave();
                }
            }
            spin_loop.time()
        };
        assert_eq!(spin_time(false), 4_000);
        assert!(spin_time(true) > SPIN_TIME - SHORTEST_INTERVAL);
    }

    #[test]
    fn a_count_ends_with_its_time_and_the_contender_asks_once() {
        runtime::start().expect("memory");
        let me = threads::current().expect("a place");
        let polls_again = |spin_loop: &mut SpinLoop| {
            // The owner comes and goes: it is always worth while.
            me.count_entry();
            me.count_leave();
            spin_loop.again(Poll::Owned(me.id()))
        };
        let mut counted = SpinLoop::counted(MOST_CREDIT, u32::MAX, None);
        while polls_again(&mut counted) {}
        assert_ne!(counted.left, 0);
        let now = sys::now();
        let mut late = SpinLoop::counted(MOST_CREDIT, u32::MAX, Some(now));
        while polls_again(&mut late) {}
        assert!(u32::MAX - late.left <= 64);
        let mut contender = SpinLoop::contender(MOST_CREDIT);
        let asks =
            core::iter::from_fn(|| polls_again(&mut contender).then(|| contender.is_hand_off_request_due()));
        assert_eq!(asks.filter(|asks| *asks).count(), 1);
    }

    #[test]
    fn the_contender_polls_seldom_while_another_stands_by() {
        let polls = |mut contender: SpinLoop| {
            let dues = core::iter::from_fn(|| contender.again(Poll::Raced).then(|| contender.is_poll_due()));
            dues.filter(|due| *due).count() as u32
        };
        assert_eq!(polls(SpinLoop::contender(MOST_CREDIT)), CONTENDER_TIME / CONTENDER_INTERVAL);
        let mut contender = SpinLoop::contender(MOST_CREDIT);
        contender.contend_since(sys::now());
        assert!(polls(contender) <= CONTENDER_TIME / MOST_CONTENDER_INTERVAL + 2);
        // What was time to work for the owner counts, though the contender was still on its way.
        let mut late = SpinLoop::contender(MOST_CREDIT);
        late.contend_since(sys::now() - u64::from(HAND_OFF_REQUEST_TIME));
        assert_eq!([(); 2].map(|()| late.is_hand_off_request_due()), [true, false]);
    }

    #[test]
    fn a_section_lost_to_a_blocked_owner_is_handed_off_a_few_times() {
        let hints = Hints::of(some_handle(4, 1));
        assert_eq!(hints.count_hand_off(), 0);
        for _ in 0..2 {
            assert!(hints.begin_hand_offs(|| 1));
            let hand_offs: Vec<u32> =
                (0..100).map(|_| hints.count_hand_off()).take_while(|&left| left != 0).collect();
            assert_eq!(hand_offs, (1..=HAND_OFFS).rev().collect::<Vec<_>>());
            assert_eq!(hand_offs.into_iter().filter(|&left| is_hand_off_measured(left)).count(), 2);
        }
    }

    #[test]
    fn where_waking_takes_long_hand_offs_are_tried_now_and_then() {
        let hints = Hints::of(some_handle(5, 1));
        let tries = || {
            let waits = 1..=10 * WAITS_PER_TRY_OF_HAND_OFFS;
            waits.filter(|&waits| hints.begin_hand_offs(|| waits)).count() as u64
        };
        assert_eq!(tries(), 10 * WAITS_PER_TRY_OF_HAND_OFFS);
        (0..2).for_each(|_| hints.learn_of_hand_off(u64::MAX));
        assert_eq!(tries(), 10);
        hints.learn_of_hand_off(u64::from(SUCCESS));
        assert_eq!(tries(), 10);
        hints.learn_of_hand_off(u64::from(SUCCESS) - 1);
        assert_eq!(tries(), 10 * WAITS_PER_TRY_OF_HAND_OFFS);
    }

    #[test]
    fn nobody_spins_for_an_owner_that_waits_for_another_section() {
        runtime::start().expect("memory");
        let enter = |crst| enter::enter_checked(crst, 0, Patience::Unbounded, 0).expect("entered");
        let leave = |crst| crst::leave_checked(crst).expect("left");
        let [first, second] = [(); 2].map(|()| crst::create(SpinPolicy::Count(0)).expect("a place"));
        let (tell, told) = channel();
        let (go, gone) = channel::<()>();
        enter(second);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                enter(first);
                tell.send(sys::current_id()).expect("heard");
                gone.recv().expect("told");
                enter(second);
                [first, second].into_iter().for_each(leave);
            });
            let owner = told.recv().expect("told");
            let polls_again = || SpinLoop::contender(MOST_CREDIT).again(Poll::Owned(owner));
            let answers = || (polls_again(), Poll::Owned(owner).is_owner_blocked());
            let before = answers();
            go.send(()).expect("heard");
            while !tasks::of_owner(owner).is_blocked() {
                std::thread::yield_now();
            }
            let after = answers();
            // Whatever they are, the thread comes to its end.
            leave(second);
            assert_eq!((before, after), ((true, false), (false, true)));
        });
        [first, second].into_iter().for_each(|crst| crst::destroy(crst).expect("free"));
    }
}
