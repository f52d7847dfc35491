//! The other copies of the library in the process: a program and each of its plugins may have one linked into it.
//!
//! Each copy has an ELF note, in the object that it is part of, with the offset of its claim: a word by which copies
//! know each other (see `base::copies`). The loader's list of objects is the only thing that all copies share, whatever
//! they were linked with and whichever symbols they export. The offset is from the object's own header: tools that change
//! an object after it was linked, as patchelf does, may move the note.
//!
//! **The object stays loaded.** At the end of a thread, and in a forked child, libc calls functions of this library,
//! for as long as the process lives. So the object that contains it must stay loaded: a constructor asks the loader for
//! that while it loads the object. A later call could deadlock: a thread inside dlopen holds the loader's lock and may
//! wait for any other.

use core::arch::global_asm;
use core::ffi::{c_char, c_int, c_void};

use elf_names::notes::Notes;

use crate::sys::atomic::AtomicU32;

pub(crate) const NOTE_NAME: &[u8; 9] = b"hostcrst\0";
/// The note's type: it says how far from a place the claim stands, and how far from the same place the object's header.
pub(crate) const NOTE_TYPE: u32 = 2;
pub(crate) const NOTE_BYTES: usize = 2 * size_of::<isize>();

/// Makes the note of this copy: its claim stands at this offset of this static.
macro_rules! show_claim {
    ($holder:ident, $offset:expr) => {
        core::arch::global_asm!(
            ".section .note.hostcrst,\"a\",%note",
            ".balign 4",
            ".long {name_bytes}",
            ".long {bytes}",
            ".long {kind}",
            ".asciz \"hostcrst\"",
            ".balign 4",
            "771:",
            ".quad {holder} + {offset} - 771b",
            ".quad __ehdr_start - 771b",
            ".previous",
            // The linker's name for the header.
            ".weak __ehdr_start",
            ".hidden __ehdr_start",
            name_bytes = const $crate::sys::copies::NOTE_NAME.len(),
            bytes = const $crate::sys::copies::NOTE_BYTES,
            kind = const $crate::sys::copies::NOTE_TYPE,
            holder = sym $holder,
            offset = const $offset,
        );
    };
}
pub(crate) use show_claim;

// The address of dlsym, or 0 in a statically linked program, which unloads nothing. (A reference to dlopen would cause
// a linker warning in such a program.)
global_asm!(
    ".section .data.rel.ro.hostcrst_dlsym,\"aw\",%progbits",
    ".balign 8",
    ".globl hostcrst_dlsym",
    ".hidden hostcrst_dlsym",
    ".type hostcrst_dlsym, %object",
    ".size hostcrst_dlsym, 8",
    "hostcrst_dlsym:",
    ".quad dlsym",
    ".weak dlsym",
    ".previous",
);

unsafe extern "C" {
    #[link_name = "hostcrst_dlsym"]
    static DLSYM: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void>;
}

type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// An object that the loader has loaded, during a callback of each_object.
struct Object<'a>(&'a libc::dl_phdr_info);

impl Object<'_> {
    /// Its segments of this type: where each begins and how many bytes it has.
    fn segments(&self, kind: u32) -> impl Iterator<Item = (usize, &libc::Elf64_Phdr)> {
        let count = if self.0.dlpi_phdr.is_null() { 0 } else { self.0.dlpi_phnum };
        let first =
            core::ptr::NonNull::new(self.0.dlpi_phdr.cast_mut()).unwrap_or(core::ptr::NonNull::dangling());
        // SAFETY: the loader gives as many program headers as it says; they stay as long as the object is loaded.
        let headers = unsafe { core::slice::from_raw_parts(first.as_ptr(), count.into()) };
        let base = self.0.dlpi_addr as usize;
        headers
            .iter()
            .filter(move |header| header.p_type == kind)
            .map(move |header| (base.wrapping_add(header.p_vaddr as usize), header))
    }

    fn contains(&self, address: usize) -> bool {
        self.segments(libc::PT_LOAD)
            .any(|(start, header)| address.wrapping_sub(start) < header.p_memsz as usize)
    }

    /// Whether a word of its data is there.
    fn has_word(&self, address: usize) -> bool {
        let mut data = self.segments(libc::PT_LOAD).filter(|(_, header)| header.p_flags & libc::PF_W != 0);
        let has_it = |(start, header): (usize, &libc::Elf64_Phdr)| {
            address.wrapping_sub(start) < (header.p_memsz as usize).saturating_sub(size_of::<u32>() - 1)
        };
        address.is_multiple_of(align_of::<u32>()) && data.any(has_it)
    }

    /// Where its header is.
    fn header(&self) -> Option<usize> {
        let first = self.segments(libc::PT_LOAD).find(|(_, header)| header.p_offset == 0);
        first.map(|(start, _)| start)
    }

    /// The claims of the copies that it has in it.
    fn claims(&self) -> impl Iterator<Item = usize> {
        let notes = self.segments(libc::PT_NOTE).flat_map(|(start, header)| {
            // SAFETY: a loaded object's segment of notes is readable memory.
            let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, header.p_memsz as usize) };
            offsets_in(Notes::new(bytes, header.p_align))
        });
        let claims = notes.filter_map(|offset| Some(self.header()?.wrapping_add_signed(offset)));
        // In an object that was changed there may be something else.
        claims.filter(|&claim| self.has_word(claim))
    }
}

