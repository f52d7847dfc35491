//! The object the CLR talks to: ICorProfilerCallback up to ICorProfilerCallback11.
//!
//! | callback | reason | what it means here |
//! | --- | --- | --- |
//! | ManagedToUnmanagedTransition | call | LeaveRuntime(FunctionID) |
//! | UnmanagedToManagedTransition | return | EnterRuntime() |
//! | UnmanagedToManagedTransition | call | ReverseEnterRuntime() |
//! | ManagedToUnmanagedTransition | return | ReverseLeaveRuntime() |
//!
//! The transition callbacks are on the path of every P/Invoke: no lock, no allocation, and a FunctionID is
//! looked up only when it is first seen.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::beside;
use super::callees;
use super::com::{Com, Guid, IID_UNKNOWN, Object, UNKNOWN_METHODS, Vtable, hresult};
use super::contention;
use super::crossing::{Crossing, Step, decide};
use super::functions;
use super::info::{EventSource, ProfilerInfo};
use super::inlining;
use super::modules;
use super::own_code;
use super::places;
use super::session;
use super::threads;
use super::types;
use crate::error::{Error, Result, S_OK};
use crate::host::{hosted, runtime, watch};
use crate::report;
use crate::state::layers::{LayerKind, Origin};
use crate::state::registry::REGISTRY;
use crate::state::task::{Anomaly, TaskRef};
use crate::sys::preserving_errno;

/// COR_PRF_MONITOR_THREADS; COR_PRF_MONITOR_MODULE_LOADS, for when modules are unloaded; COR_PRF_ENABLE_STACK_SNAPSHOT,
/// which has no callback.
const BASIC_EVENTS: u32 = 0x200 | 0x4 | 0x1000_0000;
/// COR_PRF_MONITOR_CODE_TRANSITIONS, and COR_PRF_MONITOR_JIT_COMPILATION, which comes with JITInlining.
const TRANSITION_EVENTS: u32 = 0x800 | 0x20;
/// COR_PRF_MONITOR_EXCEPTIONS: an exception ends a wait for a lock.
const EXCEPTION_EVENTS: u32 = 0x40;
/// COR_PRF_MONITOR_SUSPENDS: while managed code is stopped, a thread may look as if it waited for a lock.
const SUSPEND_EVENTS: u32 = 0x1_0000;
/// COR_PRF_HIGH_MONITOR_EVENT_PIPE, in the second word of events.
const PIPED_EVENTS: u32 = 0x80;
/// COR_PRF_TRANSITION_CALL and COR_PRF_TRANSITION_RETURN.
const CALL: i32 = 0;
const RETURN: i32 = 1;
/// CORPROF_E_PROFILER_NOT_ATTACHABLE: the CLR does not report transitions to a profiler that attaches later.
const NOT_ATTACHABLE: i32 = 0x8013_1368_u32 as i32;

/// How many methods ICorProfilerCallback has, and each of its successors adds.
const METHODS: [usize; 11] = [69, 8, 3, 6, 1, 1, 1, 2, 1, 2, 1];
/// Slots of ICorProfilerCallback11, which are those of all its ancestors first.
const SLOTS: usize = {
    let mut slots = UNKNOWN_METHODS;
    let mut index = 0;
    while index < METHODS.len() {
        slots += METHODS[index];
        index += 1;
    }
    slots
};

/// What QueryInterface answers for: IUnknown, ICorProfilerCallback, and 2 to 11.
pub(crate) const INTERFACES: [Guid; 12] = [
    IID_UNKNOWN,
    Guid::new(0x176FBED1_A55C_4796_98CA_A9DA0EF883E7),
    Guid::new(0x8A8CC829_CCF2_49FE_BBAE_0F022228071A),
    Guid::new(0x4FD2ED52_7731_4B8D_9469_03D2CC3086C5),
    Guid::new(0x7B63B2E3_107D_4D48_B2F6_F61E229470D2),
    Guid::new(0x8DFBA405_8C9F_45F8_BFFA_83B14CEF78B5),
    Guid::new(0xFC13DF4B_4448_4F4F_950C_BA8D19D00C36),
    Guid::new(0xF76A2DBA_1D52_4539_866C_2AA518F9EFC3),
    Guid::new(0x5BED9B15_C079_4D47_BFE2_215A140C07E0),
    Guid::new(0x27583EC3_C8F5_482F_8052_194B8CE4705A),
    Guid::new(0xCEC5B60E_C69C_495F_87F6_84D28EE16FFB),
    Guid::new(0x42350846_AAED_47F7_B128_FD0C98881CDE),
];

