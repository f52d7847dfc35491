//! Reports: who owns, who waits, in which code, and every deadlock.

use core::ffi::{c_char, c_void};

use super::task::host_task_t;
use super::{Growing, deliver, hresult, size_of_growing, write_growing};
use crate::base::name::NAME_BYTES;
use crate::constants::{HOST_REPORT_DOT, HOST_REPORT_HTML, HOST_REPORT_JSON, HOST_REPORT_TEXT};
use crate::error::{Error, Result};
use crate::report::nodes::{self, Node};
use crate::report::{self, Format};

/// Writes a report on every task and every section that was ever contended or is not free.
///
/// It shows each task with its name, thread id, layers (addresses as library!symbol+offset), the sections it owns and
/// the one it waits for; each section that is owned, abandoned or was ever waited for; each deadlock that stands, and
/// the last eight that were found, those of two tasks with the order of enters and waits. After that all threads of
/// the process: the system call that each is blocked in, which of glibc's locks or which thread it waits for and who
/// owns that, certainly or probably, and cycles through these. Works while every task is blocked, and in any state of
/// the runtime.
///
/// Parameters:
/// - fd (a descriptor open for writing): where the report goes. It stays open.
/// - format (one of the HOST_REPORT_ values): docs/report.schema.json describes the JSON. The page of HOST_REPORT_HTML
///   draws it, and has the text for browsers that run no scripts; it loads nothing, and names in it stay text.
///
/// Returns:
/// - S_OK: written.
/// - E_INVALIDARG: fd cannot be written, or format is not known. A pipe without a reader and a file at its size limit
///   cannot be written; neither raises SIGPIPE or SIGXFSZ.
/// - E_OUTOFMEMORY: three other calls of host_report are in progress, for example blocked on pipes that nobody reads,
///   and none of them ended within a second.
///
/// Threads: any; blocks as long as writing to fd does. Takes no lock that the program can hold, does not use the
/// program's allocator, and needs at most 8 KiB of stack. Not a cancellation point; continues after a signal handler
/// that interrupts it. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_report(fd: i32, format: u32) -> i32 {
    hresult(format_of(format).and_then(|format| report::write(fd, format)))
}

/// Called with each piece of a report: see host_report_write. It must return; from C++17 on the type is noexcept.
pub type host_report_writer_t =
    Option<unsafe extern "C" fn(text: *const c_char, length: usize, context: *mut c_void)>;

/// Hands a report to a function of the program's, piece by piece: what host_report writes to a descriptor.
///
/// The pieces, of at most 4096 bytes, one after the other are the report. None is zero-terminated, and one may end
/// inside a UTF-8 character. A piece is writer's for the time of the call.
///
/// Parameters:
/// - format (one of the HOST_REPORT_ values): as for host_report.
/// - writer (not NULL): called on this thread, once for each piece. It may call every function of the library. It must
///   return: it must not throw, jump away, end its thread or be cancelled. If it does, the memory that this report was
///   made in cannot be used for another one any more, and there is such for three at a time.
/// - context (any value): passed to writer.
///
/// Returns:
/// - S_OK: all of it was handed over.
/// - E_POINTER: writer is NULL.
/// - E_INVALIDARG: format is not known.
/// - E_OUTOFMEMORY: three other calls of this function or host_report are in progress, and none of them ended within a
///   second.
///
/// Threads: any; takes as long as writer does. Takes no lock that the program can hold, does not use the program's
/// allocator, and needs at most 8 KiB of stack beside that of writer. By itself not a cancellation point. Not
/// async-signal-safe.
///
/// Source: an extension.
///
/// # Safety
/// `writer` is NULL or may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_report_write(
    format: u32,
    writer: host_report_writer_t,
    context: *mut c_void,
) -> i32 {
    let hand_over = || {
        let writer = writer.ok_or(Error::Pointer)?;
        // SAFETY: the caller keeps `writer` callable with `context`, see above; the piece is borrowed for the call.
        let mut write = |piece: &[u8]| unsafe { writer(piece.as_ptr().cast(), piece.len(), context) };
        report::hand_over(&mut write, format_of(format)?)
    };
    hresult(hand_over())
}

/// A node of a wait chain: a thread, or what the thread before it waits for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct host_wait_node_t {
    /// The size of each node of the array, set by the caller in the first one.
    pub size: u32,
    /// One of the HOST_WAIT_NODE_ values.
    pub kind: u32,
    /// Of a task, section or resource its handle, of anything else its address; of a System.Threading.Lock the CLR's
    /// number for it. 0 for a thread that is no task, for a join, and for a system call.
    pub handle: u64,
    /// The operating system's id of a thread; 0 for anything else.
    pub thread_id: u32,
    /// HOST_WAIT_FLAG_ values.
    pub flags: u32,
    /// Zero-terminated: the name of a task, thread, section or resource, the variable at an address, or the system
    /// call. Empty if there is none.
    pub name: [c_char; 64],
}

