//! Deadlocks: what is done about them, and what is kept to explain them.

use core::ffi::c_void;

use super::hresult;
use crate::error::Error;
use crate::host::{deadlocks, holds};
use crate::state::deadlocks::{Callback, Policy, host_deadlock_t};
use crate::state::registry::REGISTRY;
use crate::sys::preserving_errno;

/// host_set_deadlock_policy: one wait of the cycle gets HOST_E_DEADLOCK, and the program goes on. The default. Where
/// none may fail the tasks stay as they are; if one of them is in EnterCriticalSection, a report goes to stderr.
pub const HOST_DEADLOCK_ERROR: u32 = 0;
/// host_set_deadlock_policy: a report goes to stderr, and the tasks stay as they are.
pub const HOST_DEADLOCK_REPORT: u32 = 1;
/// host_set_deadlock_policy: a report goes to stderr, and the process aborts.
pub const HOST_DEADLOCK_ABORT: u32 = 2;

/// Is told of a deadlock: see host_set_deadlock_callback. It must return; from C++17 on it is a noexcept function.
pub type host_deadlock_callback_t =
    Option<extern "C" fn(deadlock: *const host_deadlock_t, context: *mut c_void)>;

/// Chooses what happens when a deadlock is found.
///
/// A cycle of waits without time limits is found at the moment its last wait begins. The environment variable
/// HOSTCRST_ON_DEADLOCK (error, report or abort) makes the same choice when the runtime is first started.
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

/// Sets who is told of each deadlock.
///
/// The callback runs on the thread whose wait closed the cycle, inside its call of hostcrst_enter, after a wait was
/// broken or not. It may call every function of the library: the thread waits for nothing then. If its own wait was
/// not the one that was broken, it waits anew after the callback, behind those who came meanwhile; a cycle that this
/// closes again is not told of again. A cycle that an enter inside the callback closes is told of like any other: to
/// the same callback, inside itself.
///
/// The callback must return: it must not throw, longjmp, or end its thread. Where it does so all the same, or where
/// its thread is cancelled in it, the enter around it never returns, and the thread owns what it owned before and
/// waits for nothing. errno is then as the callback left it.
///
/// On return no thread is inside the callback of before any more, so that what it uses can be freed. Only a call from
/// inside a callback does not wait for that: for itself it could not, and two would wait for each other. A callback
/// that was left by an exception or longjmp counts as running until its thread ends.
///
/// Parameters:
/// - callback (NULL for none): replaces the one before.
/// - context (any value): handed to the callback.
///
/// Returns:
/// - S_OK: in force for later deadlocks; the callback of before is not running, see above.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
///
/// Threads: any; waits for the callback of before, so not while the caller owns or holds what that may wait for. Not
/// for signal handlers.
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

/// Switches on or off that it is kept since when and from where each section is owned.
///
/// Reports then say so for every section entered from here on. Off by default, as entering a free section costs a
/// clock reading more while it is on. The environment variable HOSTCRST_HOLDS=1 switches it on when the runtime is
/// first started.
///
/// Parameters:
/// - on (0 = off, any other value = on).
///
/// Returns:
/// - S_OK: in force for later entries.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_OUTOFMEMORY: no address space for it; nothing changed.
///
/// Threads: any; may wait briefly for a create or destroy.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_set_hold_tracking(on: i32) -> i32 {
    hresult(preserving_errno(|| {
        REGISTRY.runtime.require_usable()?;
        holds::set_tracking(on != 0)
    }))
}
