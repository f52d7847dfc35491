//! The nested layers of a task: which crossings between managed and native code are open, outermost first.
//!
//! Only the task itself pushes and pops; any thread may read at any time.
//!
//! **How a reader gets a true picture.** `position` holds a sequence number, the depth and the mode in one word,
//! which the owner replaces by one store after each change. Each layer carries the sequence number of its push.
//! A reader takes `position` (sequence s), copies the layers below that depth, and takes `position` again (s').
//! A layer that replaced one of those has a stamp in (s, s'+1]: the owner writes `position` for the pop before it, then
//! stamp, then target, then `position` for the push, each with Release. So who reads a new target reads the new
//! stamp, and who reads a new stamp finds at least the pop before it counted in s'. If no copied stamp is in (s, s'+1],
//! every layer is the one that was open at s. The thread that flips one layer all day does not keep a reader
//! waiting: it is caught below that layer half of the time, and then the rest has old stamps.

use core::mem::offset_of;

use crate::error::{Error, Result};
use crate::memory::{Here, Memory};
use crate::registry::REGISTRY;
use crate::runtime::Runtime;
use crate::sys::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::sys::{self, Mutex, preserving_errno};

/// What a layer is: `HOST_LAYER_LEAVE`, `HOST_LAYER_REVERSE_ENTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LayerKind {
    /// Managed code called native code.
    Leave = 1,
    /// Native code called managed code.
    ReverseEnter = 2,
}

/// What the target of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Origin {
    /// An address, or any number the caller chose.
    Address = 0,
    /// A function id of the CLR's profiling interface.
    ClrFunction = 1,
}

/// One open crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Which way it crossed.
    pub kind: LayerKind,
    /// How to read `target`.
    pub origin: Origin,
    /// Where it went.
    pub target: u64,
}

/// Which code a task runs: `HOST_TASK_UNKNOWN`, `HOST_TASK_MANAGED`, `HOST_TASK_UNMANAGED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mode {
    Unknown = 0,
    Managed = 1,
    Unmanaged = 2,
}

// position: sequence (32) | 0 | depth (29) | mode (2). With a depth above 0 the mode is also the kind of the top layer:
// unmanaged above a Leave, managed above a ReverseEnter. A layer's stamp: the position that its push made, and its origin
// in the bit that is 0 there.
const MODE_MASK: u64 = 3;
const DEPTH_ONE: u64 = 1 << 2;
const DEPTH_SHIFT: u32 = 2;
const DEPTH_BITS: u32 = 29;
const MAX_DEPTH: usize = (1 << DEPTH_BITS) - 1;
const ORIGIN_SHIFT: u32 = DEPTH_SHIFT + DEPTH_BITS;
const SEQUENCE_SHIFT: u32 = 32;
const SEQUENCE_ONE: u64 = 1 << SEQUENCE_SHIFT;

const fn mode_of(position: u64) -> Mode {
    match position & MODE_MASK {
        1 => Mode::Managed,
        2 => Mode::Unmanaged,
        _ => Mode::Unknown,
    }
}

/// Whether the mode, which is not Unknown, is that of a position: one bit says so.
const fn is_in(position: u64, mode: Mode) -> bool {
    position & mode as u64 != 0
}

const fn depth_of(position: u64) -> usize {
    (position >> DEPTH_SHIFT) as usize & MAX_DEPTH
}

const fn sequence_of(position: u64) -> u32 {
    (position >> SEQUENCE_SHIFT) as u32
}

impl LayerKind {
    /// The mode that a push of this kind starts from, and its pop goes back to.
    const fn below(self) -> Mode {
        match self {
            LayerKind::Leave => Mode::Managed,
            LayerKind::ReverseEnter => Mode::Unmanaged,
        }
    }

    /// What a push of this kind adds to a position for the mode.
    const fn change_of_mode(self) -> u64 {
        (self.above() as u64).wrapping_sub(self.below() as u64)
    }

    /// The mode above a layer of this kind.
    const fn above(self) -> Mode {
        match self {
            LayerKind::Leave => Mode::Unmanaged,
            LayerKind::ReverseEnter => Mode::Managed,
        }
    }
}

/// A layer in memory.
#[repr(C)]
struct LayerSlot {
    target: AtomicU64,
    stamp: AtomicU64,
}

const LAYER_BYTES: usize = size_of::<LayerSlot>();

