//! The C interface: shims that check arguments, call the core and convert the result. They decide nothing: a shim with
//! a branch of its own is in the wrong file.
//!
//! The documentation of these functions is the C header's, so it names C types and C functions only.

// Every function is in the list of exports by its C name.
#![allow(non_camel_case_types)]

pub mod crst;
pub mod deadlock;
pub mod order;
pub mod report;
pub mod resource;
pub mod runtime;
pub mod statistics;
pub mod task;
pub mod win32;

use core::ffi::c_char;

use crate::base::name::NAME_BYTES;
use crate::error::{Error, Result, S_OK};
use crate::sys;

/// The HRESULT for a result without a value.
fn hresult(result: Result<()>) -> i32 {
    match result {
        Ok(()) => S_OK,
        Err(error) => error.hresult(),
    }
}

/// Writes the value of a result to `out`, or zero on failure, and returns the HRESULT. Does not call `make` if `out` is
/// NULL.
///
/// # Safety
/// `out` is NULL or valid for writing a `T`.
unsafe fn deliver<T: Default>(out: *mut T, make: impl FnOnce() -> Result<T>) -> i32 {
    if out.is_null() {
        return Error::Pointer.hresult();
    }
    let result = make();
    let code = hresult(result.as_ref().map(|_| ()).map_err(|error| *error));
    // SAFETY: the caller of this function keeps `out` valid for writing.
    unsafe { out.write(result.unwrap_or_default()) };
    code
}

/// The bytes of a C string, at most one more than a name can have, so that the name is cut between characters.
///
/// # Safety
/// `utf8` is NULL or points to a zero-terminated string.
unsafe fn name_argument<'a>(utf8: *const c_char) -> Result<&'a [u8]> {
    if utf8.is_null() {
        return Err(Error::Pointer);
    }
    // SAFETY: the caller passes a zero-terminated string; no byte behind its end is looked at.
    Ok(unsafe { core::slice::from_raw_parts(utf8.cast(), sys::string_length(utf8, NAME_BYTES + 1)) })
}

/// Fills a caller's struct that begins with its size, which must be at least ours.
///
/// # Safety
/// `out` is NULL or points to a u32 with the size of the struct it begins, valid for writing.
unsafe fn deliver_sized<T: Copy>(out: *mut T, make: impl FnOnce(u32) -> Result<T>, empty: T) -> i32 {
    if out.is_null() {
        return Error::Pointer.hresult();
    }
    // SAFETY: the caller's struct begins with its size.
    let size = unsafe { out.cast::<u32>().read() };
    if (size as usize) < size_of::<T>() {
        return Error::InvalidArgument.hresult();
    }
    let result = make(size);
    // SAFETY: the caller's struct is at least as large as a T; its size field is restored.
    unsafe {
        out.write(result.unwrap_or(empty));
        out.cast::<u32>().write(size);
    }
    hresult(result.map(|_| ()))
}
