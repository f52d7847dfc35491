//! The library's own messages: complaints, stall lines, reports of deadlocks. Writes them without blocking the program;
//! does not know why something is said.
//!
//! **No message waits for a reader.** Most are written by a task on which others depend: it is in a queue, or was just
//! woken. So nothing here sleeps until a descriptor takes more (see `files::write_at_once`). A message without room is
//! dropped and counted; the next one that gets through says how many were, and so does every report. A message that was
//! written in part counts as well, and the next one begins on a new line. Only a task that is asleep in its queue
//! anyway, and notices when it is woken, may wait a little for room: see `Patience`.
//!
//! **Stderr must be the file that it was.** If a program closes descriptor 2, the next file that it opens gets this
//! number. So the file behind it is remembered when the library is loaded, and nothing is written to another one.

use core::ffi::CStr;
use core::fmt::Write;

use crate::state::registry::REGISTRY;
use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sys::{self, File, Way};
use crate::text::{Printable, TextBuffer};

/// What a message is about: the `%k` of a pattern for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exit,
    Deadlock,
    Stall,
    Order,
    Request,
}

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Kind::Exit => b"exit",
            Kind::Deadlock => b"deadlock",
            Kind::Stall => b"stall",
            Kind::Order => b"order",
            Kind::Request => b"request",
        }
    }
}

/// Called when there is no room: waits for a moment and returns whether to try again.
pub(crate) type Patience<'a> = &'a mut dyn FnMut() -> bool;

/// Remembers which file stderr is, the first time.
pub(crate) extern "C" fn remember_stderr() {
    let messages = &REGISTRY.messages;
    if messages.is_known.swap(1, Ordering::Relaxed) == 0
        && let Some((file, _)) = sys::identify(sys::STDERR)
    {
        messages.device.store(file.device, Ordering::Relaxed);
        messages.inode.store(file.inode, Ordering::Relaxed);
    }
}

/// Runs when the library is loaded, before the program can have closed anything.
#[cfg(all(feature = "capi", not(test)))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = remember_stderr;

// ---- where to ---------------------------------------------------------------------------------------------

/// HOSTCRST_REPORT as it was when the runtime was first started, zero-terminated: a pattern for paths. NULL if it is
/// not set, or "stderr".
static PATTERN: AtomicPtr<TextBuffer<PATH_BYTES>> = AtomicPtr::new(core::ptr::null_mut());
/// The longest pattern, and the longest path, with its zero.
pub(crate) const PATH_BYTES: usize = 4096;
/// The placeholder for the kind of a message in a pattern.
const KIND: &[u8] = b"%k";
/// The pattern for files in a folder.
const IN_FOLDER: &[u8] = b"/hostcrst.%p.%k";

/// Where messages are to go: "stderr", or a pattern for paths. False if it is none.
pub(crate) fn set_place(value: &[u8]) -> bool {
    value == b"stderr" || set_pattern(value)
}

fn set_pattern(value: &[u8]) -> bool {
    let Some(pages) = sys::allocate_pages(size_of::<TextBuffer<PATH_BYTES>>()) else { return false };
    let place = pages.cast::<TextBuffer<PATH_BYTES>>();
    // SAFETY: the new pages have room for it, zeros are an empty one, and nobody else knows them yet.
    let pattern = unsafe { &mut *place };
    if value.is_empty() || [value, &[0]].iter().any(|part| pattern.push(part).is_err()) {
        return false;
    }
    if CStr::from_bytes_with_nul(pattern.bytes()).is_ok_and(sys::is_folder) {
        pattern.clear();
        let folder = value.strip_suffix(b"/").unwrap_or(value);
        if [folder, IN_FOLDER, &[0]].iter().any(|part| pattern.push(part).is_err()) {
            return false;
        }
    }
    // Release pairs with the Acquire in pattern.
    PATTERN.store(place, Ordering::Release);
    true
}

fn pattern() -> Option<&'static [u8]> {
    let pattern = PATTERN.load(Ordering::Acquire);
    // SAFETY: set_pattern stored a text that is never changed again or unmapped.
    let text = (!pattern.is_null()).then(|| unsafe { &*pattern })?;
    text.bytes().strip_suffix(&[0])
}

/// Whether all messages go to stderr.
pub(crate) fn go_to_stderr() -> bool {
    pattern().is_none()
}

/// Writes the path of the file for messages of a kind, zero-terminated. None if they go to stderr.
fn write_path(kind: Kind, path: &mut TextBuffer<PATH_BYTES>) -> Option<&CStr> {
    let mut rest = pattern()?;
    if kind != Kind::Exit && !rest.windows(KIND.len()).any(|part| part == KIND) {
        return None;
    }
    path.clear();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail.split_first()) {
            (b'%', Some((b'p', after))) => {
                write!(path, "{}", sys::process_id()).ok()?;
                after
            }
            (b'%', Some((b'k', after))) => {
                path.push(kind.name()).ok()?;
                after
            }
            _ => {
                path.push(&[byte]).ok()?;
                tail
            }
        };
    }
    path.push(&[0]).ok()?;
    CStr::from_bytes_with_nul(path.bytes()).ok()
}

