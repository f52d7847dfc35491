//! A critical section as it stands in memory, and how each of its fields is read. Nothing here waits, wakes or spins:
//! what changes a section stands in `lock`. The lock word and its proof are explained in `handle`.

use core::{mem::offset_of, ptr};

use crate::base::arena::Slot;
use crate::base::memory::{Shown, readable_in_copies};
use crate::constants::{HOSTCRST_ABANDONED, HOSTCRST_FREE, HOSTCRST_OWNED};
use crate::handle::{self, ABANDONED, BIASED, DESTROYED, REVOKING};
use crate::state::task::TaskRef;
use crate::sys::Mutex;
use crate::sys::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

// queue_state: flags below, the number of waiters above. Written under the queue lock, where the slot stays the section's;
// only an owner clears FENCE_PENDING and BACK_OFF without it.
/// A waiter has been here: leaves must be fenced. Stays for a while after the last waiter.
pub(crate) const ARMED: u32 = 1;
/// The first waiter has been woken and contends: a leave wakes no other.
pub(crate) const CONTENDER: u32 = 1 << 1;
/// The heavy barrier is refused: ARMED for ever.
pub(crate) const FENCED: u32 = 1 << 2;
/// The queue state of a section that was made after the heavy barrier was refused, and that has no waiters.
pub(crate) const ALWAYS_FENCED: u32 = ARMED | FENCED;
/// FENCED came after the section was made, and no leave has been fenced since: waiters poll the word by themselves.
pub(crate) const FENCE_PENDING: u32 = 1 << 3;
/// The contender has lost often enough: the owner is to make the first waiter the owner.
pub(crate) const HANDOFF: u32 = 1 << 4;
/// A spinner has had no luck for a while: the next task that leaves is to back off (see `spin`).
pub(crate) const BACK_OFF: u32 = 1 << 5;
/// The bits that are cleared when the contender parks again or is gone.
pub(crate) const OF_CONTENDER: u32 = CONTENDER | HANDOFF;
pub(crate) const WAITER_SHIFT: u32 = 8;
pub(crate) const WAITER_ONE: u32 = 1 << WAITER_SHIFT;

/// A critical section: one cache line. Zeroed memory is a slot never used.
#[repr(C, align(64))]
pub(crate) struct Section {
    /// The lock word: the handle XOR the owner's id; the handle alone if the section is free. `handle` has the proof,
    /// and `docs/lock.md` every change of it.
    pub(crate) word: AtomicU64,
    /// The owner's recursion; 1 while the section is free, so that entering need not write it. Owner only.
    pub(crate) entries: AtomicU32,
    /// Not 0 forces the slow path of the last leave: the flags above and the number of waiters.
    pub(crate) queue_state: AtomicU32,
    pub(crate) queue_lock: Mutex,
    /// The task slot that is first in the circle of waiters, 0 for none.
    pub(crate) first_waiter: AtomicU16,
    /// The task slot that this slot was last biased to, 0 for none. Stays with the slot.
    pub(crate) biased_to: AtomicU16,
    /// As the program has set it.
    pub(crate) spin_count: AtomicU32,
    /// Fenced leaves since ARMED was set or a waiter was last woken. Counted by the owner.
    pub(crate) leaves: AtomicU16,
    /// Under the queue lock, or before the section has a handle.
    pub(crate) flags: AtomicU16,
    /// The slot of the section's name, 0 for none. Stays with the slot.
    pub(crate) name: AtomicU32,
    /// Of a section of Windows' whose owner has ended (see `orphaned_by`): that thread's id.
    pub(crate) last_owner_thread: AtomicU32,
    /// Entries that had to wait; under the queue lock.
    pub(crate) contended: AtomicU64,
    /// One more than the recursion of the task that the section is biased to, which alone writes it: see `bias`.
    pub(crate) bias_counter: AtomicU32,
    /// Which task the last samples found as the owner, and how often in a row: see `bias`.
    pub(crate) bias_sample: AtomicU32,
    /// The address of the CRITICAL_SECTION that shows this one, or 0: then it is a section of the host's.
    pub(crate) mirror: AtomicU64,
}

const _: () = assert!(size_of::<Section>() == handle::SECTION_BYTES);
// Fields that name a task are as wide as the number of its slot.
const _: () = assert!(handle::MAX_TASKS == 1 << u16::BITS);

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 8] = [
    ("section.bytes", size_of::<Section>()),
    ("section.word", offset_of!(Section, word)),
    ("section.entries", offset_of!(Section, entries)),
    ("section.queue_state", offset_of!(Section, queue_state)),
    ("section.contended", offset_of!(Section, contended)),
    ("section.name", offset_of!(Section, name)),
    ("section.bias_counter", offset_of!(Section, bias_counter)),
    ("section.mirror", offset_of!(Section, mirror)),
];

/// flags: the spin count is the program's, not the library's.
pub(crate) const SPIN_COUNT_SET: u16 = 1;
/// flags: a bias was revoked; none is granted again.
pub(crate) const BIAS_DISABLED: u16 = 2;

