//! What programs did with CRITICAL_SECTIONs and SRWLOCKs that Windows leaves undefined, and how often. Recognising it is `win32`'s.

use crate::base::memory::{Shown, readable_in_copies};
use crate::sys::atomic::{AtomicU32, Ordering};

/// What a program did that Windows leaves undefined; counted, and shown in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Misuse {
    LeaveByOther = 0,
    DeleteInUse = 1,
    UseAfterDelete = 2,
    InitializeInUse = 3,
    SleepNotEnteredOnce = 4,
    TooManyEntries = 5,
    OwnerEnded = 6,
    EnterAfterOwnerEnded = 7,
    Copied = 8,
    SrwAcquiredAgain = 9,
    SrwNotHeld = 10,
    SrwOwnerEnded = 11,
    OnceWithinItself = 12,
}

/// How each is called by programs and by people, and what is said of it at the first time.
pub(crate) const MISUSES: [(Misuse, &str, &str, &str); 13] = [
    (
        Misuse::LeaveByOther,
        "leave_by_other",
        "leaves by a thread that was not the owner",
        "left by a thread that does not own it: that changes nothing",
    ),
    (
        Misuse::DeleteInUse,
        "delete_in_use",
        "deletions refused, as another thread owned the section or waited for it",
        "not deleted, as another thread owns it or waits for it: it goes on working",
    ),
    (
        Misuse::UseAfterDelete,
        "use_after_delete",
        "uses after deletion",
        "used after it was deleted: it works as zeroed memory does",
    ),
    (
        Misuse::InitializeInUse,
        "initialize_in_use",
        "initialisations of a section in use",
        "was initialised anew while this thread owned it, which has left the old one now",
    ),
    (
        Misuse::SleepNotEnteredOnce,
        "sleep_not_entered_once",
        "sleeps on a condition variable without having entered exactly once",
        "not entered exactly once by a thread that was to sleep on a condition variable: it does not sleep",
    ),
    (
        Misuse::TooManyEntries,
        "too_many_entries",
        "entries that could not be counted",
        "entered more often than can be counted",
    ),
    (
        Misuse::OwnerEnded,
        "owner_ended",
        "threads that ended without having left a section",
        "not left by its owner, which has ended: it stays locked for ever",
    ),
    (
        Misuse::EnterAfterOwnerEnded,
        "enter_after_owner_ended",
        "waits for a section whose owner had ended",
        "to be entered, but its owner has ended: this thread waits for ever",
    ),
    (
        Misuse::Copied,
        "copied",
        "waits for the copy of a section that is entered by another copy",
        "a copy of another one, byte by byte: entering either enters both",
    ),
    (
        Misuse::SrwAcquiredAgain,
        "srw_acquired_again",
        "acquisitions of an SRW lock by the thread that owns it",
        "acquired by the thread that owns it: this thread waits for ever",
    ),
    (
        Misuse::SrwNotHeld,
        "srw_not_held",
        "releases of an SRW lock that was not held so",
        "released, or left for a sleep, by a thread that does not hold it so: that changes nothing",
    ),
    (
        Misuse::SrwOwnerEnded,
        "srw_owner_ended",
        "waits for an SRW lock whose owner had ended",
        "to be acquired, but its owner has ended: this thread waits for ever",
    ),
    (
        Misuse::OnceWithinItself,
        "once_within_itself",
        "waits for a one-time initialisation by the thread that runs it",
        "waited for by the thread that runs it: this thread waits for ever",
    ),
];

impl Misuse {
    /// What it is done with.
    pub(crate) const fn object(self) -> &'static str {
        match self {
            Misuse::SrwAcquiredAgain | Misuse::SrwNotHeld | Misuse::SrwOwnerEnded => "SRWLOCK",
            Misuse::OnceWithinItself => "INIT_ONCE",
            _ => "CRITICAL_SECTION",
        }
    }
}

/// How often each was done.
#[repr(C)]
pub(crate) struct Counts(pub(crate) [AtomicU32; MISUSES.len()]);

impl Counts {
    pub(crate) const fn new() -> Self {
        Counts([const { AtomicU32::new(0) }; MISUSES.len()])
    }
}

readable_in_copies!(Counts);

impl Shown<Counts> {
    /// How often each was done, with its names for programs and for people.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &'static str, &'static str)> {
        let count = |misuse: Misuse| self.fields().0[misuse as usize].load(Ordering::Relaxed);
        MISUSES.iter().map(move |(misuse, name, text, _)| (count(*misuse), *name, *text))
    }
}
