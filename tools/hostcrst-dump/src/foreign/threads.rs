//! Threads as `/proc` shows them, or as a core has them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};

use foreign_locks::{Glance, Patience, State, SystemCall, field};

use crate::failure::Failure;
use crate::process::own_id;
use crate::registers::Registers;
use crate::target::Target;
use crate::time_limit::TimeLimit;

/// The threads of a process, in the order of their ids.
pub struct Threads {
    /// The id by which `/proc` here knows the process; None of a core.
    process: Option<u32>,
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
    /// All of them, in a core.
    registers: Option<Registers>,
}

/// More threads than these are not looked at.
const MOST_THREADS: usize = 1 << 16;

/// Lists the threads of the target, each with what it does, if they are known.
pub fn threads(target: &dyn Target, time_limit: TimeLimit) -> Result<Option<Threads>, Failure> {
    match target.id_in_proc() {
        Some(id) => threads_of_process(id, time_limit).map(Some),
        None if target.stored_threads().is_empty() => Ok(None),
        None => Ok(Some(threads_of_core(target))),
    }
}

fn threads_of_core(target: &dyn Target) -> Threads {
    let mut names = target.thread_names();
    let stored = target.stored_threads();
    let mut list: Vec<_> = stored
        .iter()
        .take(MOST_THREADS)
        .map(|thread| Thread {
            outer_id: thread.id,
            id: thread.id,
            name: names.remove(&thread.id).unwrap_or_default(),
            glance: Glance::in_core(thread.call.clone()),
            registers: Some(thread.registers.clone()),
        })
        .collect();
    list.sort_by_key(|thread| thread.id);
    Threads::new(None, list, stored.len() > MOST_THREADS)
}

fn threads_of_process(process: u32, time_limit: TimeLimit) -> Result<Threads, Failure> {
    let mut ids: Vec<u32> = outer_ids(process).take(MOST_THREADS + 1).collect();
    ids.sort_unstable();
    let more = ids.len() > MOST_THREADS;
    // Elsewhere, each thread has to be asked for its id.
    let look = if has_ids_of_here(process) { Thread::look_briefly } else { Thread::look };
    let mut list = Vec::new();
    for outer_id in ids.into_iter().take(MOST_THREADS) {
        if time_limit.is_over() {
            return Err(time_limit.failure(format!("process {process}")));
        }
        list.extend(look(process, outer_id));
    }
    Ok(Threads::new(Some(process), list, more))
}

