//! Reports: who owns, who waits, in which code, and every deadlock.

use super::hresult;
use crate::constants::{HOST_REPORT_DOT, HOST_REPORT_HTML, HOST_REPORT_JSON, HOST_REPORT_TEXT};
use crate::error::Error;
use crate::report::{self, Format};

/// Writes a report on every task and every section that was ever contended or is not free.
///
/// It shows each task with its name, thread id, layers (addresses as library!symbol+offset), the sections it owns and
/// the one it waits for; each section that is owned, abandoned or was ever waited for; each deadlock that stands, and
/// the last eight that were found, those of two tasks with the order of enters and waits. After that all threads of
/// the process: the system call that each is blocked in, which of glibc's locks or which thread it waits for and who
/// owns that, certainly or probably, and cycles through these. Works while every task is blocked, and in any state of
/// the runtime.
///
/// Parameters:
/// - fd (a descriptor open for writing): where the report goes. It stays open.
/// - format (one of the HOST_REPORT_ values): docs/report.schema.json describes the JSON. The page of HOST_REPORT_HTML
///   draws it, and has the text for browsers that run no scripts; it loads nothing, and names in it stay text.
///
/// Returns:
/// - S_OK: written.
/// - E_INVALIDARG: fd cannot be written, or format is not known. A pipe without a reader and a file at its size limit
///   cannot be written; neither raises SIGPIPE or SIGXFSZ.
/// - E_OUTOFMEMORY: three other calls of host_report are in progress, for example blocked on pipes that nobody reads,
///   and none of them ended within a second.
///
/// Threads: any; blocks as long as writing to fd does. Takes no lock that the program can hold, does not use the
/// program's allocator, and needs at most 8 KiB of stack. Not a cancellation point; continues after a signal handler
/// that interrupts it. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn host_report(fd: i32, format: u32) -> i32 {
    hresult(format_of(format).and_then(|format| report::write(fd, format)))
}

fn format_of(format: u32) -> crate::error::Result<Format> {
    match format {
        HOST_REPORT_TEXT => Ok(Format::Text),
        HOST_REPORT_JSON => Ok(Format::Json),
        HOST_REPORT_DOT => Ok(Format::Dot),
        HOST_REPORT_HTML => Ok(Format::Html),
        _ => Err(Error::InvalidArgument),
    }
}
