//! Threads that take locks of all kinds, always in the same order, and hold them for a moment; some are joined again and again.
//! Nothing ever stands still here, and nothing is wrong: it ends if the library calls any of their wait chains a deadlock.
//! Says "ready", and runs until it is killed.

mod locks;

use std::sync::mpsc::channel;
use std::time::Duration;

use locks::{KINDS, Kind, Lock};

const WORKERS: usize = 5;

fn work(locks: &[&Lock]) {
    for (place, lock) in locks.iter().enumerate() {
        if lock.kind() == Kind::RwLock && fastrand::bool() {
            lock.read_lock()
        } else {
            lock.lock()
        }
        if fastrand::u8(..4) == 0 {
            std::thread::sleep(Duration::from_micros(fastrand::u64(..100)));
        }
        // The one before is given up while this one is held.
        if place > 0 {
            locks[place - 1].unlock();
        }
    }
    locks[locks.len() - 1].unlock();
}

fn main() {
    locks::prepare();
    let locks: Vec<_> = KINDS.into_iter().chain(KINDS).map(Lock::create).collect();
    let (say_task, tasks) = channel();
    for _ in 0..WORKERS {
        let (locks, say_task) = (locks.clone(), say_task.clone());
        std::thread::spawn(move || {
            say_task.send(locks::current_task()).unwrap();
            loop {
                work(&locks);
            }
        });
    }
    let tasks: Vec<_> = tasks.iter().take(WORKERS).collect();
    println!("ready");
    loop {
        let locks = locks.clone();
        std::thread::spawn(move || work(&locks)).join().unwrap();
        assert!(!tasks.iter().any(|&task| locks::is_closed(&locks::wait_chain(task))));
    }
}
