//! What of glibc's a futex word is part of. The layouts are those of 64-bit machines, unchanged since glibc 2.25.

use crate::{FutexWait, ManagedKind, Memory, Operation};

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thing {
    /// A pthread_mutex_t.
    Mutex {
        /// Where it stands.
        address: u64,
        /// Of what kind it is.
        kind: MutexKind,
        /// The thread id that stands in it, whoever that is.
        owner: Option<u32>,
    },
    /// A pthread_rwlock_t.
    RwLock {
        /// Where it stands.
        address: u64,
        /// Who has it for writing.
        writer: Option<u32>,
        /// How many have it for reading.
        readers: u32,
        /// Whether the waiting thread wants to write.
        to_write: bool,
    },
    /// The end of a thread.
    Thread(u32),
    /// A pthread_cond_t, by its address.
    Condition(u64),
    /// A sem_t, by its address.
    Semaphore(u64),
    /// Something else that is waited for at this word.
    Futex(u64),
    /// A lock of managed code.
    Managed {
        /// Where it stands, or its number: by its kind.
        id: u64,
        /// Of what kind it is.
        kind: ManagedKind,
        /// The id of the thread that owns it.
        owner: Option<u32>,
        /// Its owner has ended, and so left it locked for ever.
        is_abandoned: bool,
        /// The type of the object that has it, as the CLR calls it; 0 if that is not known.
        of_type: u64,
    },
}

/// The kinds of a mutex, all that one can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MutexKind {
    /// None where only the kernel's part of the mutex is known.
    pub behaviour: Option<Behaviour>,
    /// It tells the next owner that the last one died.
    pub is_robust: bool,
    /// Its owner runs with the priority of whoever waits for it.
    pub inherits_priority: bool,
    /// Its owner runs with the priority of the mutex.
    pub protects_priority: bool,
    /// Other processes may use it too.
    pub is_shared: bool,
}

/// What happens when its owner locks a mutex again, or spins first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// It hangs.
    Plain,
    /// It counts.
    Recursive,
    /// It gets an error.
    ErrorChecking,
    /// It hangs; others spin before they sleep.
    Adaptive,
}

impl Thing {
    /// Whom a thread that waits for it waits for.
    pub fn owner(&self) -> Option<u32> {
        match *self {
            Thing::Mutex { owner, .. } => owner,
            Thing::RwLock { writer, .. } => writer,
            Thing::Thread(id) => Some(id),
            Thing::Managed { owner, .. } => owner,
            Thing::Condition(_) | Thing::Semaphore(_) | Thing::Futex(_) => None,
        }
    }

    /// Where it stands, if it is a thing in memory; what else it is known by, if that is told from addresses.
    pub fn address(&self) -> Option<u64> {
        match *self {
            Thing::Mutex { address, .. } | Thing::RwLock { address, .. } => Some(address),
            Thing::Condition(address) | Thing::Semaphore(address) | Thing::Futex(address) => Some(address),
            Thing::Managed { id, .. } => Some(id),
            Thing::Thread(_) => None,
        }
    }

    /// Whether it is of a kind that one thread owns.
    pub fn is_lock(&self) -> bool {
        matches!(self, Thing::Mutex { .. } | Thing::RwLock { .. } | Thing::Managed { .. })
    }

    /// Whether a thread that waits for it may wait for another one.
    pub fn is_of_threads(&self) -> bool {
        self.is_lock() || matches!(self, Thing::Thread(_))
    }

    /// Whether it is a lock of managed code: a wait for one is ended by Thread.Interrupt, too.
    pub fn is_managed(&self) -> bool {
        matches!(self, Thing::Managed { .. })
    }

    /// The lock of managed code that it is, if the owner of that seems to have ended.
    pub fn abandoned(&self) -> Option<u64> {
        match *self {
            Thing::Managed { id, is_abandoned: true, .. } => Some(id),
            _ => None,
        }
    }

    /// The type of the object that has a lock of managed code, as the CLR calls it.
    pub fn of_type(&self) -> Option<u64> {
        match *self {
            Thing::Managed { of_type, .. } => Some(of_type).filter(|&of_type| of_type != 0),
            _ => None,
        }
    }

    /// Whether it is shared with others in a way that a thread of another process may be the owner, by the same id.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Thing::Mutex { kind, .. } => kind.protects_priority || kind.is_shared && !kind.is_robust,
            _ => false,
        }
    }
}

