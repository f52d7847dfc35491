//! What a report on this process says of its threads and of locks that are not the library's, after all else: the same
//! facts in each format, in the words of `hostcrst-dump`.

use core::ffi::CStr;
use core::fmt::{self, Write};

use foreign_locks::glibc::{Behaviour, Thing};
use foreign_locks::{Counted, MAY_END, Memory, Process, SystemCall, Verdict, calls};

use super::{json, write_variable};
use crate::base::name::NameCopy;
use crate::foreign::observer::{self, Observer, OwnMemory, Wait};
use crate::foreign::threads::{Seen, Threads};
use crate::foreign::who::Who;
use crate::handle::number_shown;
use crate::state::sleep::SleepKind;
use crate::state::tasks;
use crate::state::words::LockKind;
use crate::sys;
use crate::sys::symbols::Resolver;
use crate::text::{Printable, TextBuffer, ThreadName};
use crate::view::names;
use crate::view::picture::{LockPicture, Picture, TaskPicture};

pub(super) struct ThreadsReport<'a> {
    pub(super) threads: &'a Threads,
    pub(super) resolver: &'a mut Resolver,
}

/// The name of a thread's task, if that has one, or its own.
pub(super) fn name_of(task: Option<&TaskPicture>, thread: u32) -> NameCopy {
    task.map(|task| task.name).filter(|name| !name.is_empty()).unwrap_or_else(|| names::thread_name(thread))
}

/// The same of a thread whose own name was seen.
fn name_of_seen(seen: &Seen) -> NameCopy {
    let name = Picture::here().task_name(seen.who.task);
    if name.is_empty() { seen.name } else { name }
}

fn write_name(out: &mut dyn Write, seen: &Seen) -> fmt::Result {
    write!(out, "{}", ThreadName(name_of_seen(seen).bytes(), seen.who.thread))
}

/// Writes what a thread waits for, to follow "waits" or "waiting".
pub(super) fn write_awaited(resolver: &mut Resolver, thing: &Thing, out: &mut dyn Write) -> fmt::Result {
    thing.write_awaited(out, &mut |out, address| write_variable(resolver, out, address))?;
    match thing.of_type().and_then(|of_type| Picture::here().type_name(of_type)) {
        Some(name) => write!(out, " ({})", Printable(name.bytes())),
        None => Ok(()),
    }
}

/// Writes what a thread is blocked in: `read from fd 3 pipe:[7]`.
pub(super) fn write_call(thread: u32, call: &SystemCall, out: &mut dyn Write) -> fmt::Result {
    write_call_name(call, out)?;
    let mut out = Behind { out, has_begun: false };
    calls::write_meaning(&OwnProcess { thread }, call, &mut out)
}

fn write_call_name(call: &SystemCall, out: &mut dyn Write) -> fmt::Result {
    match calls::name(call) {
        Some(name) => out.write_str(name),
        None => write!(out, "system call {}", call.number),
    }
}

/// Writes a space before what is written, if anything is.
struct Behind<'a> {
    out: &'a mut dyn Write,
    has_begun: bool,
}

impl Write for Behind<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.is_empty() && !core::mem::replace(&mut self.has_begun, true) {
            self.out.write_char(' ')?;
        }
        self.out.write_str(text)
    }
}

/// Writes what a thread waits for that is not the library's, as the next link of a chain. The thread that owns it.
#[inline(never)]
pub(super) fn write_link(
    observer: &mut Observer<'_>,
    thread: u32,
    out: &mut dyn Write,
) -> Result<Option<u32>, fmt::Error> {
    let mut glance = observer.glance(thread);
    let who = Who::of_thread(&Picture::here(), thread);
    let Some(wait) = observer.wait_of(who, &mut glance) else {
        let Some(call) = glance.and_then(|glance| glance.call) else { return Ok(None) };
        out.write_str(", which itself is blocked in ")?;
        return write_call(thread, &call, out).map(|()| None);
    };
    let probably = if wait.is_certain { "" } else { "probably " };
    write!(out, ", which itself {probably}waits ")?;
    write_awaited(observer.resolver, &wait.thing, out)?;
    out.write_str(if wait.is_limited { " (with a time limit)" } else { "" })?;
    let Some(owner) = wait.owner else { return write_orphaned(&wait.thing, out).map(|()| None) };
    let before = if matches!(wait.thing, Thing::Thread(_)) { ": " } else { ", " };
    let picture = Picture::here();
    let task = picture.task_of_thread(owner).and_then(|task| picture.task(task));
    let name = name_of(task.as_ref(), owner);
    write!(out, "{before}{probably}{}{}", wait.thing.held_by(), ThreadName(name.bytes(), owner))?;
    Ok(Some(owner))
}

