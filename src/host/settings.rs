//! The environment variables of the library, read once: when the runtime is first started, or the first of Windows'
//! sections is made. What a setting changes is known by the function that takes it.

use core::ffi::CStr;

use crate::host::{deadlocks, endings, enter, holds, hosted, locks, order, statistics};
use crate::messages;
use crate::state::deadlocks::Policy;
use crate::state::registry::REGISTRY;
use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// Takes the value of a variable; false if it does not know that value.
type Take = fn(&[u8]) -> bool;

/// Every variable there is, and what its value may be, as an unknown one is answered.
const VARIABLES: [(&CStr, &str, Take); 9] = [
    // Where a report is written when the process exits, or ends by SIGABRT or SIGTERM: `stderr`, or a path in which `%p`
    // is the process id and `%k` the kind of message; with `%k`, or where the path is a folder, for other messages too.
    (endings::PLACE, "stderr or a path", endings::set_place),
    // The signal that asks for a report.
    (c"HOSTCRST_REPORT_SIGNAL", sys::SIGNAL_NAMES, endings::set_signal),
    // What is done when a deadlock is found: `error`, `report` or `abort`.
    (c"HOSTCRST_ON_DEADLOCK", "error, report or abort", set_deadlock_policy),
    // Which sections become biased to the task that enters them most: `earned`, `off` or `always`.
    (c"HOSTCRST_BIAS", "earned, off or always", set_bias_policy),
    // `1` keeps hold records: since when and from where each section is owned.
    (c"HOSTCRST_HOLDS", "0 or 1", set_hold_tracking),
    // `1` tells of sections that are entered in orders that could deadlock.
    (c"HOSTCRST_ORDER", "0 or 1", set_order_checks),
    // `1` counts waits and holds of each section.
    (c"HOSTCRST_STATS", "0 or 1", set_statistics),
    // How long a task waits before a stall line on stderr: a number with the unit `s` or `ms`.
    (c"HOSTCRST_STALL", "a whole number with s or ms, such as 500ms", set_stall_time),
    // Whether a hosted CLR reports each transition: `transitions` or `locks`.
    (c"HOSTCRST_CLR", "transitions or locks", hosted::set),
];

fn set_deadlock_policy(value: &[u8]) -> bool {
    deadlocks::set_policy(match value {
        b"error" => Policy::Error,
        b"report" => Policy::Report,
        b"abort" => Policy::Abort,
        _ => return false,
    });
    true
}

fn set_bias_policy(value: &[u8]) -> bool {
    match value {
        b"earned" => {}
        b"off" => REGISTRY.bias.set(u32::MAX, 0),
        b"always" => REGISTRY.bias.grant_at_once(),
        _ => return false,
    }
    true
}

fn set_hold_tracking(value: &[u8]) -> bool {
    if value == b"1" && holds::set_tracking(true).is_err() {
        messages::complain(&[b"HOSTCRST_HOLDS: no address space for it"]);
    }
    matches!(value, b"0" | b"1")
}

fn set_order_checks(value: &[u8]) -> bool {
    if value == b"1" && order::switch(true).is_err() {
        messages::complain(&[b"HOSTCRST_ORDER: no memory for it"]);
    }
    matches!(value, b"0" | b"1")
}

fn set_statistics(value: &[u8]) -> bool {
    if value == b"1" && statistics::switch(true).is_err() {
        messages::complain(&[b"HOSTCRST_STATS: no address space for it"]);
    }
    matches!(value, b"0" | b"1")
}

fn set_stall_time(value: &[u8]) -> bool {
    let parsed = parse_duration(value);
    enter::set_stall_time(parsed.unwrap_or(0));
    parsed.is_some()
}

const PREFIX: &[u8] = b"HOSTCRST_";

/// 1 once it has been read.
static READ: AtomicU32 = AtomicU32::new(0);

/// Reads the variables, and says on stderr which HOSTCRST_ variables and values are not known. Once; on return that is
/// done, by whichever thread. Only once the registry is ready.
pub(crate) fn read_once() {
    // Acquire pairs with the Release below: what was read is in force.
    if READ.load(Ordering::Acquire) != 0 {
        return;
    }
    let _reading = locks::READING.lock();
    if READ.load(Ordering::Relaxed) != 0 {
        return;
    }
    messages::remember_stderr();
    complain_of_unknown();
    VARIABLES.iter().for_each(|&(name, known, take)| read(name, known, take));
    READ.store(1, Ordering::Release);
}

fn complain_of_unknown() {
    sys::each_environment_name(|name| {
        if name.starts_with(PREFIX) && !VARIABLES.iter().any(|(known, ..)| known.to_bytes() == name) {
            messages::complain(&[b"unknown environment variable ", name, b" ignored"]);
        }
    });
}

/// Gives `take` the value of a variable, if it is set; complains if `take` does not know the value.
fn read(name: &CStr, known: &str, take: Take) {
    if let Some(value) = sys::environment(name)
        && !take(value.to_bytes())
    {
        let parts: [&[u8]; 5] = [
            name.to_bytes(),
            b": unknown value '",
            value.to_bytes(),
            b"' ignored; known: ",
            known.as_bytes(),
        ];
        messages::complain(&parts);
    }
}

/// A time with its unit, as in `5s` or `250ms`, in nanoseconds.
fn parse_duration(text: &[u8]) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(b"ms") {
        Some(number) => (number, 1_000_000),
        None => (text.strip_suffix(b"s")?, 1_000_000_000),
    };
    core::str::from_utf8(number).ok()?.parse::<u64>().ok()?.checked_mul(unit)
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
