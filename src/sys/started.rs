//! What function a thread was begun with.
//!
//! glibc keeps it in the structure that a pthread_t is the address of, and tells debuggers where, by a descriptor under a name
//! that its library for them (libthread_db) looks up. Where there is none, as in musl and before glibc 2.34, it is not known.

use super::atomic::{AtomicUsize, Ordering};

/// What stands in a descriptor: how many bits the field has, how many of it there are, and where the first stands.
type Descriptor = [u32; 3];

/// Where the field stands; UNKNOWN if that was not looked up, and NOWHERE if it is not told.
static OFFSET: AtomicUsize = AtomicUsize::new(UNKNOWN);
const UNKNOWN: usize = usize::MAX;
const NOWHERE: usize = usize::MAX - 1;

/// The function that the calling thread was begun with; None also for the first thread. The first call waits for whoever is just
/// loading a library.
pub(crate) fn start_routine() -> Option<usize> {
    let known = OFFSET.load(Ordering::Relaxed);
    let offset = if known == UNKNOWN { look_up() } else { known };
    if offset == NOWHERE {
        return None;
    }
    // SAFETY: the structure lives as long as its thread, which is the calling one. It was written before that began.
    let start = unsafe { (libc::pthread_self() as *const u8).add(offset).cast::<usize>().read() };
    Some(start).filter(|&start| start != 0)
}

#[cold]
fn look_up() -> usize {
    let address = super::copies::find_symbol(c"_thread_db_pthread_start_routine");
    // SAFETY: what glibc exports under this name is a descriptor.
    let descriptor = (address != 0).then(|| unsafe { (address as *const Descriptor).read() });
    let offset = match descriptor {
        Some([usize::BITS, _, offset]) => offset as usize,
        _ => NOWHERE,
    };
    OFFSET.store(offset, Ordering::Relaxed);
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::c_void;
    use core::ptr::null_mut;

    extern "C" fn run(found: *mut c_void) -> *mut c_void {
        // SAFETY: what the test has passed.
        unsafe { *found.cast() = start_routine() };
        null_mut()
    }

    #[test]
    fn a_thread_knows_what_it_was_begun_with() {
        let mut found = None::<usize>;
        let mut thread = 0;
        // SAFETY: valid pointers, and `found` is written before the thread has ended.
        unsafe {
            assert_eq!(libc::pthread_create(&mut thread, core::ptr::null(), run, (&raw mut found).cast()), 0);
            assert_eq!(libc::pthread_join(thread, null_mut()), 0);
        }
        let is_told = crate::sys::IS_WITH_GLIBC && OFFSET.load(Ordering::Relaxed) != NOWHERE;
        assert_eq!(found, is_told.then_some(run as *const () as usize));
    }
}
