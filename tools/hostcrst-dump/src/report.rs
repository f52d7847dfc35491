//! From a target to the text of its report.

use std::collections::HashMap;
use std::fmt::{self, Write};

use hostcrst::inspect::{
    Format, Memory, NameCopy, Parts, Picture, Surroundings, render, render_verdict, write_metrics, write_page,
};

use crate::copies;
use crate::failure::Failure;
use crate::foreign::{self, Chains, Joint, StacksOf};
use crate::registries::{self, Found};
use crate::remote::Remote;
use crate::symbols::{Symbols, printable};
use crate::target::Target;
use crate::time_limit::TimeLimit;
use crate::unexamined::{self, Seen, Unexamined};

/// A report as far as it could be made.
pub struct Report {
    pub text: String,
    /// Whether a deadlock stands; an error if the report is not all there is.
    pub deadlock: Result<bool, Failure>,
}

/// One report for each registry in the target, followed by what no single registry shows.
pub fn report(
    target: &dyn Target,
    format: Format,
    stacks_of: StacksOf,
    time_limit: TimeLimit,
) -> Result<Report, Failure> {
    let (text, deadlock) = examine(target, stacks_of, time_limit, |writer| writer.write(format))?;
    Ok(Report { text, deadlock })
}

/// What a report says, for a program that shows it in its own way.
pub struct Sight {
    pub verdict: String,
    /// Objects, one a line.
    pub json: String,
    /// As in a report.
    pub deadlock: Result<bool, Failure>,
}

pub fn sight(target: &dyn Target, stacks_of: StacksOf, time_limit: TimeLimit) -> Result<Sight, Failure> {
    let ((verdict, json), deadlock) = examine(target, stacks_of, time_limit, |writer| {
        let verdict = writer.verdict();
        let (json, deadlock) = writer.write(Format::Json);
        ((verdict, json), deadlock)
    })?;
    Ok(Sight { verdict, json, deadlock })
}

/// What `write` makes of all that there is to say, and whether a deadlock stands, which is an error if not all could be read.
fn examine<T>(
    target: &dyn Target,
    stacks_of: StacksOf,
    time_limit: TimeLimit,
    write: impl FnOnce(&mut Writer<'_, Remote<'_>>) -> (T, bool),
) -> Result<(T, Result<bool, Failure>), Failure> {
    let made = examine_while_it_runs(target, stacks_of, time_limit, write);
    match target.change() {
        // A deadlock that was found did stand. Anything else may be so because threads were woken to die.
        Some(Failure::IsEnding(_)) if matches!(made, Ok((_, Ok(true)))) => made,
        Some(change) => Err(change),
        None => made,
    }
}

fn examine_while_it_runs<T>(
    target: &dyn Target,
    stacks_of: StacksOf,
    time_limit: TimeLimit,
    write: impl FnOnce(&mut Writer<'_, Remote<'_>>) -> (T, bool),
) -> Result<(T, Result<bool, Failure>), Failure> {
    let threads = foreign::threads(target, time_limit)?;
    let (found, unknown) = match registries::find(target, time_limit) {
        // There are threads to show all the same.
        Err(Failure::NotLoaded(_)) if threads.is_some() => (Vec::new(), None),
        Err(
            failure
            @ (Failure::UnknownLayout { .. } | Failure::Incomplete(_) | Failure::TooManyCopies { .. }),
        ) if threads.is_some() => (Vec::new(), Some(failure)),
        found => found?,
    };
    let memory = Remote::new(target, time_limit);
    let pictures: Vec<_> = found.iter().map(|found| Picture::new(&memory, &found.registry)).collect();
    let mut symbols = Symbols::new(target, time_limit).with_places(&pictures);
    let thread_names = threads.as_ref().map_or_else(|| target.thread_names(), |threads| threads.names());
    let seen =
        Seen { sections: unknown.is_none(), managed_locks: pictures.iter().any(Picture::sees_managed_locks) };
    let unexamined = unexamined::of(target, threads.as_ref(), &seen);
    let stops = || found.iter().map(|found| registries::stops(target, found)).collect();
    let look =
        |threads| foreign::look(target, threads, &pictures, &mut symbols, stacks_of, time_limit, &stops);
    let chains = threads.map(look).transpose()?;
    let copies = pictures.len();
    let outside = Outside {
        target,
        symbols,
        thread_names,
        chains,
        unexamined,
        copies,
        joint: Joint::default(),
        said: Said::default(),
    };
    let nothing = registries::nothing();
    let nothing = Picture::new(&memory, &nothing);
    let has_library = !pictures.is_empty() || unknown.is_some();
    let mut writer = Writer { target, found: &found, pictures: &pictures, nothing, has_library, outside };
    let (written, deadlock) = write(&mut writer);
    let is_complete = pictures.iter().all(Picture::is_complete);
    let deadlock = if memory.gave_up() {
        Err(time_limit.failure(target.description()))
    } else if !is_complete {
        Err(Failure::Incomplete(target.description()))
    } else {
        unknown.map_or(Ok(deadlock), Err)
    };
    Ok((written, deadlock))
}

