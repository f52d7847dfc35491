//! The target's memory in the form in which the library's renderers read it: object by object.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::MaybeUninit;

use hostcrst::inspect::{Memory, Shown};

use crate::target::Target;
use crate::time_limit::TimeLimit;

/// Copies of objects, each a snapshot of one moment as far as that is possible from outside.
pub struct Remote<'a> {
    target: &'a dyn Target,
    time_limit: TimeLimit,
    reads: Cell<u32>,
    gave_up: Cell<bool>,
    /// Memory that was copied in large pieces, by its address divided by their size.
    blocks: RefCell<HashMap<u64, Block>>,
}

/// A piece of memory as it was read: one call of the system for hundreds of objects.
struct Block {
    start: u64,
    bytes: Vec<u8>,
    /// By lines: it was not the same when it was read again.
    changed: [bool; BLOCK / LINE],
}

const BLOCK: usize = 64 << 10;
const LINE: usize = 64;
const PAGE: u64 = 4096;
/// No more memory than 128 MB is kept: a million sections, and the tasks.
const MOST_BLOCKS: usize = 2048;
/// Larger objects are not taken from pieces: layers must be read after the position that says they are there.
const LARGEST_IN_BLOCK: usize = 1024;
/// An object that was just copied in one way is not copied in the same way again and again for more than this. Its parts
/// are atomics that the renderers read with care, so the last copy is good enough.
const TRIES: usize = 8;
const READS_BETWEEN_TIMES: u32 = 256;

impl<'a> Remote<'a> {
    /// After the time limit nothing can be read any more, so every loop over the memory ends.
    pub fn new(target: &'a dyn Target, time_limit: TimeLimit) -> Self {
        Remote {
            target,
            time_limit,
            reads: Cell::new(0),
            gave_up: Cell::new(false),
            blocks: RefCell::new(HashMap::new()),
        }
    }

    pub fn gave_up(&self) -> bool {
        self.gave_up.get()
    }

    fn has_time(&self) -> bool {
        let reads = self.reads.get();
        self.reads.set(reads.wrapping_add(1));
        if reads.is_multiple_of(READS_BETWEEN_TIMES) && self.time_limit.is_over() {
            self.gave_up.set(true);
        }
        !self.gave_up.get()
    }

    /// Copies the object as it is now.
    fn copy_anew(&self, address: u64, object: &mut [u8], spare: &mut [u8]) -> bool {
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

    /// Copies the object as it was when memory around it was read; false if it lies in two pieces, or was changing then.
    fn copy_from_block(&self, address: u64, object: &mut [u8]) -> bool {
        if object.len() > LARGEST_IN_BLOCK {
            return false;
        }
        let number = address / BLOCK as u64;
        let mut blocks = self.blocks.borrow_mut();
        if blocks.len() >= MOST_BLOCKS && !blocks.contains_key(&number) {
            blocks.clear();
        }
        let block = blocks.entry(number).or_insert_with(|| Block::read(self.target, number * BLOCK as u64));
        if !block.holds(address) {
            // The piece begins with memory that cannot be read, or has such in it.
            *block = Block::read(self.target, address / PAGE * PAGE);
        }
        block.copy(address, object)
    }
}

impl Block {
    /// Reads up to the end of the piece or of what can be read.
    fn read(target: &dyn Target, start: u64) -> Self {
        let size = BLOCK - (start % BLOCK as u64) as usize;
        let mut block = Block { start, bytes: vec![0; size], changed: [false; BLOCK / LINE] };
        let there = target.read(start, &mut block.bytes);
        block.bytes.truncate(there);
        if target.is_live() {
            let mut again = vec![0; block.bytes.len()];
            let there = target.read(start, &mut again);
            block.bytes.truncate(there);
            let lines = block.bytes.chunks(LINE).zip(again.chunks(LINE));
            for (changed, (line, again)) in block.changed.iter_mut().zip(lines) {
                *changed = line != again;
            }
        }
        block
    }

    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|offset| offset < self.bytes.len() as u64)
    }

    fn copy(&self, address: u64, object: &mut [u8]) -> bool {
        let Some(offset) = address.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok())
        else {
            return false;
        };
        let Some(bytes) = self.bytes.get(offset..offset.saturating_add(object.len())) else { return false };
        if self.changed[offset / LINE..(offset + object.len()).div_ceil(LINE)].contains(&true) {
            return false;
        }
        object.copy_from_slice(bytes);
        true
    }
}

impl Memory for Remote<'_> {
    const LIVE: bool = false;

    unsafe fn read<T, R>(&self, address: usize, take: impl FnOnce(&Shown<T>) -> R) -> Option<R> {
        let mut object = MaybeUninit::<T>::zeroed();
        let bytes = bytes_of(&mut object);
        if !self.has_time() {
            return None;
        }
        if !self.copy_from_block(address as u64, bytes) {
            // SAFETY: the caller says what read_anew asks for.
            return unsafe { self.read_anew(address, take) };
        }
        // SAFETY: the caller says that a T is valid for all bytes, and no byte of it is uninitialised.
        Some(take(Shown::of(unsafe { object.assume_init_ref() })))
    }

    unsafe fn read_anew<T, R>(&self, address: usize, take: impl FnOnce(&Shown<T>) -> R) -> Option<R> {
        let mut object = MaybeUninit::<T>::zeroed();
        let mut spare = MaybeUninit::<T>::zeroed();
        let copied =
            self.has_time() && self.copy_anew(address as u64, bytes_of(&mut object), bytes_of(&mut spare));
        // SAFETY: the caller says that a T is valid for all bytes, and no byte of it is uninitialised.
        copied.then(|| take(Shown::of(unsafe { object.assume_init_ref() })))
    }
}

fn bytes_of<T>(place: &mut MaybeUninit<T>) -> &mut [u8] {
    // SAFETY: the place has been zeroed, so its bytes are initialised; it may hold any.
    unsafe { std::slice::from_raw_parts_mut(place.as_mut_ptr().cast::<u8>(), size_of::<T>()) }
}
