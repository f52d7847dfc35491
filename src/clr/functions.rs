//! From a FunctionID to a name, without passing the FunctionID to the CLR.
//!
//! A FunctionID is an address inside the CLR, and every method of ICorProfilerInfo that takes one dereferences it
//! unchecked. Transition callbacks have passed numbers that were not FunctionIDs (dotnet/runtime 120151):
//! looking up such a number crashes the process. So the search goes the other way: it asks the CLR for
//! the FunctionID of every method of every loaded module, by module and token, and compares
//! the results with the number. Equality proves that the number is, at this moment, the
//! FunctionID of that method; module and token then give the names. A number that is not a FunctionID
//! is only compared.
//!
//! Not found this way, and therefore shown as numbers, are methods of generic classes (the CLR has no FunctionID for
//! their tokens alone) and dynamic methods (in no metadata). After an assembly is unloaded, the CLR may reuse
//! its FunctionIDs for other methods, which are then shown under the old name.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::info::{Metadata, ProfilerInfo};
use crate::state::layers::Origin;
use crate::state::registry::REGISTRY;
use crate::state::targets::TARGET_NAME_BYTES;
use crate::text::TextBuffer;

/// Classes nested deeper than this are named from the inside out and cut.
const NESTING: usize = 8;

/// A cache of numbers, so that each costs one search; a slot has the last one stored.
pub(crate) struct Recent([AtomicU64; 256]);

impl Recent {
    pub(crate) const fn new() -> Recent {
        Recent([const { AtomicU64::new(0) }; 256])
    }

    fn slot(&self, function: u64) -> &AtomicU64 {
        &self.0[(function >> 3) as u8 as usize]
    }

    pub(crate) fn has(&self, function: u64) -> bool {
        self.slot(function).load(Ordering::Relaxed) == function
    }

    pub(crate) fn remember(&self, function: u64) {
        self.slot(function).store(function, Ordering::Relaxed);
    }
}

/// Numbers that are no method's FunctionID.
static REJECTED: Recent = Recent::new();
/// FunctionIDs of methods for whose names there was no room.
static NAMELESS: Recent = Recent::new();
/// How many searches found nothing. A search takes a quarter of a millisecond, so a process that keeps producing
/// new unknown numbers must not cause one for each.
static FRUITLESS: AtomicU32 = AtomicU32::new(0);
const MAX_FRUITLESS: u32 = 1000;

/// Whether `function` is the FunctionID of a method. When it is first seen, its name is searched for and stored.
#[inline]
pub(crate) fn verify(info: Option<ProfilerInfo>, function: u64) -> bool {
    REGISTRY.targets.is_known(Origin::ClrFunction, function)
        || info.is_some_and(|info| find_and_name(info, function))
}

#[cold]
fn find_and_name(info: ProfilerInfo, function: u64) -> bool {
    if function == 0 || REJECTED.has(function) {
        return false;
    }
    if NAMELESS.has(function) {
        return true;
    }
    if FRUITLESS.load(Ordering::Relaxed) >= MAX_FRUITLESS {
        return false;
    }
    let Some(modules) = info.modules() else { return false };
    match modules.into_iter().find_map(|module| find_in(info, module, function)) {
        Some((metadata, method)) => {
            REGISTRY.targets.intern(Origin::ClrFunction, function, name(&metadata, method).bytes());
            if !REGISTRY.targets.is_known(Origin::ClrFunction, function) {
                NAMELESS.remember(function);
            }
            true
        }
        None => {
            FRUITLESS.fetch_add(1, Ordering::Relaxed);
            REJECTED.remember(function);
            false
        }
    }
}

/// The method of a module whose FunctionID is `function`.
fn find_in(info: ProfilerInfo, module: usize, function: u64) -> Option<(Metadata, u32)> {
    let metadata = info.metadata(module)?;
    let method = metadata.methods().find(|&method| info.function(module, method) == Some(function))?;
    Some((metadata, method))
}

/// `Namespace.Class.Method`, and for a P/Invoke `library!entry (Namespace.Class.Method)`.
fn name(metadata: &Metadata, method: u32) -> TextBuffer<TARGET_NAME_BYTES> {
    let mut text = TextBuffer::new();
    // What does not fit is cut.
    let _ = write_name(&mut text, metadata, method);
    text
}

fn write_name(text: &mut TextBuffer<TARGET_NAME_BYTES>, metadata: &Metadata, method: u32) -> fmt::Result {
    let Some((library, entry)) = metadata.import(method) else {
        return write_managed_name(text, metadata, method);
    };
    text.push_utf16(library.units())?;
    text.push(b"!")?;
    text.push_utf16(entry.units())?;
    text.push(b" (")?;
    write_managed_name(text, metadata, method)?;
    text.push(b")")
}

