//! Figures as OpenMetrics text, for programs that collect them. A family of metrics stands together, whatever number of
//! registries it is about, so all of them are written at once.

use core::fmt::{self, Display, Write};

use super::{Namer, Surroundings};
use crate::base::memory::Memory;
use crate::state::statistics::{CLASSES, FiguresCopy, HoldCopy};
use crate::text::Printable;
use crate::view::picture::{Picture, SectionPicture};

/// Writes the metrics of all pictures of one process, in the exposition format of OpenMetrics 1.0.
pub fn write<M: Memory, S: Surroundings>(
    pictures: &[Picture<'_, M>],
    surroundings: &mut S,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut metrics = Metrics { pictures, surroundings, out };
    metrics.of_process()?;
    metrics.of_sections()?;
    metrics.of_waits()?;
    metrics.of_holds()?;
    metrics.out.write_str("# EOF\n")
}

/// The upper ends of the classes of waits in seconds, as OpenMetrics wants numbers in labels to be written.
const LIMITS: [&str; CLASSES] = ["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1.0", "10.0", "+Inf"];

/// The classes of a histogram contain the ones before them.
fn cumulative(mut waits: [u64; CLASSES]) -> [u64; CLASSES] {
    let mut sum = 0u64;
    for class in &mut waits {
        sum = sum.saturating_add(*class);
        *class = sum;
    }
    waits
}

/// Inside the quotes of a label: a backslash, a quotation mark and a line feed are escaped.
struct LabelValue<'a>(&'a mut dyn Write);

impl Write for LabelValue<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '\\' => self.0.write_str("\\\\"),
            '"' => self.0.write_str("\\\""),
            '\n' => self.0.write_str("\\n"),
            _ => self.0.write_char(character),
        })
    }
}

/// Nanoseconds as seconds, exactly.
struct Exactly(u64);

impl Display for Exactly {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

struct Metrics<'p, 'o, M, S> {
    pictures: &'p [Picture<'p, M>],
    surroundings: &'o mut S,
    out: &'o mut dyn Write,
}

