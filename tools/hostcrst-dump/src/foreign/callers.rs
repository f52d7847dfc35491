//! Whose code made a system call, remembered by the code's address.

use std::collections::HashMap;

use foreign_locks::{Caller, is_glibc};

use crate::symbols::Symbols;

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

/// Whether a file is musl, which is its own loader; Debian has it as `libc.so`, to which the loader's name is a link.
pub fn is_musl(file: &[u8]) -> bool {
    file.starts_with(b"ld-musl-") || file == b"libc.so"
}

fn find(code_address: u64, symbols: &mut Symbols<'_>) -> Caller {
    let Some((file, function)) = symbols.function_at(code_address) else { return Caller::Other };
    let has_names = function.is_some() || symbols.knows_functions_at(code_address);
    // Where musl is loaded, functions of these names are musl's, and glibc is not inside the program.
    let is_loaded = || symbols.has_file(is_glibc) || symbols.has_file(is_musl);
    Caller::of(&file, function.as_deref(), has_names, is_loaded)
}
