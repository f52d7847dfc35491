//! The content of a registry, object by object, each a snapshot of one moment: the source of every report. Does not
//! know formats.

use crate::base::hash::fibonacci_hash;
use crate::base::memory::{Anew, Here, Memory, Shown};
use crate::base::name::{NAME_BYTES, NameCopy};
use crate::handle::{self, ABANDONED};
use crate::state::deadlocks::{DeadlockCopy, REMEMBERED};
use crate::state::holds::Hold;
use crate::state::layers::{Layer, Mode};
use crate::state::managed_wait::ManagedWaitCopy;
use crate::state::mirror;
use crate::state::orders::{Alarm, AlarmStepCopy};
use crate::state::registry::{NameSlot, REGISTRY, Registry};
use crate::state::resource::{Resource, ResourceInfo};
use crate::state::section::{Section, State};
use crate::state::sleep::{SleepCopy, SleepKind};
use crate::state::srw;
use crate::state::statistics::{Figures, FiguresCopy};
use crate::state::targets::{IlPlace, TARGET_NAME_BYTES};
use crate::state::task::{ANOMALIES, Task};
use crate::state::wait::WaitCopy;
use crate::state::words::LockKind;
use crate::text::TextBuffer;
use core::mem::MaybeUninit;

/// Layers shown of one task, the newest; older ones are counted.
pub const LAYERS_SHOWN: usize = 64;

/// How much is read of the name in a debug record.
const LONGEST_DEBUG_NAME: usize = 256;

/// How often a snapshot of a task's layers is tried while its depth changes.
const ATTEMPTS: usize = 100;

/// A registry and the memory that its addresses refer to.
#[derive(Clone, Copy)]
pub struct Picture<'a, M> {
    memory: &'a M,
    registry: &'a Shown<Registry>,
}

/// A task.
#[derive(Clone, Copy)]
pub struct TaskPicture {
    pub(crate) id: u64,
    pub(crate) thread_id: u32,
    pub(crate) mode: Mode,
    /// The name that was set; empty if none was.
    pub(crate) name: NameCopy,
    pub(crate) owned: u32,
    pub(crate) wait: Option<WaitCopy>,
    /// Its sleep on a Windows condition variable, if it sleeps.
    pub(crate) sleep: Option<SleepCopy>,
    /// Its wait for a lock of managed code, if it is in one.
    pub(crate) managed_wait: Option<ManagedWaitCopy>,
    pub(crate) anomalies: [u32; ANOMALIES],
    /// How many layers are open.
    pub(crate) depth: usize,
}

/// The newest layers of a task. They are large, so they have a place of their own, filled on demand.
pub(crate) struct ShownLayers {
    layers: [MaybeUninit<Layer>; LAYERS_SHOWN],
    /// How many of the places were written to.
    count: usize,
}

impl ShownLayers {
    pub(crate) const fn new() -> Self {
        ShownLayers { layers: [const { MaybeUninit::uninit() }; LAYERS_SHOWN], count: 0 }
    }

    /// Puts a layer at `index`. They come in order, perhaps several times from the first on.
    fn put(&mut self, index: usize, layer: Layer) {
        if index <= self.count
            && let Some(place) = self.layers.get_mut(index)
        {
            place.write(layer);
            self.count = self.count.max(index + 1);
        }
    }

    /// The layers of the task with which they were filled, oldest first.
    pub(crate) fn of(&self, task: &TaskPicture) -> &[Layer] {
        let shown = task.depth.min(self.count);
        // SAFETY: the first `count` places were written to, and a MaybeUninit has the layout of what it holds.
        unsafe { core::slice::from_raw_parts(self.layers.as_ptr().cast(), shown) }
    }
}

/// A section.
#[derive(Clone, Copy)]
pub struct SectionPicture {
    pub(crate) handle: u64,
    pub(crate) state: State,
    /// The owner's id, 0 for none.
    pub(crate) owner: u64,
    pub(crate) recursion: u32,
    pub(crate) waiters: u32,
    pub(crate) contended: u64,
    pub(crate) name: Option<NameCopy>,
    /// The address of its mirror, a CRITICAL_SECTION; 0 if it is a section of the host's.
    pub(crate) mirror: u64,
    /// The id of the thread that owned it when it ended, and so left it locked for ever.
    pub(crate) orphaned_by: Option<u32>,
    /// Since when and from where it is owned, if that is tracked.
    pub(crate) hold: Option<(u64, u64)>,
}

/// A resource: a lock of the program's, as far as it has told.
#[derive(Clone, Copy)]
pub struct ResourcePicture {
    pub(crate) handle: u64,
    pub(crate) info: ResourceInfo,
    pub(crate) name: Option<NameCopy>,
}

impl ResourcePicture {
    /// Whether a report lists it: it is owned, abandoned, or was ever waited for.
    pub(crate) fn is_of_interest(&self) -> bool {
        self.info.state != State::Free || self.info.contended != 0 || self.info.waiters != 0
    }
}

/// An SRW lock that a task waits for.
#[derive(Clone, Copy)]
pub(crate) struct SrwLockPicture {
    pub(crate) address: u64,
    /// The id of its exclusive owner, 0 for none.
    pub(crate) owner: u64,
    /// How often it is held shared.
    pub(crate) holders: u32,
}

/// What a task can wait for.
#[derive(Clone, Copy)]
pub(crate) enum LockPicture {
    Section(SectionPicture),
    Resource(ResourcePicture),
    SrwLock(SrwLockPicture),
}

impl LockPicture {
    /// The owner's id, 0 for none.
    pub(crate) fn owner(&self) -> u64 {
        match self {
            LockPicture::Section(section) => section.owner,
            LockPicture::Resource(resource) => resource.info.owner,
            LockPicture::SrwLock(lock) => lock.owner,
        }
    }

    pub(crate) fn name(&self) -> Option<NameCopy> {
        match self {
            LockPicture::Section(section) => section.name,
            LockPicture::Resource(resource) => resource.name,
            LockPicture::SrwLock(_) => None,
        }
    }

