//! The order in which tasks enter sections and acquire resources: what each of them owned when it entered another, and
//! from that, which orders could lead to a deadlock although none has. It does not know whom to tell of one. Of a
//! resource that is acquired, this room and its graph say that it is entered, and call it a section too.
//!
//! **What a task owns is not believed but looked up.** Each task has a short list of the sections that it entered while
//! orders were examined. What it has left since, by whatever path, is taken out when the task enters the next section:
//! only what it still owns counts. An entry is examined only if the task owns no more than its list says, so a section
//! that it entered before orders were examined, or that the list has no room for, does not hide a gate.

mod graph;

use crate::base::name::NameCopy;
use crate::error::{Error, Result};
use crate::handle;
use crate::order::graph::{Entry, Full, Graph, Held, Lost, MOST_HELD, MOST_STEPS, Step};
pub(crate) use crate::order::graph::{MOST_EDGES, MOST_TOLD};
use crate::state::orders::{self, Alarm, HeldList, Orders};
use crate::state::registry::REGISTRY;
use crate::state::resource::Resource;
use crate::state::runtime::EXAMINING;
use crate::state::task::TaskRef;
use crate::state::{resources, sections, tasks};
use crate::sys;
use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
use crate::view::names;

const _: () = assert!(MOST_STEPS == orders::MOST_STEPS && MOST_TOLD == orders::MOST_ALARMS);
const _: () = assert!(MOST_HELD == orders::MOST_HELD);

/// The graph, once orders were examined or declared good; under the lock of Orders.
static GRAPH: AtomicPtr<Graph> = AtomicPtr::new(core::ptr::null_mut());
/// 1 while the graph is being changed: the child of a fork may find it so.
static CHANGING: AtomicU32 = AtomicU32::new(0);

/// What there is to tell, by the task that found it, once it has left everything of this room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// The numbers of the alarms: from the first to before the last.
    pub(crate) alarms: (u32, u32),
    /// For the first time there was no room for a pair of sections.
    pub(crate) is_full: bool,
    /// For the first time an alarm was not told, as there were as many as are kept.
    pub(crate) is_silent: bool,
}

/// Takes the memory of the graph and of the alarms, the first time.
pub(crate) fn begin() -> Result<()> {
    let _guard = REGISTRY.orders.lock.lock();
    if GRAPH.load(Ordering::Relaxed).is_null() {
        let graph = sys::allocate_pages(size_of::<Graph>()).ok_or(Error::OutOfMemory)?;
        GRAPH.store(graph.cast(), Ordering::Relaxed);
    }
    REGISTRY.orders.begin()
}

/// Calls `change` with the graph, if there is one; under the lock of Orders.
fn with_graph<T>(change: impl FnOnce(&mut Graph) -> T) -> Option<T> {
    let graph = GRAPH.load(Ordering::Relaxed);
    if graph.is_null() {
        return None;
    }
    CHANGING.store(1, Ordering::Relaxed);
    // With the fence below: the child of a fork that finds the graph half changed finds this set.
    fence(Ordering::SeqCst);
    // SAFETY: begin stored pages of this size, which are never unmapped; zeros are an empty graph, and whoever holds
    // the lock is the only one who refers to it: no handler interrupts it.
    let result = change(unsafe { &mut *graph });
    fence(Ordering::SeqCst);
    CHANGING.store(0, Ordering::Relaxed);
    Some(result)
}

/// In the child of a fork, after the lock is free: another thread may have been switching the examination, or have half
/// changed the graph, which is forgotten then.
pub(crate) fn settle_after_fork() {
    REGISTRY.runtime.set_watching(EXAMINING, REGISTRY.orders.is_on());
    if CHANGING.swap(0, Ordering::Relaxed) != 0 {
        // SAFETY: as in with_graph; the thread that was changing it does not exist here.
        unsafe { GRAPH.load(Ordering::Relaxed).write_bytes(0, 1) };
    }
}

/// The owner of the section or resource with this handle, 0 for nobody; None if there is none.
fn owner_of(section: u64) -> Option<u64> {
    if handle::is_resource(section) {
        resources::find(section).ok()?.owner(section)
    } else {
        sections::any_slot_of(section).owner(section)
    }
}

/// Whether the section with this handle lives.
fn lives(section: u64) -> bool {
    owner_of(section).is_some()
}

