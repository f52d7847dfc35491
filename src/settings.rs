//! The environment variables of the library, read once when the runtime is first started.

use core::ffi::CStr;

use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// Every variable there is.
const KNOWN: [&CStr; 1] = [REPORT];

/// Where a report is written when the process exits: `stderr`, or a path in which `%p` is the process id.
pub(crate) const REPORT: &CStr = c"HOSTCRST_REPORT";

const PREFIX: &[u8] = b"HOSTCRST_";

/// Says once on stderr which HOSTCRST_ variables are not known. True for the first caller.
pub(crate) fn read_once() -> bool {
    static READ: AtomicU32 = AtomicU32::new(0);
    if READ.swap(1, Ordering::Relaxed) != 0 {
        return false;
    }
    sys::each_environment_name(|name| {
        if name.starts_with(PREFIX) && !KNOWN.iter().any(|known| known.to_bytes() == name) {
            complain(&[b"unknown environment variable ", name, b" ignored"]);
        }
    });
    true
}

/// Says on stderr what is wrong with the environment, in one write.
pub(crate) fn complain(parts: &[&[u8]]) {
    let mut line = [0; 256];
    let mut length = 0;
    for part in [b"hostcrst: ".as_slice()].iter().chain(parts).chain(&[b"\n".as_slice()]) {
        let part = &part[..part.len().min(line.len() - 1 - length)];
        line[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    line[length - 1] = b'\n';
    sys::write_all(sys::STDERR, &line[..length]);
}