    /// Since when and from where it is owned, if that is tracked.
    pub(crate) fn hold(&self) -> Option<(u64, u64)> {
        match self {
            LockPicture::Section(section) => section.hold,
            LockPicture::Resource(_) | LockPicture::SrwLock(_) => None,
        }
    }

    /// The id of the thread that owned it when it ended, and so left it locked for ever.
    pub(crate) fn orphaned_by(&self) -> Option<u32> {
        match self {
            LockPicture::Section(section) => section.orphaned_by,
            LockPicture::Resource(_) | LockPicture::SrwLock(_) => None,
        }
    }
}

/// A cycle of waits, with or without time limits. One with a limit is no deadlock, and reports call it a circle.
pub(crate) struct Cycle {
    /// How many tasks.
    pub(crate) length: u32,
    /// Whether one of its waits has a limit, which opens the cycle: then it is no deadlock.
    pub(crate) limited: bool,
}

/// A thread that waits without a limit for a section or resource that another one owns.
#[derive(Clone, Copy)]
pub struct Blocked {
    task: u64,
    /// The waiting thread.
    pub thread_id: u32,
    /// The name that was set for its task; empty if none was.
    pub name: NameCopy,
    /// What it waits for.
    pub awaited: LockSeen,
    owner: u64,
    /// The thread that owns it.
    pub owner_thread_id: u32,
    wait: u64,
}

impl Blocked {
    /// Whether `other` is the same wait, for the same section or resource and owner.
    pub fn is_same(&self, other: &Blocked) -> bool {
        let all = |blocked: &Blocked| (blocked.task, blocked.wait, blocked.awaited.handle, blocked.owner);
        all(self) == all(other)
    }
}

/// A section, resource or SRW lock that a task waits for.
#[derive(Clone, Copy)]
pub struct LockSeen {
    /// Its handle, or what stands for one.
    pub handle: u64,
    /// Its name; empty if it has none.
    pub name: NameCopy,
    /// The address of the CRITICAL_SECTION that it is; 0 if it is none.
    pub critical_section: u64,
}

impl LockSeen {
    /// Of what kind it is.
    pub fn kind(&self) -> LockKind {
        LockKind::of(self.handle)
    }

    /// What reports call it by: the address of an SRW lock, the handle of anything else.
    pub fn number(&self) -> u64 {
        handle::number_shown(self.handle)
    }
}

/// A task, for who joins it with what the system says of its thread.
#[derive(Clone, Copy)]
pub struct TaskSeen {
    /// Its id in its copy of the library.
    pub id: u64,
    /// The id of its thread.
    pub thread_id: u32,
    /// The name that was set; empty if none was.
    pub name: NameCopy,
    wait: Option<WaitCopy>,
    sleep: Option<SleepCopy>,
    awaited: Option<LockSeen>,
    /// Its wait for a lock of managed code, as far as the CLR has told.
    pub managed_wait: Option<ManagedWaitCopy>,
    /// The name of the type of the object that has that lock, if it is known.
    pub type_of_lock: Option<TextBuffer<TARGET_NAME_BYTES>>,
}

impl TaskSeen {
    /// Whether it waits for a lock, or sleeps on a condition variable or an address.
    pub fn waits(&self) -> bool {
        self.wait.is_some() || self.sleep.is_some()
    }

    /// The section or resource that it waits for.
    pub fn awaited(&self) -> Option<LockSeen> {
        self.awaited
    }

    /// Since when it has been in the wait that it is in now: since then it owns what it owns.
    pub fn waits_since(&self) -> Option<u64> {
        self.wait.map(|wait| wait.since).or(self.managed_wait.map(|wait| wait.since))
    }

    /// What it sleeps on, and at which address that is.
    pub fn sleeps_on(&self) -> Option<(SleepKind, u64)> {
        self.sleep.map(|sleep| (sleep.kind(), sleep.variable))
    }

    /// Whether that has a time limit.
    pub fn is_limited(&self) -> bool {
        self.wait.map(|wait| wait.limited).or(self.sleep.map(|sleep| sleep.limited)) == Some(true)
    }
}

impl SectionPicture {
    /// Whether a report lists it: it is owned, abandoned, or was ever waited for.
    pub(crate) fn is_of_interest(&self) -> bool {
        self.state != State::Free || self.contended != 0 || self.waiters != 0
    }
}

impl TaskPicture {
    /// Layers older than the newest.
    pub(crate) fn older_layers(&self) -> usize {
        self.depth.saturating_sub(LAYERS_SHOWN)
    }
}

impl Picture<'static, Here> {
    /// Of this process.
    pub(crate) fn here() -> Self {
        Picture { memory: &Here, registry: &REGISTRY }
    }
}

impl<'a, M: Memory> Picture<'a, M> {
    /// Of a registry whose addresses mean something in `memory`.
    pub fn new(memory: &'a M, registry: &'a Shown<Registry>) -> Self {
        Picture { memory, registry }
    }