fn write_orphaned(thing: &Thing, out: &mut dyn Write) -> fmt::Result {
    let is_abandoned = matches!(thing, Thing::Managed { is_abandoned: true, .. });
    out.write_str(if is_abandoned { ", which is abandoned: its owner has ended" } else { "" })
}

/// Writes that a thread waits for what is abandoned.
pub(super) fn write_wait_for_orphaned(
    resolver: &mut Resolver,
    thread: u32,
    thing: &Thing,
    out: &mut dyn Write,
) -> fmt::Result {
    let picture = Picture::here();
    let task = picture.task_of_thread(thread).and_then(|task| picture.task(task));
    let name = name_of(task.as_ref(), thread);
    write!(out, "hostcrst: {} waits ", ThreadName(name.bytes(), thread))?;
    write_awaited(resolver, thing, out)?;
    write_orphaned(thing, out)
}

// ---- what is not known ------------------------------------------------------------------------------------

/// What no deadlock can be ruled out through: for programs, and for people.
const UNEXAMINED: [(&str, &str); 4] = [
    ("system_calls", "what threads are blocked in, which the system does not show"),
    ("locks", "locks of this C library, which are not known here"),
    ("more_threads", "the threads that are not listed"),
    ("managed_locks", "locks of managed code (Monitor, lock)"),
];

/// What of UNEXAMINED there is. Without `threads` the system shows none.
fn unexamined(threads: Option<&Threads>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let picture = Picture::here();
    let is_so = [
        threads.is_none_or(|threads| threads.hides_calls),
        threads.is_some() && !sys::IS_WITH_GLIBC,
        threads.is_some_and(|threads| threads.more),
        // Transitions alone are no sign of a CLR: any host tells of those of its own runtime.
        !picture.sees_managed_locks() && tasks::has_clr_threads(),
    ];
    UNEXAMINED.into_iter().zip(is_so).filter_map(|(what, is_so)| is_so.then_some(what))
}

/// Writes the verdict beyond `of_sections` deadlocks that stand among `sections` sections.
pub(super) fn write_verdict(
    threads: Option<&Threads>,
    sections: u32,
    of_sections: u32,
    out: &mut dyn Write,
) -> fmt::Result {
    let certain = threads.map_or(0, |threads| threads.cycles(true));
    match threads {
        Some(threads) => {
            let verdict = Verdict {
                sections: Some(sections as usize),
                of_sections: of_sections as usize,
                certain,
                probable: threads.cycles(false),
                locks: threads.other_locks(),
                blocked_without_owner: threads.blocked_without_owner,
            };
            write!(out, "{verdict}")?;
        }
        None if of_sections == 0 => {
            writeln!(out, "No deadlock among {}.", Counted(sections as usize, "section"))?;
        }
        None => {}
    }
    if certain != 0 || of_sections != 0 {
        return Ok(());
    }
    let mut has_begun = false;
    for (_, what) in unexamined(threads) {
        let before = if core::mem::replace(&mut has_begun, true) { "; " } else { "Not examined: " };
        write!(out, "{before}{what}")?;
    }
    out.write_str(if has_begun { ".\n" } else { "" })
}

// ---- text -------------------------------------------------------------------------------------------------

