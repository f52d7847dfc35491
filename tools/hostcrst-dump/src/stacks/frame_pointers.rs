//! Frame pointers: followed where there are no rules; looked for where a rule needs one that is not known from outside.

use super::memory::Memory;
use crate::registers::{MACHINE, Registers};
use crate::symbols::Symbols;

/// The caller of a function that keeps a frame pointer, if that is known.
pub fn follow(registers: &Registers, memory: &mut Memory<'_>) -> Option<Registers> {
    let frame = registers.get(MACHINE.frame).filter(|&frame| frame >= registers.stack_pointer())?;
    let outer = memory.word(frame)?;
    let return_address = memory.word(frame.checked_add(8)?)?;
    let mut caller = registers.clone();
    caller.set(MACHINE.stack, Some(frame.checked_add(16)?));
    caller.set(MACHINE.frame, Some(outer));
    caller.return_to(Some(return_address));
    Some(caller)
}

/// How far above the stack pointer a frame pointer is looked for.
const FARTHEST: u64 = 64 << 10;

/// The same registers with the frame pointer of a function that begins at `function`: the lowest place on the stack above which
/// stands a return address behind a call of that very function, and at which stands a frame pointer further up. Something
/// that an earlier call has left there would look the same.
pub fn find(
    registers: &Registers,
    function: u64,
    memory: &mut Memory<'_>,
    symbols: &mut Symbols<'_>,
) -> Option<Registers> {
    // Only x86-64 has its return addresses behind instructions of these forms.
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let lowest = registers.stack_pointer().checked_next_multiple_of(8)?;
    let highest = lowest.checked_add(FARTHEST)?;
    let is_frame = |frame: u64, memory: &mut Memory<'_>, symbols: &mut Symbols<'_>| {
        let outer = memory.word(frame)?;
        let return_address = memory.word(frame + 8)?;
        // In the outermost function there may be anything.
        let is_above = outer == 0 || outer > frame;
        (is_above && calls(return_address, function, symbols)).then_some(frame)
    };
    let mut places = (lowest..highest).step_by(8);
    let frame = places.find_map(|place| is_frame(place, memory, symbols))?;
    let mut found = registers.clone();
    found.set(MACHINE.frame, Some(frame));
    Some(found)
}

/// Whether the instruction before this address calls the function: directly, through the procedure linkage table, or by an
/// address that cannot be told.
fn calls(return_address: u64, function: u64, symbols: &mut Symbols<'_>) -> bool {
    const LONGEST: usize = 7;
    let Some(start) = return_address.checked_sub(LONGEST as u64) else { return false };
    let Some(before) = symbols.code_at(start, LONGEST) else { return false };
    if before[2] == 0xe8 {
        let target = relative(return_address, &before[3..]);
        return target == function || jumps_to(target, symbols) == Some(function);
    }
    if before[1..3] == [0xff, 0x15] {
        return symbols.pointer_at(relative(return_address, &before[3..])) == Some(function);
    }
    // `call *register`, and through memory at a register.
    let is_indirect = |at: usize| before[at] == 0xff && before[at + 1] >> 3 & 7 == 2;
    [5, 4, 1, 0].into_iter().any(is_indirect)
}

/// Where an entry of the procedure linkage table leads: `jmp *distance(%rip)`, after a marker and a prefix perhaps.
fn jumps_to(entry: u64, symbols: &mut Symbols<'_>) -> Option<u64> {
    let code = symbols.code_at(entry, 16)?;
    let at = code.windows(2).take(6).position(|bytes| bytes == [0xff, 0x25])?;
    let next = entry.wrapping_add(at as u64 + 6);
    symbols.pointer_at(relative(next, &code[at + 2..]))
}

/// An address by its distance of four bytes from another.
fn relative(from: u64, distance: &[u8]) -> u64 {
    let distance = distance.first_chunk().copied().map_or(0, i32::from_le_bytes);
    from.wrapping_add_signed(i64::from(distance))
}
