//! A CLR of one module and a few methods, for tests. Every slot that nothing here may call ends the test.

use core::ffi::{c_char, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::com::{self, Guid, Object, Vtable};
use super::info::ProfilerInfo;

/// What the CLR's module is called by its own number.
pub(crate) const MODULE: usize = 0x1000;
const PROFILER_INFO_9: Guid = Guid::new(0x008170DB_F8CC_4796_9A51_DC8AA0B47012);
const PROFILER_INFO_12: Guid = Guid::new(0x27B24CCD_1CB1_47C5_96EE_98190DC30959);
const METADATA_IMPORT: Guid = Guid::new(0x7DAC8207_D3AE_4C75_9B67_92801A497D44);
const METADATA_TABLES: Guid = Guid::new(0xD8F579AB_402D_4B8E_82D9_5D63B1065C68);
/// What the CLR answers when it has nothing to give.
const NOTHING: i32 = 0x8013_1130_u32 as i32;

pub(crate) const RUN: u64 = 0x7000_0010;
pub(crate) const OPEN: u64 = 0x7000_0030;
/// For one test alone: what the library has once named stays known.
pub(crate) const CLOSE: u64 = 0x7000_0050;
/// Calls through a function pointer; in no metadata.
pub(crate) const POINTER_CALLER: u64 = 0x7000_0070;
/// Call `OPEN`, and `RUN` in a method that is no import; in no metadata either.
pub(crate) const IMPORT_CALLER: u64 = 0x7000_0078;
pub(crate) const CALLER: u64 = 0x7000_0080;
const RUN_TOKEN: u64 = 0x0600_0001;
/// Its methods: token, FunctionID, name, class. The second is generic and has no FunctionID.
const METHODS: [(u32, u64, &str, u32); 4] = [
    (RUN_TOKEN as u32, RUN, "Run", INNER),
    (0x0600_0002, 0, "Generic", OUTER),
    (0x0600_0003, OPEN, "Open", OUTER),
    (0x0600_0004, CLOSE, "Close", OUTER),
];
const OUTER: u32 = 0x0200_0002;
const INNER: u32 = 0x0200_0003;
const LIBRARY: u32 = 0x1A00_0001;

/// Rows of references to methods: what each stands for, if the CLR knows, and the reference to its class.
const REFERENCES: [(u32, u64, u32); 7] = [
    (TO_OPEN, OPEN, OTHER_OUTER),
    (TO_RUN, RUN, OTHER_OUTER),
    (TO_UNKNOWN, 0, OTHER_OUTER),
    (TO_NESTED, 0, OTHER_INNER),
    (TO_SYSTEM, 0, SYSTEMS),
    (TO_SHORT, 0, SHORT),
    (TO_GENERIC, 0, 0x1B00_0001),
];
pub(crate) const TO_OPEN: u32 = 1;
pub(crate) const TO_RUN: u32 = 2;
pub(crate) const TO_UNKNOWN: u32 = 3;
pub(crate) const TO_NESTED: u32 = 4;
pub(crate) const TO_SYSTEM: u32 = 5;
pub(crate) const TO_SHORT: u32 = 6;
pub(crate) const TO_GENERIC: u32 = 7;
const OTHER_OUTER: u32 = 0x0100_0001;
const OTHER_INNER: u32 = 0x0100_0002;
const SYSTEMS: u32 = 0x0100_0003;
const SHORT: u32 = 0x0100_0004;
const OTHER_ASSEMBLY: u32 = 0x2300_0001;

/// How often all methods of the module were gone through.
pub(crate) static SEARCHES: AtomicU32 = AtomicU32::new(0);

pub(crate) fn info() -> ProfilerInfo {
    // SAFETY: the fake is a static that answers for ICorProfilerInfo9 as far as it is used.
    unsafe { ProfilerInfo::from_raw(object(&INFO)) }
}

/// What the CLR passes to Initialize.
pub(crate) fn unknown() -> *mut c_void {
    object(&INFO)
}

/// Held by tests that count searches or change what the fake remembers.
pub(crate) static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The events the profiler has asked for.
pub(crate) static EVENTS: AtomicU32 = AtomicU32::new(0);
/// The ThreadID of every thread, unless CURRENT is another.
pub(crate) const THREAD: u64 = 0x5000;
pub(crate) static CURRENT: AtomicU64 = AtomicU64::new(THREAD);

static INFO: Object<93> = Object::new(&INFO_METHODS);
static INFO_METHODS: Vtable<93> = {
    let mut slots = [forbidden as *const (); 93];
    slots[0] = query_info as *const ();
    slots[2] = release as *const ();
    slots[3] = get_class_from_object as *const ();
    slots[3 + 11] = get_class_id_info as *const ();
    slots[3 + 10] = get_current_thread_id as *const ();
    slots[3 + 13] = set_event_mask as *const ();
    slots[3 + 4] = get_function_from_ip as *const ();
    slots[3 + 33] = do_stack_snapshot as *const ();
    slots[3 + 88] = get_il_to_native_mapping as *const ();
    slots[3 + 17] = get_module_info as *const ();
    slots[3 + 87] = get_native_code_start_addresses as *const ();
    slots[3 + 5] = get_function_from_token as *const ();
    slots[3 + 12] = get_function_info as *const ();
    slots[3 + 19] = get_il_function_body as *const ();
    slots[3 + 18] = get_module_metadata as *const ();
    slots[3 + 63] = enum_modules as *const ();
    Vtable(slots)
};

/// As an ICorProfilerInfo12.
static SOURCE: Object<102> = Object::new(&SOURCE_METHODS);
static SOURCE_METHODS: Vtable<102> = {
    let mut slots = [forbidden as *const (); 102];
    slots[2] = release as *const ();
    slots[82] = set_event_mask_2 as *const ();
    slots[101] = event_pipe_start_session as *const ();
    Vtable(slots)
};
/// The keywords of the session that was started, and its level in the lowest bits.
pub(crate) static SESSION: AtomicU64 = AtomicU64::new(0);

static MODULES: Object<8> = Object::new(&MODULES_METHODS);
static MODULES_METHODS: Vtable<8> = {
    let mut slots = [forbidden as *const (); 8];
    slots[2] = release as *const ();
    slots[3 + 4] = next as *const ();
    Vtable(slots)
};
/// How many modules the enumerator has given; there is one enumerator at a time.
static GIVEN: AtomicU32 = AtomicU32::new(0);

static METADATA: Object<70> = Object::new(&METADATA_METHODS);
static METADATA_METHODS: Vtable<70> = {
    let mut slots = [forbidden as *const (); 70];
    slots[0] = query_interface as *const ();
    slots[2] = release as *const ();
    slots[3 + 7] = get_scope_props as *const ();
    slots[3 + 9] = get_type_def_props as *const ();
    slots[3 + 11] = get_type_ref_props as *const ();
    slots[3 + 27] = get_method_props as *const ();
    slots[3 + 28] = get_member_ref_props as *const ();
    slots[3 + 39] = get_module_ref_props as *const ();
    slots[3 + 45] = get_pinvoke_map as *const ();
    slots[3 + 59] = get_nested_class_props as *const ();
    Vtable(slots)
};

static TABLES: Object<12> = Object::new(&TABLES_METHODS);
static TABLES_METHODS: Vtable<12> = {
    let mut slots = [forbidden as *const (); 12];
    slots[2] = release as *const ();
    slots[3 + 6] = get_table_info as *const ();
    Vtable(slots)
};

fn object<const SLOTS: usize>(object: &'static Object<SLOTS>) -> *mut c_void {
    core::ptr::from_ref(object).cast_mut().cast()
}

extern "C" fn forbidden() -> i32 {
    std::eprintln!("a method of the CLR was called that must not be");
    std::process::abort()
}

extern "C" fn release(_this: *mut c_void) -> u32 {
    0
}

// SAFETY of all below: `info` is their only caller, and it passes pointers to locals of the types declared.

unsafe extern "C" fn query_info(_: *mut c_void, iid: *const Guid, out: *mut *mut c_void) -> i32 {
    // SAFETY: see above.
    unsafe {
        assert!(*iid == PROFILER_INFO_9 || *iid == PROFILER_INFO_12);
        out.write(if *iid == PROFILER_INFO_9 { object(&INFO) } else { object(&SOURCE) });
    }
    0
}

unsafe extern "C" fn get_current_thread_id(_: *mut c_void, out: *mut usize) -> i32 {
    // SAFETY: see above.
    unsafe { out.write(CURRENT.load(Ordering::Relaxed) as usize) };
    0
}

/// Where objects stand that the CLR tells the type of: one of the class Inner, and an array.
pub(crate) const OBJECT: u64 = 0x9000_0000;
pub(crate) const ARRAY: u64 = 0x9000_1000;

unsafe extern "C" fn get_class_from_object(_: *mut c_void, object: usize, class: *mut usize) -> i32 {
    if ![OBJECT, ARRAY].contains(&(object as u64)) {
        return NOTHING;
    }
    // SAFETY: see above.
    unsafe { class.write(object + 8) };
    0
}

unsafe extern "C" fn get_class_id_info(
    _: *mut c_void,
    class: usize,
    module: *mut usize,
    token: *mut u32,
) -> i32 {
    let is_array = class as u64 == ARRAY + 8;
    // SAFETY: see above.
    unsafe {
        module.write(if is_array { 0 } else { MODULE });
        token.write(if is_array { 0 } else { INNER });
    }
    0
}

extern "C" fn set_event_mask(_: *mut c_void, events: u32) -> i32 {
    EVENTS.store(events, Ordering::Relaxed);
    0
}

unsafe extern "C" fn get_function_from_token(
    _: *mut c_void,
    module: usize,
    token: u32,
    out: *mut usize,
) -> i32 {
    assert_eq!(module, MODULE);
    let methods = METHODS.iter().map(|method| (method.0, method.1));
    let references = REFERENCES.iter().map(|reference| (0x0A00_0000 | reference.0, reference.1));
    match methods.chain(references).find(|&(known, function)| known == token && function != 0) {
        Some((_, function)) => {
            // SAFETY: see above.
            unsafe { out.write(function as usize) };
            0
        }
        None => NOTHING,
    }
}

extern "C" fn set_event_mask_2(_: *mut c_void, events: u32, more_events: u32) -> i32 {
    assert_eq!(more_events, 0x80, "events of sessions");
    set_event_mask(core::ptr::null_mut(), events)
}

#[repr(C)]
struct Provider {
    name: *const u16,
    keywords: u64,
    level: u32,
    _filter: *const u16,
}

unsafe extern "C" fn event_pipe_start_session(
    _: *mut c_void,
    providers: u32,
    provider: *const Provider,
    rundown: i32,
    session: *mut u64,
) -> i32 {
    assert_eq!((providers, rundown), (1, 0));
    // SAFETY: see above; the name is zero-terminated.
    unsafe {
        let Provider { name, keywords, level, .. } = provider.read();
        let expected = "Microsoft-Windows-DotNETRuntime\0".encode_utf16();
        assert!(expected.enumerate().all(|(index, unit)| name.add(index).read() == unit));
        // As the CLR does: code of its own runs first, for a while.
        let assigned: extern "C" fn(*mut c_void, usize, u32) -> i32 =
            com::method(object(&super::callback::CALLBACK), 3 + 28);
        let created: extern "C" fn(*mut c_void, usize) -> i32 =
            com::method(object(&super::callback::CALLBACK), 3 + 26);
        created(null_mut(), 0x6010);
        assigned(null_mut(), 0x6010, crate::sys::thread_id());
        assert!(super::threads::current().is_none(), "the library's own thread is no task");
        std::thread::sleep(std::time::Duration::from_millis(50));
        SESSION.store(keywords | u64::from(level), Ordering::Relaxed);
        session.write(1);
    }
    0
}

/// Where the code of `RUN` lies, a second version of it, that of `OPEN`, and a stub, in a page that a test maps.
pub(crate) static CODE: AtomicU64 = AtomicU64::new(0);
pub(crate) const RUN_AT: u64 = 0x100;
pub(crate) const RUN_AGAIN_AT: u64 = 0x200;
pub(crate) const OPEN_AT: u64 = 0x300;
pub(crate) const STUB_AT: u64 = 0x400;
/// Which function the address lies in, as the CLR tells of its own; and frames of a stack, innermost first.
pub(crate) static STACK: std::sync::Mutex<std::vec::Vec<(u64, u64)>> =
    std::sync::Mutex::new(std::vec::Vec::new());
/// How many frames of it were shown.
pub(crate) static FRAMES_SHOWN: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn get_function_from_ip(_: *mut c_void, address: usize, function: *mut usize) -> i32 {
    let found = match (address as u64).wrapping_sub(CODE.load(Ordering::Relaxed)) {
        RUN_AT..OPEN_AT => RUN,
        OPEN_AT..STUB_AT => OPEN,
        _ => return NOTHING,
    };
    // SAFETY: see above.
    unsafe { function.write(found as usize) };
    0
}

unsafe extern "C" fn get_native_code_start_addresses(
    _: *mut c_void,
    function: usize,
    _version: usize,
    room: u32,
    count: *mut u32,
    starts: *mut usize,
) -> i32 {
    let code = CODE.load(Ordering::Relaxed);
    let found: &[u64] = if function as u64 == RUN { &[RUN_AGAIN_AT, RUN_AT] } else { &[OPEN_AT] };
    assert!(found.len() <= room as usize);
    // SAFETY: see above.
    unsafe {
        found.iter().enumerate().for_each(|(index, start)| starts.add(index).write((code + start) as usize));
        count.write(found.len() as u32);
    }
    0
}

/// Where the module's assembly stands in memory, and which it is.
pub(crate) const BASE: u64 = 0x6000_0000;
pub(crate) const VERSION: [u8; 16] = *b"an assembly's id";

unsafe extern "C" fn get_module_info(
    _: *mut c_void,
    module: usize,
    base: *mut usize,
    units: u32,
    length: *mut u32,
    name: *mut u16,
    assembly: *mut usize,
) -> i32 {
    assert_eq!((module, units), (MODULE, 0));
    assert!(length.is_null() && name.is_null() && assembly.is_null());
    // SAFETY: see above.
    unsafe { base.write(BASE as usize) };
    0
}

unsafe extern "C" fn get_scope_props(
    _: *mut c_void,
    name: *mut u16,
    units: u32,
    length: *mut u32,
    version: *mut [u8; 16],
) -> i32 {
    assert!(name.is_null() && units == 0 && length.is_null());
    // SAFETY: see above.
    unsafe { version.write(VERSION) };
    0
}

/// The map of `OPEN`; the CLR tells it those to whom it gives metadata. `RUN` has more than there is room for.
const MAP: [[u32; 3]; 4] = [[-2_i32 as u32, 0, 4], [0, 4, 8], [9, 8, 0x40], [9, 0x40, 0x80]];

unsafe extern "C" fn get_il_to_native_mapping(
    _: *mut c_void,
    start: usize,
    room: u32,
    count: *mut u32,
    map: *mut [u32; 3],
) -> i32 {
    const UNSUPPORTED_CALL_SEQUENCE: i32 = 0x8013_1363_u32 as i32;
    match *METADATA_FOR.lock().unwrap() {
        MetadataFor::All => {}
        MetadataFor::OwnThreads if is_own_thread() => {}
        _ => return UNSUPPORTED_CALL_SEQUENCE,
    }
    let is_of_open = start as u64 == CODE.load(Ordering::Relaxed) + OPEN_AT;
    assert!(MAP.len() <= room as usize);
    // SAFETY: see above.
    unsafe {
        MAP.iter().enumerate().for_each(|(index, &entry)| map.add(index).write(entry));
        count.write(if is_of_open { MAP.len() as u32 } else { room + 1 });
    }
    0
}

type VisitFrame = unsafe extern "C" fn(usize, usize, usize, u32, *const u8, *mut c_void) -> i32;

unsafe extern "C" fn do_stack_snapshot(
    _: *mut c_void,
    thread: usize,
    visit: VisitFrame,
    flags: u32,
    client: *mut c_void,
    context: *const u8,
    context_size: u32,
) -> i32 {
    assert!(thread == 0 && flags == 0 && context.is_null() && context_size == 0);
    for &(function, address) in STACK.lock().unwrap().iter() {
        FRAMES_SHOWN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's function, with what it asked for.
        if unsafe { visit(function as usize, address as usize, 0, 0, core::ptr::null(), client) } != 0 {
            return NOTHING;
        }
    }
    0
}

/// Of methods the token of their table, of others the FunctionID's lower half.
unsafe extern "C" fn get_function_info(
    _: *mut c_void,
    function: usize,
    class: *mut usize,
    module: *mut usize,
    token: *mut u32,
) -> i32 {
    // SAFETY: see above.
    unsafe {
        class.write(0);
        module.write(MODULE);
        let known = METHODS.iter().find(|method| method.1 == function as u64);
        token.write(known.map_or(function as u32, |method| method.0));
    }
    0
}

/// Only these have IL: `RUN` returns, and the others call and return.
unsafe extern "C" fn get_il_function_body(
    _: *mut c_void,
    module: usize,
    token: u32,
    body: *mut *const u8,
    size: *mut u32,
) -> i32 {
    static RETURNS: [u8; 2] = [0x06, 0x2A];
    static CALLS: [u8; 8] = [0x1E, 0x02, 0x29, 0x01, 0x00, 0x00, 0x11, 0x2A];
    static CALLS_RUN_AND_OPEN: [u8; 12] = [0x2E, 0x28, 0x01, 0, 0, 0x06, 0x28, 0x03, 0, 0, 0x06, 0x2A];
    static CALLS_RUN: [u8; 7] = [0x1A, 0x28, 0x01, 0, 0, 0x06, 0x2A];
    assert_eq!(module, MODULE);
    let found: &[u8] = match u64::from(token) {
        RUN_TOKEN => &RETURNS,
        POINTER_CALLER => &CALLS,
        IMPORT_CALLER => &CALLS_RUN_AND_OPEN,
        CALLER => &CALLS_RUN,
        _ => return NOTHING,
    };
    // SAFETY: see above.
    unsafe {
        body.write(found.as_ptr());
        size.write(found.len() as u32);
    }
    0
}

/// Whom the CLR gives metadata: all, as in callbacks; only threads of the library's own, as in native code that managed
/// code has called; nobody, of a module that has none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetadataFor {
    All,
    OwnThreads,
    Nobody,
}

