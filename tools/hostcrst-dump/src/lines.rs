//! Source lines of code addresses, from the line table alone. DWARF encodes the table as a program for each unit. It is
//! run again for each address and its output is not kept, because a hostile program could produce any amount.

use gimli::{
    AttributeValue, DebugLine, DebugLineOffset, EndianSlice, FileEntry, IncompleteLineProgram, LineRows,
    LittleEndian,
};

use crate::core_file::Bytes;
use crate::elf_file::{Budget, ElfFile, string_at};
use crate::time_limit::TimeLimit;

pub struct Lines {
    programs: Vec<u8>,
    /// The sections with file names.
    line_names: Vec<u8>,
    names: Vec<u8>,
    /// In the order of their addresses.
    sequences: Vec<Sequence>,
}

/// Contiguous code, and the line program that describes it.
struct Sequence {
    start: u64,
    end: u64,
    program: usize,
}

/// Larger tables, larger parts of them, and tables in the 64-bit DWARF format are not read.
const LARGEST_TABLE: u64 = 64 << 20;
const LARGEST_NAMES: u64 = 128 << 20;
const LARGEST_PROGRAM: usize = 8 << 20;
const LARGEST_PROGRAM_HEADER: u32 = 1 << 20;
const MOST_SEQUENCES: usize = 1 << 21;
/// Sequences do not overlap, except in a hostile file: this many before an address are considered.
const OVERLAPPING: usize = 16;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Rows<'a> = LineRows<Slice<'a>, IncompleteLineProgram<Slice<'a>>>;

impl Lines {
    pub fn of(elf: &ElfFile<impl Bytes>, budget: &Budget, time_limit: TimeLimit) -> Option<Self> {
        let programs = elf.section(b".debug_line", LARGEST_TABLE, budget)?;
        let names = |section| elf.section(section, LARGEST_NAMES, budget).unwrap_or_default();
        let (line_names, names) = (names(b".debug_line_str"), names(b".debug_str"));
        let mut lines = Lines { programs, line_names, names, sequences: Vec::new() };
        let mut program = 0;
        while let Some(size) = lines.program_size(program)
            && !time_limit.is_over()
        {
            lines.note_sequences(program);
            program = program.checked_add(size)?;
        }
        lines.sequences.sort_by_key(|sequence| sequence.start);
        Some(lines)
    }

    /// The bytes of the program there, with its header.
    fn program_size(&self, at: usize) -> Option<usize> {
        let length = u32::from_le_bytes(*self.programs.get(at..)?.first_chunk()?);
        let (head, length) = match length {
            u32::MAX => (12, u64::from_le_bytes(*self.programs.get(at.checked_add(4)?..)?.first_chunk()?)),
            length => (4, u64::from(length)),
        };
        usize::try_from(length).ok()?.checked_add(head)
    }

    fn rows(&self, at: usize) -> Option<Rows<'_>> {
        let is_wide = self.programs.get(at..)?.starts_with(&u32::MAX.to_le_bytes());
        if is_wide || self.program_size(at)? > LARGEST_PROGRAM {
            return None;
        }
        // A header has a table of names, of which each takes many times as much when it is parsed.
        let version = u16::from_le_bytes(*self.programs.get(at + 4..)?.first_chunk()?);
        let header_length = at + if version < 5 { 6 } else { 8 };
        if u32::from_le_bytes(*self.programs.get(header_length..)?.first_chunk()?) > LARGEST_PROGRAM_HEADER {
            return None;
        }
        let table = DebugLine::new(&self.programs, LittleEndian);
        Some(table.program(DebugLineOffset(at), 8, None, None).ok()?.rows())
    }

    fn note_sequences(&mut self, program: usize) {
        let mut found = Vec::new();
        let Some(mut rows) = self.rows(program) else { return };
        let mut start = None;
        while let Ok(Some((_, row))) = rows.next_row() {
            let start_of_this = *start.get_or_insert(row.address());
            if row.end_sequence() {
                // What the linker has left out begins at 0.
                if start_of_this != 0 && start_of_this < row.address() {
                    found.push(Sequence { start: start_of_this, end: row.address(), program });
                }
                start = None;
            }
            if self.sequences.len() + found.len() >= MOST_SEQUENCES {
                break;
            }
        }
        self.sequences.append(&mut found);
    }

    /// The name of the file, without its folders, and the line of the code at this address.
    pub fn find(&self, address: u64) -> Option<(String, u64)> {
        let after = self.sequences.partition_point(|sequence| sequence.start <= address);
        let before = self.sequences[..after].iter().rev().take(OVERLAPPING);
        before.filter(|sequence| address < sequence.end).find_map(|sequence| {
            let mut rows = self.rows(sequence.program)?;
            // The row before, if it is one of the same sequence: where it begins, its file and line.
            let mut previous: Option<(u64, u64, Option<u64>)> = None;
            while let Ok(Some((header, row))) = rows.next_row() {
                if let Some((start, file, line)) = previous
                    && (start..row.address()).contains(&address)
                {
                    return Some((self.file_name(header.file(file)?)?, line?));
                }
                let here = (row.address(), row.file_index(), row.line().map(u64::from));
                previous = Some(here).filter(|_| !row.end_sequence());
            }
            None
        })
    }

    fn file_name(&self, file: &FileEntry<Slice<'_>>) -> Option<String> {
        let path = match file.path_name() {
            AttributeValue::String(name) => string_at(name.slice(), 0),
            AttributeValue::DebugLineStrRef(offset) => string_at(&self.line_names, offset.0),
            AttributeValue::DebugStrRef(offset) => string_at(&self.names, offset.0),
            _ => return None,
        };
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        Some(String::from_utf8_lossy(name).into_owned())
    }
}
