//! Sections of the host's, transitions, tasks, the runtime.

use super::{Verdict, on_a_thread, play};
use hostcrst::constants::*;
use hostcrst::error::{Error, S_FALSE, S_OK};
use hostcrst::ffi::{crst::*, runtime::*, task::*};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::mem::offset_of;
use std::ptr::{null, null_mut};

/// Which handle is meant, among those made so far.
#[derive(Clone, Debug)]
pub enum Which {
    /// One of the last few sections, live or not.
    Recent(usize),
    /// Any section there ever was.
    Any(usize),
    /// A task, this one or an earlier one.
    Task(usize),
    /// A section's handle with some bits changed.
    Forged(usize, u64),
    Number(u64),
}

#[derive(Clone, Debug)]
pub enum Call {
    Create,
    CreateWithSpinCount(u32),
    CreateNowhere,
    Enter(Which, u32),
    EnterTimeout(Which, u32),
    TryEnter(Which, u32),
    TryEnterNowhere(Which),
    /// So often that the section may become biased to the task.
    EnterAndLeave(Which, u32),
    Leave(Which),
    Destroy(Which),
    Recover(Which),
    SetName(Which, String),
    SetNoName(Which),
    SetSpinCount(Which, u32),
    Info(Which),
    InfoOfSize(Which, u32),
    LeaveRuntime(usize),
    EnterRuntime,
    ReverseEnterRuntime,
    ReverseLeaveRuntime,
    /// Layers of either kind in turn.
    Nest(usize),
    Unnest(usize),
    Layers(Which, usize),
    TaskInfo(Which),
    TaskSetName(Which, String),
    Alert(Which),
    SetHook(usize, i32),
    Current,
    Start,
    Stop,
}

/// The calls of each thread; what it owns at its end is abandoned.
pub type Program = Vec<Vec<Call>>;

pub fn programs() -> impl Strategy<Value = Program> {
    prop::collection::vec(prop::collection::vec(call(), 1..80), 1..4)
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        12 => (0..4_usize).prop_map(Which::Recent),
        2 => any::<usize>().prop_map(Which::Any),
        1 => (0..3_usize).prop_map(Which::Task),
        1 => (0..4_usize, flips()).prop_map(|(recent, flips)| Which::Forged(recent, flips)),
        1 => prop_oneof![Just(0), 1..100_u64, any::<u64>()].prop_map(Which::Number),
    ]
}

/// Changes of a handle: a bit or two, another generation, the other kind.
fn flips() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..64_u32, 0..64_u32).prop_map(|(one, other)| 1 << one ^ 1 << other),
        (1..8_u64).prop_map(|generation| generation << 40),
        Just(2 | 1 << 6 | 1 << 7),
    ]
}

fn option() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..=WAIT_OPTION_MASK, 1 => any::<u32>()]
}

/// Targets that have a hook now and then.
const TARGETS: usize = 4;

/// Seldom as often as it takes for a section to become biased.
fn often() -> impl Strategy<Value = u32> {
    prop_oneof![9 => 1..20_u32, 1 => 18_000..20_000_u32]
}

fn call() -> impl Strategy<Value = Call> {
    let spin = || prop_oneof![Just(0), Just(u32::MAX), any::<u32>()];
    prop_oneof![
        6 => Just(Call::Create),
        2 => spin().prop_map(Call::CreateWithSpinCount),
        1 => Just(Call::CreateNowhere),
        10 => (which(), option()).prop_map(|(which, option)| Call::Enter(which, option)),
        4 => (which(), option()).prop_map(|(which, option)| Call::EnterTimeout(which, option)),
        4 => (which(), option()).prop_map(|(which, option)| Call::TryEnter(which, option)),
        1 => which().prop_map(Call::TryEnterNowhere),
        1 => (which(), often()).prop_map(|(which, often)| Call::EnterAndLeave(which, often)),
        14 => which().prop_map(Call::Leave),
        4 => which().prop_map(Call::Destroy),
        4 => which().prop_map(Call::Recover),
        2 => (which(), "\\PC{0,70}").prop_map(|(which, name)| Call::SetName(which, name)),
        1 => which().prop_map(Call::SetNoName),
        2 => (which(), spin()).prop_map(|(which, count)| Call::SetSpinCount(which, count)),
        2 => which().prop_map(Call::Info),
        1 => (which(), 0..200_u32).prop_map(|(which, size)| Call::InfoOfSize(which, size)),
        4 => any::<usize>().prop_map(Call::LeaveRuntime),
        4 => Just(Call::EnterRuntime),
        4 => Just(Call::ReverseEnterRuntime),
        4 => Just(Call::ReverseLeaveRuntime),
        1 => (0..700_usize).prop_map(Call::Nest),
        1 => (0..700_usize).prop_map(Call::Unnest),
        2 => (which(), 0..20_usize).prop_map(|(which, capacity)| Call::Layers(which, capacity)),
        2 => which().prop_map(Call::TaskInfo),
        1 => (which(), "\\PC{0,70}").prop_map(|(which, name)| Call::TaskSetName(which, name)),
        1 => which().prop_map(Call::Alert),
        2 => (0..TARGETS, any::<i32>()).prop_map(|(target, needs)| Call::SetHook(target, needs)),
        1 => Just(Call::Current),
        2 => Just(Call::Start),
        1 => Just(Call::Stop),
    ]
}

