//! The CLR's query interfaces: ICorProfilerInfo9, and the metadata of its modules.
//!
//! Each function here is one method of one interface: slot, signature, and a safe result. Slot numbers count
//! from the interface's own first method after IUnknown, in the order of corprof.idl and cor.h.

use core::ffi::c_void;
use core::ptr::{null, null_mut};

use super::com::{self, Com, Guid, UNKNOWN_METHODS};
use crate::error::{Error, Result, S_FALSE, S_OK};

const IID_PROFILER_INFO_9: Guid = Guid::new(0x008170DB_F8CC_4796_9A51_DC8AA0B47012);
const IID_PROFILER_INFO_12: Guid = Guid::new(0x27B24CCD_1CB1_47C5_96EE_98190DC30959);
const IID_METADATA_IMPORT: Guid = Guid::new(0x7DAC8207_D3AE_4C75_9B67_92801A497D44);
const IID_METADATA_TABLES: Guid = Guid::new(0xD8F579AB_402D_4B8E_82D9_5D63B1065C68);

/// The metadata table whose rows are the methods of a module, and the kind of token that names one.
const METHOD_TABLE: u32 = 0x06;
/// Open flags of metadata: to read.
const READ: u32 = 0;

/// How many compiled versions of one function are looked at.
const VERSIONS: usize = 16;

/// Calls a method by slot and signature; the result is its HRESULT.
macro_rules! call {
    ($object:expr, $slot:expr, fn($($type:ty),* $(,)?) $(, $argument:expr)* $(,)?) => {{
        let object: *mut c_void = $object;
        // SAFETY: the object is live and of the interface whose methods these are, so it has this slot with
        // this signature, in the C ABI; every out parameter points to a local.
        unsafe {
            let method: unsafe extern "C" fn(*mut c_void $(, $type)*) -> i32 =
                com::method(object, UNKNOWN_METHODS + $slot);
            method(object $(, $argument)*)
        }
    }};
}

/// CORPROF_E_UNSUPPORTED_CALL_SEQUENCE: it may be asked in a callback, and on a thread that runs no managed code.
const NOT_HERE: i32 = 0x8013_1363_u32 as i32;

/// Methods of which the CLR knows more are not looked into.
const MOST_IN_MAP: usize = 512;

/// Which code was made from which IL: a COR_DEBUG_IL_TO_NATIVE_MAP.
#[repr(C)]
#[derive(Clone, Copy)]
struct MapEntry {
    /// SPECIAL and above: no IL of the method's.
    il_offset: u32,
    start: u32,
    _end: u32,
}

const SPECIAL: u32 = -3_i32 as u32;

/// The IL from which the code there was made. Of what begins at the same place, all but the last is empty.
fn il_offset_in(map: &[MapEntry], distance: u32) -> Option<u32> {
    let is_before = |entry: &&MapEntry| entry.start <= distance;
    let order = |entry: &&MapEntry| (entry.start, entry.il_offset < SPECIAL, entry.il_offset);
    let entry = map.iter().filter(is_before).max_by_key(order)?;
    (entry.il_offset < SPECIAL).then_some(entry.il_offset)
}

fn check(hresult: i32) -> Option<()> {
    (hresult >= 0).then_some(())
}

/// The CLR's ICorProfilerInfo9. Has no reference of its own: see `from_raw`.
#[derive(Clone, Copy)]
pub(crate) struct ProfilerInfo(*mut c_void);

impl ProfilerInfo {
    /// Asks what the CLR passed to Initialize for ICorProfilerInfo9, of .NET Core 2.1 and later.
    ///
    /// # Safety
    /// `unknown` is null or a live COM object.
    pub(crate) unsafe fn query(unknown: *mut c_void) -> Result<Com> {
        if unknown.is_null() {
            return Err(Error::Pointer);
        }
        // SAFETY: not null, so live by the contract.
        unsafe { com::query(unknown, &IID_PROFILER_INFO_9) }.ok_or(Error::NoInterface)
    }

