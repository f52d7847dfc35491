//! Looks addresses up in whatever libFuzzer thinks of: `./dev check fuzz`.

#![no_main]

#[path = "../src/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hostile::look_up(input);
});