    pub(crate) fn registry(&self) -> &'a Shown<Registry> {
        self.registry
    }

    /// Whether the memory contains all tasks, sections, resources and names: the last slot of each that was ever used can be read.
    pub fn is_complete(&self) -> bool {
        let (sections, names) = (self.registry.sections(), self.registry.names());
        self.registry.tasks().last().filter(|&(index, _)| index >= handle::FIRST_TASK_SLOT).is_none_or(
            |(_, address)| {
                // SAFETY: the address is that of a slot of the arena of tasks, a Task.
                unsafe { self.memory.read(address, |_: &Shown<Task>| ()) }.is_some()
            },
        ) && sections.last().is_none_or(|(_, address)| {
            // SAFETY: the address is that of a slot of the arena of sections, a Section.
            unsafe { self.memory.read(address, |_: &Shown<Section>| ()) }.is_some()
        }) && self.registry.resources().last().is_none_or(|(_, address)| {
            // SAFETY: the address is that of a slot of the arena of resources, a Resource.
            unsafe { self.memory.read(address, |_: &Shown<Resource>| ()) }.is_some()
        }) && names.last().is_none_or(|(_, address)| {
            // SAFETY: the address is that of a slot of the arena of names, a NameSlot.
            unsafe { self.memory.read(address, |_: &Shown<NameSlot>| ()) }.is_some()
        })
    }

    /// The name that was stored for a layer's target.
    pub(crate) fn target_name(&self, layer: Layer) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        let targets = self.registry.targets();
        let by_callee = targets.callee(self.memory, layer.target, layer.callee);
        by_callee.or_else(|| targets.name(self.memory, layer.origin, layer.target))
    }

    /// The name of the type of the object that has a lock of managed code.
    pub(crate) fn type_name(&self, of_type: u64) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        self.registry.targets().type_name(self.memory, of_type)
    }

    /// The text of a call site that its caller named, or that was found for it.
    pub fn place(&self, site: u64) -> Option<TextBuffer<TARGET_NAME_BYTES>> {
        self.registry.targets().place(self.memory, site)
    }

    /// Where in an assembly of .NET's a call site lies, if that is known.
    pub fn il_place(&self, site: u64) -> Option<IlPlace> {
        self.registry.targets().il_place(self.memory, site)
    }

    /// How many deadlocks were found since the process began.
    pub(crate) fn deadlocks_found(&self) -> u64 {
        self.registry.deadlocks().found()
    }

    /// How many of them had a victim.
    pub fn deadlocks_broken(&self) -> u64 {
        self.registry.deadlocks().broken()
    }

    /// Calls `visit` with each remembered deadlock, oldest first, copied to `place`.
    pub(crate) fn deadlocks<E>(
        &self,
        place: &mut DeadlockCopy,
        mut visit: impl FnMut(&DeadlockCopy) -> core::result::Result<(), E>,
    ) -> core::result::Result<(), E> {
        let deadlocks = self.registry.deadlocks();
        let found = deadlocks.found();
        (found.saturating_sub(REMEMBERED as u64)..found).try_for_each(|number| {
            if deadlocks.copy_remembered::<M>(number, place) { visit(place) } else { Ok(()) }
        })
    }

    /// Every live task. Ends at the first slot that cannot be read: after it there is nothing.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskPicture> {
        let picture = Picture { ..*self };
        self.registry.tasks().addresses().map_while(move |address| picture.task_at(address)).flatten()
    }

    /// The live task with this id.
    pub(crate) fn task(&self, id: u64) -> Option<TaskPicture> {
        let address = self.registry.tasks().address(handle::owner_slot(id))?;
        self.task_at(address)?.filter(|task| task.id == id)
    }

    /// The live task with this id, and its newest layers at the same moment.
    #[inline(never)]
    pub(crate) fn task_with_layers(&self, id: u64, layers: &mut ShownLayers) -> Option<TaskPicture> {
        let address = self.registry.tasks().address(handle::owner_slot(id))?;
        for attempt in 0..ATTEMPTS {
            let draw = |task: &Shown<Task>| self.draw_task(address, task, Some(&mut *layers));
            // SAFETY: the address is that of a slot of the arena of tasks, a Task.
            let drawn = unsafe {
                if attempt == 0 {
                    self.memory.read(address, draw)
                } else {
                    self.memory.read_anew(address, draw)
                }
            };
            match drawn? {
                Some(task) => return Some(task).filter(|task| task.id == id),
                // It has ended, or its layers changed meanwhile.
                None => self.read_task(id, |_| ())??,
            }
        }
        // Its layers changed each time: it is shown without them.
        self.task(id).map(|task| TaskPicture { depth: 0, ..task })
    }

    /// The task in the slot at `address`, if there is one; None if the slot cannot be read.
    #[inline(never)]
    fn task_at(&self, address: usize) -> Option<Option<TaskPicture>> {
        // SAFETY: the address is that of a slot of the arena of tasks, a Task.
        unsafe { self.memory.read(address, |task: &Shown<Task>| self.draw_task(address, task, None)) }
    }

    /// The task in the slot at `address`; None if there is none, or if `layers` is given and they changed meanwhile.
    fn draw_task(
        &self,
        address: usize,
        task: &Shown<Task>,
        layers: Option<&mut ShownLayers>,
    ) -> Option<TaskPicture> {
        let id = task.id();
        if id == 0 {
            return None;
        }
        let runtime = self.registry.runtime().word();
        let (depth, mode) = match layers {
            Some(layers) => self.draw_layers(address, task, runtime, layers)?,
            None => task.layers().depth_and_mode(runtime),
        };
        let picture = TaskPicture {
            id,
            thread_id: task.thread_id(),
            mode,
            name: task.name_in::<M>(),
            owned: task.owned_with(|handle| {
                self.read_section(handle, |section| section.is_biased_and_entered(handle, id)) == Some(true)
            }),
            wait: task.wait().copy(),
            sleep: task.sleep().copy(),
            managed_wait: task.managed_wait().copy(),
            anomalies: task.anomalies(),
            depth,
        };
        // If the slot got another task meanwhile, the fields may be of two tasks.
        (task.id() == id).then_some(picture)
    }

    /// Copies the newest layers, a snapshot of one moment; returns the depth and the mode.
    fn draw_layers(
        &self,
        address: usize,
        task: &Shown<Task>,
        runtime: u64,
        layers: &mut ShownLayers,
    ) -> Option<(usize, Mode)> {
        // SAFETY: as in task_at.
        let position_now = || unsafe {
            self.memory.read_anew(address, |task: &Shown<Task>| task.layers().position(runtime))
        };
        let (guess, _) = task.layers().depth_and_mode(runtime);
        let skip = guess.saturating_sub(LAYERS_SHOWN);
        let take = |index: usize, layer| layers.put(index, layer);
        let (depth, mode) =
            task.layers().snapshot(self.memory, runtime, position_now, skip, LAYERS_SHOWN, take)?;
        // The depth may have changed since the layers to take were chosen.
        (depth.saturating_sub(LAYERS_SHOWN) == skip).then_some((depth, mode))
    }

    /// Every live section. Ends at the first slot that cannot be read.
    pub(crate) fn sections(&self) -> impl Iterator<Item = SectionPicture> {
        let picture = Picture { ..*self };
        let slots = (1..).zip(self.registry.sections().addresses());
        let drawn = slots.map_while(move |(index, address)| {
            // SAFETY: the address is that of a slot of the arena of sections, a Section.
            unsafe {
                picture.memory.read(address, |section: &Shown<Section>| {
                    picture.draw_section(section, index, picture.section_handle(section, index))
                })
            }
        });
        drawn.flatten()
    }

    fn section_handle(&self, section: &Shown<Section>, index: u32) -> u64 {
        section.handle(self.registry.copy(), index)
    }

    /// The handle of the task with this id.
    pub(crate) fn task_handle(&self, id: u64) -> u64 {
        handle::task_handle(self.registry.copy(), id)
    }

    /// The section with this handle.
    pub(crate) fn section(&self, handle: u64) -> Option<SectionPicture> {
        if handle::is_resource(handle) || handle::is_srw_lock(handle) {
            return None;
        }
        let index = handle::section_index(handle);
        self.read_section(handle, |section| self.draw_section(section, index, handle)).flatten()
    }

    fn read_section<R>(&self, handle: u64, read: impl FnOnce(&Shown<Section>) -> R) -> Option<R> {
        let address = self.registry.sections().address(handle::section_index(handle))?;
        // SAFETY: the address is that of a slot of the arena of sections, a Section.
        unsafe { self.memory.read(address, read) }
    }

    fn read_resource<R>(&self, handle: u64, read: impl FnOnce(&Shown<Resource>) -> R) -> Option<R> {
        let address = self.registry.resources().address(handle::section_index(handle))?;
        // SAFETY: the address is that of a slot of the arena of resources, a Resource.
        unsafe { self.memory.read(address, read) }
    }

    fn draw_section(&self, section: &Shown<Section>, index: u32, handle: u64) -> Option<SectionPicture> {
        let info = section.info(handle)?;
        let drawn = SectionPicture {
            handle,
            state: info.state,
            owner: info.owner,
            recursion: info.recursion,
            waiters: info.waiters,
            contended: info.contended,
            name: self.name_in_slot(section.name_slot()),
            mirror: section.mirror() as u64,
            orphaned_by: section.orphaned_by(handle),
            hold: self.hold(index, info.owner),
        };
        section.is_still(handle).then_some(drawn)
    }

    /// The name that the program has given the CRITICAL_SECTION at an address in a debug record of its own. All of that is
    /// memory of the program's.
    pub(crate) fn name_in_debug_record(&self, mirror: u64) -> Option<NameCopy> {
        let read = |address| self.memory.read_of_program(address);
        let record = read(mirror).filter(|&record| record != 0 && record != u64::MAX)?;
        // That of the whole process names no section.
        read(record.checked_add(mirror::DEBUG_RECORD_SECTION)?).filter(|&section| section == mirror)?;
        let start = read(record.checked_add(mirror::DEBUG_RECORD_NAME)?)?;
        let mut name = [0; LONGEST_DEBUG_NAME];
        for (part, address) in name.chunks_exact_mut(8).zip((start..).step_by(8)) {
            let bytes = read(address)?.to_ne_bytes();
            part.copy_from_slice(&bytes);
            if bytes.contains(&0) {
                break;
            }
        }
        let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        // Such a name is that of a source file and then the section's: of a long one the end says more.
        let shown = &name[length.saturating_sub(NAME_BYTES)..length];
        Some(NameCopy::of(shown)).filter(|name| !name.is_empty())
    }

    /// Every live resource. Ends at the first slot that cannot be read.
    pub(crate) fn resources(&self) -> impl Iterator<Item = ResourcePicture> {
        let picture = Picture { ..*self };
        let drawn = self.registry.resources().addresses().map_while(move |address| {
            let draw = |resource: &Shown<Resource>| picture.draw_resource(resource, resource.handle()?);
            // SAFETY: the address is that of a slot of the arena of resources, a Resource.
            unsafe { picture.memory.read(address, draw) }
        });
        drawn.flatten()
    }

    /// The resource with this handle.
    fn resource(&self, handle: u64) -> Option<ResourcePicture> {
        let draw = |resource: &Shown<Resource>| self.draw_resource(resource, handle);
        if handle::is_resource(handle) { self.read_resource(handle, draw).flatten() } else { None }
    }

    fn draw_resource(&self, resource: &Shown<Resource>, handle: u64) -> Option<ResourcePicture> {
        let info = resource.info(handle)?;
        let drawn = ResourcePicture { handle, info, name: self.name_in_slot(resource.name_slot()) };
        resource.is_still(handle).then_some(drawn)
    }

    /// What a task waits for, by its handle or what stands for one.
    pub(crate) fn lock(&self, awaited: u64) -> Option<LockPicture> {
        if handle::is_resource(awaited) {
            self.resource(awaited).map(LockPicture::Resource)
        } else if handle::is_srw_lock(awaited) {
            Some(LockPicture::SrwLock(self.srw_lock(awaited)))
        } else {
            self.section(awaited).map(LockPicture::Section)
        }
    }

    /// An SRW lock that a task waits for. Its memory is the program's, and gone if the task waits no longer.
    fn srw_lock(&self, awaited: u64) -> SrwLockPicture {
        let address = handle::number_shown(awaited);
        let word = self.memory.read_of_program(address).unwrap_or(0);
        SrwLockPicture { address, owner: srw::owner(word), holders: srw::holders(word) }
    }

    fn name_in_slot(&self, slot: u32) -> Option<NameCopy> {
        let slot = Some(slot).filter(|&slot| slot != 0)?;
        let address = self.registry.names().address(slot)?;
        // SAFETY: the address is that of a slot of the arena of names, a NameSlot.
        let name = unsafe { self.memory.read(address, |slot: &Shown<NameSlot>| slot.name_in::<M>()) }?;
        Some(name).filter(|name| !name.is_empty())
    }

    fn hold(&self, index: u32, owner: u64) -> Option<(u64, u64)> {
        let address = self.registry.holds().address(index).filter(|_| owner != 0)?;
        // SAFETY: the table has a Hold for each slot of the arena of sections.
        unsafe { self.memory.read(address, |hold: &Shown<Hold>| self.registry.holds().read(hold, owner)) }
            .flatten()
    }

    /// The alarms of orders that could deadlock, the first one first: how many steps each has, and when it was told.
    pub(crate) fn alarms(&self) -> impl Iterator<Item = (u32, u32, u64)> {
        let picture = Picture { ..*self };
        (0..self.registry.orders().told()).map_while(move |number| {
            let (length, told_at) = picture.read_alarm(number, Shown::<Alarm>::length_and_time)?;
            Some((number, length, told_at))
        })
    }

    /// The steps of alarm number `number`.
    pub(crate) fn alarm_steps(&self, number: u32) -> impl Iterator<Item = AlarmStepCopy> {
        let picture = Picture { ..*self };
        let length = self.read_alarm(number, |alarm| alarm.length_and_time().0).unwrap_or(0);
        (0..length)
            .filter_map(move |step| picture.read_alarm(number, |alarm| alarm.step::<M>(step)).flatten())
    }

    fn read_alarm<R>(&self, number: u32, read: impl FnOnce(&Shown<Alarm>) -> R) -> Option<R> {
        let address = self.registry.orders().alarm_address(number)?;
        // SAFETY: an Alarm stands at the address that the orders give.
        unsafe { self.memory.read(address, read) }
    }

    /// Whether waits were ever counted.
    pub(crate) fn has_figures(&self) -> bool {
        self.registry.statistics().has_begun()
    }

    /// The sections for which a wait or a hold was counted, with their figures.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (SectionPicture, FiguresCopy)> {
        let picture = Picture { ..*self };
        let has_figures = self.has_figures();
        let sections = self.sections().take_while(move |_| has_figures);
        sections.filter_map(move |section| {
            let figures = picture.figures_of(section.handle)?;
            (figures.all_waits() != 0 || figures.holds != 0).then_some((section, figures))
        })
    }

    fn figures_of(&self, section: u64) -> Option<FiguresCopy> {
        let address = self.registry.statistics().address(handle::section_index(section))?;
        // SAFETY: the table has figures for each slot of the arena of sections.
        unsafe { self.memory.read(address, |figures: &Shown<Figures>| figures.copy(section)) }.flatten()
    }

    /// The edge of the wait-for graph from the task with this id: the id of the live task that owns the section or
    /// resource for which it waits without a limit.
    pub(crate) fn blocked_by(&self, id: u64) -> Option<u64> {
        let unbounded = |task: &Shown<Task>| Some((task.wait().unbounded()?, task.wait().is_for_itself()));
        let (awaited, is_for_itself) = self.read_task(id, unbounded)?.flatten()?;
        self.owner_for(awaited, id, is_for_itself)
    }

    /// The id of the live task that owns what the one with this id waits for, and whether that wait has a limit.
    fn waits_for(&self, id: u64) -> Option<(u64, bool)> {
        let wait = self.read_task(id, |task| task.wait().copy())?.flatten()?;
        Some((self.owner_for(wait.awaited, id, wait.is_for_itself)?, wait.limited))
    }

    /// The live task that owns the section, resource or SRW lock, for which the task with this id waits.
    fn owner_for(&self, awaited: u64, id: u64, is_for_itself: bool) -> Option<u64> {
        let owner = if handle::is_resource(awaited) {
            self.read_resource(awaited, |slot| slot.owner(awaited)).flatten()?
        } else if handle::is_srw_lock(awaited) {
            self.srw_lock(awaited).owner
        } else {
            self.read_section(awaited, |slot| slot.owner(awaited)).flatten()?
        };
        let lives = |owner| self.read_task(owner, |_| ()).flatten().is_some();
        let is_other = owner != id || is_for_itself;
        (owner != 0 && owner != ABANDONED && is_other && lives(owner)).then_some(owner)
    }

    fn read_task<R>(&self, id: u64, read: impl FnOnce(&Shown<Task>) -> R) -> Option<Option<R>> {
        let address = self.registry.tasks().address(handle::owner_slot(id))?;
        // SAFETY: the address is that of a slot of the arena of tasks, a Task.
        unsafe { self.memory.read(address, |task: &Shown<Task>| (task.id() == id).then(|| read(task))) }
    }

    /// The length of the cycle of unlimited waits through the task with this id; None if its chain ends or leads into a
    /// cycle elsewhere.
    pub(crate) fn cycle_length(&self, start: u64) -> Option<u32> {
        self.steps_back_to(start, |id| self.blocked_by(id))
    }

    /// The cycle of waits, limited or not, through the task with this id, if there is one.
    pub(crate) fn any_cycle(&self, start: u64) -> Option<Cycle> {
        let mut limited = false;
        let length = self.steps_back_to(start, |id| {
            let (owner, has_limit) = self.waits_for(id)?;
            limited |= has_limit;
            Some(owner)
        })?;
        Some(Cycle { length, limited })
    }

    /// How many steps lead from `start` back to it; None if they end or lead into a cycle elsewhere.
    fn steps_back_to(&self, start: u64, mut step: impl FnMut(u64) -> Option<u64>) -> Option<u32> {
        let mut id = start;
        // Brent's algorithm: a cycle elsewhere returns to a task that was passed; one is remembered, at doubling
        // distances.
        let (mut passed, mut next_to_remember) = (start, 1);
        for length in 1..=self.registry.tasks().live() {
            id = step(id)?;
            if id == start {
                return Some(length);
            }
            if id == passed {
                return None;
            }
            if length == next_to_remember {
                (passed, next_to_remember) = (id, length.saturating_mul(2));
            }
        }
        None
    }

    /// The tasks of the cycle through the task with this id, if there is one, from that task on.
    pub(crate) fn cycle(&self, start: u64) -> impl Iterator<Item = u64> {
        let length = self.cycle_length(start).unwrap_or(0);
        let picture = Picture { ..*self };
        core::iter::successors(Some(start), move |&id| picture.blocked_by(id)).take(length as usize)
    }

    /// The ids of the tasks that wait.
    fn waiting(&self) -> impl Iterator<Item = u64> {
        let picture = Picture { ..*self };
        let waiting = self.registry.tasks().addresses().map_while(move |address| {
            let read = |task: &Shown<Task>| (task.wait().awaited() != 0).then(|| task.id());
            // SAFETY: the address is that of a slot of the arena of tasks, a Task.
            unsafe { picture.memory.read(address, read) }
        });
        waiting.flatten()
    }

    /// The lowest id of each cycle of waits that stands.
    pub(crate) fn standing(&self, index: &Index<'_>) -> impl Iterator<Item = u64> {
        let picture = Picture { ..*self };
        // Where none was found, the tasks are not gone through.
        let most = if index.0.as_ref().is_some_and(|tables| !tables.have_cycles) { 0 } else { usize::MAX };
        self.waiting().take(most).filter(move |&id| match &index.0 {
            Some(tables) => tables.is_lowest_of_cycle(id),
            None => picture.stands(id),
        })
    }

    /// Whether the task with this id is in a cycle of waits.
    pub(crate) fn is_in_cycle(&self, index: &Index<'_>, id: u64) -> bool {
        match &index.0 {
            Some(tables) => tables.is_in_cycle(id),
            None => self.cycle_length(id).is_some(),
        }
    }

    /// The task that waits for the one with this id in its cycle; None if it is in no cycle.
    pub(crate) fn before_in_cycle(&self, index: &Index<'_>, id: u64) -> Option<TaskPicture> {
        match &index.0 {
            Some(tables) => {
                let address = self.registry.tasks().address(tables.before_in_cycle(id)?)?;
                self.task_at(address).flatten()
            }
            None => self.cycle(id).last().and_then(|before| self.task(before)),
        }
    }

    /// Whether there is a cycle that stands, in which this id is the lowest.
    fn stands(&self, lowest: u64) -> bool {
        // If two rounds find the same waits, every task was in its wait all the time between them, so the edges, which
        // are read one after the other, existed together (see `deadlock`).
        let now = Picture { memory: &Anew(self.memory), registry: self.registry };
        let round = now.waits_of_cycle(lowest);
        round.is_some() && round == now.waits_of_cycle(lowest)
    }

    /// A hash of the waits of the cycle in which this id is the lowest, if there is one.
    fn waits_of_cycle(&self, lowest: u64) -> Option<u64> {
        let (mut sum, mut id) = (0, lowest);
        for _ in 0..self.registry.tasks().live() {
            let next = self.blocked_by(id).filter(|&next| next >= lowest)?;
            // After the edge: an unchanged number means that the edge was of this wait.
            let wait = self.wait_number(id)?;
            sum = fibonacci_hash(sum ^ id ^ wait).rotate_left(32);
            id = next;
            if id == lowest {
                return Some(sum);
            }
        }
        None
    }

    /// The thread of the task with this id, if it lives.
    pub(crate) fn thread_id(&self, id: u64) -> Option<u32> {
        self.read_task(id, |task| task.thread_id()).flatten()
    }

    /// The name that was set for the task with this id; empty if none was.
    pub(crate) fn task_name(&self, id: u64) -> NameCopy {
        self.read_task(id, Shown::<Task>::name_in::<M>).flatten().unwrap_or(NameCopy::new())
    }

    /// How the task with this id waits or sleeps, if it does.
    pub(crate) fn wait_or_sleep(&self, id: u64) -> (Option<WaitCopy>, Option<SleepCopy>) {
        self.read_task(id, |task| (task.wait().copy(), task.sleep().copy())).flatten().unwrap_or((None, None))
    }

    /// How the task with this id waits for a lock of managed code, if it does.
    pub(crate) fn managed_wait(&self, id: u64) -> Option<ManagedWaitCopy> {
        self.read_task(id, |task| task.managed_wait().copy()).flatten().flatten()
    }

    /// Whether the task with this id is in this wait now.
    pub fn is_managed_wait_now(&self, id: u64, wait: ManagedWaitCopy) -> bool {
        let now = Picture { memory: &Anew(self.memory), registry: self.registry };
        now.managed_wait(id) == Some(wait)
    }

    /// Whether locks of managed code are seen: the CLR tells of waits for them.
    pub fn sees_managed_locks(&self) -> bool {
        self.registry.sees_managed_locks()
    }

    /// The number of the present wait of the task with this id: each of its waits has another.
    pub(crate) fn wait_number(&self, id: u64) -> Option<u64> {
        self.read_task(id, |task| task.wait().number()).flatten()
    }

    /// The id of the live task of this thread.
    pub(crate) fn task_of_thread(&self, thread_id: u32) -> Option<u64> {
        self.threads_of_tasks().find_map(|(thread, id)| (thread == thread_id).then_some(id))
    }

    /// The thread and the id of each live task.
    pub(crate) fn threads_of_tasks(&self) -> impl Iterator<Item = (u32, u64)> {
        let picture = Picture { ..*self };
        let all = self.registry.tasks().addresses().map_while(move |address| {
            let read = |task: &Shown<Task>| (task.thread_id(), task.id());
            // SAFETY: the address is that of a slot of the arena of tasks, a Task.
            unsafe { picture.memory.read(address, read) }
        });
        all.filter(|&(_, id)| id != 0)
    }

    /// The owner of each owned section, with the section's number, in the order of the numbers.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (u64, u32)> {
        let picture = Picture { ..*self };
        let slots = (1..).zip(self.registry.sections().addresses());
        let owners = slots.map_while(move |(index, address)| {
            let read = |section: &Shown<Section>| {
                section.owner(self.section_handle(section, index)).map(|owner| (owner, index))
            };
            // SAFETY: the address is that of a slot of the arena of sections, a Section.
            unsafe { picture.memory.read(address, read) }
        });
        owners.flatten().filter(|&(owner, _)| owner != 0 && owner != ABANDONED)
    }

    fn lock_seen(&self, handle: u64) -> LockSeen {
        let lock = self.lock(handle);
        let critical_section = match &lock {
            Some(LockPicture::Section(section)) => section.mirror,
            _ => 0,
        };
        let name = if critical_section != 0 {
            self.name_in_debug_record(critical_section)
        } else {
            lock.and_then(|lock| lock.name())
        };
        LockSeen { handle, name: name.unwrap_or(NameCopy::new()), critical_section }
    }

    /// Every live task, for who joins them with threads.
    pub fn tasks_seen(&self) -> impl Iterator<Item = TaskSeen> {
        let picture = Picture { ..*self };
        self.tasks().map(move |TaskPicture { id, thread_id, name, wait, sleep, managed_wait, .. }| {
            let awaited = wait.map(|wait| picture.lock_seen(wait.awaited));
            let type_of_lock = managed_wait.and_then(|wait| picture.type_name(wait.told.of_type));
            TaskSeen { id, thread_id, name, wait, sleep, awaited, managed_wait, type_of_lock }
        })
    }

    /// The threads that wait without a limit for a section or resource which another thread of this process owns.
    pub fn blocked(&self) -> impl Iterator<Item = Blocked> {
        let picture = Picture { ..*self };
        self.waiting().filter_map(move |id| picture.blocked_task(id))
    }

    /// The same task's present wait, if it still waits without a limit for what another thread owns.
    pub fn blocked_now(&self, blocked: &Blocked) -> Option<Blocked> {
        Picture { memory: &Anew(self.memory), registry: self.registry }.blocked_task(blocked.task)
    }

    fn blocked_task(&self, task: u64) -> Option<Blocked> {
        let owner = self.blocked_by(task)?;
        let owner_thread_id = self.thread_id(owner)?;
        // After the edge: an unchanged number means that the edge was of this wait.
        let wait = |slot: &Shown<Task>| Blocked {
            task,
            thread_id: slot.thread_id(),
            name: slot.name_in::<M>(),
            awaited: LockSeen { handle: slot.wait().awaited(), name: NameCopy::new(), critical_section: 0 },
            owner,
            owner_thread_id,
            wait: slot.wait().number(),
        };
        let blocked = self.read_task(task, wait).flatten()?;
        Some(Blocked { awaited: self.lock_seen(blocked.awaited.handle), ..blocked })
    }

    /// The owner of each owned resource, with the resource's number, in the order of the numbers.
    fn resource_owners(&self) -> impl Iterator<Item = (u64, u32)> {
        let picture = Picture { ..*self };
        let slots = (1..).zip(self.registry.resources().addresses());
        let owners = slots.map_while(move |(index, address)| {
            let read =
                |resource: &Shown<Resource>| resource.handle().and_then(|handle| resource.owner(handle));
            // SAFETY: the address is that of a slot of the arena of resources, a Resource.
            let owner = unsafe { picture.memory.read(address, read) }?;
            Some((owner.unwrap_or(0), index))
        });
        owners.filter(|&(owner, _)| owner != 0 && owner != ABANDONED)
    }

    /// The resources that the task owns.
    pub(crate) fn resources_owned_by(
        &self,
        index: &Index<'_>,
        task: &TaskPicture,
    ) -> impl Iterator<Item = ResourcePicture> {
        let (picture, id) = (Picture { ..*self }, task.id);
        let listed = index.0.as_ref().map(|tables| tables.resources.of(id));
        let searched = listed.is_none();
        let searched =
            self.resource_owners().take_while(move |_| searched).filter(move |&(owner, _)| owner == id);
        let numbers = listed.into_iter().flatten().chain(searched.map(|(_, resource)| resource));
        // A resource may have got another owner since.
        numbers
            .filter_map(move |number| picture.resource_at(number))
            .filter(move |resource| resource.info.owner == id)
    }

    /// The resource that has this number now.
    fn resource_at(&self, index: u32) -> Option<ResourcePicture> {
        let address = self.registry.resources().address(index)?;
        let draw = |resource: &Shown<Resource>| self.draw_resource(resource, resource.handle()?);
        // SAFETY: the address is that of a slot of the arena of resources, a Resource.
        unsafe { self.memory.read(address, draw) }.flatten()
    }

    /// The sections that the task owns.
    pub(crate) fn owned_by(
        &self,
        index: &Index<'_>,
        task: &TaskPicture,
    ) -> impl Iterator<Item = SectionPicture> {
        let (picture, id) = (Picture { ..*self }, task.id);
        let listed = index.0.as_ref().map(|tables| tables.sections.of(id));
        let searched = listed.is_none() && task.owned != 0;
        let searched = self.owners().take_while(move |_| searched).filter(move |&(owner, _)| owner == id);
        let numbers = listed.into_iter().flatten().chain(searched.map(|(_, section)| section));
        // A section may have got another owner since.
        numbers
            .filter_map(move |number| picture.section_at(number))
            .filter(move |section| section.owner == id)
    }

    /// The section that has this number now.
    pub(crate) fn section_at(&self, index: u32) -> Option<SectionPicture> {
        let address = self.registry.sections().address(index)?;
        // SAFETY: the address is that of a slot of the arena of sections, a Section.
        unsafe {
            self.memory.read(address, |section: &Shown<Section>| {
                self.draw_section(section, index, self.section_handle(section, index))
            })
        }
        .flatten()
    }
}

