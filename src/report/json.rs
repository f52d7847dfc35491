//! The report as one JSON object, described by docs/report.schema.json.

use core::fmt::{self, Display, Write};

use super::{Format, Namer, Scratch, Surroundings};
use crate::base::memory::Memory;
use crate::handle::number_shown;
use crate::state::deadlocks::DeadlockCopy;
use crate::state::misuses::MisuseAtSite;
use crate::state::orders::AlarmStepCopy;
use crate::state::resource::ResourceInfo;
use crate::state::sleep::{SleepCopy, SleepKind};
use crate::state::statistics::{CLASS_LIMITS, FiguresCopy};
use crate::state::task::Anomaly;
use crate::state::words::LockKind;
use crate::text::{is_deceptive, write_pieces};
use crate::view::picture::{
    Index, LockPicture, Picture, ResourcePicture, SectionPicture, ShownLayers, SrwLockPicture, TaskPicture,
};

#[inline(never)]
pub(super) fn write<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    index: &Index<'_>,
    scratch: &mut Scratch,
    surroundings: &mut S,
    out: &mut dyn Write,
) -> fmt::Result {
    let out = Json { out, first: true };
    JsonReport { index, namer: Namer { picture, surroundings }, out }.write(scratch)
}

struct JsonReport<'a, 'o, M, S> {
    namer: Namer<'a, M, S>,
    index: &'a Index<'a>,
    out: Json<'o>,
}

/// Writes JSON in order, with the commas where they belong.
pub(super) struct Json<'o> {
    out: &'o mut dyn Write,
    /// Whether the next item is the first of its object or array.
    first: bool,
}

impl Json<'_> {
    fn comma(&mut self) -> fmt::Result {
        if core::mem::take(&mut self.first) { Ok(()) } else { self.out.write_char(',') }
    }

    pub(super) fn open(&mut self, bracket: char) -> fmt::Result {
        self.comma()?;
        self.first = true;
        self.out.write_char(bracket)
    }

    pub(super) fn close(&mut self, bracket: char) -> fmt::Result {
        self.first = false;
        self.out.write_char(bracket)
    }

    /// The name of the member that is written next.
    pub(super) fn key(&mut self, key: &str) -> fmt::Result {
        self.comma()?;
        self.first = true;
        self.out.write_str("\"")?;
        self.out.write_str(key)?;
        self.out.write_str("\":")
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) -> fmt::Result {
        self.word(key, if value { "true" } else { "false" })
    }

    /// A word of JSON's own.
    pub(super) fn word(&mut self, key: &str, word: &str) -> fmt::Result {
        self.key(key)?;
        self.first = false;
        self.out.write_str(word)
    }

    pub(super) fn number(&mut self, key: &str, value: u64) -> fmt::Result {
        self.key(key)?;
        self.first = false;
        write!(self.out, "{value}")
    }

    /// As text, since not every JSON reader has exact numbers above 2^53.
    pub(super) fn hex(&mut self, key: &str, value: u64) -> fmt::Result {
        self.key(key)?;
        self.first = false;
        write!(self.out, "\"0x{value:x}\"")
    }

    pub(super) fn string(
        &mut self,
        key: &str,
        write: impl FnOnce(&mut dyn Write) -> fmt::Result,
    ) -> fmt::Result {
        self.key(key)?;
        self.first = false;
        self.out.write_char('"')?;
        write(&mut Escaped(self.out))?;
        self.out.write_char('"')
    }

    pub(super) fn text(&mut self, key: &str, bytes: &[u8]) -> fmt::Result {
        self.string(key, |out| {
            bytes.utf8_chunks().try_for_each(|chunk| {
                out.write_str(chunk.valid())?;
                if chunk.invalid().is_empty() { Ok(()) } else { out.write_char('\u{fffd}') }
            })
        })
    }
}

impl<'o> Json<'o> {
    /// Behind members of an object that were written.
    pub(super) fn behind_members(out: &'o mut dyn Write) -> Self {
        Json { out, first: false }
    }

