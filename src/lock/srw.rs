//! SRW locks: how one is taken and given up, who waits for it, and who is woken. Knows nothing of deadlocks, reports,
//! Windows' rules, nor of how a task sleeps meanwhile.
//!
//! The lock is one word of the program's (`state::srw`). Who waits stands in the queue of a bucket, which the lock's
//! address selects, from `enqueue` on until it is taken out under the bucket's lock, and sleeps on the `park` word of its
//! own wait. The word changes by compare-and-swap of the whole, so that each change rests on all that it says.
//!
//! **No wake-up is lost.** QUEUED is set by the compare-and-swap that finds the lock held, under the bucket's lock, which is
//! held until the task is in the queue. So the release that frees the lock, a compare-and-swap too, comes later, sees
//! QUEUED, and takes the bucket's lock before it looks for whom to wake. With WOKEN a release wakes nobody, and needs not the
//! bucket's lock: there is a task awake that has been woken to take the lock. It clears WOKEN by the compare-and-swap that
//! finds the lock held once more, so the release after that wakes again.
//!
//! **Who is served.** Where all that wait are to share the lock, they are given it. Otherwise the first is woken to contend with
//! tasks that come just then (barging): the lock is nobody's meanwhile, and to wake takes as long as hundreds of visits to a lock
//! that is held for a moment. If it is to share the lock and has got it, it wakes the next one that is, and so on up to one that
//! is to own it. A waiter that has lost often is given the lock by the next release, and so is the first now and then where a
//! lock is fought over, with all behind it that are to share it, if it is. If a waiter has been woken and comes to no processor, those that release the lock yield theirs. While tasks
//! share the lock, one that comes to share it too does not pass those that wait, nor does a try: so the lock becomes free.
//!
//! **The flags may be wrong** in the child of a fork, or after the program has put other bytes there: QUEUED or WOKEN
//! though nobody waits. Who finds the queue empty, under the bucket's lock, clears both; a release takes that lock whenever
//! the bucket seems to be empty.
//!
//! **The memory may be freed** by the last to release the lock: a release does not touch the word after the
//! compare-and-swap by which it gives the lock up, or gives it to a waiter, before it writes to the waiter's `park`.

use crate::base::hash::fibonacci_hash;
use crate::handle;
use crate::lock::spin::{self, Hints, Poll, SpinLoop};
use crate::state::registry::REGISTRY;
use crate::state::srw::{
    HOLDER, HOLDERS, MOST_HOLDERS, OWNER, Place, QUEUED, WOKEN, owner, undisturbed_holders,
};
use crate::state::task::{self, Task, TaskRef};
use crate::state::wait::{ACQUIRED, Beginning, CONTEND, LEFT_BEHIND, OVER, PARKED, Request, WAIT_SHARED};
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::{self, Guard, Mutex};

/// How a lock is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive,
    Shared,
}

impl Mode {
    /// Of the wait of a task in the queue.
    fn of_wait(task: &Task) -> Self {
        if task.wait.option() & WAIT_SHARED != 0 { Mode::Shared } else { Mode::Exclusive }
    }

    /// For the options of a wait.
    pub(crate) const fn option(self) -> u32 {
        match self {
            Mode::Exclusive => 0,
            Mode::Shared => WAIT_SHARED,
        }
    }

    /// A word with one more that holds the lock: the task with this id.
    const fn taken(self, word: u64, id: u64) -> u64 {
        match self {
            Mode::Exclusive => word | id,
            Mode::Shared => word + HOLDER,
        }
    }

    /// Whether the lock can be taken, by one that passes those who wait.
    const fn is_free(self, word: u64) -> bool {
        match self {
            Mode::Exclusive => word & (OWNER | HOLDERS) == 0,
            Mode::Shared => word & OWNER == 0 && word & HOLDERS != HOLDERS,
        }
    }

    /// Whether it can be taken by one that comes to wait if it cannot.
    const fn is_free_for_newcomer(self, word: u64) -> bool {
        self.is_free(word) && (word & QUEUED == 0 || word & HOLDERS == 0)
    }

