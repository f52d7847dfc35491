//! Handles, owner ids, and the one word that is both a section's lock and its proof of identity. Numbers only: no
//! memory is read here, and nothing is known of who compares them and when.
//!
//! ```text
//!                 63 ........ 40 | 39 ........ 24 | 23 ........ 8 | 7 | 6 | 5 .. 2 | 1 0
//! section handle    generation   |       0        |    offset of slot     |  copy  |  1     offset: bits 6-29
//! Windows' handle   generation   |       0        |   the same   |flipped |  copy  |  3
//! resource handle   generation   |       0        |    offset of slot     |  copy  |  0     not 0: the generation
//! owner id               0       | generation (16)| slot (16)     | 0   0 | generation (6)
//! task handle      generation (6)| …      the same bits 8-39      | 0   0 |  copy  |  2
//!
//! lock word = section handle XOR owner id                    a free section: owner id 0, so word == handle
//! ```
//!
//! An SRW lock has no handle. Where handles say what a task waits for, its address does, with bit 63.
//!
//! So one compare of the word with the handle asks four things at once: is the slot that of a section, of this
//! generation, is the handle well formed, is the section free. One compare with `handle ^ me` asks: is it mine.
//!
//! A section whose mirror is a CRITICAL_SECTION has a Windows' handle, which the field LockSemaphore holds: the
//! handle that a section of the host's would have in that slot, XOR WIN32. Each of the two interfaces finds no
//! section by a handle of the other. `copy` is the number of this copy of the library among those in the process, so
//! nor does a copy find one by another's handle.
//!
//! **Why every 64-bit value is a legal argument.** A value `h` selects the slot at its bits 6-29, modulo a power of
//! two that is at least four times the number of task slots, which start two bits higher; that is always readable
//! memory. The functions of Windows first flip bits 6 and 7. (The power of two grows with the sections. What follows
//! holds for each power, so also for one that was read long ago: that may select another slot than the one meant,
//! which then does not match.) Let the word there be `g ^ o`, where `g` is the slot's own handle and `o` the owner
//! id, which is without BIASED and REVOKING (bits 6 and 7, 0 in every id) or, in a section of the host's, has one of
//! the two beside it. First, let `g` be of the kind that is asked for, so `g` selects the slot that `h` does.
//! - Entering compares with `h`. If `h == g ^ o`, then `h` and `g` select the same slot only if `o` is 0 in bits
//!   6-29; the task slot in there is never 0 for an owner. So `o == 0` and `h == g`: the true handle of a free one.
//! - Leaving compares with `h ^ me`. If `h == g ^ o ^ me`, then `o` and `me` agree in bits 6-29. An `o` in a word is
//!   a live task, or one of the reserved slots that no task has; two live tasks never share a slot. So `o == me`.
//!   A word with BIASED or REVOKING selects another slot than one without.
//! - A thread that is no task asks with NOBODY as `me`, a slot that no `o` has: nothing matches.
//!
//! Now let `g` be of the other kind: where `h` selects this slot, `g` has bits 6 and 7 flipped. Each of these compares
//! then needs an `o` with both of these bits, or in a section of Windows' one with the other bit than BIASED for a
//! biased one. No such `o` is ever in a word. So whatever stands in a CRITICAL_SECTION never enters a section of the
//! host's, and vice versa.
//! - A slot never used is zero: it is no word at all. `h == 0` selects slot 0, or slot 3 for Windows; both are taken
//!   from the start, as DESTROYED. Leaving and entering again may meet `0 == h ^ me`, or `0 == h ^ me ^ BIASED`, but
//!   a slot never used has 0 in `entries`, and in `bias_counter`, where a live one has at least 1.
//! - A destroyed section's word is its next generation's handle XOR the reserved owner DESTROYED: by the same
//!   arguments it matches nothing, and the old generation differs above bit 40.

