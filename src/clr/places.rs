//! Places in managed code: which method a call or a wait stands in, as a name that readers inside and outside find by the
//! address.
//!
//! Managed code calls native code through stubs of the CLR's making, so the caller that native code sees is often a stub. The
//! place is then that in the method which has called the stub.
//!
//! The CLR is asked by the thread itself, at a wait or where a place is recorded, once for each address. That is allowed in
//! its callbacks and in native code that managed code has called; a signal handler is neither, and may not wait.

use core::fmt::Write;

use elf_names::maps::Mapping;

use super::callees;
use super::elsewhere;
use super::functions::{Recent, write_managed_name};
use super::info::ProfilerInfo;
use super::modules;
use super::own_code::see_mapping;
use crate::base::memory::Here;
use crate::state::layers::{LayerKind, Origin};
use crate::state::registry::REGISTRY;
use crate::state::targets::{IlPlace, TARGET_NAME_BYTES};
use crate::state::task::TaskRef;
use crate::sys;
use crate::text::TextBuffer;

/// Walking all of a thread's stack takes up to a fifth of a millisecond, the first time more. It is to take one part of so many
/// of the thread's time at most: each walk is paid for with a pause, in nanoseconds no longer than this, which may be owed for so
/// long. So a thread that seldom waits is walked each time.
const SHARE: u64 = 16;
const LONGEST_PAUSE: u64 = 10_000_000;
const CREDIT: u64 = 200_000_000;
/// So many of its innermost frames.
const FRAMES: usize = 64;
/// Methods are smaller. Beyond, the address lies in a part that the JIT has placed apart.
const LARGEST_METHOD: usize = 1 << 20;
/// The part of a token that says which row of its table is meant.
const ROW: u32 = 0xFF_FFFF;

/// Addresses in stubs, and in code that is none of the CLR's.
static STUBS: Recent = Recent::new();
static NATIVE: Recent = Recent::new();

/// What lies at an address of code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Code {
    Method,
    Stub,
    Native,
}

/// The place that a call came from which seems to have come from `site`.
pub(crate) fn call_site(info: ProfilerInfo, site: usize) -> usize {
    outside_of_stub(info, site, code_at(info, site))
}

/// The same for a wait that begins, of which the whole stack of managed code gets names.
pub(crate) fn of_wait(info: ProfilerInfo, task: TaskRef, site: usize) -> usize {
    let code = code_at(info, site);
    let is_called_by_managed_code = code != Code::Native || is_in_call(task);
    if is_called_by_managed_code {
        name_stack(info, task);
    }
    outside_of_stub(info, site, code)
}

fn outside_of_stub(info: ProfilerInfo, site: usize, code: Code) -> usize {
    if code == Code::Stub { caller_of_stub(info).unwrap_or(site) } else { site }
}

/// Whether the CLR has told that the task called native code and has not returned.
fn is_in_call(task: TaskRef) -> bool {
    let top = task.depth().checked_sub(1).and_then(|top| task.layer(top));
    top.is_some_and(|top| top.kind == LayerKind::Leave && top.origin == Origin::ClrFunction)
}

/// Names the places on the calling thread's stack, and the methods of its callbacks, unless that was done a moment ago.
pub(crate) fn name_stack(info: ProfilerInfo, task: TaskRef) {
    let began = sys::now();
    if began < task.stack_rests_until() {
        return;
    }
    let (frames, count) = own_stack::<FRAMES>(info);
    // A name is asked for once.
    let walked = sys::now();
    let pause = LONGEST_PAUSE.min((walked - began) * (SHARE - 1));
    task.set_stack_rests_until(task.stack_rests_until().max(walked.saturating_sub(CREDIT)) + pause);
    managed(frames).for_each(|(function, address)| name(info, function, address));
    // Else it may go on.
    if count < FRAMES {
        callees::name(info, task, frames.get(..count).unwrap_or_default());
    }
}

fn caller_of_stub(info: ProfilerInfo) -> Option<usize> {
    let (function, caller) = managed(own_stack::<1>(info).0).next()?;
    name(info, function, caller);
    Some(caller)
}

/// Whether the calling thread is in a method of System.Threading.Lock, or in one that such a method has called to wait.
pub(crate) fn is_in_lock(info: ProfilerInfo) -> bool {
    const METHODS_THAT_WAIT: usize = 8;
    managed(own_stack::<METHODS_THAT_WAIT>(info).0).any(|(function, address)| {
        name(info, function, address);
        let named = REGISTRY.targets.place(&Here, address as u64);
        named.is_some_and(|named| named.bytes().starts_with(b"System.Threading.Lock."))
    })
}

