//! The registers of a frame, as far as they are known, by the numbers that DWARF gives them.

use gimli::{AArch64, Register, X86_64};

/// What matters of a kind of processor: this machine's own.
pub struct Machine {
    pub stack: Register,
    pub frame: Register,
    /// Where a frame returns to: a number of its own, or a register that a call sets.
    pub link: Register,
    pub name: fn(Register) -> Option<&'static str>,
    /// The bits of a code address; others may sign it.
    pub code_bits: u64,
}

pub const MACHINE: Machine = if cfg!(target_arch = "aarch64") {
    Machine {
        stack: AArch64::SP,
        frame: AArch64::X29,
        link: AArch64::X30,
        name: AArch64::register_name,
        code_bits: (1 << 48) - 1,
    }
} else {
    Machine {
        stack: X86_64::RSP,
        frame: X86_64::RBP,
        link: X86_64::RA,
        name: X86_64::register_name,
        code_bits: u64::MAX,
    }
};

/// More than either machine has that a rule could save.
const COUNT: usize = 33;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registers {
    values: [Option<u64>; COUNT],
    code_address: Option<u64>,
}

impl Registers {
    /// Of a thread of which no more is known.
    pub fn of(stack_pointer: u64, code_address: u64) -> Self {
        let mut registers = Registers { values: [None; COUNT], code_address: Some(code_address) };
        registers.set(MACHINE.stack, Some(stack_pointer));
        registers
    }

    pub fn get(&self, register: Register) -> Option<u64> {
        self.values.get(usize::from(register.0)).copied().flatten()
    }

    pub fn set(&mut self, register: Register, value: Option<u64>) {
        if let Some(place) = self.values.get_mut(usize::from(register.0)) {
            *place = value;
        }
    }

    pub fn stack_pointer(&self) -> u64 {
        self.get(MACHINE.stack).unwrap_or(0)
    }

    pub fn code_address(&self) -> Option<u64> {
        self.code_address
    }

    /// Goes on at this address, as a call's return does.
    pub fn return_to(&mut self, address: Option<u64>) {
        self.code_address = address.map(|address| address & MACHINE.code_bits);
    }

    /// Those that there are.
    pub fn all() -> impl Iterator<Item = Register> {
        (0..COUNT as u16).map(Register)
    }
}
