//! The nested layers of a task: which crossings between managed and native code are open, outermost first.
//!
//! Only the task itself pushes and pops; any thread may read at any time. How that is done stands in `transitions`.
//!
//! **How a reader gets a true picture.** `position` holds a sequence number, the depth and the mode in one word,
//! which the owner replaces by one store after each change. Each layer carries the sequence number of its push.
//! A reader takes `position` (sequence s), copies the layers below that depth, and takes `position` again (s').
//! A layer that replaced one of those has a stamp in (s, s'+1]: the owner writes `position` for the pop before it, then
//! stamp, then target, then `position` for the push, each with Release. So a reader of a new target reads the new
//! stamp, and a reader of a new stamp finds at least the pop before it counted in s'. If no copied stamp is in
//! (s, s'+1], every layer is the one that was open at s. The thread that flips one layer all day does not keep a reader
//! waiting: it is caught below that layer half of the time, and then the rest has old stamps.

use core::mem::offset_of;

use crate::base::memory::{Memory, Shown, readable_in_copies};
use crate::constants::{
    HOST_LAYER_LEAVE, HOST_LAYER_REVERSE_ENTER, HOST_TASK_MANAGED, HOST_TASK_UNKNOWN, HOST_TASK_UNMANAGED,
};
use crate::error::{Error, Result};
use crate::state::runtime::Runtime;
use crate::sys::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::sys::{self, Mutex};

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LayerKind {
    /// Managed code called native code.
    Leave = HOST_LAYER_LEAVE,
    /// Native code called managed code.
    ReverseEnter = HOST_LAYER_REVERSE_ENTER,
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
    /// Of a ReverseEnter through a delegate, whose target is the delegate's own method: which method that has called, as
    /// a tag by which its name is kept beside the target's. 0 if it is not known.
    pub callee: u16,
}

/// Which code a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mode {
    Unknown = HOST_TASK_UNKNOWN,
    Managed = HOST_TASK_MANAGED,
    Unmanaged = HOST_TASK_UNMANAGED,
}

// position: sequence (32) | 00 | depth (28) | mode (2). With a depth above 0 the mode is also the kind of the top layer:
// unmanaged above a Leave, managed above a ReverseEnter. A layer's stamp: the position that its push made, and its
// origin in the upper one of the bits that are 0 there. Once its callee is known, the lower one is 1, and the callee
// stands in place of the depth, which no reader needs.
pub(crate) const MODE_MASK: u64 = 3;
pub(crate) const DEPTH_ONE: u64 = 1 << 2;
pub(crate) const DEPTH_SHIFT: u32 = 2;
pub(crate) const DEPTH_BITS: u32 = 28;
pub(crate) const MAX_DEPTH: usize = (1 << DEPTH_BITS) - 1;
pub(crate) const HAS_CALLEE: u64 = 1 << (DEPTH_SHIFT + DEPTH_BITS);
pub(crate) const ORIGIN_SHIFT: u32 = DEPTH_SHIFT + DEPTH_BITS + 1;
pub(crate) const SEQUENCE_SHIFT: u32 = 32;
pub(crate) const SEQUENCE_ONE: u64 = 1 << SEQUENCE_SHIFT;

/// For `layout`.
pub(crate) const NUMBERS: [(&str, u64); 3] = [
    ("position.mode_mask", MODE_MASK),
    ("position.depth_shift", DEPTH_SHIFT as u64),
    ("position.depth_bits", DEPTH_BITS as u64),
];

pub(crate) const fn mode_of(position: u64) -> Mode {
    match (position & MODE_MASK) as u32 {
        HOST_TASK_MANAGED => Mode::Managed,
        HOST_TASK_UNMANAGED => Mode::Unmanaged,
        _ => Mode::Unknown,
    }
}

/// Whether the mode, which is not Unknown, is that of a position: one bit says so.
pub(crate) const fn is_in(position: u64, mode: Mode) -> bool {
    position & mode as u64 != 0
}

pub(crate) const fn depth_of(position: u64) -> usize {
    (position >> DEPTH_SHIFT) as usize & MAX_DEPTH
}

pub(crate) const fn sequence_of(position: u64) -> u32 {
    (position >> SEQUENCE_SHIFT) as u32
}

