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
    /// Whether it is one that glibc has made up, in a frame of its own: the kernel has said of a mutex with priority
    /// inheritance that to wait for it would be a deadlock, and the thread is never to go on.
    pub is_for_ever: bool,
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

/// So far above the stack pointer stand the frames of the function that makes the call and of the one that locks. What a program
/// has on its stack is behind the larger ones of those that wait for semaphores and condition variables.
const OWN_FRAMES: u64 = 128;

/// Whether a call is a sleep with a limit that goes on, with the arguments that it had, after all threads of the process were
/// stopped or a signal without a handler came. Other calls go on so too: these have no address, or no operation, there.
pub(crate) fn is_resumed(call: &SystemCall) -> bool {
    const LEAST_ADDRESS: u64 = 1 << 12;
    let [word, operation, _, limit, ..] = call.arguments;
    let operation = operation as i32 & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    call.number as i64 == libc::SYS_restart_syscall
        && word >= LEAST_ADDRESS
        && word % 4 == 0
        && limit >= LEAST_ADDRESS
        && matches!(operation, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET)
}

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
        let expected = expected as u32;
        let is_in_own_frame = word.wrapping_sub(call.stack_pointer) < OWN_FRAMES;
        let is_for_ever = operation == Operation::WaitBitset && expected == 0 && is_in_own_frame;
        Some(FutexWait { word, operation, is_private, expected, is_limited: timeout != 0, is_for_ever })
    }
}
