//! Everything that can go wrong, once: one enum, one table to the HRESULT values callers see, one sentence each.

use thiserror::Error;

/// The call succeeded.
pub const S_OK: i32 = 0;
/// The call succeeded and there was nothing to do.
pub const S_FALSE: i32 = 1;

/// A failure of the library, one variant for each code a caller can be given.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[repr(i32)]
#[rustfmt::skip]
pub enum Error {
    /// E_NOTIMPL
    #[error("not implemented: this request is known and refused in this version")]
    NotImplemented = 0x8000_4001_u32 as i32,
    /// E_NOINTERFACE
    #[error("no such interface: the object does not answer for the interface asked for")]
    NoInterface = 0x8000_4002_u32 as i32,
    /// E_POINTER
    #[error("null pointer: an argument that must point to something was NULL")]
    Pointer = 0x8000_4003_u32 as i32,
    /// E_FAIL
    #[error("unknown failure: the operating system refused something the library cannot do without")]
    Fail = 0x8000_4005_u32 as i32,
    /// E_HANDLE
    #[error("invalid handle: it is zero, forged, of another kind, or its object no longer exists")]
    Handle = 0x8007_0006_u32 as i32,
    /// E_OUTOFMEMORY
    #[error("out of memory: nothing was allocated and nothing changed")]
    OutOfMemory = 0x8007_000E_u32 as i32,
    /// E_INVALIDARG
    #[error("invalid argument: a value or an option bit is not one this function knows")]
    InvalidArgument = 0x8007_0057_u32 as i32,
    /// HOST_E_DEADLOCK
    #[error("deadlock: this wait was part of a cycle and was chosen to be broken; every section is as it was")]
    Deadlock = 0x8013_1020_u32 as i32,
    /// HOST_E_INTERRUPTED
    #[error("interrupted: the task was alerted while it waited alertably")]
    Interrupted = 0x8013_1021_u32 as i32,
    /// HOST_E_INVALIDOPERATION
    #[error("invalid operation: the call does not fit the present state of the task or section")]
    InvalidOperation = 0x8013_1022_u32 as i32,
    /// HOST_E_CLRNOTAVAILABLE
    #[error("runtime not available: it was not started, was stopped, or has failed")]
    NotAvailable = 0x8013_1023_u32 as i32,
    /// HOST_E_TIMEOUT
    #[error("timeout: the time limit passed before the section was free")]
    Timeout = 0x8013_1024_u32 as i32,
    /// HOST_E_NOT_OWNER
    #[error("not the owner: the calling task does not own the section")]
    NotOwner = 0x8013_1025_u32 as i32,
    /// HOST_E_ABANDONED
    #[error("abandoned: the section was destroyed during the wait, or its owner ended without leaving it")]
    Abandoned = 0x8013_1026_u32 as i32,
}

impl Error {
    /// Every variant, for look-ups by code.
    const ALL: [Error; 14] = [
        Error::NotImplemented,
        Error::NoInterface,
        Error::Pointer,
        Error::Fail,
        Error::Handle,
        Error::OutOfMemory,
        Error::InvalidArgument,
        Error::Deadlock,
        Error::Interrupted,
        Error::InvalidOperation,
        Error::NotAvailable,
        Error::Timeout,
        Error::NotOwner,
        Error::Abandoned,
    ];

    /// The code a caller sees: an HRESULT, always negative.
    pub const fn hresult(self) -> i32 {
        self as i32
    }

    /// The failure a code stands for, if it is one of the library's.
    pub fn from_hresult(code: i32) -> Option<Error> {
        Self::ALL.into_iter().find(|error| error.hresult() == code)
    }
}

/// What the core returns.
pub type Result<T> = core::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_failure_and_maps_back_to_its_variant() {
        for error in Error::ALL {
            assert!(error.hresult() < 0, "{error:?}");
            assert_eq!(Error::from_hresult(error.hresult()), Some(error));
        }
        assert_eq!(Error::from_hresult(S_OK), None);
        assert_eq!(Error::from_hresult(S_FALSE), None);
    }
}
