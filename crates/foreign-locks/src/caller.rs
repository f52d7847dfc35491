//! Whose code made a system call. A word of memory that looks like a lock of glibc's is one only if glibc waits for it.

/// Whose code made a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// A function of glibc that waits for something of its own.
    Glibc,
    /// Other code; glibc's function `syscall` calls for others too.
    Other,
    /// There are no names to tell by.
    Unknown,
}

impl Caller {
    /// By the file that the code is in, and the function of it, if that has a name. `has_names`: whether the functions
    /// of the file that others may call have names. `is_glibc_loaded`: whether the process has glibc as a file of its
    /// own.
    pub fn of(
        file: &[u8],
        function: Option<&[u8]>,
        has_names: bool,
        is_glibc_loaded: impl FnOnce() -> bool,
    ) -> Caller {
        match (is_glibc(file), function) {
            (true, Some(b"syscall")) => Caller::Other,
            (true, Some(_)) => Caller::Glibc,
            (true, None) if has_names => Caller::Glibc,
            // A program that does not load glibc may have it linked into it.
            (false, Some(function)) if is_function_of_glibc(function) && !is_glibc_loaded() => Caller::Glibc,
            (false, Some(_)) => Caller::Other,
            (_, None) => Caller::Unknown,
        }
    }
}

/// Whether a file is glibc: `libc.so.6`, `libpthread.so.0`, or `libc-2.31.so`.
pub fn is_glibc(file: &[u8]) -> bool {
    let is_versioned = |prefix| file.strip_prefix(prefix).is_some_and(|rest: &[u8]| rest.ends_with(b".so"));
    matches!(file, b"libc.so.6" | b"libpthread.so.0")
        || is_versioned(&b"libc-2."[..])
        || is_versioned(&b"libpthread-2."[..])
}

/// Those that make the system call; names of this kind are reserved for a C library.
fn is_function_of_glibc(function: &[u8]) -> bool {
    const BEGINNINGS: &[&[u8]] = &[b"__lll_lock_wait", b"__futex_", b"__pthread_", b"___pthread_"];
    BEGINNINGS.iter().any(|beginning| function.starts_with(beginning))
}
