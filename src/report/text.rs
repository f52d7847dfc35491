//! The report for people: one fact a line, newest layer first, verdict first and last.

use core::fmt::{self, Write};

use super::picture::{Picture, SectionPicture, TaskPicture, WaitPicture};
use super::{Namer, Surroundings};
use crate::crst::State;
use crate::handle::{self, ABANDONED};
use crate::layers::{LayerKind, Mode};
use crate::memory::Memory;
use crate::runtime;
use crate::sys::atomic::Ordering;
use crate::task::{self, Anomaly};
use crate::text::{Printable, Seconds};
use crate::wait_graph::{Deadlock, Member};

pub(super) fn write<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    out: &mut dyn Write,
) -> fmt::Result {
    TextReport { namer: Namer { picture, surroundings }, out }.write()
}

/// Owners named in a stall line at most: the chain may be long, or a cycle.
const STALL_CHAIN: usize = 4;

/// One line on a task that waits: who owns what it waits for, and what that one waits for in turn.
pub(super) fn write_stall<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    id: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut report = TextReport { namer: Namer { picture, surroundings }, out };
    report.out.write_str("hostcrst: ")?;
    report.task_name_and_thread(id)?;
    let mut waiter = id;
    for link in 0..=STALL_CHAIN {
        let Some(wait) = picture.task(waiter).and_then(|task| task.wait) else { break };
        report.out.write_str(if link == 0 { " has waited" } else { ", which itself has waited" })?;
        if let Some(age) = report.namer.age(wait.since) {
            write!(report.out, " {}", Seconds(age))?;
        }
        report.out.write_str(" to enter ")?;
        let Some(section) = picture.section(wait.section) else { break };
        report.section_name(&section)?;
        if section.owner == 0 {
            break;
        }
        report.out.write_str(", owned by ")?;
        report.task_name_and_thread(section.owner)?;
        report.hold(&section)?;
        waiter = section.owner;
        if waiter == id {
            return report.out.write_str(": a deadlock");
        }
    }
    Ok(())
}

struct TextReport<'a, 'o, M, S> {
    namer: Namer<'a, M, S>,
    out: &'o mut dyn Write,
}

/// What the heading counts.
#[derive(Default)]
struct Totals {
    tasks: u32,
    managed: u32,
    unmanaged: u32,
    waiting: u32,
    anomalies: u32,
    sections: u32,
    owned: u32,
    abandoned: u32,
    deadlocks: u32,
}