// SAFETY: no padding, and the size comes first.
unsafe impl Growing for host_wait_node_t {
    const FIRST_BYTES: u32 = 88;
}

const _: () = assert!(NAME_BYTES < 64);

impl host_wait_node_t {
    fn new(size: u32, node: &Node) -> Self {
        let Node { kind, handle, thread_id, flags, .. } = *node;
        let mut name = [0; 64];
        name.iter_mut().zip(node.name.bytes()).for_each(|(to, &from)| *to = from as c_char);
        host_wait_node_t { size, kind, handle, thread_id, flags, name }
    }
}

/// Follows a task's wait chain: the task, what it waits for, the owner of that, what this one waits for, and so on,
/// through the library's sections, glibc's locks and joins alike.
///
/// The chain ends with a thread that waits for nothing, with something that nobody is known to own, or where its next
/// owner stands in it already: if that is a deadlock, the last node has HOST_WAIT_FLAG_LAST_OF_CYCLE. Other threads run
/// meanwhile: each node is of a moment during the call, a deadlock is of one moment. Threads that are no tasks are
/// nodes too.
///
/// Parameters:
/// - task (any value): a handle from host_task_current.
/// - nodes (in and out; NULL only if capacity is 0): an array of capacity nodes. The caller sets size in the first one
///   to the size of each. The nodes after the chain are unspecified, and after a failure all of them.
/// - capacity (0 to the size of the array): the maximum to write.
/// - count (out, not NULL): the number of nodes, which may exceed capacity; at most 8192. 0 on failure.
///
/// Returns:
/// - S_OK: written.
/// - E_POINTER: count is NULL, or nodes is NULL and capacity is not 0.
/// - E_INVALIDARG: nodes->size is less than the 88 bytes of the first version, or no multiple of 8.
/// - E_HANDLE: task is no live task.
/// - E_OUTOFMEMORY: no memory, or three other calls of this function or host_report are in progress and none of them
///   ended within a second.
///
/// Threads: any; does not wait for the program. In every state of the runtime. Takes no lock that the program can hold,
/// does not use the program's allocator, and needs at most 8 KiB of stack. Reads /proc/self/task; without it, only
/// waits for the library's own sections are seen. In a forked child, the chain is of the child's threads. Not a
/// cancellation point. Not async-signal-safe.
///
/// Source: an extension after GetThreadWaitChain of Windows.
///
/// # Safety
/// `nodes` is NULL or valid for writing `capacity` nodes of the size that the first one names; `count` is NULL or
/// valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_wait_chain(
    task: host_task_t,
    nodes: *mut host_wait_node_t,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    let make = || {
        // SAFETY: the caller keeps `nodes` valid, see above.
        let size = unsafe { size_of_each(nodes, capacity) }?;
        nodes::visit(task, |index, node| {
            if index < capacity {
                // SAFETY: `capacity` elements of `size` bytes are the caller's, and aligned as its first one.
                unsafe {
                    let place = nodes.byte_add(index * size as usize);
                    write_growing(place, size, &host_wait_node_t::new(size, &node));
                }
            }
        })
    };
    // SAFETY: the caller keeps `count` valid, see above.
    unsafe { deliver(count, make) }
}

/// The size of each node of an array of that many.
///
/// # Safety
/// `nodes` is NULL or points to a node if there are any.
unsafe fn size_of_each(nodes: *const host_wait_node_t, capacity: usize) -> Result<u32> {
    match capacity {
        0 => Ok(host_wait_node_t::FIRST_BYTES),
        _ if nodes.is_null() => Err(Error::Pointer),
        // SAFETY: the caller's first node begins with its size.
        _ => match unsafe { size_of_growing(nodes) }? {
            size if size.is_multiple_of(align_of::<host_wait_node_t>() as u32) => Ok(size),
            _ => Err(Error::InvalidArgument),
        },
    }
}

fn format_of(format: u32) -> Result<Format> {
    match format {
        HOST_REPORT_TEXT => Ok(Format::Text),
        HOST_REPORT_JSON => Ok(Format::Json),
        HOST_REPORT_DOT => Ok(Format::Dot),
        HOST_REPORT_HTML => Ok(Format::Html),
        _ => Err(Error::InvalidArgument),
    }
}
