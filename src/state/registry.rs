//! The one static, which holds all of the state that a report shows: a report is a pure function of this memory. It
//! knows no behaviour of what it holds.
//!
//! The layout is versioned. A tool outside the process finds it by the exported symbol `hostcrst_registry_v1`,
//! which holds the registry's address.

use core::mem::offset_of;

use crossbeam_utils::CachePadded;

use crate::base::arena::{self, Arena};
use crate::base::copies;
use crate::base::memory::{Memory, Shown, readable_in_copies};
use crate::base::name::{self, Name, NameCopy};
use crate::base::table;
use crate::handle;
use crate::state::addresses::Addresses;
use crate::state::deadlocks::Deadlocks;
use crate::state::holds::Holds;
use crate::state::layers::{self, ChunkPool};
use crate::state::messages::Messages;
use crate::state::orders::Orders;
use crate::state::resource::{self, Resource};
use crate::state::runtime::{self, Runtime};
use crate::state::section::{self, Section};
use crate::state::statistics::Statistics;
use crate::state::targets::{self, Targets};
use crate::state::task::{self, Task};
use crate::state::{bias, layout, misuses, wait, words};
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::{self, Mutex};

/// "hostcrst" in little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"hostcrst");
/// Rises as docs/release.md says.
pub const LAYOUT_VERSION: u32 = 3;

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

/// All of the library's state that a report shows.
#[repr(C)]
pub struct Registry {
    pub(crate) header: Header,
    pub(crate) layout: [layout::Entry; layout::ENTRIES],
    /// On a line of its own with the hot fields of the arenas after it: every call reads it.
    pub(crate) runtime: CachePadded<Runtime>,
    pub(crate) bias: bias::Policy,
    pub(crate) sections: Arena<Section>,
    pub(crate) tasks: Arena<Task>,
    pub(crate) names: Arena<NameSlot>,
    pub(crate) resources: Arena<Resource>,
    pub(crate) targets: Targets,
    pub(crate) chunks: ChunkPool,
    pub(crate) holds: Holds,
    pub(crate) statistics: Statistics,
    pub(crate) orders: Orders,
    pub(crate) deadlocks: Deadlocks,
    pub(crate) win32: misuses::Misuses,
    pub(crate) messages: Messages,
    /// Which of the copies of the library in this process this is.
    pub(crate) copy: AtomicU32,
    pub(crate) addresses: Addresses,
    /// The word by which the other copies know this one: see `copies`.
    pub(crate) claim: AtomicU32,
    /// 1 once `prepare` has succeeded.
    pub(crate) ready: AtomicU32,
    /// 1 where waiters cannot rely on the heavy barrier, so every release must fence by itself.
    pub(crate) fenced: AtomicU32,
    /// How many processors the process may run on.
    pub(crate) processors: AtomicU32,
    /// What a CLR tells: whether of waits for the locks of its managed code, SEEN, and how often it has stopped that code,
    /// each time a STOP more, and once it runs again a STOPPED less.
    pub(crate) managed_locks: AtomicU32,
    /// How many pauses of the processor take a microsecond.
    pub(crate) pauses_per_microsecond: AtomicU32,
    pub(crate) prepare_lock: Mutex,
}

/// In managed_locks: a CLR tells of waits for the locks of its managed code.
const SEEN: u32 = 1;
/// In managed_locks: managed code is stopped. Another stop may begin before the end of one is told: so these are counted.
const STOPPED: u32 = 2;
const ALL_STOPPED: u32 = 0xFE;
/// In managed_locks: a stop, with the number that it adds to.
const STOP: u32 = 0x100 + STOPPED;

/// A name that a section points to: most sections have none, so they do not carry the room.
#[repr(C)]
pub struct NameSlot {
    pub(crate) name: Name,
}

// SAFETY: all fields are atomics or made of such.
unsafe impl crate::base::arena::Slot for NameSlot {}

impl Shown<NameSlot> {
    /// The name, of a slot that `M` shows.
    pub(crate) fn name_in<M: Memory>(&self) -> NameCopy {
        self.fields().name.get_in::<M>()
    }
}

