//! Short texts made without allocating: lines for stderr, the buffer of a report, paths.

use core::fmt::{self, Write};

/// A text in a buffer of its own, of at most so many bytes. What is added fits whole, or as far as is said.
#[derive(Clone, Copy)]
pub struct TextBuffer<const BYTES: usize> {
    length: usize,
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> TextBuffer<BYTES> {
    /// An empty one. Zeroed memory is one too.
    pub(crate) const fn new() -> Self {
        TextBuffer { length: 0, bytes: [0; BYTES] }
    }

    /// A copy of `utf8`, cut to what fits.
    pub fn of(utf8: &[u8]) -> Self {
        let mut text = Self::new();
        text.push_what_fits(cut(utf8, BYTES));
        text
    }

    /// As of.
    pub(crate) fn of_utf16(units: &[u16]) -> Self {
        let mut text = Self::new();
        // What does not fit is cut.
        let _ = text.push_utf16(units);
        text
    }

    /// What stands in it.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// Takes away what is behind the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Adds all of `bytes`, or nothing if there is no room.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> fmt::Result {
        let end = self.length + bytes.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// Adds as many of `bytes` as there is room for.
    pub(crate) fn push_what_fits(&mut self, bytes: &[u8]) {
        let fitting = bytes.get(..BYTES - self.length).unwrap_or(bytes);
        let _ = self.push(fitting);
    }

    /// Adds the characters of `units` up to a NUL, or up to the first that does not fit. Unpaired surrogates become
    /// U+FFFD.
    pub(crate) fn push_utf16(&mut self, units: &[u16]) -> fmt::Result {
        char::decode_utf16(units.iter().copied())
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .take_while(|&character| character != '\0')
            .try_for_each(|character| self.write_char(character))
    }

    /// Adds a line feed, instead of the last character if there is no room.
    pub(crate) fn end_line(&mut self) {
        if self.push(b"\n").is_err() {
            self.truncate(cut(self.bytes(), BYTES - 1).len());
            let _ = self.push(b"\n");
        }
    }
}

impl<const BYTES: usize> Write for TextBuffer<BYTES> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes())
    }

    // Of Write's own there would be one for each size.
    fn write_char(&mut self, character: char) -> fmt::Result {
        write_character(self, character)
    }
}

#[inline(never)]
fn write_character(out: &mut dyn Write, character: char) -> fmt::Result {
    out.write_str(character.encode_utf8(&mut [0; 4]))
}

/// The longest prefix of at most `limit` bytes that does not end inside a UTF-8 character.
pub(crate) fn cut(utf8: &[u8], limit: usize) -> &[u8] {
    if utf8.len() <= limit {
        return utf8;
    }
    let mut end = limit;
    while end > 0 && utf8[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    &utf8[..end]
}

/// Whether a character could garble a line, or make it look like another one: control characters, C1 ones included, and
/// what Unicode has to turn the direction of text, to break lines, or to be invisible.
pub(crate) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes `text` in pieces that are as long as possible; `special` writes each character that may not be printable ASCII, or
/// that any format has a meaning for in a text in quotes.
pub(crate) fn write_pieces(
    out: &mut dyn Write,
    mut text: &str,
    special: &mut dyn FnMut(&mut dyn Write, char) -> fmt::Result,
) -> fmt::Result {
    loop {
        let is_special = |&byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
        let length = text.as_bytes().iter().position(is_special);
        let Some((piece, rest)) = length.and_then(|length| text.split_at_checked(length)) else {
            return out.write_str(text);
        };
        out.write_str(piece)?;
        let mut characters = rest.chars();
        if let Some(character) = characters.next() {
            special(out, character)?;
        }
        text = characters.as_str();
    }
}

/// Bytes that someone called UTF-8, with whatever could garble a line replaced.
pub struct Printable<'a>(pub &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            write_pieces(out, chunk.valid(), &mut |out, character| {
                out.write_char(if is_deceptive(character) || character == '"' { '?' } else { character })
            })?;
            if !chunk.invalid().is_empty() {
                out.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// A thread by its name, if that is known, and its id.
pub(crate) struct ThreadName<'a>(pub(crate) &'a [u8], pub(crate) u32);

impl fmt::Display for ThreadName<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() {
            write!(out, "\"{}\" ", Printable(self.0))?;
        }
        write!(out, "tid={}", self.1)
    }
}

/// Nanoseconds as seconds with three places.
pub(crate) struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0 / 1_000_000;
        write!(out, "{}.{:03}s", milliseconds / 1000, milliseconds % 1000)
    }
}

/// Nanoseconds in the largest unit of which there is one, with three figures after the point.
pub(crate) struct Duration(pub(crate) u64);

impl fmt::Display for Duration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (thousandths, unit) = match self.0 {
            0..1_000 => return write!(out, "{}ns", self.0),
            1_000..1_000_000 => (self.0, "us"),
            1_000_000..1_000_000_000 => (self.0 / 1_000, "ms"),
            _ => (self.0 / 1_000_000, "s"),
        };
        write!(out, "{}.{:03}{unit}", thousandths / 1000, thousandths % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_text_takes_all_or_nothing_or_what_fits() {
        let mut text = TextBuffer::<4>::new();
        assert!(text.push(b"abcde").is_err());
        text.push(b"abc").unwrap();
        text.push_what_fits(b"de");
        assert_eq!(text.bytes(), b"abcd");
        text.end_line();
        assert_eq!(text.bytes(), b"abc\n");
        text.clear();
        text.push("aaé".as_bytes()).unwrap();
        text.end_line();
        assert_eq!(text.bytes(), b"aa\n");
    }

    #[test]
    fn a_copy_is_cut_between_characters() {
        let text = TextBuffer::<4>::of("abcé".as_bytes());
        assert_eq!((text.bytes(), text.is_empty()), (&b"abc"[..], false));
        assert!(TextBuffer::<4>::of(b"").is_empty());
        let mut text = TextBuffer::<4>::of(b"abcd");
        text.truncate(5);
        assert_eq!(text.bytes(), b"abcd");
        text.truncate(1);
        assert_eq!(text.bytes(), b"a");
    }

    #[test]
    fn utf16_becomes_utf8() {
        let units = |text: &str| text.encode_utf16().collect::<std::vec::Vec<u16>>();
        assert_eq!(TextBuffer::<32>::of_utf16(&units("Größe 🙂")).bytes(), "Größe 🙂".as_bytes());
        let unpaired = [b'a' as u16, 0xD800, b'b' as u16];
        assert_eq!(TextBuffer::<32>::of_utf16(&unpaired).bytes(), "a\u{FFFD}b".as_bytes());
        assert_eq!(TextBuffer::<32>::of_utf16(&units("a\0b")).bytes(), b"a");
        let mut text = TextBuffer::<4>::new();
        assert!(text.push_utf16(&units("abcéd")).is_err());
        assert_eq!(text.bytes(), b"abc", "nothing is put after what did not fit");
    }

    #[test]
    fn nothing_garbles_a_line() {
        assert_eq!(Printable(b"a\n\"\xff\xc3\xa9").to_string(), "a???é");
        let tricks = "\u{1b}\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{200f}\u{2028}\u{feff}\u{e0041}";
        assert_eq!(Printable(tricks.as_bytes()).to_string(), "??????????");
        assert_eq!(Seconds(61_002_999_999).to_string(), "61.002s");
        let durations =
            [999, 1_000, 999_999, 1_002_999, 61_002_999_999].map(|time| Duration(time).to_string());
        assert_eq!(durations, ["999ns", "1.000us", "999.999us", "1.002ms", "61.002s"]);
    }
}
