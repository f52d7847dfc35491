//! What stands on a stack: each page is read once, so that a walk sees one copy of it.

use std::collections::HashMap;

use crate::target::Target;

const PAGE: u64 = 4096;
/// A walk over more pages than these is over nothing that is a stack.
const MOST_PAGES: usize = 1024;

pub struct Memory<'a> {
    target: &'a dyn Target,
    pages: HashMap<u64, Vec<u8>>,
}

impl<'a> Memory<'a> {
    pub fn of(target: &'a dyn Target) -> Self {
        Memory { target, pages: HashMap::new() }
    }

    /// The word of eight bytes there, if it can be read.
    pub fn word(&mut self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(address.checked_add(index as u64)?)?;
        }
        Some(u64::from_le_bytes(bytes))
    }

    fn byte(&mut self, address: u64) -> Option<u8> {
        let page = address / PAGE;
        if self.pages.len() == MOST_PAGES && !self.pages.contains_key(&page) {
            return None;
        }
        let bytes = self.pages.entry(page).or_insert_with(|| {
            let mut bytes = vec![0; PAGE as usize];
            let there = self.target.read(page * PAGE, &mut bytes);
            bytes.truncate(there);
            bytes
        });
        bytes.get((address % PAGE) as usize).copied()
    }
}
