//! Detects that this process is the child of a fork whose memory was not repaired yet. Does not know what the repair
//! does.
//!
//! A fork leaves the child with one thread and with memory as all threads of the parent happened to use it. The child
//! repairs that once, before it uses anything else of the library: in the fork handler, or, if the program has handlers
//! of its own that run earlier, in the first call that checks here. Every call that takes a lock or a handle checks.
//! The check reads a page that the system clears in a child; on systems that do not do that (before Linux 4.14), only
//! the handler repairs.
//!
//! A child of _Fork, which calls no handlers, may have started threads before one of them checks. The first one
//! repairs, the others wait for it.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::linux::{allocate_pages, nap, preserving_errno, process_id, thread_id};

/// The id of the process that was repaired last, or REPAIRING: in a page of its own, which is cleared in the child of a
/// fork.
static ORDERLY: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// How often this process, or one that it is a child of, was repaired.
static REPAIRS: AtomicU32 = AtomicU32::new(0);
/// The function that repairs a child: a `fn()`.
static REPAIR: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Beside the id of the thread that repairs. No id is as large.
const REPAIRING: u32 = 1 << 31;
/// How long others sleep before they check whether the repair is done, in nanoseconds.
const REPAIR_NAP: u64 = 100_000;

const PAGE_BYTES: usize = 4096;

/// Makes `repair`, always the same function, run in every child of a fork from here on. False without memory for that.
pub(crate) fn on_fork(repair: fn()) -> bool {
    if !ORDERLY.load(Ordering::Relaxed).is_null() {
        return true;
    }
    let Some(page) = allocate_pages(PAGE_BYTES) else { return false };
    // SAFETY: the page is this function's; the advice changes nothing in this process.
    unsafe { libc::madvise(page.cast(), PAGE_BYTES, libc::MADV_WIPEONFORK) };
    let orderly = page.cast::<AtomicU32>();
    // SAFETY: zeroed pages are valid atomics, and this one is never unmapped once it is published.
    unsafe { &*orderly }.store(this_process(), Ordering::Relaxed);
    REPAIR.store(repair as *mut c_void, Ordering::Relaxed);
    // Release pairs with the Acquire in settle_fork: who sees the page sees its content, and the function.
    if ORDERLY.compare_exchange(ptr::null_mut(), orderly, Ordering::Release, Ordering::Relaxed).is_err() {
        // Another thread was first.
        // SAFETY: nobody else has seen this page.
        unsafe { libc::munmap(page.cast(), PAGE_BYTES) };
        return true;
    }
    // SAFETY: the function is this library's, never unloaded.
    let installed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) == 0 };
    if !installed {
        ORDERLY.store(ptr::null_mut(), Ordering::Relaxed);
    }
    installed
}

/// In the child of a fork, repairs it first.
#[inline]
pub(crate) fn settle_fork() {
    settle_unless(is_process);
}

/// A number that is another one after a repair: who finds that it has changed was interrupted by a handler that forked,
/// and goes on in the child.
#[inline]
pub(crate) fn repairs() -> u32 {
    REPAIRS.load(Ordering::Relaxed)
}

extern "C" fn in_child() {
    settle_unless(|found| found == this_process());
}

/// Repairs this process unless the page has its id.
#[inline]
fn settle_unless(is_orderly: impl FnOnce(u32) -> bool) {
    // SAFETY: null, or a page of on_fork's.
    if let Some(orderly) = unsafe { ORDERLY.load(Ordering::Acquire).as_ref() } {
        // Acquire pairs with the Release in repair: sees what the repair wrote.
        let found = orderly.load(Ordering::Acquire);
        if !is_orderly(found) {
            repair(orderly, found);
        }
    }
}

/// The id of this process as the page has it; not 0 even if the system hides the id.
fn this_process() -> u32 {
    (process_id() & !REPAIRING).max(1)
}

#[inline]
const fn is_process(orderly: u32) -> bool {
    orderly != 0 && orderly & REPAIRING == 0
}

/// Repairs this process, or waits until another thread has; returns at once in the thread that is repairing. `found` is
/// the content of the page.
#[cold]
fn repair(orderly: &AtomicU32, found: u32) {
    preserving_errno(|| {
        let me = REPAIRING | thread_id() & !REPAIRING;
        if found == me {
            return;
        }
        let is_mine = found & REPAIRING == 0
            && orderly.compare_exchange(found, me, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_mine {
            REPAIRS.fetch_add(1, Ordering::Relaxed);
            let repair = REPAIR.load(Ordering::Relaxed);
            // SAFETY: on_fork stored a `fn()` before it published the page.
            unsafe { core::mem::transmute::<*mut c_void, fn()>(repair)() }
            orderly.store(this_process(), Ordering::Release);
            return;
        }
        // As in settle_unless.
        while !is_process(orderly.load(Ordering::Acquire)) {
            nap(REPAIR_NAP);
        }
    });
}