const TASK_SLOT_SHIFT: u32 = 8;
const TASK_SLOT_BITS: u32 = 16;
/// The upper part of a task's generation in an owner id; the lower part is in the lowest bits.
const GENERATION_SHIFT: u32 = TASK_SLOT_SHIFT + TASK_SLOT_BITS;
const LOW_GENERATION_BITS: u32 = 6;
const LOW_BITS: u64 = (1 << LOW_GENERATION_BITS) - 1;
const SECTION_GENERATION_SHIFT: u32 = 40;
const SECTION_TAG: u64 = 1;
const TASK_TAG: u64 = 2;
const TAG_BITS: u64 = 3;
const COPY_SHIFT: u32 = 2;

/// The bytes of a section's slot; its offset in the arena is part of its handle.
pub(crate) const SECTION_BYTES: usize = 64;
/// How many copies of the library in a process handles can tell apart.
pub(crate) const MOST_COPIES: u32 = 16;
/// How many section slots a handle can name.
pub(crate) const MAX_SECTIONS: u32 = 1 << 24;
const _: () = assert!(MOST_COPIES << COPY_SHIFT == 1 << LOW_GENERATION_BITS);

/// The first slot that a section may have: see "a slot never used".
pub(crate) const FIRST_SECTION_SLOT: u32 = 4;
/// How many resource slots there are at most; a handle could name as many as there are sections.
pub(crate) const MAX_RESOURCES: u32 = 1 << 20;
/// The first slot that a resource may have: with it slot 0 is memory that can be written.
pub(crate) const FIRST_RESOURCE_SLOT: u32 = 2;
/// How many task slots an owner id can name.
pub(crate) const MAX_TASKS: u32 = 1 << TASK_SLOT_BITS;
/// The last generation of a section's or resource's slot; the slot is retired after it, so no handle is ever given twice.
/// So no handle of either has bit 63.
pub(crate) const LAST_SECTION_GENERATION: u64 = (1 << 23) - 1;
/// What a task waits for is not a handle but, without this bit, the address of an SRW lock.
const SRW_LOCK: u64 = 1 << 63;
/// The last generation of a task's slot, retired likewise.
pub(crate) const LAST_TASK_GENERATION: u64 =
    (1 << (SECTION_GENERATION_SHIFT - GENERATION_SHIFT + LOW_GENERATION_BITS)) - 1;

/// A section's owner whose task ended without leaving it. No task has this slot.
pub(crate) const ABANDONED: u64 = 1 << TASK_SLOT_SHIFT;
/// The owner of a section that no longer exists. No task has this slot.
pub(crate) const DESTROYED: u64 = 2 << TASK_SLOT_SHIFT;
/// What a thread that is no task has in place of an owner id where it compares words. No word has it, and no task its slot.
pub(crate) const NOBODY: u64 = 3 << TASK_SLOT_SHIFT;
/// Beside an owner id in a word: the section is biased to that task (see `bias`).
pub(crate) const BIASED: u64 = 1 << 6;
/// Beside an owner id in a word: the bias to that task is being revoked.
pub(crate) const REVOKING: u64 = 1 << 7;
/// The first slot that a task may have.
pub(crate) const FIRST_TASK_SLOT: u32 = 4;

/// What a Windows' handle has that the handle of a section of the host's in that slot has not, and the other way
/// round: in the tag, and in the bits that select the slot.
pub(crate) const WIN32: u64 = 2 | BIASED | REVOKING;

/// The part of it in the offset.
pub(crate) const WIN32_SLOT: usize = (WIN32 & !LOW_BITS) as usize;

/// Beside a Windows' handle in LockSemaphore: the CRITICAL_SECTION was initialised, and no thread has entered it yet. No
/// handle has this bit, so that the first to enter takes the slow path.
pub(crate) const NEVER_ENTERED: u64 = 1 << 39;
const _: () = assert!(NEVER_ENTERED < 1 << SECTION_GENERATION_SHIFT);
const _: () = assert!(NEVER_ENTERED > (MAX_SECTIONS as u64 - 1) * SECTION_BYTES as u64);

