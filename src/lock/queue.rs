//! The queue of a contended section: who waits, who is woken, and how every wait ends exactly once. It knows nothing of
//! deadlocks or reports, nor why a wait is ended by another task.
//!
//! **One lock serialises the end of every wait.** A waiter is in the section's queue from the moment it has announced
//! itself until a task, under the section's queue lock, takes it out and writes the outcome into its `park` word: the
//! waiter itself (it got the section, or its deadline has passed), the owner that hands the section off, or a task
//! that ends the wait (destroy, alert, the runtime's end, a broken deadlock). The waiter parks on its own word, so a
//! wake is for one.
//!
//! **Why no wake-up is lost.** The owner's last leave stores the free word and then loads `queue_state`; a waiter
//! writes `queue_state` and then loads the word (store, then load, on both sides: Dekker's pattern). One of the two
//! must see the other's store, which takes a full barrier on each side:
//! - `queue_state` was 0, so the owner uses the plain leave (store, load, no barrier). The first waiter pays for both
//!   sides: after it has set ARMED it issues the heavy barrier, which acts as a full barrier on every running thread.
//!   If the owner's load came before that barrier, so did its store, and the waiter's load finds the word free; if it
//!   came after, it sees ARMED. Such an owner, whose store was plain, has a fence of its own (wake_after_leave)
//!   before it loads the number of waiters: the waiter may be between ARMED and counting itself. Arming and counting
//!   happen under the queue lock, so no second waiter can overtake the first.
//! - `queue_state` is not 0: the leave is a read-modify-write (`swap`, SeqCst), and so is the waiter's announcement,
//!   after which a SeqCst fence stands, as its load of the word is weaker.
//! - The heavy barrier is refused: sections made from then on carry FENCED from creation, so every leave is a swap.
//!   For one that was armed just then nothing is proven about an owner that leaves at this very moment, so its
//!   waiters poll the word every millisecond (FENCE_PENDING) until one leave was fenced: after that, each owner has
//!   entered after a leave that saw FENCED, and sees it as well.
//!
//! **One contender.** Of the queue only the first contends with spinners for the free section (barging), and a leave
//! wakes nobody while CONTENDER is set. The second may be awake as well (STANDBY, see `spin`), but looks at nothing
//! but its own word. Where that is so, who queues behind others does not take the section though it may be free: a
//! leave that freed it after those had announced themselves sees one of them, and no contender or one that polls.
//! When the contender parks again it clears the bit and then loads the word: the same pattern, against the swap of
//! the leave. So that it cannot lose for ever it requests hand-off after it has spun for a while, in its own wait
//! (ASKS), as each request in the section's line would cost the owner; the owner then hands the section off, which
//! costs nothing as long as the contender is awake. Where spinning does not pay (see `spin`) it soon parks again;
//! but after so many times that it was woken and lost it requests hand-off all the same, and is handed the section
//! while it is parked.
//!
//! **A section that ends.** Destroy changes the word under the queue lock, as a biased section's and one of Windows' must
//! be; or by one compare-exchange without that lock, where the section is free. Then, before the slot
//! is another section's, it loads whether the lock is held and whether tasks wait, and if so takes the lock and ends their
//! waits. Who writes to a section that it does not own, or queues, locks and then loads the word (store, then load, on
//! both sides, fenced on both): destroy sees the lock held or what was written under it, or the other finds the section
//! gone. So under the lock, once `lock_queue_of` has found the section alive, the slot stays this section's, though the
//! section may come to its end. Others who lock rely on a word that no such destroy changes: owned, abandoned, biased.
//!
//! A waiter's life, function by function: `spin`, `enqueue`; parked in `host::enter`; perhaps `stand_by`; `contend` once a
//! leave has woken it (`wake_first`); out by `come_out_as_owner`, `hand_off`, `withdraw` or `end`.

use core::cell::Cell;

use crate::constants::WAIT_ALERTABLE;
use crate::error::{Error, Result};
use crate::handle::{self, ABANDONED};
use crate::lock::spin::{self, Hints, Poll, SpinLoop};
use crate::lock::srw;
use crate::messages;
use crate::state::mirror::{self, PublishedQueue};
use crate::state::registry::REGISTRY;
use crate::state::section::{
    ALWAYS_FENCED, ARMED, BACK_OFF, CONTENDER, FENCE_PENDING, FENCED, HANDOFF, OF_CONTENDER, Section,
    SpinPolicy, WAITER_ONE, waiters,
};
use crate::state::task::{self, Task, TaskRef};
use crate::state::wait::{
    ACQUIRED, ASKS, Beginning, CONTEND, HERE, ON_ITS_WAY, OVER, PARKED, Request, STANDBY,
    WAIT_WITHOUT_RUNTIME, Wait,
};
use crate::state::{resources, sections, tasks};
use crate::sys::atomic::{AtomicU32, Ordering, fence};
use crate::sys::{self, Instant, Slept};

/// How long waiters of a FENCE_PENDING section sleep before they check the word again.
pub(crate) const FENCE_PENDING_NAP: u64 = 1_000_000;
/// Fenced leaves without a waiter before a section goes back to the plain leave: arming costs a heavy barrier, which
/// is as much as about so many fences.
const COOLDOWN: u32 = 800;

impl Wait {
    fn count_spinning(&self, time: u32) {
        self.spun.store(self.spun.load(Ordering::Relaxed).saturating_add(time), Ordering::Relaxed);
    }

    /// Whether the task has spun for so long that it is to queue and rest (see `spin`). If it gets the section
    /// without a rest, this is soon so again.
    pub(crate) fn is_rest_due(&self) -> bool {
        let spun = self.spun.load(Ordering::Relaxed);
        let due = spun > spin::SPIN_TIME_BEFORE_REST;
        if due {
            self.spun.store(spun - spin::SPIN_TIME_BEFORE_NEXT_REST, Ordering::Relaxed);
        }
        due
    }