static METADATA_FOR: std::sync::Mutex<MetadataFor> = std::sync::Mutex::new(MetadataFor::All);
/// How often it was asked for.
pub(crate) static METADATA_ASKED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn give_metadata_to(whom: MetadataFor) {
    *METADATA_FOR.lock().unwrap() = whom;
}

fn is_own_thread() -> bool {
    let mut room = [0; 32];
    crate::sys::read_thread_file(None, crate::sys::thread_id(), "comm", &mut room) == Some(b"hostcrst\n")
}

unsafe extern "C" fn get_module_metadata(
    _: *mut c_void,
    module: usize,
    _flags: u32,
    iid: *const Guid,
    out: *mut *mut c_void,
) -> i32 {
    assert_eq!(module, MODULE);
    METADATA_ASKED.fetch_add(1, Ordering::Relaxed);
    match *METADATA_FOR.lock().unwrap() {
        MetadataFor::All => {}
        MetadataFor::OwnThreads if is_own_thread() => {}
        _ => return NOTHING,
    }
    // SAFETY: see above.
    unsafe {
        assert!(*iid == METADATA_IMPORT);
        out.write(object(&METADATA));
    }
    0
}

unsafe extern "C" fn enum_modules(_: *mut c_void, out: *mut *mut c_void) -> i32 {
    GIVEN.store(0, Ordering::Relaxed);
    // SAFETY: see above.
    unsafe { out.write(object(&MODULES)) };
    0
}

