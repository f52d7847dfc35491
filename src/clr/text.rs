//! Short UTF-8 text in a buffer of its own, cut at its end between two characters.

pub(crate) struct Text<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: usize,
    /// A character did not fit: nothing shorter is put after it.
    full: bool,
}

impl<const BYTES: usize> Text<BYTES> {
    pub(crate) const fn new() -> Self {
        Text { bytes: [0; BYTES], length: 0, full: false }
    }

    pub(crate) fn from_utf16(units: &[u16]) -> Self {
        let mut text = Self::new();
        text.push_utf16(units);
        text
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, more: &str) {
        more.chars().for_each(|character| self.push_char(character));
    }

    /// Unpaired surrogates become U+FFFD, and a NUL ends the text.
    pub(crate) fn push_utf16(&mut self, units: &[u16]) {
        char::decode_utf16(units.iter().copied())
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .take_while(|&character| character != '\0')
            .for_each(|character| self.push_char(character));
    }

    fn push_char(&mut self, character: char) {
        let mut utf8 = [0; 4];
        let utf8 = character.encode_utf8(&mut utf8).as_bytes();
        let end = self.length.saturating_add(utf8.len());
        match self.bytes.get_mut(self.length..end) {
            Some(room) if !self.full => {
                room.copy_from_slice(utf8);
                self.length = end;
            }
            _ => self.full = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> std::vec::Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn utf16_becomes_utf8() {
        assert_eq!(Text::<32>::from_utf16(&utf16("Größe 🙂")).bytes(), "Größe 🙂".as_bytes());
        assert_eq!(
            Text::<32>::from_utf16(&[b'a' as u16, 0xD800, b'b' as u16]).bytes(),
            "a\u{FFFD}b".as_bytes()
        );
        assert_eq!(Text::<32>::from_utf16(&[b'a' as u16, 0, b'b' as u16]).bytes(), b"a");
    }

    #[test]
    fn long_text_is_cut_between_characters_and_stays_cut() {
        let mut text = Text::<4>::from_utf16(&utf16("abcé"));
        text.push("d");
        assert_eq!(text.bytes(), b"abc");
    }
}
