//! For people: each thread with what it waits for, the cycles, a verdict.

use std::fmt::{self, Write};

use foreign_locks::glibc::Thing;
use foreign_locks::{Counted, MAY_END, Verdict};
use hostcrst::inspect::{LockKind, LockSeen};

use super::chains::{Awaited, Chains, Cycle, Wait};
use super::processes::{Held, Link, ProcessCycle, ProcessWait, process_name};
use crate::stacks::Stack;
use crate::symbols::{Symbols, printable, thread_name};
use crate::target::Target;
use crate::unexamined::{Unexamined, sentence};

/// What a report begins with on a process that does not have the library.
fn write_heading(
    target: &dyn Target,
    chains: &Chains,
    unexamined: &[Unexamined],
    out: &mut String,
) -> fmt::Result {
    writeln!(out, "hostcrst-dump {} report  pid {}", env!("CARGO_PKG_VERSION"), target.process_id())?;
    if let Some(outer) = target.outer_process_id() {
        let what = "All ids are those in the process's own namespace; outside of it this is process";
        writeln!(out, "{what} {outer}.")?;
    }
    out.push_str(if unexamined.contains(&Unexamined::Sections) {
        "The hostcrst in this process cannot be read: this is what the system and glibc's locks tell.\n"
    } else {
        "There is no hostcrst in this process: this is what the system and glibc's locks tell.\n"
    });
    write_verdict(chains, None, 0, unexamined, out)
}

/// Writes what stands beyond `found` deadlocks among the library's own sections.
pub fn write_verdict(
    chains: &Chains,
    sections: Option<u32>,
    found: u32,
    unexamined: &[Unexamined],
    out: &mut String,
) -> fmt::Result {
    let certain = chains.deadlocks();
    let verdict = Verdict {
        sections: sections.map(|sections| sections as usize),
        of_sections: found as usize,
        certain,
        probable: chains.all_deadlocks() - certain,
        locks: chains.other_locks(),
        blocked_without_owner: chains.blocked_without_owner(),
    };
    write!(out, "{verdict}")?;
    if certain == 0 && found == 0 {
        out.push_str(&sentence(unexamined));
    }
    Ok(())
}

pub fn counted(count: usize, what: &str) -> String {
    Counted(count, what).to_string()
}

/// Writes a report on a process without a library that can be read: the verdict, the threads and the cycles, the verdict.
pub fn write(
    chains: &Chains,
    target: &dyn Target,
    unexamined: &[Unexamined],
    symbols: &mut Symbols<'_>,
    out: &mut String,
) -> fmt::Result {
    write_heading(target, chains, unexamined, out)?;
    write_threads(chains, symbols, out)?;
    write_verdict(chains, None, 0, unexamined, out)
}

/// Writes the threads and the cycles, to be followed by a verdict.
pub fn write_threads(chains: &Chains, symbols: &mut Symbols<'_>, out: &mut String) -> fmt::Result {
    let threads = &chains.threads;
    let more = if threads.more { ", and more that are not listed" } else { "" };
    writeln!(out, "\n{} of this process{more}:", counted(threads.list.len(), "thread"))?;
    let mut writer = Writer { chains, symbols, out };
    (0..chains.does.len()).try_for_each(|place| writer.thread(place))?;
    chains.cycles.iter().try_for_each(|cycle| writer.cycle(cycle))?;
    chains.process_cycles.iter().try_for_each(|cycle| writer.process_cycle(cycle))?;
    out.push('\n');
    Ok(())
}

/// Writes which lock of the library's it is. One of Windows' is told by its address and the variable there.
pub fn write_lock(seen: &LockSeen, symbols: &mut Symbols<'_>, out: &mut String) -> fmt::Result {
    if seen.kind() == LockKind::SrwLock {
        symbols.write_variable(out, seen.number())?;
    } else {
        write!(out, "0x{:x}", seen.number())?;
    }
    if seen.critical_section != 0 {
        out.push_str(" CRITICAL_SECTION ");
        symbols.write_variable(out, seen.critical_section)?;
    }
    let name = seen.name.bytes();
    if name.is_empty() { Ok(()) } else { write!(out, " \"{}\"", printable(name)) }
}

struct Writer<'w, 't> {
    chains: &'w Chains,
    symbols: &'w mut Symbols<'t>,
    out: &'w mut String,
}

impl Writer<'_, '_> {
    fn thread(&mut self, place: usize) -> fmt::Result {
        let does = &self.chains.does[place];
        self.name(place)?;
        write!(self.out, " [{}", does.state.word(does.call.is_some()))?;
        if let Some(call) = &does.call {
            write!(self.out, " in {}", call.name)?;
        }
        self.out.push_str("]\n");
        match (&does.wait, &does.call) {
            (Some(wait), _) => self.wait(wait)?,
            (None, Some(call)) if !call.meaning.is_empty() => {
                writeln!(self.out, "   {} {}", call.name, call.meaning)?
            }
            _ => {}
        }
        if let Some(ProcessWait { what: Held::FileLock(_), holder, is_certain }) = &does.process_wait {
            let probably = if *is_certain { "" } else { "probably " };
            writeln!(self.out, "      which is {probably}held by {}", process_name(*holder))?;
        }
        does.stack.as_ref().map_or(Ok(()), |stack| self.stack(stack))
    }

