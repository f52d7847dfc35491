//! Critical sections: IHostCrst, and the functions of IHostSyncManager that create one.

use core::ffi::c_char;
use core::hint::black_box;

use super::{
    Growing, deliver, deliver_handles, deliver_name, deliver_sized, hresult, name_argument, site_argument,
};
use crate::error::S_OK;
use crate::host::ends;
use crate::host::enter::{self, Patience};
use crate::lock::crst::{self, FastPath};
use crate::state::section::{self, SpinPolicy};
use crate::state::{sections, tasks};
use crate::sys::with_call_site;

/// A critical section: an opaque handle, never 0. The handle of a destroyed section is never valid again.
pub type hostcrst_t = u64;

/// The state of a section, written by hostcrst_info.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct hostcrst_info_t {
    /// Set by the caller to sizeof(hostcrst_info_t). By this the library knows how much to write: a later version may
    /// have more fields, and fills a struct from before as far as it goes.
    pub size: u32,
    /// HOSTCRST_FREE, HOSTCRST_OWNED or HOSTCRST_ABANDONED.
    pub state: u32,
    /// The task that owns the section (a host_task_t), or 0.
    pub owner: u64,
    /// Enters by the owner that it has not left yet; 0 if the section is not owned.
    pub recursion: u32,
    /// Tasks in the section's queue. A task that still spins is not counted.
    pub waiters: u32,
    /// The count that was set; 0 if none was set or the process has one processor.
    pub spin_count: u32,
    /// 0.
    pub reserved: u32,
    /// Enters that had to wait since the section was created.
    pub contended: u64,
    /// An address in the library that stands for this section alone, for tools that know a lock by its address, such
    /// as ThreadSanitizer. What is there is the library's: nothing may be read or written.
    pub address: usize,
}

// SAFETY: no padding, and the size comes first.
unsafe impl Growing for hostcrst_info_t {
    const FIRST_BYTES: u32 = 40;
}

/// Creates a critical section: free, without a name. How long a task spins for it is up to the library.
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
/// Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe.
///
/// Source: IHostSyncManager::CreateCrst.
///
/// # Safety
/// `out` is NULL or valid for writing.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn hostcrst_create(out: *mut hostcrst_t) -> i32 {
    // SAFETY: the caller keeps `out` valid, see above.
    unsafe { deliver(out, || crst::create(SpinPolicy::Adaptive)) }
}

/// Creates a critical section with a spin count: how often an entering task tries before it blocks.
///
/// Whatever the count, a task spins for at most 1 ms, and no longer than its time limit. Then it joins the section's
/// queue, where alerts, the end of the runtime and the search for deadlocks find it.
///
/// Parameters:
/// - spin_count (0 to 4294967295 tries): the maximum; with 0 a task blocks at once. Taken as 0 where the process has
///   one processor.
/// - out (out, not NULL): the handle; 0 on failure.
///
/// Returns:
/// - S_OK: created. Destroy it with hostcrst_destroy.
/// - E_POINTER: out is NULL.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: no memory, or 16 million sections exist.
///
/// Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe.
///
/// Source: IHostSyncManager::CreateCrstWithSpinCount.
///
/// # Safety
/// `out` is NULL or valid for writing.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn hostcrst_create_with_spin_count(spin_count: u32, out: *mut hostcrst_t) -> i32 {
    // SAFETY: the caller keeps `out` valid, see above.
    unsafe { deliver(out, || crst::create(SpinPolicy::Count(spin_count))) }
}

/// Enters a critical section; blocks until the calling task owns it.
///
/// Recursive: the owner enters again at once. Each success needs one hostcrst_leave.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - option (0 or bits of WAIT_MSGPUMP, WAIT_ALERTABLE, WAIT_NOTINDEADLOCK): WAIT_ALERTABLE lets host_task_alert end
///   the wait; with WAIT_NOTINDEADLOCK this wait is never the victim of a deadlock; WAIT_MSGPUMP is accepted and has
///   no effect.
///
/// Returns:
/// - S_OK: the calling task owns crst, once more than before.
/// - HOST_E_DEADLOCK: this wait was in a cycle of waits and was chosen as the victim; never with WAIT_NOTINDEADLOCK.
/// - HOST_E_ABANDONED: the section was destroyed during the wait, or its owner's thread ended without leaving.
/// - HOST_E_INTERRUPTED: the task was alerted; only with WAIT_ALERTABLE, and only if the call had to wait.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run, or was stopped during the wait.
/// - HOST_E_INVALIDOPERATION: the owner has entered 4294967295 times; or the call would have to wait while an earlier
///   wait of the same thread is unfinished, which a signal handler has interrupted or from which one has jumped.
/// - E_HANDLE: crst is no live section.
/// - E_INVALIDARG: option has an unknown bit.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
///
/// On failure nothing changed.
///
/// Threads: any; may block without limit. The last leave of the previous owner happens-before the return. Not a
/// cancellation point.
///
/// Signals and fork: not async-signal-safe. A signal handler that runs during the wait does not affect it, and must
/// return, not leave the call by siglongjmp or pthread_exit. If the handler forks, the wait ends in the child with
/// HOST_E_ABANDONED. In the child of a fork, sections owned by other threads of the parent are abandoned.
///
/// Source: IHostCrst::Enter. Differs: no messages are pumped.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn hostcrst_enter(crst: hostcrst_t, option: u32) -> i32 {
    match crst::enter_fast(crst, option) {
        FastPath::Done => S_OK,
        FastPath::DoneWithFollowUp => sample_entry(crst),
        FastPath::Revoked => settle_or_enter_from(crst, option),
        FastPath::NotTaken => enter_from(crst, option),
    }
}

