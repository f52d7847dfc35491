//! Critical sections that never hang silently, and a true picture of which thread is in managed code and which is
//! in which native function.
//!
//! This file is the map; the logic is in the modules. Arrows only point down, and no files stand in a circle:
//! `tests/layers.rs` sees to that. `ARCHITECTURE.md` says what each room may not know, and what to open to change
//! something.
//!
//! ```text
//!    C · C++ · Win32 code · a .NET process · any FFI
//!         │        include/hostcrst.h (generated from ffi/)
//!  ffi/   crst · task · runtime · deadlock · resource · report · win32    pointers, handles, HRESULTs
//!  clr/   the CLR's own callbacks turned into transitions
//!         │
//!  win32/                                     Windows' rules for critical sections and condition variables
//!         │
//!  host/  runtime · prepare · settings · hooks         available or not; what is there before anything else
//!         threads · ends · locks · fork                how a thread becomes a task, and ceases to be one
//!         enter · deadlocks · calls · holds · order · statistics   the slow enter: spin, queue, search, tell, sleep
//!         resources                                    what a program tells of its own locks
//!         │
//!  report/  text · json · dot · html · metrics · desk · misuses     deadlock/   finds a cycle, breaks one wait of it
//!         │                                                         order/      finds orders that could become one
//!  foreign/  observer · threads · chain        what threads wait for that is not the library's
//!         │
//!  view/  picture · names                     what a reader sees, here or of a copy of another process
//!         │
//!  lock/  crst · spin · queue · bias · condition · addresses · holds · resources · statistics    transitions   layers
//!         │
//!         messages                            what is said unasked: to stderr or a file, holding up nobody
//!         │
//!  state/ registry · section(s) · resource(s) · task(s) · wait · sleep · layers · deadlocks · holds · orders · statistics · …
//!         │
//!  base/  arena · beside · region · seqlock · table · hash · name · memory · copies
//!         │
//!  sys/   linux, model or sim · files · forks · mutex · current · copies · call_site · symbols
//! ```
//!
//! Names of addresses: the crate `elf-names`, beside this one. What futexes and system calls mean: `foreign-locks`.
//!
//! `constants`, `error`, `handle` and `text` are leaves that every module may use. `models` is what loom and shuttle
//! run over `sys::model`, `simulation` what runs over `sys::sim`.

#![no_std]

#[cfg(any(test, not(feature = "capi")))]
extern crate std;

pub mod clr;
pub mod constants;
pub mod error;
pub mod ffi;

mod base;
mod deadlock;
mod foreign;
mod handle;
mod host;
mod lock;
mod messages;
#[cfg(all(loom, test))]
mod models;
mod order;
#[cfg(all(test, not(hostcrst_sim)))]
mod places;
mod report;
#[cfg(all(test, hostcrst_sim))]
mod simulation;
mod state;
mod sys;
mod text;
mod transitions;
mod view;
mod win32;

/// What a tool needs to draw the picture of another process from a copy of its memory. Not a stable interface: a tool
/// is built from the same version of this crate, and the registry's layout version says whether it fits.
#[doc(hidden)]
pub mod inspect {
    pub use crate::base::memory::{Memory, Shown};
    pub use crate::base::name::NameCopy;
    pub use crate::report::html::{Parts, write as write_page};
    pub use crate::report::metrics::write as write_metrics;
    pub use crate::report::{Format, Surroundings, render, render_verdict};
    pub use crate::state::managed_wait::ManagedWaitCopy;
    pub use crate::state::registry::{Header, LAYOUT_VERSION, MAGIC, Registry};
    pub use crate::state::sleep::SleepKind;
    pub use crate::state::targets::IlPlace;
    pub use crate::state::words::LockKind;
    pub use crate::text::Printable;
    pub use crate::view::picture::{Blocked, LockSeen, Picture, TaskSeen};
}

/// The C library has no unwinder and no standard library to panic with. No exported function can get here.
#[cfg(all(feature = "capi", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::abort()
}