impl LayerKind {
    /// The mode that a push of this kind starts from, and its pop goes back to.
    pub(crate) const fn below(self) -> Mode {
        match self {
            LayerKind::Leave => Mode::Managed,
            LayerKind::ReverseEnter => Mode::Unmanaged,
        }
    }

    /// The other kind: the next one on a stack.
    pub(crate) const fn reverse(self) -> LayerKind {
        match self {
            LayerKind::Leave => LayerKind::ReverseEnter,
            LayerKind::ReverseEnter => LayerKind::Leave,
        }
    }

    /// What a push of this kind adds to a position for the mode.
    pub(crate) const fn change_of_mode(self) -> u64 {
        (self.above() as u64).wrapping_sub(self.below() as u64)
    }

    /// The mode above a layer of this kind.
    pub(crate) const fn above(self) -> Mode {
        match self {
            LayerKind::Leave => Mode::Unmanaged,
            LayerKind::ReverseEnter => Mode::Managed,
        }
    }
}

/// A layer in memory.
#[repr(C)]
pub(crate) struct LayerSlot {
    pub(crate) target: AtomicU64,
    pub(crate) stamp: AtomicU64,
}

pub(crate) const LAYER_BYTES: usize = size_of::<LayerSlot>();

impl LayerSlot {
    #[inline(always)]
    pub(crate) fn write(&self, position: u64, origin: Origin, target: u64) {
        let stamp = position | (origin as u64) << ORIGIN_SHIFT;
        // Both Release: see the top of this file; they pair with the Acquires in read.
        // place: layer-stamp-store
        self.stamp.store(stamp, Ordering::Release);
        // place: layer-target-store
        self.target.store(target, Ordering::Release);
    }

    pub(crate) fn read(&self) -> (Layer, u32) {
        // place: layer-target-load
        let target = self.target.load(Ordering::Acquire);
        // place: layer-stamp-load
        let stamp = self.stamp.load(Ordering::Acquire);
        let kind =
            if is_in(stamp, LayerKind::Leave.above()) { LayerKind::Leave } else { LayerKind::ReverseEnter };
        let origin = if stamp >> ORIGIN_SHIFT & 1 == 0 { Origin::Address } else { Origin::ClrFunction };
        let callee = if stamp & HAS_CALLEE == 0 { 0 } else { (stamp >> DEPTH_SHIFT) as u16 };
        (Layer { kind, origin, target, callee }, sequence_of(stamp))
    }

    /// Owner only. A reader finds the layer with its callee or without.
    pub(crate) fn set_callee(&self, callee: u16) {
        let stamp = self.stamp.load(Ordering::Relaxed) & !((MAX_DEPTH as u64) << DEPTH_SHIFT);
        self.stamp.store(stamp | HAS_CALLEE | u64::from(callee) << DEPTH_SHIFT, Ordering::Release);
    }
}

/// How often a reader tries to copy a stack as it is at one moment. Even with the busiest owner a few tries are enough.
pub(crate) const ATTEMPTS: usize = 1000;

/// The layers that a task holds without more memory.
pub(crate) const FIRST_LAYERS: usize = 16;
pub(crate) const CHUNK_BYTES: usize = 4096;
pub(crate) const CHUNK_LAYERS: usize = CHUNK_BYTES / LAYER_BYTES - 1;

/// The next part of a deep stack. Type-stable: chunks go back to their pool, never to the system.
#[repr(C)]
pub(crate) struct Chunk {
    pub(crate) next: AtomicUsize,
    pub(crate) previous: AtomicUsize,
    pub(crate) layers: [LayerSlot; CHUNK_LAYERS],
}

const _: () = assert!(size_of::<Chunk>() == CHUNK_BYTES);

/// Chunks that no task uses, linked by `next`.
#[repr(C)]
pub(crate) struct ChunkPool {
    pub(crate) free: AtomicUsize,
    pub(crate) lock: Mutex,
}

/// Chunks are taken from the system in groups of this size, or one by one when memory is short.
pub(crate) const GROUP_BYTES: usize = 64 * CHUNK_BYTES;

impl ChunkPool {
    pub(crate) const fn new() -> Self {
        ChunkPool { free: AtomicUsize::new(0), lock: Mutex::new() }
    }

