//! Threads that are each blocked in a system call, by whose name the thread is called. Says "ready", with the descriptors of a
//! pipe, a socket that listens and a file, and the id of a child process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr::null_mut;
use std::time::Duration;

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).unwrap();
}

fn main() {
    let (mut empty, writer) = std::io::pipe().unwrap();
    let (reader, mut full) = std::io::pipe().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = std::env::temp_dir().join(format!("hostcrst-calls-{}", std::process::id()));
    let (owner, waiter) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    // SAFETY: an open descriptor.
    assert_eq!(unsafe { libc::flock(owner.as_raw_fd(), libc::LOCK_EX) }, 0);
    let mut command = Command::new("sleep");
    let end_with_parent = || {
        // SAFETY: takes no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: prctl may be called between fork and exec.
    let child =
        unsafe { command.arg("1000").stdout(Stdio::null()).pre_exec(end_with_parent) }.spawn().unwrap();
    let (pipe, socket, file, id) =
        (empty.as_raw_fd(), listener.as_raw_fd(), waiter.as_raw_fd(), child.id() as i32);
    // SAFETY: has no preconditions, and a valid event for a new descriptor.
    let epoll = unsafe {
        let epoll = libc::epoll_create1(0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket, &raw mut event), 0);
        epoll
    };
    spawn("read", move || drop(empty.read(&mut [0])));
    spawn("write", move || while full.write(&[0; 4096]).is_ok() {});
    spawn("accept", move || drop(listener.accept()));
    // SAFETY: all of these have valid arguments.
    unsafe {
        spawn("flock", move || {
            libc::flock(waiter.as_raw_fd(), libc::LOCK_EX);
        });
        spawn("wait", move || {
            libc::waitpid(id, null_mut(), 0);
        });
        spawn("poll", move || {
            let mut list = [libc::pollfd { fd: pipe, events: libc::POLLIN, revents: 0 }];
            libc::poll(list.as_mut_ptr(), 1, -1);
        });
        spawn("select", move || {
            let mut set: libc::fd_set = std::mem::zeroed();
            libc::FD_SET(pipe, &raw mut set);
            libc::select(pipe + 1, &raw mut set, null_mut(), null_mut(), null_mut());
        });
        spawn("epoll", move || {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            libc::epoll_wait(epoll, &raw mut event, 1, 3_600_000);
        });
    }
    spawn("sleep", || std::thread::sleep(Duration::from_secs(3600)));
    println!("ready {pipe} {socket} {file} {id}");
    // The other ends and the lock stay, and so does the child until this process is killed.
    std::mem::forget((writer, reader, owner, child));
    loop {
        std::thread::park();
    }
}