/// The figures of every registry in the target, as OpenMetrics text.
pub fn metrics(target: &dyn Target, time_limit: TimeLimit) -> Result<Report, Failure> {
    let made = metrics_while_it_runs(target, time_limit);
    target.change().map_or(made, Err)
}

fn metrics_while_it_runs(target: &dyn Target, time_limit: TimeLimit) -> Result<Report, Failure> {
    let (found, unknown) = registries::find(target, time_limit)?;
    let memory = Remote::new(target, time_limit);
    let pictures: Vec<_> = found.iter().map(|found| Picture::new(&memory, &found.registry)).collect();
    let mut surroundings = Outside {
        target,
        symbols: Symbols::new(target, time_limit).with_places(&pictures),
        thread_names: HashMap::new(),
        chains: None,
        unexamined: Vec::new(),
        copies: pictures.len(),
        joint: Joint::default(),
        said: Said::default(),
    };
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write_metrics(&pictures, &mut surroundings, &mut text);
    if memory.gave_up() {
        return Err(time_limit.failure(target.description()));
    }
    if !pictures.iter().all(Picture::is_complete) {
        return Err(Failure::Incomplete(target.description()));
    }
    Ok(Report { text, deadlock: unknown.map_or(Ok(false), Err) })
}

/// Writes all there is to say, in any format.
struct Writer<'a, M> {
    target: &'a dyn Target,
    found: &'a [Found],
    /// One for each registry that was found.
    pictures: &'a [Picture<'a, M>],
    /// Of a library in which nothing has happened, for a process without one.
    nothing: Picture<'a, M>,
    has_library: bool,
    outside: Outside<'a>,
}

impl<M: Memory> Writer<'_, M> {
    /// The report, and whether a deadlock stands. Writing to a String does not fail.
    fn write(&mut self, format: Format) -> (String, bool) {
        match format {
            Format::Html => return self.write_page(),
            Format::Dot => return self.write_graph(),
            Format::Text | Format::Json => {}
        }
        let (mut text, mut deadlock) = (String::new(), false);
        let (pictures, outside) = (self.pictures, &mut self.outside);
        let mut totals = Totals::default();
        for (number, (picture, found)) in pictures.iter().zip(self.found).enumerate() {
            if pictures.len() > 1 && format == Format::Text {
                copies::write_heading(self.target, number, pictures.len(), found.address, &mut text);
            }
            deadlock |= render(picture, outside, format, &mut text).unwrap_or(false);
            totals.add(outside.said, picture);
        }
        if pictures.is_empty() && format == Format::Json {
            let _ = render(&self.nothing, outside, format, &mut text);
        }
        if pictures.len() > 1 {
            let cycles = copies::cycles(pictures);
            totals.across = cycles.len();
            deadlock |= !cycles.is_empty();
            let Outside { thread_names, symbols, .. } = &mut *outside;
            copies::write(&cycles, pictures.len(), thread_names, symbols, format, &mut text);
        }
        deadlock |= outside.write_chains(format, self.has_library, &mut text);
        if pictures.len() > 1 && format == Format::Text {
            let verdict = outside.verdict_on_copies(&totals);
            text = format!("{verdict}\n{}\n\n{verdict}", text.trim_end());
        }
        (text, deadlock)
    }

    /// One graph, however many copies there are.
    fn write_graph(&mut self) -> (String, bool) {
        let (pictures, outside) = (self.pictures, &mut self.outside);
        let across = if pictures.len() > 1 { copies::cycles(pictures) } else { Vec::new() };
        outside.joint = Joint::new(pictures, &across, outside.chains.as_ref());
        let mut deadlock =
            !across.is_empty() || outside.chains.as_ref().is_some_and(|it| it.deadlocks() != 0);
        let mut text = String::new();
        if let [picture] = pictures {
            deadlock |= render(picture, outside, Format::Dot, &mut text).unwrap_or(false);
            return (text, deadlock);
        }
        text.push_str(if pictures.is_empty() {
            "digraph hostcrst_threads {\n"
        } else {
            "digraph hostcrst {\n"
        });
        text.push_str("  rankdir=LR;\n  node [fontname=\"monospace\"];\n");
        for picture in pictures {
            let mut graph = String::new();
            deadlock |= render(picture, outside, Format::Dot, &mut graph).unwrap_or(false);
            let threads = picture.tasks_seen().map(|task| (task.id, task.thread_id)).collect();
            copies::add_graph(&graph, &threads, &mut text);
        }
        if let Some(chains) = &outside.chains {
            // Writing to a String does not fail.
            let _ = foreign::write_dot(chains, &outside.joint, &mut outside.symbols, &mut text);
        }
        text.push_str("}\n");
        (text, deadlock)
    }

    fn write_page(&mut self) -> (String, bool) {
        let verdict = self.verdict();
        let (text, _) = self.write(Format::Text);
        // What is drawn is what counts.
        let (json, deadlock) = self.write(Format::Json);
        let mut page = String::new();
        let _ = write_page(&mut Page { verdict, text, json }, &mut page);
        (page, deadlock)
    }

    fn verdict(&mut self) -> String {
        let mut verdict = String::new();
        let mut totals = Totals::default();
        for picture in self.pictures {
            let _ = render_verdict(picture, &mut self.outside, &mut verdict);
            totals.add(self.outside.said, picture);
        }
        if self.pictures.len() > 1 {
            totals.across = copies::cycles(self.pictures).len();
            return self.outside.verdict_on_copies(&totals);
        }
        if let (Some(chains), []) = (&self.outside.chains, self.pictures) {
            let _ = foreign::write_verdict(chains, None, 0, &self.outside.unexamined, &mut verdict);
        }
        verdict
    }
}

