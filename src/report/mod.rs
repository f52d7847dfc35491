//! Reports: every task with its layers, what it owns and waits for, every section that is not free or was contended,
//! every deadlock. One source (`view::picture`), several formats. Does not decide what is done about what it shows.
//!
//! A report does not call the program's allocator, takes no lock that a hung program may hold, and uses little of the
//! caller's stack (see `desk`). Each task and section is a snapshot of one moment; the moments of two of them may
//! differ while the program runs.

mod desk;
pub mod dot;
pub mod html;
pub mod json;
pub mod metrics;
pub(crate) mod misuses;
pub(crate) mod nodes;
mod packed;
pub mod text;
mod threads;

use core::ffi::c_int;
use core::fmt::{self, Write};

use elf_names::Symbol;

use crate::base::memory::Memory;
use crate::base::name::NameCopy;
use crate::error::{Error, Result};
use crate::foreign::chain;
use crate::foreign::observer::{Observer, Room};
use crate::foreign::threads::Threads;
use crate::foreign::who::Who;
use crate::messages::{self, Kind, Message, Patience};
use crate::state::deadlocks::DeadlockCopy;
use crate::state::layers::{Layer, LayerKind, Origin};
use crate::state::misuses::Misuse;
use crate::state::task::TaskRef;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::symbols::{Mapped, Resolver};
use crate::sys::{self, preserving_errno};
use crate::text::{Printable, TextBuffer};
use crate::view::names;
use crate::view::picture::{Index, Picture, ShownLayers, TaskPicture};
use desk::Desk;
pub(crate) use desk::free_after_fork;
use threads::ThreadsReport;

/// The formats of `host_report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
    /// For a browser.
    Html,
}

/// What a report needs beside the registry.
pub trait Surroundings {
    /// Room for numbers.
    type Room: AsMut<[u32]>;
    /// Room for `count` numbers, all of them 0; without it (None) the report takes longer.
    fn room(&self, count: usize) -> Option<Self::Room>;
    /// The process id, in the process's own namespace.
    fn process_id(&self) -> u32;
    /// Its id in the reader's namespace, if that is another one.
    fn outer_process_id(&self) -> Option<u32> {
        None
    }
    /// The present instant of its monotonic clock in nanoseconds, if it is known.
    fn now(&self) -> Option<u64>;
    /// The operating system's name of a thread; empty if it is not known.
    fn thread_name(&mut self, thread_id: u32) -> NameCopy;
    /// Writes a verdict beyond the one on `sections` sections, among which `found` deadlocks stand; returns false if
    /// there is none.
    fn write_verdict(
        &mut self,
        _out: &mut dyn Write,
        _sections: u32,
        _found: u32,
    ) -> core::result::Result<bool, fmt::Error> {
        Ok(false)
    }
    /// Writes what is known of all threads: the last part of a report.
    fn write_threads(&mut self, _format: Format, _out: &mut dyn Write) -> fmt::Result {
        Ok(())
    }
    /// Writes what a thread waits for that is not the library's, as the next link of a chain. The thread that owns it.
    fn write_link(
        &mut self,
        _out: &mut dyn Write,
        _thread_id: u32,
    ) -> core::result::Result<Option<u32>, fmt::Error> {
        Ok(None)
    }
    /// Writes the native function that a thread's newest call of native code is of, as far as its stack is known; returns false
    /// if that does not say.
    fn write_called(
        &mut self,
        _out: &mut dyn Write,
        _thread_id: u32,
    ) -> core::result::Result<bool, fmt::Error> {
        Ok(false)
    }
    /// Whether a thread was found in a cycle through what is not the library's, when all were looked at.
    fn is_in_other_cycle(&self, _thread_id: u32) -> bool {
        false
    }
    /// Whether a thread of such a cycle waits for the section or resource.
    fn is_awaited_in_other_cycle(&self, _lock: u64) -> bool {
        false
    }
    /// Whether a thread is in a cycle of unlimited waits that leads through something that is not the library's, and that
    /// stands: whether that is certain.
    fn other_cycle(&mut self, _thread_id: u32) -> Option<bool> {
        None
    }
    /// Writes library, function and offset of a code address; if they are not known, the address itself, and returns
    /// false.
    fn write_address(&mut self, out: &mut dyn Write, address: u64) -> core::result::Result<bool, fmt::Error>;
    /// Writes file and line of a call site that has a place, ` (file:line)`, if they are known.
    fn write_line(&mut self, _out: &mut dyn Write, _site: u64) -> fmt::Result {
        Ok(())
    }
    /// Writes an address, and the variable at it if that is known.
    fn write_variable(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        write!(out, "0x{address:x}")
    }
}

