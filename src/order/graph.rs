//! Which section was entered while which others were owned: a graph of bounded size, and the search for a circle in it.
//! Whose sections they are, and what is done about a circle, is not known here.
//!
//! An edge says that some task entered `to` while it owned `from`. Its witnesses are the entries that it is known by:
//! which task, from where, and all that the task owned then. A circle of edges in which every edge has a witness, so
//! that the witnesses are of different tasks and no two of them owned a section in common, is told as a possible
//! deadlock: had each of those tasks come as far as before the entry that its witness is of, they would wait for each
//! other, and nothing of what they did before keeps them from coming there at the same time.
//!
//! **Why these are no circles.**
//! - *One task* took both orders: it cannot wait for itself, and the witnesses must be of different tasks.
//! - *A gate*: both orders were only taken under a common third section. It is in all that the witnesses owned, so no
//!   two of them are without a section in common. Each witness is kept with its own entry's sections and not with
//!   those that all entries of the edge have in common: of entries under one gate or another, each is compared.
//! - *An order that was declared good* is not gone along.
//! - *A section that has ended*: its handle is never given again, so no later entry has an edge of it, and the search
//!   does not enter what does not live.
//!
//! Entries by the only thread of the process, entries that could not wait for ever, and those by a task of which it is
//! not known what it owns, do not come here.
//!
//! **What is left out misses circles and makes none**: fewer witnesses have fewer circles. A witness is left out where
//! others of the same edge, whose tasks owned no more, can stand for it in every circle: one of the same task, or as
//! many as there is room for, each of a different task, in circles of no more sections than those; the other edges'
//! witnesses are one fewer, and so one of them is of none of their tasks. Beyond that an edge has so many witnesses,
//! the graph so many edges, a circle so many sections, a search so many steps; what is lost by that is returned. Of the
//! circles that a new witness of an edge closes only the shortest that was not told is; a later witness tells the next.
//!
//! **Bounds.** An entry looks at one bucket for each section that its task owns, at most MOST_HELD. A search is over
//! after MOST_VISITS witnesses. A chain of edges contains each edge once: an edge is linked once, when it is added, or
//! when all are linked anew.

use crate::base::hash::fibonacci_hash;

/// Pairs of sections that are remembered.
pub(crate) const MOST_EDGES: usize = 4096;
/// Sections that a task may own while it enters another.
pub(crate) const MOST_HELD: usize = 8;
/// Sections in a circle.
pub(crate) const MOST_STEPS: usize = 8;
/// Circles that are told.
pub(crate) const MOST_TOLD: usize = 64;
/// Entries by which an edge is known.
const WITNESSES: usize = 4;
/// Witnesses that one search looks at.
const MOST_VISITS: u32 = 20_000;
/// A power of two.
const BUCKETS: usize = 1024;

/// A section that a task owns, and where it entered that, 0 if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Held {
    pub(crate) section: u64,
    pub(crate) site: u64,
}

/// An entry of a section, by a task that owned others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) task: u64,
    pub(crate) thread_id: u32,
    pub(crate) entered: Held,
    pub(crate) held: &'a [Held],
}

/// An entry, as an edge is known by it. Zeroed memory is none.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Witness {
    pub(crate) task: u64,
    pub(crate) thread_id: u32,
    _reserved: u32,
    /// Where the first section was entered, and then the second.
    pub(crate) first_site: u64,
    pub(crate) then_site: u64,
    /// All that the task owned; 0 for a free place.
    held: [u64; MOST_HELD],
}

impl Witness {
    fn owned(&self) -> impl Iterator<Item = u64> {
        self.held.into_iter().take_while(|&section| section != 0)
    }

    fn owned_no_more_than(&self, other: &Witness) -> bool {
        self.owned().all(|section| other.held.contains(&section))
    }

