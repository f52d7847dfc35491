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

use crate::base::name::{NAME_BYTES, NameCopy};
use crate::error::{Error, Result, S_OK};
use crate::state::registry::REGISTRY;
use crate::state::targets::TARGET_NAME_BYTES as PLACE_BYTES;
use crate::sys;
use crate::text::cut;

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

/// The bytes of a name.
///
/// # Safety
/// `utf8` is NULL or points to a zero-terminated string.
unsafe fn name_argument<'a>(utf8: *const c_char) -> Result<&'a [u8]> {
    // SAFETY: see above.
    unsafe { text_argument(utf8, NAME_BYTES) }
}

/// The bytes of a C string, at most one more than are kept, so that it is cut between characters.
///
/// # Safety
/// `utf8` is NULL or points to a zero-terminated string.
unsafe fn text_argument<'a>(utf8: *const c_char, kept: usize) -> Result<&'a [u8]> {
    if utf8.is_null() {
        return Err(Error::Pointer);
    }
    // SAFETY: the caller passes a zero-terminated string; no byte behind its end is looked at.
    Ok(unsafe { core::slice::from_raw_parts(utf8.cast(), sys::string_length(utf8, kept + 1)) })
}

/// The place that a caller names for its call, and without one the address that the call came from.
///
/// # Safety
/// `place` is NULL or points to a zero-terminated string.
unsafe fn site_argument(place: *const c_char, address: usize) -> usize {
    // SAFETY: see above.
    match unsafe { text_argument(place, PLACE_BYTES) } {
        Ok(text) if !text.is_empty() => {
            REGISTRY.targets.intern_place(text).map_or(address, |site| site as usize)
        }
        _ => address,
    }
}

/// Writes a name to a caller's array, cut between characters to what fits with a zero behind it; its whole length.
///
/// # Safety
/// `utf8` is NULL or valid for writing `capacity` bytes.
unsafe fn write_name(utf8: *mut c_char, capacity: usize, name: &[u8]) -> Result<usize> {
    let Some(room) = capacity.checked_sub(1) else { return Ok(name.len()) };
    let part = cut(name, room);
    // SAFETY: the part and the zero have `capacity` bytes at most, for which the caller has room.
    unsafe {
        utf8.cast::<u8>().copy_from_nonoverlapping(part.as_ptr(), part.len());
        utf8.add(part.len()).write(0);
    }
    Ok(name.len())
}

/// Delivers the name that `find` gives, see write_name; an empty one on failure.
///
/// # Safety
/// `utf8` is NULL or valid for writing `capacity` bytes; `length` is NULL or valid for writing.
unsafe fn deliver_name(
    utf8: *mut c_char,
    capacity: usize,
    length: *mut usize,
    find: impl FnOnce() -> Result<NameCopy>,
) -> i32 {
    if utf8.is_null() && capacity != 0 {
        // SAFETY: see above.
        return unsafe { deliver(length, || Err(Error::Pointer)) };
    }
    let make = || {
        let found = find();
        // SAFETY: `utf8` is not NULL where there is capacity.
        let written = unsafe { write_name(utf8, capacity, found.as_ref().map_or(&[], NameCopy::bytes)) };
        found.and(written)
    };
    // SAFETY: see above.
    unsafe { deliver(length, make) }
}

/// Delivers handles to a caller's array, as many as fit, and how many there are.
///
/// # Safety
/// `handles` is NULL or valid for writing `capacity` handles; `count` is NULL or valid for writing.
unsafe fn deliver_handles(
    handles: *mut u64,
    capacity: usize,
    count: *mut usize,
    all: impl Iterator<Item = u64>,
) -> i32 {
    let make = || {
        if handles.is_null() && capacity != 0 {
            return Err(Error::Pointer);
        }
        Ok(all
            .enumerate()
            .map(|(index, handle)| {
                if index < capacity {
                    // SAFETY: the index is below `capacity`, for which the caller has room.
                    unsafe { handles.add(index).write(handle) }
                }
            })
            .count())
    };
    // SAFETY: see above.
    unsafe { deliver(count, make) }
}