/// The memory that the formats need, beside the index.
struct Scratch {
    layers: ShownLayers,
    deadlock: DeadlockCopy,
}

impl Scratch {
    const fn new() -> Self {
        Scratch { layers: ShownLayers::new(), deadlock: DeadlockCopy::new() }
    }
}

/// Writes a picture in one of the formats. Returns whether it has a deadlock that stands.
pub fn render<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    format: Format,
    out: &mut dyn Write,
) -> core::result::Result<bool, fmt::Error> {
    render_in(&mut Scratch::new(), picture, surroundings, format, out)
}

fn render_in<M: Memory, S: Surroundings>(
    scratch: &mut Scratch,
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    format: Format,
    out: &mut dyn Write,
) -> core::result::Result<bool, fmt::Error> {
    let mut room = surroundings.room(Index::size(picture));
    let mut index = match &mut room {
        Some(room) => Index::new(picture, room.as_mut()),
        None => Index::none(),
    };
    match format {
        Format::Text => {
            index.list_owned(picture);
            text::write(picture, &index, scratch, surroundings, out)?
        }
        Format::Json => json::write(picture, &index, scratch, surroundings, out)?,
        Format::Dot => dot::write(picture, &index, scratch, surroundings, out)?,
        Format::Html => {
            index.list_owned(picture);
            html::write(&mut PageParts { picture, index: &index, scratch, surroundings }, out)?
        }
    }
    Ok(picture.standing(&index).next().is_some())
}

/// The parts of a page on one picture.
struct PageParts<'a, M, S> {
    picture: &'a Picture<'a, M>,
    index: &'a Index<'a>,
    scratch: &'a mut Scratch,
    surroundings: &'a mut S,
}

impl<M: Memory, S: Surroundings> html::Parts for PageParts<'_, M, S> {
    fn verdict(&mut self, out: &mut dyn Write) -> fmt::Result {
        text::write_verdict(self.picture, self.index, self.surroundings, out)
    }

    fn text(&mut self, out: &mut dyn Write) -> fmt::Result {
        text::write(self.picture, self.index, self.scratch, self.surroundings, out)
    }

    fn json(&mut self, out: &mut dyn Write) -> fmt::Result {
        json::write(self.picture, self.index, self.scratch, self.surroundings, out)
    }
}

/// Writes the verdict of a picture alone.
pub fn render_verdict<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut room = surroundings.room(Index::size(picture));
    let index = match &mut room {
        Some(room) => Index::new(picture, room.as_mut()),
        None => Index::none(),
    };
    text::write_verdict(picture, &index, surroundings, out)
}

/// Writes a report on this process to a descriptor, however long that takes.
pub(crate) fn write(descriptor: c_int, format: Format) -> Result<()> {
    preserving_errno(|| {
        if !sys::is_writable(descriptor) {
            return Err(Error::InvalidArgument);
        }
        write_into(Sink::Descriptor(descriptor), format)
    })
}

/// Hands a report on this process to a function of the program's, piece by piece.
pub(crate) fn hand_over(writer: &mut dyn FnMut(&[u8]), format: Format) -> Result<()> {
    preserving_errno(|| write_into(Sink::Program(writer), format))
}

fn write_into(sink: Sink<'_>, format: Format) -> Result<()> {
    sys::settle_fork();
    let mut desk = desk::take_patiently().ok_or(Error::OutOfMemory)?;
    let Desk { resolver, room, scratch, buffer, .. } = &mut *desk;
    write_to(sink, buffer, Observer::new(resolver, room), scratch, format).map_err(|_| Error::InvalidArgument)
}

fn write_to(
    sink: Sink<'_>,
    buffer: &mut TextBuffer<OUTPUT_BYTES>,
    mut observer: Observer<'_>,
    scratch: &mut Scratch,
    format: Format,
) -> fmt::Result {
    let mut out = Output { sink, buffer };
    let threads = Threads::look(&Picture::here(), &mut observer);
    let mut surroundings = ThisProcess { observer, threads };
    render_in(scratch, &Picture::here(), &mut surroundings, format, &mut out)?;
    out.flush()
}

/// Writes a report as a message, behind a heading. A message that is dropped is counted.
fn write_message(kind: Kind, heading: &[u8], patience: Patience<'_>) {
    let Some(mut desk) = desk::take() else { return messages::drop_one() };
    let Desk { resolver, room, scratch, buffer, path, .. } = &mut *desk;
    // The buffer is empty, and larger than any heading.
    let _ = buffer.push(heading);
    let message = Message::begin(kind, path, patience);
    let observer = Observer::new(resolver, room);
    let _ = write_to(Sink::Message(message), buffer, observer, scratch, Format::Text);
}

