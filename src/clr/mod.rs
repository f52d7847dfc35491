//! The CLR as the hosted runtime: it loads this library as a profiler and calls it at each transition and for each
//! thread. Only translates: what a transition does to a task is decided below.
//!
//! A .NET process is started with `CORECLR_ENABLE_PROFILING=1`, `CORECLR_PROFILER` set to any GUID in braces,
//! and `CORECLR_PROFILER_PATH` set to the library. The CLR calls [`DllGetClassObject`] for a class factory,
//! takes a callback object from it, and initializes that with its own interfaces:
//!
//! ```text
//!   CLR ──► DllGetClassObject ──► class factory ──► callback ──► crossing (what it means) ──► task
//!                                                      │  └────► threads  (whose it is)   ──► task
//!                                                      ├───────► functions (its name)     ──► targets
//!                                                      ├───────► contention (locks)       ──► task
//!                                                      ├───────► types (of their objects) ──► targets
//!                                                      ├───────► places (of calls)        ──► targets
//!                                                      ├───────► callees (of callbacks)   ──► targets
//!                                                      ├───────► session (from when)  ──► CLR
//!                                                      └──► inlining, modules, elsewhere └──► info ──► CLR
//! ```

mod beside;
mod callback;
mod callees;
mod com;
mod contention;
mod crossing;
mod elsewhere;
#[cfg(test)]
mod fake;
mod functions;
mod info;
mod inlining;
mod modules;
mod own_code;
mod places;
mod session;
mod threads;
mod types;

use core::ffi::c_void;
use core::ptr::null_mut;

use crate::error::{S_FALSE, S_OK};
use callback::CALLBACK;
use com::{Guid, IID_UNKNOWN, Object, Vtable, hresult};

const IID_CLASS_FACTORY: Guid = Guid::new(0x00000001_0000_0000_C000_000000000046);
/// CLASS_E_NOAGGREGATION: the object cannot be made part of another.
const NO_AGGREGATION: i32 = 0x8004_0110_u32 as i32;

static FACTORY: Object<5> = Object::new(&FACTORY_METHODS);
static FACTORY_METHODS: Vtable<5> = Vtable([
    query_interface as *const (),
    add_reference as *const (),
    release as *const (),
    create_instance as *const (),
    lock_server as *const (),
]);

/// Gives the CLR the class factory of its profiler. Any class id is accepted: the library has one class.
///
/// cbindgen:ignore
///
/// # Safety
/// The pointers are null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DllGetClassObject(
    class: *const Guid,
    iid: *const Guid,
    out: *mut *mut c_void,
) -> i32 {
    if !class.is_null() {
        // SAFETY: not null, so valid by the contract.
        beside::asked_for(unsafe { &*class });
    }
    // SAFETY: the same contract.
    hresult(unsafe { FACTORY.answer(&[IID_UNKNOWN, IID_CLASS_FACTORY], iid, out) })
}

/// Never: tasks and sections are in the library's memory for the life of the process.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub extern "C" fn DllCanUnloadNow() -> i32 {
    S_FALSE
}

unsafe extern "C" fn query_interface(_this: *mut c_void, iid: *const Guid, out: *mut *mut c_void) -> i32 {
    // SAFETY: COM's contract for QueryInterface is the one asked for: null or valid pointers.
    hresult(unsafe { FACTORY.answer(&[IID_UNKNOWN, IID_CLASS_FACTORY], iid, out) })
}

extern "C" fn add_reference(_this: *mut c_void) -> u32 {
    FACTORY.add_reference()
}

extern "C" fn release(_this: *mut c_void) -> u32 {
    FACTORY.release()
}

/// There is one callback object, and a CLR that asks again gets another reference to it.
unsafe extern "C" fn create_instance(
    _this: *mut c_void,
    outer: *mut c_void,
    iid: *const Guid,
    out: *mut *mut c_void,
) -> i32 {
    if !outer.is_null() {
        if !out.is_null() {
            // SAFETY: not null, so valid by COM's contract.
            unsafe { out.write(null_mut()) };
        }
        return NO_AGGREGATION;
    }
    // SAFETY: COM's contract for CreateInstance: null or valid pointers.
    hresult(unsafe { CALLBACK.answer(&callback::INTERFACES, iid, out) })
}

extern "C" fn lock_server(_this: *mut c_void, _lock: i32) -> i32 {
    S_OK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_class_factory_makes_the_callback_object_and_no_aggregate() {
        let mut factory = null_mut();
        // SAFETY: valid pointers; any class id will do, null included.
        let code = unsafe { DllGetClassObject(core::ptr::null(), &IID_CLASS_FACTORY, &mut factory) };
        assert_eq!(code, S_OK);
        type CreateInstance =
            unsafe extern "C" fn(*mut c_void, *mut c_void, *const Guid, *mut *mut c_void) -> i32;
        // SAFETY: slot 3 of IClassFactory is CreateInstance.
        let create: CreateInstance = unsafe { com::method(factory, 3) };

        let mut out = factory;
        // SAFETY: valid pointers; an outer object is refused unread.
        assert_eq!(unsafe { create(factory, factory, &IID_UNKNOWN, &mut out) }, NO_AGGREGATION);
        assert!(out.is_null());
        // SAFETY: valid pointers.
        let code = unsafe { create(factory, null_mut(), &IID_CLASS_FACTORY, &mut out) };
        assert_eq!(code, Error::NoInterface.hresult());
        assert!(out.is_null());
        assert_eq!(release(factory), 0);
    }

    #[test]
    fn the_class_factory_answers_for_its_own_interfaces_only() {
        let mut out = null_mut();
        // SAFETY: valid pointers.
        let code = unsafe { DllGetClassObject(core::ptr::null(), &callback::INTERFACES[1], &mut out) };
        assert_eq!(code, Error::NoInterface.hresult());
        assert!(out.is_null());
    }

    #[test]
    fn the_library_never_unloads() {
        assert_eq!(DllCanUnloadNow(), S_FALSE);
    }
}