#[derive(Clone, Debug, PartialEq)]
enum Owner {
    Nobody,
    /// The present thread, so often.
    Me(u32),
    Gone,
}

#[derive(Clone, Debug)]
struct Section {
    owner: Owner,
    spin_count: u32,
}

/// What the library is to be.
struct Model {
    /// Every handle there ever was; never twice the same.
    made: Vec<u64>,
    sections: BTreeMap<u64, Section>,
    tasks: Vec<u64>,
    /// The present thread's, once it is one.
    me: Option<u64>,
    /// Outermost first.
    layers: Vec<(u32, usize)>,
    mode: u32,
    hooks: [bool; TARGETS],
    runs: bool,
    spinning_helps: bool,
}

fn code(error: Error) -> i32 {
    error.hresult()
}

/// What a call is to answer that first of all needs the runtime.
fn if_so(runs: bool, otherwise: i32) -> i32 {
    if runs { otherwise } else { code(Error::NotAvailable) }
}

fn section_info(crst: u64) -> (i32, hostcrst_info_t) {
    let size = size_of::<hostcrst_info_t>() as u32;
    let mut info = hostcrst_info_t { size, ..DIRTY_SECTION };
    // SAFETY: it is as large as it says.
    (unsafe { hostcrst_info(crst, &mut info) }, info)
}

fn task_info(task: u64) -> (i32, host_task_info_t) {
    let size = size_of::<host_task_info_t>() as u32;
    let mut info = host_task_info_t { size, mode: 77, thread_id: 77, owned: 77, depth: 77, waiting_for: 77 };
    // SAFETY: it is as large as it says.
    (unsafe { host_task_info(task, &mut info) }, info)
}

const DIRTY_SECTION: hostcrst_info_t = hostcrst_info_t {
    size: 0,
    state: 77,
    owner: 77,
    recursion: 77,
    waiters: 77,
    spin_count: 77,
    reserved: 77,
    contended: 77,
    address: 77,
};

/// All that a section's info tells.
fn facts(info: &hostcrst_info_t) -> [u64; 8] {
    let [size, state, recursion, waiters, spin_count, reserved] =
        [info.size, info.state, info.recursion, info.waiters, info.spin_count, info.reserved].map(u64::from);
    [size, state, info.owner, recursion, waiters, spin_count, reserved, info.contended]
}

fn own_task() -> u64 {
    let mut task = 0;
    // SAFETY: it is valid for writing.
    assert_eq!(unsafe { host_task_current(&mut task) }, S_OK);
    task
}

pub fn run(program: &Program) -> Verdict {
    assert!(matches!(host_runtime_start(), S_OK | S_FALSE));
    let mut model = Model::new();
    let verdict = play(&mut model, program, Model::live, Model::thread_ends);
    verdict.and_then(|()| on_a_thread(|| model.end()))
}

impl Model {
    fn new() -> Self {
        (0..TARGETS).for_each(|target| assert_eq!(host_set_call_hook(target, 1), S_OK));
        let mut probe = 0;
        // SAFETY: it is valid for writing.
        assert_eq!(unsafe { hostcrst_create_with_spin_count(1, &mut probe) }, S_OK);
        let spinning_helps = section_info(probe).1.spin_count != 0;
        assert_eq!(hostcrst_destroy(probe), S_OK);
        Model {
            made: vec![probe],
            sections: BTreeMap::new(),
            tasks: Vec::new(),
            me: None,
            layers: Vec::new(),
            mode: HOST_TASK_UNKNOWN,
            hooks: [true; TARGETS],
            runs: true,
            spinning_helps,
        }
    }