    /// # Safety
    /// `raw` came from `query` and its reference is never released.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> ProfilerInfo {
        ProfilerInfo(raw)
    }

    /// For `from_raw`.
    pub(crate) fn as_raw(self) -> *mut c_void {
        self.0
    }

    pub(crate) fn set_event_mask(self, events: u32) -> i32 {
        call!(self.0, 13, fn(u32), events)
    }

    /// The type of an object that the CLR has just told of on the calling thread; None where the collector may have moved it:
    /// the CLR reads it only for a thread on which that cannot happen meanwhile.
    pub(crate) fn class_of_object(self, object: usize) -> Option<usize> {
        let mut class = 0_usize;
        check(call!(self.0, 0, fn(usize, *mut usize), object, &mut class))?;
        (class != 0).then_some(class)
    }

    /// The module and token of a type that the CLR has just given; None of an array.
    pub(crate) fn class_definition(self, class: usize) -> Option<(usize, u32)> {
        let (mut module, mut token) = (0_usize, 0_u32);
        check(call!(self.0, 11, fn(usize, *mut usize, *mut u32), class, &mut module, &mut token))?;
        (module != 0).then_some((module, token))
    }

    /// The ThreadID of the calling thread.
    pub(crate) fn current_thread(self) -> Option<u64> {
        let mut thread = 0_usize;
        check(call!(self.0, 10, fn(*mut usize), &mut thread))?;
        Some(thread as u64)
    }

    /// The FunctionID of a method, or of one that a method reference stands for, if the CLR has loaded it, or has found what the
    /// reference stands for, and it has no generic parameters.
    pub(crate) fn function(self, module: usize, method: u32) -> Option<u64> {
        let mut function = 0_usize;
        check(call!(self.0, 5, fn(usize, u32, *mut usize), module, method, &mut function))?;
        Some(function as u64)
    }

    /// The function whose code an address lies in; None if that is no managed code, or a stub of the CLR's making. Of the
    /// methods here this one, `definition`, `code_starts` and `walk_own_stack` may be called in native code that managed
    /// code has called.
    pub(crate) fn function_at(self, address: usize) -> Option<usize> {
        let mut function = 0_usize;
        check(call!(self.0, 4, fn(usize, *mut usize), address, &mut function))?;
        (function != 0).then_some(function)
    }

    /// The module and token of a function that the CLR has just given.
    pub(crate) fn definition(self, function: usize) -> Option<(usize, u32)> {
        let (mut class, mut module, mut method) = (0_usize, 0_usize, 0_u32);
        let types = (&mut class, &mut module, &mut method);
        check(call!(
            self.0,
            12,
            fn(usize, *mut usize, *mut usize, *mut u32),
            function,
            types.0,
            types.1,
            types.2
        ))?;
        Some((module, method))
    }

    /// Where the code of such a function begins: the JIT may have compiled it more than once.
    pub(crate) fn code_starts(self, function: usize) -> impl Iterator<Item = usize> {
        let mut starts = [0_usize; VERSIONS];
        let mut count = 0_u32;
        let got = call!(
            self.0,
            87,
            fn(usize, usize, u32, *mut u32, *mut usize),
            function,
            0,
            VERSIONS as u32,
            &mut count,
            starts.as_mut_ptr()
        );
        let count = check(got).map_or(0, |()| count as usize);
        starts.into_iter().take(count)
    }

    /// The IL from which the code was made that is so far behind where this code of a function begins. None if the CLR does not
    /// tell that here: see `elsewhere`.
    pub(crate) fn il_offset(self, code_start: usize, distance: usize) -> Option<Option<u32>> {
        let mut map = [MapEntry { il_offset: 0, start: 0, _end: 0 }; MOST_IN_MAP];
        let mut count = 0_u32;
        let got = call!(
            self.0,
            88,
            fn(usize, u32, *mut u32, *mut MapEntry),
            code_start,
            MOST_IN_MAP as u32,
            &mut count,
            map.as_mut_ptr()
        );
        if got == NOT_HERE {
            return None;
        }
        let map = check(got).and_then(|()| map.get(..count as usize));
        Some(map.and_then(|map| il_offset_in(map, distance as u32)))
    }

    /// Where the assembly of a loaded module stands in memory, 0 if it stands nowhere.
    pub(crate) fn module_base(self, module: usize) -> Option<usize> {
        let mut base = 0_usize;
        check(call!(
            self.0,
            17,
            fn(usize, *mut usize, u32, *mut u32, *mut u16, *mut usize),
            module,
            &mut base,
            0,
            null_mut(),
            null_mut(),
            null_mut()
        ))?;
        Some(base)
    }

    /// Shows `visit` function and address of each frame of managed code on the calling thread's stack, innermost first,
    /// until it returns false. Of frames of native code together the function is 0.
    pub(crate) fn walk_own_stack<F: FnMut(usize, usize) -> bool>(self, mut visit: F) {
        unsafe extern "C" fn visit_frame<F: FnMut(usize, usize) -> bool>(
            function: usize,
            address: usize,
            _frame: usize,
            _context_size: u32,
            _context: *const u8,
            visit: *mut F,
        ) -> i32 {
            // SAFETY: the CLR passes on what DoStackSnapshot was given, and calls before that returns.
            let goes_on = unsafe { (*visit)(function, address) };
            if goes_on { S_OK } else { S_FALSE }
        }
        const OWN_THREAD: usize = 0;
        const NO_CONTEXT: (u32, *const u8, u32) = (0, null(), 0);
        // A walk that was ended early is told as a failure.
        let _ = call!(
            self.0,
            33,
            fn(
                usize,
                unsafe extern "C" fn(usize, usize, usize, u32, *const u8, *mut F) -> i32,
                u32,
                *mut F,
                *const u8,
                u32,
            ),
            OWN_THREAD,
            visit_frame::<F>,
            NO_CONTEXT.0,
            &mut visit,
            NO_CONTEXT.1,
            NO_CONTEXT.2
        );
    }

    /// Lets `look` see module and body of a method that the JIT has at hand: a header, IL, and perhaps tables.
    pub(crate) fn with_body<T>(self, function: usize, look: impl FnOnce(usize, &[u8]) -> T) -> Option<T> {
        let (module, method) = self.definition(function)?;
        let (mut body, mut size) = (null::<u8>(), 0_u32);
        check(call!(
            self.0,
            19,
            fn(usize, u32, *mut *const u8, *mut u32),
            module,
            method,
            &mut body,
            &mut size
        ))?;
        // SAFETY: a successful GetILFunctionBody wrote address and size of memory that stays, and is not written, as long
        // as the module is loaded; it cannot be unloaded while the JIT compiles a call of the method.
        (!body.is_null()).then(|| look(module, unsafe { core::slice::from_raw_parts(body, size as usize) }))
    }

    pub(crate) fn modules(self) -> Option<Modules> {
        let mut out = null_mut();
        check(call!(self.0, 33 + 21 + 9, fn(*mut *mut c_void), &mut out))?;
        // SAFETY: a successful EnumModules wrote a referenced enumerator.
        unsafe { Com::adopt(out) }.map(Modules)
    }

    /// The metadata of a module. On a thread that runs managed code, the CLR gives it in callbacks only.
    pub(crate) fn metadata(self, module: usize) -> Option<Metadata> {
        let mut out = null_mut();
        let arguments = (module, READ, &IID_METADATA_IMPORT, &mut out);
        check(call!(
            self.0,
            18,
            fn(usize, u32, *const Guid, *mut *mut c_void),
            arguments.0,
            arguments.1,
            arguments.2,
            arguments.3
        ))?;
        // SAFETY: a successful GetModuleMetaData wrote a referenced IMetaDataImport, or null for a resource.
        unsafe { Com::adopt(out) }.map(Metadata)
    }
}