/// Function and address of the innermost frames of the calling thread, and how many there are; of native frames together the
/// function is 0. Names are asked for only once the CLR's walk is over.
fn own_stack<const MOST: usize>(info: ProfilerInfo) -> ([(usize, usize); MOST], usize) {
    let mut frames = [(0, 0); MOST];
    let mut count = 0;
    info.walk_own_stack(|function, address| {
        if let Some(frame) = frames.get_mut(count) {
            *frame = (function, address);
        }
        count += 1;
        count < MOST
    });
    (frames, count)
}

fn managed<const MOST: usize>(frames: [(usize, usize); MOST]) -> impl Iterator<Item = (usize, usize)> {
    frames.into_iter().filter(|&(function, _)| function != 0)
}

fn code_at(info: ProfilerInfo, address: usize) -> Code {
    let number = address as u64;
    if REGISTRY.targets.has_place(number) {
        return Code::Method;
    }
    for (kind, recent) in [(Code::Stub, &STUBS), (Code::Native, &NATIVE)] {
        if recent.has(number) {
            return kind;
        }
    }
    find_out(info, address)
}

#[cold]
fn find_out(info: ProfilerInfo, address: usize) -> Code {
    if !is_made_while_running(address) {
        NATIVE.remember(address as u64);
        return Code::Native;
    }
    match info.function_at(address) {
        Some(function) => {
            name(info, function, address);
            Code::Method
        }
        None => {
            STUBS.remember(address as u64);
            Code::Stub
        }
    }
}

/// Whether the address lies in code that is in no file for programs of this system: made by a JIT, or precompiled for one.
fn is_made_while_running(address: usize) -> bool {
    see_mapping(address, has_no_program).unwrap_or(false)
}

fn has_no_program(mapping: &Mapping<'_>) -> bool {
    mapping.path.is_empty() || mapping.path.starts_with(b"/memfd:") || mapping.path.ends_with(b".dll")
}

/// Keeps a name for the place at `address` in the code of `function`, which the CLR has just given.
fn name(info: ProfilerInfo, function: usize, address: usize) {
    if REGISTRY.targets.has_place(address as u64) {
        return;
    }
    let Some((module, method)) = info.definition(function) else { return };
    let Some(metadata) = modules::metadata(info, module) else { return };
    let mut text = TextBuffer::<TARGET_NAME_BYTES>::new();
    // What does not fit is cut.
    let _ = write_managed_name(&mut text, &metadata, method);
    let _ = text.write_str(if metadata.has_parameters(method) == Some(true) { "(…)" } else { "()" });
    let start = info.code_starts(function).filter(|&start| start <= address).max();
    let start = start.filter(|start| address - start < LARGEST_METHOD);
    if let Some(start) = start {
        let _ = write!(text, "+0x{:x}", address - start);
    }
    // What is in no metadata has a token without a row.
    let il = start.filter(|_| method & ROW != 0).and_then(|start| {
        Some(IlPlace {
            assembly: info.module_base(module)? as u64,
            version: metadata.version()?,
            method,
            offset: il_offset(info, start, address)?,
        })
    });
    REGISTRY.targets.place_site(address as u64, text.bytes(), il);
}

