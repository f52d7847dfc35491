//! The locks of files, as `/proc/locks` lists them, and who has them.

use std::fs::{self, File};
use std::io::Read;

/// What holds a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `flock`: an open file, which processes may share.
    OfOpenFile,
    /// `fcntl`: a process.
    OfProcess,
}

/// The list at one moment.
pub struct FileLocks(Vec<Entry>);

/// A lock, or a wait for one.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    /// 0 of what is locked; of a wait, one more than that of what it waits for, which stands before it.
    depth: usize,
    kind: Kind,
    process: u32,
    /// Device and number of the file, as they stand there.
    file: String,
}

/// Who has a lock.
pub struct Blocker {
    pub process: u32,
    /// No other process has it too.
    pub is_certain: bool,
}

/// What is read of the list, and how many descriptors are looked at to see who shares a lock.
const MOST_BYTES: u64 = 8 << 20;
const MOST_DESCRIPTORS: usize = 1 << 16;

impl FileLocks {
    pub fn read() -> FileLocks {
        let mut bytes = Vec::new();
        // Without the list nothing is known of locks.
        let _ = File::open("/proc/locks").and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
        FileLocks(String::from_utf8_lossy(&bytes).lines().filter_map(Entry::parse).collect())
    }

    /// What the process waits for to lock the file.
    pub fn blocker(&self, kind: Kind, process: u32, inode: u64) -> Option<Blocker> {
        let suffix = format!(":{inode}");
        let waits = |entry: &Entry| {
            entry.depth > 0 && (entry.kind, entry.process) == (kind, process) && entry.file.ends_with(&suffix)
        };
        let mut places = (0..self.0.len()).filter(|&place| waits(&self.0[place]));
        let place = places.next()?;
        // Files of several file systems may have the same number, and threads may wait for several parts of one.
        let is_only = places.next().is_none();
        let wait = &self.0[place];
        let blocker = self.0[..place].iter().rev().find(|entry| entry.depth < wait.depth)?;
        let is_certain = is_only
            && match kind {
                Kind::OfProcess => true,
                // One that waits for it itself has it as soon as it has got it.
                Kind::OfOpenFile => blocker.depth > 0 || has_alone(blocker),
            };
        Some(Blocker { process: blocker.process, is_certain })
    }
}

impl Entry {
    /// `number: [->] kind ADVISORY how process device:device:file start end`; indented the farther, the deeper.
    fn parse(line: &str) -> Option<Entry> {
        let (_, rest) = line.split_once(": ")?;
        let (depth, rest) = match rest.split_once("->") {
            Some((indent, rest)) => (indent.len() + 1, rest),
            None => (0, rest),
        };
        let mut words = rest.split_ascii_whitespace();
        let kind = match words.next()? {
            "FLOCK" => Kind::OfOpenFile,
            "POSIX" => Kind::OfProcess,
            _ => return None,
        };
        let mut words = words.skip(2);
        let process = words.next()?.parse().ok()?;
        Some(Entry { depth, kind, process, file: words.next()?.to_owned() })
    }
}

/// Whether the process is seen to have the lock, and no other process is. One that shares the open file and may not be looked at
/// would have to give up, in so many words, what another one took.
fn has_alone(lock: &Entry) -> bool {
    let mut left = MOST_DESCRIPTORS;
    let mut is_held = false;
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for id in ids {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{id}/fdinfo")) else { continue };
        for descriptor in descriptors.flatten() {
            let Some(rest) = left.checked_sub(1) else { return false };
            left = rest;
            let text = fs::read_to_string(descriptor.path()).unwrap_or_default();
            let mut locks = text.lines().filter_map(|line| Entry::parse(line.strip_prefix("lock:")?));
            if locks.any(|other| other.kind == lock.kind && other.file == lock.file) {
                if id != lock.process {
                    return false;
                }
                is_held = true;
            }
        }
    }
    is_held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> FileLocks {
        FileLocks(text.lines().filter_map(Entry::parse).collect())
    }

    #[test]
    fn a_wait_is_for_what_stands_before_it() {
        let locks = list(
            "1: POSIX  ADVISORY  WRITE 70 fd:00:131 0 EOF\n\
             1: -> POSIX  ADVISORY  WRITE 71 fd:00:131 0 EOF\n\
             1:  -> POSIX  ADVISORY  WRITE 72 fd:00:131 0 EOF\n\
             1: -> POSIX  ADVISORY  READ  73 fd:00:131 0 9\n\
             2: OFDLCK ADVISORY  WRITE -1 fd:00:131 0 EOF\n\
             3: FLOCK  ADVISORY  WRITE 74 fd:00:9131 0 EOF\n",
        );
        assert_eq!(locks.0.len(), 5);
        let blocker = |process, file| {
            locks.blocker(Kind::OfProcess, process, file).map(|found| (found.process, found.is_certain))
        };
        assert_eq!(blocker(71, 131), Some((70, true)));
        assert_eq!(blocker(72, 131), Some((71, true)));
        assert_eq!(blocker(73, 131), Some((70, true)));
        for (process, file) in [(70, 131), (71, 31), (74, 9131)] {
            assert_eq!(blocker(process, file), None, "{process} {file}");
        }
    }

    #[test]
    fn one_of_several_waits_for_a_file_is_not_certain() {
        let line =
            "1: POSIX  ADVISORY  WRITE 70 fd:00:131 0 9\n1: -> POSIX  ADVISORY  WRITE 71 fd:00:131 0 9\n";
        let locks = list(&[line, &line.replace("fd:00", "fd:01")].concat());
        assert!(!locks.blocker(Kind::OfProcess, 71, 131).unwrap().is_certain);
    }
}
