//! The texts of the page, as `page/pack.rs` has packed them: a third of the library's constants would be these. It does not
//! know what they say.

use core::fmt::{self, Write};

/// A text in which one byte may stand for two.
pub struct Packed(&'static [u8]);

// PAIRS, and the texts HEAD, STYLE and SCRIPT.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The byte that stands for the first of PAIRS.
const FIRST_PAIR: usize = 128;

impl Packed {
    /// Writes the whole text.
    pub fn write(&self, out: &mut dyn Write) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| write_whole(byte, out))
    }
}

/// Writes what the byte stands for. A pair is made of pairs before it, so this ends.
fn write_whole(mut byte: u8, out: &mut dyn Write) -> fmt::Result {
    while let Some(&[first, second]) =
        usize::from(byte).checked_sub(FIRST_PAIR).and_then(|pair| PAIRS.get(pair))
    {
        write_whole(first, out)?;
        byte = second;
    }
    out.write_char(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn each_text_is_whole_again() {
        for (packed, text) in [
            (HEAD, include_str!("page/head.html")),
            (STYLE, include_str!("page/style.css")),
            (SCRIPT, include_str!("page/script.js")),
        ] {
            let mut whole = String::new();
            packed.write(&mut whole).expect("a string takes all");
            assert!(whole == text, "{whole}");
        }
    }

    #[test]
    fn no_pair_is_made_of_so_many_that_it_takes_much_stack() {
        let mut depths = std::vec::Vec::new();
        for pair in &PAIRS {
            let depth = |byte: u8| usize::from(byte).checked_sub(FIRST_PAIR).map_or(0, |pair| depths[pair]);
            depths.push(1 + depth(pair[0]).max(depth(pair[1])));
        }
        assert!(depths.iter().all(|&depth| depth <= 16), "{depths:?}");
    }
}