/// The ids of a process's threads, as this tool sees them.
fn outer_ids(process: u32) -> impl Iterator<Item = u32> {
    let folder = fs::read_dir(format!("/proc/{process}/task"));
    folder.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

impl Threads {
    fn new(process: Option<u32>, list: Vec<Thread>, more: bool) -> Self {
        let live = list.iter().enumerate().filter(|(_, thread)| thread.lives());
        let by_id = live.map(|(place, thread)| (thread.id, place)).collect();
        Threads { process, list, by_id, more }
    }

    /// The place in the list of the live thread with this id.
    pub fn place(&self, id: u32) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Whether a live thread has this id, also if it began after these were listed.
    pub fn lives(&self, id: u32) -> bool {
        self.place(id).is_some() || self.process.is_some_and(|process| self.has_begun(process, id))
    }

    fn has_begun(&self, process: u32, id: u32) -> bool {
        if has_ids_of_here(process) {
            return Thread::look_briefly(process, id).is_some_and(|thread| thread.lives());
        }
        self.has_begun_elsewhere(process, id)
    }

    fn has_begun_elsewhere(&self, process: u32, id: u32) -> bool {
        let is_listed =
            |outer_id| self.list.binary_search_by_key(&outer_id, |thread| thread.outer_id).is_ok();
        let others = outer_ids(process).filter(|&outer_id| !is_listed(outer_id));
        others
            .filter_map(|outer_id| Thread::look(process, outer_id))
            .any(|thread| thread.id == id && thread.lives())
    }

    /// Whether it is unknown of a live thread what it is blocked in.
    pub fn hide_calls(&self) -> bool {
        self.list.iter().any(|Thread { glance, .. }| glance.hides_call && glance.state != State::Ended)
    }

    /// What the thread does now; None if it has ended.
    pub fn glance(&self, place: usize) -> Option<Glance> {
        let thread = &self.list[place];
        match self.process {
            Some(process) => take(process, thread.outer_id).map(|(_, glance)| glance),
            None => Some(thread.glance.clone()),
        }
    }

    /// Whether the thread is in the call still, or in the same one again.
    pub fn is_in_call(&self, place: usize, call: &SystemCall) -> bool {
        let now = |process| read_of_thread(process, self.list[place].outer_id, "syscall").ok();
        self.process.is_none_or(|process| now(process).is_some_and(|now| call.is_same(&now)))
    }

    /// What is known of the registers of a thread that was seen to do this.
    pub fn registers(&self, place: usize, glance: &Glance) -> Option<Registers> {
        let of_call = || {
            let call = glance.call.as_ref()?;
            Some(Registers::of(call.stack_pointer, call.code_address))
        };
        self.list[place].registers.clone().or_else(of_call)
    }

    /// Whether each thread of the process that is awake, also one that began after these were listed, has run since the call, for
    /// which this sleeps a while. A thread is asleep only in a system call.
    pub fn let_awake_ones_run(&self, patience: &mut Patience, nap: fn(u64)) -> bool {
        let Some(process) = self.process else { return false };
        outer_ids(process).all(|thread| {
            let now = || Thread::look_briefly(process, thread);
            let mut is_asleep = || now().is_none_or(|thread| thread.glance.state.is_asleep());
            patience.lets_run(&mut is_asleep, &|| time_run(process, thread), nap)
        })
    }

    /// Whether the process runs here, and not elsewhere or no longer.
    pub fn are_of_process(&self) -> bool {
        self.process.is_some()
    }

    /// The ids of the process and of a thread here, if it runs here.
    pub fn ids_here(&self, place: usize) -> Option<(u32, u32)> {
        Some((self.process?, self.list[place].outer_id))
    }

    /// What is below the thread's folder in `/proc`, if it has one.
    pub fn path(&self, place: usize, below: &str) -> Option<String> {
        Some(format!("/proc/{}/task/{}/{below}", self.process?, self.list[place].outer_id))
    }

    /// Where the sockets of the process's network are listed.
    pub fn net_folder(&self) -> Option<String> {
        Some(format!("/proc/{}/net", self.process?))
    }

    pub fn names(&self) -> HashMap<u32, Vec<u8>> {
        self.list.iter().map(|thread| (thread.id, thread.name.clone())).collect()
    }
}

/// Whether the process knows its threads by the ids that they have here.
fn has_ids_of_here(process: u32) -> bool {
    let status = fs::read(format!("/proc/{process}/status")).unwrap_or_default();
    let ids = field(&status, b"NSpid:").unwrap_or(b"");
    ids.split(u8::is_ascii_whitespace).count() == 1
}

impl Thread {
    fn lives(&self) -> bool {
        self.glance.state != State::Ended
    }

    /// For `/proc` that has the ids that the threads themselves know; how often it has stopped is not asked for.
    fn look_briefly(process: u32, outer_id: u32) -> Option<Thread> {
        let call = read_of_thread(process, outer_id, "syscall").ok();
        let stat = read_of_thread(process, outer_id, "stat").ok()?;
        let (name, glance) = Glance::brief(call.as_deref(), &stat)?;
        Some(Thread { outer_id, id: outer_id, name: name.trim_ascii_end().to_vec(), glance, registers: None })
    }

    fn look(process: u32, outer_id: u32) -> Option<Thread> {
        let name = read_of_thread(process, outer_id, "comm").ok()?;
        let (status, glance) = take(process, outer_id)?;
        let ids = field(&status, b"NSpid:").and_then(|ids| str::from_utf8(ids).ok());
        let id = ids.and_then(own_id).unwrap_or(outer_id);
        Some(Thread { outer_id, id, name: name.trim_ascii_end().to_vec(), glance, registers: None })
    }
}

/// How long a thread has run, in nanoseconds; None if the system does not tell.
fn time_run(process: u32, outer_id: u32) -> Option<u64> {
    let line = read_of_thread(process, outer_id, "schedstat").ok()?;
    str::from_utf8(&line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// What the thread does, with its `status`; None if it has ended.
pub fn take(process: u32, outer_id: u32) -> Option<(Vec<u8>, Glance)> {
    let call = read_of_thread(process, outer_id, "syscall").ok();
    let status = read_of_thread(process, outer_id, "status").ok()?;
    let glance = Glance::of(call.as_deref(), &status);
    Some((status, glance))
}

/// What a file of a thread has. The system gives all of one at once, but does not say how long it is, and std would begin with
/// a few bytes; this is read so often that the number of calls counts.
fn read_of_thread(process: u32, outer_id: u32, file: &str) -> io::Result<Vec<u8>> {
    const USUALLY: usize = 4096;
    let mut file = File::open(format!("/proc/{process}/task/{outer_id}/{file}"))?;
    let mut bytes = vec![0; USUALLY];
    let mut length = file.read(&mut bytes)?;
    while length == bytes.len() {
        bytes.resize(2 * length, 0);
        length += file.read(&mut bytes[length..])?;
    }
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;
    use std::{process, thread};

    use super::*;

    #[test]
    fn threads_that_are_awake_and_get_no_processor_have_not_run() {
        struct Spins(process::Child);
        impl Drop for Spins {
            fn drop(&mut self) {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }
        let child = Spins(process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        let id = child.0.id();
        let look = || threads_of_process(id, TimeLimit::of(Duration::from_secs(100)));
        let Ok(threads) = look() else { panic!("not listed") };
        let have_run = || threads.let_awake_ones_run(&mut Patience::with_threads(), |_| thread::yield_now());
        let is_in = |state| Thread::look_briefly(id, id).is_some_and(|thread| thread.glance.state == state);
        let send = |signal| {
            // SAFETY: no memory is involved; the process is our child and was not waited for.
            assert_eq!(unsafe { libc::kill(id as i32, signal) }, 0);
        };
        while !have_run() {}
        send(libc::SIGSTOP);
        while !is_in(State::Stopped) {
            thread::yield_now();
        }
        assert!(!have_run());
        send(libc::SIGCONT);
        while !have_run() {}
    }

    #[test]
    fn a_thread_that_began_after_the_list_was_made_lives() {
        let limit = TimeLimit::of(Duration::from_secs(100));
        let Ok(threads) = threads_of_process(process::id(), limit) else { panic!("not listed") };
        let ((say, said), (end, ended)) = (channel(), channel::<()>());
        let young = thread::spawn(move || {
            let link = fs::read_link("/proc/thread-self").unwrap();
            say.send(link.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap();
            let _ = ended.recv();
        });
        let id: u32 = said.recv().unwrap();
        let here = process::id();
        assert!(threads.place(id).is_none() && threads.lives(id) && threads.has_begun_elsewhere(here, id));
        const NOBODY: u32 = i32::MAX as u32;
        assert!(threads.lives(here) && !threads.lives(NOBODY) && !threads.has_begun_elsewhere(here, NOBODY));
        drop(end);
        young.join().unwrap();
    }
}
