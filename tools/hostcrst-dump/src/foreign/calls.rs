//! What a system call waits for, in words. Numbers are those of this machine's own kind of processor.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use syscalls::Sysno;

use super::proc::{SystemCall, Threads};
use super::sockets::Sockets;
use crate::symbols::printable;
use crate::target::Target;

/// A system call by its name.
pub struct Call {
    pub name: String,
    /// What its arguments mean; empty where the name says all that is known.
    pub meaning: String,
}

/// Descriptors named of one call at most.
const MOST_NAMED: usize = 4;
/// Entries of `poll` and of an epoll instance looked at.
const MOST_POLLED: usize = 1024;
const LONGEST_PATH: usize = 256;

pub fn explain(
    target: &dyn Target,
    threads: &Threads,
    sockets: &Sockets,
    place: usize,
    call: &SystemCall,
) -> Call {
    let Some(name) = Sysno::new(call.number).map(|number| number.name()) else {
        return Call { name: format!("system call {}", call.number), meaning: String::new() };
    };
    let meaning = Caller { target, threads, sockets, place, call }.meaning(name).unwrap_or_default();
    Call { name: name.to_owned(), meaning }
}

struct Caller<'a> {
    target: &'a dyn Target,
    threads: &'a Threads,
    sockets: &'a Sockets,
    place: usize,
    call: &'a SystemCall,
}