// What is left of a fast path, each in the form that its caller can jump to. If the compiler knew that the result is
// always S_OK, it would call instead, and give the fast path a stack frame for that.

#[cold]
#[inline(never)]
extern "C" fn sample_entry(crst: u64) -> i32 {
    crst::sample_entry(crst);
    black_box(S_OK)
}

with_call_site!(#[cold] enter_from(crst: u64, option: u32) => enter_at, "rdx", "x2");
with_call_site!(#[cold] settle_or_enter_from(crst: u64, option: u32) => settle_or_enter_at, "rdx", "x2");

extern "C" fn settle_or_enter_at(crst: u64, option: u32, site: usize) -> i32 {
    if crst::settle_entry(crst) { S_OK } else { enter_at(crst, option, site) }
}

extern "C" fn enter_at(crst: u64, option: u32, site: usize) -> i32 {
    hresult(enter::enter_checked(crst, option, Patience::Unbounded, site).map(|_| ()))
}

/// Enters a critical section; blocks no longer than a time limit.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - option: as for hostcrst_enter.
/// - milliseconds (0 to 4294967294, or HOSTCRST_INFINITE): 0 tries once; HOSTCRST_INFINITE is the same as
///   hostcrst_enter.
///
/// Returns:
/// - HOST_E_TIMEOUT: the limit passed, and another task owned the section at every try.
/// - all that hostcrst_enter returns, but HOST_E_DEADLOCK only with HOSTCRST_INFINITE: a wait with a limit ends by
///   itself and is no part of a deadlock.
///
/// On failure nothing changed.
///
/// Threads: as for hostcrst_enter. The limit is counted on the monotonic clock.
///
/// Source: an extension: IHostCrst::Enter with the time limit of IHostAutoEvent::Wait.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn hostcrst_enter_timeout(crst: hostcrst_t, option: u32, milliseconds: u32) -> i32 {
    match crst::enter_fast(crst, option) {
        FastPath::Done => S_OK,
        FastPath::DoneWithFollowUp => sample_entry(crst),
        FastPath::Revoked => settle_or_enter_timeout_from(crst, option, milliseconds),
        FastPath::NotTaken => enter_timeout_from(crst, option, milliseconds),
    }
}

with_call_site!(#[cold] enter_timeout_from(crst: u64, option: u32, milliseconds: u32) => enter_timeout_at, "rcx", "x3");
with_call_site!(
    #[cold] settle_or_enter_timeout_from(crst: u64, option: u32, milliseconds: u32) => settle_or_enter_timeout_at, "rcx", "x3"
);

extern "C" fn settle_or_enter_timeout_at(crst: u64, option: u32, milliseconds: u32, site: usize) -> i32 {
    if crst::settle_entry(crst) { S_OK } else { enter_timeout_at(crst, option, milliseconds, site) }
}

extern "C" fn enter_timeout_at(crst: u64, option: u32, milliseconds: u32, site: usize) -> i32 {
    hresult(enter::enter_checked(crst, option, Patience::of_milliseconds(milliseconds), site).map(|_| ()))
}

/// Enters a critical section, as hostcrst_enter_timeout, and names the place that the call stands for.
///
/// For callers whose own code has no address that a report could name, such as scripts. Reports show the place where
/// they otherwise show the address that the call came from.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - option: as for hostcrst_enter.
/// - milliseconds (0 to 4294967294, or HOSTCRST_INFINITE): as for hostcrst_enter_timeout. With 0 it is a try-enter.
/// - place (in, may be NULL, copied): zero-terminated, such as "sell (shop.py:12)"; cut to 232 bytes between
///   characters. Reports show its quotes, its control characters and what is no UTF-8 as `?`. NULL and an empty one
///   mean the address of the call. It need not stay valid after the call. It is read only if the section is not simply
///   free or owned by the calling task, or if holds or orders are recorded. Each text is kept once and for ever, at
///   most 32768 of them; where there is no room for more, the address is shown.
///
/// Returns:
/// - HOST_E_TIMEOUT: as for hostcrst_enter_timeout.
/// - all that hostcrst_enter returns, but HOST_E_DEADLOCK only with HOSTCRST_INFINITE.
///
/// On failure nothing changed, except that the place may be kept.
///
/// Threads: as for hostcrst_enter.
///
/// Source: an extension.
///
/// # Safety
/// `place` is NULL or points to a zero-terminated string.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn hostcrst_enter_at(
    crst: hostcrst_t,
    option: u32,
    milliseconds: u32,
    place: *const c_char,
) -> i32 {
    if crst::enter_now(crst, option) { S_OK } else { enter_named_from(crst, option, milliseconds, place) }
}

with_call_site!(
    #[cold] enter_named_from(crst: u64, option: u32, milliseconds: u32, place: *const c_char) => enter_named_at, "r8", "x4"
);

extern "C" fn enter_named_at(
    crst: u64,
    option: u32,
    milliseconds: u32,
    place: *const c_char,
    address: usize,
) -> i32 {
    // SAFETY: the caller of hostcrst_enter_at passes a zero-terminated string or NULL.
    let site = unsafe { site_argument(place, address) };
    enter_timeout_at(crst, option, milliseconds, site)
}

/// Enters a critical section if it is free or owned by the calling task.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - option: as for hostcrst_enter; checked, and without effect, as the call does not wait.
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
/// Threads: any; never waits for an owner. Not async-signal-safe.
///
/// Source: IHostCrst::TryEnter.
///
/// # Safety
/// `entered` is NULL or valid for writing.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn hostcrst_try_enter(crst: hostcrst_t, option: u32, entered: *mut i32) -> i32 {
    if entered.is_null() {
        return try_enter_from(crst, option, entered);
    }
    match crst::enter_fast(crst, option) {
        FastPath::Done => {
            // SAFETY: the caller keeps `entered` valid, see above.
            unsafe { entered.write(1) };
            S_OK
        }
        FastPath::DoneWithFollowUp => sample_try_entry(crst, entered),
        FastPath::Revoked => settle_or_try_enter_from(crst, option, entered),
        FastPath::NotTaken => try_enter_from(crst, option, entered),
    }
}

