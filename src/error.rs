//! Everything that can go wrong, once: one table of variant, code, name and sentence. build.rs puts it into the header.

use core::ffi::CStr;

use thiserror::Error;

/// The call succeeded.
pub const S_OK: i32 = 0;
/// The call succeeded and there was nothing to do.
pub const S_FALSE: i32 = 1;

/// The codes of success, each with its name and what the header says of it.
pub const SUCCESSES: &[(i32, &str, &str)] = &[
    (S_OK, "S_OK", "The call succeeded."),
    (S_FALSE, "S_FALSE", "The call succeeded and there was nothing to do."),
];

macro_rules! errors {
    ($($variant:ident = $code:literal, $name:ident, $sentence:literal;)*) => {
        /// A failure of the library, one variant for each code a caller can be given.
        #[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Error {
            $(
                #[doc = stringify!($name)]
                #[error($sentence)]
                $variant = $code as i32,
            )*
        }

        impl Error {
            /// Every variant with the name of its code.
            pub const ALL: &'static [(Error, &'static str)] = &[$((Error::$variant, stringify!($name)),)*];

            const fn sentence(self) -> &'static CStr {
                match self {
                    $(Error::$variant => c_string(concat!($sentence, "\0")),)*
                }
            }
        }
    };
}

const fn c_string(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

// The header says of each code what stands behind the colon.
#[rustfmt::skip]
errors! {
    NotImplemented = 0x8000_4001_u32, E_NOTIMPL,
        "not implemented: this request is known and refused in this version";
    NoInterface = 0x8000_4002_u32, E_NOINTERFACE,
        "no such interface: the object does not answer for the interface asked for";
    Pointer = 0x8000_4003_u32, E_POINTER,
        "null pointer: an argument that must point to something was NULL";
    Fail = 0x8000_4005_u32, E_FAIL,
        "unknown failure: the operating system refused something that the library cannot do without";
    Handle = 0x8007_0006_u32, E_HANDLE,
        "invalid handle: the handle is zero, forged, of another kind, or its object no longer exists";
    OutOfMemory = 0x8007_000E_u32, E_OUTOFMEMORY,
        "out of memory: nothing was allocated and nothing changed";
    InvalidArgument = 0x8007_0057_u32, E_INVALIDARG,
        "invalid argument: a value, option bit, size or descriptor is not one that this function takes";
    Deadlock = 0x8013_1020_u32, HOST_E_DEADLOCK,
        "deadlock: the wait was part of a cycle and was chosen to be broken; every section is as it was";
    Interrupted = 0x8013_1021_u32, HOST_E_INTERRUPTED,
        "interrupted: the task was alerted while it waited alertably";
    InvalidOperation = 0x8013_1022_u32, HOST_E_INVALIDOPERATION,
        "invalid operation: the call does not fit the present state of the task or section";
    NotAvailable = 0x8013_1023_u32, HOST_E_CLRNOTAVAILABLE,
        "runtime not available: the runtime was not started, was stopped, or has failed";
    Timeout = 0x8013_1024_u32, HOST_E_TIMEOUT,
        "timeout: the time limit passed before the section was free";
    NotOwner = 0x8013_1025_u32, HOST_E_NOT_OWNER,
        "not the owner: the calling task does not own the section";
    Abandoned = 0x8013_1026_u32, HOST_E_ABANDONED,
        "abandoned: the section was destroyed during the wait, or its owner ended without leaving it";
}

impl Error {
    /// The code a caller sees: an HRESULT, always negative.
    pub const fn hresult(self) -> i32 {
        self as i32
    }

    /// The failure a code stands for, if it is one of the library's.
    pub fn from_hresult(code: i32) -> Option<Error> {
        Self::ALL.iter().map(|(error, _)| *error).find(|error| error.hresult() == code)
    }

    /// A sentence for any code.
    pub fn message_of(code: i32) -> &'static CStr {
        match (code, Self::from_hresult(code)) {
            (S_OK, _) => c"success",
            (S_FALSE, _) => c"success: it was so already, and nothing was done",
            (_, Some(error)) => error.sentence(),
            (0.., None) => c"a success code that is not one of this library",
            (_, None) => c"a failure code that is not one of this library",
        }
    }
}

/// What the core returns.
pub type Result<T> = core::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_code_is_a_failure_with_a_sentence_and_maps_back_to_its_variant() {
        for (error, name) in Error::ALL {
            assert!(error.hresult() < 0, "{name}");
            assert_eq!(Error::from_hresult(error.hresult()), Some(*error));
            assert_eq!(Error::message_of(error.hresult()).to_str().unwrap(), error.to_string());
            assert!(!error.to_string().is_empty());
        }
        assert_eq!(Error::from_hresult(S_OK), None);
        assert_eq!(Error::from_hresult(S_FALSE), None);
    }

    #[test]
    fn any_code_has_a_sentence() {
        for code in [i32::MIN, -1, S_OK, S_FALSE, 2, i32::MAX] {
            assert!(!Error::message_of(code).is_empty());
        }
    }
}
