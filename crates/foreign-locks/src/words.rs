//! What is said of threads and locks, the same words in every report.

use core::fmt::{self, Write};

use crate::State;
use crate::glibc::{Behaviour, MutexKind, Thing};
use crate::managed::ManagedKind;

impl Thing {
    /// Writes what a thread that waits for it waits for, to follow "waits": `for recursive mutex 0x…`. `write_variable`
    /// writes an address, and the variable at it.
    pub fn write_awaited(
        &self,
        out: &mut dyn Write,
        write_variable: &mut dyn FnMut(&mut dyn Write, u64) -> fmt::Result,
    ) -> fmt::Result {
        match self {
            Thing::Mutex { kind, .. } => write!(out, "for {kind} ")?,
            Thing::RwLock { to_write: true, .. } => out.write_str("to write-lock rwlock ")?,
            Thing::RwLock { to_write: false, .. } => out.write_str("to read-lock rwlock ")?,
            Thing::Thread(_) => out.write_str("for the end of a thread (join)")?,
            Thing::Condition(_) => out.write_str("on condition variable ")?,
            Thing::Semaphore(_) => out.write_str("for semaphore ")?,
            Thing::Futex(_) => out.write_str("on a futex at ")?,
            Thing::Managed { kind: ManagedKind::Monitor, .. } => out.write_str("for C# lock ")?,
            // Its id is no address, so no variable stands there.
            Thing::Managed { id, kind: ManagedKind::Lock, .. } => {
                return write!(out, "for System.Threading.Lock number {id}");
            }
        }
        self.address().map_or(Ok(()), |address| write_variable(out, address))
    }

    /// What leads to the name of its owner, if it is more than that thread itself.
    pub fn held_by(&self) -> &'static str {
        match self {
            Thing::Thread(_) => "",
            Thing::RwLock { .. } => "held for writing by ",
            _ => "owned by ",
        }
    }

    /// What it is called in JSON.
    pub fn key(&self) -> &'static str {
        match self {
            Thing::Mutex { .. } => "mutex",
            Thing::RwLock { .. } => "rwlock",
            Thing::Thread(_) => "join",
            Thing::Condition(_) => "condition_variable",
            Thing::Semaphore(_) => "semaphore",
            Thing::Futex(_) => "futex",
            Thing::Managed { .. } => "managed_lock",
        }
    }
}

impl fmt::Display for MutexKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word = |is_so: bool, word| if is_so { out.write_str(word) } else { Ok(()) };
        word(self.is_robust, "robust ")?;
        word(self.inherits_priority, "priority-inheriting ")?;
        word(self.protects_priority, "priority-protecting ")?;
        // glibc marks every robust one as shared.
        word(self.is_shared && !self.is_robust, "process-shared ")?;
        word(self.behaviour == Some(Behaviour::Recursive), "recursive ")?;
        word(self.behaviour == Some(Behaviour::ErrorChecking), "error-checking ")?;
        word(self.behaviour == Some(Behaviour::Adaptive), "adaptive ")?;
        out.write_str("mutex")
    }
}

impl Behaviour {
    /// What it is called in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Behaviour::Plain => "plain",
            Behaviour::Recursive => "recursive",
            Behaviour::ErrorChecking => "error_checking",
            Behaviour::Adaptive => "adaptive",
        }
    }
}

impl ManagedKind {
    /// What it is called in JSON.
    pub fn key(self) -> &'static str {
        match self {
            ManagedKind::Monitor => "monitor",
            ManagedKind::Lock => "lock",
        }
    }
}

