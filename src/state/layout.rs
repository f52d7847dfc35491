//! Where in memory the fields stand that a picture is drawn from: a table of names and numbers at the head of the
//! registry, for tools that are not built from this crate, such as the gdb script. What the numbers in those fields
//! mean is not known here: the layout version stands for that.

/// One number: the offset of a field in what it is part of. A name that ends in `.bytes` gives a size, one that ends in
/// `.count` a number of elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    name: [u8; LABEL_BYTES],
    value: u64,
}

const LABEL_BYTES: usize = 24;

/// Room in the table. It ends with an entry of which all bytes are zero.
pub(crate) const ENTRIES: usize = 48;

/// The table of these parts.
pub(crate) const fn table<const PARTS: usize>(parts: [&[(&str, usize)]; PARTS]) -> [Entry; ENTRIES] {
    let mut table = [Entry { name: [0; LABEL_BYTES], value: 0 }; ENTRIES];
    let (mut part, mut end) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            let (name, value) = parts[part][index];
            table[end].value = value as u64;
            let mut byte = 0;
            while byte < name.len() {
                table[end].name[byte] = name.as_bytes()[byte];
                byte += 1;
            }
            (index, end) = (index + 1, end + 1);
        }
        part += 1;
    }
    assert!(end < ENTRIES);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle;
    use crate::state::registry::TABLE;
    use crate::state::section::Section;

    fn offset(name: &str) -> usize {
        let named = |entry: &&Entry| entry.name.iter().copied().take(name.len()).eq(name.bytes());
        TABLE.iter().find(named).unwrap_or_else(|| panic!("{name} is not in the table")).value as usize
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
    fn names_are_short_and_given_once() {
        let names: std::vec::Vec<_> =
            TABLE.iter().map(|entry| entry.name).take_while(|name| name[0] != 0).collect();
        for (index, name) in names.iter().enumerate() {
            assert_eq!(name[LABEL_BYTES - 1], 0);
            assert!(!names[..index].contains(name));
        }
    }
}
