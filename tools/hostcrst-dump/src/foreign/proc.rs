//! Threads as `/proc` shows them.

use std::collections::HashMap;
use std::fs;

use foreign_locks::{Glance, State, field};

use crate::failure::Failure;
use crate::process::own_id;
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
        take(self.process, self.list[place].outer_id).map(|(_, glance)| glance)
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
        let (status, glance) = take(process, outer_id)?;
        let ids = field(&status, b"NSpid:").and_then(|ids| str::from_utf8(ids).ok());
        let id = ids.and_then(own_id).unwrap_or(outer_id);
        Some(Thread { outer_id, id, name: name.trim_ascii_end().to_vec(), glance })
    }
}

/// What the thread does, with its `status`; None if it has ended.
fn take(process: u32, outer_id: u32) -> Option<(Vec<u8>, Glance)> {
    let read = |file: &str| fs::read(format!("/proc/{process}/task/{outer_id}/{file}"));
    let call = read("syscall").ok();
    let status = read("status").ok()?;
    let glance = Glance::of(call.as_deref(), &status);
    Some((status, glance))
}
