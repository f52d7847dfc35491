//! One-time initialisation by Windows' rules. Knows nothing of the C types of `ffi`.
//!
//! What stands in an INIT_ONCE is `state::once`'s. It changes a few times in its life, each time under one lock for all of
//! them, so that it may stand at any address. Who waits sleeps as one that waits on its address does (`lock::condition`).

use crate::host::threads;
use crate::lock::condition;
use crate::state::misuses::Misuse;
use crate::state::once::{self, CHANGING, State};
use crate::state::registry::REGISTRY;
use crate::state::sleep::SleepKind;
use crate::state::srw::{Place, SrwLock};
use crate::state::task::TaskRef;
use crate::sys::atomic::Ordering;
use crate::sys::preserving_errno;
use crate::win32::{self, ERROR_GEN_FAILURE, ERROR_INVALID_PARAMETER, ERROR_NOT_ENOUGH_MEMORY};

/// An INIT_ONCE: eight bytes of the program's, as an SRWLOCK.
pub type InitOnce = SrwLock;

/// Flags of InitOnceBeginInitialize and InitOnceComplete.
const CHECK_ONLY: u32 = 1;
const ASYNC: u32 = 2;
pub(crate) const INIT_FAILED: u32 = 4;

/// What a caller of InitOnceBeginInitialize is told.
#[derive(Clone, Copy)]
pub(crate) enum Begun {
    /// The caller is to run the initialisation.
    Pending,
    /// It is done; what was made.
    Done(u64),
}

/// Where nothing has begun. Reads none of the bytes: they may never have been written.
pub(crate) fn initialize(once: &InitOnce) {
    preserving_errno(|| {
        let _changing = CHANGING.lock();
        once.place().clear();
    });
}

/// What was made, if the initialisation is done.
#[inline(always)]
pub(crate) fn done(once: &InitOnce) -> Option<u64> {
    // Acquire pairs with the Release in change: what the initialisation did is seen.
    match State::of(once.word()?.load(Ordering::Acquire)) {
        State::Done(context) => Some(context),
        _ => None,
    }
}

/// Begins the initialisation, or waits until another thread has ended it. An error code otherwise.
#[cold]
pub(crate) fn begin(once: &InitOnce, flags: u32, site: usize) -> Result<Begun, u32> {
    if flags & !(CHECK_ONLY | ASYNC) != 0 || flags == CHECK_ONLY | ASYNC {
        return Err(ERROR_INVALID_PARAMETER);
    }
    preserving_errno(|| {
        let me = win32::prepare().and_then(|()| threads::current());
        let me = me.map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
        let place = once.place();
        loop {
            match (state(place), flags) {
                (State::Done(context), _) => return Ok(Begun::Done(context)),
                (_, CHECK_ONLY) => return Err(ERROR_GEN_FAILURE),
                (State::RunsAsync, ASYNC) => return Ok(Begun::Pending),
                (State::RunsAsync, _) | (State::Runs(_), ASYNC) => return Err(ERROR_INVALID_PARAMETER),
                (State::Runs(id), _) => wait(place, me, id, site),
                (State::NotBegun, _) => {
                    let begun = if flags == ASYNC { State::RunsAsync } else { State::Runs(me.id()) };
                    if change(place, State::NotBegun, begun) {
                        return Ok(Begun::Pending);
                    }
                }
            }
        }
    })
}

/// Ends the initialisation that the caller runs: with `context`, or so that it has not begun.
pub(crate) fn complete(once: &InitOnce, flags: u32, context: u64) -> Result<(), u32> {
    let has_failed = flags & INIT_FAILED != 0;
    let is_async = flags & ASYNC != 0;
    let is_known = flags & !(ASYNC | INIT_FAILED) == 0 && !(is_async && has_failed);
    if !is_known || !once::is_context(context) || has_failed && context != 0 {
        return Err(ERROR_INVALID_PARAMETER);
    }
    preserving_errno(|| {
        let place = once.place();
        loop {
            let before = state(place);
            match before {
                State::Runs(_) if is_async => return Err(ERROR_INVALID_PARAMETER),
                State::RunsAsync if !is_async => return Err(ERROR_INVALID_PARAMETER),
                State::NotBegun | State::Done(_) => return Err(ERROR_GEN_FAILURE),
                State::Runs(_) | State::RunsAsync => {}
            }
            if change(place, before, if has_failed { State::NotBegun } else { State::Done(context) }) {
                condition::wake_at(place.address() as usize, SleepKind::InitOnce, u32::MAX);
                return Ok(());
            }
        }
    })
}

/// What stands there now.
fn state(place: Place<'_>) -> State {
    let _changing = CHANGING.lock();
    State::of(place.load())
}

/// Sets the state if it is still `before`.
fn change(place: Place<'_>, before: State, after: State) -> bool {
    let _changing = CHANGING.lock();
    // Release for who finds it done without the lock.
    place.replace(before.word(), after.word())
}

/// Waits until the initialisation that the task with this id runs may have ended.
fn wait(place: Place<'_>, me: TaskRef, runner: u64, site: usize) {
    if runner == me.id() {
        REGISTRY.win32.tell(Misuse::OnceWithinItself, place.address() as usize, site);
    }
    let number = condition::join_at(place.address() as usize, me, SleepKind::InitOnce, None, site);
    if state(place) == State::Runs(runner) {
        condition::sleep(me, number, None);
    } else {
        condition::withdraw(&me);
    }
}
