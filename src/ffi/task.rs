//! Tasks and their transitions between managed and native code: IHostTaskManager and IHostTask.

use core::ffi::c_char;

use super::{Growing, deliver, deliver_handles, deliver_name, deliver_sized, hresult, name_argument};
use crate::error::{Error, S_OK};
use crate::host::{hooks, threads};
use crate::state::layers::{LayerKind, Origin};
use crate::state::registry::REGISTRY;
use crate::state::{task, tasks};
use crate::sys::{preserving_errno, settle_fork};

/// A task: an opaque handle. Invalid once its thread has ended; never equal to a section's handle.
pub type host_task_t = u64;

/// The state of a task, written by host_task_info.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct host_task_info_t {
    /// Set by the caller to sizeof(host_task_info_t). By this the library knows how much to write: a later version may
    /// have more fields, and fills a struct from before as far as it goes.
    pub size: u32,
    /// HOST_TASK_UNKNOWN, HOST_TASK_MANAGED or HOST_TASK_UNMANAGED.
    pub mode: u32,
    /// The operating system's id of the task's thread.
    pub thread_id: u32,
    /// Sections that the task owns.
    pub owned: u32,
    /// Open layers.
    pub depth: u64,
    /// The section or resource the task waits for (a hostcrst_t or host_resource_t), or 0. For a CRITICAL_SECTION, the
    /// value of its LockSemaphore, which no function takes.
    pub waiting_for: u64,
}

// SAFETY: no padding, and the size comes first.
unsafe impl Growing for host_task_info_t {
    const FIRST_BYTES: u32 = 32;
}

/// One open crossing between managed and native code.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct host_layer_t {
    /// HOST_LAYER_LEAVE or HOST_LAYER_REVERSE_ENTER.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// The argument of host_leave_runtime; 0 for HOST_LAYER_REVERSE_ENTER. If the library runs as the CLR's profiler,
    /// the CLR's id of the function.
    pub target: usize,
}

/// Opens a layer: managed code is about to call native code.
///
/// Parameters:
/// - target (any value): the address of the native function, 0 if unknown. Shown in reports; never called or
///   dereferenced.
///
/// Returns:
/// - S_OK: the task runs native code until the matching host_enter_runtime.
/// - HOST_E_INVALIDOPERATION: the task runs native code already.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: no memory for one more layer, or the calling thread cannot be made a task.
///
/// Never S_FALSE. On failure nothing changed. If this is a task's first transition, the task began in managed code.
///
/// Threads: any, for its own task; does not block. Not async-signal-safe.
///
/// Source: IHostTaskManager::LeaveRuntime.
#[unsafe(no_mangle)]
pub extern "C" fn host_leave_runtime(target: usize) -> i32 {
    push(LayerKind::Leave, target)
}

/// Closes the layer of host_leave_runtime: the native function has returned.
///
/// Returns:
/// - S_OK: the task runs managed code.
/// - HOST_E_INVALIDOPERATION: the innermost layer is not one of host_leave_runtime, or there is none.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
///
/// Never S_FALSE. On failure nothing changed.
///
/// Threads: any, for its own task; does not block; errno is as the native function left it. Not async-signal-safe.
///
/// Source: IHostTaskManager::EnterRuntime.
#[unsafe(no_mangle)]
pub extern "C" fn host_enter_runtime() -> i32 {
    pop(LayerKind::Leave)
}

/// Opens a layer: native code is about to call managed code.
///
/// Returns:
/// - S_OK: the task runs managed code until the matching host_reverse_leave_runtime.
/// - HOST_E_INVALIDOPERATION: the task runs managed code already.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: no memory for one more layer, or the calling thread cannot be made a task.
///
/// Never S_FALSE. On failure nothing changed. If this is a task's first transition, the task began in native code.
///
/// Threads: any, for its own task; does not block. Not async-signal-safe.
///
/// Source: IHostTaskManager::ReverseEnterRuntime.
#[unsafe(no_mangle)]
pub extern "C" fn host_reverse_enter_runtime() -> i32 {
    push(LayerKind::ReverseEnter, 0)
}

/// Closes the layer of host_reverse_enter_runtime: the managed function has returned.
///
/// Returns:
/// - S_OK: the task runs native code.
/// - HOST_E_INVALIDOPERATION: the innermost layer is not one of host_reverse_enter_runtime, or there is none.
/// - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
///
/// Never S_FALSE. On failure nothing changed.
///
/// Threads: any, for its own task; does not block. Not async-signal-safe.
///
/// Source: IHostTaskManager::ReverseLeaveRuntime.
#[unsafe(no_mangle)]
pub extern "C" fn host_reverse_leave_runtime() -> i32 {
    pop(LayerKind::ReverseEnter)
}

/// The slow path is a tail call, which the compiler makes a jump, so that the fast path needs no stack frame.
#[inline(always)]
fn push(kind: LayerKind, target: usize) -> i32 {
    match task::current_if_any() {
        Some(task) if task.push_fast(kind, Origin::Address, target as u64) => S_OK,
        _ => push_checked(target, kind),
    }
}

