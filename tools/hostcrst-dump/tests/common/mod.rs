//! The program of examples/subject.rs, running.

// Each test program uses a part.
#![allow(dead_code)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hostcrst_dump::core_threads::CoreThread;
use hostcrst_dump::failure::Failure;
use hostcrst_dump::target::{Label, Mapping, Target};

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
    unshare(&["--pid", "--fork", "--kill-child", program().to_str().unwrap(), how])
}

/// The same with a file system of its own, in which alone its program is.
pub fn start_in_container(how: &str) -> (Subject, u32) {
    let script = "mount -t tmpfs none /mnt && cp \"$0\" /mnt/inside && exec /mnt/inside \"$1\"";
    let program = program();
    let program = program.to_str().unwrap();
    unshare(&["--pid", "--mount", "--fork", "--kill-child", "sh", "-c", script, program, how])
}

fn unshare(arguments: &[&str]) -> (Subject, u32) {
    let mut command = Command::new("unshare");
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    let unshare = Subject::run(command.args(arguments));
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.id())).unwrap();
    let outer = children.trim().parse().unwrap();
    (unshare, outer)
}

/// Code of a file.
pub fn mapping(start: u64, size: usize, file_offset: u64, path: &Path) -> Mapping {
    let end = start + size as u64;
    let (is_writable, path, base) = (false, path.to_owned(), start.wrapping_sub(file_offset));
    Mapping { start, end, file_offset, is_writable, path, inode: 0, base, has_code: true, tail_end: end }
}

/// How memory of a target is read otherwise than the target itself reads it.
type Read<'a, T> = Box<dyn Fn(&T, u64, &mut [u8]) -> usize + 'a>;

/// A target that differs from another one in how its memory is read, what is mapped, or whether its files are at hand.
pub struct Altered<'a, T> {
    pub mappings: Vec<Mapping>,
    pub has_files: bool,
    target: T,
    read: Read<'a, T>,
}

impl<'a, T: Target> Altered<'a, T> {
    pub fn new(target: T, read: impl Fn(&T, u64, &mut [u8]) -> usize + 'a) -> Self {
        Altered { mappings: target.mappings().to_vec(), has_files: true, target, read: Box::new(read) }
    }

    pub fn without_files(self) -> Self {
        Altered { has_files: false, ..self }
    }
}

impl<T: Target> Target for Altered<'_, T> {
    fn description(&self) -> String {
        self.target.description()
    }
    fn process_id(&self) -> u32 {
        self.target.process_id()
    }
    fn outer_process_id(&self) -> Option<u32> {
        self.target.outer_process_id()
    }
    fn is_live(&self) -> bool {
        self.target.is_live()
    }
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        (self.read)(&self.target, address, buffer)
    }
    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }
    fn labels(&self) -> &[Label] {
        self.target.labels()
    }
    fn data(&self) -> Vec<Range<u64>> {
        self.target.data()
    }
    fn lacks_data(&self) -> bool {
        self.target.lacks_data()
    }
    fn open(&self, mapping: &Mapping) -> Option<File> {
        if self.has_files { self.target.open(mapping) } else { None }
    }
    fn open_path(&self, path: &Path) -> Option<File> {
        if self.has_files { self.target.open_path(path) } else { None }
    }
    fn now(&self) -> Option<u64> {
        self.target.now()
    }
    fn thread_names(&self) -> HashMap<u32, Vec<u8>> {
        self.target.thread_names()
    }
    fn stored_threads(&self) -> &[CoreThread] {
        self.target.stored_threads()
    }
    fn id_in_proc(&self) -> Option<u32> {
        self.target.id_in_proc()
    }
    fn change(&self) -> Option<Failure> {
        self.target.change()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
