//! Locks of Rust behind a C interface, and two functions that do nothing: the cost of the calls themselves.
//!
//! `peer_<lock>_create` makes a lock on the heap; `destroy`, `enter` and `leave` take what it returned. Only the
//! thread that entered may leave.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard};

use parking_lot::lock_api::{RawMutex as _, RawReentrantMutex};
use parking_lot::{RawMutex, RawThreadId};

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

macro_rules! c_interface {
    ($lock:ty: $create:ident $destroy:ident $enter:ident $leave:ident) => {
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

/// Does nothing, like `peer_empty_leave`.
#[unsafe(no_mangle)]
pub extern "C" fn peer_empty_enter(_lock: *mut c_void) {}

#[unsafe(no_mangle)]
pub extern "C" fn peer_empty_leave(_lock: *mut c_void) {}
