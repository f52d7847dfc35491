//! A program or library as a file, of which only the requested parts are read. Nothing in it is trusted, in particular
//! no size.

use std::cell::Cell;
use std::fs::File;

use elf_names::elf::{Elf, ProgramHeader, SectionHeader};
use elf_names::notes::Notes;
use elf_names::{BLOCK, ReadAt};
use object::LittleEndian;
use object::elf;
use object::pod::{self, Pod};

use crate::core_file::Bytes;

/// How many bytes may still be read of all files of a target.
pub struct Budget(Cell<u64>);

impl Budget {
    pub fn of(bytes: u64) -> Self {
        Budget(Cell::new(bytes))
    }

    pub fn take(&self, bytes: u64) -> Option<()> {
        self.0.get().checked_sub(bytes).map(|left| self.0.set(left))
    }
}

/// Bytes as elf_names reads them.
pub struct At<'a, B>(pub &'a B);

impl<B: Bytes> ReadAt for At<'_, B> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        Some(self.0.copy(offset, buffer))
    }
}

pub struct ElfFile<B> {
    bytes: B,
    segments: Vec<ProgramHeader>,
    sections: Vec<SectionHeader>,
    section_names: Vec<u8>,
}

/// Names of sections, notes and headers of more bytes than this are not read.
const LARGEST_HEADER: u64 = 4 << 20;

impl ElfFile<File> {
    pub fn open(file: File, budget: &Budget) -> Option<Self> {
        Self::parse(file, budget)
    }
}

impl<B: Bytes> ElfFile<B> {
    pub fn parse(bytes: B, budget: &Budget) -> Option<Self> {
        let Elf { segments, sections, section_names, .. } = Elf::open(At(&bytes), &mut [0; BLOCK])?;
        let segments = read_table(&bytes, segments.offset, segments.count, budget)?;
        let sections: Vec<SectionHeader> =
            read_table(&bytes, sections.offset, sections.count, budget).unwrap_or_default();
        let names = sections.get(section_names as usize);
        let names = names.and_then(|names| {
            let size = names.sh_size.get(LittleEndian).min(LARGEST_HEADER);
            read(&bytes, names.sh_offset.get(LittleEndian), size, budget)
        });
        Some(ElfFile { segments, sections, section_names: names.unwrap_or_default(), bytes })
    }

    /// The parts that are loaded.
    pub fn loaded(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.p_type.get(LittleEndian) == elf::PT_LOAD)
    }

    /// Where the loader is asked to put the start of the file.
    pub fn load_address(&self) -> Option<u64> {
        let first = self.loaded().next()?;
        first.p_vaddr.get(LittleEndian).checked_sub(first.p_offset.get(LittleEndian))
    }

    /// Address and size, in memory, of the first segment of this kind.
    pub fn segment_of(&self, kind: elf::ProgramType) -> Option<(u64, u64)> {
        self.segments.iter().find(|segment| segment.p_type.get(LittleEndian) == kind).map(extent)
    }

    /// The same of the loaded one that the address lies in.
    pub fn loaded_part_with(&self, address: u64) -> Option<(u64, u64)> {
        let holds = |&(start, size): &(u64, u64)| address.wrapping_sub(start) < size;
        self.loaded().map(extent).find(holds)
    }

    /// Copies as much as the file has from `offset` on. Returns how much.
    pub fn copy(&self, offset: u64, buffer: &mut [u8]) -> usize {
        self.bytes.copy(offset, buffer)
    }

    /// The segments of notes.
    pub fn notes(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.p_type.get(LittleEndian) == elf::PT_NOTE)
    }

    pub fn build_id(&self, budget: &Budget) -> Option<Vec<u8>> {
        self.notes().find_map(|segment| {
            let size = segment.p_filesz.get(LittleEndian).min(LARGEST_HEADER);
            let notes = read(&self.bytes, segment.p_offset.get(LittleEndian), size, budget)?;
            build_id_in(Notes::new(&notes, segment.p_align.get(LittleEndian)))
        })
    }

    /// The content of the section with this name, if it is there, whole, not compressed and not larger than `most`.
    pub fn section(&self, name: &[u8], most: u64, budget: &Budget) -> Option<Vec<u8>> {
        let section = self.header_of(name)?;
        let is_packed = section.sh_flags.get(LittleEndian).0 & elf::SHF_COMPRESSED.0 != 0;
        let size = section.sh_size.get(LittleEndian);
        if is_packed || section.sh_type.get(LittleEndian) == elf::SHT_NOBITS || size > most {
            return None;
        }
        read(&self.bytes, section.sh_offset.get(LittleEndian), size, budget)
    }

    /// Address and size, in memory, of the section with this name.
    pub fn section_extent(&self, name: &[u8]) -> Option<(u64, u64)> {
        let section = self.header_of(name)?;
        Some((section.sh_addr.get(LittleEndian), section.sh_size.get(LittleEndian)))
    }

    fn header_of(&self, name: &[u8]) -> Option<&SectionHeader> {
        let has_name = |section: &&SectionHeader| {
            let start = section.sh_name.get(LittleEndian) as usize;
            string_at(&self.section_names, start) == name
        };
        self.sections.iter().find(has_name)
    }
}

fn extent(segment: &ProgramHeader) -> (u64, u64) {
    (segment.p_vaddr.get(LittleEndian), segment.p_memsz.get(LittleEndian))
}

/// The build id among notes.
fn build_id_in(mut notes: Notes) -> Option<Vec<u8>> {
    let found = notes.find(|note| note.name == b"GNU\0" && note.kind == elf::NT_GNU_BUILD_ID)?;
    Some(found.content.to_vec())
}

/// The bytes from `start` up to a zero; longer ones than a name has are cut.
pub fn string_at(bytes: &[u8], start: usize) -> &[u8] {
    const LONGEST: usize = 4096;
    let rest = bytes.get(start..).unwrap_or(&[]);
    let rest = &rest[..rest.len().min(LONGEST)];
    rest.split(|&byte| byte == 0).next().unwrap_or(&[])
}

/// All of so many records, if the file has them.
pub fn read_table<T: Pod>(bytes: &impl Bytes, offset: u64, count: u64, budget: &Budget) -> Option<Vec<T>> {
    let table = read(bytes, offset, count * size_of::<T>() as u64, budget)?;
    pod::slice_from_bytes::<T>(&table, count as usize).ok().map(|(table, _)| table.to_vec())
}

/// All of `size` bytes, if the file has so many.
fn read(bytes: &impl Bytes, offset: u64, size: u64, budget: &Budget) -> Option<Vec<u8>> {
    if offset.checked_add(size)? > bytes.length() {
        return None;
    }
    budget.take(size)?;
    let mut content = vec![0; usize::try_from(size).ok()?];
    (bytes.copy(offset, &mut content) == content.len()).then_some(content)
}
