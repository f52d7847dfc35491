//! The target's memory as the library's renderers want to see it: object by object.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use hostcrst::inspect::Memory;

use crate::target::Target;

/// Copies of objects, each as it was at one moment as far as that can be had from outside.
pub struct Remote<'a> {
    target: &'a dyn Target,
    give_up_at: Instant,
    looks: Cell<u32>,
    gave_up: Cell<bool>,
    /// By the size of the objects: tables are gone through in order.
    tables: RefCell<HashMap<usize, Table>>,
}

/// A table that is being gone through, copied twice and ahead.
#[derive(Default)]
struct Table {
    /// Where the object after the last one looked at stands.
    next: u64,
    start: u64,
    once: Vec<u8>,
    twice: Vec<u8>,
}

/// An object that was just copied in one way is not copied in the same way again and again for more than this. Its parts
/// are atomics that the renderers read with care, so the last copy is good enough.
const TRIES: usize = 8;
/// Tables of larger objects are not read ahead: layers must be read after the position that says they are there.
const LARGEST_IN_TABLE: usize = 512;
const AHEAD: usize = 64 << 10;
const LOOKS_BETWEEN_TIMES: u32 = 256;

impl<'a> Remote<'a> {
    /// After `patience` nothing can be read any more, so whoever goes through it comes to an end.
    pub fn new(target: &'a dyn Target, patience: Duration) -> Self {
        Remote {
            target,
            give_up_at: Instant::now() + patience,
            looks: Cell::new(0),
            gave_up: Cell::new(false),
            tables: RefCell::new(HashMap::new()),
        }
    }

    pub fn gave_up(&self) -> bool {
        self.gave_up.get()
    }

    fn has_time(&self) -> bool {
        self.looks.set(self.looks.get().wrapping_add(1));
        if self.looks.get().is_multiple_of(LOOKS_BETWEEN_TIMES) && Instant::now() > self.give_up_at {
            self.gave_up.set(true);
        }
        !self.gave_up.get()
    }

    fn copy(&self, address: u64, object: &mut [u8], spare: &mut [u8]) -> bool {
        if object.len() <= LARGEST_IN_TABLE && self.copy_from_table(address, object) {
            return true;
        }
        if self.target.read(address, object) != object.len() {
            return false;
        }
        for _ in 0..if self.target.is_live() { TRIES } else { 0 } {
            if self.target.read(address, spare) != spare.len() {
                return false;
            }
            if object == spare {
                break;
            }
            object.copy_from_slice(spare);
        }
        true
    }

    /// False if the object is not the one after the last one, or was not the same in both copies.
    fn copy_from_table(&self, address: u64, object: &mut [u8]) -> bool {
        let mut tables = self.tables.borrow_mut();
        let table = tables.entry(object.len()).or_default();
        let is_next = address == table.next;
        table.next = address.wrapping_add(object.len() as u64);
        if !is_next {
            table.once.clear();
            return false;
        }
        table.copy(address, object) || {
            table.fill(self.target, address);
            table.copy(address, object)
        }
    }
}

impl Table {
    fn copy(&self, address: u64, object: &mut [u8]) -> bool {
        let Some(offset) = address.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok())
        else {
            return false;
        };
        let end = offset.saturating_add(object.len());
        match (self.once.get(offset..end), self.twice.get(offset..end)) {
            (Some(once), Some(twice)) if once == twice => {
                object.copy_from_slice(once);
                true
            }
            _ => false,
        }
    }

    fn fill(&mut self, target: &dyn Target, address: u64) {
        self.start = address;
        for bytes in [&mut self.once, &mut self.twice] {
            bytes.resize(AHEAD, 0);
            let there = target.read(address, bytes);
            bytes.truncate(there);
        }
    }
}

impl Memory for Remote<'_> {
    const LIVE: bool = false;

    unsafe fn look<T, R>(&self, address: usize, look: impl FnOnce(&T) -> R) -> Option<R> {
        let mut object = MaybeUninit::<T>::zeroed();
        let mut spare = MaybeUninit::<T>::zeroed();
        let copied =
            self.has_time() && self.copy(address as u64, bytes_of(&mut object), bytes_of(&mut spare));
        // SAFETY: the caller says that a T is valid for all bytes, and no byte of it is uninitialised.
        copied.then(|| look(unsafe { object.assume_init_ref() }))
    }
}

fn bytes_of<T>(place: &mut MaybeUninit<T>) -> &mut [u8] {
    // SAFETY: the place has been zeroed, so its bytes are initialised; it may hold any.
    unsafe { std::slice::from_raw_parts_mut(place.as_mut_ptr().cast::<u8>(), size_of::<T>()) }
}