impl ThreadsReport<'_> {
    pub(super) fn text(&mut self, out: &mut dyn Write) -> fmt::Result {
        let threads = self.threads;
        let more = if threads.more { ", and more that are not listed" } else { "" };
        write!(out, "\n{} of this process{more}", Counted(threads.seen().len(), "thread"))?;
        match threads.seen().iter().filter(|seen| seen.own_wait.is_some()).count() {
            0 => {}
            waiting => write!(out, "; {waiting} of them as shown above, waiting or asleep")?,
        }
        out.write_str(":\n")?;
        for seen in threads.seen().iter().filter(|seen| seen.own_wait.is_none()) {
            self.thread_and_wait(seen, out)?;
        }
        for first in threads.begins_of_cycles() {
            self.cycle(first, out)?;
        }
        out.write_str("\n")
    }

    fn thread_and_wait(&mut self, seen: &Seen, out: &mut dyn Write) -> fmt::Result {
        write_name(out, seen)?;
        write!(out, " [{}", seen.state.word(seen.call.is_some()))?;
        if let Some(call) = &seen.call {
            out.write_str(" in ")?;
            write_call_name(call, out)?;
        }
        out.write_str("]\n")?;
        self.wait(seen, out)
    }

    fn cycle(&mut self, first: &Seen, out: &mut dyn Write) -> fmt::Result {
        out.write_str(if first.is_cycle_certain {
            "\nFound a deadlock:\n=================\n"
        } else {
            "\nProbably a deadlock:\n====================\n"
        })?;
        for seen in self.threads.cycle_from(first) {
            write_name(out, seen)?;
            out.write_str(":\n")?;
            self.wait(seen, out)?;
        }
        if self.threads.is_managed(first) { writeln!(out, "{MAY_END}") } else { Ok(()) }
    }

    #[inline(never)]
    fn wait(&mut self, seen: &Seen, out: &mut dyn Write) -> fmt::Result {
        match (&seen.wait, seen.own_wait, &seen.call) {
            (Some(wait), ..) => self.other_wait(wait, out),
            (None, Some(_), _) => self.own_wait(seen, out),
            (None, None, Some(call)) => {
                out.write_str("   ")?;
                write_call(seen.who.thread, call, out)?;
                out.write_str("\n")
            }
            (None, None, None) => Ok(()),
        }
    }

    fn other_wait(&mut self, wait: &Wait, out: &mut dyn Write) -> fmt::Result {
        let probably = if wait.is_certain { "" } else { "probably " };
        write!(out, "   {probably}waiting ")?;
        write_awaited(self.resolver, &wait.thing, out)?;
        out.write_str(if wait.is_limited { " (with a time limit)" } else { "" })?;
        match self.threads.others(wait) {
            0 => {}
            1 => out.write_str(", as 1 other does")?,
            others => write!(out, ", as {others} others do")?,
        }
        out.write_str("\n")?;
        let held_by = wait.thing.held_by();
        match (wait.owner, wait.thing.owner(), &wait.thing) {
            (Some(owner), ..) => {
                write!(out, "      which is {probably}{held_by}")?;
                self.thread(owner, out)?;
                out.write_str("\n")
            }
            (None, Some(id), _) => {
                writeln!(out, "      which is {probably}{held_by}tid={id}, no live thread of this process")
            }
            (None, None, Thing::Managed { is_abandoned: true, .. }) => {
                writeln!(out, "      which is {probably}abandoned: its owner has ended")
            }
            (None, None, Thing::RwLock { readers: readers @ 1.., .. }) => {
                let readers = Counted(*readers as usize, "reader");
                writeln!(out, "      which is held by {readers}, unknown which")
            }
            _ => Ok(()),
        }
    }

    fn own_wait(&mut self, seen: &Seen, out: &mut dyn Write) -> fmt::Result {
        let picture = Picture::here();
        let (wait, sleep) = picture.wait_or_sleep(seen.who.task);
        if let Some(wait) = wait {
            let kind = LockKind::of(wait.awaited);
            let lock = picture.lock(wait.awaited);
            write!(out, "   {} ", kind.waiting())?;
            match lock {
                Some(LockPicture::Section(section)) if section.mirror != 0 => {
                    out.write_str("CRITICAL_SECTION ")?;
                    write_variable(self.resolver, out, section.mirror)?;
                }
                _ => write!(out, "{} 0x{:x}", kind.word(), number_shown(wait.awaited))?,
            }
            if let Some(name) = lock.and_then(|lock| lock.name()) {
                write!(out, " \"{}\"", Printable(name.bytes()))?;
            }
        } else if let Some(sleep) = sleep {
            write!(out, "   {} ", sleep.kind().sleeping())?;
            write_variable(self.resolver, out, sleep.variable)?;
        }
        let wait = seen.own_wait;
        let is_limited = wait.is_some_and(|wait| wait.is_limited);
        out.write_str(if is_limited { " (with a time limit)\n" } else { "\n" })?;
        match wait.and_then(|wait| wait.owner) {
            Some(owner) => {
                out.write_str("      which is owned by ")?;
                self.thread(owner, out)?;
                out.write_str("\n")
            }
            None => Ok(()),
        }
    }

    fn thread(&mut self, thread: u32, out: &mut dyn Write) -> fmt::Result {
        match self.threads.of_thread(thread) {
            Some(seen) => write_name(out, seen),
            None => write!(out, "tid={thread}"),
        }
    }

    // ---- JSON ------------------------------------------------------------------------------------------

    /// Members of the report's object.
    pub(super) fn json(&mut self, out: &mut json::Json<'_>) -> fmt::Result {
        let threads = self.threads;
        out.flag("library", true)?;
        out.list("threads", threads.seen().iter(), |out, seen| self.json_thread(seen, out))?;
        out.flag("threads_complete", !threads.more)?;
        out.number("other_locks", threads.other_locks() as u64)?;
        out.number("blocked_without_owner", threads.blocked_without_owner as u64)?;
        out.list("thread_deadlocks", threads.begins_of_cycles(), |out, first| {
            out.open('{')?;
            out.flag("certain", first.is_cycle_certain)?;
            out.flag("managed", threads.is_managed(first))?;
            let members = threads.cycle_from(first);
            out.list("tids", members, |out, seen| out.item(format_args!("{}", seen.who.thread)))?;
            out.close('}')
        })?;
        out.list("not_examined", unexamined(Some(threads)), |out, (word, _)| {
            out.item(format_args!("\"{word}\""))
        })
    }

    #[inline(never)]
    fn json_thread(&mut self, seen: &Seen, out: &mut json::Json<'_>) -> fmt::Result {
        out.open('{')?;
        out.number("tid", u64::from(seen.who.thread))?;
        out.text("name", name_of_seen(seen).bytes())?;
        out.text("state", seen.state.key().as_bytes())?;
        if let Some(call) = &seen.call {
            let process = OwnProcess { thread: seen.who.thread };
            out.string("call", |out| write_call_name(call, out))?;
            out.string_if_any("meaning", |out| calls::write_meaning(&process, call, out))?;
        }
        if seen.wait.is_some() || seen.own_wait.is_some() {
            out.key("waits_for")?;
            out.open('{')?;
            match (&seen.wait, seen.own_wait) {
                (Some(wait), _) => self.json_wait(wait, out)?,
                (None, Some(wait)) => {
                    out.flag("certain", true)?;
                    out.flag("limited", wait.is_limited)?;
                    match Picture::here().wait_or_sleep(seen.who.task) {
                        (Some(wait), _) => {
                            out.text("kind", LockKind::of(wait.awaited).key().as_bytes())?;
                            out.awaited(wait.awaited)?;
                        }
                        (None, sleep) => {
                            let kind = sleep.map(|sleep| sleep.kind());
                            let kind = kind.unwrap_or(SleepKind::ConditionVariable);
                            out.text("kind", kind.key().as_bytes())?;
                        }
                    }
                    if let Some(owner) = wait.owner {
                        out.number("owner_tid", u64::from(owner))?;
                    }
                }
                (None, None) => {}
            }
            out.close('}')?;
        }
        out.close('}')
    }

    fn json_wait(&mut self, wait: &Wait, out: &mut json::Json<'_>) -> fmt::Result {
        let Wait { thing, is_certain, is_limited, owner, is_young: _ } = wait;
        out.flag("certain", *is_certain)?;
        out.flag("limited", *is_limited)?;
        out.text("kind", thing.key().as_bytes())?;
        if let Some(address) = thing.address() {
            out.string("address", |out| write_variable(self.resolver, out, address))?;
        }
        out.number("others", self.threads.others(wait) as u64)?;
        match thing {
            Thing::Mutex { kind, .. } => {
                match kind.behaviour.map(Behaviour::key) {
                    Some(behaviour) => out.text("behaviour", behaviour.as_bytes())?,
                    None => out.word("behaviour", "null")?,
                }
                out.flag("robust", kind.is_robust)?;
                out.flag("priority_inheriting", kind.inherits_priority)?;
                out.flag("priority_protecting", kind.protects_priority)?;
            }
            Thing::RwLock { readers, to_write, .. } => {
                out.number("readers", u64::from(*readers))?;
                out.flag("to_write", *to_write)?;
            }
            Thing::Managed { kind, is_abandoned, of_type, .. } => {
                out.text("lock_kind", kind.key().as_bytes())?;
                out.flag("abandoned", *is_abandoned)?;
                if let Some(name) = Picture::here().type_name(*of_type) {
                    out.text("object_type", name.bytes())?;
                }
            }
            _ => {}
        }
        match (owner, thing.owner()) {
            (Some(owner), _) => out.number("owner_tid", u64::from(*owner)),
            (None, Some(id)) => out.number("owner_not_in_process", u64::from(id)),
            (None, None) => Ok(()),
        }
    }

    // ---- dot -------------------------------------------------------------------------------------------

    /// Edges from each thread to the owner of what it waits for that is not the library's. Tasks have nodes already.
    pub(super) fn dot(&mut self, out: &mut dyn Write) -> fmt::Result {
        let threads = self.threads;
        for seen in threads.seen().iter().filter(|seen| seen.who.task == 0) {
            if seen.wait.is_some_and(|wait| wait.owner.is_some()) || seen.is_waited_for {
                let (node, label) = (Node(seen), super::dot::Label(seen.name.bytes()));
                writeln!(out, "  {node} [label=\"{label}\\n{}\"];", seen.who.thread)?;
            }
        }
        for seen in threads.seen() {
            let Some(wait) = &seen.wait else { continue };
            let Some(owner) = wait.owner.and_then(|owner| threads.of_thread(owner)) else { continue };
            write!(out, "  {} -> {} [label=\"{}", Node(seen), Node(owner), wait.thing.key())?;
            if let Some(address) = wait.thing.address() {
                write!(out, " 0x{address:x}")?;
            }
            let color = if seen.cycle != 0 { ",color=red" } else { "" };
            let style = if wait.is_certain { "" } else { ",style=dashed" };
            writeln!(out, "\"{color}{style}];")?;
        }
        Ok(())
    }
}

