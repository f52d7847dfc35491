//! Owner bias: a section that one task enters again and again becomes biased to that task, which then enters and
//! leaves it with plain loads and stores, until another task comes and revokes the bias. How tasks wait stands in
//! `queue`; here is only known that a section with waiters must not be biased.
//!
//! A biased section's word is its handle XOR the task's id XOR BIASED. While it is so, `bias_counter` is one more
//! than the task's recursion, and only that task writes it:
//!
//! ```text
//!   the biased task, entering or leaving     the revoker, under the queue lock
//!   store bias_counter                       store word: REVOKING
//!   light barrier                            heavy barrier
//!   load word: still BIASED?                 load bias_counter
//! ```
//!
//! Store, then load, on both sides, where the revoker pays for the biased task's barrier too (Dekker's pattern, as in
//! `queue`). If the task's store came before the heavy barrier, the revoker's load sees it, and the task becomes an
//! ordinary owner with the recursion that `bias_counter` gives. If it came after, the task's load sees that the bias
//! is gone. The task then takes the queue lock and settles: if the word names it as the owner, `bias_counter` gives
//! its recursion; if not, its entry has not happened, and it enters like any other task.
//!
//! **Whose the counter is.** A task may be preempted between its load of the word and its store to `bias_counter`,
//! for any length of time. So the counter belongs to the task that the slot was last biased to until that task has
//! ended: before, the slot is biased to no other task, not even for another section. A late store then lands in a
//! word that nobody reads.
//!
//! **When a bias is granted.** Of the entries of a task one in 1,024 is sampled; a section that sixteen samples in a
//! row found owned by the same task becomes biased to it. A revocation costs a heavy barrier, so a section whose bias
//! was revoked is never biased again: one that passes from task to task pays for at most one revocation in its life,
//! after tens of thousands of entries.

use crate::handle::{self, BIASED, REVOKING};
use crate::lock::barrier::pass_heavy_barrier;
use crate::lock::crst::FastPath;
use crate::state::registry::REGISTRY;
use crate::state::section::{NOT_ENTERED, Section, is_biased};
use crate::state::task::Task;
use crate::state::{sections, tasks};
use crate::sys::atomic::Ordering;
use crate::sys::{self, preserving_errno};

/// The word of the section with this handle while it is biased to the task with this id.
#[inline(always)]
pub(crate) fn biased_word(handle: u64, id: u64) -> u64 {
    handle ^ id ^ BIASED
}

/// What has become of the task that a section was biased to.
enum Settled {
    /// It owns the section, with this recursion.
    Owner(u32),
    /// It does not own it.
    NotOwner,
}

impl Section {
    /// Enters a section that is biased to the caller, whose word was just seen to be `biased_word`.
    #[inline(always)]
    pub(crate) fn enter_biased(&self, biased_word: u64) -> FastPath {
        let counter = self.bias_counter().load(Ordering::Relaxed);
        // 0 in a slot never used, whose zero word seems biased to the caller for a handle that is its own id XOR
        // BIASED.
        if counter.wrapping_sub(1) >= u32::MAX - 1 {
            return FastPath::NotTaken;
        }
        self.bias_counter().store(counter + 1, Ordering::Relaxed);
        // Keeps the compiler from moving the store behind the load below; the revoker's heavy barrier does the rest.
        // place: biased-enter-barrier
        sys::light_barrier();
        if self.word().load(Ordering::Relaxed) == biased_word { FastPath::Done } else { FastPath::Revoked }
    }

    /// Leaves a section that is biased to the caller, as in enter_biased, once.
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

    /// The bias was revoked during an entry: whether the entry has happened.
    pub(crate) fn settle_entry(&self, handle: u64, me: u64) -> bool {
        preserving_errno(|| {
            let _queue = self.lock_queue();
            match self.settle(handle, me) {
                Settled::Owner(entries) => {
                    self.set_entries(entries);
                    true
                }
                Settled::NotOwner => false,
            }
        })
    }

