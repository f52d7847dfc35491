//! Spreads numbers over a table. What they count is not known here.

/// 2^64 divided by the golden ratio.
pub(crate) const FIBONACCI_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Fibonacci hashing: the upper bits of the product depend on all bits of the number.
#[inline(always)]
pub(crate) const fn fibonacci_hash(number: u64) -> u64 {
    number.wrapping_mul(FIBONACCI_FACTOR)
}

/// FNV-1a, with its upper bits spread once more: they depend on the last bytes too.
pub(crate) fn hash_of_bytes(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    fibonacci_hash(hash ^ hash >> 32)
}
