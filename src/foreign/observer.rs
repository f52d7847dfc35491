//! What one thread does, and what it waits for.

use foreign_locks::glibc::{Thing, recognise};
use foreign_locks::{
    Caller, FutexWait, Glance, ManagedWait, Memory, Operation, Patience, STANDS_AFTER, SystemCall, Verdicts,
    field, is_glibc,
};

use super::who::Who;
use crate::base::name::NameCopy;
use crate::state::managed_wait::ManagedWaitCopy;
use crate::state::registry::{REGISTRY, Registry};
use crate::sys;
use crate::sys::symbols::{Mapped, Resolver};
use crate::view::picture::Picture;

/// The file `syscall` of a thread has less.
const LONGEST_CALL: usize = 256;

/// The system call that a thread of this process is in.
pub(crate) fn call_of(thread: u32) -> Option<SystemCall> {
    let mut line = [0; LONGEST_CALL];
    const NO_STATUS: &[u8] = b"";
    Glance::of(sys::read_thread_file(None, thread, "syscall", &mut line), NO_STATUS).call
}

/// The memory that looking needs, since the caller's stack may be small. Zeroed memory is one.
pub(crate) struct Room {
    call: [u8; LONGEST_CALL],
    /// A file of a thread, or some of the list of all threads.
    status: [u8; 1 << 15],
    /// The code address of the last call that was looked at, and whose code that is: most threads of a crowd wait in one
    /// place. Address 0 for none yet.
    last_caller: (u64, Caller),
    /// Of locks of managed code.
    pub(super) abandoned: Verdicts,
}

impl Room {
    pub(crate) const fn new() -> Self {
        Room {
            call: [0; LONGEST_CALL],
            status: [0; 1 << 15],
            last_caller: NO_CALLER,
            abandoned: Verdicts::none(),
        }
    }

    /// Forgets what may be otherwise the next time.
    pub(crate) fn forget(&mut self) {
        self.last_caller = NO_CALLER;
        self.abandoned = Verdicts::none();
    }
}

/// In zeroed memory.
const NO_CALLER: (u64, Caller) = (0, Caller::Glibc);

/// Looks at threads of this process.
pub(crate) struct Observer<'o> {
    pub(crate) resolver: &'o mut Resolver,
    pub(crate) room: &'o mut Room,
    /// While many threads are looked at.
    folder: Option<sys::ThreadFolder>,
    /// The file `syscall` of the thread that was looked at last: to open it takes longer than to read it.
    call_file: Option<(u32, sys::ThreadFile)>,
    /// The wait that was found last: most threads of a crowd wait for one thing.
    last_found: Option<Wait>,
    patience: Patience,
    pub(super) patience_with_threads: Patience,
}

/// What a thread waits for that is not the library's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) thing: Thing,
    /// Everything said of it is known, and not only likely.
    pub(crate) is_certain: bool,
    pub(crate) is_limited: bool,
    /// The live thread that it cannot go on before.
    pub(crate) owner: Option<u32>,
    /// It may well end by itself yet: no cycle that it is part of is a deadlock.
    pub(crate) is_young: bool,
}

impl Wait {
    fn is_same(&self, other: &Wait) -> bool {
        // One that was found to be probable only is the same wait when it is found so again.
        Wait { is_certain: other.is_certain, is_young: other.is_young, ..*self } == *other
    }

    /// Whether some thread owns what is waited for, even if it is none of this process.
    pub(crate) fn is_for_what_is_owned(&self) -> bool {
        self.thing.owner().is_some()
    }
}

/// This process's memory, where any address may be asked for.
pub(crate) struct OwnMemory;

impl Memory for OwnMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        sys::read_own_memory(address, buffer)
    }
}

/// How often a wait is looked at until it stands still.
const TRIES: usize = 3;

impl<'o> Observer<'o> {
    pub(crate) fn new(resolver: &'o mut Resolver, room: &'o mut Room) -> Self {
        Observer {
            resolver,
            room,
            folder: None,
            call_file: None,
            last_found: None,
            patience: Patience::with_managed_code(),
            patience_with_threads: Patience::with_threads(),
        }
    }

    /// Many threads are to be looked at: the folder that has one of each, with room for some of the list.
    pub(crate) fn open_folder(&mut self) -> Option<(&sys::ThreadFolder, &mut [u8])> {
        self.folder = sys::ThreadFolder::open();
        Some((self.folder.as_ref()?, &mut self.room.status))
    }