pub(crate) static CALLBACK: Object<SLOTS> = Object::new(&VTABLE);

/// Every slot has a function that may be called with the signature which the interface declares there. [`ignored`] is
/// in the slots of callbacks that were not requested.
static VTABLE: Vtable<SLOTS> = {
    let mut slots = [ignored as *const (); SLOTS];
    slots[0] = query_interface as *const ();
    slots[1] = add_reference as *const ();
    slots[2] = release as *const ();
    slots[UNKNOWN_METHODS] = initialize as *const ();
    slots[UNKNOWN_METHODS + 1] = shutdown as *const ();
    slots[UNKNOWN_METHODS + 12] = module_unload_started as *const ();
    slots[UNKNOWN_METHODS + 25] = jit_inlining as *const ();
    slots[UNKNOWN_METHODS + 26] = thread_created as *const ();
    slots[UNKNOWN_METHODS + 27] = thread_destroyed as *const ();
    slots[UNKNOWN_METHODS + 28] = thread_assigned_to_os_thread as *const ();
    slots[UNKNOWN_METHODS + 37] = unmanaged_to_managed_transition as *const ();
    slots[UNKNOWN_METHODS + 38] = managed_to_unmanaged_transition as *const ();
    slots[UNKNOWN_METHODS + 39] = runtime_suspend_started as *const ();
    slots[UNKNOWN_METHODS + 43] = runtime_resume_finished as *const ();
    slots[UNKNOWN_METHODS + 51] = exception_thrown as *const ();
    slots[UNKNOWN_METHODS + 69] = thread_name_changed as *const ();
    slots[UNKNOWN_METHODS + 69 + 8] = initialize_for_attach as *const ();
    slots[UNKNOWN_METHODS + 92] = event_pipe_event_delivered as *const ();
    slots[UNKNOWN_METHODS + 94] = load_as_notification_only as *const ();
    Vtable(slots)
};

/// Ignores a callback.
///
/// It declares no parameters and is called with up to seven. In the C ABIs of x86-64 (System V) and AArch64
/// the caller passes arguments in registers and in stack space that it frees itself, so a callee that reads
/// none of them is correct for any number. No ignored callback has an out parameter that must be written with
/// S_OK: the CLR presets those it reads.
extern "C" fn ignored() -> i32 {
    S_OK
}

unsafe extern "C" fn query_interface(_this: *mut c_void, iid: *const Guid, out: *mut *mut c_void) -> i32 {
    // SAFETY: COM's contract for QueryInterface is the one asked for: null or valid pointers.
    hresult(unsafe { CALLBACK.answer(&INTERFACES, iid, out) })
}

extern "C" fn add_reference(_this: *mut c_void) -> u32 {
    CALLBACK.add_reference()
}

extern "C" fn release(_this: *mut c_void) -> u32 {
    CALLBACK.release()
}

/// The CLR's side, from Initialize to Shutdown. Its reference is never released, since a thread may be using
/// it while another runs Shutdown.
static INFO: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// Whether a CLR was ever accepted: with a second one in the process every transition would count twice.
static HOSTING: AtomicBool = AtomicBool::new(false);

fn info() -> Option<ProfilerInfo> {
    // Acquire pairs with the Release in `host`.
    let raw = INFO.load(Ordering::Acquire);
    // SAFETY: only `host` stores anything but null, and what it stores is what `from_raw` asks for.
    (!raw.is_null()).then(|| unsafe { ProfilerInfo::from_raw(raw) })
}

unsafe extern "C" fn initialize(_this: *mut c_void, unknown: *mut c_void) -> i32 {
    // SAFETY: the CLR passes its own live object.
    preserving_errno(|| hresult(unsafe { host(unknown) }))
}

