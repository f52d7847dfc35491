//! The arguments of futex(2), as far as a thread sleeps in it.

use crate::SystemCall;

/// A sleep on a word of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FutexWait {
    /// Where the word stands.
    pub word: u64,
    /// How it sleeps.
    pub operation: Operation,
    /// Whether only threads of this process can be meant.
    pub is_private: bool,
    /// What stood in the word when the sleep began.
    pub expected: u32,
    /// Whether it ends by itself.
    pub is_limited: bool,
}

/// The operations of futex(2) that sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Until woken, or for a time.
    Wait,
    /// Until woken, or until an instant.
    WaitBitset,
    /// The kernel itself hands over a lock whose word has the owner's thread id.
    LockPi,
    /// Until moved to a lock of that kind.
    Requeue,
}

/// FUTEX_LOCK_PI2 of Linux 5.14.
const LOCK_PI2: i32 = 13;

impl FutexWait {
    /// The sleep that a system call is.
    pub fn of(call: &SystemCall) -> Option<FutexWait> {
        if call.number as i64 != libc::SYS_futex {
            return None;
        }
        let [word, operation, expected, timeout, ..] = call.arguments;
        let operation = operation as i32;
        let is_private = operation & libc::FUTEX_PRIVATE_FLAG != 0;
        let operation = match operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
            libc::FUTEX_WAIT => Operation::Wait,
            libc::FUTEX_WAIT_BITSET => Operation::WaitBitset,
            libc::FUTEX_LOCK_PI | LOCK_PI2 => Operation::LockPi,
            libc::FUTEX_WAIT_REQUEUE_PI => Operation::Requeue,
            _ => return None,
        };
        Some(FutexWait { word, operation, is_private, expected: expected as u32, is_limited: timeout != 0 })
    }
}