impl Caller<'_> {
    fn meaning(&self, name: &str) -> Option<String> {
        let [first, second, third, fourth, ..] = self.call.arguments;
        Some(match name {
            "read" | "readv" | "pread64" | "preadv" | "preadv2" | "recvfrom" | "recvmsg" | "recvmmsg"
            | "getdents64" => format!("from {}", self.descriptor(first)),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg" | "sendmmsg" => {
                format!("to {}", self.descriptor(first))
            }
            "accept" | "accept4" | "connect" | "fsync" | "fdatasync" | "ioctl" | "ftruncate"
            | "fallocate" | "io_uring_enter" | "syncfs" | "sync_file_range" => {
                format!("on {}", self.descriptor(first))
            }
            "sendfile" => format!("from {} to {}", self.descriptor(second), self.descriptor(first)),
            "splice" | "copy_file_range" => {
                format!("from {} to {}", self.descriptor(first), self.descriptor(third))
            }
            "flock" => {
                let how = if second & libc::LOCK_EX as u64 != 0 { "an exclusive" } else { "a shared" };
                format!("for {how} lock of {}", self.descriptor(first))
            }
            "fcntl" => self.record_lock(first, second, third),
            "open" => format!("of {}", self.path(first)?),
            "openat" | "openat2" => format!("of {}", self.path(second)?),
            "poll" => format!("{}{}", self.polled(first, second), milliseconds(third)),
            "ppoll" => format!("{}{}", self.polled(first, second), self.limit(third)),
            "select" => format!("{}{}", self.selected(), self.limit_of_select()),
            "pselect6" => format!("{}{}", self.selected(), self.limit(self.call.arguments[4])),
            "epoll_wait" | "epoll_pwait" => format!("{}{}", self.epoll(first), milliseconds(fourth)),
            "epoll_pwait2" => format!("{}{}", self.epoll(first), self.limit(fourth)),
            "wait4" => self.child(first as i32),
            "waitid" => match first as u32 {
                libc::P_PID => self.child(second as i32),
                libc::P_ALL => "for any child process".to_owned(),
                _ => "for a child process of a group".to_owned(),
            },
            "nanosleep" => self.time(first).map(|time| format!("for {time:?}"))?,
            "clock_nanosleep" if second & libc::TIMER_ABSTIME as u64 == 0 => {
                self.time(third).map(|time| format!("for {time:?}"))?
            }
            "clock_nanosleep" => "until a time of day or of the clock".to_owned(),
            "pause" | "rt_sigsuspend" => "for a signal".to_owned(),
            "rt_sigtimedwait" => format!("for a signal{}", self.limit(third)),
            "futex" => {
                format!("on the word at 0x{first:x}{}", if fourth == 0 { "" } else { ", with a time limit" })
            }
            "futex_waitv" => format!("on {second} words"),
            "semop" | "semtimedop" => format!("of semaphore set {first}"),
            "msgrcv" | "msgsnd" => format!("of message queue {first}"),
            _ => return None,
        })
    }

    /// `fd 3 pipe:[1234]`, `fd 4 /var/log/messages`, or `fd 5` and what a socket is connected to.
    fn descriptor(&self, descriptor: u64) -> String {
        let descriptor = descriptor as i32;
        match std::fs::read_link(self.threads.path(self.place, &format!("fd/{descriptor}"))) {
            Ok(link) => {
                let link = link.as_os_str().as_bytes();
                let name = self.sockets.name(link).map_or_else(|| printable(link), str::to_owned);
                format!("fd {descriptor} {name}")
            }
            Err(_) => format!("fd {descriptor}"),
        }
    }

    fn record_lock(&self, descriptor: u64, command: u64, lock: u64) -> String {
        let descriptor = self.descriptor(descriptor);
        if !matches!(command as i32, libc::F_SETLKW | libc::F_OFD_SETLKW) {
            return format!("on {descriptor}");
        }
        let how = match self.bytes::<2>(lock).map(|kind| libc::c_int::from(i16::from_le_bytes(kind))) {
            Some(libc::F_RDLCK) => "a shared lock",
            Some(libc::F_WRLCK) => "an exclusive lock",
            _ => "a lock",
        };
        format!("for {how} of a part of {descriptor}")
    }

    fn path(&self, address: u64) -> Option<String> {
        let mut bytes = [0; LONGEST_PATH];
        let there = self.target.read(address, &mut bytes);
        let end = bytes[..there].iter().position(|&byte| byte == 0)?;
        Some(printable(&bytes[..end]))
    }

    fn polled(&self, list: u64, count: u64) -> String {
        let entries = (0..count.min(MOST_POLLED as u64)).map_while(|index| {
            let bytes = self.bytes::<4>(list.checked_add(index * size_of::<libc::pollfd>() as u64)?)?;
            Some(i32::from_le_bytes(bytes))
        });
        self.descriptors(entries.filter(|&descriptor| descriptor >= 0))
    }

    fn selected(&self) -> String {
        let [count, sets @ .., _, _] = self.call.arguments;
        let is_set = |descriptor: u64| {
            let of_set = |&set: &u64| {
                set != 0
                    && self
                        .bytes::<1>(set.wrapping_add(descriptor / 8))
                        .is_some_and(|[byte]| byte >> (descriptor % 8) & 1 != 0)
            };
            sets.iter().any(of_set)
        };
        self.descriptors((0..count.min(MOST_POLLED as u64)).filter(|&fd| is_set(fd)).map(|fd| fd as i32))
    }

    /// What an epoll instance looks at stands in `fdinfo`.
    fn epoll(&self, descriptor: u64) -> String {
        const MOST_BYTES: u64 = 64 << 10;
        let path = self.threads.path(self.place, &format!("fdinfo/{}", descriptor as i32));
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text));
        if read.is_err() {
            return format!("on {}", self.descriptor(descriptor));
        }
        let targets = text
            .lines()
            .filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok());
        self.descriptors(targets)
    }

    fn descriptors(&self, descriptors: impl Iterator<Item = i32>) -> String {
        let all: Vec<i32> = descriptors.take(MOST_POLLED).collect();
        if all.is_empty() {
            return "on no descriptors".to_owned();
        }
        let named: Vec<_> = all.iter().take(MOST_NAMED).map(|&fd| self.descriptor(fd as u64)).collect();
        let more = if all.len() > MOST_NAMED {
            format!(" and {} more", all.len() - MOST_NAMED)
        } else {
            String::new()
        };
        format!("on {}{more}", named.join(", "))
    }

    fn child(&self, id: i32) -> String {
        match id {
            1.. if self.target.outer_process_id().is_none() => {
                let name = std::fs::read(format!("/proc/{id}/comm")).unwrap_or_default();
                format!("for child process {id} {}", printable(name.trim_ascii_end())).trim_end().to_owned()
            }
            // Its id is not the one that it has here.
            1.. => format!("for child process {id}"),
            -1 => "for any child process".to_owned(),
            _ => "for a child process of a group".to_owned(),
        }
    }

    fn limit(&self, timespec: u64) -> String {
        match (timespec, self.time(timespec)) {
            (0, _) => String::new(),
            (_, Some(time)) => format!(", for {time:?} at most"),
            (_, None) => ", with a time limit".to_owned(),
        }
    }

    /// The kernel writes the time that is left there when the call ends.
    fn limit_of_select(&self) -> String {
        if self.call.arguments[4] == 0 { String::new() } else { ", with a time limit".to_owned() }
    }

    /// Of a `timespec`.
    fn time(&self, address: u64) -> Option<Duration> {
        let seconds = u64::from_le_bytes(self.bytes(address)?);
        let nanoseconds = u64::from_le_bytes(self.bytes(address.checked_add(8)?)?);
        (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds as u32))
    }

    fn bytes<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.target.read(address, &mut bytes) == N).then_some(bytes)
    }
}

fn milliseconds(limit: u64) -> String {
    match limit as i32 {
        limit @ 0.. => format!(", for {:?} at most", Duration::from_millis(limit as u64)),
        _ => String::new(),
    }
}
