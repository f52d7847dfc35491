//! The metadata of the modules whose code was named, kept from when a name of each was first needed.
//!
//! That it is first asked for then, and not when a module is loaded, is what a process saves that starts and ends: for the
//! first who asks, the CLR builds all of a module's metadata anew, in a form that can be written.
//!
//! The CLR gives it in a callback; in native code that managed code has called, where names are needed too, it is asked
//! `elsewhere`.

use core::ffi::c_void;
use core::ptr::null_mut;

use super::elsewhere;
use super::info::{Metadata, ProfilerInfo};
use crate::sys::Mutex;

/// Of further modules no metadata is kept: places in their code stay without names.
const MOST: usize = 1024;

/// A module's ModuleID, 0 if the slot is free, and its metadata, whose reference the slot has; null if the CLR has none.
struct Kept {
    module: usize,
    metadata: *mut c_void,
}

const FREE: Kept = Kept { module: 0, metadata: null_mut() };

struct Modules {
    mutex: Mutex,
    kept: core::cell::UnsafeCell<[Kept; MOST]>,
}

// SAFETY: `kept` is reached in `with` only, under the mutex; metadata may be used on any thread.
unsafe impl Sync for Modules {}

static MODULES: Modules = Modules::new();

impl Modules {
    const fn new() -> Modules {
        Modules { mutex: Mutex::new(), kept: core::cell::UnsafeCell::new([FREE; MOST]) }
    }

    /// Lets `body` see the slot of the first of these that has one; the module 0 has all that are free.
    fn with<T>(&self, modules: &[usize], body: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let _guard = self.mutex.lock();
        // SAFETY: the mutex is held until `body` has returned, and nothing else makes a reference to `kept`.
        let kept = unsafe { &mut *self.kept.get() };
        let slot_of = |&module: &usize| kept.iter().position(|kept| kept.module == module);
        modules.iter().find_map(slot_of).and_then(|slot| kept.get_mut(slot)).map(body)
    }

    /// What is no longer kept, or has no room, is dropped.
    fn keep(&self, module: usize, metadata: Option<Metadata>) {
        let metadata = metadata.map_or(null_mut(), Metadata::into_raw);
        let replaced = self.with(&[module, 0], |slot| core::mem::replace(slot, Kept { module, metadata }));
        let dropped = replaced.map_or(metadata, |kept| kept.metadata);
        // SAFETY: from `into_raw`, here or before, and in no slot.
        drop(unsafe { Metadata::from_raw(dropped) });
    }

    fn forget(&self, module: usize) {
        let forgotten = self.with(&[module], |slot| core::mem::replace(slot, FREE));
        // SAFETY: from `into_raw` in `keep`, and no longer kept.
        drop(forgotten.and_then(|kept| unsafe { Metadata::from_raw(kept.metadata) }));
    }

    /// Of a module that was asked for: its metadata, or that it has none.
    fn get(&self, module: usize) -> Option<Option<Metadata>> {
        // SAFETY: from `into_raw` in `keep`; it is kept as long as the mutex is held.
        self.with(&[module], |kept| unsafe { Metadata::share(kept.metadata) })
    }
}

/// A module is about to be unloaded. Who has its metadata meanwhile has a reference.
pub(crate) fn unloaded(module: usize) {
    if module != 0 {
        MODULES.forget(module);
    }
}

/// The metadata of a loaded module, which stays loaded meanwhile.
pub(crate) fn metadata(info: ProfilerInfo, module: usize) -> Option<Metadata> {
    if module == 0 {
        return None;
    }
    let known = MODULES.get(module);
    known.or_else(|| {
        let answer =
            info.metadata(module).map_or_else(|| ask_elsewhere(info, module), |found| Some(Some(found)));
        MODULES.keep(module, answer?);
        MODULES.get(module)
    })?
}

/// What the CLR answers another thread; None if that does not answer.
fn ask_elsewhere(info: ProfilerInfo, module: usize) -> Option<Option<Metadata>> {
    let ask = |info: ProfilerInfo, (module, _): (usize, usize)| {
        info.metadata(module).map_or(null_mut(), Metadata::into_raw) as usize
    };
    let found = elsewhere::ask(info, ask, (module, 0))?;
    // SAFETY: null, or a reference that was given up there and only this takes.
    Some(unsafe { Metadata::from_raw(found as *mut c_void) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clr::fake::{self, MODULE, MetadataFor};
    use crate::sys::atomic::Ordering;

    #[test]
    fn metadata_is_asked_for_once_by_whom_the_clr_gives_it() {
        let _turn = fake::TURN.lock().unwrap();
        let asked = || fake::METADATA_ASKED.swap(0, Ordering::Relaxed);
        let found = || metadata(fake::info(), MODULE).is_some();
        MODULES.forget(MODULE);
        asked();

        fake::give_metadata_to(MetadataFor::All);
        assert_eq!((found(), found(), asked()), (true, true, 1));
        // It is not kept once the module is unloaded.
        unloaded(MODULE);
        fake::give_metadata_to(MetadataFor::OwnThreads);
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| assert!(found()))));
        });
        assert!(asked() >= 2);
        assert_eq!((found(), asked()), (true, 0));

        unloaded(MODULE);
        fake::give_metadata_to(MetadataFor::Nobody);
        assert_eq!((found(), found(), asked()), (false, false, 2), "that there is none is remembered");
        assert!(metadata(fake::info(), 0).is_none());
        unloaded(MODULE);
        fake::give_metadata_to(MetadataFor::All);
    }
}
