//! What `./dev bench --sim` measures: each row a machine, threads and work; each with all locks.

use std::format;
use std::fs::File;
use std::io::Write;
use std::string::String;
use std::vec::Vec;

use super::locks::PEERS;
use super::workload::{FIVE_MICROSECONDS, HALF_MICROSECOND, Outcome, Run, SHORT, Work};
use super::{Kind, OURS};
use crate::sys::{MICROSECOND, MILLISECOND, Machine, NANOSECOND, Time};

const WORKS: [Work; 3] = [SHORT, HALF_MICROSECOND, FIVE_MICROSECONDS];

/// Where the samples go, and which rows are measured: those with this text in their names.
const FILE: &str = "HOSTCRST_SIM_SAMPLES";
const ROWS: &str = "HOSTCRST_SIM_ROWS";

fn all_rows() -> Vec<Run> {
    // Those of docs/bench; as many threads as processors; four times as many, and a quarter.
    let two = [2, 4, 16].map(|threads| (2, 1, threads));
    let even = [4, 8, 16, 32, 64, 128, 256].map(|processors| (processors, 1, processors));
    let two_sockets = [4, 16, 64, 256].map(|processors| (processors, 2, processors));
    let others = [(16, 1, 64), (64, 2, 256), (64, 1, 16), (64, 2, 16)];
    let shapes = || two.into_iter().chain(even).chain(two_sockets).chain(others);
    let row = |work: Work, (processors, sockets, threads)| {
        let machine = Machine::new(processors, sockets);
        Run { time: time_for(work, processors, threads), machine, threads, work, seed: 1 }
    };
    WORKS.into_iter().flat_map(|work| shapes().map(move |shape| row(work, shape))).collect()
}

/// Long enough that each thread gets the lock several times, even if a lock gives it to each for a while, and a turn of
/// the scheduler's where they are too many.
fn time_for(work: Work, processors: usize, threads: usize) -> Time {
    const OF_AN_ENTRY: Time = 200 * NANOSECOND;
    let entries = 10 * threads as Time * (work.inside + OF_AN_ENTRY);
    // As long as `./dev bench` measures; shorter where there are many to simulate.
    let of_a_turn = if processors == 2 { 25 * MILLISECOND } else { 10 * MILLISECOND };
    let turns = if threads > processors { of_a_turn * (threads / processors) as Time } else { 0 };
    let visits = 100 * MICROSECOND * threads.clamp(20, 64) as Time;
    entries.max(turns).max(visits)
}

impl Run {
    fn name(&self) -> String {
        let sockets = if self.machine.sockets == 1 { "" } else { ", 2 sockets" };
        let Run { machine, threads, work, .. } = self;
        format!("{}, {threads} threads, {} processors{sockets}", work.name, machine.processors)
    }
}

fn write_samples(file: &mut File, row: &str, kind: Kind, outcome: &Outcome) {
    for (metric, value) in [
        ("throughput", outcome.throughput()),
        ("fairness", outcome.fairness()),
        ("transfers", outcome.transfers_per_hand_off()),
        ("longest", outcome.longest_wait as f64 / NANOSECOND as f64),
        ("CPU of an entry", outcome.processor_time()),
    ] {
        writeln!(
            file,
            "{{\"row\": \"{row}\", \"metric\": \"{metric}\", \"subject\": \"{}\", \"round\": 0, \"value\": {value}}}",
            kind.name
        )
        .expect("room");
    }
}

/// Not a test: what `./dev bench --sim` runs.
#[test]
#[ignore = "it measures, and takes minutes: ./dev bench --sim"]
fn measure() {
    let mut file = File::create(std::env::var_os(FILE).expect(FILE)).expect("a file for the samples");
    let wanted = std::env::var(ROWS).unwrap_or_default();
    for run in all_rows().iter().filter(|run| run.name().contains(&wanted)) {
        let row = run.name();
        for kind in [OURS].into_iter().chain(PEERS) {
            write_samples(&mut file, &row, kind, &run.of(kind));
        }
        std::println!("{row}");
    }
}