// SAFETY: all fields are atomics or made of such.
unsafe impl Slot for Section {}

/// bias_counter: biased, and not entered.
pub(crate) const NOT_ENTERED: u32 = 1;

/// For `layout`.
pub(crate) const NUMBERS: [(&str, u64); 2] =
    [("section.not_entered", NOT_ENTERED as u64), ("section.waiter_shift", WAITER_SHIFT as u64)];

/// The states of `hostcrst_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Free = HOSTCRST_FREE,
    Owned = HOSTCRST_OWNED,
    Abandoned = HOSTCRST_ABANDONED,
}

/// What `hostcrst_info` tells of a section.
#[derive(Clone, Copy)]
pub(crate) struct SectionInfo {
    pub(crate) state: State,
    /// The owner's id, 0 for none.
    pub(crate) owner: u64,
    pub(crate) recursion: u32,
    pub(crate) waiters: u32,
    pub(crate) spin_count: u32,
    pub(crate) contended: u64,
    /// Where the section's slot is, in the process that asks.
    pub(crate) address: usize,
}

/// How long a spinner polls an owned section before it queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpinPolicy {
    /// For a time that the library chooses.
    Adaptive,
    /// So many polls, as the program has set.
    Count(u32),
}

/// How many tasks wait, from a section's queue state.
pub(crate) fn waiters(queue_state: u32) -> u32 {
    queue_state >> WAITER_SHIFT
}

/// Whether a word XOR its handle says that the section is biased, or that its bias is being revoked.
pub(crate) const fn is_biased(owner: u64) -> bool {
    owner & (BIASED | REVOKING) != 0
}

/// The handle of the section in a slot, shown by the CRITICAL_SECTION at `mirror` unless that is 0.
pub(crate) fn handle_in(copy: u32, index: u32, generation: u64, mirror: usize) -> u64 {
    match mirror {
        0 => handle::section_handle(copy, index, generation),
        _ => handle::win32_handle(copy, index, generation),
    }
}

readable_in_copies!(Section);

impl Shown<Section> {
    /// Who owns the section with this handle, which names this slot: an owner id, 0 if it is free, None if there is no
    /// such section.
    pub(crate) fn owner(&self, handle: u64) -> Option<u64> {
        // The word of a slot never used is 0: to a handle of generation 0 it would seem owned.
        let was_given = handle::section_generation(handle) != 0;
        // Acquire pairs with the Release of a revoker: an owner that finds itself here sees its entries.
        // place: owner-word-load
        let mut owner = self.fields().word.load(Ordering::Acquire) ^ handle;
        let same_generation = handle::section_generation(owner) == 0;
        if same_generation && is_biased(owner) {
            // What is in the slot may be of the other kind by now: see handle.
            if handle::is_win32(handle) || owner & BIASED != 0 && owner & REVOKING != 0 {
                return None;
            }
            // Biased: owned only while it is entered.
            owner = if self.biased_entries() == 0 { 0 } else { owner & !(BIASED | REVOKING) };
        }
        (was_given && same_generation && owner != DESTROYED).then_some(owner)
    }

    /// The handle of the section that is, or was last, in this slot, number `index` in this copy of the library; of
    /// generation 0 if none ever was.
    pub(crate) fn handle(&self, copy: u32, index: u32) -> u64 {
        // Acquire pairs with the Release in make: the mirror is of the section that the word is of, or of a newer one.
        let generation = handle::section_generation(self.fields().word.load(Ordering::Acquire));
        handle_in(copy, index, generation, self.mirror())
    }

    /// The state of the section with this handle; None if there is no such section in this slot.
    pub(crate) fn info(&self, handle: u64) -> Option<SectionInfo> {
        let owner = self.owner(handle)?;
        let (state, recursion) = match owner {
            0 => (State::Free, 0),
            ABANDONED => (State::Abandoned, 0),
            _ if is_biased(self.fields().word.load(Ordering::Relaxed) ^ handle) => {
                (State::Owned, self.biased_entries().max(1))
            }
            _ => (State::Owned, self.fields().entries.load(Ordering::Relaxed)),
        };
        let info = SectionInfo {
            state,
            owner: if state == State::Owned { owner } else { 0 },
            recursion,
            waiters: waiters(self.fields().queue_state.load(Ordering::Relaxed)),
            spin_count: self.fields().spin_count.load(Ordering::Relaxed),
            contended: self.contended(),
            address: ptr::from_ref(self).addr(),
        };
        self.is_still(handle).then_some(info)
    }

    /// Whether the section with this handle, which was found here before, has not ended: all that was read since is its.
    #[inline(never)]
    pub(crate) fn is_still(&self, handle: u64) -> bool {
        // Pairs with the Release fence of the section that begins here next: who has read a field of that finds this one
        // ended.
        fence(Ordering::Acquire);
        self.owner(handle).is_some()
    }