    /// The word without the hold of the task with this id; None if it has none, as far as the word says.
    const fn released(self, word: u64, id: u64) -> Option<u64> {
        match self {
            Mode::Exclusive if id != 0 && word & OWNER == id => Some(word & !OWNER),
            Mode::Shared if word & OWNER == 0 && word & HOLDERS != 0 => Some(word - HOLDER),
            _ => None,
        }
    }
}

// ---- without a queue --------------------------------------------------------------------------------------

/// Takes the lock if nobody waits for it and it is free, or shared as `mode` asks. False if nothing was done.
#[inline(always)]
pub(crate) fn take_fast(word: &AtomicU64, id: u64, mode: Mode) -> bool {
    let take = |before| {
        // Acquire pairs with the Release of who gave the lock up.
        // place: srw-take-fast
        word.compare_exchange(before, mode.taken(before, id), Ordering::Acquire, Ordering::Relaxed)
    };
    // Most often nobody holds it: to find that out first, by a load, would take as long as half of the rest.
    let Err(found) = take(0) else { return true };
    mode == Mode::Shared && undisturbed_holders(found) < MOST_HOLDERS && take(found).is_ok()
}

/// Gives the lock up if nobody waits for it. False if nothing was done.
#[inline(always)]
pub(crate) fn release_fast(word: &AtomicU64, id: u64, mode: Mode) -> bool {
    let release = |before, after| {
        // Release pairs with the Acquire of who takes it next.
        // place: srw-release-fast
        word.compare_exchange(before, after, Ordering::Release, Ordering::Relaxed)
    };
    match mode {
        // 0 is no id, and the word of a lock that nobody holds.
        Mode::Exclusive => id != 0 && release(id, 0).is_ok(),
        Mode::Shared => {
            // As in take_fast.
            let Err(found) = release(HOLDER, 0) else { return true };
            undisturbed_holders(found).wrapping_sub(1) < MOST_HOLDERS
                && release(found, found - HOLDER).is_ok()
        }
    }
}

/// How often a waiter is woken and finds the lock taken by others before a release gives it to the waiter.
const MOST_LOSSES: u32 = 16;
/// How often a lock that is fought over is given to the first waiter instead of waking it to contend, in nanoseconds.
const TIME_BETWEEN_HAND_OFFS: u64 = 500_000;

/// Takes the lock if nobody holds it, though others wait for it.
#[inline]
pub(crate) fn barge(place: Place<'_>, id: u64, mode: Mode) -> bool {
    // Without its queue's lock only an aligned one can be taken. A sharer that raced with others is to step aside first.
    let may_barge = match mode {
        Mode::Exclusive => id != 0,
        Mode::Shared => place.load() & QUEUED != 0,
    };
    may_barge && matches!(place, Place::Aligned(_)) && poll(place, id, mode) == Poll::Acquired
}

/// Takes the lock if it is free soon, as one that comes to wait if it is not. Not if others wait and `me` has had its turn
/// (see `spin`).
pub(crate) fn spin(place: Place<'_>, me: TaskRef, mode: Mode) -> bool {
    // Without its queue's lock only an aligned one can be taken.
    if matches!(place, Place::Unaligned(_)) || !REGISTRY.spinning_helps() {
        return false;
    }
    let now = sys::now();
    let is_turn_over = || spin::is_turn_over(me.wait.awake_since.load(Ordering::Relaxed), now);
    let hints = Hints::at(place.address());
    let word = place.load();
    if word & QUEUED != 0 {
        if is_turn_over() {
            return false;
        }
    } else if mode == Mode::Shared && mode.is_free(word) {
        // It raced with others that share the lock.
        hints.step_aside(now);
    }
    let mut spin_loop = hints.spinner(hints.stay_limit(|| hints.count_wait()), now);
    let found = spin_loop.run(|| poll(place, me.id(), mode));
    hints.learn(&spin_loop, found);
    found
}