/// The name of a thread's node: that of its task, if it has one.
struct Node<'a>(&'a Seen);

impl fmt::Display for Node<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.who.task {
            0 => write!(out, "p{}", self.0.who.thread),
            task => write!(out, "t{task}"),
        }
    }
}

// ---- this process -----------------------------------------------------------------------------------------

/// What the numbers in system calls of a thread mean.
struct OwnProcess {
    thread: u32,
}

impl Memory for OwnProcess {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        OwnMemory.read(address, buffer)
    }
}

impl Process for OwnProcess {
    fn is_still_in(&self, call: &SystemCall) -> bool {
        observer::call_of(self.thread).as_ref() == Some(call)
    }

    fn write_descriptor(&self, out: &mut dyn Write, descriptor: i32) -> fmt::Result {
        write!(out, "fd {descriptor}")?;
        let mut link = [0; 128];
        match sys::read_descriptor_link(descriptor, &mut link) {
            Some(link) => write!(out, " {}", Printable(link)),
            None => Ok(()),
        }
    }

    fn write_child(&self, out: &mut dyn Write, id: u32) -> fmt::Result {
        write!(out, "{id}")?;
        let mut path = TextBuffer::<40>::new();
        write!(path, "/proc/{id}/comm\0")?;
        let mut name = [0; 32];
        let length =
            CStr::from_bytes_with_nul(path.bytes()).map_or(0, |path| sys::read_file(path, &mut name));
        match name.get(..length).map(<[u8]>::trim_ascii_end) {
            Some(name) if !name.is_empty() => write!(out, " {}", Printable(name)),
            _ => Ok(()),
        }
    }

    fn write_path(&self, out: &mut dyn Write, path: &[u8]) -> fmt::Result {
        write!(out, "{}", Printable(path))
    }

    /// It stands in `fdinfo`, of which little is read here.
    fn epoll_looks_at(
        &self,
        epoll: i32,
        visit: &mut dyn FnMut(i32) -> fmt::Result,
    ) -> Result<bool, fmt::Error> {
        let mut path = TextBuffer::<40>::new();
        write!(path, "/proc/thread-self/fdinfo/{epoll}\0")?;
        let mut text = [0; 1024];
        let length =
            CStr::from_bytes_with_nul(path.bytes()).map_or(0, |path| sys::read_file(path, &mut text));
        let Some(text) = text.get(..length).filter(|text| !text.is_empty() && text.len() < 1024) else {
            return Ok(false);
        };
        let of_line = |line: &[u8]| {
            let number = line.strip_prefix(b"tfd:")?.trim_ascii_start().split(|&byte| byte == b' ').next()?;
            str::from_utf8(number).ok()?.parse().ok()
        };
        text.split(|&byte| byte == b'\n').filter_map(of_line).try_for_each(visit)?;
        Ok(true)
    }
}