/// The CLR's ICorProfilerInfo12, of .NET 5 and later. Has no reference of its own: see `from_raw`.
#[derive(Clone, Copy)]
pub(crate) struct EventSource(*mut c_void);

/// COR_PRF_EVENTPIPE_PROVIDER_CONFIG: of which provider a session gets which events.
#[repr(C)]
struct ProviderConfig {
    name: *const u16,
    keywords: u64,
    level: u32,
    filter: *const u16,
}

const RUNTIME_PROVIDER: [u16; 32] = {
    let name = b"Microsoft-Windows-DotNETRuntime";
    let mut units = [0; 32];
    let mut index = 0;
    while index < name.len() {
        units[index] = name[index] as u16;
        index += 1;
    }
    units
};

impl EventSource {
    /// Asks what the CLR passed to Initialize for its events.
    ///
    /// # Safety
    /// `unknown` is a live COM object.
    pub(crate) unsafe fn query(unknown: *mut c_void) -> Option<Com> {
        // SAFETY: the same contract.
        unsafe { com::query(unknown, &IID_PROFILER_INFO_12) }
    }

    /// # Safety
    /// `raw` came from `query` and its reference is never released.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> EventSource {
        EventSource(raw)
    }

    /// As ProfilerInfo's, with the flags of the second word.
    pub(crate) fn set_event_mask(self, events: u32, more_events: u32) -> i32 {
        call!(self.0, 79, fn(u32, u32), events, more_events)
    }

    /// Has the CLR's own events with a keyword delivered, as long as the process lives. Whether it does so.
    pub(crate) fn start_session(self, keywords: u64, level: u32) -> bool {
        let config = ProviderConfig { name: RUNTIME_PROVIDER.as_ptr(), keywords, level, filter: null() };
        let mut session = 0_u64;
        let started =
            call!(self.0, 98, fn(u32, *const ProviderConfig, i32, *mut u64), 1, &config, 0, &mut session);
        check(started).is_some()
    }
}

