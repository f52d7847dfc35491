//! A process for the tests to look at: `subject clean` waits for nothing, `subject hang` is two threads that wait for each
//! other's section for ever, `subject headless` is those without a main thread, `subject own=N` is a task that owns N
//! sections, `subject chain=N` is N tasks that wait in a row, `subject windows` is two threads that wait for each other's
//! CRITICAL_SECTION and mutex and one that waits for an SRW lock, `subject again` begins anew, as `clean`, when something can be
//! read. Says "ready" when it stands still.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;

use hostcrst::ffi::{crst, deadlock, runtime, task, win32};

fn create(name: &CStr) -> u64 {
    let mut handle = 0;
    // SAFETY: both are valid pointers.
    unsafe {
        assert_eq!(crst::hostcrst_create(&raw mut handle), 0);
        assert_eq!(crst::hostcrst_set_name(handle, name.as_ptr()), 0);
    }
    handle
}

/// Enters deeper than a task's own record holds layers, then one section, then the other's.
fn run(name: &CStr, barrier: &Barrier, own: u64, other: u64) {
    let mut me = 0;
    // SAFETY: both are valid pointers.
    unsafe {
        assert_eq!(task::host_task_current(&raw mut me), 0);
        assert_eq!(task::host_task_set_name(me, name.as_ptr()), 0);
    }
    for _ in 0..400 {
        assert_eq!(task::host_leave_runtime(create as *const () as usize), 0);
        assert_eq!(task::host_reverse_enter_runtime(), 0);
    }
    assert_eq!(crst::hostcrst_enter(own, 0), 0);
    barrier.wait();
    std::process::exit(crst::hostcrst_enter(other, 0));
}

/// Two threads that wait for each other's section for ever.
fn hang(accounts: u64, journal: u64) {
    // HOST_DEADLOCK_REPORT: the threads stay as they are.
    assert_eq!(deadlock::host_set_deadlock_policy(1), 0);
    let barrier: &Barrier = Box::leak(Box::new(Barrier::new(2)));
    std::thread::spawn(move || run(c"alice", barrier, accounts, journal));
    std::thread::spawn(move || run(c"bob", barrier, journal, accounts));
    wait_for_waiters(accounts);
    wait_for_waiters(journal);
}

/// Locks in variables, of which the first two bear the names of Windows' kinds.
static SHOP: Variable<[u64; 5]> = Variable(UnsafeCell::new([0; 5]));
static STREET: Variable<u64> = Variable(UnsafeCell::new(0));
static MUTEX: Variable<libc::pthread_mutex_t> = Variable(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

struct Variable<T>(UnsafeCell<T>);

// SAFETY: only functions for locks are given it.
unsafe impl<T> Sync for Variable<T> {}

fn enter_shop() {
    // SAFETY: a CRITICAL_SECTION that was initialised.
    unsafe { win32::hostcrst_cs_enter(SHOP.0.get().cast()) };
}

fn lock_mutex() {
    // SAFETY: a mutex that was initialised.
    assert_eq!(unsafe { libc::pthread_mutex_lock(MUTEX.0.get()) }, 0);
}

fn lock_street() {
    // SAFETY: an SRW lock; zeros are a free one.
    unsafe { win32::hostcrst_srw_acquire_exclusive(STREET.0.get().cast()) };
}

fn windows() {
    // SAFETY: a valid pointer, to what is entered later.
    unsafe { win32::hostcrst_cs_initialize(SHOP.0.get().cast()) };
    lock_street();
    let both: &Barrier = Box::leak(Box::new(Barrier::new(2)));
    let take = |first: fn(), second: fn()| {
        std::thread::spawn(move || {
            first();
            both.wait();
            second();
        })
    };
    take(enter_shop, lock_mutex);
    take(lock_mutex, enter_shop);
    std::thread::spawn(lock_street);
}

/// A task that owns so many sections, none of which has a name.
fn own(count: usize) {
    for _ in 0..count {
        let mut handle = 0;
        // SAFETY: a valid pointer.
        assert_eq!(unsafe { crst::hostcrst_create(&raw mut handle) }, 0);
        assert_eq!(crst::hostcrst_enter(handle, 0), 0);
    }
}

/// So many tasks, each of which owns a section and waits for the next one's.
fn chain(count: usize) {
    let sections: Vec<u64> = (0..=count).map(|_| create(c"link")).collect();
    assert_eq!(crst::hostcrst_enter(sections[count], 0), 0);
    let (say, hear) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..count)
        .map(|index| {
            let (own, next, say) = (sections[index], sections[index + 1], say.clone());
            let enter_both = move || {
                assert_eq!(crst::hostcrst_enter(own, 0), 0);
                say.send(()).unwrap();
                std::thread::park();
                std::process::exit(crst::hostcrst_enter(next, 0));
            };
            std::thread::Builder::new().stack_size(256 << 10).spawn(enter_both).unwrap()
        })
        .collect();
    threads.iter().for_each(|_| hear.recv().unwrap());
    for (thread, &section) in threads.iter().zip(&sections[1..]) {
        thread.thread().unpark();
        wait_for_waiters(section);
    }
}

fn main() {
    let how = std::env::args().nth(1).unwrap();
    let (how, count) = how.split_once('=').unwrap_or((&how, "0"));
    let count = count.parse().unwrap();
    assert!(runtime::host_runtime_start() >= 0);
    let (accounts, journal) = (create(c"accounts"), create(c"journal"));
    match how {
        "hang" | "headless" => hang(accounts, journal),
        "own" => own(count),
        "windows" => windows(),
        "chain" => chain(count),
        "clean" | "again" => assert_eq!(crst::hostcrst_enter(accounts, 0), 0),
        _ => panic!("{how}"),
    }
    wait_until_others_sleep();
    println!("ready");
    if how == "again" {
        assert_eq!(std::io::stdin().read(&mut [0]).unwrap(), 1);
        let error = Command::new(std::env::current_exe().unwrap()).arg("clean").exec();
        panic!("{error}");
    }
    if how == "headless" {
        // SAFETY: ends this thread alone, which has nothing to clean up.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    loop {
        std::thread::park();
    }
}

fn wait_for_waiters(section: u64) {
    // SAFETY: zeros are a valid hostcrst_info_t.
    let mut info: crst::hostcrst_info_t = unsafe { std::mem::zeroed() };
    info.size = size_of::<crst::hostcrst_info_t>() as u32;
    // SAFETY: a valid pointer.
    while unsafe { crst::hostcrst_info(section, &raw mut info) } != 0 || info.waiters == 0 {
        std::thread::yield_now();
    }
}

/// Who waits for a section is in its queue a moment before it sleeps.
fn wait_until_others_sleep() {
    // As it is numbered there, whatever namespace this process is in.
    let me = std::fs::read_link("/proc/thread-self").unwrap();
    let sleeps = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    };
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    while !threads().filter(|thread| Some(&*thread.file_name()) != me.file_name()).all(sleeps) {
        std::thread::yield_now();
    }
}
