//! The names of threads and tasks of this process.

use crate::base::name::NameCopy;
use crate::state::task::TaskRef;
use crate::sys;

/// The system's name of a thread of this process.
pub(crate) fn thread_name(thread_id: u32) -> NameCopy {
    let mut name = [0; 64];
    let mut length = sys::read_thread_file(None, thread_id, "comm", &mut name).map_or(0, <[u8]>::len);
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
