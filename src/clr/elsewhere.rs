//! What the CLR tells in its callbacks, and to a thread that runs no managed code, but not in native code that managed code
//! has called: there a thread of the library's own asks, and is waited for.

use core::ffi::c_void;
use core::ptr::null_mut;

use super::info::ProfilerInfo;
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::sys::{self, Instant};

/// What is asked of the CLR, with two numbers.
type Question = fn(ProfilerInfo, (usize, usize)) -> usize;

/// What STATE says: nobody asks; something is asked for; the answer is there; an answer did not come in time, and nobody
/// asks any more.
const IDLE: u32 = 0;
const ASKED: u32 = 1;
const ANSWERED: u32 = 2;
const LOST: u32 = 3;

static STATE: AtomicU32 = AtomicU32::new(IDLE);
/// The CLR that is asked, the Question, and its numbers: written by who has made STATE ASKED. The answer is written by the
/// thread that asks.
static ASKS: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static QUESTION: AtomicUsize = AtomicUsize::new(0);
static NUMBERS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static ANSWER: AtomicUsize = AtomicUsize::new(0);

/// How long an answer is waited for at most, in milliseconds. It takes some, and none comes in a forked child if another
/// thread of its parent's had one of the CLR's locks.
const PATIENCE: u32 = 5000;

/// What the CLR answers a thread of the library's own; None if that does not answer.
#[cold]
pub(crate) fn ask(info: ProfilerInfo, question: Question, numbers: (usize, usize)) -> Option<usize> {
    let deadline = sys::deadline_after(PATIENCE);
    // Acquire pairs with the Release below: the last one has taken its answer.
    while let Err(state) = STATE.compare_exchange(IDLE, ASKED, Ordering::Acquire, Ordering::Relaxed) {
        if state == LOST || !sleeps_on(state, deadline) {
            return None;
        }
    }
    ASKS.store(info.as_raw(), Ordering::Relaxed);
    QUESTION.store(question as usize, Ordering::Relaxed);
    NUMBERS[0].store(numbers.0, Ordering::Relaxed);
    NUMBERS[1].store(numbers.1, Ordering::Relaxed);
    let is_asked = sys::begin_thread(answer);
    // Acquire pairs with the Release in answer.
    while is_asked && STATE.load(Ordering::Acquire) == ASKED {
        let is_late = !sleeps_on(ASKED, deadline);
        if is_late && STATE.compare_exchange(ASKED, LOST, Ordering::Acquire, Ordering::Acquire).is_ok() {
            return None;
        }
    }
    let found = is_asked.then(|| ANSWER.load(Ordering::Relaxed));
    STATE.store(IDLE, Ordering::Release);
    sys::futex_wake(&STATE, i32::MAX);
    found
}

/// Whether it is not too late to go on waiting.
fn sleeps_on(state: u32, deadline: Instant) -> bool {
    let _ = sys::futex_wait(&STATE, state, Some(deadline));
    sys::now() < deadline
}

/// The thread that asks. It was begun by who waits, so it finds what is asked for.
extern "C" fn answer() {
    // SAFETY: it came from a ProfilerInfo, whose reference is never released.
    let info = unsafe { ProfilerInfo::from_raw(ASKS.load(Ordering::Relaxed)) };
    // SAFETY: it came from a Question.
    let question = unsafe { core::mem::transmute::<usize, Question>(QUESTION.load(Ordering::Relaxed)) };
    let numbers = (NUMBERS[0].load(Ordering::Relaxed), NUMBERS[1].load(Ordering::Relaxed));
    ANSWER.store(question(info, numbers), Ordering::Relaxed);
    // Release pairs with the Acquire in ask. Nobody takes what comes too late.
    let _ = STATE.compare_exchange(ASKED, ANSWERED, Ordering::Release, Ordering::Relaxed);
    sys::futex_wake(&STATE, i32::MAX);
}
