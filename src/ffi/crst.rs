//! Critical sections: IHostCrst and what creates one.

use core::ffi::c_char;
use core::hint::black_box;

use super::{deliver, deliver_sized, hresult, name_argument};
use crate::error::S_OK;
use crate::host::enter::{self, Patience};
use crate::lock::crst::{self, Fast};
use crate::state::section::{self, SpinPolicy};
use crate::state::tasks;
use crate::sys::with_call_site;

/// A critical section: an opaque handle. 0 is never one. A handle that was destroyed is never valid again.
pub type hostcrst_t = u64;

/// hostcrst_info: nobody owns the section.
pub const HOSTCRST_FREE: u32 = 0;
/// hostcrst_info: a task owns the section.
pub const HOSTCRST_OWNED: u32 = 1;
/// hostcrst_info: the owner's thread ended without leaving; see hostcrst_recover.
pub const HOSTCRST_ABANDONED: u32 = 2;

/// A time limit that never passes, for hostcrst_enter_timeout.
pub const HOSTCRST_INFINITE: u32 = 0xFFFF_FFFF;

/// What hostcrst_info tells.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct hostcrst_info_t {
    /// Set by the caller to sizeof(hostcrst_info_t), so that the struct can grow.
    pub size: u32,
    /// HOSTCRST_FREE, HOSTCRST_OWNED or HOSTCRST_ABANDONED.
    pub state: u32,
    /// The task that owns the section (a host_task_t), or 0.
    pub owner: u64,
    /// How often the owner has entered and not yet left; 0 if the section is not owned.
    pub recursion: u32,
    /// How many tasks wait in the section's queue.
    pub waiters: u32,
    /// As set; 0 if none was set or the process has one processor.
    pub spin_count: u32,
    /// 0.
    pub reserved: u32,
    /// How many entries had to wait since the section was created.
    pub contended: u64,
}

/// Creates a critical section: free, without a name, waiting as the library thinks best.
///
/// Parameters:
/// - out (out, not NULL): the handle; 0 on failure.
///
/// Returns:
/// - S_OK: created. Destroy it with hostcrst_destroy.
/// - E_POINTER: out is NULL.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: no memory, or 16 million sections exist.
///
/// Threads: any; may wait briefly for another create or destroy. Not for signal handlers.
///
/// Source: IHostSyncManager::CreateCrst.
///
/// # Safety
/// `out` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_create(out: *mut hostcrst_t) -> i32 {
    // SAFETY: the caller keeps `out` valid, see above.
    unsafe { deliver(out, || crst::create(SpinPolicy::Adaptive)) }
}

/// Creates a critical section that a newcomer looks at so many times before it waits.
///
/// Whatever the count, a newcomer has looked for long enough after 1 ms or when its time limit is over: from then on
/// it waits, and time limits, alerts, the runtime's end and the search for deadlocks see it.
///
/// Parameters:
/// - spin_count (0 to 4294967295 looks): at most so many; 0 waits at once. Taken as 0 where the process has one
///   processor.
/// - out (out, not NULL): the handle; 0 on failure.
///
/// Returns:
/// - S_OK: created. Destroy it with hostcrst_destroy.
/// - E_POINTER: out is NULL.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: no memory, or 16 million sections exist.
///
/// Threads: any; may wait briefly for another create or destroy. Not for signal handlers.
///
/// Source: IHostSyncManager::CreateCrstWithSpinCount.
///
/// # Safety
/// `out` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_create_with_spin_count(spin_count: u32, out: *mut hostcrst_t) -> i32 {
    // SAFETY: the caller keeps `out` valid, see above.
    unsafe { deliver(out, || crst::create(SpinPolicy::Count(spin_count))) }
}

/// Enters a critical section, waiting until the calling task owns it.
///
/// Recursive: the owner enters again at once. Each success needs one hostcrst_leave.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - option (0 or bits of WAIT_MSGPUMP, WAIT_ALERTABLE, WAIT_NOTINDEADLOCK): WAIT_ALERTABLE lets host_task_alert end
///   the wait; WAIT_NOTINDEADLOCK keeps this wait from being a deadlock's victim; WAIT_MSGPUMP has no meaning here
///   and is accepted.
///
/// Returns:
/// - S_OK: the calling task owns crst, once more than before.
/// - HOST_E_DEADLOCK: this wait was part of a cycle of waits and was broken; never with WAIT_NOTINDEADLOCK.
/// - HOST_E_ABANDONED: the section was destroyed during the wait, or its owner's thread ended without leaving.
/// - HOST_E_INTERRUPTED: the task was alerted; only with WAIT_ALERTABLE, and only if the call had to wait.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run, or was stopped during the wait.
/// - HOST_E_INVALIDOPERATION: the owner has entered 4294967295 times, or the call would have to wait in a signal
///   handler that interrupted a wait of the same thread (or after a jump out of such a handler: the wait goes on).
/// - E_HANDLE: crst is no live section.
/// - E_INVALIDARG: option has an unknown bit.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
///
/// On failure nothing changed.
///
/// Threads: any; may wait without limit. The last leave of the previous owner happens-before the return. A signal
/// handler that runs during the wait changes nothing; if it forks, the wait ends in the child with HOST_E_ABANDONED.
/// Not for signal handlers, and not to be left by siglongjmp or pthread_exit in one. No cancellation point. In the
/// child of a fork, sections owned by other threads of the parent are abandoned.
///
/// Source: IHostCrst::Enter. Differs: no messages are pumped.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_enter(crst: hostcrst_t, option: u32) -> i32 {
    match crst::enter_fast(crst, option) {
        Fast::Done => S_OK,
        Fast::Almost => look_at_entry(crst),
        Fast::Unsettled => settle_or_enter_from(crst, option),
        Fast::No => enter_from(crst, option),
    }
}

