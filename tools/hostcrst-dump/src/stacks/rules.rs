//! What `.eh_frame` says of a frame: where its caller's registers are.
//!
//! The tables are taken from memory, where the system has mapped them, so they are those of the code that runs even if its
//! file was deleted or replaced since; of a core, which does not have them, from the file that has the same build id.

use std::collections::HashMap;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, EhFrameHdr, EhFrameOffset, EndianSlice, EvaluationResult,
    FrameDescriptionEntry, LittleEndian, Pointer, RegisterRule, UnwindContext, UnwindExpression,
    UnwindSection, UnwindTableRow, Value,
};
use object::elf;

use super::memory::Memory;
use super::{Caller, End};
use crate::elf_file::{Budget, ElfFile};
use crate::registers::{MACHINE, Registers};
use crate::symbols::Symbols;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The tables of the programs and libraries that were asked for, by where those begin in memory.
#[derive(Default)]
pub struct Rules {
    modules: HashMap<u64, Option<Module>>,
    context: UnwindContext<usize>,
}

/// The tables of one program or library.
struct Module {
    bases: BaseAddresses,
    /// Where the entries stand in memory.
    start: u64,
    index: Index,
    /// `.eh_frame`, and what lies behind it.
    entries: Vec<u8>,
}

/// How an entry is found.
enum Index {
    /// By `.eh_frame_hdr`.
    OfFile(Vec<u8>),
    /// By where functions begin, and where their entries do: a static program may have no `.eh_frame_hdr`.
    Own(Vec<(u64, usize)>),
}

/// Larger tables, and longer entries, are not read.
const LARGEST_INDEX: u64 = 16 << 20;
const LARGEST_ENTRIES: u64 = 64 << 20;
const LONGEST_ENTRY: usize = 64 << 10;
const MOST_STEPS: u32 = 1000;
const HEAD: u64 = 4096;
const ADDRESS_SIZE: u8 = 8;

impl Rules {
    /// The caller of a frame that is at this code address, None in it at the outermost; None if there are no rules for it.
    pub fn caller(
        &mut self,
        code_address: u64,
        registers: &Registers,
        memory: &mut Memory<'_>,
        symbols: &mut Symbols<'_>,
    ) -> Option<Result<Option<Caller>, End>> {
        let Rules { modules, context } = self;
        let module = module_at(modules, code_address, symbols)?;
        let (entries, entry) = module.entry(code_address)?;
        let row = entry.unwind_info_for_address(&entries, &module.bases, context, code_address).ok()?;
        Some(Frame { entries: &entries, entry: &entry, row, registers, memory }.caller())
    }

    /// Where the function begins that the code address lies in.
    pub fn start_of(&mut self, code_address: u64, symbols: &mut Symbols<'_>) -> Option<u64> {
        let module = module_at(&mut self.modules, code_address, symbols)?;
        module.entry(code_address).map(|(_, entry)| entry.initial_address())
    }
}

fn module_at<'m>(
    modules: &'m mut HashMap<u64, Option<Module>>,
    code_address: u64,
    symbols: &mut Symbols<'_>,
) -> Option<&'m Module> {
    let start = symbols.library_at(code_address)?;
    modules.entry(start).or_insert_with(|| Module::read(start, symbols)).as_ref()
}

impl Module {
    /// Of the program or library that begins there in memory.
    fn read(start: u64, symbols: &mut Symbols<'_>) -> Option<Module> {
        let head = symbols.image_bytes(start, HEAD)?;
        let file = ElfFile::parse(&*head, &Budget::of(HEAD * 2))?;
        let distance = start.wrapping_sub(file.load_address()?);
        match file.segment_of(elf::PT_GNU_EH_FRAME) {
            Some(index) => Self::with_index(&file, index, distance, symbols),
            None => Self::without_index(start, distance, symbols),
        }
    }

    /// `index` is where that is in the file's addresses, and how large; `distance` how far from those it is in memory.
    fn with_index(
        file: &ElfFile<&[u8]>,
        (start, size): (u64, u64),
        distance: u64,
        symbols: &mut Symbols<'_>,
    ) -> Option<Module> {
        let start = start.wrapping_add(distance);
        let index = symbols.image_bytes(start, size.min(LARGEST_INDEX))?;
        // All linkers write this; gimli's arithmetic may overflow with a larger number.
        let has_small_count = index.get(2) == Some(&gimli::DW_EH_PE_udata4.0);
        if !has_small_count {
            return None;
        }
        let bases = BaseAddresses::default().set_eh_frame_hdr(start);
        let header = EhFrameHdr::new(&index, LittleEndian).parse(&bases, ADDRESS_SIZE).ok()?;
        let Pointer::Direct(entries_start) = header.eh_frame_ptr() else { return None };
        let (part, part_size) = file.loaded_part_with(entries_start.wrapping_sub(distance))?;
        let end = part.wrapping_add(distance).wrapping_add(part_size);
        let size = end.checked_sub(entries_start)?.min(LARGEST_ENTRIES);
        let entries = symbols.image_bytes(entries_start, size)?;
        let bases = bases.set_eh_frame(entries_start);
        Some(Module { bases, start: entries_start, index: Index::OfFile(index), entries })
    }

