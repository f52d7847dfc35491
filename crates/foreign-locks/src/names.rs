//! The names of the system calls of this machine's own kind of processor. It knows nothing of what they do.
//!
//! They stand in one text. A table of texts has an address for each, which a shared library that may be loaded anywhere
//! would have to say in 40 bytes.

use core::str;

use syscalls::Sysno;

/// One more than the highest number.
const CALLS: usize = Sysno::last().id() as usize + 1;

/// All names, without anything between them.
static NAMES: [u8; ends()[CALLS] as usize] = names();
/// Where in NAMES the name of a number ends, behind the number's place: it begins where that of the number before ends, and is
/// empty for a number that is none.
static ENDS: [u16; CALLS + 1] = ends();

/// The name of this system call, if it is one.
pub fn name(number: usize) -> Option<&'static str> {
    let end = *ENDS.get(number.checked_add(1)?)?;
    let name = str::from_utf8(&NAMES[usize::from(ENDS[number])..usize::from(end)]).ok()?;
    (!name.is_empty()).then_some(name)
}

const fn ends() -> [u16; CALLS + 1] {
    let mut ends = [0; CALLS + 1];
    let mut number = 0;
    while number < CALLS {
        ends[number + 1] = ends[number] + name_of(number).len() as u16;
        number += 1;
    }
    ends
}

const fn names<const BYTES: usize>() -> [u8; BYTES] {
    let mut names = [0; BYTES];
    let (mut number, mut end) = (0, 0);
    while number < CALLS {
        let name = name_of(number).as_bytes();
        names.split_at_mut(end).1.split_at_mut(name.len()).0.copy_from_slice(name);
        end += name.len();
        number += 1;
    }
    names
}

const fn name_of(number: usize) -> &'static str {
    match Sysno::new(number) {
        Some(call) => call.name(),
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_name_and_nothing_else_has_one() {
        for number in 0..2 * CALLS {
            assert_eq!(name(number), Sysno::new(number).map(|call| call.name()), "{number}");
        }
        assert_eq!(name(usize::MAX), None);
        assert_eq!(name(libc::SYS_futex as usize), Some("futex"));
    }
}
