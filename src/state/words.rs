//! What reports call a state, once: for people (the text, gdb) and, where that differs, for programs (JSON). Knows the
//! states; how a report is laid out is above.

use crate::handle;
use crate::state::layers::{LayerKind, Mode};
use crate::state::sleep::SleepKind;
use crate::state::task::Anomaly;
use crate::state::{runtime, section};

/// What a task can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A critical section, of the host's or Windows'.
    Section,
    /// A lock that the program tells of.
    Resource,
    /// Windows' SRWLOCK.
    SrwLock,
}

impl LockKind {
    /// By the handle of what a task waits for, or what stands for one.
    pub(crate) const fn of(awaited: u64) -> Self {
        if handle::is_resource(awaited) {
            LockKind::Resource
        } else if handle::is_srw_lock(awaited) {
            LockKind::SrwLock
        } else {
            LockKind::Section
        }
    }

    /// How a task waits for it, for people.
    pub const fn waiting(self) -> &'static str {
        match self {
            LockKind::Section => "waiting to enter",
            LockKind::Resource => "waiting for",
            LockKind::SrwLock => "waiting to acquire",
        }
    }
}

macro_rules! words {
    (@last $word:literal) => { $word };
    (@last $word:literal, $key:literal) => { $key };
    ($($state:ty { $($variant:ident = $word:literal $(, $key:literal)?;)* })*) => {
        $(
            impl $state {
                /// Those that have a word.
                #[allow(dead_code, reason = "the tests go through all states, reports through the anomalies")]
                pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

                /// For people.
                pub const fn word(self) -> &'static str {
                    match self {
                        $(Self::$variant => $word,)*
                    }
                }

                /// For programs.
                pub const fn key(self) -> &'static str {
                    match self {
                        $(Self::$variant => words!(@last $word $(, $key)?),)*
                    }
                }
            }
        )*
    };
}

words! {
    runtime::State {
        NotLoaded = "not loaded";
        Running = "running";
        Stopped = "stopped";
        Failed = "failed";
    }
    Mode {
        Unknown = "no transitions yet", "unknown";
        Managed = "managed";
        Unmanaged = "unmanaged";
    }
    LayerKind {
        Leave = "native", "leave";
        ReverseEnter = "managed", "reverse_enter";
    }
    section::State {
        Free = "free";
        Owned = "owned";
        Abandoned = "abandoned";
    }
    LockKind {
        Section = "section";
        Resource = "resource";
        SrwLock = "SRWLOCK", "srw_lock";
    }
    SleepKind {
        ConditionVariable = "asleep", "windows_condition_variable";
        Address = "on an address", "windows_address";
        InitOnce = "until it is initialised", "windows_init_once";
    }
    Anomaly {
        UnmatchedPop = "returns without a call", "unmatched_return";
        RepeatedPush = "calls told twice", "repeated_call";
        UnknownFunction = "unknown functions", "unknown_function";
        MissedPop = "calls whose return was missed", "missed_return";
    }
}

/// For `layout`: the words of the numbers that stand in memory. A layer has there the mode above it.
pub(crate) const LAYOUT: [(&str, &str, u64); 9] = [
    ("runtime:", runtime::State::NotLoaded.word(), runtime::State::NotLoaded as u64),
    ("runtime:", runtime::State::Running.word(), runtime::State::Running as u64),
    ("runtime:", runtime::State::Stopped.word(), runtime::State::Stopped as u64),
    ("runtime:", runtime::State::Failed.word(), runtime::State::Failed as u64),
    ("mode:", Mode::Unknown.word(), Mode::Unknown as u64),
    ("mode:", Mode::Managed.word(), Mode::Managed as u64),
    ("mode:", Mode::Unmanaged.word(), Mode::Unmanaged as u64),
    ("layer:", LayerKind::Leave.word(), LayerKind::Leave.above() as u64),
    ("layer:", LayerKind::ReverseEnter.word(), LayerKind::ReverseEnter.above() as u64),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::task::ANOMALIES;
    use std::format;
    use std::string::String;

    const SCHEMA: &str = include_str!("../../docs/report.schema.json");

    fn schema_lists(keys: impl Iterator<Item = &'static str>) {
        let keys: std::vec::Vec<String> = keys.map(|key| format!("\"{key}\"")).collect();
        let list = format!("\"enum\": [{}]", keys.join(", "));
        assert!(SCHEMA.contains(&list), "not in the schema: {list}");
    }

    #[test]
    fn the_words_of_json_are_those_of_its_schema() {
        schema_lists(runtime::State::ALL.iter().map(|state| state.key()));
        schema_lists(Mode::ALL.iter().map(|mode| mode.key()));
        schema_lists(LayerKind::ALL.iter().map(|kind| kind.key()));
        schema_lists(section::State::ALL.iter().map(|state| state.key()));
        for anomaly in Anomaly::ALL {
            assert!(SCHEMA.contains(&format!("\"{}\": {{", anomaly.key())), "{anomaly:?}");
        }
    }

    #[test]
    fn an_anomaly_stands_where_its_count_does() {
        assert_eq!(Anomaly::ALL.len(), ANOMALIES);
        assert!(Anomaly::ALL.iter().enumerate().all(|(place, &anomaly)| anomaly as usize == place));
    }
}