    /// The bias was revoked during a leave. Whether that leave released the section, so that a wake is due.
    pub(crate) fn settle_leave(&self, handle: u64, me: u64) -> bool {
        let _queue = self.lock_queue();
        match self.settle(handle, me) {
            Settled::Owner(0) => {
                // The revoker has made it an ordinary owner: it leaves as one.
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

    /// Whether the task owns the section after the revocation; under the queue lock, by the task it was biased to.
    fn settle(&self, handle: u64, me: u64) -> Settled {
        let entries = self.biased_entries();
        if self.word().load(Ordering::Relaxed) == handle ^ me {
            Settled::Owner(entries)
        } else {
            Settled::NotOwner
        }
    }

    /// Revokes the bias, if there is one.
    #[cold]
    pub(crate) fn revoke(&self, handle: u64) {
        let _queue = self.lock_queue();
        self.revoke_locked(handle);
    }

    /// Revokes the bias, if there is one; under the queue lock.
    pub(crate) fn revoke_locked(&self, handle: u64) {
        if self.biased_owner(handle).is_some() {
            // A handler that forked in between would leave to the child what names a task that is none there.
            sys::without_handlers(|| self.revoke_uninterrupted(handle));
        }
    }

    /// The task that the section is biased to, if it is.
    fn biased_owner(&self, handle: u64) -> Option<u64> {
        let owner = self.word().load(Ordering::Relaxed) ^ handle;
        (handle::section_generation(owner) == 0 && owner & BIASED != 0).then_some(owner ^ BIASED)
    }

    fn revoke_uninterrupted(&self, handle: u64) {
        let Some(owner) = self.biased_owner(handle) else { return };
        self.disable_bias();
        if owner != sys::current_id() {
            // Only under this lock does a biased word change, so a store will do.
            self.word().store(handle ^ owner ^ REVOKING, Ordering::Relaxed);
            // The biased task sees REVOKING when it next loads the word, unless its store to `bias_counter` is seen here.
            pass_heavy_barrier();
        }
        self.unbias(handle, owner);
    }

    /// Whether the section with this handle is biased to the task with this id.
    fn is_biased_to(&self, handle: u64, id: u64) -> bool {
        self.word().load(Ordering::Relaxed) == biased_word(handle, id)
    }

    /// Whether it is, or its bias is being revoked at this moment. If not, what the revoker has counted is seen.
    fn is_or_was_just_biased_to(&self, handle: u64, id: u64) -> bool {
        // Acquire pairs with the Release in unbias: the task counts the section as its own if it was in it.
        // place: biased-owner-load
        let owner = self.word().load(Ordering::Acquire) ^ handle;
        is_biased(owner) && owner & !(BIASED | REVOKING) == id
    }

    /// Ends the bias: gives the section its ordinary word, owned with the recursion that `bias_counter` gives, or free.
    fn unbias(&self, handle: u64, owner: u64) {
        let entries = self.biased_entries();
        self.set_entries(entries.max(1));
        if entries != 0 {
            tasks::of_owner(owner).count_revoked_entry();
        }
        // Release pairs with the Acquire of an owner that finds itself in the word: it sees its entries.
        self.word().store(if entries == 0 { handle } else { handle ^ owner }, Ordering::Release);
    }

    /// Samples an entry of `me`, which has just entered the section once: makes it biased to `me` if enough samples
    /// agree.
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
            let _queue = self.lock_queue();
            let biased_before = self.biased_to();
            let slot = handle::owner_slot(me);
            // See "whose the counter is": to no other task while the last one lives.
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

    /// Counts a sample that found `me`; whether there were enough in a row.
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

    /// In the child of a fork: ends a revocation that a thread of the parent had begun. The biased task may be the
    /// one alive.
    pub(crate) fn revoke_after_fork(&self, handle: u64) {
        let owner = self.word().load(Ordering::Relaxed) ^ handle;
        if handle::section_generation(owner) == 0 && owner & BIASED == 0 && owner & REVOKING != 0 {
            pass_heavy_barrier();
            self.unbias(handle, owner & !REVOKING);
        }
    }
}

/// bias_sample: the task slot that was found in the upper bits, how often in a row in the lower.
const SAMPLE_COUNT_BITS: u32 = 8;
const SAMPLE_COUNT_MASK: u32 = (1 << SAMPLE_COUNT_BITS) - 1;

impl Task {
    /// Notes that the section is biased to this task, so that the bias can be released at its end. False if it has
    /// too many. A section that is being revoked keeps its place: until that is done nobody can say whether the task
    /// owns it, and at its end the task must wait for the answer.
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

    /// Ends every bias to this task; by its own thread, at its end: no word may name a task that has ended.
    pub(crate) fn release_biases(&self) {
        for place in self.biases() {
            let handle = place.swap(0, Ordering::Relaxed);
            if handle != 0 {
                let section = sections::slot_of(handle);
                let _queue = section.lock_queue();
                if section.is_biased_to(handle, self.id()) {
                    section.unbias(handle, self.id());
                }
            }
        }
    }
}
