//! A thread as `/proc` shows it: what it is doing, and whether it has run since.

use crate::futex;
use crate::glibc::Thing;

/// What a thread was doing at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glance {
    /// Whether it runs or sleeps.
    pub state: State,
    /// The system call that it sleeps in.
    pub call: Option<SystemCall>,
    /// The system does not show the call.
    pub hides_call: bool,
    /// How often it has stopped running, if that was looked at and the system tells: the same number twice means that it did
    /// not run between.
    switches: Option<u64>,
}

/// Whether a thread runs or sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It runs, or could if there were a processor free.
    Running,
    /// It sleeps.
    Asleep,
    /// Asleep in a way that no signal ends.
    AsleepUninterruptibly,
    /// By a signal.
    Stopped,
    /// By a debugger.
    Traced,
    /// It is no more than an entry in a list.
    Ended,
    /// The system says nothing known.
    Unknown,
}

/// A system call that a thread is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SystemCall {
    /// Its number on this kind of processor.
    pub number: usize,
    /// Its arguments; those that the call does not have may be anything.
    pub arguments: [u64; 6],
    /// The thread's stack pointer.
    pub stack_pointer: u64,
    /// The address behind the instruction that called.
    pub code_address: u64,
}

impl Glance {
    /// By a thread's files `syscall`, read first, if the system shows it, and `status`: if the thread has run between,
    /// that shows in the number of switches the next time.
    pub fn of(call: Option<&[u8]>, status: &[u8]) -> Glance {
        let state = State::of(field(status, b"State:").and_then(<[u8]>::first));
        let count = |name| str::from_utf8(field(status, name)?).ok()?.parse::<u64>().ok();
        let [own, forced] = [&b"voluntary_ctxt_switches:"[..], b"nonvoluntary_ctxt_switches:"].map(count);
        let switches = own.zip(forced).map(|(own, forced)| own.wrapping_add(forced));
        Glance::with(call, state, switches)
    }

    /// The thread's name, and what it does but for how often it has stopped: by its files `syscall` and `stat`, of which the
    /// system makes the latter in a third of the time that `status` takes it. None if that is no such file.
    pub fn brief<'s>(call: Option<&[u8]>, stat: &'s [u8]) -> Option<(&'s [u8], Glance)> {
        // The name may have anything in it, brackets too.
        let (begin, end) =
            (stat.iter().position(|&byte| byte == b'(')?, stat.iter().rposition(|&byte| byte == b')')?);
        let (name, state) = (stat.get(begin + 1..end)?, stat.get(end + 2));
        Some((name, Glance::with(call, State::of(state), None)))
    }

    fn with(call: Option<&[u8]>, state: State, switches: Option<u64>) -> Glance {
        let hides_call = call.is_none();
        let call = call.and_then(SystemCall::parse);
        // One that has just fallen asleep, or woken up, is running.
        let state = if state == State::Asleep && call.is_none() { State::Running } else { state };
        let call = call.filter(|_| state != State::Running);
        Glance { state, call, hides_call, switches }
    }

    /// Of a thread in a core, by the call that it was blocked in: it stays as it is.
    pub fn in_core(call: Option<SystemCall>) -> Glance {
        let state = if call.is_some() { State::Asleep } else { State::Running };
        Glance { state, call, hides_call: false, switches: Some(0) }
    }

    /// How often it has stopped running, if the system tells.
    pub fn switches(&self) -> Option<u64> {
        self.switches
    }

    /// Whether it sleeps, and would be seen to have woken up since.
    pub fn is_sure_sleep(&self) -> bool {
        self.state.is_asleep() && self.switches.is_some()
    }

    /// Whether it is enough to be sure of a sleep for this thing: where no thread is waited for, there is no edge that would
    /// have to have stood all the while.
    pub fn is_sure_sleep_for(&self, thing: &Thing) -> bool {
        self.is_sure_sleep() || self.state.is_asleep() && !thing.is_of_threads()
    }

    /// Whether the thread is still in the call, or again in the same one, by its file `syscall`.
    pub fn is_in_same_call(&self, call: &[u8]) -> bool {
        self.call.as_ref().is_some_and(|own| own.is_same(call))
    }
}

impl State {
    /// By the letter that the system has for it.
    fn of(letter: Option<&u8>) -> State {
        match letter {
            Some(b'R') => State::Running,
            Some(b'S' | b'I') => State::Asleep,
            Some(b'D') => State::AsleepUninterruptibly,
            Some(b'T') => State::Stopped,
            Some(b't') => State::Traced,
            Some(b'Z' | b'X') => State::Ended,
            _ => State::Unknown,
        }
    }

