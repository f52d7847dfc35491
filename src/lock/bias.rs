//! Owner bias: a section that one task enters again and again is lent to that task, which then enters and leaves it with
//! plain loads and stores.
//!
//! A biased section's word is its handle XOR the task's id XOR BIASED. While it stands so, `hold` is one more than the
//! number of the task's entries, and only that task writes it:
//!
//! ```text
//!   the task, entering or leaving         whoever else comes, under the queue lock
//!   store hold                            store word: REVOKING
//!   look at word: still BIASED?           heavy barrier
//!                                         look at hold
//! ```
//!
//! Store, then look, on both sides, with the other side's barrier paid by who revokes (Dekker's pattern, as in `queue`).
//! If the task's store came before the barrier, the look at `hold` sees it, and the section becomes the task's in
//! the ordinary way, entered as often as `hold` says. If it came after, the task's look sees that the bias is gone; it takes the
//! queue lock and settles with what it finds: the section is its own by the word, then `hold` says how often; or it is
//! not, then the entry has not happened, and it enters like anyone else.
//!
//! **Whose `hold` is.** A task may be stopped between its look at the word and its store to `hold` for any time. So
//! `hold` belongs to the task last lent to until that task has ended: the slot is lent to nobody else before, not even
//! for another section. Its late store then lands in a word that nobody looks at.
//!
//! **Earned.** Every so many entries of a task one is looked at; a section found owned by the same task at sixteen such
//! looks in a row is lent to it. One that is taken away (a heavy barrier) is not lent again. So a section that passes
//! from hand to hand pays for at most one revocation in its life, after tens of thousands of entries.

use crate::handle::{self, BIASED, REVOKING};
use crate::lock::crst::Fast;
use crate::state::registry::REGISTRY;
use crate::state::section::{NOT_ENTERED, Section, is_biased};
use crate::state::task::Task;
use crate::state::{sections, tasks};
use crate::sys::atomic::Ordering;
use crate::sys::{self, preserving_errno};

/// How long a revocation waits where the heavy barrier is refused after bias was granted: a store and the load after it
/// are not this far apart in any processor, and a thread that is not running has done both or neither.
const UNFENCED_NAP: u64 = 10_000_000;

/// The word of the section with this handle while it is lent to the task with this id.
#[inline(always)]
pub(crate) fn lent_word(handle: u64, id: u64) -> u64 {
    handle ^ id ^ BIASED
}

/// How the task that a section is lent to gets on.
enum Settled {
    /// It owns the section, so often.
    Owner(u32),
    /// It does not.
    Stranger,
}

impl Section {
    /// Enters a section that is lent to the caller, whose word was just seen to be `lent_word`.
    #[inline(always)]
    pub(crate) fn enter_biased(&self, lent_word: u64) -> Fast {
        let hold = self.hold().load(Ordering::Relaxed);
        // 0 in a slot never used, whose zero word looks lent to a handle that is the caller's own id XOR BIASED.
        if hold.wrapping_sub(1) >= u32::MAX - 1 {
            return Fast::No;
        }
        self.hold().store(hold + 1, Ordering::Relaxed);
        // Not later than the look below: the heavy barrier of who revokes does the rest.
        sys::light_barrier();
        if self.word().load(Ordering::Relaxed) == lent_word { Fast::Done } else { Fast::Unsettled }
    }

    /// Leaves a section that is lent to the caller, as in enter_biased, once.
    #[inline(always)]
    pub(crate) fn leave_biased(&self, lent_word: u64) -> Fast {
        let hold = self.hold().load(Ordering::Relaxed);
        if hold <= NOT_ENTERED {
            return Fast::No;
        }
        // Release pairs with the Acquire in revoke_locked: the next owner sees what was done in the section.
        self.hold().store(hold - 1, Ordering::Release);
        sys::light_barrier();
        if self.word().load(Ordering::Relaxed) == lent_word { Fast::Done } else { Fast::Unsettled }
    }

    /// The bias went during an entry: whether the entry counts.
    pub(crate) fn settle_entry(&self, handle: u64, me: u64) -> bool {
        preserving_errno(|| {
            let _queue = self.queue_lock().lock();
            match self.settle(handle, me) {
                Settled::Owner(entries) => {
                    self.set_entries(entries);
                    true
                }
                Settled::Stranger => false,
            }
        })
    }

    /// The bias went during a leave. Whether that leave let the section go, so that a wake is due.
    pub(crate) fn settle_leave(&self, handle: u64, me: u64) -> bool {
        let _queue = self.queue_lock().lock();
        match self.settle(handle, me) {
            Settled::Owner(0) => {
                // It was taken for an owner by who revoked: leaves in the ordinary way.
                self.set_entries(1);
                tasks::of_owner(me).count_leave();
                self.word().swap(handle, Ordering::SeqCst);
                true
            }
            Settled::Owner(entries) => {
                self.set_entries(entries);
                false
            }
            Settled::Stranger => false,
        }
    }

    /// What became of the section when its bias went; under the queue lock, by the task it was lent to.
    fn settle(&self, handle: u64, me: u64) -> Settled {
        let entries = self.lent_entries();
        if self.word().load(Ordering::Relaxed) == handle ^ me {
            Settled::Owner(entries)
        } else {
            Settled::Stranger
        }
    }

    /// Makes the section an ordinary one, if it is biased.
    #[cold]
    pub(crate) fn revoke(&self, handle: u64) {
        let _queue = self.queue_lock().lock();
        self.revoke_locked(handle);
    }

