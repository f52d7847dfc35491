//! A process for the tests to look at: `subject clean` waits for nothing, `subject hang` is two threads that wait for each
//! other's section for ever. Says "ready" when it stands still.

use std::ffi::CStr;
use std::sync::Barrier;
use std::time::Duration;

use hostcrst::ffi::{crst, deadlock, runtime, task};

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

fn main() {
    let hangs = std::env::args().nth(1).as_deref() == Some("hang");
    assert!(runtime::host_runtime_start() >= 0);
    let (accounts, journal) = (create(c"accounts"), create(c"journal"));
    if hangs {
        // HOST_DEADLOCK_REPORT: the threads stay as they are.
        assert_eq!(deadlock::host_set_deadlock_policy(1), 0);
        let barrier: &Barrier = Box::leak(Box::new(Barrier::new(2)));
        std::thread::spawn(move || run(c"alice", barrier, accounts, journal));
        std::thread::spawn(move || run(c"bob", barrier, journal, accounts));
    } else {
        assert_eq!(crst::hostcrst_enter(accounts, 0), 0);
    }
    while hangs && !both_wait([accounts, journal]) {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}

fn both_wait(sections: [u64; 2]) -> bool {
    sections.iter().all(|&section| {
        // SAFETY: zeros are a valid hostcrst_info_t.
        let mut info: crst::hostcrst_info_t = unsafe { std::mem::zeroed() };
        info.size = size_of::<crst::hostcrst_info_t>() as u32;
        // SAFETY: a valid pointer.
        unsafe { crst::hostcrst_info(section, &raw mut info) == 0 && info.waiters == 1 }
    })
}
