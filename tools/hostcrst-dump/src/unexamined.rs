//! What a report has not examined. Its verdict says so, or "no deadlock" would be taken for more than is known.

use foreign_locks::FutexWait;
use serde_json::{Value, json};

use crate::foreign::{Threads, is_musl, is_of_64_bits};
use crate::target::Target;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unexamined {
    /// Of a core: what its threads wait for, other than sections, if its threads are not known here.
    OtherWaits,
    /// Of a core: the memory of what some of its threads wait for.
    LostMemory,
    /// Sections of a library whose registry cannot be read.
    Sections,
    /// The system does not show what threads are blocked in.
    SystemCalls,
    /// The C library is none whose locks are known here.
    Locks,
    /// There are more threads than are listed.
    MoreThreads,
    /// `Monitor`, `lock` and their like of .NET.
    ManagedLocks,
}

/// What the libraries in the target show.
pub struct Seen {
    /// Their sections.
    pub sections: bool,
    /// The waits for locks of managed code.
    pub managed_locks: bool,
}

/// What is not examined of the target; `threads` are those of it, if they are known.
pub fn of(target: &dyn Target, threads: Option<&Threads>, seen: &Seen) -> Vec<Unexamined> {
    let has_file =
        |is_so: fn(&[u8]) -> bool| target.mappings().iter().any(|mapping| is_so(mapping.file_name()));
    let is_foreign = || !is_of_64_bits(target) || has_file(is_musl);
    let list = [
        (Unexamined::OtherWaits, threads.is_none()),
        (
            Unexamined::LostMemory,
            !target.is_live() && threads.is_some_and(|threads| lacks_a_word(target, threads)),
        ),
        (Unexamined::Sections, !seen.sections),
        (Unexamined::SystemCalls, threads.is_some_and(Threads::hide_calls)),
        (Unexamined::Locks, threads.is_some() && is_foreign()),
        (Unexamined::MoreThreads, threads.is_some_and(|threads| threads.more)),
        (Unexamined::ManagedLocks, !seen.managed_locks && has_file(|file| file == b"libcoreclr.so")),
    ];
    list.into_iter().filter_map(|(what, is_so)| is_so.then_some(what)).collect()
}

/// Whether a thread sleeps on a word that cannot be read.
fn lacks_a_word(target: &dyn Target, threads: &Threads) -> bool {
    let waits = threads.list.iter().filter_map(|thread| FutexWait::of(thread.glance.call.as_ref()?));
    waits.into_iter().any(|wait| target.read(wait.word, &mut [0; 4]) != 4)
}

/// A line of the verdict; empty if all was examined.
pub fn sentence(unexamined: &[Unexamined]) -> String {
    let parts: Vec<_> = unexamined.iter().map(|what| what.for_people()).collect();
    if parts.is_empty() { String::new() } else { format!("Not examined: {}.\n", parts.join("; ")) }
}

/// For programs: as docs/report.schema.json says.
pub fn words(unexamined: &[Unexamined]) -> Value {
    unexamined.iter().map(|what| json!(what.word())).collect()
}

impl Unexamined {
    fn for_people(self) -> &'static str {
        match self {
            Unexamined::OtherWaits => {
                "what threads wait for besides sections (mutexes, joins): the core is of another kind of machine"
            }
            Unexamined::LostMemory => "what threads wait for in memory that the core does not have",
            Unexamined::Sections => "the sections of the library, which this tool cannot read",
            Unexamined::SystemCalls => "what threads are blocked in, which the system does not show",
            Unexamined::Locks => "locks of this C library, which this tool does not know",
            Unexamined::MoreThreads => "the threads that are not listed",
            Unexamined::ManagedLocks => "locks of managed code (Monitor, lock)",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Unexamined::OtherWaits => "other_waits",
            Unexamined::LostMemory => "lost_memory",
            Unexamined::Sections => "sections",
            Unexamined::SystemCalls => "system_calls",
            Unexamined::Locks => "locks",
            Unexamined::MoreThreads => "more_threads",
            Unexamined::ManagedLocks => "managed_locks",
        }
    }
}
