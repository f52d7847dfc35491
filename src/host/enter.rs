//! The slow enter, step by step: spin, queue, search for a cycle that this closed, report it, park. Each step is a
//! call to the room that owns it; the C types and Windows' rules are not known here.

use crate::constants::{HOSTCRST_INFINITE, WAIT_OPTION_MASK};
use crate::deadlock;
use crate::error::{Error, Result};
use crate::handle::ABANDONED;
use crate::host::{deadlocks, ends, hosted, order, threads};
use crate::lock::queue::{Attempt, FENCE_PENDING_NAP, failure, sleep_on};
use crate::lock::{resources, spin};
use crate::report;
use crate::state::registry::REGISTRY;
use crate::state::section::{FENCE_PENDING, Section, is_biased};
use crate::state::sections;
use crate::state::task::TaskRef;
use crate::state::wait::{ACQUIRED, Beginning, CONTEND, PARKED, Request, STANDBY};
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::{self, Instant, preserving_errno};

/// How long a caller is ready to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Milliseconds(u32),
    Unbounded,
}

impl Patience {
    /// What a time limit of the C interface means.
    pub(crate) const fn of_milliseconds(milliseconds: u32) -> Self {
        match milliseconds {
            HOSTCRST_INFINITE => Patience::Unbounded,
            milliseconds => Patience::Milliseconds(milliseconds),
        }
    }
}

/// Enters, waiting as long as `patience` allows, where enter_now could not. False only where that is not at all and
/// the section is owned. `site` is where the caller called from.
#[cold]
pub(crate) fn enter_checked(handle: u64, option: u32, patience: Patience, site: usize) -> Result<bool> {
    REGISTRY.runtime.require_running()?;
    if option & !WAIT_OPTION_MASK != 0 {
        return Err(Error::InvalidArgument);
    }
    let section = sections::find(handle)?;
    preserving_errno(|| {
        let me = threads::current()?;
        section.enter_as(handle, me, option, patience, hosted::place_of_entry(site))
    })
}

/// Makes the caller the owner, once, of a section whose owner ended without leaving it.
pub(crate) fn recover(handle: u64, site: usize) -> Result<()> {
    REGISTRY.runtime.require_running()?;
    let section = sections::find(handle)?;
    preserving_errno(|| {
        let me = threads::current()?;
        ends::despite_who_is_gone(handle, sections::find, &|handle| section.recover_as(handle, me))?;
        me.count_entry();
        section.note_owner(me.id(), site);
        order::note_entry(me, handle, site, false);
        Ok(())
    })
}

impl Section {
    fn recover_as(&self, handle: u64, me: TaskRef) -> Result<()> {
        let abandoned = handle ^ ABANDONED;
        // Not before the waits for the last owner have ended: they would seem to be for the new one, and a search
        // would find a deadlock that does not exist.
        // place: recover-queue-lock
        let _queue = self.lock_queue();
        self.word
            .compare_exchange(abandoned, handle ^ me.id(), Ordering::Acquire, Ordering::Relaxed)
            .map_err(|_| Error::InvalidOperation)?;
        Ok(())
    }

    /// Enters for `me`. The bias of a biased section is revoked first.
    fn enter_as(
        &self,
        handle: u64,
        me: TaskRef,
        option: u32,
        patience: Patience,
        site: usize,
    ) -> Result<bool> {
        loop {
            if is_biased(self.word.load(Ordering::Relaxed) ^ handle) {
                self.revoke(handle);
            }
            match self.owner(handle) {
                None => return Err(Error::Handle),
                Some(0) if self.try_take(handle, me) => break,
                Some(0) => {}
                Some(ABANDONED) => return Err(Error::Abandoned),
                Some(owner) if owner == me.id() => {
                    return if self.reenter() { Ok(true) } else { Err(Error::InvalidOperation) };
                }
                Some(_) => {
                    let deadline = match patience {
                        Patience::None => return Ok(false),
                        Patience::Milliseconds(0) => {
                            self.count_failed_wait_of_no_time(handle);
                            return Err(Error::Timeout);
                        }
                        Patience::Milliseconds(time) => Some(sys::deadline_after(time)),
                        Patience::Unbounded => None,
                    };
                    self.wait(handle, me, Request { option, deadline, site })?;
                    break;
                }
            }
        }
        me.count_entry();
        self.note_owner(me.id(), site);
        order::note_entry(me, handle, site, patience == Patience::Unbounded);
        Ok(true)
    }