/// Loads the word once, and takes the lock if it is free.
fn poll(place: Place<'_>, id: u64, mode: Mode) -> Poll {
    let word = place.load();
    if !mode.is_free_for_newcomer(word) {
        // Of those that share it none is known: 0.
        return Poll::Owned(owner(word));
    }
    if place.replace(word, mode.taken(word, id)) { Poll::Acquired } else { Poll::Raced }
}

// ---- the queue --------------------------------------------------------------------------------------------

/// The waiters of all locks whose addresses select this bucket, first come first.
#[repr(C, align(64))]
struct Bucket {
    lock: Mutex,
    /// The task slot that is first in the circle, 0 for none.
    first: AtomicU32,
    /// From when on a lock is handed off once.
    next_hand_off: AtomicU64,
    /// How often one was released to somebody who is awake.
    releases: AtomicU32,
}

impl Bucket {
    const fn new() -> Self {
        Bucket {
            lock: Mutex::new(),
            first: AtomicU32::new(0),
            next_hand_off: AtomicU64::new(0),
            releases: AtomicU32::new(0),
        }
    }

    /// Whether a task that was woken to take a lock should have come by now. Asked often: the clock is read now and then.
    fn is_contender_late(&self) -> bool {
        const RELEASES_PER_CLOCK_READ: u32 = 64;
        let releases = self.releases.load(Ordering::Relaxed).wrapping_add(1);
        self.releases.store(releases, Ordering::Relaxed);
        let first = task_at(self.first.load(Ordering::Relaxed));
        releases.is_multiple_of(RELEASES_PER_CLOCK_READ)
            && spin::is_late(first.wait.awake_since.load(Ordering::Relaxed))
    }
}

const BUCKETS: usize = 64;

static TABLE: [Bucket; BUCKETS] = [const { Bucket::new() }; BUCKETS];

/// Holds the lock of a bucket until dropped.
pub(crate) struct QueueGuard {
    bucket: &'static Bucket,
    /// What stands for the lock where waits say what they are for.
    awaited: u64,
    lock: Guard<'static>,
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        if self.lock.is_of_parent() {
            // A handler that interrupted this thread has forked: what it has changed since, in the child, it did after
            // the repair.
            self.bucket.first.store(0, Ordering::Relaxed);
            task::current_if_any()
                .filter(|me| me.wait.awaited() == self.awaited)
                .inspect(|me| me.wait.end_after_fork());
        }
    }
}

fn task_at(slot: u32) -> &'static Task {
    REGISTRY.tasks.at(slot)
}

fn bucket_of(awaited: u64) -> &'static Bucket {
    &TABLE[(fibonacci_hash(awaited) >> 58) as usize % BUCKETS]
}

/// The queue of a lock, by what stands for it where waits say what they are for.
#[track_caller]
pub(crate) fn queue_of(awaited: u64) -> QueueGuard {
    let bucket = bucket_of(awaited);
    QueueGuard { bucket, awaited, lock: bucket.lock.lock() }
}

impl QueueGuard {
    /// The slots of the lock's waiters in turn.
    fn waiters(&self) -> impl Iterator<Item = u32> {
        let awaited = self.awaited;
        let first = self.bucket.first.load(Ordering::Relaxed);
        let next = move |&slot: &u32| {
            Some(task_at(slot).wait.next.load(Ordering::Relaxed)).filter(|&next| next != first)
        };
        core::iter::successors(Some(first).filter(|&first| first != 0), next)
            .filter(move |&slot| task_at(slot).wait.awaited() == awaited)
    }

