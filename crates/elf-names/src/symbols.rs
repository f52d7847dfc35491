//! The names that an ELF file has for its functions and variables.

use object::LittleEndian;
use object::elf::{self, SectionType, Sym64, SymbolType};

use crate::elf::{Elf, SectionHeader, Table};
use crate::{BLOCK, Block, ReadAt};

/// Describes a symbol.
pub type SymbolEntry = Sym64<LittleEndian>;

/// Longest name kept; a longer one is cut.
pub const NAME_CAPACITY: usize = 512;
/// Symbols looked at in one table.
const MAX_SYMBOLS: u64 = 1 << 21;
/// Names remembered for one address.
const MAX_ALIASES: usize = 8;

/// Room for a name.
pub type Name = [u8; NAME_CAPACITY];

/// Room for what is read of a file.
pub struct Scratch {
    /// Records of a table.
    pub block: Block,
    /// A name.
    pub name: Name,
}

/// The place of the found name in the file, and the distance of the address from the symbol's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The offset in the file, 0 for nowhere.
    pub name: u64,
    /// The distance.
    pub distance: u64,
}

impl Scratch {
    /// Zeros.
    pub const fn new() -> Self {
        Scratch { block: [0; BLOCK], name: [0; NAME_CAPACITY] }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// What is looked for in an ELF file.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// The function at an offset of the file.
    Function(u64),
    /// The variable at a distance from where the file is loaded.
    Variable(u64),
}

/// Finds the name of a function or variable. For what is loaded but has no name, its place is 0.
#[inline(never)]
pub fn find(file: impl ReadAt, scratch: &mut Scratch, wanted: Wanted) -> Option<Found> {
    let elf = Elf::open(file, &mut scratch.block)?;
    let (kinds, address) = match wanted {
        Wanted::Function(offset) => {
            let address = elf.virtual_address(&mut scratch.block, offset)?;
            (&[elf::STT_FUNC, elf::STT_GNU_IFUNC][..], address)
        }
        Wanted::Variable(distance) => {
            let address = elf.load_address(&mut scratch.block)?.checked_add(distance)?;
            if !elf.is_loaded(&mut scratch.block, address) {
                return None;
            }
            (&[elf::STT_OBJECT][..], address)
        }
    };
    find_symbol(&elf, scratch, kinds, address).or(Some(Found { name: 0, distance: 0 }))
}

/// Reads the string at `offset` of a file into `name`, cut if it is too long: its length. `None` if it is empty, or the
/// file ends in it.
pub fn read_name(file: &impl ReadAt, offset: u64, name: &mut Name) -> Option<usize> {
    let read = file.read_at(offset, name)?;
    let end = name.get(..read)?.iter().position(|&byte| byte == 0);
    end.or((read == NAME_CAPACITY).then_some(read)).filter(|&length| length > 0)
}

/// Finds the symbol of one of these types at `address`. The full table first; a stripped file has
/// only exported names.
fn find_symbol(
    elf: &Elf<impl ReadAt>,
    scratch: &mut Scratch,
    kinds: &[SymbolType],
    address: u64,
) -> Option<Found> {
    let tables = [elf::SHT_SYMTAB, elf::SHT_DYNSYM];
    tables.into_iter().find_map(|table| find_in_table(elf, scratch, table, kinds, address))
}

fn find_in_table(
    elf: &Elf<impl ReadAt>,
    scratch: &mut Scratch,
    kind: SectionType,
    kinds: &[SymbolType],
    address: u64,
) -> Option<Found> {
    let (file, block) = (&elf.file, &mut scratch.block);
    let table = elf.sections.find(file, block, |section| {
        let is_it = section.sh_type.get(LittleEndian) == kind
            && section.sh_entsize.get(LittleEndian) == size_of::<SymbolEntry>() as u64;
        is_it.then_some(*section)
    })?;
    let strings = elf.sections.get(file, block, table.sh_link.get(LittleEndian).into())?;
    if strings.sh_type.get(LittleEndian) != elf::SHT_STRTAB {
        return None;
    }
    let count = table.sh_size.get(LittleEndian) / size_of::<SymbolEntry>() as u64;
    let symbols = Table::new(table.sh_offset.get(LittleEndian), count.min(MAX_SYMBOLS));

    let mut nearest = Nearest { address, kinds, last_sized: 0, covering: None, open_ended: None };
    symbols.find(file, block, |symbol| {
        nearest.offer(symbol);
        None::<()>
    });
    let found = nearest.covering.or_else(|| {
        let open_ended = nearest.open_ended?;
        let section = elf.sections.get(file, block, open_ended.section.into())?;
        let distance = address.checked_sub(section.sh_addr.get(LittleEndian))?;
        let is_inside = distance < section.sh_size.get(LittleEndian);
        (open_ended.start > nearest.last_sized && is_inside).then_some(open_ended)
    })?;
    let name = best_name(file, &mut scratch.name, &strings, found.names())?;
    Some(Found { name, distance: address.saturating_sub(found.start) })
}

/// Chooses, of several names for one function, the one with the fewest leading underscores:
/// `malloc`, not `__libc_malloc`.
fn best_name(file: &impl ReadAt, room: &mut Name, strings: &SectionHeader, names: &[u32]) -> Option<u64> {
    let underscores = |name: &[u8]| name.iter().take_while(|&&byte| byte == b'_').count();
    let (offset, size) = (strings.sh_offset.get(LittleEndian), strings.sh_size.get(LittleEndian));
    let places = names.iter().filter_map(|&name| {
        let name = u64::from(name);
        let place = offset.checked_add(name).filter(|_| name < size)?;
        let length = read_name(file, place, room)?;
        // All that was read is in the table, and its end too.
        ((length as u64) < size - name).then(|| (place, underscores(room.get(..length).unwrap_or_default())))
    });
    places.min_by_key(|&(_, underscores)| underscores).map(|(place, _)| place)
}

/// A symbol that may be the one looked for, with the string indices of its names.
#[derive(Clone, Copy)]
struct Candidate {
    start: u64,
    section: u16,
    names: [u32; MAX_ALIASES],
    aliases: usize,
}

impl Candidate {
    fn names(&self) -> &[u32] {
        self.names.get(..self.aliases).unwrap_or_default()
    }
}

/// The best symbols so far for an address. One whose size covers it is best, and of those the last.
/// Hand-written assembly often has no size: such a function reaches up to the next one or the end of its
/// section. Any other that merely comes before is not named: the address belongs to a function whose name was
/// stripped.
struct Nearest<'a> {
    address: u64,
    /// The types of symbol that count.
    kinds: &'a [SymbolType],
    /// Start of the last symbol that has a size and starts at or before the address.
    last_sized: u64,
    covering: Option<Candidate>,
    open_ended: Option<Candidate>,
}