impl LayerSlot {
    #[inline(always)]
    fn write(&self, position: u64, origin: Origin, target: u64) {
        let stamp = position | (origin as u64) << ORIGIN_SHIFT;
        // Both Release: see the top of this file; they pair with the Acquires in read.
        self.stamp.store(stamp, Ordering::Release);
        self.target.store(target, Ordering::Release);
    }

    fn read(&self) -> (Layer, u32) {
        let target = self.target.load(Ordering::Acquire);
        let stamp = self.stamp.load(Ordering::Acquire);
        let kind =
            if is_in(stamp, LayerKind::Leave.above()) { LayerKind::Leave } else { LayerKind::ReverseEnter };
        let origin = if stamp >> ORIGIN_SHIFT & 1 == 0 { Origin::Address } else { Origin::ClrFunction };
        (Layer { kind, origin, target }, sequence_of(stamp))
    }
}

/// How often a reader tries to catch a stack at one moment. Even the busiest owner lets it within a few.
const ATTEMPTS: usize = 1000;

/// The layers that a task holds without more memory.
const FIRST_LAYERS: usize = 16;
const CHUNK_BYTES: usize = 4096;
const CHUNK_LAYERS: usize = CHUNK_BYTES / LAYER_BYTES - 1;

/// The next part of a deep stack. Type-stable: chunks go back to their pool, never to the system.
#[repr(C)]
struct Chunk {
    next: AtomicUsize,
    previous: AtomicUsize,
    layers: [LayerSlot; CHUNK_LAYERS],
}

const _: () = assert!(size_of::<Chunk>() == CHUNK_BYTES);

/// Chunks that no task uses, linked by `next`.
#[repr(C)]
pub(crate) struct ChunkPool {
    free: AtomicUsize,
    lock: Mutex,
}

/// Chunks are taken from the system in groups of this size, or one by one when memory is short.
const GROUP_BYTES: usize = 64 * CHUNK_BYTES;

impl ChunkPool {
    pub(crate) const fn new() -> Self {
        ChunkPool { free: AtomicUsize::new(0), lock: Mutex::new() }
    }

    fn allocate(&self) -> Result<&'static Chunk> {
        let _guard = self.lock.lock();
        if self.free.load(Ordering::Relaxed) == 0 {
            self.grow()?;
        }
        let chunk = chunk_at(self.free.load(Ordering::Relaxed));
        self.free.store(chunk.next.load(Ordering::Relaxed), Ordering::Relaxed);
        chunk.next.store(0, Ordering::Relaxed);
        Ok(chunk)
    }

    fn grow(&self) -> Result<()> {
        let (start, bytes) = match (sys::allocate_pages(GROUP_BYTES), GROUP_BYTES) {
            (Some(start), bytes) => (start as usize, bytes),
            (None, _) => (sys::allocate_pages(CHUNK_BYTES).ok_or(Error::OutOfMemory)? as usize, CHUNK_BYTES),
        };
        for address in (start..start + bytes).step_by(CHUNK_BYTES).rev() {
            chunk_at(address).next.store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
            self.free.store(address, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes back a chain of chunks.
    fn release(&self, first: usize) {
        let mut last = first;
        while chunk_at(last).next.load(Ordering::Relaxed) != 0 {
            last = chunk_at(last).next.load(Ordering::Relaxed);
        }
        let _guard = self.lock.lock();
        chunk_at(last).next.store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
        self.free.store(first, Ordering::Relaxed);
    }

    /// The pool's lock.
    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }
}

fn chunk_at(address: usize) -> &'static Chunk {
    // SAFETY: only addresses of pages taken by ChunkPool::grow are ever linked; they are zeroed, which is a valid
    // Chunk, hold atomics only and are never unmapped.
    unsafe { &*(address as *const Chunk) }
}

/// The stack of a task's layers. Zeroed memory and `prepare` make an empty one.
#[repr(C)]
pub(crate) struct Layers {
    /// The runtime's word when the stack was last known to be of this run.
    runtime: AtomicU64,
    position: AtomicU64,
    /// Where the next layer goes, and the bounds of the part of the stack that this lies in; owner only.
    top: AtomicUsize,
    low: AtomicUsize,
    high: AtomicUsize,
    /// The chunk of that part, 0 for `first`; owner only.
    chunk: AtomicUsize,
    /// The chain of chunks.
    chunks: AtomicUsize,
    /// Keeps what other threads write off this line.
    _line: [AtomicU64; 1],
    first: [LayerSlot; FIRST_LAYERS],
}