    fn without_index(start: u64, distance: u64, symbols: &mut Symbols<'_>) -> Option<Module> {
        let (entries_start, size) = symbols.section_of(start, b".eh_frame")?;
        let entries_start = entries_start.wrapping_add(distance);
        let entries = symbols.image_bytes(entries_start, size.min(LARGEST_ENTRIES))?;
        let bases = BaseAddresses::default().set_eh_frame(entries_start);
        let mut index = Vec::new();
        let section = EhFrame::new(&entries, LittleEndian);
        let mut all = section.entries(&bases);
        while let Ok(Some(entry)) = all.next() {
            if let CieOrFde::Fde(partial) = entry
                && let Ok(entry) = partial.parse(EhFrame::cie_from_offset)
            {
                index.push((entry.initial_address(), entry.offset()));
            }
        }
        index.sort_unstable();
        Some(Module { bases, start: entries_start, index: Index::Own(index), entries })
    }

    /// The entry of the function that the code address lies in.
    fn entry(&self, code_address: u64) -> Option<(EhFrame<Slice<'_>>, FrameDescriptionEntry<Slice<'_>>)> {
        let entries = EhFrame::new(&self.entries, LittleEndian);
        let offset = match &self.index {
            Index::OfFile(index) => {
                let header = EhFrameHdr::new(index, LittleEndian).parse(&self.bases, ADDRESS_SIZE).ok()?;
                let found = header.table()?.lookup(code_address, &self.bases).ok()?.direct().ok()?;
                usize::try_from(found.checked_sub(self.start)?).ok()?
            }
            Index::Own(index) => {
                let after = index.partition_point(|&(start, _)| start <= code_address);
                index.get(after.checked_sub(1)?)?.1
            }
        };
        if offset >= self.entries.len() {
            return None;
        }
        let entry =
            entries.fde_from_offset(&self.bases, EhFrameOffset(offset), EhFrame::cie_from_offset).ok()?;
        let entry = entry.contains(code_address).then_some(entry)?;
        let is_short = entry.entry_len() <= LONGEST_ENTRY && entry.cie().entry_len() <= LONGEST_ENTRY;
        is_short.then_some((entries, entry))
    }
}

/// A frame, and what is said of it.
struct Frame<'f, 'm> {
    entries: &'f EhFrame<Slice<'f>>,
    entry: &'f FrameDescriptionEntry<Slice<'f>>,
    row: &'f UnwindTableRow<usize>,
    registers: &'f Registers,
    memory: &'f mut Memory<'m>,
}

impl Frame<'_, '_> {
    fn caller(mut self) -> Result<Option<Caller>, End> {
        let start = self.start()?;
        // The stack grows downwards, and a signal may be handled on another one.
        let is_signal = self.entry.is_signal_trampoline();
        if start <= self.registers.stack_pointer() && !is_signal {
            return Err(End::Damaged);
        }
        let mut caller = self.registers.clone();
        caller.set(MACHINE.stack, Some(start));
        for register in Registers::all() {
            if let Some(rule) = self.row.register(register)
                && register != MACHINE.link
            {
                caller.set(register, self.value(&rule, start)?);
            }
        }
        let returns_to = match self.row.register(MACHINE.link) {
            Some(RegisterRule::Undefined) => return Ok(None),
            Some(rule) => self.value(&rule, start)?,
            None => self.registers.get(MACHINE.link),
        };
        if returns_to.is_none() {
            return Err(End::Unknown(name_of(MACHINE.link)));
        }
        caller.return_to(returns_to);
        // A call sets it anew; what it is in the caller is not known.
        caller.set(MACHINE.link, None);
        Ok(Some(Caller { registers: caller, is_return: !is_signal, is_guess: false }))
    }

    /// Where the caller's part of the stack begins: the canonical frame address of DWARF.
    fn start(&mut self) -> Result<u64, End> {
        match self.row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                let base = self.registers.get(*register).ok_or(End::Unknown(name_of(*register)))?;
                Ok(base.wrapping_add_signed(*offset))
            }
            CfaRule::Expression(expression) => self.evaluate(expression, None),
        }
    }

    /// The value of a register in the caller; None if that is not known.
    fn value(&mut self, rule: &RegisterRule<usize>, start: u64) -> Result<Option<u64>, End> {
        Ok(match rule {
            RegisterRule::Offset(offset) => Some(self.word(start.wrapping_add_signed(*offset))?),
            RegisterRule::ValOffset(offset) => Some(start.wrapping_add_signed(*offset)),
            RegisterRule::Register(other) => self.registers.get(*other),
            RegisterRule::Expression(expression) => {
                let address = self.evaluate(expression, Some(start))?;
                Some(self.word(address)?)
            }
            RegisterRule::ValExpression(expression) => Some(self.evaluate(expression, Some(start))?),
            RegisterRule::Constant(value) => Some(*value),
            _ => None,
        })
    }

    fn word(&mut self, address: u64) -> Result<u64, End> {
        self.memory.word(address).ok_or(End::Unreadable(address))
    }

    fn evaluate(&mut self, expression: &UnwindExpression<usize>, start: Option<u64>) -> Result<u64, End> {
        let expression = expression.get(self.entries).map_err(|_| End::Damaged)?;
        let mut evaluation = expression.evaluation(self.entry.cie().encoding());
        evaluation.set_max_iterations(MOST_STEPS);
        if let Some(start) = start {
            evaluation.set_initial_value(start);
        }
        let mut state = evaluation.evaluate();
        loop {
            state = match state.map_err(|_| End::Damaged)? {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = self.registers.get(register).ok_or(End::Unknown(name_of(register)))?;
                    evaluation.resume_with_register(Value::Generic(value))
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    evaluation.resume_with_memory(Value::Generic(self.word(address)?))
                }
                _ => return Err(End::Damaged),
            };
        }
        match evaluation.value_result() {
            Some(Value::Generic(value)) => Ok(value),
            _ => Err(End::Damaged),
        }
    }
}

fn name_of(register: gimli::Register) -> &'static str {
    (MACHINE.name)(register).unwrap_or("a register")
}