    /// A member that is a list.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> fmt::Result,
    ) -> fmt::Result {
        self.key(key)?;
        self.open('[')?;
        for item in items {
            write(self, item)?;
        }
        self.close(']')
    }

    /// A member that is left out if nothing is written to it.
    pub(super) fn string_if_any(
        &mut self,
        key: &str,
        write: impl FnOnce(&mut dyn Write) -> fmt::Result,
    ) -> fmt::Result {
        let mut late = LateString { json: self, key, has_begun: false };
        write(&mut late)?;
        if late.has_begun { self.out.write_char('"') } else { Ok(()) }
    }

    /// A number in a list, or a word that needs no escapes, in quotes.
    pub(super) fn item(&mut self, value: impl Display) -> fmt::Result {
        self.comma()?;
        write!(self.out, "{value}")
    }
}

/// A string that begins when something is written to it.
struct LateString<'j, 'o> {
    json: &'j mut Json<'o>,
    key: &'j str,
    has_begun: bool,
}

impl Write for LateString<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.is_empty() && !core::mem::replace(&mut self.has_begun, true) {
            self.json.key(self.key)?;
            self.json.first = false;
            self.json.out.write_char('"')?;
        }
        Escaped(self.json.out).write_str(text)
    }
}

/// Escapes what a JSON string may not contain, and what would deceive a reader of the raw text.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_pieces(self.0, text, &mut |out, character| match character {
            '"' | '\\' => {
                out.write_char('\\')?;
                out.write_char(character)
            }
            _ if is_deceptive(character) => {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units);
                units.iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
            }
            _ => out.write_char(character),
        })
    }
}

impl Json<'_> {
    /// What a task waits for: a member that has the name of its kind.
    pub(super) fn awaited(&mut self, awaited: u64) -> fmt::Result {
        self.hex(LockKind::of(awaited).key(), number_shown(awaited))
    }
}

impl<M: Memory, S: Surroundings> JsonReport<'_, '_, M, S> {
    fn write(&mut self, scratch: &mut Scratch) -> fmt::Result {
        let Scratch { layers, deadlock } = scratch;
        let picture = self.namer.picture;
        self.out.open('{')?;
        self.out.text("version", env!("CARGO_PKG_VERSION").as_bytes())?;
        self.out.number("pid", u64::from(self.namer.surroundings.process_id()))?;
        if let Some(outer) = self.namer.surroundings.outer_process_id() {
            self.out.number("outer_pid", u64::from(outer))?;
        }
        self.out.text("runtime", picture.registry().runtime().state().key().as_bytes())?;
        if picture.registry().has_other_copies() {
            self.out.flag("other_copies", true)?;
        }
        self.out.key("tasks")?;
        self.out.open('[')?;
        picture.threads_of_tasks().try_for_each(|(_, id)| match picture.task_with_layers(id, layers) {
            Some(task) => self.task(&task, layers),
            None => Ok(()),
        })?;
        self.out.close(']')?;
        self.out.key("sections")?;
        self.out.open('[')?;
        picture
            .sections()
            .filter(SectionPicture::is_of_interest)
            .try_for_each(|section| self.section(&section))?;
        self.out.close(']')?;
        self.out.number("section_count", picture.sections().count() as u64)?;
        self.statistics()?;
        self.orders()?;
        self.out.key("resources")?;
        self.out.open('[')?;
        picture
            .resources()
            .filter(ResourcePicture::is_of_interest)
            .try_for_each(|resource| self.resource(&resource))?;
        self.out.close(']')?;
        self.out.number("resource_count", picture.resources().count() as u64)?;
        self.out.key("win32_misuses")?;
        self.out.open('{')?;
        let misuses = picture.registry().misuses();
        misuses.all().try_for_each(|(_, count, name, _)| self.out.number(name, u64::from(count)))?;
        self.out.close('}')?;
        self.out.key("win32_misuse_sites")?;
        self.out.open('[')?;
        for (misuse, _, name, _) in misuses.all() {
            misuses.at_sites(misuse).try_for_each(|at| self.misuse_at_site(name, &at))?;
        }
        self.out.close(']')?;
        self.out.number("messages_dropped", picture.registry().messages().dropped())?;
        self.out.number("deadlocks_found", picture.deadlocks_found())?;
        self.out.number("deadlocks_broken", picture.deadlocks_broken())?;
        self.out.key("deadlocks")?;
        self.out.open('[')?;
        picture.standing(self.index).try_for_each(|start| self.standing(start))?;
        self.out.close(']')?;
        self.out.key("past_deadlocks")?;
        self.out.open('[')?;
        picture.deadlocks(deadlock, |deadlock| self.past(deadlock))?;
        self.out.close(']')?;
        self.namer.surroundings.write_threads(Format::Json, self.out.out)?;
        self.out.close('}')?;
        self.out.out.write_char('\n')
    }

