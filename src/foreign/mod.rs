//! What the threads of this process wait for beside the library's own sections: glibc's locks, joins, system calls. As the
//! system shows it, on the slow path: nothing is stopped, no lock is taken, and what is found is read only.
//!
//! **Certain and probable.** An edge from a waiter to an owner is certain if glibc's own code made the call, the memory
//! has each mark that its kind of lock has at such a moment, the owner is a live thread of this process, and all of this
//! was found twice while the waiter did not run between. Any other is probable. A wait for what no thread owns is no edge: that
//! it was found twice is enough. `hostcrst-dump` draws the same line.

pub(crate) mod chain;
pub(crate) mod observer;
pub(crate) mod ownerless;
pub(crate) mod threads;
mod waited_for;
pub(crate) mod who;