/// Becomes the host of the CLR that `unknown` belongs to. After a failure the CLR goes on alone.
///
/// # Safety
/// `unknown` is null or a live COM object.
unsafe fn host(unknown: *mut c_void) -> Result<()> {
    // SAFETY: the same contract.
    let reference = unsafe { ProfilerInfo::query(unknown) }?;
    if HOSTING.swap(true, Ordering::Relaxed) {
        return Err(Error::InvalidOperation);
    }
    runtime::start()?;
    let raw = reference.into_raw();
    // SAFETY: `raw` is from `query`, and with `into_raw` its reference is never released.
    let info = unsafe { ProfilerInfo::from_raw(raw) };
    // Release pairs with the Acquire in `info`. Stored first: SetEventMask lets the callbacks begin.
    INFO.store(raw, Ordering::Release);
    hosted::find_places_by(find_place);
    // SAFETY: as above.
    unsafe { own_code::find(raw) };
    // SAFETY: not null, since `query` has succeeded, so live by the contract.
    let has_locks = unsafe { EventSource::query(unknown) }.is_some_and(ask_for_locks);
    if !has_locks && info.set_event_mask(events()) < 0 {
        INFO.store(null_mut(), Ordering::Release);
        let _ = runtime::stop();
        return Err(Error::Fail);
    }
    Ok(())
}

fn find_place(site: usize, waits: Option<TaskRef>) -> usize {
    match (info(), waits) {
        (None, _) => site,
        (Some(info), Some(task)) => places::of_wait(info, task, site),
        (Some(info), None) => places::call_site(info, site),
    }
}

/// What the CLR is to report. That transitions are to be reported costs a process most of what a profiler costs, so they
/// can be done without.
fn events() -> u32 {
    if hosted::reports_transitions() { BASIC_EVENTS | TRANSITION_EVENTS } else { BASIC_EVENTS }
}

/// Asks for all events, with those of the locks of managed code. Whether that is so; .NET 5 and later can.
fn ask_for_locks(reference: Com) -> bool {
    let raw = reference.into_raw();
    // SAFETY: `raw` is from `query`, and with `into_raw` its reference is never released.
    let source = unsafe { EventSource::from_raw(raw) };
    let is_asked = source.set_event_mask(events() | EXCEPTION_EVENTS | SUSPEND_EVENTS, PIPED_EVENTS) >= 0;
    if is_asked {
        // SAFETY: as above.
        unsafe { session::prepare(raw) };
    }
    is_asked
}

/// The CLR ends. From here on it must not be called; threads in native code may run on and call the library.
extern "C" fn shutdown(_this: *mut c_void) -> i32 {
    preserving_errno(|| {
        session::managed_code_has_ended();
        watch::end();
        if !INFO.swap(null_mut(), Ordering::AcqRel).is_null() {
            report::at_exit();
        }
        // Of waits that stood until now nothing is certain any more: their ends are not told.
        REGISTRY.managed_code_stops();
        hresult(runtime::stop().map(drop))
    })
}

extern "C" fn initialize_for_attach(
    _this: *mut c_void,
    _info: *mut c_void,
    _data: *mut c_void,
    _size: u32,
) -> i32 {
    NOT_ATTACHABLE
}

/// The CLR asks whether it may have another main profiler. It may if it has: it then reports the same to this one, which only
/// listens.
unsafe extern "C" fn load_as_notification_only(_this: *mut c_void, is: *mut i32) -> i32 {
    if !is.is_null() {
        // SAFETY: not null, so valid by the contract of LoadAsNotificationOnly.
        unsafe { is.write(i32::from(beside::has_main_profiler())) };
    }
    S_OK
}

extern "C" fn module_unload_started(_this: *mut c_void, module: usize) -> i32 {
    preserving_errno(|| modules::unloaded(module));
    S_OK
}

/// The JIT asks whether it may inline `callee`.
unsafe extern "C" fn jit_inlining(_this: *mut c_void, _caller: usize, callee: usize, may: *mut i32) -> i32 {
    preserving_errno(|| {
        let hides_calls = info().is_some_and(|info| inlining::hides_calls(info, callee));
        if !may.is_null() {
            // SAFETY: not null, so valid by the contract of JITInlining.
            unsafe { may.write(i32::from(!hides_calls)) };
        }
    });
    S_OK
}

