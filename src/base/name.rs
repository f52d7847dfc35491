//! A short text that one thread changes and others read, never torn: the names of tasks and sections.

use core::mem::offset_of;

use crate::base::memory::Memory;
use crate::base::seqlock::SeqLock;
use crate::constants::HOSTCRST_NAME_SIZE;
use crate::sys;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::text::{TextBuffer, cut};

const WORDS: usize = 7;
/// The bytes of a name at most; longer ones are cut before a character.
pub(crate) const NAME_BYTES: usize = WORDS * 8;
const _: () = assert!(HOSTCRST_NAME_SIZE as usize == NAME_BYTES + 1);

/// A write takes nanoseconds, unless its thread was stopped in the middle: a reader must not wait for that.
const TRIES: usize = 10_000;

/// 56 bytes of text under a sequence lock. Zeroed memory is the empty name. Writers hold a lock of the object that has
/// the name.
#[repr(C)]
pub(crate) struct Name {
    lock: SeqLock,
    length: AtomicU32,
    text: [AtomicU64; WORDS],
}

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 4] = [
    ("name.bytes", NAME_BYTES),
    ("name.sequence", offset_of!(Name, lock)),
    ("name.length", offset_of!(Name, length)),
    ("name.text", offset_of!(Name, text)),
];

/// A copy of a name, or what is to become one.
pub type NameCopy = TextBuffer<NAME_BYTES>;

impl Name {
    /// The empty name.
    pub(crate) const fn new() -> Self {
        Name { lock: SeqLock::new(), length: AtomicU32::new(0), text: [const { AtomicU64::new(0) }; WORDS] }
    }

    /// Replaces the name by `utf8`, cut to what fits. One thread at a time: the caller holds the lock of what has the
    /// name.
    pub(crate) fn set(&self, utf8: &[u8]) {
        let utf8 = cut(utf8, NAME_BYTES);
        self.lock.write(|| {
            self.length.store(utf8.len() as u32, Ordering::Relaxed);
            let mut parts = utf8.chunks(8);
            for word in &self.text {
                let mut value = [0; 8];
                value.iter_mut().zip(parts.next().unwrap_or(&[])).for_each(|(to, &from)| *to = from);
                word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
            }
        });
    }

    /// A copy of the name as it was at one moment; empty if a writer has been at it all the time one may wait for that.
    pub(crate) fn get(&self) -> NameCopy {
        self.get_within(TRIES)
    }

    /// As get, of a name that `M` shows: a copy that was taken from under a writer stays what it is.
    pub(crate) fn get_in<M: Memory>(&self) -> NameCopy {
        self.get_within(if M::LIVE { TRIES } else { 1 })
    }

    fn get_within(&self, tries: usize) -> NameCopy {
        for _ in 0..tries {
            if let Some(name) = self.lock.read(|| self.copy()) {
                return name;
            }
            sys::pause();
        }
        NameCopy::new()
    }

    /// Under the lock.
    fn copy(&self) -> NameCopy {
        let mut copy = NameCopy::new();
        let length = self.length.load(Ordering::Relaxed) as usize;
        for word in self.text.iter().take(length.div_ceil(8)) {
            copy.push_what_fits(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        copy.truncate(length);
        copy
    }
}

#[cfg(test)]
impl Name {
    pub(crate) fn begin_a_write_that_never_ends(&self) {
        self.lock.begin_write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = Name::new();
        let mut long = std::vec![b'a'; NAME_BYTES - 1];
        long.extend_from_slice("é".as_bytes());
        name.set(&long);
        assert_eq!(name.get().bytes(), &long[..NAME_BYTES - 1]);
    }

    #[test]
    fn a_name_that_nobody_finishes_is_empty_until_the_next() {
        let name = Name::new();
        name.set(b"first");
        name.lock.begin_write();
        assert_eq!(name.get().bytes(), b"");
        name.set(b"second");
        assert_eq!(name.get().bytes(), b"second");
    }
}
