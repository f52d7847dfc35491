//! Before anything else: the memory is reserved, the hooks are installed, the machine is measured. What they are for
//! is known in the rooms that own them.

use crate::base::copies;
use crate::base::region::SMALLEST_STEP;
use crate::error::{Error, Result};
use crate::handle;
use crate::host::{ends, fork};
use crate::lock::spin;
use crate::state::registry::REGISTRY;
use crate::state::resource::{Resource, VACANT};
use crate::sys;
use crate::sys::atomic::Ordering;

/// Resource slots that can be read from the start: whole pages.
const RESOURCES_SHOWN: u32 = (SMALLEST_STEP / size_of::<Resource>()) as u32;

/// Looks for other copies as long as the loader still has this one in its hands: see `copies`. Models and simulated machines have
/// no loader.
#[cfg(not(any(loom, hostcrst_sim)))]
extern "C" fn look_for_copies() {
    copies::loaded(&REGISTRY.claim);
}

#[cfg(not(any(loom, hostcrst_sim)))]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_FOR_COPIES: extern "C" fn() = look_for_copies;

/// Reserves the arenas, once. Fails with OutOfMemory and may be tried again.
pub(crate) fn prepare() -> Result<()> {
    if REGISTRY.is_ready() {
        return Ok(());
    }
    // Before the lock: a child of a fork could find that taken for ever.
    if !sys::on_fork(fork::repair_child) {
        return Err(Error::OutOfMemory);
    }
    sys::without_handlers(prepare_once)
}

/// No handler interrupts it: one that forks would have its child prepare again what is half done.
fn prepare_once() -> Result<()> {
    let _guard = REGISTRY.prepare_lock.lock_unless(&REGISTRY.ready);
    if REGISTRY.is_ready() {
        return Ok(());
    }
    REGISTRY.copy.store(copies::claim(&REGISTRY.claim)?, Ordering::Relaxed);
    REGISTRY.sections.reserve(handle::MAX_SECTIONS)?;
    // A quarter of the section slots at most: the proof in handle.rs needs every task slot to lie in the part of
    // a handle that selects the section's slot.
    REGISTRY.tasks.reserve(handle::MAX_TASKS.min(REGISTRY.sections.capacity() / 4))?;
    REGISTRY.names.reserve(handle::MAX_SECTIONS)?;
    // Readable from the start, for the same proof: a thread could still select among fewer slots when a later task
    // begins.
    REGISTRY.sections.show(REGISTRY.tasks.capacity() * 4)?;
    REGISTRY.resources.reserve(handle::MAX_RESOURCES)?;
    REGISTRY.resources.show(RESOURCES_SHOWN)?;
    REGISTRY.addresses.reserve(REGISTRY.sections.capacity())?;
    REGISTRY.targets.reserve();
    REGISTRY.sections.skip_to(handle::FIRST_SECTION_SLOT)?;
    for index in 0..handle::FIRST_SECTION_SLOT {
        REGISTRY.sections.at(index).take(index);
    }
    REGISTRY.tasks.skip_to(handle::FIRST_TASK_SLOT)?;
    REGISTRY.resources.skip_to(handle::FIRST_RESOURCE_SLOT)?;
    // The only slot that the handle 0 selects.
    REGISTRY.resources.at(0).handle.store(VACANT, Ordering::Relaxed);
    if !ends::install_hooks() {
        return Err(Error::OutOfMemory);
    }
    REGISTRY.processors.store(sys::processors(), Ordering::Relaxed);
    REGISTRY.pauses_per_microsecond.store(spin::measure_pauses(), Ordering::Relaxed);
    if !sys::register_heavy_barrier() || !sys::heavy_barrier() {
        REGISTRY.set_fenced();
    }
    REGISTRY.ready.store(1, Ordering::Release);
    REGISTRY.prepare_lock.wake_all();
    Ok(())
}