    /// The thread's file `syscall`.
    fn read_call(&mut self, thread: u32) -> Option<&[u8]> {
        self.call_file =
            sys::ThreadFile::open(self.folder.as_ref(), thread, "syscall").map(|file| (thread, file));
        self.read_call_again(thread)
    }

    /// The same as it is now, if the thread is the one that was looked at last.
    fn read_call_again(&mut self, thread: u32) -> Option<&[u8]> {
        let (_, file) = self.call_file.as_ref().filter(|(of, _)| *of == thread)?;
        file.read(&mut self.room.call)
    }

    /// What the thread does now; None if it has ended, or the system does not tell.
    #[inline(never)]
    pub(crate) fn glance(&mut self, thread: u32) -> Option<Glance> {
        let length = self.read_call(thread).map(<[u8]>::len);
        let folder = self.folder.as_ref();
        let status = sys::read_thread_file(folder, thread, "status", &mut self.room.status)?;
        let call = length.and_then(|length| self.room.call.get(..length));
        // Seen from another namespace, threads have other ids there.
        let ids = field(status, b"NSpid:").and_then(|ids| str::from_utf8(ids).ok());
        let own = ids.and_then(|ids| ids.split_ascii_whitespace().last()?.parse().ok()).unwrap_or(thread);
        (own == thread).then(|| Glance::of(call, status))
    }

    /// Its name, and what it does now but for how often it has stopped: what a list of many can afford. For `/proc` that
    /// has the ids that the threads themselves know.
    #[inline(never)]
    pub(crate) fn brief_glance(&mut self, thread: u32) -> Option<(NameCopy, Glance)> {
        let length = self.read_call(thread).map(<[u8]>::len);
        let stat = sys::read_thread_file(self.folder.as_ref(), thread, "stat", &mut self.room.status)?;
        let call = length.and_then(|length| self.room.call.get(..length));
        let (name, glance) = Glance::brief(call, stat)?;
        Some((NameCopy::of(name), glance))
    }

    /// What the thread waits for, found twice: while it did not run between, if it may wait for another thread. `glance` is
    /// what it was first seen to do, and then what it was last; None if it has ended.
    pub(crate) fn wait_of(&mut self, who: Who, glance: &mut Option<Glance>) -> Option<Wait> {
        let seen = glance.as_ref()?;
        let wait = self.thing_of(who, seen)?;
        // The same was found before this thread's call was read, as by now: there it stood when that was read.
        let was_found_before = self.last_found.replace(wait) == Some(wait);
        let is_found_again = |observer: &mut Self| {
            observer.read_call_again(who.thread).is_some_and(|call| seen.is_in_same_call(call))
                && observer.thing_of(who, seen) == Some(wait)
        };
        if !wait.thing.is_of_threads() && (was_found_before || is_found_again(self)) {
            return Some(wait);
        }
        *glance = self.glance(who.thread);
        self.still_wait_of(who, glance)
    }

    /// What the thread waits for, found twice while it did not run between.
    fn still_wait_of(&mut self, who: Who, glance: &mut Option<Glance>) -> Option<Wait> {
        for attempt in 1..=TRIES {
            let first = self.thing_of(who, glance.as_ref()?);
            let is_managed = first.is_some_and(|wait| wait.thing.is_managed());
            let ownerless = first.and_then(|wait| wait.thing.abandoned());
            let is_held_no_more = (!is_managed || self.lets_managed_code_run())
                && ownerless.is_none_or(|lock| self.is_left_without_owner(lock));
            let now = self.glance(who.thread)?;
            let is_same = glance.replace(now) == *glance;
            let again = self.thing_of(who, glance.as_ref()?);
            if let Some(lock) = ownerless
                && again.is_none_or(|again| again.thing.abandoned().is_none())
            {
                self.room.abandoned.add(lock, false);
            }
            match (first, again) {
                (None, None) => return None,
                (Some(first), Some(again)) if is_same && first.is_same(&again) => {
                    return Some(Wait { is_certain: again.is_certain && is_held_no_more, ..again });
                }
                (_, Some(last)) if attempt == TRIES => return Some(Wait { is_certain: false, ..last }),
                _ => {}
            }
        }
        None
    }

