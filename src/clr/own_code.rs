//! Which code is the CLR's own, and which library began a thread that is none of the CLR's.

use core::ffi::c_void;

use elf_names::maps::{LINE_CAPACITY, Mapping, base_name, each_mapping};
use elf_names::{BLOCK, Files};

use crate::base::hash::hash_of_bytes;
use crate::base::name::{NAME_BYTES, NameCopy};
use crate::sys;
use crate::sys::atomic::{AtomicUsize, Ordering};
use crate::sys::symbols::Mapped;
use crate::text::TextBuffer;

/// What is mapped of the file that a method of the CLR's lies in; nothing as long as none is known.
static START: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// Learns from a COM object of the CLR's where its code lies.
///
/// # Safety
/// `object` is a live COM object.
pub(crate) unsafe fn find(object: *mut c_void) {
    // SAFETY: each COM object has QueryInterface in its first slot.
    let method: *const () = unsafe { super::com::method(object, 0) };
    let file = see_mapping(method as usize, |mapping| hash_of_bytes(mapping.path));
    let (mut start, mut end) = (u64::MAX, 0);
    each_own_mapping(&mut |mapping| {
        if mapping.path.starts_with(b"/") && Some(hash_of_bytes(mapping.path)) == file {
            (start, end) = (start.min(mapping.start), end.max(mapping.end));
        }
    });
    START.store(start as usize, Ordering::Relaxed);
    END.store(end as usize, Ordering::Relaxed);
    // The first look-up may wait, and here nobody waits for this thread.
    let _ = sys::start_routine();
}

/// Whether the address lies there.
pub(crate) fn has(address: usize) -> bool {
    (START.load(Ordering::Relaxed)..END.load(Ordering::Relaxed)).contains(&address)
}

/// What to call the calling thread, to which nobody has given a name of managed code, if it was begun by a library and not by
/// the CLR: its name of the system's, which is often that of the program, and the library.
pub(crate) fn name_of_foreign_thread() -> Option<NameCopy> {
    let start = sys::start_routine().filter(|&start| !has(start))?;
    let library = see_mapping(start, |mapping| NameCopy::of(base_name(mapping.path)))?;
    let mut room = [0; 32];
    let name = sys::read_thread_file(None, sys::thread_id(), "comm", &mut room)?.trim_ascii_end();
    let mut text = TextBuffer::<{ 2 * NAME_BYTES }>::new();
    for part in [name, b" (", library.bytes(), b")"] {
        text.push_what_fits(part);
    }
    Some(NameCopy::of(text.bytes()))
}

/// What `see` says of the mapping that an address lies in; None if it is not mapped.
pub(crate) fn see_mapping<T>(address: usize, mut see: impl FnMut(&Mapping<'_>) -> T) -> Option<T> {
    let mut seen = None;
    each_own_mapping(&mut |mapping| {
        if (mapping.start..mapping.end).contains(&(address as u64)) {
            seen = Some(see(mapping));
        }
    });
    seen
}

/// All that is mapped.
fn each_own_mapping(see: &mut dyn FnMut(&Mapping<'_>)) {
    let (mut line, mut block) = ([0; LINE_CAPACITY], [0; BLOCK]);
    if let Some(list) = Mapped.maps() {
        each_mapping(&list, &mut line, &mut block, see);
    }
}
