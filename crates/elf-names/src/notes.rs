//! ELF notes of programs, libraries and core files.

use object::LittleEndian;
use object::elf::{NoteHeader64, NoteType};
use object::pod;

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// The owner that defines the note's type, with the terminating zero.
    pub name: &'a [u8],
    /// The type, one of that owner's.
    pub kind: NoteType,
    /// The content.
    pub content: &'a [u8],
}

/// The notes of a segment or section, up to the first one that is not whole.
#[derive(Clone, Debug)]
pub struct Notes<'a> {
    bytes: &'a [u8],
    align: usize,
}

impl<'a> Notes<'a> {
    /// The notes in `bytes`, which are aligned as the segment is that they stand in.
    pub fn new(bytes: &'a [u8], segment_align: u64) -> Self {
        Notes { bytes, align: if segment_align == 8 { 8 } else { 4 } }
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let (header, _) = pod::from_bytes::<NoteHeader64<LittleEndian>>(self.bytes).ok()?;
        let name_start = size_of::<NoteHeader64<LittleEndian>>();
        let name_end = name_start.checked_add(header.n_namesz.get(LittleEndian) as usize)?;
        let content_start = name_end.checked_next_multiple_of(self.align)?;
        let content_end = content_start.checked_add(header.n_descsz.get(LittleEndian) as usize)?;
        let note = Note {
            name: self.bytes.get(name_start..name_end)?,
            kind: header.n_type.get(LittleEndian),
            content: self.bytes.get(content_start..content_end)?,
        };
        // The last note may lack its padding.
        self.bytes = self.bytes.get(content_end.checked_next_multiple_of(self.align)?..).unwrap_or(&[]);
        Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn note(name: &[u8], kind: u32, content: &[u8], align: usize) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [name.len() as u32, content.len() as u32, kind] {
            note.extend(number.to_le_bytes());
        }
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(align), 0);
        }
        note
    }

    /// The names and contents of notes.
    fn shown(bytes: &[u8], align: u64) -> Vec<(&[u8], u32, &[u8])> {
        Notes::new(bytes, align).map(|note| (note.name, note.kind.0, note.content)).collect()
    }

    #[test]
    fn names_and_contents_are_filled_up_to_the_alignment() {
        for align in [4, 8] {
            let mut bytes = note(b"GNU\0", 3, b"ten bytes.", align);
            bytes.extend(note(b"seven.\0", 1, b"", align));
            bytes.extend(note(b"", 2, b"12345678", align));
            let notes: [(&[u8], u32, &[u8]); 3] =
                [(b"GNU\0", 3, b"ten bytes."), (b"seven.\0", 1, b""), (b"", 2, b"12345678")];
            assert_eq!(shown(&bytes, align as u64), notes);
        }
    }

    #[test]
    fn what_comes_after_a_note_that_is_cut_is_not_read() {
        let mut bytes = note(b"one\0", 1, b"first", 4);
        let whole = bytes.len();
        bytes.extend(note(b"two\0", 2, b"second", 4));
        for length in 0..bytes.len() {
            // The filling of the last one may be missing.
            let expected = usize::from(length >= whole - 3) + usize::from(length >= bytes.len() - 2);
            assert_eq!(shown(&bytes[..length], 4).len(), expected, "{length}");
        }
    }

    #[test]
    fn sizes_beyond_everything_end_the_list() {
        for (at, align) in [(0, 4), (4, 4), (0, 8), (4, 8)] {
            let mut bytes = note(b"one\0", 1, b"first", align as usize);
            bytes[at..at + 4].fill(0xff);
            assert_eq!(shown(&bytes, align).len(), 0);
        }
    }
}