impl Nearest<'_> {
    fn offer(&mut self, symbol: &SymbolEntry) {
        // Only what is defined in a section has a place in memory.
        let Some(section) = symbol.st_shndx.get(LittleEndian).index() else { return };
        let (start, size) = (symbol.st_value.get(LittleEndian), symbol.st_size.get(LittleEndian));
        if !self.kinds.contains(&symbol.st_type()) || start > self.address {
            return;
        }
        let best = if size == 0 {
            &mut self.open_ended
        } else {
            self.last_sized = self.last_sized.max(start);
            if self.address - start >= size {
                return;
            }
            &mut self.covering
        };
        let name = symbol.st_name.get(LittleEndian);
        match best {
            Some(best) if best.start > start => {}
            Some(best) if best.start == start => {
                if let Some(slot) = best.names.get_mut(best.aliases) {
                    *slot = name;
                    best.aliases += 1;
                }
            }
            _ => *best = Some(Candidate { start, section, names: [name; MAX_ALIASES], aliases: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        ALL, EXPORTED, Endless, Image, STRINGS, SmallElf, Sym, TEXT, TEXT_ADDRESS, typical,
    };
    use object::elf::{STT_FUNC, STT_OBJECT};
    use std::string::String;
    use std::vec::Vec;

    fn named(file: &impl ReadAt, scratch: &mut Scratch, found: Option<Found>) -> Option<(String, u64)> {
        let Found { name, distance } = found.filter(|found| found.name != 0)?;
        let length = read_name(file, name, &mut scratch.name)?;
        Some((String::from_utf8_lossy(&scratch.name[..length]).into_owned(), distance))
    }

    /// The function at an offset into the code of an ELF file.
    fn function(file: &impl ReadAt, offset: u64) -> Option<(String, u64)> {
        let mut scratch = Scratch::new();
        let found = find(file, &mut scratch, Wanted::Function(TEXT + offset));
        named(file, &mut scratch, found)
    }

    fn at(name: &str, distance: u64) -> Option<(String, u64)> {
        Some((name.into(), distance))
    }

    #[test]
    fn the_innermost_covering_function_is_named() {
        let elf = typical().image();
        assert_eq!(function(&elf, 0xff), None, "before the first");
        assert_eq!(function(&elf, 0x100), at("outer", 0));
        assert_eq!(function(&elf, 0x13f), at("outer", 0x3f));
        assert_eq!(function(&elf, 0x150), at("inner", 0x10));
        assert_eq!(function(&elf, 0x160), at("outer", 0x60), "past the inner one, in data beside code");
        assert_eq!(function(&elf, 0x1ff), at("outer", 0xff));
        assert_eq!(function(&elf, 0x200), None, "past the end of a function of known size");
        assert_eq!(function(&elf, 0x310), at("alias", 0x10), "the plainest of three names");
        assert_eq!(function(&elf, 0xa08), at("only_exported", 8), "not in the full table");
        assert_eq!(function(&elf, 0x2000), None, "in no segment");
    }

    #[test]
    fn a_variable_is_named_by_its_distance_from_the_start_of_the_file() {
        let elf = typical().image();
        let variable = |distance| {
            let mut scratch = Scratch::new();
            let found = find(&elf, &mut scratch, Wanted::Variable(TEXT + distance));
            named(&elf, &mut scratch, found)
        };
        assert_eq!(variable(0x14f), None, "in a function");
        assert_eq!(variable(0x150), at("a_table", 0));
        assert_eq!(variable(0x24f), at("a_table", 0xff));
        assert_eq!(variable(0x250), None);
    }

    #[test]
    fn a_function_of_unknown_size_reaches_to_the_next_or_the_end_of_its_section() {
        let elf = typical().image();
        assert_eq!(function(&elf, 0x8ff), at("assembly", 0xff));
        assert_eq!(function(&elf, 0x910), None, "a function came between");
        assert_eq!(function(&elf, 0x984), None, "an absolute symbol is no code");
        assert_eq!(function(&elf, 0xbff), at("last", 0xff));
        assert_eq!(function(&elf, 0xc00), None, "in the next section");
    }

    #[test]
    fn a_name_longer_than_the_buffer_is_cut() {
        let name: &'static str = "n".repeat(NAME_CAPACITY + 9).leak();
        let elf = SmallElf::new(&[], &[Sym(name, STT_FUNC, 1, TEXT_ADDRESS, 8)]).image();
        assert_eq!(function(&elf, 1), at(&name[..NAME_CAPACITY], 1));
    }

    #[test]
    fn a_name_that_is_empty_or_not_wholly_in_the_string_table_is_none() {
        let whole = SmallElf::new(&[], &[Sym("name", STT_FUNC, 1, TEXT_ADDRESS, 8)]);
        let with = |change: &dyn Fn(&mut SmallElf)| {
            let mut elf = whole.clone();
            change(&mut elf);
            function(&elf.image(), 1)
        };
        assert_eq!(with(&|_| {}), at("name", 1));
        assert_eq!(with(&|elf| elf.symbols[1][1].st_name.set(LittleEndian, 2)), at("ame", 1));
        assert_eq!(with(&|elf| elf.symbols[1][1].st_name.set(LittleEndian, 0)), None, "empty");
        assert_eq!(with(&|elf| elf.sections[STRINGS].sh_size.set(LittleEndian, 5)), None, "without its end");
        assert_eq!(with(&|elf| elf.sections[STRINGS].sh_size.set(LittleEndian, 0)), None, "beyond the table");
        let other_kind =
            |elf: &mut SmallElf| elf.sections[STRINGS].sh_type.set(LittleEndian, elf::SHT_PROGBITS);
        assert_eq!(with(&other_kind), None, "in a section of another kind");
    }

    #[test]
    fn symbols_of_another_size_are_no_symbols() {
        let mut elf = typical();
        elf.sections[ALL].sh_entsize.set(LittleEndian, 23);
        assert_eq!(function(&elf.image(), 0x150), at("outer", 0x50), "from the other table");
        elf.sections[EXPORTED].sh_entsize.set(LittleEndian, 25);
        assert_eq!(function(&elf.image(), 0x150), None);
    }

    #[test]
    fn a_table_may_arrive_in_pieces() {
        let many: Vec<Sym> = (0..1000)
            .map(|index| Sym("other", STT_FUNC, 1, TEXT_ADDRESS + 0x200, index % 2))
            .chain([Sym("wanted", STT_FUNC, 1, TEXT_ADDRESS, 8)])
            .collect();
        let elf = SmallElf::new(&[], &many);
        for piece in [100, 1000, usize::MAX] {
            assert_eq!(function(&Image { piece, ..elf.image() }, 3), at("wanted", 3));
        }
    }

    #[test]
    fn a_file_of_another_kind_has_no_names() {
        assert_eq!(function(&Image::new(*b"#!/bin/sh"), 0x100), None);
        let mut elf = typical();
        elf.header.e_shentsize.set(LittleEndian, 65);
        assert_eq!(function(&elf.image(), 0x100), None);
    }

    #[test]
    fn a_truncated_file_gives_the_whole_name_or_none() {
        let whole = typical().bytes();
        let mut named = 0;
        for length in 0..whole.len() {
            if let Some(found) = function(&Image::new(&whole[..length]), 0x310) {
                assert!(found.0.ends_with("alias") && found.1 == 0x10, "{found:?} in {length} bytes");
                named += 1;
            }
        }
        assert!((1..whole.len() / 2).contains(&named), "{named}");
    }

    #[test]
    fn a_table_without_end_is_given_up() {
        let mut elf = typical();
        for symbols in [EXPORTED, ALL] {
            elf.sections[symbols].sh_size.set(LittleEndian, u64::MAX);
        }
        elf.header.e_phnum.set(LittleEndian, u16::MAX);
        elf.header.e_shnum.set(LittleEndian, u16::MAX);
        // Symbols of this filling are functions, and name no section.
        let endless = Endless { image: elf.image(), filler: STT_FUNC.0 };
        assert_eq!(function(&endless, 0x280), None);
        let blocks = |records: usize, size: usize| records.div_ceil(BLOCK / size);
        let most = 2 * blocks(MAX_SYMBOLS as usize, size_of::<SymbolEntry>())
            + 3 * blocks(usize::from(u16::MAX), size_of::<SectionHeader>());
        assert!(endless.image.reads.get() <= most, "{} reads", endless.image.reads.get());
        assert!(endless.image.reads.get() > most / 2, "it came to both tables");
    }

    #[test]
    fn a_variable_of_the_same_kind_is_not_taken_for_a_function() {
        let elf = SmallElf::new(&[], &[Sym("data", STT_OBJECT, 1, TEXT_ADDRESS, 8)]).image();
        assert_eq!(function(&elf, 1), None);
    }
}
