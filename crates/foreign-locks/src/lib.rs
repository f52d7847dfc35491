//! What a thread of a process is blocked in, by what the kernel shows of it and by the process's memory: the system call
//! and the meaning of its arguments; of a sleep on a futex, which lock of glibc's that is, and which thread owns it.
//!
//! ```text
//!   calls          glibc      caller        a call in words; what a futex is part of; whose code called
//!     │ │            │
//!     │ names      futex                    what system calls are called; the arguments of futex(2)
//!     └── thread ────┘                      a thread as `/proc` shows it
//! ```
//!
//! The caller opens and reads the files and the memory: [`Memory`], [`Process`]. This crate calls nothing but these two
//! and `core`; it allocates nothing, takes no lock and needs little stack. Memory and files may change while they are
//! read, and be hostile: each loop has a limit, and the worst result is a word of memory that nobody is known to own.

#![no_std]

#[cfg(test)]
extern crate std;

mod caller;
pub mod calls;
mod futex;
pub mod glibc;
mod managed;
mod names;
mod patience;
mod thread;
mod words;

use core::fmt::{self, Write};

pub use caller::{Caller, is_glibc};
pub use futex::{FutexWait, Operation};
pub use managed::{LockObject, ManagedKind, ManagedWait, Monitor, OwnerStands, STANDS_AFTER};
pub use patience::{Patience, Verdicts};
pub use thread::{Glance, State, SystemCall, field};
pub use words::{Counted, MAY_END, Verdict};

/// The memory of a process.
pub trait Memory {
    /// Fills the front of `buffer` from an address on, and says how far.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize;

    /// `N` bytes at an address, if all are there.
    fn bytes<const N: usize>(&self, address: u64) -> Option<[u8; N]>
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        (self.read(address, &mut bytes) == N).then_some(bytes)
    }
}

/// What a process's numbers mean.
pub trait Process: Memory {
    /// Whether the thread that the call is of is in it still.
    fn is_still_in(&self, call: &SystemCall) -> bool;

    /// Writes a descriptor, and what it is of.
    fn write_descriptor(&self, out: &mut dyn Write, descriptor: i32) -> fmt::Result;

    /// Writes a child process.
    fn write_child(&self, out: &mut dyn Write, id: u32) -> fmt::Result;

    /// Writes the bytes of a path.
    fn write_path(&self, out: &mut dyn Write, path: &[u8]) -> fmt::Result;

    /// Visits the descriptors that an epoll instance looks at; false if they are not known.
    fn epoll_looks_at(
        &self,
        epoll: i32,
        visit: &mut dyn FnMut(i32) -> fmt::Result,
    ) -> Result<bool, fmt::Error>;
}

/// Memory that tests read.
#[cfg(test)]
pub(crate) mod of_tests {
    use super::Memory;
    use std::vec::Vec;

    pub(crate) const ADDRESS: u64 = 0x7000;

    /// Memory from `ADDRESS` on.
    pub(crate) struct Bytes(pub(crate) Vec<u8>);

    impl Memory for Bytes {
        fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
            let start = address.checked_sub(ADDRESS).map_or(usize::MAX, |start| start as usize);
            let found = self.0.get(start..).unwrap_or(&[]);
            let length = found.len().min(buffer.len());
            buffer[..length].copy_from_slice(&found[..length]);
            length
        }
    }
}
