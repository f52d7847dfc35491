//! Windows' critical sections, SRW locks, condition variables, waits on addresses and one-time initialisation:
//! the functions to which include/hostcrst/win32.h maps the Windows
//! names. That header is written by hand and documents them.
//!
//! Every function here: the pointers are those of a CRITICAL_SECTION, an SRWLOCK or a CONDITION_VARIABLE that the caller keeps in
//! place during the call; the memory may have any content.

use core::ffi::c_void;

use crate::lock::srw::Mode;
use crate::state::mirror::{ConditionVariable, CriticalSection};
use crate::state::srw::SrwLock;
use crate::sys::{self, with_call_site};
use crate::win32::address::{self, Watched};
use crate::win32::once::{self, Begun, InitOnce};
use crate::win32::{self, FastEnter, Spin, srw};

const TRUE: i32 = 1;
const FALSE: i32 = 0;

/// TRUE, or FALSE with the code stored for GetLastError.
fn succeed(result: core::result::Result<(), u32>) -> i32 {
    match result {
        Ok(()) => TRUE,
        Err(code) => {
            sys::set_last_error(code);
            FALSE
        }
    }
}

/// The CRITICAL_SECTION at this address. If the address is not aligned, ends the process.
///
/// # Safety
/// See "every function here".
#[inline(always)]
unsafe fn at<'a>(section: *mut CriticalSection) -> &'a CriticalSection {
    if !section.is_aligned() {
        win32::end_misaligned(section as usize);
    }
    // SAFETY: it is aligned, and the caller says the rest.
    unsafe { &*section }
}

/// InitializeCriticalSection.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_initialize(section: *mut CriticalSection) {
    // SAFETY: see "every function here".
    win32::initialize_in_any_case(unsafe { at(section) });
}

/// InitializeCriticalSectionAndSpinCount.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_initialize_and_spin_count(
    section: *mut CriticalSection,
    spin_count: u32,
) -> i32 {
    succeed(win32::aligned(section).and_then(|section| {
        // SAFETY: it is aligned; otherwise see "every function here".
        win32::initialize(unsafe { &*section }, Spin::of_count(spin_count))
    }))
}

/// InitializeCriticalSectionEx.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_initialize_ex(
    section: *mut CriticalSection,
    spin_count: u32,
    flags: u32,
) -> i32 {
    let spin = Spin::of_count_and_flags(spin_count, flags);
    succeed(spin.and_then(|spin| {
        let section = win32::aligned(section)?;
        // SAFETY: it is aligned; otherwise see "every function here".
        let section = unsafe { &*section };
        win32::initialize(section, spin)?;
        win32::set_debug_record(section, flags);
        Ok(())
    }))
}

/// EnterCriticalSection.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_enter(section: *mut CriticalSection) {
    // SAFETY: see "every function here".
    let mirror = unsafe { at(section) };
    match win32::enter_fast(mirror) {
        FastEnter::Done => {}
        FastEnter::Unpublished(how_far) => _ = win32::publish_entry(mirror, how_far),
        FastEnter::No => _ = enter_from(section),
    }
}

with_call_site!(#[cold] enter_from(section: *mut CriticalSection) => enter_at, "rsi", "x1");

extern "C" fn enter_at(section: *mut CriticalSection, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_cs_enter, which was given this pointer.
    i32::from(win32::enter_slowly(unsafe { at(section) }, true, site))
}

/// TryEnterCriticalSection.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_try_enter(section: *mut CriticalSection) -> i32 {
    // SAFETY: see "every function here".
    let mirror = unsafe { at(section) };
    match win32::enter_fast(mirror) {
        FastEnter::Done => TRUE,
        FastEnter::Unpublished(how_far) => win32::publish_entry(mirror, how_far),
        FastEnter::No => try_enter_from(section),
    }
}

with_call_site!(#[cold] try_enter_from(section: *mut CriticalSection) => try_enter_at, "rsi", "x1");

extern "C" fn try_enter_at(section: *mut CriticalSection, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_cs_try_enter, which was given this pointer.
    i32::from(win32::enter_slowly(unsafe { at(section) }, false, site))
}

/// LeaveCriticalSection.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_leave(section: *mut CriticalSection) {
    // SAFETY: see "every function here".
    if !win32::leave(unsafe { at(section) }) {
        leave_refused_from(section);
    }
}

with_call_site!(#[cold] leave_refused_from(section: *mut CriticalSection) => leave_refused_at, "rsi", "x1");

extern "C" fn leave_refused_at(section: *mut CriticalSection, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_cs_leave, which was given this pointer.
    win32::leave_refused(unsafe { at(section) }, site);
    FALSE
}

/// DeleteCriticalSection.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_delete(section: *mut CriticalSection) {
    delete_from(section);
}

with_call_site!(delete_from(section: *mut CriticalSection) => delete_at, "rsi", "x1");

extern "C" fn delete_at(section: *mut CriticalSection, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_cs_delete, which was given this pointer.
    win32::delete(unsafe { at(section) }, site);
    TRUE
}

