//! Who waits for whom, in programs of which that is known.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use common::Subject;
use hostcrst::inspect::Format;
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::process::Process;
use hostcrst_dump::report::report;
use hostcrst_dump::time_limit::TimeLimit;
use serde_json::Value;

/// How many rounds a test has: as many as the variable says.
fn rounds(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |count| count.parse().unwrap())
}

/// What the tool says of the process, and whether a deadlock stands.
fn look(id: u32) -> (Value, bool) {
    let process = Process::attach(id).unwrap();
    let report =
        report(&process, Format::Json, StacksOf::Cycles, TimeLimit::of(Duration::from_secs(60))).unwrap();
    (serde_json::from_str(&report.text).unwrap(), report.deadlock.unwrap())
}

/// The threads whose red edges lead back to them in the graph of the process. No other edge of it is red.
fn red_circles(id: u32) -> BTreeSet<u64> {
    let process = Process::attach(id).unwrap();
    let time_limit = TimeLimit::of(Duration::from_secs(60));
    let graph = report(&process, Format::Dot, StacksOf::Cycles, time_limit).unwrap().text;
    assert_eq!(graph.matches("digraph").count(), 1, "{graph}");
    let (mut threads, mut red) = (BTreeMap::new(), BTreeMap::new());
    for (ends, attributes) in graph.lines().filter_map(|line| line.trim_start().split_once(" [")) {
        match ends.split_once(" -> ") {
            Some((from, to)) if attributes.contains("color=red") => {
                assert_eq!(red.insert(from, to), None, "{graph}")
            }
            Some(_) => {}
            None => {
                let label = attributes.strip_prefix("label=\"").and_then(|label| label.split_once("\\n"));
                let id = label
                    .and_then(|(_, rest)| rest.split(|end: char| !end.is_ascii_digit()).next()?.parse().ok());
                threads.extend(id.map(|id| (ends, id)));
            }
        }
    }
    let leads_back = |from: &&str| {
        let steps = std::iter::successors(red.get(*from), |at| red.get(**at));
        steps.take(red.len()).any(|at| at == from)
    };
    assert!(red.keys().all(leads_back), "{graph}");
    red.keys().filter_map(|node| threads.get(node)).copied().collect()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn numbers(value: &Value) -> BTreeSet<u64> {
    list(value).iter().map(|number| number.as_u64().unwrap()).collect()
}

/// Threads that wait, and for whom.
fn edges(report: &Value) -> BTreeMap<u64, u64> {
    let threads = list(&report["threads"]).iter();
    let edge = |thread: &Value| {
        let owner = thread["waits_for"]["owner_tid"].as_u64()?;
        assert_eq!(thread["waits_for"]["certain"], true, "{thread}");
        Some((thread["tid"].as_u64().unwrap(), owner))
    };
    threads.filter_map(edge).collect()
}

/// All cycles, those that the library tells of its own sections too.
fn cycles(report: &Value) -> BTreeSet<BTreeSet<u64>> {
    let thread_of = |link: &Value| {
        let task = list(&report["tasks"]).iter().find(|task| task["task"] == link["task"]).unwrap();
        task["tid"].as_u64().unwrap()
    };
    let of_sections = list(&report["deadlocks"]).iter();
    let of_sections = of_sections.map(|links| list(links).iter().map(thread_of).collect());
    let of_threads = list(&report["thread_deadlocks"]).iter();
    of_sections.chain(of_threads.map(|cycle| numbers(&cycle["tids"]))).collect()
}

/// What a program of which all is known has to be told to be: by the edges of its threads, and its cycles.
struct Known {
    edges: BTreeMap<u64, u64>,
    cycles: BTreeSet<BTreeSet<u64>>,
    /// Those that wait for readers of an rwlock.
    ownerless: BTreeSet<u64>,
    /// Locks that are waited for and are no sections.
    other_locks: Value,
}

impl Known {
    fn of(oracle: &Value) -> Self {
        let pair = |edge: &Value| (edge[0].as_u64().unwrap(), edge[1].as_u64().unwrap());
        Known {
            edges: list(&oracle["edges"]).iter().map(pair).collect(),
            cycles: list(&oracle["cycles"]).iter().map(numbers).collect(),
            ownerless: numbers(&oracle["ownerless"]),
            other_locks: oracle["other_locks"].clone(),
        }
    }

    fn assert_told(&self, report: &Value, what: &str) {
        assert_eq!(edges(report), self.edges, "{what}: {report:#}");
        assert_eq!(cycles(report), self.cycles, "{what}: {report:#}");
        assert_eq!(report["other_locks"], self.other_locks, "{what}: {report:#}");
        for &thread in &self.ownerless {
            let found = list(&report["threads"]).iter().find(|found| found["tid"] == thread).unwrap();
            assert_eq!(found["waits_for"]["kind"], "rwlock", "{what}: {found}");
            assert!(found["waits_for"]["readers"].as_u64() > Some(0), "{what}: {found}");
        }
    }

    /// The threads from one on, each waiting for the next, up to where one would come again; whether the way back to
    /// that one is a cycle.
    fn chain(&self, first: u64) -> (Vec<u64>, bool) {
        let mut threads = vec![first];
        while let Some(next) = self.edges.get(threads.last().unwrap()) {
            if threads.contains(next) {
                return (threads, true);
            }
            threads.push(*next);
        }
        (threads, false)
    }
}

#[test]
fn random_programs_are_told_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut seen = Seen::default();
    for seed in 0..rounds("RANDOM_PROGRAMS", 25) {
        let mut command = Command::new(common::example("random_locks"));
        let (subject, line) = Subject::run_until_line(command.arg(seed.to_string()).arg(&report));
        let oracle: Value = serde_json::from_str(&line).unwrap();
        let known = Known::of(&oracle);
        let (told, deadlock) = look(subject.id());
        known.assert_told(&told, &format!("seed {seed}, from outside"));
        let in_cycles: BTreeSet<u64> = known.cycles.iter().flatten().copied().collect();
        assert_eq!(red_circles(subject.id()), in_cycles, "seed {seed}");
        assert_eq!(deadlock, !known.cycles.is_empty(), "seed {seed}");
        let of_itself = std::fs::read(&report).unwrap();
        let of_itself = serde_json::from_slice(&of_itself).unwrap();
        known.assert_told(&of_itself, &format!("seed {seed}, by itself"));
        let closed = numbers(&oracle["closed"]);
        for chain in list(&oracle["chains"]) {
            let threads: Vec<_> = list(chain).iter().map(|thread| thread.as_u64().unwrap()).collect();
            let expected = known.chain(threads[0]);
            let is_closed = closed.contains(&threads[0]);
            assert_eq!((threads, is_closed), expected, "seed {seed}: {oracle:#}");
        }
        seen.add(&known, &oracle);
    }
    println!("{seen:?}");
    assert!(
        seen.cycles > 0 && seen.edges > seen.cycles && seen.chains > 0 && seen.kinds.len() >= 5,
        "{seen:?}"
    );
}

