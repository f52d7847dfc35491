//! What a reader is shown: every task with its layers, what it owns and waits for, every section of interest.
//!
//! Nothing is allocated and no lock is taken that a stuck program may hold. Each task and section is shown as it was
//! at one moment; the moments of two of them may differ while the program runs on.

use core::ffi::{CStr, c_int};
use core::fmt::{self, Write};

use crate::crst::{self, Info, Section};
use crate::error::{Error, Result};
use crate::handle;
use crate::layers::{Layer, LayerKind, Mode, Origin};
use crate::name::NameCopy;
use crate::registry::REGISTRY;
use crate::settings;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::symbols::{Resolver, Symbol};
use crate::sys::{self, preserving_errno};
use crate::task::{self, Anomaly, TaskRef};

/// The formats of `host_report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Dot,
}

/// Writes a report to a descriptor.
pub(crate) fn write(descriptor: c_int, format: Format) -> Result<()> {
    preserving_errno(|| {
        if !sys::is_writable(descriptor) {
            return Err(Error::InvalidArgument);
        }
        match format {
            Format::Text => write_text(descriptor),
            Format::Json | Format::Dot => Err(Error::NotImplemented),
        }
    })
}

// ---- at exit ----------------------------------------------------------------------------------------------

/// Reads the environment and, if it asks for that, arranges for a report at exit. Once.
pub(crate) fn read_settings() {
    if settings::read_once() && sys::environment(settings::REPORT).is_some() {
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
            let _ = write_text(sys::STDERR);
        } else if let Some(descriptor) = create_report_file(place.to_bytes()) {
            let _ = write_text(descriptor);
            sys::close_file(descriptor);
        } else {
            settings::complain(&[b"HOSTCRST_REPORT: cannot write ", place.to_bytes()]);
        }
    });
}

/// Creates the file at `pattern`, with `%p` replaced by the process id.
fn create_report_file(pattern: &[u8]) -> Option<c_int> {
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
    sys::create_file(CStr::from_bytes_with_nul(path.bytes()).ok()?)
}

// ---- writing without allocating ---------------------------------------------------------------------------

/// A short text under construction.
struct Text<const BYTES: usize> {
    length: usize,
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Text<BYTES> {
    fn new() -> Self {
        Text { length: 0, bytes: [0; BYTES] }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + bytes.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(bytes);
        self.length += bytes.len();
        Ok(())
    }
}

impl<const BYTES: usize> Write for Text<BYTES> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes())
    }
}

/// A descriptor behind a buffer. Fails for good when the descriptor does.
struct Output {
    descriptor: c_int,
    buffer: Text<4096>,
}

impl Output {
    fn new(descriptor: c_int) -> Self {
        Output { descriptor, buffer: Text::new() }
    }

    fn flush(&mut self) -> fmt::Result {
        let written = sys::write_all(self.descriptor, self.buffer.bytes());
        self.buffer.length = 0;
        if written { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.as_bytes().chunks(self.buffer.bytes.len()) {
            if self.buffer.push(part).is_err() {
                self.flush()?;
                self.buffer.push(part)?;
            }
        }
        Ok(())
    }
}

/// Bytes that someone called UTF-8, with whatever could garble a line replaced.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                out.write_char(if character.is_control() || character == '"' { '?' } else { character })?;
            }
            if !chunk.invalid().is_empty() {
                out.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// Nanoseconds as seconds with three places.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0 / 1_000_000;
        write!(out, "{}.{:03}s", milliseconds / 1000, milliseconds % 1000)
    }
}

// ---- the text report --------------------------------------------------------------------------------------

/// Layers shown of one task; older ones are counted.
const LAYERS_SHOWN: usize = 64;

fn write_text(descriptor: c_int) -> Result<()> {
    let mut report = TextReport { out: Output::new(descriptor), resolver: Resolver::new() };
    let written = report.write().and_then(|()| report.out.flush());
    written.map_err(|_| Error::InvalidArgument)
}

struct TextReport {
    out: Output,
    resolver: Resolver,
}

/// What the heading counts.
#[derive(Default)]
struct Totals {
    tasks: u32,
    managed: u32,
    unmanaged: u32,
    waiting: u32,
    anomalies: u32,
    owned: u32,
    abandoned: u32,
}

impl Totals {
    fn count() -> Self {
        let mut totals = Totals::default();
        for task in task::all() {
            totals.tasks += 1;
            match task.layers.depth_and_mode().1 {
                Mode::Managed => totals.managed += 1,
                Mode::Unmanaged => totals.unmanaged += 1,
                Mode::Unknown => {}
            }
            totals.waiting += u32::from(task.wait.section() != 0);
            totals.anomalies += task.anomalies().iter().sum::<u32>();
        }
        for (_, info) in sections().filter_map(Section::snapshot) {
            match info.state {
                crst::State::Owned => totals.owned += 1,
                crst::State::Abandoned => totals.abandoned += 1,
                crst::State::Free => {}
            }
        }
        totals
    }
}

fn sections() -> impl Iterator<Item = &'static Section> {
    REGISTRY.sections.iter()
}