/// For `layout`: what it takes to read handles, owner ids and lock words.
pub(crate) const NUMBERS: [(&str, u64); 15] = [
    ("handle.section_tag", SECTION_TAG),
    ("handle.tag_bits", TAG_BITS),
    ("handle.task_tag", TASK_TAG),
    ("handle.win32", WIN32),
    ("handle.copy_shift", COPY_SHIFT as u64),
    ("handle.slot_shift", SECTION_BYTES.trailing_zeros() as u64),
    ("handle.generation_shift", SECTION_GENERATION_SHIFT as u64),
    ("handle.srw_lock", SRW_LOCK),
    ("id.slot_shift", TASK_SLOT_SHIFT as u64),
    ("id.slot_bits", TASK_SLOT_BITS as u64),
    ("id.low_bits", LOW_GENERATION_BITS as u64),
    ("id.abandoned", ABANDONED),
    ("id.destroyed", DESTROYED),
    ("id.biased", BIASED),
    ("id.revoking", REVOKING),
];

/// The handle of the host's section in slot `index`, in this copy of the library.
pub(crate) const fn section_handle(copy: u32, index: u32, generation: u64) -> u64 {
    generation << SECTION_GENERATION_SHIFT
        | (index as u64 * SECTION_BYTES as u64)
        | (copy as u64) << COPY_SHIFT
        | SECTION_TAG
}

/// The handle of Windows' section in slot `index`.
pub(crate) const fn win32_handle(copy: u32, index: u32, generation: u64) -> u64 {
    section_handle(copy, index, generation) ^ WIN32
}

/// The handle of the resource in slot `index`, in this copy of the library.
pub(crate) const fn resource_handle(copy: u32, index: u32, generation: u64) -> u64 {
    section_handle(copy, index, generation) ^ SECTION_TAG
}

/// Whether the handle of something that tasks wait for is a resource's.
pub(crate) const fn is_resource(handle: u64) -> bool {
    handle & TAG_BITS == 0 && !is_srw_lock(handle)
}

/// What stands for the SRW lock at an address where handles say what a task waits for.
pub(crate) const fn of_srw_lock(address: u64) -> u64 {
    address | SRW_LOCK
}

/// Whether what tasks wait for is an SRW lock.
pub(crate) const fn is_srw_lock(awaited: u64) -> bool {
    awaited & SRW_LOCK != 0
}

/// What reports call something that tasks wait for by: the address of an SRW lock, a handle of anything else.
pub(crate) const fn number_shown(awaited: u64) -> u64 {
    if is_srw_lock(awaited) { awaited & !SRW_LOCK } else { awaited }
}

/// The slot that a handle of a resource names; None for every value that is no such handle in this copy of the library,
/// but for its generation.
pub(crate) const fn resource_index(copy: u32, handle: u64) -> Option<u32> {
    host_index(copy, handle ^ SECTION_TAG)
}

/// Whether a section's handle is of Windows' kind.
pub(crate) const fn is_win32(handle: u64) -> bool {
    handle & (WIN32 & LOW_BITS) != 0
}

/// The copy of the library whose section a Windows' handle names; None for every value that is no Windows' handle.
pub(crate) const fn win32_copy(handle: u64) -> Option<u32> {
    let copy = (handle & LOW_BITS) as u32 >> COPY_SHIFT;
    let (index, generation) = (section_index(handle), section_generation(handle));
    if generation != 0 && win32_handle(copy, index, generation) == handle { Some(copy) } else { None }
}

/// The slot that a handle of a section names, whatever value it is.
pub(crate) const fn section_index(handle: u64) -> u32 {
    let handle = if is_win32(handle) { handle ^ WIN32 } else { handle };
    (handle / SECTION_BYTES as u64) as u32 & (MAX_SECTIONS - 1)
}

/// The slot that a handle of the host's names; None for every value that is no such handle in this copy of the library,
/// but for its generation.
pub(crate) const fn host_index(copy: u32, handle: u64) -> Option<u32> {
    const SLOT: u64 = (MAX_SECTIONS as u64 - 1) * SECTION_BYTES as u64;
    let rest = handle & !SLOT & ((1 << SECTION_GENERATION_SHIFT) - 1);
    if rest == section_handle(copy, 0, 0) {
        Some((handle & SLOT) as u32 / SECTION_BYTES as u32)
    } else {
        None
    }
}

