//! Handles, owner ids, and the one word that is both a section's lock and its proof of identity.
//!
//! ```text
//!                 63 ........ 40 | 39 ........ 24 | 23 ........ 8 | 7 | 6 | 5 ........ 0
//! section handle    generation   |       0        |    offset of slot     |   tag 1        offset: bits 6-29
//! owner id               0       | generation (16)| slot (16)     | 0   0 | generation (6)
//! task handle      generation (6)| …      the same bits 8-39      | 0   0 |   tag 2
//!
//! lock word = section handle XOR owner id                    a free section: owner id 0, so word == handle
//! ```
//!
//! So one compare of the word with the handle asks four things at once: is the slot that of a section, of this
//! generation, is the handle well formed, is the section free. One compare with `handle ^ me` asks: is it mine.
//!
//! **Why every 64-bit value is a legal argument.** A value `h` selects the slot at its bits 6-29, modulo the arena's
//! capacity (at least four times that of the tasks, whose slots start two bits higher), which is always readable
//! memory. Let the word there be `g ^ o`, where `g` is the slot's own handle and `o` the owner id.
//! - Entering compares with `h`. If `h == g ^ o`, then `h` and `g` select the same slot only if `o` is 0 in bits
//!   6-29; the task slot in there is never 0 for an owner. So `o == 0` and `h == g`: the true handle of a free one.
//! - Leaving compares with `h ^ me`. If `h == g ^ o ^ me`, then `o` and `me` agree in bits 6-29. An `o` in a word is
//!   a live task, or one of the reserved slots that no task has; two live tasks never share a slot. So `o == me`.
//!   A word with BIASED or REVOKING (bits 6 and 7, 0 in every id) selects another slot than one without.
//! - A thread that is no task asks with `me == 0` whether a section is lent to it, `h == g ^ o ^ BIASED`. Then `o ^ BIASED`
//!   is 0 in bits 6-29, which it never is: an `o` with BIASED names a task there.
//! - A slot never used is zero: it is no word at all. `h == 0` selects slot 0, which is taken from the start, as
//!   DESTROYED. Leaving and entering again may meet `0 == h ^ me`, or `0 == h ^ me ^ BIASED`, but a slot never used
//!   has 0 entries, and 0 for `hold`, where a live one has at least 1.
//! - A destroyed section's word is its next generation's handle XOR the reserved owner DESTROYED: by the same two
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

/// The bytes of a section's slot; its offset in the arena is part of its handle.
pub(crate) const SECTION_BYTES: usize = 64;
/// How many section slots a handle can name.
pub(crate) const MAX_SECTIONS: u32 = 1 << 24;
/// How many task slots an owner id can name.
pub(crate) const MAX_TASKS: u32 = 1 << TASK_SLOT_BITS;
/// The last generation of a section's slot; the slot is retired after it, so no handle is ever given twice.
pub(crate) const LAST_SECTION_GENERATION: u64 = (1 << 24) - 1;
/// The last generation of a task's slot, retired likewise.
pub(crate) const LAST_TASK_GENERATION: u64 =
    (1 << (SECTION_GENERATION_SHIFT - GENERATION_SHIFT + LOW_GENERATION_BITS)) - 1;

/// A section's owner whose task ended without leaving it. No task has this slot.
pub(crate) const ABANDONED: u64 = 1 << TASK_SLOT_SHIFT;
/// The owner of a section that no longer exists. No task has this slot.
pub(crate) const DESTROYED: u64 = 2 << TASK_SLOT_SHIFT;
/// Beside an owner id in a word: the section is lent to that task (see `bias`).
pub(crate) const BIASED: u64 = 1 << 6;
/// Beside an owner id in a word: it was lent to that task until just now.
pub(crate) const REVOKING: u64 = 1 << 7;
/// The first slot that a task may have.
pub(crate) const FIRST_TASK_SLOT: u32 = 3;

/// The handle of the section in slot `index`.
pub(crate) const fn section_handle(index: u32, generation: u64) -> u64 {
    generation << SECTION_GENERATION_SHIFT | (index as u64 * SECTION_BYTES as u64) | SECTION_TAG
}

/// The slot that `handle` names, whatever value it is.
pub(crate) const fn section_index(handle: u64) -> u32 {
    (handle / SECTION_BYTES as u64) as u32 & (MAX_SECTIONS - 1)
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

/// Whether what a section's word shows beside its handle is the id of a task: not free, lent, abandoned, destroyed or of
/// another generation.
pub(crate) const fn is_task(owner: u64) -> bool {
    section_generation(owner) == 0 && owner & (BIASED | REVOKING) == 0 && owner_slot(owner) >= FIRST_TASK_SLOT
}

/// The generation in an owner id.
pub(crate) const fn owner_generation(id: u64) -> u64 {
    (id >> GENERATION_SHIFT) << LOW_GENERATION_BITS | id & LOW_BITS
}

/// The handle that callers know a task by.
pub(crate) const fn task_handle(id: u64) -> u64 {
    (id & LOW_BITS) << SECTION_GENERATION_SHIFT | id & !LOW_BITS | TASK_TAG
}

/// The handle of the task with this id, 0 for none.
pub(crate) const fn task_handle_or_zero(id: u64) -> u64 {
    if id == 0 { 0 } else { task_handle(id) }
}

/// The owner id in a task's handle; None for every value that is no task's handle.
pub(crate) const fn task_owner_id(handle: u64) -> Option<u64> {
    let upper = handle & !LOW_BITS & ((1 << SECTION_GENERATION_SHIFT) - 1);
    let id = upper | handle >> SECTION_GENERATION_SHIFT & LOW_BITS;
    if task_handle(id) == handle && id & (BIASED | REVOKING) == 0 { Some(id) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_do_not_overlap() {
        let handle = section_handle(MAX_SECTIONS - 1, LAST_SECTION_GENERATION);
        let id = owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION);
        assert_eq!(section_index(handle), MAX_SECTIONS - 1);
        assert_eq!(section_generation(handle ^ id), LAST_SECTION_GENERATION);
        assert_eq!(owner_slot(id), MAX_TASKS - 1);
        assert_eq!(owner_generation(id), LAST_TASK_GENERATION);
        assert_eq!(task_owner_id(task_handle(id)), Some(id));
    }

    #[test]
    fn kinds_of_handles_are_never_mistaken_for_each_other() {
        let id = owner_id(FIRST_TASK_SLOT, 1);
        let section = section_handle(5, 1);
        assert_eq!(task_owner_id(section), None);
        assert_eq!(task_owner_id(section ^ id), None);
        assert_ne!(task_handle(id) & LOW_BITS, section & LOW_BITS);
        assert_eq!(task_owner_id(0), None);
        assert_eq!(task_owner_id(u64::MAX), None);
    }

    #[test]
    fn a_task_is_told_from_all_else_that_a_word_shows() {
        let id = owner_id(FIRST_TASK_SLOT, 1);
        assert!(is_task(id) && is_task(owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION)));
        let next_generation = 1 << SECTION_GENERATION_SHIFT;
        for other in [0, ABANDONED, DESTROYED, id | BIASED, id | REVOKING, id | next_generation] {
            assert!(!is_task(other), "{other:#x}");
        }
    }

    #[test]
    fn an_owner_always_changes_the_slot_bits_of_a_word() {
        for id in [
            BIASED,
            REVOKING,
            ABANDONED,
            DESTROYED,
            owner_id(FIRST_TASK_SLOT, 0),
            owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION),
        ] {
            assert_ne!(section_index(id), 0);
        }
    }
}
