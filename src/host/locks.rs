//! The locks that are in no structure: the child of a fork finds each of them free. What they protect stands where
//! they are taken.

use crate::sys::Mutex;

/// Held while the name of a task is written, whichever task's.
pub(crate) static NAMING: Mutex = Mutex::new();
/// Held by a thread that ends the task of a thread that is gone, so that only one does. The thread itself cannot be
/// another: it counts as gone only after its last destructor.
pub(crate) static REAPING: Mutex = Mutex::new();
/// Held while the environment is read.
pub(crate) static READING: Mutex = Mutex::new();
/// Held while the policy of a target is set.
pub(crate) static HOOKS: Mutex = Mutex::new();
