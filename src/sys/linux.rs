//! Linux: futexes, the monotonic clock, pages, thread identity and exit, barriers. Files are in `files`. Knows no
//! sections or tasks, and has no policy.
//!
//! Functions here may change `errno`; the shims that reach them restore it (see `preserving_errno`).

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// An instant of the monotonic clock in nanoseconds.
pub(crate) type Instant = u64;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MILLISECOND: u64 = 1_000_000;

/// Runs `body` and puts `errno` back as it was: callers read it across our calls.
#[inline]
pub(crate) fn preserving_errno<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: __errno_location returns the address of the calling thread's errno, always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; only this thread accesses it.
    let saved = unsafe { *errno };
    let result = body();
    // SAFETY: as above.
    unsafe { *errno = saved };
    result
}

pub(super) fn errno() -> c_int {
    // SAFETY: the address of the calling thread's errno is always valid.
    unsafe { *libc::__errno_location() }
}

/// Makes a system call until no signal handler interrupts it. None if it fails: `errno` says why.
pub(super) fn retried(mut call: impl FnMut() -> c_long) -> Option<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(result) => return Some(result),
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return None,
        }
    }
}

// ---- waiting ----------------------------------------------------------------------------------------------

/// How a sleep on a word ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Slept {
    /// The word may have changed: the caller checks it, and sleeps again if it has not.
    CheckAgain,
    /// The deadline has passed.
    TimedOut,
    /// The kernel refuses futexes: there will be no wake. The caller has slept for a moment, and checks again.
    Refused,
}

/// How long a thread that may not be woken sleeps before it checks again, in nanoseconds.
const UNWOKEN_NAP: u64 = NANOS_PER_MILLISECOND;

/// 1 once futex(2) was refused: from then on no sleeper relies on being woken.
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// Sleeps while `*word == expected`, until woken or until `deadline`. The deadline is absolute, so sleeping again does
/// not extend it.
///
/// Every error of futex(2) has a defined result. A refusal leads neither to a busy loop nor to an ignored deadline, but
/// to a nap, after which the caller checks again.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Slept {
    if REFUSED.load(Ordering::Relaxed) != 0 {
        return nap_until(word, expected, deadline);
    }
    let timespec = deadline.map(timespec);
    let timespec = timespec.as_ref().map_or(core::ptr::null(), |spec| spec as *const libc::timespec);
    // SAFETY: futex(2) FUTEX_WAIT_BITSET reads the word and the timespec, both alive for the call; the time is
    // absolute and monotonic with this operation.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timespec,
            core::ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    if result == 0 {
        return Slept::CheckAgain;
    }
    match errno() {
        // The word had changed; a signal handler ran.
        libc::EAGAIN | libc::EINTR => Slept::CheckAgain,
        libc::ETIMEDOUT => Slept::TimedOut,
        // ENOSYS, EPERM, EACCES or any other answer of a system call filter. EINVAL and EFAULT, for an unaligned or
        // invalid address, can only come from a filter too: the words are the library's own.
        _ => {
            REFUSED.store(1, Ordering::Relaxed);
            nap_until(word, expected, deadline)
        }
    }
}

/// Wakes up to `count` threads that sleep on `word`.
pub(crate) fn futex_wake(word: &AtomicU32, count: i32) {
    // SAFETY: futex(2) FUTEX_WAKE uses the address as a key only.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, count)
    };
    if result < 0 {
        REFUSED.store(1, Ordering::Relaxed);
    }
}

/// futex_wait, where futexes are refused: sleeps for a moment at most.
#[cold]
fn nap_until(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Slept {
    if word.load(Ordering::Relaxed) != expected {
        return Slept::CheckAgain;
    }
    let now = now();
    if deadline.is_some_and(|deadline| now >= deadline) {
        return Slept::TimedOut;
    }
    let end = timespec(deadline.unwrap_or(u64::MAX).min(now + UNWOKEN_NAP));
    // SAFETY: clock_nanosleep(2) reads the timespec. Not libc's function, which is a cancellation point.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clock_nanosleep,
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const end,
            core::ptr::null_mut::<libc::timespec>(),
        )
    };
    if result < 0 && errno() != libc::EINTR {
        // Sleeping is refused as well.
        yield_now();
    }
    Slept::Refused
}

fn timespec(at: Instant) -> libc::timespec {
    libc::timespec { tv_sec: (at / NANOS_PER_SECOND) as _, tv_nsec: (at % NANOS_PER_SECOND) as _ }
}

