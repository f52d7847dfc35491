//! Which methods the JIT must not inline, so that no call of native code goes unreported.
//!
//! A call of native code is reported only if it is in a method of its own: where the JIT inlines that method (CoreCLR
//! 3.1, 8.0.4, 10.0.13), the inlined call has no transition callbacks, its thread seems to be in managed code, and a
//! callback from native code has no call around it. So it is with a call through an unmanaged function pointer, and with one
//! of a P/Invoke method, which is where code that LibraryImport has generated ends.

use super::info::ProfilerInfo;
use super::modules;

/// The opcodes, and the last byte of their operand: the table that a token is of.
const CALL: u8 = 0x28;
const CALLI: u8 = 0x29;
const SIGNATURE_TABLE: u8 = 0x11;
const METHOD_TABLE: u8 = 0x06;

/// Whether calls of native code would go unreported if the JIT inlined this method. `function` is what it asks about.
pub(crate) fn hides_calls(info: ProfilerInfo, function: usize) -> bool {
    let is_import = |module, method| modules::metadata(info, module)?.import(method);
    info.with_body(function, |module, body| calls(body, |method| is_import(module, method).is_some()))
        .unwrap_or(false)
}

/// Whether a method's body may contain a calli, or a call of a method of its own module that is an import. Not decoded, so an
/// operand or a header can look like one; the method is then called where it might have been inlined.
fn calls(body: &[u8], is_import: impl Fn(u32) -> bool) -> bool {
    body.windows(5).any(|bytes| match *bytes {
        [CALLI, .., SIGNATURE_TABLE] => true,
        [CALL, low, middle, high, METHOD_TABLE] => {
            is_import(u32::from_le_bytes([low, middle, high, METHOD_TABLE]))
        }
        _ => false,
    })
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
        for other in [
            &[][..],
            &[CALL, 1, 1, 0, METHOD_TABLE],
            &[CALL, 2, 1, 0, 0x0A],
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
}