#[cold]
extern "C" fn push_checked(target: usize, kind: LayerKind) -> i32 {
    hresult(threads::current_in_runtime().and_then(|task| task.push(kind, Origin::Address, target as u64)))
}

#[inline(always)]
fn pop(kind: LayerKind) -> i32 {
    match task::current_if_any() {
        Some(task) if task.pop_fast(kind) => S_OK,
        _ => pop_checked(kind),
    }
}

#[cold]
extern "C" fn pop_checked(kind: LayerKind) -> i32 {
    hresult(threads::current_in_runtime().and_then(|task| task.pop(kind)))
}

/// Gets whether the runtime must report calls to a native function.
///
/// Parameters:
/// - target (any value): the address of the function.
/// - needs (out, not NULL): 1, unless host_set_call_hook set 0 for this function.
///
/// Returns:
/// - S_OK: see needs.
/// - E_POINTER: needs is NULL.
///
/// Threads: any; does not block. In every state of the runtime.
///
/// Source: IHostTaskManager::CallNeedsHostHook.
///
/// # Safety
/// `needs` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_call_needs_host_hook(target: usize, needs: *mut i32) -> i32 {
    // SAFETY: the caller keeps `needs` valid, see above.
    unsafe { deliver(needs, || Ok(i32::from(hooks::needs_hook(target as u64)))) }
}

/// Sets what host_call_needs_host_hook returns for a native function.
///
/// Parameters:
/// - target (any value): the address of a native function.
/// - needs (0 = no, any other value = yes).
///
/// Returns:
/// - S_OK: in force for later calls of host_call_needs_host_hook.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_OUTOFMEMORY: no memory for one more target; nothing changed.
///
/// Threads: any; may block briefly while another thread calls this function. Not async-signal-safe.
///
/// Source: an extension; the hosting pages leave the policy to the host.
#[unsafe(no_mangle)]
pub extern "C" fn host_set_call_hook(target: usize, needs: i32) -> i32 {
    hresult(hooks::set_hook(target as u64, needs != 0))
}

/// Gets the task of the calling thread.
///
/// Parameters:
/// - out (out, not NULL): the task; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: out is NULL.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_OUTOFMEMORY: the calling thread cannot be made a task.
///
/// Threads: any; does not block. Not async-signal-safe.
///
/// Source: IHostTaskManager::GetCurrentTask.
///
/// # Safety
/// `out` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_task_current(out: *mut host_task_t) -> i32 {
    let make = || {
        // What a child of _Fork calls first, whether the runtime runs or not.
        settle_fork();
        REGISTRY.runtime.require_usable()?;
        threads::current().map(|task| tasks::handle_of(task.id()))
    };
    // SAFETY: the caller keeps `out` valid, see above.
    unsafe { deliver(out, make) }
}

/// Gives a task a name, which reports show in place of its thread's name.
///
/// Parameters:
/// - task (any value): a handle from host_task_current.
/// - utf8 (in, copied, not NULL): zero-terminated; cut to 56 bytes between characters. If it is empty, reports show
///   the thread's own name again.
///
/// Returns:
/// - S_OK: named.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_POINTER: utf8 is NULL.
/// - E_HANDLE: task is no live task.
///
/// Threads: any; may block briefly while another thread names a task. Not async-signal-safe.
///
/// Source: an extension.
///
/// # Safety
/// `utf8` is NULL or points to a zero-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_task_set_name(task: host_task_t, utf8: *const c_char) -> i32 {
    // SAFETY: the caller passes a zero-terminated string or NULL, see above.
    let name = unsafe { name_argument(utf8) };
    hresult(name.and_then(|name| {
        REGISTRY.runtime.require_usable()?;
        threads::set_name(task, name)
    }))
}

/// Reads the name of a task: the one that was set, otherwise its thread's.
///
/// Parameters:
/// - task (any value): a handle from host_task_current.
/// - utf8 (out; NULL only if capacity is 0): the name, cut between characters to what fits with a zero behind it. Empty
///   on failure.
/// - capacity (0 to the size of the array): HOSTCRST_NAME_SIZE is enough for every name.
/// - length (out, not NULL): the bytes of the whole name, without the zero; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: length is NULL, or utf8 is NULL and capacity is not 0.
/// - E_HANDLE: task is no live task.
///
/// Threads: any; does not wait for one that changes the name. In every state of the runtime. Reads
/// /proc/self/task for a thread's name.
///
/// Source: an extension.
///
/// # Safety
/// `utf8` is NULL or valid for writing `capacity` bytes; `length` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_task_name(
    task: host_task_t,
    utf8: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    // SAFETY: the caller keeps both valid, see above.
    unsafe { deliver_name(utf8, capacity, length, || threads::name(task)) }
}

