//! Transitions between managed and native code: a task opens and closes its layers. Knows no locks. How other threads
//! read the layers is in `state::layers`.

use crate::base::memory::Here;
use crate::error::{Error, Result};
use crate::state::layers::{
    CHUNK_LAYERS, DEPTH_ONE, FIRST_LAYERS, LAYER_BYTES, Layer, LayerKind, Layers, MAX_DEPTH, MODE_MASK, Mode,
    Origin, SEQUENCE_ONE, SEQUENCE_SHIFT, *,
};
use crate::state::registry::REGISTRY;
use crate::state::runtime::Runtime;
use crate::sys::atomic::Ordering;
use crate::sys::preserving_errno;

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

    /// Opens a layer: the fast path, which fails in every unusual case. Owner only.
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
        // Release pairs with the Acquire in snapshot: a reader of this depth reads the layer.
        self.position.store(position, Ordering::Release);
    }

    /// The slow path: the first transition of a task or since a start, a full part of the stack, or a refusal.
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

    /// The chunk after the present part: kept from an earlier, greater depth, or new.
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

    /// Closes the innermost layer: the fast path, which fails in every unusual case. Owner only.
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

    /// The slow path: the layer is at the end of the previous part, or a refusal.
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

    /// Discards the layers if the runtime was started again since the last transition.
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

    /// How many layers are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth_and_mode(REGISTRY.runtime.word()).0
    }

    /// The layer at `index`, outermost 0. Exact for the owner; for others only within snapshot.
    pub(crate) fn layer(&self, index: usize) -> Option<Layer> {
        let mut found = None;
        if index < self.depth() {
            self.walk(&Here, index, 1, |layer, _| found = Some(layer));
        }
        found
    }

    /// Notes which method the layer at `index`, outermost 0, has called. Owner only.
    pub(crate) fn set_callee(&self, index: usize, callee: u16) {
        if let Some(slot) = self.first.get(index) {
            return slot.set_callee(callee);
        }
        let mut start = FIRST_LAYERS;
        let mut chunk = self.chunks.load(Ordering::Relaxed);
        while chunk != 0 && start + CHUNK_LAYERS <= index {
            start += CHUNK_LAYERS;
            chunk = chunk_at(chunk).next.load(Ordering::Relaxed);
        }
        if chunk != 0
            && let Some(slot) = chunk_at(chunk).layers.get(index - start)
        {
            slot.set_callee(callee);
        }
    }
}
