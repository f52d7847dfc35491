//! An assembly: which one it is, and what it says of its symbols. Only its heads and these are read.

use super::LARGEST_PDB;
use super::metadata::{self, Cursor, Extent, Tables};
use crate::core_file::Bytes;

/// How the bytes lie: as in the file, or each section where the loader is asked to put it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    File,
    Loaded,
}

pub struct Assembly<'a, B> {
    bytes: &'a B,
    layout: Layout,
    sections: Vec<Section>,
    debug: Extent,
}

struct Section {
    address: u32,
    file_offset: u32,
    file_size: u32,
}

/// What tells one PDB from another, and is written into the assembly too.
pub type PdbId = [u8; 20];

/// What an assembly says of its symbols.
pub enum Symbols {
    /// The id of its PDB, and the name of its file without folders.
    Named { id: PdbId, name: String },
    /// So many bytes, packed.
    Embedded { packed: Extent, size: u64 },
}

/// What heads have at most; larger ones are cut.
const HEAD: usize = 1024;
const MOST_SECTIONS: u16 = 96;
const MOST_ENTRIES: u64 = 32;
const LONGEST_PATH: u64 = 4096;

const PE32: u16 = 0x10B;
const PE32_PLUS: u16 = 0x20B;
/// Of the directories of a PE file, those of debugging and of .NET's head.
const DEBUG: usize = 6;
const CLI: usize = 14;
const CODE_VIEW: u32 = 2;
const EMBEDDED: u32 = 17;
const MODULE_TABLE: usize = 0;

impl<'a, B: Bytes> Assembly<'a, B> {
    /// If it is the one of that version.
    pub fn open(bytes: &'a B, layout: Layout, version: [u8; 16]) -> Option<Self> {
        let dos = read(bytes, 0, 64)?;
        if !dos.starts_with(b"MZ") {
            return None;
        }
        let head =
            read_up_to(bytes, u64::from(Cursor(&dos[60..]).u32()?), HEAD + 40 * usize::from(MOST_SECTIONS));
        let mut head = Cursor(&head);
        if head.take(4)? != b"PE\0\0" {
            return None;
        }
        head.take(2)?;
        let sections = head.u16()?.min(MOST_SECTIONS);
        head.take(12)?;
        let optional_size = head.u16()?;
        head.take(2)?;
        let mut optional = Cursor(head.take(usize::from(optional_size))?);
        let directories = match optional.u16()? {
            PE32 => 92,
            PE32_PLUS => 108,
            _ => return None,
        };
        optional.take(directories - 2)?;
        let directories = optional.u32()?;
        let mut extents = [Extent { offset: 0, size: 0 }; CLI + 1];
        for extent in extents.iter_mut().take(directories as usize) {
            *extent = Extent { offset: optional.u32()?.into(), size: optional.u32()?.into() };
        }
        let mut assembly = Assembly { bytes, layout, sections: Vec::new(), debug: extents[DEBUG] };
        for _ in 0..sections {
            head.take(12)?;
            let (address, file_size, file_offset) = (head.u32()?, head.u32()?, head.u32()?);
            head.take(16)?;
            assembly.sections.push(Section { address, file_offset, file_size });
        }
        (assembly.version(extents[CLI])? == version).then_some(assembly)
    }

    /// Which assembly it is, by its metadata.
    fn version(&self, cli: Extent) -> Option<[u8; 16]> {
        let cli = read(self.bytes, self.place(cli.offset)?, 16)?;
        let metadata = self.place(Cursor(&cli[8..]).u32()?.into())?;
        let head = read_up_to(self.bytes, metadata, HEAD);
        let part = |name: &[u8]| Some(metadata + metadata::stream(&head, name)?.offset);
        let tables = read_up_to(self.bytes, part(b"#~")?, HEAD);
        let mut rows = Cursor(&tables);
        let tables = Tables::parse(&mut rows)?;
        if tables.rows(MODULE_TABLE) == 0 {
            return None;
        }
        let _generation = rows.u16()?;
        let _name = rows.index(tables.has_wide_strings())?;
        let index = rows.index(tables.has_wide_guids())?.checked_sub(1)?;
        let version = read(self.bytes, part(b"#GUID")? + u64::from(index) * 16, 16)?;
        version.try_into().ok()
    }

    pub fn symbols(&self) -> Vec<Symbols> {
        let count = (self.debug.size / 28).min(MOST_ENTRIES);
        let directory =
            self.place(self.debug.offset).and_then(|at| read(self.bytes, at, count as usize * 28));
        let directory = directory.unwrap_or_default();
        directory.chunks_exact(28).filter_map(|entry| self.symbols_of(Cursor(entry))).collect()
    }

    fn symbols_of(&self, mut entry: Cursor<'_>) -> Option<Symbols> {
        entry.take(4)?;
        let stamp = entry.take(4)?;
        entry.take(4)?;
        let (kind, size, address, file_offset) = (entry.u32()?, entry.u32()?, entry.u32()?, entry.u32()?);
        let size = u64::from(size);
        let offset = if self.layout == Layout::File { file_offset } else { address }.into();
        match kind {
            CODE_VIEW => {
                let view = read(self.bytes, offset, size.min(24 + LONGEST_PATH) as usize)?;
                let mut view = Cursor(&view);
                let is_known = view.take(4)? == b"RSDS";
                let id = [view.take(16)?, stamp].concat().try_into().ok()?;
                let _age = view.u32()?;
                let path = view.0.split(|&byte| byte == 0).next()?;
                let name = file_name(path).filter(|_| is_known)?;
                Some(Symbols::Named { id, name })
            }
            EMBEDDED => {
                let head = read(self.bytes, offset, 8)?;
                let mut head = Cursor(&head);
                let is_known = head.take(4)? == b"MPDB";
                let unpacked = u64::from(head.u32()?);
                let packed = Extent { offset: offset + 8, size: size.checked_sub(8)? };
                let is_small = unpacked.max(packed.size) <= LARGEST_PDB as u64;
                (is_known && is_small).then_some(Symbols::Embedded { packed, size: unpacked })
            }
            _ => None,
        }
    }

    /// All of `size` bytes that are packed there.
    pub fn unpack(&self, packed: &Extent, size: u64) -> Option<Vec<u8>> {
        let packed = read(self.bytes, packed.offset, packed.size as usize)?;
        let bytes = miniz_oxide::inflate::decompress_to_vec_with_limit(&packed, size as usize).ok()?;
        (bytes.len() as u64 == size).then_some(bytes)
    }

    /// Where among the bytes something stands that has this address behind the assembly's beginning.
    fn place(&self, address: u64) -> Option<u64> {
        if self.layout == Layout::Loaded {
            return Some(address);
        }
        self.sections.iter().find_map(|section| {
            let within = address.checked_sub(section.address.into())?;
            (within < section.file_size.into()).then(|| u64::from(section.file_offset) + within)
        })
    }
}

/// A path of the machine that compiled, whatever that ran.
pub fn file_name(path: &[u8]) -> Option<String> {
    let name = path.rsplit(|byte| b"/\\".contains(byte)).next()?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    (!["", ".", ".."].contains(&name.as_str())).then_some(name)
}

fn read(bytes: &impl Bytes, at: u64, size: usize) -> Option<Vec<u8>> {
    Some(read_up_to(bytes, at, size)).filter(|read| read.len() == size)
}

/// As much as there is.
fn read_up_to(bytes: &impl Bytes, at: u64, size: usize) -> Vec<u8> {
    let mut content = vec![0; size];
    let there = bytes.copy(at, &mut content);
    content.truncate(there);
    content
}
