//! What the CLR's events of waits mean: a wait for a lock of managed code begins, and is over; another wait begins.
//!
//! The CLR writes them on the waiting thread itself, before it sleeps and after it has woken, with the lock's id and the
//! thread that owns it. It writes no end of a wait that an exception ends (Thread.Interrupt); that is known by the
//! exception. Of a System.Threading.Lock it writes none either of a wait that has reached its time limit. But it writes when a
//! thread falls asleep in such a wait, and when it wakes: that is taken for the end, until it sleeps in it again.
//!
//! The owner changes without an event, so it is read from the lock when it is asked for: the id of a monitor is
//! its address; a System.Threading.Lock is an object, to which who waits has a reference on its stack.
//!
//! **No blind read.** Where in a lock the owner stands is no promise of the CLR's. It is believed if the owner that the
//! event names stands there, in memory that the system says is mapped. An event may name an owner that has let go since, or
//! none; then it is enough that others were seen to be right in this process, and that what stands in a monitor is a live
//! thread or none.

use foreign_locks::{LockObject, ManagedKind, ManagedWait, Monitor, OwnerStands};

use super::{session, threads};
use crate::foreign::observer::{OwnMemory, lives};
use crate::host::watch;
use crate::state::managed_wait::{ManagedWaitCopy, Pause};
use crate::state::registry::REGISTRY;
use crate::state::task;
use crate::sys;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

/// ContentionStart and ContentionStop of Microsoft-Windows-DotNETRuntime.
const START: u32 = 81;
const STOP: u32 = 91;
/// WaitHandleWaitStart and WaitHandleWaitStop, of .NET 9 and later: a sleep of managed code. Each wait for a
/// System.Threading.Lock has at least one, and one for a monitor has none.
const SLEEP_START: u32 = 301;
const SLEEP_STOP: u32 = 302;

/// ProcessInfo of the CLR's own source of events, which no session needs to ask for: a session is about to end. Of the events
/// that ours asks for none has this number.
const SESSION_ENDS: u32 = 1;

/// In the first byte of either event: of a lock of managed code.
const MANAGED: u8 = 0;

/// 1 once the owner of a monitor stood where it was expected.
static HAS_BEEN_RIGHT: AtomicU32 = AtomicU32::new(0);
/// The type of System.Threading.Lock, once the owner of such an object stood where it was expected; 0 before.
static TYPE_OF_LOCKS: AtomicU64 = AtomicU64::new(0);

/// An event was written by the calling thread. `type_of` says what type an object has that it names.
pub(crate) fn delivered(event: u32, data: &[u8], type_of: impl FnOnce(u64) -> u64) {
    match event {
        START if data.first() == Some(&MANAGED) => match parse(data, type_of) {
            Some(told) => begin(told),
            // Of a CLR that does not say which lock it is: before .NET 8.
            None => REGISTRY.set_sees_managed_locks(false),
        },
        STOP if data.first() == Some(&MANAGED) => end(),
        SLEEP_START => falls_asleep(),
        SLEEP_STOP => wakes(),
        SESSION_ENDS => session::session_ends(),
        _ => {}
    }
}

fn falls_asleep() {
    match pause() {
        Pause::No => {}
        Pause::Before => set_pause(Pause::Asleep),
        // It did not wake, so an exception has ended the wait; or it sleeps in something else.
        Pause::Asleep | Pause::After => end(),
    }
}

fn wakes() {
    if pause() == Pause::Asleep {
        end();
        set_pause(Pause::After);
    }
}

/// Whether the calling thread, which falls asleep, may do so in the wait that was taken to be over: then it is in one of the
/// lock's methods still.
pub(crate) fn may_go_on(event: u32) -> bool {
    event == SLEEP_START && pause() == Pause::After
}

/// It does.
pub(crate) fn goes_on() {
    if let Some(task) = task::current_if_any() {
        // The owner may have changed since that was told.
        begin(ManagedWait { owner: 0, ..task.managed_wait.told() });
        set_pause(Pause::Asleep);
    }
}

fn pause() -> Pause {
    task::current_if_any().map_or(Pause::No, |task| task.managed_wait.pause())
}

fn set_pause(pause: Pause) {
    if let Some(task) = task::current_if_any() {
        task.managed_wait.set_pause(pause);
    }
}

/// Whether the calling thread, which has written the event, is about to sleep.
pub(crate) fn is_before_sleep(event: u32) -> bool {
    matches!(event, START | SLEEP_START)
}

