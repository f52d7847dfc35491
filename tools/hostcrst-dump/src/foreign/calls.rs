//! What `foreign_locks` needs to know of a process to say what its system calls wait for.

use std::fmt::{self, Write};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use foreign_locks::{Memory, Process, SystemCall, calls};

use super::sockets::Sockets;
use super::threads::Threads;
use crate::symbols::printable;
use crate::target::Target;

/// A system call by its name.
pub struct Call {
    pub name: String,
    /// What its arguments mean; empty where the name says all that is known.
    pub meaning: String,
}

pub fn explain(
    target: &dyn Target,
    threads: &Threads,
    sockets: &Sockets,
    place: usize,
    call: &SystemCall,
) -> Call {
    let name = calls::name(call).map_or_else(|| format!("system call {}", call.number), str::to_owned);
    let mut meaning = String::new();
    // A string takes all that is written.
    let _ = calls::write_meaning(&Caller { target, threads, sockets, place }, call, &mut meaning);
    Call { name, meaning }
}

/// A thread, as far as its calls are concerned.
struct Caller<'a> {
    target: &'a dyn Target,
    threads: &'a Threads,
    sockets: &'a Sockets,
    place: usize,
}

/// What is read of the list of an epoll instance, and how many descriptors of it are looked at.
const MOST_BYTES: u64 = 64 << 10;
const MOST_POLLED: usize = 1024;

impl Memory for Caller<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        self.target.read(address, buffer)
    }
}

impl Process for Caller<'_> {
    fn is_still_in(&self, call: &SystemCall) -> bool {
        self.threads.is_in_call(self.place, call)
    }

    /// `fd 3 pipe:[1234]`, `fd 4 /var/log/messages`, or `fd 5` and what a socket is connected to.
    fn write_descriptor(&self, out: &mut dyn Write, descriptor: i32) -> fmt::Result {
        write!(out, "fd {descriptor}")?;
        let path = self.threads.path(self.place, &format!("fd/{descriptor}"));
        let Some(link) = path.and_then(|path| fs::read_link(path).ok()) else { return Ok(()) };
        let link = link.as_os_str().as_bytes();
        match self.sockets.name(link) {
            Some(name) => write!(out, " {name}"),
            None => write!(out, " {}", printable(link)),
        }
    }

    fn write_child(&self, out: &mut dyn Write, id: u32) -> fmt::Result {
        write!(out, "{id}")?;
        // In another namespace, or since a core was taken, its id is not the one that it has here.
        let is_known = self.threads.are_of_process() && self.target.outer_process_id().is_none();
        let name = fs::read(format!("/proc/{id}/comm")).ok().filter(|_| is_known);
        match name.map(|name| printable(name.trim_ascii_end())).filter(|name| !name.is_empty()) {
            Some(name) => write!(out, " {name}"),
            None => Ok(()),
        }
    }

    fn write_path(&self, out: &mut dyn Write, path: &[u8]) -> fmt::Result {
        out.write_str(&printable(path))
    }

    /// It stands in `fdinfo`.
    fn epoll_looks_at(
        &self,
        epoll: i32,
        visit: &mut dyn FnMut(i32) -> fmt::Result,
    ) -> Result<bool, fmt::Error> {
        let Some(path) = self.threads.path(self.place, &format!("fdinfo/{epoll}")) else { return Ok(false) };
        let mut text = String::new();
        if File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)).is_err() {
            return Ok(false);
        }
        let of_line = |line: &str| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok();
        text.lines().filter_map(of_line).take(MOST_POLLED).try_for_each(visit)?;
        Ok(true)
    }
}
