//! The program of examples/subject.rs, running.

// Each test program uses a part.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Subject(Child);

pub fn program() -> PathBuf {
    example("subject")
}

pub fn example(name: &str) -> PathBuf {
    // cargo builds examples before it runs tests, beside the folder of the tests.
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name)
}

impl Subject {
    /// Runs the subject until it stands still.
    pub fn start(how: &str) -> Subject {
        Self::run(Command::new(program()).arg(how))
    }

    pub fn run(command: &mut Command) -> Subject {
        let (subject, line) = Self::run_until_line(command);
        assert_eq!(line, "ready\n");
        subject
    }

    /// Runs a program until it has written a line.
    pub fn run_until_line(command: &mut Command) -> (Subject, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Subject(child), line)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// A core of it as it is.
    pub fn take_core(&self, folder: &Path) -> PathBuf {
        take_core(self.id(), folder)
    }
}

fn take_core(id: u32, folder: &Path) -> PathBuf {
    let output = Command::new("gcore").arg("-o").arg(folder.join("core")).arg(id.to_string()).output();
    let output = output.expect("gcore, of Debian's package gdb");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(format!("core.{id}"))
}

/// A core of a process without the library.
pub fn take_core_of_another(folder: &Path) -> PathBuf {
    let other = Subject(Command::new("sleep").arg("60").spawn().unwrap());
    // What it is before it has become another program is a copy of this one.
    while std::fs::read_link(format!("/proc/{}/exe", other.id())).unwrap() == std::env::current_exe().unwrap()
    {
        std::thread::yield_now();
    }
    take_core(other.id(), folder)
}

/// Runs the subject as the first process of a namespace: what keeps it, and its id out here.
pub fn start_in_namespace(how: &str) -> (Subject, u32) {
    let mut command = Command::new("unshare");
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    let unshare = Subject::run(command.args(["--pid", "--fork", "--kill-child"]).arg(program()).arg(how));
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.id())).unwrap();
    let outer = children.trim().parse().unwrap();
    (unshare, outer)
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
