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

fn find(code_address: u64, symbols: &mut Symbols<'_>) -> Caller {
    let Some((file, function)) = symbols.function_at(code_address) else { return Caller::Other };
    let has_names = function.is_some() || symbols.knows_functions_at(code_address);
    Caller::of(&file, function.as_deref(), has_names, || symbols.has_file(is_glibc))
}
