//! What programs did with CRITICAL_SECTIONs and SRWLOCKs that Windows leaves undefined, how often, and
//! from where. Recognising it is `win32`'s.

use crate::base::memory::{Shown, readable_in_copies};
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

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

/// How each is called by programs and by people, and what is said of it when it is first done.
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

/// What was done, how often, and from where.
#[repr(C)]
pub(crate) struct Misuses {
    counts: [AtomicU32; MISUSES.len()],
    /// The first call sites of all kinds; those in use come first.
    sites: [MisuseSite; MOST_SITES],
}

/// How many call sites are told and listed.
const MOST_SITES: usize = 64;

/// A call site of one kind of misuse.
#[repr(C)]
struct MisuseSite {
    /// Kind and call site, see `key_of`; 0 if unused. Never changes again once it is set.
    key: AtomicU64,
    count: AtomicU32,
    /// The id of the thread that did it first.
    thread: AtomicU32,
    /// What it did that with. Still 0 for a moment after the key is set.
    address: AtomicU64,
}

/// A misuse from one call site, as a report shows it.
pub(crate) struct MisuseAtSite {
    pub(crate) site: u64,
    pub(crate) count: u32,
    pub(crate) first_thread: u32,
    pub(crate) first_address: u64,
}

/// No code has an address with these bits.
const KIND_SHIFT: u32 = 58;

const fn key_of(misuse: Misuse, site: u64) -> u64 {
    site & ((1 << KIND_SHIFT) - 1) | (misuse as u64 + 1) << KIND_SHIFT
}

impl MisuseSite {
    const fn new() -> Self {
        MisuseSite {
            key: AtomicU64::new(0),
            count: AtomicU32::new(0),
            thread: AtomicU32::new(0),
            address: AtomicU64::new(0),
        }
    }

    /// Whether this is that site, which it becomes if it is unused.
    fn is_of(&self, key: u64) -> bool {
        match self.key.load(Ordering::Relaxed) {
            0 => match self.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => true,
                Err(other) => other == key,
            },
            taken => taken == key,
        }
    }
}

impl Misuses {
    pub(crate) const fn new() -> Self {
        Misuses {
            counts: [const { AtomicU32::new(0) }; MISUSES.len()],
            sites: [const { MisuseSite::new() }; MOST_SITES],
        }
    }

    /// Counts what a thread did with what stands at `address`. True the first time from this site; if too many sites are
    /// known already, the first time at all.
    pub(crate) fn count(&self, misuse: Misuse, address: u64, thread: u32, site: u64) -> bool {
        let is_first_of_kind = self.counts[misuse as usize].fetch_add(1, Ordering::Relaxed) == 0;
        let key = key_of(misuse, site);
        let Some(known) = self.sites.iter().find(|known| known.is_of(key)) else { return is_first_of_kind };
        let is_first = known.count.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first {
            known.thread.store(thread, Ordering::Relaxed);
            // Release pairs with the Acquire in at_sites, which shows the thread with it.
            known.address.store(address, Ordering::Release);
        }
        is_first
    }
}

readable_in_copies!(Misuses);

impl Shown<Misuses> {
    /// How often each was done, with its names for programs and for people.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Misuse, u32, &'static str, &'static str)> {
        let count = |misuse: Misuse| self.fields().counts[misuse as usize].load(Ordering::Relaxed);
        MISUSES.iter().map(move |(misuse, name, text, _)| (*misuse, count(*misuse), *name, *text))
    }

    /// The call sites of one kind that are known.
    pub(crate) fn at_sites(&self, misuse: Misuse) -> impl Iterator<Item = MisuseAtSite> {
        self.fields().sites.iter().filter_map(move |known| {
            let key = known.key.load(Ordering::Relaxed);
            let first_address = known.address.load(Ordering::Acquire);
            let is_meant = first_address != 0 && key >> KIND_SHIFT == misuse as u64 + 1;
            is_meant.then(|| MisuseAtSite {
                site: key & ((1 << KIND_SHIFT) - 1),
                count: known.count.load(Ordering::Relaxed),
                first_thread: known.thread.load(Ordering::Relaxed),
                first_address,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn sites(misuses: &Misuses, misuse: Misuse) -> Vec<(u64, u32, u32, u64)> {
        let shown = |at: MisuseAtSite| (at.site, at.count, at.first_thread, at.first_address);
        misuses.at_sites(misuse).map(shown).collect()
    }

    #[test]
    fn each_site_of_each_kind_is_told_once() {
        let misuses = Misuses::new();
        assert!(misuses.count(Misuse::LeaveByOther, 0x10, 1, 0x100));
        assert!(!misuses.count(Misuse::LeaveByOther, 0x20, 2, 0x100));
        assert!(misuses.count(Misuse::LeaveByOther, 0x20, 2, 0x200));
        assert!(misuses.count(Misuse::DeleteInUse, 0x30, 3, 0x100));
        assert_eq!(sites(&misuses, Misuse::LeaveByOther), [(0x100, 2, 1, 0x10), (0x200, 1, 2, 0x20)]);
        assert_eq!(sites(&misuses, Misuse::DeleteInUse), [(0x100, 1, 3, 0x30)]);
        assert_eq!(sites(&misuses, Misuse::Copied), []);
    }

    #[test]
    fn where_no_more_sites_fit_the_first_of_a_kind_is_told() {
        let misuses = Misuses::new();
        for site in 1..=MOST_SITES as u64 {
            assert!(misuses.count(Misuse::SrwNotHeld, 0x10, 1, site));
        }
        assert!(!misuses.count(Misuse::SrwNotHeld, 0x10, 1, 0x1000));
        assert!(misuses.count(Misuse::OnceWithinItself, 0x10, 1, 0x1000));
        assert!(!misuses.count(Misuse::OnceWithinItself, 0x10, 1, 0x1000));
        assert_eq!(sites(&misuses, Misuse::SrwNotHeld).len(), MOST_SITES);
        let all = misuses.all().find(|(misuse, ..)| *misuse == Misuse::SrwNotHeld);
        assert_eq!(all.map(|(_, count, ..)| count), Some(MOST_SITES as u32 + 1));
    }
}
