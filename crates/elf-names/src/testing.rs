//! Files for the tests.

use core::cell::Cell;
use std::vec;
use std::vec::Vec;

use object::LittleEndian;
use object::elf::{self, SymbolType};
use object::pod::{self, Pod};
use object::{U16, U32, U64};

use crate::ReadAt;
use crate::elf::{FileHeader, ProgramHeader, SectionHeader};
use crate::symbols::SymbolEntry;

/// Bytes read in pieces that end anywhere.
#[derive(Clone)]
pub struct Image {
    pub bytes: Vec<u8>,
    pub piece: usize,
    pub reads: Cell<usize>,
}

impl Image {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Image {
        Image { bytes: bytes.into(), piece: usize::MAX, reads: Cell::new(0) }
    }
}

impl ReadAt for Image {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        self.reads.set(self.reads.get() + 1);
        let rest = self.bytes.get(usize::try_from(offset).ok()?..).unwrap_or_default();
        let length = rest.len().min(buffer.len()).min(self.piece);
        buffer[..length].copy_from_slice(&rest[..length]);
        Some(length)
    }
}

/// A file that never ends: its beginning, then for ever the same bytes.
pub struct Endless {
    pub image: Image,
    pub filler: u8,
}

impl ReadAt for Endless {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        buffer.fill(self.filler);
        self.image.read_at(offset, buffer)?;
        Some(buffer.len())
    }
}

/// Name, type, section, start and size of a symbol.
pub struct Sym(pub &'static str, pub SymbolType, pub u16, pub u64, pub u64);

/// Where code is in a file, and where it is to be loaded.
pub const TEXT: u64 = 0x1000;
pub const TEXT_ADDRESS: u64 = 0x40_1000;
/// What the sections are.
pub const EXPORTED: usize = 3;
pub const STRINGS: usize = 4;
pub const ALL: usize = 5;
/// Where the sections are described.
const SECTIONS: u64 = 0x200;

/// A small ELF file: code from 0x1000 to 0x2000, to be loaded at 0x401000, `.text` its first 0xc00 bytes
/// and `.fini` the rest (sections 1 and 2), and as many zeros behind it; exported symbols, their strings, and all symbols.
#[derive(Clone)]
pub struct SmallElf {
    pub header: FileHeader,
    pub segments: [ProgramHeader; 2],
    pub sections: [SectionHeader; 6],
    pub strings: Vec<u8>,
    pub symbols: [Vec<SymbolEntry>; 2],
}

fn zeroed<T: Pod>() -> T {
    *pod::from_bytes::<T>(&[0; 128]).unwrap().0
}

fn u16(value: usize) -> U16<LittleEndian> {
    U16::new(LittleEndian, value as u16)
}

fn u32(value: usize) -> U32<LittleEndian> {
    U32::new(LittleEndian, value as u32)
}

fn u64(value: u64) -> U64<LittleEndian> {
    U64::new(LittleEndian, value)
}

impl SmallElf {
    pub fn new(exported: &[Sym], all: &[Sym]) -> SmallElf {
        let mut header: FileHeader = zeroed();
        header.e_ident.magic = elf::ELFMAG;
        header.e_ident.class = elf::ELFCLASS64;
        header.e_ident.data = elf::ELFDATA2LSB;
        header.e_ident.version = elf::EV_CURRENT;
        header.e_type.set(LittleEndian, elf::ET_DYN);
        header.e_machine.set(LittleEndian, elf::EM_X86_64);
        header.e_phoff = u64(size_of::<FileHeader>() as u64);
        header.e_phentsize = u16(size_of::<ProgramHeader>());
        header.e_phnum = u16(2);
        header.e_shoff = u64(SECTIONS);
        header.e_shentsize = u16(size_of::<SectionHeader>());
        header.e_shnum = u16(6);

        // One segment of another kind that spans everything, then the code.
        let segment = |kind, offset, address, size| {
            let mut segment: ProgramHeader = zeroed();
            segment.p_type.set(LittleEndian, kind);
            (segment.p_offset, segment.p_vaddr) = (u64(offset), u64(address));
            (segment.p_filesz, segment.p_memsz) = (u64(size), u64(size));
            segment
        };
        let mut segments =
            [segment(elf::PT_NOTE, 0, 0x70_0000, 0x2000), segment(elf::PT_LOAD, TEXT, TEXT_ADDRESS, 0x1000)];
        segments[1].p_memsz = u64(0x2000);

        let mut strings = vec![0];
        let symbols = [exported, all].map(|symbols| {
            let entries = symbols.iter().map(|Sym(name, kind, section, start, size)| {
                let mut entry: SymbolEntry = zeroed();
                entry.st_name = u32(strings.len());
                entry.set_st_info(elf::STB_GLOBAL, *kind);
                entry.st_shndx.set(LittleEndian, elf::SymbolSection(*section));
                (entry.st_value, entry.st_size) = (u64(*start), u64(*size));
                strings.extend(name.as_bytes());
                strings.push(0);
                entry
            });
            core::iter::once(zeroed()).chain(entries).collect::<Vec<SymbolEntry>>()
        });

        let section = |kind, address, offset, size| {
            let mut section: SectionHeader = zeroed();
            section.sh_type.set(LittleEndian, kind);
            (section.sh_addr, section.sh_offset) = (u64(address), u64(offset));
            section.sh_size = u64(size);
            section
        };
        let mut sections = [zeroed(); 6];
        sections[1] = section(elf::SHT_PROGBITS, TEXT_ADDRESS, TEXT, 0xc00);
        sections[2] = section(elf::SHT_PROGBITS, TEXT_ADDRESS + 0xc00, TEXT + 0xc00, 0x400);
        sections[STRINGS] = section(elf::SHT_STRTAB, 0, 0x2000, strings.len() as u64);
        let mut offset = 0x2000 + strings.len() as u64;
        for (index, kind, table) in
            [(EXPORTED, elf::SHT_DYNSYM, &symbols[0]), (ALL, elf::SHT_SYMTAB, &symbols[1])]
        {
            let size = size_of_val(&table[..]) as u64;
            sections[index] = section(kind, 0, offset, size);
            sections[index].sh_link = u32(STRINGS);
            sections[index].sh_entsize = u64(size_of::<SymbolEntry>() as u64);
            offset += size;
        }
        SmallElf { header, segments, sections, strings, symbols }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 0x2000];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, pod::bytes_of(&self.header));
        put(size_of::<FileHeader>(), pod::bytes_of_slice(&self.segments));
        put(SECTIONS as usize, pod::bytes_of_slice(&self.sections));
        bytes.extend(&self.strings);
        bytes.extend(self.symbols.iter().flat_map(|table| pod::bytes_of_slice(table)));
        bytes
    }

    pub fn image(&self) -> Image {
        Image::new(self.bytes())
    }
}