/// Whether a live thread of the process has this id.
pub type IsThread<'a> = &'a dyn Fn(u32) -> bool;

/// What the word is part of, by all marks that glibc's code leaves there; `Futex` if there are others.
pub fn recognise(wait: &FutexWait, memory: &dyn Memory, is_thread: IsThread<'_>) -> Thing {
    let memory = &Around::read(wait.word, memory);
    let found = match wait.operation {
        Operation::LockPi => mutex_of_kernel(wait, memory),
        _ if wait.is_for_ever => None,
        Operation::Wait | Operation::WaitBitset => {
            let ways = [
                mutex(wait, memory),
                rwlock(wait, memory, 8),
                rwlock(wait, memory, 12),
                rwlock(wait, memory, 0),
                join(wait, memory, is_thread),
                semaphore(wait, memory),
                condition(wait, memory, 40),
                condition(wait, memory, 44),
            ];
            // What fits two ways is not known to be either.
            let mut ways = ways.into_iter().flatten();
            ways.next().filter(|_| ways.next().is_none())
        }
        Operation::Requeue => None,
    };
    found.unwrap_or(Thing::Futex(wait.word))
}

/// What stands around a word, read at once, as each read of another process's memory is a system call: all that any
/// thing of which it may be part of reaches to.
struct Around<'m> {
    start: u64,
    bytes: [u8; BEFORE + BEHIND],
    length: usize,
    memory: &'m dyn Memory,
}

/// A condition variable begins so far before its last word, and a rwlock ends so far behind its first.
const BEFORE: usize = 48;
const BEHIND: usize = 56;

impl<'m> Around<'m> {
    fn read(word: u64, memory: &'m dyn Memory) -> Self {
        let mut around = Around {
            start: word.wrapping_sub(BEFORE as u64),
            bytes: [0; BEFORE + BEHIND],
            length: 0,
            memory,
        };
        around.length = memory.read(around.start, &mut around.bytes);
        around
    }
}

impl Memory for Around<'_> {
    /// What is not around is read from the memory.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let offset = address.wrapping_sub(self.start) as usize;
        let read = self.bytes.get(..self.length).and_then(|bytes| bytes.get(offset..)?.get(..buffer.len()));
        match read {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                bytes.len()
            }
            None => self.memory.read(address, buffer),
        }
    }
}

/// A copy of `N` bytes at an address that is a multiple of 8, or of 4 as far as it is a single word.
struct Words<const N: usize>([u8; N]);

impl<const N: usize> Words<N> {
    fn read(memory: &dyn Memory, address: u64) -> Option<Self> {
        let mut bytes = [0; N];
        let is_aligned = address.is_multiple_of(if N > 4 { 8 } else { 4 });
        (is_aligned && memory.read(address, &mut bytes) == N).then_some(Words(bytes))
    }

    fn word(&self, offset: usize) -> u32 {
        self.0.get(offset..).and_then(<[u8]>::first_chunk).copied().map_or(0, u32::from_le_bytes)
    }
}

// ---- mutexes ------------------------------------------------------------------------------------------------

const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;
const THREAD_ID: u32 = OWNER_DIED - 1;

const ROBUST: u32 = 16;
const INHERITS: u32 = 32;
const PROTECTS: u32 = 64;
const SHARED: u32 = 128;
const ELISION: u32 = 256 | 512;

impl MutexKind {
    fn parse(kind: u32) -> Option<Self> {
        let behaviour = match kind & 3 {
            0 => Behaviour::Plain,
            1 => Behaviour::Recursive,
            2 => Behaviour::ErrorChecking,
            _ => Behaviour::Adaptive,
        };
        let has = |bit| kind & bit != 0;
        let is_legal = kind & !(3 | ROBUST | INHERITS | PROTECTS | SHARED | ELISION) == 0
            && !(has(INHERITS) && has(PROTECTS));
        is_legal.then_some(MutexKind {
            behaviour: Some(behaviour),
            is_robust: has(ROBUST),
            inherits_priority: has(INHERITS),
            protects_priority: has(PROTECTS),
            is_shared: has(SHARED),
        })
    }
}

