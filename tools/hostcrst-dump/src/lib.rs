//! The parts of `hostcrst-dump`, for its own tests: no interface for others.

pub mod core_file;
pub mod core_threads;
pub mod failure;
pub mod foreign;
pub mod process;
pub mod report;
pub mod symbols;
pub mod target;
pub mod time_limit;
#[cfg(feature = "terminal")]
pub mod watch;

mod copies;
mod dotnet;
mod elf_file;
mod lines;
mod perf_map;
mod registers;
mod registries;
mod remote;
mod stacks;
mod unexamined;
