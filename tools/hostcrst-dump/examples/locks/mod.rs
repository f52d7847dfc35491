//! Locks of every kind that a chain of waits may lead through, alike for the programs here.

// Each program uses a part.
#![allow(dead_code)]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use hostcrst::constants::{HOST_WAIT_FLAG_LAST_OF_CYCLE, HOST_WAIT_NODE_SRW_LOCK};
use hostcrst::ffi::{crst, deadlock, report, resource, runtime, task, win32};

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
    WindowsSection,
    /// Exclusively.
    SrwLock,
    Resource,
}

pub const KINDS: [Kind; 11] = [
    Kind::Plain,
    Kind::Recursive,
    Kind::ErrorChecking,
    Kind::Adaptive,
    Kind::Robust,
    Kind::Inheriting,
    Kind::RwLock,
    Kind::Section,
    Kind::WindowsSection,
    Kind::SrwLock,
    Kind::Resource,
];

pub enum Lock {
    Mutex(UnsafeCell<libc::pthread_mutex_t>, Kind),
    ReadWrite(UnsafeCell<libc::pthread_rwlock_t>),
    Section(u64),
    WindowsSection(UnsafeCell<CriticalSection>),
    /// An SRWLOCK.
    Srw(UnsafeCell<u64>),
    Resource(OwnLock),
}

/// The bytes of a CRITICAL_SECTION.
#[repr(C, align(8))]
pub struct CriticalSection([u32; 10]);

/// A recursive lock of the program's own, which the library knows by what it is told only: nothing that it is made of has
/// an owner.
pub struct OwnLock {
    resource: u64,
    is_free: UnsafeCell<libc::sem_t>,
    owner: AtomicI32,
    depth: AtomicU32,
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

/// The handle of the calling thread's task.
pub fn current_task() -> u64 {
    let mut handle = 0;
    // SAFETY: a valid pointer.
    assert_eq!(unsafe { task::host_task_current(&raw mut handle) }, 0);
    handle
}

/// What the library says of whom a task waits for.
pub fn wait_chain(task: u64) -> Vec<report::host_wait_node_t> {
    /// A node for each thread, and for what it waits for.
    const MOST: usize = 32;
    // SAFETY: zeros are a valid host_wait_node_t.
    let mut nodes = vec![unsafe { std::mem::zeroed::<report::host_wait_node_t>() }; MOST];
    nodes[0].size = size_of::<report::host_wait_node_t>() as u32;
    let mut count = 0;
    // SAFETY: that many nodes can be written, and `count` too.
    assert_eq!(unsafe { report::host_wait_chain(task, nodes.as_mut_ptr(), MOST, &raw mut count) }, 0);
    nodes.truncate(count);
    nodes
}

/// How many tasks wait for what stands at the address, an SRW lock.
fn waiters_at(address: u64) -> u32 {
    const MOST: usize = 64;
    let (mut tasks, mut count) = ([0; MOST], 0);
    // SAFETY: that many handles can be written, and `count` too.
    assert_eq!(unsafe { task::host_task_list(tasks.as_mut_ptr(), MOST, &raw mut count) }, 0);
    let waits = |&&task: &&u64| {
        let chain = wait_chain(task);
        chain.get(1).is_some_and(|node| node.kind == HOST_WAIT_NODE_SRW_LOCK && node.handle == address)
    };
    tasks[..count].iter().filter(waits).count() as u32
}

/// Whether the library calls the chain a deadlock.
pub fn is_closed(chain: &[report::host_wait_node_t]) -> bool {
    chain.last().is_some_and(|last| last.flags & HOST_WAIT_FLAG_LAST_OF_CYCLE != 0)
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
            Kind::WindowsSection => {
                let mut section = CriticalSection([0; 10]);
                // SAFETY: a valid pointer; it is moved before it is first entered.
                unsafe { win32::hostcrst_cs_initialize((&raw mut section).cast()) };
                Lock::WindowsSection(UnsafeCell::new(section))
            }
            Kind::SrwLock => Lock::Srw(UnsafeCell::new(0)),
            Kind::Resource => Lock::Resource(OwnLock::new()),
            _ => Lock::Mutex(UnsafeCell::new(create_mutex(kind)), kind),
        }))
    }

    pub fn kind(&self) -> Kind {
        match self {
            Lock::Mutex(_, kind) => *kind,
            Lock::ReadWrite(_) => Kind::RwLock,
            Lock::Section(_) => Kind::Section,
            Lock::WindowsSection(_) => Kind::WindowsSection,
            Lock::Srw(_) => Kind::SrwLock,
            Lock::Resource(_) => Kind::Resource,
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
                Lock::WindowsSection(section) => {
                    win32::hostcrst_cs_enter(section.get().cast());
                    0
                }
                Lock::Srw(lock) => {
                    win32::hostcrst_srw_acquire_exclusive(lock.get().cast());
                    0
                }
                Lock::Resource(lock) => lock.lock(),
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
                Lock::WindowsSection(section) => {
                    win32::hostcrst_cs_leave(section.get().cast());
                    0
                }
                Lock::Srw(lock) => {
                    win32::hostcrst_srw_release_exclusive(lock.get().cast());
                    0
                }
                Lock::Resource(lock) => lock.unlock(),
            }
        };
        assert_eq!(result, 0);
    }

    /// Whether the word at the address is one of this lock's. Of what is the library's that is not known.
    pub fn has_word(&self, address: usize) -> bool {
        let (start, size) = match self {
            Lock::Mutex(mutex, _) => (mutex.get().addr(), size_of_val(mutex)),
            Lock::ReadWrite(rwlock) => (rwlock.get().addr(), size_of_val(rwlock)),
            Lock::Resource(lock) => (lock.is_free.get().addr(), size_of_val(&lock.is_free)),
            Lock::Section(_) | Lock::WindowsSection(_) | Lock::Srw(_) => return address != 0,
        };
        address.wrapping_sub(start) < size
    }

    /// How many tasks wait for the lock, if it is the library's.
    pub fn waiters(&self) -> Option<u32> {
        match self {
            Lock::Section(section) => {
                // SAFETY: zeros are a valid hostcrst_info_t.
                let mut info: crst::hostcrst_info_t = unsafe { std::mem::zeroed() };
                info.size = size_of::<crst::hostcrst_info_t>() as u32;
                // SAFETY: a valid pointer.
                (unsafe { crst::hostcrst_info(*section, &raw mut info) } == 0).then_some(info.waiters)
            }
            Lock::WindowsSection(section) => {
                // SAFETY: LockCount stands there, and is written atomically.
                let lock_count = unsafe { AtomicU32::from_ptr(section.get().cast::<u32>().add(2)) };
                Some(!lock_count.load(Ordering::Relaxed) >> 2)
            }
            Lock::Srw(lock) => Some(waiters_at(lock.get().addr() as u64)),
            _ => None,
        }
    }
}