/// `Namespace.Class.Method`.
pub(crate) fn write_managed_name(
    text: &mut TextBuffer<TARGET_NAME_BYTES>,
    metadata: &Metadata,
    method: u32,
) -> fmt::Result {
    let Some((name, class)) = metadata.method(method) else { return Ok(()) };
    write_class_name(text, metadata, class)?;
    text.push(b".")?;
    text.push_utf16(as_declared(name.units()))
}

/// The name of the method that the program declares: from one with LibraryImport, the compiler makes an import inside of it,
/// `<Method>g____PInvoke|4_0`.
fn as_declared(name: &[u16]) -> &[u16] {
    const OF_IMPORT: &[u8] = b">g____PInvoke|";
    let is_of_import = |part: &[u16]| part.iter().copied().eq(OF_IMPORT.iter().copied().map(u16::from));
    let Some(inside) = name.strip_prefix(&[u16::from(b'<')]) else { return name };
    let end = inside.windows(OF_IMPORT.len()).position(is_of_import);
    end.and_then(|end| inside.get(..end)).unwrap_or(name)
}

/// `Namespace.Outer+Inner`.
pub(crate) fn write_class_name(
    text: &mut TextBuffer<TARGET_NAME_BYTES>,
    metadata: &Metadata,
    class: u32,
) -> fmt::Result {
    write_class(text, metadata, class, NESTING)
}

fn write_class(
    text: &mut TextBuffer<TARGET_NAME_BYTES>,
    metadata: &Metadata,
    class: u32,
    nesting: usize,
) -> fmt::Result {
    if let (Some(outer), Some(left)) = (metadata.enclosing_class(class), nesting.checked_sub(1)) {
        write_class(text, metadata, outer, left)?;
        text.push(b"+")?;
    }
    metadata.class(class).map_or(Ok(()), |name| text.push_utf16(name.units()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clr::fake;

    fn name_of(function: u64) -> std::string::String {
        let found = fake::info()
            .modules()
            .into_iter()
            .flatten()
            .find_map(|module| find_in(fake::info(), module, function));
        let (metadata, method) = found.expect("a method");
        std::string::String::from_utf8(name(&metadata, method).bytes().to_vec()).unwrap()
    }

    #[test]
    fn an_import_that_the_compiler_made_has_the_name_that_the_program_gave() {
        let declared = |name: &str| {
            let units: std::vec::Vec<u16> = name.encode_utf16().collect();
            std::string::String::from_utf16(as_declared(&units)).unwrap()
        };
        assert_eq!(declared("<Öffne>g____PInvoke|4_0"), "Öffne");
        for other in ["Open", "", "<Open>g__Local|4_0", "Open>g____PInvoke|4_0", "<Open>g____PInvoke"] {
            assert_eq!(declared(other), other);
        }
    }

    #[test]
    fn a_recent_function_is_remembered_until_another_takes_its_slot() {
        let recent = Recent::new();
        assert!(!recent.has(0x1000));
        recent.remember(0x1000);
        assert!(recent.has(0x1000) && !recent.has(0x1008) && !recent.has(0x1800));
        recent.remember(0x1800);
        assert!(recent.has(0x1800) && !recent.has(0x1000));
    }

    #[test]
    fn a_function_is_found_by_comparison_alone_and_named_and_a_wrong_number_is_searched_for_once() {
        let _turn = fake::TURN.lock().unwrap();
        crate::host::prepare::prepare().unwrap();
        assert_eq!(name_of(fake::RUN), "Space.Outer+Inner.Run");
        assert_eq!(name_of(fake::OPEN), "files!files_open (Space.Outer.Open)");

        let searches = || fake::SEARCHES.load(Ordering::Relaxed);
        // Unaligned, in the first page, non-canonical, next to a real one: whatever follows one of them is
        // lost.
        for wrong in [1, 8, fake::RUN + 1, fake::OPEN - 8, 0xDEAD_0000_0000_0000, u64::MAX] {
            let before = searches();
            assert!(!verify(Some(fake::info()), wrong), "{wrong:#x}");
            assert_eq!(searches(), before + 1, "{wrong:#x}");
            assert!(!verify(Some(fake::info()), wrong), "{wrong:#x} again");
            assert_eq!(searches(), before + 1, "{wrong:#x} again");
        }
        let before = searches();
        assert!(!verify(Some(fake::info()), 0));
        assert_eq!(searches(), before, "0 names no function: nothing to search for");

        assert!(!verify(None, fake::CLOSE), "nothing can be verified without a CLR");
        assert!(verify(Some(fake::info()), fake::CLOSE));
        let before = searches();
        assert!(verify(Some(fake::info()), fake::CLOSE));
        assert!(verify(None, fake::CLOSE), "known from the first time");
        assert_eq!(searches(), before);
    }
}