impl TextReport {
    fn write(&mut self) -> fmt::Result {
        self.heading()?;
        task::all().try_for_each(|task| self.task(task))?;
        self.section_table()?;
        self.win32_misuses()
    }

    fn heading(&mut self) -> fmt::Result {
        let totals = Totals::count();
        writeln!(
            self.out,
            "hostcrst {} report  pid {}  runtime {}",
            env!("CARGO_PKG_VERSION"),
            sys::process_id(),
            match REGISTRY.runtime.state() {
                crate::runtime::State::NotLoaded => "not loaded",
                crate::runtime::State::Running => "running",
                crate::runtime::State::Stopped => "stopped",
                crate::runtime::State::Failed => "failed",
            }
        )?;
        writeln!(
            self.out,
            "{} tasks ({} managed, {} unmanaged; {} waiting), {} sections ({} owned, {} abandoned), \
             {} transition anomalies",
            totals.tasks,
            totals.managed,
            totals.unmanaged,
            totals.waiting,
            REGISTRY.sections.live(),
            totals.owned,
            totals.abandoned,
            totals.anomalies,
        )
    }

    fn task(&mut self, task: TaskRef) -> fmt::Result {
        let id = task.id();
        let mut layers = [Layer { kind: LayerKind::Leave, origin: Origin::Address, target: 0 }; LAYERS_SHOWN];
        let skipped = task.depth().saturating_sub(LAYERS_SHOWN);
        let mut shown = 0;
        let depth = task.layers.snapshot(skipped, LAYERS_SHOWN, |index, layer| {
            layers[index] = layer;
            shown = index + 1;
        });
        shown = shown.min(depth.saturating_sub(skipped));
        let mode = task.layers.depth_and_mode().1;
        if id == 0 || task.id() != id {
            return Ok(());
        }

        self.out.write_str("\n")?;
        self.task_name(task)?;
        write!(self.out, " tid={0} (0x{0:x}) task=0x{1:x} [", task.thread_id(), handle::task_handle(id))?;
        self.out.write_str(match mode {
            Mode::Unknown => "no transitions yet",
            Mode::Managed => "managed",
            Mode::Unmanaged => "unmanaged",
        })?;
        let awaited = task.wait.section();
        if awaited != 0 {
            write!(self.out, ", waiting {}", Seconds(sys::now().saturating_sub(task.wait.since())))?;
        }
        self.out.write_str("]\n")?;
        if awaited != 0 {
            self.awaited_section(awaited)?;
        }
        self.owned_sections(task, id)?;
        self.layers(&layers[..shown], depth - shown)?;
        self.anomalies(task)
    }

    fn task_name(&mut self, task: TaskRef) -> fmt::Result {
        write!(self.out, "\"{}\"", Printable(task_name(task).bytes()))
    }

    fn awaited_section(&mut self, handle: u64) -> fmt::Result {
        let section = crst::slot_of(handle);
        self.out.write_str("   waiting to enter ")?;
        self.section_name(handle, section)?;
        match section.owner(handle) {
            Some(owner) if owner != 0 && owner != handle::ABANDONED => {
                let owner = task::of_owner(owner);
                self.out.write_str(", owned by ")?;
                self.task_name(owner)?;
                writeln!(self.out, " tid={}", owner.thread_id())
            }
            _ => match section.orphaned_by(handle) {
                Some(thread) => writeln!(self.out, ", locked for ever: its owner tid={thread} has ended"),
                None => self.out.write_str(", which is free now\n"),
            },
        }
    }

    fn section_name(&mut self, handle: u64, section: &Section) -> fmt::Result {
        write!(self.out, "0x{handle:x}")?;
        if section.mirror() != 0 {
            return self.critical_section(section);
        }
        match section.name() {
            Some(name) => write!(self.out, " \"{}\"", Printable(name.bytes())),
            None => Ok(()),
        }
    }

    /// Such a section's name is its address, and its variable's name where that is known.
    fn critical_section(&mut self, section: &Section) -> fmt::Result {
        let address = section.mirror() as u64;
        self.out.write_str(" CRITICAL_SECTION ")?;
        let variable = self.resolver.resolve_data(address);
        self.symbol(address, variable)
    }

    fn owned_sections(&mut self, task: TaskRef, id: u64) -> fmt::Result {
        let owned = sections()
            .filter_map(|section| section.snapshot().map(|(handle, info)| (section, handle, info)))
            .filter(|(_, _, info)| info.owner == id)
            .take(task.owned() as usize);
        for (section, handle, info) in owned {
            self.out.write_str("   owns ")?;
            self.section_name(handle, section)?;
            writeln!(self.out, " recursion={}", info.recursion)?;
        }
        Ok(())
    }

