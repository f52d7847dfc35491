//! `--watch` on a terminal: a pseudo-terminal, whose other side reads what is shown, presses keys, and looks at the modes.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::Subject;

const TOOL: &str = env!("CARGO_BIN_EXE_hostcrst-dump");
const SCREEN_OF_ITS_OWN: &str = "\x1b[?1049h";
const SCREEN_AS_BEFORE: &str = "\x1b[?1049l";
const CURSOR_SHOWN: &str = "\x1b[?25h";
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a pseudo-terminal of its own.
struct OnTerminal {
    program: Child,
    keyboard: File,
    /// Kept open until the program has ended, so that the modes can be seen then.
    terminal: Option<File>,
    output: Receiver<Vec<u8>>,
    shown: String,
    modes_before: libc::termios,
}

impl OnTerminal {
    fn start(command: &mut Command) -> OnTerminal {
        // No other program that a test starts may inherit a side, or the output would have no end.
        let keyboard = OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
        let size = libc::winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: the descriptor is open; a size to read. What TIOCGPTPEER opens nobody else closes.
        let terminal = unsafe {
            assert_eq!(libc::unlockpt(keyboard.as_raw_fd()), 0);
            assert_eq!(libc::ioctl(keyboard.as_raw_fd(), libc::TIOCSWINSZ, &raw const size), 0);
            let terminal = libc::ioctl(keyboard.as_raw_fd(), libc::TIOCGPTPEER, flags);
            assert!(terminal >= 0);
            File::from_raw_fd(terminal)
        };
        let modes_before = modes(&terminal);
        command.env("TERM", "xterm").stdin(terminal.try_clone().unwrap());
        command.stdout(terminal.try_clone().unwrap()).stderr(terminal.try_clone().unwrap());
        // SAFETY: setsid and ioctl may be called between fork and exec; descriptor 0 is the terminal by then.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            })
        };
        let program = command.spawn().unwrap();
        let (sender, output) = channel();
        let mut reader = keyboard.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        OnTerminal { program, keyboard, terminal: Some(terminal), output, shown: String::new(), modes_before }
    }

    fn watch(subject: &Subject) -> OnTerminal {
        Self::start(Command::new(TOOL).args(["--watch", "0.1", &subject.id().to_string()]))
    }

    /// Reads until this is shown.
    fn wait_for(&mut self, part: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.shown.contains(part) {
            let left = end.saturating_duration_since(Instant::now());
            let more =
                self.output.recv_timeout(left).unwrap_or_else(|_| panic!("no {part:?} in {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn has_modes_as_before(&self) -> bool {
        let (now, before) = (modes(self.terminal.as_ref().unwrap()), self.modes_before);
        (now.c_lflag, now.c_iflag, now.c_oflag) == (before.c_lflag, before.c_iflag, before.c_oflag)
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: no memory is involved; the program is our child and was not waited for.
        assert_eq!(unsafe { libc::kill(self.program.id() as i32, signal) }, 0);
    }

    /// Waits for the end, and looks whether the terminal is as it was. The exit code, None after a signal.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        self.wait_for(SCREEN_AS_BEFORE);
        self.wait_for(CURSOR_SHOWN);
        let code = self.program.wait().unwrap().code();
        assert!(self.has_modes_as_before(), "the modes of the terminal are others");
        // Without anyone on its side the output has an end.
        self.terminal = None;
        let rest: Vec<u8> = self.output.iter().flatten().collect();
        (code, std::mem::take(&mut self.shown) + &String::from_utf8_lossy(&rest))
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn modes(terminal: &File) -> libc::termios {
    // SAFETY: a termios of zeros is one, and tcgetattr writes it whole.
    unsafe {
        let mut modes = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &raw mut modes), 0);
        modes
    }
}

#[test]
fn a_view_is_shown_until_q_is_pressed() {
    let subject = Subject::start("hang");
    let mut tool = OnTerminal::watch(&subject);
    tool.wait_for(SCREEN_OF_ITS_OWN);
    tool.wait_for("q quit");
    assert!(!tool.has_modes_as_before(), "keys are echoed");
    for part in ["Found 1 deadlock", "alice", "bob", "again:", "deadlock"] {
        assert!(tool.shown.contains(part), "no {part} in {:?}", tool.shown);
    }
    tool.press("p");
    tool.wait_for("paused");
    tool.press("q");
    assert_eq!(tool.end().0, Some(2));
}

/// They have no place in the view.
#[test]
fn with_stacks_reports_are_written() {
    let subject = Subject::start("clean");
    let id = subject.id().to_string();
    let command = &mut Command::new(TOOL);
    let mut tool = OnTerminal::start(command.args(["--watch", "0.1", "--stacks", &id]));
    tool.wait_for("      at ");
    tool.wait_for("----------");
    assert!(!tool.shown.contains(SCREEN_OF_ITS_OWN), "{:?}", tool.shown);
}

#[test]
fn signals_give_the_terminal_back() {
    let subject = Subject::start("clean");
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut tool = OnTerminal::watch(&subject);
        tool.wait_for("q quit");
        tool.signal(signal);
        assert_eq!(tool.end().0, Some(0));
    }
}

#[test]
fn so_does_an_error_which_is_shown_afterwards() {
    let subject = Subject::start("clean");
    let mut tool = OnTerminal::watch(&subject);
    tool.wait_for("q quit");
    drop(subject);
    let (code, shown) = tool.end();
    assert_eq!(code, Some(4));
    let after = shown.rsplit(SCREEN_AS_BEFORE).next().unwrap();
    assert!(after.contains("hostcrst-dump: "), "{after:?}");
}

#[test]
fn so_does_a_panic() {
    let mut program = OnTerminal::start(&mut Command::new(common::example("panics")));
    program.wait_for(SCREEN_OF_ITS_OWN);
    let (code, shown) = program.end();
    assert_ne!(code, Some(0));
    let (_, after) = shown.rsplit_once(SCREEN_AS_BEFORE).expect("the screen is given back");
    assert!(after.contains("as it was asked to"), "{after:?}");
}