/// Any wait of the calling thread is over: it throws an exception.
pub(crate) fn end() {
    if let Some(task) = task::current_if_any() {
        task.managed_wait.end();
        task.managed_wait.set_pause(Pause::No);
    }
}

fn begin(told: ManagedWait) {
    // It was another session that has ended.
    REGISTRY.set_sees_managed_locks(true);
    if let Some(task) = threads::current() {
        task.managed_wait.begin(ManagedWaitCopy { told, since: sys::now() });
        let sleeps_are_told = ManagedKind::of(told.lock) == ManagedKind::Lock;
        task.managed_wait.set_pause(if sleeps_are_told { Pause::Before } else { Pause::No });
        watch::a_wait_has_begun();
    }
}

/// `flags: u8, CLR: u16, lock: u64, object: u64, owner: u64`. The object may have been moved by now.
fn parse(data: &[u8], type_of: impl FnOnce(u64) -> u64) -> Option<ManagedWait> {
    let number = |offset: usize| data.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes);
    let (lock, object, owner) = (number(3)?, number(11)?, u32::try_from(number(19)?).unwrap_or(0));
    let owner_stands = match ManagedKind::of(lock) {
        ManagedKind::Monitor if stands_in_monitor(lock, owner) => OwnerStands::InMonitor,
        ManagedKind::Monitor => OwnerStands::Nowhere,
        ManagedKind::Lock => OwnerStands::of_number(type_of_locks(lock, object, owner)),
    };
    // What else a lock is, its kind says.
    let of_type = if ManagedKind::of(lock) == ManagedKind::Monitor { type_of(object) } else { 0 };
    Some(ManagedWait { lock, owner_stands, owner, of_type })
}

/// The type of such a lock, of which this is one that stood at `object` a moment ago; 0 if it is not known yet.
fn type_of_locks(lock: u64, object: u64, owner: u32) -> u64 {
    let known = TYPE_OF_LOCKS.load(Ordering::Relaxed);
    if known != 0 || owner == 0 {
        return known;
    }
    let found = LockObject::read(&OwnMemory, object, lock).filter(|found| found.owner == Some(owner));
    let of_type = found.map_or(0, |found| found.of_type);
    TYPE_OF_LOCKS.store(of_type, Ordering::Relaxed);
    of_type
}

