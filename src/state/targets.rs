//! Names of layer targets, and places that callers name or that are found for them: set once, kept for ever, found without
//! a lock. Where a name comes from is not known here.

use core::mem::offset_of;

use crate::base::arena::Slot;
use crate::base::hash::{FIBONACCI_FACTOR, fibonacci_hash, hash_of_bytes};
use crate::base::memory::{Memory, Shown, readable_in_copies};
use crate::base::table::{Entry, Key, Table};
use crate::state::layers::Origin;
use crate::sys;
use crate::sys::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::text::{TextBuffer, cut};

/// The bytes of a target's name at most, and of a place.
pub(crate) const TARGET_NAME_BYTES: usize = 232;
/// Targets that can have a name, and places; further ones are shown as numbers. A power of two.
const CAPACITY: usize = 1 << 15;
/// Entries probed before giving up.
const PROBES: usize = 64;

/// A name, copied in order. Its length is the entry's detail.
#[repr(transparent)]
struct Bytes([AtomicU8; TARGET_NAME_BYTES]);

// SAFETY: atomics only.
unsafe impl Slot for Bytes {}

/// Where in an assembly of .NET's a place lies, from which who has the assembly's symbols knows file and line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IlPlace {
    /// Where the assembly stands in memory.
    pub assembly: u64,
    /// Which one it is, by the number that its compiler gave it.
    pub version: [u8; 16],
    /// The method's token.
    pub method: u32,
    /// Of its instructions the one that called.
    pub offset: u32,
}

/// A place with a shorter text has it in the last bytes; of others they are zero.
const IL_PLACE_BYTES: usize = 32;
const BEFORE_IL_PLACE: usize = TARGET_NAME_BYTES - IL_PLACE_BYTES;

impl IlPlace {
    /// The kind of token of a method.
    const METHOD: u32 = 0x06;

    fn to_bytes(self) -> [u8; IL_PLACE_BYTES] {
        let mut bytes = [0; IL_PLACE_BYTES];
        let fields: [&[u8]; 4] = [
            &self.assembly.to_le_bytes(),
            &self.version,
            &self.method.to_le_bytes(),
            &self.offset.to_le_bytes(),
        ];
        let mut rest = &mut bytes[..];
        for field in fields {
            let (first, next) = core::mem::take(&mut rest).split_at_mut(field.len());
            first.copy_from_slice(field);
            rest = next;
        }
        bytes
    }

    fn of_bytes(bytes: &[u8; IL_PLACE_BYTES]) -> Option<IlPlace> {
        let (assembly, rest) = bytes.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (method, offset) = rest.split_first_chunk()?;
        let method = u32::from_le_bytes(*method);
        (method >> 24 == IlPlace::METHOD).then_some(IlPlace {
            assembly: u64::from_le_bytes(*assembly),
            version: *version,
            method,
            offset: u32::from_le_bytes(*offset.first_chunk()?),
        })
    }
}

/// What a key of a place has in place of an origin, and that of a type.
const PLACE_KIND: u32 = Origin::ClrFunction as u32 + 1;
const TYPE_KIND: u32 = PLACE_KIND + 1;
/// The number of a place has this in its highest byte, as no address of code has on x86-64 or aarch64.
const PLACE: u64 = 0x80 << 56;

/// For `layout`.
pub(crate) const LAYOUT: [(&str, usize); 2] =
    [("target.bytes", size_of::<Entry<Bytes>>()), ("targets.entries", offset_of!(Targets, entries))];

/// For `layout`.
pub(crate) const NUMBERS: [(&str, u64); 5] = [
    ("targets.capacity", CAPACITY as u64),
    ("targets.probes", PROBES as u64),
    ("place.kind", PLACE_KIND as u64),
    ("place.state", place_key(0).state() as u64),
    ("hash.factor", FIBONACCI_FACTOR),
];

/// The table, in pages that are taken when the library is prepared.
#[repr(C)]
pub(crate) struct Targets {
    entries: AtomicUsize,
}

impl Targets {
    pub(crate) const fn new() -> Self {
        Targets { entries: AtomicUsize::new(0) }
    }

    /// Takes address space for the table; without it every target is shown as a number.
    pub(crate) fn reserve(&self) {
        if self.entries.load(Ordering::Relaxed) == 0
            && let Some(pages) = sys::allocate_pages(Table::<Bytes>::bytes(CAPACITY))
        {
            // Pairs with the Acquire in table.
            self.entries.store(pages as usize, Ordering::Release);
        }
    }

