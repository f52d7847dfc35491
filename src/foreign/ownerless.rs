//! Whether a lock of managed code, in which no live owner stands, is abandoned.
//!
//! It may just be taken: its new owner leaves its name there a moment later. Until then that thread is awake; or managed code
//! is stopped and it is held, on its way back from a wait for this lock. So the lock is abandoned if no owner stands there
//! before and after a time in which
//!
//! - managed code has run,
//! - each thread that was awake has run, however long it had to wait for a processor, and
//! - none that waits for the lock has.

use super::observer::Observer;
use crate::base::hash::fibonacci_hash;
use crate::state::managed_wait::ManagedWaitCopy;
use crate::state::task::TaskRef;
use crate::state::tasks;
use crate::sys;

/// Visits each wait for a lock of managed code.
#[inline(never)]
pub(crate) fn each_managed_wait(visit: &mut dyn FnMut(TaskRef, &ManagedWaitCopy)) {
    for task in tasks::all() {
        if let Some(wait) = task.managed_wait.copy() {
            visit(task, &wait);
        }
    }
}

impl Observer<'_> {
    /// Whether a lock, in which no live owner was found before the call, is abandoned if none is found after it. Sleeps a
    /// while.
    #[inline(never)]
    pub(crate) fn is_left_without_owner(&mut self, lock: u64) -> bool {
        if let Some(verdict) = self.room.abandoned.of(lock) {
            return verdict;
        }
        let rest = self.rest_of_those_who_wait_for(lock);
        let is_left = rest.is_some()
            && self.lets_managed_code_run()
            && self.lets_awake_threads_run()
            && self.rest_of_those_who_wait_for(lock) == rest;
        self.room.abandoned.add(lock, is_left);
        is_left
    }

    /// Another number if one of those who wait for the lock has run, or another one has come; None if one is awake.
    #[inline(never)]
    fn rest_of_those_who_wait_for(&mut self, lock: u64) -> Option<u64> {
        let mut rest = Some(0);
        each_managed_wait(&mut |task, wait| {
            if wait.told.lock == lock {
                let switches = self.glance(task.thread_id()).filter(|glance| glance.is_sure_sleep());
                let switches = switches.and_then(|glance| glance.switches());
                rest = rest.zip(switches).map(|(rest, switches)| fibonacci_hash(rest ^ switches));
            }
        });
        rest
    }

    /// Whether each thread that is awake has run since the call, for which this sleeps a while.
    fn lets_awake_threads_run(&mut self) -> bool {
        let Some(folder) = sys::ThreadFolder::open() else { return false };
        let mut entries = [0; 512];
        let mut have_run = true;
        sys::each_thread(&folder, &mut entries, &mut |thread| {
            have_run = thread == sys::thread_id() || self.lets_run(thread);
            have_run
        });
        have_run
    }

    /// The same of one thread. It is asleep only in a system call.
    fn lets_run(&mut self, thread: u32) -> bool {
        let mut patience = self.patience_with_threads;
        let mut is_asleep = || self.brief_glance(thread).is_none_or(|(_, glance)| glance.state.is_asleep());
        let has_run = patience.lets_run(&mut is_asleep, &|| time_run(thread), sys::nap);
        self.patience_with_threads = patience;
        has_run
    }
}

/// How long a thread has run, as a number that is another one once it has run longer; None if the system does not tell.
fn time_run(thread: u32) -> Option<u64> {
    let mut line = [0; 64];
    let line = sys::read_thread_file(None, thread, "schedstat", &mut line)?;
    let digits = line.iter().take_while(|&&byte| byte != b' ');
    Some(digits.fold(0, |number: u64, &digit| number.wrapping_mul(10).wrapping_add(digit.into())))
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use super::*;
    use crate::report;

    #[test]
    fn threads_of_this_process_that_are_awake_run() {
        static ENDS: AtomicBool = AtomicBool::new(false);
        let (tell, told) = channel();
        let spins = std::thread::spawn(move || {
            tell.send(sys::thread_id()).unwrap();
            while !ENDS.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let thread = told.recv().unwrap();
        let look = |look: fn(&mut Observer<'_>, u32) -> bool| loop {
            if let Some(found) = report::with_observer(|observer| look(observer, thread)) {
                return found;
            }
        };
        let before = time_run(thread);
        assert!(before.is_some());
        while !look(|observer, thread| observer.lets_run(thread)) {}
        while !look(|observer, _| observer.lets_awake_threads_run()) {}
        assert!(time_run(thread) > before, "it was waited for");
        ENDS.store(true, Ordering::Relaxed);
        spins.join().unwrap();
        assert!(look(|observer, thread| observer.lets_run(thread)), "it has ended");
    }
}