    fn first(&self) -> Option<&'static Task> {
        self.waiters().next().map(task_at)
    }

    fn link(&self, task: &Task) {
        let (slot, first) = (task.index(), self.bucket.first.load(Ordering::Relaxed));
        if first == 0 {
            task.wait.join(slot, slot);
            self.bucket.first.store(slot, Ordering::Relaxed);
            return;
        }
        let last = task_at(first).wait.previous.load(Ordering::Relaxed);
        task.wait.join(last, first);
        task_at(last).wait.next.store(slot, Ordering::Relaxed);
        task_at(first).wait.previous.store(slot, Ordering::Relaxed);
    }

    fn unlink(&self, task: &Task) {
        let slot = task.index();
        let previous = task.wait.previous.load(Ordering::Relaxed);
        let next = task.wait.next.load(Ordering::Relaxed);
        task_at(previous).wait.next.store(next, Ordering::Relaxed);
        task_at(next).wait.previous.store(previous, Ordering::Relaxed);
        if self.bucket.first.load(Ordering::Relaxed) == slot {
            self.bucket.first.store(if next == slot { 0 } else { next }, Ordering::Relaxed);
        }
        task.wait.awaited.store(0, Ordering::SeqCst);
    }

    /// Takes a task out as one that holds the lock, after the word says that it does.
    fn serve(&self, task: &Task) {
        self.unlink(task);
        task.wait.acquired.store(self.awaited, Ordering::Relaxed);
        task.wait.awake_since.store(sys::now(), Ordering::Relaxed);
        // Release: the task goes on with all that was done under the lock, and touches the word after this change of it.
        task.wait.park.store(ACQUIRED, Ordering::Release);
        sys::futex_wake(&task.wait.park, 1);
    }

    /// Makes a task take the lock, or try to. It is to be woken by this word of its wait.
    fn send_to_contend<'a>(&self, task: &'a Task) -> &'a AtomicU32 {
        task.wait.awake_since.store(sys::now(), Ordering::Relaxed);
        task.wait.park.store(CONTEND, Ordering::Release);
        &task.wait.park
    }

    /// Takes a task out whose wait ends without the lock; how it ends is for the caller to say. If it was awake to take
    /// the lock, the next one is from here on. Does not touch the word.
    pub(crate) fn remove(&self, task: &Task) {
        let contends = task.wait.park.load(Ordering::Relaxed) == CONTEND;
        self.unlink(task);
        if contends && let Some(next) = self.first() {
            sys::futex_wake(self.send_to_contend(next), 1);
        }
    }

    /// A word as it should be, given who waits.
    fn corrected(&self, word: u64) -> u64 {
        if self.first().is_some() { word } else { word & !(QUEUED | WOKEN) }
    }

    /// Takes the lock for the task with this id, if it can; flags that are wrong are cleared.
    fn take(&self, place: Place<'_>, id: u64, mode: Mode, is_free: fn(Mode, u64) -> bool) -> bool {
        loop {
            let word = place.load();
            let corrected = self.corrected(word);
            if !is_free(mode, corrected) {
                return false;
            }
            if place.replace(word, mode.taken(corrected, id)) {
                return true;
            }
        }
    }
}

/// Takes the lock if it is free for one that comes.
pub(crate) fn try_take(place: Place<'_>, id: u64, mode: Mode) -> bool {
    if let Place::Aligned(_) = place {
        match poll(place, id, mode) {
            Poll::Acquired => return true,
            Poll::Owned(_) if !mode.is_free(place.load()) => return false,
            // Raced, or flags keep it out, which may be wrong.
            _ => {}
        }
    }
    queue_of(handle::of_srw_lock(place.address())).take(place, id, mode, Mode::is_free_for_newcomer)
}

/// Takes the lock if it is free, before those who wait for it: for one that may itself be among them.
pub(crate) fn take_before_all(place: Place<'_>, id: u64, mode: Mode) -> bool {
    queue_of(handle::of_srw_lock(place.address())).take(place, id, mode, Mode::is_free)
}

