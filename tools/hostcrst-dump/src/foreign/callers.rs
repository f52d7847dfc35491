//! Whose code made a system call. A word of memory that looks like a lock of glibc's is one only if glibc waits for it.

use std::collections::HashMap;

use crate::symbols::Symbols;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// A function of glibc that waits for something of its own.
    Glibc,
    /// Other code; glibc's function `syscall` calls for others too.
    Other,
    /// There are no names to tell by.
    Unknown,
}

/// Remembers what code addresses were found to be.
#[derive(Default)]
pub struct Callers(HashMap<u64, Caller>);

const MOST: usize = 1 << 12;

impl Callers {
    pub fn of(&mut self, code_address: u64, symbols: &mut Symbols<'_>) -> Caller {
        if self.0.len() == MOST {
            self.0.clear();
        }
        *self.0.entry(code_address).or_insert_with(|| find(code_address, symbols))
    }
}

fn find(code_address: u64, symbols: &mut Symbols<'_>) -> Caller {
    let Some((file, function)) = symbols.function_at(code_address) else { return Caller::Other };
    match (is_glibc(&file), function) {
        (true, Some(function)) if function == b"syscall" => Caller::Other,
        (true, Some(_)) => Caller::Glibc,
        (true, None) if symbols.knows_functions_at(code_address) => Caller::Glibc,
        // A program that does not load glibc may have it linked into it.
        (false, Some(function)) if is_function_of_glibc(&function) && !symbols.has_file(is_glibc) => {
            Caller::Glibc
        }
        (false, Some(_)) => Caller::Other,
        (_, None) => Caller::Unknown,
    }
}

/// `libc.so.6`, `libpthread.so.0`, or `libc-2.31.so`.
fn is_glibc(file: &[u8]) -> bool {
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
