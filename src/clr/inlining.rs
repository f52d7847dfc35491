//! Which methods the JIT must not inline, so that no call of native code goes unreported.
//!
//! A call of native code is reported only if it is in a method of its own: where the JIT inlines that method (CoreCLR
//! 3.1, 8.0.4, 10.0.13), the inlined call has no transition callbacks, its thread seems to be in managed code, and a
//! callback from native code has no call around it. So it is with a call through an unmanaged function pointer, and with one
//! of a P/Invoke method, which is where code that LibraryImport has generated ends, and which may be another assembly's.

use core::cell::OnceCell;

use super::info::{Metadata, ProfilerInfo};
use super::modules;

/// The opcodes, and the last byte of their operand: the table that a token is of.
const CALL: u8 = 0x28;
const CALLI: u8 = 0x29;
const SIGNATURE_TABLE: u8 = 0x11;
const METHOD_TABLE: u8 = 0x06;
const REFERENCE_TABLE: u8 = 0x0A;
/// That of references to classes.
const CLASS_REFERENCE_TABLE: u32 = 0x01;

/// What the names of the CLR's own classes begin with.
const SYSTEM: &[u8] = b"System.";
/// Classes nested deeper than this are taken for the CLR's.
const NESTING: usize = 8;

/// Whether calls of native code would go unreported if the JIT inlined this method. `function` is what it asks about.
pub(crate) fn hides_calls(info: ProfilerInfo, function: usize) -> bool {
    info.with_body(function, |module, body| {
        let metadata = OnceCell::new();
        calls(body, |method| {
            let metadata = metadata.get_or_init(|| modules::metadata(info, module));
            metadata.as_ref().is_some_and(|metadata| is_import(info, module, metadata, method))
        })
    })
    .unwrap_or(false)
}

/// Whether a method's body may contain a calli, or a call of a method that is an import. Not decoded, so an
/// operand or a header can look like one; the method is then called where it might have been inlined.
fn calls(body: &[u8], is_import: impl Fn(u32) -> bool) -> bool {
    body.windows(5).any(|bytes| match *bytes {
        [CALLI, .., SIGNATURE_TABLE] => true,
        [CALL, low, middle, high, table @ (METHOD_TABLE | REFERENCE_TABLE)] => {
            is_import(u32::from_le_bytes([low, middle, high, table]))
        }
        _ => false,
    })
}

/// Whether a method, or what a method reference stands for, is an import. What that is, the CLR knows once code with the
/// reference was compiled; before, it may be one, unless it is the CLR's own: that offers no imports to others.
fn is_import(info: ProfilerInfo, module: usize, metadata: &Metadata, method: u32) -> bool {
    if method >> 24 == u32::from(METHOD_TABLE) {
        return metadata.import(method).is_some();
    }
    if is_of_the_clr(metadata, method) {
        return false;
    }
    let Some(function) = info.function(module, method) else { return true };
    let definition = info.definition(function as usize);
    definition.is_none_or(|(module, method)| {
        modules::metadata(info, module).is_some_and(|metadata| metadata.import(method).is_some())
    })
}

/// Whether the class of a method reference is in the namespace System or in one of its parts; or of no name, as those are that have
/// type parameters, where imports cannot be.
fn is_of_the_clr(metadata: &Metadata, method: u32) -> bool {
    let Some(mut class) = metadata.class_of_reference(method) else { return true };
    for _ in 0..NESTING {
        let Some((name, scope)) = metadata.class_reference(class) else { return true };
        if scope >> 24 != CLASS_REFERENCE_TABLE {
            let first = name.units().get(..SYSTEM.len());
            return first
                .is_some_and(|first| first.iter().zip(SYSTEM).all(|(&unit, &byte)| unit == byte.into()));
        }
        class = scope;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clr::fake;

    fn calls_native(body: &[u8]) -> bool {
        calls(body, |method| method == 0x0600_0102)
    }

    #[test]
    fn a_body_with_a_call_of_native_code_is_recognised_wherever_the_call_stands() {
        assert!(calls_native(&[CALLI, 1, 0, 0, SIGNATURE_TABLE]));
        assert!(calls_native(&[0x2A, 0x02, CALLI, 0xFF, 0xFF, 0, SIGNATURE_TABLE, 0x2A]));
        assert!(calls_native(&[CALL, 1, 1, 0, METHOD_TABLE, CALL, 2, 1, 0, METHOD_TABLE]));
        assert!(calls(&[0, CALL, 1, 0, 0, REFERENCE_TABLE], |method| method == 0x0A00_0001));
        for other in [
            &[][..],
            &[CALL, 1, 1, 0, METHOD_TABLE],
            &[CALL, 2, 1, 0, REFERENCE_TABLE],
            &[CALLI, 1, 0, 0],
            &[CALLI, 1, 0, 0, 0x0A],
            &[0x28, 1, 0, 0, SIGNATURE_TABLE],
        ] {
            assert!(!calls_native(other), "{other:x?}");
        }
    }

    #[test]
    fn only_what_calls_native_code_is_refused_and_what_has_no_body_is_not() {
        let _turn = fake::TURN.lock().unwrap();
        assert!(hides_calls(fake::info(), fake::POINTER_CALLER as usize));
        assert!(hides_calls(fake::info(), fake::IMPORT_CALLER as usize));
        assert!(!hides_calls(fake::info(), fake::CALLER as usize));
        assert!(!hides_calls(fake::info(), fake::RUN as usize));
        assert!(!hides_calls(fake::info(), fake::OPEN as usize));
    }

    #[test]
    fn what_a_reference_stands_for_is_an_import_or_may_be_one_if_it_is_not_known_yet_and_not_of_the_clr() {
        let _turn = fake::TURN.lock().unwrap();
        let metadata = modules::metadata(fake::info(), fake::MODULE).unwrap();
        let is_import = |row| is_import(fake::info(), fake::MODULE, &metadata, 0x0A00_0000 | row);
        assert_eq!([fake::TO_OPEN, fake::TO_RUN].map(is_import), [true, false]);
        assert_eq!([fake::TO_UNKNOWN, fake::TO_NESTED].map(is_import), [true, true]);
        assert_eq!([fake::TO_SYSTEM, fake::TO_SHORT, fake::TO_GENERIC].map(is_import), [false, true, false]);
        assert!(!is_import(99), "an operand that is no token");
    }
}