/// How far from the header of its object the claim stands, by each note of this library's.
fn offsets_in(notes: Notes<'_>) -> impl Iterator<Item = isize> {
    let ours = notes.filter(|note| note.name == NOTE_NAME && note.kind.0 == NOTE_TYPE);
    ours.filter_map(|note| {
        let (to_claim, to_header) = note.content.split_first_chunk()?;
        let to_header = to_header.try_into().ok().map(isize::from_ne_bytes)?;
        Some(isize::from_ne_bytes(*to_claim).wrapping_sub(to_header))
    })
}

/// Shows `look` every object that is loaded, the program itself first. Until it returns none of them is unloaded.
fn each_object(mut look: impl FnMut(Object<'_>)) {
    unsafe extern "C" fn shown<F: FnMut(Object<'_>)>(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        look: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader gives a valid info, and the pointer that it was given below.
        let (info, look) = unsafe { (&*info, &mut *look.cast::<F>()) };
        look(Object(info));
        0
    }
    fn call<F: FnMut(Object<'_>)>(look: &mut F) {
        // SAFETY: `shown` is for an F, and is called during this call only.
        unsafe { libc::dl_iterate_phdr(Some(shown::<F>), (look as *mut F).cast()) };
    }
    call(&mut look);
}

/// Shows `look` the claim of every loaded copy of the library except `own`, this copy's.
pub(crate) fn each_other_claim(own: &AtomicU32, look: &mut dyn FnMut(&AtomicU32)) {
    each_object(|object| {
        for claim in object.claims().filter(|&claim| claim != own as *const AtomicU32 as usize) {
            // SAFETY: a copy of this library says that its claim stands there, in its data; it is loaded.
            look(unsafe { &*(claim as *const AtomicU32) });
        }
    });
}

/// Keeps the object that contains this library loaded.
extern "C" fn stay_loaded() {
    let mut name = core::ptr::null();
    let mut is_program = true;
    each_object(|object| {
        if !is_program && object.contains(&raw const STAY_LOADED as usize) {
            name = object.0.dlpi_name;
        }
        is_program = false;
    });
    if !name.is_null() {
        super::preserving_errno(|| pin(name));
    }
}

/// The address of what a library exports under this name; 0 for nothing.
pub(super) fn find_symbol(name: &core::ffi::CStr) -> usize {
    // SAFETY: the assembly above makes the word, 0 or the address of dlsym.
    unsafe { DLSYM.map_or(0, |dlsym| dlsym(libc::RTLD_DEFAULT, name.as_ptr()) as usize) }
}

/// Keeps the loaded object of this name loaded.
fn pin(name: *const c_char) {
    let mode = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: the assembly above makes the word, 0 or the address of dlsym; what dlsym finds has the type of dlopen, or
    // is NULL, which is None; the loader keeps the name for as long as the object is loaded, which is this one.
    unsafe {
        let Some(dlsym) = DLSYM else { return };
        let dlopen = dlsym(libc::RTLD_DEFAULT, c"dlopen".as_ptr());
        if let Some(dlopen) = core::mem::transmute::<*mut c_void, Option<Dlopen>>(dlopen) {
            dlopen(name, mode);
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static STAY_LOADED: extern "C" fn() = stay_loaded;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [name.len() as u32, content.len() as u32, kind] {
            note.extend(number.to_ne_bytes());
        }
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn notes_of_others_and_damaged_ones_give_no_claim() {
        let distances = [16isize, -0x4000].map(isize::to_ne_bytes);
        let ours = note(NOTE_NAME, NOTE_TYPE, distances.as_flattened());
        let mut notes = note(b"GNU\0", 1, &[7; 20]);
        notes.extend(note(NOTE_NAME, NOTE_TYPE - 1, &[0; 8]));
        notes.extend(note(NOTE_NAME, NOTE_TYPE, &[0; 8]));
        let before = notes.len();
        notes.extend(&ours);
        notes.extend(note(b"", 3, b""));
        notes.extend(&ours);
        let found: Vec<_> = offsets_in(Notes::new(&notes, 4)).collect();
        assert_eq!(found, [0x4010, 0x4010]);
        for length in 0..before + ours.len() {
            assert_eq!(offsets_in(Notes::new(&notes[..length], 4)).count(), 0, "{length}");
        }
        for byte in 0..12 {
            let mut damaged = ours.clone();
            damaged[byte] = 0xff;
            assert_eq!(offsets_in(Notes::new(&damaged, 4)).count(), 0, "{byte}");
        }
    }

    #[test]
    fn this_program_has_one_copy() {
        let mut claims = Vec::new();
        each_object(|object| claims.extend(object.claims()));
        let [claim] = claims[..] else { panic!("{claims:x?}") };
        // SAFETY: the note of this program says so.
        let own = unsafe { &*(claim as *const AtomicU32) };
        each_other_claim(own, &mut |_| panic!("there is no other"));
    }
}