/// Facts about all tasks and sections that are needed before the first is shown, collected in one pass over each.
/// Without room for them each query searches, which takes long if there are many.
pub(crate) struct Index<'r>(Option<Tables<'r>>);

struct Tables<'r> {
    sections: OwnedLists<'r>,
    resources: OwnedLists<'r>,
    /// By the slots of tasks: what the walk along the wait chains has found, as below.
    waits: &'r mut [u32],
    /// One that stands was found.
    have_cycles: bool,
}

/// What each task owns of one kind, as lists in rising order.
struct OwnedLists<'r> {
    /// By the slots of tasks: the first and the last that it owns, 0 for none.
    first: &'r mut [u32],
    last: &'r mut [u32],
    /// By their own numbers: the next one with the same owner.
    next: &'r mut [u32],
}

/// An entry of `waits` with IN_CYCLE has the slot of the task before it in the cycle, and LOWEST if its id is the
/// lowest. Otherwise it has the number of the walk that passed the task, 0 for none.
const IN_CYCLE: u32 = 1 << 31;
const LOWEST: u32 = 1 << 30;
const _: () = assert!(handle::MAX_TASKS < LOWEST);

impl<'r> Index<'r> {
    /// For how many numbers there must be room.
    pub(crate) fn size<M: Memory>(picture: &Picture<'_, M>) -> usize {
        // A copy of another process's registry may contain any numbers.
        5 * Self::tasks(picture) + Self::sections(picture) + Self::resources(picture)
    }

