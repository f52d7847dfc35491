//! The sections of the registry, by their handles. Whatever value a handle has, it names a slot that can be read.
//! What is done with a section is not known here.

use crate::base::name::NameCopy;
use crate::error::{Error, Result};
use crate::handle;
use crate::state::registry::REGISTRY;
use crate::state::section::Section;
use crate::sys::atomic::{Ordering, fence};

/// The slot that a handle of the host's names, whatever value it is. Only once the registry is ready.
#[inline(always)]
pub(crate) fn slot_of(handle: u64) -> &'static Section {
    REGISTRY.sections.at_offset::<0>(handle)
}

/// The slot that a handle of Windows' names, whatever value it is. Only once the registry is ready.
#[inline(always)]
pub(crate) fn win32_slot_of(handle: u64) -> &'static Section {
    REGISTRY.sections.at_offset::<{ handle::WIN32_SLOT }>(handle)
}

/// The slot that a handle of either kind names, whatever value it is. Only once the registry is ready.
pub(crate) fn any_slot_of(handle: u64) -> &'static Section {
    REGISTRY.sections.at(handle::section_index(handle))
}

/// The section of the host's with this handle.
pub(crate) fn find(handle: u64) -> Result<&'static Section> {
    find_of_kind(handle, 0)
}

/// The section of Windows' with this handle.
pub(crate) fn find_win32(handle: u64) -> Result<&'static Section> {
    find_of_kind(handle, handle::WIN32)
}

/// The section with this handle, which is one of the host's XOR `kind`.
#[inline(always)]
fn find_of_kind(handle: u64, kind: u64) -> Result<&'static Section> {
    if !REGISTRY.is_ready() {
        return Err(Error::Handle);
    }
    // Pairs with the Release fence in begin: a thread that was given this handle in any way finds its slot.
    fence(Ordering::Acquire);
    let index = handle::host_index(REGISTRY.copy(), handle ^ kind).ok_or(Error::Handle)?;
    let section = REGISTRY.sections.get(index).ok_or(Error::Handle)?;
    if section.owner(handle).is_some() { Ok(section) } else { Err(Error::Handle) }
}

/// Every section with its handle.
pub(crate) fn all() -> impl Iterator<Item = (u64, &'static Section)> {
    let sections = REGISTRY.sections.iter();
    sections.map(|section| (section.handle(REGISTRY.copy(), REGISTRY.sections.index_of(section)), section))
}

/// The handle of every section of the host's.
pub(crate) fn handles() -> impl Iterator<Item = u64> {
    let live =
        |&(handle, section): &(u64, &Section)| !handle::is_win32(handle) && section.owner(handle).is_some();
    all().filter(live).map(|(handle, _)| handle)
}

/// The name of the section of the host's with this handle, empty if it has none.
pub(crate) fn name(handle: u64) -> Result<NameCopy> {
    let section = find(handle)?;
    let name = section.name().unwrap_or(NameCopy::new());
    if section.is_still(handle) { Ok(name) } else { Err(Error::Handle) }
}

impl Section {
    /// The name, if there is one.
    pub(crate) fn name(&self) -> Option<NameCopy> {
        let slot = self.name_slot();
        (slot != 0).then(|| REGISTRY.names.at(slot).name.get()).filter(|name| !name.is_empty())
    }
}
