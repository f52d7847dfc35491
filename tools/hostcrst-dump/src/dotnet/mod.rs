//! Source lines of code that .NET has made: from where a place lies in an assembly to the assembly, to its portable PDB, which
//! lies beside it or inside of it, and to file and line there. Nothing in these files is trusted.

mod assembly;
mod metadata;
mod portable_pdb;

use std::collections::HashMap;
use std::path::Path;

use hostcrst::inspect::IlPlace;

use crate::core_file::Bytes;
use crate::elf_file::Budget;
use crate::target::{Mapping, Target};
use assembly::{Assembly, Layout, PdbId, Symbols};
use portable_pdb::PortablePdb;

/// The PDB of each assembly that was asked for, by where that stands and which it is.
#[derive(Default)]
pub struct Lines(HashMap<(u64, [u8; 16]), Option<PortablePdb>>);

/// Larger PDBs are not read.
const LARGEST_PDB: usize = 64 << 20;

impl Lines {
    /// The name of the file, without its folders, and the line.
    pub fn find(&mut self, target: &dyn Target, budget: &Budget, place: IlPlace) -> Option<(String, u32)> {
        let pdb = self.0.entry((place.assembly, place.version));
        let pdb = pdb.or_insert_with(|| find_pdb(target, budget, place.assembly, place.version)).as_ref()?;
        pdb.line(place.method, place.offset)
    }
}

fn find_pdb(target: &dyn Target, budget: &Budget, base: u64, version: [u8; 16]) -> Option<PortablePdb> {
    let mapping = target.mappings().iter().find(|mapping| mapping.holds(base));
    let from_file = mapping.and_then(|mapping| {
        // A program that is one file has its assemblies inside.
        let start = mapping.file_offset.checked_add(base - mapping.start)?;
        let bytes = Inside { bytes: target.open(mapping)?, start };
        pdb_of(&Assembly::open(&bytes, Layout::File, version)?, target, budget, Some(mapping))
    });
    let memory = Inside { bytes: Memory(target), start: base };
    from_file.or_else(|| {
        // What was loaded from memory, or is known from a core alone.
        let open = |layout| Assembly::open(&memory, layout, version);
        pdb_of(&open(Layout::File).or_else(|| open(Layout::Loaded))?, target, budget, mapping)
    })
}

/// The PDB inside of the assembly, or the one beside, if it is the one that was made with it.
fn pdb_of(
    assembly: &Assembly<'_, impl Bytes>,
    target: &dyn Target,
    budget: &Budget,
    mapping: Option<&Mapping>,
) -> Option<PortablePdb> {
    let symbols = assembly.symbols();
    let is_of_assembly =
        |id: PdbId| symbols.iter().any(|one| matches!(one, Symbols::Named { id: own, .. } if *own == id));
    let parse = |bytes| PortablePdb::parse(bytes).filter(|pdb| is_of_assembly(pdb.id()));
    symbols.iter().find_map(|one| match one {
        Symbols::Embedded { packed, size } => {
            budget.take(size + packed.size)?;
            parse(assembly.unpack(packed, *size)?)
        }
        Symbols::Named { name, .. } => {
            let file = target.open_path(&mapping?.path.parent()?.join(Path::new(name)))?;
            let size = usize::try_from(file.length()).ok().filter(|&size| size <= LARGEST_PDB)?;
            budget.take(size as u64)?;
            let mut bytes = vec![0; size];
            (file.copy(0, &mut bytes) == size).then_some(bytes).and_then(parse)
        }
    })
}

/// What begins somewhere inside of other bytes.
struct Inside<B> {
    bytes: B,
    start: u64,
}

impl<B: Bytes> Bytes for Inside<B> {
    fn length(&self) -> u64 {
        self.bytes.length().saturating_sub(self.start)
    }

    fn copy(&self, offset: u64, buffer: &mut [u8]) -> usize {
        self.start.checked_add(offset).map_or(0, |at| self.bytes.copy(at, buffer))
    }
}

struct Memory<'a>(&'a dyn Target);

impl Bytes for Memory<'_> {
    fn length(&self) -> u64 {
        u64::MAX
    }

    fn copy(&self, offset: u64, buffer: &mut [u8]) -> usize {
        self.0.read(offset, buffer)
    }
}