    /// The slot of the section's name, 0 if it never had one.
    pub(crate) fn name_slot(&self) -> u32 {
        // Acquire pairs with the Release in set_name: the slot may be read.
        self.fields().name.load(Ordering::Acquire)
    }

    pub(crate) fn contended(&self) -> u64 {
        self.fields().contended.load(Ordering::Relaxed)
    }

    /// The address of the CRITICAL_SECTION that shows this section, or 0.
    pub(crate) fn mirror(&self) -> usize {
        self.fields().mirror.load(Ordering::Relaxed) as usize
    }

    /// The id of the thread that ended as the owner of a section that stays locked for ever.
    pub(crate) fn orphaned_by(&self, handle: u64) -> Option<u32> {
        let orphaned = self.mirror() != 0 && self.owner(handle) == Some(ABANDONED);
        orphaned.then(|| self.fields().last_owner_thread.load(Ordering::Relaxed))
    }

    /// The recursion of the task that the section is biased to.
    pub(crate) fn biased_entries(&self) -> u32 {
        // Acquire pairs with the Release in leave_biased.
        self.fields().bias_counter.load(Ordering::Acquire).saturating_sub(NOT_ENTERED)
    }

    /// Whether it is biased to the task, and the task has entered it.
    pub(crate) fn is_biased_and_entered(&self, handle: u64, id: u64) -> bool {
        self.fields().word.load(Ordering::Relaxed) == handle ^ id ^ BIASED && self.biased_entries() != 0
    }
}

impl Section {
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.word
    }

    pub(crate) fn queue_state(&self) -> &AtomicU32 {
        &self.queue_state
    }

    pub(crate) fn queue_lock(&self) -> &Mutex {
        &self.queue_lock
    }

    /// The task slot that is first in the circle of waiters, 0 for none.
    pub(crate) fn first_waiter(&self) -> u32 {
        u32::from(self.first_waiter.load(Ordering::Relaxed))
    }

    pub(crate) fn set_first_waiter(&self, slot: u32) {
        self.first_waiter.store(slot as u16, Ordering::Relaxed);
    }

    pub(crate) fn bias_counter(&self) -> &AtomicU32 {
        &self.bias_counter
    }

    /// The task slot that this slot was last biased to, 0 for none.
    pub(crate) fn biased_to(&self) -> u32 {
        u32::from(self.biased_to.load(Ordering::Relaxed))
    }

    pub(crate) fn set_biased_to(&self, slot: u32) {
        self.biased_to.store(slot as u16, Ordering::Relaxed);
    }

    pub(crate) fn bias_sample(&self) -> &AtomicU32 {
        &self.bias_sample
    }

    pub(crate) fn set_entries(&self, entries: u32) {
        self.entries.store(entries, Ordering::Relaxed);
    }

    pub(crate) fn disable_bias(&self) {
        self.flags.fetch_or(BIAS_DISABLED, Ordering::Relaxed);
    }

    pub(crate) fn is_bias_disabled(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & BIAS_DISABLED != 0
    }

    /// Whether the section with this handle is free.
    #[inline(always)]
    pub(crate) fn is_free(&self, handle: u64) -> bool {
        self.word.load(Ordering::Relaxed) == handle
    }

    /// Makes `me` the owner if the section is free.
    #[inline(always)]
    pub(crate) fn try_take(&self, handle: u64, me: TaskRef) -> bool {
        // place: take-word-exchange
        self.word.compare_exchange(handle, handle ^ me.id(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The owner enters once more. False if it has done so too often to count, or if the slot was never used: its
    /// zero word seems to be the caller's for a handle that is the caller's own id, or NOBODY.
    #[inline(always)]
    pub(crate) fn reenter(&self) -> bool {
        let entries = self.entries.load(Ordering::Relaxed).wrapping_add(1);
        if entries < 2 {
            return false;
        }
        self.entries.store(entries, Ordering::Relaxed);
        true
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.first_waiter() != 0
    }

    pub(crate) fn spin_policy(&self) -> SpinPolicy {
        if self.flags.load(Ordering::Relaxed) & SPIN_COUNT_SET != 0 {
            SpinPolicy::Count(self.spin_count.load(Ordering::Relaxed))
        } else {
            SpinPolicy::Adaptive
        }
    }

    pub(crate) fn count_contended(&self) {
        self.contended.store(self.contended() + 1, Ordering::Relaxed);
    }

    pub(crate) fn entries(&self) -> &AtomicU32 {
        &self.entries
    }

    pub(crate) fn set_mirror(&self, address: usize) {
        self.mirror.store(address as u64, Ordering::Relaxed);
    }

    /// Counts a fenced leave, up to what fits. By the owner.
    pub(crate) fn count_leave(&self) -> u32 {
        let leaves = self.leaves.load(Ordering::Relaxed).wrapping_add(1);
        self.leaves.store(leaves, Ordering::Relaxed);
        u32::from(leaves)
    }

    pub(crate) fn reset_leaves(&self) {
        self.leaves.store(0, Ordering::Relaxed);
    }
}
