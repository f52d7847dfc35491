//! The threads of a core, from its notes: which registers each had when it was stopped, and which system call it was in.

use foreign_locks::SystemCall;
use gimli::X86_64;
use object::elf;

use crate::registers::Registers;

/// A thread of a core.
#[derive(Clone, Debug)]
pub struct CoreThread {
    pub id: u32,
    pub registers: Registers,
    /// The system call that it was blocked in.
    pub call: Option<SystemCall>,
}

/// Where a note of the kind NT_PRSTATUS has the thread's id, and its registers.
const ID: usize = 32;
const REGISTERS: usize = 112;

/// The order of the registers: those that DWARF has numbers for, and what else is needed of them.
const ORDER: [gimli::Register; 15] = [
    X86_64::R15,
    X86_64::R14,
    X86_64::R13,
    X86_64::R12,
    X86_64::RBP,
    X86_64::RBX,
    X86_64::R11,
    X86_64::R10,
    X86_64::R9,
    X86_64::R8,
    X86_64::RAX,
    X86_64::RCX,
    X86_64::RDX,
    X86_64::RSI,
    X86_64::RDI,
];
const CALL: usize = 15;
const CODE: usize = 16;
const STACK: usize = 19;

const ARGUMENTS: [gimli::Register; 6] =
    [X86_64::RDI, X86_64::RSI, X86_64::RDX, X86_64::R10, X86_64::R8, X86_64::R9];

/// What stands in the register of results while a call is interrupted: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND,
/// ERESTART_RESTARTBLOCK, and EINTR of calls that do not go on by themselves. Anything else is the result of one that has
/// ended.
const INTERRUPTED: [i64; 5] = [-512, -513, -514, -516, -4];

/// Whether threads of this kind of processor are known here, and are those of this machine: the numbers of system calls are.
pub fn are_known(machine: u16) -> bool {
    machine == elf::EM_X86_64.0 && cfg!(target_arch = "x86_64")
}

impl CoreThread {
    /// By the content of a note of the kind NT_PRSTATUS.
    pub fn parse(note: &[u8]) -> Option<CoreThread> {
        let id = u32::from_le_bytes(*note.get(ID..)?.first_chunk()?);
        let word =
            |index: usize| Some(u64::from_le_bytes(*note.get(REGISTERS + index * 8..)?.first_chunk()?));
        let (stack_pointer, code_address) = (word(STACK)?, word(CODE)?);
        let mut registers = Registers::of(stack_pointer, code_address);
        for (index, register) in ORDER.into_iter().enumerate() {
            registers.set(register, Some(word(index)?));
        }
        let result = registers.get(X86_64::RAX).map(u64::cast_signed);
        let number = usize::try_from(word(CALL)?.cast_signed()).ok();
        let number = number.filter(|_| result.is_some_and(|result| INTERRUPTED.contains(&result)));
        let arguments = ARGUMENTS.map(|register| registers.get(register).unwrap_or(0));
        let call = number.map(|number| SystemCall { number, arguments, stack_pointer, code_address });
        Some(CoreThread { id, registers, call })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(call: i64, result: i64) -> Vec<u8> {
        let mut note = vec![0; REGISTERS];
        note[ID..ID + 4].copy_from_slice(&4711_u32.to_le_bytes());
        let mut words: Vec<i64> = (100..127).collect();
        (words[CALL], words[10]) = (call, result);
        note.extend(words.into_iter().flat_map(i64::to_le_bytes));
        note
    }

    #[test]
    fn a_call_that_was_interrupted_is_told_from_one_that_has_ended() {
        let thread = CoreThread::parse(&note(202, -512)).unwrap();
        let call = thread.call.unwrap();
        assert_eq!((thread.id, call.number, call.stack_pointer, call.code_address), (4711, 202, 119, 116));
        assert_eq!(call.arguments, [114, 113, 112, 107, 109, 108]);
        assert_eq!(thread.registers.get(X86_64::RBP), Some(104));
        for (call, result) in [(202, 0), (202, -11), (-1, -512), (i64::MIN, -4)] {
            assert!(CoreThread::parse(&note(call, result)).unwrap().call.is_none(), "{call} {result}");
        }
        assert!(CoreThread::parse(&note(202, -512)[..REGISTERS + 8 * STACK]).is_none());
    }
}