unsafe extern "C" fn next(_: *mut c_void, wanted: u32, modules: *mut usize, count: *mut u32) -> i32 {
    assert_eq!(wanted, 1);
    let first = GIVEN.fetch_add(1, Ordering::Relaxed) == 0;
    // SAFETY: see above.
    unsafe {
        modules.write(MODULE);
        count.write(u32::from(first));
    }
    i32::from(!first)
}

unsafe extern "C" fn query_interface(_: *mut c_void, iid: *const Guid, out: *mut *mut c_void) -> i32 {
    // SAFETY: see above.
    unsafe {
        assert!(*iid == METADATA_TABLES || *iid == METADATA_IMPORT);
        out.write(if *iid == METADATA_TABLES { object(&TABLES) } else { object(&METADATA) });
    }
    0
}

unsafe extern "C" fn get_table_info(
    _: *mut c_void,
    table: u32,
    row_bytes: *mut u32,
    rows: *mut u32,
    columns: *mut u32,
    key: *mut u32,
    name: *mut *const c_char,
) -> i32 {
    assert_eq!(table, 6);
    SEARCHES.fetch_add(1, Ordering::Relaxed);
    // SAFETY: see above.
    unsafe {
        row_bytes.write(14);
        rows.write(METHODS.len() as u32);
        columns.write(6);
        key.write(u32::MAX);
        name.write(c"Method".as_ptr());
    }
    0
}

