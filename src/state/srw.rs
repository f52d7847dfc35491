//! An SRWLOCK as it stands in memory of the program's: eight bytes, zero for a free one. Who waits for it is in the
//! library's memory, and known by the lock's address: `lock::srw`.
//!
//! ```text
//!   63      62      61 .. 40          39 .. 0
//! | WOKEN | QUEUED | shared holders | exclusive owner's id |
//! ```

use crate::sys::atomic::{AtomicU8, AtomicU64, Ordering};

/// The id of the exclusive owner, 0 for none.
pub(crate) const OWNER: u64 = (1 << 40) - 1;
/// One shared holder.
pub(crate) const HOLDER: u64 = 1 << 40;
pub(crate) const HOLDERS: u64 = ((1 << 22) - 1) << 40;
/// Tasks are in the lock's queue.
pub(crate) const QUEUED: u64 = 1 << 62;
/// The first of them is awake, to take the lock: a release wakes nobody.
pub(crate) const WOKEN: u64 = 1 << 63;

/// An SRWLOCK: memory of the program's, at any address.
#[repr(transparent)]
pub struct SrwLock([AtomicU8; 8]);

const _: () = assert!(size_of::<SrwLock>() == 8 && align_of::<SrwLock>() == 1);

/// How the bytes of a lock are accessed. Where it stands decides that, so it is the same for all who access one.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Aligned(&'a AtomicU64),
    /// No atomic operation reaches such a lock on every processor: its bytes are written, and read for a decision, under
    /// the lock of its queue.
    Unaligned(&'a SrwLock),
}

impl SrwLock {
    /// The lock as one word, if it is aligned.
    #[inline(always)]
    pub(crate) fn word(&self) -> Option<&AtomicU64> {
        let word = core::ptr::from_ref(self).cast::<AtomicU64>();
        // SAFETY: it is aligned; it is of eight bytes of atomics, as is what is made of it, and an aligned lock is accessed
        // as one word only.
        word.is_aligned().then(|| unsafe { &*word })
    }

    pub(crate) fn place(&self) -> Place<'_> {
        self.word().map_or(Place::Unaligned(self), Place::Aligned)
    }
}

impl Place<'_> {
    pub(crate) fn address(&self) -> u64 {
        match self {
            Place::Aligned(word) => core::ptr::from_ref(*word) as u64,
            Place::Unaligned(lock) => core::ptr::from_ref(*lock) as u64,
        }
    }

    pub(crate) fn load(&self) -> u64 {
        match self {
            Place::Aligned(word) => word.load(Ordering::Relaxed),
            Place::Unaligned(lock) => {
                u64::from_ne_bytes(core::array::from_fn(|at| lock.0[at].load(Ordering::Relaxed)))
            }
        }
    }

    /// Sets the word if it is still `before`.
    pub(crate) fn replace(&self, before: u64, after: u64) -> bool {
        match self {
            // Acquire for who takes the lock, Release for who gives it up.
            Place::Aligned(word) => {
                // place: srw-replace
                word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
            Place::Unaligned(lock) => {
                let is_as_before = self.load() == before;
                if is_as_before {
                    let bytes = after.to_ne_bytes();
                    lock.0.iter().zip(bytes).for_each(|(byte, value)| byte.store(value, Ordering::Relaxed));
                }
                is_as_before
            }
        }
    }

    /// A free lock. Reads none of the bytes: they may never have been written.
    pub(crate) fn clear(&self) {
        match self {
            Place::Aligned(word) => word.store(0, Ordering::Relaxed),
            Place::Unaligned(lock) => lock.0.iter().for_each(|byte| byte.store(0, Ordering::Relaxed)),
        }
    }
}

/// The exclusive owner's id in a word, 0 for none.
pub(crate) const fn owner(word: u64) -> u64 {
    word & OWNER
}

/// How many hold the lock shared.
pub(crate) const fn holders(word: u64) -> u32 {
    ((word & HOLDERS) / HOLDER) as u32
}

/// How many share a lock that nobody owns or waits for: with such a word they are the whole number. Any other word makes one
/// above MOST_HOLDERS: of the owner's id, above the flags, above the holders.
pub(crate) const fn undisturbed_holders(word: u64) -> u64 {
    word.rotate_right(HOLDER.trailing_zeros())
}

pub(crate) const MOST_HOLDERS: u64 = HOLDERS / HOLDER;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::{LAST_TASK_GENERATION, MAX_TASKS, owner_id};

    #[test]
    fn parts_of_a_word_do_not_overlap() {
        let id = owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION);
        assert_eq!(id & !OWNER, 0);
        assert_eq!(OWNER ^ HOLDERS ^ QUEUED ^ WOKEN, u64::MAX);
        assert_eq!((owner(id | QUEUED), holders((3 * HOLDER) | WOKEN)), (id, 3));
    }

    #[test]
    fn an_owner_or_a_flag_disturbs_holders() {
        assert_eq!([0, 3 * HOLDER, HOLDERS].map(undisturbed_holders), [0, 3, MOST_HOLDERS]);
        for other in [1, OWNER, QUEUED, WOKEN, QUEUED | WOKEN] {
            assert!(undisturbed_holders((3 * HOLDER) | other) > MOST_HOLDERS);
        }
    }
}