    /// Whether managed code has run since the call: a thread that was seen before, and does not run until it is seen again, was
    /// not held on its way back from a wait (see `Registry::stops`). Sleeps a while until it has.
    pub(crate) fn lets_managed_code_run(&mut self) -> bool {
        let before = REGISTRY.stops();
        let mut has_run = || Registry::has_managed_code_run(before, REGISTRY.stops());
        self.patience.lets_happen(&mut has_run, sys::nap)
    }

    /// What the thread waits for, if it still does what was seen of it.
    #[inline(never)]
    pub(crate) fn thing_of(&mut self, who: Who, glance: &Glance) -> Option<Wait> {
        let call = glance.call.as_ref()?;
        let sleep = FutexWait::of(call)?;
        let caller = self.caller(call.code_address);
        let of_kernel = sleep.operation == Operation::LockPi;
        let thing = match caller {
            Caller::Other if !of_kernel => Thing::Futex(sleep.word),
            _ => recognise(&sleep, &OwnMemory, &lives),
        };
        if let Some(wait) = Picture::here().managed_wait(who.task)
            && let Some(is_certain) = ManagedWait::is_slept_for(&sleep, caller, &thing)
        {
            let managed = managed_wait(&wait, call.stack_pointer, &sleep, glance);
            // Nobody waits for what it owns: it has just got it.
            if managed.owner != Some(who.thread) {
                return Some(Wait { is_certain: is_certain && managed.is_certain, ..managed });
            }
        }
        let owner = thing.owner().filter(|&id| lives(id));
        let is_known = of_kernel || caller == Caller::Glibc && !thing.is_doubtful();
        let has_owner = owner.is_some() || thing.owner().is_none();
        Some(Wait {
            thing,
            // That it sleeps on a word is no guess. A thread that was stopped may have been woken before.
            is_certain: glance.is_sure_sleep_for(&thing)
                && (matches!(thing, Thing::Futex(_)) || is_known && has_owner),
            is_limited: sleep.is_limited,
            // Nobody joins itself.
            owner: owner.filter(|&owner| owner != who.thread || thing.is_lock()),
            is_young: false,
        })
    }

    fn caller(&mut self, code_address: u64) -> Caller {
        match self.room.last_caller {
            (address, caller) if address == code_address && address != 0 => caller,
            _ => {
                let caller = self.find_caller(code_address);
                self.room.last_caller = (code_address, caller);
                caller
            }
        }
    }

    #[inline(never)]
    fn find_caller(&mut self, code_address: u64) -> Caller {
        // A function that glibc has for others: whether glibc is a file of its own, and has names.
        let known = self.resolver.resolve(&Mapped, libc::pthread_mutex_lock as *const () as u64);
        let (is_loaded, has_names) =
            known.map_or((false, false), |known| (is_glibc(known.library()), known.name().is_some()));
        match self.resolver.resolve(&Mapped, code_address) {
            Some(code) => Caller::of(code.library(), code.name(), has_names, || is_loaded),
            None => Caller::Other,
        }
    }
}

/// What a thread that is known to wait for a lock of managed code, and sleeps so, waits for. It may sleep in something else
/// while managed code is stopped: so it is looked at again when that code has run (`lets_managed_code_run`).
fn managed_wait(wait: &ManagedWaitCopy, stack_pointer: u64, sleep: &FutexWait, glance: &Glance) -> Wait {
    let (thing, is_owner_of_now) = wait.told.thing(&OwnMemory, stack_pointer, &lives);
    let owner = thing.owner().filter(|&id| lives(id));
    let has_owner = owner.is_some() || thing.owner().is_none();
    let is_owner_known = is_owner_of_now || owner.is_some_and(|owner| waits_since(owner) <= wait.since);
    Wait {
        thing,
        is_certain: glance.is_sure_sleep() && is_owner_known && has_owner,
        is_limited: sleep.is_limited,
        owner,
        is_young: sys::now().saturating_sub(wait.since) < STANDS_AFTER,
    }
}

/// Since when a thread has been in the wait that it is in now: since then it owns what it owns.
fn waits_since(thread: u32) -> u64 {
    let picture = Picture::here();
    let task = picture.task_of_thread(thread).and_then(|task| picture.task(task));
    let since =
        task.and_then(|task| task.wait.map(|wait| wait.since).or(task.managed_wait.map(|wait| wait.since)));
    since.unwrap_or(u64::MAX)
}

/// Whether a live thread of this process has this id.
pub(crate) fn lives(thread: u32) -> bool {
    thread != 0 && !sys::is_thread_gone(thread)
}
