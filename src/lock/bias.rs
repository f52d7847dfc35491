//! Owner bias: a section that one task enters again and again is lent to that task, which then enters and leaves it with
//! plain loads and stores.
//!
//! A biased section's word is its handle XOR the task's id XOR BIASED. While it stands so, `bias_counter` is one more than the
//! number of the task's entries, and only that task writes it:
//!
//! ```text
//!   the task, entering or leaving         whoever else comes, under the queue lock
//!   store counter                          store word: REVOKING
//!   look at word: still BIASED?           heavy barrier
//!                                         check counter
//! ```
//!
//! Store, then look, on both sides, with the other side's barrier paid by who revokes (Dekker's pattern, as in `queue`).
//! If the task's store came before the barrier, the look at `bias_counter` sees it, and the section becomes the task's in
//! the ordinary way, entered as often as `bias_counter` says. If it came after, the task's look sees that the bias is gone; it takes the
//! queue lock and settles with what it finds: the section is its own by the word, then `bias_counter` says how often; or it is
//! not, then the entry has not happened, and it enters like anyone else.
//!
//! **Whose the counter is.** A task may be stopped between its look at the word and its store to `bias_counter` for any time. So
//! `bias_counter` belongs to the task last lent to until that task has ended: the slot is lent to nobody else before, not even
//! for another section. Its late store then lands in a word that nobody looks at.
//!
//! **Earned.** Every so many entries of a task one is looked at; a section found owned by the same task at sixteen such
//! looks in a row is lent to it. One that is taken away (a heavy barrier) is not lent again. So a section that passes
//! from hand to hand pays for at most one revocation in its life, after tens of thousands of entries.

use crate::handle::{self, BIASED, REVOKING};
use crate::lock::crst::FastPath;
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
pub(crate) fn biased_word(handle: u64, id: u64) -> u64 {
    handle ^ id ^ BIASED
}

/// How the task that a section is lent to gets on.
enum Settled {
    /// It owns the section, so often.
    Owner(u32),
    /// It does not.
    NotOwner,
}

impl Section {
    /// Enters a section that is lent to the caller, whose word was just seen to be `biased_word`.
    #[inline(always)]
    pub(crate) fn enter_biased(&self, biased_word: u64) -> FastPath {
        let counter = self.bias_counter().load(Ordering::Relaxed);
        // 0 in a slot never used, whose zero word looks lent to a handle that is the caller's own id XOR BIASED.
        if counter.wrapping_sub(1) >= u32::MAX - 1 {
            return FastPath::NotTaken;
        }
        self.bias_counter().store(counter + 1, Ordering::Relaxed);
        // Not later than the look below: the heavy barrier of who revokes does the rest.
        // place: biased-enter-barrier
        sys::light_barrier();
        if self.word().load(Ordering::Relaxed) == biased_word { FastPath::Done } else { FastPath::Revoked }
    }

