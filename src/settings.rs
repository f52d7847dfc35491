//! The environment variables of the library, read once: when the runtime is first started, or the first of Windows' sections
//! is made.

use core::ffi::CStr;
use core::fmt::Write;

use crate::messages;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::{self, Mutex};
use crate::text::{Printable, Text};

/// Every variable there is.
const KNOWN: [&CStr; 5] = [REPORT, ON_DEADLOCK, HOLDS, STALL, BIAS];

/// Where a report is written when the process exits: `stderr`, or a path in which `%p` is the process id and `%k` the
/// kind of message; with `%k`, or where the path is a folder, for other messages too.
pub(crate) const REPORT: &CStr = c"HOSTCRST_REPORT";
/// What is done when a deadlock is found: `error`, `report` or `abort`.
pub(crate) const ON_DEADLOCK: &CStr = c"HOSTCRST_ON_DEADLOCK";
/// `1` keeps since when and from where each section is owned.
pub(crate) const HOLDS: &CStr = c"HOSTCRST_HOLDS";
/// How long a task waits before a line on stderr says so: a number with the unit `s` or `ms`.
pub(crate) const STALL: &CStr = c"HOSTCRST_STALL";
/// Whether sections are lent to the task that enters them most: `earned`, `off` or `always`.
pub(crate) const BIAS: &CStr = c"HOSTCRST_BIAS";

const PREFIX: &[u8] = b"HOSTCRST_";

/// Held while the environment is read.
static READING: Mutex = Mutex::new();
/// 1 once it has been read.
static READ: AtomicU32 = AtomicU32::new(0);

/// Lets `take` read the variables, and says on stderr which HOSTCRST_ variables are not known. Once; on return that is
/// done, whoever does it.
pub(crate) fn read_once(take: impl FnOnce()) {
    // Acquire pairs with the Release below: what was read is in force.
    if READ.load(Ordering::Acquire) != 0 {
        return;
    }
    let _reading = READING.lock();
    if READ.load(Ordering::Relaxed) != 0 {
        return;
    }
    messages::remember_stderr();
    complain_of_unknown();
    take();
    READ.store(1, Ordering::Release);
}

/// The lock of who reads the environment.
pub(crate) fn lock() -> &'static Mutex {
    &READING
}

fn complain_of_unknown() {
    sys::each_environment_name(|name| {
        if name.starts_with(PREFIX) && !KNOWN.iter().any(|known| known.to_bytes() == name) {
            complain(&[b"unknown environment variable ", name, b" ignored"]);
        }
    });
}

/// Shows `take` the value of a variable, if it is set; complains if `take` does not know the value.
pub(crate) fn read(name: &CStr, take: impl FnOnce(&[u8]) -> bool) {
    if let Some(value) = sys::environment(name)
        && !take(value.to_bytes())
    {
        complain(&[name.to_bytes(), b": unknown value '", value.to_bytes(), b"' ignored"]);
    }
}

/// A time with its unit, as in `5s` or `250ms`, in nanoseconds.
pub(crate) fn parse_duration(text: &[u8]) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(b"ms") {
        Some(number) => (number, 1_000_000),
        None => (text.strip_suffix(b"s")?, 1_000_000_000),
    };
    core::str::from_utf8(number).ok()?.parse::<u64>().ok()?.checked_mul(unit)
}

/// Says on stderr what is wrong with the environment, in one write. Parts of it are anybody's bytes.
pub(crate) fn complain(parts: &[&[u8]]) {
    let mut line = Text::<512>::new();
    // A line that does not fit is cut.
    let _ = line.write_str("hostcrst: ");
    let _ = parts.iter().try_for_each(|part| write!(line, "{}", Printable(part)));
    line.end_line();
    messages::complain(line.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(parse_duration(b"5s"), Some(5_000_000_000));
        assert_eq!(parse_duration(b"250ms"), Some(250_000_000));
        for wrong in ["", "5", "s", "ms", "-1s", "1.5s", "5m", "99999999999999s"] {
            assert_eq!(parse_duration(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
