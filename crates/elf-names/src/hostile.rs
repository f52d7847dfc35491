//! Checks that hold for any input: nothing panics, and the work is bounded. The unit tests call this with some thousand
//! damaged files, the fuzzer (`fuzz/`) with its inputs.

use core::cell::Cell;
use core::ffi::CStr;

use elf_names::maps::Mapping;
use elf_names::notes::Notes;
use elf_names::{Files, ReadAt, Resolver};

/// A file in memory that counts how often it is read.
struct Counted<'a> {
    bytes: &'a [u8],
    reads: &'a Cell<usize>,
}

impl ReadAt for Counted<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        self.reads.set(self.reads.get() + 1);
        let rest = self.bytes.get(usize::try_from(offset).ok()?..)?;
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Some(length)
    }
}

/// A process in which all files have the same content.
struct Process<'a> {
    maps: &'a [u8],
    file: &'a [u8],
    reads: &'a Cell<usize>,
}

impl<'a> Files for Process<'a> {
    type File = Counted<'a>;

    fn maps(&self) -> Option<Counted<'a>> {
        Some(Counted { bytes: self.maps, reads: self.reads })
    }

    fn open(&self, path: &CStr) -> Option<Counted<'a>> {
        assert!(path.to_bytes().starts_with(b"/"));
        Some(Counted { bytes: self.file, reads: self.reads })
    }
}

/// Addresses are looked up in this many mappings, the first ones.
const MAPPINGS: usize = 4;
/// What stands at an address is found in so many reads besides those of whole tables, of which it goes through five: that
/// of segments, and twice those of sections and symbols.
const READS: usize = 40;
const TABLES: usize = 5;
/// A block of a table has at least as many bytes.
const LEAST_BLOCK: usize = 4000;

/// Looks addresses up in a process: a list of mappings, a zero, and the file that is mapped. How many have names.
pub fn look_up(input: &[u8]) -> usize {
    let (maps, file) = match input.iter().position(|&byte| byte == 0) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[][..]),
    };
    let reads = Cell::new(0);
    let process = Process { maps, file, reads: &reads };
    let mut resolver = Resolver::new();
    let mut named = 0;
    let mappings = maps.split(|&byte| byte == b'\n').filter_map(Mapping::parse).take(MAPPINGS);
    for Mapping { start, end, .. } in mappings {
        let middle = start.wrapping_add(end.wrapping_sub(start) / 2);
        for address in [start, middle, middle | 0x10, end.wrapping_sub(1), end] {
            for is_data in [false, true] {
                let before = reads.get();
                let found = match is_data {
                    true => resolver.resolve_data(&process, address),
                    false => resolver.resolve(&process, address),
                };
                if let Some(symbol) = found {
                    assert!(symbol.name().is_none_or(|name| !name.is_empty() && !name.contains(&0)));
                    named += usize::from(symbol.name().is_some());
                }
                let most = READS + TABLES * (file.len() / LEAST_BLOCK + 2) + maps.len() / LEAST_BLOCK + 2;
                assert!(reads.get() - before <= most, "{} reads of at most {most}", reads.get() - before);
            }
        }
    }
    for align in [4, 8] {
        let content: usize = Notes::new(file, align).map(|note| note.name.len() + note.content.len()).sum();
        assert!(content <= file.len());
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TEXT, typical};
    use std::format;
    use std::vec::Vec;

    /// xorshift64: the same numbers in each run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }
    }

    /// Puts some bytes of `parts` out of order.
    fn damage(bytes: &mut [u8], parts: &[core::ops::Range<usize>], random: &mut Random) {
        let extremes = [0, 1, 0x7f, 0x80, 0xff];
        for _ in 0..=random.below(6) {
            let part = &parts[random.below(parts.len())];
            let at = part.start + random.below(part.len());
            let end = part.end.min(at + (1 << random.below(4)));
            let any = random.below(256) as u8;
            bytes[at..end].fill(if random.below(2) == 0 { extremes[random.below(5)] } else { any });
        }
    }

    #[test]
    fn a_corrupt_file_is_read_to_a_bounded_end() {
        // The middle is in a function, and in a variable.
        let maps = format!("{:x}-{:x} r-xp 0 fd:00 1 /lib\n\0", 0x10_0000, 0x10_0000 + 2 * (TEXT + 0x150));
        let file = typical().bytes();
        let whole = [maps.as_bytes(), &file].concat();
        let usual = look_up(&whole);
        assert!(usual >= 4, "{usual}");
        // The tables, without the code between them, which is not read.
        let parts = [0..0x380, 0x2000..file.len()].map(|part| maps.len() + part.start..maps.len() + part.end);
        let (mut random, mut as_usual, mut fewer) = (Random(0x9e37_79b9_7f4a_7c15), 0, 0);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            damage(&mut bytes, &parts, &mut random);
            let named = look_up(&bytes);
            as_usual += u32::from(named == usual);
            fewer += u32::from(named < usual);
        }
        assert!(as_usual > 1000 && fewer > 1000, "{as_usual} {fewer}");
    }

    #[test]
    fn a_corrupt_list_is_read_to_a_bounded_end() {
        let maps = "\
401000-403000 r--p 00000000 fd:00 1 /lib\n403000-404000 r-xp 00001000 fd:00 1 /lib\n\
404000-405000 rw-p 00000000 00:00 0 \n405000-406000 r-xp 00000000 fd:00 2 /lib (deleted)\n\0";
        let file = typical().bytes();
        let whole = [maps.as_bytes(), &file].concat();
        let mut random = Random(7);
        let mut counts: Vec<usize> = (0..20_000)
            .map(|_| {
                let mut bytes = whole.clone();
                damage(&mut bytes, core::slice::from_ref(&(0..maps.len())), &mut random);
                look_up(&bytes)
            })
            .collect();
        counts.sort_unstable();
        assert!(counts[2000] == 0 && counts[18_000] > 0, "{} {}", counts[2000], counts[18_000]);
    }
}
