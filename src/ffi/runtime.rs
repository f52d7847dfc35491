//! The runtime: started, stopped or failed. It decides which calls the library accepts.

use core::ffi::c_char;

use super::{deliver, hresult};
use crate::error::{Error, Result, S_FALSE, S_OK};
use crate::host::runtime;
use crate::state::registry::REGISTRY;
use crate::sys::preserving_errno;

/// S_OK if something changed, S_FALSE if it was so already.
fn changed(result: Result<bool>) -> i32 {
    match result {
        Ok(true) => S_OK,
        Ok(false) => S_FALSE,
        Err(error) => error.hresult(),
    }
}

/// Makes the runtime available.
///
/// Until then every function returns HOST_E_CLRNOTAVAILABLE, or E_POINTER for a NULL that it does not take; except
/// host_runtime_fail and the queries: host_runtime_state, hostcrst_info, hostcrst_name, hostcrst_list, host_task_info,
/// host_task_layers, host_task_name, host_task_list, host_resource_name, host_resource_list, host_deadlock_policy,
/// host_call_needs_host_hook, host_wait_chain, host_report, host_report_write, host_result_message, hostcrst_version;
/// and what tells of a lock of the program's, which can be locked and unlocked in every state of the runtime:
/// host_resource_acquired, host_resource_acquired_at, host_resource_released, host_resource_wait_end. There is no
/// resource yet, so that these return E_HANDLE.
///
/// Returns:
/// - S_OK: available from here on. If it was stopped before, every task begins without layers.
/// - S_FALSE: it was available already.
/// - HOST_E_CLRNOTAVAILABLE: host_runtime_fail was called in this process.
/// - E_OUTOFMEMORY: the address space for sections and tasks cannot be reserved, or sixteen other copies of the
///   library are in use in this process. May be tried again.
///
/// Threads: any; blocks while another thread makes the first start. Not async-signal-safe. The child of a fork
/// inherits the state.
///
/// Source: an extension; the hosting interfaces assume a runtime that has been loaded.
#[unsafe(no_mangle)]
pub extern "C" fn host_runtime_start() -> i32 {
    changed(preserving_errno(runtime::start))
}

/// Makes the runtime unavailable until it is started again.
///
/// Every wait ends with HOST_E_CLRNOTAVAILABLE, and every later call that creates, enters or recovers a section,
/// creates a resource, tells that it is about to block for one or makes a transition returns it too. Sections and
/// resources stay as they are: an owner can still leave, and hostcrst_destroy still works.
///
/// Returns:
/// - S_OK: stopped; every waiter was woken.
/// - S_FALSE: it was stopped already.
/// - HOST_E_CLRNOTAVAILABLE: it was never started, or has failed.
///
/// Threads: any; does not wait until the woken tasks have returned. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_runtime_stop() -> i32 {
    changed(preserving_errno(runtime::stop))
}

/// Declares the runtime unusable for the life of the process.
///
/// This is what the hosting pages say of E_FAIL: every wait ends with HOST_E_CLRNOTAVAILABLE, and every later call
/// returns it too, including hostcrst_leave and hostcrst_destroy. Only what host_runtime_start lists still works: the
/// queries, and host_resource_acquired and the others that tell of a lock.
///
/// Returns:
/// - S_OK: failed from here on.
/// - E_OUTOFMEMORY: the library was never used before and cannot reserve its address space; nothing changed.
///
/// Threads: any; does not wait until the woken tasks have returned. Not async-signal-safe.
///
/// Source: the E_FAIL row of every method of IHostCrst and IHostTaskManager.
#[unsafe(no_mangle)]
pub extern "C" fn host_runtime_fail() -> i32 {
    hresult(preserving_errno(runtime::fail))
}

/// Gets the state of the runtime.
///
/// Parameters:
/// - state (out, not NULL): one of the HOST_RUNTIME_ values.
///
/// Returns:
/// - S_OK
/// - E_POINTER: state is NULL.
///
/// Threads: any; async-signal-safe; does not block.
///
/// Source: an extension.
///
/// # Safety
/// `state` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_runtime_state(state: *mut u32) -> i32 {
    // SAFETY: the caller keeps `state` valid, see above.
    unsafe { deliver(state, || Ok(REGISTRY.runtime.state() as u32)) }
}

/// Gets a sentence that explains a result.
///
/// Parameters:
/// - hr (any value): an HRESULT.
///
/// Returns: a static, zero-terminated English sentence, never NULL.
///
/// Threads: any; async-signal-safe; does not block.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_result_message(hr: i32) -> *const c_char {
    Error::message_of(hr).as_ptr()
}

/// Gets the version of the library at run time.
///
/// Returns: a static, zero-terminated string such as "0.1.0"; HOSTCRST_VERSION_STRING is that of the header.
///
/// Threads: any; async-signal-safe; does not block.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