    fn layers(&mut self, layers: &[Layer], older: usize) -> fmt::Result {
        if layers.is_empty() {
            return Ok(());
        }
        self.out.write_str("   layers, newest first:\n")?;
        for (index, layer) in layers.iter().enumerate().rev() {
            write!(self.out, "     [{}] ", older + index)?;
            self.out.write_str(match layer.kind {
                LayerKind::Leave => "native   ",
                LayerKind::ReverseEnter => "managed  ",
            })?;
            self.target(*layer)?;
            self.out.write_str("\n")?;
        }
        match (older, layers[0].kind) {
            (0, LayerKind::Leave) => self.out.write_str("     [-] managed  (the thread began here)\n"),
            (0, LayerKind::ReverseEnter) => self.out.write_str("     [-] native   (the thread began here)\n"),
            _ => writeln!(self.out, "     ... and {older} older layers"),
        }
    }

    fn target(&mut self, layer: Layer) -> fmt::Result {
        let mut result = Ok(());
        let out = &mut self.out;
        let named = REGISTRY.targets.with_name(layer.origin, layer.target, |name| {
            result = write!(out, "{}", Printable(name));
        });
        if named {
            return result;
        }
        match layer.origin {
            Origin::Address if layer.target == 0 => {
                if layer.kind == LayerKind::Leave {
                    out.write_str("?")
                } else {
                    Ok(())
                }
            }
            Origin::Address => self.address(layer.target),
            Origin::ClrFunction => write!(out, "function id 0x{:x}", layer.target),
        }
    }

    fn address(&mut self, address: u64) -> fmt::Result {
        let symbol = self.resolver.resolve(address);
        self.symbol(address, symbol)
    }

    fn symbol(&mut self, address: u64, symbol: Option<Symbol>) -> fmt::Result {
        let Some(symbol) = symbol else {
            return write!(self.out, "0x{address:x}");
        };
        write!(self.out, "{}", Printable(symbol.library()))?;
        if let Some(name) = symbol.name() {
            write!(self.out, "!{}", Printable(name))?;
        }
        write!(self.out, "+0x{:x} (0x{address:x})", symbol.offset())
    }

    fn anomalies(&mut self, task: TaskRef) -> fmt::Result {
        const NAMES: [(Anomaly, &str); task::ANOMALIES] = [
            (Anomaly::UnmatchedPop, "returns without a call"),
            (Anomaly::RepeatedPush, "calls told twice"),
            (Anomaly::UnknownFunction, "unknown functions"),
            (Anomaly::MissedPop, "calls whose return was missed"),
        ];
        let counts = task.anomalies();
        for (kind, text) in NAMES {
            if counts[kind as usize] != 0 {
                writeln!(self.out, "   anomalies: {} {text}", counts[kind as usize])?;
            }
        }
        Ok(())
    }

    fn section_table(&mut self) -> fmt::Result {
        let mut headed = false;
        for section in sections() {
            let Some((handle, info)) = section.snapshot() else { continue };
            if info.state == crst::State::Free && info.contended == 0 && info.waiters == 0 {
                continue;
            }
            if !headed {
                headed = true;
                self.out.write_str(
                    "\nSECTION             state      owner  recursion  waiters  contended  name\n",
                )?;
            }
            self.section_row(handle, section, info)?;
        }
        if headed { Ok(()) } else { self.out.write_str("\nno section is owned or was contended\n") }
    }

    fn section_row(&mut self, handle: u64, section: &Section, info: Info) -> fmt::Result {
        let state = match info.state {
            crst::State::Free => "free",
            crst::State::Owned => "owned",
            crst::State::Abandoned => "abandoned",
        };
        write!(self.out, "0x{handle:<16x}  {state:<9}")?;
        match (info.owner, section.orphaned_by(handle)) {
            (0, None) => write!(self.out, " {:>6}", "-")?,
            (0, Some(ended)) => write!(self.out, " {ended:>6}")?,
            (owner, _) => write!(self.out, " {:>6}", task::of_owner(owner).thread_id())?,
        }
        write!(self.out, "  {:>9}  {:>7}  {:>9}", info.recursion, info.waiters, info.contended)?;
        match section.name() {
            _ if section.mirror() != 0 => {
                self.out.write_str(" ")?;
                self.critical_section(section)?;
            }
            Some(name) => write!(self.out, "  \"{}\"", Printable(name.bytes()))?,
            None => {}
        }
        self.out.write_str("\n")
    }

    fn win32_misuses(&mut self) -> fmt::Result {
        for (index, (count, text)) in REGISTRY.win32.seen().enumerate() {
            if index == 0 {
                self.out.write_str("\nWIN32 MISUSES\n")?;
            }
            writeln!(self.out, "   {count} {text}")?;
        }
        Ok(())
    }
}

/// The task's name: the one that was set, otherwise its thread's present one.
fn task_name(task: TaskRef) -> NameCopy {
    let name = task.name();
    if !name.is_empty() {
        return name;
    }
    let mut path = Text::<64>::new();
    let mut comm = [0; 64];
    let length = match write!(path, "/proc/self/task/{}/comm\0", task.thread_id()) {
        Ok(()) => CStr::from_bytes_with_nul(path.bytes()).map_or(0, |path| sys::read_file(path, &mut comm)),
        Err(_) => 0,
    };
    NameCopy::new(comm[..length].trim_ascii_end())
}
