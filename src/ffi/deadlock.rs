//! Deadlocks: what the library does when it finds one, and what it records to explain them.

use core::ffi::c_void;

use super::{deliver, hresult};
use crate::deadlock;
use crate::error::Error;
use crate::host::{deadlocks, holds};
use crate::state::deadlocks::{Callback, Policy, host_deadlock_t};
use crate::state::registry::REGISTRY;
use crate::sys::preserving_errno;

/// Called for each deadlock: see host_set_deadlock_callback. It must return; from C++17 on the type is noexcept.
pub type host_deadlock_callback_t =
    Option<extern "C" fn(deadlock: *const host_deadlock_t, context: *mut c_void)>;

/// Chooses what happens when a deadlock is found.
///
/// A deadlock is a cycle of waits without time limits; it is found when its last wait begins. The environment
/// variable HOSTCRST_ON_DEADLOCK (error, report or abort) sets the policy when the runtime is first started.
///
/// Parameters:
/// - policy (one of the HOST_DEADLOCK_ values).
///
/// Returns:
/// - S_OK: in force for later deadlocks.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_INVALIDARG: policy is not known.
///
/// Threads: any; does not block.
///
/// Source: an extension; the hosting pages leave the choice to the host.
#[unsafe(no_mangle)]
pub extern "C" fn host_set_deadlock_policy(policy: u32) -> i32 {
    hresult(REGISTRY.runtime.require_usable().and_then(|()| {
        let policy = Policy::from_number(policy).ok_or(Error::InvalidArgument)?;
        deadlocks::set_policy(policy);
        Ok(())
    }))
}

/// Gets what happens when a deadlock is found: see host_set_deadlock_policy.
///
/// Parameters:
/// - policy (out, not NULL): one of the HOST_DEADLOCK_ values.
///
/// Returns:
/// - S_OK
/// - E_POINTER: policy is NULL.
///
/// Threads: any; async-signal-safe; does not block. In every state of the runtime; before the first start the default.
///
/// Source: an extension.
///
/// # Safety
/// `policy` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_deadlock_policy(policy: *mut u32) -> i32 {
    // SAFETY: the caller keeps `policy` valid, see above.
    unsafe { deliver(policy, || Ok(deadlock::policy() as u32)) }
}

/// Sets the function that is called for each deadlock.
///
/// The callback runs on the thread that found the cycle, inside its call of hostcrst_enter, whether or not a victim
/// was chosen. It may call every function of the library, and wait: its thread is in no queue at that time. Unless
/// its own wait is the victim, the thread then queues again, behind the tasks that came meanwhile; if this closes the
/// same cycle again, the callback is not called again for it, unless one of its waits has become part of another
/// deadlock meanwhile. After leaving a section to open a cycle, do not enter that section again before another task
/// has had it. If an enter inside the callback closes another cycle, the callback is called for that one too, nested.
///
/// The callback must return: it must not throw, longjmp, or end its thread. If it does, or if its thread is cancelled
/// in it, the enter around it never returns; the thread owns what it owned before and waits for nothing, and errno is
/// as the callback left it.
///
/// When this function returns, no thread runs the previous callback any more, so what that one uses can be freed.
/// Only a call from inside a callback does not wait for this: it would wait for itself, or two callbacks for each
/// other. A callback that was left by an exception or longjmp counts as running until its thread ends.
///
/// Parameters:
/// - callback (NULL for none): replaces the previous one.
/// - context (any value): passed to the callback.
///
/// Returns:
/// - S_OK: in force for later deadlocks; the previous callback is not running, see above.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
///
/// Threads: any; blocks until the previous callback has returned in every thread, so the caller must own nothing that
/// this callback may wait for. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_set_deadlock_callback(
    callback: host_deadlock_callback_t,
    context: *mut c_void,
) -> i32 {
    hresult(preserving_errno(|| {
        REGISTRY.runtime.require_usable()?;
        deadlocks::set_callback(callback.map(|callback| callback as Callback), context);
        Ok(())
    }))
}

/// Switches hold tracking on or off: since when each section is owned, and from where it was entered.
///
/// Reports show both for every section that is entered from here on. Off by default: while it is on, entering a free
/// section reads the clock. The environment variable HOSTCRST_HOLDS=1 switches it on when the runtime is first
/// started.
///
/// Parameters:
/// - on (0 = off, any other value = on).
///
/// Returns:
/// - S_OK: in force for later enters.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_OUTOFMEMORY: no address space for the records; nothing changed.
///
/// Threads: any; may block briefly while another thread creates or destroys.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_set_hold_tracking(on: i32) -> i32 {
    hresult(preserving_errno(|| {
        REGISTRY.runtime.require_usable()?;
        holds::set_tracking(on != 0)
    }))
}
