//! The report as text: one fact a line, newest layer first, the verdict at the beginning and at the end.

use core::fmt::{self, Write};

use super::{Format, Namer, Scratch, Surroundings};
use crate::base::memory::Memory;
use crate::base::name::{NAME_BYTES, NameCopy};
use crate::handle::{is_resource, number_shown};
use crate::state::deadlocks::{DeadlockCopy, MemberCopy, Took};
use crate::state::layers::Mode;
use crate::state::misuses::{MISUSES, Misuse, MisuseAtSite};
use crate::state::orders::AlarmStepCopy;
use crate::state::resource::ResourceInfo;
use crate::state::section::State;
use crate::state::sleep::{SleepCopy, SleepKind};
use crate::state::statistics::{CLASS_LIMITS, FiguresCopy};
use crate::state::task::Anomaly;
use crate::state::wait::WaitCopy;
use crate::state::words::LockKind;
use crate::text::{Duration, Printable, Seconds, TextBuffer, ThreadName};
use crate::view::picture::{
    Cycle, Index, LockPicture, Picture, ResourcePicture, SectionPicture, ShownLayers, SrwLockPicture,
    TaskPicture,
};

pub(super) fn write<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    index: &Index<'_>,
    scratch: &mut Scratch,
    surroundings: &mut S,
    out: &mut dyn Write,
) -> fmt::Result {
    TextReport { index, namer: Namer { picture, surroundings }, out }.write(scratch)
}

/// What stands under the heading, and once more at the end.
pub(super) fn write_verdict<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    index: &Index<'_>,
    surroundings: &mut S,
    out: &mut dyn Write,
) -> fmt::Result {
    let totals = Totals::count(picture, index);
    TextReport { index, namer: Namer { picture, surroundings }, out }.verdict(&totals)
}

/// Owners named in a stall line at most: the chain may be long, or a cycle.
const STALL_CHAIN: usize = 4;

/// A stall line: the wait chain of a task. It ends where the chain ends, or where the chain comes to a cycle, and says
/// so.
pub(super) fn write_stall<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    id: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let index = Index::none();
    let mut report = TextReport { index: &index, namer: Namer { picture, surroundings }, out };
    report.out.write_str("hostcrst: ")?;
    report.name_and_thread(id)?;
    let in_cycle = picture.any_cycle(id).is_some();
    let mut waiter = id;
    for link in 0..=STALL_CHAIN + 1 {
        let Some(task) = picture.task(waiter) else { return Ok(()) };
        if let Some(sleep) = task.sleep {
            write!(report.out, ", which is {} ", sleep.kind().sleeping())?;
            report.namer.surroundings.write_variable(report.out, sleep.variable)?;
        }
        let Some(wait) = task.wait else {
            let Some(owner) = report.other_links(task.thread_id)? else { return Ok(()) };
            if owner == id {
                return report.other_cycle(id);
            }
            waiter = owner;
            continue;
        };
        // Where the last owner named is the end of the chain, that was told above.
        if link > STALL_CHAIN {
            break;
        }
        report.out.write_str(if link == 0 { " has waited" } else { ", which itself has waited" })?;
        if let Some(age) = report.namer.age(wait.since) {
            write!(report.out, " {}", Seconds(age))?;
        }
        report.out.write_str(match LockKind::of(wait.awaited) {
            LockKind::Section => " to enter ",
            LockKind::Resource => " for ",
            LockKind::SrwLock => " to acquire ",
        })?;
        let Some(lock) = picture.lock(wait.awaited) else { return Ok(()) };
        report.lock_name(&lock)?;
        if let Some(thread) = lock.orphaned_by() {
            write!(report.out, ", which stays locked: its owner tid={thread} has ended")?;
        }
        if let LockPicture::SrwLock(lock) = lock {
            report.holders(&lock, ", ")?;
        }
        // A task that owns what it waited for has just been handed it, unless it waits for itself.
        if lock.owner() == 0 || lock.owner() == waiter && !wait.is_for_itself {
            return Ok(());
        }
        report.out.write_str(", owned by ")?;
        report.owner_name_and_thread(lock.owner(), wait.awaited)?;
        report.hold(lock.hold())?;
        waiter = lock.owner();
        if waiter == id {
            return match picture.any_cycle(id) {
                Some(Cycle { limited: false, .. }) => report.out.write_str(": a deadlock"),
                Some(Cycle { limited: true, .. }) => {
                    report.out.write_str(": a circle that a time limit opens")
                }
                None => report.other_cycle(id),
            };
        }
        // The stall lines of a cycle's own members say more about it.
        if !in_cycle && let Some(cycle) = picture.any_cycle(waiter) {
            report.out.write_str(", which is part of ")?;
            return report.cycle(&cycle);
        }
    }
    if let Some(cycle) = picture.any_cycle(id) {
        report.out.write_str(", and so on: ")?;
        return report.cycle(&cycle);
    }
    let Some(task) = picture.task(waiter) else { return Ok(()) };
    match task.wait {
        Some(_) => report.out.write_str(", and so on")?,
        None => _ = report.other_links(task.thread_id)?,
    }
    report.other_cycle(id)
}

