//! The working memory of reports, which is static, as the caller's stack may be small.
//!
//! There are a few desks, and each report uses one alone. If none is free there is no lock to wait on, as a report may
//! be blocked by a reader that never reads: a message is dropped then, and `host_report` fails after a second. One desk
//! is reserved for messages, so that blocked calls of `host_report` do not silence them.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::{OUTPUT_BYTES, Scratch};
use crate::foreign::observer::Room;
use crate::messages::PATH_BYTES;
use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::symbols::Resolver;
use crate::text::TextBuffer;

/// The longest stall line.
const LINE_BYTES: usize = 1024;

/// All zeros while it is new, so it takes no room in the library's file.
pub(super) struct Desk {
    pub(super) resolver: Resolver,
    pub(super) room: Room,
    pub(super) scratch: Scratch,
    pub(super) buffer: TextBuffer<OUTPUT_BYTES>,
    pub(super) path: TextBuffer<PATH_BYTES>,
    pub(super) line: TextBuffer<LINE_BYTES>,
}

struct Place {
    is_taken: AtomicU32,
    desk: UnsafeCell<Desk>,
}

// SAFETY: only the thread that has set is_taken accesses the desk.
unsafe impl Sync for Place {}

const DESKS: usize = 4;
/// The first of the desks that `host_report` may use, too.
const FIRST_FOR_ALL: usize = 1;

static PLACES: [Place; DESKS] = [const {
    Place {
        is_taken: AtomicU32::new(0),
        desk: UnsafeCell::new(Desk {
            resolver: Resolver::new(),
            room: Room::new(),
            scratch: Scratch::new(),
            buffer: TextBuffer::new(),
            path: TextBuffer::new(),
            line: TextBuffer::new(),
        }),
    }
}; DESKS];

/// A desk, until dropped.
pub(super) struct Guard(&'static Place);

/// A desk for a message, if one is free.
pub(super) fn take() -> Option<Guard> {
    take_from(&PLACES)
}

/// A desk for `host_report`. None if none becomes free within a second.
pub(super) fn take_patiently() -> Option<Guard> {
    const NAPS: usize = 1000;
    const NAP: u64 = 1_000_000;
    let for_all = PLACES.get(FIRST_FOR_ALL..).unwrap_or(&[]);
    (0..NAPS).find_map(|nap| {
        if nap != 0 {
            sys::nap(NAP);
        }
        take_from(for_all)
    })
}

fn take_from(places: &'static [Place]) -> Option<Guard> {
    let free = |place: &&Place| {
        // Acquire pairs with the Release in drop: sees what the last user wrote.
        place.is_taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    places.iter().find(free).map(Guard)
}

/// Frees all desks in the child of a fork: their users do not exist there, their open files are the parent's, and so is
/// what they had not written yet.
pub(crate) fn free_after_fork() {
    for place in PLACES.iter().filter(|place| place.is_taken.load(Ordering::Relaxed) != 0) {
        // SAFETY: a thread that takes a desk in the child runs this repair first, or waits until it is done.
        let desk = unsafe { &mut *place.desk.get() };
        desk.resolver.abandon_files();
        desk.room.forget();
        desk.buffer.clear();
        desk.path.clear();
        desk.line.clear();
        place.is_taken.store(0, Ordering::Relaxed);
    }
}

impl Deref for Guard {
    type Target = Desk;
    fn deref(&self) -> &Desk {
        // SAFETY: is_taken is set for this guard.
        unsafe { &*self.0.desk.get() }
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Desk {
        // SAFETY: as above.
        unsafe { &mut *self.0.desk.get() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.resolver.forget();
        self.room.forget();
        self.buffer.clear();
        self.0.is_taken.store(0, Ordering::Release);
    }
}
