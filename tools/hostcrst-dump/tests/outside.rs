//! The tool as its users run it, on programs that run, hang, are dumped, or are something else.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::Subject;

const TOOL: &str = env!("CARGO_BIN_EXE_hostcrst-dump");

fn dump(arguments: &[&str]) -> Output {
    Command::new(TOOL).args(arguments).output().unwrap()
}

/// Runs the tool, which must end with `code`. What it wrote to stdout.
fn report(code: i32, arguments: &[&str]) -> String {
    let output = dump(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    assert_eq!(errors, "");
    text
}

/// Runs the tool, which must end with `code` and say why.
fn refusal(code: i32, arguments: &[&str], reason: &str) {
    let output = dump(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(reason), "{errors}");
    assert!(output.stdout.is_empty());
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

const DEADLOCK: &[&str] = &[
    "2 tasks (2 managed, 0 unmanaged; 2 waiting), 2 sections (2 owned",
    "\"alice\" tid=",
    "\"bob\" tid=",
    "owns 0x10000000041 \"accounts\" recursion=1",
    "owns 0x10000000081 \"journal\" recursion=1",
    // Inside hostcrst_enter itself where the library is not optimised.
    "waiting to enter 0x10000000081 \"journal\" at subject!",
    "waiting to enter 0x10000000041 \"accounts\" at subject!",
    // Deep stacks, of which the newest part lies in chunks.
    "[799] managed",
    "[798] native   subject!subject::create+0x0 (subject.rs:",
    "... and 736 older layers",
    "Found a deadlock:",
];

#[test]
fn a_hung_process_is_explained() {
    let subject = Subject::start("hang");
    let text = report(2, &[&subject.id().to_string()]);
    assert_contains(&text, DEADLOCK);
    assert!(
        text.lines().any(|line| line.starts_with("\"alice\"") && line.contains(", waiting 0.")),
        "{text}"
    );
}

#[test]
fn its_core_tells_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::start("hang");
    let core = subject.take_core(folder.path());
    let id = subject.id();
    drop(subject);
    let text = report(2, &[core.to_str().unwrap()]);
    assert_contains(&text, DEADLOCK);
    assert_contains(&text, &[&format!("pid {id} ")]);
}

#[test]
fn programs_and_graphviz_can_read_it() {
    let subject = Subject::start("hang");
    let id = subject.id().to_string();
    let json: serde_json::Value = serde_json::from_str(&report(2, &["--json", &id])).unwrap();
    assert_eq!(json["pid"], subject.id());
    assert_eq!(json["deadlocks"][0].as_array().unwrap().len(), 2);
    // Whichever thread was a task first.
    for name in ["alice", "bob"] {
        let task = json["tasks"].as_array().unwrap().iter().find(|task| task["name"] == name).unwrap();
        assert!(task["waiting"]["for_ns"].as_u64().is_some());
    }
    assert!(report(2, &[&id, "--dot"]).contains("color=red"));
}

#[test]
fn a_clean_process_is_clean() {
    let subject = Subject::start("clean");
    let text = report(0, &[&subject.id().to_string()]);
    assert_contains(
        &text,
        &["No deadlock.", "owns 0x10000000041 \"accounts\" recursion=1", "\"subject\" tid="],
    );
}

#[test]
fn what_is_no_process_with_the_library_is_said_so() {
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let id = other.id().to_string();
    refusal(6, &[&id], "has not loaded hostcrst");
    other.kill().unwrap();
    other.wait().unwrap();
    refusal(4, &[&id], "there is no process");
}

#[test]
fn wrong_arguments_are_not_mistaken_for_a_deadlock() {
    refusal(3, &[], "Usage:");
    refusal(3, &["--json", "--dot", "1"], "cannot be used with");
    refusal(3, &["99999999999"], "too large");
    refusal(3, &["--watch", "0", "1"], "not above 0");
    refusal(3, &["--watch", "1", "core"], "a core does not change");
    assert_contains(&report(0, &["--help"]), &["Exit codes:", "2  a deadlock stands"]);
}

#[test]
fn what_is_no_core_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    refusal(8, &[fifo.to_str().unwrap()], "is no file");
    refusal(8, &[folder.path().to_str().unwrap()], "is no file");
    refusal(8, &["/nowhere"], "No such file");
    refusal(8, &[TOOL], "is no core file");
    refusal(8, &["/dev/null"], "is no file");
}

/// Root looks as nobody at a process of its own; anyone else looks at the first process, which is root's.
#[test]
fn without_permission_it_says_what_to_do() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return refusal(5, &["1"], "as the same user or as root");
    }
    const NOBODY: u32 = 65534;
    let subject = Subject::start("clean");
    // The tool may lie where nobody but root may look for it.
    let folder = tempfile::Builder::new().prefix("hostcrst").tempdir_in("/tmp").unwrap();
    let tool = folder.path().join("hostcrst-dump");
    std::fs::copy(TOOL, &tool).unwrap();
    allow_all(folder.path());
    let mut command = Command::new(&tool);
    let output = command.arg(subject.id().to_string()).uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).output();
    let output = output.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{errors}");
    assert_contains(&errors, &["as the same user or as root"]);
}

fn allow_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
}