/// Writes a report because a deadlock stands, on the thread of a task that waits in it. It may wait for a slow reader
/// for a second, while the task would be asleep anyway; when the task is woken, the rest of the report is dropped.
pub(crate) fn write_deadlock(me: TaskRef) {
    const PATIENCE: u64 = 1_000_000_000;
    let until = sys::now().saturating_add(PATIENCE);
    write_message(Kind::Deadlock, b"", &mut || sys::now() < until && me.wait.doze());
}

/// Writes a report because a deadlock stands through locks of managed code, on a thread that is not part of it.
pub(crate) fn write_managed_deadlock() {
    write_patiently(Kind::Deadlock, b"");
}

/// Has `look` look at threads of this process. None if there is no memory for that just now.
pub(crate) fn with_observer<T>(look: impl FnOnce(&mut Observer<'_>) -> T) -> Option<T> {
    let mut desk = desk::take()?;
    let Desk { resolver, room, .. } = &mut *desk;
    Some(look(&mut Observer::new(resolver, room)))
}

// ---- at exit ----------------------------------------------------------------------------------------------

/// Arranges for a report at process exit, to the place that HOSTCRST_REPORT names. False if the value is invalid.
pub(crate) fn set_place(value: &[u8]) -> bool {
    let wanted = messages::set_place(value);
    if wanted {
        WANTED.store(1, Ordering::Relaxed);
        sys::on_process_exit(at_exit);
    }
    wanted
}

/// 1 while a report at exit is still to be written.
static WANTED: AtomicU32 = AtomicU32::new(0);

/// Writes the report of HOSTCRST_REPORT, once in a process. It may wait for a slow reader for a few seconds.
pub(crate) extern "C" fn at_exit() {
    if WANTED.swap(0, Ordering::Relaxed) != 0 {
        preserving_errno(|| write_patiently(Kind::Exit, b""));
    }
}

/// Whether a report at exit is still to be written.
pub(crate) fn is_awaited_at_exit() -> bool {
    WANTED.load(Ordering::Relaxed) != 0
}

/// A report was just written to stderr, and the process ends: there is none at exit in the same place.
pub(crate) fn spare_exit_on_stderr() {
    if messages::go_to_stderr() {
        WANTED.store(0, Ordering::Relaxed);
    }
}

/// Writes a report behind a heading. It may wait for a slow reader for a few seconds.
pub(crate) fn write_patiently(kind: Kind, heading: &[u8]) {
    const PATIENCE: u64 = 5_000_000_000;
    const NAP: u64 = 1_000_000;
    let until = sys::now().saturating_add(PATIENCE);
    write_message(kind, heading, &mut || {
        sys::nap(NAP);
        sys::now() < until
    });
}

// ---- this process -----------------------------------------------------------------------------------------

/// Where a report goes.
enum Sink<'a> {
    /// A descriptor; the writer blocks.
    Descriptor(c_int),
    Program(&'a mut dyn FnMut(&[u8])),
    Message(Message<'a>),
}

/// A sink behind a buffer. After the sink has failed, so does every write.
struct Output<'a, 'b> {
    sink: Sink<'a>,
    buffer: &'b mut TextBuffer<OUTPUT_BYTES>,
}

/// PIPE_BUF: what a pipe takes as a whole or not at all.
const OUTPUT_BYTES: usize = 4096;

impl Output<'_, '_> {
    fn flush(&mut self) -> fmt::Result {
        let bytes = self.buffer.bytes();
        let written = match &mut self.sink {
            Sink::Descriptor(descriptor) => sys::write_all(*descriptor, bytes),
            Sink::Program(writer) => {
                writer(bytes);
                true
            }
            Sink::Message(message) => message.write(bytes),
        };
        self.buffer.clear();
        if written { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Write for Output<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.buffer.push(text.as_bytes()).is_ok() {
            return Ok(());
        }
        for part in text.as_bytes().chunks(OUTPUT_BYTES) {
            if self.buffer.push(part).is_err() {
                self.flush()?;
                self.buffer.push(part)?;
            }
        }
        Ok(())
    }
}

/// This process, asked through the operating system.
struct ThisProcess<'a> {
    observer: Observer<'a>,
    /// All threads, if they were looked at.
    threads: Option<Threads>,
}

impl<'a> ThisProcess<'a> {
    /// Of which the threads are not looked at.
    fn new(resolver: &'a mut Resolver, room: &'a mut Room) -> Self {
        ThisProcess { observer: Observer::new(resolver, room), threads: None }
    }
}

impl Surroundings for ThisProcess<'_> {
    type Room = Pages;

    fn room(&self, count: usize) -> Option<Pages> {
        Pages::new(count)
    }

    fn process_id(&self) -> u32 {
        sys::process_id()
    }

    fn now(&self) -> Option<u64> {
        Some(sys::now())
    }

    fn thread_name(&mut self, thread_id: u32) -> NameCopy {
        let seen = self.threads.as_ref().and_then(|threads| threads.of_thread(thread_id));
        seen.map_or_else(|| names::thread_name(thread_id), |seen| seen.name)
    }

    fn write_address(&mut self, out: &mut dyn Write, address: u64) -> core::result::Result<bool, fmt::Error> {
        let symbol = self.observer.resolver.resolve(&Mapped, address);
        match &symbol {
            Some(symbol) => write_symbol(out, symbol)?,
            None => write!(out, "0x{address:x}")?,
        }
        Ok(symbol.is_some())
    }

    fn write_variable(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        write_variable(self.observer.resolver, out, address)
    }

    fn write_verdict(
        &mut self,
        out: &mut dyn Write,
        sections: u32,
        found: u32,
    ) -> core::result::Result<bool, fmt::Error> {
        threads::write_verdict(self.threads.as_ref(), sections, found, out).map(|()| true)
    }

    fn write_link(
        &mut self,
        out: &mut dyn Write,
        thread_id: u32,
    ) -> core::result::Result<Option<u32>, fmt::Error> {
        threads::write_link(&mut self.observer, thread_id, out)
    }

    fn is_in_other_cycle(&self, thread_id: u32) -> bool {
        let threads = self.threads.as_ref();
        threads.and_then(|threads| threads.of_thread(thread_id)).is_some_and(|seen| seen.cycle != 0)
    }

    fn is_awaited_in_other_cycle(&self, lock: u64) -> bool {
        let Some(threads) = self.threads.as_ref().filter(|threads| threads.have_cycles) else { return false };
        let awaits = |task| Picture::here().task(task).and_then(|task| task.wait).map(|wait| wait.awaited);
        threads.seen().iter().any(|seen| seen.cycle != 0 && awaits(seen.who.task) == Some(lock))
    }

    fn other_cycle(&mut self, thread_id: u32) -> Option<bool> {
        let picture = Picture::here();
        let start = Who::of_thread(&picture, thread_id);
        let cycle = chain::cycle(&picture, &mut self.observer, start);
        cycle.filter(|cycle| cycle.is_foreign).map(|cycle| cycle.is_certain)
    }

    fn write_threads(&mut self, format: Format, out: &mut dyn Write) -> fmt::Result {
        let Some(threads) = &self.threads else { return Ok(()) };
        let mut report = ThreadsReport { threads, resolver: self.observer.resolver };
        match format {
            Format::Text => report.text(out),
            Format::Json => report.json(&mut json::Json::behind_members(out)),
            Format::Dot => report.dot(out),
            // A page is made of the others.
            Format::Html => Ok(()),
        }
    }
}

fn write_variable(resolver: &mut Resolver, out: &mut dyn Write, address: u64) -> fmt::Result {
    write!(out, "0x{address:x}")?;
    match resolver.resolve_data(&Mapped, address) {
        Some(symbol) => {
            out.write_str(" ")?;
            write_symbol(out, &symbol)
        }
        None => Ok(()),
    }
}

/// Numbers in pages of their own, not from the program's allocator.
struct Pages {
    start: *mut u32,
    count: usize,
}

impl Pages {
    fn new(count: usize) -> Option<Self> {
        let bytes = count * size_of::<u32>();
        let start = if bytes == 0 { None } else { sys::borrow_pages(bytes) };
        start.map(|start| Pages { start: start.cast(), count })
    }
}

impl AsMut<[u32]> for Pages {
    fn as_mut(&mut self) -> &mut [u32] {
        // SAFETY: new pages, which are zeroed, of at least this size, and nobody else's.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.count) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the pages that new got; the numbers in them are borrowed from this.
        unsafe { sys::return_pages(self.start.cast(), self.count * size_of::<u32>()) };
    }
}

fn write_symbol(out: &mut dyn Write, symbol: &Symbol) -> fmt::Result {
    write!(out, "{}", Printable(symbol.library()))?;
    if let Some(name) = symbol.name() {
        write!(out, "!{}", Printable(name))?;
    }
    write!(out, "+0x{:x}", symbol.offset())
}

/// Writes a stall line: one line, one write.
pub(crate) fn write_stall(task: TaskRef) {
    let Some(mut desk) = desk::take() else { return messages::drop_one() };
    let Desk { resolver, room, path, line, .. } = &mut *desk;
    line.clear();
    // A line that does not fit is cut.
    let _ = text::write_stall(&Picture::here(), &mut ThisProcess::new(resolver, room), task.id(), line);
    line.end_line();
    Message::begin(Kind::Stall, path, &mut || false).write(line.bytes());
}

/// Writes to stderr that a thread waits for a lock of managed code whose owner has ended: one line, one write.
pub(crate) fn write_wait_for_orphaned(thread: u32, thing: &foreign_locks::glibc::Thing) {
    let Some(mut desk) = desk::take() else { return messages::drop_one() };
    let Desk { resolver, path, line, .. } = &mut *desk;
    line.clear();
    // A line that does not fit is cut.
    let _ = threads::write_wait_for_orphaned(resolver, thread, thing, line);
    line.end_line();
    Message::begin(Kind::Stall, path, &mut || false).write(line.bytes());
}

/// Writes to stderr what a thread has done with what stands at `address`: one line, one write. `site` is the call site,
/// 0 if unknown.
pub(crate) fn write_misuse(misuse: Misuse, address: usize, thread_id: u32, site: usize) {
    let Some(mut desk) = desk::take() else { return messages::drop_one() };
    let Desk { resolver, room, line, .. } = &mut *desk;
    line.clear();
    let mut surroundings = ThisProcess::new(resolver, room);
    // A line that does not fit is cut.
    let _ = text::write_misuse(&mut surroundings, misuse, address as u64, thread_id, site as u64, line);
    line.end_line();
    messages::complain_line(line.bytes());
}

/// Writes alarm number `number` of orders that could deadlock.
pub(crate) fn write_alarm(number: u32) {
    let Some(mut desk) = desk::take() else { return messages::drop_one() };
    let Desk { resolver, room, path, buffer, .. } = &mut *desk;
    let mut no_patience = || false;
    let message = Message::begin(Kind::Order, path, &mut no_patience);
    let mut out = Output { sink: Sink::Message(message), buffer };
    let written =
        text::write_alarm(&Picture::here(), &mut ThisProcess::new(resolver, room), number, &mut out);
    // A message that is dropped is counted.
    let _ = written.and_then(|()| out.flush());
}

// ---- what the formats share -------------------------------------------------------------------------------

/// A picture with its surroundings: the names of what is in it.
struct Namer<'a, M, S> {
    picture: &'a Picture<'a, M>,
    surroundings: &'a mut S,
}

