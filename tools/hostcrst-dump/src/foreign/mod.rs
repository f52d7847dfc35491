//! What the threads of any process do, and which of them waits for which other: through the library's sections, glibc's
//! locks and joins alike. Read from outside, from `/proc` and from memory, or from a core; nothing is stopped, written or run.
//!
//! ```text
//!   text · json · dot     the same facts in each format
//!        │
//!   chains                who waits for whom; cycles, and whether they stand
//!        │
//!   callers  calls  processes      which code called; what a system call waits for; what processes have that others wait for
//!        │    │       │
//!        │    │    file_locks      who has the lock of a file
//!        │    │
//!   threads  sockets      threads as `/proc` shows them or a core has them; names of sockets
//! ```
//!
//! What a futex is part of and what a call's arguments mean is known by the crate `foreign-locks`.
//!
//! **Certain and probable.** An edge from a waiter to an owner is certain if glibc's own code made the call, the memory has
//! each mark that its kind of lock has at such a moment, the owner is a live thread of the process, and all of this was
//! found twice while the waiter did not run between. Any other is probable, and said so.

mod callers;
mod calls;
mod chains;
mod dot;
mod file_locks;
mod json;
mod processes;
mod sockets;
mod text;
mod threads;

pub use callers::is_musl;
pub use chains::{Chains, StacksOf, is_of_64_bits, look};
pub use dot::{Joint, write as write_dot};
pub use json::{add as add_json, add_members};
pub use text::{counted, write as write_text, write_lock, write_threads, write_verdict};
pub use threads::{Threads, threads};