    /// The contender parks again. Whether it has lost too often, or waited for too long.
    fn lose(&self) -> bool {
        let losses = self.losses.load(Ordering::Relaxed) + 1;
        self.losses.store(losses, Ordering::Relaxed);
        losses >= spin::MOST_LOSSES || spin::is_too_long(self.since.load(Ordering::Relaxed))
    }

    /// The task slept when it was handed the section, and has woken; on its own thread.
    pub(crate) fn learn_of_hand_off(&self, handle: u64) {
        let handed = self.awake_since.load(Ordering::Relaxed);
        if handed != 0 {
            Hints::of(handle).learn_of_hand_off(sys::now().saturating_sub(handed));
        }
    }

    /// Parks for a moment, on the task's own thread; false if it has been woken, or its wait has ended.
    pub(crate) fn doze(&self) -> bool {
        const MOMENT: u64 = 1_000_000;
        let _ = sys::futex_wait(&self.park, PARKED, Some(sys::now() + MOMENT));
        self.park.load(Ordering::Relaxed) == PARKED
    }
}

/// Holds the lock of a section's queue until dropped.
pub(crate) struct QueueGuard<'a> {
    section: &'a Section,
    lock: sys::Guard<'a>,
}

impl Section {
    #[inline]
    #[track_caller]
    pub(crate) fn lock_queue(&self) -> QueueGuard<'_> {
        QueueGuard { section: self, lock: self.queue_lock().lock() }
    }

    /// Locks the queue of the section with this handle, if there is still one. What is written until the lock is dropped is
    /// written to no other section: see "A section that ends".
    #[track_caller]
    pub(crate) fn lock_queue_of(&self, handle: u64) -> Result<QueueGuard<'_>> {
        let queue = self.lock_queue();
        self.require_alive(handle)?;
        Ok(queue)
    }

    /// Fails if the section with this handle has ended; under the queue lock.
    fn require_alive(&self, handle: u64) -> Result<()> {
        // With the exchange and the loads in make_stale_at_once.
        // place: section-is-alive-fence
        fence(Ordering::SeqCst);
        self.owner(handle).map(|_| ()).ok_or(Error::Handle)
    }

    #[track_caller]
    fn try_lock_queue(&self) -> Option<QueueGuard<'_>> {
        Some(QueueGuard { section: self, lock: self.queue_lock().try_lock()? })
    }
}

impl Drop for QueueGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.is_of_parent() {
            self.section.settle_interrupted_change();
        }
    }
}

/// What came of an attempt to take the section under the queue lock.
pub(crate) enum Attempt {
    Entered,
    Busy,
    Failed(Error),
}

/// The queue state that a section begins with.
pub(crate) fn initial_queue_state() -> u32 {
    if REGISTRY.is_fenced() { ALWAYS_FENCED } else { 0 }
}

impl Section {
    /// Takes `me` out of the queue; why its wait has failed, if it has. If it was handed the section, it gives that
    /// back. Its wait is over.
    pub(crate) fn step_out(&self, handle: u64, me: TaskRef) -> Option<Error> {
        let queue = self.lock_queue();
        let is_queued = is_queued(&me);
        if is_queued {
            self.unlink(&me);
        }
        drop(queue);
        if is_queued {
            me.wait.finish();
            self.wake_first_if_free(handle);
            return None;
        }
        give_back_unnoticed_section(&me);
        match me.wait.finish() {
            OVER => None,
            code => Some(failure(code)),
        }
    }

    /// Releases a section that the queue gave to the caller, whose wait has ended otherwise.
    fn give_back(&self, handle: u64) {
        // SeqCst: as in leave_contended.
        self.word().swap(handle, Ordering::SeqCst);
        self.wake_after_leave();
    }

    /// Spins for a while before queueing: most sections are left sooner than a thread can be put to sleep. Not if
    /// others wait and `me` has had its turn (see `spin`). Whatever spin count the program has set, this is over
    /// after a millisecond: a spinner is in no queue, where deadlines, alerts, the runtime's end and the search for
    /// deadlocks would find it.
    pub(crate) fn spin(&self, handle: u64, me: TaskRef, deadline: Option<Instant>) -> bool {
        if !REGISTRY.spinning_helps() {
            return false;
        }
        let hints = Hints::of(handle);
        let stay_limit = hints.stay_limit(|| self.contended());
        if stay_limit == 0 {
            return false;
        }
        let poll = || self.poll(handle, me);
        let (spin_loop, found) = match self.spin_policy() {
            SpinPolicy::Adaptive => {
                let now = sys::now();
                let stands_by = REGISTRY.has_spare_processors();
                let is_turn_over =
                    || stands_by || spin::is_turn_over(me.wait.awake_since.load(Ordering::Relaxed), now);
                if self.has_waiters() && is_turn_over() {
                    return false;
                }
                let mut spin_loop = match stands_by {
                    true => hints.short_spinner(stay_limit, now),
                    false => hints.spinner(stay_limit, now),
                };
                let mut found = spin_loop.run(poll);
                if !found && spin_loop.is_used_up() && !stands_by {
                    self.request_back_off(handle);
                    spin_loop.extend_after_request();
                    found = spin_loop.run(poll);
                }
                me.wait.count_spinning(spin_loop.time());
                (spin_loop, found)
            }
            SpinPolicy::Count(0) => return false,
            SpinPolicy::Count(count) => {
                let mut spin_loop = SpinLoop::counted(stay_limit, count, deadline);
                let found = spin_loop.run(poll);
                (spin_loop, found)
            }
        };
        hints.learn(&spin_loop, found);
        found
    }

