//! Finds the names of code and variable addresses, as `library!symbol+0xoffset`, even in a process that hangs.
//!
//! A thread that hangs may hold any lock of the C library: `dladdr`
//! and `dl_iterate_phdr` take the dynamic loader's (held through a whole `dlopen`, constructors included),
//! the allocator and stdio have their own. So this crate reads what the kernel provides, in four steps:
//!
//! ```text
//! address ─ maps: /proc/PID/maps ─> file, offset in it ─ elf: program headers ─> virtual address ─ symbols ─> name
//! ```
//!
//! `resolver` combines the four steps and caches results; `notes` reads ELF notes.
//! The caller opens and reads the files: [`Files`] and [`ReadAt`]. This crate calls nothing but these
//! two and `core`; it uses only memory that the caller provides, takes no lock and needs little stack.
//!
//! Files may be truncated, replaced or hostile: each read is checked against the file's size, each loop has a limit,
//! and the worst result is an address without a name. Supported are 64-bit little-endian ELF files with section
//! headers.

#![no_std]

#[cfg(test)]
extern crate self as elf_names;
#[cfg(test)]
extern crate std;

pub mod elf;
#[cfg(test)]
mod hostile;
pub mod maps;
pub mod notes;
mod resolver;
pub mod symbols;
#[cfg(test)]
mod testing;

pub use resolver::{Files, Resolver, Symbol};

/// Something with bytes at offsets.
pub trait ReadAt {
    /// Fills the front of `buffer` from `offset` on and says how far: 0 at the end, `None` on failure.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize>;
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        (**self).read_at(offset, buffer)
    }
}

/// Bytes of a file that are read at once.
pub const BLOCK: usize = 4096;

/// Room for what is read.
pub type Block = [u8; BLOCK];