    /// The calls of one thread.
    fn live(&mut self, calls: &[Call]) -> Verdict {
        for call in calls {
            self.call(call).map_err(|why| TestCaseError::fail(format!("{call:?}: {why}")))?;
            self.look_at_everything().map_err(|why| TestCaseError::fail(format!("after {call:?}: {why}")))?;
        }
        Ok(())
    }

    fn thread_ends(&mut self) {
        for section in self.sections.values_mut() {
            if matches!(section.owner, Owner::Me(_)) {
                section.owner = Owner::Gone;
            }
        }
        self.me = None;
        self.layers.clear();
        self.mode = HOST_TASK_UNKNOWN;
    }

    /// By one more thread: nothing is left.
    fn end(&mut self) -> Verdict {
        self.look_at_everything()?;
        for crst in self.sections.keys() {
            prop_assert_eq!(hostcrst_destroy(*crst), S_OK);
        }
        for &handle in self.made.iter().chain(&self.tasks) {
            prop_assert_eq!(section_info(handle).0, code(Error::Handle));
            prop_assert_eq!(task_info(handle).0, code(Error::Handle));
        }
        Ok(())
    }

    fn handle(&self, which: &Which) -> u64 {
        let recent = |number: usize| self.made[self.made.len().saturating_sub(1 + number)];
        match *which {
            Which::Recent(number) => recent(number),
            Which::Any(number) => self.made[number % self.made.len()],
            Which::Task(number) if self.tasks.is_empty() => number as u64,
            Which::Task(number) => self.tasks[self.tasks.len().saturating_sub(1 + number)],
            Which::Forged(number, flips) => recent(number) ^ flips,
            Which::Number(number) => number,
        }
    }

    /// What a call answers that needs this section.
    fn with(&mut self, crst: u64, act: impl FnOnce(&mut Section) -> i32) -> i32 {
        self.sections.get_mut(&crst).map_or(code(Error::Handle), act)
    }

    fn is_mine(&self, crst: u64) -> bool {
        self.sections.get(&crst).is_some_and(|section| matches!(section.owner, Owner::Me(_)))
    }

    fn owned(&self) -> u32 {
        self.sections.values().filter(|section| matches!(section.owner, Owner::Me(_))).count() as u32
    }

    /// The calling thread is a task by now.
    fn becomes_a_task(&mut self) {
        if self.me.is_none() {
            let me = own_task();
            self.me = Some(me);
            self.tasks.push(me);
        }
    }

