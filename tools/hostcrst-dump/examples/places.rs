//! A program with places of each kind: `places LIBRARY`. It has a large table of zeroes, loads the library, which exports the
//! addresses `places`, and maps its own file once more to read it, with memory of its own behind that. Says what each place is and
//! where: "table=7f00 …".

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};

const TABLE: usize = 64 << 20;
const PAGE: usize = 4096;
const MEMORY: usize = 1 << 20;

#[unsafe(no_mangle)]
static large_table: [AtomicU8; TABLE] = [const { AtomicU8::new(0) }; TABLE];
#[unsafe(no_mangle)]
static small_table: [AtomicU8; 8] = [const { AtomicU8::new(7) }; 8];

fn main() {
    let library = CString::new(std::env::args().nth(1).unwrap()).unwrap();
    let program = File::open("/proc/self/exe").unwrap();
    let size = (program.metadata().unwrap().len() as usize).next_multiple_of(PAGE);
    let (anonymous, file) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::MAP_PRIVATE | libc::MAP_FIXED);
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the addresses are in memory of this program's own, and the strings end with a zero; of the library only data is read.
    let (mapped, [hidden_code, hidden_data]) = unsafe {
        let room = libc::mmap(null_mut(), size + MEMORY, writable, anonymous, -1, 0);
        let mapped = libc::mmap(room, size, libc::PROT_READ, file, program.as_raw_fd(), 0);
        assert!(mapped != libc::MAP_FAILED && mapped == room);
        let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW);
        let places = libc::dlsym(library, c"places".as_ptr()).cast::<[usize; 2]>();
        assert!(!places.is_null());
        (mapped as usize, *places)
    };
    large_table[0x3000].store(1, Ordering::Relaxed);
    // SAFETY: no preconditions.
    let heap = unsafe { libc::malloc(24) } as usize;
    let on_stack = &raw const heap as usize;
    let table = large_table.as_ptr() as usize;
    let places = [
        ("small_table", small_table.as_ptr() as usize + 3),
        ("large_table", table + 0x3000),
        ("end_of_large_table", table + TABLE - 1),
        ("copy", mapped + 0x1234),
        ("behind_copy", mapped + size + 0x40),
        ("heap", heap),
        ("stack", on_stack),
        ("code", main as *const () as usize),
        ("hidden_code", hidden_code),
        ("hidden_data", hidden_data),
        ("nothing", 8),
    ];
    let places: Vec<_> = places.iter().map(|(name, address)| format!("{name}={address:x}")).collect();
    println!("{}", places.join(" "));
    loop {
        std::thread::park();
    }
}