/// How often a thread polls the library's own mutex before it sleeps: the mutex is held for tens of instructions.
pub(crate) const POLLS_BEFORE_SLEEP: u32 = 40;
/// How many polls a spinner makes at most: more than it has time for.
pub(crate) const MOST_POLLS: u32 = 1 << 20;

/// Tells the processor that this is a waiting loop.
#[inline(always)]
pub(crate) fn pause() {
    core::hint::spin_loop();
}

/// Lets another thread run on this processor.
pub(crate) fn yield_now() {
    // SAFETY: sched_yield takes nothing and always succeeds on Linux.
    unsafe { libc::sched_yield() };
}

/// Sleeps at least so long, in nanoseconds.
pub(crate) fn nap(nanoseconds: u64) {
    let end = now().saturating_add(nanoseconds);
    let word = AtomicU32::new(0);
    while futex_wait(&word, 0, Some(end)) != Slept::TimedOut {}
}

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes the timespec; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut spec) };
    spec.tv_sec as u64 * NANOS_PER_SECOND + spec.tv_nsec as u64
}

/// The instant `milliseconds` from now.
pub(crate) fn deadline_after(milliseconds: u32) -> Instant {
    now().saturating_add(u64::from(milliseconds) * NANOS_PER_MILLISECOND)
}

// ---- processors and barriers ------------------------------------------------------------------------------

/// On how many processors this process may run: spinning on one only delays the owner.
pub(crate) fn processors() -> u32 {
    // SAFETY: a cpu_set_t is a plain bit array, for which all zeros is valid.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: sched_getaffinity writes at most the given size.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) } != 0 {
        return 1;
    }
    // SAFETY: CPU_COUNT reads the set.
    unsafe { libc::CPU_COUNT(&set) }.max(1) as u32
}

const MEMBARRIER_CMD_PRIVATE_EXPEDITED: c_int = 1 << 3;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

