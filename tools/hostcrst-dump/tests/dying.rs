//! A process that ends, or becomes another program, while it is looked at.

mod common;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::{Altered, Subject};
use hostcrst::inspect::Format;
use hostcrst_dump::failure::Failure;
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::process::{self, Process};
use hostcrst_dump::report::{Report, metrics, report};
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

/// A process that becomes the same program once more when it is told to.
struct Again {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Again {
    fn start() -> Again {
        let mut command = Command::new(common::program());
        let mut child = command.arg("again").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut again = Again { child, input, output };
        again.wait_until_ready();
        again
    }

    fn wait_until_ready(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }

    fn begin_anew(&mut self) {
        self.input.write_all(b"!").unwrap();
        self.wait_until_ready();
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Look = fn(&dyn Target, TimeLimit) -> Result<Report, Failure>;

/// Looks at a process that begins anew at this read of its memory: each outcome.
fn outcomes(look: Look, at: usize) -> Vec<Result<bool, Failure>> {
    let again = RefCell::new(Again::start());
    let id = again.borrow().child.id();
    let reads_left = Cell::new(at);
    let mut outcomes = Vec::new();
    let mut seen = process::look(|| {
        let target = Altered::new(Process::attach(id)?, |process: &Process, address, buffer: &mut [u8]| {
            if reads_left.get() == 1 {
                again.borrow_mut().begin_anew();
            }
            reads_left.set(reads_left.get().saturating_sub(1));
            process.read(address, buffer)
        });
        let made = look(&target, TimeLimit::of(Duration::from_secs(60)));
        made.inspect_err(|failure| outcomes.push(Err(Failure::Usage(failure.to_string()))))
    });
    if let Ok(report) = &mut seen {
        outcomes.push(std::mem::replace(&mut report.deadlock, Ok(false)));
    }
    assert_eq!(outcomes.len(), if reads_left.get() == 0 { 2 } else { 1 }, "{outcomes:?}");
    outcomes
}

#[test]
fn a_process_that_becomes_another_program_is_looked_at_again() {
    let looks: [Look; 2] = [
        |target, time_limit| report(target, Format::Text, StacksOf::Cycles, time_limit),
        |target, time_limit| metrics(target, time_limit),
    ];
    for look in looks {
        let mut begun = 0;
        for at in (1..12).chain((12..200).step_by(9)) {
            let outcomes = outcomes(look, at);
            assert!(matches!(outcomes.last(), Some(Ok(false))), "{outcomes:?} at read {at}");
            if outcomes.len() == 1 {
                break;
            }
            let first = format!("{:?}", outcomes[0]);
            assert!(first.contains("became another program"), "{first} at read {at}");
            begun += 1;
        }
        assert!(begun >= 4, "{begun}");
    }
}

#[test]
fn a_process_that_becomes_another_program_all_the_time_is_given_up() {
    let mut looks = 0;
    let seen = process::look(|| {
        looks += 1;
        Err::<(), _>(Failure::BecameAnother(7))
    });
    assert_eq!((looks, seen.unwrap_err().exit_code()), (3, 4));
}
