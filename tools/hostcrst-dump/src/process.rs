//! A process of this machine: read with process_vm_readv, or through /proc if that is refused. Neither stops it or runs
//! anything in it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path};
use std::time::Duration;

use elf_names::maps;

use crate::failure::Failure;
use crate::target::{Label, Mapping, Target, open_regular, sort_out};

pub struct Process {
    /// Its id, as this tool sees it and as it sees itself.
    id: u32,
    own_id: u32,
    /// A thread of it that has not ended: the first one may have, and then shows neither memory nor files.
    thread: u32,
    memory: ProcessMemory,
    mappings: Vec<Mapping>,
    labels: Vec<Label>,
    /// Before anything of it was read.
    program: Option<Program>,
    has_clock_of_this_process: bool,
}

impl Process {
    pub fn attach(id: u32) -> Result<Self, Failure> {
        let program = Program::of(id);
        match Self::attach_to(id) {
            Ok(process) => Ok(Process { program, ..process }),
            Err(failure @ (Failure::NoSuchProcess(_) | Failure::NoPermission(_) | Failure::HasEnded(_))) => {
                Err(failure)
            }
            Err(failure) => Err(change_since(id, program.as_ref()).unwrap_or(failure)),
        }
    }

    fn attach_to(id: u32) -> Result<Self, Failure> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).map_err(|error| refusal(id, &error))?;
        // The id may be that of any of its threads.
        let id = status_field(&status, "Tgid:").and_then(|id| id.parse().ok()).unwrap_or(id);
        let (thread, list) = find_memory(id)?;
        let lines = list.split(|&byte| byte == b'\n');
        let (mappings, labels) = sort_out(lines.filter_map(maps::Mapping::parse));
        let Some(first) = mappings.first() else {
            return Err(Failure::NotLoaded(format!("process {id}")));
        };
        // The list may be public where the memory is not.
        let memory = ProcessMemory::open(id, thread, first.start)?;
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/time")).ok();
        Ok(Process {
            id,
            own_id: status_field(&status, "NStgid:").and_then(own_id).unwrap_or(id),
            thread,
            memory,
            mappings,
            labels,
            program: None,
            has_clock_of_this_process: namespace("self") == namespace(&thread.to_string()),
        })
    }
}

fn threads_of(id: u32) -> io::Result<impl Iterator<Item = u32>> {
    let threads = fs::read_dir(format!("/proc/{id}/task"))?;
    Ok(threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok()))
}

/// A thread of the process that has not ended, and the list of what is mapped.
fn find_memory(id: u32) -> Result<(u32, Vec<u8>), Failure> {
    let maps = fs::read(format!("/proc/{id}/maps")).map_err(|error| refusal(id, &error))?;
    if !maps.is_empty() {
        return Ok((id, maps));
    }
    let mut threads = threads_of(id).map_err(|error| refusal(id, &error))?;
    // Of a thread that has ended the list is empty.
    let of_thread = |thread| Some((thread, fs::read(format!("/proc/{thread}/maps")).ok()?));
    let found = threads.find_map(|thread| of_thread(thread).filter(|(_, maps)| !maps.is_empty()));
    found.ok_or_else(|| match fs::read_to_string(format!("/proc/{id}/status")) {
        Ok(status) if !status_field(&status, "State:").is_some_and(|state| state.starts_with(['Z', 'X'])) => {
            Failure::NoMemory(id)
        }
        _ => Failure::HasEnded(id),
    })
}

