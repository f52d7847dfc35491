//! For Graphviz: the part of a graph that the library does not draw, from each thread to the one that it waits for.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};

use foreign_locks::glibc::Thing;
use hostcrst::inspect::{Memory, Picture};

use super::chains::{Awaited, Chains};
use super::processes::{Held, ProcessWait, process_name};
use crate::copies;
use crate::symbols::{Symbols, printable};

/// What the parts of a graph have in common: those of the copies of the library, and that of the threads.
#[derive(Default)]
pub struct Joint {
    /// The nodes of the threads that are tasks, by their ids: the library draws them.
    tasks: HashMap<u32, String>,
    /// Threads in cycles that no copy of the library sees by itself.
    pub threads_in_cycles: HashSet<u32>,
    /// The handles of what of the library's is waited for in these.
    pub locks_in_cycles: HashSet<u64>,
}

impl Joint {
    pub fn new<M: Memory>(
        pictures: &[Picture<'_, M>],
        across: &[copies::Cycle],
        chains: Option<&Chains>,
    ) -> Self {
        let mut joint = Joint::default();
        for task in pictures.iter().flat_map(Picture::tasks_seen) {
            let node = if pictures.len() == 1 { format!("t{}", task.id) } else { of_thread(task.thread_id) };
            joint.tasks.insert(task.thread_id, node);
        }
        for (_, link) in across.iter().flatten() {
            joint.threads_in_cycles.insert(link.thread_id);
            joint.locks_in_cycles.insert(link.awaited.handle);
        }
        if let Some(chains) = chains {
            for &place in chains.cycles.iter().flat_map(|cycle| &cycle.places) {
                joint.threads_in_cycles.insert(chains.threads.list[place].id);
                if let Some(Awaited::Owned { blocked, .. }) =
                    chains.does[place].wait.as_ref().map(|wait| &wait.what)
                {
                    joint.locks_in_cycles.insert(blocked.awaited.handle);
                }
            }
        }
        joint
    }

    fn node(&self, thread_id: u32) -> String {
        self.tasks.get(&thread_id).cloned().unwrap_or_else(|| of_thread(thread_id))
    }
}

fn of_thread(id: u32) -> String {
    format!("x{id}")
}

pub fn write(chains: &Chains, joint: &Joint, symbols: &mut Symbols<'_>, out: &mut String) -> fmt::Result {
    let threads = &chains.threads.list;
    let owners: HashSet<usize> = chains.waits().filter_map(|wait| wait.owner).collect();
    for (place, (does, thread)) in chains.does.iter().zip(threads).enumerate() {
        let is_shown = does.wait.is_some() || does.process_wait.is_some() || owners.contains(&place);
        if is_shown && !joint.tasks.contains_key(&thread.id) {
            writeln!(
                out,
                "  {} [label=\"{}\\n{}\"];",
                joint.node(thread.id),
                printable(&does.name),
                thread.id
            )?;
        }
    }
    for (does, thread) in chains.does.iter().zip(threads) {
        let Some(wait) = &does.wait else { continue };
        // What is the library's it draws itself.
        let (Some(owner), Awaited::Thing(thing)) = (wait.owner, &wait.what) else { continue };
        write!(out, "  {} -> {} [label=\"", joint.node(thread.id), joint.node(threads[owner].id))?;
        match thing {
            Thing::Thread(_) => out.push_str("join"),
            thing => symbols.write_variable(out, thing.address().unwrap_or(0))?,
        }
        let color = if joint.threads_in_cycles.contains(&thread.id) { ",color=red" } else { "" };
        let style = if wait.is_certain { "" } else { ",style=dashed" };
        writeln!(out, "\"{color}{style}];")?;
    }
    let links = || chains.process_cycles.iter().flat_map(|cycle| &cycle.links);
    for (does, thread) in chains.does.iter().zip(threads) {
        let Some(wait @ ProcessWait { what, holder, is_certain }) = &does.process_wait else { continue };
        let name = process_name(*holder).replace('"', "'");
        let label = if *what == Held::End { "end" } else { "lock of a file" };
        let color = if links().any(|link| link.wait == *wait) { ",color=red" } else { "" };
        let style = if *is_certain { "" } else { ",style=dashed" };
        writeln!(out, "  p{holder} [label=\"{name}\"];")?;
        writeln!(out, "  {} -> p{holder} [label=\"{label}\"{color}{style}];", joint.node(thread.id))?;
    }
    Ok(())
}
