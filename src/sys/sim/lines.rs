//! The caches: who has which line, and when the line is free for the next that asks for it. A directory in the manner
//! of MESI: a line is with one processor, which may write it, or copies of it are with several.
//!
//! It also keeps what was in memory before the simulation, and puts that back at its end: the code that is simulated
//! uses statics and mapped pages, and each simulation has to find them as the first did.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::vec::Vec;

use super::machine::{Machine, Time};

pub(super) const LINE_BYTES: usize = 64;

/// What an access does to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Load,
    Store,
    /// A load and a store of plain code: the processor, which knows both addresses early, fetches the line once, for
    /// writing.
    Update,
    /// A read-modify-write.
    Change,
}

/// Processors, as a set.
#[derive(Clone, Copy, Default)]
struct Set([u64; 4]);

impl Set {
    fn has(&self, processor: usize) -> bool {
        self.0[processor / 64] >> (processor % 64) & 1 != 0
    }

    fn add(&mut self, processor: usize) {
        self.0[processor / 64] |= 1 << (processor % 64);
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|bits| u64::from(bits.count_ones())).sum()
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        (0..256).filter(|&processor| self.has(processor))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Line {
    /// The only thread that has used it so far. None once there was another.
    pub(super) only_user: Option<u16>,
    used: bool,
    /// Who has it. One that may write has it alone.
    holders: Set,
    is_exclusive: bool,
    /// When it can be fetched again.
    free_at: Time,
    address: usize,
    /// The bytes that the simulation has written, one bit each, and what was there before.
    written: u64,
    before: [u8; LINE_BYTES],
}

/// A hash for numbers.
#[derive(Default)]
struct Multiplied(u64);

impl Hasher for Multiplied {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// All lines that were used.
#[derive(Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    places: HashMap<usize, u32, BuildHasherDefault<Multiplied>>,
    /// How often a line came to a processor that did not have it.
    pub(super) transfers: u64,
}

impl Lines {
    /// The place of the line in which this address lies.
    pub(super) fn find(&mut self, address: usize) -> usize {
        let number = address / LINE_BYTES;
        let lines = &mut self.lines;
        *self.places.entry(number).or_insert_with(|| {
            lines.push(Line {
                only_user: None,
                used: false,
                holders: Set::default(),
                is_exclusive: false,
                free_at: 0,
                address: number * LINE_BYTES,
                written: 0,
                before: [0; LINE_BYTES],
            });
            lines.len() as u32 - 1
        }) as usize
    }

    /// Whether no other thread has used the line so far. From now on this one has, on this processor.
    pub(super) fn is_private(&mut self, line: usize, thread: usize, processor: usize) -> bool {
        let line = &mut self.lines[line];
        if !line.used {
            line.used = true;
            line.only_user = Some(thread as u16);
            line.holders.add(processor);
            line.is_exclusive = true;
        }
        let is_private = line.only_user == Some(thread as u16);
        if !is_private {
            line.only_user = None;
        }
        is_private
    }

    /// Whether the processor has the line in the way that the access needs.
    pub(super) fn hits(&self, line: usize, processor: usize, access: Access) -> bool {
        let line = &self.lines[line];
        line.holders.has(processor) && (access == Access::Load || line.is_exclusive)
    }

    /// How long the request of a processor takes that has to fetch the line, or to invalidate others' copies.
    pub(super) fn request(&self, line: usize, processor: usize, access: Access, machine: &Machine) -> Time {
        let line = &self.lines[line];
        let distances = line.holders.all().filter(|&other| other != processor);
        let distances = distances.map(|other| machine.distance(processor, other));
        match access {
            // The nearest copy will do.
            Access::Load => machine.request[distances.min().unwrap_or(0)],
            _ => {
                let copies = line.holders.count().saturating_sub(1);
                machine.request[distances.max().unwrap_or(0)] + copies * machine.per_copy
            }
        }
    }

    /// The request has arrived: when it will be served, after those that came before.
    pub(super) fn reserve(
        &mut self,
        line: usize,
        processor: usize,
        access: Access,
        now: Time,
        machine: &Machine,
    ) -> Time {
        let far = self.lines[line].holders.all().any(|other| machine.distance(processor, other) != 0);
        let line = &mut self.lines[line];
        let served = now.max(line.free_at);
        let is_copied = access == Access::Load && !line.is_exclusive;
        let taken =
            if is_copied { machine.copy_interval } else { machine.data[usize::from(far)] + machine.dwell };
        line.free_at = served + taken;
        served
    }

    /// The request is served. How long the data is on its way.
    pub(super) fn fetch(&mut self, line: usize, processor: usize, access: Access, machine: &Machine) -> Time {
        let line = &mut self.lines[line];
        let has_data = line.holders.has(processor);
        let distances = line.holders.all().filter(|&other| other != processor);
        let distance = distances.map(|other| machine.distance(processor, other)).min().unwrap_or(0);
        if access == Access::Load {
            line.is_exclusive = false;
        } else {
            line.holders = Set::default();
            line.is_exclusive = true;
        }
        line.holders.add(processor);
        self.transfers += 1;
        // Without data it is an answer, which is shorter.
        if has_data { machine.data[distance] / 2 } else { machine.data[distance] }
    }

    /// These bytes are about to be written.
    pub(super) fn note_write(&mut self, line: usize, address: usize, bytes: usize) {
        let line = &mut self.lines[line];
        let first = address - line.address;
        let mask = (((1_u128 << bytes) - 1) as u64) << first;
        if line.written & mask == mask {
            return;
        }
        for at in first..first + bytes {
            if line.written >> at & 1 == 0 {
                // SAFETY: an atomic that is being accessed stands there; one thread runs the whole simulation.
                line.before[at] = unsafe { ((line.address + at) as *const u8).read() };
            }
        }
        line.written |= mask;
    }

    /// Puts back what was in memory before the simulation.
    pub(super) fn restore(&mut self) {
        for line in &mut self.lines {
            for at in (0..LINE_BYTES).filter(|at| line.written >> at & 1 != 0) {
                // SAFETY: an atomic stands there: the caller keeps the memory of all that were used, and nobody else
                // uses one.
                unsafe { ((line.address + at) as *mut u8).write(line.before[at]) };
            }
            line.written = 0;
        }
    }
}
