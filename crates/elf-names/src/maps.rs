//! The kernel's list of what a process has mapped: `/proc/PID/maps`.

use crate::{Block, ReadAt};

/// Longest path the kernel opens, with its NUL.
pub const PATH_CAPACITY: usize = 4096;
/// The part of a line that is kept: its numbers and any path that can be opened.
pub const LINE_CAPACITY: usize = PATH_CAPACITY + 256;

/// The limit for the list, about a million lines.
const MOST_BYTES: u64 = 1 << 26;

/// Room for a line.
pub type Line = [u8; LINE_CAPACITY];

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// Whether it may be written.
    pub is_writable: bool,
    /// Whether it is code.
    pub is_executable: bool,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file system's device.
    pub device: (u64, u64),
    /// The file's number in its file system, 0 for what came from no file.
    pub inode: u64,
    /// A path, a label such as `[heap]`, or nothing.
    pub path: &'a [u8],
}

impl<'a> Mapping<'a> {
    /// Reads `start-end permissions offset major:minor inode   path`, all but the inode in hexadecimal. The
    /// path is all that follows, spaces included.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (start, end) = hexadecimal_pair(fields.next()?)?;
        let permissions = fields.next()?;
        let may = |place, letter| permissions.get(place) == Some(&letter);
        Some(Mapping {
            start,
            end,
            is_writable: may(1, b'w'),
            is_executable: may(2, b'x'),
            offset: number(fields.next()?, 16)?,
            device: hexadecimal_pair(fields.next()?)?,
            inode: number(fields.next()?, 10)?,
            path: fields.next().unwrap_or_default().trim_ascii_start(),
        })
    }
}

/// What a mapping holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum What {
    /// What is not code.
    Data,
    /// What is.
    Code,
    /// Anonymous memory behind a library's last mapping: what its zeroed data needs beyond its file, or other memory, which
    /// the kernel shows as one mapping with that.
    Tail,
}

/// A mapping as a part of what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it holds.
    pub what: What,
    /// Where the beginning of the file is, or would be if it were mapped before its first mapping; that of what has a label.
    pub base: u64,
    /// Whether it belongs to no mapping before it.
    pub is_first: bool,
}

/// Tells which mappings belong together, of a list in the order of addresses. A library is mapped piece by piece, from its
/// beginning on, at rising addresses and offsets of one file, with nothing between that does not adjoin.
pub struct Pieces {
    /// Device and inode of the last file, and where in it and where in memory that is.
    file: ((u64, u64), u64),
    offset: u64,
    base: u64,
    /// The end of a library's piece, 0 for what is none: a program may map more of its own file, such as the assemblies
    /// that it carries, and memory behind that is something else.
    end: u64,
}

impl Default for Pieces {
    fn default() -> Self {
        Self::new()
    }
}

impl Pieces {
    /// Before the first mapping.
    pub const fn new() -> Self {
        Pieces { file: ((0, 0), 0), offset: 0, base: 0, end: 0 }
    }

    /// What the next mapping is. None for anonymous memory that has no label and is no library's.
    #[inline(always)]
    pub fn follow(&mut self, mapping: &Mapping<'_>) -> Option<Piece> {
        let is_tail = mapping.inode == 0 && mapping.path.is_empty() && mapping.start == self.end;
        let what = match mapping.is_executable {
            _ if is_tail => What::Tail,
            true => What::Code,
            false => What::Data,
        };
        let mut is_first = false;
        if mapping.inode != 0 {
            let mapped = (mapping.device, mapping.inode);
            is_first = self.file != mapped || mapping.offset < self.offset;
            if is_first {
                (self.file, self.base, self.end) = (mapped, mapping.start.wrapping_sub(mapping.offset), 0);
            }
            self.offset = mapping.offset;
            if self.offset == 0 || self.end != 0 {
                self.end = mapping.end;
            }
        } else if !is_tail {
            (self.offset, self.end) = (u64::MAX, 0);
        }
        match mapping.inode {
            0 if !is_tail && mapping.path.is_empty() => None,
            0 if !is_tail => Some(Piece { what, base: mapping.start, is_first: true }),
            _ => Some(Piece { what, base: self.base, is_first }),
        }
    }
}