pub(crate) static REGISTRY: Registry = Registry {
    header: Registry::HEADER,
    layout: TABLE,
    runtime: CachePadded::new(Runtime::new()),
    bias: bias::Policy::new(),
    sections: Arena::new(),
    tasks: Arena::new(),
    names: Arena::new(),
    resources: Arena::new(),
    targets: Targets::new(),
    chunks: ChunkPool::new(),
    holds: Holds::new(),
    statistics: Statistics::new(),
    orders: Orders::new(),
    deadlocks: Deadlocks::new(),
    win32: misuses::Misuses::new(),
    messages: Messages::new(),
    copy: AtomicU32::new(0),
    addresses: Addresses::new(),
    claim: AtomicU32::new(0),
    ready: AtomicU32::new(0),
    fenced: AtomicU32::new(0),
    processors: AtomicU32::new(1),
    managed_locks: AtomicU32::new(0),
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
pub(crate) const LAYOUT: [(&str, usize); 10] = [
    ("registry.runtime", offset_of!(Registry, runtime)),
    ("registry.sections", offset_of!(Registry, sections)),
    ("registry.tasks", offset_of!(Registry, tasks)),
    ("registry.names", offset_of!(Registry, names)),
    ("registry.resources", offset_of!(Registry, resources)),
    ("registry.targets", offset_of!(Registry, targets)),
    ("registry.deadlocks", offset_of!(Registry, deadlocks)),
    ("registry.copy", offset_of!(Registry, copy)),
    ("named.bytes", size_of::<NameSlot>()),
    ("named.name", offset_of!(NameSlot, name)),
];

/// What an outside reader must know to draw a picture.
pub(crate) const TABLE: [layout::Entry; layout::ENTRIES] = layout::table(
    [
        &LAYOUT,
        &arena::LAYOUT,
        &task::LAYOUT,
        &wait::LAYOUT,
        &layers::LAYOUT,
        &section::LAYOUT,
        &resource::LAYOUT,
        &name::LAYOUT,
        &table::LAYOUT,
        &targets::LAYOUT,
    ],
    [
        &handle::NUMBERS,
        &runtime::NUMBERS,
        &layers::NUMBERS,
        &wait::NUMBERS,
        &section::NUMBERS,
        &resource::NUMBERS,
        &targets::NUMBERS,
    ],
    &words::LAYOUT,
);

readable_in_copies!(Registry);

impl Shown<Registry> {
    /// Whether the registry says that its fields stand where this build expects them.
    pub fn has_layout_of_this_build(&self) -> bool {
        let Registry { header, layout, .. } = self.fields();
        *header == Registry::HEADER && *layout == TABLE
    }

    /// Whether the process has, or had, another copy of the library in use.
    pub(crate) fn has_other_copies(&self) -> bool {
        copies::has_others(self.fields().claim.load(Ordering::Relaxed))
    }

    /// Whether a CLR tells of waits for the locks of its managed code.
    pub(crate) fn sees_managed_locks(&self) -> bool {
        self.fields().managed_locks.load(Ordering::Relaxed) & SEEN != 0
    }

    /// Which of the copies of the library in its process this is: their handles differ by it.
    pub(crate) fn copy(&self) -> u32 {
        self.fields().copy.load(Ordering::Relaxed)
    }

    pub(crate) fn runtime(&self) -> &Shown<Runtime> {
        &self.fields().runtime
    }

    pub(crate) fn sections(&self) -> &Shown<Arena<Section>> {
        &self.fields().sections
    }

    pub(crate) fn tasks(&self) -> &Shown<Arena<Task>> {
        &self.fields().tasks
    }

    pub(crate) fn names(&self) -> &Shown<Arena<NameSlot>> {
        &self.fields().names
    }

    pub(crate) fn resources(&self) -> &Shown<Arena<Resource>> {
        &self.fields().resources
    }

    pub(crate) fn targets(&self) -> &Shown<Targets> {
        &self.fields().targets
    }

    pub(crate) fn holds(&self) -> &Shown<Holds> {
        &self.fields().holds
    }

    pub(crate) fn statistics(&self) -> &Shown<Statistics> {
        &self.fields().statistics
    }

    pub(crate) fn orders(&self) -> &Shown<Orders> {
        &self.fields().orders
    }

    pub(crate) fn deadlocks(&self) -> &Shown<Deadlocks> {
        &self.fields().deadlocks
    }

    pub(crate) fn misuses(&self) -> &Shown<misuses::Misuses> {
        &self.fields().win32
    }

    pub(crate) fn messages(&self) -> &Shown<Messages> {
        &self.fields().messages
    }
}

impl Registry {
    /// The header of a registry of this build's layout.
    pub const HEADER: Header =
        Header { magic: MAGIC, layout_version: LAYOUT_VERSION, size: size_of::<Registry>() as u32 };

    /// Where a registry says whether its CLR has stopped managed code.
    pub const STOPS: usize = offset_of!(Registry, managed_locks);

    /// Whether managed code is stopped, by what stands there.
    #[inline]
    pub const fn is_managed_code_stopped(stops: u32) -> bool {
        stops & ALL_STOPPED != 0
    }

    /// Whether managed code has run since: each stop that `before` knows of is over by `now`. So who was held then has run, too.
    pub const fn has_managed_code_run(before: u32, now: u32) -> bool {
        let ended = (now >> 8).wrapping_sub((now & ALL_STOPPED) / STOPPED);
        // Of these numbers 24 bits are known.
        (ended.wrapping_sub(before >> 8) << 8) as i32 >= 0
    }

    /// What stands there now. It is another one if managed code was stopped since.
    ///
    /// While that code is stopped, for a collection of garbage mostly, a thread may be held in the CLR on its way back from a wait,
    /// in a sleep that looks like the wait; and it may have taken the lock and not have left its name there yet.
    #[inline]
    pub(crate) fn stops(&self) -> u32 {
        // Acquire pairs with the Release in managed_code_runs: threads that were held until then are seen to have woken.
        self.managed_locks.load(Ordering::Acquire)
    }

    /// The CLR is about to stop managed code: from now on its threads may be held.
    #[inline]
    pub(crate) fn managed_code_stops(&self) {
        self.managed_locks.fetch_add(STOP, Ordering::AcqRel);
    }

    /// Whether a CLR tells of waits for the locks of its managed code from now on.
    pub(crate) fn set_sees_managed_locks(&self, sees: bool) {
        if sees {
            self.managed_locks.fetch_or(SEEN, Ordering::Relaxed);
        } else {
            self.managed_locks.fetch_and(!SEEN, Ordering::Relaxed);
        }
    }

    /// None is held any more.
    #[inline]
    pub(crate) fn managed_code_runs(&self) {
        // Release pairs with the Acquire in stops.
        self.managed_locks.fetch_sub(STOPPED, Ordering::Release);
    }

    /// Whether another copy of the library in this process has this number.
    pub(crate) fn is_copy(&self, number: u32) -> bool {
        copies::is_anothers(&self.claim, number)
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

    /// Whether a thread may run although the owner and the contender do: see `spin`, "Standing by".
    #[inline]
    pub(crate) fn has_spare_processors(&self) -> bool {
        self.processors.load(Ordering::Relaxed) > 2
    }

    /// How many pauses of the processor take a microsecond.
    pub(crate) fn pauses_per_microsecond(&self) -> u32 {
        self.pauses_per_microsecond.load(Ordering::Relaxed)
    }

    /// Whether the arenas exist. Handles can name nothing before.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        // The child of a fork is put in order before it reads anything.
        sys::settle_fork();
        // Acquire pairs with the Release in prepare: what it set up is seen.
        self.ready.load(Ordering::Acquire) != 0
    }

    /// The lock of prepare.
    pub(crate) fn prepare_lock(&self) -> &Mutex {
        &self.prepare_lock
    }
}