/// The calling thread is new to the CLR, and no code of the program's has run on it. It may wait here, as the CLR's collector
/// goes on meanwhile: not so in thread_assigned_to_os_thread, which comes next.
extern "C" fn thread_created(_this: *mut c_void, _thread: usize) -> i32 {
    preserving_errno(session::thread_begins);
    S_OK
}

extern "C" fn thread_destroyed(_this: *mut c_void, thread: usize) -> i32 {
    preserving_errno(|| threads::destroyed(thread as u64));
    S_OK
}

extern "C" fn thread_assigned_to_os_thread(_this: *mut c_void, thread: usize, os_thread: u32) -> i32 {
    preserving_errno(|| threads::assigned(thread as u64, os_thread));
    S_OK
}

/// Managed code is to be stopped, for whatever reason; no thread is yet.
extern "C" fn runtime_suspend_started(_this: *mut c_void, _reason: u32) -> i32 {
    REGISTRY.managed_code_stops();
    S_OK
}

/// It runs again: the threads that were held have been woken.
extern "C" fn runtime_resume_finished(_this: *mut c_void) -> i32 {
    REGISTRY.managed_code_runs();
    S_OK
}

/// The calling thread throws an exception.
extern "C" fn exception_thrown(_this: *mut c_void, _object: usize) -> i32 {
    preserving_errno(contention::end);
    S_OK
}

/// The calling thread has written an event, which the session asked for.
unsafe extern "C" fn event_pipe_event_delivered(
    _this: *mut c_void,
    _provider: usize,
    event: u32,
    _version: u32,
    _metadata_size: u32,
    _metadata: *const u8,
    size: u32,
    data: *const u8,
) -> i32 {
    if !data.is_null() {
        // SAFETY: the CLR passes `size` bytes at `data`, unchanged until this returns. It passes five arguments more,
        // which a callee need not know of: see `ignored`.
        let data = unsafe { core::slice::from_raw_parts(data, size as usize) };
        preserving_errno(|| {
            if contention::may_go_on(event) && info().is_some_and(places::is_in_lock) {
                contention::goes_on();
            } else {
                contention::delivered(event, data, |object| {
                    info().map_or(0, |info| types::of_object(info, object))
                });
            }
            if contention::is_before_sleep(event) {
                name_own_stack();
            }
        });
    }
    S_OK
}

/// The calling thread is about to sleep: the places on its stack get names.
fn name_own_stack() {
    if let (Some(info), Some(task)) = (info(), threads::current()) {
        places::name_stack(info, task);
    }
}

unsafe extern "C" fn thread_name_changed(
    _this: *mut c_void,
    thread: usize,
    length: u32,
    name: *const u16,
) -> i32 {
    let name = if name.is_null() {
        &[]
    } else {
        // SAFETY: the CLR passes `length` UTF-16 units at `name`, unchanged until this returns.
        unsafe { core::slice::from_raw_parts(name, length as usize) }
    };
    preserving_errno(|| threads::named(thread as u64, name, info()));
    S_OK
}

extern "C" fn managed_to_unmanaged_transition(_this: *mut c_void, function: usize, reason: i32) -> i32 {
    preserving_errno(|| match reason {
        CALL => call(LayerKind::Leave, function as u64),
        RETURN => ret(LayerKind::ReverseEnter, function as u64),
        _ => {}
    });
    S_OK
}

extern "C" fn unmanaged_to_managed_transition(_this: *mut c_void, function: usize, reason: i32) -> i32 {
    preserving_errno(|| match reason {
        CALL => call(LayerKind::ReverseEnter, function as u64),
        RETURN => ret(LayerKind::Leave, function as u64),
        _ => {}
    });
    S_OK
}