    /// Leaves a section that is lent to the caller, as in enter_biased, once.
    #[inline(always)]
    pub(crate) fn leave_biased(&self, biased_word: u64) -> FastPath {
        let counter = self.bias_counter().load(Ordering::Relaxed);
        if counter <= NOT_ENTERED {
            return FastPath::NotTaken;
        }
        // Release pairs with the Acquire in revoke_locked: the next owner sees what was done in the section.
        // place: biased-leave-release
        self.bias_counter().store(counter - 1, Ordering::Release);
        // place: biased-leave-barrier
        sys::light_barrier();
        if self.word().load(Ordering::Relaxed) == biased_word { FastPath::Done } else { FastPath::Revoked }
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
                Settled::NotOwner => false,
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
            Settled::NotOwner => false,
        }
    }

    /// What became of the section when its bias went; under the queue lock, by the task it was lent to.
    fn settle(&self, handle: u64, me: u64) -> Settled {
        let entries = self.biased_entries();
        if self.word().load(Ordering::Relaxed) == handle ^ me {
            Settled::Owner(entries)
        } else {
            Settled::NotOwner
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
        self.disable_bias();
        if owner != sys::current_id() {
            // Only under this lock does a biased word change, so a store will do.
            self.word().store(handle ^ owner ^ REVOKING, Ordering::Relaxed);
            await_biased_owner();
        }
        self.unbias(handle, owner);
    }

    /// Whether the section with this handle is lent to the task with this id.
    fn is_biased_to(&self, handle: u64, id: u64) -> bool {
        self.word().load(Ordering::Relaxed) == biased_word(handle, id)
    }

    /// Whether it is, or is being taken from that task at this moment. If not, what who took it has counted is seen.
    fn is_or_was_just_biased_to(&self, handle: u64, id: u64) -> bool {
        // Acquire pairs with the Release in unbias: the task counts the section as its own if it was in it.
        // place: biased-owner-load
        let owner = self.word().load(Ordering::Acquire) ^ handle;
        is_biased(owner) && owner & !(BIASED | REVOKING) == id
    }

    /// Whether it is lent to the task, and the task is in it.
    pub(crate) fn is_biased_and_entered(&self, handle: u64, id: u64) -> bool {
        self.is_biased_to(handle, id) && self.biased_entries() != 0
    }

    /// Gives the section the ordinary word for an owner that has entered as often as `bias_counter` says.
    fn unbias(&self, handle: u64, owner: u64) {
        let entries = self.biased_entries();
        self.set_entries(entries.max(1));
        if entries != 0 {
            tasks::of_owner(owner).count_revoked_entry();
        }
        // Release: whoever sees the word sees the entries.
        self.word().store(if entries == 0 { handle } else { handle ^ owner }, Ordering::Release);
    }

    /// One entry of many: lends the section to `me`, which has just entered it once, if it has earned that.
    pub(crate) fn sample_entry(&self, handle: u64, me: u64) {
        let samples = REGISTRY.bias.samples.load(Ordering::Relaxed);
        if samples == 0
            || REGISTRY.is_fenced()
            || self.is_bias_disabled()
            || self.mirror() != 0
            || !self.count_sample(me, samples)
        {
            return;
        }
        preserving_errno(|| {
            let _queue = self.queue_lock().lock();
            let biased_before = self.biased_to();
            let slot = handle::owner_slot(me);
            // See "whose the counter is": not to another task while the last one lives.
            let counter_is_free =
                biased_before == 0 || biased_before == slot || REGISTRY.tasks.at(biased_before).id() == 0;
            if counter_is_free
                && self.queue_state().load(Ordering::Relaxed) == 0
                && tasks::of_owner(me).remember_bias(handle)
            {
                tasks::of_owner(me).count_leave();
                self.set_biased_to(slot);
                self.bias_counter().store(NOT_ENTERED + 1, Ordering::Relaxed);
                self.word().store(biased_word(handle, me), Ordering::Release);
            }
        });
    }

    /// Counts a look that found `me`; whether there were enough in a row.
    fn count_sample(&self, me: u64, enough: u32) -> bool {
        let slot = handle::owner_slot(me);
        let last = self.bias_sample().load(Ordering::Relaxed);
        let count = if last >> SAMPLE_COUNT_BITS == slot { (last & SAMPLE_COUNT_MASK) + 1 } else { 1 };
        self.bias_sample().store(slot << SAMPLE_COUNT_BITS | count.min(SAMPLE_COUNT_MASK), Ordering::Relaxed);
        count >= enough
    }

    /// In the child of a fork: ends the bias. By the only thread.
    pub(crate) fn unbias_after_fork(&self, handle: u64) {
        let owner = self.word().load(Ordering::Relaxed) ^ handle;
        if handle::section_generation(owner) != 0 || !is_biased(owner) {
            return;
        }
        self.unbias(handle, owner & !(BIASED | REVOKING));
        self.disable_bias();
    }

    /// In the child of a fork: ends a revocation that a thread of the parent had begun. The task may be living.
    pub(crate) fn revoke_after_fork(&self, handle: u64) {
        let owner = self.word().load(Ordering::Relaxed) ^ handle;
        if handle::section_generation(owner) == 0 && owner & BIASED == 0 && owner & REVOKING != 0 {
            await_biased_owner();
            self.unbias(handle, owner & !REVOKING);
        }
    }
}

/// Waits until the look of the task that a section was lent to sees REVOKING, if its store to `bias_counter` is not seen here.
fn await_biased_owner() {
    // place: revoke-heavy-barrier
    if !sys::heavy_barrier() {
        REGISTRY.set_fenced();
        // place: revoke-nap
        sys::nap(UNFENCED_NAP);
    }
}

/// bias_sample: the task slot that was found, above how often in a row.
const SAMPLE_COUNT_BITS: u32 = 8;
const SAMPLE_COUNT_MASK: u32 = (1 << SAMPLE_COUNT_BITS) - 1;

impl Task {
    /// Notes that the section is lent to this task, so that it can be given back at the end. False if it has too many.
    /// A section that is being taken away keeps its place: until that is done nobody can say whether the task owns it, and
    /// at its end the task must wait for the answer.
    fn remember_bias(&self, handle: u64) -> bool {
        let place = self.biases().iter().find(|place| {
            let other = place.load(Ordering::Relaxed);
            other == 0 || !sections::slot_of(other).is_or_was_just_biased_to(other, self.id())
        });
        if let Some(place) = place {
            place.store(handle, Ordering::Relaxed);
        }
        place.is_some()
    }

    /// Gives back what was lent to this task; by its own thread, at its end. A word must not name a task that is gone.
    pub(crate) fn release_biases(&self) {
        for place in self.biases() {
            let handle = place.swap(0, Ordering::Relaxed);
            if handle != 0 {
                let section = sections::slot_of(handle);
                let _queue = section.queue_lock().lock();
                if section.is_biased_to(handle, self.id()) {
                    section.unbias(handle, self.id());
                }
            }
        }
    }
}