/// The last part of a path, without the mark of a file that is no longer there; a label as it is.
pub fn base_name(path: &[u8]) -> &[u8] {
    if !path.starts_with(b"/") {
        return path;
    }
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.strip_suffix(b" (deleted)").unwrap_or(name)
}

/// Reads two hexadecimal numbers with one character between them.
fn hexadecimal_pair(text: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = text.splitn(2, |byte| !byte.is_ascii_hexdigit());
    Some((number(numbers.next()?, 16)?, number(numbers.next()?, 16)?))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// Calls `visit` with each mapping. A line that is too long is cut, and one that cannot be parsed is skipped.
pub fn each_mapping(
    list: &impl ReadAt,
    line: &mut Line,
    block: &mut Block,
    mut visit: impl FnMut(&Mapping<'_>),
) {
    let (mut offset, mut length) = (0, 0);
    while offset < MOST_BYTES
        && let Some(read) = list.read_at(offset, block)
        && let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty())
    {
        for &byte in bytes {
            if byte == b'\n' {
                if let Some(mapping) = line.get(..length).and_then(Mapping::parse) {
                    visit(&mapping);
                }
                length = 0;
            } else if let Some(place) = line.get_mut(length) {
                *place = byte;
                length += 1;
            }
        }
        offset += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK;
    use crate::testing::{Endless, Image};
    use std::borrow::ToOwned;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    fn paths(list: &impl ReadAt) -> Vec<String> {
        let mut paths = Vec::new();
        each_mapping(list, &mut [0; LINE_CAPACITY], &mut [0; BLOCK], |mapping| {
            paths.push(String::from_utf8_lossy(mapping.path).into_owned());
        });
        paths
    }

    #[test]
    fn a_line_of_the_kernels_is_read() {
        let line =
            b"7f00001000-7f00002000 r-xp 0000a000 fd:1f 1234                  /a folder/lib  x.so (deleted)";
        let mapping = Mapping {
            start: 0x7f_0000_1000,
            end: 0x7f_0000_2000,
            is_writable: false,
            is_executable: true,
            offset: 0xa000,
            device: (0xfd, 0x1f),
            inode: 1234,
            path: b"/a folder/lib  x.so (deleted)",
        };
        assert_eq!(Mapping::parse(line), Some(mapping));
        assert_eq!(base_name(mapping.path), b"lib  x.so");
        let anonymous = Mapping::parse(b"1000-2000 rw-p 00000000 00:00 0 ").unwrap();
        assert!(anonymous.is_writable && !anonymous.is_executable && anonymous.path.is_empty());
        assert_eq!(base_name(b"[heap] (deleted)"), b"[heap] (deleted)");
    }

    #[test]
    fn a_line_of_another_kind_is_none() {
        for line in [
            "",
            "not a mapping",
            "1000 2000 r-xp 0 fd:00 1 /lib",
            "1000-20000000000000000 r-xp 0 fd:00 1 /lib",
            "1000-2000 r-xp x fd:00 1 /lib",
            "1000-2000 r-xp 0 fd 1 /lib",
            "1000-2000 r-xp 0 fd:00 1f /lib",
            "1000-2000 r-xp 0 fd:00",
        ] {
            assert_eq!(Mapping::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_list_may_arrive_in_pieces_and_have_lines_of_other_kinds() {
        let list = "1000-2000 r-xp 0 fd:00 1 /one\n\nwhat is this\n2000-3000 r-xp 0 fd:00 2 /two\n";
        for piece in [1, 7, usize::MAX] {
            assert_eq!(paths(&Image { piece, ..Image::new(list) }), ["/one", "/two"]);
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_the_end_is_left_out() {
        let long = "/".to_owned() + &"directory/".repeat(LINE_CAPACITY / 5) + "lib.so";
        let list = Image::new(format!("1000-2000 r-xp 0 fd:00 1 {long}\n2000-3000 r-xp 0 fd:00 2 /next\n"));
        let paths = paths(&list);
        assert!(long.starts_with(&paths[0]) && paths[0].len() > PATH_CAPACITY);
        assert_eq!(paths[1], "/next");
    }

    #[test]
    fn a_list_without_end_is_given_up() {
        let list = Endless { image: Image::new("1000-2000 r-xp 0 fd:00 1 /one\n"), filler: b' ' };
        assert_eq!(paths(&list), ["/one"]);
        assert_eq!(list.image.reads.get(), MOST_BYTES as usize / BLOCK);
    }
}
