//! What a system call waits for, in words. Numbers are those of this machine's own kind of processor.

use core::fmt::{self, Write};

use crate::words::Time;
use crate::{Process, SystemCall, names};

/// Descriptors named of one call at most.
const MOST_NAMED: usize = 4;
/// Entries of `poll` looked at.
const MOST_POLLED: u64 = 1024;
const LONGEST_PATH: usize = 256;

/// The name of a system call, if it has one.
pub fn name(call: &SystemCall) -> Option<&'static str> {
    names::name(call.number)
}

/// Writes what the arguments of a call mean; nothing where its name says all that is known.
pub fn write_meaning(process: &dyn Process, call: &SystemCall, out: &mut dyn Write) -> fmt::Result {
    match name(call) {
        Some(name) => Meaning { process, call, out }.write(name),
        None => Ok(()),
    }
}

struct Meaning<'m> {
    process: &'m dyn Process,
    call: &'m SystemCall,
    out: &'m mut dyn Write,
}

impl Meaning<'_> {
    fn write(&mut self, name: &str) -> fmt::Result {
        let [first, second, third, fourth, fifth, _] = self.call.arguments;
        match name {
            "read" | "readv" | "pread64" | "preadv" | "preadv2" | "recvfrom" | "recvmsg" | "recvmmsg"
            | "getdents64" => self.with_descriptor("from ", first),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg" | "sendmmsg" => {
                self.with_descriptor("to ", first)
            }
            "accept" | "accept4" | "connect" | "fsync" | "fdatasync" | "ioctl" | "ftruncate"
            | "fallocate" | "io_uring_enter" | "syncfs" | "sync_file_range" => {
                self.with_descriptor("on ", first)
            }
            "sendfile" => self.between(second, first),
            "splice" | "copy_file_range" => self.between(first, third),
            "flock" => {
                let is_exclusive = second & libc::LOCK_EX as u64 != 0;
                let how = if is_exclusive { "for an exclusive lock of " } else { "for a shared lock of " };
                self.with_descriptor(how, first)
            }
            "fcntl" => self.record_lock(first, second, third),
            "open" => self.path(first),
            "openat" | "openat2" => self.path(second),
            "poll" => {
                self.polled(first, second)?;
                self.milliseconds(third)
            }
            "ppoll" => {
                self.polled(first, second)?;
                self.limit(third)
            }
            "select" => {
                self.selected()?;
                // The kernel writes the time that is left there when the call ends.
                self.out.write_str(if fifth == 0 { "" } else { ", with a time limit" })
            }
            "pselect6" => {
                self.selected()?;
                self.limit(fifth)
            }
            "epoll_wait" | "epoll_pwait" => {
                self.epoll(first)?;
                self.milliseconds(fourth)
            }
            "epoll_pwait2" => {
                self.epoll(first)?;
                self.limit(fourth)
            }
            "wait4" => self.child(first as i32),
            "waitid" => match first as u32 {
                libc::P_PID => self.child(second as i32),
                libc::P_ALL => self.child(-1),
                _ => self.child(0),
            },
            "nanosleep" => self.sleep(first),
            "clock_nanosleep" if second & libc::TIMER_ABSTIME as u64 == 0 => self.sleep(third),
            "clock_nanosleep" => self.out.write_str("until a time of day or of the clock"),
            "pause" | "rt_sigsuspend" => self.out.write_str("for a signal"),
            "rt_sigtimedwait" => {
                self.out.write_str("for a signal")?;
                self.limit(third)
            }
            "futex" => {
                let limit = if fourth == 0 { "" } else { ", with a time limit" };
                write!(self.out, "on the word at 0x{first:x}{limit}")
            }
            "futex_waitv" => write!(self.out, "on {second} words"),
            "semop" | "semtimedop" => write!(self.out, "of semaphore set {first}"),
            "msgrcv" | "msgsnd" => write!(self.out, "of message queue {first}"),
            _ => Ok(()),
        }
    }

    // ---- descriptors and files -------------------------------------------------------------------------

    fn with_descriptor(&mut self, before: &str, descriptor: u64) -> fmt::Result {
        self.out.write_str(before)?;
        self.process.write_descriptor(self.out, descriptor as i32)
    }

    fn between(&mut self, from: u64, to: u64) -> fmt::Result {
        self.with_descriptor("from ", from)?;
        self.with_descriptor(" to ", to)
    }

    fn record_lock(&mut self, descriptor: u64, command: u64, lock: u64) -> fmt::Result {
        if !matches!(command as i32, libc::F_SETLKW | libc::F_OFD_SETLKW) {
            return self.with_descriptor("on ", descriptor);
        }
        let how = match self.bytes::<2>(lock).map(|kind| libc::c_int::from(i16::from_le_bytes(kind))) {
            Some(libc::F_RDLCK) => "for a shared lock of a part of ",
            Some(libc::F_WRLCK) => "for an exclusive lock of a part of ",
            _ => "for a lock of a part of ",
        };
        self.with_descriptor(how, descriptor)
    }

    fn path(&mut self, address: u64) -> fmt::Result {
        let mut bytes = [0; LONGEST_PATH];
        let there = self.read(address, &mut bytes);
        let Some(end) = bytes[..there].iter().position(|&byte| byte == 0) else { return Ok(()) };
        self.out.write_str("of ")?;
        self.process.write_path(self.out, &bytes[..end])
    }

    fn polled(&mut self, list: u64, count: u64) -> fmt::Result {
        self.descriptors(|process| {
            let mut found = Descriptors::default();
            for index in 0..count.min(MOST_POLLED) {
                let entry = list.wrapping_add(index * size_of::<libc::pollfd>() as u64);
                let Some(bytes) = bytes::<4>(process, entry) else { break };
                let descriptor = i32::from_le_bytes(bytes);
                if descriptor >= 0 {
                    found.add(descriptor);
                }
            }
            found
        })
    }

    fn selected(&mut self) -> fmt::Result {
        let [count, sets @ .., _, _] = self.call.arguments;
        self.descriptors(|process| {
            let is_set = |descriptor: u64| {
                let byte = |&set: &u64| bytes::<1>(process, set.wrapping_add(descriptor / 8));
                let mut bytes = sets.iter().filter(|&&set| set != 0).filter_map(byte);
                bytes.any(|[byte]| byte >> (descriptor % 8) & 1 != 0)
            };
            let mut found = Descriptors::default();
            let chosen = (0..count.min(MOST_POLLED)).filter(|&descriptor| is_set(descriptor));
            chosen.for_each(|descriptor| found.add(descriptor as i32));
            found
        })
    }

    /// Writes those that are found in the memory of the call, as `read` reads it.
    fn descriptors(&mut self, find: impl Fn(&dyn Process) -> Descriptors) -> fmt::Result {
        let found = find(self.process);
        let stands_still = self.process.is_still_in(self.call) && find(self.process) == found;
        if stands_still { found.write(self.process, self.out) } else { Ok(()) }
    }

    fn epoll(&mut self, epoll: u64) -> fmt::Result {
        let mut found = Descriptors::default();
        let add = &mut |descriptor| {
            found.add(descriptor);
            Ok(())
        };
        if self.process.epoll_looks_at(epoll as i32, add)? {
            found.write(self.process, self.out)
        } else {
            self.with_descriptor("on ", epoll)
        }
    }

    // ---- others ----------------------------------------------------------------------------------------

    /// By the number that `wait4` has for it.
    fn child(&mut self, id: i32) -> fmt::Result {
        match id {
            1.. => {
                self.out.write_str("for child process ")?;
                self.process.write_child(self.out, id as u32)
            }
            -1 => self.out.write_str("for any child process"),
            _ => self.out.write_str("for a child process of a group"),
        }
    }

    fn sleep(&mut self, timespec: u64) -> fmt::Result {
        match self.time(timespec) {
            Some(time) => write!(self.out, "for {time}"),
            None => Ok(()),
        }
    }

    fn limit(&mut self, timespec: u64) -> fmt::Result {
        match (timespec, self.time(timespec)) {
            (0, _) => Ok(()),
            (_, Some(time)) => write!(self.out, ", for {time} at most"),
            (_, None) => self.out.write_str(", with a time limit"),
        }
    }

    fn milliseconds(&mut self, limit: u64) -> fmt::Result {
        match limit as i32 {
            limit @ 0.. => {
                let (seconds, milliseconds) = (limit as u64 / 1000, limit as u64 % 1000);
                write!(self.out, ", for {} at most", Time { seconds, nanoseconds: milliseconds * 1_000_000 })
            }
            _ => Ok(()),
        }
    }

    /// Of a `timespec`, if it is one that the system takes.
    fn time(&self, address: u64) -> Option<Time> {
        let parts = u128::from_le_bytes(self.bytes(address)?);
        let seconds = u64::try_from(parts as i64).ok()?;
        let nanoseconds = (parts >> 64) as u64;
        (nanoseconds < 1_000_000_000).then_some(Time { seconds, nanoseconds })
    }

    fn bytes<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read(address, &mut bytes) == N).then_some(bytes)
    }

    /// Reads what an argument of the call leads to, LONGEST_PATH at most: nothing unless it is found twice, and the thread
    /// in the call in between. If the thread has gone on, other things may stand there.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let mut again = [0; LONGEST_PATH];
        let again = &mut again[..buffer.len()];
        let length = self.process.read(address, buffer);
        let is_found_again = self.process.is_still_in(self.call)
            && self.process.read(address, again) == length
            && again.get(..length) == buffer.get(..length);
        if is_found_again { length } else { 0 }
    }
}