/// Announces `me` and puts it at the end of the queue, unless a last attempt gets the lock: then it is true.
pub(crate) fn enqueue(
    place: Place<'_>,
    me: TaskRef,
    mode: Mode,
    request: Request,
    beginning: Beginning,
) -> bool {
    let awaited = handle::of_srw_lock(place.address());
    let queue = queue_of(awaited);
    loop {
        if queue.take(place, me.id(), mode, Mode::is_free_for_newcomer) {
            return true;
        }
        let word = place.load();
        let corrected = queue.corrected(word);
        if !mode.is_free_for_newcomer(corrected) && place.replace(word, corrected | QUEUED) {
            break;
        }
    }
    me.wait.start();
    me.wait.begin(request, beginning);
    queue.link(&me);
    me.wait.awaited.store(awaited, Ordering::SeqCst);
    drop(queue);
    // Between the announcement and the search that follows: of the announcements of a cycle the last one finds all
    // others (see `deadlock`).
    fence(Ordering::SeqCst);
    false
}

/// Takes `me` out of the queue, if it is still there: false if it was not.
pub(crate) fn withdraw(place: Place<'_>, me: TaskRef) -> bool {
    let awaited = handle::of_srw_lock(place.address());
    let queue = queue_of(awaited);
    let is_queued = me.wait.awaited() == awaited;
    if is_queued {
        queue.remove(&me);
    }
    is_queued
}

