//! Waits for locks of files and for children, and the cycles of processes that they close.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::Subject;
use hostcrst::inspect::Format;
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::process::Process;
use hostcrst_dump::report::report;
use hostcrst_dump::time_limit::TimeLimit;
use serde_json::{Value, json};

/// A process of `examples/processes.rs`, and its child.
struct Family {
    parent: Subject,
    child: u32,
    _folder: tempfile::TempDir,
}

impl Family {
    fn start(how: &str) -> Family {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(common::example("processes"));
        let (parent, line) = Subject::run_until_line(command.arg(how).arg(folder.path()));
        let child = line.trim().strip_prefix("child ").unwrap().parse().unwrap();
        Family { parent, child, _folder: folder }
    }

    /// Waits until each of them is in the system call.
    fn wait_until_in(&self, parent: libc::c_long, child: libc::c_long) {
        let is_in = |id: u32, call: libc::c_long| {
            let text = std::fs::read_to_string(format!("/proc/{id}/syscall")).unwrap();
            text.starts_with(&format!("{call} "))
        };
        let end = Instant::now() + Duration::from_secs(60);
        while !(is_in(self.parent.id(), parent) && is_in(self.child, child)) {
            assert!(Instant::now() < end, "they never wait");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What the tool says of the process, and whether a deadlock stands; looked at again until its first thread waits for a process.
fn look(id: u32) -> (Value, bool) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let process = Process::attach(id).unwrap();
        let limit = TimeLimit::of(Duration::from_secs(60));
        let made = report(&process, Format::Json, StacksOf::Cycles, limit).unwrap();
        let told: Value = serde_json::from_str(&made.text).unwrap();
        if told["threads"][0]["waits_for_process"]["certain"].is_boolean() {
            return (told, made.deadlock.unwrap());
        }
        assert!(Instant::now() < end, "{told:#}");
    }
}

#[test]
fn a_child_that_waits_for_a_lock_of_its_waiting_parent_is_a_deadlock() {
    let family = Family::start("child");
    family.wait_until_in(libc::SYS_wait4, libc::SYS_fcntl);
    let (parent, child) = (family.parent.id(), family.child);
    let (told, deadlock) = look(parent);
    assert!(deadlock, "{told:#}");
    assert_eq!(told["process_deadlocks"], json!([{ "certain": true, "pids": [parent, child] }]));
    assert_eq!(
        told["threads"][0]["waits_for_process"],
        json!({ "kind": "end", "pid": child, "certain": true })
    );
    // The same from the other end.
    let (told, deadlock) = look(child);
    assert!(deadlock, "{told:#}");
    let wait = &told["threads"][0]["waits_for_process"];
    assert_eq!(
        (&wait["kind"], &wait["pid"], &wait["certain"]),
        (&json!("file_lock"), &json!(parent), &json!(true))
    );
    assert!(wait["file"].as_str().unwrap().ends_with("/first"), "{wait}");
}

#[test]
fn two_processes_that_wait_for_each_others_file_are_a_deadlock() {
    let family = Family::start("crossed");
    family.wait_until_in(libc::SYS_flock, libc::SYS_flock);
    let (told, deadlock) = look(family.parent.id());
    assert!(deadlock, "{told:#}");
    assert_eq!(
        told["process_deadlocks"],
        json!([{ "certain": true, "pids": [family.parent.id(), family.child] }])
    );
}

#[test]
fn a_lock_that_others_may_give_up_is_no_certain_deadlock() {
    for (how, call) in [("threaded", libc::SYS_fcntl), ("shared", libc::SYS_flock)] {
        let family = Family::start(how);
        family.wait_until_in(libc::SYS_wait4, call);
        let (told, deadlock) = look(family.parent.id());
        assert!(!deadlock, "{how}: {told:#}");
        assert_eq!(told["process_deadlocks"][0]["certain"], false, "{how}: {told:#}");
    }
}

#[test]
fn a_child_that_does_something_else_is_no_deadlock() {
    let family = Family::start("waits");
    family.wait_until_in(libc::SYS_wait4, libc::SYS_clock_nanosleep);
    let (told, deadlock) = look(family.parent.id());
    assert!(!deadlock && told["process_deadlocks"] == json!([]), "{told:#}");
}