fn bytes<const N: usize>(process: &dyn Process, address: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (process.read(address, &mut bytes) == N).then_some(bytes)
}

/// Several descriptors: the first ones, and how many there are.
#[derive(Default, PartialEq, Eq)]
struct Descriptors {
    first: [i32; MOST_NAMED],
    count: usize,
}

impl Descriptors {
    fn add(&mut self, descriptor: i32) {
        if let Some(place) = self.first.get_mut(self.count) {
            *place = descriptor;
        }
        self.count += 1;
    }

    /// Writes the first ones with what they are, the others as a number.
    fn write(&self, process: &dyn Process, out: &mut dyn Write) -> fmt::Result {
        for (place, &descriptor) in self.first.iter().take(self.count).enumerate() {
            out.write_str(if place == 0 { "on " } else { ", " })?;
            process.write_descriptor(out, descriptor)?;
        }
        match self.count {
            0 => out.write_str("on no descriptors"),
            count if count > MOST_NAMED => write!(out, " and {} more", count - MOST_NAMED),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::of_tests::{ADDRESS, Bytes};
    use std::string::String;
    use std::vec::Vec;

    /// A process that has memory, and nothing else; whether its thread is in the call still.
    struct Plain(Bytes, bool);

    impl crate::Memory for Plain {
        fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
            self.0.read(address, buffer)
        }
    }

    impl Process for Plain {
        fn is_still_in(&self, _call: &SystemCall) -> bool {
            self.1
        }

        fn write_descriptor(&self, out: &mut dyn Write, descriptor: i32) -> fmt::Result {
            write!(out, "fd {descriptor}")
        }

        fn write_child(&self, out: &mut dyn Write, id: u32) -> fmt::Result {
            write!(out, "{id}")
        }

        fn write_path(&self, _out: &mut dyn Write, _path: &[u8]) -> fmt::Result {
            Ok(())
        }

        fn epoll_looks_at(
            &self,
            _epoll: i32,
            _visit: &mut dyn FnMut(i32) -> fmt::Result,
        ) -> Result<bool, fmt::Error> {
            Ok(false)
        }
    }

    /// The meaning of a nanosleep for so long.
    fn sleep_for(seconds: i64, nanoseconds: i64, is_still_in: bool) -> String {
        let memory: Vec<u8> = [seconds, nanoseconds].iter().flat_map(|part| part.to_le_bytes()).collect();
        let number = libc::SYS_nanosleep as usize;
        let arguments = [ADDRESS, 0, 0, 0, 0, 0];
        let call = SystemCall { number, arguments, stack_pointer: 0, code_address: 0 };
        let mut meaning = String::new();
        write_meaning(&Plain(Bytes(memory), is_still_in), &call, &mut meaning).unwrap();
        meaning
    }

    #[test]
    fn a_time_that_the_system_does_not_take_is_none() {
        assert_eq!(sleep_for(2, 500_000_000, true), "for 2.5s");
        assert_eq!(sleep_for(2, 500_000_000, false), "", "the thread has gone on");
        for (seconds, nanoseconds) in [(-1, 0), (i64::MIN, 1), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(sleep_for(seconds, nanoseconds, true), "", "{seconds} {nanoseconds}");
        }
    }
}