/// The generation in a section's handle or lock word: no owner id reaches up there.
pub(crate) const fn section_generation(handle: u64) -> u64 {
    handle >> SECTION_GENERATION_SHIFT
}

/// The owner id of a task.
pub(crate) const fn owner_id(slot: u32, generation: u64) -> u64 {
    (generation >> LOW_GENERATION_BITS) << GENERATION_SHIFT
        | (slot as u64) << TASK_SLOT_SHIFT
        | generation & LOW_BITS
}

/// The task slot in an owner id.
pub(crate) const fn owner_slot(id: u64) -> u32 {
    (id >> TASK_SLOT_SHIFT) as u32 & (MAX_TASKS - 1)
}

/// Whether a section's word XOR its handle is the id of a task: not free, biased, abandoned, destroyed or of another
/// generation.
pub(crate) const fn is_task(owner: u64) -> bool {
    section_generation(owner) == 0 && owner & (BIASED | REVOKING) == 0 && owner_slot(owner) >= FIRST_TASK_SLOT
}

/// The generation in an owner id.
pub(crate) const fn owner_generation(id: u64) -> u64 {
    (id >> GENERATION_SHIFT) << LOW_GENERATION_BITS | id & LOW_BITS
}

/// The handle that callers know a task by.
pub(crate) const fn task_handle(copy: u32, id: u64) -> u64 {
    (id & LOW_BITS) << SECTION_GENERATION_SHIFT | id & !LOW_BITS | (copy as u64) << COPY_SHIFT | TASK_TAG
}

