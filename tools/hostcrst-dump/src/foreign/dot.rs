//! For Graphviz: a graph of threads, from each to the one that it waits for.

use std::collections::HashSet;
use std::fmt::{self, Write};

use foreign_locks::glibc::Thing;

use super::chains::{Awaited, Chains, lock};
use super::processes::{Held, ProcessWait, process_name};
use crate::symbols::{Symbols, printable};

pub fn write(chains: &Chains, symbols: &mut Symbols<'_>, out: &mut String) -> fmt::Result {
    out.push_str("digraph hostcrst_threads {\n  rankdir=LR;\n  node [fontname=\"monospace\"];\n");
    for (does, thread) in chains.does.iter().zip(&chains.threads.list) {
        if does.wait.is_some() {
            writeln!(out, "  t{0} [label=\"{1}\\n{0}\"];", thread.id, printable(&does.name))?;
        }
    }
    let in_cycles: HashSet<usize> =
        chains.cycles.iter().flat_map(|cycle| cycle.places.iter().copied()).collect();
    for (place, does) in chains.does.iter().enumerate() {
        let Some((wait, owner)) = does.wait.as_ref().and_then(|wait| Some((wait, wait.owner?))) else {
            continue;
        };
        let (waiter, owner) = (chains.threads.list[place].id, chains.threads.list[owner].id);
        write!(out, "  t{waiter} -> t{owner} [label=\"")?;
        match &wait.what {
            Awaited::Owned { blocked, .. } => write!(out, "{}", lock(&blocked.awaited))?,
            Awaited::Thing(Thing::Thread(_)) => out.push_str("join"),
            Awaited::Thing(thing) => symbols.write_variable(out, thing.address().unwrap_or(0))?,
            Awaited::Task(_) => {}
        }
        let color = if in_cycles.contains(&place) { ",color=red" } else { "" };
        let style = if wait.is_certain { "" } else { ",style=dashed" };
        writeln!(out, "\"{color}{style}];")?;
    }
    for (does, thread) in chains.does.iter().zip(&chains.threads.list) {
        let Some(ProcessWait { what, holder, is_certain }) = &does.process_wait else { continue };
        writeln!(out, "  t{0} [label=\"{1}\\n{0}\"];", thread.id, printable(&does.name))?;
        let name = process_name(*holder).replace('"', "'");
        let label = if *what == Held::End { "end" } else { "lock of a file" };
        let style = if *is_certain { "" } else { ",style=dashed" };
        writeln!(out, "  p{holder} [label=\"{name}\"];")?;
        writeln!(out, "  t{} -> p{holder} [label=\"{label}\"{style}];", thread.id)?;
    }
    out.push_str("}\n");
    Ok(())
}