    /// Requests that the next task that leaves backs off. Not while the queue lock is taken: its holder may be
    /// preempted.
    pub(crate) fn request_back_off(&self, handle: u64) {
        if let Some(_queue) = self.try_lock_queue()
            && self.require_alive(handle).is_ok()
        {
            self.queue_state().fetch_or(BACK_OFF, Ordering::Relaxed);
        }
    }

    /// Loads the word once, and takes the section if it is free.
    fn poll(&self, handle: u64, me: TaskRef) -> Poll {
        match self.word().load(Ordering::Relaxed) ^ handle {
            0 if self.try_take(handle, me) => Poll::Acquired,
            0 => Poll::Raced,
            owner if handle::is_task(owner) => Poll::Owned(owner),
            _ => Poll::Futile,
        }
    }

    /// Announces `me` and puts it at the end of the queue, unless a last attempt gets the section.
    pub(crate) fn enqueue(
        &self,
        handle: u64,
        me: TaskRef,
        request: Request,
        beginning: Beginning,
    ) -> Result<Attempt> {
        let option = request.option;
        // Under this lock one of Windows' cannot end: no waiter is shown where another section's memory may be gone.
        let _queue = self.lock_queue_of(handle)?;
        self.arm();
        me.wait.start();
        me.wait.begin(request, beginning);
        let ahead = waiters(self.queue_state().load(Ordering::Relaxed));
        self.link(&me);
        // Before the fence below: a task that ends waits (stop, alert) first stores the reason and then loads this.
        me.wait.awaited.store(handle, Ordering::Release);
        self.queue_state().fetch_add(WAITER_ONE, Ordering::SeqCst);
        self.publish_queue();
        // Between the announcement and the loads of the word, the alert and the runtime: docs/lock.md, "Store, then
        // load, on both sides".
        // place: announcement-fence
        fence(Ordering::SeqCst);

        // See "One contender".
        let barges = ahead == 0 || !REGISTRY.has_spare_processors();
        let attempt = match self.attempt(handle, barges.then_some(me)) {
            Attempt::Busy if option & WAIT_ALERTABLE != 0 && me.take_alert() => {
                Attempt::Failed(Error::Interrupted)
            }
            Attempt::Busy
                if option & WAIT_WITHOUT_RUNTIME == 0 && !REGISTRY.runtime.is_in_run(beginning.run) =>
            {
                Attempt::Failed(Error::NotAvailable)
            }
            attempt => attempt,
        };
        match attempt {
            Attempt::Busy => {
                self.count_contended();
                self.begin_awake(handle, me, ahead);
            }
            _ => {
                self.unlink(&me);
                me.wait.finish();
            }
        }
        match attempt {
            Attempt::Failed(error) => Err(error),
            attempt => Ok(attempt),
        }
    }

    /// Makes sure that leaves are fenced from now on; under the queue lock.
    fn arm(&self) {
        if self.queue_state().load(Ordering::Relaxed) & ARMED != 0 {
            return;
        }
        self.queue_state().fetch_or(ARMED, Ordering::SeqCst);
        self.reset_leaves();
        // place: announcement-heavy-barrier
        if !sys::heavy_barrier() {
            REGISTRY.set_fenced();
            self.queue_state().fetch_or(FENCED | FENCE_PENDING, Ordering::SeqCst);
        }
    }

    /// `me` has queued behind so many waiters: it does not go to sleep first if it is to be awake; under the queue lock.
    fn begin_awake(&self, handle: u64, me: TaskRef, ahead: u32) {
        if ahead <= 1 && Hints::of(handle).is_standing_by_worthwhile() {
            me.wait.presence.store(HERE, Ordering::Relaxed);
            match ahead {
                0 => self.make_contender(&me),
                _ => me.wait.park.store(STANDBY, Ordering::Relaxed),
            }
        }
    }

    /// Takes the section for `me`, if that is given and it is free; under the queue lock.
    fn attempt(&self, handle: u64, me: Option<TaskRef>) -> Attempt {
        if handle::is_task(self.word().load(Ordering::Relaxed) ^ handle) {
            return Attempt::Busy;
        }
        self.revoke_locked(handle);
        match self.owner(handle) {
            Some(0) if me.is_some_and(|me| self.try_take(handle, me)) => Attempt::Entered,
            Some(ABANDONED) if self.mirror() == 0 => Attempt::Failed(Error::Abandoned),
            Some(_) => Attempt::Busy,
            None => Attempt::Failed(Error::Handle),
        }
    }

    /// Ends the wait of `me` for lack of time, unless something else has ended it already.
    pub(crate) fn withdraw(&self, handle: u64, me: TaskRef) -> Result<()> {
        let queue = self.lock_queue();
        if !is_queued(&me) {
            return Ok(());
        }
        self.unlink(&me);
        drop(queue);
        self.wake_first_if_free(handle);
        Err(Error::Timeout)
    }

    /// Fence pending: the section may be free although no leave has woken a waiter. Takes it if so. If not, an owner
    /// whose leave did not see the queue may have overwritten the mirrored LockCount, which is written again.
    pub(crate) fn recheck(&self, handle: u64, me: TaskRef) {
        let _queue = self.lock_queue();
        if !is_queued(&me) {
            return;
        }
        if self.is_free(handle) && self.try_take(handle, me) {
            self.come_out_as_owner(handle, me);
        } else {
            self.publish_queue();
        }
    }