impl Layers {
    /// Makes the stack an empty one whose owner has made no transition. Owner, or before there is one.
    pub(crate) fn prepare(&self) {
        // First the position: a reader that copied layers of the old stack finds the sequence changed.
        let sequence = sequence_of(self.position.load(Ordering::Relaxed)).wrapping_add(1);
        self.position.store(u64::from(sequence) << SEQUENCE_SHIFT, Ordering::Release);
        self.runtime.store(REGISTRY.runtime.word(), Ordering::Release);
        self.use_first(self.first.as_ptr() as usize);
        let chunks = self.chunks.swap(0, Ordering::Release);
        if chunks != 0 {
            REGISTRY.chunks.release(chunks);
        }
    }

    fn use_first(&self, top: usize) {
        let low = self.first.as_ptr() as usize;
        self.chunk.store(0, Ordering::Relaxed);
        self.use_part(low, low + FIRST_LAYERS * LAYER_BYTES, top);
    }

    fn use_chunk(&self, chunk: &Chunk, layers: usize) {
        let low = chunk.layers.as_ptr() as usize;
        self.chunk.store(chunk as *const Chunk as usize, Ordering::Relaxed);
        self.use_part(low, low + CHUNK_LAYERS * LAYER_BYTES, low + layers * LAYER_BYTES);
    }

    fn use_part(&self, low: usize, high: usize, top: usize) {
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
        self.top.store(top, Ordering::Relaxed);
    }

    /// Opens a layer, if nothing about that is unusual: the path that must be short. Owner only.
    #[inline(always)]
    pub(crate) fn push_fast(&self, kind: LayerKind, origin: Origin, target: u64) -> bool {
        if self.runtime.load(Ordering::Relaxed) != REGISTRY.runtime.word() {
            return false;
        }
        let position = self.position.load(Ordering::Relaxed);
        let top = self.top.load(Ordering::Relaxed);
        if !is_in(position, kind.below()) || top == self.high.load(Ordering::Relaxed) {
            return false;
        }
        self.push_at(top, position, kind, origin, target);
        true
    }

    /// Opens a layer. Owner only. Refused without change unless the task is in the code that the layer leaves.
    #[inline(always)]
    pub(crate) fn push(&self, kind: LayerKind, origin: Origin, target: u64) -> Result<()> {
        if self.push_fast(kind, origin, target) { Ok(()) } else { self.push_rare(kind, origin, target) }
    }

    /// `position` says that the task is in the code that the layer leaves.
    #[inline(always)]
    fn push_at(&self, top: usize, position: u64, kind: LayerKind, origin: Origin, target: u64) {
        // SAFETY: `top` lies between `low` and `high`, so it is a slot of `first` or of a chunk (see use_part).
        let slot = unsafe { &*(top as *const LayerSlot) };
        let position = position.wrapping_add(SEQUENCE_ONE + DEPTH_ONE).wrapping_add(kind.change_of_mode());
        slot.write(position, origin, target);
        self.top.store(top + LAYER_BYTES, Ordering::Relaxed);
        // Release pairs with the Acquire in snapshot: who reads this depth reads the layer.
        self.position.store(position, Ordering::Release);
    }

    /// The first transition of a task or of a run, a full part of the stack, or a refusal.
    #[cold]
    fn push_rare(&self, kind: LayerKind, origin: Origin, target: u64) -> Result<()> {
        preserving_errno(|| self.follow_runtime())?;
        let position = self.position.load(Ordering::Relaxed);
        let mode = mode_of(position);
        if mode != kind.below() && mode != Mode::Unknown {
            return Err(Error::InvalidOperation);
        }
        if self.top.load(Ordering::Relaxed) == self.high.load(Ordering::Relaxed) {
            if depth_of(position) == MAX_DEPTH {
                return Err(Error::OutOfMemory);
            }
            self.use_chunk(preserving_errno(|| self.next_chunk())?, 0);
        }
        // A task that has made no transition yet was in the code that it leaves now.
        let position = position & !MODE_MASK | kind.below() as u64;
        self.push_at(self.top.load(Ordering::Relaxed), position, kind, origin, target);
        Ok(())
    }