/// Whether the process has ended, or was told to end and has not finished.
fn is_ending(id: u32) -> bool {
    // A thread on its way from having taken the signal to being marked as ending shows neither: it runs.
    const TRIES: u32 = 10;
    for _ in 0..TRIES {
        let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return true };
        let ways = threads.flatten().filter_map(|thread| way_of(&fs::read(thread.path().join("stat")).ok()?));
        let (mut waiting, mut running) = (0, 0);
        for way in ways {
            match way {
                Way::ToldToEnd => return true,
                Way::Ending => {}
                Way::Runs => running += 1,
                Way::Waits => waiting += 1,
            }
            // One that writes a core may wait while all others were told.
            if waiting == 2 {
                return false;
            }
        }
        if waiting + running == 0 {
            return true;
        }
        if waiting != 0 {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Which program a process runs, and since which exec: what the kernel told the program when it began, and the random bytes
/// among that, which differ even if all else is the same.
#[derive(PartialEq, Eq)]
struct Program {
    told: Vec<u8>,
    random: [u8; 16],
}

impl Program {
    fn of(id: u32) -> Option<Self> {
        // Of a thread that has ended there is nothing.
        let told_to = |thread: u32| {
            let told = fs::read(format!("/proc/{thread}/auxv")).ok().filter(|told| !told.is_empty())?;
            Some((thread, told))
        };
        let (thread, told) = told_to(id).or_else(|| threads_of(id).ok()?.find_map(told_to))?;
        let mut random = [0; 16];
        if let Some(address) = Self::word(&told, libc::AT_RANDOM)
            && let Ok(memory) = ProcessMemory::open(id, thread, address)
        {
            // Without them the rest is compared.
            let _ = memory.read(address, &mut random);
        }
        Some(Program { told, random })
    }

    /// The list consists of pairs.
    fn word(told: &[u8], key: u64) -> Option<u64> {
        let (words, _) = told.as_chunks::<8>();
        let mut pairs = words.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        pairs.find_map(|(of, value)| (u64::from_le_bytes(of) == key).then(|| u64::from_le_bytes(value)))
    }

    /// Whether the kernel is about to begin it.
    fn is_beginning(&self) -> bool {
        self.told.iter().all(|&byte| byte == 0)
    }
}

/// Why what was read of the process is no state of it: it has ended, or become another program than it was before.
fn change_since(id: u32, before: Option<&Program>) -> Option<Failure> {
    // An exec first ends all other threads, which looks like the process's end.
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        // First: a process that was not ending then, and is the same program after that, was so all the time.
        let is_ending = is_ending(id);
        let now = Program::of(id);
        if is_ending && now.is_none() {
            break;
        }
        if now.as_ref() != before || now.is_some_and(|now| now.is_beginning()) {
            return Some(Failure::BecameAnother(id));
        }
        if !is_ending {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(Failure::IsEnding(id))
}

/// Looks again if a process became another program meanwhile: what it is by then can be said.
pub fn look<T>(mut look: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    // One that does it all the time is given up.
    const AGAIN: u32 = 2;
    for _ in 0..AGAIN {
        match look() {
            Err(Failure::BecameAnother(_)) => {}
            seen => return seen,
        }
    }
    look()
}

/// How a thread stands to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// It was sent SIGKILL, as are all threads of a process that ends for whatever reason.
    ToldToEnd,
    Ending,
    Runs,
    Waits,
}

/// By a line of `/proc/PID/task/TID/stat`.
fn way_of(stat: &[u8]) -> Option<Way> {
    const PF_EXITING: u64 = 4;
    // The name before may have anything in it, brackets too.
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields: Vec<_> = str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let (flags, signals) = (number(6)?, number(28)?);
    Some(match *fields.first()? {
        "Z" | "X" => Way::Ending,
        _ if flags & PF_EXITING != 0 => Way::Ending,
        _ if signals >> (libc::SIGKILL - 1) & 1 != 0 => Way::ToldToEnd,
        "R" => Way::Runs,
        _ => Way::Waits,
    })
}

/// When the process started, or a moment before: seconds since 1970.
fn started_at(id: u32) -> Option<i64> {
    // By which the kernel counts for programs, whatever its own clock does.
    const TICKS_PER_SECOND: i64 = 100;
    let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let ticks: i64 =
        str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = status_field(&boot, "btime")?.parse().ok()?;
    // Each of the two was rounded.
    Some(boot + ticks / TICKS_PER_SECOND - 1)
}

pub(crate) fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_ascii)
}

/// The id in the innermost namespace, which is the last of those that `/proc` lists.
pub(crate) fn own_id(ids: &str) -> Option<u32> {
    ids.split_ascii_whitespace().last()?.parse().ok()
}

