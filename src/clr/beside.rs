//! Whether the CLR has another profiler as its main one, so that this one is to be one of those that only listen.
//!
//! The CLR takes the main one from CORECLR_PROFILER, and then those of CORECLR_NOTIFICATION_PROFILERS, and asks each for the
//! class that stands there.

use super::com::Guid;
use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// 1 if the class that was last asked for is not that of the main profiler, and there is one.
static HAS_MAIN: AtomicU32 = AtomicU32::new(0);

/// The CLR has asked for this class.
pub(crate) fn asked_for(class: &Guid) {
    let value = |name| sys::environment(name).map_or(&b""[..], |value| value.to_bytes());
    let has_main = is_other(value(c"CORECLR_ENABLE_PROFILING"), value(c"CORECLR_PROFILER"), class);
    HAS_MAIN.store(u32::from(has_main), Ordering::Relaxed);
}

/// Whether there is a main profiler, of another class.
fn is_other(enabled: &[u8], main: &[u8], class: &Guid) -> bool {
    number(enabled) != 0 && guid(main).is_some_and(|main| main != *class)
}

pub(crate) fn has_main_profiler() -> bool {
    HAS_MAIN.load(Ordering::Relaxed) != 0
}

/// As the CLR reads a number: hexadecimal. 0 for what is none.
fn number(text: &[u8]) -> u128 {
    str::from_utf8(text).ok().and_then(|text| u128::from_str_radix(text, 16).ok()).unwrap_or(0)
}

/// The id that is written `{AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE}`.
fn guid(text: &[u8]) -> Option<Guid> {
    let digits = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let mut all = [0; 32];
    let mut places = all.iter_mut();
    for &digit in digits.iter().filter(|&&digit| digit != b'-') {
        *places.next()? = digit;
    }
    let is_whole = places.next().is_none() && all.iter().all(u8::is_ascii_hexdigit);
    is_whole.then(|| Guid::new(number(&all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_as_it_is_written() {
        let own = Guid::new(0x0ddba11c_0de5_4c5a_9d3f_6c7273740001);
        assert!(guid(b"{0ddba11c-0de5-4c5a-9d3f-6c7273740001}") == Some(own));
        assert!(guid(b"{0DDBA11C-0DE5-4C5A-9D3F-6C7273740001}") == Some(own));
        for other in [
            &b""[..],
            b"{}",
            b"0ddba11c-0de5-4c5a-9d3f-6c7273740001",
            b"{0ddba11c-0de5-4c5a-9d3f-6c727374000}",
        ] {
            assert!(guid(other).is_none());
        }
        assert!(guid(b"{0ddba11c-0de5-4c5a-9d3f-6c7273740001f}").is_none());
        assert!(guid(b"{+ddba11c-0de5-4c5a-9d3f-6c7273740001}").is_none());
    }

    #[test]
    fn the_main_profiler_is_another_only_if_there_is_one_of_another_class() {
        let own = Guid::new(0x0ddba11c_0de5_4c5a_9d3f_6c7273740001);
        let (same, other) =
            (b"{0ddba11c-0de5-4c5a-9d3f-6c7273740001}", b"{0ddba11c-0de5-4c5a-9d3f-6c7273740002}");
        assert!(is_other(b"1", other, &own));
        assert!(!is_other(b"1", same, &own) && !is_other(b"1", b"", &own));
        assert!(!is_other(b"0", other, &own) && !is_other(b"", other, &own));
    }

    #[test]
    fn a_number_is_hexadecimal_and_nothing_is_none() {
        assert_eq!(
            [number(b"1"), number(b"10"), number(b"0"), number(b""), number(b"yes")],
            [1, 16, 0, 0, 0]
        );
    }
}
