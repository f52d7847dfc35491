//! Critical sections that never hang silently, and a true picture of which thread is in managed code and which is
//! in which native function.
//!
//! This file is the map; the logic is in the modules. Arrows only point down.
//!
//! ```text
//!    C · C++ · a .NET process · any FFI
//!         │        include/hostcrst.h (generated from ffi/)
//!  ffi/   crst · task · runtime · deadlock · report · win32    pointers, handles, HRESULTs
//!  clr/   the CLR's own callbacks turned into transitions
//!         │
//!         win32 · condition                  critical sections by Windows' rules; sleepers of condition variables
//!         │
//!  core   crst · waiting · pace · bias       enter and leave; how a task waits; how long it looks; sections lent
//!         task · layers · hooks · runtime    who; in managed or native code; available or not
//!         fork                               what a child process makes of all this
//!         │
//!         wait_graph · holds                 who waits for whom, deadlocks; since when a section is owned
//!         report/ picture · text · json · dot · desk    what a reader is shown, here or from a copy of another process
//!         │
//!         messages                           what is said unasked: to stderr or a file, holding up nobody
//!         registry · layout · arena · region · handle · addresses · copies    where everything stands, what a handle proves
//!         name · targets · text · settings · memory · mirror
//!         │
//!  sys/   linux or model · files · forks · mutex · current · copies · call_site · symbols    what the system is asked for
//! ```
//!
//! Names of addresses: the crate `elf-names`, beside this one.
//!
//! `error` is a leaf that every module may use. `models` is what loom and shuttle run over `sys::model`.

#![no_std]

#[cfg(any(test, not(feature = "capi")))]
extern crate std;

pub mod clr;
pub mod error;
pub mod ffi;

mod addresses;
mod arena;
mod bias;
mod condition;
mod copies;
mod crst;
mod fork;
mod handle;
mod holds;
mod hooks;
mod layers;
mod layout;
mod memory;
mod messages;
mod mirror;
#[cfg(all(loom, test))]
mod models;
mod name;
mod pace;
mod region;
mod registry;
mod report;
mod runtime;
mod settings;
mod sys;
mod targets;
mod task;
mod text;
mod wait_graph;
mod waiting;
mod win32;

/// What a tool needs to draw the picture of another process from a copy of its memory. Not a stable interface: a tool
/// is built from the same version of this crate, and the registry's layout version says whether it fits.
#[doc(hidden)]
pub mod inspect {
    pub use crate::memory::Memory;
    pub use crate::name::NameCopy;
    pub use crate::registry::{Header, LAYOUT_VERSION, MAGIC, Registry};
    pub use crate::report::picture::{Blocked, Picture};
    pub use crate::report::{Format, Surroundings, render};
    pub use crate::text::Printable;
}

/// The C library has no unwinder and no standard library to panic with. No exported function can get here.
#[cfg(all(feature = "capi", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::abort()
}