#[inline]
fn call(kind: LayerKind, function: u64) {
    let Some(task) = threads::current() else { return };
    let info = info();
    threads::tie_current(task, info);
    let verified = functions::verify(info, function);
    // 0 is no anomaly: the CLR passes it if there is no function to name.
    if !verified && function != 0 && info.is_some() {
        task.count_anomaly(Anomaly::UnknownFunction);
    }
    task.set_last_return(0);
    // If a push fails because there is no memory or the runtime is stopped, its return will find no layer.
    if task.push(kind, Origin::ClrFunction, function) == Err(Error::InvalidOperation) {
        resynchronise(task, Crossing { kind, function, step: Step::Call { verified } }, false);
    }
    if kind == LayerKind::Leave
        && callees::has_left_unknown(task)
        && let Some(info) = info
    {
        places::name_stack(info, task);
    }
}

#[inline]
fn ret(kind: LayerKind, function: u64) {
    let Some(task) = threads::current() else { return };
    let mark = return_mark(kind, function);
    let top = task.depth().checked_sub(1).and_then(|top| task.layer(top));
    if !top.is_some_and(|top| top.kind == kind && top.target == function && task.pop(kind).is_ok()) {
        resynchronise(task, Crossing { kind, function, step: Step::Return }, task.last_return() == mark);
    }
    task.set_last_return(mark);
}

/// Two returns have the same mark when they are the same callback; no return has the mark 0.
fn return_mark(kind: LayerKind, function: u64) -> u64 {
    function << 2 | kind as u64
}