/// Functions and a table in all the ways that they are given.
pub fn typical() -> SmallElf {
    use elf::{STT_FUNC, STT_GNU_IFUNC, STT_OBJECT};
    let exported = [
        Sym("wanted_elsewhere", STT_FUNC, 0, 0, 0),
        Sym("outer", STT_FUNC, 1, TEXT_ADDRESS + 0x100, 0x100),
        Sym("only_exported", STT_FUNC, 1, TEXT_ADDRESS + 0xa00, 0x10),
    ];
    let all = [
        Sym("__libc_alias", STT_FUNC, 1, TEXT_ADDRESS + 0x300, 0x80),
        Sym("alias", STT_GNU_IFUNC, 1, TEXT_ADDRESS + 0x300, 0x80),
        Sym("_alias", STT_FUNC, 1, TEXT_ADDRESS + 0x300, 0x80),
        Sym("inner", STT_FUNC, 1, TEXT_ADDRESS + 0x140, 0x20),
        Sym("outer", STT_FUNC, 1, TEXT_ADDRESS + 0x100, 0x100),
        Sym("a_table", STT_OBJECT, 1, TEXT_ADDRESS + 0x150, 0x100),
        Sym("assembly", STT_FUNC, 1, TEXT_ADDRESS + 0x800, 0),
        Sym("imported", STT_FUNC, 0, TEXT_ADDRESS + 0x840, 0),
        Sym("sized", STT_FUNC, 1, TEXT_ADDRESS + 0x900, 0x10),
        Sym("absolute", STT_FUNC, elf::SHN_ABS.0, TEXT_ADDRESS + 0x980, 0x10),
        Sym("last", STT_FUNC, 1, TEXT_ADDRESS + 0xb00, 0),
    ];
    SmallElf::new(&exported, &all)
}
