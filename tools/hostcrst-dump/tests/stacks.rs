//! Native stacks of threads, as they are unwound from outside.

mod common;

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::Altered;
use hostcrst::inspect::Format;
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::process::Process;
use hostcrst_dump::report::report;
use hostcrst_dump::target::Target;
use hostcrst_dump::time_limit::TimeLimit;
use serde_json::Value;

/// It says where it is, then waits for a byte there; each byte takes it on to the next place.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <unistd.h>
#define KEPT __attribute__((noinline, noclone))
KEPT static int sleeps(void) { char byte; int got; puts("ready"); fflush(stdout); got = (int)read(0, &byte, 1); __asm__ volatile(""); return got; }
KEPT static int inner(int depth) { int got = depth == 0 ? sleeps() : inner(depth - 1); __asm__ volatile(""); return got + 1; }
KEPT static int first(void) { int got = inner(2); __asm__ volatile(""); return got; }
KEPT static int second(void) { int got = sleeps(); __asm__ volatile(""); return got; }
int main(void) { first(); second(); return inner(500); }
"#;

/// The same without a rule for one function in the middle.
const GAP: &str = r#"
#include <stdio.h>
#include <unistd.h>
int with_rules(int (*next)(void));
int sleeps(void);
int without_rules(void) { int got = with_rules(sleeps); __asm__ volatile(""); return got; }
"#;
const AROUND_GAP: &str = r#"
#include <stdio.h>
#include <unistd.h>
int without_rules(void);
int sleeps(void) { char byte; int got; puts("ready"); fflush(stdout); got = (int)read(0, &byte, 1); __asm__ volatile(""); return got; }
int with_rules(int (*next)(void)) { int got = next(); __asm__ volatile(""); return got; }
int main(void) { int got = without_rules(); __asm__ volatile(""); return got; }
"#;

const ENDS: &str = r#"
#include <stdio.h>
#include <unistd.h>
__attribute__((noinline, noclone, noreturn)) static void ends(void) { char byte; puts("ready"); fflush(stdout); _exit((int)read(0, &byte, 1)); }
__attribute__((noinline, noclone)) static void calls_it_last(void) { fputs("", stderr); ends(); }
int main(void) { calls_it_last(); }
"#;

/// Its rules say that the caller's part of the stack lies below its own.
const LIES: &str = r#"
#include <stdio.h>
#include <unistd.h>
__attribute__((noinline, noclone)) static int lies(void)
{
    char byte;
    int got;
    puts("ready");
    fflush(stdout);
    __asm__ volatile(".cfi_remember_state\n.cfi_def_cfa_offset -128");
    got = (int)read(0, &byte, 1);
    __asm__ volatile(".cfi_restore_state");
    return got;
}
int main(void) { int got = lies(); __asm__ volatile(""); return got; }
"#;

fn compile(folder: &Path, sources: &[(&str, &[&str])]) -> PathBuf {
    let program = folder.join("program");
    let mut objects = Vec::new();
    for (index, (source, options)) in sources.iter().enumerate() {
        let (file, object) = (folder.join(format!("part{index}.c")), folder.join(format!("part{index}.o")));
        fs::write(&file, source).unwrap();
        let mut cc = Command::new("cc");
        assert!(cc.args(*options).arg("-c").arg(&file).arg("-o").arg(&object).status().unwrap().success());
        objects.push(object);
    }
    assert!(Command::new("cc").args(&objects).arg("-o").arg(&program).status().unwrap().success());
    program
}

/// A program that waits for a byte of its standard input.
struct Sleeper {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Sleeper {
    fn run(program: &Path) -> Sleeper {
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut sleeper = Sleeper { child, input, output: BufReader::new(output) };
        sleeper.wait_until_asleep();
        sleeper
    }

    fn wait_until_asleep(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let call = format!("/proc/{}/syscall", self.child.id());
        let reads = format!("{} 0x0 ", libc::SYS_read);
        while !fs::read_to_string(&call).unwrap().starts_with(&reads) {
            std::thread::yield_now();
        }
    }

    fn go_on(&mut self) {
        self.input.write_all(b"x").unwrap();
        self.wait_until_asleep();
    }