impl OwnLock {
    fn new() -> Self {
        let mut resource = 0;
        // SAFETY: a valid pointer.
        assert_eq!(unsafe { resource::host_resource_create(&raw mut resource) }, 0);
        // SAFETY: zeros are a valid sem_t, which is initialised next.
        let mut is_free = unsafe { std::mem::zeroed() };
        // SAFETY: a valid pointer; it is moved before it is first waited for.
        assert_eq!(unsafe { libc::sem_init(&raw mut is_free, 0, 1) }, 0);
        let (owner, depth) = (AtomicI32::new(0), AtomicU32::new(0));
        OwnLock { resource, is_free: UnsafeCell::new(is_free), owner, depth }
    }

    fn lock(&self) -> i32 {
        // SAFETY: has no preconditions.
        let me = unsafe { libc::gettid() };
        // SAFETY: as in lock.
        let is_taken = || unsafe { libc::sem_trywait(self.is_free.get()) } == 0;
        if self.owner.load(Ordering::Relaxed) != me && !is_taken() {
            assert_eq!(resource::host_resource_wait(self.resource, 0), 0);
            // SAFETY: as above.
            while unsafe { libc::sem_wait(self.is_free.get()) } != 0 {}
        }
        self.owner.store(me, Ordering::Relaxed);
        self.depth.fetch_add(1, Ordering::Relaxed);
        resource::host_resource_acquired(self.resource)
    }

    fn unlock(&self) -> i32 {
        let result = resource::host_resource_released(self.resource);
        if self.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.owner.store(0, Ordering::Relaxed);
            // SAFETY: as in lock.
            assert_eq!(unsafe { libc::sem_post(self.is_free.get()) }, 0);
        }
        result
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