/// One line on what a thread has done with what stands at `address`.
pub(super) fn write_misuse<S: Surroundings>(
    surroundings: &mut S,
    misuse: Misuse,
    address: u64,
    thread_id: u32,
    site: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let (.., what) = MISUSES[misuse as usize];
    write!(out, "hostcrst: {} ", misuse.object())?;
    surroundings.write_variable(out, address)?;
    let thread = surroundings.thread_name(thread_id);
    write!(out, ": {what} ({}", ThreadName(thread.bytes(), thread_id))?;
    if site == 0 {
        return out.write_str("; more are only counted)");
    }
    out.write_str(" at ")?;
    surroundings.write_address(out, site)?;
    out.write_str("; more from there are only counted)")
}

/// Alarm number `number`, for stderr.
pub(super) fn write_alarm<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    number: u32,
    out: &mut dyn Write,
) -> fmt::Result {
    out.write_str("hostcrst: could deadlock: sections are entered in orders that do not agree\n")?;
    let index = Index::none();
    TextReport { index: &index, namer: Namer { picture, surroundings }, out }.alarm(number)
}

struct TextReport<'a, 'o, M, S> {
    namer: Namer<'a, M, S>,
    index: &'a Index<'a>,
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
    resources: u32,
    resources_owned: u32,
    deadlocks: u32,
}

