//! The one place where everything stands: what a report shows is a pure function of this memory.
//!
//! The layout is versioned. A tool outside the process finds it by the exported symbol `hostcrst_registry_v1`,
//! which holds the registry's address.

use core::mem::offset_of;

use crossbeam_utils::CachePadded;

use crate::addresses::Addresses;
use crate::arena::Arena;
use crate::bias;
use crate::copies;
use crate::crst::Section;
use crate::error::{Error, Result};
use crate::fork;
use crate::handle;
use crate::holds::Holds;
use crate::layers::ChunkPool;
use crate::layout;
use crate::messages::Messages;
use crate::name::Name;
use crate::pace;
use crate::runtime::Runtime;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::{self, Mutex};
use crate::targets::Targets;
use crate::task::{self, Task};
use crate::wait_graph::Deadlocks;
use crate::win32;

/// "hostcrst" in little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"hostcrst");
/// Changes with every change of the layout of the registry or of what it holds.
pub const LAYOUT_VERSION: u32 = 2;

/// What a registry begins with, in every version of the layout.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// MAGIC.
    pub magic: u64,
    /// Which layout the registry has.
    pub layout_version: u32,
    /// The bytes of the registry.
    pub size: u32,
}

/// All of the library's state.
#[repr(C)]
pub struct Registry {
    header: Header,
    layout: [layout::Entry; layout::ENTRIES],
    /// On a line of its own with the hot fields of the arenas after it: every call reads it.
    pub(crate) runtime: CachePadded<Runtime>,
    pub(crate) bias: bias::Policy,
    pub(crate) sections: Arena<Section>,
    pub(crate) tasks: Arena<Task>,
    pub(crate) names: Arena<NameSlot>,
    pub(crate) targets: Targets,
    pub(crate) chunks: ChunkPool,
    pub(crate) holds: Holds,
    pub(crate) deadlocks: Deadlocks,
    pub(crate) win32: win32::Counts,
    pub(crate) messages: Messages,
    /// Which of the copies of the library in this process this is.
    copy: AtomicU32,
    pub(crate) addresses: Addresses,
    /// What the other copies see of this one: see `copies`.
    claim: AtomicU32,
    /// 1 once `prepare` has succeeded.
    ready: AtomicU32,
    /// 1 where waiters cannot rely on the heavy barrier, so every release must fence by itself.
    fenced: AtomicU32,
    /// How many processors the process may run on.
    processors: AtomicU32,
    /// How many pauses of the processor take a microsecond.
    pauses_per_microsecond: AtomicU32,
    prepare_lock: Mutex,
}

/// A name that a section points to: most sections have none, so they do not carry the room.
#[repr(C)]
pub struct NameSlot {
    pub(crate) name: Name,
}

// SAFETY: all fields are atomics or made of such.
unsafe impl crate::arena::Slot for NameSlot {}

pub(crate) static REGISTRY: Registry = Registry {
    header: Registry::HEADER,
    layout: layout::TABLE,
    runtime: CachePadded::new(Runtime::new()),
    bias: bias::Policy::new(),
    sections: Arena::new(),
    tasks: Arena::new(),
    names: Arena::new(),
    targets: Targets::new(),
    chunks: ChunkPool::new(),
    holds: Holds::new(),
    deadlocks: Deadlocks::new(),
    win32: win32::Counts::new(),
    messages: Messages::new(),
    copy: AtomicU32::new(0),
    addresses: Addresses::new(),
    claim: AtomicU32::new(0),
    ready: AtomicU32::new(0),
    fenced: AtomicU32::new(0),
    processors: AtomicU32::new(1),
    pauses_per_microsecond: AtomicU32::new(1),
    prepare_lock: Mutex::new(),
};

sys::show_claim!(REGISTRY, offset_of!(Registry, claim));