// What is left of a fast path, each in the form that its caller can jump to. If the compiler knew that the result is
// always S_OK, it would call instead, and give the fast path a stack frame for that.

#[inline(never)]
extern "C" fn look_at_entry(crst: u64) -> i32 {
    crst::look_at_entry(crst);
    black_box(S_OK)
}

with_call_site!(enter_from(crst: u64, option: u32) => enter_at, "rdx", "x2");
with_call_site!(settle_or_enter_from(crst: u64, option: u32) => settle_or_enter_at, "rdx", "x2");

extern "C" fn settle_or_enter_at(crst: u64, option: u32, site: usize) -> i32 {
    if crst::settle_entry(crst) { S_OK } else { enter_at(crst, option, site) }
}

extern "C" fn enter_at(crst: u64, option: u32, site: usize) -> i32 {
    hresult(enter::enter_checked(crst, option, Patience::Unbounded, site).map(|_| ()))
}

/// Enters a critical section, waiting no longer than a time limit.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - option: as for hostcrst_enter.
/// - milliseconds (0 to 4294967294, or HOSTCRST_INFINITE): 0 tries once. HOSTCRST_INFINITE makes it hostcrst_enter.
///
/// Returns:
/// - HOST_E_TIMEOUT: the limit passed and another task owned the section all the time, or each time it was looked at.
/// - all that hostcrst_enter returns, but HOST_E_DEADLOCK only with HOSTCRST_INFINITE: a wait with a limit resolves
///   itself and is no part of a deadlock.
///
/// On failure nothing changed.
///
/// Threads: as for hostcrst_enter. The limit is counted on the monotonic clock.
///
/// Source: an extension of IHostCrst::Enter in the manner of IHostAutoEvent::Wait.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_enter_timeout(crst: hostcrst_t, option: u32, milliseconds: u32) -> i32 {
    if crst::enter_now(crst, option) { S_OK } else { enter_timeout_from(crst, option, milliseconds) }
}

with_call_site!(enter_timeout_from(crst: u64, option: u32, milliseconds: u32) => enter_timeout_at, "rcx", "x3");

extern "C" fn enter_timeout_at(crst: u64, option: u32, milliseconds: u32, site: usize) -> i32 {
    hresult(enter::enter_checked(crst, option, Patience::of_milliseconds(milliseconds), site).map(|_| ()))
}

/// Enters a critical section if that needs no waiting.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - option: as for hostcrst_enter; has no effect, as nothing is waited for.
/// - entered (out, not NULL): 1 if the calling task owns crst, once more than before; 0 if another task owns it or on
///   failure.
///
/// Returns:
/// - S_OK: see entered.
/// - HOST_E_ABANDONED: the owner's thread ended without leaving.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - HOST_E_INVALIDOPERATION: the owner has entered 4294967295 times.
/// - E_POINTER: entered is NULL.
/// - E_HANDLE: crst is no live section.
/// - E_INVALIDARG: option has an unknown bit.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
///
/// On failure nothing changed.
///
/// Threads: any; never waits for an owner. Not for signal handlers.
///
/// Source: IHostCrst::TryEnter.
///
/// # Safety
/// `entered` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_try_enter(crst: hostcrst_t, option: u32, entered: *mut i32) -> i32 {
    if entered.is_null() || !crst::enter_now(crst, option) {
        return try_enter_from(crst, option, entered);
    }
    // SAFETY: the caller keeps `entered` valid, see above.
    unsafe { entered.write(1) };
    S_OK
}

with_call_site!(try_enter_from(crst: u64, option: u32, entered: *mut i32) => try_enter_at, "rcx", "x3");

extern "C" fn try_enter_at(crst: u64, option: u32, entered: *mut i32, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_try_enter, whose caller keeps `entered` valid.
    unsafe { deliver(entered, || enter::enter_checked(crst, option, Patience::None, site).map(i32::from)) }
}

/// Leaves a critical section once.
///
/// With the last leave the section is free, and a task that waits for it can enter.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
///
/// Returns:
/// - S_OK: left once.
/// - HOST_E_NOT_OWNER: the calling task does not own the section, which is unharmed.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, leaving works.
/// - E_HANDLE: crst is no live section.
///
/// Threads: the owner; may wait briefly for the section's queue. Not for signal handlers.
///
/// Source: IHostCrst::Leave.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_leave(crst: hostcrst_t) -> i32 {
    match crst::leave_fast(crst) {
        Fast::Done => S_OK,
        Fast::Almost => wake_after_leave(crst),
        Fast::Unsettled => settle_leave(crst),
        Fast::No => leave_checked(crst),
    }
}