    /// Waits until `me` owns the section. The caller found it owned by another.
    ///
    /// 1. Spin: poll the word, with pauses, as long as that pays (`lock::spin`). Not if a rest is due.
    /// 2. Announce: queue, after a last attempt under the queue lock. From here on the outcome comes in the `park`
    ///    word, whichever task writes it. A wait without a deadline searches for a deadlock that it has closed.
    /// 3. PARKED: sleep on that word until woken, until the deadline, a stall line or a check of the owner is due.
    /// 4. CONTEND: a leave has woken this task, the first waiter: poll against spinners; park again if that fails.
    ///    STANDBY: the contender has woken this task, the next one: spin until the turn has come; park again if it does not.
    /// 5. ACQUIRED: out of the queue, as the owner. Every other value is the failure that has ended the wait.
    pub(crate) fn wait(&self, handle: u64, me: TaskRef, request: Request) -> Result<()> {
        if me.wait.is_under_way() {
            // A signal handler interrupted a wait of this very thread.
            return Err(Error::InvalidOperation);
        }
        resources::end_told_wait(me);
        let begin = REGISTRY.statistics.is_on().then(sys::now);
        let outcome = self.wait_in_steps(handle, me, request);
        if let Some(begin) = begin {
            self.count_wait(handle, sys::now().saturating_sub(begin), outcome.is_ok());
        }
        outcome
    }

    /// A task that would have had to wait had no time for it.
    fn count_failed_wait_of_no_time(&self, handle: u64) {
        if REGISTRY.statistics.is_on() {
            self.count_wait(handle, 0, false);
        }
    }

    /// The steps of wait.
    fn wait_in_steps(&self, handle: u64, me: TaskRef, request: Request) -> Result<()> {
        let rests = me.wait.is_rest_due();
        if !rests && self.spin(handle, me, request.deadline) {
            return Ok(());
        }
        let request = Request { site: hosted::place_of_wait(me, request.site), ..request };
        if let Attempt::Entered = self.announce(handle, me, request)? {
            return Ok(());
        }
        if rests {
            spin::rest();
        }
        let withdrawn = self.stay_in_queue(handle, me, request.deadline);
        match me.wait.finish() {
            ACQUIRED => {
                me.wait.spun.store(0, Ordering::Relaxed);
                Ok(())
            }
            code => withdrawn.and(Err(failure(code))),
        }
    }

    /// Waits until `me`, which is in the queue, is out of it: the `park` word says why, unless it has withdrawn.
    fn stay_in_queue(&self, handle: u64, me: TaskRef, deadline: Option<Instant>) -> Result<()> {
        let mut stall = Stall::begin();
        let mut owner = OwnerCheck::of_wait_since(me.wait.since.load(Ordering::Relaxed));
        loop {
            match me.wait.park.load(Ordering::Relaxed) {
                PARKED => self.park(handle, me, deadline, &mut stall, &mut owner)?,
                STANDBY => self.stand_by(handle, me),
                CONTEND => self.contend(handle, me),
                _ => return Ok(()),
            }
        }
    }

