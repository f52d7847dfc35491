//! What the metadata of an assembly and a portable PDB have in common: a head that names streams, of which one has tables
//! (ECMA-335, II.24).

/// A part of other bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub offset: u64,
    pub size: u64,
}

const SIGNATURE: &[u8] = b"BSJB";
/// Both formats have at most six streams.
const MOST_STREAMS: u16 = 16;
const LONGEST_STREAM_NAME: usize = 32;

/// Reads numbers and parts, one behind the other.
#[derive(Clone, Copy)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn chunk<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// An index of four bytes or of two.
    pub fn index(&mut self, is_wide: bool) -> Option<u32> {
        if is_wide { self.u32() } else { self.u16().map(u32::from) }
    }

    /// A number of one, two or four bytes, of which the first says how many.
    pub fn compressed(&mut self) -> Option<u32> {
        self.compressed_bits().map(|(value, _)| value)
    }

    /// The same of a number that may be negative: its sign is the lowest bit.
    pub fn compressed_signed(&mut self) -> Option<i32> {
        let (value, bits) = self.compressed_bits()?;
        let magnitude = (value >> 1) as i32;
        Some(if value & 1 == 0 { magnitude } else { magnitude - (1 << (bits - 1)) })
    }

    fn compressed_bits(&mut self) -> Option<(u32, u32)> {
        let first = self.byte()?;
        let (more, bits) = match first.leading_ones() {
            0 => (0, 7),
            1 => (1, 14),
            2 => (3, 29),
            _ => return None,
        };
        let mut value = u32::from(first & 0x7F >> first.leading_ones());
        for _ in 0..more {
            value = value << 8 | u32::from(self.byte()?);
        }
        Some((value, bits))
    }
}

/// Where the stream with this name stands, by the head of the metadata.
pub fn stream(head: &[u8], name: &[u8]) -> Option<Extent> {
    let mut head = Cursor(head);
    if head.take(4)? != SIGNATURE {
        return None;
    }
    // Two numbers of a version, and one that is reserved.
    head.take(8)?;
    let version_size = head.u32()?;
    head.take(usize::try_from(version_size).ok()?)?;
    let _flags = head.u16()?;
    for _ in 0..head.u16()?.min(MOST_STREAMS) {
        let (offset, size) = (u64::from(head.u32()?), u64::from(head.u32()?));
        let longest = &head.0[..head.0.len().min(LONGEST_STREAM_NAME)];
        let length = longest.iter().position(|&byte| byte == 0)?;
        // Names end with a zero, and at a multiple of four bytes.
        if head.take((length + 1).next_multiple_of(4))?[..length] == *name {
            return Some(Extent { offset, size });
        }
    }
    None
}

/// The head of the stream of tables.
pub struct Tables {
    heap_sizes: u8,
    rows: [u32; 64],
}

impl Tables {
    /// What stands behind it are the rows of all tables.
    pub fn parse(cursor: &mut Cursor<'_>) -> Option<Tables> {
        // Reserved, and a version.
        cursor.take(6)?;
        let heap_sizes = cursor.byte()?;
        cursor.take(1)?;
        let (present, _sorted) = (cursor.u64()?, cursor.u64()?);
        let mut rows = [0; 64];
        for (table, rows) in rows.iter_mut().enumerate() {
            if present >> table & 1 != 0 {
                *rows = cursor.u32()?;
            }
        }
        Some(Tables { heap_sizes, rows })
    }

    pub fn rows(&self, table: usize) -> u32 {
        self.rows[table]
    }

    pub fn has_wide_strings(&self) -> bool {
        self.heap_sizes & 1 != 0
    }

    pub fn has_wide_guids(&self) -> bool {
        self.heap_sizes & 2 != 0
    }

    pub fn has_wide_blobs(&self) -> bool {
        self.heap_sizes & 4 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_numbers_are_those_of_the_standard() {
        let unsigned = |bytes: &[u8]| Cursor(bytes).compressed();
        for (bytes, value) in [
            (&[0x03][..], 0x03),
            (&[0x7F], 0x7F),
            (&[0x80, 0x80], 0x80),
            (&[0xAE, 0x57], 0x2E57),
            (&[0xBF, 0xFF], 0x3FFF),
            (&[0xC0, 0x00, 0x40, 0x00], 0x4000),
            (&[0xDF, 0xFF, 0xFF, 0xFF], 0x1FFF_FFFF),
        ] {
            assert_eq!(unsigned(bytes), Some(value), "{bytes:x?}");
        }
        for bytes in [&[][..], &[0xFF], &[0xE0, 0, 0, 0], &[0x80], &[0xC0, 0, 0]] {
            assert_eq!(unsigned(bytes), None, "{bytes:x?}");
        }
        for (bytes, value) in [
            (&[0x06][..], 3),
            (&[0x7B], -3),
            (&[0x80, 0x80], 64),
            (&[0x01], -64),
            (&[0xC0, 0x00, 0x40, 0x00], 8192),
            (&[0x80, 0x01], -8192),
            (&[0xDF, 0xFF, 0xFF, 0xFE], 268_435_455),
            (&[0xC0, 0x00, 0x00, 0x01], -268_435_456),
        ] {
            assert_eq!(Cursor(bytes).compressed_signed(), Some(value), "{bytes:x?}");
        }
    }
}