    fn sections<M: Memory>(picture: &Picture<'_, M>) -> usize {
        picture.registry.sections().end().min(handle::MAX_SECTIONS) as usize
    }

    fn resources<M: Memory>(picture: &Picture<'_, M>) -> usize {
        picture.registry.resources().end().min(handle::MAX_RESOURCES) as usize
    }

    fn tasks<M: Memory>(picture: &Picture<'_, M>) -> usize {
        picture.registry.tasks().end().min(handle::MAX_TASKS) as usize
    }

    /// Without any room.
    pub(crate) fn none() -> Self {
        Index(None)
    }

    /// Finds the cycles of waits. All numbers of the room are 0.
    pub(crate) fn new<M: Memory>(picture: &Picture<'_, M>, room: &'r mut [u32]) -> Self {
        Index(Self::tables(picture, room))
    }

    fn tables<M: Memory>(picture: &Picture<'_, M>, room: &'r mut [u32]) -> Option<Tables<'r>> {
        let tasks = Self::tasks(picture);
        let (waits, rest) = room.split_at_mut_checked(tasks)?;
        let (resources, rest) = OwnedLists::take(rest, tasks, Self::resources(picture))?;
        // There may be more sections by now than there is room for.
        let sections = rest.len().checked_sub(2 * tasks)?;
        let (sections, _) = OwnedLists::take(rest, tasks, sections)?;
        let mut tables = Tables { sections, resources, waits, have_cycles: false };
        tables.follow_waits(picture);
        Some(tables)
    }

    /// Lists the sections and resources that each task owns.
    pub(crate) fn list_owned<M: Memory>(&mut self, picture: &Picture<'_, M>) {
        if let Some(tables) = &mut self.0 {
            picture.owners().for_each(|(owner, section)| tables.sections.add(owner, section));
            picture.resource_owners().for_each(|(owner, resource)| tables.resources.add(owner, resource));
        }
    }
}