/// How many sections a copy of the library has, and how many deadlocks stand among them.
#[derive(Clone, Copy, Default)]
struct Said {
    sections: u32,
    found: u32,
}

/// What the copies of the library have together.
#[derive(Default)]
struct Totals {
    sections: u32,
    /// Deadlocks that stand within one copy each.
    within: u32,
    across: usize,
    broken: u64,
}

impl Totals {
    fn add<M: Memory>(&mut self, said: Said, picture: &Picture<'_, M>) {
        self.sections = self.sections.saturating_add(said.sections);
        self.within = self.within.saturating_add(said.found);
        self.broken = self.broken.saturating_add(picture.deadlocks_broken());
    }
}

/// What a page is made of.
struct Page {
    verdict: String,
    text: String,
    json: String,
}

impl Parts for Page {
    fn verdict(&mut self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(&self.verdict)
    }

    fn text(&mut self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(&self.text)
    }

    fn json(&mut self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(&self.json)
    }
}

struct Outside<'a> {
    target: &'a dyn Target,
    symbols: Symbols<'a>,
    thread_names: HashMap<u32, Vec<u8>>,
    /// Unless no threads are known.
    chains: Option<Chains>,
    unexamined: Vec<Unexamined>,
    /// How many of the library there are in the target.
    copies: usize,
    /// What the parts of a graph have in common.
    joint: Joint,
    /// What was last said of one of these.
    said: Said,
}

impl Outside<'_> {
    /// What stands beyond `found` deadlocks among the sections, which are told before.
    fn verdict_beyond(&self, sections: u32, found: u32) -> String {
        let mut verdict = String::new();
        if let Some(chains) = &self.chains {
            // Writing to a String does not fail.
            let _ = foreign::write_verdict(chains, Some(sections), found, &self.unexamined, &mut verdict);
        } else if found == 0 {
            let sections = foreign::counted(sections as usize, "section");
            verdict = format!("No deadlock among {sections}.\n{}", unexamined::sentence(&self.unexamined));
        }
        verdict
    }

    /// The verdict on several copies of the library: no single one sees what leads through another.
    fn verdict_on_copies(&self, totals: &Totals) -> String {
        let &Totals { sections, within, across, broken } = totals;
        let mut verdict = String::new();
        // Writing to a String does not fail.
        let _ = copies::write_found(self.copies, within, across, broken, &mut verdict);
        let found = within.saturating_add(across as u32);
        verdict + &self.verdict_beyond(sections, found)
    }

    /// Writes what the threads do, and whether that is a deadlock.
    fn write_chains(&mut self, format: Format, has_library: bool, text: &mut String) -> bool {
        let unexamined = &self.unexamined;
        let Some(chains) = &self.chains else {
            if format == Format::Json {
                let members = serde_json::json!({ "not_examined": unexamined::words(unexamined) });
                // Writing to a String does not fail.
                let _ = foreign::add_members(&members, text);
            }
            return false;
        };
        // Writing to a String does not fail.
        let _ = match (format, self.copies) {
            (Format::Text, 0) => {
                foreign::write_text(chains, self.target, unexamined, &mut self.symbols, text)
            }
            // The report on a single copy has them, before its last verdict.
            (Format::Text, 1) => Ok(()),
            (Format::Text, _) => foreign::write_threads(chains, &mut self.symbols, text),
            (Format::Json, _) => foreign::add_json(chains, has_library, unexamined, &mut self.symbols, text),
            // A graph and a page are made otherwise.
            (Format::Dot | Format::Html, _) => Ok(()),
        };
        chains.deadlocks() != 0
    }
}