    /// `me` is first and awake: polls until it has the section, its wait has ended, or it is to park again.
    pub(crate) fn contend(&self, handle: u64, me: TaskRef) {
        me.wait.presence.store(HERE, Ordering::Relaxed);
        // On one processor the owner cannot go on while this thread spins.
        let hints = REGISTRY.spinning_helps().then(|| Hints::of(handle));
        let polled = match hints.map(|hints| (hints, hints.stay_limit(|| self.contended()))) {
            None | Some((_, 0)) => self.poll(handle, me),
            Some((hints, stay_limit)) => self.spin_as_contender(handle, me, hints, stay_limit),
        };
        if polled == Poll::Acquired {
            let queue = self.lock_queue();
            if is_queued(&me) {
                self.come_out_as_owner(handle, me);
                return;
            }
            // Its wait was ended in between: gives back what it was not to have.
            drop(queue);
            self.give_back(handle);
            return;
        }
        let lost_to_blocked = hints.filter(|_| polled.is_owner_blocked());
        let _queue = self.lock_queue();
        if me.wait.park.load(Ordering::Relaxed) != CONTEND {
            return;
        }
        me.wait.park.store(PARKED, Ordering::Relaxed);
        // SeqCst with the swap in leave_contended: that leave sees no contender, or the attempt below sees its free
        // word.
        self.queue_state().fetch_and(!OF_CONTENDER, Ordering::SeqCst);
        let hands_off = lost_to_blocked.is_some_and(|hints| hints.begin_hand_offs(|| self.contended()));
        if me.wait.lose() || hands_off {
            self.queue_state().fetch_or(HANDOFF, Ordering::Relaxed);
        }
        self.publish_queue();
        // place: contender-fence
        fence(Ordering::SeqCst);
        if let Attempt::Entered = self.attempt(handle, Some(me)) {
            self.come_out_as_owner(handle, me);
        }
    }

    /// Polls as the contender as long as that pays. What the last poll found; Futile if the wait has ended.
    fn spin_as_contender(&self, handle: u64, me: TaskRef, hints: &Hints, stay_limit: u32) -> Poll {
        let mut spin_loop = SpinLoop::contender(stay_limit);
        if hints.is_standing_by_worthwhile() {
            self.wake_next(me);
            spin_loop.contend_since(me.wait.awake_since.load(Ordering::Relaxed));
        }
        let mut polled = Poll::Raced;
        loop {
            match me.wait.park.load(Ordering::Relaxed) {
                CONTEND => {}
                outcome => {
                    hints.learn(&spin_loop, outcome == ACQUIRED);
                    return Poll::Futile;
                }
            }
            if spin_loop.is_hand_off_request_due() {
                me.wait.presence.store(ASKS, Ordering::Relaxed);
            }
            if spin_loop.is_poll_due() {
                polled = self.poll(handle, me);
            }
            if !spin_loop.again(polled) {
                hints.learn(&spin_loop, polled == Poll::Acquired);
                return polled;
            }
        }
    }

    /// Wakes the waiter behind `me`, the contender, before its turn.
    fn wake_next(&self, me: TaskRef) {
        let queue = self.lock_queue();
        let next = REGISTRY.tasks.at(me.wait.next.load(Ordering::Relaxed));
        if !is_queued(&me) || next.wait.park.load(Ordering::Relaxed) != PARKED {
            return;
        }
        next.wait.presence.store(ON_ITS_WAY, Ordering::Relaxed);
        next.wait.park.store(STANDBY, Ordering::Relaxed);
        drop(queue);
        sys::futex_wake(&next.wait.park, 1);
    }

    /// `me` is awake before its turn: spins until it has come, or parks again.
    pub(crate) fn stand_by(&self, handle: u64, me: TaskRef) {
        me.wait.presence.store(HERE, Ordering::Relaxed);
        let hints = Hints::of(handle);
        let mut spin_loop = SpinLoop::of_next_in_turn(hints.stay_limit(|| self.contended()));
        let is_called = || me.wait.park.load(Ordering::Relaxed) != STANDBY;
        // Who calls it is not known: 0.
        let called = spin_loop.run(|| if is_called() { Poll::Acquired } else { Poll::Owned(0) });
        hints.learn(&spin_loop, called);
        if !called {
            let _queue = self.lock_queue();
            if !is_called() {
                me.wait.park.store(PARKED, Ordering::Relaxed);
            }
        }
    }

    /// The owner's last leave of a section that has waiters, or had some lately.
    #[cold]
    pub(crate) fn leave_contended(&self, handle: u64) {
        let queue_state = self.queue_state().load(Ordering::Relaxed);
        let calm = queue_state == ARMED && self.count_leave() >= COOLDOWN;
        if calm || queue_state & (CONTENDER | HANDOFF | FENCE_PENDING | BACK_OFF) != 0 {
            return self.leave_with_care(handle, queue_state, calm);
        }
        // As in leave_with_care.
        self.word().swap(handle, Ordering::SeqCst);
        self.wake_after_leave();
    }

    /// As leave_contended, if something in this queue state asks for more than a fenced leave, or all has been `calm` for long.
    fn leave_with_care(&self, handle: u64, queue_state: u32, calm: bool) {
        let contender = self.presence_of_contender(queue_state);
        if (queue_state & HANDOFF != 0 || contender == ASKS) && self.hand_off(handle) {
            return;
        }
        if calm {
            self.disarm();
        }
        let late = contender == ON_ITS_WAY && self.contender_is_late();
        // Before the section is released: after that the slot may be another section's, whose waiters rely on their
        // FENCE_PENDING. Nothing is lost by being early: until the swap only this owner can leave, and its leave is
        // fenced.
        if queue_state & (FENCE_PENDING | BACK_OFF) != 0 {
            self.queue_state().fetch_and(!(queue_state & (FENCE_PENDING | BACK_OFF)), Ordering::Relaxed);
        }
        // SeqCst with the waiter's announcement: this leave sees the waiter, or the waiter sees the free word.
        self.word().swap(handle, Ordering::SeqCst);
        self.wake_after_leave();
        if late || (calm && !REGISTRY.spinning_helps()) {
            sys::yield_now();
        }
        if queue_state & BACK_OFF != 0 {
            spin::back_off();
        }
    }

