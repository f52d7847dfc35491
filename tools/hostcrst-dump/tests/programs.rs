//! Programs that nobody here wrote, hung on purpose.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::Subject;

/// Two connections of SQLite, each locked by a thread that asks the other one from within a function of SQL.
const SQLITE: &str = r#"
import sqlite3, threading
one, two = (sqlite3.connect(":memory:", check_same_thread=False) for _ in range(2))
both = threading.Barrier(2)
def ask(this, other):
    def value():
        both.wait()
        return other.execute("SELECT 1").fetchone()[0]
    this.create_function("value", 0, value)
    this.execute("SELECT value()").fetchone()
for order in (one, two), (two, one):
    threading.Thread(target=ask, args=order).start()
print("ready", flush=True)
"#;

/// Two locks of Python's own, in both orders.
const PYTHON: &str = r#"
import threading
one, two = threading.KIND(), threading.KIND()
both = threading.Barrier(2)
def take(first, second):
    with first:
        both.wait()
        with second:
            pass
for order in (one, two), (two, one):
    threading.Thread(target=take, args=order).start()
print("ready", flush=True)
"#;

/// Two mutexes in both orders.
const MUTEXES: &str = r#"
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, two = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;
static void *take_both(void *unused)
{
    pthread_mutex_lock(&two);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&one);
    return unused;
}
int main(void)
{
    pthread_t thread;
    pthread_barrier_init(&both, 0, 2);
    pthread_create(&thread, 0, take_both, 0);
    pthread_mutex_lock(&one);
    puts("ready");
    fflush(stdout);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&two);
}
"#;

fn python(program: &str) -> Subject {
    Subject::run(Command::new("python3").arg("-c").arg(program))
}

/// What the tool says with these arguments. Never an error.
fn report(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_hostcrst-dump")).args(arguments).output().unwrap();
    assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// The report as soon as two threads are seen to wait for what has this name.
fn report_of_two_that_wait(subject: &Subject, what: &str) -> (Option<i32>, String) {
    loop {
        let (code, text) = report(&["--stacks", &subject.id().to_string()]);
        if text.matches(what).count() >= 2 {
            return (code, text);
        }
        std::thread::yield_now();
    }
}

#[track_caller]
fn assert_is_deadlock_in_sqlite((code, text): (Option<i32>, String)) {
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("\nFound a deadlock:\n") && text.ends_with("\nFound 1 deadlock.\n"), "{text}");
    // Twice with the stacks, and twice as the links of the cycle.
    assert_eq!(text.matches("   waiting for recursive mutex 0x").count(), 4, "{text}");
    assert_eq!(text.matches("!sqlite3_step+0x").count(), 2, "{text}");
}

#[test]
fn two_connections_of_sqlite_that_ask_each_other_are_a_deadlock() {
    let subject = python(SQLITE);
    assert_is_deadlock_in_sqlite(report_of_two_that_wait(&subject, "waiting for recursive mutex"));
    let folder = tempfile::tempdir().unwrap();
    let core = subject.take_core(folder.path());
    assert_is_deadlock_in_sqlite(report(&[core.to_str().unwrap()]));
}

#[test]
fn a_lock_of_python_has_no_owner_and_is_not_ruled_out() {
    for kind in ["Lock", "RLock"] {
        let subject = python(&PYTHON.replace("KIND", kind));
        // The first thread waits for the others.
        let (code, text) = loop {
            let report = report_of_two_that_wait(&subject, "waiting for semaphore");
            if report.1.matches("waiting for semaphore").count() == 3 {
                break report;
            }
        };
        assert_eq!(code, Some(0), "{text}");
        let verdict = "No deadlock among 0 locks seen; 3 threads blocked in what has no owner.\n";
        assert!(text.contains(verdict), "{text}");
    }
}

#[test]
fn locks_of_musl_are_words_of_memory_and_not_ruled_out() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("mutexes.c"), folder.path().join("mutexes"));
    std::fs::write(&source, MUTEXES).unwrap();
    let build = Command::new("musl-gcc").args([Path::new("-o"), &program, &source]).output();
    let build = build.expect("musl-gcc, of Debian's package musl-tools");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let subject = Subject::run(&mut Command::new(&program));
    let (code, text) = report_of_two_that_wait(&subject, "waiting on a futex at 0x");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" mutexes!one+0x") && text.contains(" mutexes!two+0x"), "{text}");
    let sentence = "Not examined: locks of this C library, which this tool does not know.\n";
    assert!(text.ends_with(sentence), "{text}");
}
