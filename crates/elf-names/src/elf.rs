//! An ELF file: its header, and the tables of segments and sections, read record by record. Knows no symbols.

use core::marker::PhantomData;

use object::LittleEndian;
use object::elf::{self, FileHeader64, FileType, ProgramHeader64, SectionHeader64};
use object::pod::{self, Pod};

use crate::{BLOCK, Block, ReadAt};

/// The first record of a file.
pub type FileHeader = FileHeader64<LittleEndian>;
/// Describes a segment.
pub type ProgramHeader = ProgramHeader64<LittleEndian>;
/// Describes a section.
pub type SectionHeader = SectionHeader64<LittleEndian>;

/// Equally long records, one after the other in a file.
#[derive(Clone, Copy, Debug)]
pub struct Table<T> {
    /// Where in the file the first one stands.
    pub offset: u64,
    /// How many there are said to be.
    pub count: u64,
    records: PhantomData<T>,
}

impl<T: Pod> Table<T> {
    /// A table of `count` records at an offset.
    pub const fn new(offset: u64, count: u64) -> Self {
        Table { offset, count, records: PhantomData }
    }

    /// Calls `visit` with each record until it returns Some, or the table or the file ends.
    pub fn find<R>(
        &self,
        file: &impl ReadAt,
        block: &mut Block,
        mut visit: impl FnMut(&T) -> Option<R>,
    ) -> Option<R> {
        let mut offset = self.offset;
        let mut left = self.count;
        while left > 0 {
            let wanted = left.min((BLOCK / size_of::<T>()) as u64) as usize * size_of::<T>();
            let read = file.read_at(offset, block.get_mut(..wanted)?)?;
            let (records, _) = pod::slice_from_bytes::<T>(block, read / size_of::<T>()).ok()?;
            if records.is_empty() {
                return None;
            }
            if let Some(found) = records.iter().find_map(&mut visit) {
                return Some(found);
            }
            offset = offset.checked_add(size_of_val(records) as u64)?;
            left = left.saturating_sub(records.len() as u64);
        }
        None
    }

    /// The record with this number.
    pub fn get(&self, file: &impl ReadAt, block: &mut Block, index: u64) -> Option<T> {
        if index >= self.count {
            return None;
        }
        let offset = index.checked_mul(size_of::<T>() as u64)?.checked_add(self.offset)?;
        Table::new(offset, 1).find(file, block, |record: &T| Some(*record))
    }
}

/// An ELF file of the supported kind: 64-bit, little-endian.
#[derive(Clone, Debug)]
pub struct Elf<F> {
    /// Where it is read.
    pub file: F,
    /// A program, a library, a core, …
    pub kind: FileType,
    /// The program headers: segments to load, and other information for the loader.
    pub segments: Table<ProgramHeader>,
    /// The parts by their purpose. Zero for a file without any.
    pub sections: Table<SectionHeader>,
    /// Which section has the names of the sections.
    pub section_names: u64,
}

impl<F: ReadAt> Elf<F> {
    /// Reads the header of a file. None if it is of another kind.
    pub fn open(file: F, block: &mut Block) -> Option<Self> {
        let header: FileHeader = Table::new(0, 1).get(&file, block, 0)?;
        let ident = &header.e_ident;
        let is_understood = ident.magic == elf::ELFMAG
            && ident.class == elf::ELFCLASS64
            && ident.data == elf::ELFDATA2LSB
            && ident.version == elf::EV_CURRENT
            && matches!(header.e_machine.get(LittleEndian), elf::EM_X86_64 | elf::EM_AARCH64)
            && usize::from(header.e_phentsize.get(LittleEndian)) == size_of::<ProgramHeader>();
        let section_count = match usize::from(header.e_shentsize.get(LittleEndian)) {
            size if size == size_of::<SectionHeader>() => header.e_shnum.get(LittleEndian).into(),
            _ => 0,
        };
        is_understood.then(|| Elf {
            kind: header.e_type.get(LittleEndian),
            segments: Table::new(header.e_phoff.get(LittleEndian), header.e_phnum.get(LittleEndian).into()),
            sections: Table::new(header.e_shoff.get(LittleEndian), section_count),
            section_names: header.e_shstrndx.get(LittleEndian).0.into(),
            file,
        })
    }

    /// The first loaded segment for which `visit` returns Some.
    #[inline(never)]
    fn find_loaded(&self, block: &mut Block, visit: &dyn Fn(&ProgramHeader) -> Option<u64>) -> Option<u64> {
        self.segments.find(&self.file, block, |segment| match segment.p_type.get(LittleEndian) {
            elf::PT_LOAD => visit(segment),
            _ => None,
        })
    }

    /// Where the loader is asked to put what lies at `file_offset`; symbols are given in such addresses.
    pub fn virtual_address(&self, block: &mut Block, file_offset: u64) -> Option<u64> {
        self.find_loaded(block, &|segment| {
            let distance = file_offset.checked_sub(segment.p_offset.get(LittleEndian))?;
            let address = segment.p_vaddr.get(LittleEndian).checked_add(distance)?;
            (distance < segment.p_filesz.get(LittleEndian)).then_some(address)
        })
    }

