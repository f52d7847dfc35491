//! Deadlocks across several copies of the library in one process. Each copy knows its own sections only; a thread is a
//! task of each copy that it calls, so threads connect the copies' wait-for graphs.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use hostcrst::inspect::{Blocked, Format, LockKind, Memory, Picture};

use crate::foreign::{counted, write_lock};
use crate::symbols::{Symbols, thread_name, write_printable};
use crate::target::{Mapping, Target};

/// A cycle of threads that wait for each other, each with the number of the copy that it waits in.
pub type Cycle = Vec<(usize, Blocked)>;

/// The cycles that stand and lead through several copies. Those within one copy are in its own report.
pub fn cycles<M: Memory>(pictures: &[Picture<'_, M>]) -> Vec<Cycle> {
    let blocked = pictures.iter().enumerate();
    let blocked = blocked.flat_map(|(copy, picture)| picture.blocked().map(move |blocked| (copy, blocked)));
    // A thread waits for one section at most.
    let blocked: HashMap<u32, _> =
        blocked.map(|(copy, blocked)| (blocked.thread_id, (copy, blocked))).collect();
    let mut threads: Vec<u32> = blocked.keys().copied().collect();
    threads.sort_unstable();
    let mut passed = HashSet::new();
    let mut cycles = Vec::new();
    for thread in threads {
        let mut path = Vec::new();
        let mut next = Some(thread);
        while let Some(link) =
            next.and_then(|thread| blocked.get(&thread)).filter(|(_, link)| passed.insert(link.thread_id))
        {
            path.push(*link);
            next = Some(link.1.owner_thread_id);
        }
        let start = path.iter().position(|(_, link)| Some(link.thread_id) == next);
        let cycle = start.map_or(Vec::new(), |start| path.split_off(start));
        let leads_through_several = cycle.iter().any(|(copy, _)| *copy != cycle[0].0);
        // The same in two rounds, as within one copy: all of its waits and owners stood together.
        if leads_through_several && stands(pictures, &cycle) && stands(pictures, &cycle) {
            cycles.push(cycle);
        }
    }
    cycles
}

fn stands<M: Memory>(pictures: &[Picture<'_, M>], cycle: &[(usize, Blocked)]) -> bool {
    cycle.iter().all(|(copy, link)| pictures[*copy].blocked_now(link).is_some_and(|now| link.is_same(&now)))
}

/// Writes which copy a report is on, and which file contains it.
pub fn write_heading(target: &dyn Target, number: usize, count: usize, address: u64, text: &mut String) {
    let mapping = target.mappings().iter().find(|mapping| mapping.holds(address));
    let file = mapping.map_or(&b""[..], Mapping::file_name);
    let separator = if number == 0 { "" } else { "\n" };
    let _ = write!(text, "{separator}Copy {} of {count} of the library, in ", number + 1);
    let _ = write_printable(text, &String::from_utf8_lossy(file));
    text.push_str(":\n\n");
}

/// Writes what no report on a single copy contains. Writing to a String does not fail.
pub fn write(
    cycles: &[Cycle],
    count: usize,
    names: &HashMap<u32, Vec<u8>>,
    symbols: &mut Symbols<'_>,
    format: Format,
    text: &mut String,
) {
    let name = |link: &Blocked| {
        let own = Some(link.name.bytes()).filter(|name| !name.is_empty());
        own.or(names.get(&link.thread_id).map(Vec::as_slice)).unwrap_or(&[]).to_vec()
    };
    let _ = match format {
        Format::Text => write_text(cycles, count, name, symbols, text),
        Format::Json => write_json(cycles, count, name, text),
        // A graph and a page are made otherwise.
        Format::Dot | Format::Html => Ok(()),
    };
}

fn write_text(
    cycles: &[Cycle],
    count: usize,
    name: impl Fn(&Blocked) -> Vec<u8>,
    symbols: &mut Symbols<'_>,
    text: &mut String,
) -> std::fmt::Result {
    if !cycles.is_empty() {
        text.push('\n');
        write_count(count, text)?;
    }
    for cycle in cycles {
        text.push_str("Found a deadlock across them:\n=============================\n");
        for (index, (copy, link)) in cycle.iter().enumerate() {
            let (_, owner) = cycle[(index + 1) % cycle.len()];
            writeln!(text, "{}:", thread_name(&name(link), link.thread_id))?;
            let kind = link.awaited.kind();
            write!(text, "   {} ", kind.waiting())?;
            if kind == LockKind::SrwLock {
                write!(text, "{} ", kind.word())?;
            }
            write_lock(&link.awaited, symbols, text)?;
            writeln!(text, " of copy {}", copy + 1)?;
            let owner = thread_name(&name(&owner), owner.thread_id);
            writeln!(text, "      which is owned by {owner}")?;
        }
    }
    Ok(())
}

/// Writes how many copies there are, and how many deadlocks stand or stood within and across them.
pub fn write_found(
    count: usize,
    within: u32,
    across: usize,
    broken: u64,
    text: &mut String,
) -> std::fmt::Result {
    write_count(count, text)?;
    match within {
        0 => {}
        1 => writeln!(text, "Found 1 deadlock within one of them.")?,
        more => writeln!(text, "Found {more} deadlocks, each within one of them.")?,
    }
    if across != 0 {
        writeln!(text, "Found {} across them.", counted(across, "deadlock"))?;
    }
    if broken != 0 {
        writeln!(text, "{} broken so far.", counted(broken as usize, "deadlock"))?;
    }
    Ok(())
}

fn write_count(count: usize, text: &mut String) -> std::fmt::Result {
    writeln!(text, "This process has {count} copies of the library.")
}

fn write_json(
    cycles: &[Cycle],
    count: usize,
    name: impl Fn(&Blocked) -> Vec<u8>,
    text: &mut String,
) -> std::fmt::Result {
    write!(text, "{{\"copies\":{count},\"deadlocks\":[")?;
    for (index, cycle) in cycles.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { ",[" });
        for (index, (copy, link)) in cycle.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            let kind = link.awaited.kind().key();
            write!(
                text,
                "{{\"tid\":{},\"name\":{},\"copy\":{},\"{kind}\":\"0x{:x}\",\"{kind}_name\":{}}}",
                link.thread_id,
                quoted(&name(link)),
                copy + 1,
                link.awaited.number(),
                quoted(link.awaited.name.bytes())
            )?;
        }
        text.push(']');
    }
    text.push_str("]}\n");
    Ok(())
}

fn quoted(name: &[u8]) -> serde_json::Value {
    String::from_utf8_lossy(name).into()
}

/// Adds the nodes and edges of a copy's graph. A thread is a task of each copy that it calls, with another id in each: its node is
/// called as that of a thread.
pub fn add_graph(graph: &str, threads: &HashMap<u64, u32>, text: &mut String) {
    let renamed = |node: &str| {
        let id = node.get(1..)?.parse().ok()?;
        if node.starts_with('t') {
            threads.get(&id).map(|thread| format!("x{thread}"))
        } else {
            Some(node.to_owned())
        }
    };
    for line in graph.lines() {
        let Some((ends, attributes)) = line.trim_start().split_once(" [") else { continue };
        // What is set for all nodes is none.
        let ends: Option<Vec<_>> = ends.split(" -> ").map(renamed).collect();
        if let Some(ends) = ends {
            let _ = writeln!(text, "  {} [{attributes}", ends.join(" -> "));
        }
    }
}
