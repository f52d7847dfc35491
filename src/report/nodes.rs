//! The wait chain of a task, node by node, for the program itself.

use core::fmt::Write;

use foreign_locks::calls;
use foreign_locks::glibc::Thing;

use super::desk::{self, Desk};
use super::threads::name_of;
use super::{Pages, write_symbol};
use crate::base::memory::Here;
use crate::base::name::NameCopy;
use crate::constants::*;
use crate::error::{Error, Result};
use crate::foreign::chain;
use crate::foreign::observer::{Observer, Wait};
use crate::foreign::who::Who;
use crate::handle::is_resource;
use crate::state::sleep::SleepKind;
use crate::state::tasks;
use crate::state::wait::WaitCopy;
use crate::sys::symbols::Mapped;
use crate::sys::{self, preserving_errno};
use crate::view::picture::{LockPicture, Picture};

/// A thread, or what it waits for.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) kind: u32,
    /// Its handle if it is the library's, otherwise its address; 0 if it has neither.
    pub(crate) handle: u64,
    pub(crate) thread_id: u32,
    pub(crate) flags: u32,
    pub(crate) name: NameCopy,
}

/// Threads of a chain at most.
const LONGEST: usize = 1 << 12;

/// Visits the nodes of the chain from a task on, by its handle; how many there are.
pub(crate) fn visit(task: u64, mut visit: impl FnMut(usize, Node)) -> Result<usize> {
    sys::settle_fork();
    preserving_errno(|| {
        let (id, _) = tasks::named(task)?;
        let mut desk = desk::take_patiently().ok_or(Error::OutOfMemory)?;
        let mut passed = Pages::new(LONGEST).ok_or(Error::OutOfMemory)?;
        let Desk { resolver, room, .. } = &mut *desk;
        let picture = Picture::here();
        let mut who = Who::of_task(&picture, id).ok_or(Error::Handle)?;
        let mut walk = Walk { picture, observer: Observer::new(resolver, room) };
        let (mut count, mut certainty) = (0, HOST_WAIT_FLAG_CERTAIN);
        let mut add = |node| {
            visit(count, node);
            count += 1;
        };
        for place in 0..LONGEST {
            if let Some(mark) = passed.as_mut().get_mut(place) {
                *mark = who.thread;
            }
            add(walk.thread(who, certainty));
            let Some((mut node, owner)) = walk.awaited(who) else { break };
            let was_passed =
                |owner: &Who| passed.as_mut().iter().take(place + 1).any(|&it| it == owner.thread);
            let again = owner.filter(was_passed);
            // Members of a cycle have been passed; it may have opened since.
            if again.is_some_and(|member| walk.is_in_cycle(member)) {
                node.flags |= HOST_WAIT_FLAG_LAST_OF_CYCLE;
            }
            certainty = node.flags & (HOST_WAIT_FLAG_CERTAIN | HOST_WAIT_FLAG_PROBABLE);
            add(node);
            match owner {
                Some(owner) if again.is_none() => who = owner,
                _ => break,
            }
        }
        Ok(count)
    })
}

struct Walk<'w> {
    picture: Picture<'static, Here>,
    observer: Observer<'w>,
}