/// SetCriticalSectionSpinCount.
///
/// # Safety
/// `section` points to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cs_set_spin_count(section: *mut CriticalSection, spin_count: u32) -> u32 {
    // SAFETY: see "every function here".
    win32::set_spin_count(unsafe { at(section) }, spin_count)
}

/// InitializeConditionVariable.
///
/// # Safety
/// `variable` points to a CONDITION_VARIABLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cv_initialize(variable: *mut ConditionVariable) {
    // SAFETY: see "every function here".
    win32::initialize_variable(unsafe { &*variable });
}

/// SleepConditionVariableCS.
///
/// # Safety
/// `variable` points to a CONDITION_VARIABLE, `section` to a CRITICAL_SECTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cv_sleep(
    variable: *mut ConditionVariable,
    section: *mut CriticalSection,
    milliseconds: u32,
) -> i32 {
    sleep_from(variable, section, milliseconds)
}

with_call_site!(
    sleep_from(variable: *mut ConditionVariable, section: *mut CriticalSection, milliseconds: u32) => sleep_at,
    "rcx", "x3"
);

extern "C" fn sleep_at(
    variable: *mut ConditionVariable,
    section: *mut CriticalSection,
    milliseconds: u32,
    site: usize,
) -> i32 {
    // SAFETY: only reached from hostcrst_cv_sleep, which was given these pointers.
    let (variable, section) = unsafe { (&*variable, at(section)) };
    succeed(win32::sleep(variable, section, milliseconds, site))
}

/// WakeConditionVariable.
///
/// # Safety
/// `variable` points to a CONDITION_VARIABLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cv_wake(variable: *mut ConditionVariable) {
    // SAFETY: see "every function here".
    win32::wake_one(unsafe { &*variable });
}

/// WakeAllConditionVariable.
///
/// # Safety
/// `variable` points to a CONDITION_VARIABLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cv_wake_all(variable: *mut ConditionVariable) {
    // SAFETY: see "every function here".
    win32::wake_all(unsafe { &*variable });
}

/// InitializeSRWLock.
///
/// # Safety
/// `lock` points to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_srw_initialize(lock: *mut SrwLock) {
    // SAFETY: see "every function here".
    srw::initialize(unsafe { &*lock });
}

/// AcquireSRWLockExclusive.
///
/// # Safety
/// `lock` points to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_srw_acquire_exclusive(lock: *mut SrwLock) {
    // SAFETY: see "every function here".
    if !srw::acquire_fast(unsafe { &*lock }, Mode::Exclusive) {
        acquire_exclusive_from(lock);
    }
}

with_call_site!(#[cold] acquire_exclusive_from(lock: *mut SrwLock) => acquire_exclusive_at, "rsi", "x1");

extern "C" fn acquire_exclusive_at(lock: *mut SrwLock, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_srw_acquire_exclusive, which was given this pointer.
    srw::acquire(unsafe { &*lock }, Mode::Exclusive, site);
    TRUE
}

/// TryAcquireSRWLockExclusive.
///
/// # Safety
/// `lock` points to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_srw_try_acquire_exclusive(lock: *mut SrwLock) -> u8 {
    // SAFETY: see "every function here".
    let lock = unsafe { &*lock };
    u8::from(srw::acquire_fast(lock, Mode::Exclusive) || srw::try_acquire(lock, Mode::Exclusive))
}

/// ReleaseSRWLockExclusive.
///
/// # Safety
/// `lock` points to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_srw_release_exclusive(lock: *mut SrwLock) {
    // SAFETY: see "every function here".
    if !srw::release_fast(unsafe { &*lock }, Mode::Exclusive) {
        release_exclusive_from(lock);
    }
}

with_call_site!(#[cold] release_exclusive_from(lock: *mut SrwLock) => release_exclusive_at, "rsi", "x1");

extern "C" fn release_exclusive_at(lock: *mut SrwLock, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_srw_release_exclusive, which was given this pointer.
    srw::release(unsafe { &*lock }, Mode::Exclusive, site);
    TRUE
}

/// AcquireSRWLockShared.
///
/// # Safety
/// `lock` points to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_srw_acquire_shared(lock: *mut SrwLock) {
    // SAFETY: see "every function here".
    if !srw::acquire_fast(unsafe { &*lock }, Mode::Shared) {
        acquire_shared_from(lock);
    }
}

with_call_site!(#[cold] acquire_shared_from(lock: *mut SrwLock) => acquire_shared_at, "rsi", "x1");

extern "C" fn acquire_shared_at(lock: *mut SrwLock, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_srw_acquire_shared, which was given this pointer.
    srw::acquire(unsafe { &*lock }, Mode::Shared, site);
    TRUE
}

/// TryAcquireSRWLockShared.
///
/// # Safety
/// `lock` points to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_srw_try_acquire_shared(lock: *mut SrwLock) -> u8 {
    // SAFETY: see "every function here".
    let lock = unsafe { &*lock };
    u8::from(srw::acquire_fast(lock, Mode::Shared) || srw::try_acquire(lock, Mode::Shared))
}

