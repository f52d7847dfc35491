//! What the CLR's events of waits mean: a wait for a lock of managed code begins, and is over; another wait begins.
//!
//! The CLR writes them on the waiting thread itself, before it sleeps and after it has woken, with the lock's id and the
//! thread that owns it. It writes no end of a wait that an exception ends (Thread.Interrupt); that is known by the
//! exception. The owner changes without an event, so it is read from the lock when it is asked for, where that can be
//! done: the id of a monitor is its address, that of a System.Threading.Lock is none.
//!
//! **No blind read.** Where in a monitor the owner stands is no promise of the CLR's. The id is taken for the address of a
//! monitor if the owner that the event names stands there, in memory that the system says is mapped. An event may name an
//! owner that has let go since, or none; then it is enough that others were seen to be right in this process, and that
//! what stands there is a live thread or none.

use foreign_locks::{ManagedKind, ManagedWait, Monitor};

use super::threads;
use crate::foreign::observer::{OwnMemory, lives};
use crate::host::watch;
use crate::state::managed_wait::ManagedWaitCopy;
use crate::state::registry::REGISTRY;
use crate::state::task;
use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// ContentionStart and ContentionStop of Microsoft-Windows-DotNETRuntime.
const START: u32 = 81;
const STOP: u32 = 91;
/// WaitHandleWaitStart, of .NET 9 and later: any other wait of managed code.
const OTHER_START: u32 = 301;

/// In the first byte of either event: of a lock of managed code.
const MANAGED: u8 = 0;

/// 1 once an owner stood where it was expected.
static HAS_BEEN_RIGHT: AtomicU32 = AtomicU32::new(0);

/// An event was written by the calling thread.
pub(crate) fn delivered(event: u32, data: &[u8]) {
    match event {
        START if data.first() == Some(&MANAGED) => match parse(data) {
            Some(told) => begin(told),
            // Of a CLR that does not say which lock it is: before .NET 8.
            None => REGISTRY.managed_locks.store(0, Ordering::Relaxed),
        },
        STOP if data.first() == Some(&MANAGED) => end(),
        _ => {}
    }
}

/// Whether the calling thread, which has written the event, is about to sleep.
pub(crate) fn is_before_sleep(event: u32) -> bool {
    matches!(event, START | OTHER_START)
}

/// Any wait of the calling thread is over: it throws an exception.
pub(crate) fn end() {
    if let Some(task) = task::current_if_any() {
        task.managed_wait.end();
    }
}

fn begin(told: ManagedWait) {
    if let Some(task) = threads::current() {
        task.managed_wait.begin(ManagedWaitCopy { told, since: sys::now() });
        watch::a_wait_has_begun();
    }
}

/// `flags: u8, CLR: u16, lock: u64, object: u64, owner: u64`. The object may have been moved by now.
fn parse(data: &[u8]) -> Option<ManagedWait> {
    let number = |offset: usize| data.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes);
    let (lock, owner) = (number(3)?, u32::try_from(number(19)?).unwrap_or(0));
    Some(ManagedWait { lock, stands_at_address: stands_at_address(lock, owner), owner })
}

/// Whether the lock is a monitor, whose owner stands at this address.
fn stands_at_address(lock: u64, owner: u32) -> bool {
    if ManagedKind::of(lock) != ManagedKind::Monitor {
        return false;
    }
    let Some(monitor) = Monitor::read(&OwnMemory, lock) else { return false };
    if owner != 0 && monitor.owner == Some(owner) {
        HAS_BEEN_RIGHT.store(1, Ordering::Relaxed);
        return true;
    }
    HAS_BEEN_RIGHT.load(Ordering::Relaxed) != 0 && monitor.owner.is_none_or(lives)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The payload of an event of the lock, as CoreCLR 8.0.4 writes it.
    fn payload(flags: u8, lock: u64, owner: u64) -> Vec<u8> {
        let mut data = std::vec![flags, 0, 0];
        [lock, 0x7fa5_b28b_8fc0, owner].iter().for_each(|number| data.extend(number.to_le_bytes()));
        data
    }

    fn wait() -> Option<ManagedWait> {
        threads::current().unwrap().managed_wait.copy().map(|wait| wait.told)
    }

    #[test]
    fn a_wait_is_known_from_its_start_to_its_stop_or_an_exception() {
        let owner = sys::thread_id();
        let monitor = [0x1_0000_0041, 0x55f9_7085_a970, u64::from(owner)];
        let lock = monitor.as_ptr() as u64;
        let told = ManagedWait { lock, stands_at_address: true, owner };
        for end in [|| delivered(STOP, &[MANAGED, 0, 0]), end] {
            delivered(START, &payload(MANAGED, lock, u64::from(owner)));
            assert_eq!(wait(), Some(told));
            end();
            assert_eq!(wait(), None);
        }
        // The owner has let go meanwhile; others were right.
        delivered(START, &payload(MANAGED, lock, 0));
        assert_eq!(wait(), Some(ManagedWait { owner: 0, ..told }));
        // A lock of the CLR's own, an event cut short, and one of another kind.
        delivered(STOP, &[1, 0, 0]);
        delivered(STOP, &[]);
        delivered(90, &[MANAGED, 0, 0]);
        assert_eq!(wait(), Some(ManagedWait { owner: 0, ..told }));
        end();
        delivered(START, &payload(1, lock, u64::from(owner)));
        assert_eq!(wait(), None);
    }

    #[test]
    fn a_thread_sleeps_after_the_start_of_a_wait_of_either_kind() {
        assert_eq!([START, OTHER_START, STOP, 302].map(is_before_sleep), [true, true, false, false]);
    }

    #[test]
    fn an_id_is_taken_for_an_address_only_if_an_owner_can_stand_there() {
        let owner = sys::thread_id();
        let no_monitor = [1, 0, 0x55f9_7085_a970_u64];
        let of_nobody = [1, 0, u64::from(u32::MAX >> 3)];
        let unmapped = 1_u64 << 46;
        for lock in [316, no_monitor.as_ptr() as u64, of_nobody.as_ptr() as u64, unmapped, u64::MAX] {
            delivered(START, &payload(MANAGED, lock, u64::from(owner)));
            assert_eq!(wait(), Some(ManagedWait { lock, stands_at_address: false, owner }), "{lock:#x}");
        }
        end();
    }
}
