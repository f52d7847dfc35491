//! Panics while it has the terminal, for tests/watch.rs.

fn main() {
    // In the installed tool nothing is dropped after a panic.
    std::mem::forget(hostcrst_dump::watch::Screen::open());
    panic!("as it was asked to");
}
