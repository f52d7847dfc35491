//! What random programs have of Windows': a section with a condition variable, SRW locks, a lock made of waits on its
//! address, an initialisation that is run once. What each protects says whether it does.

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::oracle::SRW_LOCKS;
use crate::handle::NEVER_ENTERED;
use crate::lock::srw::Mode;
use crate::state::mirror::{self, ConditionVariable, CriticalSection};
use crate::state::sections;
use crate::state::srw::SrwLock;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::win32::address::{self, Watched};
use crate::win32::once::{self, Begun, InitOnce};
use crate::win32::{self, srw};

/// What stands in the program's memory, and what it protects. No task waits for anything else while it has the section or
/// the lock at an address, or runs the initialisation.
pub(super) struct Windows {
    section: &'static CriticalSection,
    variable: &'static ConditionVariable,
    srw_locks: &'static [SrwLock; SRW_LOCKS],
    once: &'static InitOnce,
    lock_at_address: &'static AtomicU32,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// A task is in the section.
    entered: bool,
    changes: u32,
    /// Tasks that sleep without limit, and those that will change nothing any more.
    asleep: usize,
    finished: usize,
    /// A task has the lock at an address.
    locked: bool,
    once: Initialised,
}

/// How far the initialisation is, as far as the tasks have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Initialised {
    #[default]
    No,
    /// A task runs it.
    Runs,
    Done,
}

/// What the initialisation makes.
const MADE: u64 = 64;

// What the lock at an address is. With LOCKED_AND_AWAITED its owner wakes one that waits there.
const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
const LOCKED_AND_AWAITED: u32 = 2;
static AWAITED: AtomicU32 = AtomicU32::new(LOCKED_AND_AWAITED);

/// Where all that stands in the page of zeros.
#[repr(C)]
struct Layout {
    section: CriticalSection,
    variable: ConditionVariable,
    srw_locks: [SrwLock; SRW_LOCKS],
    once: InitOnce,
    lock_at_address: AtomicU32,
}

/// Zeroed memory, never written, as all that a model shows to the library. Always at the same address: how many steps
/// the library takes to find what stands there depends on it, and the order that a seed stands for on that.
fn zeroed_memory() -> usize {
    const ADDRESS: usize = 0x10_0000_0000;
    static MAPPED: OnceLock<usize> = OnceLock::new();
    *MAPPED.get_or_init(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: nothing stands at that address, or this fails.
        let page = unsafe { libc::mmap(ADDRESS as *mut c_void, 4096, libc::PROT_READ, flags, -1, 0) };
        assert_eq!(page as usize, ADDRESS, "a page at the same address each time");
        ADDRESS
    })
}

impl Windows {
    pub(super) fn new() -> Self {
        // SAFETY: it fits into the page, which is aligned for all of it and stays; zeroed memory is each of its fields.
        let Layout { section, variable, srw_locks, once, lock_at_address } =
            unsafe { &*(zeroed_memory() as *const Layout) };
        Windows { section, variable, srw_locks, once, lock_at_address, shared: Mutex::default() }
    }