    /// Whether both tasks could be where they were then at the same time.
    fn could_meet(&self, other: &Witness) -> bool {
        self.task != other.task && self.owned().all(|section| !other.held.contains(&section))
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Edge {
    from: u64,
    to: u64,
    /// The next edge of the bucket: its number and 1, 0 for none.
    next: u32,
    /// 1: this order was declared good.
    is_allowed: u32,
    witnesses: [Witness; WITNESSES],
}

impl Edge {
    fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.witnesses.iter().take_while(|witness| witness.task != 0)
    }

    /// Whether no circle would be missed without this witness.
    fn says_as_much_as(&self, witness: &Witness) -> bool {
        let says_it = |known: &&Witness| known.owned_no_more_than(witness);
        self.witnesses().filter(says_it).any(|known| known.task == witness.task)
            || self.witnesses().filter(says_it).count() == WITNESSES
    }
}

/// Zeroed memory is an empty graph.
#[repr(C)]
pub(crate) struct Graph {
    /// The first edge of each bucket: its number and 1, 0 for none.
    heads: [u32; BUCKETS],
    used: u32,
    told: u32,
    /// What each circle that was told is known by.
    told_keys: [u64; MOST_TOLD],
    edges: [Edge; MOST_EDGES],
}

/// There is no room for the edge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What came of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// There was no room for an edge.
    pub(crate) edges: bool,
    /// There was no room for a witness, or a search was given up.
    pub(crate) others: bool,
    /// No more circles are told.
    pub(crate) circles: bool,
}

/// One step of a circle: the section that the witness owned, and entered the next step's section.
#[derive(Clone, Copy)]
pub(crate) struct Step<'g> {
    pub(crate) section: u64,
    pub(crate) witness: &'g Witness,
}

/// A circle while it is searched.
struct Path<'g> {
    steps: [Option<Step<'g>>; MOST_STEPS],
    length: usize,
}

impl<'g> Path<'g> {
    fn steps(&self) -> impl Iterator<Item = Step<'g>> {
        self.steps.iter().take(self.length).map_while(|step| *step)
    }

    fn push(&mut self, step: Step<'g>) {
        if let Some(place) = self.steps.get_mut(self.length) {
            *place = Some(step);
            self.length += 1;
        }
    }

    fn has(&self, section: u64) -> bool {
        self.steps().any(|step| step.section == section)
    }

    /// What the circle is known by: its sections in their order, from the lowest one on.
    fn key(&self) -> u64 {
        let sections = || self.steps().map(|step| step.section);
        let lowest = sections().min().unwrap_or(0);
        let from_lowest = sections().chain(sections()).skip_while(|&section| section != lowest);
        let mix = |key: u64, section| fibonacci_hash(key.rotate_left(7) ^ section);
        // Never 0, which is a free place.
        from_lowest.take(self.length).fold(self.length as u64, mix) | 1
    }
}

fn bucket(from: u64) -> usize {
    fibonacci_hash(from) as usize % BUCKETS
}