impl Totals {
    fn count<M: Memory>(picture: &Picture<'_, M>) -> Self {
        let mut totals = Totals::default();
        for task in picture.tasks() {
            totals.tasks += 1;
            totals.managed += u32::from(task.mode == Mode::Managed);
            totals.unmanaged += u32::from(task.mode == Mode::Unmanaged);
            totals.waiting += u32::from(task.wait.is_some());
            totals.anomalies += task.anomalies.iter().sum::<u32>();
        }
        for section in picture.sections() {
            totals.sections += 1;
            totals.owned += u32::from(section.state == State::Owned);
            totals.abandoned += u32::from(section.state == State::Abandoned);
        }
        totals.deadlocks = picture.standing_deadlocks().count() as u32;
        totals
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl<M: Memory, S: Surroundings> TextReport<'_, '_, M, S> {
    fn write(&mut self) -> fmt::Result {
        let totals = Totals::count(self.namer.picture);
        self.heading(&totals)?;
        let owners = Owners::collect(self.namer.picture);
        self.namer.picture.tasks().try_for_each(|task| self.task(&task, &owners))?;
        self.section_table()?;
        self.win32_misuses()?;
        self.refused_deadlocks()?;
        self.standing_deadlocks()?;
        self.verdict(totals.deadlocks)
    }

    fn heading(&mut self, totals: &Totals) -> fmt::Result {
        let registry = self.namer.picture.registry();
        writeln!(
            self.out,
            "hostcrst {} report  pid {}  runtime {}",
            env!("CARGO_PKG_VERSION"),
            self.namer.surroundings.process_id(),
            match registry.runtime.state() {
                runtime::State::NotLoaded => "not loaded",
                runtime::State::Running => "running",
                runtime::State::Stopped => "stopped",
                runtime::State::Failed => "failed",
            }
        )?;
        let Totals { tasks, managed, unmanaged, waiting, anomalies, sections, owned, abandoned, .. } =
            *totals;
        writeln!(
            self.out,
            "{tasks} task{} ({managed} managed, {unmanaged} unmanaged; {waiting} waiting), \
             {sections} section{} ({owned} owned, {abandoned} abandoned), {anomalies} transition anomalies",
            plural(tasks),
            plural(sections),
        )?;
        self.verdict(totals.deadlocks)
    }

    fn verdict(&mut self, standing: u32) -> fmt::Result {
        let refused = self.namer.picture.deadlocks_found() - u64::from(standing).min(self.unbroken());
        if standing != 0 {
            writeln!(self.out, "Found {standing} deadlock{}.", plural(standing))?;
        }
        if refused != 0 {
            writeln!(self.out, "{refused} deadlock{} broken so far.", plural(refused.min(2) as u32))?;
        }
        if standing == 0 && refused == 0 {
            self.out.write_str("No deadlock.\n")?;
        }
        Ok(())
    }

    /// Deadlocks found of which no wait was broken.
    fn unbroken(&self) -> u64 {
        self.namer.picture.deadlocks().filter(|deadlock| !is_broken(deadlock)).count() as u64
    }

    // ---- tasks ----------------------------------------------------------------------------------------

    fn task(&mut self, task: &TaskPicture, owners: &Owners) -> fmt::Result {
        self.out.write_str("\n")?;
        self.task_name(task)?;
        let thread = task.thread_id;
        write!(self.out, " tid={thread} (0x{thread:x}) task=0x{:x} [", handle::task_handle(task.id))?;
        self.out.write_str(match task.mode {
            Mode::Unknown => "no transitions yet",
            Mode::Managed => "managed",
            Mode::Unmanaged => "unmanaged",
        })?;
        if let Some(wait) = task.wait {
            self.out.write_str(", waiting")?;
            if let Some(age) = self.namer.age(wait.since) {
                write!(self.out, " {}", Seconds(age))?;
            }
        }
        self.out.write_str("]\n")?;
        if let Some(wait) = task.wait {
            self.wait(wait)?;
        }
        owners.of(self.namer.picture, task).try_for_each(|section| self.owned_section(&section))?;
        self.layers(task)?;
        self.anomalies(task)
    }

    fn task_name(&mut self, task: &TaskPicture) -> fmt::Result {
        let name = self.namer.task(task);
        write!(self.out, "\"{}\"", Printable(name.bytes()))
    }

    fn task_name_and_thread(&mut self, id: u64) -> fmt::Result {
        match self.namer.picture.task(id) {
            Some(task) => {
                self.task_name(&task)?;
                write!(self.out, " tid={}", task.thread_id)
            }
            None => self.out.write_str("a task that has ended"),
        }
    }

    fn wait(&mut self, wait: WaitPicture) -> fmt::Result {
        self.out.write_str("   waiting to enter ")?;
        let section = self.namer.picture.section(wait.section);
        match &section {
            Some(section) => self.section_name(section)?,
            None => write!(self.out, "0x{:x}", wait.section)?,
        }
        self.site(wait.site)?;
        if wait.limited {
            self.out.write_str(" (with a time limit)")?;
        }
        match section {
            Some(section) if section.owner != 0 => {
                self.out.write_str("\n      which is owned by ")?;
                self.task_name_and_thread(section.owner)?;
                self.hold(&section)?;
            }
            Some(SectionPicture { orphaned_by: Some(thread), .. }) => {
                write!(self.out, "\n      which stays locked: its owner tid={thread} has ended")?
            }
            Some(section) if section.state == State::Free => {
                self.out.write_str("\n      which is free now")?
            }
            _ => {}
        }
        self.out.write_str("\n")
    }

    fn site(&mut self, site: u64) -> fmt::Result {
        if site == 0 {
            return Ok(());
        }
        self.out.write_str(" at ")?;
        self.namer.surroundings.write_address(self.out, site)
    }

    fn hold(&mut self, section: &SectionPicture) -> fmt::Result {
        match section.hold.and_then(|(since, _)| self.namer.age(since)) {
            Some(age) => write!(self.out, " (for {})", Seconds(age)),
            None => Ok(()),
        }
    }

    fn section_name(&mut self, section: &SectionPicture) -> fmt::Result {
        write!(self.out, "0x{:x}", section.handle)?;
        match &section.name {
            _ if section.mirror != 0 => self.critical_section(section),
            Some(name) => write!(self.out, " \"{}\"", Printable(name.bytes())),
            None => Ok(()),
        }
    }

    /// The name of a section of Windows' kind: where it stands, and which variable that is.
    fn critical_section(&mut self, section: &SectionPicture) -> fmt::Result {
        self.out.write_str(" CRITICAL_SECTION ")?;
        self.namer.surroundings.write_variable(self.out, section.mirror)
    }

    fn owned_section(&mut self, section: &SectionPicture) -> fmt::Result {
        self.out.write_str("   owns ")?;
        self.section_name(section)?;
        write!(self.out, " recursion={}", section.recursion)?;
        self.site(section.hold.map_or(0, |(_, site)| site))?;
        self.hold(section)?;
        self.out.write_str("\n")
    }

    fn layers(&mut self, task: &TaskPicture) -> fmt::Result {
        let (layers, older) = (task.layers(), task.older_layers());
        let Some(oldest) = layers.first() else { return Ok(()) };
        self.out.write_str("   layers, newest first:\n")?;
        for (index, layer) in layers.iter().enumerate().rev() {
            let kind = match layer.kind {
                LayerKind::Leave => "native   ",
                LayerKind::ReverseEnter => "managed  ",
            };
            write!(self.out, "     [{}] {kind}", older + index)?;
            self.namer.write_target(*layer, self.out)?;
            self.out.write_str("\n")?;
        }
        match (older, oldest.kind) {
            (0, LayerKind::Leave) => self.out.write_str("     [-] managed  (the thread began here)\n"),
            (0, LayerKind::ReverseEnter) => self.out.write_str("     [-] native   (the thread began here)\n"),
            _ => writeln!(self.out, "     ... and {older} older layers"),
        }
    }

    fn anomalies(&mut self, task: &TaskPicture) -> fmt::Result {
        const NAMES: [(Anomaly, &str); task::ANOMALIES] = [
            (Anomaly::UnmatchedPop, "returns without a call"),
            (Anomaly::RepeatedPush, "calls told twice"),
            (Anomaly::UnknownFunction, "unknown functions"),
            (Anomaly::MissedPop, "calls whose return was missed"),
        ];
        for (kind, text) in NAMES {
            let count = task.anomalies[kind as usize];
            if count != 0 {
                writeln!(self.out, "   anomalies: {count} {text}")?;
            }
        }
        Ok(())
    }

    // ---- sections -------------------------------------------------------------------------------------

    fn section_table(&mut self) -> fmt::Result {
        let mut headed = false;
        for section in self.namer.picture.sections().filter(SectionPicture::is_of_interest) {
            if !headed {
                headed = true;
                let heading = "SECTION             state      owner  recursion  waiters  contended  name";
                writeln!(self.out, "\n{heading}")?;
            }
            self.section_row(&section)?;
        }
        self.out.write_str(if headed { "\n" } else { "\nNo section is owned or was waited for.\n\n" })
    }

    fn section_row(&mut self, section: &SectionPicture) -> fmt::Result {
        let state = match section.state {
            State::Free => "free",
            State::Owned => "owned",
            State::Abandoned => "abandoned",
        };
        write!(self.out, "0x{:<16x}  {state:<9}", section.handle)?;
        let owner = self.namer.picture.task(section.owner).map(|owner| owner.thread_id);
        match owner.or(section.orphaned_by) {
            Some(thread) => write!(self.out, " {thread:>6}")?,
            None => write!(self.out, " {:>6}", "-")?,
        }
        let SectionPicture { recursion, waiters, contended, .. } = section;
        write!(self.out, "  {recursion:>9}  {waiters:>7}  {contended:>9}")?;
        match &section.name {
            _ if section.mirror != 0 => {
                self.out.write_str(" ")?;
                self.critical_section(section)?;
            }
            Some(name) => write!(self.out, "  \"{}\"", Printable(name.bytes()))?,
            None => {}
        }
        self.out.write_str("\n")
    }

    fn win32_misuses(&mut self) -> fmt::Result {
        let mut seen = self.namer.picture.registry().win32.seen().peekable();
        if seen.peek().is_none() {
            return Ok(());
        }
        self.out.write_str("Misuse of critical sections (Windows' kind):\n")?;
        seen.try_for_each(|(count, misuse)| writeln!(self.out, "   {count} {misuse}"))?;
        self.out.write_str("\n")
    }

    // ---- deadlocks ------------------------------------------------------------------------------------

    fn standing_deadlocks(&mut self) -> fmt::Result {
        let picture = self.namer.picture;
        for start in picture.standing_deadlocks() {
            self.out.write_str("Found a deadlock:\n=================\n")?;
            for id in picture.cycle(start) {
                let Some(task) = picture.task(id) else { continue };
                let Some(wait) = task.wait else { continue };
                self.task_name_and_thread(id)?;
                self.out.write_str(":\n")?;
                self.wait(wait)?;
            }
            self.order(start)?;
            self.out.write_str("\n")?;
        }
        Ok(())
    }

    /// The two columns that explain a deadlock of two tasks: who entered what, and wants what.
    fn order(&mut self, start: u64) -> fmt::Result {
        let picture = self.namer.picture;
        let mut members = picture.cycle(start);
        let (Some(one), Some(other), None) = (members.next(), members.next(), members.next()) else {
            return Ok(());
        };
        let (Some(one), Some(other)) = (picture.task(one), picture.task(other)) else { return Ok(()) };
        let awaited = |task: &TaskPicture| task.wait.and_then(|wait| picture.section(wait.section));
        let (Some(first), Some(second)) = (awaited(&other), awaited(&one)) else { return Ok(()) };
        self.out.write_str("Order that led here:\n   ")?;
        self.task_name(&one)?;
        self.out.write_str("  |  ")?;
        self.task_name(&other)?;
        self.out.write_str("\n   entered ")?;
        self.section_name(&first)?;
        self.out.write_str("  |  entered ")?;
        self.section_name(&second)?;
        self.out.write_str("\n   waits for ")?;
        self.section_name(&second)?;
        self.out.write_str("  |  waits for ")?;
        self.section_name(&first)?;
        self.out.write_str("\n   *** DEADLOCK ***\n")
    }

    /// The deadlocks of which a wait was broken, as they were then.
    fn refused_deadlocks(&mut self) -> fmt::Result {
        for deadlock in self.namer.picture.deadlocks().filter(|deadlock| is_broken(deadlock)) {
            let length = deadlock.length.load(Ordering::Relaxed);
            write!(self.out, "A deadlock of {length} task{} was broken", plural(length))?;
            if let Some(age) = self.namer.age(deadlock.found_at.load(Ordering::Relaxed)) {
                write!(self.out, " {} ago", Seconds(age))?;
            }
            self.out.write_str(":\n")?;
            for (place, member) in deadlock.members().iter().enumerate() {
                self.member(member, deadlock.members(), place)?;
                if place == deadlock.victim.load(Ordering::Relaxed) as usize {
                    self.out.write_str("      *** this wait got HOST_E_DEADLOCK ***\n")?;
                }
            }
            if length as usize > deadlock.members().len() {
                writeln!(self.out, "   ... and {} more tasks", length as usize - deadlock.members().len())?;
            }
            self.out.write_str("\n")?;
        }
        Ok(())
    }

    fn member(&mut self, member: &Member, all: &[Member], place: usize) -> fmt::Result {
        let tid = member.thread_id.load(Ordering::Relaxed);
        let name = member.task_name.get();
        write!(self.out, "   \"{}\" tid={tid} waited for 0x{:x}", Printable(name.bytes()), member.section())?;
        let section = member.section_name.get();
        if !section.is_empty() {
            write!(self.out, " \"{}\"", Printable(section.bytes()))?;
        }
        self.site(member.site.load(Ordering::Relaxed))?;
        match all.get(place + 1).or(all.first()) {
            Some(owner) => {
                let name = owner.task_name.get();
                writeln!(self.out, ", owned by \"{}\"", Printable(name.bytes()))
            }
            None => self.out.write_str("\n"),
        }
    }
}

/// Whether a wait of the deadlock was broken.
fn is_broken(deadlock: &Deadlock) -> bool {
    deadlock.victim.load(Ordering::Relaxed) < deadlock.length.load(Ordering::Relaxed)
}

/// Which sections the tasks own, collected in one pass: there may be far more sections than owned ones.
struct Owners {
    /// Owner id and section handle of each owned section, as many as fit.
    owned: [(u64, u64); OWNED],
    count: usize,
    /// Whether there were more than fit.
    overflow: bool,
}

const OWNED: usize = 512;

impl Owners {
    fn collect<M: Memory>(picture: &Picture<'_, M>) -> Self {
        let mut owners = Owners { owned: [(0, 0); OWNED], count: 0, overflow: false };
        for section in picture.sections().filter(|section| section.owner != 0 && section.owner != ABANDONED) {
            match owners.owned.get_mut(owners.count) {
                Some(place) => {
                    *place = (section.owner, section.handle);
                    owners.count += 1;
                }
                None => owners.overflow = true,
            }
        }
        owners
    }

    /// The sections that the task owns.
    fn of<'a, M: Memory>(
        &'a self,
        picture: &'a Picture<'a, M>,
        task: &TaskPicture,
    ) -> impl Iterator<Item = SectionPicture> + 'a {
        let id = task.id;
        let collected = self.owned.iter().take(if self.overflow { 0 } else { self.count });
        let collected = collected
            .filter(move |(owner, _)| *owner == id)
            .filter_map(|(_, handle)| picture.section(*handle));
        // More than fit: look at all of them, for tasks that own any.
        let searched = picture.sections().take_while(move |_| self.overflow);
        let searched = searched.filter(move |section| section.owner == id).take(task.owned as usize);
        collected.chain(searched)
    }
}