/// Adapts the layers to a callback that does not match them.
#[cold]
fn resynchronise(task: TaskRef, crossing: Crossing, repeated: bool) {
    // Callbacks while the runtime is stopped are no anomalies; they are ignored.
    if !REGISTRY.runtime.is_running() {
        return;
    }
    let decision = decide(task.depth(), |index| task.layer(index), crossing, repeated);
    task.truncate(decision.keep);
    if decision.push {
        // Without layers, the mode in which the task began does not tell its present one.
        if task.depth() == 0 {
            task.layers.prepare();
        }
        let _ = task.push(crossing.kind, Origin::ClrFunction, crossing.function);
    }
    if let Some(anomaly) = decision.anomaly {
        (0..decision.times).for_each(|_| task.count_anomaly(anomaly));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clr::com::method;
    use crate::clr::fake;
    use crate::state::registry::Registry;
    use crate::sys;

    /// Asks as a caller of COM does, through the object's vtable.
    fn ask(iid: *const Guid, out: *mut *mut c_void) -> i32 {
        // SAFETY: the tests pass null or valid pointers.
        unsafe { query_interface(this(), iid, out) }
    }

    fn this() -> *mut c_void {
        core::ptr::from_ref(&CALLBACK).cast_mut().cast()
    }

    /// References are global; these tests count them one at a time.
    static COUNTING: std::sync::Mutex<()> = std::sync::Mutex::new(());

    #[test]
    fn answers_for_each_interface_whose_methods_the_vtable_holds_and_no_other() {
        let _counting = COUNTING.lock().unwrap();
        for (index, iid) in INTERFACES.iter().enumerate() {
            let mut out = null_mut();
            assert_eq!(ask(iid, &mut out), S_OK);
            assert_eq!(out, this(), "interface {index}");
            let slots = UNKNOWN_METHODS + METHODS[..index].iter().sum::<usize>();
            assert!(VTABLE.0[..slots].iter().all(|slot| !slot.is_null()), "interface {index}");
            release(this());
        }
        assert_eq!(VTABLE.0.len(), 3 + 95);
        let class_factory = Guid::new(0x00000001_0000_0000_C000_000000000046);
        for iid in [class_factory, Guid::new(0)] {
            let mut out = this();
            assert_eq!(ask(&iid, &mut out), Error::NoInterface.hresult());
            assert!(out.is_null());
        }
    }

    #[test]
    fn null_pointers_are_refused() {
        let mut out = this();
        assert_eq!(ask(core::ptr::null(), &mut out), Error::Pointer.hresult());
        assert!(out.is_null());
        assert_eq!(ask(&IID_UNKNOWN, null_mut()), Error::Pointer.hresult());
    }

    #[test]
    fn references_are_counted_and_never_below_zero() {
        let _counting = COUNTING.lock().unwrap();
        let mut out = null_mut();
        assert_eq!(ask(&IID_UNKNOWN, &mut out), S_OK);
        assert_eq!(add_reference(this()), 2);
        assert_eq!(release(this()), 1);
        assert_eq!(release(this()), 0);
        assert_eq!(release(this()), 0);
        assert_eq!(add_reference(this()), 1);
        assert_eq!(release(this()), 0);
    }

    #[test]
    fn initialize_refuses_what_is_no_clr() {
        // SAFETY: null is allowed.
        assert_eq!(unsafe { initialize(this(), null_mut()) }, Error::Pointer.hresult());
        // SAFETY: our own object is live, and answers no ICorProfilerInfo9.
        assert_eq!(unsafe { initialize(this(), this()) }, Error::NoInterface.hresult());
    }

    #[test]
    fn attaching_to_a_running_process_is_refused() {
        type InitializeForAttach = extern "C" fn(*mut c_void, *mut c_void, *mut c_void, u32) -> i32;
        // SAFETY: the first method that ICorProfilerCallback3 adds is InitializeForAttach.
        let attach: InitializeForAttach =
            unsafe { method(this(), UNKNOWN_METHODS + METHODS[..2].iter().sum::<usize>()) };
        assert_eq!(attach(this(), null_mut(), null_mut(), 0), NOT_ATTACHABLE);
    }

    type Initialize = unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32;
    type Created = extern "C" fn(*mut c_void, usize) -> i32;
    type Assigned = extern "C" fn(*mut c_void, usize, u32) -> i32;
    type Transition = extern "C" fn(*mut c_void, usize, i32) -> i32;
    type NameChanged = unsafe extern "C" fn(*mut c_void, usize, u32, *const u16) -> i32;

    fn slot<F: Copy>(index: usize) -> F {
        // SAFETY: the tests name each slot together with its signature.
        unsafe { method(this(), UNKNOWN_METHODS + index) }
    }

    #[test]
    fn the_jit_is_told_what_it_must_not_inline() {
        type JitInlining = unsafe extern "C" fn(*mut c_void, usize, usize, *mut i32) -> i32;
        let _turn = fake::TURN.lock().unwrap();
        let jit_inlining: JitInlining = slot(25);
        INFO.store(fake::unknown(), Ordering::Release);
        for (callee, expected) in
            [(fake::POINTER_CALLER, 0), (fake::IMPORT_CALLER, 0), (fake::RUN, 1), (fake::OPEN, 1)]
        {
            let mut may = 1 - expected;
            // SAFETY: a valid pointer.
            assert_eq!(unsafe { jit_inlining(this(), fake::RUN as usize, callee as usize, &mut may) }, S_OK);
            assert_eq!(may, expected, "{callee:#x}");
            // SAFETY: null is allowed.
            assert_eq!(unsafe { jit_inlining(this(), 0, callee as usize, null_mut()) }, S_OK);
        }
    }

    #[test]
    fn managed_code_is_stopped_until_each_stop_is_over() {
        type Stops = extern "C" fn(*mut c_void, u32) -> i32;
        type Runs = extern "C" fn(*mut c_void) -> i32;
        let _turn = fake::TURN.lock().unwrap();
        let (stops, runs): (Stops, Runs) = (slot(39), slot(43));
        let is_stopped = || Registry::is_managed_code_stopped(REGISTRY.stops());
        let has_run_since = |then| Registry::has_managed_code_run(then, REGISTRY.stops());
        let before = REGISTRY.stops();
        assert!(!is_stopped());
        assert_eq!(stops(this(), 1), S_OK);
        let in_first = REGISTRY.stops();
        // The second begins before the end of the first is told.
        assert_eq!(stops(this(), 1), S_OK);
        let in_second = REGISTRY.stops();
        assert!(has_run_since(before) && !has_run_since(in_first));
        assert_eq!(runs(this()), S_OK);
        assert!(is_stopped());
        assert!(has_run_since(in_first) && !has_run_since(in_second));
        assert_eq!(runs(this()), S_OK);
        assert!(!is_stopped());
        assert!(has_run_since(in_second));
        // The number of stops begins again at 0.
        assert!(Registry::has_managed_code_run(0xFFFF_FF02, 0));
        assert!(!Registry::has_managed_code_run(0, 0xFFFF_FF02));
        assert_ne!(REGISTRY.stops(), before, "that there were some is seen");
        assert_eq!(REGISTRY.stops() & 1, before & 1, "whether waits are told is another thing");
    }

    /// Plays a history to the callback object on the current thread: `>` ManagedToUnmanaged, `<`
    /// UnmanagedToManaged, with the function, and `!` for a return.
    fn play(history: &[(char, u64, char)]) {
        for &(direction, function, step) in history {
            let transition: Transition = slot(if direction == '>' { 38 } else { 37 });
            let reason = if step == '!' { RETURN } else { CALL };
            assert_eq!(transition(this(), function as usize, reason), S_OK);
        }
    }

    fn layers() -> std::vec::Vec<(LayerKind, u64)> {
        let task = threads::current().unwrap();
        (0..task.depth())
            .map(|index| task.layer(index).unwrap())
            .map(|layer| (layer.kind, layer.target))
            .collect()
    }

    #[test]
    fn a_clr_is_hosted_once_and_its_callbacks_become_layers() {
        use LayerKind::{Leave, ReverseEnter};
        let _turn = fake::TURN.lock().unwrap();
        let initialize: Initialize = slot(0);
        // SAFETY: the fake is a live COM object.
        unsafe {
            assert_eq!(initialize(this(), fake::unknown()), S_OK);
            assert_eq!(
                initialize(this(), fake::unknown()),
                Error::InvalidOperation.hresult(),
                "a second CLR"
            );
        }
        assert_eq!(fake::EVENTS.load(Ordering::Relaxed), 0x1001_0A64);
        assert_eq!(fake::SESSION.load(Ordering::Relaxed), 0, "not before it is needed");
        let begin = |thread| {
            let (created, assigned): (Created, Assigned) = (slot(26), slot(28));
            assert_eq!(created(this(), thread), S_OK);
            let had_begun = fake::SESSION.load(Ordering::Relaxed);
            assert_eq!(assigned(this(), thread, sys::thread_id()), S_OK);
            assert_eq!(fake::SESSION.load(Ordering::Relaxed), had_begun, "the collector would have to wait");
        };
        begin(0x6000);
        assert_eq!(fake::SESSION.load(Ordering::Relaxed), 0, "the first thread alone");
        std::thread::spawn(move || begin(0x6008)).join().unwrap();
        assert_eq!(fake::SESSION.load(Ordering::Relaxed), 0x400_0000_4005);
        assert!(REGISTRY.sees_managed_locks());
        assert!(hosted::set(b"locks") && !hosted::set(b"neither"));
        assert_eq!(events(), 0x1000_0204, "no transitions");
        assert!(hosted::set(b"transitions"));
        assert_eq!(events(), 0x1000_0A24);

        let name: std::vec::Vec<u16> = "early".encode_utf16().collect();
        let name_changed: NameChanged = slot(69);
        fake::CURRENT.store(0x6000, Ordering::Relaxed);
        // SAFETY: the name is as long as said.
        assert_eq!(unsafe { name_changed(this(), fake::THREAD as usize, 5, name.as_ptr()) }, S_OK);
        fake::CURRENT.store(fake::THREAD, Ordering::Relaxed);

        let (run, open) = (fake::RUN, fake::OPEN);
        std::thread::spawn(move || {
            play(&[('>', open, ' '), ('<', run, ' '), ('>', 0, ' ')]);
            assert_eq!(layers(), [(Leave, open), (ReverseEnter, run), (Leave, 0)]);
            let task = threads::current().unwrap();
            assert_eq!(task.name().bytes(), b"early");
            play(&[('<', 0, '!'), ('>', run, '!'), ('<', open, '!')]);
            assert_eq!(layers(), []);
            assert_eq!(task.anomalies(), [0; 4]);

            // Doubled, nested in itself, and with a number that is no function's, as reverse calls were on
            // .NET 8.
            let wrong = 0xBAD0;
            play(&[('>', open, ' '), ('<', run, ' '), ('<', wrong, ' '), ('>', open, ' ')]);
            assert_eq!(layers(), [(Leave, open), (ReverseEnter, run), (Leave, open)]);
            play(&[('<', wrong, '!')]);
            assert_eq!(layers().len(), 3, "a return of what was never called");
            play(&[('<', open, '!'), ('<', open, '!')]);
            assert_eq!(layers(), [(Leave, open), (ReverseEnter, run)]);
            play(&[('>', wrong, '!'), ('>', run, '!'), ('<', open, '!')]);
            assert_eq!(layers(), []);
            let count = |kind: Anomaly| task.anomalies()[kind as usize];
            assert_eq!(count(Anomaly::UnknownFunction), 1);
            assert_eq!(count(Anomaly::RepeatedPush), 1);
            assert_eq!(count(Anomaly::UnmatchedPop), 3);
            assert_eq!(count(Anomaly::MissedPop), 0);

            // The same return twice, but with a call between: two returns went unseen, none was doubled.
            play(&[('>', open, ' '), ('<', run, ' '), ('>', open, ' '), ('<', open, '!'), ('>', 0, ' ')]);
            play(&[('<', open, '!')]);
            assert_eq!(
                (layers(), count(Anomaly::MissedPop), count(Anomaly::UnmatchedPop)),
                (std::vec![], 2, 3)
            );
        })
        .join()
        .unwrap();

        // A thread that names itself needs no transition to be known.
        std::thread::spawn(move || {
            let name: std::vec::Vec<u16> = "self".encode_utf16().collect();
            // SAFETY: the name is as long as said.
            assert_eq!(unsafe { name_changed(this(), fake::THREAD as usize, 4, name.as_ptr()) }, S_OK);
            assert_eq!(threads::current().unwrap().name().bytes(), b"self");
        })
        .join()
        .unwrap();

        // A thread's first callback may be any of the four.
        for first in [('>', open, ' '), ('<', run, ' '), ('>', run, '!'), ('<', open, '!')] {
            std::thread::spawn(move || {
                play(&[first]);
                assert_eq!(layers().len(), usize::from(first.2 == ' '));
            })
            .join()
            .unwrap();
        }

        // The task began in managed code and is then called from native code, as in a native host's main
        // thread.
        std::thread::spawn(move || {
            play(&[('>', open, ' '), ('<', open, '!'), ('<', run, ' ')]);
            assert_eq!(layers(), [(ReverseEnter, run)]);
            play(&[('>', run, '!')]);
            assert_eq!((layers(), threads::current().unwrap().anomalies()), (std::vec![], [0; 4]));
        })
        .join()
        .unwrap();
    }

    /// The runtime is one for the whole process, and other tests need it to run: so this is one of its own.
    #[test]
    fn callbacks_while_the_runtime_is_stopped_are_no_anomalies() {
        const ALONE: &str = "CALLBACKS_WHILE_STOPPED";
        if std::env::var_os(ALONE).is_none() {
            let name = "clr::callback::tests::callbacks_while_the_runtime_is_stopped_are_no_anomalies";
            let again = std::process::Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact"])
                .env(ALONE, "1")
                .output()
                .unwrap();
            let said = std::string::String::from_utf8_lossy(&again.stdout);
            assert!(again.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let initialize: Initialize = slot(0);
        // SAFETY: the fake is a live COM object.
        assert_eq!(unsafe { initialize(this(), fake::unknown()) }, S_OK);
        let (run, open) = (fake::RUN, fake::OPEN);
        play(&[('>', open, ' ')]);
        assert_eq!(layers(), [(LayerKind::Leave, open)]);
        assert_eq!(runtime::stop(), Ok(true));
        play(&[('<', open, '!'), ('>', open, ' '), ('<', run, ' '), ('>', run, '!'), ('<', open, '!')]);
        assert_eq!(runtime::start(), Ok(true));
        play(&[('<', run, ' '), ('>', run, '!')]);
        assert_eq!((layers(), threads::current().unwrap().anomalies()), (std::vec![], [0; 4]));
    }
}