impl<M: Memory, S: Surroundings> Metrics<'_, '_, M, S> {
    /// Begins a family of metrics. The name of one with the unit seconds ends so.
    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.out, "# TYPE {name} {kind}")?;
        if name.ends_with("_seconds") {
            writeln!(self.out, "# UNIT {name} seconds")?;
        }
        writeln!(self.out, "# HELP {name} {help}")
    }

    // ---- of a copy of the library ---------------------------------------------------------------------

    fn of_process(&mut self) -> fmt::Result {
        let tasks = |picture: &Picture<'_, M>| picture.tasks().count() as u64;
        self.number("hostcrst_tasks", "", "gauge", "Tasks that live.", tasks)?;
        let sections = |picture: &Picture<'_, M>| picture.sections().count() as u64;
        self.number("hostcrst_sections", "", "gauge", "Sections that exist.", sections)?;
        let help = "Deadlocks that were found.";
        self.number("hostcrst_deadlocks", "_total", "counter", help, |picture| picture.deadlocks_found())?;
        let help = "Deadlocks of which a wait was broken.";
        self.number("hostcrst_deadlocks_broken", "_total", "counter", help, |picture| {
            picture.deadlocks_broken()
        })
    }

    fn number(
        &mut self,
        name: &str,
        suffix: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&Picture<'_, M>) -> u64,
    ) -> fmt::Result {
        self.family(name, kind, help)?;
        self.pictures.iter().try_for_each(|picture| {
            writeln!(self.out, "{name}{suffix}{{copy=\"{}\"}} {}", picture.registry().copy(), value(picture))
        })
    }

    // ---- of a section ---------------------------------------------------------------------------------

    fn of_sections(&mut self) -> fmt::Result {
        let name = "hostcrst_section_waiters";
        self.family(name, "gauge", "Tasks in the queue of a section.")?;
        self.each_section(|metrics, section| metrics.sample(name, section, "", section.waiters))?;
        let name = "hostcrst_section_contended";
        self.family(name, "counter", "Enters that had to queue for a section.")?;
        let sample = "hostcrst_section_contended_total";
        self.each_section(|metrics, section| metrics.sample(sample, section, "", section.contended))
    }

    fn of_waits(&mut self) -> fmt::Result {
        self.family(
            "hostcrst_section_wait_seconds",
            "histogram",
            "Waits for a section that are over, spinning included.",
        )?;
        self.each_figures(|metrics, section, figures| metrics.histogram(section, figures))?;
        let name = "hostcrst_section_longest_wait_seconds";
        self.family(name, "gauge", "The longest wait for a section.")?;
        self.each_figures(|metrics, section, figures| {
            metrics.sample(name, section, "", Exactly(figures.longest_wait))
        })
    }

    fn of_holds(&mut self) -> fmt::Result {
        self.family(
            "hostcrst_section_hold_seconds",
            "summary",
            "How long a section was owned, while that was tracked.",
        )?;
        self.each_figures(|metrics, section, figures| {
            metrics.sample("hostcrst_section_hold_seconds_count", section, "", figures.holds)?;
            metrics.sample("hostcrst_section_hold_seconds_sum", section, "", Exactly(figures.held))
        })?;
        let name = "hostcrst_section_longest_hold_seconds";
        self.family(
            name,
            "gauge",
            "The longest time that a section was owned, and where it was entered then.",
        )?;
        self.pictures.iter().try_for_each(|picture| {
            picture.figures().try_for_each(|(section, figures)| match figures.longest_hold {
                Some(hold) => self.longest_hold(name, picture, &section, hold),
                None => Ok(()),
            })
        })
    }

    fn longest_hold(
        &mut self,
        name: &str,
        picture: &Picture<'_, M>,
        section: &SectionPicture,
        hold: HoldCopy,
    ) -> fmt::Result {
        self.labels(name, section)?;
        if hold.site != 0 {
            self.out.write_str(",entered_at=\"")?;
            let mut namer = Namer { picture, surroundings: &mut *self.surroundings };
            namer.write_site(&mut LabelValue(self.out), hold.site)?;
            self.out.write_char('"')?;
        }
        writeln!(self.out, "}} {}", Exactly(hold.time))
    }

    fn each_section(
        &mut self,
        mut write: impl FnMut(&mut Self, &SectionPicture) -> fmt::Result,
    ) -> fmt::Result {
        self.pictures.iter().try_for_each(|picture| {
            picture
                .sections()
                .filter(SectionPicture::is_of_interest)
                .try_for_each(|section| write(self, &section))
        })
    }

    fn each_figures(
        &mut self,
        mut write: impl FnMut(&mut Self, &SectionPicture, &FiguresCopy) -> fmt::Result,
    ) -> fmt::Result {
        self.pictures.iter().try_for_each(|picture| {
            picture.figures().try_for_each(|(section, figures)| write(self, &section, &figures))
        })
    }

    /// The count of a histogram is that of its last class.
    fn histogram(&mut self, section: &SectionPicture, figures: &FiguresCopy) -> fmt::Result {
        let waits = cumulative(figures.waits);
        for (limit, waits) in LIMITS.iter().zip(waits) {
            self.sample("hostcrst_section_wait_seconds_bucket", section, limit, waits)?;
        }
        self.sample("hostcrst_section_wait_seconds_count", section, "", waits.last().unwrap_or(&0))?;
        self.sample("hostcrst_section_wait_seconds_sum", section, "", Exactly(figures.waited))
    }

    /// One line: a value of a section, or of a class of its waits, up to `limit`.
    fn sample(
        &mut self,
        name: &str,
        section: &SectionPicture,
        limit: &str,
        value: impl Display,
    ) -> fmt::Result {
        self.labels(name, section)?;
        if !limit.is_empty() {
            write!(self.out, ",le=\"{limit}\"")?;
        }
        writeln!(self.out, "}} {value}")
    }

    /// The name and the labels that say which section it is, without the end.
    fn labels(&mut self, name: &str, section: &SectionPicture) -> fmt::Result {
        write!(self.out, "{name}{{section=\"0x{:x}\"", section.handle)?;
        match &section.name {
            _ if section.mirror != 0 => {
                self.out.write_str(",critical_section=\"")?;
                self.surroundings.write_variable(&mut LabelValue(self.out), section.mirror)?;
                self.out.write_char('"')
            }
            Some(name) => {
                self.out.write_str(",name=\"")?;
                write!(LabelValue(self.out), "{}", Printable(name.bytes()))?;
                self.out.write_char('"')
            }
            None => Ok(()),
        }
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn a_class_contains_those_before_it() {
        assert_eq!(cumulative([1, 0, 2, 0, 0, 0, 0, 0, 4]), [1, 1, 3, 3, 3, 3, 3, 3, 7]);
    }

    #[test]
    fn a_label_cannot_end_early() {
        let mut out = String::new();
        LabelValue(&mut out).write_str("a\"b\\c\nd").unwrap();
        assert_eq!(out, r#"a\"b\\c\nd"#);
        assert_eq!(std::format!("{}", Exactly(1_000_000_007)), "1.000000007");
    }
}