    /// Whether it sleeps, in whatever way.
    pub fn is_asleep(self) -> bool {
        matches!(self, State::Asleep | State::AsleepUninterruptibly)
    }
}

impl SystemCall {
    /// Whether a thread whose file `syscall` this is, is in this call.
    pub fn is_same(&self, call: &[u8]) -> bool {
        SystemCall::parse(call).as_ref() == Some(self)
    }

    /// `number argument… stack code`, or `running`; `-1 stack code` of a thread that is in the kernel for another reason.
    fn parse(line: &[u8]) -> Option<SystemCall> {
        let line = str::from_utf8(line).ok()?;
        let mut words = line.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut next = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = next()?;
        }
        let (stack_pointer, code_address) = (next()?, next()?);
        let mut call = SystemCall { number, arguments, stack_pointer, code_address };
        if futex::is_resumed(&call) {
            call.number = libc::SYS_futex as usize;
        }
        Some(call)
    }
}

/// What stands in a line of `status` after its name, such as `State:`.
pub fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = status.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(name)).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_from_what_is_none() {
        let call = SystemCall::parse(b"202 0x7f00 0x80 0x2 0x0 0x0 0x1 0x7ffe 0x55aa\n").unwrap();
        assert_eq!((call.number, call.arguments[1]), (202, 0x80));
        assert_eq!((call.stack_pointer, call.code_address), (0x7ffe, 0x55aa));
        let number = |line: &[u8]| SystemCall::parse(line).map(|call| call.number as i64);
        let resumed = b"219 0x7f00 0x189 0x2 0x7ffe00 0x0 0xffffffff 0x7ffe 0x55aa\n";
        let number_of_resumed = if libc::SYS_restart_syscall == 219 { libc::SYS_futex } else { 219 };
        assert_eq!(number(resumed), Some(number_of_resumed));
        // A poll, a sleep, one without a limit.
        for other in ["0x7f00 0x1 0x3e8 0x7ffe00", "0x1 0x0 0x7f00 0x7ffe00", "0x7f00 0x80 0x2 0x0"] {
            let line = std::format!("219 {other} 0x0 0x0 0x7ffe 0x55aa\n");
            assert_eq!(number(line.as_bytes()), Some(219));
        }
        for none in [&b"running\n"[..], b"-1 0x7ffe 0x55aa\n", b"", b"202 0x1\n", b"\xff"] {
            assert_eq!(SystemCall::parse(none), None);
        }
    }

    #[test]
    fn one_that_is_in_no_call_runs() {
        const STATUS: &[u8] =
            b"Name:\ta\nState:\tS (sleeping)\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        let sleeps = Glance::of(Some(b"202 0x7f00 0x80 0x2 0x0 0x0 0x1 0x7ffe 0x55aa\n"), STATUS);
        assert!(sleeps.is_sure_sleep() && sleeps.call.is_some() && sleeps.switches == Some(7));
        let runs = Glance::of(Some(b"running\n"), STATUS);
        assert!(runs.state == State::Running && !runs.hides_call);
        assert!(Glance::of(None, STATUS).hides_call);
        let unsure = Glance::of(Some(b"202 0 0 0 0 0 0 0 0"), b"State:\tS\n");
        assert!(!unsure.is_sure_sleep());
    }

    #[test]
    fn a_brief_look_is_enough_where_nobody_is_waited_for() {
        const CALL: &[u8] = b"202 0x7f00 0x80 0x2 0x0 0x0 0x1 0x7ffe 0x55aa\n";
        let (name, glance) = Glance::brief(Some(CALL), b"7 (a) R (b) S 1 7 7 0\n").unwrap();
        assert_eq!((name, glance.state), (&b"a) R (b"[..], State::Asleep));
        assert!(glance.is_sure_sleep_for(&Thing::Condition(0x7f00)) && !glance.is_sure_sleep());
        assert!(!glance.is_sure_sleep_for(&Thing::Thread(7)));
        assert!(glance.is_in_same_call(CALL) && !glance.is_in_same_call(b"running\n"));
        let (_, runs) = Glance::brief(Some(b"running\n"), b"7 (a) R 1\n").unwrap();
        assert!(runs.state == State::Running && !runs.is_in_same_call(b"running\n"));
        assert!(!runs.is_sure_sleep_for(&Thing::Condition(0x7f00)));
        for none in [&b""[..], b"7 a S 1\n", b"7 )a( S\n"] {
            assert_eq!(Glance::brief(Some(CALL), none), None);
        }
    }
}
