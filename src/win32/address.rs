//! Waiting until what stands at an address changes, by Windows' rules. Knows nothing of the C types of `ffi`.

use crate::host::threads;
use crate::lock::condition;
use crate::lock::spin::{Hints, Poll};
use crate::state::registry::REGISTRY;
use crate::state::sleep::SleepKind;
use crate::sys::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::sys::{self, preserving_errno};
use crate::win32::{self, ERROR_INVALID_PARAMETER, ERROR_TIMEOUT, Win32Result};

/// Memory of the program's that other threads change: 1, 2, 4 or 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    address: usize,
    size: usize,
}

impl Watched {
    /// None if that cannot be waited on.
    pub(crate) const fn new(address: usize, size: usize) -> Option<Self> {
        if address != 0 && matches!(size, 1 | 2 | 4 | 8) { Some(Watched { address, size }) } else { None }
    }

    /// What stands there now.
    ///
    /// # Safety
    /// It is readable memory.
    unsafe fn load(self) -> u64 {
        let address = self.address;
        if !address.is_multiple_of(self.size) {
            // No single load reaches it on every processor.
            return (0..self.size).fold(0, |value, at| {
                // SAFETY: the caller says so of each of these bytes.
                let byte = unsafe { &*((address + at) as *const AtomicU8) }.load(Ordering::Relaxed);
                value | u64::from(byte) << (8 * at)
            });
        }
        // SAFETY: the caller says that it is readable, and it is aligned.
        unsafe {
            match self.size {
                1 => u64::from((*(address as *const AtomicU8)).load(Ordering::Relaxed)),
                2 => u64::from((*(address as *const AtomicU16)).load(Ordering::Relaxed)),
                4 => u64::from((*(address as *const AtomicU32)).load(Ordering::Relaxed)),
                _ => (*(address as *const AtomicU64)).load(Ordering::Relaxed),
            }
        }
    }
}

/// Waits until the memory is woken, if it is still as what stands at `undesired`, or until the time limit. May return
/// without a wake.
///
/// # Safety
/// Both are readable memory during the call.
pub(crate) unsafe fn wait(
    watched: Option<Watched>,
    undesired: usize,
    milliseconds: u32,
    site: usize,
) -> Win32Result {
    let undesired = watched.and_then(|watched| Watched::new(undesired, watched.size));
    let (Some(watched), Some(undesired)) = (watched, undesired) else { return Err(ERROR_INVALID_PARAMETER) };
    // SAFETY: the caller says so, here and below.
    let before = unsafe { undesired.load() };
    // SAFETY: as above.
    let has_changed = || unsafe { watched.load() } != before;
    if has_changed() {
        return Ok(());
    }
    if milliseconds == 0 {
        return Err(ERROR_TIMEOUT);
    }
    preserving_errno(|| {
        let Ok(me) = win32::prepare().and_then(|()| threads::current()) else {
            // Without memory for the thread's record the wait is a short one.
            sys::nap(win32::NAP);
            return Ok(());
        };
        if spin(watched, has_changed) {
            return Ok(());
        }
        let deadline = (milliseconds != u32::MAX).then(|| sys::deadline_after(milliseconds));
        let number = condition::join_at(watched.address, me, SleepKind::Address, deadline, site);
        if has_changed() {
            condition::withdraw(&me);
            return Ok(());
        }
        if condition::sleep(me, number, deadline) { Ok(()) } else { Err(ERROR_TIMEOUT) }
    })
}

/// Watches for a while before the caller sleeps: many changes come sooner than a thread can be put to sleep.
fn spin(watched: Watched, has_changed: impl Fn() -> bool) -> bool {
    if !REGISTRY.spinning_helps() {
        return false;
    }
    let hints = Hints::at(watched.address as u64);
    let mut spin_loop = hints.watcher();
    // Who will change it is not known: 0.
    let found = spin_loop.run(|| if has_changed() { Poll::Acquired } else { Poll::Owned(0) });
    hints.learn(&spin_loop, found);
    found
}

/// Wakes one that waits on the address, the first that came.
pub(crate) fn wake_one(address: usize) {
    preserving_errno(|| condition::wake_at(address, SleepKind::Address, 1));
}

/// Wakes all that wait on the address.
pub(crate) fn wake_all(address: usize) {
    preserving_errno(|| condition::wake_at(address, SleepKind::Address, u32::MAX));
}
