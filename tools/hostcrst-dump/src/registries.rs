//! Finds the registries in a target's memory.
//!
//! A registry is in the writable data of the library, or of the program that contains it, and begins with
//! sixteen bytes that identify it. The search for those needs none of the target's files, no symbols, and no
//! knowledge of its loader: it finds the registry of a stripped program and of one whose files were replaced. The
//! symbol `hostcrst_registry_v1` is for debuggers, which have the symbols.
//!
//! ELF notes (`src/sys/copies.rs` of the library) show whether all registries were found. They do not point to
//! the beginning of a registry, but to a word in it, whose offset depends on the layout.

use elf_names::notes::Notes;
use hostcrst::inspect::{Header, MAGIC, Registry, Shown};
use object::LittleEndian;

use crate::elf_file::{Budget, ElfFile};
use crate::failure::Failure;
use crate::target::{Mapping, Target, read_bytes};
use crate::time_limit::TimeLimit;

/// How a registry is aligned, whatever its layout.
const ALIGNMENT: usize = 64;
const STEP: usize = 1 << 20;
/// A process may have several copies of the library, but not many: sixteen in use, those of other namespaces of the
/// loader, and those that are only loaded, which have a registry, too.
const MOST: usize = 256;

/// A copy of the registry structure alone, without the memory that it refers to.
pub struct Found {
    /// Its address.
    pub address: u64,
    pub registry: Box<Shown<Registry>>,
}

/// The registries of the layout that this tool knows, and what is wrong with others or with the memory of others.
pub fn find(target: &dyn Target, time_limit: TimeLimit) -> Result<(Vec<Found>, Option<Failure>), Failure> {
    let mut buffer = vec![0; STEP];
    let mut headers = Vec::new();
    // They come in the order of their addresses; in a damaged core they may overlap, or have no end.
    let mut searched = 0;
    for data in target.data() {
        searched = data.start.max(searched);
        while searched < data.end && headers.len() < MOST {
            let size = usize::try_from(data.end - searched).unwrap_or(STEP).min(STEP);
            let there = target.read(searched, &mut buffer[..size]);
            headers.extend(headers_in(&buffer[..there], searched));
            searched += size as u64;
            if there < size {
                break;
            }
            if time_limit.is_over() {
                return Err(time_limit.failure(target.description()));
            }
        }
    }
    let is_limit_reached = headers.len() >= MOST;
    headers.truncate(MOST);
    let is_found =
        |claim: u64| headers.iter().any(|(at, header)| claim.wrapping_sub(*at) < header.size.into());
    let lost = claims(target, time_limit).into_iter().find(|&claim| !is_found(claim));
    let lost = lost.map(|claim| match target.read(claim, &mut [0]) {
        0 => Failure::LacksMemory { subject: target.description() },
        _ => Failure::Incomplete(target.description()),
    });
    let mut found = Vec::new();
    let mut unknown = None;
    for (address, header) in headers {
        match copy(target, address, header) {
            Some(registry) => found.push(Found { address, registry }),
            None => unknown = Some(header),
        }
    }
    let unknown = unknown.map(|header| Failure::UnknownLayout {
        subject: target.description(),
        version: header.layout_version,
        size: header.size,
        known: Registry::HEADER.layout_version,
        known_size: Registry::HEADER.size,
    });
    let too_many =
        is_limit_reached.then(|| Failure::TooManyCopies { subject: target.description(), most: MOST });
    match (found.is_empty(), unknown.or(too_many).or(lost)) {
        (false, failure) => Ok((found, failure)),
        (true, Some(failure)) => Err(failure),
        (true, None) if target.lacks_data() => Err(Failure::LacksMemory { subject: target.description() }),
        (true, None) => Err(Failure::NotLoaded(target.description())),
    }
}

/// The addresses in memory from `start` on of what begins like a registry.
fn headers_in(bytes: &[u8], start: u64) -> impl Iterator<Item = (u64, Header)> {
    let headers = bytes.chunks(ALIGNMENT).enumerate().filter_map(move |(index, bytes)| {
        Some((start.wrapping_add((index * ALIGNMENT) as u64), parse_header(bytes)?))
    });
    headers.filter(|(_, header)| header.magic == MAGIC && is_plausible(header))
}