fn membarrier(command: c_int) -> bool {
    // SAFETY: membarrier(2) takes integers only.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Registers the process for heavy_barrier. False if the kernel or a filter refuses it.
pub(crate) fn register_heavy_barrier() -> bool {
    membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// A full memory barrier on every running thread of the process, and on the caller. Threads that are not
/// running pass one when they are switched in. False if it is refused, which may happen even after registration (a
/// system call filter may be installed at any time): then no other thread has passed a barrier.
pub(crate) fn heavy_barrier() -> bool {
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

/// The other side of the heavy barrier: the compiler keeps a store before it and a load after it in this order. The
/// heavy barrier of another thread does the same for the processor.
#[inline(always)]
pub(crate) fn light_barrier() {
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

// ---- pages ------------------------------------------------------------------------------------------------

/// Reserves `bytes` of address space: no memory yet, nothing that could be read. Never unmapped.
pub(crate) fn reserve_pages(bytes: usize) -> Option<*mut u8> {
    let start = map(bytes, libc::PROT_NONE)?;
    // SAFETY: the range is the new mapping.
    unsafe { advise_on_cores(start, bytes, libc::MADV_DONTDUMP) };
    Some(start)
}

/// Includes these pages in cores or excludes them. A system that does not support this includes all readable pages.
///
/// # Safety
/// The range lies inside one mapping of the library.
unsafe fn advise_on_cores(start: *mut u8, bytes: usize, advice: c_int) {
    // SAFETY: the caller names a range of its own mapping; the advice changes no memory.
    preserving_errno(|| unsafe { libc::madvise(start.cast(), bytes, advice) });
}

/// Makes reserved pages readable, as zeros, and excludes them from cores. False if the system refuses that.
///
/// # Safety
/// The range lies inside one earlier reservation, and no part of it was committed.
pub(crate) unsafe fn show_pages(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller names a range of its own mapping.
    unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_READ) == 0 }
}

/// Makes reserved pages writable. False if the system has no memory to promise.
///
/// # Safety
/// The range lies inside one earlier reservation.
pub(crate) unsafe fn commit_pages(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller names a range of its own mapping.
    unsafe {
        advise_on_cores(start, bytes, libc::MADV_DODUMP);
        libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) == 0
    }
}

/// The bytes of a huge page.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Moves the contents of pages into one huge page, which the processor finds with one entry of its tables where it needs
/// 512 for the others. Nothing changes where the system has none, or none just now (MADV_COLLAPSE, Linux 6.1).
///
/// # Safety
/// The HUGE_PAGE bytes from `start` on, a multiple of that, lie inside one mapping of the library.
#[cold]
pub(crate) unsafe fn gather_pages(start: *mut u8) {
    const MADV_COLLAPSE: c_int = 25;
    // SAFETY: the caller names a range of its own mapping; the advice changes no contents.
    preserving_errno(|| unsafe { libc::madvise(start.cast(), HUGE_PAGE, MADV_COLLAPSE) });
}

/// Allocates zeroed, writable pages that are never unmapped.
pub(crate) fn allocate_pages(bytes: usize) -> Option<*mut u8> {
    map(bytes, libc::PROT_READ | libc::PROT_WRITE)
}

/// Allocates zeroed pages that are returned later.
pub(crate) fn borrow_pages(bytes: usize) -> Option<*mut u8> {
    allocate_pages(bytes)
}

/// Unmaps pages of borrow_pages.
///
/// # Safety
/// `start` and `bytes` are those of a borrow_pages, and nothing refers to the pages any more.
pub(crate) unsafe fn return_pages(start: *mut u8, bytes: usize) {
    // SAFETY: the caller says so.
    preserving_errno(|| unsafe { libc::munmap(start.cast(), bytes) });
}

fn map(bytes: usize, protection: c_int) -> Option<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { libc::mmap(core::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

/// The limit on this process's address space in bytes; u64::MAX if there is none.
pub(crate) fn address_space_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: getrlimit writes the struct.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    limit.rlim_cur
}

// ---- threads ----------------------------------------------------------------------------------------------

/// The process id.
pub(crate) fn process_id() -> u32 {
    // SAFETY: getpid takes nothing and cannot fail.
    unsafe { libc::getpid() as u32 }
}

/// The operating system's id of the calling thread; 0 if a system call filter hides it.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: gettid takes nothing.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    u32::try_from(id).unwrap_or(0)
}

/// Begins a thread that runs `body` and that nobody joins. Signals that are sent to the process are handled by other threads.
/// Whether that is so.
pub(crate) fn begin_thread(body: extern "C" fn()) -> bool {
    extern "C" fn run(body: *mut c_void) -> *mut c_void {
        // SAFETY: prctl(2) reads the zero-terminated name.
        unsafe { libc::prctl(libc::PR_SET_NAME, c"hostcrst".as_ptr()) };
        // SAFETY: begin_thread passes an `extern "C" fn()`.
        unsafe { core::mem::transmute::<*mut c_void, extern "C" fn()>(body)() };
        core::ptr::null_mut()
    }
    // That of the CLR's own threads, whose code it may run; a small C library gives too little by itself.
    const STACK_BYTES: usize = 3 << 19;
    let mut attributes = core::mem::MaybeUninit::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: pthread_attr_init writes the attributes, which are destroyed below.
    if unsafe { libc::pthread_attr_init(attributes) } != 0 {
        return false;
    }
    let mut thread = core::mem::MaybeUninit::uninit();
    let begin = || {
        // SAFETY: initialised attributes; the function is this library's, and takes what it is passed.
        unsafe {
            libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED);
            libc::pthread_attr_setstacksize(attributes, STACK_BYTES);
            libc::pthread_create(thread.as_mut_ptr(), attributes, run, body as *mut c_void) == 0
        }
    };
    // A thread begins with the signals that its creator blocks.
    let has_begun = super::without_handlers(begin);
    // SAFETY: they were initialised above.
    unsafe { libc::pthread_attr_destroy(attributes) };
    has_begun
}

/// Whether threads can end without their destructors.
pub(crate) const THREADS_MAY_VANISH: bool = true;

/// Whether this process has no thread with this id. A thread keeps its id until after its last destructor.
/// The unknown id 0 never counts as gone: the system refuses it as invalid.
pub(crate) fn is_thread_gone(thread: u32) -> bool {
    let process = process_id();
    // SAFETY: tgkill takes integers; signal 0 is sent to nobody.
    let found = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) } == 0;
    if found {
        // A first thread that has ended is kept by the system until the last one ends.
        return thread == process && is_first_thread_a_zombie();
    }
    errno() == libc::ESRCH
}

