#![no_std]
#[cfg(any(test, not(feature = "capi")))]
extern crate std;

pub mod error;
pub mod ffi;