/// `lock, count, owner, users, kind`, each of 4 bytes.
fn mutex(wait: &FutexWait, memory: &dyn Memory) -> Option<Thing> {
    // Only a wait with a time limit is one of the other operation.
    if wait.operation == Operation::WaitBitset && !wait.is_limited {
        return None;
    }
    let words = Words::<24>::read(memory, wait.word)?;
    let [lock, count, owner, users] = [0, 4, 8, 12].map(|offset| words.word(offset));
    let kind = MutexKind::parse(words.word(16)).filter(|kind| !kind.inherits_priority)?;
    let is_owned = owner != 0 && owner & !THREAD_ID == 0 && (1..WAITERS).contains(&users);
    let fits = if kind.is_robust {
        // glibc takes every one of these for shared between processes.
        let (expected, now) = (wait.expected & THREAD_ID, lock & THREAD_ID);
        let is_waited_for = wait.expected & WAITERS != 0 && lock & (WAITERS | OWNER_DIED) == WAITERS;
        !wait.is_private && is_waited_for && expected != 0 && now == owner
    } else {
        let (held, free_or_held) = (wait.expected & 3, lock & 3);
        let ceiling = if kind.protects_priority { !3 } else { 0 };
        let counts = (kind.behaviour == Some(Behaviour::Recursive)) == (count != 0);
        let is_word = (wait.expected | lock) & !3 & !ceiling == 0;
        held == 2 && (1..=2).contains(&free_or_held) && is_word && counts && wait.is_private != kind.is_shared
    };
    (fits && is_owned).then_some(Thing::Mutex { address: wait.word, kind, owner: Some(owner) })
}

/// A mutex that the kernel passes on: the word tells who has it, in whatever library.
fn mutex_of_kernel(wait: &FutexWait, memory: &dyn Memory) -> Option<Thing> {
    let word = Words::<4>::read(memory, wait.word)?.word(0);
    let owner = Some(word & THREAD_ID).filter(|&owner| owner != 0 && word & OWNER_DIED == 0);
    let of_glibc = Words::<24>::read(memory, wait.word).filter(|words| Some(words.word(8)) == owner);
    let kind =
        of_glibc.and_then(|words| MutexKind::parse(words.word(16))).filter(|kind| kind.inherits_priority);
    let kind = kind.unwrap_or(MutexKind {
        behaviour: None,
        is_robust: false,
        inherits_priority: true,
        protects_priority: false,
        is_shared: !wait.is_private,
    });
    Some(Thing::Mutex { address: wait.word, kind, owner })
}

// ---- the others ---------------------------------------------------------------------------------------------

/// In `readers`: it is a writer's turn, a writer has taken the lock or its turn, readers sleep on this word.
const WRITE_PHASE: u32 = 1;
const WRITE_LOCKED: u32 = 2;
const READERS_WAIT: u32 = 4;
const READERS_SHIFT: u32 = 3;

/// `readers, writers, write phase, writers' word, 0, 0, writer, shared` of 4 bytes each, 16 bytes, `flags`.
fn rwlock(wait: &FutexWait, memory: &dyn Memory, offset: u64) -> Option<Thing> {
    if wait.operation != Operation::WaitBitset {
        return None;
    }
    let address = wait.word.checked_sub(offset)?;
    let words = Words::<56>::read(memory, address)?;
    let [readers, _writers, phase, writers_word, zero, zero_too, writer, shared] =
        [0, 4, 8, 12, 16, 20, 24, 28].map(|offset| words.word(offset));
    let prefers = words.word(48);
    // Both words are 0 or 1, with 2 beside it while someone may sleep there.
    let is_rwlock = (phase | writers_word) & !3 == 0
        && zero | zero_too == 0
        && writer & !THREAD_ID == 0
        && shared <= 1
        && prefers <= 2
        && readers != 0;
    let is_waited_for = match offset {
        8 => matches!(wait.expected, 2 | 3) && phase == wait.expected,
        12 => wait.expected == 3 && writers_word == 3,
        _ => prefers == 2 && wait.expected & readers & READERS_WAIT != 0,
    };
    let is_written = readers & (WRITE_PHASE | WRITE_LOCKED) == WRITE_PHASE | WRITE_LOCKED;
    (is_rwlock && is_waited_for && wait.is_private == (shared == 0)).then_some(Thing::RwLock {
        address,
        writer: Some(writer).filter(|&writer| writer != 0 && is_written),
        readers: if readers & WRITE_PHASE == 0 { readers >> READERS_SHIFT } else { 0 },
        to_write: offset == 12 || (offset == 8 && wait.expected == 2),
    })
}

