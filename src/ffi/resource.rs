//! Resources: locks that the program has of its own, told to the library so that deadlocks through them are found.
//!
//! A lock of another library or of the program (an interpreter lock, a lock of a database, a spin lock) is made a
//! resource, and around its own calls the program tells what happens to it. Then cycles of waits through resources and
//! sections are found when their last wait begins, whichever kind it is for.
//!
//!     if (!my_lock_try(&lock)) {
//!         int32_t hr = host_resource_wait(resource, 0);    // before it blocks
//!         if (hr == HOST_E_DEADLOCK) return hr;            // it must not block
//!         my_lock_block(&lock);
//!     }
//!     host_resource_acquired(resource);                    // after it has locked
//!     ...
//!     host_resource_released(resource);                    // before it unlocks
//!     my_lock_unlock(&lock);
//!
//! The order matters: acquired after the lock was locked, released before it is unlocked, both by the thread that
//! does so. Then a task that is known to own a resource does own the lock, and no deadlock is found that is none. A
//! task that waits has told all that it owns, so none is missed. Only locks that one thread owns at a time, and that
//! the thread unlocks which has locked them, can be resources. From host_resource_wait on until the wait has ended, a
//! task does nothing but block: it enters and leaves no section, and acquires no other resource.

use core::ffi::c_char;

use super::{deliver, deliver_handles, deliver_name, hresult, name_argument, site_argument};
use crate::error::S_OK;
use crate::host::resources;
use crate::lock::resources as told;
use crate::state::resources as state;
use crate::sys::with_call_site;

/// A resource: an opaque handle, never 0. The handle of a destroyed resource is never valid again.
pub type host_resource_t = u64;

/// Creates a resource: owned by nobody, without a name.
///
/// Parameters:
/// - out (out, not NULL): the handle; 0 on failure.
///
/// Returns:
/// - S_OK: created. Destroy it with host_resource_destroy.
/// - E_POINTER: out is NULL.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: no memory, or a million resources exist.
///
/// Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe.
///
/// Source: an extension.
///
/// # Safety
/// `out` is NULL or valid for writing.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn host_resource_create(out: *mut host_resource_t) -> i32 {
    // SAFETY: the caller keeps `out` valid, see above.
    unsafe { deliver(out, told::create) }
}

/// Names a resource for reports.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
/// - utf8 (in, not NULL): a zero-terminated name; the library keeps a copy of at most 56 bytes, cut between characters.
///   An empty one removes the name.
///
/// Returns:
/// - S_OK: named.
/// - E_POINTER: utf8 is NULL.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_HANDLE: resource is no live resource.
/// - E_OUTOFMEMORY: no memory for the name; nothing changed.
///
/// Threads: any; may block briefly. Not async-signal-safe.
///
/// Source: an extension.
///
/// # Safety
/// `utf8` is NULL or points to a zero-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_resource_set_name(resource: host_resource_t, utf8: *const c_char) -> i32 {
    // SAFETY: the caller passes a zero-terminated string, see above.
    hresult(unsafe { name_argument(utf8) }.and_then(|name| told::set_name(resource, name)))
}

/// Reads the name of a resource.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
/// - utf8 (out; NULL only if capacity is 0): the name, cut between characters to what fits with a zero behind it. Empty
///   without a name, and on failure.
/// - capacity (0 to the size of the array): HOSTCRST_NAME_SIZE is enough for every name.
/// - length (out, not NULL): the bytes of the whole name, without the zero; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: length is NULL, or utf8 is NULL and capacity is not 0.
/// - E_HANDLE: resource is no live resource.
///
/// Threads: any; does not wait for one that changes the name. In every state of the runtime.
///
/// Source: an extension.
///
/// # Safety
/// `utf8` is NULL or valid for writing `capacity` bytes; `length` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_resource_name(
    resource: host_resource_t,
    utf8: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    // SAFETY: the caller keeps both valid, see above.
    unsafe { deliver_name(utf8, capacity, length, || state::name(resource)) }
}

