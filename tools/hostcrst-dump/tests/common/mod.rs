//! The program of examples/subject.rs, running.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Subject(Child);

impl Subject {
    /// Runs the subject until it stands still.
    pub fn start(how: &str) -> Subject {
        // cargo builds examples before it runs tests, beside the folder of the tests.
        let here = std::env::current_exe().unwrap();
        let program = here.ancestors().nth(2).unwrap().join("examples/subject");
        let mut child =
            Command::new(program).arg(how).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Subject(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// A core of it as it is.
    pub fn take_core(&self, folder: &Path) -> PathBuf {
        let path = folder.join("core");
        let output = Command::new("gcore").arg("-o").arg(&path).arg(self.id().to_string()).output();
        let output = output.expect("gcore, of Debian's package gdb");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join(format!("core.{}", self.id()))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
