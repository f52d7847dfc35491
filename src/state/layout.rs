//! What an outside reader must know to draw a picture: a table of names and numbers at the head of the registry, for
//! tools that are not built from this crate, such as the gdb script. It says where fields stand, how ids, handles and
//! other words are made, and what reports call a state. What a field is for is not known here: the layout version
//! stands for that.

/// One number, by the form of its name:
/// - `section.word`: the offset of a field in what it is part of; `section.bytes`: a size; `layers.first.count`: how
///   many.
/// - `handle.copy_shift`, in the lists called NUMBERS: a shift, a number of bits, or a value in a word.
/// - `mode:managed`: the number that stands for what reports call so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    name: [u8; LABEL_BYTES],
    value: u64,
}

const LABEL_BYTES: usize = 24;

/// Room in the table. It ends with an entry of which all bytes are zero.
pub(crate) const ENTRIES: usize = 112;

/// The table of these offsets and sizes, numbers, and words (kind, word and number).
pub(crate) const fn table<const PARTS: usize, const OTHERS: usize>(
    fields: [&[(&str, usize)]; PARTS],
    numbers: [&[(&str, u64)]; OTHERS],
    words: &[(&str, &str, u64)],
) -> [Entry; ENTRIES] {
    let mut table = Table { entries: [Entry { name: [0; LABEL_BYTES], value: 0 }; ENTRIES], end: 0 };
    let mut part = 0;
    while part < PARTS {
        let mut index = 0;
        while index < fields[part].len() {
            table.add(fields[part][index].0, "", fields[part][index].1 as u64);
            index += 1;
        }
        part += 1;
    }
    let mut part = 0;
    while part < OTHERS {
        let mut index = 0;
        while index < numbers[part].len() {
            table.add(numbers[part][index].0, "", numbers[part][index].1);
            index += 1;
        }
        part += 1;
    }
    let mut index = 0;
    while index < words.len() {
        table.add(words[index].0, words[index].1, words[index].2);
        index += 1;
    }
    table.entries
}

struct Table {
    entries: [Entry; ENTRIES],
    end: usize,
}

impl Table {
    /// Adds an entry whose name is `kind` and `word` in one.
    const fn add(&mut self, kind: &str, word: &str, value: u64) {
        assert!(self.end < ENTRIES - 1 && kind.len() + word.len() < LABEL_BYTES);
        let entry = &mut self.entries[self.end];
        let (start, rest) = entry.name.split_at_mut(kind.len());
        start.copy_from_slice(kind.as_bytes());
        rest.split_at_mut(word.len()).0.copy_from_slice(word.as_bytes());
        entry.value = value;
        self.end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle;
    use crate::state::registry::{LAYOUT_VERSION, TABLE};
    use crate::state::section::Section;

    fn offset(name: &str) -> usize {
        let named = |entry: &&Entry| entry.name.split(|byte| *byte == 0).next() == Some(name.as_bytes());
        TABLE.iter().find(named).unwrap_or_else(|| panic!("{name} is not in the table")).value as usize
    }

    #[test]
    fn the_gdb_script_knows_this_version_and_asks_for_names_of_the_table() {
        let script = include_str!("../../tools/gdb/hostcrst-gdb.py");
        assert!(script.contains(&std::format!("\nLAYOUT_VERSION = {LAYOUT_VERSION}\n")));
        let named_after =
            |before: &'static str| script.split(before).skip(1).map(|after| after.split_once('"').unwrap().0);
        let names = named_after("layout[\"").chain(named_after("shift(\""));
        for name in names.filter(|name| *name != "registry.") {
            offset(name);
        }
        for kind in named_after("word_of(\"") {
            assert!(
                TABLE.iter().any(|entry| entry.name.starts_with(std::format!("{kind}:").as_bytes())),
                "{kind}"
            );
        }
    }

    #[repr(C, align(64))]
    struct Raw([u8; 64]);

    impl Raw {
        fn set(&mut self, field: &str, bytes: &[u8]) {
            self.0[offset(field)..][..bytes.len()].copy_from_slice(bytes);
        }
    }

    #[test]
    fn a_section_made_by_the_table_is_read_as_meant() {
        const { assert!(size_of::<Section>() == 64) };
        let handle = handle::section_handle(0, 5, 3);
        let owner = handle::owner_id(7, 2);
        let mut raw = Raw([0; 64]);
        raw.set("section.word", &(handle ^ owner).to_le_bytes());
        raw.set("section.entries", &4u32.to_le_bytes());
        raw.set("section.bias_counter", &6u32.to_le_bytes());
        raw.set("section.queue_state", &(6u32 << 8 | 1).to_le_bytes());
        raw.set("section.contended", &(1u64 << 40).to_le_bytes());
        raw.set("section.name", &9u32.to_le_bytes());
        let info = |raw: &Raw| {
            // SAFETY: a Section has this size and alignment and is valid for all bytes.
            let section = unsafe { &*(raw as *const Raw).cast::<Section>() };
            let info = section.info(handle).unwrap();
            (info.owner, info.recursion, info.waiters, info.contended, section.name_slot())
        };
        assert_eq!(info(&raw), (owner, 4, 6, 1 << 40, 9));
        raw.set("section.word", &(handle ^ owner ^ handle::BIASED).to_le_bytes());
        assert_eq!(info(&raw), (owner, 5, 6, 1 << 40, 9));
    }

    #[test]
    fn contended_entries_are_counted_beyond_32_bits() {
        let handle = handle::section_handle(0, 5, 3);
        let mut raw = Raw([0; 64]);
        raw.set("section.word", &handle.to_le_bytes());
        raw.set("section.contended", &u64::from(u32::MAX).to_le_bytes());
        // SAFETY: as above.
        let section = unsafe { &*(&raw const raw).cast::<Section>() };
        section.count_contended();
        assert_eq!(section.info(handle).unwrap().contended, 1 << 32);
    }

    #[test]
    fn names_are_given_once() {
        let names: std::vec::Vec<_> =
            TABLE.iter().map(|entry| entry.name).take_while(|name| name[0] != 0).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name));
        }
    }
}
