//! A second Rust library in one program with hostcrst, with all of std in its archive.

#[unsafe(no_mangle)]
pub extern "C" fn other_sum() -> u32 {
    (1..=4).map(|number: u32| format!("{number}").parse::<u32>().unwrap()).sum()
}
