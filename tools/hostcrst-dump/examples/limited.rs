//! Two threads that wait for each other's mutex, with a time limit of an hour, which will open the cycle. Says "ready" once
//! both sleep.

use std::cell::UnsafeCell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, Ordering};

struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is made to be shared.
unsafe impl Sync for Mutex {}

static MUTEXES: [Mutex; 2] = [const { Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)) }; 2];
static THREADS: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];

fn run(own: usize, barrier: &Barrier) {
    // SAFETY: the mutexes are initialised and stay for ever, the time is valid.
    unsafe {
        assert_eq!(libc::pthread_mutex_lock(MUTEXES[own].0.get()), 0);
        barrier.wait();
        let mut end: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut end), 0);
        end.tv_sec += 3600;
        THREADS[own].store(libc::gettid(), Ordering::Release);
        libc::pthread_mutex_timedlock(MUTEXES[1 - own].0.get(), &raw const end);
    }
}

fn sleeps_on(word: usize, thread: &AtomicI32) -> bool {
    let path = format!("/proc/self/task/{}/syscall", thread.load(Ordering::Acquire));
    std::fs::read_to_string(path).is_ok_and(|call| call.contains(&format!(" 0x{word:x} ")))
}

fn main() {
    let barrier: &Barrier = Box::leak(Box::new(Barrier::new(2)));
    for own in [0, 1] {
        std::thread::spawn(move || run(own, barrier));
    }
    while !(0..2).all(|own| sleeps_on(MUTEXES[1 - own].0.get().addr(), &THREADS[own])) {
        std::thread::yield_now();
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}