/// Where one message goes.
enum Place {
    Stderr(Way),
    File(File, Kind),
    Nowhere,
}

impl Place {
    fn of(kind: Kind, path: &mut TextBuffer<PATH_BYTES>) -> Place {
        let Some(path) = write_path(kind, path) else { return Place::stderr() };
        // The report at exit replaces an older file, other messages are appended.
        let file = if kind == Kind::Exit { File::create(path) } else { File::append(path) };
        match file {
            Some(file) => Place::File(file, kind),
            None => {
                complain_once(path.to_bytes());
                Place::instead_of_file(kind)
            }
        }
    }

    /// What needs no file of its own goes to stderr where that cannot be written.
    fn instead_of_file(kind: Kind) -> Place {
        if kind == Kind::Exit { Place::Nowhere } else { Place::stderr() }
    }

    fn stderr() -> Place {
        match sys::identify(sys::STDERR) {
            Some((file, way)) if file == REGISTRY.messages.stderr() => Place::Stderr(way),
            _ => Place::Nowhere,
        }
    }

    fn write_at_once(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Place::Stderr(way) => sys::write_at_once(sys::STDERR, *way, bytes),
            Place::File(file, _) => sys::write_at_once(file.descriptor(), Way::Plain, bytes),
            Place::Nowhere => None,
        }
    }
}

/// Complains that a file cannot be written: once, as every message tries again.
fn complain_once(path: &[u8]) {
    static SAID: AtomicU32 = AtomicU32::new(0);
    if SAID.swap(1, Ordering::Relaxed) == 0 {
        complain(&[b"HOSTCRST_REPORT: cannot write ", path]);
    }
}

// ---- a message --------------------------------------------------------------------------------------------

/// A message on its way, piece by piece.
pub(crate) struct Message<'a> {
    place: Place,
    patience: Patience<'a>,
    /// How many bytes were written.
    taken: usize,
    /// Some of it was dropped: the rest is dropped, too.
    is_lost: bool,
}

impl<'a> Message<'a> {
    /// `path` is a place for the path of a file.
    pub(crate) fn begin(kind: Kind, path: &mut TextBuffer<PATH_BYTES>, patience: Patience<'a>) -> Self {
        Message::begin_at(Place::of(kind, path), patience)
    }

    fn begin_at(place: Place, patience: Patience<'a>) -> Self {
        let mut message = Message { place, patience, taken: 0, is_lost: false };
        message.tell_of_dropped();
        message
    }

    /// Begins with how many earlier messages were dropped, if any.
    fn tell_of_dropped(&mut self) {
        let messages = &REGISTRY.messages;
        let untold = messages.untold.swap(0, Ordering::Relaxed);
        if untold == 0 {
            return;
        }
        let is_torn = messages.is_torn.swap(0, Ordering::Relaxed);
        let mut line = TextBuffer::<128>::new();
        let end = if is_torn != 0 { " [cut]\n" } else { "" };
        let _ = writeln!(line, "{end}hostcrst: messages dropped or cut before this one: {untold}");
        if !self.write(line.bytes()) {
            messages.untold.fetch_add(untold, Ordering::Relaxed);
            messages.is_torn.fetch_or(is_torn, Ordering::Relaxed);
        }
    }

    /// Writes all of `bytes`; false if they, or an earlier part, were dropped.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> bool {
        if self.is_lost {
            return false;
        }
        let all = sys::without_signals(|| {
            while !bytes.is_empty() {
                match self.place.write_at_once(bytes) {
                    Some(written) => {
                        self.taken += written;
                        bytes = bytes.get(written..).unwrap_or(&[]);
                    }
                    None if sys::has_no_room() => {
                        if !(self.patience)() {
                            return false;
                        }
                    }
                    None => match self.place {
                        // What was written of it stays there.
                        Place::File(_, kind) => {
                            complain_once(b"all of a message to its file");
                            self.place = Place::instead_of_file(kind);
                        }
                        _ => return false,
                    },
                }
            }
            true
        });
        self.is_lost = !all;
        all
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        if self.is_lost {
            REGISTRY.messages.count_dropped();
            if self.taken != 0 {
                REGISTRY.messages.is_torn.store(1, Ordering::Relaxed);
            }
        }
    }
}

/// Writes one line to stderr, in one write, without waiting. The parts may contain any bytes.
pub(crate) fn complain(parts: &[&[u8]]) {
    let mut line = TextBuffer::<512>::new();
    // A line that does not fit is cut.
    let _ = line.write_str("hostcrst: ");
    let _ = parts.iter().try_for_each(|part| write!(line, "{}", Printable(part)));
    line.end_line();
    complain_line(line.bytes());
}

/// As complain, of a line that is whole.
pub(crate) fn complain_line(line: &[u8]) {
    Message::begin_at(Place::stderr(), &mut || false).write(line);
}

/// Counts a message that could not even be begun.
pub(crate) fn drop_one() {
    REGISTRY.messages.count_dropped();
}