impl Tables<'_> {
    /// Walks from each waiting task along its wait chain up to a task that was passed before, so each task is passed
    /// once.
    fn follow_waits<M: Memory>(&mut self, picture: &Picture<'_, M>) {
        for (number, start) in (1..LOWEST).zip(picture.waiting()) {
            let mut next = Some(start);
            while let Some(id) = next {
                let Some(mark) = self.waits.get_mut(handle::owner_slot(id) as usize) else { break };
                match *mark {
                    0 => *mark = number,
                    passed => {
                        if passed == number {
                            self.mark_cycle(picture, id);
                        }
                        break;
                    }
                }
                next = picture.blocked_by(id);
            }
        }
    }

    fn mark_cycle<M: Memory>(&mut self, picture: &Picture<'_, M>, id: u64) {
        let mut before = None;
        let mut lowest = id;
        for member in picture.cycle(id) {
            self.mark(member, before);
            (before, lowest) = (Some(member), lowest.min(member));
        }
        if before.is_some() {
            self.mark(id, before);
            if picture.stands(lowest)
                && let Some(mark) = self.waits.get_mut(handle::owner_slot(lowest) as usize)
            {
                *mark |= LOWEST;
                self.have_cycles = true;
            }
        }
    }

    fn mark(&mut self, member: u64, before: Option<u64>) {
        if let Some(mark) = self.waits.get_mut(handle::owner_slot(member) as usize) {
            *mark = IN_CYCLE | before.map_or(0, handle::owner_slot);
        }
    }

    fn waits_of(&self, id: u64) -> u32 {
        self.waits.get(handle::owner_slot(id) as usize).map_or(0, |&mark| mark)
    }

    fn is_in_cycle(&self, id: u64) -> bool {
        self.waits_of(id) & IN_CYCLE != 0
    }

    fn is_lowest_of_cycle(&self, id: u64) -> bool {
        self.waits_of(id) & (IN_CYCLE | LOWEST) == IN_CYCLE | LOWEST
    }

    /// The slot of the task before this one in its cycle.
    fn before_in_cycle(&self, id: u64) -> Option<u32> {
        self.is_in_cycle(id).then(|| self.waits_of(id) & !(IN_CYCLE | LOWEST))
    }
}

