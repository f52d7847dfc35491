//! Emits the C header.
fn main() {}
