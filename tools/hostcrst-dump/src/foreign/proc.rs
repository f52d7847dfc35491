//! Threads as `/proc` shows them.

use std::collections::HashMap;
use std::fs;

use crate::failure::Failure;
use crate::process::{own_id, status_field};
use crate::time_limit::TimeLimit;

/// The threads of a process, in the order of their ids.
pub struct Threads {
    /// The id by which `/proc` here knows the process.
    process: u32,
    pub list: Vec<Thread>,
    /// Places in the list by the ids that the process itself knows.
    by_id: HashMap<u32, usize>,
    /// There are more than are listed.
    pub more: bool,
}

pub struct Thread {
    /// Its id, as this tool sees it and as the process itself does.
    outer_id: u32,
    pub id: u32,
    pub name: Vec<u8>,
    pub glance: Glance,
}

/// What a thread was doing at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glance {
    pub state: State,
    pub call: Option<SystemCall>,
    /// The system does not show the call.
    hides_call: bool,
    /// How often it has stopped running, if the system tells: the same number twice means that it did not run between.
    switches: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It runs, or could if there were a processor free.
    Running,
    Asleep,
    /// Asleep in a way that no signal ends.
    AsleepUninterruptibly,
    /// By a signal.
    Stopped,
    /// By a debugger.
    Traced,
    Ended,
    Unknown,
}

/// A system call that a thread is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SystemCall {
    pub number: usize,
    pub arguments: [u64; 6],
    pub code_address: u64,
}

/// More threads than these are not looked at.
const MOST_THREADS: usize = 1 << 16;

/// Lists the threads of the process, each with what it does.
pub fn threads(process: u32, time_limit: TimeLimit) -> Result<Threads, Failure> {
    let folder = fs::read_dir(format!("/proc/{process}/task"));
    let mut ids: Vec<u32> = folder
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .take(MOST_THREADS + 1)
        .collect();
    ids.sort_unstable();
    let more = ids.len() > MOST_THREADS;
    let mut list = Vec::new();
    for outer_id in ids.into_iter().take(MOST_THREADS) {
        if time_limit.is_over() {
            return Err(time_limit.failure(format!("process {process}")));
        }
        list.extend(Thread::look(process, outer_id));
    }
    let live = list.iter().enumerate().filter(|(_, thread)| thread.glance.state != State::Ended);
    let by_id = live.map(|(place, thread)| (thread.id, place)).collect();
    Ok(Threads { process, list, by_id, more })
}

impl Threads {
    /// The place in the list of the live thread with this id.
    pub fn place(&self, id: u32) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Whether it is unknown of a live thread what it is blocked in.
    pub fn hide_calls(&self) -> bool {
        self.list.iter().any(|Thread { glance, .. }| glance.hides_call && glance.state != State::Ended)
    }

    /// What the thread does now; None if it has ended.
    pub fn glance(&self, place: usize) -> Option<Glance> {
        Glance::take(self.process, self.list[place].outer_id).map(|(_, glance)| glance)
    }

    /// What is below the thread's folder in `/proc`.
    pub fn path(&self, place: usize, below: &str) -> String {
        format!("/proc/{}/task/{}/{below}", self.process, self.list[place].outer_id)
    }

    /// Where the sockets of the process's network are listed.
    pub fn net_folder(&self) -> String {
        format!("/proc/{}/net", self.process)
    }

    pub fn names(&self) -> HashMap<u32, Vec<u8>> {
        self.list.iter().map(|thread| (thread.id, thread.name.clone())).collect()
    }
}

impl Thread {
    fn look(process: u32, outer_id: u32) -> Option<Thread> {
        let name = fs::read(format!("/proc/{process}/task/{outer_id}/comm")).ok()?;
        let (status, glance) = Glance::take(process, outer_id)?;
        let id = status_field(&status, "NSpid:").and_then(own_id).unwrap_or(outer_id);
        Some(Thread { outer_id, id, name: name.trim_ascii_end().to_vec(), glance })
    }
}

impl Glance {
    /// Whether it sleeps, and would be seen to have woken up since.
    pub fn is_sure_sleep(&self) -> bool {
        matches!(self.state, State::Asleep | State::AsleepUninterruptibly) && self.switches.is_some()
    }

    /// With the file that most of it stands in.
    fn take(process: u32, outer_id: u32) -> Option<(String, Glance)> {
        let read = |file: &str| fs::read(format!("/proc/{process}/task/{outer_id}/{file}"));
        // First the call: if the thread has run since, that shows in the number of switches the next time.
        let call = read("syscall");
        let hides_call = call.is_err();
        let status = String::from_utf8_lossy(&read("status").ok()?).into_owned();
        let state = match status_field(&status, "State:").and_then(|state| state.bytes().next()) {
            Some(b'R') => State::Running,
            Some(b'S' | b'I') => State::Asleep,
            Some(b'D') => State::AsleepUninterruptibly,
            Some(b'T') => State::Stopped,
            Some(b't') => State::Traced,
            Some(b'Z' | b'X') => State::Ended,
            _ => State::Unknown,
        };
        let call = call.ok().as_deref().and_then(parse_call);
        let [own, forced] = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"]
            .map(|name| status_field(&status, name)?.parse::<u64>().ok());
        let switches = own.zip(forced).map(|(own, forced)| own.wrapping_add(forced));
        // One that has just fallen asleep, or woken up, is running.
        let state = if state == State::Asleep && call.is_none() { State::Running } else { state };
        let call = call.filter(|_| state != State::Running);
        Some((status, Glance { state, call, hides_call, switches }))
    }
}

/// `number argument… stack code`, or `running`; `-1 stack code` of a thread that is in the kernel for another reason.
fn parse_call(line: &[u8]) -> Option<SystemCall> {
    let line = str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut next = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = next()?;
    }
    let _stack = next()?;
    Some(SystemCall { number, arguments, code_address: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_from_what_is_none() {
        let call = parse_call(b"202 0x7f00 0x80 0x2 0x0 0x0 0x1 0x7ffe 0x55aa\n").unwrap();
        assert_eq!((call.number, call.arguments[1], call.code_address), (202, 0x80, 0x55aa));
        for none in [&b"running\n"[..], b"-1 0x7ffe 0x55aa\n", b"", b"202 0x1\n", b"\xff"] {
            assert_eq!(parse_call(none), None);
        }
    }
}
