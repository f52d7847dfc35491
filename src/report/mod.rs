//! What a reader is shown: every task with its layers, what it owns and waits for, every section of interest, every
//! deadlock. One source (`picture`), several renderings.
//!
//! Nothing is allocated and no lock is taken that a stuck program may hold. Each task and section is shown as it was
//! at one moment; the moments of two of them may differ while the program runs on.

pub mod dot;
pub mod json;
pub mod picture;
pub mod text;

use core::ffi::{CStr, c_int};
use core::fmt::{self, Write};

use crate::error::{Error, Result};
use crate::layers::{Layer, LayerKind, Origin};
use crate::memory::Memory;
use crate::name::NameCopy;
use crate::settings;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::symbols::{Resolver, Symbol};
use crate::sys::{self, preserving_errno};
use crate::task::TaskRef;
use crate::text::{Printable, Text};
use picture::{Picture, TaskPicture};

/// The formats of `host_report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
}

/// What a report needs to know beyond the registry.
pub trait Surroundings {
    /// The process shown.
    fn process_id(&self) -> u32;
    /// The present instant of its monotonic clock in nanoseconds; None if that is not known.
    fn now(&self) -> Option<u64>;
    /// The name that the operating system has for a thread; empty if it is not known.
    fn thread_name(&mut self, thread_id: u32) -> NameCopy;
    /// Writes what stands at a code address, a library, a function, an offset; false where that is not known, and the
    /// address itself was written.
    fn write_address(&mut self, out: &mut dyn Write, address: u64) -> core::result::Result<bool, fmt::Error>;
    /// Writes which variable stands at an address, after the address itself.
    fn write_variable(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        write!(out, "0x{address:x}")
    }
}

/// Writes a picture in one of the formats. Whether a deadlock stands in it.
pub fn render<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    surroundings: &mut S,
    format: Format,
    out: &mut dyn Write,
) -> core::result::Result<bool, fmt::Error> {
    let deadlocked = picture.deadlocked();
    match format {
        Format::Text => text::write(picture, &deadlocked, surroundings, out)?,
        Format::Json => json::write(picture, &deadlocked, surroundings, out)?,
        Format::Dot => dot::write(picture, &deadlocked, surroundings, out)?,
    }
    Ok(picture.standing(&deadlocked).next().is_some())
}

/// Writes a report on this process to a descriptor.
pub(crate) fn write(descriptor: c_int, format: Format) -> Result<()> {
    preserving_errno(|| {
        if !sys::is_writable(descriptor) {
            return Err(Error::InvalidArgument);
        }
        let mut out = Output::new(descriptor);
        let mut surroundings = ThisProcess { resolver: Resolver::new() };
        render(&Picture::here(), &mut surroundings, format, &mut out)
            .and_then(|_| out.flush())
            .map_err(|_| Error::InvalidArgument)
    })
}

// ---- at exit ----------------------------------------------------------------------------------------------

/// Arranges for the report at exit that the environment asks for.
pub(crate) fn read_settings() {
    if sys::environment(settings::REPORT).is_some() {
        sys::on_process_exit(at_exit);
    }
}

/// Writes the report that HOSTCRST_REPORT asks for, once in a process.
pub(crate) extern "C" fn at_exit() {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    let Some(place) = sys::environment(settings::REPORT) else { return };
    if WRITTEN.swap(1, Ordering::Relaxed) != 0 {
        return;
    }
    preserving_errno(|| {
        if place == c"stderr" {
            let _ = write(sys::STDERR, Format::Text);
        } else if let Some(file) = create_report_file(place.to_bytes()) {
            let _ = write(file.descriptor(), Format::Text);
        } else {
            settings::complain(&[b"HOSTCRST_REPORT: cannot write ", place.to_bytes()]);
        }
    });
}

/// Creates the file at `pattern`, with `%p` replaced by the process id.
fn create_report_file(pattern: &[u8]) -> Option<sys::File> {
    const PATH_BYTES: usize = 4096;
    let mut path = Text::<PATH_BYTES>::new();
    let mut rest = pattern;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match tail.strip_prefix(b"p") {
            Some(after) if byte == b'%' => {
                write!(path, "{}", sys::process_id()).ok()?;
                after
            }
            _ => {
                path.push(&[byte]).ok()?;
                tail
            }
        };
    }
    path.push(&[0]).ok()?;
    sys::File::create(CStr::from_bytes_with_nul(path.bytes()).ok()?)
}

// ---- this process -----------------------------------------------------------------------------------------