    fn call(&mut self, call: &Call) -> Verdict {
        match call {
            Call::Create => self.create(0, |out| {
                // SAFETY: it is valid for writing.
                unsafe { hostcrst_create(out) }
            })?,
            &Call::CreateWithSpinCount(count) => self.create(count, |out| {
                // SAFETY: it is valid for writing.
                unsafe { hostcrst_create_with_spin_count(count, out) }
            })?,
            Call::CreateNowhere => {
                // SAFETY: NULL is refused.
                prop_assert_eq!(unsafe { hostcrst_create(null_mut()) }, code(Error::Pointer));
            }
            Call::Enter(which, option) => {
                self.enter(which, *option, |crst, option| hostcrst_enter(crst, option))?
            }
            Call::EnterTimeout(which, option) => {
                self.enter(which, *option, |crst, option| hostcrst_enter_timeout(crst, option, 0))?;
            }
            Call::TryEnter(which, option) => self.enter(which, *option, |crst, option| {
                let mut entered = 77;
                // SAFETY: it is valid for writing.
                let answer = unsafe { hostcrst_try_enter(crst, option, &mut entered) };
                assert_eq!(entered, i32::from(answer == S_OK), "nobody else owns it");
                answer
            })?,
            Call::TryEnterNowhere(which) => {
                let crst = self.handle(which);
                // SAFETY: NULL is refused.
                prop_assert_eq!(unsafe { hostcrst_try_enter(crst, 0, null_mut()) }, code(Error::Pointer));
            }
            Call::EnterAndLeave(which, often) => {
                let crst = self.handle(which);
                let was_mine = self.is_mine(crst);
                self.enter(which, 0, |crst, option| hostcrst_enter(crst, option))?;
                if self.is_mine(crst) && !was_mine {
                    let same =
                        (0..*often).all(|_| hostcrst_leave(crst) == S_OK && hostcrst_enter(crst, 0) == S_OK);
                    prop_assert!(same, "it was free all the time");
                    self.leave(which)?;
                }
            }
            Call::Leave(which) => self.leave(which)?,
            Call::Destroy(which) => {
                let crst = self.handle(which);
                let expected = self.sections.remove(&crst).map_or(code(Error::Handle), |_| S_OK);
                prop_assert_eq!(hostcrst_destroy(crst), expected);
            }
            Call::Recover(which) => {
                let crst = self.handle(which);
                let runs = self.runs;
                let known = self.sections.contains_key(&crst);
                let answer = self.with(crst, |section| match section.owner {
                    Owner::Gone if runs => {
                        section.owner = Owner::Me(1);
                        S_OK
                    }
                    _ => code(Error::InvalidOperation),
                });
                prop_assert_eq!(hostcrst_recover(crst), if_so(runs, answer));
                if runs && known {
                    self.becomes_a_task();
                }
            }
            Call::SetName(which, name) => {
                let crst = self.handle(which);
                let name = CString::new(name.as_str()).expect("no control characters in it");
                // SAFETY: it ends with 0.
                prop_assert_eq!(unsafe { hostcrst_set_name(crst, name.as_ptr()) }, self.with(crst, |_| S_OK));
            }
            Call::SetNoName(which) => {
                let crst = self.handle(which);
                // SAFETY: NULL is refused.
                prop_assert_eq!(unsafe { hostcrst_set_name(crst, null()) }, code(Error::Pointer));
                // SAFETY: NULL is refused.
                prop_assert_eq!(unsafe { host_task_set_name(crst, null()) }, code(Error::Pointer));
            }
            &Call::SetSpinCount(ref which, count) => {
                let crst = self.handle(which);
                let shown = self.shown_spin_count(count);
                let expected = self.with(crst, |section| {
                    section.spin_count = shown;
                    S_OK
                });
                prop_assert_eq!(hostcrst_set_spin_count(crst, count), expected);
            }
            Call::Info(which) => self.look_at_section(self.handle(which))?,
            &Call::InfoOfSize(ref which, size) => self.ask_with_size(self.handle(which), size)?,
            &Call::LeaveRuntime(target) => self.push(HOST_LAYER_LEAVE, target)?,
            Call::EnterRuntime => self.pop(HOST_LAYER_LEAVE)?,
            Call::ReverseEnterRuntime => self.push(HOST_LAYER_REVERSE_ENTER, 0)?,
            Call::ReverseLeaveRuntime => self.pop(HOST_LAYER_REVERSE_ENTER)?,
            &Call::Nest(layers) => {
                for layer in 0..layers {
                    match self.mode {
                        HOST_TASK_UNMANAGED => self.push(HOST_LAYER_REVERSE_ENTER, 0)?,
                        _ => self.push(HOST_LAYER_LEAVE, layer)?,
                    }
                }
            }
            &Call::Unnest(layers) => {
                for _ in 0..layers {
                    self.pop(self.layers.last().map_or(HOST_LAYER_LEAVE, |&(kind, _)| kind))?;
                }
            }
            &Call::Layers(ref which, capacity) => self.look_at_layers(self.handle(which), capacity)?,
            Call::TaskInfo(which) => self.look_at_task(self.handle(which))?,
            Call::TaskSetName(which, name) => {
                let task = self.handle(which);
                let name = CString::new(name.as_str()).expect("no control characters in it");
                // SAFETY: it ends with 0.
                prop_assert_eq!(unsafe { host_task_set_name(task, name.as_ptr()) }, self.of_task(task));
            }
            Call::Alert(which) => {
                let task = self.handle(which);
                prop_assert_eq!(host_task_alert(task), self.of_task(task));
            }
            &Call::SetHook(target, needs) => {
                prop_assert_eq!(host_set_call_hook(target, needs), S_OK);
                self.hooks[target] = needs != 0;
            }
            Call::Current => self.becomes_a_task(),
            Call::Start => {
                prop_assert_eq!(host_runtime_start(), if self.runs { S_FALSE } else { S_OK });
                if !self.runs {
                    self.layers.clear();
                    self.mode = HOST_TASK_UNKNOWN;
                }
                self.runs = true;
            }
            Call::Stop => {
                prop_assert_eq!(host_runtime_stop(), if self.runs { S_OK } else { S_FALSE });
                self.runs = false;
            }
        }
        Ok(())
    }