/// `me` is awake to take the lock: it has taken it, or parks again, or its wait has ended.
pub(crate) fn contend(place: Place<'_>, me: TaskRef) {
    let mode = Mode::of_wait(&me);
    if REGISTRY.spinning_helps() {
        let hints = Hints::at(place.address());
        let mut spin_loop = SpinLoop::contender(hints.stay_limit(|| hints.count_wait()));
        let found = spin_loop.run(|| {
            let word = place.load();
            if mode.is_free(word) { Poll::Acquired } else { Poll::Owned(owner(word)) }
        });
        hints.learn(&spin_loop, found);
    }
    let queue = queue_of(handle::of_srw_lock(place.address()));
    if me.wait.park.load(Ordering::Relaxed) != CONTEND {
        return;
    }
    loop {
        let word = place.load();
        if mode.is_free(word) {
            let next = queue.waiters().nth(1).map(task_at);
            // Who is to share it with `me` contends next.
            let sharer = next.filter(|&next| mode == Mode::Shared && Mode::of_wait(next) == Mode::Shared);
            let flags = if next.is_some() { QUEUED } else { 0 } | if sharer.is_some() { WOKEN } else { 0 };
            if place.replace(word, mode.taken(word & !(QUEUED | WOKEN) | flags, me.id())) {
                queue.unlink(&me);
                me.wait.acquired.store(queue.awaited, Ordering::Relaxed);
                me.wait.park.store(ACQUIRED, Ordering::Relaxed);
                if let Some(park) = sharer.map(|sharer| queue.send_to_contend(sharer)) {
                    drop(queue);
                    sys::futex_wake(park, 1);
                }
                return;
            }
        } else {
            if place.replace(word, word & !WOKEN | QUEUED) {
                me.wait.park.store(PARKED, Ordering::Relaxed);
                me.wait.losses.store(me.wait.losses.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Gives the lock up for the task with this id, and serves or wakes who waits. False if it does not hold it.
pub(crate) fn release(place: Place<'_>, id: u64, mode: Mode) -> bool {
    let awaited = handle::of_srw_lock(place.address());
    let has_raced = mode == Mode::Shared && place.load() & (QUEUED | WOKEN) == 0;
    if let Some(is_held) = release_waking_nobody(place, bucket_of(awaited), id, mode) {
        if is_held && has_raced && REGISTRY.spinning_helps() {
            Hints::at(place.address()).step_aside(sys::now());
        }
        return is_held;
    }
    let queue = queue_of(awaited);
    loop {
        let word = place.load();
        let Some(rest) = mode.released(word, id) else { return false };
        let rest = queue.corrected(rest);
        let next = match queue.first().filter(|_| rest & (HOLDERS | WOKEN) == 0) {
            None => Next { word: rest, served: 0, woken: None },
            Some(first) => queue.next(first),
        };
        if place.replace(word, next.word) {
            queue.go_on_with(next);
            return true;
        }
    }
}

/// Gives the lock up for the task with this id, if that is to wake nobody: whether the task holds it. None if it may be
/// otherwise: then nothing was done.
fn release_waking_nobody(place: Place<'_>, bucket: &Bucket, id: u64, mode: Mode) -> Option<bool> {
    loop {
        let word = place.load();
        let Some(rest) = mode.released(word, id) else { return Some(false) };
        // Flags that are wrong are cleared under the lock of the queue, which nobody is in then.
        let is_somebody_awake = rest & WOKEN != 0 && bucket.first.load(Ordering::Relaxed) != 0;
        let is_to_wake = rest & (QUEUED | WOKEN) != 0 && rest & HOLDERS == 0 && !is_somebody_awake;
        if is_to_wake || matches!(place, Place::Unaligned(_)) {
            return None;
        }
        if place.replace(word, rest) {
            if is_somebody_awake && bucket.is_contender_late() {
                sys::yield_now();
            }
            return Some(true);
        }
    }
}

/// How a lock that is given up goes on.
struct Next {
    word: u64,
    /// So many that are first in the queue hold it.
    served: usize,
    /// Is woken to take it.
    woken: Option<&'static Task>,
}

impl QueueGuard {
    /// Who is to have a lock that nobody holds now, and for which `first` waits.
    fn next(&self, first: &'static Task) -> Next {
        let is_shared = |task: &Task| Mode::of_wait(task) == Mode::Shared;
        let sharers = self.waiters().take_while(|&slot| is_shared(task_at(slot))).count();
        let served = sharers.max(1);
        let rest = if self.waiters().nth(served).is_some() { QUEUED } else { 0 };
        let keeps_nobody_out = sharers != 0 && rest == 0;
        let has_lost_often = first.wait.losses.load(Ordering::Relaxed) >= MOST_LOSSES;
        if !keeps_nobody_out && !has_lost_often && !self.is_hand_off_due() {
            return Next { word: QUEUED | WOKEN, served: 0, woken: Some(first) };
        }
        // So many tasks there are not that the count could be too small for them.
        let hold = if sharers == 0 { first.id() } else { sharers as u64 * HOLDER };
        Next { word: hold | rest, served, woken: None }
    }

    /// Whether it is time that a waiter gets the lock before those that come.
    fn is_hand_off_due(&self) -> bool {
        let now = sys::now();
        let is_due = now >= self.bucket.next_hand_off.load(Ordering::Relaxed);
        if is_due {
            self.bucket.next_hand_off.store(now + TIME_BETWEEN_HAND_OFFS, Ordering::Relaxed);
        }
        is_due
    }

    /// The word of the lock has changed so.
    fn go_on_with(self, next: Next) {
        (0..next.served).filter_map(|_| self.first()).for_each(|task| self.serve(task));
        if let Some(task) = next.woken {
            let park = self.send_to_contend(task);
            drop(self);
            sys::futex_wake(park, 1);
        }
    }
}

/// From when on a lock is handed off, at the next release that looks: for models, in which no time passes.
#[cfg(all(loom, test))]
pub(crate) fn set_next_hand_off(place: Place<'_>, at: sys::Instant) {
    let bucket = bucket_of(handle::of_srw_lock(place.address()));
    bucket.next_hand_off.store(at, Ordering::Relaxed);
}

/// Whether the task with this id holds the lock so, as far as its word says: it does not say who shares it.
pub(crate) fn may_hold(place: Place<'_>, id: u64, mode: Mode) -> bool {
    mode.released(whole_word(place), id).is_some()
}

/// The id of the exclusive owner, 0 for none.
pub(crate) fn owner_of(place: Place<'_>) -> u64 {
    owner(whole_word(place))
}

fn whole_word(place: Place<'_>) -> u64 {
    let _queue = matches!(place, Place::Unaligned(_)).then(|| queue_of(handle::of_srw_lock(place.address())));
    place.load()
}

// ---- waiters that are gone --------------------------------------------------------------------------------

/// The id of the task that is first in the queue, 0 if nobody waits.
pub(crate) fn first_waiter(place: Place<'_>) -> u64 {
    queue_of(handle::of_srw_lock(place.address())).first().map_or(0, |task| task.id())
}

/// The lock that was given to the task in its wait, as waits say what they are for, if the task has not noticed.
fn unnoticed(task: &Task) -> Option<u64> {
    // Acquire pairs with the Release in serve.
    let is_given = matches!(task.wait.park.load(Ordering::Acquire), ACQUIRED | LEFT_BEHIND);
    is_given.then(|| task.wait.acquired.load(Ordering::Relaxed)).filter(|&given| handle::is_srw_lock(given))
}

/// Whether this lock was given to the task in its wait, and the task has not noticed.
pub(crate) fn is_unnoticed(place: Place<'_>, task: &Task) -> bool {
    unnoticed(task) == Some(handle::of_srw_lock(place.address()))
}

/// Gives up what `is_unnoticed`, for a task whose thread is gone. Only who waits for the lock too knows that its memory is
/// still there.
pub(crate) fn give_back_unnoticed(place: Place<'_>, task: &Task) {
    if is_unnoticed(place, task) {
        release(place, task.id(), Mode::of_wait(task));
        task.wait.park.store(OVER, Ordering::Relaxed);
    }
}

/// If a lock was given to the task, whose thread is gone, and the task has not noticed: leaves that to who waits for it.
/// Whether it is so.
pub(crate) fn leave_unnoticed_behind(task: &Task) -> bool {
    let is_left = unnoticed(task).is_some();
    if is_left {
        task.wait.park.store(LEFT_BEHIND, Ordering::Relaxed);
    }
    is_left
}

/// Whether the task's thread is known to be gone.
pub(crate) fn has_left_behind(task: &Task) -> bool {
    task.wait.park.load(Ordering::Relaxed) == LEFT_BEHIND
}

/// In the child of a fork: nobody waits. The waits themselves have ended (see `queue`).
pub(crate) fn forget_after_fork() {
    for bucket in &TABLE {
        bucket.lock.reset_after_fork();
        if bucket.first.load(Ordering::Relaxed) != 0 {
            bucket.first.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;

    #[test]
    fn who_comes_to_share_it_passes_those_that_wait_only_where_nobody_holds_it() {
        static WORD: AtomicU64 = AtomicU64::new(0);
        let place = Place::Aligned(&WORD);
        let after = |before| {
            WORD.store(before, Ordering::Relaxed);
            barge(place, 0, Mode::Shared).then(|| place.load())
        };
        assert_eq!(after(QUEUED | WOKEN), Some(QUEUED | WOKEN | HOLDER));
        for held in [HOLDER | QUEUED, 1 | QUEUED, HOLDERS | QUEUED] {
            assert_eq!(after(held), None);
        }
    }

    /// One that waited for the queue's lock would wait for this very thread.
    #[test]
    fn a_try_of_an_aligned_lock_does_not_wait_for_those_that_change_its_queue() {
        static WORD: AtomicU64 = AtomicU64::new(0);
        let place = Place::Aligned(&WORD);
        let _queue = queue_of(handle::of_srw_lock(place.address()));
        let after = |before, mode| {
            WORD.store(before, Ordering::Relaxed);
            try_take(place, 2, mode).then(|| place.load())
        };
        for held in [1, 1 | QUEUED, 1 | QUEUED | WOKEN] {
            assert_eq!([Mode::Exclusive, Mode::Shared].map(|mode| after(held, mode)), [None, None]);
        }
        assert_eq!(after(HOLDER | QUEUED, Mode::Exclusive), None);
        assert_eq!(after(QUEUED | WOKEN, Mode::Exclusive), Some(QUEUED | WOKEN | 2));
        assert_eq!(after(QUEUED, Mode::Shared), Some(QUEUED | HOLDER));
    }
}
