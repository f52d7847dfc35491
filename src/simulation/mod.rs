//! The lock on machines that nobody here has: what the crate's own code does on two to 256 processors, beside
//! textbook locks, in virtual time. `sys::sim` is the machine.
//!
//! `workload` is what the threads do, as in `benches/contended.h`; `locks` are the textbook locks; `rows` is what
//! `./dev bench --sim` measures. The tests here are those of the simulated machine and of what it shows.

mod locks;
mod rows;
mod tests;
mod workload;

use std::rc::Rc;

use crate::host::enter::{self, Patience};
use crate::host::runtime;
use crate::lock::crst::{self, FastPath};
use crate::state::section::SpinPolicy;

/// A lock that simulated threads enter and leave. Each says which thread it is.
trait Lock {
    fn enter(&self, thread: usize);
    fn leave(&self, thread: usize);
}

/// A kind of lock.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Makes one for so many threads.
    make: fn(usize) -> Rc<dyn Lock>,
}

const OURS: Kind = Kind { name: "hostcrst", make: |_| Rc::new(Ours::new()) };

/// A section of the crate's own, entered and left as the exported functions do.
struct Ours {
    crst: u64,
}

impl Ours {
    fn new() -> Self {
        runtime::start().expect("memory for the arenas");
        Ours { crst: crst::create(SpinPolicy::Adaptive).expect("a place for a section") }
    }
}

impl Lock for Ours {
    fn enter(&self, _: usize) {
        if !crst::enter_now(self.crst, 0) {
            enter::enter_checked(self.crst, 0, Patience::Unbounded, 0).expect("entered");
        }
    }

    fn leave(&self, _: usize) {
        match crst::leave_fast(self.crst) {
            FastPath::Done => {}
            FastPath::DoneWithFollowUp => crst::wake_after_leave(self.crst),
            FastPath::Revoked => crst::settle_leave(self.crst),
            FastPath::NotTaken => crst::leave_checked(self.crst).expect("left"),
        }
    }
}