    fn table(&self) -> Option<Table<Bytes>> {
        // Pairs with the Release in reserve.
        let base = self.entries.load(Ordering::Acquire);
        // SAFETY: reserve has stored the address of zeroed pages of this size, which are never unmapped.
        (base != 0).then(|| unsafe { Table::at(base, CAPACITY, PROBES) })
    }

    /// Whether the target has a name.
    pub(crate) fn is_known(&self, origin: Origin, target: u64) -> bool {
        self.table().is_some_and(|table| table.find(key(origin, target)).is_some())
    }

    /// Gives the target a name, cut to what fits, unless it has one.
    pub(crate) fn intern(&self, origin: Origin, target: u64, text: &[u8]) {
        let Some(table) = self.table() else { return };
        if !self.is_known(origin, target) {
            // Where there is no room the target stays a number.
            add(&table, key(origin, target), cut(text, TARGET_NAME_BYTES));
        }
    }

    /// Gives a target the name by which it is shown where it has called this method, cut to what fits. The method's tag
    /// there; None if there is no room, or if that is the tag of another.
    pub(crate) fn intern_callee(&self, target: u64, method: u64, text: &[u8]) -> Option<u16> {
        let table = self.table()?;
        // 0 is none.
        let callee = (fibonacci_hash(method) >> 48) as u16 | 1;
        keep(&table, callee_key(target, callee), cut(text, TARGET_NAME_BYTES)).then_some(callee)
    }

    /// Whether the type of the CLR's has a name.
    pub(crate) fn has_type(&self, of_type: u64) -> bool {
        self.table().is_some_and(|table| table.find(type_key(of_type)).is_some())
    }

    /// Gives it one, cut to what fits, unless it has one.
    pub(crate) fn name_type(&self, of_type: u64, text: &[u8]) {
        if let Some(table) = self.table() {
            keep(&table, type_key(of_type), cut(text, TARGET_NAME_BYTES));
        }
    }

    /// Whether the call site has a place.
    pub(crate) fn has_place(&self, site: u64) -> bool {
        self.table().is_some_and(|table| table.find(place_key(site)).is_some())
    }

    /// Gives a call site in code a place, shown as this text, cut to what fits. Only where it has none. Where in an assembly
    /// it lies is kept if there is room for that too.
    pub(crate) fn place_site(&self, site: u64, text: &[u8], il: Option<IlPlace>) {
        let Some(table) = self.table() else { return };
        if !self.has_place(site) {
            // Where there is no room it is shown as an address.
            table.add(place_key(site), |entry| {
                fill(entry, cut(text, TARGET_NAME_BYTES));
                if let Some(il) = il.filter(|_| text.len() <= BEFORE_IL_PLACE) {
                    entry.value.store(BEFORE_IL_PLACE, &il.to_bytes());
                }
            });
        }
    }

    /// The number of the place with this text, cut to what fits: a call site, shown as that text. None if there is no
    /// room for it, or if its number is that of another text.
    pub(crate) fn intern_place(&self, text: &[u8]) -> Option<u64> {
        let table = self.table()?;
        let text = cut(text, TARGET_NAME_BYTES);
        let number = PLACE | hash_of_bytes(text) >> 8;
        keep(&table, place_key(number), text).then_some(number)
    }
}

impl Bytes {
    /// Whether the first `length` of them are `text`.
    fn are(&self, text: &[u8], length: u32) -> bool {
        text.len() == length as usize
            && self.0.iter().zip(text).all(|(byte, &value)| byte.load(Ordering::Relaxed) == value)
    }

    // Not unrolled for the one place where the length is known.
    #[inline(never)]
    fn store(&self, at: usize, values: &[u8]) {
        self.0.iter().skip(at).zip(values).for_each(|(byte, &value)| byte.store(value, Ordering::Relaxed));
    }
}

/// Whether the key has this text: there was room, or it had it before.
fn keep(table: &Table<Bytes>, key: Key, text: &[u8]) -> bool {
    match table.find(key) {
        Some(entry) => entry.value.are(text, entry.detail.load(Ordering::Relaxed)),
        None => add(table, key, text),
    }
}

/// Whether there was room.
fn add(table: &Table<Bytes>, key: Key, text: &[u8]) -> bool {
    table.add(key, |entry| fill(entry, text))
}

fn fill(entry: &Entry<Bytes>, text: &[u8]) {
    entry.value.store(0, text);
    entry.detail.store(text.len() as u32, Ordering::Relaxed);
}