    /// Whether something is loaded at this address, zeroed data included.
    pub fn is_loaded(&self, block: &mut Block, address: u64) -> bool {
        let at = self.find_loaded(block, &|segment| {
            let distance = address.checked_sub(segment.p_vaddr.get(LittleEndian))?;
            (distance < segment.p_memsz.get(LittleEndian)).then_some(distance)
        });
        at.is_some()
    }

    /// Where the loader is asked to put the start of the file.
    pub fn load_address(&self, block: &mut Block) -> Option<u64> {
        self.find_loaded(block, &|segment| {
            segment.p_vaddr.get(LittleEndian).checked_sub(segment.p_offset.get(LittleEndian))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Endless, Image, SmallElf, TEXT, TEXT_ADDRESS, typical};

    fn is_understood(change: impl FnOnce(&mut SmallElf)) -> bool {
        let mut file = typical();
        change(&mut file);
        Elf::open(file.image(), &mut [0; BLOCK]).is_some()
    }

    #[test]
    fn files_of_another_kind_are_not_understood() {
        assert!(is_understood(|_| {}));
        assert!(is_understood(|file| file.header.e_machine.set(LittleEndian, elf::EM_AARCH64)));
        assert!(!is_understood(|file| file.header.e_ident.magic[3] = b'f'));
        assert!(!is_understood(|file| file.header.e_ident.class = elf::ELFCLASS32));
        assert!(!is_understood(|file| file.header.e_ident.data = elf::ELFDATA2MSB));
        assert!(!is_understood(|file| file.header.e_ident.version.0 += 1));
        assert!(!is_understood(|file| file.header.e_machine.set(LittleEndian, elf::EM_S390)));
        assert!(!is_understood(|file| file.header.e_phentsize.set(LittleEndian, 57)));
        for length in [0, 9, 63] {
            assert!(Elf::open(Image::new(&typical().bytes()[..length]), &mut [0; BLOCK]).is_none());
        }
    }

    #[test]
    fn sections_of_another_size_are_no_sections() {
        let mut file = typical();
        let block = &mut [0; BLOCK];
        let count = |file: &SmallElf, block: &mut Block| {
            let elf = Elf::open(file.image(), block).unwrap();
            let mut count = 0;
            elf.sections.find(&elf.file, block, |_| {
                count += 1;
                None::<()>
            });
            count
        };
        assert_eq!(count(&file, block), 6);
        file.header.e_shentsize.set(LittleEndian, 65);
        assert_eq!(count(&file, block), 0);
    }

    #[test]
    fn only_what_is_loaded_has_an_address() {
        let block = &mut [0; BLOCK];
        let elf = Elf::open(typical().image(), block).unwrap();
        assert_eq!(elf.virtual_address(block, TEXT - 1), None);
        assert_eq!(elf.virtual_address(block, TEXT), Some(TEXT_ADDRESS));
        assert_eq!(elf.virtual_address(block, TEXT + 0xfff), Some(TEXT_ADDRESS + 0xfff));
        assert_eq!(elf.virtual_address(block, TEXT + 0x1000), None);
        assert!(
            elf.is_loaded(block, TEXT_ADDRESS) && elf.is_loaded(block, TEXT_ADDRESS + 0x1fff),
            "zeroed data, too"
        );
        assert!(!elf.is_loaded(block, TEXT_ADDRESS - 1) && !elf.is_loaded(block, TEXT_ADDRESS + 0x2000));
        assert_eq!(elf.load_address(block), Some(TEXT_ADDRESS - TEXT));
    }

    #[test]
    fn addresses_beyond_all_are_none() {
        let block = &mut [0; BLOCK];
        let mut file = typical();
        file.segments[1].p_vaddr.set(LittleEndian, u64::MAX - 1);
        let elf = Elf::open(file.image(), block).unwrap();
        assert_eq!(elf.virtual_address(block, TEXT + 1), Some(u64::MAX));
        assert_eq!(elf.virtual_address(block, TEXT + 2), None);
        file.segments[1].p_vaddr.set(LittleEndian, TEXT - 1);
        assert_eq!(Elf::open(file.image(), block).unwrap().load_address(block), None);
    }

    #[test]
    fn a_table_ends_with_the_address_space() {
        let endless = Endless { image: Image::new([]), filler: 1 };
        let table = Table::<[u8; 8]>::new(u64::MAX - 10, u64::MAX);
        let block = &mut [0; BLOCK];
        assert_eq!(table.get(&endless, block, 0), Some([1; 8]));
        assert_eq!(table.get(&endless, block, 2), None);
        assert_eq!(table.get(&endless, block, u64::MAX / 2), None);
        assert_eq!(table.find(&endless, block, |_| None::<()>), None);
    }

    #[test]
    fn a_record_behind_the_table_is_none() {
        let image = Image::new([7; 100]);
        let table = Table::<[u8; 8]>::new(4, 3);
        let block = &mut [0; BLOCK];
        assert_eq!(table.get(&image, block, 2), Some([7; 8]));
        assert_eq!(table.get(&image, block, 3), None);
        assert_eq!(Table::<[u8; 8]>::new(96, 1).get(&image, block, 0), None, "half of it is in the file");
    }
}