impl Walk<'_> {
    fn is_in_cycle(&mut self, who: Who) -> bool {
        chain::cycle(&self.picture, &mut self.observer, who).is_some()
    }

    #[inline(never)]
    fn thread(&self, who: Who, flags: u32) -> Node {
        let name = name_of(self.picture.task(who.task).as_ref(), who.thread);
        let handle = tasks::handle_of(who.task);
        Node { kind: HOST_WAIT_NODE_TASK, handle, thread_id: who.thread, flags, name }
    }

    /// What a thread waits for, and who owns that.
    #[inline(never)]
    fn awaited(&mut self, who: Who) -> Option<(Node, Option<Who>)> {
        let task = self.picture.task(who.task);
        if let Some(wait) = task.and_then(|task| task.wait) {
            return Some(self.own(&wait, who));
        }
        if let Some(sleep) = task.and_then(|task| task.sleep) {
            let kind = match sleep.kind() {
                SleepKind::ConditionVariable => HOST_WAIT_NODE_CONDITION_VARIABLE,
                SleepKind::Address => HOST_WAIT_NODE_ADDRESS,
                SleepKind::InitOnce => HOST_WAIT_NODE_INIT_ONCE,
            };
            let node = self.at_address(kind, sleep.variable);
            return Some((Node { flags: flags(true, sleep.limited), ..node }, None));
        }
        let mut glance = self.observer.glance(who.thread);
        if let Some(wait) = self.observer.wait_of(who, &mut glance) {
            return Some(self.other(&wait));
        }
        let call = glance.filter(|glance| glance.state.is_asleep())?.call?;
        let name = calls::name(&call).map_or(NameCopy::new(), |name| NameCopy::of(name.as_bytes()));
        let flags = flags(true, false);
        Some((Node { kind: HOST_WAIT_NODE_OTHER, handle: 0, thread_id: 0, flags, name }, None))
    }

    /// What is the library's: a section, a resource or an SRW lock.
    fn own(&mut self, wait: &WaitCopy, who: Who) -> (Node, Option<Who>) {
        let lock = self.picture.lock(wait.awaited);
        let (kind, handle) = match lock {
            Some(LockPicture::Section(section)) if section.mirror != 0 => {
                (HOST_WAIT_NODE_WIN32_SECTION, section.mirror)
            }
            Some(LockPicture::SrwLock(lock)) => (HOST_WAIT_NODE_SRW_LOCK, lock.address),
            _ if is_resource(wait.awaited) => (HOST_WAIT_NODE_RESOURCE, wait.awaited),
            _ => (HOST_WAIT_NODE_SECTION, wait.awaited),
        };
        let name = match kind {
            HOST_WAIT_NODE_WIN32_SECTION | HOST_WAIT_NODE_SRW_LOCK => self.at_address(kind, handle).name,
            _ => lock.and_then(|lock| lock.name()).unwrap_or(NameCopy::new()),
        };
        let node = Node { kind, handle, thread_id: 0, flags: flags(true, wait.limited), name };
        // A task that owns what it waited for has just been handed it, unless it waits for itself.
        let is_other = |&owner: &u64| owner != 0 && (owner != who.task || wait.is_for_itself);
        let owner = lock.map(|lock| lock.owner()).filter(is_other);
        (node, owner.and_then(|owner| Who::of_task(&self.picture, owner)))
    }

    fn other(&mut self, wait: &Wait) -> (Node, Option<Who>) {
        let kind = match wait.thing {
            Thing::Mutex { .. } => HOST_WAIT_NODE_MUTEX,
            Thing::RwLock { .. } => HOST_WAIT_NODE_RWLOCK,
            Thing::Thread(_) => HOST_WAIT_NODE_JOIN,
            Thing::Condition(_) => HOST_WAIT_NODE_CONDITION_VARIABLE,
            Thing::Managed { .. } => HOST_WAIT_NODE_MANAGED_LOCK,
            Thing::Semaphore(_) | Thing::Futex(_) => HOST_WAIT_NODE_OTHER,
        };
        let node = self.at_address(kind, wait.thing.address().unwrap_or(0));
        let owner = wait.owner.map(|owner| Who::of_thread(&self.picture, owner));
        (Node { flags: flags(wait.is_certain, wait.is_limited), ..node }, owner)
    }

    /// Of what stands at an address: named by the variable there.
    fn at_address(&mut self, kind: u32, address: u64) -> Node {
        let mut name = NameCopy::new();
        if let Some(symbol) = self.observer.resolver.resolve_data(&Mapped, address) {
            // A name that does not fit is cut.
            let _ = write_symbol(&mut name as &mut dyn Write, &symbol);
        }
        Node { kind, handle: address, thread_id: 0, flags: 0, name }
    }
}

fn flags(is_certain: bool, is_limited: bool) -> u32 {
    let certainty = if is_certain { HOST_WAIT_FLAG_CERTAIN } else { HOST_WAIT_FLAG_PROBABLE };
    certainty | if is_limited { HOST_WAIT_FLAG_LIMITED } else { 0 }
}