    /// Not to be held where another thread may run.
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("the first panic ends the execution")
    }

    fn note_entry(&self) {
        assert!(!core::mem::replace(&mut self.shared().entered, true), "two owners");
    }

    fn enter(&self) {
        match win32::enter_fast(self.section) {
            win32::FastEnter::Done => {}
            win32::FastEnter::Unpublished(how_far) => _ = win32::publish_entry(self.section, how_far),
            win32::FastEnter::No => assert!(win32::enter_slowly(self.section, true, 0)),
        }
        self.note_entry();
    }

    fn leave(&self) {
        self.shared().entered = false;
        assert!(win32::leave(self.section), "left");
    }

    pub(super) fn change_and_wake_one(&self) {
        self.change(|_| {});
        win32::wake_one(self.variable);
    }

    /// A task will change nothing any more.
    pub(super) fn finish(&self) {
        self.change(|shared| shared.finished += 1);
        win32::wake_all(self.variable);
    }

    fn change(&self, other: impl Fn(&mut Shared)) {
        self.enter();
        self.shared().changes += 1;
        other(&mut self.shared());
        self.leave();
    }

    /// Whether it has slept.
    pub(super) fn sleep(&self, milliseconds: u32, tasks: usize) -> bool {
        self.enter();
        let for_ever = usize::from(milliseconds == u32::MAX);
        let (before, others_change) = {
            let shared = self.shared();
            (shared.changes, shared.asleep + shared.finished + 1 < tasks)
        };
        let sleeps = for_ever == 0 || others_change;
        if sleeps {
            self.shared().asleep += for_ever;
            let mut in_time = true;
            while in_time && self.shared().changes == before {
                self.shared().entered = false;
                in_time = win32::sleep(self.variable, self.section, milliseconds, 0).is_ok();
                self.note_entry();
                assert!(in_time || for_ever == 0, "a sleep without limit");
            }
            self.shared().asleep -= for_ever;
        }
        self.leave();
        sleeps
    }

    // ---- SRW locks ----------------------------------------------------------------------------------------

    pub(super) fn acquire(&self, lock: usize, mode: Mode) {
        let lock = &self.srw_locks[lock];
        if !srw::acquire_fast(lock, mode) {
            srw::acquire(lock, mode, 0);
        }
    }

    /// Exclusively.
    pub(super) fn try_acquire(&self, lock: usize) -> bool {
        let lock = &self.srw_locks[lock];
        srw::acquire_fast(lock, Mode::Exclusive) || srw::try_acquire(lock, Mode::Exclusive)
    }

    pub(super) fn release(&self, lock: usize, mode: Mode) {
        let lock = &self.srw_locks[lock];
        if !srw::release_fast(lock, mode) {
            srw::release(lock, mode, 0);
        }
    }

    // ---- waits on an address ------------------------------------------------------------------------------

    /// Locks, is alone, and unlocks. Whether it had to wait on the address.
    pub(super) fn visit_lock_at_address(&self) -> bool {
        let is_free = |word: &AtomicU32| {
            word.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let word = self.lock_at_address;
        let mut has_waited = false;
        if !is_free(word) {
            while word.swap(LOCKED_AND_AWAITED, Ordering::Acquire) != UNLOCKED {
                has_waited = true;
                // Some come to look by themselves after a while.
                self.wait_until_unlocked(if super::one_in(4) { 1 } else { u32::MAX });
            }
        }
        assert!(!core::mem::replace(&mut self.shared().locked, true), "two owners of a lock at an address");
        shuttle::thread::yield_now();
        self.shared().locked = false;
        if word.swap(UNLOCKED, Ordering::Release) == LOCKED_AND_AWAITED {
            address::wake_one(core::ptr::from_ref(word) as usize);
        }
        has_waited
    }

    fn wait_until_unlocked(&self, milliseconds: u32) {
        let word = Watched::new(core::ptr::from_ref(self.lock_at_address) as usize, size_of::<AtomicU32>());
        // SAFETY: both stay.
        let answer = unsafe { address::wait(word, core::ptr::from_ref(&AWAITED) as usize, milliseconds, 0) };
        assert!(answer.is_ok() || milliseconds != u32::MAX, "a wait without limit");
    }

    // ---- an initialisation --------------------------------------------------------------------------------

    /// Runs the initialisation, which fails or does not, or waits for the task that does. Whether the caller has made it;
    /// None if it has not run it.
    pub(super) fn initialise_once(&self, fails: bool) -> Option<bool> {
        let begun =
            once::done(self.once).map_or_else(|| once::begin(self.once, 0, 0), |made| Ok(Begun::Done(made)));
        match begun.expect("no flags") {
            Begun::Done(made) => {
                assert_eq!((made, self.shared().once), (MADE, Initialised::Done), "what is done");
                None
            }
            Begun::Pending => {
                let before = core::mem::replace(&mut self.shared().once, Initialised::Runs);
                assert_eq!(before, Initialised::No, "two run it, or it is done");
                shuttle::thread::yield_now();
                self.shared().once = if fails { Initialised::No } else { Initialised::Done };
                let (flags, made) = if fails { (once::INIT_FAILED, 0) } else { (0, MADE) };
                once::complete(self.once, flags, made).expect("the caller runs it");
                Some(!fails)
            }
        }
    }

    // ---- in the end ---------------------------------------------------------------------------------------

    /// In the end nobody has any of it, and it shows that.
    pub(super) fn assert_free(&self) {
        for lock in self.srw_locks {
            assert_eq!(lock.place().load(), 0, "an SRW lock in the end");
        }
        assert_eq!(self.lock_at_address.load(Ordering::Relaxed), UNLOCKED, "a lock at an address in the end");
        let handle = self.section.lock_semaphore.load(Ordering::Relaxed) & !NEVER_ENTERED;
        if handle == 0 {
            return;
        }
        let section = sections::find_win32(handle).expect("it lives");
        assert!(section.is_free(handle) && !section.has_waiters(), "in the end");
        let shown = (&self.section.lock_count, &self.section.recursion_count);
        let shown = (shown.0.load(Ordering::Relaxed), shown.1.load(Ordering::Relaxed));
        assert_eq!(shown, (mirror::FREE, 0), "shown in the end");
        assert_eq!(self.section.owning_thread.load(Ordering::Relaxed), 0, "shown in the end");
        assert_eq!(self.variable.may_sleep.load(Ordering::Relaxed), 0, "nobody sleeps");
    }
}