    /// Whether the woken contender has had time to arrive and has not: it may be behind this very thread in the run
    /// queue of a processor. Reads the clock now and then only, after so many leaves since it was woken: an owner that
    /// leaves seldom has no need to yield, and would yield to an unrelated thread as likely as to the contender. By the
    /// owner.
    fn contender_is_late(&self) -> bool {
        const LEAVES_PER_CLOCK_READ: u32 = 64;
        if !self.count_leave().is_multiple_of(LEAVES_PER_CLOCK_READ) {
            return false;
        }
        match REGISTRY.tasks.at(self.first_waiter()).wait.awake_since.load(Ordering::Relaxed) {
            0 => {
                self.note_when_contender_was_woken();
                false
            }
            woken => spin::is_late(woken),
        }
    }

    /// It was woken without a look at the clock: counts from now on.
    #[cold]
    fn note_when_contender_was_woken(&self) {
        // Under this lock, as the first waiter found without it may have gone, and its record be another's.
        let queue = self.try_lock_queue();
        if queue.is_some() && self.queue_state().load(Ordering::Relaxed) & CONTENDER != 0 {
            let contender = REGISTRY.tasks.at(self.first_waiter());
            contender.wait.awake_since.store(sys::now(), Ordering::Relaxed);
        }
    }

    /// How far the contender is; HERE if there is none. By the owner.
    fn presence_of_contender(&self, queue_state: u32) -> u32 {
        match self.first_waiter() {
            first if first != 0 && queue_state & CONTENDER != 0 => {
                REGISTRY.tasks.at(first).wait.presence.load(Ordering::Relaxed)
            }
            _ => HERE,
        }
    }

    /// The section was left; wakes the first waiter if there is no contender. The slot may hold another section by
    /// now: its waiter then has a spurious wake-up.
    #[inline]
    pub(crate) fn wake_after_leave(&self) {
        let queue_state = self.queue_state().load(Ordering::SeqCst);
        if waiters(queue_state) != 0 && queue_state & CONTENDER == 0 {
            self.wake_first();
        }
    }

    fn wake_first(&self) {
        let queue = self.lock_queue();
        let first = self.first_waiter();
        if first == 0 || self.queue_state().load(Ordering::Relaxed) & CONTENDER != 0 {
            return;
        }
        let task = REGISTRY.tasks.at(first);
        // Who stands by is awake, or is being woken.
        let sleeps = task.wait.park.load(Ordering::Relaxed) == PARKED;
        if sleeps {
            task.wait.presence.store(ON_ITS_WAY, Ordering::Relaxed);
        }
        self.make_contender(task);
        drop(queue);
        if sleeps {
            sys::futex_wake(&task.wait.park, 1);
        }
    }

    /// The first waiter is to contend; under the queue lock.
    fn make_contender(&self, first: &Task) {
        self.queue_state().fetch_or(CONTENDER, Ordering::Relaxed);
        self.reset_leaves();
        self.publish_queue();
        // Where nobody spins, it is asked for by late leaves alone, if at all: the first of these notes the time.
        let is_asked_for = Hints::is_spinning_worthwhile_in(REGISTRY.sections.index_of(self));
        let now = if is_asked_for { sys::now() } else { 0 };
        first.wait.awake_since.store(now, Ordering::Relaxed);
        first.wait.park.store(CONTEND, Ordering::Release);
    }

    /// Makes the first waiter the owner. False if there is none any more.
    fn hand_off(&self, handle: u64) -> bool {
        let queue = self.lock_queue();
        let first = self.first_waiter();
        let left = if REGISTRY.spinning_helps() { Hints::of(handle).count_hand_off() } else { 0 };
        if first == 0 || left <= 1 {
            // The contender that requested it may have been served or have given up.
            self.queue_state().fetch_and(!HANDOFF, Ordering::Relaxed);
        }
        if first == 0 {
            return false;
        }
        let task = REGISTRY.tasks.at(first);
        let sleeps = match task.wait.park.load(Ordering::Relaxed) {
            PARKED => true,
            STANDBY => task.wait.presence.load(Ordering::Relaxed) == ON_ITS_WAY,
            _ => false,
        };
        if sleeps {
            let now = if spin::is_hand_off_measured(left) { sys::now() } else { 0 };
            task.wait.awake_since.store(now, Ordering::Relaxed);
        }
        self.unlink(task);
        task.wait.acquired.store(handle, Ordering::Relaxed);
        // place: hand-off-word-store
        self.word().store(handle ^ task.id(), Ordering::Release);
        // place: hand-off-grant
        task.wait.park.store(ACQUIRED, Ordering::Release);
        // Its turn has come: so the new owner need not wake it.
        let next = REGISTRY.tasks.at(self.first_waiter());
        if self.has_waiters() && next.wait.park.load(Ordering::Relaxed) == STANDBY {
            self.make_contender(next);
        }
        drop(queue);
        if sleeps {
            sys::futex_wake(&task.wait.park, 1);
        }
        true
    }

    /// `me` has taken the section: its wait is over; under the queue lock.
    fn come_out_as_owner(&self, handle: u64, me: TaskRef) {
        self.unlink(&me);
        me.wait.acquired.store(handle, Ordering::Relaxed);
        me.wait.park.store(ACQUIRED, Ordering::Relaxed);
    }