/// Writes a terminated name and its length with the terminator, as all of metadata does.
///
/// # Safety
/// `buffer` has room for `units`, and `length` is valid.
unsafe fn give(name: &str, buffer: *mut u16, units: u32, length: *mut u32) -> i32 {
    let mut count = 0;
    for unit in name.encode_utf16().chain([0]) {
        assert!(count < units);
        // SAFETY: in the buffer, by the assertion.
        unsafe { buffer.add(count as usize).write(unit) };
        count += 1;
    }
    // SAFETY: the contract.
    unsafe { length.write(count) };
    0
}

unsafe extern "C" fn get_type_def_props(
    _: *mut c_void,
    class: u32,
    buffer: *mut u16,
    units: u32,
    length: *mut u32,
    flags: *mut u32,
    extends: *mut u32,
) -> i32 {
    assert!(flags.is_null() && extends.is_null());
    let name = if class == INNER { "Inner" } else { "Space.Outer" };
    // SAFETY: see above.
    unsafe { give(name, buffer, units, length) }
}

unsafe extern "C" fn get_method_props(
    _: *mut c_void,
    method: u32,
    class: *mut u32,
    buffer: *mut u16,
    units: u32,
    length: *mut u32,
    attributes: *mut u32,
    signature: *mut *const u8,
    signature_bytes: *mut u32,
    address: *mut u32,
    flags: *mut u32,
) -> i32 {
    assert!(attributes.is_null() && address.is_null() && flags.is_null());
    if !signature.is_null() {
        // `OPEN` has a parameter, and the others have none.
        static SIGNATURES: [[u8; 3]; 2] = [[0x00, 0, 0x01], [0x00, 1, 0x01]];
        let of_method = &SIGNATURES[usize::from(method == METHODS[2].0)];
        // SAFETY: see above.
        unsafe {
            signature.write(of_method.as_ptr());
            signature_bytes.write(of_method.len() as u32);
        }
        return 0;
    }
    let Some(&(_, _, name, its_class)) = METHODS.iter().find(|known| known.0 == method) else {
        return NOTHING;
    };
    // SAFETY: see above.
    unsafe {
        class.write(its_class);
        give(name, buffer, units, length)
    }
}