/// ReleaseSRWLockShared.
///
/// # Safety
/// `lock` points to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_srw_release_shared(lock: *mut SrwLock) {
    // SAFETY: see "every function here".
    if !srw::release_fast(unsafe { &*lock }, Mode::Shared) {
        release_shared_from(lock);
    }
}

with_call_site!(#[cold] release_shared_from(lock: *mut SrwLock) => release_shared_at, "rsi", "x1");

extern "C" fn release_shared_at(lock: *mut SrwLock, site: usize) -> i32 {
    // SAFETY: only reached from hostcrst_srw_release_shared, which was given this pointer.
    srw::release(unsafe { &*lock }, Mode::Shared, site);
    TRUE
}

/// SleepConditionVariableSRW.
///
/// # Safety
/// `variable` points to a CONDITION_VARIABLE, `lock` to an SRWLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_cv_sleep_srw(
    variable: *mut ConditionVariable,
    lock: *mut SrwLock,
    milliseconds: u32,
    flags: u32,
) -> i32 {
    sleep_srw_from(variable, lock, milliseconds, flags)
}

with_call_site!(
    sleep_srw_from(variable: *mut ConditionVariable, lock: *mut SrwLock, milliseconds: u32, flags: u32) => sleep_srw_at,
    "r8", "x4"
);

extern "C" fn sleep_srw_at(
    variable: *mut ConditionVariable,
    lock: *mut SrwLock,
    milliseconds: u32,
    flags: u32,
    site: usize,
) -> i32 {
    // SAFETY: only reached from hostcrst_cv_sleep_srw, which was given these pointers.
    let (variable, lock) = unsafe { (&*variable, &*lock) };
    succeed(srw::sleep(variable, lock, milliseconds, flags, site))
}

/// WaitOnAddress.
///
/// # Safety
/// `address` and `undesired` are NULL or point to `size` bytes that may be read during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_address_wait(
    address: *mut c_void,
    undesired: *mut c_void,
    size: usize,
    milliseconds: u32,
) -> i32 {
    address_wait_from(address, undesired, size, milliseconds)
}

with_call_site!(
    address_wait_from(address: *mut c_void, undesired: *mut c_void, size: usize, milliseconds: u32) => address_wait_at,
    "r8", "x4"
);

extern "C" fn address_wait_at(
    address: *mut c_void,
    undesired: *mut c_void,
    size: usize,
    milliseconds: u32,
    site: usize,
) -> i32 {
    let watched = Watched::new(address as usize, size);
    // SAFETY: only reached from hostcrst_address_wait, whose caller says so.
    succeed(unsafe { address::wait(watched, undesired as usize, milliseconds, site) })
}

/// WakeByAddressSingle.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_address_wake(address: *mut c_void) {
    address::wake_one(address as usize);
}

/// WakeByAddressAll.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_address_wake_all(address: *mut c_void) {
    address::wake_all(address as usize);
}

/// InitOnceInitialize.
///
/// # Safety
/// `once` points to an INIT_ONCE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_once_initialize(once: *mut InitOnce) {
    // SAFETY: see "every function here".
    once::initialize(unsafe { &*once });
}

/// InitOnceBeginInitialize.
///
/// # Safety
/// `once` points to an INIT_ONCE; `pending` and `context` are NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_once_begin(
    once: *mut InitOnce,
    flags: u32,
    pending: *mut i32,
    context: *mut *mut c_void,
) -> i32 {
    once_begin_from(once, flags, pending, context)
}

with_call_site!(
    once_begin_from(once: *mut InitOnce, flags: u32, pending: *mut i32, context: *mut *mut c_void) => once_begin_at,
    "r8", "x4"
);

extern "C" fn once_begin_at(
    once: *mut InitOnce,
    flags: u32,
    pending: *mut i32,
    context: *mut *mut c_void,
    site: usize,
) -> i32 {
    // SAFETY: only reached from hostcrst_once_begin, which was given this pointer.
    let once = unsafe { &*once };
    let begun = match once::done(once).filter(|_| flags == 0) {
        Some(made) => Ok(Begun::Done(made)),
        None => once::begin(once, flags, site),
    };
    succeed(begun.map(|begun| {
        let (is_pending, made) = match begun {
            Begun::Pending => (TRUE, None),
            Begun::Done(made) => (FALSE, Some(made)),
        };
        // SAFETY: its caller says that they are NULL or may be written to.
        let (pending, context) = unsafe { (pending.as_mut(), context.as_mut()) };
        if let Some(pending) = pending {
            *pending = is_pending;
        }
        if let (Some(context), Some(made)) = (context, made) {
            *context = made as *mut c_void;
        }
    }))
}

/// InitOnceComplete.
///
/// # Safety
/// `once` points to an INIT_ONCE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostcrst_once_complete(
    once: *mut InitOnce,
    flags: u32,
    context: *mut c_void,
) -> i32 {
    // SAFETY: see "every function here".
    succeed(once::complete(unsafe { &*once }, flags, context as u64))
}

/// GetCurrentThreadId.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_thread_id() -> u32 {
    sys::thread_id()
}

/// GetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_last_error() -> u32 {
    sys::last_error()
}

/// SetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_set_last_error(code: u32) {
    sys::set_last_error(code);
}