/// The owner id in a task's handle; None for every value that is no task's handle in this copy of the library.
pub(crate) const fn task_owner_id(copy: u32, handle: u64) -> Option<u64> {
    let upper = handle & !LOW_BITS & ((1 << SECTION_GENERATION_SHIFT) - 1);
    let id = upper | handle >> SECTION_GENERATION_SHIFT & LOW_BITS;
    if task_handle(copy, id) == handle && id & (BIASED | REVOKING) == 0 { Some(id) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [u64; 4] =
        [ABANDONED, DESTROYED, owner_id(FIRST_TASK_SLOT, 1), owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION)];

    #[test]
    fn fields_come_back_and_do_not_overlap() {
        let id = owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION);
        for copy in [0, 1, MOST_COPIES - 1] {
            let last = (copy, MAX_SECTIONS - 1, LAST_SECTION_GENERATION);
            for handle in [section_handle(last.0, last.1, last.2), win32_handle(last.0, last.1, last.2)] {
                assert_eq!(section_index(handle), MAX_SECTIONS - 1);
                assert_eq!(section_generation(handle ^ id), LAST_SECTION_GENERATION);
            }
            assert_eq!(task_owner_id(copy, task_handle(copy, id)), Some(id));
            assert_eq!(task_owner_id(copy ^ 1, task_handle(copy, id)), None);
        }
        assert_eq!(owner_slot(id), MAX_TASKS - 1);
        assert_eq!(owner_generation(id), LAST_TASK_GENERATION);
    }

    #[test]
    fn kinds_of_handles_are_never_mistaken_for_each_other() {
        let id = owner_id(FIRST_TASK_SLOT, 1);
        for copy in 0..MOST_COPIES {
            let (host, win32, task) =
                (section_handle(copy, 5, 1), win32_handle(copy, 5, 1), task_handle(copy, id));
            assert!(!is_win32(host) && is_win32(win32));
            for section in [host, win32] {
                assert_eq!((section_index(section), section_generation(section)), (5, 1));
                assert_eq!(task_owner_id(copy, section), None);
                assert_eq!(task_owner_id(copy, section ^ id), None);
                assert_ne!(task & LOW_BITS, section & LOW_BITS);
            }
            assert_eq!((host_index(copy, host), host_index(copy, win32 ^ WIN32)), (Some(5), Some(5)));
            for other in (0..64).map(|bit| 1 << bit).filter(|bit| (host ^ bit) >> 6 == host >> 6) {
                assert_eq!(host_index(copy, host ^ other), None);
            }
            assert!((30..40).all(|bit| host_index(copy, host ^ 1 << bit).is_none()));
            assert_eq!((host_index(copy, win32), host_index(copy, task)), (None, None));
            assert_eq!((win32_copy(win32), win32_copy(host), win32_copy(task)), (Some(copy), None, None));
            for other in (0..MOST_COPIES).filter(|&other| other != copy) {
                assert_ne!(section_handle(other, 5, 1), host);
                assert_eq!(task_owner_id(other, task), None);
            }
        }
        assert_eq!(task_owner_id(0, 0), None);
        assert_eq!(task_owner_id(0, u64::MAX), None);
    }

    #[test]
    fn a_task_is_told_from_all_else_that_a_word_may_hold() {
        let id = owner_id(FIRST_TASK_SLOT, 1);
        assert!(is_task(id) && is_task(owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION)));
        let next_generation = 1 << SECTION_GENERATION_SHIFT;
        for other in [0, ABANDONED, DESTROYED, id | BIASED, id | REVOKING, id | next_generation] {
            assert!(!is_task(other), "{other:#x}");
        }
    }

    #[test]
    fn an_owner_always_changes_the_slot_bits_of_a_word() {
        for id in IDS.into_iter().chain([BIASED, REVOKING]) {
            assert_ne!(id >> SLOT_SHIFT & u64::from(MAX_SECTIONS - 1), 0);
        }
    }

    const SLOT_SHIFT: u32 = SECTION_BYTES.trailing_zeros();

    /// The slot that a function of this kind selects, whatever the value is, where there are so many.
    fn selected(value: u64, win32: bool, slots: u64) -> u64 {
        (value ^ if win32 { WIN32 } else { 0 }) >> SLOT_SHIFT & (slots - 1)
    }

    /// The proof above, tried out: for every word that can stand in a slot, which values match it in the slot that
    /// they select.
    #[test]
    fn only_a_true_handle_matches_a_word() {
        let slots = 4 * u64::from(MAX_TASKS);
        let me = owner_id(FIRST_TASK_SLOT + 7, 65);
        let owners = IDS.into_iter().chain([0, me, owner_id(FIRST_TASK_SLOT + 7, 64)]);
        for (owner, index) in owners.flat_map(|owner| (4..12).map(move |index| (owner, index))) {
            for (win32, flags) in [(true, 0), (false, 0), (false, BIASED), (false, REVOKING)] {
                let own = section_handle(3, index, 77) ^ if win32 { WIN32 } else { 0 };
                if owner == 0 && flags != 0 {
                    continue;
                }
                let word = own ^ owner ^ flags;
                let matches = |by: u64, asked: bool| {
                    let value = word ^ by;
                    selected(value, asked, slots) == u64::from(index) && !(asked == win32 && value == own)
                };
                // Free; entered again or left; biased to the caller; the same for a thread that is no task.
                for by in [0, me, me ^ BIASED, NOBODY, NOBODY ^ BIASED] {
                    let same_slot_as_me = owner_slot(owner) == owner_slot(me) && owner != me;
                    let asks_if_biased = by & BIASED != 0;
                    for asked in [true, false] {
                        if same_slot_as_me || asked && asks_if_biased {
                            // Two live tasks share no slot. No section of Windows' is biased.
                            continue;
                        }
                        assert!(!matches(by, asked), "{word:#x} by {by:#x}");
                    }
                }
            }
        }
    }

    #[test]
    fn zero_selects_a_slot_without_a_section() {
        for win32 in [true, false] {
            assert!(selected(0, win32, u64::from(MAX_SECTIONS)) < u64::from(FIRST_SECTION_SLOT));
        }
    }
}
