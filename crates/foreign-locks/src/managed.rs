//! Locks of managed code, in a process with a CLR. That a thread waits for one is told by the CLR; this reads who owns it.

use crate::glibc::{IsThread, Thing};
use crate::{Caller, FutexWait, Memory, Operation};

/// What kind of lock it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ManagedKind {
    /// An object's own, which C#'s `lock` and Monitor take. It stands in memory.
    Monitor,
    /// A System.Threading.Lock, an object that the collector moves. The CLR calls it by the number of its event.
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
    /// Its owner's id; None also while a thread is just becoming the owner. The CLR takes it out when that thread ends, but not
    /// while others wait already.
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

/// What memory says of a System.Threading.Lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockObject {
    /// The object's type, by which another such lock is known.
    pub of_type: u64,
    /// The thread that owns it.
    pub owner: Option<u32>,
}

/// Where what is needed stands in the objects (CoreCLR 10.0.13): in the lock its event and its owner, in an event its handle,
/// and in that its number. No layout that is promised either.
const REFERENCE: u64 = 8;
const OWNER_OF_LOCK: u64 = 16;
/// In the word with an object's type these bits are the collector's, for objects that it has marked: types are aligned.
const COLLECTORS: u64 = 7;
/// So much of a stack is looked at: the frames of the CLR's functions that wait, and those of the lock's methods.
const STACK_BYTES: u64 = 8 << 10;
const BLOCK: usize = 512;
/// What is nearer to a place on a stack is on it as well: no object is, and frames have many such addresses.
const NEAR: u64 = 1 << 16;

impl LockObject {
    /// Reads the object at an address, if it is the lock that the CLR calls `lock`: its event has that number.
    pub fn read(memory: &dyn Memory, address: u64, lock: u64) -> Option<LockObject> {
        let event = word(memory, address.checked_add(REFERENCE)?)?;
        let handle = word(memory, event.checked_add(REFERENCE)?)?;
        if word(memory, handle.checked_add(REFERENCE)?)? != lock {
            return None;
        }
        let (of_type, owner) =
            (type_of(memory, address)?, word(memory, address.checked_add(OWNER_OF_LOCK)?)? as u32);
        let owner = Some(owner).filter(|&owner| owner != 0 && u64::from(owner) < MOST_THREAD_ID);
        Some(LockObject { of_type, owner })
    }

    /// The owner of a lock that the thread with this stack waits for; None if what is found does not prove it.
    ///
    /// Who waits in one of the lock's methods has a reference to it on its stack, which the collector keeps right. Others may
    /// have been left there that are old, of a place where the lock stood once: so nothing is known unless all agree.
    fn owner_by_stack(
        memory: &dyn Memory,
        stack_pointer: u64,
        of_type: u64,
        lock: u64,
    ) -> Option<Option<u32>> {
        let mut known = None;
        let mut last = 0;
        for start in (stack_pointer..stack_pointer.checked_add(STACK_BYTES)?).step_by(BLOCK) {
            let mut block = [0; BLOCK];
            let count = memory.read(start, &mut block).min(BLOCK);
            for bytes in block.get(..count)?.as_chunks().0 {
                let address = u64::from_le_bytes(*bytes);
                if address == last
                    || !may_be_object(address, stack_pointer)
                    || type_of(memory, address) != Some(of_type)
                {
                    continue;
                }
                last = address;
                match (LockObject::read(memory, address, lock), known) {
                    (Some(found), Some(owner)) if found.owner != owner => return None,
                    (Some(found), _) => known = Some(found.owner),
                    (None, _) => {}
                }
            }
        }
        known
    }
}

/// Whether an object of the collector's may be at an address: not where processes have nothing, and not on a stack.
fn may_be_object(address: u64, stack_pointer: u64) -> bool {
    const LEAST: u64 = 1 << 12;
    const END: u64 = 1 << 56;
    address.is_multiple_of(8) && (LEAST..END).contains(&address) && address.abs_diff(stack_pointer) >= NEAR
}

/// The type of the object at an address, while it is collected too.
fn type_of(memory: &dyn Memory, address: u64) -> Option<u64> {
    word(memory, address).map(|word| word & !COLLECTORS)
}

fn word(memory: &dyn Memory, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    (memory.read(address, &mut bytes) == bytes.len()).then(|| u64::from_le_bytes(bytes))
}

/// How the present owner of a lock is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnerStands {
    /// It is not.
    Nowhere,
    /// In a monitor, at the address by which the CLR calls the lock.
    InMonitor,
    /// In an object of this type, to which who waits has a reference on its stack.
    InObject(u64),
}

impl OwnerStands {
    /// As one number, to keep.
    pub fn as_number(self) -> u64 {
        match self {
            OwnerStands::Nowhere => 0,
            OwnerStands::InMonitor => 1,
            OwnerStands::InObject(of_type) => of_type,
        }
    }