#[cold]
#[inline(never)]
extern "C" fn sample_try_entry(crst: u64, entered: *mut i32) -> i32 {
    // SAFETY: only reached from hostcrst_try_enter, where it is not NULL.
    unsafe { entered.write(1) };
    sample_entry(crst)
}

with_call_site!(#[cold] try_enter_from(crst: u64, option: u32, entered: *mut i32) => try_enter_at, "rcx", "x3");
with_call_site!(
    #[cold] settle_or_try_enter_from(crst: u64, option: u32, entered: *mut i32) => settle_or_try_enter_at, "rcx", "x3"
);

extern "C" fn settle_or_try_enter_at(crst: u64, option: u32, entered: *mut i32, site: usize) -> i32 {
    if crst::settle_entry(crst) {
        // SAFETY: as in sample_try_entry.
        unsafe { entered.write(1) };
        return S_OK;
    }
    try_enter_at(crst, option, entered, site)
}

extern "C" fn try_enter_at(crst: u64, option: u32, entered: *mut i32, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_try_enter, whose caller keeps `entered` valid.
    unsafe { deliver(entered, || enter::enter_checked(crst, option, Patience::None, site).map(i32::from)) }
}

/// Leaves a critical section once.
///
/// The owner's last leave frees the section, or hands it to a waiter.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
///
/// Returns:
/// - S_OK: left once.
/// - HOST_E_NOT_OWNER: the calling task does not own the section; nothing changed.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, leaving works.
/// - E_HANDLE: crst is no live section.
///
/// Threads: the owner; may block briefly on the lock of the section's queue. Not async-signal-safe.
///
/// Source: IHostCrst::Leave.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_leave(crst: hostcrst_t) -> i32 {
    match crst::leave_fast(crst) {
        FastPath::Done => S_OK,
        FastPath::DoneWithFollowUp => wake_after_leave(crst),
        FastPath::Revoked => settle_leave(crst),
        FastPath::NotTaken => leave_checked(crst),
    }
}

#[cold]
#[inline(never)]
extern "C" fn wake_after_leave(crst: u64) -> i32 {
    crst::wake_after_leave(crst);
    black_box(S_OK)
}

#[cold]
#[inline(never)]
extern "C" fn settle_leave(crst: u64) -> i32 {
    crst::settle_leave(crst);
    black_box(S_OK)
}

#[cold]
#[inline(never)]
extern "C" fn leave_checked(crst: u64) -> i32 {
    hresult(crst::leave_checked(crst))
}

