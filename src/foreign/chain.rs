//! The wait chain through locks of all kinds: from a thread to the one that it cannot go on before, whatever it waits for.

use foreign_locks::Glance;

use super::observer::{Observer, Wait};
use super::who::Who;
use crate::base::hash::fibonacci_hash;
use crate::base::memory::Here;
use crate::view::picture::Picture;

/// A wait of a chain: what of it must be the same when it is looked at again.
struct Edge {
    to: Who,
    is_certain: bool,
    is_foreign: bool,
    is_managed: bool,
    is_young: bool,
    /// Which wait of its thread it is, as far as that is known.
    wait: u64,
    /// Differs if the waiter has been in another wait, or has run, meanwhile.
    mark: u64,
}

/// A cycle of waits without a time limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cycle {
    pub(crate) length: u32,
    pub(crate) is_certain: bool,
    /// One of its waits is for what is not the library's.
    pub(crate) is_foreign: bool,
    /// One of its waits is for a lock of managed code.
    pub(crate) is_managed: bool,
    /// The same for these waits of these threads, wherever it is found from.
    pub(crate) identity: u64,
    /// One of its waits may well end by itself yet.
    is_young: bool,
}

impl Cycle {
    fn of_nobody() -> Self {
        Cycle {
            length: 0,
            is_certain: true,
            is_foreign: false,
            is_managed: false,
            identity: 0,
            is_young: false,
        }
    }

    fn add(&mut self, who: Who, edge: &Edge) {
        self.length += 1;
        self.is_certain &= edge.is_certain;
        self.is_foreign |= edge.is_foreign;
        self.is_managed |= edge.is_managed;
        self.is_young |= edge.is_young;
        // A sum, since it has no first one.
        self.identity =
            self.identity.wrapping_add(fibonacci_hash(edge.wait).rotate_left(32) ^ u64::from(who.thread));
    }
}

/// No cycle longer than this is looked for: each of its threads has files to be read.
const LONGEST: u32 = 1 << 12;

/// The cycle through `start`, if there is one that stands, and has for a while if one of its waits may end by itself. It is
/// walked twice: if no thread of it has run between, or been in another wait, then all of these waits and owners stood
/// together at the moment between (see `deadlock`).
pub(crate) fn cycle(picture: &Picture<'_, Here>, observer: &mut Observer<'_>, start: Who) -> Option<Cycle> {
    cycle_of(picture, observer, start, &mut |_| {})
}

/// The same, and visits the threads of the cycle: in vain if there is none in the end.
pub(crate) fn cycle_of(
    picture: &Picture<'_, Here>,
    observer: &mut Observer<'_>,
    start: Who,
    visit: &mut dyn FnMut(Who),
) -> Option<Cycle> {
    let first = round(picture, observer, start, &mut |_| {}).filter(|(cycle, _)| !cycle.is_young)?;
    let is_held_no_more = !first.0.is_managed || observer.lets_managed_code_run();
    let is_same = round(picture, observer, start, visit)? == first;
    is_same.then_some(Cycle { is_certain: first.0.is_certain && is_held_no_more, ..first.0 })
}

/// One walk around, with a hash of what must not change. None if it does not come back to where it began.
fn round(
    picture: &Picture<'_, Here>,
    observer: &mut Observer<'_>,
    start: Who,
    visit: &mut dyn FnMut(Who),
) -> Option<(Cycle, u64)> {
    let (mut cycle, mut sum) = (Cycle::of_nobody(), 0);
    // Brent's algorithm: a cycle elsewhere returns to a thread that was passed.
    let (mut who, mut passed, mut next_to_remember) = (start, start, 1);
    while cycle.length < LONGEST {
        let edge = edge(picture, observer, who)?;
        cycle.add(who, &edge);
        visit(who);
        sum = fibonacci_hash(sum ^ edge.mark).rotate_left(32) ^ u64::from(edge.to.thread);
        who = edge.to;
        if who == start {
            return Some((cycle, sum));
        }
        if who == passed {
            return None;
        }
        if cycle.length == next_to_remember {
            (passed, next_to_remember) = (who, next_to_remember * 2);
        }
    }
    None
}

/// The unlimited wait of a thread for another.
fn edge(picture: &Picture<'_, Here>, observer: &mut Observer<'_>, who: Who) -> Option<Edge> {
    if who.is_in_own_wait(picture) {
        let owner = picture.blocked_by(who.task)?;
        // After the edge: an unchanged number means that the edge was of this wait.
        let mark = picture.wait_number(who.task)?;
        let to = Who::of_task(picture, owner)?;
        let (is_foreign, is_managed, is_young) = (false, false, false);
        return Some(Edge { to, is_certain: true, is_foreign, is_managed, is_young, wait: mark, mark });
    }
    let glance = observer.glance(who.thread)?;
    let wait = observer.thing_of(who, &glance).filter(|wait| !wait.is_limited)?;
    let to = Who::of_thread(picture, wait.owner?);
    let mark = mark_of(&glance, &wait);
    let managed = picture.managed_wait(who.task);
    Some(Edge {
        to,
        is_certain: wait.is_certain,
        is_foreign: true,
        is_managed: wait.thing.is_managed(),
        is_young: wait.is_young,
        wait: managed.map_or(wait.thing.address().unwrap_or(0), |wait| wait.since),
        mark,
    })
}

fn mark_of(glance: &Glance, wait: &Wait) -> u64 {
    let address = wait.thing.address().unwrap_or(0);
    fibonacci_hash(address) ^ glance.switches().unwrap_or(0)
}
