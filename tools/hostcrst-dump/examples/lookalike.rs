//! Two threads that wait for each other's lock for ever, by locks of this program's own that look in memory as glibc's mutexes
//! do. Says "ready" once both sleep.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// `lock, count, owner, users, kind` and what follows in a mutex of glibc's.
#[repr(C, align(8))]
struct Lookalike {
    lock: AtomicU32,
    count: u32,
    owner: AtomicI32,
    users: u32,
    rest: [u32; 6],
}

static LOCKS: [Lookalike; 2] = [const {
    Lookalike { lock: AtomicU32::new(2), count: 0, owner: AtomicI32::new(0), users: 1, rest: [0; 6] }
}; 2];

/// Sleeps as glibc would, by its function for any system call.
fn wait_by_function(lock: &Lookalike) {
    // SAFETY: the word lives for ever, and there is no time limit.
    unsafe {
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        libc::syscall(libc::SYS_futex, lock.lock.as_ptr(), operation, 2, std::ptr::null::<libc::timespec>());
    }
}

/// The same without a function of glibc's, by a name that it could have.
#[unsafe(no_mangle)]
#[inline(never)]
fn __futex_wait_by_itself(lock: &Lookalike) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above; the kernel changes rcx and r11.
    unsafe {
        let mut _result = libc::SYS_futex;
        std::arch::asm!(
            "syscall", inout("rax") _result, in("rdi") lock.lock.as_ptr(),
            in("rsi") libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, in("rdx") 2, in("r10") 0, out("rcx") _, out("r11") _
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    wait_by_function(lock);
}

fn run(own: &'static Lookalike, other: &'static Lookalike, wait: fn(&Lookalike)) {
    std::thread::spawn(move || {
        // SAFETY: has no preconditions.
        own.owner.store(unsafe { libc::gettid() }, Ordering::Release);
        loop {
            wait(other);
        }
    });
}

fn sleeps(owner: &AtomicI32) -> bool {
    let thread = owner.load(Ordering::Acquire);
    let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(&libc::SYS_futex.to_string())
}

fn main() {
    run(&LOCKS[0], &LOCKS[1], wait_by_function);
    run(&LOCKS[1], &LOCKS[0], __futex_wait_by_itself);
    while !LOCKS.iter().all(|lock| sleeps(&lock.owner)) {
        std::thread::yield_now();
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}