    pub(crate) fn allocate(&self) -> Result<&'static Chunk> {
        let _guard = self.lock.lock();
        if self.free.load(Ordering::Relaxed) == 0 {
            self.grow()?;
        }
        let chunk = chunk_at(self.free.load(Ordering::Relaxed));
        self.free.store(chunk.next.load(Ordering::Relaxed), Ordering::Relaxed);
        chunk.next.store(0, Ordering::Relaxed);
        Ok(chunk)
    }

    pub(crate) fn grow(&self) -> Result<()> {
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
    pub(crate) fn release(&self, first: usize) {
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

pub(crate) fn chunk_at(address: usize) -> &'static Chunk {
    // SAFETY: only addresses of pages taken by ChunkPool::grow are ever linked; they are zeroed, which is a valid
    // Chunk, hold atomics only and are never unmapped.
    unsafe { &*(address as *const Chunk) }
}

/// The stack of a task's layers. Zeroed memory and `prepare` make an empty one.
#[repr(C)]
pub(crate) struct Layers {
    /// The runtime's word when the stack was last known to be of this run.
    pub(crate) runtime: AtomicU64,
    pub(crate) position: AtomicU64,
    /// Where the next layer goes, and the bounds of the part of the stack that this lies in; owner only.
    pub(crate) top: AtomicUsize,
    pub(crate) low: AtomicUsize,
    pub(crate) high: AtomicUsize,
    /// The chunk of that part, 0 for `first`; owner only.
    pub(crate) chunk: AtomicUsize,
    /// The chain of chunks.
    pub(crate) chunks: AtomicUsize,
    /// Keeps what other threads write off this line.
    pub(crate) _line: [AtomicU64; 1],
    pub(crate) first: [LayerSlot; FIRST_LAYERS],
}

readable_in_copies!(Layers);

impl Shown<Layers> {
    /// The position, if the layers are of the run that the runtime's word `runtime` belongs to; otherwise one with no
    /// layers.
    pub(crate) fn position(&self, runtime: u64) -> u64 {
        // First the run: prepare, which goes to the next one, writes the position before it. Acquire pairs with the
        // Release there: a reader that finds the stack of this run finds its layers of this run, too.
        // place: layers-run-load
        let is_of_this_run = Runtime::same_epoch(self.fields().runtime.load(Ordering::Acquire), runtime);
        // Acquire pairs with the Release in push_at and prepare.
        let position = self.fields().position.load(Ordering::Acquire);
        if is_of_this_run { position } else { position >> SEQUENCE_SHIFT << SEQUENCE_SHIFT }
    }

    /// Depth and mode at one moment of the run that `runtime` belongs to.
    pub(crate) fn depth_and_mode(&self, runtime: u64) -> (usize, Mode) {
        let position = self.position(runtime);
        (depth_of(position), mode_of(position))
    }

    /// Calls `take` with the layers from number `skip` on, up to `most`, as they all were at one moment of the run that
    /// `runtime` belongs to, and returns depth and mode of that moment. `take` may be called again from the first after
    /// an attempt that failed. None if all attempts did. `position_now` loads the position again: `self` may be a
    /// copy, of which one attempt is made; where the copy has all of the layers, they need only be of one moment with
    /// its position.
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
                // Orders the copies before the second load of the position.
                // place: layers-read-fence
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
    pub(crate) fn walk<M: Memory>(
        &self,
        memory: &M,
        skip: usize,
        count: usize,
        mut take: impl FnMut(Layer, u32),
    ) {
        let end = skip + count;
        let mut part = |layers: &[LayerSlot], start: usize| {
            let wanted = skip.saturating_sub(start)..end.saturating_sub(start).min(layers.len());
            for slot in layers.get(wanted).unwrap_or(&[]) {
                let (layer, stamp) = slot.read();
                take(layer, stamp);
            }
        };
        part(&self.fields().first, 0);
        // Acquire pairs with the Release in next_chunk.
        let mut chunk = self.fields().chunks.load(Ordering::Acquire);
        if chunk == 0 {
            return;
        }
        for start in (FIRST_LAYERS..end).step_by(CHUNK_LAYERS) {
            // SAFETY: only addresses of chunks are linked, see chunk_at.
            let next = unsafe {
                memory.read(chunk, |chunk: &Shown<Chunk>| {
                    let chunk = chunk.fields();
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