impl<M: Memory, S: Surroundings> Namer<'_, M, S> {
    fn task(&mut self, task: &TaskPicture) -> NameCopy {
        if task.name.is_empty() { self.surroundings.thread_name(task.thread_id) } else { task.name }
    }

    /// Writes the target of a layer: the name that was stored for it, or the symbol at its address. `newest_of` is the thread
    /// whose newest layer it is.
    fn write_target(&mut self, layer: Layer, newest_of: Option<u32>, out: &mut dyn Write) -> fmt::Result {
        if let Some(name) = self.picture.target_name(layer) {
            return write!(out, "{}", Printable(name.bytes()));
        }
        match (layer.origin, layer.target) {
            (Origin::Address, 0) if layer.kind == LayerKind::ReverseEnter => Ok(()),
            (Origin::Address, 0) => out.write_str("?"),
            (Origin::Address, address) => {
                let is_known = self.surroundings.write_address(out, address)?;
                if is_known { write!(out, " (0x{address:x})") } else { Ok(()) }
            }
            (Origin::ClrFunction, 0) => {
                let is_known = match newest_of {
                    Some(thread) => self.surroundings.write_called(out, thread)?,
                    None => false,
                };
                out.write_str(if is_known {
                    " (through a function pointer)"
                } else {
                    "through a function pointer"
                })
            }
            (Origin::ClrFunction, id) => write!(out, "function id 0x{id:x}"),
        }
    }

    /// Writes a call site: the place that it has, or the symbol at its address.
    fn write_site(&mut self, out: &mut dyn Write, site: u64) -> fmt::Result {
        match self.picture.place(site) {
            Some(place) => {
                write!(out, "{}", Printable(place.bytes()))?;
                self.surroundings.write_line(out, site)
            }
            None => self.surroundings.write_address(out, site).map(|_| ()),
        }
    }

    /// How long ago `since` is, in nanoseconds.
    fn age(&self, since: u64) -> Option<u64> {
        self.surroundings.now().map(|now| now.saturating_sub(since))
    }
}