    /// What a call answers that needs this task.
    fn of_task(&self, task: u64) -> i32 {
        if self.me == Some(task) { S_OK } else { code(Error::Handle) }
    }

    fn shown_spin_count(&self, count: u32) -> u32 {
        if self.spinning_helps { count } else { 0 }
    }

    fn create(&mut self, spin_count: u32, create: impl FnOnce(&mut u64) -> i32) -> Verdict {
        let mut crst = 77;
        prop_assert_eq!(create(&mut crst), if_so(self.runs, S_OK));
        if !self.runs {
            prop_assert_eq!(crst, 0);
            return Ok(());
        }
        prop_assert!(!self.made.contains(&crst) && !self.tasks.contains(&crst), "given twice");
        self.made.push(crst);
        let spin_count = self.shown_spin_count(spin_count);
        self.sections.insert(crst, Section { owner: Owner::Nobody, spin_count });
        Ok(())
    }

    fn enter(&mut self, which: &Which, option: u32, enter: impl FnOnce(u64, u32) -> i32) -> Verdict {
        let crst = self.handle(which);
        let is_known = option & !WAIT_OPTION_MASK == 0;
        let may = self.runs && is_known;
        let known = self.sections.contains_key(&crst);
        let answer = self.with(crst, |section| match section.owner {
            Owner::Gone => code(Error::Abandoned),
            Owner::Nobody | Owner::Me(_) if !may => S_OK,
            Owner::Nobody => {
                section.owner = Owner::Me(1);
                S_OK
            }
            Owner::Me(entries) => {
                section.owner = Owner::Me(entries + 1);
                S_OK
            }
        });
        let answer = if is_known { answer } else { code(Error::InvalidArgument) };
        prop_assert_eq!(enter(crst, option), if_so(self.runs, answer));
        if may && known {
            self.becomes_a_task();
        }
        Ok(())
    }

    fn leave(&mut self, which: &Which) -> Verdict {
        let crst = self.handle(which);
        let expected = self.with(crst, |section| match section.owner {
            Owner::Me(entries) => {
                section.owner = if entries == 1 { Owner::Nobody } else { Owner::Me(entries - 1) };
                S_OK
            }
            Owner::Nobody | Owner::Gone => code(Error::NotOwner),
        });
        prop_assert_eq!(hostcrst_leave(crst), expected);
        Ok(())
    }

    fn push(&mut self, kind: u32, target: usize) -> Verdict {
        let (below, above) = match kind {
            HOST_LAYER_LEAVE => (HOST_TASK_MANAGED, HOST_TASK_UNMANAGED),
            _ => (HOST_TASK_UNMANAGED, HOST_TASK_MANAGED),
        };
        let fits = self.mode == below || self.mode == HOST_TASK_UNKNOWN;
        let answer = match kind {
            HOST_LAYER_LEAVE => host_leave_runtime(target),
            _ => host_reverse_enter_runtime(),
        };
        prop_assert_eq!(answer, if_so(self.runs, if fits { S_OK } else { code(Error::InvalidOperation) }));
        if self.runs {
            self.becomes_a_task();
        }
        if answer == S_OK {
            self.layers.push((kind, target));
            self.mode = above;
        }
        Ok(())
    }

    fn pop(&mut self, kind: u32) -> Verdict {
        let fits = self.layers.last().is_some_and(|&(top, _)| top == kind);
        let answer = match kind {
            HOST_LAYER_LEAVE => host_enter_runtime(),
            _ => host_reverse_leave_runtime(),
        };
        prop_assert_eq!(answer, if_so(self.runs, if fits { S_OK } else { code(Error::InvalidOperation) }));
        if self.runs {
            self.becomes_a_task();
        }
        if answer == S_OK {
            self.layers.pop();
            self.mode = if kind == HOST_LAYER_LEAVE { HOST_TASK_MANAGED } else { HOST_TASK_UNMANAGED };
        }
        Ok(())
    }

    // ---- what can be seen ---------------------------------------------------------------------------------

    fn look_at_everything(&self) -> Verdict {
        for &crst in self.sections.keys() {
            self.look_at_section(crst)?;
        }
        if let Some(me) = self.me {
            self.look_at_task(me)?;
            self.look_at_layers(me, 20)?;
        }
        for (target, &needed) in self.hooks.iter().enumerate() {
            let mut needs = 77;
            // SAFETY: it is valid for writing.
            prop_assert_eq!(unsafe { host_call_needs_host_hook(target, &mut needs) }, S_OK);
            prop_assert_eq!(needs, i32::from(needed));
        }
        let mut state = 77;
        // SAFETY: it is valid for writing.
        prop_assert_eq!(unsafe { host_runtime_state(&mut state) }, S_OK);
        prop_assert_eq!(state, if self.runs { HOST_RUNTIME_RUNNING } else { HOST_RUNTIME_STOPPED });
        Ok(())
    }