/// Whether it may be of some version, and is not the beginning of a text such as "hostcrst_create".
fn is_plausible(header: &Header) -> bool {
    header.layout_version < 1 << 16 && header.size < 1 << 24
}

fn parse_header(bytes: &[u8]) -> Option<Header> {
    Some(Header {
        magic: u64::from_le_bytes(*bytes.first_chunk()?),
        layout_version: u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?),
        size: u32::from_le_bytes(*bytes.get(12..)?.first_chunk()?),
    })
}

/// A copy of the registry at `address`, if it has the layout that this tool knows.
fn copy(target: &dyn Target, address: u64, header: Header) -> Option<Box<Shown<Registry>>> {
    if header != Registry::HEADER {
        return None;
    }
    let bytes = read_bytes(target, address, size_of::<Registry>())?;
    let mut place = Box::<Shown<Registry>>::new_uninit();
    // SAFETY: there are as many bytes as a Registry has; it is made of numbers and atomics, valid for all bytes.
    let registry = unsafe {
        place.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        place.assume_init()
    };
    registry.has_layout_of_this_build().then_some(registry)
}

/// What this registry says now of how its CLR stops managed code; 0 if it cannot be read.
pub fn stops(target: &dyn Target, found: &Found) -> u32 {
    let mut bytes = [0; 4];
    let length = target.read(found.address + Registry::STOPS as u64, &mut bytes);
    if length == bytes.len() { u32::from_le_bytes(bytes) } else { 0 }
}

/// The registry of a library in which nothing has happened.
pub fn nothing() -> Box<Shown<Registry>> {
    let mut place = Box::<Shown<Registry>>::new_uninit();
    // SAFETY: it is made of numbers and atomics, for which zeros are valid.
    unsafe {
        place.as_mut_ptr().write_bytes(0, 1);
        place.assume_init()
    }
}

// ---- notes --------------------------------------------------------------------------------------------------

const NOTE_NAME: &[u8] = b"hostcrst\0";
/// It says how far from a place the claim of its copy stands, and how far from the same place the header.
const CLAIM: u32 = 2;
const PAGE: usize = 4096;
const MOST_NOTE_BYTES: u64 = 64 << 10;

/// Where the claims of the library's copies stand, by the notes of programs and libraries. Of a core that lacks those, as
/// far as it has them.
fn claims(target: &dyn Target, time_limit: TimeLimit) -> Vec<u64> {
    let heads = target.mappings().iter().filter(|mapping| mapping.file_offset == 0);
    let heads = heads.take_while(|_| !time_limit.is_over());
    heads.flat_map(|head| claims_of(target, head).unwrap_or_default()).collect()
}

/// Those of the program or library whose first page is mapped there.
fn claims_of(target: &dyn Target, head: &Mapping) -> Option<Vec<u64>> {
    let page = read_bytes(target, head.start, PAGE)?;
    let elf = ElfFile::parse(&*page, &Budget::of(PAGE as u64 * 2))?;
    let base = head.start.wrapping_sub(elf.load_address()?);
    let mut claims = Vec::new();
    for segment in elf.notes() {
        let start = base.wrapping_add(segment.p_vaddr.get(LittleEndian));
        let size = segment.p_filesz.get(LittleEndian).min(MOST_NOTE_BYTES);
        let Some(bytes) = read_bytes(target, start, size as usize) else { continue };
        let notes = Notes::new(&bytes, segment.p_align.get(LittleEndian));
        for note in notes.filter(|note| note.name == NOTE_NAME && note.kind.0 == CLAIM) {
            let Some((to_claim, to_header)) = note.content.split_first_chunk() else { continue };
            let Ok(to_header) = to_header.try_into().map(i64::from_le_bytes) else { continue };
            let offset = i64::from_le_bytes(*to_claim).wrapping_sub(to_header);
            claims.push(head.start.wrapping_add_signed(offset));
        }
    }
    // The process may also map a file as a whole, to read it: then the claim is in no other mapping of it.
    let is_data = |mapping: &Mapping, claim| {
        mapping.holds(claim) && mapping.path == head.path && mapping.start != head.start
    };
    claims.retain(|&claim| target.mappings().iter().any(|mapping| is_data(mapping, claim)));
    Some(claims)
}