    /// From that number.
    pub fn of_number(number: u64) -> OwnerStands {
        match number {
            0 => OwnerStands::Nowhere,
            1 => OwnerStands::InMonitor,
            of_type => OwnerStands::InObject(of_type),
        }
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
    /// How its owner is found.
    pub owner_stands: OwnerStands,
    /// The thread that owned it then; 0 if the CLR named none.
    pub owner: u32,
    /// The type of the object that has the lock, as the CLR calls it; 0 if that is not known.
    pub of_type: u64,
}

impl ManagedWait {
    /// Whether a thread that is in such a wait, and sleeps in native code so, sleeps for the lock; and if it may, whether that is
    /// certain. The CLR waits on condition variables, and on its way there and back for mutexes of its own, without a limit.
    pub fn is_slept_for(sleep: &FutexWait, caller: Caller, native: &Thing) -> Option<bool> {
        // glibc sleeps so for a mutex, and before 2.34 for a condition variable too.
        let is_for_mutex = caller == Caller::Glibc && sleep.operation == Operation::Wait;
        match native {
            Thing::Mutex { .. } => None,
            Thing::Condition(_) => Some(true),
            _ => Some(!is_for_mutex),
        }
    }

    /// What is waited for, with its owner of now if that can be read, and whether it can. Otherwise the owner is the one
    /// that it had when the wait began. `stack_pointer` is that of the thread that waits.
    pub fn thing(&self, memory: &dyn Memory, stack_pointer: u64, is_thread: IsThread<'_>) -> (Thing, bool) {
        let (id, of_type) = (self.lock, self.of_type);
        let kind = ManagedKind::of(id);
        let thing = |owner, is_abandoned| Thing::Managed { id, kind, owner, is_abandoned, of_type };
        match self.owner_stands {
            OwnerStands::InMonitor => {
                let monitor = Monitor::read(memory, id);
                let live = monitor.and_then(|m| m.owner).filter(|&owner| is_thread(owner));
                let is_abandoned = monitor.is_some_and(|m| m.is_locked) && live.is_none();
                return (thing(live, is_abandoned), monitor.is_some());
            }
            OwnerStands::InObject(of_type) => {
                if let Some(owner) = LockObject::owner_by_stack(memory, stack_pointer, of_type, id) {
                    // An owner that has ended still stands in it.
                    let live = owner.filter(|&owner| is_thread(owner));
                    return (thing(live, live != owner), true);
                }
            }
            OwnerStands::Nowhere => {}
        }
        (thing(Some(self.owner).filter(|&owner| owner != 0), false), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glibc::{Behaviour, MutexKind};
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

    #[test]
    fn a_monitor_is_abandoned_if_it_is_locked_and_no_live_thread_owns_it() {
        let wait = ManagedWait { lock: ADDRESS, owner_stands: OwnerStands::InMonitor, owner: 7, of_type: 0 };
        let thing = |state: u64, owner: u64| {
            let words = [state, 0, owner, 0];
            let memory = Bytes(words.iter().flat_map(|word| word.to_le_bytes()).collect());
            match wait.thing(&memory, 0, &|thread| thread == 18448) {
                (Thing::Managed { owner, is_abandoned, .. }, true) => (owner, is_abandoned),
                _ => panic!("a monitor whose owner is read"),
            }
        };
        assert_eq!(thing(0x41, 18448), (Some(18448), false));
        assert_eq!(thing(0x41, 0), (None, true));
        assert_eq!(thing(0x41, 18449), (None, true), "others waited when it ended");
        assert_eq!([thing(0x40, 0), thing(0x40, 18449)], [(None, false); 2], "free");
    }

    const LOCK: u64 = 340;
    const TYPE: u64 = 0x5571_a9b5_d9c8;
    const STACK: u64 = ADDRESS;
    const OBJECTS: u64 = STACK + NEAR;

    /// A stack with these words at its beginning, and behind it the event and the handle of a lock with that number, and two
    /// copies of the lock, owned by these. The collector has marked the second.
    fn memory_with(stack: &[u64], number: u64, owners: [u64; 2]) -> Bytes {
        let mut words = stack.to_vec();
        words.resize(NEAR as usize / 8, 0);
        words.extend([0, OBJECTS + 16, 0, number]);
        let lock = |of_type, owner| [of_type, OBJECTS, owner | 0x81 << 32, 0];
        words.extend(lock(TYPE, owners[0]).iter().chain(&lock(TYPE | 1, owners[1])));
        Bytes(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    const COPIES: [u64; 2] = [OBJECTS + 32, OBJECTS + 64];

    fn owner_of_now(memory: &Bytes, owner_stands: OwnerStands) -> (Option<u32>, bool) {
        let wait = ManagedWait { lock: LOCK, owner_stands, owner: 7, of_type: 0 };
        let (thing, is_of_now) = wait.thing(memory, STACK, &|_| true);
        (thing.owner(), is_of_now)
    }

    #[test]
    fn a_lock_object_is_found_by_the_number_of_its_event() {
        let memory = memory_with(&[], LOCK, [18448, 0]);
        let found = |address, lock| LockObject::read(&memory, address, lock);
        assert_eq!(found(COPIES[0], LOCK), Some(LockObject { of_type: TYPE, owner: Some(18448) }));
        assert_eq!(found(COPIES[1], LOCK), Some(LockObject { of_type: TYPE, owner: None }));
        assert_eq!(found(COPIES[0], LOCK + 4), None);
        for address in [0, 8, OBJECTS, OBJECTS + 96, u64::MAX - 4] {
            assert_eq!(found(address, LOCK), None, "{address:#x}");
        }
    }

    #[test]
    fn the_owner_is_that_of_the_object_to_which_the_stack_refers_unless_references_disagree() {
        let of_type = OwnerStands::InObject(TYPE);
        let [new, old] = COPIES;
        let at = |stack: &[u64], owners| owner_of_now(&memory_with(stack, LOCK, owners), of_type);
        assert_eq!(at(&[1, 0, new, 0x7ff0, new], [18448, 18449]), (Some(18448), true));
        assert_eq!(at(&[new, u64::MAX], [0, 18449]), (None, true));
        assert_eq!(at(&[old], [18448, 18449]), (Some(18449), true));
        assert_eq!(at(&[new, old, new], [18448, 18448]), (Some(18448), true));
        // One of them is old, but which?
        assert_eq!(at(&[new, old], [18448, 18449]), (Some(7), false));
        assert_eq!(at(&[old, new], [18448, 0]), (Some(7), false));
        // An object is never there, and no such memory is asked for.
        struct Refuses(Bytes);
        impl Memory for Refuses {
            fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
                let is_in_stack = (STACK..STACK + STACK_BYTES).contains(&address);
                assert!(is_in_stack && buffer.len() == BLOCK || address == COPIES[0], "{address:#x}");
                self.0.read(address, buffer)
            }
        }
        let elsewhere = [STACK + 64, STACK - 8, 8, 4088, 1 << 56, new + 1, new, u64::MAX - 7, u64::MAX - 8];
        let memory = Refuses(memory_with(&elsewhere, LOCK, [18448, 0]));
        assert_eq!(LockObject::owner_by_stack(&memory, STACK, TYPE + 8, LOCK), None);
        // Nothing is found: it is another lock, or of another type, or lies too far.
        assert_eq!(at(&[0, 1, 2], [18448, 18448]), (Some(7), false));
        assert_eq!(owner_of_now(&memory_with(&[new], LOCK + 4, [18448, 0]), of_type), (Some(7), false));
        let memory = memory_with(&[new], LOCK, [18448, 0]);
        assert_eq!(owner_of_now(&memory, OwnerStands::InObject(TYPE + 8)), (Some(7), false));
        assert_eq!(owner_of_now(&memory, OwnerStands::Nowhere), (Some(7), false));
        let wait = ManagedWait { lock: LOCK, owner_stands: of_type, owner: 7, of_type: 0 };
        assert!(!wait.thing(&memory, u64::MAX - 8, &|_| true).1);
    }

    #[test]
    fn a_lock_object_is_abandoned_if_its_owner_has_ended() {
        let wait =
            ManagedWait { lock: LOCK, owner_stands: OwnerStands::InObject(TYPE), owner: 7, of_type: 0 };
        let thing = |owner, lives: u32| {
            let memory = memory_with(&[COPIES[0]], LOCK, [owner, 0]);
            match wait.thing(&memory, STACK, &|thread| thread == lives) {
                (Thing::Managed { owner, is_abandoned, .. }, is_of_now) => (owner, is_abandoned, is_of_now),
                _ => panic!("a lock of managed code"),
            }
        };
        assert_eq!(thing(18448, 18448), (Some(18448), false, true));
        assert_eq!(thing(18448, 18449), (None, true, true));
        assert_eq!(thing(0, 18449), (None, false, true));
    }

    #[test]
    fn a_thread_that_waits_for_a_mutex_of_the_clrs_does_not_sleep_for_the_lock() {
        let kind = MutexKind {
            behaviour: Some(Behaviour::Plain),
            is_robust: false,
            inherits_priority: false,
            protects_priority: false,
            is_shared: false,
        };
        let things = [
            Thing::Mutex { address: ADDRESS, kind, owner: Some(7) },
            Thing::Condition(ADDRESS),
            Thing::Futex(ADDRESS),
        ];
        let slept_for = |operation, caller| {
            let sleep = FutexWait {
                word: ADDRESS,
                operation,
                is_private: true,
                expected: 2,
                is_limited: false,
                is_for_ever: false,
            };
            things.map(|thing| ManagedWait::is_slept_for(&sleep, caller, &thing))
        };
        assert_eq!(slept_for(Operation::WaitBitset, Caller::Glibc), [None, Some(true), Some(true)]);
        assert_eq!(slept_for(Operation::Wait, Caller::Glibc), [None, Some(true), Some(false)]);
        // musl has one way to sleep, and what for is not seen.
        assert_eq!(slept_for(Operation::Wait, Caller::Other)[2], Some(true));
    }

    #[test]
    fn where_an_owner_stands_is_kept_as_a_number() {
        for stands in [OwnerStands::Nowhere, OwnerStands::InMonitor, OwnerStands::InObject(TYPE)] {
            assert_eq!(OwnerStands::of_number(stands.as_number()), stands);
        }
    }
}