impl Graph {
    /// Takes note of an entry. `lives` says whether a section does. Of the circles that each of its new
    /// witnesses closes, and that were not told, the shortest is told.
    pub(crate) fn add(
        &mut self,
        entry: &Entry<'_>,
        lives: &dyn Fn(u64) -> bool,
        tell: &mut dyn FnMut(&[Step<'_>]),
    ) -> Lost {
        let mut lost = Lost::default();
        let mut held = [0; MOST_HELD];
        held.iter_mut().zip(entry.held).for_each(|(place, held)| *place = held.section);
        for first in entry.held {
            let witness = Witness {
                task: entry.task,
                thread_id: entry.thread_id,
                _reserved: 0,
                first_site: first.site,
                then_site: entry.entered.site,
                held,
            };
            match self.add_witness(first.section, entry.entered.section, &witness, lives) {
                Err(Full) => lost.edges = true,
                Ok(Added::Known) => {}
                Ok(Added::NoRoom) => lost.others = true,
                Ok(added) => {
                    lost.others |= matches!(added, Added::InPlaceOfAnother);
                    self.close(first.section, entry.entered.section, witness, lives, tell, &mut lost);
                }
            }
        }
        lost
    }

    /// Declares that it is good to enter `then` while owning `first`.
    pub(crate) fn allow(&mut self, first: u64, then: u64, lives: &dyn Fn(u64) -> bool) -> Result<(), Full> {
        let edge = self.find_or_add(first, then, lives)?;
        self.edges[edge].is_allowed = 1;
        Ok(())
    }

    // ---- edges ----------------------------------------------------------------------------------------

    /// The numbers of the edges in the bucket of `from`.
    fn chain(&self, from: u64) -> impl Iterator<Item = usize> {
        let first = self.heads[bucket(from)].checked_sub(1);
        core::iter::successors(first, |&edge| self.edges.get(edge as usize)?.next.checked_sub(1))
            .map(|edge| edge as usize)
            .take(MOST_EDGES)
    }

    fn edges_from(&self, from: u64) -> impl Iterator<Item = &Edge> {
        self.chain(from).filter_map(|edge| self.edges.get(edge)).filter(move |edge| edge.from == from)
    }

    fn find(&self, from: u64, to: u64) -> Option<usize> {
        self.chain(from)
            .find(|&edge| self.edges.get(edge).is_some_and(|edge| edge.from == from && edge.to == to))
    }

    fn find_or_add(&mut self, from: u64, to: u64, lives: &dyn Fn(u64) -> bool) -> Result<usize, Full> {
        if let Some(edge) = self.find(from, to) {
            return Ok(edge);
        }
        if self.used as usize >= MOST_EDGES {
            self.forget_those_that_ended(lives);
        }
        let edge = self.used as usize;
        let place = self.edges.get_mut(edge).ok_or(Full)?;
        (place.from, place.to, place.is_allowed) = (from, to, 0);
        place.witnesses.iter_mut().for_each(|witness| witness.task = 0);
        self.used += 1;
        self.link(edge);
        Ok(edge)
    }

    fn link(&mut self, edge: usize) {
        let head = &mut self.heads[bucket(self.edges[edge].from)];
        self.edges[edge].next = *head;
        *head = edge as u32 + 1;
    }

    /// Takes out the edges of sections that have ended.
    fn forget_those_that_ended(&mut self, lives: &dyn Fn(u64) -> bool) {
        self.heads = [0; BUCKETS];
        let mut kept = 0;
        for edge in 0..(self.used as usize).min(MOST_EDGES) {
            if lives(self.edges[edge].from) && lives(self.edges[edge].to) {
                self.edges[kept] = self.edges[edge];
                self.link(kept);
                kept += 1;
            }
        }
        self.used = kept as u32;
    }

    fn add_witness(
        &mut self,
        from: u64,
        to: u64,
        witness: &Witness,
        lives: &dyn Fn(u64) -> bool,
    ) -> Result<Added, Full> {
        let edge = self.find_or_add(from, to, lives)?;
        if self.edges[edge].says_as_much_as(witness) {
            return Ok(Added::Known);
        }
        let witnesses = &mut self.edges[edge].witnesses;
        let is_free = |known: &Witness| known.task == 0;
        if let Some(free) = witnesses.iter_mut().find(|known| is_free(known)) {
            *free = *witness;
            return Ok(Added::New);
        }
        // It says more than one of those that are there.
        match witnesses.iter_mut().find(|known| witness.owned_no_more_than(known)) {
            Some(place) => {
                *place = *witness;
                Ok(Added::InPlaceOfAnother)
            }
            None => Ok(Added::NoRoom),
        }
    }

    // ---- circles --------------------------------------------------------------------------------------

    /// Tells the shortest circle with this witness of this edge that was not told, if there is one.
    fn close(
        &mut self,
        from: u64,
        to: u64,
        witness: Witness,
        lives: &dyn Fn(u64) -> bool,
        tell: &mut dyn FnMut(&[Step<'_>]),
        lost: &mut Lost,
    ) {
        let is_allowed = self.find(from, to).is_some_and(|edge| self.edges[edge].is_allowed != 0);
        if is_allowed || self.told as usize >= MOST_TOLD {
            lost.circles |= !is_allowed;
            return;
        }
        let mut visits = MOST_VISITS;
        let mut key = None;
        for length in 2..=MOST_STEPS {
            let mut path = Path { steps: [None; MOST_STEPS], length: 0 };
            path.push(Step { section: from, witness: &witness });
            if self.extend(&mut path, to, length, lives, &mut visits) {
                let mut steps = [Step { section: from, witness: &witness }; MOST_STEPS];
                steps.iter_mut().zip(path.steps()).for_each(|(place, step)| *place = step);
                tell(&steps[..length]);
                key = Some(path.key());
                break;
            }
        }
        lost.others |= visits == 0;
        if let Some(key) = key {
            self.told_keys[self.told as usize] = key;
            self.told += 1;
        }
    }

    /// Goes on from section `at`, until the path is a circle of `length` sections that was not told.
    fn extend<'g>(
        &'g self,
        path: &mut Path<'g>,
        at: u64,
        length: usize,
        lives: &dyn Fn(u64) -> bool,
        visits: &mut u32,
    ) -> bool {
        let start = path.steps().next().map_or(0, |step| step.section);
        let is_last = path.length + 1 == length;
        for edge in self.edges_from(at) {
            let leads_on = if is_last { edge.to == start } else { edge.to != at && !path.has(edge.to) };
            if !leads_on || edge.is_allowed != 0 || !lives(edge.to) {
                continue;
            }
            for witness in edge.witnesses() {
                if *visits == 0 {
                    return false;
                }
                *visits -= 1;
                if !path.steps().all(|step| step.witness.could_meet(witness)) {
                    continue;
                }
                path.push(Step { section: at, witness });
                let found = if is_last {
                    !self.told_keys.contains(&path.key())
                } else {
                    self.extend(path, edge.to, length, lives, visits)
                };
                if found {
                    return true;
                }
                path.length -= 1;
            }
        }
        false
    }
}

/// What became of a witness.
enum Added {
    New,
    InPlaceOfAnother,
    Known,
    NoRoom,
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn empty() -> Box<Graph> {
        // It is too large for a stack.
        let zeros = std::vec![0u64; size_of::<Graph>() / size_of::<u64>()].into_boxed_slice();
        // SAFETY: as many bytes, aligned as a u64; zeroed memory is an empty graph.
        unsafe { Box::from_raw(Box::into_raw(zeros).cast()) }
    }

    /// Notes that the task entered `section` while it owned the others; the circles that this closed, by their
    /// sections.
    fn enter_among(
        graph: &mut Graph,
        task: u64,
        held: &[u64],
        section: u64,
        lives: &dyn Fn(u64) -> bool,
    ) -> (Vec<Vec<u64>>, Lost) {
        let held: Vec<Held> = held.iter().map(|&section| Held { section, site: 100 + section }).collect();
        let entered = Held { section, site: 200 + section };
        let entry = Entry { task, thread_id: task as u32, entered, held: &held };
        let mut told = Vec::new();
        let lost = graph.add(&entry, lives, &mut |steps| {
            told.push(steps.iter().map(|step| step.section).collect());
        });
        (told, lost)
    }

    fn enter(graph: &mut Graph, task: u64, held: &[u64], section: u64) -> Vec<Vec<u64>> {
        let (told, lost) = enter_among(graph, task, held, section, &|_| true);
        assert_eq!(lost, Lost::default());
        told
    }

    #[test]
    fn both_orders_by_two_tasks_are_told_once() {
        let mut graph = empty();
        assert!(enter(&mut graph, 1, &[10], 20).is_empty());
        assert_eq!(enter(&mut graph, 2, &[20], 10), [[20, 10]]);
        assert!(enter(&mut graph, 3, &[20], 10).is_empty());
        assert!(enter(&mut graph, 4, &[10], 20).is_empty());
    }

    #[test]
    fn one_task_is_told_of_nothing() {
        let mut graph = empty();
        assert!(enter(&mut graph, 1, &[10], 20).is_empty());
        assert!(enter(&mut graph, 1, &[20], 10).is_empty());
        assert_eq!(enter(&mut graph, 2, &[20], 10), [[20, 10]]);
    }

    #[test]
    fn a_gate_that_both_had_is_no_alarm_and_one_of_two_is() {
        let mut graph = empty();
        assert!(enter(&mut graph, 1, &[5, 10], 20).is_empty());
        // Under another gate. What the two have in common is nothing.
        assert!(enter(&mut graph, 3, &[6, 10], 20).is_empty());
        assert!(enter(&mut graph, 4, &[5, 6, 20], 10).is_empty());
        assert_eq!(enter(&mut graph, 5, &[7, 20], 10), [[20, 10]]);
    }

    #[test]
    fn one_without_the_gate_is_enough() {
        let mut graph = empty();
        for task in 1..=4 {
            assert!(enter(&mut graph, task, &[5, 10], 20).is_empty());
        }
        assert!(enter(&mut graph, 9, &[5, 20], 10).is_empty());
        let in_place_of_another = Lost { others: true, ..Lost::default() };
        let told = std::vec![std::vec![10, 20]];
        assert_eq!(enter_among(&mut graph, 10, &[10], 20, &|_| true), (told, in_place_of_another));
    }

    #[test]
    fn longer_circles_are_told_and_the_shortest_first() {
        let mut graph = empty();
        let sections: Vec<u64> = (1..=MOST_STEPS as u64).collect();
        for (task, pair) in sections.windows(2).enumerate() {
            assert!(enter(&mut graph, task as u64 + 1, &[pair[0]], pair[1]).is_empty());
        }
        let told = enter(&mut graph, 100, &[MOST_STEPS as u64], 1);
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [MOST_STEPS]);
        assert_eq!(enter(&mut graph, 101, &[MOST_STEPS as u64], 7), [[8, 7]]);
        // One section more, and nobody looks so far.
        let mut graph = empty();
        for section in 1..=MOST_STEPS as u64 {
            assert!(enter(&mut graph, section, &[section], section + 1).is_empty());
        }
        assert!(enter(&mut graph, 100, &[MOST_STEPS as u64 + 1], 1).is_empty());
    }

    #[test]
    fn an_order_that_is_allowed_is_not_gone_along() {
        for (first, then) in [(10, 20), (20, 10)] {
            let mut graph = empty();
            graph.allow(first, then, &|_| true).unwrap();
            assert!(enter(&mut graph, 1, &[10], 20).is_empty());
            assert!(enter(&mut graph, 2, &[20], 10).is_empty());
        }
    }

    #[test]
    fn a_full_graph_says_so_and_takes_the_place_of_what_has_ended() {
        let mut graph = empty();
        let all = |_| true;
        for section in 1..=MOST_EDGES as u64 {
            assert_eq!(enter_among(&mut graph, 1, &[1], 1 + section, &all), (Vec::new(), Lost::default()));
        }
        let lost = Lost { edges: true, ..Lost::default() };
        assert_eq!(enter_among(&mut graph, 1, &[2], 9999, &all), (Vec::new(), lost));
        let most = |section| section == 1 || section > MOST_EDGES as u64 / 2;
        assert_eq!(enter_among(&mut graph, 1, &[9999], 5000, &most), (Vec::new(), Lost::default()));
        assert_eq!(graph.used as usize, MOST_EDGES / 2 + 2);
        assert_eq!(
            enter_among(&mut graph, 2, &[4000], 1, &most),
            (std::vec![std::vec![4000, 1]], Lost::default())
        );
    }

    #[test]
    fn a_section_that_has_ended_is_in_no_circle() {
        let mut graph = empty();
        enter(&mut graph, 1, &[10], 20);
        enter(&mut graph, 2, &[20], 30);
        let (told, _) = enter_among(&mut graph, 3, &[30], 10, &|section| section != 20);
        assert!(told.is_empty());
    }

    #[test]
    fn so_many_circles_are_told() {
        let mut graph = empty();
        for pair in 1..=MOST_TOLD as u64 {
            enter(&mut graph, 1, &[pair], 1000 + pair);
            assert_eq!(enter(&mut graph, 2, &[1000 + pair], pair), [[1000 + pair, pair]]);
        }
        enter_among(&mut graph, 1, &[500], 1500, &|_| true);
        let (told, lost) = enter_among(&mut graph, 2, &[1500], 500, &|_| true);
        assert_eq!((told, lost.circles), (Vec::new(), true));
    }

    /// All entries so far, without any bound.
    #[derive(Default)]
    struct Model(Vec<(u64, BTreeSet<u64>, u64)>);

    impl Model {
        /// Whether no entry was like it, or of a task that owned less.
        fn add(&mut self, task: u64, held: BTreeSet<u64>, section: u64) -> bool {
            let says_as_much = |(other, owned, entered): &(u64, BTreeSet<u64>, u64)| {
                (*other, *entered) == (task, section) && !owned.is_disjoint(&held) && owned.is_subset(&held)
            };
            let new = !self.0.iter().any(says_as_much);
            self.0.push((task, held, section));
            new
        }

        fn from_lowest(mut circle: Vec<u64>) -> Vec<u64> {
            let lowest = (0..circle.len()).min_by_key(|&place| circle[place]).unwrap();
            circle.rotate_left(lowest);
            circle
        }

        /// Every circle of at most MOST_STEPS sections with the last entry's edge from `from`, from the lowest on.
        fn circles_with_last(&self, from: u64) -> BTreeSet<Vec<u64>> {
            let mut found = BTreeSet::new();
            self.walk(&mut std::vec![(from, self.0.len() - 1)], self.0.last().unwrap().2, &mut found);
            found
        }

        fn walk(&self, path: &mut Vec<(u64, usize)>, at: u64, found: &mut BTreeSet<Vec<u64>>) {
            if at == path[0].0 {
                found.insert(Self::from_lowest(path.iter().map(|step| step.0).collect()));
                return;
            }
            if path.len() == MOST_STEPS || path.iter().any(|step| step.0 == at) {
                return;
            }
            for (index, (task, held, to)) in self.0.iter().enumerate() {
                let meets = |&(_, other): &(u64, usize)| {
                    self.0[other].0 != *task && self.0[other].1.is_disjoint(held)
                };
                if held.contains(&at) && path.iter().all(meets) {
                    path.push((at, index));
                    self.walk(path, *to, found);
                    path.pop();
                }
            }
        }
    }

    proptest! {
        /// Whatever happens: a circle is told only if the model has it. If nothing was lost: of those that the model
        /// has with a new entry, and that were not told, the shortest is told.
        #[test]
        fn it_tells_what_a_graph_without_bounds_has(
            entries in prop::collection::vec(
                (1..5u64, prop::collection::btree_set(1..6u64, 1..3), 1..6u64), 1..25)
        ) {
            let (mut graph, mut model, mut told, mut whole) =
                (empty(), Model::default(), BTreeSet::new(), true);
            for (task, held, section) in entries.into_iter().filter(|(_, held, section)| !held.contains(section)) {
                let sections: Vec<u64> = held.iter().copied().collect();
                let new = model.add(task, held, section);
                let (now, lost) = enter_among(&mut graph, task, &sections, section, &|_| true);
                whole &= lost == Lost::default();
                let mut now = now.into_iter().peekable();
                for from in sections {
                    let expected: BTreeSet<_> = model.circles_with_last(from).difference(&told).cloned().collect();
                    let shortest = expected.iter().map(Vec::len).min();
                    let closed = now.next_if(|circle| circle[0] == from).map(Model::from_lowest);
                    if whole && new {
                        prop_assert_eq!(closed.as_ref().map(Vec::len), shortest, "{:?}", expected);
                    }
                    if let Some(circle) = closed {
                        prop_assert!(expected.contains(&circle), "{:?} is not in {:?}", circle, expected);
                        told.insert(circle);
                    }
                }
                prop_assert!(now.next().is_none());
            }
        }
    }
}
