//! Whose memory a picture is drawn from: this process's, or a copy of another's.

/// A way to look at the objects of a registry.
pub trait Memory {
    /// Whether `look` shows the object itself, which may change during the look, and not a copy of it.
    const LIVE: bool;

    /// Shows `look` the object at `address` as it is at one moment; None if it cannot be read.
    ///
    /// # Safety
    /// In the memory looked at, a `T` stands at `address`. A `T` is made of atomics and valid for all bytes.
    unsafe fn look<T, R>(&self, address: usize, look: impl FnOnce(&T) -> R) -> Option<R>;
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