/// Lists the handles of all resources of the process.
///
/// Others may come and go meanwhile: each one listed existed at a moment during the call, and what existed all the time
/// is listed. In no particular order.
///
/// Parameters:
/// - resources (out; NULL only if capacity is 0): an array of capacity elements. The elements after the last handle are
///   unspecified.
/// - capacity (0 to the size of the array): the maximum to write.
/// - count (out, not NULL): how many there are, which may exceed capacity; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: count is NULL, or resources is NULL and capacity is not 0.
///
/// Threads: any; does not block. In every state of the runtime. Takes time with the most resources that there ever were.
///
/// Source: an extension.
///
/// # Safety
/// `resources` is NULL or valid for writing `capacity` handles; `count` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_resource_list(
    resources: *mut host_resource_t,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    // SAFETY: the caller keeps both valid, see above.
    unsafe { deliver_handles(resources, capacity, count, state::handles()) }
}

/// Destroys a resource that nobody is known to own, that is abandoned, or that the calling task owns.
///
/// Told waits for it are over; nothing happens to the program's lock, nor to the threads that block in it. From here on
/// the handle is invalid for every thread.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
///
/// Returns:
/// - S_OK: destroyed, however often the calling task had acquired it.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_HANDLE: resource is no live resource.
/// - HOST_E_NOT_OWNER: another task owns the resource; nothing changed.
///
/// Threads: any; may block briefly. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_resource_destroy(resource: host_resource_t) -> i32 {
    hresult(told::destroy(resource))
}

/// Tells that the calling task is about to block for a resource, without a time limit; call it right before that.
///
/// The wait stands, as an edge of the wait-for graph and in reports, until the task calls host_resource_acquired or
/// host_resource_wait_end, waits for something else, or ends. If it closes a cycle of waits, what the deadlock policy
/// says is done before the call returns: with HOST_DEADLOCK_ERROR one wait of the cycle fails, by the rule for
/// hostcrst_enter, and that may be this one. A wait for a resource can only be refused before host_resource_wait has
/// returned: a task that blocks already is never the victim. If no wait of a cycle can fail any more, the deadlock
/// stands and is told: to the callback, in reports, and on stderr if a wait is for a resource and without
/// WAIT_NOTINDEADLOCK.
///
/// Do not tell of a wait with a time limit: it ends by itself and is no part of a deadlock. A task that owns the
/// resource may tell that it waits for it, which is no deadlock: its lock may be recursive.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
/// - option (0 or bits of WAIT_MSGPUMP, WAIT_ALERTABLE, WAIT_NOTINDEADLOCK): with WAIT_NOTINDEADLOCK this wait is never
///   the victim of a deadlock; the others are accepted and have no effect, as the library cannot end this wait.
///
/// Returns:
/// - S_OK: the wait is told. Block, then call host_resource_acquired or host_resource_wait_end.
/// - HOST_E_DEADLOCK: this wait would close a cycle and was chosen as the victim: do not block. No wait is told; what
///   the task owns it still owns. Never with WAIT_NOTINDEADLOCK.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_INVALIDARG: option has an unknown bit.
/// - E_HANDLE: resource is no live resource, or was destroyed during the call.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
/// - HOST_E_INVALIDOPERATION: a signal handler has interrupted a wait of the same thread for a section.
///
/// On a failure other than HOST_E_DEADLOCK nothing is told, and whether to block is up to the program.
///
/// Threads: any; does not wait for the resource. It may block briefly on the library's locks and, where a deadlock is
/// told, for the callback or the report. Not a cancellation point.
///
/// Signals and fork: not async-signal-safe. The child of a fork begins without a told wait. A call that a signal
/// handler interrupted to fork goes on in the child as in the parent, and tells of its wait there, too.
///
/// Source: an extension, after IHostCrst::Enter.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn host_resource_wait(resource: host_resource_t, option: u32) -> i32 {
    wait_from(resource, option)
}

with_call_site!(wait_from(resource: u64, option: u32) => wait_at, "rdx", "x2");

extern "C" fn wait_at(resource: u64, option: u32, site: usize) -> i32 {
    hresult(resources::wait(resource, option, site))
}

/// Tells that the calling task is about to block for a resource, as host_resource_wait, and names the place that the
/// call stands for.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
/// - option: as for host_resource_wait.
/// - place (in, may be NULL, copied): zero-terminated, such as "sell (shop.py:12)"; as for hostcrst_enter_at, except
///   that it is always read.
///
/// Returns:
/// - all that host_resource_wait returns.
///
/// Threads: as for host_resource_wait.
///
/// Source: an extension.
///
/// # Safety
/// `place` is NULL or points to a zero-terminated string.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn host_resource_wait_at(
    resource: host_resource_t,
    option: u32,
    place: *const c_char,
) -> i32 {
    wait_named_from(resource, option, place)
}