fn refusal(id: u32, error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Failure::NoPermission(id),
        Some(libc::ENOENT | libc::ESRCH) => match signal_nobody(id) {
            Some(libc::ESRCH) => Failure::NoSuchProcess(id),
            // If /proc hides other users' processes, only this shows that the process exists.
            Some(libc::EPERM) => Failure::NoPermission(id),
            _ => Failure::Unreadable { id, reason: format!("/proc does not show it: {error}") },
        },
        _ => Failure::Unreadable { id, reason: error.to_string() },
    }
}

/// Checks whether the process exists.
fn signal_nobody(id: u32) -> Option<i32> {
    // SAFETY: signal 0 is sent to nobody.
    let sent = unsafe { libc::kill(id as libc::pid_t, 0) };
    if sent == 0 { None } else { io::Error::last_os_error().raw_os_error() }
}

/// How memory is read.
struct ProcessMemory {
    thread: u32,
    /// /proc/PID/mem, where process_vm_readv is refused.
    file: Option<File>,
}

impl ProcessMemory {
    /// Finds out how memory can be read, by reading at `address`, which is mapped.
    fn open(id: u32, thread: u32, address: u64) -> Result<Self, Failure> {
        let mut memory = ProcessMemory { thread, file: None };
        let refused = match memory.read(address, &mut [0]) {
            Err(error) if error.raw_os_error() != Some(libc::EFAULT) => error,
            _ => return Ok(memory),
        };
        // A sandbox may lack or forbid the call, and yet allow /proc/PID/mem.
        let by_file = File::open(format!("/proc/{thread}/mem"));
        let by_file = by_file.and_then(|file| file.read_at(&mut [0], address).map(|_| file));
        match by_file {
            Ok(file) => memory.file = Some(file),
            Err(error)
                if matches!(refused.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ESRCH)) =>
            {
                return Err(refusal(id, &error));
            }
            Err(error) => {
                let reason = format!("process_vm_readv: {refused}; /proc/{thread}/mem: {error}");
                return Err(Failure::Unreadable { id, reason });
            }
        }
        Ok(memory)
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(file) = &self.file {
            return file.read_at(buffer, address);
        }
        let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
        // SAFETY: `local` is the buffer; the system checks `remote`, which is not of this process.
        let count = unsafe {
            libc::process_vm_readv(self.thread as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

impl Target for Process {
    fn description(&self) -> String {
        format!("process {}", self.id)
    }

    fn process_id(&self) -> u32 {
        self.own_id
    }

    fn outer_process_id(&self) -> Option<u32> {
        Some(self.id).filter(|&id| id != self.own_id)
    }

    fn is_live(&self) -> bool {
        true
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        self.memory.read(address, buffer).unwrap_or(0)
    }

    fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    fn labels(&self) -> &[Label] {
        &self.labels
    }

    fn open(&self, mapping: &Mapping) -> Option<File> {
        // The very file, even if it was deleted or lies in another mount namespace, for those who may; otherwise by name.
        let Mapping { start, end, .. } = mapping;
        open_regular(Path::new(&format!("/proc/{}/map_files/{start:x}-{end:x}", self.thread))).or_else(|| {
            let file = self.open_path(&mapping.path)?;
            (file.metadata().ok()?.ino() == mapping.inode).then_some(file)
        })
    }

    fn open_path(&self, path: &Path) -> Option<File> {
        let root = open_folder(Path::new(&format!("/proc/{}/root", self.thread)))?;
        open_below(&root, path)
    }

    /// Anyone may write into that folder, and the process that wrote it may have been an earlier one of the same id.
    fn perf_map(&self) -> Option<File> {
        let file = self.open_path(Path::new(&format!("/tmp/perf-{}.map", self.own_id)))?;
        let written = file.metadata().ok()?;
        let owner = fs::metadata(format!("/proc/{}", self.thread)).ok()?.uid();
        let is_its_own = written.uid() == owner && written.mtime() >= started_at(self.id)?;
        is_its_own.then_some(file)
    }

    fn now(&self) -> Option<u64> {
        if !self.has_clock_of_this_process {
            return None;
        }
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a timespec.
        let known = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) } == 0;
        known.then_some(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    fn id_in_proc(&self) -> Option<u32> {
        Some(self.id)
    }

    fn change(&self) -> Option<Failure> {
        change_since(self.id, self.program.as_ref())
    }
}

// ---- another process's files ------------------------------------------------------------------------------

fn open_folder(path: &Path) -> Option<OwnedFd> {
    open_at(libc::AT_FDCWD, path, libc::O_PATH | libc::O_DIRECTORY)
}

/// Opens the regular file that `path` names for a process whose root is `root`: a link in it, absolute or upwards, does
/// not lead out of that. The process may change the folders below at any time.
pub fn open_below(root: &OwnedFd, path: &Path) -> Option<File> {
    let file = match resolve_in_root(root, path) {
        Ok(file) => file,
        // openat2 is missing: a kernel before 5.6, or a sandbox.
        Err(libc::ENOSYS | libc::EPERM) => open_without_links(root, path)?,
        Err(_) => return None,
    };
    // Opened again through its descriptor, which is known by now to be neither a device nor a pipe.
    let file = File::from(file);
    file.metadata().ok()?.is_file().then_some(())?;
    open_regular(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}

fn resolve_in_root(root: &OwnedFd, path: &Path) -> Result<OwnedFd, i32> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::ENOENT)?;
    // SAFETY: zeros are a valid open_how.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path and the struct are valid, and the size is that of the struct.
    let file = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    if file < 0 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOENT));
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(file as RawFd) })
}

