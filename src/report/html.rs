//! The report as one page for a browser, which loads nothing from anywhere: the verdict, the report as text, and the report
//! as JSON with a script (`page/script.js`) that draws what is in it. What is drawn is decided there.

use core::fmt::{self, Write};

use crate::report::packed;

/// What a page is made of. Each part may contain anything: here it becomes text that no browser takes for markup.
pub trait Parts {
    /// What stands, in a sentence or a few.
    fn verdict(&mut self, out: &mut dyn Write) -> fmt::Result;
    /// The report for people.
    fn text(&mut self, out: &mut dyn Write) -> fmt::Result;
    /// Objects, one a line.
    fn json(&mut self, out: &mut dyn Write) -> fmt::Result;
}

const BEFORE_STYLE: &str = "<style>\n";
const BEFORE_VERDICT: &str = "</style>\n</head>\n<body>\n\
                              <a class=\"skip\" href=\"#threads\">Skip to the threads</a>\n\
                              <h1>Report of hostcrst</h1>\n<pre id=\"verdict\">";
const BEFORE_TEXT: &str = "</pre>\n<noscript><p>Without scripts there is no picture, and nothing to sort; the text has it \
                           all.</p></noscript>\n<main id=\"drawn\"></main>\n\
                           <details id=\"text\" open><summary>The report as text</summary>\n<pre>";
const BEFORE_JSON: &str = "</pre></details>\n<script type=\"application/json\" id=\"report\">\n";
const BEFORE_SCRIPT: &str = "</script>\n<script>\n";
const TAIL: &str = "</script>\n</body>\n</html>\n";

/// Writes the page.
pub fn write(parts: &mut impl Parts, out: &mut dyn Write) -> fmt::Result {
    packed::HEAD.write(out)?;
    out.write_str(BEFORE_STYLE)?;
    packed::STYLE.write(out)?;
    out.write_str(BEFORE_VERDICT)?;
    parts.verdict(&mut Markup(out))?;
    out.write_str(BEFORE_TEXT)?;
    parts.text(&mut Markup(out))?;
    out.write_str(BEFORE_JSON)?;
    parts.json(&mut InScript(out))?;
    out.write_str(BEFORE_SCRIPT)?;
    packed::SCRIPT.write(out)?;
    out.write_str(TAIL)
}

/// Text between tags.
struct Markup<'a>(&'a mut dyn Write);

impl Write for Markup<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_replacing(self.0, text, |byte| match byte {
            b'<' => Some("&lt;"),
            b'&' => Some("&amp;"),
            _ => None,
        })
    }
}

/// JSON in a script element, which ends at `</script` wherever that stands. In JSON a `<` stands in strings only, and can be
/// written as an escape there.
struct InScript<'a>(&'a mut dyn Write);

impl Write for InScript<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_replacing(self.0, text, |byte| (byte == b'<').then_some("\\u003c"))
    }
}

/// Writes `text` in pieces that are as long as possible. Only ASCII is replaced.
fn write_replacing(
    out: &mut dyn Write,
    mut text: &str,
    replacement: impl Fn(u8) -> Option<&'static str>,
) -> fmt::Result {
    loop {
        let mut replaced = None;
        let end = text.bytes().position(|byte| {
            replaced = replacement(byte);
            replaced.is_some()
        });
        let (Some(end), Some(replaced)) = (end, replaced) else { return out.write_str(text) };
        out.write_str(text.get(..end).unwrap_or(text))?;
        out.write_str(replaced)?;
        text = text.get(end + 1..).unwrap_or("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    struct Hostile;

    const NAME: &str = "</pre></script><!--&lt;\"'>";

    impl Parts for Hostile {
        fn verdict(&mut self, out: &mut dyn Write) -> fmt::Result {
            out.write_str(NAME)
        }
        fn text(&mut self, out: &mut dyn Write) -> fmt::Result {
            out.write_str(NAME)
        }
        fn json(&mut self, out: &mut dyn Write) -> fmt::Result {
            NAME.chars().try_for_each(|character| out.write_char(character))
        }
    }

    #[test]
    fn nothing_in_a_part_is_markup() {
        let mut page = String::new();
        write(&mut Hostile, &mut page).expect("a string takes all");
        let whole = |part: packed::Packed| {
            let mut whole = String::new();
            part.write(&mut whole).expect("a string takes all");
            whole
        };
        let head = [&*whole(packed::HEAD), BEFORE_STYLE, &whole(packed::STYLE), BEFORE_VERDICT].concat();
        let tail = [BEFORE_SCRIPT, &*whole(packed::SCRIPT), TAIL].concat();
        let body = page
            .strip_prefix(&*head)
            .and_then(|rest| rest.strip_suffix(&*tail))
            .expect("the page's own parts");
        let as_text = "&lt;/pre>&lt;/script>&lt;!--&amp;lt;\"'>";
        let as_json = "\\u003c/pre>\\u003c/script>\\u003c!--&lt;\"'>";
        let wanted = [as_text, BEFORE_TEXT, as_text, BEFORE_JSON, as_json].concat();
        assert_eq!(body, wanted);
    }

    #[test]
    fn the_page_loads_nothing_and_makes_no_markup_of_text() {
        for forbidden in [
            "http:",
            "https:",
            "src=",
            "@import",
            "url(h",
            "innerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
        ] {
            let files = [
                include_str!("page/head.html"),
                include_str!("page/style.css"),
                include_str!("page/script.js"),
            ];
            let parts = [&files[..], &[BEFORE_VERDICT, BEFORE_TEXT, BEFORE_JSON]].concat();
            let count: usize = parts.iter().map(|part| part.matches(forbidden).count()).sum();
            // The name of SVG's namespace is no address that anything is loaded from.
            assert_eq!(count, usize::from(forbidden == "http:"), "{forbidden}");
        }
    }
}