#[inline(never)]
extern "C" fn wake_after_leave(crst: u64) -> i32 {
    crst::wake_after_leave(crst);
    black_box(S_OK)
}

#[inline(never)]
extern "C" fn settle_leave(crst: u64) -> i32 {
    crst::settle_leave(crst);
    black_box(S_OK)
}

#[inline(never)]
extern "C" fn leave_checked(crst: u64) -> i32 {
    hresult(crst::leave_checked(crst))
}

/// Changes how often a newcomer looks at the owned section before it waits: as of hostcrst_create_with_spin_count,
/// for 1 ms at most.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - spin_count (0 to 4294967295 looks): at most so many; 0 waits at once. Taken as 0 where the process has one
///   processor.
///
/// Returns:
/// - S_OK: in force for later entries.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_HANDLE: crst is no live section.
///
/// Threads: any, whoever owns the section; may wait briefly for its queue. Not for signal handlers.
///
/// Source: IHostCrst::SetSpinCount.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_set_spin_count(crst: hostcrst_t, spin_count: u32) -> i32 {
    hresult(crst::set_spin_count(crst, spin_count))
}

/// Ends a critical section that is free, abandoned, or owned by the calling task.
///
/// Waiters wake with HOST_E_ABANDONED. The handle is stale from here on, whatever the section is needed for.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
///
/// Returns:
/// - S_OK: destroyed, however often the owner had entered.
/// - HOST_E_NOT_OWNER: another task owns the section; nothing changed.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, destroying works.
/// - E_HANDLE: crst is no live section, or no longer one.
///
/// Threads: any; may wait briefly for the section's queue, never for an owner. Not for signal handlers.
///
/// Source: the last Release of an IHostCrst.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_destroy(crst: hostcrst_t) -> i32 {
    hresult(crst::destroy(crst))
}

/// Takes over a section whose owner's thread ended without leaving it.
///
/// The calling task then owns it once and finds the data under it as the dead thread left it. Of several callers
/// one succeeds.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
///
/// Returns:
/// - S_OK: the calling task owns crst, once.
/// - HOST_E_INVALIDOPERATION: the section is not abandoned.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_HANDLE: crst is no live section.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
///
/// Threads: any; may wait briefly for the section's queue. Not for signal handlers.
///
/// Source: an extension, after pthread_mutex_consistent.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_recover(crst: hostcrst_t) -> i32 {
    recover_from(crst)
}

with_call_site!(recover_from(crst: u64) => recover_at, "rsi", "x1");

extern "C" fn recover_at(crst: u64, site: usize) -> i32 {
    hresult(enter::recover(crst, site))
}

/// Gives a critical section a name, shown in reports.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - utf8 (in, copied, not NULL): zero-terminated; cut to 56 bytes between characters. Empty removes the name.
///
/// Returns:
/// - S_OK: named.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_POINTER: utf8 is NULL.
/// - E_HANDLE: crst is no live section.
/// - E_OUTOFMEMORY: no memory for the first name of this section.
///
/// Threads: any; may wait briefly for another call on the same section. Not for signal handlers.
///
/// Source: an extension.
///
/// # Safety
/// `utf8` is NULL or points to a zero-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_set_name(crst: hostcrst_t, utf8: *const c_char) -> i32 {
    // SAFETY: the caller passes a zero-terminated string or NULL, see above.
    hresult(unsafe { name_argument(utf8) }.and_then(|name| crst::set_name(crst, name)))
}

/// Tells what a critical section looks like at this moment.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - info (in and out, not NULL): its field size must be set. On failure all other fields are 0.
///
/// Returns:
/// - S_OK: see info. Exact for the owner; for others true of one moment during the call, field by field.
/// - E_POINTER: info is NULL.
/// - E_INVALIDARG: info->size is less than sizeof(hostcrst_info_t); nothing is written.
/// - E_HANDLE: crst is no live section.
///
/// Threads: any; does not block. In every state of the runtime.
///
/// Source: an extension.
///
/// # Safety
/// `info` is NULL or points to a struct of the size that its field `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_info(crst: hostcrst_t, info: *mut hostcrst_info_t) -> i32 {
    let make = |size| crst::info(crst).map(|found| hostcrst_info_t::new(size, found));
    // SAFETY: the caller keeps `info` valid for the size it names, see above.
    unsafe { deliver_sized(info, make, hostcrst_info_t::default()) }
}

impl hostcrst_info_t {
    fn new(size: u32, info: section::Info) -> Self {
        hostcrst_info_t {
            size,
            state: info.state as u32,
            owner: tasks::handle_of(info.owner),
            recursion: info.recursion,
            waiters: info.waiters,
            spin_count: info.spin_count,
            reserved: 0,
            contended: info.contended,
        }
    }
}