    /// The chunk after the present part: left over from a deeper time, or new.
    fn next_chunk(&self) -> Result<&'static Chunk> {
        let here = self.chunk.load(Ordering::Relaxed);
        let link = if here == 0 { &self.chunks } else { &chunk_at(here).next };
        let next = link.load(Ordering::Relaxed);
        if next != 0 {
            return Ok(chunk_at(next));
        }
        let chunk = REGISTRY.chunks.allocate()?;
        chunk.previous.store(here, Ordering::Relaxed);
        // Release pairs with the Acquire in slot: who follows the link reads an initialised chunk.
        link.store(chunk as *const Chunk as usize, Ordering::Release);
        Ok(chunk)
    }

    /// Closes the innermost layer, if nothing about that is unusual: the path that must be short. Owner only.
    #[inline(always)]
    pub(crate) fn pop_fast(&self, kind: LayerKind) -> bool {
        if self.runtime.load(Ordering::Relaxed) != REGISTRY.runtime.word() {
            return false;
        }
        let position = self.position.load(Ordering::Relaxed);
        let top = self.top.load(Ordering::Relaxed);
        if !is_in(position, kind.above()) || top == self.low.load(Ordering::Relaxed) {
            return false;
        }
        self.pop_at(top, position, kind);
        true
    }

    /// Closes the innermost layer. Owner only. Refused without change unless it is of this kind.
    #[inline(always)]
    pub(crate) fn pop(&self, kind: LayerKind) -> Result<()> {
        if self.pop_fast(kind) { Ok(()) } else { self.pop_rare(kind) }
    }

    /// `position` says that the task is in the code above a layer of this kind.
    #[inline(always)]
    fn pop_at(&self, top: usize, position: u64, kind: LayerKind) {
        self.top.store(top - LAYER_BYTES, Ordering::Relaxed);
        let position = position.wrapping_add(SEQUENCE_ONE - DEPTH_ONE).wrapping_sub(kind.change_of_mode());
        self.position.store(position, Ordering::Release);
    }

    /// The layer lies at the end of the part before, or a refusal.
    #[cold]
    fn pop_rare(&self, kind: LayerKind) -> Result<()> {
        preserving_errno(|| self.follow_runtime())?;
        let position = self.position.load(Ordering::Relaxed);
        if mode_of(position) != kind.above() || depth_of(position) == 0 {
            return Err(Error::InvalidOperation);
        }
        self.step_back_if_empty();
        self.pop_at(self.top.load(Ordering::Relaxed), position, kind);
        Ok(())
    }

    /// Makes the part that holds the innermost layer the present one.
    fn step_back_if_empty(&self) {
        let here = self.chunk.load(Ordering::Relaxed);
        if here == 0 || self.top.load(Ordering::Relaxed) != self.low.load(Ordering::Relaxed) {
            return;
        }
        match chunk_at(here).previous.load(Ordering::Relaxed) {
            0 => self.use_first(self.first.as_ptr() as usize + FIRST_LAYERS * LAYER_BYTES),
            previous => self.use_chunk(chunk_at(previous), CHUNK_LAYERS),
        }
    }

    /// Begins anew where the runtime was started again since the last transition.
    fn follow_runtime(&self) -> Result<()> {
        REGISTRY.runtime.require_running()?;
        let word = REGISTRY.runtime.word();
        let seen = self.runtime.load(Ordering::Relaxed);
        if !Runtime::same_epoch(seen, word) {
            self.prepare();
        } else if seen != word {
            self.runtime.store(word, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Closes layers until `depth` are left, whatever their kinds. Owner only.
    pub(crate) fn truncate(&self, depth: usize) {
        while self.depth() > depth {
            let position = self.position.load(Ordering::Relaxed);
            let kind = match mode_of(position) {
                Mode::Unmanaged => LayerKind::Leave,
                _ => LayerKind::ReverseEnter,
            };
            self.step_back_if_empty();
            self.pop_at(self.top.load(Ordering::Relaxed), position, kind);
        }
    }

    /// The position, if the layers are of the run that the runtime's word `runtime` belongs to; otherwise one with no
    /// layers.
    pub(crate) fn position(&self, runtime: u64) -> u64 {
        // First the run: prepare, which goes to the next one, writes the position before it. Acquire pairs with the
        // Release there: who finds the stack of this run finds its layers of this run, too.
        let is_of_this_run = Runtime::same_epoch(self.runtime.load(Ordering::Acquire), runtime);
        // Acquire pairs with the Release in push_at and prepare.
        let position = self.position.load(Ordering::Acquire);
        if is_of_this_run { position } else { position >> SEQUENCE_SHIFT << SEQUENCE_SHIFT }
    }

    /// How many layers are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth_and_mode(REGISTRY.runtime.word()).0
    }

    /// Depth and mode at one moment of the run that `runtime` belongs to.
    pub(crate) fn depth_and_mode(&self, runtime: u64) -> (usize, Mode) {
        let position = self.position(runtime);
        (depth_of(position), mode_of(position))
    }

    /// The layer at `index`, outermost 0. Exact for the owner; for others only within snapshot.
    pub(crate) fn layer(&self, index: usize) -> Option<Layer> {
        let mut found = None;
        if index < self.depth() {
            self.walk(&Here, index, 1, |layer, _| found = Some(layer));
        }
        found
    }

    /// Shows `take` the layers from number `skip` on, up to `most`, as they all were at one moment of the run that
    /// `runtime` belongs to, and returns depth and mode of that moment. `take` may be called again from the first after
    /// an attempt that failed. None if all attempts did. `position_now` looks at the position anew: `self` may be a
    /// copy, of which one attempt is made; where the copy has all of the layers, they need only be of one moment with its
    /// position.
    pub(crate) fn snapshot<M: Memory>(
        &self,
        memory: &M,
        runtime: u64,
        position_now: impl Fn() -> Option<u64>,
        skip: usize,
        most: usize,
        mut take: impl FnMut(usize, Layer),
    ) -> Option<(usize, Mode)> {
        for _ in 0..if M::LIVE { ATTEMPTS } else { 1 } {
            let before = self.position(runtime);
            let depth = depth_of(before);
            let (mut newest_age, mut index) = (u32::MAX, 0);
            self.walk(memory, skip, depth.saturating_sub(skip).min(most), |layer, stamp| {
                // How long after `before` it was pushed; one pushed before is far beyond the window.
                newest_age = newest_age.min(stamp.wrapping_sub(sequence_of(before)).wrapping_sub(1));
                take(index, layer);
                index += 1;
            });
            let window = if !M::LIVE && depth <= FIRST_LAYERS {
                // No layer of the copy was pushed after its position.
                u32::MAX / 2
            } else {
                // Orders the copies before the second look at the position.
                fence(Ordering::Acquire);
                sequence_of(position_now()?).wrapping_sub(sequence_of(before))
            };
            if newest_age > window {
                return Some((depth, mode_of(before)));
            }
        }
        None
    }

    /// Shows `take` `count` layers from number `skip` on, whatever the depth, each with its stamp.
    fn walk<M: Memory>(&self, memory: &M, skip: usize, count: usize, mut take: impl FnMut(Layer, u32)) {
        let end = skip + count;
        let mut part = |layers: &[LayerSlot], start: usize| {
            let wanted = skip.saturating_sub(start)..end.saturating_sub(start).min(layers.len());
            for slot in layers.get(wanted).unwrap_or(&[]) {
                let (layer, stamp) = slot.read();
                take(layer, stamp);
            }
        };
        part(&self.first, 0);
        // Acquire pairs with the Release in next_chunk.
        let mut chunk = self.chunks.load(Ordering::Acquire);
        if chunk == 0 {
            return;
        }
        for start in (FIRST_LAYERS..end).step_by(CHUNK_LAYERS) {
            // SAFETY: only addresses of chunks are linked, see chunk_at.
            let next = unsafe {
                memory.look(chunk, |chunk: &Chunk| {
                    part(&chunk.layers, start);
                    chunk.next.load(Ordering::Acquire)
                })
            };
            chunk = match next {
                None | Some(0) => return,
                Some(next) => next,
            };
        }
    }
}

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 11] = [
    ("layers.runtime", offset_of!(Layers, runtime)),
    ("layers.position", offset_of!(Layers, position)),
    ("layers.chunks", offset_of!(Layers, chunks)),
    ("layers.first", offset_of!(Layers, first)),
    ("layers.first.count", FIRST_LAYERS),
    ("layer.bytes", LAYER_BYTES),
    ("layer.target", offset_of!(LayerSlot, target)),
    ("layer.stamp", offset_of!(LayerSlot, stamp)),
    ("chunk.next", offset_of!(Chunk, next)),
    ("chunk.layers", offset_of!(Chunk, layers)),
    ("chunk.layers.count", CHUNK_LAYERS),
];

/// A stack is never moved: `low`, `high` and `top` point into it.
const _: () = assert!(size_of::<Layers>() == 64 + FIRST_LAYERS * LAYER_BYTES);
