//! A process of this machine: read with process_vm_readv, which neither stops it nor runs anything in it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::target::{Mapping, Target, open_regular};

pub struct Process {
    id: u32,
    mappings: Vec<Mapping>,
}

impl Process {
    pub fn attach(id: u32) -> Result<Self, Failure> {
        let maps = fs::read(format!("/proc/{id}/maps")).map_err(|error| refusal(id, &error))?;
        let lines = maps.split(|&byte| byte == b'\n');
        let process = Process { id, mappings: lines.filter_map(parse_mapping).collect() };
        // The list may be public where the memory is not. Of a process that has ended it is empty.
        match process.mappings.first() {
            Some(first) => process.try_read(first.start, &mut [0]).map_err(|error| refusal(id, &error))?,
            None => return Err(Failure::NotLoaded(process.description())),
        };
        Ok(process)
    }

    fn try_read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
        // SAFETY: `local` is the buffer; the system checks `remote`, which is not of this process.
        let count = unsafe {
            libc::process_vm_readv(self.id as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

fn refusal(id: u32, error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Failure::NoPermission(id),
        // Where /proc hides the processes of others, only this tells that there is one.
        // SAFETY: signal 0 is sent to nobody.
        _ if error.kind() == ErrorKind::NotFound && unsafe { libc::kill(id as libc::pid_t, 0) } != 0 => {
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EPERM) => Failure::NoPermission(id),
                _ => Failure::NoSuchProcess(id),
            }
        }
        _ => Failure::NoSuchProcess(id),
    }
}

/// `55d0a5c00000-55d0a5c02000 r--p 00000000 fe:01 1234    /usr/bin/program`
fn parse_mapping(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let end = rest.iter().position(|&byte| byte == b' ')?;
        let (field, tail) = rest.split_at(end);
        rest = tail.trim_ascii_start();
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let (permissions, offset, _device, inode) = (field()?, field()?, field()?, field()?);
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        file_offset: u64::from_str_radix(offset, 16).ok()?,
        is_writable: permissions.as_bytes().get(1) == Some(&b'w'),
        path: PathBuf::from(std::ffi::OsStr::from_bytes(rest)),
        inode: inode.parse().ok()?,
    })
    .filter(|mapping| mapping.inode != 0)
}

impl Target for Process {
    fn description(&self) -> String {
        format!("process {}", self.id)
    }

    fn process_id(&self) -> u32 {
        self.id
    }

    fn is_live(&self) -> bool {
        true
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        self.try_read(address, buffer).unwrap_or(0)
    }

    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    fn open(&self, mapping: &Mapping) -> Option<File> {
        // The very file, even if it was deleted or lies in another mount namespace, for those who may; otherwise by name.
        let Mapping { start, end, .. } = mapping;
        open_regular(Path::new(&format!("/proc/{}/map_files/{start:x}-{end:x}", self.id))).or_else(|| {
            let root = PathBuf::from(format!("/proc/{}/root", self.id));
            let file = open_regular(&root.join(mapping.path.strip_prefix("/").ok()?))?;
            (file.metadata().ok()?.ino() == mapping.inode).then_some(file)
        })
    }

    fn now(&self) -> Option<u64> {
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/time")).ok();
        if namespace("self") != namespace(&self.id.to_string()) {
            return None;
        }
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a timespec.
        let known = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) } == 0;
        known.then_some(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    fn thread_names(&self) -> HashMap<u32, Vec<u8>> {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.id)) else { return HashMap::new() };
        let name = |thread: fs::DirEntry| {
            let name = fs::read(thread.path().join("comm")).ok()?;
            // The library knows a thread by its id in the process's own namespace: the last one here.
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            Some((ids.split_whitespace().last()?.parse().ok()?, name.trim_ascii_end().to_vec()))
        };
        threads.flatten().filter_map(name).collect()
    }
}
