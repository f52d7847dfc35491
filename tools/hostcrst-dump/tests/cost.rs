//! What a report costs: how often memory is read, and how much of it, not how long it takes.

mod common;

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::time::Duration;

use hostcrst::inspect::Format;
use hostcrst_dump::process::Process;
use hostcrst_dump::report::report;
use hostcrst_dump::target::{Mapping, Target};
use hostcrst_dump::time_limit::TimeLimit;

use common::Subject;

/// A process, and what has been read of it.
struct Counted {
    process: Process,
    reads: Cell<usize>,
    bytes: Cell<usize>,
}

impl Target for Counted {
    fn description(&self) -> String {
        self.process.description()
    }
    fn process_id(&self) -> u32 {
        self.process.process_id()
    }
    fn is_live(&self) -> bool {
        true
    }
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + buffer.len());
        self.process.read(address, buffer)
    }
    fn mappings(&self) -> &[Mapping] {
        self.process.mappings()
    }
    fn open(&self, _: &Mapping) -> Option<File> {
        None
    }
    fn now(&self) -> Option<u64> {
        self.process.now()
    }
    fn thread_names(&self) -> HashMap<u32, Vec<u8>> {
        self.process.thread_names()
    }
}

/// A report on the subject that has no deadlock: its text, how often memory was read, and how much.
fn cost(subject: &Subject, format: Format) -> (String, usize, usize) {
    let process = Process::attach(subject.id()).unwrap();
    let target = Counted { process, reads: Cell::new(0), bytes: Cell::new(0) };
    let made = report(&target, format, TimeLimit::of(Duration::from_secs(600))).unwrap();
    assert!(!made.deadlock.unwrap());
    (made.text, target.reads.get(), target.bytes.get())
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