    fn age(&mut self, key: &str, since: u64) -> fmt::Result {
        match self.namer.age(since) {
            Some(age) => self.out.number(key, age),
            None => Ok(()),
        }
    }

    fn misuse_at_site(&mut self, name: &str, at: &MisuseAtSite) -> fmt::Result {
        self.out.open('{')?;
        self.out.text("misuse", name.as_bytes())?;
        self.site("at", at.site)?;
        self.out.number("count", u64::from(at.count))?;
        self.out.number("first_tid", u64::from(at.first_thread))?;
        self.variable("first_variable", at.first_address)?;
        self.out.close('}')
    }

    fn site(&mut self, key: &str, site: u64) -> fmt::Result {
        if site == 0 {
            return Ok(());
        }
        let namer = &mut self.namer;
        self.out.string(key, |out| namer.write_site(out, site))
    }

    /// An address, and the variable at it.
    fn variable(&mut self, key: &str, address: u64) -> fmt::Result {
        let surroundings = &mut *self.namer.surroundings;
        self.out.string(key, |out| surroundings.write_variable(out, address))
    }

    fn sleep(&mut self, sleep: SleepCopy) -> fmt::Result {
        self.out.key("sleeping")?;
        self.out.open('{')?;
        let name = match sleep.kind() {
            SleepKind::ConditionVariable => "condition_variable",
            SleepKind::Address => "on_address",
            SleepKind::InitOnce => "init_once",
        };
        self.variable(name, sleep.variable)?;
        if sleep.kind() == SleepKind::ConditionVariable {
            self.out.hex("left", number_shown(sleep.section))?;
        }
        self.age("for_ns", sleep.since)?;
        self.site("at", sleep.site)?;
        self.out.flag("limited", sleep.limited)?;
        self.out.close('}')
    }

    fn task(&mut self, task: &TaskPicture, layers: &ShownLayers) -> fmt::Result {
        let name = self.namer.task(task);
        self.out.open('{')?;
        self.out.hex("task", self.namer.picture.task_handle(task.id))?;
        self.out.number("tid", u64::from(task.thread_id))?;
        self.out.text("name", name.bytes())?;
        self.out.text("mode", task.mode.key().as_bytes())?;
        self.out.number("owned", u64::from(task.owned))?;
        if let Some(wait) = task.wait {
            self.out.key("waiting")?;
            self.out.open('{')?;
            self.out.awaited(wait.awaited)?;
            self.age("for_ns", wait.since)?;
            self.site("at", wait.site)?;
            self.out.flag("limited", wait.limited)?;
            self.out.number("option", u64::from(wait.option))?;
            if let Some(LockPicture::SrwLock(lock)) = self.namer.picture.lock(wait.awaited) {
                self.srw_lock(&lock, wait.is_shared)?;
            }
            self.out.close('}')?;
        }
        if let Some(sleep) = task.sleep {
            self.sleep(sleep)?;
        }
        self.out.number("depth", task.depth as u64)?;
        self.out.key("layers")?;
        self.out.open('[')?;
        for (index, layer) in layers.of(task).iter().enumerate().rev() {
            self.out.open('{')?;
            self.out.number("index", (task.older_layers() + index) as u64)?;
            self.out.text("kind", layer.kind.key().as_bytes())?;
            self.out.hex("target", layer.target)?;
            let namer = &mut self.namer;
            let newest_of = Some(task.thread_id).filter(|_| task.older_layers() + index + 1 == task.depth);
            self.out.string("name", |out| namer.write_target(*layer, newest_of, out))?;
            self.out.close('}')?;
        }
        self.out.close(']')?;
        self.out.key("anomalies")?;
        self.out.open('{')?;
        for (anomaly, count) in Anomaly::ALL.iter().zip(task.anomalies) {
            self.out.number(anomaly.key(), u64::from(count))?;
        }
        self.out.close('}')?;
        self.out.close('}')
    }

