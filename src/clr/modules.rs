//! The metadata of the loaded modules, kept from when each is loaded: in native code that managed code has called, where a
//! name may be needed, the CLR gives none.

use core::ffi::c_void;
use core::ptr::null_mut;

use super::info::{Metadata, ProfilerInfo};
use crate::sys::Mutex;

/// Of further modules no metadata is kept: places in their code stay without names.
const MOST: usize = 1024;

/// A module's ModuleID, 0 if the slot is free, and its metadata, whose reference the slot has.
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

    fn with<T>(&self, module: usize, body: impl FnOnce(&mut Kept) -> Option<T>) -> Option<T> {
        let _guard = self.mutex.lock();
        // SAFETY: the mutex is held until `body` has returned, and nothing else makes a reference to `kept`.
        let kept = unsafe { &mut *self.kept.get() };
        kept.iter_mut().find(|kept| kept.module == module).and_then(body)
    }

    fn keep(&self, module: usize, metadata: Metadata) {
        let mut metadata = Some(metadata);
        self.with(0, |free| {
            let metadata = metadata.take()?.into_raw();
            *free = Kept { module, metadata };
            Some(())
        });
    }

    fn forget(&self, module: usize) -> Option<Metadata> {
        self.with(module, |kept| {
            let Kept { metadata, .. } = core::mem::replace(kept, FREE);
            // SAFETY: from `into_raw` in `keep`, and no longer kept.
            unsafe { Metadata::from_raw(metadata) }
        })
    }

    fn get(&self, module: usize) -> Option<Metadata> {
        // SAFETY: from `into_raw` in `keep`; it is kept as long as the mutex is held.
        self.with(module, |kept| unsafe { Metadata::share(kept.metadata) })
    }
}

/// A module was loaded.
pub(crate) fn loaded(info: ProfilerInfo, module: usize) {
    if let Some(metadata) = info.metadata(module).filter(|_| module != 0) {
        MODULES.keep(module, metadata);
    }
}

/// A module is about to be unloaded. Who has its metadata meanwhile has a reference.
pub(crate) fn unloaded(module: usize) {
    if module != 0 {
        drop(MODULES.forget(module));
    }
}

/// The metadata of a loaded module.
pub(crate) fn metadata(module: usize) -> Option<Metadata> {
    MODULES.get(module)
}
