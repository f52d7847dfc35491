//! Places in the source that a negative control of `models` names: `// place: <name>` marks the line below it.
//!
//! The sources are part of the test program, so lines are those that it was built from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

/// A line of the source, as `core::panic::Location` names it.
#[derive(Clone, Debug)]
pub(crate) struct SourceLine {
    /// Its path in the crate.
    pub(crate) file: &'static str,
    pub(crate) number: u32,
}

macro_rules! sources {
    ($($file:literal,)*) => { [$((concat!("src/", $file), include_str!($file))),*] };
}

const MARK: &str = "// place: ";

/// The files that have such places.
const SOURCES: &[(&str, &str)] = &sources![
    "base/seqlock.rs",
    "base/table.rs",
    "host/deadlocks.rs",
    "host/enter.rs",
    "host/threads.rs",
    "lock/barrier.rs",
    "lock/bias.rs",
    "lock/condition.rs",
    "lock/crst.rs",
    "lock/queue.rs",
    "lock/resources.rs",
    "lock/slots.rs",
    "lock/srw.rs",
    "state/layers.rs",
    "state/runtime.rs",
    "state/section.rs",
    "state/sleep.rs",
    "state/srw.rs",
    "state/wait.rs",
    "sys/mutex.rs",
    "win32/mod.rs",
];

/// The line with this name.
pub(crate) fn place(name: &str) -> SourceLine {
    let mut marked: Vec<_> = marked_lines().into_iter().filter(|marked| marked.name == name).collect();
    assert_eq!(marked.len(), 1, "lines in src/ that are marked as {name}: {marked:?}");
    marked.remove(0).line
}

#[derive(Debug)]
struct Marked {
    name: &'static str,
    line: SourceLine,
    text: &'static str,
}

fn marked_lines() -> Vec<Marked> {
    SOURCES.iter().flat_map(|&(file, source)| marked_in(file, source)).collect()
}

fn marked_in(file: &'static str, source: &'static str) -> Vec<Marked> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let pairs = (2..).zip(lines.windows(2));
    let marked = pairs.filter_map(|(number, pair)| {
        let name = pair[0].strip_prefix(MARK)?;
        Some(Marked { name, line: SourceLine { file, number }, text: pair[1] })
    });
    marked.collect()
}

/// Each source below `folder` of the crate: its path there, and what it says.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = Vec::from([root.join(folder)]);
    let mut found = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else {
            let file = path.strip_prefix(root).expect("below it").to_str().expect("UTF-8").to_string();
            found.push((file, fs::read_to_string(path).expect("a source")));
        }
    }
    found
}

#[test]
fn each_place_is_marked_once_and_some_control_names_it() {
    let models = sources("src/models");
    let calls = models.iter().flat_map(|(_, source)| source.split("place(\"").skip(1));
    let named: BTreeSet<_> = calls.filter_map(|call| call.split('"').next()).collect();
    for name in &named {
        place(name);
    }
    for Marked { name, line, .. } in marked_lines() {
        assert!(named.contains(name), "{}:{}: no control names {name}", line.file, line.number);
    }
}

#[test]
fn every_file_that_has_places_is_listed() {
    for (file, source) in sources("src") {
        let has_places = source.lines().any(|line| line.trim().starts_with(MARK));
        let is_listed = SOURCES.iter().any(|&(listed, _)| listed == file);
        assert_eq!(has_places, is_listed, "{file}");
    }
}

#[test]
fn the_line_below_a_marker_does_what_a_control_can_take_away() {
    const KINDS: [&str; 7] =
        ["Ordering::", "_barrier()", ".lock()", ".lock_queue()", ".lock_queue_of(", ".hold_lock()", "nap("];
    for Marked { name, line, text } in marked_lines() {
        assert!(
            KINDS.iter().any(|kind| text.contains(kind)),
            "{name}, {}:{}: {text}",
            line.file,
            line.number
        );
    }
}