impl Totals {
    fn count<M: Memory>(picture: &Picture<'_, M>, index: &Index<'_>) -> Self {
        let mut totals = Totals::default();
        for task in picture.tasks() {
            totals.tasks += 1;
            totals.managed += u32::from(task.mode == Mode::Managed);
            totals.unmanaged += u32::from(task.mode == Mode::Unmanaged);
            totals.waiting += u32::from(task.wait.is_some());
            totals.anomalies =
                task.anomalies.iter().fold(totals.anomalies, |sum, &count| sum.saturating_add(count));
        }
        for section in picture.sections() {
            totals.sections += 1;
            totals.owned += u32::from(section.state == State::Owned);
            totals.abandoned += u32::from(section.state == State::Abandoned);
        }
        for resource in picture.resources() {
            totals.resources += 1;
            totals.resources_owned += u32::from(resource.info.owner != 0);
        }
        totals.deadlocks = picture.standing(index).count() as u32;
        totals
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl<M: Memory, S: Surroundings> TextReport<'_, '_, M, S> {
    fn write(&mut self, scratch: &mut Scratch) -> fmt::Result {
        let Scratch { layers, deadlock } = scratch;
        let picture = self.namer.picture;
        let totals = Totals::count(picture, self.index);
        self.heading(&totals)?;
        picture.threads_of_tasks().try_for_each(|(_, id)| match picture.task_with_layers(id, layers) {
            Some(task) => self.task(&task, layers),
            None => Ok(()),
        })?;
        self.section_table()?;
        self.resource_table()?;
        self.statistics()?;
        self.alarms()?;
        self.win32_misuses()?;
        self.past_deadlocks(deadlock)?;
        self.standing_deadlocks()?;
        self.namer.surroundings.write_threads(Format::Text, self.out)?;
        self.verdict(&totals)
    }

    fn heading(&mut self, totals: &Totals) -> fmt::Result {
        let registry = self.namer.picture.registry();
        writeln!(
            self.out,
            "hostcrst {} report  pid {}  runtime {}",
            env!("CARGO_PKG_VERSION"),
            self.namer.surroundings.process_id(),
            registry.runtime().state().word(),
        )?;
        if let Some(outer) = self.namer.surroundings.outer_process_id() {
            writeln!(
                self.out,
                "All ids are those in the process's own namespace; outside of it this is process {outer}."
            )?;
        }
        let Totals { tasks, managed, unmanaged, waiting, anomalies, sections, owned, abandoned, .. } =
            *totals;
        writeln!(
            self.out,
            "{tasks} task{} ({managed} managed, {unmanaged} unmanaged; {waiting} waiting), \
             {sections} section{} ({owned} owned, {abandoned} abandoned), {anomalies} transition anomalies",
            plural(tasks),
            plural(sections),
        )?;
        if totals.resources != 0 {
            let (resources, owned) = (totals.resources, totals.resources_owned);
            writeln!(self.out, "{resources} resource{} of the program's ({owned} owned)", plural(resources))?;
        }
        if registry.has_other_copies() {
            let what =
                "Another copy of the library is in this process: what waits there is in its own report only.";
            writeln!(self.out, "{what}")?;
        }
        let dropped = registry.messages().dropped();
        if dropped != 0 {
            writeln!(self.out, "Messages dropped or cut, as nobody took them: {dropped}.")?;
        }
        self.verdict(totals)
    }

    fn verdict(&mut self, totals: &Totals) -> fmt::Result {
        let standing = totals.deadlocks;
        let broken = self.namer.picture.deadlocks_broken();
        if standing != 0 {
            writeln!(self.out, "Found {standing} deadlock{}.", plural(standing))?;
        }
        if broken != 0 {
            writeln!(self.out, "{broken} deadlock{} broken so far.", plural(broken.min(2) as u32))?;
        }
        let is_said = self.namer.surroundings.write_verdict(self.out, totals.sections, standing)?;
        if standing == 0 && broken == 0 && !is_said {
            self.out.write_str("No deadlock.\n")?;
        }
        Ok(())
    }

    // ---- tasks ----------------------------------------------------------------------------------------

    fn task(&mut self, task: &TaskPicture, layers: &ShownLayers) -> fmt::Result {
        self.out.write_str("\n")?;
        self.task_name_and_thread(task)?;
        write!(self.out, " (0x{:x}) task=0x{:x} [", task.thread_id, self.namer.picture.task_handle(task.id))?;
        self.out.write_str(task.mode.word())?;
        if let Some(wait) = task.wait {
            self.out.write_str(", waiting")?;
            if let Some(age) = self.namer.age(wait.since) {
                write!(self.out, " {}", Seconds(age))?;
            }
        }
        if let Some(sleep) = task.sleep {
            write!(self.out, ", {}", sleep.kind().word())?;
            if let Some(age) = self.namer.age(sleep.since) {
                write!(self.out, " {}", Seconds(age))?;
            }
        }
        self.out.write_str("]\n")?;
        if let Some(wait) = task.wait {
            self.wait(wait)?;
        }
        if let Some(sleep) = task.sleep {
            self.sleep(sleep)?;
        }
        let owned = self.namer.picture.owned_by(self.index, task);
        owned.into_iter().try_for_each(|section| self.owned_section(&section))?;
        let owned = self.namer.picture.resources_owned_by(self.index, task);
        owned.into_iter().try_for_each(|resource| self.owned_resource(&resource))?;
        self.layers(task, layers)?;
        self.anomalies(task)
    }

    fn task_name_and_thread(&mut self, task: &TaskPicture) -> fmt::Result {
        let name = self.namer.task(task);
        write!(self.out, "{}", ThreadName(name.bytes(), task.thread_id))
    }

    fn name_and_thread(&mut self, id: u64) -> fmt::Result {
        match self.namer.picture.task(id) {
            Some(task) => self.task_name_and_thread(&task),
            None => self.out.write_str("a task that has ended"),
        }
    }

    /// The owner of what is waited for, which may have let go of that since it was read, and ended.
    fn owner_name_and_thread(&mut self, id: u64, awaited: u64) -> fmt::Result {
        let picture = self.namer.picture;
        let owns_still = || picture.lock(awaited).is_some_and(|lock| lock.owner() == id);
        match picture.task(id) {
            Some(task) => self.task_name_and_thread(&task),
            None if owns_still() => self.out.write_str("a task that has ended"),
            None => self.out.write_str("a task that has just let go of it"),
        }
    }

    /// The next links of a chain, through what is not the library's, up to a thread that has a task: its id.
    fn other_links(&mut self, thread_id: u32) -> Result<Option<u64>, fmt::Error> {
        let mut thread = thread_id;
        for _ in 0..STALL_CHAIN {
            let Some(owner) = self.namer.surroundings.write_link(self.out, thread)? else { return Ok(None) };
            if let Some(task) = self.namer.picture.task_of_thread(owner) {
                return Ok(Some(task));
            }
            thread = owner;
        }
        Ok(None)
    }

    /// What stands at the end of a chain if the task is in a cycle through what is not the library's.
    fn other_cycle(&mut self, id: u64) -> fmt::Result {
        let Some(thread) = self.namer.picture.thread_id(id) else { return Ok(()) };
        match self.namer.surroundings.other_cycle(thread) {
            Some(true) => self.out.write_str(": a deadlock through locks of other kinds"),
            Some(false) => self.out.write_str(": probably a deadlock through locks of other kinds"),
            None => Ok(()),
        }
    }

    fn wait(&mut self, wait: WaitCopy) -> fmt::Result {
        let kind = LockKind::of(wait.awaited);
        write!(self.out, "   {} ", kind.waiting())?;
        if kind == LockKind::Resource {
            self.out.write_str("resource ")?;
        }
        let lock = self.namer.picture.lock(wait.awaited);
        match &lock {
            Some(lock) => self.lock_name(lock)?,
            None => write!(self.out, "0x{:x}", wait.awaited)?,
        }
        if wait.is_shared {
            self.out.write_str(" shared")?;
        }
        self.site(wait.site)?;
        if wait.limited {
            self.out.write_str(" (with a time limit)")?;
        }
        if let Some(lock) = lock {
            self.owner_of(&lock, wait.awaited)?;
        }
        self.out.write_str("\n")
    }

    /// Who owns what is waited for, or why nobody does, if that is known.
    fn owner_of(&mut self, lock: &LockPicture, awaited: u64) -> fmt::Result {
        if lock.owner() != 0 {
            self.out.write_str("\n      which is owned by ")?;
            self.owner_name_and_thread(lock.owner(), awaited)?;
            return self.hold(lock.hold());
        }
        if let Some(thread) = lock.orphaned_by() {
            return write!(self.out, "\n      which stays locked: its owner tid={thread} has ended");
        }
        if let LockPicture::SrwLock(lock) = lock {
            return self.holders(lock, "\n      which is ");
        }
        let which = match lock {
            LockPicture::Section(section) if section.state == State::Free => "is free now",
            LockPicture::Section(_) | LockPicture::SrwLock(_) => return Ok(()),
            LockPicture::Resource(resource) if resource.info.state == State::Abandoned => {
                "is abandoned: its owner has ended"
            }
            LockPicture::Resource(_) => "nobody is known to own",
        };
        write!(self.out, "\n      which {which}")
    }

    /// How many hold an SRW lock shared, if any do: it is not known who.
    fn holders(&mut self, lock: &SrwLockPicture, before: &str) -> fmt::Result {
        match lock.holders {
            0 => Ok(()),
            count => {
                write!(
                    self.out,
                    "{before}held shared {count} time{}, unknown by which threads",
                    plural(count)
                )
            }
        }
    }

    fn sleep(&mut self, sleep: SleepCopy) -> fmt::Result {
        write!(self.out, "   {} ", sleep.kind().sleeping())?;
        self.namer.surroundings.write_variable(self.out, sleep.variable)?;
        self.site(sleep.site)?;
        if sleep.limited {
            self.out.write_str(" (with a time limit)")?;
        }
        if sleep.kind() != SleepKind::ConditionVariable {
            return self.out.write_str("\n");
        }
        self.out.write_str("\n      after leaving ")?;
        match self.namer.picture.lock(sleep.section) {
            Some(lock) => self.lock_name(&lock)?,
            None => write!(self.out, "0x{:x}", number_shown(sleep.section))?,
        }
        self.out.write_str("\n")
    }

    fn site(&mut self, site: u64) -> fmt::Result {
        if site == 0 {
            return Ok(());
        }
        self.out.write_str(" at ")?;
        self.namer.write_site(self.out, site)
    }

    /// A section or resource in short: its name, or without one its handle.
    fn short_name(&mut self, handle: u64, name: &NameCopy) -> fmt::Result {
        if !name.is_empty() {
            return write!(self.out, "\"{}\"", Printable(name.bytes()));
        }
        match self.namer.picture.lock(handle) {
            Some(LockPicture::Section(section)) if section.mirror != 0 => self.critical_section(&section),
            Some(LockPicture::SrwLock(lock)) => self.srw_lock_name(lock.address),
            _ => write!(self.out, "0x{:x}", number_shown(handle)),
        }
    }

    /// A section, resource or SRW lock by its handle, and the name that it had; Windows' by address and variable.
    fn remembered_lock(&mut self, handle: u64, name: &NameCopy) -> fmt::Result {
        match self.namer.picture.lock(handle) {
            Some(LockPicture::Section(section)) if section.mirror != 0 => self.section_name(&section),
            Some(LockPicture::SrwLock(lock)) => self.srw_lock_name(lock.address),
            _ => {
                write!(self.out, "0x{:x}", number_shown(handle))?;
                if name.is_empty() { Ok(()) } else { write!(self.out, " \"{}\"", Printable(name.bytes())) }
            }
        }
    }

    fn hold(&mut self, hold: Option<(u64, u64)>) -> fmt::Result {
        match hold.and_then(|(since, _)| self.namer.age(since)) {
            Some(age) => write!(self.out, " (for {})", Seconds(age)),
            None => Ok(()),
        }
    }

    fn lock_name(&mut self, lock: &LockPicture) -> fmt::Result {
        match lock {
            LockPicture::Section(section) => self.section_name(section),
            LockPicture::Resource(resource) => self.resource_name(resource),
            LockPicture::SrwLock(lock) => self.srw_lock_name(lock.address),
        }
    }

    /// An SRW lock: its address, and the variable at it.
    fn srw_lock_name(&mut self, address: u64) -> fmt::Result {
        self.out.write_str("SRWLOCK ")?;
        self.namer.surroundings.write_variable(self.out, address)
    }

    fn resource_name(&mut self, resource: &ResourcePicture) -> fmt::Result {
        write!(self.out, "0x{:x}", resource.handle)?;
        match &resource.name {
            Some(name) => write!(self.out, " \"{}\"", Printable(name.bytes())),
            None => Ok(()),
        }
    }

    fn section_name(&mut self, section: &SectionPicture) -> fmt::Result {
        write!(self.out, "0x{:x}", section.handle)?;
        match &section.name {
            _ if section.mirror != 0 => {
                self.out.write_str(" ")?;
                self.critical_section(section)
            }
            Some(name) => write!(self.out, " \"{}\"", Printable(name.bytes())),
            None => Ok(()),
        }
    }

    /// A Windows section: its address, and the variable at it.
    fn critical_section(&mut self, section: &SectionPicture) -> fmt::Result {
        self.out.write_str("CRITICAL_SECTION ")?;
        self.namer.surroundings.write_variable(self.out, section.mirror)?;
        match self.namer.picture.name_in_debug_record(section.mirror) {
            Some(name) => write!(self.out, " \"{}\"", Printable(name.bytes())),
            None => Ok(()),
        }
    }

    fn owned_section(&mut self, section: &SectionPicture) -> fmt::Result {
        self.out.write_str("   owns ")?;
        self.section_name(section)?;
        write!(self.out, " recursion={}", section.recursion)?;
        if let Some((_, site)) = section.hold {
            self.out.write_str(", entered")?;
            self.site(site)?;
        }
        self.hold(section.hold)?;
        self.out.write_str("\n")
    }

    fn owned_resource(&mut self, resource: &ResourcePicture) -> fmt::Result {
        self.out.write_str("   owns resource ")?;
        self.resource_name(resource)?;
        writeln!(self.out, " recursion={}", resource.info.recursion)
    }

    fn layers(&mut self, task: &TaskPicture, layers: &ShownLayers) -> fmt::Result {
        let (layers, older) = (layers.of(task), task.older_layers());
        let Some(oldest) = layers.first() else { return Ok(()) };
        self.out.write_str("   layers, newest first:\n")?;
        for (index, layer) in layers.iter().enumerate().rev() {
            write!(self.out, "     [{}] {:<9}", older + index, layer.kind.word())?;
            let newest_of = Some(task.thread_id).filter(|_| older + index + 1 == task.depth);
            self.namer.write_target(*layer, newest_of, self.out)?;
            self.out.write_str("\n")?;
        }
        if older != 0 {
            return writeln!(self.out, "     ... and {older} older layers");
        }
        writeln!(self.out, "     [-] {:<9}(the thread began here)", oldest.kind.reverse().word())
    }

    fn anomalies(&mut self, task: &TaskPicture) -> fmt::Result {
        for (anomaly, count) in Anomaly::ALL.iter().zip(task.anomalies) {
            if count != 0 {
                writeln!(self.out, "   anomalies: {count} {}", anomaly.word())?;
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
        write!(self.out, "0x{:<16x}  {:<9}", section.handle, section.state.word())?;
        let owner = self.namer.picture.thread_id(section.owner);
        match owner.or(section.orphaned_by) {
            Some(thread_id) => write!(self.out, " {thread_id:>6}")?,
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

    fn alarms(&mut self) -> fmt::Result {
        let picture = self.namer.picture;
        let mut alarms = picture.alarms().peekable();
        if alarms.peek().is_some() {
            self.out.write_str("Could deadlock, as sections are entered in orders that do not agree:\n")?;
            for (number, _, told_at) in alarms {
                write!(self.out, "{}.", number + 1)?;
                if let Some(age) = self.namer.age(told_at) {
                    write!(self.out, " told {} ago", Seconds(age))?;
                }
                self.out.write_str("\n")?;
                self.alarm(number)?;
            }
            self.out.write_str("\n")?;
        }
        match picture.registry().orders().unexamined() {
            0 => Ok(()),
            entries => {
                writeln!(self.out, "Entries whose order was not, or not wholly, examined: {entries}.\n")
            }
        }
    }

    /// The steps of an alarm, each of a task that entered its section and then the one of the next step.
    fn alarm(&mut self, number: u32) -> fmt::Result {
        let picture = self.namer.picture;
        let Some(first) = picture.alarm_steps(number).next() else { return Ok(()) };
        let mut steps = picture.alarm_steps(number).peekable();
        while let Some(step) = steps.next() {
            let next = *steps.peek().unwrap_or(&first);
            write!(self.out, "   {} entered ", ThreadName(step.task_name.bytes(), step.thread_id))?;
            self.section_of_alarm(&step)?;
            self.site(step.first_site)?;
            self.out.write_str("\n      and then ")?;
            self.section_of_alarm(&next)?;
            self.site(step.then_site)?;
            self.out.write_str("\n")?;
        }
        Ok(())
    }

    fn section_of_alarm(&mut self, step: &AlarmStepCopy) -> fmt::Result {
        if is_resource(step.section) {
            self.out.write_str("resource ")?;
        }
        self.remembered_lock(step.section, &step.section_name)
    }

    fn statistics(&mut self) -> fmt::Result {
        let picture = self.namer.picture;
        if !picture.has_figures() {
            return Ok(());
        }
        let is_on = picture.registry().statistics().is_on();
        writeln!(
            self.out,
            "Waits and holds that are over (statistics are {}):",
            if is_on { "on" } else { "off" }
        )?;
        let mut any = false;
        for (section, figures) in picture.figures() {
            any = true;
            self.figures(&section, &figures)?;
        }
        self.out.write_str(if any { "\n" } else { "   none\n\n" })
    }

    fn figures(&mut self, section: &SectionPicture, figures: &FiguresCopy) -> fmt::Result {
        self.out.write_str("   ")?;
        self.section_name(section)?;
        self.out.write_str("\n")?;
        let waits = figures.all_waits();
        if waits != 0 {
            let [all, longest] = [figures.waited, figures.longest_wait].map(Duration);
            write!(self.out, "      waits: {waits}, {all} in all, longest {longest}: ")?;
            self.classes(figures)?;
        }
        if figures.holds != 0 {
            write!(self.out, "      holds: {}, {} in all", figures.holds, Duration(figures.held))?;
            if let Some(hold) = figures.longest_hold {
                let name = self.namer.surroundings.thread_name(hold.thread_id);
                let thread = ThreadName(name.bytes(), hold.thread_id);
                write!(self.out, ", longest {} by {thread}, entered", Duration(hold.time))?;
                self.site(hold.site)?;
            }
            self.out.write_str("\n")?;
        }
        Ok(())
    }

    /// How many waits were of which length, where there were any.
    fn classes(&mut self, figures: &FiguresCopy) -> fmt::Result {
        let mut separator = "";
        for (class, count) in figures.waits.iter().enumerate().filter(|(_, count)| **count != 0) {
            write!(self.out, "{separator}{count} ")?;
            match (CLASS_LIMITS.get(class), CLASS_LIMITS.last()) {
                (Some(limit), _) => write!(self.out, "up to {}", Duration(*limit))?,
                (None, longest) => write!(self.out, "over {}", Duration(longest.map_or(0, |limit| *limit)))?,
            }
            separator = ", ";
        }
        self.out.write_str("\n")
    }

    fn resource_table(&mut self) -> fmt::Result {
        let mut headed = false;
        for resource in self.namer.picture.resources().filter(ResourcePicture::is_of_interest) {
            if !headed {
                headed = true;
                let heading = "RESOURCE            state      owner  recursion  waiters  contended  name";
                writeln!(self.out, "{heading}")?;
            }
            self.resource_row(&resource)?;
        }
        self.out.write_str(if headed { "\n" } else { "" })
    }

    fn resource_row(&mut self, resource: &ResourcePicture) -> fmt::Result {
        let ResourceInfo { state, owner, recursion, waiters, contended } = resource.info;
        write!(self.out, "0x{:<16x}  {:<9}", resource.handle, state.word())?;
        match self.namer.picture.thread_id(owner) {
            Some(thread_id) => write!(self.out, " {thread_id:>6}")?,
            None => write!(self.out, " {:>6}", "-")?,
        }
        write!(self.out, "  {recursion:>9}  {waiters:>7}  {contended:>9}")?;
        match &resource.name {
            Some(name) => writeln!(self.out, "  \"{}\"", Printable(name.bytes())),
            None => self.out.write_str("\n"),
        }
    }

    fn win32_misuses(&mut self) -> fmt::Result {
        let known = self.namer.picture.registry().misuses();
        let mut misuses = known.all().filter(|(_, count, ..)| *count != 0).peekable();
        if misuses.peek().is_none() {
            return Ok(());
        }
        self.out.write_str("Misuse of critical sections and SRW locks (Windows' kind):\n")?;
        for (misuse, count, _, text) in misuses {
            writeln!(self.out, "   {text}: {count}")?;
            known.at_sites(misuse).filter(|at| at.site != 0).try_for_each(|at| self.misuse_at_site(&at))?;
        }
        self.out.write_str("\n")
    }

    fn misuse_at_site(&mut self, at: &MisuseAtSite) -> fmt::Result {
        self.out.write_str("     ")?;
        self.site(at.site)?;
        write!(self.out, ": {}, first by tid={} with ", at.count, at.first_thread)?;
        self.namer.surroundings.write_variable(self.out, at.first_address)?;
        self.out.write_str("\n")
    }

    // ---- deadlocks ------------------------------------------------------------------------------------

    fn cycle(&mut self, cycle: &Cycle) -> fmt::Result {
        let Cycle { length, limited } = cycle;
        if *limited {
            write!(self.out, "a circle of {length} tasks that a time limit opens")
        } else {
            write!(self.out, "a deadlock of {length} tasks")
        }
    }

    fn standing_deadlocks(&mut self) -> fmt::Result {
        let picture = self.namer.picture;
        for start in picture.standing(self.index) {
            let mut members = picture.cycle(start).peekable();
            if members.peek().is_none() {
                // It has ended since it was found.
                continue;
            }
            self.out.write_str("Found a deadlock:\n=================\n")?;
            for id in members {
                let Some(task) = picture.task(id) else { continue };
                let Some(wait) = task.wait else { continue };
                self.task_name_and_thread(&task)?;
                self.out.write_str(":\n")?;
                self.wait(wait)?;
            }
            self.order_of_standing(start)?;
            self.out.write_str("\n")?;
        }
        Ok(())
    }

    fn order_of_standing(&mut self, start: u64) -> fmt::Result {
        let picture = self.namer.picture;
        let mut members = picture.cycle(start);
        let (Some(one), Some(other), None) = (members.next(), members.next(), members.next()) else {
            return Ok(());
        };
        let (Some(one), Some(other)) = (picture.task(one), picture.task(other)) else { return Ok(()) };
        let (Some(wait_of_one), Some(wait_of_other)) = (one.wait, other.wait) else { return Ok(()) };
        let side = |namer: &mut Namer<'_, M, S>, task: &TaskPicture, wait: &WaitCopy, owns: &WaitCopy| {
            let owned = picture.lock(owns.awaited);
            let (took, entered_at) = owned.and_then(|lock| lock.hold()).unwrap_or((0, 0));
            let side = Side {
                name: namer.task(task),
                thread_id: task.thread_id,
                owned: owns.awaited,
                owned_name: owned.and_then(|lock| lock.name()).unwrap_or(NameCopy::new()),
                entered_at,
                waited_at: wait.site,
            };
            (side, took, wait.since)
        };
        let one = side(&mut self.namer, &one, &wait_of_one, &wait_of_other);
        let other = side(&mut self.namer, &other, &wait_of_other, &wait_of_one);
        let (first, last) = if one.2 <= other.2 { (one, other) } else { (other, one) };
        self.order(&first.0, &last.0, Took::by_times(last.1, first.1, first.2))
    }

    /// Two columns that explain a deadlock of two tasks, time going down: what each entered, and then waited for.
    fn order(&mut self, first: &Side, last: &Side, last_took: Took) -> fmt::Result {
        let mut heading = TextBuffer::<{ NAME_BYTES + 16 }>::new();
        first.write_heading(&mut heading)?;
        let heading = core::str::from_utf8(heading.bytes()).unwrap_or("?");
        let width = COLUMN.max(heading.chars().count() + 2);
        write!(self.out, "Order that led here:\n   {heading:width$}")?;
        last.write_heading(self.out)?;
        write!(self.out, "\n   {:width$}----\n", "----")?;
        for step in [Took::First, Took::Second, Took::Third] {
            if last_took == step || last_took == Took::Unknown && step == Took::Second {
                self.step(taking(last.owned), width, last, last.entered_at)?;
            }
            match step {
                Took::Third => self.step("   waits for ", width, first, last.waited_at)?,
                Took::Second => self.step("   waits for ", 0, last, first.waited_at)?,
                _ => self.step(taking(first.owned), 0, first, first.entered_at)?,
            }
        }
        self.out.write_str("   *** DEADLOCK ***\n")?;
        match last_took {
            Took::Unknown => self.out.write_str("   (When each took what it owns was not recorded.)\n"),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn step(&mut self, what: &str, column: usize, owner: &Side, site: u64) -> fmt::Result {
        write!(self.out, "{:column$}{what}", "")?;
        self.short_name(owner.owned, &owner.owned_name)?;
        self.site(site)?;
        self.out.write_str("\n")
    }

    /// The deadlocks that do not stand any more, as they were when they were found.
    fn past_deadlocks(&mut self, place: &mut DeadlockCopy) -> fmt::Result {
        let picture = self.namer.picture;
        picture.deadlocks(place, |deadlock| {
            let stands = deadlock.members().iter().any(|member| picture.is_in_cycle(self.index, member.task));
            if deadlock.victim.is_none() && stands { Ok(()) } else { self.past_deadlock(deadlock) }
        })
    }

    fn past_deadlock(&mut self, deadlock: &DeadlockCopy) -> fmt::Result {
        let (length, members) = (deadlock.length, deadlock.members());
        let what = if deadlock.victim.is_some() { "broken" } else { "found" };
        write!(self.out, "A deadlock of {length} task{} was {what}", plural(length))?;
        if let Some(age) = self.namer.age(deadlock.found_at) {
            write!(self.out, " {} ago", Seconds(age))?;
        }
        self.out.write_str(if deadlock.victim.is_some() { ":\n" } else { ", no wait was broken:\n" })?;
        for (place, member) in members.iter().enumerate() {
            self.member(
                member,
                members.get(place + 1).or((length as usize == members.len()).then_some(&members[0])),
            )?;
        }
        if length as usize > members.len() {
            writeln!(self.out, "   ... and {} more tasks", length as usize - members.len())?;
        }
        if let [closer, other] = members {
            let side = |of: &MemberCopy, before: &MemberCopy| Side {
                name: of.task_name,
                thread_id: of.thread_id,
                owned: before.awaited,
                owned_name: before.awaited_name,
                entered_at: of.entered_at,
                waited_at: of.site,
            };
            self.order(&side(other, closer), &side(closer, other), deadlock.closer_took)?;
        }
        let victim = deadlock.victim.map(|victim| victim as usize);
        if let Some((victim, member)) = victim.and_then(|victim| Some((victim, members.get(victim)?))) {
            let before = members.get(victim.checked_sub(1).unwrap_or(length as usize - 1));
            let name = ThreadName(member.task_name.bytes(), member.thread_id);
            write!(self.out, "Victim: {name} got HOST_E_DEADLOCK; it still owned ")?;
            let give_up = match before {
                Some(before) => {
                    self.short_name(before.awaited, &before.awaited_name)?;
                    if LockKind::of(before.awaited) == LockKind::Section { "leave" } else { "release" }
                }
                None => {
                    self.out.write_str("what it had entered")?;
                    "leave"
                }
            };
            writeln!(self.out, " and was to {give_up} it.")?;
        }
        self.out.write_str("\n")
    }

    /// A member, and the next one, which owned what the member waited for, if it is remembered.
    fn member(&mut self, member: &MemberCopy, owner: Option<&MemberCopy>) -> fmt::Result {
        let name = ThreadName(member.task_name.bytes(), member.thread_id);
        write!(self.out, "   {name} waited for ")?;
        self.remembered_lock(member.awaited, &member.awaited_name)?;
        self.site(member.site)?;
        match owner {
            Some(owner) => {
                let name = ThreadName(owner.task_name.bytes(), owner.thread_id);
                writeln!(self.out, ", owned by {name}")
            }
            None => self.out.write_str("\n"),
        }
    }
}

/// One task of a deadlock of two: it entered `owned`, and waited for what the other one had entered.
struct Side {
    name: NameCopy,
    thread_id: u32,
    owned: u64,
    owned_name: NameCopy,
    entered_at: u64,
    waited_at: u64,
}

impl Side {
    /// Threads may share a name, or have none that is known.
    fn write_heading(&self, out: &mut dyn Write) -> fmt::Result {
        if !self.name.is_empty() {
            write!(out, "{} ", Printable(self.name.bytes()))?;
        }
        write!(out, "tid={}", self.thread_id)
    }
}

/// How the owner of a section or resource has become that.
fn taking(handle: u64) -> &'static str {
    if LockKind::of(handle) == LockKind::Section { "   enters " } else { "   acquires " }
}

/// Where the right column begins.
const COLUMN: usize = 36;
