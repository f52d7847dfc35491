//! Sleepers of condition variables and of addresses: who sleeps where, and how every sleep ends exactly once. A sleeper has left its
//! section before it sleeps; that it has to enter again afterwards is for callers to see to.
//!
//! A sleeper stands in the queue of a bucket, which its variable's address selects, from before it leaves the section
//! until it is taken out under the bucket's lock: by a wake, or by itself when its deadline has passed. It sleeps on
//! a word of its own record. So a wake is for the sleeper that it took out, the one that came first: no later sleeper
//! can use it up, whatever its priority, and none is lost to a deadline that passes at the same moment.
//!
//! **What stands in the variable** is one byte, `may_sleep`: whether any task may sleep there. A byte has no
//! alignment, so a variable may stand at any address. It is written under the bucket's lock only: 1 by a sleeper that
//! joins, 0 by a wake that leaves no sleeper, before it lets the last one go. (Initialize writes it without the lock,
//! to memory that is no variable until then.)
//!
//! **No wake is lost.** A wake that reads 0 does nothing. A sleeper that it has to wake joined while it owned the
//! section, which the waking thread has owned since, to change what the sleeper waits for. So the 1 was written
//! before the byte is read, and what is read is that 1 or something written later: a 0 only if the sleeper has been
//! taken out since.
//!
//! **The memory may be freed** when the last sleeper has returned: a thread that takes sleepers out touches the
//! variable before it changes their words (Release, paired with the Acquire of the sleeper's load), and not after.
//!
//! **Initialize** of a variable where a task sleeps, or slept when other memory stood there, wakes it: it would take
//! wakes that are not for it. A task that is woken without cause checks again what it waits for.

//!
//! **Addresses** (WaitOnAddress, and INIT_ONCE) have no byte of ours. A task that is to sleep on one joins, and then looks at what stands
//! there once more; a wake looks for sleepers after the program has changed that. Between the two, on both sides, is a full
//! fence: the task sees the change, or the wake sees the task.

use crate::base::hash::fibonacci_hash;
use crate::lock::queue;
use crate::state::mirror::ConditionVariable;
use crate::state::registry::REGISTRY;
use crate::state::sleep::{Sleep, SleepKind, is_of_sleep};
use crate::state::task::{self, Task, TaskRef};
use crate::state::tasks;
use crate::sys::atomic::{AtomicU32, Ordering, fence};
use crate::sys::{self, Guard, Instant, Mutex};

/// What a sleeper leaves, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// The handle of a section, or what stands for an SRW lock.
    pub(crate) section: u64,
    /// None for a sleep without limit.
    pub(crate) deadline: Option<Instant>,
    /// Where the caller called from, 0 if unknown.
    pub(crate) site: usize,
}

/// The sleepers of all variables whose addresses select this bucket, first come first.
#[repr(C, align(64))]
struct Bucket {
    lock: Mutex,
    /// The task slot that is first in the circle, 0 for none.
    first: AtomicU32,
}

/// Holds the lock of a bucket until dropped.
struct BucketGuard {
    bucket: &'static Bucket,
    lock: Guard<'static>,
}

impl Drop for BucketGuard {
    fn drop(&mut self) {
        if self.lock.is_of_parent() {
            // A handler that interrupted this thread has forked: what it has changed since, in the child, it did after
            // the repair.
            self.bucket.first.store(0, Ordering::Relaxed);
            task::current_if_any().inspect(|me| me.sleep.end());
        }
    }
}

const BUCKETS: usize = 64;

static TABLE: [Bucket; BUCKETS] =
    [const { Bucket { lock: Mutex::new(), first: AtomicU32::new(0) } }; BUCKETS];

fn bucket_of(variable: usize) -> &'static Bucket {
    &TABLE[(fibonacci_hash(variable as u64) >> 58) as usize % BUCKETS]
}

fn sleep_of(slot: u32) -> &'static Sleep {
    &REGISTRY.tasks.at(slot).sleep
}

/// Puts `me` into the queue of the variable's sleepers. Under the section that it is about to leave. Returns the number
/// of the sleep.
pub(crate) fn join(variable: &ConditionVariable, me: TaskRef, request: Request) -> u32 {
    enqueue(variable.address(), me, request, || variable.may_sleep.store(1, Ordering::Relaxed))
}

/// Puts `me` into the queue of those that sleep on the address, in a way that leaves no section. Returns the number of the sleep, which is only to begin if
/// what stands there is still to be waited for.
pub(crate) fn join_at(
    address: usize,
    me: TaskRef,
    kind: SleepKind,
    deadline: Option<Instant>,
    site: usize,
) -> u32 {
    let section = kind.mark().unwrap_or(0);
    let number = enqueue(address, me, Request { section, deadline, site }, || ());
    // place: sleeper-at-address-fence
    fence(Ordering::SeqCst);
    number
}

