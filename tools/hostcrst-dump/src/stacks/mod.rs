//! Native stacks, unwound from outside: of a thread that is blocked in a running process, or of one in a core.
//!
//! ```text
//!   mod            the walk from frame to frame, and where it ends
//!    │
//!   rules  frame_pointers     a frame's caller: by `.eh_frame`; by frame pointers where there is none
//!    │      │
//!   memory                    what stands on the stack, each page read once
//! ```
//!
//! Of a running process only the code address and the stack pointer are known, so a register that functions keep for their
//! callers is not, until a frame is reached that has saved it. Where a rule asks for one that is not known, the stack ends, and
//! that is said. Nothing here is certain of a stack that changes meanwhile: who walks one has to see that its thread did not
//! run.

mod frame_pointers;
mod memory;
mod rules;

use std::fmt;

use crate::registers::Registers;
use crate::symbols::Symbols;
use crate::target::Target;
use memory::Memory;
use rules::Rules;

/// The stack of a thread, from the innermost frame on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    pub frames: Vec<Frame>,
    /// Why it is not shown any further; None at its outermost frame.
    pub end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Where it goes on.
    pub code_address: u64,
    /// Whether that is the address behind a call.
    pub is_return: bool,
    /// It was found by looking for a frame pointer, and may not be the caller.
    pub is_guess: bool,
}

/// Why a stack is not known any further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// There are more frames than are shown.
    More,
    /// The rule for this frame needs a register that is not known from outside.
    Unknown(&'static str),
    /// There are no rules for the code at this address, and no frame pointer.
    NoRules(u64),
    /// The stack cannot be read here.
    Unreadable(u64),
    /// The rules lead nowhere.
    Damaged,
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::More => write!(out, "more than {MOST_FRAMES} frames"),
            End::Unknown(register) => write!(out, "{register} of this frame is not known from outside"),
            End::NoRules(address) => {
                write!(
                    out,
                    "there is no unwind information for 0x{address:x}, or its file is not there any more"
                )
            }
            End::Unreadable(address) => write!(out, "the stack cannot be read at 0x{address:x}"),
            End::Damaged => out.write_str("the unwind information or the stack is damaged"),
        }
    }
}

/// Frames shown of one stack.
const MOST_FRAMES: usize = 64;

/// Walks stacks, and keeps the rules that it has read.
pub struct Walker<'a> {
    target: &'a dyn Target,
    rules: Rules,
}

/// What is known of a frame's caller.
struct Caller {
    registers: Registers,
    is_return: bool,
    is_guess: bool,
}

impl<'a> Walker<'a> {
    pub fn new(target: &'a dyn Target) -> Self {
        Walker { target, rules: Rules::default() }
    }

    /// The stack of a thread with these registers.
    pub fn walk(&mut self, registers: &Registers, symbols: &mut Symbols<'_>) -> Stack {
        let mut memory = Memory::of(self.target);
        let mut frames = Vec::new();
        let mut here = Caller { registers: registers.clone(), is_return: false, is_guess: false };
        loop {
            // Zero is what the outermost function of a thread returns to.
            let Some(code_address) = here.registers.code_address().filter(|&address| address != 0) else {
                return Stack { frames, end: None };
            };
            if frames.len() == MOST_FRAMES {
                return Stack { frames, end: Some(End::More) };
            }
            frames.push(Frame { code_address, is_return: here.is_return, is_guess: here.is_guess });
            match self.caller(&here, &mut memory, symbols) {
                Ok(Some(caller)) => here = Caller { is_guess: here.is_guess || caller.is_guess, ..caller },
                Ok(None) => return Stack { frames, end: None },
                Err(end) => return Stack { frames, end: Some(end) },
            }
        }
    }

    /// The frame's caller; None if it is the outermost one.
    fn caller(
        &mut self,
        frame: &Caller,
        memory: &mut Memory<'_>,
        symbols: &mut Symbols<'_>,
    ) -> Result<Option<Caller>, End> {
        let address = frame.registers.code_address().unwrap_or(0);
        // A call may be a function's last instruction: then it returns to behind the function.
        let probe = if frame.is_return { address.wrapping_sub(1) } else { address };
        match self.rules.caller(probe, &frame.registers, memory, symbols) {
            Some(Err(End::Unknown(name))) => {
                let function = self.rules.start_of(probe, symbols);
                let found = function
                    .and_then(|function| frame_pointers::find(&frame.registers, function, memory, symbols));
                let registers = found.ok_or(End::Unknown(name))?;
                match self.rules.caller(probe, &registers, memory, symbols) {
                    Some(Ok(Some(caller))) => Ok(Some(Caller { is_guess: true, ..caller })),
                    _ => Err(End::Unknown(name)),
                }
            }
            Some(caller) => caller,
            None => frame_pointers::follow(&frame.registers, memory)
                .map(|registers| Some(Caller { registers, is_return: true, is_guess: false }))
                .ok_or(End::NoRules(address)),
        }
    }
}