readable_in_copies!(Targets);

impl Shown<Targets> {
    /// The target's name, if it has one.
    pub(crate) fn name<M: Memory>(
        &self,
        memory: &M,
        origin: Origin,
        target: u64,
    ) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        self.text(memory, key(origin, target))
    }

    /// The name of a target of the CLR's where it has called the method with that tag there.
    pub(crate) fn callee<M: Memory>(
        &self,
        memory: &M,
        target: u64,
        callee: u16,
    ) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        if callee == 0 { None } else { self.text(memory, callee_key(target, callee)) }
    }

    /// The name of a type of the CLR's, if it has one.
    pub(crate) fn type_name<M: Memory>(
        &self,
        memory: &M,
        of_type: u64,
    ) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        self.text(memory, type_key(of_type))
    }

    /// The text of a call site, if that is a place or has one.
    pub(crate) fn place<M: Memory>(&self, memory: &M, site: u64) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        self.text(memory, place_key(site))
    }

    /// Where in an assembly a call site lies, if that is known.
    pub(crate) fn il_place<M: Memory>(&self, memory: &M, site: u64) -> Option<IlPlace> {
        let bytes = self.fields().table()?.find_in(memory, place_key(site), |entry| {
            let entry = entry.fields();
            let mut bytes = [0; IL_PLACE_BYTES];
            let kept = entry.value.0.iter().skip(BEFORE_IL_PLACE);
            bytes.iter_mut().zip(kept).for_each(|(byte, kept)| *byte = kept.load(Ordering::Relaxed));
            (entry.detail.load(Ordering::Relaxed) as usize <= BEFORE_IL_PLACE).then_some(bytes)
        })??;
        IlPlace::of_bytes(&bytes)
    }

    fn text<M: Memory>(&self, memory: &M, key: Key) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        self.fields().table()?.find_in(memory, key, |entry| {
            let entry = entry.fields();
            let mut name = TextBuffer::new();
            for byte in entry.value.0.iter().take(entry.detail.load(Ordering::Relaxed) as usize) {
                name.push_what_fits(&[byte.load(Ordering::Relaxed)]);
            }
            name
        })
    }
}

fn key(origin: Origin, target: u64) -> Key {
    Key { kind: origin as u32, number: target }
}

/// A function id of the CLR's is an address, whose highest bits are 0.
fn callee_key(target: u64, callee: u16) -> Key {
    key(Origin::ClrFunction, target ^ u64::from(callee) << 48)
}

fn type_key(number: u64) -> Key {
    Key { kind: TYPE_KIND, number }
}

