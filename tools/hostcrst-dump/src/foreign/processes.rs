//! Waits for what another process has: the lock of a file, or that it ends; and the cycles of them. A process of one thread
//! waits for what that thread waits for. Any thread of a process may give up a lock that the process has, so that a process of
//! several threads gives it up is never ruled out here.

use std::fs;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use foreign_locks::{Glance, State, SystemCall, field};

use super::file_locks::{FileLocks, Kind};
use super::threads::{Threads, take};
use crate::symbols::printable;

/// What a thread waits for that a process has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessWait {
    pub what: Held,
    /// The process that has it, by its id here.
    pub holder: u32,
    pub is_certain: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// The lock of this file.
    FileLock(String),
    /// Its end, which its parent waits for.
    End,
}

/// Processes of which each waits for the next, and the last for the first.
pub struct ProcessCycle {
    pub links: Vec<Link>,
    pub is_certain: bool,
}

/// A process that waits for another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub process: u32,
    pub wait: ProcessWait,
    thread: u32,
    glance: Glance,
    has_other_threads: bool,
}

/// Processes followed from one on.
const LONGEST_CHAIN: usize = 64;

/// What the thread of the process waits for, if another process is to give it.
pub fn wait_of(
    process: u32,
    thread: u32,
    glance: &Glance,
    locks: &impl Deref<Target = FileLocks>,
) -> Option<ProcessWait> {
    let call = glance.call.as_ref()?;
    let wait = match call.number as i64 {
        libc::SYS_flock => file_lock(process, thread, Kind::OfOpenFile, call, locks),
        libc::SYS_fcntl if call.arguments[1] as i32 == libc::F_SETLKW => {
            file_lock(process, thread, Kind::OfProcess, call, locks)
        }
        libc::SYS_wait4 => end_of(process, call.arguments[0] as i32, call.arguments[2] as i32),
        libc::SYS_waitid if call.arguments[0] as u32 == libc::P_PID => {
            end_of(process, call.arguments[1] as i32, call.arguments[3] as i32 & !libc::WEXITED)
        }
        _ => None,
    };
    wait.map(|wait| ProcessWait { is_certain: wait.is_certain && glance.is_sure_sleep(), ..wait })
}

fn file_lock(
    process: u32,
    thread: u32,
    kind: Kind,
    call: &SystemCall,
    locks: &FileLocks,
) -> Option<ProcessWait> {
    let path = format!("/proc/{process}/task/{thread}/fd/{}", call.arguments[0] as i32);
    let file = fs::metadata(&path).ok()?.ino();
    let blocker = locks.blocker(kind, process, file)?;
    let name = fs::read_link(&path).ok()?;
    Some(ProcessWait {
        what: Held::FileLock(printable(name.as_os_str().as_bytes())),
        holder: blocker.process,
        is_certain: blocker.is_certain,
    })
}

/// `options`: those besides that the child ends.
fn end_of(process: u32, child: i32, options: i32) -> Option<ProcessWait> {
    let child = u32::try_from(child).ok().filter(|&child| child != 0)?;
    let status = fs::read(format!("/proc/{child}/status")).ok()?;
    let parent = str::from_utf8(field(&status, b"PPid:")?).ok()?.parse::<u32>().ok()?;
    const OTHER_REASONS: i32 = libc::WUNTRACED | libc::WCONTINUED;
    (parent == process).then_some(ProcessWait {
        what: Held::End,
        holder: child,
        is_certain: options & OTHER_REASONS == 0,
    })
}

/// The cycles that begin with waits of threads of this process, each found twice while no thread of it ran between. Of each
/// thread, the ids of the process and of itself here.
pub fn cycles(threads: &Threads, waiting: &[(u32, u32)]) -> Vec<ProcessCycle> {
    let mut cycles: Vec<ProcessCycle> = Vec::new();
    for &(process, thread) in waiting {
        let is_alone = threads.list.len() == 1 && !threads.more;
        let find = || cycle_from(process, thread, !is_alone, &&FileLocks::read());
        let Some(links) = find().filter(|links| find().as_ref() == Some(links)) else { continue };
        let is_known = |cycle: &ProcessCycle| cycle.links.iter().any(|link| *link == links[0]);
        if !cycles.iter().any(is_known) {
            let is_certain = links.iter().all(|link| link.wait.is_certain && !link.has_other_threads);
            cycles.push(ProcessCycle { links, is_certain });
        }
    }
    cycles
}

fn cycle_from(process: u32, thread: u32, has_other_threads: bool, locks: &&FileLocks) -> Option<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    let (mut process, mut thread, mut has_other_threads) = (process, thread, has_other_threads);
    for _ in 0..LONGEST_CHAIN {
        let (_, glance) = take(process, thread)?;
        let wait = wait_of(process, thread, &glance, locks)?;
        let next = wait.holder;
        links.push(Link { process, wait, thread, glance, has_other_threads });
        if let Some(first) = links.iter().position(|link| link.process == next) {
            return Some(links.split_off(first));
        }
        (process, thread, has_other_threads) = (next, only_thread(next)?, false);
    }
    None
}

/// The thread of a process that has no other.
fn only_thread(process: u32) -> Option<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let mut threads = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let only = threads.next()?;
    let is_alive = take(process, only).is_some_and(|(_, glance)| glance.state != State::Ended);
    (threads.next().is_none() && is_alive).then_some(only)
}

/// A process by its name, if that is known, and its id.
pub fn process_name(id: u32) -> String {
    let name = fs::read(format!("/proc/{id}/comm")).unwrap_or_default();
    match printable(name.trim_ascii_end()) {
        name if name.is_empty() => format!("process {id}"),
        name => format!("process {id} \"{name}\""),
    }
}