    fn stack(&mut self, stack: &Stack) -> fmt::Result {
        let mut is_guess = false;
        for frame in &stack.frames {
            if frame.is_guess && !is_guess {
                self.out.push_str("      probably called by:\n");
            }
            is_guess = frame.is_guess;
            self.out.push_str("      at ");
            self.symbols.write_code(self.out, frame.code_address, frame.is_return)?;
            self.out.push('\n');
        }
        stack.end.as_ref().map_or(Ok(()), |end| writeln!(self.out, "      the stack ends here: {end}"))
    }

    fn name(&mut self, place: usize) -> fmt::Result {
        let (does, thread) = (&self.chains.does[place], &self.chains.threads.list[place]);
        self.out.push_str(&thread_name(&does.name, thread.id));
        Ok(())
    }

    fn wait(&mut self, wait: &Wait) -> fmt::Result {
        let probably = if wait.is_certain { "" } else { "probably " };
        write!(self.out, "   {probably}")?;
        match &wait.what {
            Awaited::Owned { blocked, .. } => self.lock(&blocked.awaited)?,
            Awaited::Task(task) => {
                if let Some(lock) = task.awaited() {
                    self.lock(&lock)?;
                } else if let Some((kind, address)) = task.sleeps_on() {
                    write!(self.out, "{} ", kind.sleeping())?;
                    self.symbols.write_variable(self.out, address)?;
                }
            }
            Awaited::Thing(thing) => self.thing(thing)?,
        }
        if wait.is_limited {
            self.out.push_str(" (with a time limit)");
        }
        if wait.others != 0 {
            let do_so = if wait.others == 1 { "does" } else { "do" };
            write!(self.out, ", as {} {do_so}", counted(wait.others, "other"))?;
        }
        self.out.push('\n');
        self.owner(wait)
    }

    fn lock(&mut self, seen: &LockSeen) -> fmt::Result {
        let kind = seen.kind();
        write!(self.out, "{} {} ", kind.waiting(), kind.word())?;
        write_lock(seen, self.symbols, self.out)
    }

    fn thing(&mut self, thing: &Thing) -> fmt::Result {
        self.out.push_str("waiting ");
        thing.write_awaited(self.out, &mut |out, address| self.symbols.write_variable(out, address))?;
        match thing.of_type().and_then(|of_type| self.chains.types.get(&of_type)) {
            Some(name) => write!(self.out, " ({})", printable(name.as_bytes())),
            None => Ok(()),
        }
    }

    fn owner(&mut self, wait: &Wait) -> fmt::Result {
        let probably = if wait.is_certain { "" } else { "probably " };
        let held_by = match &wait.what {
            Awaited::Thing(thing) => thing.held_by(),
            _ => "owned by ",
        };
        match (wait.owner, &wait.what) {
            (Some(owner), _) => {
                write!(self.out, "      which is {probably}{held_by}")?;
                self.name(owner)?;
                self.out.push('\n');
                Ok(())
            }
            (None, Awaited::Thing(Thing::RwLock { writer: None, readers: 1.., .. })) => {
                let Awaited::Thing(Thing::RwLock { readers, .. }) = wait.what else { return Ok(()) };
                writeln!(
                    self.out,
                    "      which is held by {}, unknown which",
                    counted(readers as usize, "reader")
                )
            }
            (None, Awaited::Thing(Thing::Managed { is_abandoned: true, .. })) => {
                writeln!(self.out, "      which is {probably}abandoned: its owner has ended")
            }
            (None, Awaited::Thing(thing)) => match thing.owner() {
                Some(id) => {
                    writeln!(
                        self.out,
                        "      which is {probably}{held_by}tid={id}, no live thread of this process"
                    )
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn cycle(&mut self, cycle: &Cycle) -> fmt::Result {
        let heading = if cycle.is_certain { "Found a deadlock" } else { "Probably a deadlock" };
        write_heading_of_cycle(heading, self.out)?;
        for &place in &cycle.places {
            self.name(place)?;
            self.out.push_str(":\n");
            if let Some(wait) = &self.chains.does[place].wait {
                self.wait(wait)?;
            }
        }
        if cycle.is_managed {
            writeln!(self.out, "{MAY_END}")?;
        }
        Ok(())
    }

    fn process_cycle(&mut self, cycle: &ProcessCycle) -> fmt::Result {
        let heading = if cycle.is_certain {
            "Found a deadlock of processes"
        } else {
            "Probably a deadlock of processes"
        };
        write_heading_of_cycle(heading, self.out)?;
        for Link { process, wait: ProcessWait { what, holder, is_certain }, .. } in &cycle.links {
            let probably = if *is_certain { "" } else { "probably " };
            let (process, holder) = (process_name(*process), process_name(*holder));
            match what {
                Held::FileLock(file) => writeln!(
                    self.out,
                    "{process}:\n   waiting for a lock of {file}\n      which is {probably}held by {holder}"
                )?,
                Held::End => writeln!(self.out, "{process}:\n   {probably}waiting for the end of {holder}")?,
            }
        }
        Ok(())
    }
}

fn write_heading_of_cycle(heading: &str, out: &mut String) -> fmt::Result {
    writeln!(out, "\n{heading}:\n{}", "=".repeat(heading.len() + 1))
}