/// Sets a section's spin count: how often an entering task tries before it blocks.
///
/// It means the same as in hostcrst_create_with_spin_count; whatever it is, a task spins for at most 1 ms.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - spin_count (0 to 4294967295 tries): the maximum; with 0 a task blocks at once. Taken as 0 where the process has
///   one processor.
///
/// Returns:
/// - S_OK: in force for later enters.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_HANDLE: crst is no live section.
///
/// Threads: any, owner or not; may block briefly on the lock of the section's queue. Not async-signal-safe.
///
/// Source: IHostCrst::SetSpinCount.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_set_spin_count(crst: hostcrst_t, spin_count: u32) -> i32 {
    hresult(crst::set_spin_count(crst, spin_count))
}

/// Destroys a critical section that is free, abandoned, or owned by the calling task.
///
/// Its waiters get HOST_E_ABANDONED. From here on the handle is invalid for every thread. A section whose owner's thread
/// ended by the bare exit system call, which tells nobody, is abandoned too: this call finds out.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
///
/// Returns:
/// - S_OK: destroyed, however often the calling task had entered.
/// - HOST_E_NOT_OWNER: another task owns the section; nothing changed.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, destroying works.
/// - E_HANDLE: crst is no live section, or no longer one.
///
/// Threads: any; may block briefly on the lock of the section's queue, never for an owner. Not async-signal-safe.
///
/// Source: the last Release of an IHostCrst.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_destroy(crst: hostcrst_t) -> i32 {
    hresult(ends::destroy(crst))
}

/// Takes over an abandoned section: one whose owner's thread ended without leaving it.
///
/// The calling task then owns it once. The data that the section protects is as the ended thread left it. Of several
/// callers one succeeds. That the thread ended by the bare exit system call, which tells nobody, this call finds out.
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
/// Threads: any; may block briefly on the lock of the section's queue. Not async-signal-safe.
///
/// Source: an extension, after pthread_mutex_consistent.
#[unsafe(no_mangle)]
#[must_use]
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
/// Threads: any; may block briefly while another thread names the same section. Not async-signal-safe.
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

/// Reads the name of a critical section.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - utf8 (out; NULL only if capacity is 0): the name, cut between characters to what fits with a zero behind it. Empty
///   without a name, and on failure.
/// - capacity (0 to the size of the array): HOSTCRST_NAME_SIZE is enough for every name.
/// - length (out, not NULL): the bytes of the whole name, without the zero; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: length is NULL, or utf8 is NULL and capacity is not 0.
/// - E_HANDLE: crst is no live section.
///
/// Threads: any; does not wait for one that changes the name. In every state of the runtime.
///
/// Source: an extension.
///
/// # Safety
/// `utf8` is NULL or valid for writing `capacity` bytes; `length` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_name(
    crst: hostcrst_t,
    utf8: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    // SAFETY: the caller keeps both valid, see above.
    unsafe { deliver_name(utf8, capacity, length, || sections::name(crst)) }
}

/// Lists the handles of all sections of the process, but those of Windows' CRITICAL_SECTIONs.
///
/// Others may come and go meanwhile: each one listed existed at a moment during the call, and what existed all the time
/// is listed. In no particular order.
///
/// Parameters:
/// - crsts (out; NULL only if capacity is 0): an array of capacity elements. The elements after the last handle are
///   unspecified.
/// - capacity (0 to the size of the array): the maximum to write.
/// - count (out, not NULL): how many there are, which may exceed capacity; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: count is NULL, or crsts is NULL and capacity is not 0.
///
/// Threads: any; does not block. In every state of the runtime. Takes time with the most sections that there ever were.
///
/// Source: an extension.
///
/// # Safety
/// `crsts` is NULL or valid for writing `capacity` handles; `count` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_list(crsts: *mut hostcrst_t, capacity: usize, count: *mut usize) -> i32 {
    // SAFETY: the caller keeps both valid, see above.
    unsafe { deliver_handles(crsts, capacity, count, sections::handles()) }
}

/// Reads the present state of a critical section.
///
/// Parameters:
/// - crst (any value): a handle from hostcrst_create.
/// - info (in and out, not NULL): the caller sets its field size. Fields that the library does not know become 0; on
///   failure all others do, too.
///
/// Returns:
/// - S_OK: info is written. Exact for the owner; for other tasks each field was true at some moment during the call.
/// - E_POINTER: info is NULL.
/// - E_INVALIDARG: info->size is less than the 40 bytes of the first version; nothing is written.
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
    fn new(size: u32, info: section::SectionInfo) -> Self {
        hostcrst_info_t {
            size,
            state: info.state as u32,
            owner: tasks::handle_of(info.owner),
            recursion: info.recursion,
            waiters: info.waiters,
            spin_count: info.spin_count,
            reserved: 0,
            contended: info.contended,
            address: info.address,
        }
    }
}