impl<'r> OwnedLists<'r> {
    /// Takes room for so many tasks and so many that they can own, and returns what is left.
    fn take(room: &'r mut [u32], tasks: usize, numbers: usize) -> Option<(Self, &'r mut [u32])> {
        let (first, room) = room.split_at_mut_checked(tasks)?;
        let (last, room) = room.split_at_mut_checked(tasks)?;
        let (next, room) = room.split_at_mut_checked(numbers)?;
        Some((OwnedLists { first, last, next }, room))
    }

    fn add(&mut self, owner: u64, number: u32) {
        let slot = handle::owner_slot(owner) as usize;
        let (Some(first), Some(last)) = (self.first.get_mut(slot), self.last.get_mut(slot)) else { return };
        // What was created after the room was allocated is not listed.
        if number as usize >= self.next.len() {
            return;
        }
        match self.next.get_mut(*last as usize) {
            Some(next) if *last != 0 => *next = number,
            _ => *first = number,
        }
        *last = number;
    }

    /// The numbers of what the task with this id owned.
    fn of(&self, id: u64) -> impl Iterator<Item = u32> {
        let first = self.first.get(handle::owner_slot(id) as usize).copied();
        let next = |number: &u32| self.next.get(*number as usize).copied();
        core::iter::successors(first, next).take_while(|&number| number != 0)
    }
}