    /// Makes the section an ordinary one, if it is biased; under the queue lock.
    pub(crate) fn revoke_locked(&self, handle: u64) {
        let owner = self.word().load(Ordering::Relaxed) ^ handle;
        if handle::section_generation(owner) != 0 || owner & BIASED == 0 {
            return;
        }
        let owner = owner ^ BIASED;
        self.spend_bias();
        if owner != sys::current_id() {
            // Only under this lock does a biased word change, so a store will do.
            self.word().store(handle ^ owner ^ REVOKING, Ordering::Relaxed);
            await_holder();
        }
        self.unbias(handle, owner);
    }

    /// Whether the section with this handle is lent to the task with this id.
    fn is_lent_to(&self, handle: u64, id: u64) -> bool {
        self.word().load(Ordering::Relaxed) == lent_word(handle, id)
    }

    /// Whether it is, or is being taken from that task at this moment. If not, what who took it has counted is seen.
    fn is_or_was_just_lent_to(&self, handle: u64, id: u64) -> bool {
        // Acquire pairs with the Release in unbias: the task counts the section as its own if it was in it.
        let owner = self.word().load(Ordering::Acquire) ^ handle;
        is_biased(owner) && owner & !(BIASED | REVOKING) == id
    }

    /// Whether it is lent to the task, and the task is in it.
    pub(crate) fn is_lent_and_entered(&self, handle: u64, id: u64) -> bool {
        self.is_lent_to(handle, id) && self.lent_entries() != 0
    }

    /// Gives the section the ordinary word for an owner that has entered as often as `hold` says.
    fn unbias(&self, handle: u64, owner: u64) {
        let entries = self.lent_entries();
        self.set_entries(entries.max(1));
        if entries != 0 {
            tasks::of_owner(owner).count_returned();
        }
        // Release: whoever sees the word sees the entries.
        self.word().store(if entries == 0 { handle } else { handle ^ owner }, Ordering::Release);
    }

    /// One entry of many: lends the section to `me`, which has just entered it once, if it has earned that.
    pub(crate) fn look_at_entry(&self, handle: u64, me: u64) {
        let looks = REGISTRY.bias.looks.load(Ordering::Relaxed);
        if looks == 0
            || REGISTRY.is_fenced()
            || self.is_bias_spent()
            || self.mirror() != 0
            || !self.count_look(me, looks)
        {
            return;
        }
        preserving_errno(|| {
            let _queue = self.queue_lock().lock();
            let lent_before = self.lent_to();
            let slot = handle::owner_slot(me);
            // See "whose hold is": not to another task while the last one lives.
            let hold_is_free =
                lent_before == 0 || lent_before == slot || REGISTRY.tasks.at(lent_before).id() == 0;
            if hold_is_free
                && self.attention().load(Ordering::Relaxed) == 0
                && tasks::of_owner(me).remember_bias(handle)
            {
                tasks::of_owner(me).count_leave();
                self.set_lent_to(slot);
                self.hold().store(NOT_ENTERED + 1, Ordering::Relaxed);
                self.word().store(lent_word(handle, me), Ordering::Release);
            }
        });
    }

    /// Counts a look that found `me`; whether there were enough in a row.
    fn count_look(&self, me: u64, enough: u32) -> bool {
        let slot = handle::owner_slot(me);
        let last = self.looks().load(Ordering::Relaxed);
        let count = if last >> LOOKS_BITS == slot { (last & LOOKS_MASK) + 1 } else { 1 };
        self.looks().store(slot << LOOKS_BITS | count.min(LOOKS_MASK), Ordering::Relaxed);
        count >= enough
    }

    /// In the child of a fork: ends the bias. By the only thread.
    pub(crate) fn unbias_after_fork(&self, handle: u64) {
        let owner = self.word().load(Ordering::Relaxed) ^ handle;
        if handle::section_generation(owner) != 0 || !is_biased(owner) {
            return;
        }
        self.unbias(handle, owner & !(BIASED | REVOKING));
        self.spend_bias();
    }

    /// In the child of a fork: ends a revocation that a thread of the parent had begun. The task may be living.
    pub(crate) fn revoke_after_fork(&self, handle: u64) {
        let owner = self.word().load(Ordering::Relaxed) ^ handle;
        if handle::section_generation(owner) == 0 && owner & BIASED == 0 && owner & REVOKING != 0 {
            await_holder();
            self.unbias(handle, owner & !REVOKING);
        }
    }
}

/// Waits until the look of the task that a section was lent to sees REVOKING, if its store to `hold` is not seen here.
fn await_holder() {
    if !sys::heavy_barrier() {
        REGISTRY.set_fenced();
        sys::nap(UNFENCED_NAP);
    }
}

/// looks: the task slot that was found, above how often in a row.
const LOOKS_BITS: u32 = 8;
const LOOKS_MASK: u32 = (1 << LOOKS_BITS) - 1;

impl Task {
    /// Notes that the section is lent to this task, so that it can be given back at the end. False if it has too many.
    /// A section that is being taken away keeps its place: until that is done nobody can say whether the task owns it, and
    /// at its end the task must wait for the answer.
    fn remember_bias(&self, handle: u64) -> bool {
        let place = self.biases().iter().find(|place| {
            let other = place.load(Ordering::Relaxed);
            other == 0 || !sections::slot_of(other).is_or_was_just_lent_to(other, self.id())
        });
        if let Some(place) = place {
            place.store(handle, Ordering::Relaxed);
        }
        place.is_some()
    }

    /// Gives back what was lent to this task; by its own thread, at its end. A word must not name a task that is gone.
    pub(crate) fn return_biases(&self) {
        for place in self.biases() {
            let handle = place.swap(0, Ordering::Relaxed);
            if handle != 0 {
                let section = sections::slot_of(handle);
                let _queue = section.queue_lock().lock();
                if section.is_lent_to(handle, self.id()) {
                    section.unbias(handle, self.id());
                }
            }
        }
    }
}