    /// Of an SRW lock, beside its address, in the wait of a task for it: there is no list of such locks.
    fn srw_lock(&mut self, lock: &SrwLockPicture, is_shared: bool) -> fmt::Result {
        self.variable("variable", lock.address)?;
        self.out.flag("shared", is_shared)?;
        if self.namer.picture.thread_id(lock.owner).is_some() {
            self.out.hex("owner", self.namer.picture.task_handle(lock.owner))?;
        }
        self.out.number("holders", u64::from(lock.holders))
    }

    fn section(&mut self, section: &SectionPicture) -> fmt::Result {
        self.out.open('{')?;
        self.out.hex("section", section.handle)?;
        if let Some(name) = &section.name {
            self.out.text("name", name.bytes())?;
        }
        if section.mirror != 0 {
            self.variable("critical_section", section.mirror)?;
            if let Some(name) = self.namer.picture.name_in_debug_record(section.mirror) {
                self.out.text("name", name.bytes())?;
            }
        }
        if let Some(thread) = section.orphaned_by {
            self.out.number("orphaned_by_tid", u64::from(thread))?;
        }
        self.out.text("state", section.state.key().as_bytes())?;
        if section.owner != 0 {
            self.out.hex("owner", self.namer.picture.task_handle(section.owner))?;
        }
        self.out.number("recursion", u64::from(section.recursion))?;
        self.out.number("waiters", u64::from(section.waiters))?;
        self.out.number("contended", section.contended)?;
        if let Some((since, site)) = section.hold {
            self.age("owned_for_ns", since)?;
            self.site("entered_at", site)?;
        }
        self.out.close('}')
    }

    /// Which orders could deadlock, if orders were ever examined.
    fn orders(&mut self) -> fmt::Result {
        let picture = self.namer.picture;
        let orders = picture.registry().orders();
        if !orders.is_on() && orders.told() == 0 && orders.unexamined() == 0 {
            return Ok(());
        }
        self.out.key("order")?;
        self.out.open('{')?;
        self.out.flag("on", orders.is_on())?;
        self.out.number("unexamined", orders.unexamined())?;
        self.out.key("could_deadlock")?;
        self.out.open('[')?;
        for (number, _, told_at) in picture.alarms() {
            self.out.open('{')?;
            self.age("age_ns", told_at)?;
            self.out.key("steps")?;
            self.out.open('[')?;
            picture.alarm_steps(number).try_for_each(|step| self.alarm_step(&step))?;
            self.out.close(']')?;
            self.out.close('}')?;
        }
        self.out.close(']')?;
        self.out.close('}')
    }

    fn alarm_step(&mut self, step: &AlarmStepCopy) -> fmt::Result {
        self.out.open('{')?;
        self.out.hex("task", self.namer.picture.task_handle(step.task))?;
        self.out.number("tid", u64::from(step.thread_id))?;
        self.out.text("name", step.task_name.bytes())?;
        self.lock(step.section, step.section_name.bytes())?;
        self.site("entered_at", step.first_site)?;
        self.site("next_entered_at", step.then_site)?;
        self.out.close('}')
    }

    /// What is waited for or entered, with its name where it can have one.
    fn lock(&mut self, handle: u64, name: &[u8]) -> fmt::Result {
        self.out.awaited(handle)?;
        match LockKind::of(handle) {
            LockKind::Section => self.out.text("section_name", name)?,
            LockKind::Resource => self.out.text("resource_name", name)?,
            LockKind::SrwLock => {}
        }
        match self.namer.picture.lock(handle) {
            Some(LockPicture::Section(section)) if section.mirror != 0 => {
                self.variable("critical_section", section.mirror)
            }
            Some(LockPicture::SrwLock(lock)) => self.variable("variable", lock.address),
            _ => Ok(()),
        }
    }

    /// What was counted of waits and holds, if that was ever switched on.
    fn statistics(&mut self) -> fmt::Result {
        let picture = self.namer.picture;
        if !picture.has_figures() {
            return Ok(());
        }
        self.out.key("statistics")?;
        self.out.open('{')?;
        self.out.flag("on", picture.registry().statistics().is_on())?;
        self.out.key("sections")?;
        self.out.open('[')?;
        picture.figures().try_for_each(|(section, figures)| self.figures(&section, &figures))?;
        self.out.close(']')?;
        self.out.close('}')
    }

