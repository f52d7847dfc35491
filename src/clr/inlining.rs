//! Which methods the JIT must not inline, so that no call of native code goes unreported.
//!
//! A call through an unmanaged function pointer is reported only if it is in a method of its own: where the JIT inlines
//! that method (CoreCLR 8.0.4, 10.0.13), the inlined call has no transition callbacks, its thread seems to be in managed
//! code, and a callback from native code has no call around it.

use super::info::ProfilerInfo;

/// The opcode calli, and the last byte of its operand: a token of the table of stand-alone signatures.
const CALLI: u8 = 0x29;
const SIGNATURE_TABLE: u8 = 0x11;

/// Whether calls of native code would go unreported if the JIT inlined this method. `function` is what it asks about.
pub(crate) fn hides_calls(info: ProfilerInfo, function: usize) -> bool {
    info.with_body(function, calls_through_pointer).unwrap_or(false)
}

/// Whether a method's body may contain a calli. Not decoded, so an operand or a header can look like one; the method is
/// then called where it might have been inlined.
fn calls_through_pointer(body: &[u8]) -> bool {
    body.windows(5).any(|bytes| matches!(bytes, [CALLI, .., SIGNATURE_TABLE]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clr::fake;

    #[test]
    fn a_body_with_a_call_through_a_pointer_is_recognised_wherever_the_call_stands() {
        assert!(calls_through_pointer(&[CALLI, 1, 0, 0, SIGNATURE_TABLE]));
        assert!(calls_through_pointer(&[0x2A, 0x02, CALLI, 0xFF, 0xFF, 0, SIGNATURE_TABLE, 0x2A]));
        for other in [&[][..], &[CALLI, 1, 0, 0], &[CALLI, 1, 0, 0, 0x0A], &[0x28, 1, 0, 0, SIGNATURE_TABLE]]
        {
            assert!(!calls_through_pointer(other), "{other:x?}");
        }
    }

    #[test]
    fn only_what_calls_through_a_pointer_is_refused_and_what_has_no_body_is_not() {
        assert!(hides_calls(fake::info(), fake::POINTER_CALLER as usize));
        assert!(!hides_calls(fake::info(), fake::RUN as usize));
        assert!(!hides_calls(fake::info(), fake::OPEN as usize));
    }
}
