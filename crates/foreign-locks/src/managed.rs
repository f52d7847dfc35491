//! Locks of managed code, in a process with a CLR. That a thread waits for one is told by the CLR; this reads who owns it.

use crate::Memory;
use crate::glibc::Thing;

/// What kind of lock it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ManagedKind {
    /// An object's own, which C#'s `lock` and Monitor take. It stands in memory.
    Monitor,
    /// A System.Threading.Lock. The CLR numbers them, and does not say where they stand.
    Lock,
}

/// No number of a System.Threading.Lock is as large, and nearly every address is.
const LEAST_ADDRESS: u64 = 1 << 32;

impl ManagedKind {
    /// Of the lock that the CLR calls so.
    pub fn of(lock: u64) -> ManagedKind {
        if lock >= LEAST_ADDRESS { ManagedKind::Monitor } else { ManagedKind::Lock }
    }
}

/// What the CLR's memory says of a monitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Monitor {
    /// Whether some thread owns it, or died owning it.
    pub is_locked: bool,
    /// Its owner's id; None also while a thread is just becoming the owner, and for ever if the owner has ended.
    pub owner: Option<u32>,
}

const LOCKED: u32 = 1;
/// Where the owner's thread id stands (CoreCLR 8.0.4 and 10.0.13): no layout that is promised, so the reader makes sure
/// of it for the running CLR before it believes what is read.
const OWNER: usize = 16;
const MOST_THREAD_ID: u64 = 1 << 30;

impl Monitor {
    /// Reads the monitor at an address; None if nothing is there, or it looks like none.
    pub fn read(memory: &dyn Memory, address: u64) -> Option<Monitor> {
        let mut bytes = [0; OWNER + 8];
        let is_there = address.is_multiple_of(8) && memory.read(address, &mut bytes) == bytes.len();
        let (state, owner) = (bytes.first_chunk().copied()?, bytes.last_chunk().copied()?);
        let owner = u64::from_le_bytes(owner);
        (is_there && owner < MOST_THREAD_ID).then_some(Monitor {
            is_locked: u32::from_le_bytes(state) & LOCKED != 0,
            owner: Some(owner as u32).filter(|&owner| owner != 0),
        })
    }
}

/// Waits for locks of managed code that form a cycle are a deadlock once each has stood for so long, in nanoseconds. One can
/// end by itself: its thread is interrupted by another (Thread.Interrupt), and many that look so are just ending.
pub const STANDS_AFTER: u64 = 300_000_000;

/// A wait for a lock of managed code, as the CLR told of it when it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ManagedWait {
    /// The lock, as the CLR calls it.
    pub lock: u64,
    /// Whether that is an address at which the owner stands.
    pub stands_at_address: bool,
    /// The thread that owned it then; 0 if the CLR named none.
    pub owner: u32,
}

impl ManagedWait {
    /// What is waited for, with its owner of now if that can be read, and whether it can. Otherwise the owner is the one
    /// that it had when the wait began.
    pub fn thing(&self, memory: &dyn Memory) -> (Thing, bool) {
        let id = self.lock;
        let kind = ManagedKind::of(id);
        if !self.stands_at_address {
            let owner = Some(self.owner).filter(|&owner| owner != 0);
            return (Thing::Managed { id, kind, owner, is_abandoned: false }, false);
        }
        let monitor = Monitor::read(memory, id);
        let owner = monitor.and_then(|monitor| monitor.owner);
        let is_abandoned = monitor.is_some_and(|monitor| monitor.is_locked && monitor.owner.is_none());
        (Thing::Managed { id, kind, owner, is_abandoned }, monitor.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::of_tests::{ADDRESS, Bytes};

    fn read(state: u64, owner: u64) -> Option<Monitor> {
        let words = [state, 0x55f9_7085_a970, owner, 0];
        Monitor::read(&Bytes(words.iter().flat_map(|word| word.to_le_bytes()).collect()), ADDRESS)
    }

    #[test]
    fn the_owner_is_read_and_one_that_has_ended_leaves_it_locked() {
        assert_eq!(read(0x1_0000_0041, 18448), Some(Monitor { is_locked: true, owner: Some(18448) }));
        assert_eq!(read(0, 0), Some(Monitor { is_locked: false, owner: None }));
        assert_eq!(read(0x41, 0), Some(Monitor { is_locked: true, owner: None }));
    }

    #[test]
    fn what_is_no_monitor_is_none() {
        assert_eq!(read(1, 0x55f9_7085_a970), None);
        let memory = Bytes(std::vec![0; 32]);
        for address in [0, 7, ADDRESS + 4, ADDRESS + 16, u64::MAX - 7] {
            assert_eq!(Monitor::read(&memory, address), None, "{address:#x}");
        }
    }
}
