//! A process that ends while it is looked at.

mod common;

use std::cell::Cell;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Altered, Subject};
use hostcrst::inspect::Format;
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::process::Process;
use hostcrst_dump::report::report;
use hostcrst_dump::target::Target;
use hostcrst_dump::time_limit::TimeLimit;

fn kill(id: u32) {
    // SAFETY: a process of this one's own, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id as i32, libc::SIGKILL) }, 0);
}

fn kill_to_the_end(id: u32) {
    kill(id);
    let is_over = || {
        fs::read_dir(format!("/proc/{id}/task")).unwrap().count() == 1
            && fs::read_to_string(format!("/proc/{id}/status")).unwrap().contains("State:\tZ")
    };
    while !is_over() {
        std::thread::yield_now();
    }
}

/// The exit code of a report on a process that is killed at this read of its memory, and whether it came so far.
fn exit_code(at: usize) -> (u8, bool) {
    let subject = Subject::start("clean");
    let process = Process::attach(subject.id()).unwrap();
    let reads_left = Cell::new(at);
    let target = Altered::new(process, |process: &Process, address, buffer: &mut [u8]| {
        if reads_left.get() == 1 {
            kill_to_the_end(subject.id());
        }
        reads_left.set(reads_left.get().saturating_sub(1));
        process.read(address, buffer)
    });
    let made = report(&target, Format::Text, StacksOf::Cycles, TimeLimit::of(Duration::from_secs(60)));
    let is_killed = reads_left.get() == 0;
    let code = match made.and_then(|made| made.deadlock) {
        Ok(deadlock) => u8::from(deadlock) * 2,
        Err(failure) => failure.exit_code(),
    };
    (code, is_killed)
}

#[test]
fn a_process_that_is_killed_at_any_read_is_not_called_clean() {
    let mut killed = 0;
    for at in (1..12).chain((12..200).step_by(9)) {
        let (code, is_killed) = exit_code(at);
        assert_eq!(code, if is_killed { 4 } else { 0 }, "killed at read {at}");
        killed += usize::from(is_killed);
        if !is_killed {
            break;
        }
    }
    assert!(killed >= 8, "{killed}");
}

#[test]
fn a_deadlock_whose_process_is_killed_at_any_moment_is_not_called_none() {
    let mut codes = Vec::new();
    for round in 0..30 {
        let subject = Subject::start("hang");
        let mut tool = Command::new(env!("CARGO_BIN_EXE_hostcrst-dump"));
        let tool = tool.arg(subject.id().to_string()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        std::thread::sleep(Duration::from_micros(500 * round));
        kill(subject.id());
        let output = tool.unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().unwrap();
        assert!(matches!(code, 2 | 4), "{code}: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("No deadlock"), "{text}");
        codes.push(code);
    }
    assert!(codes.contains(&4), "{codes:?}");
}
