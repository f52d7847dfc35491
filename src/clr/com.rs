//! The parts of COM that calls to and from the CLR need: interface ids, vtables, counted pointers.

use core::ffi::c_void;
use core::mem::transmute_copy;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result, S_OK};

/// An interface or class id, laid out as COM passes it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Guid(u32, u16, u16, [u8; 8]);

impl Guid {
    /// The id usually written `{AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE}`, as the number those digits make.
    pub(crate) const fn new(digits: u128) -> Guid {
        let tail = (digits as u64).to_be_bytes();
        Guid((digits >> 96) as u32, (digits >> 80) as u16, (digits >> 64) as u16, tail)
    }
}

pub(crate) const IID_UNKNOWN: Guid = Guid::new(0x00000000_0000_0000_C000_000000000046);

/// Slots of IUnknown, which begins every interface.
pub(crate) const UNKNOWN_METHODS: usize = 3;
const QUERY_INTERFACE: usize = 0;
const RELEASE: usize = 2;

/// The methods of an interface, in slot order.
#[repr(transparent)]
pub(crate) struct Vtable<const METHODS: usize>(pub(crate) [*const (); METHODS]);

// SAFETY: the pointers are addresses of functions, which never change and may be called from any thread.
unsafe impl<const METHODS: usize> Sync for Vtable<METHODS> {}

/// One of our objects: a vtable and a count of references. All of them are statics, so a count of zero frees
/// nothing; it is kept because COM promises its callers true counts.
#[repr(C)]
pub(crate) struct Object<const METHODS: usize> {
    vtable: &'static Vtable<METHODS>,
    references: AtomicU32,
}

impl<const METHODS: usize> Object<METHODS> {
    pub(crate) const fn new(vtable: &'static Vtable<METHODS>) -> Self {
        Object { vtable, references: AtomicU32::new(0) }
    }

    pub(crate) fn add_reference(&self) -> u32 {
        self.references.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// One release too many leaves the count at zero.
    pub(crate) fn release(&self) -> u32 {
        let before = self.references.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        before.map_or(0, |n| n.wrapping_sub(1))
    }

    /// Answers a QueryInterface: `out` receives this object if `iid` is among `interfaces`, else null.
    ///
    /// # Safety
    /// `iid` and `out` are null or valid, as COM asks of every caller.
    pub(crate) unsafe fn answer(
        &'static self,
        interfaces: &[Guid],
        iid: *const Guid,
        out: *mut *mut c_void,
    ) -> Result<()> {
        if out.is_null() {
            return Err(Error::Pointer);
        }
        // SAFETY: `out` is not null, so by this function's contract it can be written.
        unsafe { out.write(null_mut()) };
        if iid.is_null() {
            return Err(Error::Pointer);
        }
        // SAFETY: `iid` is not null, so by this function's contract it can be read.
        let iid = unsafe { iid.read_unaligned() };
        if !interfaces.contains(&iid) {
            return Err(Error::NoInterface);
        }
        self.add_reference();
        // SAFETY: as above. The caller sees a COM object: a pointer to a pointer to the methods of `iid`.
        unsafe { out.write(core::ptr::from_ref(self).cast_mut().cast()) };
        Ok(())
    }
}

/// What a method of ours returns to the CLR.
pub(crate) fn hresult(result: Result<()>) -> i32 {
    result.map_or_else(Error::hresult, |()| S_OK)
}

/// A counted reference to an object of the CLR's.
pub(crate) struct Com(NonNull<c_void>);

impl Com {
    /// Takes over a reference that a successful call wrote to an out parameter.
    ///
    /// # Safety
    /// `object` is null or a live COM object, with a reference for the result to give back.
    pub(crate) unsafe fn adopt(object: *mut c_void) -> Option<Com> {
        NonNull::new(object).map(Com)
    }

    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// Gives up the pointer without releasing the reference.
    pub(crate) fn into_raw(self) -> *mut c_void {
        let raw = self.as_ptr();
        core::mem::forget(self);
        raw
    }
}

impl Drop for Com {
    fn drop(&mut self) {
        // SAFETY: a live object by the contract of `adopt`, and Release has this signature in every
        // interface.
        unsafe {
            let release: unsafe extern "C" fn(*mut c_void) -> u32 = method(self.as_ptr(), RELEASE);
            release(self.as_ptr());
        }
    }
}

/// The method in a slot of a COM object's vtable.
///
/// # Safety
/// `object` is live, its vtable has that slot, and `F` is the type of the function pointer there.
#[inline]
pub(crate) unsafe fn method<F: Copy>(object: *mut c_void, slot: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<*const ()>()) };
    // SAFETY: a COM object begins with a pointer to its table of function pointers; the rest is the contract.
    unsafe {
        let vtable = *object.cast::<*const *const ()>();
        transmute_copy(&*vtable.add(slot))
    }
}

/// Asks a COM object for another of its interfaces.
///
/// # Safety
/// `object` is live.
pub(crate) unsafe fn query(object: *mut c_void, iid: &Guid) -> Option<Com> {
    type QueryInterface = unsafe extern "C" fn(*mut c_void, *const Guid, *mut *mut c_void) -> i32;
    let mut out = null_mut();
    // SAFETY: the contract gives a live object; slot and signature are IUnknown's. What a successful call
    // writes is a reference for us.
    unsafe {
        let query_interface: QueryInterface = method(object, QUERY_INTERFACE);
        if query_interface(object, iid, &mut out) < 0 { None } else { Com::adopt(out) }
    }
}
