//! The platform seam: every operating-system call and every choice between platforms is made here. Knows neither
//! sections nor tasks.
//!
//! The rest of the crate uses futexes, a clock, pages, thread identity, barriers and descriptors by these
//! names only. A second platform is a second file with the same functions.

#[cfg(not(target_os = "linux"))]
compile_error!("hostcrst supports Linux; a port starts with a second file beside src/sys/linux.rs");

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("hostcrst supports 64-bit little-endian targets: its handles and lock words are 64 bits");

/// Whether the C library is the one whose locks are known in memory.
pub(crate) const IS_WITH_GLIBC: bool = cfg!(target_env = "gnu");

mod call_site;
#[cfg_attr(all(test, any(loom, hostcrst_sim)), allow(dead_code))]
pub(crate) mod mutex;
pub(crate) mod symbols;

// One of the three: the machine, loom's model of it with `--cfg loom`, or a simulated one with `--cfg hostcrst_sim`.
#[cfg(not(all(test, any(loom, hostcrst_sim))))]
pub(crate) mod copies;
#[cfg(not(all(test, any(loom, hostcrst_sim))))]
mod current;
// Models and simulations use only a part of the real platform.
#[cfg_attr(all(test, any(loom, hostcrst_sim)), allow(dead_code))]
mod files;
#[cfg(not(all(test, any(loom, hostcrst_sim))))]
mod forks;
#[cfg(not(all(test, any(loom, hostcrst_sim))))]
mod handlers;
#[cfg_attr(all(test, any(loom, hostcrst_sim)), allow(dead_code))]
mod linux;
#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg_attr(all(test, any(loom, hostcrst_sim)), allow(dead_code))]
mod signals;
#[cfg(all(test, hostcrst_sim))]
pub(crate) mod sim;
#[cfg(all(test, any(loom, hostcrst_sim)))]
mod stand_ins;
#[cfg(not(all(test, any(loom, hostcrst_sim))))]
mod started;
#[cfg_attr(all(test, any(loom, hostcrst_sim)), allow(dead_code))]
mod threads;

pub(crate) use call_site::with_call_site;
#[cfg(all(test, loom))]
pub(crate) use model::*;
#[cfg(all(test, hostcrst_sim))]
pub(crate) use sim::*;
#[cfg(not(all(test, any(loom, hostcrst_sim))))]
pub(crate) use {
    copies::{each_other_claim, show_claim},
    core::sync::atomic,
    current::{
        current, current_id, current_task, in_one_register, last_error, set_current, set_last_error,
        xor_biased_id,
    },
    files::*,
    forks::{on_fork, repairs, settle_fork},
    handlers::*,
    linux::*,
    mutex::{Guard, Mutex},
    signals::*,
    started::start_routine,
    threads::*,
};
