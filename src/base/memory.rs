//! The memory that a report is made from: this process's, or a copy of another's.

/// A way to look at the objects of a registry.
pub trait Memory {
    /// Whether `look` shows the object itself, which may change meanwhile, and not a copy of it.
    const LIVE: bool;

    /// Shows `look` the object at `address` as it is at one moment; None if it cannot be read.
    ///
    /// # Safety
    /// In the memory looked at, a `T` stands at `address`. A `T` is made of atomics and valid for all bytes.
    unsafe fn look<T, R>(&self, address: usize, look: impl FnOnce(&T) -> R) -> Option<R>;

    /// As look, at the object as it is now: `look` may show what was copied when another object was looked at.
    ///
    /// # Safety
    /// As look.
    unsafe fn look_anew<T, R>(&self, address: usize, look: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: the caller says what look asks for.
        unsafe { self.look(address, look) }
    }
}

/// Another memory, of which each object is shown as it is now.
pub(crate) struct Anew<'a, M>(pub(crate) &'a M);

impl<M: Memory> Memory for Anew<'_, M> {
    const LIVE: bool = M::LIVE;

    unsafe fn look<T, R>(&self, address: usize, look: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: the caller says what look_anew asks for.
        unsafe { self.0.look_anew(address, look) }
    }
}

/// The memory of this process.
#[derive(Clone, Copy)]
pub struct Here;

impl Memory for Here {
    const LIVE: bool = true;

    unsafe fn look<T, R>(&self, address: usize, look: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: the caller says that a T of atomics stands there; what the library allocates is never unmapped.
        Some(look(unsafe { &*(address as *const T) }))
    }
}
