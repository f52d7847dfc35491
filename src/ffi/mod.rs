//! shims
/// A version.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_version() -> *const core::ffi::c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
