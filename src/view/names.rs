//! The names of threads and tasks of this process.

use core::ffi::CStr;
use core::fmt::Write;

use crate::base::name::NameCopy;
use crate::state::task::TaskRef;
use crate::sys;
use crate::text::TextBuffer;

/// The system's name of a thread of this process.
pub(crate) fn thread_name(thread_id: u32) -> NameCopy {
    let mut path = TextBuffer::<64>::new();
    let mut name = [0; 64];
    let mut length = match write!(path, "/proc/self/task/{thread_id}/comm\0") {
        Ok(()) => CStr::from_bytes_with_nul(path.bytes()).map_or(0, |path| sys::read_file(path, &mut name)),
        Err(_) => 0,
    };
    if length == 0 {
        // The thread has ended meanwhile: it had the name of the process, unless it was named.
        length = sys::read_file(c"/proc/self/comm", &mut name);
    }
    NameCopy::of(name.get(..length).unwrap_or(&[]).trim_ascii_end())
}

/// The name of a task of this process: the one that was set, otherwise its thread's present one.
pub(crate) fn task_name(task: TaskRef) -> NameCopy {
    let name = task.name();
    if name.is_empty() { thread_name(task.thread_id()) } else { name }
}