/// Whether the lock is a monitor at this address, in which the owner stands.
fn stands_in_monitor(lock: u64, owner: u32) -> bool {
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
    use crate::clr::fake;
    use std::vec::Vec;

    const OBJECT: u64 = 0x7fa5_b28b_8fc0;

    /// As the callback does; here an object is its type.
    fn delivered(event: u32, data: &[u8]) {
        super::delivered(event, data, |object| object);
    }

    /// The payload of an event of the lock, as CoreCLR 8.0.4 writes it.
    fn payload(flags: u8, lock: u64, owner: u64) -> Vec<u8> {
        payload_with(flags, lock, OBJECT, owner)
    }

    fn payload_with(flags: u8, lock: u64, object: u64, owner: u64) -> Vec<u8> {
        let mut data = std::vec![flags, 0, 0];
        [lock, object, owner].iter().for_each(|number| data.extend(number.to_le_bytes()));
        data
    }

    fn wait() -> Option<ManagedWait> {
        threads::current().unwrap().managed_wait.copy().map(|wait| wait.told)
    }

    #[test]
    fn a_wait_is_known_from_its_start_to_its_stop_or_an_exception() {
        let _turn = fake::TURN.lock().unwrap();
        let owner = sys::thread_id();
        let monitor = [0x1_0000_0041, 0x55f9_7085_a970, u64::from(owner)];
        let lock = monitor.as_ptr() as u64;
        let told = ManagedWait { lock, owner_stands: OwnerStands::InMonitor, owner, of_type: OBJECT };
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
    fn a_wait_in_which_a_thread_sleeps_is_over_when_it_wakes_until_it_sleeps_again() {
        let _turn = fake::TURN.lock().unwrap();
        let begin = || delivered(START, &payload(MANAGED, 340, 7));
        let sleep_event = |event| (may_go_on(event), delivered(event, &[0; 11])).0;
        let told = Some(ManagedWait { lock: 340, owner_stands: OwnerStands::Nowhere, owner: 7, of_type: 0 });
        begin();
        assert!(!sleep_event(SLEEP_START));
        assert_eq!(wait(), told);
        assert!(!sleep_event(SLEEP_STOP));
        assert_eq!(wait(), None, "it has reached its time limit, or another has taken the lock");
        // It sleeps in it again: who owns it now was not told.
        assert!(sleep_event(SLEEP_START));
        goes_on();
        assert_eq!(wait(), told.map(|told| ManagedWait { owner: 0, ..told }));
        sleep_event(SLEEP_STOP);
        assert!(sleep_event(SLEEP_START), "in something else");
        assert!(!sleep_event(SLEEP_STOP) && !sleep_event(SLEEP_START));
        assert_eq!(wait(), None);
        // An exception ended it, and another sleep begins.
        begin();
        sleep_event(SLEEP_START);
        assert!(!sleep_event(SLEEP_START));
        assert_eq!(wait(), None);
        assert!(!sleep_event(SLEEP_STOP) && !sleep_event(SLEEP_START), "of no lock");
        // A wait for a monitor is over by its own event alone.
        let lock = 1 << 46;
        delivered(START, &payload(MANAGED, lock, 7));
        sleep_event(SLEEP_START);
        sleep_event(SLEEP_STOP);
        assert_eq!(wait().map(|told| told.lock), Some(lock));
        delivered(STOP, &[MANAGED, 0, 0]);
        assert!(!sleep_event(SLEEP_START));
        assert_eq!(wait(), None);
    }

    #[test]
    fn waits_are_not_seen_once_managed_code_has_ended_the_session() {
        let _turn = fake::TURN.lock().unwrap();
        let sees = || REGISTRY.sees_managed_locks();
        let begin = || delivered(START, &payload(MANAGED, 340, 7));
        begin();
        assert!(sees());
        end();
        let session_ends = || delivered(SESSION_ENDS, &[0; 11]);
        let of_another_process = std::thread::Builder::new().name(".NET EventPipe".into());
        of_another_process.spawn(session_ends).unwrap().join().unwrap();
        assert!(sees());
        session_ends();
        assert!(!sees());
        begin();
        assert!(sees(), "it was another one");
        end();
    }

    #[test]
    fn a_thread_sleeps_after_the_start_of_a_wait_of_either_kind() {
        assert_eq!([START, SLEEP_START, STOP, SLEEP_STOP].map(is_before_sleep), [true, true, false, false]);
    }

    #[test]
    fn an_id_is_taken_for_an_address_only_if_an_owner_can_stand_there() {
        let _turn = fake::TURN.lock().unwrap();
        let owner = sys::thread_id();
        let no_monitor = [1, 0, 0x55f9_7085_a970_u64];
        let of_nobody = [1, 0, u64::from(u32::MAX >> 3)];
        let unmapped = 1_u64 << 46;
        for lock in [316, no_monitor.as_ptr() as u64, of_nobody.as_ptr() as u64, unmapped, u64::MAX] {
            delivered(START, &payload(MANAGED, lock, u64::from(owner)));
            let owner_stands = OwnerStands::Nowhere;
            let of_type = if ManagedKind::of(lock) == ManagedKind::Monitor { OBJECT } else { 0 };
            assert_eq!(wait(), Some(ManagedWait { lock, owner_stands, owner, of_type }), "{lock:#x}");
        }
        end();
    }

    #[test]
    fn a_lock_object_is_known_by_its_type_once_an_owner_stood_in_one() {
        let _turn = fake::TURN.lock().unwrap();
        const LOCK: u64 = 340;
        let handle = [0, LOCK];
        let event = [0, handle.as_ptr() as u64];
        let owner = sys::thread_id();
        let object = [0x5571_a9b5_d9c8, event.as_ptr() as u64, 0x81 << 32 | u64::from(owner), 0];
        let address = object.as_ptr() as u64;
        let begin = |lock, object, owner| {
            delivered(START, &payload_with(MANAGED, lock, object, u64::from(owner)));
            wait().map(|told| told.owner_stands)
        };
        for (lock, object, owner) in [
            (LOCK, 1 << 46, owner),
            (LOCK + 4, address, owner),
            (LOCK, address, owner + 1),
            (LOCK, address, 0),
        ] {
            assert_eq!(begin(lock, object, owner), Some(OwnerStands::Nowhere), "{lock} {object:#x} {owner}");
        }
        let of_this_type = Some(OwnerStands::InObject(object[0]));
        assert_eq!(begin(LOCK, address, owner), of_this_type);
        // From then on wherever the collector has moved it.
        assert_eq!(begin(LOCK + 4, 1 << 46, 0), of_this_type);
        end();
        TYPE_OF_LOCKS.store(0, Ordering::Relaxed);
    }
}