/// A descriptor behind a buffer. Fails for good when the descriptor does.
struct Output {
    descriptor: c_int,
    buffer: Text<OUTPUT_BYTES>,
}

const OUTPUT_BYTES: usize = 4096;

impl Output {
    fn new(descriptor: c_int) -> Self {
        Output { descriptor, buffer: Text::new() }
    }

    fn flush(&mut self) -> fmt::Result {
        let written = sys::write_all(self.descriptor, self.buffer.bytes());
        self.buffer.clear();
        if written { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.as_bytes().chunks(OUTPUT_BYTES) {
            if self.buffer.push(part).is_err() {
                self.flush()?;
                self.buffer.push(part)?;
            }
        }
        Ok(())
    }
}

/// What the operating system tells about the process that this code runs in.
struct ThisProcess {
    resolver: Resolver,
}

impl Surroundings for ThisProcess {
    fn process_id(&self) -> u32 {
        sys::process_id()
    }

    fn now(&self) -> Option<u64> {
        Some(sys::now())
    }

    fn thread_name(&mut self, thread_id: u32) -> NameCopy {
        thread_name(thread_id)
    }

    fn write_address(&mut self, out: &mut dyn Write, address: u64) -> core::result::Result<bool, fmt::Error> {
        let symbol = self.resolver.resolve(address);
        match &symbol {
            Some(symbol) => write_symbol(out, symbol)?,
            None => write!(out, "0x{address:x}")?,
        }
        Ok(symbol.is_some())
    }

    fn write_variable(&mut self, out: &mut dyn Write, address: u64) -> fmt::Result {
        write!(out, "0x{address:x}")?;
        match self.resolver.resolve_data(address) {
            Some(symbol) => {
                out.write_str(" ")?;
                write_symbol(out, &symbol)
            }
            None => Ok(()),
        }
    }
}

fn write_symbol(out: &mut dyn Write, symbol: &Symbol) -> fmt::Result {
    write!(out, "{}", Printable(symbol.library()))?;
    if let Some(name) = symbol.name() {
        write!(out, "!{}", Printable(name))?;
    }
    write!(out, "+0x{:x}", symbol.offset())
}

fn thread_name(thread_id: u32) -> NameCopy {
    let mut path = Text::<64>::new();
    let mut name = [0; 64];
    let mut length = match write!(path, "/proc/self/task/{thread_id}/comm\0") {
        Ok(()) => CStr::from_bytes_with_nul(path.bytes()).map_or(0, |path| sys::read_file(path, &mut name)),
        Err(_) => 0,
    };
    if length == 0 {
        // The thread has ended since it was seen: its process gave it this name, unless it took another.
        length = sys::read_file(c"/proc/self/comm", &mut name);
    }
    NameCopy::new(name.get(..length).unwrap_or(&[]).trim_ascii_end())
}

/// The name of a task of this process: the one that was set, otherwise its thread's present one.
pub(crate) fn task_name(task: TaskRef) -> NameCopy {
    let name = task.name();
    if name.is_empty() { thread_name(task.thread_id()) } else { name }
}

/// Says on stderr that a task waits, for whom, and for whom that one waits in turn: one line, one write.
pub(crate) fn write_stall(task: TaskRef) {
    let mut line = Text::<1024>::new();
    let mut surroundings = ThisProcess { resolver: Resolver::new() };
    // A line that does not fit is cut.
    let _ = text::write_stall(&Picture::here(), &mut surroundings, task.id(), &mut line);
    line.end_line();
    sys::write_all(sys::STDERR, line.bytes());
}

// ---- what the renderings share ----------------------------------------------------------------------------

/// A picture with its surroundings: how things in it are called.
struct Namer<'a, M, S> {
    picture: &'a Picture<'a, M>,
    surroundings: &'a mut S,
}

impl<M: Memory, S: Surroundings> Namer<'_, M, S> {
    fn task(&mut self, task: &TaskPicture) -> NameCopy {
        if task.name.is_empty() { self.surroundings.thread_name(task.thread_id) } else { task.name }
    }

    /// Writes where a layer leads to: the name that was told, or what stands at the address.
    fn write_target(&mut self, layer: Layer, out: &mut dyn Write) -> fmt::Result {
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
            (Origin::ClrFunction, id) => write!(out, "function id 0x{id:x}"),
        }
    }

    /// How long ago `since` is, in nanoseconds.
    fn age(&self, since: u64) -> Option<u64> {
        self.surroundings.now().map(|now| now.saturating_sub(since))
    }
}