/// How many sections and resources `me` owns.
fn owned_by(me: TaskRef) -> usize {
    let is_mine =
        |resource: &&Resource| resource.handle().and_then(|handle| resource.owner(handle)) == Some(me.id());
    let resources =
        if me.may_own_resources() { REGISTRY.resources.iter().filter(is_mine).count() } else { 0 };
    me.owned() as usize + resources
}

fn name_of(section: u64) -> NameCopy {
    let name = if handle::is_resource(section) {
        resources::find(section).ok().and_then(|resource| resource.name())
    } else {
        sections::any_slot_of(section).name()
    };
    name.unwrap_or(NameCopy::new())
}

/// Declares that it is good to enter `then` while owning `first`.
pub(crate) fn allow(first: u64, then: u64) -> Result<()> {
    sys::without_handlers(|| {
        let _guard = REGISTRY.orders.lock.lock();
        let allowed = with_graph(|graph| graph.allow(first, then, &lives)).unwrap_or(Err(Full));
        allowed.map_err(|Full| Error::OutOfMemory)
    })
}

/// `me` has just entered a section, for the first time since it left it. `waits`: it would have waited for ever.
pub(crate) fn entered(me: TaskRef, section: u64, site: usize, waits: bool) -> Option<Found> {
    let list = list_of(me)?;
    let is_owned = |other| other != section && owner_of(other) == Some(me.id());
    let others = list.keep(is_owned);
    list.set(others, (section, site as u64));
    let owned = owned_by(me);
    if !waits || owned == 1 {
        return None;
    }
    if others + 1 != owned {
        REGISTRY.orders.count_unexamined();
        return None;
    }
    if is_only_thread() {
        return None;
    }
    let mut held = [Held::default(); MOST_HELD];
    for (place, held) in held.iter_mut().enumerate() {
        let (section, site) = list.get(place).unwrap_or_default();
        *held = Held { section, site };
    }
    let entered = Held { section, site: site as u64 };
    let held = held.get(..others).unwrap_or(&[]);
    let entry = Entry { task: me.id(), thread_id: me.thread_id(), entered, held };
    Some(sys::without_handlers(|| examine(&entry)))
}

/// The list of a task, which alone uses it; None if there is no memory for it.
fn list_of(me: TaskRef) -> Option<&'static HeldList> {
    let lists = &REGISTRY.orders.lists;
    if lists.get(me.index()).is_none() {
        lists.cover(&REGISTRY.tasks, me.index()).ok()?;
    }
    lists.get(me.index())
}

/// Whether no other thread exists that could ever have waited for this one.
fn is_only_thread() -> bool {
    // Where the system does not say, a thread that has not called the library is not known of.
    REGISTRY.tasks.live() == 1 && sys::thread_count().is_none_or(|threads| threads == 1)
}

fn examine(entry: &Entry<'_>) -> Found {
    let orders = &REGISTRY.orders;
    let _guard = orders.lock.lock();
    let before = orders.told();
    let mut remember = |steps: &[Step<'_>]| orders.remember(steps);
    let lost = with_graph(|graph| graph.add(entry, &lives, &mut remember)).unwrap_or_default();
    let Lost { edges, others, circles } = lost;
    if edges || others {
        orders.count_unexamined();
    }
    Found {
        alarms: (before, orders.told()),
        is_full: edges && orders.is_first_full(),
        is_silent: circles && orders.is_first_silent(),
    }
}

impl Orders {
    /// Writes down an alarm; under the lock.
    fn remember(&self, steps: &[Step<'_>]) {
        let Some(alarm) = self.alarm(self.told()) else { return };
        alarm.write(steps);
        self.tell_one_more();
    }
}

impl Alarm {
    fn write(&self, steps: &[Step<'_>]) {
        self.length.store(steps.len() as u32, Ordering::Relaxed);
        self.told_at.store(sys::now(), Ordering::Relaxed);
        for (place, Step { section, witness }) in self.steps.iter().zip(steps) {
            place.task.store(witness.task, Ordering::Relaxed);
            place.thread_id.store(witness.thread_id, Ordering::Relaxed);
            place.section.store(*section, Ordering::Relaxed);
            place.first_site.store(witness.first_site, Ordering::Relaxed);
            place.then_site.store(witness.then_site, Ordering::Relaxed);
            let task = tasks::of_owner(witness.task);
            if task.id() == witness.task {
                place.task_name.set(names::task_name(task).bytes());
            }
            place.section_name.set(name_of(*section).bytes());
        }
    }
}
