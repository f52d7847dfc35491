//! The memory that a report is made from: this process's, or a copy of another's.

use crate::sys;
use crate::sys::atomic::{AtomicU64, Ordering};

/// A `T` of this process, or a copy of one of another process. What may be read of both is written as `impl Shown<T>`,
/// beside the `T`; all else wants a `T`, which only this process has.
#[repr(transparent)]
pub struct Shown<T>(T);

impl<T> Shown<T> {
    /// Makes the object one of which it is not known whose it is.
    #[inline(always)]
    pub fn of(object: &T) -> &Shown<T> {
        // SAFETY: a Shown has the layout of what it holds.
        unsafe { &*core::ptr::from_ref(object).cast() }
    }

    /// For `base` and `state`: rooms above read by their functions.
    #[inline(always)]
    pub(crate) fn fields(&self) -> &T {
        &self.0
    }
}

/// What may be read of a copy of such an object may be read of the object itself.
macro_rules! readable_in_copies {
    ($object:ty $(, $parameter:ident)?) => {
        impl$(<$parameter>)? core::ops::Deref for $object {
            type Target = $crate::base::memory::Shown<$object>;

            #[inline(always)]
            fn deref(&self) -> &Self::Target {
                $crate::base::memory::Shown::of(self)
            }
        }
    };
}
pub(crate) use readable_in_copies;

/// A way to read the objects of a registry.
pub trait Memory {
    /// Whether `read` shows the object itself, which may change meanwhile, and not a copy of it.
    const LIVE: bool;

    /// Calls `take` with the object at `address` as it is at one moment; None if it cannot be read.
    ///
    /// # Safety
    /// In the memory that is read, a `T` stands at `address`. A `T` is made of atomics and valid for all bytes.
    unsafe fn read<T, R>(&self, address: usize, take: impl FnOnce(&Shown<T>) -> R) -> Option<R>;

    /// As read, of the object as it is now: `read` may show what was copied when another object was read.
    ///
    /// # Safety
    /// As read.
    unsafe fn read_anew<T, R>(&self, address: usize, take: impl FnOnce(&Shown<T>) -> R) -> Option<R> {
        // SAFETY: the caller says what read asks for.
        unsafe { self.read(address, take) }
    }

    /// The eight bytes at an address where the program may have its memory, as they are now; None if they cannot be read.
    /// A memory that is `LIVE` has its own way, as there the memory may be gone.
    fn read_of_program(&self, address: u64) -> Option<u64> {
        const { assert!(!Self::LIVE) };
        let number = |bytes: &Shown<AtomicU64>| bytes.fields().load(Ordering::Relaxed);
        // SAFETY: any eight bytes are a number, of which a copy is made.
        unsafe { self.read_anew(usize::try_from(address).ok()?, number) }
    }
}

/// Another memory, of which each object is shown as it is now.
pub(crate) struct Anew<'a, M>(pub(crate) &'a M);

impl<M: Memory> Memory for Anew<'_, M> {
    const LIVE: bool = M::LIVE;

    unsafe fn read<T, R>(&self, address: usize, take: impl FnOnce(&Shown<T>) -> R) -> Option<R> {
        // SAFETY: the caller says what read_anew asks for.
        unsafe { self.0.read_anew(address, take) }
    }

    fn read_of_program(&self, address: u64) -> Option<u64> {
        self.0.read_of_program(address)
    }
}

/// The memory of this process.
#[derive(Clone, Copy)]
pub struct Here;

impl Memory for Here {
    const LIVE: bool = true;

    unsafe fn read<T, R>(&self, address: usize, take: impl FnOnce(&Shown<T>) -> R) -> Option<R> {
        // SAFETY: the caller says that a T of atomics stands there; what the library allocates is never unmapped.
        Some(take(Shown::of(unsafe { &*(address as *const T) })))
    }

    fn read_of_program(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; size_of::<u64>()];
        let is_whole = sys::read_own_memory(address, &mut bytes) == bytes.len();
        is_whole.then(|| u64::from_ne_bytes(bytes))
    }
}