impl Surroundings for Outside<'_> {
    type Room = Vec<u32>;

    fn room(&self, count: usize) -> Option<Vec<u32>> {
        Some(vec![0; count])
    }

    fn process_id(&self) -> u32 {
        self.target.process_id()
    }

    fn outer_process_id(&self) -> Option<u32> {
        self.target.outer_process_id()
    }

    fn now(&self) -> Option<u64> {
        self.target.now()
    }

    fn thread_name(&mut self, thread_id: u32) -> NameCopy {
        NameCopy::of(self.thread_names.get(&thread_id).map_or(&[], |name| name))
    }

    /// What is left out here is said of all copies together.
    fn write_verdict(&mut self, out: &mut dyn Write, sections: u32, found: u32) -> Result<bool, fmt::Error> {
        self.said = Said { sections, found };
        if self.copies == 1 {
            out.write_str(&self.verdict_beyond(sections, found))?;
        } else if found == 0 {
            let sections = foreign::counted(sections as usize, "section");
            writeln!(out, "No deadlock among {sections} of this copy alone.")?;
        }
        Ok(true)
    }

    fn write_threads(&mut self, format: Format, out: &mut dyn Write) -> fmt::Result {
        let Some(chains) = self.chains.as_ref().filter(|_| self.copies == 1) else { return Ok(()) };
        let mut text = String::new();
        match format {
            Format::Text => foreign::write_threads(chains, &mut self.symbols, &mut text)?,
            Format::Dot => foreign::write_dot(chains, &self.joint, &mut self.symbols, &mut text)?,
            Format::Json | Format::Html => {}
        }
        out.write_str(&text)
    }

    fn is_in_other_cycle(&self, thread_id: u32) -> bool {
        self.joint.threads_in_cycles.contains(&thread_id)
    }

    fn is_awaited_in_other_cycle(&self, lock: u64) -> bool {
        self.joint.locks_in_cycles.contains(&lock)
    }

    fn write_address(&mut self, out: &mut dyn Write, address: u64) -> Result<bool, fmt::Error> {
        self.symbols.write_address(out, address)
    }

    fn write_line(&mut self, out: &mut dyn Write, site: u64) -> fmt::Result {
        self.symbols.write_line_of_place(out, site)
    }

    fn write_variable(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        self.symbols.write_variable(out, address)
    }

    fn write_called(&mut self, out: &mut dyn Write, thread_id: u32) -> Result<bool, fmt::Error> {
        let stack = self.chains.as_ref().and_then(|chains| {
            let place = chains.threads.place(thread_id)?;
            chains.does.get(place)?.stack.as_ref()
        });
        // The outermost of the frames that are of native code, if what called it is known not to be.
        let mut called = None;
        for frame in stack.iter().flat_map(|stack| &stack.frames).take_while(|frame| !frame.is_guess) {
            let code_address = frame.code_address - u64::from(frame.is_return);
            match self.symbols.function_at(code_address).filter(|(file, _)| is_native(file)) {
                Some(found) => called = Some(found),
                None => {
                    let Some((file, Some(function))) = called else { return Ok(false) };
                    write!(out, "{}!{}", printable(&file), printable(&function))?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Whether a file that is mapped is a program of the system's, and no managed code.
fn is_native(file: &[u8]) -> bool {
    !file.is_empty() && !file.starts_with(b"memfd:") && !file.ends_with(b".dll")
}