/// The word that the kernel zeroes when the thread ends: its id, until then.
fn join(wait: &FutexWait, memory: &dyn Memory, is_thread: IsThread<'_>) -> Option<Thing> {
    let id = Words::<4>::read(memory, wait.word)?.word(0);
    // With a mark beside the id it is a robust mutex.
    let is_id = id & !THREAD_ID == 0;
    (!wait.is_private && id == wait.expected && is_id && is_thread(id)).then_some(Thing::Thread(id))
}

/// `value, waiters, private`, each of 4 bytes.
fn semaphore(wait: &FutexWait, memory: &dyn Memory) -> Option<Thing> {
    let words = Words::<16>::read(memory, wait.word)?;
    let [value, waiters, private] = [0, 4, 8].map(|offset| words.word(offset));
    let is_semaphore = wait.operation == Operation::WaitBitset && wait.expected == 0;
    let fits =
        value == 0 && (1..1 << 16).contains(&waiters) && private == if wait.is_private { 0 } else { 128 };
    (is_semaphore && fits).then_some(Thing::Semaphore(wait.word))
}

/// 16 bytes of counters, `references[2], sizes[2]`, 4 bytes, `all references, signals[2]`, each of 4 bytes.
fn condition(wait: &FutexWait, memory: &dyn Memory, offset: u64) -> Option<Thing> {
    let address = wait.word.checked_sub(offset)?;
    let words = Words::<48>::read(memory, address)?;
    let of_group = words.word(16 + (offset as usize - 40));
    let all = words.word(36);
    let fits = of_group >> 1 != 0 && of_group >> 1 < 1 << 16 && all >> 3 != 0 && all >> 3 < 1 << 16;
    let is_private = all & 1 == 0;
    (wait.operation == Operation::WaitBitset && fits && is_private == wait.is_private)
        .then_some(Thing::Condition(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::of_tests::{ADDRESS, Bytes};
    use std::vec;

    const OWNER: u32 = 6574;
    /// What stands in a robust mutex that others wait for.
    const ROBUST_WORD: u32 = WAITERS | OWNER;

    fn wait(offset: u64, operation: Operation, is_private: bool, expected: u32) -> FutexWait {
        FutexWait {
            word: ADDRESS + offset,
            operation,
            is_private,
            expected,
            is_limited: false,
            is_for_ever: false,
        }
    }

    /// What is recognised in memory that has these words, and then nothing more.
    fn recognise_in(words: &[u32], wait: &FutexWait) -> Thing {
        let memory = Bytes(words.iter().flat_map(|word| word.to_le_bytes()).collect());
        recognise(wait, &memory, &|id| id == OWNER)
    }

    /// Memory and a wait as they were in a program with glibc 2.36.
    struct Sample {
        words: &'static [u32],
        wait: FutexWait,
        /// Words with another value are of no such thing.
        marks: &'static [usize],
    }

    fn samples() -> [Sample; 7] {
        let mutex = |words, marks| Sample { words, wait: wait(0, Operation::Wait, true, 2), marks };
        [
            mutex(&[2, 0, OWNER, 1, 0x200, 0, 0, 0], &[0, 1, 2, 3, 4]),
            mutex(&[2, 3, OWNER, 1, 1, 0, 0, 0], &[0, 2, 3, 4]),
            mutex(&[2, 0, OWNER, 1, 2, 0, 0, 0], &[0, 1, 2, 3, 4]),
            mutex(&[2, 0, OWNER, 1, 3, 0, 0, 0], &[0, 1, 2, 3, 4]),
            Sample {
                words: &[ROBUST_WORD, 1, OWNER, 1, 0x290, 0, 0x1000, 0],
                wait: wait(0, Operation::Wait, false, ROBUST_WORD),
                marks: &[0, 2, 3, 4],
            },
            // A rwlock that is had for writing.
            Sample {
                words: &[11, 0, 3, 3, 0, 0, OWNER, 0, 0, 0, 0, 0, 0, 0],
                wait: wait(8, Operation::WaitBitset, true, 3),
                marks: &[2, 3, 4, 5, 6, 7, 12],
            },
            // A thread that is joined.
            Sample { words: &[OWNER], wait: wait(0, Operation::WaitBitset, false, OWNER), marks: &[0] },
        ]
    }

    #[test]
    fn each_kind_is_recognised_by_all_of_its_marks() {
        for Sample { words, wait, marks } in samples() {
            let nothing = Thing::Futex(wait.word);
            assert_eq!(recognise_in(words, &wait).owner(), Some(OWNER), "{words:?}");
            for &mark in marks {
                let mut other = words.to_vec();
                other[mark] = WAITERS | OWNER_DIED;
                assert_eq!(recognise_in(&other, &wait), nothing, "{words:?}, word {mark}");
            }
            if wait.word == ADDRESS {
                let free = [&[0], &words[1..]].concat();
                assert_eq!(recognise_in(&free, &wait), nothing, "{words:?}, free");
            }
            for other in [
                FutexWait { is_private: !wait.is_private, ..wait },
                FutexWait { expected: wait.expected ^ WAITERS, ..wait },
                FutexWait { operation: Operation::Requeue, ..wait },
            ] {
                assert_eq!(recognise_in(words, &other), nothing, "{words:?}, {other:?}");
            }
        }
    }

    /// Memory that counts how often it is read.
    struct Counting(Bytes, core::cell::Cell<usize>);

    impl Memory for Counting {
        fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
            self.1.set(self.1.get() + 1);
            self.0.read(address, buffer)
        }
    }

    #[test]
    fn one_read_tells_where_all_around_is_mapped() {
        for Sample { words, wait, .. } in samples() {
            let shift = BEFORE as u64;
            let mut bytes = vec![0; BEFORE];
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            bytes.resize(2 * (BEFORE + BEHIND), 0);
            let memory = Counting(Bytes(bytes), Default::default());
            let found = recognise(&FutexWait { word: wait.word + shift, ..wait }, &memory, &|id| id == OWNER);
            assert_eq!((found.owner(), memory.1.get()), (Some(OWNER), 1), "{words:?}");
        }
    }

    /// Where glibc has a thread wait for ever, the words around may be those of anything.
    #[test]
    fn a_wait_for_ever_is_for_nothing_whatever_stands_around_it() {
        // Of a condition variable that threads sleep on, but for the group that they sleep in.
        let words = [0, 0, 0, 0, 4, 0, 0, 0, 0, 16, 0, 0];
        for offset in [40, 44] {
            let mut words = words;
            words[4 + (offset as usize - 40) / 4] = 4;
            let sleep = wait(offset, Operation::WaitBitset, true, 0);
            assert_eq!(recognise_in(&words, &sleep), Thing::Condition(ADDRESS), "{offset}");
            let stuck = FutexWait { is_for_ever: true, ..sleep };
            assert_eq!(recognise_in(&words, &stuck), Thing::Futex(stuck.word), "{offset}");
        }
    }

    #[test]
    fn the_word_of_a_robust_mutex_is_no_thread_id() {
        let memory = Bytes([ROBUST_WORD, 0, OWNER, 1, 0x290, 0, 0x1000, 0].map(u32::to_le_bytes).concat());
        let wait = wait(0, Operation::Wait, false, ROBUST_WORD);
        // Whatever the caller thinks of a number that is none.
        let found = recognise(&wait, &memory, &|_| true);
        assert!(matches!(found, Thing::Mutex { owner: Some(OWNER), .. }), "{found:?}");
    }

    #[test]
    fn what_nobody_owns_has_no_owner() {
        let readers = [18, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let found = recognise_in(&readers, &wait(8, Operation::WaitBitset, true, 2));
        assert_eq!(found, Thing::RwLock { address: ADDRESS, writer: None, readers: 2, to_write: true });
        let condition = [2, 0, 0, 0, 2, 0, 0, 0, 0, 8, 0, 0];
        let found = recognise_in(&condition, &wait(40, Operation::WaitBitset, true, 0));
        assert_eq!(found, Thing::Condition(ADDRESS));
        let found = recognise_in(&[0, 1, 0, 0], &wait(0, Operation::WaitBitset, true, 0));
        assert_eq!(found, Thing::Semaphore(ADDRESS));
    }

    #[test]
    fn the_kernel_knows_the_owner_of_what_it_passes_on() {
        let wait = wait(0, Operation::LockPi, true, 0);
        let found = recognise_in(&[WAITERS | OWNER, 1, OWNER, 1, 0x221, 0, 0, 0], &wait);
        let Thing::Mutex { kind, owner: Some(OWNER), .. } = found else { panic!("{found:?}") };
        assert_eq!((kind.behaviour, kind.inherits_priority), (Some(Behaviour::Recursive), true));
        let found = recognise_in(&[WAITERS | OWNER], &wait);
        assert!(matches!(
            found,
            Thing::Mutex { kind: MutexKind { behaviour: None, .. }, owner: Some(OWNER), .. }
        ));
    }
}
