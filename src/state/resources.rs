//! The resources of the registry, by their handles. Whatever value a handle has, it names a slot that can be read. What
//! is done with a resource is not known here.

use crate::base::name::NameCopy;
use crate::error::{Error, Result};
use crate::handle;
use crate::state::registry::REGISTRY;
use crate::state::resource::Resource;
use crate::sys::atomic::{Ordering, fence};

/// The slot that a handle names, whatever value it is. Only once the registry is ready.
#[inline(always)]
pub(crate) fn slot_of(handle: u64) -> &'static Resource {
    REGISTRY.resources.at_offset::<0>(handle)
}

/// The slot of the resource that a task waits for or waited for.
pub(crate) fn slot_of_awaited(handle: u64) -> &'static Resource {
    REGISTRY.resources.at(handle::section_index(handle))
}

/// The resource with this handle.
pub(crate) fn find(handle: u64) -> Result<&'static Resource> {
    if !REGISTRY.is_ready() {
        return Err(Error::Handle);
    }
    // Pairs with the Release fence in create: a thread that was given this handle in any way finds its slot.
    fence(Ordering::Acquire);
    let index = handle::resource_index(REGISTRY.copy(), handle).ok_or(Error::Handle)?;
    let resource = REGISTRY.resources.get(index).ok_or(Error::Handle)?;
    if resource.handle() == Some(handle) { Ok(resource) } else { Err(Error::Handle) }
}

/// The handle of every resource.
pub(crate) fn handles() -> impl Iterator<Item = u64> {
    REGISTRY.resources.iter().filter_map(|resource| resource.handle())
}

/// The name of the resource with this handle, empty if it has none.
pub(crate) fn name(handle: u64) -> Result<NameCopy> {
    let resource = find(handle)?;
    let name = resource.name().unwrap_or(NameCopy::new());
    if resource.is_still(handle) { Ok(name) } else { Err(Error::Handle) }
}

impl Resource {
    /// The name, if there is one.
    pub(crate) fn name(&self) -> Option<NameCopy> {
        let slot = self.name_slot();
        (slot != 0).then(|| REGISTRY.names.at(slot).name.get()).filter(|name| !name.is_empty())
    }
}