    fn look_at_section(&self, crst: u64) -> Verdict {
        let (answer, info) = section_info(crst);
        let empty = hostcrst_info_t { size: size_of::<hostcrst_info_t>() as u32, ..Default::default() };
        let (code, expected) = match self.sections.get(&crst) {
            None => (code(Error::Handle), empty),
            Some(section) => {
                let (state, owner, recursion) = match section.owner {
                    Owner::Nobody => (HOSTCRST_FREE, 0, 0),
                    Owner::Me(entries) => (HOSTCRST_OWNED, self.me.unwrap_or(0), entries),
                    Owner::Gone => (HOSTCRST_ABANDONED, 0, 0),
                };
                (S_OK, hostcrst_info_t { state, owner, recursion, spin_count: section.spin_count, ..empty })
            }
        };
        prop_assert_eq!(answer, code);
        prop_assert_eq!(facts(&info), facts(&expected));
        Ok(())
    }

    fn ask_with_size(&self, crst: u64, size: u32) -> Verdict {
        const ROOM: usize = 200;
        const FIRST: usize = offset_of!(hostcrst_info_t, address);
        const KNOWN: usize = size_of::<hostcrst_info_t>();
        #[repr(C, align(8))]
        struct Bytes([u8; ROOM]);
        let mut bytes = Bytes([77; ROOM]);
        bytes.0[..4].copy_from_slice(&size.to_ne_bytes());
        let before = bytes.0;
        // SAFETY: it has room for every size that a program of calls has, and the alignment of the struct.
        let answer = unsafe { hostcrst_info(crst, bytes.0.as_mut_ptr().cast()) };
        if (size as usize) < FIRST {
            prop_assert_eq!(answer, code(Error::InvalidArgument));
            prop_assert_eq!(bytes.0, before);
        } else {
            let end = size as usize;
            let expected = if self.sections.contains_key(&crst) { S_OK } else { code(Error::Handle) };
            prop_assert_eq!(answer, expected);
            prop_assert_eq!(&bytes.0[..4], &before[..4]);
            prop_assert!(
                bytes.0[KNOWN.min(end)..end].iter().all(|&byte| byte == 0),
                "unknown fields are not 0"
            );
            prop_assert_eq!(&bytes.0[end..], &before[end..], "written beyond its end");
        }
        Ok(())
    }

    fn look_at_task(&self, task: u64) -> Verdict {
        let (answer, info) = task_info(task);
        prop_assert_eq!(answer, self.of_task(task));
        prop_assert_eq!(info.size as usize, size_of::<host_task_info_t>());
        let seen = (info.mode, info.owned, info.depth, info.waiting_for);
        if answer == S_OK {
            prop_assert_eq!(seen, (self.mode, self.owned(), self.layers.len() as u64, 0));
            // SAFETY: it takes nothing and cannot fail.
            prop_assert_eq!(info.thread_id, unsafe { libc::gettid() } as u32);
        } else {
            prop_assert_eq!((seen, info.thread_id), ((0, 0, 0, 0), 0));
        }
        Ok(())
    }

    fn look_at_layers(&self, task: u64, capacity: usize) -> Verdict {
        let mut layers = vec![host_layer_t { kind: 77, reserved: 77, target: 77 }; capacity];
        let mut count = 77;
        let place = if capacity == 0 { null_mut() } else { layers.as_mut_ptr() };
        // SAFETY: there is room for as many as it says.
        let answer = unsafe { host_task_layers(task, place, capacity, &mut count) };
        prop_assert_eq!(answer, self.of_task(task));
        if answer == S_OK {
            prop_assert_eq!(count, self.layers.len());
            let seen: Vec<_> = layers.iter().take(count).map(|layer| (layer.kind, layer.target)).collect();
            prop_assert_eq!(&seen[..], &self.layers[..capacity.min(count)]);
            prop_assert!(layers.iter().take(count).all(|layer| layer.reserved == 0));
        } else {
            prop_assert_eq!(count, 0);
        }
        Ok(())
    }
}