/// The IL of the call that returns to `address`, in code that begins at `start`.
fn il_offset(info: ProfilerInfo, start: usize, address: usize) -> Option<u32> {
    const NONE: usize = usize::MAX;
    let ask = |info: ProfilerInfo, (start, distance): (usize, usize)| {
        info.il_offset(start, distance).flatten().map_or(NONE, |offset| offset as usize)
    };
    let distance = (address - start).checked_sub(1)?;
    match info.il_offset(start, distance) {
        Some(offset) => offset,
        None => elsewhere::ask(info, ask, (start, distance))
            .filter(|&offset| offset != NONE)
            .map(|offset| offset as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clr::fake::{self, OPEN, OPEN_AT, RUN, RUN_AGAIN_AT, RUN_AT, STUB_AT};
    use crate::host;
    use crate::sys::atomic::Ordering;
    use std::string::String;

    fn named(address: u64) -> Option<String> {
        let name = REGISTRY.targets.place(&Here, address)?;
        Some(String::from_utf8(name.bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_place_is_in_the_method_that_called_and_not_in_a_stub_or_in_native_code() {
        let _turn = fake::TURN.lock().unwrap();
        host::runtime::start().unwrap();
        let task = host::threads::current().unwrap();
        let info = fake::info();
        let code = sys::allocate_pages(4096).unwrap() as u64;
        fake::CODE.store(code, Ordering::Relaxed);
        let shown = || fake::FRAMES_SHOWN.swap(0, Ordering::Relaxed);
        let at = |site: u64| call_site(info, site as usize) as u64 - code;

        // Called by a method: the version of it that the address lies in.
        assert_eq!(at(code + RUN_AT + 0x1f), RUN_AT + 0x1f);
        assert_eq!(named(code + RUN_AT + 0x1f).unwrap(), "Space.Outer+Inner.Run()+0x1f");
        assert_eq!(at(code + RUN_AGAIN_AT + 2), RUN_AGAIN_AT + 2);
        assert_eq!(named(code + RUN_AGAIN_AT + 2).unwrap(), "Space.Outer+Inner.Run()+0x2");
        assert_eq!(shown(), 0);
        // By a stub, which was called by a method; and by one whose caller the CLR does not tell.
        *fake::STACK.lock().unwrap() = std::vec![(OPEN, code + OPEN_AT + 7), (RUN, code + RUN_AT + 3)];
        for _ in 0..2 {
            assert_eq!(at(code + STUB_AT), OPEN_AT + 7);
            assert_eq!(shown(), 1);
        }
        assert_eq!(named(code + OPEN_AT + 7).unwrap(), "Space.Outer.Open(…)+0x7");
        assert_eq!(named(code + STUB_AT), None);
        assert_eq!(named(code + RUN_AT + 3), None, "not asked for");
        fake::STACK.lock().unwrap().clear();
        assert_eq!(at(code + STUB_AT), STUB_AT);
        // By native code, whatever the CLR says.
        *fake::STACK.lock().unwrap() = std::vec![(0, 1), (RUN, code + RUN_AT + 3)];
        let native = libc::getpid as *const () as usize;
        assert_eq!((call_site(info, native), of_wait(info, task, native)), (native, native));
        assert_eq!(shown(), 0, "the task is in no call of native code");

        // At a wait all of the stack gets names, but not each time.
        assert_eq!(of_wait(info, task, (code + RUN_AT + 5) as usize) as u64, code + RUN_AT + 5);
        assert_eq!((shown(), named(code + RUN_AT + 3).unwrap()), (2, "Space.Outer+Inner.Run()+0x3".into()));
        assert!(task.stack_rests_until() < sys::now(), "it may owe that pause");
        task.set_stack_rests_until(u64::MAX);
        of_wait(info, task, (code + RUN_AT + 5) as usize);
        assert_eq!(shown(), 0);
        task.set_stack_rests_until(0);
        task.push(LayerKind::Leave, Origin::ClrFunction, OPEN).unwrap();
        assert_eq!(of_wait(info, task, native), native);
        assert_eq!(shown(), 2, "native code that managed code has called");
        task.pop(LayerKind::Leave).unwrap();
        fake::STACK.lock().unwrap().clear();

        // Where in the assembly it is, by the instruction before the one that the call returns to; told here, or elsewhere.
        let il = |address: u64| REGISTRY.targets.il_place(&Here, code + address).map(|il| il.offset);
        assert_eq!((il(OPEN_AT + 7), il(RUN_AT + 3)), (Some(0), None));
        fake::give_metadata_to(fake::MetadataFor::OwnThreads);
        for (address, offset) in
            [(OPEN_AT + 8, Some(0)), (OPEN_AT + 9, Some(9)), (OPEN_AT + 4, None), (RUN_AT + 7, None)]
        {
            assert_eq!((at(code + address), il(address)), (address, offset), "{address:x}");
        }
        let il = IlPlace { assembly: fake::BASE, version: fake::VERSION, method: 0x0600_0003, offset: 9 };
        assert_eq!(REGISTRY.targets.il_place(&Here, code + OPEN_AT + 9), Some(il));
        fake::give_metadata_to(fake::MetadataFor::All);

        // What is unloaded has no names any more; what has some keeps them.
        modules::unloaded(fake::MODULE);
        fake::give_metadata_to(fake::MetadataFor::Nobody);
        assert_eq!(at(code + RUN_AT + 9), RUN_AT + 9);
        assert_eq!((named(code + RUN_AT + 9), named(code + RUN_AT + 3).is_some()), (None, true));
        modules::unloaded(fake::MODULE);
        fake::give_metadata_to(fake::MetadataFor::All);
    }
}