/// What there was to be told, in all programs.
#[derive(Default, Debug)]
struct Seen {
    cycles: usize,
    edges: usize,
    chains: usize,
    /// How often each kind was waited for.
    kinds: BTreeMap<String, usize>,
}

impl Seen {
    fn add(&mut self, known: &Known, oracle: &Value) {
        self.cycles += known.cycles.len();
        self.edges += known.edges.len();
        self.chains += list(&oracle["chains"]).len();
        for kind in list(&oracle["kinds"]) {
            *self.kinds.entry(kind.as_str().unwrap().to_string()).or_default() += 1;
        }
    }
}

#[test]
fn a_busy_healthy_program_has_no_deadlock() {
    let subject = Subject::run(&mut Command::new(common::example("busy_locks")));
    let mut seen = 0;
    for _ in 0..rounds("BUSY_DUMPS", 150) {
        let (told, deadlock) = look(subject.id());
        assert!(!deadlock && cycles(&told).is_empty(), "{told:#}");
        let waits = list(&told["threads"]).iter().map(|thread| &thread["waits_for"]["owner_tid"]);
        seen += waits.filter(|owner| owner.is_number()).count();
    }
    assert!(seen > 0, "nobody was ever seen to wait");
}

#[test]
fn a_lock_that_only_looks_like_one_of_glibc_is_none() {
    let subject = Subject::run(&mut Command::new(common::example("lookalike")));
    let (told, deadlock) = look(subject.id());
    assert!(!deadlock && cycles(&told).is_empty(), "{told:#}");
    let on_words = list(&told["threads"]).iter().filter(|thread| thread["waits_for"]["kind"] == "futex");
    assert!(edges(&told).is_empty() && on_words.count() >= 2, "{told:#}");
}

#[test]
fn a_cycle_that_a_time_limit_opens_is_no_deadlock() {
    let subject = Subject::run(&mut Command::new(common::example("limited")));
    let (told, deadlock) = look(subject.id());
    assert!(!deadlock && cycles(&told).is_empty(), "{told:#}");
    let edges = edges(&told);
    assert_eq!(edges.len(), 2, "{told:#}");
    for (waiter, owner) in &edges {
        assert_eq!(edges.get(owner), Some(waiter), "{told:#}");
    }
    let limited = list(&told["threads"]).iter().filter(|thread| thread["waits_for"]["limited"] == true);
    assert_eq!(limited.count(), 2, "{told:#}");
}
