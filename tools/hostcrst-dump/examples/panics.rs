//! Panics while it has the terminal, for tests/watch.rs.

fn main() {
    let _screen = hostcrst_dump::watch::Screen::open();
    panic!("as it was asked to");
}