fn is_first_thread_a_zombie() -> bool {
    let mut line = [0; 256];
    let read = super::read_file(c"/proc/self/stat", &mut line);
    // PID (NAME) STATE: the name may hold anything.
    let line = line.get(..read).unwrap_or(&[]);
    let name_end = line.iter().rposition(|&byte| byte == b')');
    name_end.is_some_and(|end| line.get(end + 2) == Some(&b'Z'))
}

/// The key whose destructor runs thread_exiting; u32::MAX until on_thread_exit created it.
static EXIT_KEY: AtomicU32 = AtomicU32::new(u32::MAX);
/// What on_thread_exit was given: a `fn()`.
static EXIT_HOOK: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Destructors run in rounds while some key still has a value; POSIX promises 4 rounds
/// (PTHREAD_DESTRUCTOR_ITERATIONS). A thread that first calls the library from a destructor of the first round has only
/// three left: if the hook waited for a later one, its task would never end.
const LAST_ROUND: usize = 3;

/// Arranges that `hook` runs at the end of every thread that called expect_thread_exit. Call once. False if the
/// process has no thread-specific key left.
pub(crate) fn on_thread_exit(hook: fn()) -> bool {
    let mut key = 0;
    // SAFETY: pthread_key_create writes the key; the destructor is a function of this library, never unloaded.
    if unsafe { libc::pthread_key_create(&mut key, Some(thread_exiting)) } != 0 {
        return false;
    }
    EXIT_HOOK.store(hook as *mut c_void, Ordering::Relaxed);
    // Release pairs with the Acquire in expect_thread_exit: who sees the key sees the hook.
    EXIT_KEY.store(key, Ordering::Release);
    true
}

/// Has the hook run when the calling thread ends. False if memory for that ran out.
pub(crate) fn expect_thread_exit() -> bool {
    set_exit_round(1)
}

fn set_exit_round(round: usize) -> bool {
    let key = EXIT_KEY.load(Ordering::Acquire);
    // SAFETY: the key was created by on_thread_exit and is never deleted; the value is a number, never followed.
    unsafe { libc::pthread_setspecific(key, round as *const c_void) == 0 }
}

/// Runs the hook in a late round, after destructors of the program that still enter and leave sections.
unsafe extern "C" fn thread_exiting(round: *mut c_void) {
    let round = round as usize;
    if round < LAST_ROUND && set_exit_round(round + 1) {
        return;
    }
    let hook = EXIT_HOOK.load(Ordering::Relaxed);
    // SAFETY: on_thread_exit stored a `fn()` before it published the key that led here.
    unsafe { core::mem::transmute::<*mut c_void, fn()>(hook)() }
}

/// Runs `hook` when the process exits normally. False if memory for that ran out.
pub(crate) fn on_process_exit(hook: extern "C" fn()) -> bool {
    // SAFETY: the function is this library's, never unloaded.
    unsafe { libc::atexit(hook) == 0 }
}

// ---- environment ------------------------------------------------------------------------------------------

/// The value of an environment variable, or None in a set-user-ID process.
pub(crate) fn environment(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: secure_getenv returns NULL or a zero-terminated string that lives until the environment changes;
    // it is read at once.
    unsafe {
        let value = secure_getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value))
    }
}

/// The length of a zero-terminated string, looked at up to `limit` bytes.
///
/// # Safety
/// `text` points to a zero-terminated string or to `limit` readable bytes.
pub(crate) unsafe fn string_length(text: *const c_char, limit: usize) -> usize {
    // SAFETY: strnlen stops at the first zero or at the limit.
    unsafe { libc::strnlen(text, limit) }
}

unsafe extern "C" {
    static environ: *const *const c_char;
    fn secure_getenv(name: *const c_char) -> *const c_char;
}

/// Calls `show` with the name of every environment variable; with none in a set-user-ID process.
pub(crate) fn each_environment_name(mut show: impl FnMut(&[u8])) {
    // SAFETY: getauxval takes a number.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return;
    }
    // SAFETY: environ is NULL or a NULL-terminated array of zero-terminated strings, unless the program changes it at
    // this very moment, which it may not do while it calls into a library.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = CStr::from_ptr(*entry).to_bytes();
            show(text.split(|&byte| byte == b'=').next().unwrap_or(text));
            entry = entry.add(1);
        }
    }
}

/// Ends the process at once.
pub(crate) fn abort() -> ! {
    // SAFETY: abort takes nothing and does not return.
    unsafe { libc::abort() }
}
