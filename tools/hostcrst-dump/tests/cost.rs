//! What a report costs: how often memory is read, and how much of it, not how long it takes.

mod common;

use std::cell::Cell;
use std::time::Duration;

use hostcrst::inspect::Format;
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::process::Process;
use hostcrst_dump::report::report;
use hostcrst_dump::target::Target;
use hostcrst_dump::time_limit::TimeLimit;

use common::{Altered, Subject};

/// A report on the subject that has no deadlock: its text, how often memory was read, and how much.
fn cost(subject: &Subject, format: Format) -> (String, usize, usize) {
    let process = Process::attach(subject.id()).unwrap();
    let (reads, bytes) = (Cell::new(0), Cell::new(0));
    let count = |process: &Process, address, buffer: &mut [u8]| {
        reads.set(reads.get() + 1);
        bytes.set(bytes.get() + buffer.len());
        process.read(address, buffer)
    };
    let target = Altered::new(process, count).without_files();
    let made = report(&target, format, StacksOf::Cycles, TimeLimit::of(Duration::from_secs(600))).unwrap();
    assert!(!made.deadlock.unwrap());
    (made.text, reads.get(), bytes.get())
}

#[test]
fn many_sections_of_one_task_are_read_in_large_pieces() {
    const SECTIONS: usize = 200_000;
    let subject = Subject::start(&format!("own={SECTIONS}"));
    for format in [Format::Text, Format::Json, Format::Dot] {
        let (text, reads, bytes) = cost(&subject, format);
        assert!(reads < SECTIONS / 50, "{format:?}: {reads} reads");
        assert!(bytes < SECTIONS * 64 * 4 + (64 << 20), "{format:?}: {bytes} bytes");
        if format == Format::Text {
            assert_eq!(text.matches("   owns 0x").count(), SECTIONS);
            assert_eq!(text.matches("  owned     ").count(), SECTIONS);
        }
    }
}

#[test]
fn a_long_chain_of_waits_is_walked_once() {
    const TASKS: usize = 5000;
    let subject = Subject::start(&format!("chain={TASKS}"));
    for format in [Format::Text, Format::Json, Format::Dot] {
        let (text, reads, bytes) = cost(&subject, format);
        assert!(reads < TASKS, "{format:?}: {reads} reads");
        assert!(bytes < TASKS * 640 * 10 + (64 << 20), "{format:?}: {bytes} bytes");
        if format == Format::Text {
            assert_eq!(text.matches("   waiting to enter 0x").count(), TASKS);
        }
    }
}