/// Puts `me` into the queue; calls `joined` before the lock of that is unlocked.
fn enqueue(address: usize, me: TaskRef, request: Request, joined: impl FnOnce()) -> u32 {
    // A `longjmp` out of a signal handler can have ended a sleep without leaving the queue.
    withdraw(&me);
    let Request { section, deadline, site } = request;
    let sleep = &me.sleep;
    let bucket = bucket_of(address);
    let _guard = bucket.lock();
    // Pairs with the Acquire fence in copy: a reader that sees something of this sleep finds the one before over.
    // place: sleep-write-fence
    fence(Ordering::Release);
    sleep.section.store(section, Ordering::Relaxed);
    sleep.since.store(sys::now(), Ordering::Relaxed);
    sleep.site.store(site as u64, Ordering::Relaxed);
    sleep.limited.store(u32::from(deadline.is_some()), Ordering::Relaxed);
    sleep.variable.store(address as u64, Ordering::Relaxed);
    // Release pairs with the Acquire in copy: a reader that finds it odd finds this sleep's fields.
    let number = sleep.word.load(Ordering::Relaxed).wrapping_add(1);
    // place: sleep-write-end
    sleep.word.store(number, Ordering::Release);
    bucket.link(me.index());
    joined();
    number
}

/// How long a sleeper sleeps before it checks for the first time whether it is in a child of _Fork, where nobody can wake
/// it: a handler may have come just before it slept. Later ones come after twice the time.
const FIRST_CHECK: u64 = 1_000_000_000;

/// Sleeps, after the join that returned `number`, until taken out of the queue or until `deadline`: false only if that
/// passed first.
pub(crate) fn sleep(me: TaskRef, number: u32, deadline: Option<Instant>) -> bool {
    let word = &me.sleep.word;
    let mut time = FIRST_CHECK;
    // Acquire pairs with the Release in end.
    // place: sleeper-acquire
    while word.load(Ordering::Acquire) == number {
        let check = sys::THREADS_MAY_VANISH.then(|| sys::now().saturating_add(time));
        let until = [deadline, check].into_iter().flatten().min();
        if queue::sleep_on(word, number, until) {
            continue;
        }
        if until == deadline {
            return !withdraw(&me);
        }
        time = time.saturating_mul(2);
    }
    true
}

/// Takes the task out of the queue that it stands in. False if it stands in none.
pub(crate) fn withdraw(task: &Task) -> bool {
    // Acquire pairs with the Release in end: one that was woken meanwhile goes on with what was done before.
    // place: withdraw-word-load
    if !is_of_sleep(task.sleep.word.load(Ordering::Acquire)) {
        return false;
    }
    let bucket = bucket_of(task.sleep.variable.load(Ordering::Relaxed) as usize);
    // place: withdraw-lock
    let _guard = bucket.lock();
    let is_queued = task.sleep.is_asleep();
    if is_queued {
        bucket.unlink(task.index());
        task.sleep.end();
    }
    is_queued
}

/// As zeroed memory. Reads none of it: it may never have been written.
pub(crate) fn initialize(variable: &ConditionVariable) {
    variable.clear();
    // No task joins before the variable is initialised, and one that joined when other memory stood there did so
    // before.
    if bucket_of(variable.address()).first.load(Ordering::Relaxed) != 0 {
        wake(variable, u32::MAX);
    }
}

/// Wakes up to `most` sleepers, those that came first.
pub(crate) fn wake(variable: &ConditionVariable, most: u32) {
    let none_is_left = || variable.may_sleep.store(0, Ordering::Relaxed);
    wake_those(variable.address(), SleepKind::ConditionVariable, most, none_is_left);
}

/// Wakes up to `most` of those that sleep on the address, the first that came.
pub(crate) fn wake_at(address: usize, kind: SleepKind, most: u32) {
    // place: wake-at-address-fence
    fence(Ordering::SeqCst);
    if bucket_of(address).first.load(Ordering::Relaxed) != 0 {
        wake_those(address, kind, most, || ());
    }
}

/// `none_is_left` is called, under the lock of the queue, before the last sleeper may go on.
fn wake_those(address: usize, kind: SleepKind, most: u32, none_is_left: impl Fn()) {
    let bucket = bucket_of(address);
    let mut left = most;
    while left != 0 {
        let batch = bucket.take_out(address, kind, &mut left, &none_is_left);
        batch.slots().iter().for_each(|&slot| sys::futex_wake(&sleep_of(slot).word, 1));
    }
}