impl State {
    /// In one word or two; `is_in_call` if the system call is known that the thread is in.
    pub fn word(self, is_in_call: bool) -> &'static str {
        match self {
            State::Running => "running or ready to run",
            State::Asleep | State::AsleepUninterruptibly if is_in_call => "blocked",
            State::Asleep => "asleep",
            State::AsleepUninterruptibly => "asleep, uninterruptibly",
            State::Stopped => "stopped",
            State::Traced => "stopped by a debugger",
            State::Ended => "ended",
            State::Unknown => "unknown",
        }
    }

    /// What it is called in JSON.
    pub fn key(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Asleep | State::AsleepUninterruptibly => "blocked",
            State::Stopped => "stopped",
            State::Traced => "traced",
            State::Ended => "ended",
            State::Unknown => "unknown",
        }
    }
}

/// What is to be said of a deadlock with a wait for a lock of managed code in it.
pub const MAY_END: &str = "It may end by itself yet: a wait for a C# lock ends if another thread interrupts the one that waits (Thread.Interrupt).";

/// What is to be said of the deadlocks of a process.
pub struct Verdict {
    /// The library's sections, if it is there.
    pub sections: Option<usize>,
    /// Deadlocks among these, which are told by who found them.
    pub of_sections: usize,
    /// Deadlocks through what is not the library's.
    pub certain: usize,
    /// Those that are only likely.
    pub probable: usize,
    /// Other locks that are waited for.
    pub locks: usize,
    /// Threads that are blocked in what no thread is known to own.
    pub blocked_without_owner: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let through = if self.sections.is_some() { " through locks of other kinds" } else { "" };
        if self.certain != 0 {
            writeln!(out, "Found {}{through}.", Counted(self.certain, "deadlock"))?;
        }
        if self.probable != 0 {
            writeln!(out, "Probably {}{through}.", Counted(self.probable, "deadlock"))?;
        }
        if self.certain != 0 || self.of_sections != 0 {
            return Ok(());
        }
        out.write_str(if self.probable == 0 { "No deadlock" } else { "No deadlock that is certain" })?;
        out.write_str(" among ")?;
        if let Some(sections) = self.sections {
            write!(out, "{} and ", Counted(sections, "section"))?;
        }
        let other = if self.sections.is_some() { "other lock" } else { "lock" };
        writeln!(
            out,
            "{} seen; {} blocked in what has no owner.",
            Counted(self.locks, other),
            Counted(self.blocked_without_owner, "thread")
        )
    }
}

/// So many of something.
pub struct Counted<'a>(pub usize, pub &'a str);

impl fmt::Display for Counted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}
/// How long, exactly, in the largest unit of which there is one. As core writes it, with a tenth of the code.
pub(crate) struct Time {
    pub(crate) seconds: u64,
    /// Less than a second.
    pub(crate) nanoseconds: u64,
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Time { seconds, nanoseconds } = *self;
        let (whole, mut rest, mut digits, unit) = match nanoseconds {
            _ if seconds != 0 => (seconds, nanoseconds, 9, "s"),
            0..1_000 => (nanoseconds, 0, 0, "ns"),
            1_000..1_000_000 => (nanoseconds / 1_000, nanoseconds % 1_000, 3, "µs"),
            _ => (nanoseconds / 1_000_000, nanoseconds % 1_000_000, 6, "ms"),
        };
        write!(out, "{whole}")?;
        if rest != 0 {
            while rest % 10 == 0 {
                (rest, digits) = (rest / 10, digits - 1);
            }
            write!(out, ".{rest:0digits$}")?;
        }
        out.write_str(unit)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::time::Duration;

    use super::Time;

    #[test]
    fn a_time_is_exact_and_as_core_writes_it() {
        for (seconds, nanoseconds) in [
            (0, 0),
            (0, 999),
            (0, 1_000),
            (0, 1_001),
            (0, 999_990),
            (0, 1_000_000),
            (0, 20_071_000),
            (0, 999_999_999),
            (1, 0),
            (1, 1),
            (59, 500_000_000),
            (u64::MAX, 123_456_780),
        ] {
            let written = Time { seconds, nanoseconds }.to_string();
            assert_eq!(written, std::format!("{:?}", Duration::new(seconds, nanoseconds as u32)));
        }
    }
}