/// Goes down folder by folder, and refuses every link.
pub fn open_without_links(root: &OwnedFd, path: &Path) -> Option<OwnedFd> {
    let mut here = root.try_clone().ok()?;
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                here = open_at(here.as_raw_fd(), Path::new(name), libc::O_PATH | libc::O_NOFOLLOW)?;
                if File::from(here.try_clone().ok()?).metadata().ok()?.is_symlink() {
                    return None;
                }
            }
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(here)
}

fn open_at(folder: RawFd, path: &Path, flags: i32) -> Option<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: the path is valid.
    let file = unsafe { libc::openat(folder, path.as_ptr(), flags | libc::O_CLOEXEC) };
    // SAFETY: a new descriptor that nobody else has.
    (file >= 0).then(|| unsafe { OwnedFd::from_raw_fd(file) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_taken_if_the_process_itself_may_have_written_it() {
        let process = Process::attach(std::process::id()).unwrap();
        let path = format!("/tmp/perf-{}.map", std::process::id());
        assert!(process.perf_map().is_none());
        fs::write(&path, "1000 10 function\n").unwrap();
        let is_taken = || process.perf_map().is_some();
        assert!(is_taken());
        // By an earlier process of the same id.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(!is_taken());
        fs::remove_file(&path).unwrap();
        // What is no file is not opened.
        fs::create_dir(&path).unwrap();
        assert!(!is_taken());
        fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_thread_that_was_killed_is_told_from_one_that_waits() {
        let stat = |state: &str, flags: u64, signals: u64| {
            let middle = "0 ".repeat(21);
            let line = format!("7 (a) R 4 (b) {state} 1 7 7 0 -1 {flags} {middle}{signals} 0 0\n");
            way_of(line.as_bytes())
        };
        const PF_RANDOMIZE: u64 = 0x40_0000;
        const SIGKILL: u64 = 1 << 8;
        assert_eq!(stat("S", PF_RANDOMIZE, 0), Some(Way::Waits));
        assert_eq!(stat("R", PF_RANDOMIZE, 1 << 9), Some(Way::Runs));
        assert_eq!(stat("S", PF_RANDOMIZE, SIGKILL), Some(Way::ToldToEnd));
        assert_eq!(stat("R", PF_RANDOMIZE | 4, 0), Some(Way::Ending));
        assert_eq!(stat("Z", PF_RANDOMIZE, 0), Some(Way::Ending));
        assert_eq!(way_of(b"7 (a) S 1"), None);
    }
}
