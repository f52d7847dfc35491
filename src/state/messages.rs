//! What became of messages, and which file stderr was. What they say is not known here.

use crate::base::memory::{Shown, readable_in_copies};
use crate::sys::FileId;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

/// Zeroed memory: nothing is known of stderr, and nothing was dropped.
#[repr(C)]
pub(crate) struct Messages {
    /// The file that stderr was; of device 0 if there was none.
    pub(crate) device: AtomicU64,
    pub(crate) inode: AtomicU64,
    /// 1 once that is known.
    pub(crate) is_known: AtomicU32,
    /// 1 if the last message was taken in part.
    pub(crate) is_torn: AtomicU32,
    /// Dropped or torn since the process began, and since that was last said.
    pub(crate) dropped: AtomicU64,
    pub(crate) untold: AtomicU64,
}

readable_in_copies!(Messages);

impl Shown<Messages> {
    /// How many messages were dropped, or taken in part, since the process began.
    pub(crate) fn dropped(&self) -> u64 {
        self.fields().dropped.load(Ordering::Relaxed)
    }
}

impl Messages {
    pub(crate) const fn new() -> Self {
        Messages {
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
            is_known: AtomicU32::new(0),
            is_torn: AtomicU32::new(0),
            dropped: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        }
    }

    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
    }

    /// The file that stderr was when the library was loaded.
    pub(crate) fn stderr(&self) -> FileId {
        FileId { device: self.device.load(Ordering::Relaxed), inode: self.inode.load(Ordering::Relaxed) }
    }
}
