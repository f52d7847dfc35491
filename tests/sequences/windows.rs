//! Windows' sections, by what their fields show.

use super::{Verdict, play};
use hostcrst::error::{S_FALSE, S_OK};
use hostcrst::ffi::{runtime::host_runtime_start, task::*, win32::*};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A CRITICAL_SECTION, as include/hostcrst/win32.h lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Memory {
    debug_info: usize,
    lock_count: i32,
    recursion_count: i32,
    owning_thread: usize,
    lock_semaphore: u64,
    spin_count: usize,
}

const SECTIONS: usize = 3;

#[derive(Clone, Debug)]
pub enum Call {
    Initialize,
    InitializeAndSpinCount(u32),
    InitializeEx(u32, u32),
    /// Where a section was: what the program does that frees the memory.
    Clear,
    Enter,
    TryEnter,
    Leave,
    Delete,
    SetSpinCount(u32),
}

/// The calls of each thread, each with the number of its section; what it owns at its end stays locked.
pub type Program = Vec<Vec<(usize, Call)>>;

pub fn programs() -> impl Strategy<Value = Program> {
    prop::collection::vec(prop::collection::vec((0..SECTIONS, call()), 1..80), 1..4)
}

fn call() -> impl Strategy<Value = Call> {
    let count = || prop_oneof![Just(0), 1..5000_u32, any::<u32>()];
    let flags = prop_oneof![Just(0), Just(0x0100_0000_u32), Just(0x0200_0000), any::<u32>()];
    prop_oneof![
        2 => Just(Call::Initialize),
        2 => count().prop_map(Call::InitializeAndSpinCount),
        2 => (count(), flags).prop_map(|(count, flags)| Call::InitializeEx(count, flags)),
        1 => Just(Call::Clear),
        10 => Just(Call::Enter),
        5 => Just(Call::TryEnter),
        14 => Just(Call::Leave),
        3 => Just(Call::Delete),
        3 => count().prop_map(Call::SetSpinCount),
    ]
}

const ERROR_INVALID_PARAMETER: u32 = 87;
const UNTOUCHED: u32 = 77;
const COUNT_BITS: u32 = 0x00FF_FFFF;
const DYNAMIC_SPIN: u32 = 0x0200_0000;
const KNOWN_FLAGS: u32 = 0x1F00_0000;
const DELETED: u64 = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    /// Memory that names no section: zeroed, or deleted.
    #[default]
    None,
    Free,
    Mine(u32),
    /// Its owner has ended.
    Locked,
}

#[derive(Clone, Copy, Default)]
struct Section {
    state: State,
    /// Which fields it shows; the handle aside.
    shown: Memory,
    /// Sections that the present thread owned when their memory was initialised anew or cleared.
    ghosts: u32,
}

struct Model {
    memory: Box<[Memory; SECTIONS]>,
    sections: [Section; SECTIONS],
    /// What LockSemaphore held when it was last looked at.
    named: [u64; SECTIONS],
    /// Every handle that was ever seen there.
    seen: BTreeSet<u64>,
    /// What a section with a count of 1 shows.
    spinning_helps: bool,
    thread: usize,
}

pub fn run(program: &Program) -> Verdict {
    // Only for what tells about tasks.
    assert!(matches!(host_runtime_start(), S_OK | S_FALSE));
    let mut model = Model::new();
    play(&mut model, program, Model::live, Model::thread_ends)
}

impl Model {
    fn new() -> Self {
        let mut memory: Box<[Memory; SECTIONS]> = Default::default();
        let section: *mut Memory = &mut memory[0];
        // SAFETY: it has the size and the alignment of a CRITICAL_SECTION.
        assert_eq!(unsafe { hostcrst_cs_initialize_and_spin_count(section.cast(), 1) }, 1);
        let spinning_helps = memory[0].spin_count == 1;
        // SAFETY: as before.
        unsafe { hostcrst_cs_delete(section.cast()) };
        memory[0] = Memory::default();
        Model {
            memory,
            sections: Default::default(),
            named: [0; SECTIONS],
            seen: BTreeSet::new(),
            spinning_helps,
            thread: 0,
        }
    }

    fn live(&mut self, calls: &[(usize, Call)]) -> Verdict {
        // SAFETY: it takes nothing and cannot fail.
        self.thread = unsafe { libc::gettid() } as usize;
        for (number, call) in calls {
            let wrong = |why| TestCaseError::fail(format!("section {number}, {call:?}: {why}"));
            self.call(*number, call).map_err(wrong)?;
            self.look().map_err(wrong)?;
        }
        Ok(())
    }

    fn thread_ends(&mut self) {
        for section in &mut self.sections {
            section.ghosts = 0;
            if let State::Mine(_) = section.state {
                section.state = State::Locked;
            }
        }
    }

    fn possible(&self, count: u32) -> u32 {
        if self.spinning_helps { count } else { 0 }
    }