    /// Puts `me` into the queue, unless a last attempt gets the section, and searches for a cycle that this closed.
    /// If the program is to be told of one, `me` is out of the queue while it is, and has nothing of this wait:
    /// should the callback never come back, nothing is left behind. After that it waits anew, behind those who came
    /// meanwhile.
    fn announce(&self, handle: u64, me: TaskRef, request: Request) -> Result<Attempt> {
        let mut beginning = Beginning { since: sys::now(), run: REGISTRY.runtime.run(), told: 0 };
        loop {
            let attempt = self.enqueue(handle, me, request, beginning)?;
            let is_no_edge = matches!(attempt, Attempt::Entered) || request.deadline.is_some();
            if is_no_edge || deadlock::chain_ends(handle) {
                return Ok(attempt);
            }
            let step_out = || self.step_out(handle, me);
            let Some((notice, ended)) = deadlocks::search_for_deadlock(me, step_out) else {
                return Ok(attempt);
            };
            beginning.told = notice.stands().unwrap_or(beginning.told);
            notice.tell();
            if let Some(reason) = ended {
                return Err(reason);
            }
        }
    }

    fn park(
        &self,
        handle: u64,
        me: TaskRef,
        deadline: Option<Instant>,
        stall: &mut Stall,
        owner: &mut OwnerCheck,
    ) -> Result<()> {
        let fence_pending = self.queue_state().load(Ordering::Relaxed) & FENCE_PENDING != 0;
        let nap = fence_pending.then(|| sys::now() + FENCE_PENDING_NAP);
        let until = sooner(sooner(deadline, nap), sooner(stall.next, owner.next));
        let in_time = sleep_on(&me.wait.park, PARKED, until);
        if me.wait.park.load(Ordering::Relaxed) == ACQUIRED {
            me.wait.learn_of_hand_off(handle);
        }
        if stall.is_due() && me.wait.park.load(Ordering::Relaxed) == PARKED {
            report::write_stall(me);
        }
        if !in_time && owner.is_due() {
            ends::reap_holders(self, handle);
        }
        if deadline.is_some_and(|deadline| sys::now() >= deadline) {
            return self.withdraw(handle, me);
        }
        if fence_pending {
            self.recheck(handle, me);
        }
        Ok(())
    }
}

/// The first of two instants.
#[inline(always)]
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => one.or(other),
    }
}

// ---- stalls -----------------------------------------------------------------------------------------------

/// How long a task waits before it writes a stall line to stderr, in nanoseconds; 0 for never.
static STALL_TIME: AtomicU64 = AtomicU64::new(0);

pub(crate) fn set_stall_time(nanoseconds: u64) {
    STALL_TIME.store(nanoseconds, Ordering::Relaxed);
}

/// When a waiting task is to write a stall line: after the stall time, and again after doubling times.
pub(crate) struct Stall {
    pub(crate) next: Option<Instant>,
    time: u64,
}

impl Stall {
    pub(crate) fn begin() -> Self {
        let time = STALL_TIME.load(Ordering::Relaxed);
        Stall { next: (time != 0).then(|| sys::now().saturating_add(time)), time }
    }

    /// Whether it is time; sets the next one if so.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.next.is_some_and(|next| sys::now() >= next);
        if due {
            self.time = self.time.saturating_mul(2);
            self.next = Some(sys::now().saturating_add(self.time));
        }
        due
    }
}

/// When a waiting task is to check whether the owner's thread is gone: see `ends`, "threads that are gone".
pub(crate) struct OwnerCheck {
    pub(crate) next: Option<Instant>,
    time: u64,
}

/// The first check, so long after the wait began: most waits are over by then.
const FIRST_OWNER_CHECK: u64 = 10_000_000;
/// The second one, so long after the first; each later one after twice the time.
const SECOND_OWNER_CHECK: u64 = 1_000_000_000;

impl OwnerCheck {
    pub(crate) fn of_wait_since(since: Instant) -> Self {
        OwnerCheck {
            next: sys::THREADS_MAY_VANISH.then(|| since + FIRST_OWNER_CHECK),
            time: SECOND_OWNER_CHECK,
        }
    }

    /// Whether it is time; sets the next one if so.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = sys::now();
        let due = self.next.is_some_and(|next| now >= next);
        if due {
            self.next = Some(now.saturating_add(self.time));
            self.time = self.time.saturating_mul(2);
        }
        due
    }
}