    fn process(&self) -> Process {
        Process::attach(self.child.id()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn look(target: &dyn Target, stacks_of: StacksOf) -> Value {
    let made = report(target, Format::Json, stacks_of, TimeLimit::of(Duration::from_secs(60))).unwrap();
    serde_json::from_str::<Value>(&made.text).unwrap()["threads"][0].clone()
}

/// The functions of the program on its stack, innermost first, and whether all frames are certain.
fn functions(thread: &Value) -> (Vec<String>, bool) {
    let frames = thread["stack"].as_array().unwrap_or_else(|| panic!("{thread}"));
    let names = frames.iter().filter_map(|frame| {
        let name = frame["at"].as_str().unwrap().strip_prefix("program!")?;
        Some(name.split('+').next().unwrap().to_owned())
    });
    (names.collect(), frames.iter().all(|frame| frame["certain"] == true))
}

#[test]
fn callers_are_named_in_their_order() {
    for (options, is_certain) in [(&["-O2"][..], true), (&["-O2", "-fno-omit-frame-pointer"], false)] {
        let folder = tempfile::tempdir().unwrap();
        let sleeper = Sleeper::run(&compile(folder.path(), &[(PROGRAM, options)]));
        let thread = look(&sleeper.process(), StacksOf::All);
        let expected = ["sleeps", "inner", "inner", "inner", "first", "main", "_start"];
        let (found, certain) = functions(&thread);
        assert_eq!(found, expected, "{thread:#}");
        assert_eq!(certain, is_certain, "{thread:#}");
        assert_eq!(thread["stack_end"], Value::Null, "{thread:#}");
        assert_eq!(look(&sleeper.process(), StacksOf::Cycles)["stack"], Value::Null);
    }
}

#[test]
fn a_deep_stack_is_cut_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut sleeper = Sleeper::run(&compile(folder.path(), &[(PROGRAM, &["-O2"])]));
    sleeper.go_on();
    sleeper.go_on();
    let thread = look(&sleeper.process(), StacksOf::All);
    assert_eq!(thread["stack"].as_array().unwrap().len(), 64);
    assert_eq!(thread["stack_end"], "more than 64 frames");
}

#[test]
fn a_program_that_is_deleted_has_a_stack() {
    let folder = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::run(&compile(folder.path(), &[(PROGRAM, &["-O2"])]));
    fs::remove_file(folder.path().join("program")).unwrap();
    // Only root may open the file that is no longer there.
    let target = Altered::new(sleeper.process(), |process: &Process, address, buffer: &mut [u8]| {
        process.read(address, buffer)
    });
    let thread = look(&target.without_files(), StacksOf::All);
    let frames = thread["stack"].as_array().unwrap();
    let of_program = frames.iter().filter(|frame| frame["at"].as_str().unwrap().starts_with("program+0x"));
    assert_eq!(of_program.count(), 7, "{thread:#}");
}

#[test]
fn a_function_without_rules_is_passed_by_its_frame_pointer_or_ends_the_stack() {
    let folder = tempfile::tempdir().unwrap();
    let without =
        &["-O2", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"][..];
    for (options, expected) in [
        (
            &["-O2", "-fno-omit-frame-pointer"][..],
            &["sleeps", "with_rules", "without_rules", "main", "_start"][..],
        ),
        (&["-O2", "-fomit-frame-pointer"], &["sleeps", "with_rules", "without_rules"]),
    ] {
        let program = compile(folder.path(), &[(GAP, without), (AROUND_GAP, options)]);
        let sleeper = Sleeper::run(&program);
        let thread = look(&sleeper.process(), StacksOf::All);
        assert_eq!(functions(&thread).0, expected, "{thread:#}");
        let ends =
            thread["stack_end"].as_str().is_some_and(|end| end.contains("no unwind information for 0x"));
        assert_eq!(ends, expected.len() == 3, "{thread:#}");
    }
}

#[test]
fn a_call_that_does_not_return_is_in_the_function_before() {
    let folder = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::run(&compile(folder.path(), &[(ENDS, &["-O2"])]));
    let thread = look(&sleeper.process(), StacksOf::All);
    assert_eq!(functions(&thread).0, ["ends", "calls_it_last", "main", "_start"], "{thread:#}");
}

#[test]
fn a_frame_that_leads_down_ends_the_stack() {
    let folder = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::run(&compile(folder.path(), &[(LIES, &["-O2", "-fomit-frame-pointer"])]));
    let thread = look(&sleeper.process(), StacksOf::All);
    assert_eq!(functions(&thread).0, ["lies"], "{thread:#}");
    assert_eq!(thread["stack_end"], "the unwind information or the stack is damaged");
}

/// The thread goes on when its stack has been read for the first time.
#[test]
fn a_stack_is_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut sleeper = Sleeper::run(&compile(folder.path(), &[(PROGRAM, &["-O2"])]));
    let process = sleeper.process();
    let call = fs::read_to_string(format!("/proc/{}/syscall", sleeper.child.id())).unwrap();
    let stack = call.split_whitespace().nth(7).unwrap().strip_prefix("0x").unwrap();
    let page = u64::from_str_radix(stack, 16).unwrap() / 4096;
    let sleeper = std::cell::RefCell::new(&mut sleeper);
    let reads = Cell::new(0);
    let target = Altered::new(process, |process: &Process, address: u64, buffer: &mut [u8]| {
        let there = process.read(address, buffer);
        if address / 4096 == page && buffer.len() == 4096 {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                sleeper.borrow_mut().go_on();
            }
        }
        there
    });
    let thread = look(&target, StacksOf::All);
    assert!(reads.get() >= 2, "{thread:#}");
    assert_eq!(functions(&thread).0, ["sleeps", "second", "main", "_start"], "{thread:#}");
}

/// Unwind information, code and stacks that say anything.
#[test]
fn damaged_memory_ends_a_stack_and_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::run(&compile(folder.path(), &[(PROGRAM, &["-O2"])]));
    let mut damaged = 0;
    for seed in 0..300 {
        let random = std::cell::RefCell::new(fastrand::Rng::with_seed(seed));
        let target = Altered::new(sleeper.process(), |process: &Process, address, buffer: &mut [u8]| {
            let there = process.read(address, buffer);
            let mut random = random.borrow_mut();
            // What identifies a program is left, or nothing is looked at.
            let is_head = buffer.starts_with(b"\x7fELF");
            for _ in 0..if is_head { 0 } else { there.div_ceil(256) } {
                if random.u8(..4) == 0 {
                    buffer[random.usize(..there)] = random.u8(..);
                }
            }
            there
        });
        let start = Instant::now();
        let made = report(&target, Format::Json, StacksOf::All, TimeLimit::of(Duration::from_secs(10)));
        assert!(start.elapsed() < Duration::from_secs(60), "{seed}");
        let made: Value = serde_json::from_str(&made.unwrap().text).unwrap();
        damaged += usize::from(made["threads"][0]["stack_end"].is_string());
    }
    assert!(damaged > 100, "{damaged}");
}