/// Sleepers that were taken out and are still to be woken: their words have changed, so each may be on its way already.
struct Batch {
    slots: [u32; BATCH],
    length: usize,
}

const BATCH: usize = 32;

impl Batch {
    fn slots(&self) -> &[u32] {
        &self.slots[..self.length]
    }
}

impl Bucket {
    #[track_caller]
    fn lock(&'static self) -> BucketGuard {
        BucketGuard { bucket: self, lock: self.lock.lock() }
    }

    /// Takes out up to `left` of those that sleep on the address in this way, as many as fit into a batch. Sets `left` to
    /// how many are still to be taken of those that sleep now: later ones are not to be woken.
    fn take_out(
        &'static self,
        address: usize,
        kind: SleepKind,
        left: &mut u32,
        none_is_left: &impl Fn(),
    ) -> Batch {
        let mut batch = Batch { slots: [0; BATCH], length: 0 };
        let _guard = self.lock();
        let (mut waiting, mut staying) = (0, 0);
        self.each(|slot| {
            if !sleep_of(slot).matches(address, kind) {
                return true;
            }
            if waiting == *left {
                staying += 1;
                return false;
            }
            waiting += 1;
            if let Some(place) = batch.slots.get_mut(batch.length) {
                *place = slot;
                batch.length += 1;
            }
            true
        });
        *left = waiting - batch.length as u32;
        if *left == 0 && staying == 0 {
            none_is_left();
        }
        for &slot in batch.slots() {
            self.unlink(slot);
            sleep_of(slot).end();
        }
        batch
    }

    /// Calls `visit` with the sleepers in turn, as long as it asks for more.
    fn each(&self, mut visit: impl FnMut(u32) -> bool) {
        let first = self.first.load(Ordering::Relaxed);
        let mut slot = first;
        while slot != 0 && visit(slot) {
            slot = sleep_of(slot).next.load(Ordering::Relaxed);
            if slot == first {
                return;
            }
        }
    }

    fn link(&self, slot: u32) {
        let first = self.first.load(Ordering::Relaxed);
        if first == 0 {
            sleep_of(slot).set_neighbours(slot, slot);
            self.first.store(slot, Ordering::Relaxed);
            return;
        }
        let last = sleep_of(first).previous.load(Ordering::Relaxed);
        sleep_of(slot).set_neighbours(last, first);
        sleep_of(last).next.store(slot, Ordering::Relaxed);
        sleep_of(first).previous.store(slot, Ordering::Relaxed);
    }

    fn unlink(&self, slot: u32) {
        let previous = sleep_of(slot).previous.load(Ordering::Relaxed);
        let next = sleep_of(slot).next.load(Ordering::Relaxed);
        sleep_of(previous).next.store(next, Ordering::Relaxed);
        sleep_of(next).previous.store(previous, Ordering::Relaxed);
        if self.first.load(Ordering::Relaxed) == slot {
            self.first.store(if next == slot { 0 } else { next }, Ordering::Relaxed);
        }
    }
}

/// In the child of a fork only the forking thread lives, and no thread will wake it: if the handler of a signal that
/// came during its sleep has forked, that sleep ends. Before the other tasks are ended.
pub(crate) fn forget_after_fork() {
    for bucket in TABLE.iter().filter(|bucket| bucket.first.load(Ordering::Relaxed) != 0) {
        bucket.first.store(0, Ordering::Relaxed);
    }
    TABLE.iter().for_each(|bucket| bucket.lock.reset_after_fork());
    tasks::all().filter(|task| task.sleep.is_asleep()).for_each(|task| task.sleep.end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_by_a_wake_or_by_its_limit() {
        let me = crate::host::threads::current().unwrap();
        let variable = ConditionVariable::new();
        let passed = Some(1);
        let request = Request { section: 1, deadline: passed, site: 0 };

        let number = join(&variable, me, request);
        assert!(me.sleep.copy().is_some_and(|sleep| sleep.limited));
        wake(&variable, 1);
        assert!(!withdraw(&me), "it was taken out");
        assert!(sleep(me, number, passed), "woken, though the limit has passed");
        assert_eq!(variable.may_sleep.load(Ordering::Relaxed), 0);

        let number = join(&variable, me, request);
        assert!(!sleep(me, number, passed));
        assert!(me.sleep.copy().is_none());
        wake(&variable, 1);
        assert_eq!(variable.may_sleep.load(Ordering::Relaxed), 0, "no sleeper is left");
    }
}