/// A struct of the interface that may have more fields in a later version.
///
/// # Safety
/// It is `repr(C)` without padding, and begins with a u32 for its size, which the caller sets.
unsafe trait Growing: Copy {
    /// What it had in the first version, and has in programs that were built for that: this never changes.
    const FIRST_BYTES: u32;
}

/// The size of a caller's struct.
///
/// # Safety
/// `place` points to a u32.
unsafe fn size_of_growing<T: Growing>(place: *const T) -> Result<u32> {
    // SAFETY: see above.
    let size = unsafe { place.cast::<u32>().read() };
    if size >= T::FIRST_BYTES { Ok(size) } else { Err(Error::InvalidArgument) }
}

/// Writes as much of a value as a struct of `size` bytes has room for. What such a struct has more becomes zero.
///
/// # Safety
/// `place` is valid for writing `size` bytes.
unsafe fn write_growing<T: Growing>(place: *mut T, size: u32, value: &T) {
    let known = size_of::<T>().min(size as usize);
    let place = place.cast::<u8>();
    // SAFETY: `known` is at most the size of either side; the rest ends where the caller's struct does.
    unsafe {
        place.copy_from_nonoverlapping((value as *const T).cast(), known);
        place.add(known).write_bytes(0, size as usize - known);
    }
}

/// Fills a caller's struct that begins with its size.
///
/// # Safety
/// `out` is NULL or points to a u32 with the size of the struct it begins, valid for writing.
unsafe fn deliver_sized<T: Growing>(out: *mut T, make: impl FnOnce(u32) -> Result<T>, empty: T) -> i32 {
    if out.is_null() {
        return Error::Pointer.hresult();
    }
    // SAFETY: the caller's struct begins with its size.
    let size = match unsafe { size_of_growing(out) } {
        Ok(size) => size,
        Err(error) => return error.hresult(),
    };
    let result = make(size);
    // SAFETY: the caller's struct is as large as it says; its size field is restored.
    unsafe {
        write_growing(out, size, &result.unwrap_or(empty));
        out.cast::<u32>().write(size);
    }
    hresult(result.map(|_| ()))
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;

    /// Had two fields in the first version.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Grown {
        size: u32,
        first: u32,
        second: u64,
    }

    // SAFETY: no padding, and the size comes first.
    unsafe impl Growing for Grown {
        const FIRST_BYTES: u32 = 8;
    }

    /// What a caller finds whose struct has so many bytes, of memory that was all ones.
    fn delivered(size: u32, result: Result<Grown>) -> (i32, [u32; 8]) {
        let mut memory = [u32::MAX; 8];
        memory[0] = size;
        // SAFETY: the memory is larger than any size of these tests.
        let code = unsafe { deliver_sized(memory.as_mut_ptr().cast(), |_| result, Grown::default()) };
        (code, memory)
    }

    #[test]
    fn a_struct_is_filled_as_far_as_both_sides_know_it() {
        const ONES: u32 = u32::MAX;
        let grown = Grown { size: 16, first: 1, second: 2 };
        assert_eq!(delivered(8, Ok(grown)), (S_OK, [8, 1, ONES, ONES, ONES, ONES, ONES, ONES]));
        assert_eq!(delivered(16, Ok(grown)), (S_OK, [16, 1, 2, 0, ONES, ONES, ONES, ONES]));
        assert_eq!(delivered(24, Ok(grown)), (S_OK, [24, 1, 2, 0, 0, 0, ONES, ONES]));
        let failed = delivered(24, Err(Error::Handle));
        assert_eq!(failed, (Error::Handle.hresult(), [24, 0, 0, 0, 0, 0, ONES, ONES]));
        let refused = delivered(7, Ok(grown));
        assert_eq!(
            refused,
            (Error::InvalidArgument.hresult(), [7, ONES, ONES, ONES, ONES, ONES, ONES, ONES])
        );
    }
}
