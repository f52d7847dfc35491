//! What stands in for the parts of a platform that neither a model nor a simulation has: signals, forks, an
//! environment, other processes, other copies of the library. `model` and `sim` have it in common.

use core::ffi::CStr;

use super::atomic::AtomicU32;
use super::current;
use crate::handle::{BIASED, NOBODY};

pub(crate) use super::files::{
    File, FileId, STDERR, Way, has_no_room, identify, is_folder, is_writable, read_file,
};
pub(crate) use super::linux::{Instant, Slept, string_length};
pub(crate) use super::signals::without_signals;
pub(crate) use super::threads::{
    ThreadFile, ThreadFolder, each_thread, read_descriptor_link, read_thread_file, thread_count,
    write_own_memory,
};

// ---- pages ------------------------------------------------------------------------------------------------

/// # Safety
/// None is needed: all pages can be read.
pub(crate) unsafe fn show_pages(_start: *mut u8, _bytes: usize) -> bool {
    true
}

/// # Safety
/// None is needed: all pages can be written.
pub(crate) unsafe fn commit_pages(_start: *mut u8, _bytes: usize) -> bool {
    true
}

pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// # Safety
/// None is needed: nothing is written.
pub(crate) unsafe fn gather_pages(_start: *mut u8) {}

pub(crate) fn may_have_huge_pages() -> bool {
    false
}

pub(crate) fn each_other_claim(_own: &AtomicU32, _look: &mut dyn FnMut(&AtomicU32)) {}

/// There is one copy of the library.
macro_rules! show_claim {
    ($holder:ident, $offset:expr) => {};
}
pub(crate) use show_claim;

pub(crate) fn address_space_limit() -> u64 {
    u64::MAX
}

/// What is reported is small.
pub(crate) fn borrow_pages(_bytes: usize) -> Option<*mut u8> {
    None
}

/// # Safety
/// None is needed: there are no such pages.
pub(crate) unsafe fn return_pages(_start: *mut u8, _bytes: usize) {}

// ---- threads and the process ------------------------------------------------------------------------------

pub(crate) fn current_id() -> u64 {
    current().0
}

pub(crate) fn xor_biased_id(number: u64) -> u64 {
    let id = current_id();
    number ^ if id == 0 { NOBODY } else { id } ^ BIASED
}

pub(crate) fn current_task() -> usize {
    current().1
}

/// Nothing is measured in instructions.
pub(crate) fn in_one_register(address: usize) -> usize {
    address
}

pub(crate) fn process_id() -> u32 {
    1
}

/// No scene has a CLR.
pub(crate) fn begin_thread(_body: extern "C" fn()) -> bool {
    false
}

pub(crate) fn is_thread_gone(_thread: u32) -> bool {
    false
}

pub(crate) fn preserving_errno<T>(body: impl FnOnce() -> T) -> T {
    body()
}

pub(crate) fn expect_thread_exit() -> bool {
    true
}

pub(crate) fn on_fork(_repair: fn()) -> bool {
    true
}

pub(crate) fn settle_fork() {}

pub(crate) fn repairs() -> u32 {
    0
}

pub(crate) fn without_handlers<T>(body: impl FnOnce() -> T) -> T {
    body()
}

pub(crate) fn on_process_exit(_hook: extern "C" fn()) -> bool {
    true
}

pub(crate) fn start_routine() -> Option<usize> {
    None
}

pub(crate) fn environment(_name: &CStr) -> Option<&'static CStr> {
    None
}

pub(crate) fn each_environment_name(_show: impl FnMut(&[u8])) {}

pub(crate) fn abort() -> ! {
    panic!("the library ends the process");
}

// ---- signals: none ----------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "no handler is ever installed")]
pub(crate) enum Stage {
    Load,
    Start,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    End,
    GoOn,
}

pub(crate) const ENDINGS: [i32; 2] = [libc::SIGABRT, libc::SIGTERM];
pub(crate) const SIGNAL_NAMES: &str = "";

pub(crate) fn put_before(_signal: i32, _stage: Stage, _deed: fn(i32), _otherwise: Otherwise) {}

pub(crate) fn handler_stack_room() -> Option<usize> {
    None
}

pub(crate) fn signal_of(_name: &[u8]) -> Option<i32> {
    None
}

pub(crate) fn signal_name(_signal: i32) -> Option<&'static [u8]> {
    None
}