    fn call(&mut self, number: usize, call: &Call) -> Verdict {
        let pointer: *mut Memory = &mut self.memory[number];
        hostcrst_set_last_error(UNTOUCHED);
        let mut error = UNTOUCHED;
        match *call {
            Call::Initialize => {
                // SAFETY: here and below: it has the size and the alignment of a CRITICAL_SECTION.
                unsafe { hostcrst_cs_initialize(pointer.cast()) };
                self.begin(number, DYNAMIC_SPIN);
            }
            Call::InitializeAndSpinCount(count) => {
                // SAFETY: see above.
                prop_assert_eq!(unsafe { hostcrst_cs_initialize_and_spin_count(pointer.cast(), count) }, 1);
                self.begin(number, self.possible(count & COUNT_BITS));
            }
            Call::InitializeEx(count, flags) => {
                let good = count & !COUNT_BITS == 0 && flags & !KNOWN_FLAGS == 0;
                // SAFETY: see above.
                let answer = unsafe { hostcrst_cs_initialize_ex(pointer.cast(), count, flags) };
                prop_assert_eq!(answer, i32::from(good));
                if good {
                    let dynamic = flags & DYNAMIC_SPIN != 0;
                    self.begin(number, if dynamic { DYNAMIC_SPIN } else { self.possible(count) });
                } else {
                    error = ERROR_INVALID_PARAMETER;
                }
            }
            Call::Clear => {
                self.memory[number] = Memory::default();
                self.leave_behind(number);
                self.sections[number].shown = Memory::default();
                self.sections[number].state = State::None;
            }
            // It would wait for ever.
            Call::Enter if self.sections[number].state == State::Locked => {}
            Call::Enter => {
                // SAFETY: see above.
                unsafe { hostcrst_cs_enter(pointer.cast()) };
                self.enter(number);
            }
            Call::TryEnter => {
                // SAFETY: see above.
                let answer = unsafe { hostcrst_cs_try_enter(pointer.cast()) };
                prop_assert_eq!(answer, i32::from(self.sections[number].state != State::Locked));
                if answer == 1 {
                    self.enter(number);
                }
            }
            Call::Leave => {
                // SAFETY: see above.
                unsafe { hostcrst_cs_leave(pointer.cast()) };
                self.leave(number);
            }
            Call::Delete => {
                // SAFETY: see above.
                unsafe { hostcrst_cs_delete(pointer.cast()) };
                let section = &mut self.sections[number];
                section.state = State::None;
                section.shown = Memory { lock_count: -1, ..Memory::default() };
                prop_assert_eq!(self.memory[number].lock_semaphore, DELETED);
            }
            Call::SetSpinCount(count) => {
                let count = self.possible(count & COUNT_BITS);
                let before = self.sections[number].shown.spin_count as u32 & COUNT_BITS;
                // SAFETY: see above.
                prop_assert_eq!(unsafe { hostcrst_cs_set_spin_count(pointer.cast(), count) }, before);
                self.sections[number].shown.spin_count = count as usize;
            }
        }
        prop_assert_eq!(hostcrst_last_error(), error);
        Ok(())
    }

    /// The memory is another section's from here on.
    fn leave_behind(&mut self, number: usize) {
        let section = &mut self.sections[number];
        if let State::Mine(_) = section.state {
            section.ghosts += 1;
        }
    }

    fn begin(&mut self, number: usize, spin_count: u32) {
        self.leave_behind(number);
        let section = &mut self.sections[number];
        section.state = State::Free;
        let debug_info = usize::MAX;
        section.shown =
            Memory { debug_info, lock_count: -1, spin_count: spin_count as usize, ..Memory::default() };
    }

    fn enter(&mut self, number: usize) {
        let section = &mut self.sections[number];
        let entries = if let State::Mine(entries) = section.state { entries + 1 } else { 1 };
        section.state = State::Mine(entries);
        section.shown.lock_count = -2;
        section.shown.recursion_count = entries as i32;
        section.shown.owning_thread = self.thread;
    }

    fn leave(&mut self, number: usize) {
        let section = &mut self.sections[number];
        match section.state {
            State::Mine(1) => {
                section.state = State::Free;
                section.shown.lock_count = -1;
                section.shown.recursion_count = 0;
                section.shown.owning_thread = 0;
            }
            State::Mine(entries) => {
                section.state = State::Mine(entries - 1);
                section.shown.recursion_count = entries as i32 - 1;
            }
            // Not its owner: unless it was that of one that was here before.
            State::None | State::Free | State::Locked => section.ghosts = section.ghosts.saturating_sub(1),
        }
    }

    fn look(&mut self) -> Verdict {
        for (number, (section, memory)) in self.sections.iter().zip(self.memory.iter()).enumerate() {
            let lock_semaphore = memory.lock_semaphore;
            prop_assert_eq!(*memory, Memory { lock_semaphore, ..section.shown }, "section {}", number);
            if section.state == State::None {
                prop_assert!(lock_semaphore == DELETED || lock_semaphore == 0);
            } else {
                let is_known = self.named[number] == lock_semaphore;
                prop_assert!(is_known || self.seen.insert(lock_semaphore), "given twice");
                prop_assert_eq!(lock_semaphore & 3, 3, "no handle");
            }
        }
        self.named = std::array::from_fn(|number| self.memory[number].lock_semaphore);
        let mine = |section: &Section| section.ghosts + u32::from(matches!(section.state, State::Mine(_)));
        let owned: u32 = self.sections.iter().map(mine).sum();
        prop_assert_eq!(owned_by_this_task(), owned);
        Ok(())
    }
}

/// As the library counts them.
fn owned_by_this_task() -> u32 {
    let mut task = 0;
    // SAFETY: it is valid for writing.
    assert_eq!(unsafe { host_task_current(&mut task) }, S_OK);
    let mut info = host_task_info_t { size: size_of::<host_task_info_t>() as u32, ..Default::default() };
    // SAFETY: it is as large as it says.
    assert_eq!(unsafe { host_task_info(task, &mut info) }, S_OK);
    info.owned
}