    fn figures(&mut self, section: &SectionPicture, figures: &FiguresCopy) -> fmt::Result {
        self.out.open('{')?;
        self.out.hex("section", section.handle)?;
        self.out.number("waits", figures.all_waits())?;
        self.out.number("waited_ns", figures.waited)?;
        self.out.number("longest_wait_ns", figures.longest_wait)?;
        self.out.key("waits_by_length")?;
        self.out.open('[')?;
        for (class, count) in figures.waits.iter().enumerate() {
            self.out.open('{')?;
            if let Some(limit) = CLASS_LIMITS.get(class) {
                self.out.number("up_to_ns", *limit)?;
            }
            self.out.number("waits", *count)?;
            self.out.close('}')?;
        }
        self.out.close(']')?;
        self.out.number("holds", figures.holds)?;
        self.out.number("held_ns", figures.held)?;
        if let Some(hold) = figures.longest_hold {
            self.out.number("longest_hold_ns", hold.time)?;
            self.out.number("longest_held_by_tid", u64::from(hold.thread_id))?;
            self.site("longest_entered_at", hold.site)?;
        }
        self.out.close('}')
    }

    fn resource(&mut self, resource: &ResourcePicture) -> fmt::Result {
        let ResourceInfo { state, owner, recursion, waiters, contended } = resource.info;
        self.out.open('{')?;
        self.out.hex("resource", resource.handle)?;
        if let Some(name) = &resource.name {
            self.out.text("name", name.bytes())?;
        }
        self.out.text("state", state.key().as_bytes())?;
        if owner != 0 {
            self.out.hex("owner", self.namer.picture.task_handle(owner))?;
        }
        self.out.number("recursion", u64::from(recursion))?;
        self.out.number("waiters", u64::from(waiters))?;
        self.out.number("contended", contended)?;
        self.out.close('}')
    }

    /// A cycle that stands: the tasks in order, each waiting for a section or resource of the next. Nothing if it has ended since
    /// it was found.
    fn standing(&mut self, start: u64) -> fmt::Result {
        let picture = self.namer.picture;
        let mut members = picture.cycle(start).peekable();
        if members.peek().is_none() {
            return Ok(());
        }
        self.out.open('[')?;
        for id in members {
            self.out.open('{')?;
            self.out.hex("task", self.namer.picture.task_handle(id))?;
            if let Some(wait) = picture.task(id).and_then(|task| task.wait) {
                self.out.awaited(wait.awaited)?;
            }
            self.out.close('}')?;
        }
        self.out.close(']')
    }

    fn past(&mut self, deadlock: &DeadlockCopy) -> fmt::Result {
        self.out.open('{')?;
        self.out.number("tasks", u64::from(deadlock.length))?;
        self.age("age_ns", deadlock.found_at)?;
        if let Some(victim) = deadlock.victim {
            self.out.number("victim", u64::from(victim))?;
        }
        self.out.key("members")?;
        self.out.open('[')?;
        for member in deadlock.members() {
            self.out.open('{')?;
            self.out.hex("task", self.namer.picture.task_handle(member.task))?;
            self.out.number("tid", u64::from(member.thread_id))?;
            self.out.text("name", member.task_name.bytes())?;
            self.lock(member.awaited, member.awaited_name.bytes())?;
            self.site("at", member.site)?;
            self.site("entered_at", member.entered_at)?;
            self.out.close('}')?;
        }
        self.out.close(']')?;
        self.out.close('}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::observer::Room;
    use crate::report::ThisProcess;
    use crate::sys::symbols::Resolver;
    use std::boxed::Box;
    use std::string::String;

    #[test]
    fn a_cycle_that_has_ended_is_not_listed() {
        const NOBODY: u64 = u64::MAX;
        let (mut resolver, mut out) = (Box::new(Resolver::new()), String::new());
        let mut room = Room::new();
        let surroundings = &mut ThisProcess::new(&mut resolver, &mut room);
        let namer = Namer { picture: &Picture::here(), surroundings };
        let out_of_report = Json { out: &mut out, first: true };
        let mut report = JsonReport { namer, index: &Index::none(), out: out_of_report };
        report.standing(NOBODY).expect("a string takes all");
        assert_eq!(out, "");
    }
}
