//! The mapped files of this process, from which `elf_names` finds the names of addresses.
//!
//! No function of libc is called: `files` makes the bare system calls, which take no lock. `errno` is overwritten; a
//! caller that must keep it saves it. A look-up can still block in the kernel, on a file system that does not answer.

use core::ffi::CStr;

use elf_names::{Files, ReadAt};

use super::files::File;

/// Looks addresses of this process up.
pub(crate) type Resolver = elf_names::Resolver<File>;

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        File::read_at(self, offset, buffer)
    }
}

/// What this process has mapped.
pub(crate) struct Mapped;

impl Files for Mapped {
    type File = File;

    /// The calling thread's list: `/proc/self` is empty once the main thread has ended. Linux before 3.17 has
    /// only that.
    fn maps(&self) -> Option<File> {
        File::read_only(c"/proc/thread-self/maps").or_else(|| File::read_only(c"/proc/self/maps"))
    }

    fn open(&self, path: &CStr) -> Option<File> {
        File::read_only(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::c_int;
    use core::hint::black_box;
    use core::ptr::null_mut;
    use std::format;
    use std::fs;
    use std::path::PathBuf;
    use std::string::String;

    // ---- A running process ----

    /// How a report shows an address.
    fn shown(address: u64) -> Option<String> {
        let mut resolver = Resolver::new();
        let symbol = resolver.resolve(&Mapped, address)?;
        let name = symbol.name().map(String::from_utf8_lossy).unwrap_or_default();
        Some(format!("{}!{}+{:#x}", String::from_utf8_lossy(symbol.library()), name, symbol.offset()))
    }

    fn address_of_getpid() -> u64 {
        libc::getpid as *const () as u64
    }

    #[inline(never)]
    fn not_exported(value: u32) -> u32 {
        black_box(value).rotate_left(5) ^ 0x5eed
    }

    #[test]
    fn functions_of_libc_are_named() {
        for (function, name) in [
            (libc::malloc as *const (), "malloc"),
            (libc::getpid as *const (), "getpid"),
            (libc::pthread_mutex_lock as *const (), "pthread_mutex_lock"),
        ] {
            let found = shown(function as u64).unwrap();
            assert!(found.ends_with(&format!("!{name}+0x0")), "{found}");
            assert!(found.starts_with("libc.") || found.starts_with("ld-musl"), "{found}");
            let inside = shown(function as u64 + 2).unwrap();
            assert!(inside.ends_with(&format!("!{name}+0x2")), "{inside}");
        }
    }

    #[test]
    fn a_function_the_program_does_not_export_is_named_from_its_full_table() {
        let program = std::env::current_exe().unwrap();
        let mut resolver = Resolver::new();
        let found = resolver.resolve(&Mapped, black_box(not_exported as *const ()) as u64).unwrap();
        assert_eq!(found.library(), program.file_name().unwrap().as_encoded_bytes());
        let name = String::from_utf8_lossy(found.name().unwrap());
        assert!(name.contains("not_exported"), "{name}");
        assert_eq!(found.offset(), 0);
    }

    #[test]
    fn one_resolver_follows_addresses_from_file_to_file_and_back() {
        let mut resolver = Resolver::new();
        for _ in 0..3 {
            let libc = resolver.resolve(&Mapped, address_of_getpid()).unwrap();
            assert_eq!(libc.name(), Some(&b"getpid"[..]));
            assert!(resolver.resolve(&Mapped, 0).is_none());
            let own = resolver.resolve(&Mapped, not_exported as *const () as u64).unwrap();
            assert!(own.name().unwrap().windows(12).any(|part| part == b"not_exported"));
        }
    }

    #[test]
    fn the_kernels_own_code_has_a_label() {
        // SAFETY: no pointers are passed.
        let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        assert_eq!(shown(vdso + 0x10).unwrap(), "[vdso]!+0x10");
    }

    /// Pages of code, as a just-in-time compiler or the loader maps them; unmapped on drop.
    struct Pages(*mut libc::c_void);

    const PAGES: usize = 4096;

    impl Pages {
        fn new(flags: c_int, file: c_int, offset: u64) -> Pages {
            let protection = libc::PROT_READ | libc::PROT_EXEC;
            // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
            let start = unsafe {
                libc::mmap(
                    null_mut(),
                    PAGES,
                    protection,
                    libc::MAP_PRIVATE | flags,
                    file,
                    offset as libc::off_t,
                )
            };
            assert_ne!(start, libc::MAP_FAILED);
            Pages(start)
        }

        fn address(&self) -> u64 {
            self.0 as u64
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: the pages were mapped by this value and nothing refers to them any more.
            unsafe { libc::munmap(self.0, PAGES) };
        }
    }

    #[test]
    fn anonymous_code_is_unknown() {
        let pages = Pages::new(libc::MAP_ANONYMOUS, -1, 0);
        assert_eq!(shown(pages.address() + 0x40), None);
    }

    /// The file that holds `getpid`, and where in it.
    fn file_of_getpid() -> (PathBuf, u64) {
        let address = address_of_getpid();
        let maps = fs::read("/proc/self/maps").unwrap();
        let mapping = maps
            .split(|&byte| byte == b'\n')
            .filter_map(elf_names::maps::Mapping::parse)
            .find(|mapping| (mapping.start..mapping.end).contains(&address))
            .unwrap();
        let path = String::from_utf8(mapping.path.to_vec()).unwrap();
        (path.into(), address - mapping.start + mapping.offset)
    }

    #[test]
    fn a_path_may_hold_spaces_and_its_file_may_go_away() {
        let (original, offset) = file_of_getpid();
        let folder = std::env::temp_dir().join(format!("of  process {} (deleted)", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let copy = folder.join("a library.so.1 ");
        fs::copy(original, &copy).unwrap();
        let path = std::ffi::CString::new(copy.as_os_str().as_encoded_bytes()).unwrap();
        let file = File::read_only(&path).unwrap();

        let page = offset & !(PAGES as u64 - 1);
        let pages = Pages::new(0, file.descriptor(), page);
        let address = pages.address() + (offset - page);
        assert_eq!(shown(address).unwrap(), "a library.so.1 !getpid+0x0");

        fs::remove_file(&copy).unwrap();
        assert_eq!(shown(address).unwrap(), format!("a library.so.1 !+{offset:#x}"));
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn no_descriptor_stays_open() {
        let lowest_free = || Mapped.maps().unwrap().descriptor();
        // In a child, where no other test opens files.
        let leaked = in_child(move || {
            let before = lowest_free();
            let mut resolver = Resolver::new();
            for address in [address_of_getpid(), 0, not_exported as *const () as u64, address_of_getpid()] {
                resolver.resolve(&Mapped, address);
            }
            drop(resolver);
            before != lowest_free()
        });
        assert!(!leaked);
    }

    #[test]
    fn the_main_thread_may_have_ended() {
        extern "C" fn resolve_and_exit(_: *mut libc::c_void) -> *mut libc::c_void {
            while fs::read("/proc/self/maps").is_ok_and(|maps| !maps.is_empty()) {
                std::thread::yield_now();
            }
            let named = shown(address_of_getpid()).is_some_and(|found| found.ends_with("!getpid+0x0"));
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(named.into()) }
        }
        let named = in_child(|| {
            let mut thread = 0;
            // SAFETY: the function needs no argument, and the child has this one thread to end by itself.
            unsafe {
                libc::pthread_create(&mut thread, core::ptr::null(), resolve_and_exit, null_mut());
                libc::syscall(libc::SYS_exit, 0);
            }
            false
        });
        assert!(named);
    }

    /// Runs `body` in a forked child and hands back its answer.
    fn in_child(body: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child goes on with this thread alone, in which libc keeps the allocator usable, and
        // leaves by `_exit` without touching what belongs to the other tests.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no pointers are passed; a child that hangs is ended.
            unsafe { libc::alarm(20) };
            let answer = body();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(answer.into()) };
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
        libc::WEXITSTATUS(status) == 1
    }

    // ---- Never stall ----

    #[test]
    fn the_loaders_lock_may_be_held() {
        use std::sync::mpsc;
        use std::time::Duration;
        extern "C" fn resolve_elsewhere(
            _: *mut libc::dl_phdr_info,
            _: usize,
            in_time: *mut libc::c_void,
        ) -> c_int {
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || sender.send(shown(address_of_getpid())));
            let found = receiver.recv_timeout(Duration::from_secs(60));
            // SAFETY: points to the flag below, which no one else uses meanwhile.
            unsafe { *in_time.cast::<bool>() = found.is_ok_and(|found| found.is_some()) };
            1
        }
        let mut in_time = false;
        // SAFETY: the callback is given the flag, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(resolve_elsewhere), (&raw mut in_time).cast()) };
        assert!(in_time);
    }
}