/// The loaded modules: an ICorProfilerModuleEnum.
pub(crate) struct Modules(Com);

impl Iterator for Modules {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let mut module = 0_usize;
        let mut count = 0_u32;
        check(call!(self.0.as_ptr(), 4, fn(u32, *mut usize, *mut u32), 1, &mut module, &mut count))?;
        (count == 1).then_some(module)
    }
}

/// Longest name taken from metadata, in UTF-16 units; longer ones are cut by the CLR.
const NAME_UNITS: usize = 256;

/// A name as the CLR gives it.
pub(crate) struct WideName {
    units: [u16; NAME_UNITS],
    length: usize,
}

impl WideName {
    /// Lets `read` fill the buffer; it gets the buffer, its size and where to put the length, terminator
    /// included.
    fn read(read: impl FnOnce(*mut u16, u32, *mut u32) -> i32) -> Option<WideName> {
        let mut name = WideName { units: [0; NAME_UNITS], length: 0 };
        let mut length = 0_u32;
        check(read(name.units.as_mut_ptr(), NAME_UNITS as u32, &mut length))?;
        name.length = (length as usize).min(NAME_UNITS).saturating_sub(1);
        Some(name)
    }

    pub(crate) fn units(&self) -> &[u16] {
        self.units.get(..self.length).unwrap_or_default()
    }
}

/// Whether the signature of a method says that it has parameters: a byte of flags, the number of type parameters if it is
/// generic, and the number of parameters.
fn counts_parameters(signature: &[u8]) -> Option<bool> {
    const IS_GENERIC: u8 = 0x10;
    let (flags, rest) = signature.split_first()?;
    // Numbers below 128 are one byte; nothing has so many type parameters.
    let rest = if flags & IS_GENERIC == 0 { rest } else { rest.get(1..)? };
    rest.first().map(|&count| count != 0)
}

/// The metadata of one module: an IMetaDataImport.
pub(crate) struct Metadata(Com);

impl Metadata {
    /// Gives up the pointer without releasing the reference.
    pub(crate) fn into_raw(self) -> *mut c_void {
        self.0.into_raw()
    }

    /// Another reference to the same metadata.
    ///
    /// # Safety
    /// `raw` is null, or came from `into_raw`, and that reference has not been taken back.
    pub(crate) unsafe fn share(raw: *mut c_void) -> Option<Metadata> {
        if raw.is_null() {
            return None;
        }
        // SAFETY: not null, so live by the contract.
        unsafe { com::query(raw, &IID_METADATA_IMPORT) }.map(Metadata)
    }