/// Where a tool outside the process finds the registry.
#[repr(transparent)]
pub struct RegistryAddress(#[allow(dead_code)] &'static Registry);

/// cbindgen:ignore
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static hostcrst_registry_v1: RegistryAddress = RegistryAddress(&REGISTRY);

/// For `layout`. The table itself begins behind the header.
pub(crate) const LAYOUT: [(&str, usize); 8] = [
    ("registry.runtime", offset_of!(Registry, runtime)),
    ("registry.sections", offset_of!(Registry, sections)),
    ("registry.tasks", offset_of!(Registry, tasks)),
    ("registry.names", offset_of!(Registry, names)),
    ("registry.deadlocks", offset_of!(Registry, deadlocks)),
    ("registry.copy", offset_of!(Registry, copy)),
    ("named.bytes", size_of::<NameSlot>()),
    ("named.name", offset_of!(NameSlot, name)),
];

impl Registry {
    /// The header of a registry of this build's layout.
    pub const HEADER: Header =
        Header { magic: MAGIC, layout_version: LAYOUT_VERSION, size: size_of::<Registry>() as u32 };

    /// Whether the registry says that its fields stand where this build expects them.
    pub fn has_layout_of_this_build(&self) -> bool {
        self.header == Self::HEADER && self.layout == layout::TABLE
    }

    /// Whether the process has, or had, another copy of the library in use.
    pub(crate) fn has_other_copies(&self) -> bool {
        copies::has_others(self.claim.load(Ordering::Relaxed))
    }

    /// Whether another copy of the library in this process has this number.
    pub(crate) fn is_copy(&self, number: u32) -> bool {
        copies::is_anothers(&self.claim, number)
    }

    /// Which of the copies of the library in this process this is: their handles differ by it.
    pub(crate) fn copy(&self) -> u32 {
        self.copy.load(Ordering::Relaxed)
    }

    /// Whether waiters must not rely on the heavy barrier.
    #[inline]
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed) != 0
    }

    /// From here on every release fences by itself.
    pub(crate) fn set_fenced(&self) {
        self.fenced.store(1, Ordering::Relaxed);
    }

    /// Whether another thread can run while this one spins.
    #[inline]
    pub(crate) fn spinning_helps(&self) -> bool {
        self.processors.load(Ordering::Relaxed) > 1
    }

    /// How many pauses of the processor take a microsecond.
    pub(crate) fn pauses_per_microsecond(&self) -> u32 {
        self.pauses_per_microsecond.load(Ordering::Relaxed)
    }

    /// Whether the arenas exist. Handles can name nothing before.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        // The child of a fork is put in order before it looks at anything.
        sys::settle_fork();
        // Acquire pairs with the Release in prepare: what it set up is seen.
        self.ready.load(Ordering::Acquire) != 0
    }

    /// The lock of prepare.
    pub(crate) fn prepare_lock(&self) -> &Mutex {
        &self.prepare_lock
    }

    /// Reserves the arenas, once. Fails with OutOfMemory and may be tried again.
    pub(crate) fn prepare(&self) -> Result<()> {
        if self.is_ready() {
            return Ok(());
        }
        // Before the lock: a child of a fork could find that taken for ever.
        if !sys::on_fork(fork::repair_child) {
            return Err(Error::OutOfMemory);
        }
        let _guard = self.prepare_lock.lock();
        if self.is_ready() {
            return Ok(());
        }
        self.copy.store(copies::claim(&self.claim)?, Ordering::Relaxed);
        self.sections.reserve(handle::MAX_SECTIONS)?;
        // A quarter of the section slots at most: the proof in handle.rs needs every task slot to lie in the part of
        // a handle that selects the section's slot.
        self.tasks.reserve(handle::MAX_TASKS.min(self.sections.capacity() / 4))?;
        self.names.reserve(handle::MAX_SECTIONS)?;
        // Readable from the start, for the same proof: a look at fewer could be under way when a later task begins.
        self.sections.show(self.tasks.capacity() * 4)?;
        self.addresses.reserve(self.sections.capacity())?;
        self.targets.reserve();
        self.sections.skip_to(handle::FIRST_SECTION_SLOT)?;
        for index in 0..handle::FIRST_SECTION_SLOT {
            self.sections.at(index).take(index);
        }
        self.tasks.skip_to(handle::FIRST_TASK_SLOT)?;
        if !task::install_hooks() {
            return Err(Error::OutOfMemory);
        }
        self.processors.store(sys::processors(), Ordering::Relaxed);
        self.pauses_per_microsecond.store(pace::measure_pauses(), Ordering::Relaxed);
        if !sys::register_heavy_barrier() || !sys::heavy_barrier() {
            self.set_fenced();
        }
        self.ready.store(1, Ordering::Release);
        Ok(())
    }
}