unsafe extern "C" fn get_member_ref_props(
    _: *mut c_void,
    member: u32,
    class: *mut u32,
    buffer: *mut u16,
    units: u32,
    length: *mut u32,
    signature: *mut *const u8,
    signature_bytes: *mut u32,
) -> i32 {
    assert!(buffer.is_null() && units == 0 && length.is_null());
    assert!(signature.is_null() && signature_bytes.is_null());
    let Some(reference) = REFERENCES.iter().find(|reference| 0x0A00_0000 | reference.0 == member) else {
        return NOTHING;
    };
    // SAFETY: see above.
    unsafe { class.write(reference.2) };
    0
}

unsafe extern "C" fn get_type_ref_props(
    _: *mut c_void,
    class: u32,
    scope: *mut u32,
    buffer: *mut u16,
    units: u32,
    length: *mut u32,
) -> i32 {
    let (name, its_scope) = match class {
        OTHER_OUTER => ("Systems.Other", OTHER_ASSEMBLY),
        OTHER_INNER => ("System.Inner", OTHER_OUTER),
        SYSTEMS => ("System.Console", OTHER_ASSEMBLY),
        SHORT => ("Sys", OTHER_ASSEMBLY),
        _ => return NOTHING,
    };
    // SAFETY: see above.
    unsafe {
        scope.write(its_scope);
        give(name, buffer, units, length)
    }
}

unsafe extern "C" fn get_module_ref_props(
    _: *mut c_void,
    library: u32,
    buffer: *mut u16,
    units: u32,
    length: *mut u32,
) -> i32 {
    assert_eq!(library, LIBRARY);
    // SAFETY: see above.
    unsafe { give("files", buffer, units, length) }
}

unsafe extern "C" fn get_pinvoke_map(
    _: *mut c_void,
    method: u32,
    flags: *mut u32,
    buffer: *mut u16,
    units: u32,
    length: *mut u32,
    library: *mut u32,
) -> i32 {
    assert!(flags.is_null());
    if method != METHODS[2].0 {
        return NOTHING;
    }
    // SAFETY: see above.
    unsafe {
        library.write(LIBRARY);
        give("files_open", buffer, units, length)
    }
}

unsafe extern "C" fn get_nested_class_props(_: *mut c_void, class: u32, enclosing: *mut u32) -> i32 {
    if class != INNER {
        return NOTHING;
    }
    // SAFETY: see above.
    unsafe { enclosing.write(OUTER) };
    0
}
