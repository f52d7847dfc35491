//! Processes that wait for each other: `processes HOW FOLDER`. `child`: this one has a lock of a file, and waits for a child
//! that waits for the lock. `threaded`: so does this one, and has another thread. `crossed`: this one and its child have the lock
//! of a file each, and wait for the other's. `shared`: as `child`, by `flock`, and another process has the open file too.
//! `waits`: only waits for a child that sleeps. Says "child" and its child's id.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn open(folder: &Path, name: &str) -> File {
    File::options().create(true).truncate(false).write(true).open(folder.join(name)).unwrap()
}

/// By process.
fn lock_record(file: &File) {
    // SAFETY: zeros are a valid flock: a part of no length, to the end of the file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the descriptor and the lock are valid.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLKW, &raw const lock) };
}

/// By open file.
fn lock_file(file: &File) {
    // SAFETY: the descriptor is valid.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
}

fn start_again(how: &str, folder: &Path) -> Child {
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this).arg(how).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
    println!("child {}", child.id());
    child
}

fn wait_for_line(child: &mut Child) {
    use std::io::{BufRead, BufReader};
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
}

/// A process that does nothing but have what it inherits.
fn start_sleeper_with(file: &File) -> Child {
    // SAFETY: the descriptor is valid.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
    Command::new("sleep").arg("3600").spawn().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = Path::new(&arguments[2]);
    // Children do not outlive the test.
    // SAFETY: has no preconditions.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let (first, second) = (open(folder, "first"), open(folder, "second"));
    match arguments[1].as_str() {
        how @ ("child" | "threaded") => {
            lock_record(&first);
            let mut child = start_again("wants-record", folder);
            if how == "threaded" {
                std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(3600)));
            }
            child.wait().unwrap();
        }
        "shared" => {
            lock_file(&first);
            let mut sleeper = start_sleeper_with(&first);
            let mut child = start_again("wants-file", folder);
            child.wait().unwrap();
            sleeper.wait().unwrap();
        }
        "crossed" => {
            lock_file(&first);
            let mut child = start_again("crosses", folder);
            wait_for_line(&mut child);
            lock_file(&second);
            child.wait().unwrap();
        }
        "crosses" => {
            lock_file(&second);
            println!("has it");
            lock_file(&first);
        }
        "waits" => {
            let mut child = start_again("sleeps", folder);
            child.wait().unwrap();
        }
        "wants-record" => lock_record(&first),
        "wants-file" => lock_file(&first),
        _ => std::thread::sleep(std::time::Duration::from_secs(3600)),
    }
}