/// Lists the handles of all tasks of the process.
///
/// Others may come and go meanwhile: each one listed existed at a moment during the call, and what existed all the time
/// is listed. In no particular order.
///
/// Parameters:
/// - tasks (out; NULL only if capacity is 0): an array of capacity elements. The elements after the last handle are
///   unspecified.
/// - capacity (0 to the size of the array): the maximum to write.
/// - count (out, not NULL): how many there are, which may exceed capacity; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: count is NULL, or tasks is NULL and capacity is not 0.
///
/// Threads: any; does not block. In every state of the runtime. Takes time with the most tasks that there ever were.
///
/// Source: an extension.
///
/// # Safety
/// `tasks` is NULL or valid for writing `capacity` handles; `count` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_task_list(tasks: *mut host_task_t, capacity: usize, count: *mut usize) -> i32 {
    // SAFETY: the caller keeps both valid, see above.
    unsafe { deliver_handles(tasks, capacity, count, tasks::handles()) }
}

/// Gets how many more threads can become tasks before one of them ends: 65,000 in all, fewer if the address space is
/// limited.
///
/// Parameters:
/// - left (out, not NULL): the number; 0 on failure.
///
/// Returns:
/// - S_OK
/// - E_POINTER: left is NULL.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
///
/// Threads: any; may block briefly while another thread becomes a task. Not async-signal-safe.
///
/// Source: an extension.
///
/// # Safety
/// `left` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_tasks_left(left: *mut u32) -> i32 {
    // SAFETY: the caller keeps `left` valid, see above.
    unsafe { deliver(left, threads::left) }
}

/// Alerts a task: ends its alertable wait, or its next one if it is in none.
///
/// An alert that finds the task in no wait with WAIT_ALERTABLE stays pending and ends the next such wait when it
/// begins, once. Several alerts before that count as one.
///
/// Parameters:
/// - task (any value): a handle from host_task_current.
///
/// Returns:
/// - S_OK: the wait, or the next alertable one, ends with HOST_E_INTERRUPTED.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_HANDLE: task is no live task.
///
/// Threads: any; does not wait for the task. Not async-signal-safe.
///
/// Source: IHostTask::Alert.
#[unsafe(no_mangle)]
pub extern "C" fn host_task_alert(task: host_task_t) -> i32 {
    hresult(preserving_errno(|| {
        REGISTRY.runtime.require_usable()?;
        threads::alert(task)
    }))
}

/// Reads the present state of a task.
///
/// Parameters:
/// - task (any value): a handle from host_task_current.
/// - info (in and out, not NULL): the caller sets its field size. Fields that the library does not know become 0; on
///   failure all others do, too.
///
/// Returns:
/// - S_OK: info is written. Exact for the task itself; for other tasks each field was true at some moment during the
///   call.
/// - E_POINTER: info is NULL.
/// - E_INVALIDARG: info->size is less than the 32 bytes of the first version; nothing is written.
/// - E_HANDLE: task is no live task.
///
/// Threads: any; does not block. In every state of the runtime.
///
/// Source: an extension.
///
/// # Safety
/// `info` is NULL or points to a struct of the size that its field `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_task_info(task: host_task_t, info: *mut host_task_info_t) -> i32 {
    let make = |size| threads::info(task).map(|found| host_task_info_t::new(size, found));
    // SAFETY: the caller keeps `info` valid for the size it names, see above.
    unsafe { deliver_sized(info, make, host_task_info_t::default()) }
}

impl host_task_info_t {
    fn new(size: u32, info: threads::TaskInfo) -> Self {
        host_task_info_t {
            size,
            mode: info.mode as u32,
            thread_id: info.thread_id,
            owned: info.owned,
            depth: info.depth as u64,
            waiting_for: info.waiting_for,
        }
    }
}

/// Copies a task's open layers, outermost first, as they were at one moment. The task may run meanwhile.
///
/// Parameters:
/// - task (any value): a handle from host_task_current.
/// - layers (out; NULL only if capacity is 0): an array of capacity elements. The elements after the open layers, and
///   all of them after a failure, are unspecified.
/// - capacity (0 to the size of the array): the maximum to copy. If more layers are open, the outermost are copied.
/// - count (out, not NULL): the number of open layers, which may exceed capacity; 0 on failure.
///
/// Returns:
/// - S_OK: copied.
/// - E_POINTER: count is NULL, or layers is NULL and capacity is not 0.
/// - E_HANDLE: task is no live task.
///
/// Threads: any; does not block. In every state of the runtime: a stop keeps the layers until the next start.
///
/// Source: an extension: the nested layers that the page of LeaveRuntime describes.
///
/// # Safety
/// `layers` is NULL or valid for writing `capacity` layers; `count` is NULL or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_task_layers(
    task: host_task_t,
    layers: *mut host_layer_t,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    let make = || {
        if layers.is_null() && capacity != 0 {
            return Err(Error::Pointer);
        }
        threads::layers(task, capacity, |index, layer| {
            let copy = host_layer_t { kind: layer.kind as u32, reserved: 0, target: layer.target as usize };
            // SAFETY: the index is below `capacity`, for which the caller has room.
            unsafe { layers.add(index).write(copy) }
        })
    };
    // SAFETY: the caller keeps `count` valid, see above.
    unsafe { deliver(count, make) }
}
