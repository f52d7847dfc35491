//! Locks of every kind that a chain of waits may lead through, alike for the programs here.

// Each program uses a part.
#![allow(dead_code)]

use std::cell::UnsafeCell;

use hostcrst::ffi::{crst, deadlock, runtime};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Plain,
    Recursive,
    ErrorChecking,
    Adaptive,
    Robust,
    Inheriting,
    RwLock,
    Section,
}

pub const KINDS: [Kind; 8] = [
    Kind::Plain,
    Kind::Recursive,
    Kind::ErrorChecking,
    Kind::Adaptive,
    Kind::Robust,
    Kind::Inheriting,
    Kind::RwLock,
    Kind::Section,
];

pub enum Lock {
    Mutex(UnsafeCell<libc::pthread_mutex_t>, Kind),
    ReadWrite(UnsafeCell<libc::pthread_rwlock_t>),
    Section(u64),
}

// SAFETY: they are made to be shared.
unsafe impl Sync for Lock {}
// SAFETY: they are moved before they are first used.
unsafe impl Send for Lock {}

/// Starts the library; its waits stay as they are when they close a circle.
pub fn prepare() {
    assert!(runtime::host_runtime_start() >= 0);
    // HOST_DEADLOCK_REPORT.
    assert_eq!(deadlock::host_set_deadlock_policy(1), 0);
}

impl Lock {
    /// One that stays for ever.
    pub fn create(kind: Kind) -> &'static Lock {
        Box::leak(Box::new(match kind {
            Kind::RwLock => Lock::ReadWrite(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER)),
            Kind::Section => {
                let mut handle = 0;
                // SAFETY: a valid pointer.
                assert_eq!(unsafe { crst::hostcrst_create(&raw mut handle) }, 0);
                Lock::Section(handle)
            }
            _ => Lock::Mutex(UnsafeCell::new(create_mutex(kind)), kind),
        }))
    }

    pub fn kind(&self) -> Kind {
        match self {
            Lock::Mutex(_, kind) => *kind,
            Lock::ReadWrite(_) => Kind::RwLock,
            Lock::Section(_) => Kind::Section,
        }
    }

    /// For writing, if that makes a difference.
    pub fn lock(&self) {
        // SAFETY: initialised, and never moved or destroyed from then on.
        let result = unsafe {
            match self {
                Lock::Mutex(mutex, _) => libc::pthread_mutex_lock(mutex.get()),
                Lock::ReadWrite(rwlock) => libc::pthread_rwlock_wrlock(rwlock.get()),
                Lock::Section(section) => crst::hostcrst_enter(*section, 0),
            }
        };
        assert_eq!(result, 0);
    }

    pub fn read_lock(&self) {
        let Lock::ReadWrite(rwlock) = self else { panic!("only an rwlock is read") };
        // SAFETY: as in lock.
        assert_eq!(unsafe { libc::pthread_rwlock_rdlock(rwlock.get()) }, 0);
    }

    pub fn unlock(&self) {
        // SAFETY: as in lock.
        let result = unsafe {
            match self {
                Lock::Mutex(mutex, _) => libc::pthread_mutex_unlock(mutex.get()),
                Lock::ReadWrite(rwlock) => libc::pthread_rwlock_unlock(rwlock.get()),
                Lock::Section(section) => crst::hostcrst_leave(*section),
            }
        };
        assert_eq!(result, 0);
    }

    /// Whether the word at the address is one of this lock's. Of a section that is not known.
    pub fn has_word(&self, address: usize) -> bool {
        let (start, size) = match self {
            Lock::Mutex(mutex, _) => (mutex.get().addr(), size_of_val(mutex)),
            Lock::ReadWrite(rwlock) => (rwlock.get().addr(), size_of_val(rwlock)),
            Lock::Section(_) => return address != 0,
        };
        address.wrapping_sub(start) < size
    }

    /// How many tasks wait for the section.
    pub fn section_waiters(&self) -> Option<u32> {
        let Lock::Section(section) = self else { return None };
        // SAFETY: zeros are a valid hostcrst_info_t.
        let mut info: crst::hostcrst_info_t = unsafe { std::mem::zeroed() };
        info.size = size_of::<crst::hostcrst_info_t>() as u32;
        // SAFETY: a valid pointer.
        (unsafe { crst::hostcrst_info(*section, &raw mut info) } == 0).then_some(info.waiters)
    }
}

fn create_mutex(kind: Kind) -> libc::pthread_mutex_t {
    /// PTHREAD_MUTEX_ADAPTIVE_NP.
    const ADAPTIVE: i32 = 3;
    let behaviour = match kind {
        Kind::Recursive => libc::PTHREAD_MUTEX_RECURSIVE,
        Kind::ErrorChecking => libc::PTHREAD_MUTEX_ERRORCHECK,
        Kind::Adaptive => ADAPTIVE,
        _ => libc::PTHREAD_MUTEX_NORMAL,
    };
    let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
    // SAFETY: the attributes are initialised first, and all pointers are valid.
    unsafe {
        let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
        assert_eq!(libc::pthread_mutexattr_init(&raw mut attributes), 0);
        assert_eq!(libc::pthread_mutexattr_settype(&raw mut attributes, behaviour), 0);
        if kind == Kind::Robust {
            assert_eq!(libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST), 0);
        }
        if kind == Kind::Inheriting {
            assert_eq!(
                libc::pthread_mutexattr_setprotocol(&raw mut attributes, libc::PTHREAD_PRIO_INHERIT),
                0
            );
        }
        assert_eq!(libc::pthread_mutex_init(&raw mut mutex, &raw const attributes), 0);
    }
    mutex
}
