//! Spreads numbers over a table. What they count is not known here.

/// Fibonacci hashing: the upper bits of the product depend on all bits of the number.
#[inline(always)]
pub(crate) const fn fibonacci_hash(number: u64) -> u64 {
    // 2^64 divided by the golden ratio.
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
