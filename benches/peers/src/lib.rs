//! Locks of Rust behind a C interface, and two functions that do nothing: the cost of the calls themselves.
//!
//! `peer_<lock>_create` makes a lock on the heap; `destroy`, `enter` and `leave` take what it returned. Only the
//! thread that entered may leave.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use parking_lot::lock_api::{RawMutex as _, RawReentrantMutex, RawRwLock as _};
use parking_lot::{RawMutex, RawRwLock, RawThreadId};
use parking_lot_core::{DEFAULT_PARK_TOKEN, DEFAULT_UNPARK_TOKEN, park, unpark_one};

/// What the C interface of a lock needs.
trait Lock: Sized {
    fn create() -> Self;
    fn enter(&'static self);
    /// # Safety
    /// The calling thread has entered.
    unsafe fn leave(&'static self);
}

type ParkingLotReentrant = RawReentrantMutex<RawMutex, RawThreadId>;

impl Lock for ParkingLotReentrant {
    fn create() -> Self {
        Self::INIT
    }
    fn enter(&'static self) {
        self.lock();
    }
    unsafe fn leave(&'static self) {
        // SAFETY: the caller has entered.
        unsafe { self.unlock() };
    }
}

impl Lock for RawMutex {
    fn create() -> Self {
        Self::INIT
    }
    fn enter(&'static self) {
        self.lock();
    }
    unsafe fn leave(&'static self) {
        // SAFETY: the caller has entered.
        unsafe { self.unlock() };
    }
}

/// std's mutex can only be unlocked by its guard, so the guard is kept with it.
struct StdMutex {
    mutex: Mutex<()>,
    guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
}

impl Lock for StdMutex {
    fn create() -> Self {
        StdMutex { mutex: Mutex::new(()), guard: UnsafeCell::new(None) }
    }
    fn enter(&'static self) {
        let guard = self.mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SAFETY: `guard` is only accessed by the thread that holds the mutex.
        unsafe { *self.guard.get() = Some(guard) };
    }
    unsafe fn leave(&'static self) {
        // SAFETY: as in enter; the caller holds the mutex.
        unsafe { drop((*self.guard.get()).take()) };
    }
}

macro_rules! create_and_destroy {
    ($lock:ty: $create:ident $destroy:ident) => {
        #[unsafe(no_mangle)]
        pub extern "C" fn $create() -> *mut c_void {
            Box::into_raw(Box::new(<$lock>::create())).cast()
        }
        /// # Safety
        /// `lock` is from the create of the same name and nobody uses it any more.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $destroy(lock: *mut c_void) {
            // SAFETY: the caller passes what Box::into_raw returned, once.
            drop(unsafe { Box::from_raw(lock.cast::<$lock>()) });
        }
    };
}

macro_rules! c_interface {
    ($lock:ty: $create:ident $destroy:ident $enter:ident $leave:ident) => {
        create_and_destroy!($lock: $create $destroy);
        /// # Safety
        /// `lock` is from the create of the same name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $enter(lock: *mut c_void) {
            // SAFETY: the caller passes a live lock.
            unsafe { (*lock.cast::<$lock>()).enter() }
        }
        /// # Safety
        /// `lock` is from the create of the same name and the calling thread has entered it.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $leave(lock: *mut c_void) {
            // SAFETY: the caller passes a live lock that it has entered.
            unsafe { (*lock.cast::<$lock>()).leave() }
        }
    };
}

c_interface!(ParkingLotReentrant:
    peer_pl_reentrant_create peer_pl_reentrant_destroy peer_pl_reentrant_enter peer_pl_reentrant_leave);
c_interface!(RawMutex: peer_pl_create peer_pl_destroy peer_pl_enter peer_pl_leave);
c_interface!(StdMutex: peer_std_create peer_std_destroy peer_std_enter peer_std_leave);