    /// Goes back to the plain leave if nobody waits. By the owner.
    fn disarm(&self) {
        let _queue = self.lock_queue();
        let _ = self.queue_state().compare_exchange(ARMED, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Ends every wait for this section; under the queue lock.
    pub(crate) fn drain(&self, reason: Error) {
        loop {
            let first = self.first_waiter();
            if first == 0 {
                return;
            }
            self.end(REGISTRY.tasks.at(first), reason);
        }
    }

    /// Takes `task` out with an outcome and wakes it; under the queue lock.
    fn end(&self, task: &Task, reason: Error) {
        self.unlink(task);
        task.wait.park.store(reason.hresult() as u32, Ordering::Release);
        sys::futex_wake(&task.wait.park, 1);
    }

    fn link(&self, task: &Task) {
        let index = task.index();
        let first = self.first_waiter();
        if first == 0 {
            task.wait.join(index, index);
            self.set_first_waiter(index);
            return;
        }
        let first_wait = &REGISTRY.tasks.at(first).wait;
        let last = first_wait.previous.load(Ordering::Relaxed);
        task.wait.join(last, first);
        REGISTRY.tasks.at(last).wait.next.store(index, Ordering::Relaxed);
        first_wait.previous.store(index, Ordering::Relaxed);
    }

    /// Takes `task` out of the queue; under the queue lock.
    fn unlink(&self, task: &Task) {
        if task.wait.awaited.load(Ordering::Relaxed) == 0 {
            // The child of a fork, made by a signal handler while this very thread was here: its queue is gone.
            self.forget_waiters();
            return;
        }
        let index = task.index();
        let previous = task.wait.previous.load(Ordering::Relaxed);
        let next = task.wait.next.load(Ordering::Relaxed);
        REGISTRY.tasks.at(previous).wait.next.store(next, Ordering::Relaxed);
        REGISTRY.tasks.at(next).wait.previous.store(previous, Ordering::Relaxed);
        if self.first_waiter() == index {
            self.set_first_waiter(if next == index { 0 } else { next });
        }
        task.wait.awaited.store(0, Ordering::Release);
        let is_contender = task.wait.park.load(Ordering::Relaxed) == CONTEND;
        // Under this lock these bits stay as they are.
        let of_contender =
            if is_contender { self.queue_state().load(Ordering::Relaxed) & OF_CONTENDER } else { 0 };
        self.queue_state().fetch_sub(WAITER_ONE + of_contender, Ordering::SeqCst);
        self.publish_queue();
    }

    /// Publishes the queue in the CRITICAL_SECTION of this section, if it has one; under the queue lock, while a task
    /// is in the queue or is just being taken out of it.
    fn publish_queue(&self) {
        if self.mirror() != 0 {
            // SAFETY: a task that waits for a section with a mirror does so inside a call that was given its
            // CRITICAL_SECTION, and set it as the mirror; the queue lock keeps that call from returning, and so does
            // the end of its thread in the child of a fork.
            unsafe { mirror::publish_queue(self.mirror(), self.published_queue()) };
        }
    }

    /// The queue as a CRITICAL_SECTION publishes it; under the queue lock.
    pub(crate) fn published_queue(&self) -> PublishedQueue {
        let queue_state = self.queue_state().load(Ordering::Relaxed);
        let woken = queue_state & CONTENDER != 0;
        PublishedQueue { woken, asleep: waiters(queue_state).saturating_sub(u32::from(woken)) }
    }
}

/// The failure that a park word holds, of a wait that has not succeeded.
pub(crate) fn failure(park: u32) -> Error {
    match park {
        // See end_after_fork.
        OVER => Error::Abandoned,
        code => Error::from_hresult(code as i32).unwrap_or(Error::Fail),
    }
}

/// Sleeps on a word of a task's; false if `deadline` has passed. Where the futex call is refused, says so once. A handler
/// that came may have made this the child of a _Fork, where nobody will wake the caller: the repair ends its wait.
pub(crate) fn sleep_on(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
    static WAS_SAID: AtomicU32 = AtomicU32::new(0);
    let slept = sys::futex_wait(word, expected, deadline);
    if slept == Slept::Refused && WAS_SAID.swap(1, Ordering::Relaxed) == 0 {
        messages::complain(&[b"the system call futex is refused: waiters poll every millisecond"]);
    }
    sys::settle_fork();
    slept != Slept::TimedOut
}

/// Whether the task is in the queue whose lock the caller holds, or its told wait can still be refused.
fn is_queued(task: &Task) -> bool {
    matches!(task.wait.park.load(Ordering::Relaxed), PARKED | STANDBY | CONTEND)
}

/// Ends the task's wait, if it waits, and if the wait depends on the runtime and began in this run of it or an earlier
/// one.
pub(crate) fn end_wait_of_run(task: &Task, run: u64, reason: Error) {
    end_wait_if(task, reason, |Task { wait, .. }| {
        let depends = wait.is_in_queue() && wait.option() & WAIT_WITHOUT_RUNTIME == 0;
        // place: run-of-wait
        depends && wait.run.load(Ordering::Relaxed) <= run
    });
}

/// Ends the wait of a task whose thread is gone.
pub(crate) fn forget_wait(task: &Task) {
    end_wait_if(task, Error::Abandoned, |_| true);
}

/// Gives back the section that the queue gave to the task, if the task has not noticed: its thread has ended in the
/// wait, or has left it by `longjmp`. By its own thread, or after its end.
pub(crate) fn give_back_unnoticed_section(task: &Task) {
    // Acquire pairs with the Release in hand_off.
    if task.wait.park.load(Ordering::Acquire) != ACQUIRED {
        return;
    }
    let acquired = task.wait.acquired.load(Ordering::Relaxed);
    if handle::is_srw_lock(acquired) {
        return;
    }
    task.wait.park.store(OVER, Ordering::Relaxed);
    let slot = handle::section_index(acquired);
    let section = REGISTRY.sections.at(slot);
    let handle = section.handle(REGISTRY.copy(), slot);
    if section.owner(handle) == Some(task.id()) {
        section.give_back(handle);
    }
}

/// Ends the task's alertable wait, if it is in one, and uses up the alert.
pub(crate) fn interrupt(task: TaskRef) {
    end_wait_if(&task, Error::Interrupted, |task| {
        let is_alertable = task.wait.is_in_queue() && task.wait.option() & WAIT_ALERTABLE != 0;
        is_alertable && task.take_alert()
    });
}

/// Ends the task's wait if it is the one that was noted, after a call of `before`. False if that has ended since, or has
/// become one that nothing can end.
pub(crate) fn end_noted_wait(task: &Task, reason: Error, before: impl Fn()) -> bool {
    let ended = Cell::new(false);
    end_wait_if(task, reason, |task| {
        ended.set(task.wait.is_as_noted() && is_queued(task));
        if ended.get() {
            before();
        }
        ended.get()
    });
    ended.get()
}

/// Marks the task's wait as part of deadlock number `told`, if it is the one that was noted.
pub(crate) fn tell_noted_wait(task: &Task, told: u64) {
    if let Some((_lock, _)) = lock_of_wait(task)
        && task.wait.is_as_noted()
    {
        task.wait.set_told(told);
    }
}

fn end_wait_if(task: &Task, reason: Error, condition: impl Fn(&Task) -> bool) {
    let Some((lock, handle)) = lock_of_wait(task) else { return };
    if !condition(task) {
        return;
    }
    match lock {
        WaitLock::Resource(_lock) => {
            resources::slot_of_awaited(handle).end_wait(&task.wait, reason.hresult() as u32);
        }
        WaitLock::SrwLock(queue) => {
            queue.remove(task);
            task.wait.park.store(reason.hresult() as u32, Ordering::Release);
            sys::futex_wake(&task.wait.park, 1);
        }
        WaitLock::Section(queue) => {
            let section = sections::any_slot_of(handle);
            section.end(task, reason);
            drop(queue);
            section.wake_first_if_free(handle);
        }
    }
}

/// The lock under which a wait ends: that of a queue or of a resource.
enum WaitLock {
    Section(QueueGuard<'static>),
    SrwLock(srw::QueueGuard),
    Resource(#[allow(dead_code, reason = "it is held")] sys::Guard<'static>),
}

impl WaitLock {
    fn of(awaited: u64) -> Self {
        if handle::is_resource(awaited) {
            WaitLock::Resource(resources::slot_of_awaited(awaited).lock.lock())
        } else if handle::is_srw_lock(awaited) {
            WaitLock::SrwLock(srw::queue_of(awaited))
        } else {
            WaitLock::Section(sections::any_slot_of(awaited).lock_queue())
        }
    }
}

/// The lock under which the task's wait ends, and what it waits for. None if that is nothing.
fn lock_of_wait(task: &Task) -> Option<(WaitLock, u64)> {
    loop {
        let handle = task.wait.awaited();
        if handle == 0 {
            return None;
        }
        let lock = WaitLock::of(handle);
        // Only under this lock does it become this handle, or stop being it.
        if task.wait.awaited() == handle {
            return Some((lock, handle));
        }
    }
}

impl Section {
    /// A contender may have gone that a leave had relied on.
    fn wake_first_if_free(&self, handle: u64) {
        // With the swap in leave_contended: that leave saw no contender, or the load below sees its free word.
        // place: contender-withdraws-fence
        fence(Ordering::SeqCst);
        if self.is_free(handle) {
            self.wake_first();
        }
    }
}

// ---- forks ------------------------------------------------------------------------------------------------

/// The child of a fork has no waiters: forgets the parent's.
pub(crate) fn forget_queue_after_fork(section: &Section) {
    section.queue_lock().reset_after_fork();
    let had_waiters = section.has_waiters();
    section.forget_waiters();
    if had_waiters {
        // In the child the CRITICAL_SECTION is as it was at the fork, when they waited.
        section.publish_queue();
    }
}

impl Section {
    fn forget_waiters(&self) {
        if self.has_waiters() {
            self.set_first_waiter(0);
        }
        if self.queue_state().load(Ordering::Relaxed) & !(ARMED | FENCED) != 0 {
            self.queue_state().fetch_and(ARMED | FENCED, Ordering::Relaxed);
        }
    }

    /// A handler that interrupted the caller under the queue lock has forked, and the caller has completed its change in
    /// the child, after the repair: takes back what of it is about tasks that are none there.
    #[cold]
    fn settle_interrupted_change(&self) {
        let slot = REGISTRY.sections.index_of(self);
        let handle = self.handle(REGISTRY.copy(), slot);
        self.forget_waiters();
        if let Some(me) = task::current_if_any().filter(|me| is_queued(me)) {
            me.wait.end_after_fork();
        }
        let handed_to = self.owner(handle).filter(|&owner| handle::is_task(owner));
        if handed_to.is_some_and(|owner| tasks::of_owner(owner).id() != owner) {
            self.word().store(handle, Ordering::Relaxed);
        }
        mirror::publish_queue_after_fork(self.mirror(), handle, self.published_queue());
    }
}

/// As forget_queue_after_fork, of a task. The wait of the forking thread, if it is in one, ends: one for a section with
/// Abandoned.
pub(crate) fn forget_wait_after_fork(task: &Task) {
    let awaited = task.wait.awaited();
    if handle::is_resource(awaited) && awaited != 0 {
        task.wait.awaited.store(0, Ordering::Relaxed);
        task.wait.park.store(OVER, Ordering::Relaxed);
    } else if awaited != 0 {
        task.wait.end_after_fork();
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use crate::host::enter::{self, Patience};
    use crate::host::{runtime, threads};
    use crate::lock::crst;
    use crate::state::tasks;
    use std::sync::mpsc::channel;

    #[test]
    fn when_a_contender_was_woken_is_noted_of_no_other() {
        const LEAVES: u32 = 64;
        runtime::start().expect("memory");
        let crst = crst::create(SpinPolicy::Count(0)).expect("a place");
        let section = sections::slot_of(crst);
        let me = threads::current().expect("a place");
        let noted = |task: &Task| task.wait.awake_since.load(Ordering::Relaxed) != 0;
        let nobody = REGISTRY.tasks.at(section.first_waiter());
        (0..LEAVES).for_each(|_| assert!(!section.contender_is_late()));
        assert!(!noted(nobody));

        section.word().store(crst ^ handle::owner_id(me.index() + 1, 1), Ordering::Relaxed);
        let request = Request { option: 0, deadline: None, site: 0 };
        let beginning = Beginning { since: sys::now(), run: REGISTRY.runtime.run(), told: 0 };
        assert!(matches!(section.enqueue(crst, me, request, beginning), Ok(Attempt::Busy)));
        section.wake_first();
        me.wait.awake_since.store(0, Ordering::Relaxed);
        (0..LEAVES).for_each(|_| assert!(!section.contender_is_late()));
        assert!(noted(&me));
        section.settle_interrupted_change();
        section.word().store(crst, Ordering::Relaxed);
        crst::destroy(crst).expect("free");
    }

    #[test]
    fn a_change_that_a_fork_interrupted_leaves_no_wait_and_no_owner_that_is_gone() {
        runtime::start().expect("memory");
        let crst = crst::create(SpinPolicy::Count(0)).expect("a place");
        let section = sections::slot_of(crst);
        let me = threads::current().expect("a place");
        let gone = std::thread::spawn(|| threads::current().expect("a place").id()).join().expect("no panic");
        section.word().store(crst ^ gone, Ordering::Relaxed);
        let request = Request { option: 0, deadline: None, site: 0 };
        let beginning = Beginning { since: sys::now(), run: REGISTRY.runtime.run(), told: 0 };
        assert!(matches!(section.enqueue(crst, me, request, beginning), Ok(Attempt::Busy)));
        section.settle_interrupted_change();
        assert_eq!(
            (section.has_waiters(), waiters(section.queue_state().load(Ordering::Relaxed))),
            (false, 0)
        );
        assert_eq!(
            (me.wait.awaited(), me.wait.park.load(Ordering::Relaxed)),
            (0, Error::Abandoned.hresult() as u32)
        );
        assert!(section.is_free(crst));
        crst::destroy(crst).expect("free");
    }

    #[test]
    fn a_hand_off_took_from_the_grant_until_its_new_owner_ran() {
        runtime::start().expect("memory");
        let crst = crst::create(SpinPolicy::Count(0)).expect("a place");
        let me = threads::current().expect("a place");
        let pays_after = |time: u64| {
            (0..10).for_each(|_| {
                me.wait.awake_since.store(sys::now() - time, Ordering::Relaxed);
                me.wait.learn_of_hand_off(crst);
            });
            Hints::of(crst).begin_hand_offs(|| 1)
        };
        assert_eq!([0, 1_000_000].map(pays_after), [true, false]);
        crst::destroy(crst).expect("free");
    }

    /// The contender is this very thread, which is queued and contends, but does not park.
    #[test]
    fn a_section_lost_to_a_blocked_owner_is_handed_off_by_the_next_leaves() {
        runtime::start().expect("memory");
        if !REGISTRY.spinning_helps() {
            return;
        }
        let enter = |crst| enter::enter_checked(crst, 0, Patience::Unbounded, 0).expect("entered");
        let leave = |crst| crst::leave_checked(crst).expect("left");
        let [lost, other] = [(); 2].map(|()| crst::create(SpinPolicy::Count(0)).expect("a place"));
        let section = sections::slot_of(lost);
        let is_to_be_handed_off = || section.queue_state().load(Ordering::Relaxed) & HANDOFF != 0;
        let me = threads::current().expect("a place");
        let (tell, told) = channel();
        enter(other);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                enter(lost);
                tell.send(sys::current_id()).expect("heard");
                enter(other);
                [other, lost].into_iter().for_each(leave);
            });
            let owner = told.recv().expect("told");
            while !tasks::of_owner(owner).is_blocked() {
                std::thread::yield_now();
            }
            let request = Request { option: 0, deadline: None, site: 0 };
            let beginning = Beginning { since: sys::now(), run: REGISTRY.runtime.run(), told: 0 };
            let busy = matches!(section.enqueue(lost, me, request, beginning), Ok(Attempt::Busy));
            section.wake_first();
            let before = is_to_be_handed_off();
            section.contend(lost, me);
            let after = is_to_be_handed_off();
            // Whatever they are, the owner leaves.
            leave(other);
            assert_eq!((busy, before, after), (true, false, true));
        });
        assert_eq!(me.wait.park.load(Ordering::Relaxed), ACQUIRED, "handed off to a parked waiter");
        me.wait.park.store(OVER, Ordering::Relaxed);
        me.count_entry();
        assert!(is_to_be_handed_off(), "by the next leave too");
        leave(lost);
        assert!(!is_to_be_handed_off(), "to nobody");
        [lost, other].into_iter().for_each(|crst| crst::destroy(crst).expect("free"));
    }
}