    /// Takes back the reference that `into_raw` gave up.
    ///
    /// # Safety
    /// As for `share`; after this the reference is taken back.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> Option<Metadata> {
        // SAFETY: the contract.
        unsafe { Com::adopt(raw) }.map(Metadata)
    }

    /// Which assembly it is: the number that its compiler gave it.
    pub(crate) fn version(&self) -> Option<[u8; 16]> {
        let mut version = [[0_u8; 16]];
        check(call!(
            self.0.as_ptr(),
            7,
            fn(*mut u16, u32, *mut u32, *mut [u8; 16]),
            null_mut(),
            0,
            null_mut(),
            version.as_mut_ptr()
        ))?;
        Some(version[0])
    }

    /// The tokens of all methods of the module.
    pub(crate) fn methods(&self) -> impl Iterator<Item = u32> + use<> {
        let token = METHOD_TABLE << 24;
        (1..=self.method_count().unwrap_or(0)).map(move |row| token | row)
    }

    fn method_count(&self) -> Option<u32> {
        // SAFETY: the metadata is a live COM object.
        let tables = unsafe { com::query(self.0.as_ptr(), &IID_METADATA_TABLES) }?;
        let mut sizes = [0_u32; 4];
        let [row_bytes, rows, columns, key] = &mut sizes;
        let mut name = null();
        check(call!(
            tables.as_ptr(),
            6,
            fn(u32, *mut u32, *mut u32, *mut u32, *mut u32, *mut *const c_void),
            METHOD_TABLE,
            row_bytes,
            rows,
            columns,
            key,
            &mut name
        ))?;
        Some(sizes[1])
    }

    /// A method's name and its class.
    pub(crate) fn method(&self, method: u32) -> Option<(WideName, u32)> {
        let mut class = 0_u32;
        let name = WideName::read(|buffer, units, length| {
            self.method_props(method, &mut class, (buffer, units, length), (null_mut(), null_mut()))
        })?;
        Some((name, class))
    }

    /// Whether a method has parameters.
    pub(crate) fn has_parameters(&self, method: u32) -> Option<bool> {
        let (mut signature, mut size) = (null::<u8>(), 0_u32);
        let no_name = (null_mut(), 0, null_mut());
        check(self.method_props(method, null_mut(), no_name, (&mut signature, &mut size)))?;
        if signature.is_null() {
            return None;
        }
        // SAFETY: a successful GetMethodProps wrote address and size of a part of the metadata, which stays as it is as long
        // as this reference to the metadata lives.
        counts_parameters(unsafe { core::slice::from_raw_parts(signature, size as usize) })
    }

    /// GetMethodProps, of what is asked for here: class, name (buffer, its units, its length), signature and its size.
    fn method_props(
        &self,
        method: u32,
        class: *mut u32,
        name: (*mut u16, u32, *mut u32),
        signature: (*mut *const u8, *mut u32),
    ) -> i32 {
        const UNWANTED: *mut u32 = null_mut();
        call!(
            self.0.as_ptr(),
            27,
            fn(
                u32,
                *mut u32,
                *mut u16,
                u32,
                *mut u32,
                *mut u32,
                *mut *const u8,
                *mut u32,
                *mut u32,
                *mut u32,
            ),
            method,
            class,
            name.0,
            name.1,
            name.2,
            UNWANTED,
            signature.0,
            signature.1,
            UNWANTED,
            UNWANTED
        )
    }

    /// A class's name, with its namespace unless it is nested.
    pub(crate) fn class(&self, class: u32) -> Option<WideName> {
        WideName::read(|buffer, units, length| {
            call!(
                self.0.as_ptr(),
                9,
                fn(u32, *mut u16, u32, *mut u32, *mut u32, *mut u32),
                class,
                buffer,
                units,
                length,
                null_mut(),
                null_mut()
            )
        })
    }

    /// Of a reference to a method of another module, the reference to its class.
    pub(crate) fn class_of_reference(&self, method: u32) -> Option<u32> {
        let mut class = 0_u32;
        check(call!(
            self.0.as_ptr(),
            28,
            fn(u32, *mut u32, *mut u16, u32, *mut u32, *mut *const u8, *mut u32),
            method,
            &mut class,
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            null_mut()
        ))?;
        Some(class)
    }

    /// Of a reference to a class of another module, its name, with its namespace unless it is nested, and where that is looked
    /// for: an assembly, or a reference to the enclosing class.
    pub(crate) fn class_reference(&self, class: u32) -> Option<(WideName, u32)> {
        let mut scope = 0_u32;
        let name = WideName::read(|buffer, units, length| {
            call!(
                self.0.as_ptr(),
                11,
                fn(u32, *mut u32, *mut u16, u32, *mut u32),
                class,
                &mut scope,
                buffer,
                units,
                length
            )
        })?;
        Some((name, scope))
    }

    /// The class that encloses a nested class.
    pub(crate) fn enclosing_class(&self, class: u32) -> Option<u32> {
        let mut enclosing = 0_u32;
        check(call!(self.0.as_ptr(), 59, fn(u32, *mut u32), class, &mut enclosing))?;
        Some(enclosing)
    }

    /// The native library and entry point of a P/Invoke method.
    pub(crate) fn import(&self, method: u32) -> Option<(WideName, WideName)> {
        let mut library = 0_u32;
        let entry = WideName::read(|buffer, units, length| {
            call!(
                self.0.as_ptr(),
                45,
                fn(u32, *mut u32, *mut u16, u32, *mut u32, *mut u32),
                method,
                null_mut(),
                buffer,
                units,
                length,
                &mut library
            )
        })?;
        let library = WideName::read(|buffer, units, length| {
            call!(self.0.as_ptr(), 39, fn(u32, *mut u16, u32, *mut u32), library, buffer, units, length)
        })?;
        Some((library, entry))
    }
}