/// What the C interface of a lock that is owned or shared needs.
trait Shared: Sized {
    fn create() -> Self;
    fn own(&'static self);
    fn share(&'static self);
    /// # Safety
    /// The calling thread owns it.
    unsafe fn disown(&'static self);
    /// # Safety
    /// The calling thread shares it.
    unsafe fn unshare(&'static self);
}

impl Shared for RawRwLock {
    fn create() -> Self {
        Self::INIT
    }
    fn own(&'static self) {
        self.lock_exclusive();
    }
    fn share(&'static self) {
        self.lock_shared();
    }
    unsafe fn disown(&'static self) {
        // SAFETY: the caller owns it.
        unsafe { self.unlock_exclusive() };
    }
    unsafe fn unshare(&'static self) {
        // SAFETY: the caller shares it.
        unsafe { self.unlock_shared() };
    }
}

/// std's lock can only be unlocked by its guards: the owner's is kept with it, that of a thread which shares it with the
/// thread, which shares one lock at a time.
struct StdRwLock {
    lock: RwLock<()>,
    owner: UnsafeCell<Option<RwLockWriteGuard<'static, ()>>>,
}

thread_local! {
    static SHARE: Cell<Option<RwLockReadGuard<'static, ()>>> = const { Cell::new(None) };
}

impl Shared for StdRwLock {
    fn create() -> Self {
        StdRwLock { lock: RwLock::new(()), owner: UnsafeCell::new(None) }
    }
    fn own(&'static self) {
        let guard = self.lock.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SAFETY: `owner` is only accessed by the thread that owns the lock.
        unsafe { *self.owner.get() = Some(guard) };
    }
    fn share(&'static self) {
        SHARE.set(Some(self.lock.read().unwrap_or_else(|poisoned| poisoned.into_inner())));
    }
    unsafe fn disown(&'static self) {
        // SAFETY: as in own; the caller owns the lock.
        unsafe { drop((*self.owner.get()).take()) };
    }
    unsafe fn unshare(&'static self) {
        drop(SHARE.take());
    }
}

macro_rules! c_interface_of_shared {
    ($lock:ty: $create:ident $destroy:ident $own:ident $disown:ident $share:ident $unshare:ident) => {
        create_and_destroy!($lock: $create $destroy);
        c_interface_of_shared!($lock: $own => own, $disown => disown, $share => share, $unshare => unshare);
    };
    ($lock:ty: $($name:ident => $call:ident),*) => {
        $(
            /// # Safety
            /// `lock` is from the create of the same name; the calling thread holds it if this gives it up.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(lock: *mut c_void) {
                // SAFETY: the caller passes a live lock, and holds it if this gives it up.
                #[allow(unused_unsafe)]
                unsafe { Shared::$call(&*lock.cast::<$lock>()) }
            }
        )*
    };
}

c_interface_of_shared!(RawRwLock:
    peer_pl_rw_create peer_pl_rw_destroy peer_pl_rw_own peer_pl_rw_disown peer_pl_rw_share peer_pl_rw_unshare);
c_interface_of_shared!(StdRwLock:
    peer_std_rw_create peer_std_rw_destroy peer_std_rw_own peer_std_rw_disown peer_std_rw_share peer_std_rw_unshare);

/// Waits on the address of `word` while that is `undesired`, in parking_lot's queues.
///
/// # Safety
/// `word` points to a number of the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peer_pl_address_wait(word: *const AtomicU32, undesired: u32) {
    // SAFETY: the caller says so.
    let is_undesired = || unsafe { &*word }.load(Ordering::Relaxed) == undesired;
    // SAFETY: the callbacks neither panic nor call parking_lot.
    unsafe { park(word as usize, is_undesired, || {}, |_, _| {}, DEFAULT_PARK_TOKEN, None) };
}

/// Wakes one that waits on the address of `word`.
#[unsafe(no_mangle)]
pub extern "C" fn peer_pl_address_wake(word: *const AtomicU32) {
    // SAFETY: the callback neither panics nor calls parking_lot.
    unsafe { unpark_one(word as usize, |_| DEFAULT_UNPARK_TOKEN) };
}

/// Does nothing, like `peer_empty_leave`.
#[unsafe(no_mangle)]
pub extern "C" fn peer_empty_enter(_lock: *mut c_void) {}

#[unsafe(no_mangle)]
pub extern "C" fn peer_empty_leave(_lock: *mut c_void) {}
