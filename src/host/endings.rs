//! Reports when a process ends by a signal, or is asked for one by a signal. How one is written is `report`'s; how a
//! handler goes together with the program's own is `sys::handlers`'.
//!
//! No handler is put in force unless the user asked: HOSTCRST_REPORT for those of SIGABRT and SIGTERM,
//! HOSTCRST_REPORT_SIGNAL for that of the signal it names.
//!
//! **A handler cannot hang the ending.** A report reads, takes no lock and calls no allocator, as it may be written while
//! the program hangs; a reader of its output that reads no more is waited for a few seconds; where the stack is too small
//! for it, it is left out. So it is written in the handler itself, on the thread that got the signal.

use core::ffi::{CStr, c_int};
use core::fmt::Write;

use crate::messages::{self, Kind};
use crate::report;
use crate::state::registry::REGISTRY;
use crate::sys::{self, Otherwise, Stage};
use crate::text::TextBuffer;

/// The variable with the place of the report at exit.
pub(crate) const PLACE: &CStr = c"HOSTCRST_REPORT";

/// A report needs 8 KiB of stack at most.
const STACK_NEEDED: usize = 10 << 10;

/// Takes the value of HOSTCRST_REPORT; false if it is none.
pub(crate) fn set_place(value: &[u8]) -> bool {
    let is_place = report::set_place(value);
    if is_place {
        report_endings(Stage::Start);
    }
    is_place
}

fn report_endings(stage: Stage) {
    for signal in sys::ENDINGS {
        sys::put_before(signal, stage, at_ending, Otherwise::End);
    }
}

/// Takes the value of HOSTCRST_REPORT_SIGNAL; false if it names no signal that can be chosen.
pub(crate) fn set_signal(value: &[u8]) -> bool {
    let signal = sys::signal_of(value);
    if let Some(signal) = signal {
        sys::put_before(signal, Stage::Start, at_request, Otherwise::GoOn);
    }
    signal.is_some()
}

/// Runs when the library is loaded: a runtime such as the CLR puts its own handlers in force before it starts anything
/// else, and gives the signal back to whoever had it before when it ends the process.
#[cfg(all(feature = "capi", not(test)))]
extern "C" fn at_load() {
    if sys::environment(PLACE).is_some() {
        report_endings(Stage::Load);
    }
}

#[cfg(all(feature = "capi", not(test)))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

fn at_ending(signal: c_int) {
    if report::is_awaited_at_exit() {
        write(Kind::Exit, signal);
    }
}

fn at_request(signal: c_int) {
    write(Kind::Request, signal);
}

fn write(kind: Kind, signal: c_int) {
    if !REGISTRY.is_ready() {
        return;
    }
    sys::settle_fork();
    let mut heading = TextBuffer::<64>::new();
    let _ = write_heading(&mut heading, signal);
    if sys::handler_stack_room().is_some_and(|room| room < STACK_NEEDED) {
        return messages::complain(&[b"no report, as the stack of signal handlers is too small for it"]);
    }
    report::write_patiently(kind, heading.bytes());
}

fn write_heading(heading: &mut TextBuffer<64>, signal: c_int) -> core::fmt::Result {
    heading.write_str("hostcrst: report at ")?;
    match sys::signal_name(signal) {
        Some(name) => {
            heading.write_str("SIG")?;
            heading.push(name)?;
        }
        None => write!(heading, "signal {signal}")?,
    }
    heading.write_str("\n")
}
