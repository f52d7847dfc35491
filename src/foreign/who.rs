//! Whom a report is about: threads, tasks or not.

use crate::base::memory::Here;
use crate::view::picture::Picture;

/// A thread, and its task if it has one: threads that never called the library wait and own, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Who {
    pub(crate) thread: u32,
    /// The task's id, 0 for none.
    pub(crate) task: u64,
}

impl Who {
    pub(crate) fn of_task(picture: &Picture<'_, Here>, task: u64) -> Option<Who> {
        Some(Who { thread: picture.thread_id(task)?, task })
    }

    pub(crate) fn of_thread(picture: &Picture<'_, Here>, thread: u32) -> Who {
        Who { thread, task: picture.task_of_thread(thread).unwrap_or(0) }
    }

    /// Whether it is in a wait or sleep that the library knows of.
    pub(crate) fn is_in_own_wait(&self, picture: &Picture<'_, Here>) -> bool {
        let (wait, sleep) = picture.wait_or_sleep(self.task);
        wait.is_some() || sleep.is_some()
    }
}