const fn place_key(number: u64) -> Key {
    Key { kind: PLACE_KIND, number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Here;

    #[test]
    fn a_name_is_kept_and_the_first_one_wins() {
        let targets = Targets::new();
        assert!(!targets.is_known(Origin::Address, 7), "no table yet");
        targets.reserve();
        targets.intern(Origin::Address, 7, b"seven");
        targets.intern(Origin::Address, 7, b"other");
        targets.intern(Origin::ClrFunction, 7, b"method");
        assert_eq!(targets.name(&Here, Origin::Address, 7).unwrap().bytes(), b"seven");
        assert_eq!(targets.name(&Here, Origin::ClrFunction, 7).unwrap().bytes(), b"method");
        assert!(!targets.is_known(Origin::Address, 8));
    }

    #[test]
    fn a_place_has_one_number_which_is_no_address() {
        let targets = Targets::new();
        assert_eq!(targets.intern_place(b"sell (shop.py:12)"), None, "no table yet");
        targets.reserve();
        let number = targets.intern_place(b"sell (shop.py:12)").unwrap();
        assert_eq!(number >> 56, 0x80);
        assert_eq!(targets.intern_place(b"sell (shop.py:12)"), Some(number));
        assert_ne!(targets.intern_place(b"sell (shop.py:13)"), Some(number));
        assert_eq!(targets.place(&Here, number).unwrap().bytes(), b"sell (shop.py:12)");
        assert!(targets.place(&Here, number + 1).is_none() && targets.place(&Here, 7).is_none());
    }

    #[test]
    fn a_call_site_gets_one_place() {
        let targets = Targets::new();
        targets.place_site(7, b"too early", None);
        targets.reserve();
        assert!(!targets.has_place(7));
        targets.place_site(7, b"Shop.Sell()+0x7", None);
        targets.place_site(7, b"other", None);
        targets.intern(Origin::Address, 7, b"seven");
        assert!(targets.has_place(7) && !targets.has_place(8));
        assert_eq!(targets.place(&Here, 7).unwrap().bytes(), b"Shop.Sell()+0x7");
    }

    #[test]
    fn a_call_site_lies_in_an_assembly_if_there_is_room_to_say_where() {
        let targets = Targets::new();
        targets.reserve();
        let il = IlPlace { assembly: 0x7f00_0000_1000, version: [7; 16], method: 0x0600_0003, offset: 12 };
        let short = [b'a'; BEFORE_IL_PLACE];
        let long = [b'a'; BEFORE_IL_PLACE + 1];
        for (site, text, il) in [
            (1, &short[..], Some(il)),
            (2, &long[..], Some(il)),
            (3, &short[..], None),
            (4, &[6; TARGET_NAME_BYTES][..], None),
            (5, &short[..], Some(IlPlace { method: 0x0A00_0003, ..il })),
        ] {
            targets.place_site(site, text, il);
            assert_eq!(targets.place(&Here, site).unwrap().bytes(), text);
            assert_eq!(targets.il_place(&Here, site), il.filter(|_| site == 1), "{site}");
        }
        assert_eq!(targets.il_place(&Here, 9), None);
    }

    #[test]
    fn a_target_has_a_name_for_each_method_that_it_calls() {
        let targets = Targets::new();
        assert_eq!(targets.intern_callee(7, 0x70, b"Sell (Visit.Invoke)"), None, "no table yet");
        targets.reserve();
        targets.intern(Origin::ClrFunction, 7, b"Visit.Invoke");
        let sell = targets.intern_callee(7, 0x70, b"Sell (Visit.Invoke)").unwrap();
        let buy = targets.intern_callee(7, 0x78, b"Buy (Visit.Invoke)").unwrap();
        assert!(sell != buy && sell != 0 && buy != 0);
        assert_eq!(targets.intern_callee(7, 0x70, b"Sell (Visit.Invoke)"), Some(sell));
        assert_eq!(targets.intern_callee(7, 0x70, b"another with its tag"), None);
        assert_eq!(targets.callee(&Here, 7, buy).unwrap().bytes(), b"Buy (Visit.Invoke)");
        assert!(targets.callee(&Here, 8, buy).is_none());
        assert!(!targets.has_type(7));
        targets.name_type(7, b"Shop.Till");
        assert!(targets.has_type(7) && !targets.has_type(8));
        assert_eq!(targets.type_name(&Here, 7).unwrap().bytes(), b"Shop.Till");
        assert_eq!(targets.name(&Here, Origin::ClrFunction, 7).unwrap().bytes(), b"Visit.Invoke");
    }

    #[test]
    fn a_place_is_cut_between_characters() {
        let targets = Targets::new();
        targets.reserve();
        let short = [b'a'; TARGET_NAME_BYTES - 1];
        let long = [&short, "é".as_bytes()].concat();
        let number = targets.intern_place(&long).unwrap();
        assert_eq!(targets.place(&Here, number).unwrap().bytes(), short);
        assert_eq!(targets.intern_place(&long), Some(number));
    }

    #[test]
    fn texts_with_one_number_are_not_mistaken_for_each_other() {
        let targets = Targets::new();
        targets.reserve();
        let number = PLACE | hash_of_bytes(b"mine") >> 8;
        assert!(add(&targets.table().unwrap(), place_key(number), b"theirs"));
        assert_eq!(targets.intern_place(b"mine"), None);
        assert!(add(&targets.table().unwrap(), place_key(PLACE | hash_of_bytes(b"a") >> 8), b"ab"));
        assert_eq!(targets.intern_place(b"a"), None, "the beginning of another one");
    }

    #[test]
    fn a_crowded_table_refuses_without_harm() {
        let targets = Targets::new();
        targets.reserve();
        for target in 0..2 * CAPACITY as u64 {
            targets.intern(Origin::Address, target, &target.to_le_bytes());
        }
        let known = (0..2 * CAPACITY as u64).filter(|&target| targets.is_known(Origin::Address, target));
        let mut count = 0;
        for target in known {
            let name = targets.name(&Here, Origin::Address, target).unwrap();
            assert_eq!(name.bytes(), target.to_le_bytes());
            count += 1;
        }
        assert!(count > CAPACITY / 2 && count <= CAPACITY, "{count}");
    }
}