with_call_site!(
    wait_named_from(resource: u64, option: u32, place: *const c_char) => wait_named_at, "rcx", "x3"
);

extern "C" fn wait_named_at(resource: u64, option: u32, place: *const c_char, address: usize) -> i32 {
    // SAFETY: the caller of host_resource_wait_at passes a zero-terminated string or NULL.
    wait_at(resource, option, unsafe { site_argument(place, address) })
}

/// Tells that the calling task has given up a wait that it had told of with host_resource_wait.
///
/// Parameters:
/// - resource (any value): the same as for host_resource_wait.
///
/// Returns:
/// - S_OK: no wait is told any more.
/// - E_HANDLE: resource is no live resource; destroying it has ended the wait.
/// - HOST_E_INVALIDOPERATION: the calling task does not wait for this resource, as far as was told.
///
/// Threads: the one that waits; may block briefly. In every state of the runtime. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_resource_wait_end(resource: host_resource_t) -> i32 {
    hresult(told::end_wait(resource))
}

/// Tells that the calling task has acquired a resource, once more if it owns it already; call it after the lock was
/// locked. A told wait of the task for it ends.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
///
/// Returns:
/// - S_OK: the calling task owns the resource, once more than before. An abandoned resource is so no more.
/// - E_HANDLE: resource is no live resource.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
/// - HOST_E_INVALIDOPERATION: another task owns the resource, as far as was told: its call of host_resource_released is
///   missing, or comes after it has unlocked; or the calling task has told that it waits for something else; or it has
///   acquired the resource 4294967295 times.
///
/// On failure nothing changed.
///
/// Threads: any; takes no lock if the task has told no wait and nobody is known to own the resource. In every state of
/// the runtime. Not async-signal-safe.
///
/// Fork: in the child of a fork, resources that other threads of the parent owned are abandoned. If a thread ends that
/// owns one, that resource is abandoned: shown so until it is acquired again.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_resource_acquired(resource: host_resource_t) -> i32 {
    if told::acquire_fast(resource) { S_OK } else { acquired_from(resource) }
}

with_call_site!(#[cold] acquired_from(resource: u64) => acquired_at, "rsi", "x1");

extern "C" fn acquired_at(resource: u64, site: usize) -> i32 {
    hresult(resources::acquired(resource, site))
}

/// Tells that the calling task has acquired a resource, as host_resource_acquired, and names the place that the call
/// stands for.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
/// - place (in, may be NULL, copied): zero-terminated, such as "sell (shop.py:12)"; as for hostcrst_enter_at, but it is
///   shown only where orders do not agree (host_set_order_checks), and need not be read otherwise.
///
/// Returns:
/// - all that host_resource_acquired returns.
///
/// Threads: as for host_resource_acquired.
///
/// Source: an extension.
///
/// # Safety
/// `place` is NULL or points to a zero-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_resource_acquired_at(resource: host_resource_t, place: *const c_char) -> i32 {
    if told::acquire_fast(resource) { S_OK } else { acquired_named_from(resource, place) }
}

with_call_site!(#[cold] acquired_named_from(resource: u64, place: *const c_char) => acquired_named_at, "rdx", "x2");

extern "C" fn acquired_named_at(resource: u64, place: *const c_char, address: usize) -> i32 {
    // SAFETY: the caller of host_resource_acquired_at passes a zero-terminated string or NULL.
    acquired_at(resource, unsafe { site_argument(place, address) })
}

/// Tells that the calling task releases a resource, once; call it before the lock is unlocked.
///
/// Parameters:
/// - resource (any value): a handle from host_resource_create.
///
/// Returns:
/// - S_OK: released once; after the last time nobody is known to own the resource.
/// - E_HANDLE: resource is no live resource.
/// - HOST_E_NOT_OWNER: the calling task does not own the resource, as far as was told; nothing changed.
///
/// Threads: the owner; takes no lock. In every state of the runtime. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_resource_released(resource: host_resource_t) -> i32 {
    if told::release_fast(resource) { S_OK } else { released_slowly(resource) }
}

#[inline(never)]
extern "C" fn released_slowly(resource: u64) -> i32 {
    hresult(told::release(resource))
}
