//! That the simulated machine does what it says, and that what is known of locks is so on it.

use std::boxed::Box;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use super::locks::{GLIBC, MCS, PEERS, TEST_AND_SET, TICKET};
use super::workload::{HALF_MICROSECOND, Outcome, Run, SHORT, Work};
use super::{Kind, OURS};
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::{
    self, Body, MICROSECOND, MILLISECOND, Machine, NANOSECOND, Time, simulate, spend, virtual_now,
};

fn run(processors: usize, threads: usize, work: Work, time: Time) -> Run {
    Run { machine: Machine::new(processors, 1), threads, work, time, seed: 1 }
}

fn all_kinds() -> Vec<Kind> {
    [OURS, TEST_AND_SET].into_iter().chain(PEERS).collect()
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_another() {
    for kind in [OURS, GLIBC] {
        let run = run(4, 6, SHORT, 300 * MICROSECOND);
        let outcome = run.of(kind);
        assert_eq!(outcome, run.of(kind), "{}", kind.name);
        let other = Run { seed: 2, ..run }.of(kind);
        assert_ne!(outcome.figures.trace, other.figures.trace, "{}", kind.name);
    }
}

/// What processors were busy with is what threads had, all the time that passed is busy or idle, and nobody entered
/// while another was inside.
#[test]
fn time_adds_up_and_locks_exclude() {
    for kind in all_kinds() {
        for (processors, threads) in [(2, 5), (8, 4), (8, 8)] {
            let outcome = run(processors, threads, HALF_MICROSECOND, 100 * MICROSECOND).of(kind);
            let Outcome { figures, intrusions, .. } = &outcome;
            assert_eq!(*intrusions, 0, "{}", kind.name);
            let busy: Time = figures.busy.iter().sum();
            assert_eq!(busy, figures.used.iter().sum(), "{}", kind.name);
            for (busy, idle) in figures.busy.iter().zip(&figures.idle) {
                assert_eq!(busy + idle, figures.time, "{}", kind.name);
            }
            assert!(figures.in_kernel.iter().zip(&figures.used).all(|(part, all)| part <= all));
            assert!(outcome.all_entries() > 30, "{}: {}", kind.name, outcome.all_entries());
        }
    }
}

/// A word of its own line, written by one thread while another one has a copy: what the accesses cost, to the
/// picosecond but for the jitter of a request, which is a quarter of it at most.
#[test]
fn an_access_costs_what_its_line_says() {
    #[repr(align(128))]
    struct Word(AtomicU32);
    for sockets in [1, 2] {
        let machine = Machine::new(2, sockets);
        let distance = sockets - 1;
        let word = Rc::new(Word(AtomicU32::new(0)));
        let seen = Rc::new(core::cell::Cell::new([0; 4]));
        let other: Body = Box::new({
            let word = word.clone();
            move || _ = word.0.load(Ordering::Relaxed)
        });
        let measured: Body = Box::new({
            let (word, seen) = (word.clone(), seen.clone());
            move || {
                spend(10 * MICROSECOND);
                let time_of = |access: &dyn Fn()| {
                    let begin = virtual_now();
                    access();
                    virtual_now() - begin
                };
                seen.set([
                    time_of(&|| _ = word.0.load(Ordering::Relaxed)),
                    time_of(&|| _ = word.0.load(Ordering::Relaxed)),
                    time_of(&|| _ = word.0.fetch_add(1, Ordering::Relaxed)),
                    time_of(&|| _ = word.0.fetch_add(1, Ordering::Relaxed)),
                ]);
            }
        });
        simulate(&machine, 1, MILLISECOND, || vec![((0, 0), other), ((0, 0), measured)]);
        let [miss, hit, invalidation, change] = seen.get();
        let is_about =
            |time: Time, sure: Time, jittered: Time| time.abs_diff(sure + jittered) <= jittered / 4 + 1;
        assert_eq!((hit, change), (machine.hit, machine.change));
        assert!(is_about(miss, machine.data[distance], machine.request[distance]), "{miss}");
        let answer = machine.data[distance] / 2 + machine.change;
        assert!(
            is_about(invalidation, answer, machine.request[distance] + machine.per_copy),
            "{invalidation}"
        );
    }
}

/// One thread: the lock costs its read-modify-writes and its hits, whatever the machine.
#[test]
fn a_ticket_lock_alone_costs_what_its_accesses_cost() {
    let run = run(64, 1, SHORT, 100 * MICROSECOND);
    let Machine { hit, change, calls, .. } = run.machine;
    let expected = change + 5 * hit + calls + SHORT.inside + SHORT.outside;
    let measured = run.time as f64 / run.of(TICKET).all_entries() as f64;
    assert!((measured / expected as f64 - 1.0).abs() < 0.02, "{measured} for {expected}");
}

/// A sleeper is woken once, a sleep with a limit ends after it, and a word that has changed keeps nobody.
#[test]
fn a_futex_wakes_and_ends_in_time() {
    let word = Rc::new(AtomicU32::new(0));
    let woken_after = Rc::new(core::cell::Cell::new(0));
    let sleeper: Body = Box::new({
        let (word, woken_after) = (word.clone(), woken_after.clone());
        move || {
            let limit = sys::now() + 20_000;
            assert_eq!(sys::futex_wait(&word, 0, Some(limit)), sys::Slept::TimedOut);
            assert!(sys::now() >= limit);
            assert_eq!(sys::futex_wait(&word, 1, None), sys::Slept::CheckAgain);
            assert_eq!(sys::futex_wait(&word, 0, None), sys::Slept::CheckAgain);
            woken_after.set(virtual_now());
        }
    });
    let waker: Body = Box::new({
        let (word, woken_after) = (word.clone(), woken_after.clone());
        move || {
            sys::nap(1_000_000);
            word.store(2, Ordering::Relaxed);
            assert_eq!(woken_after.get(), 0);
            sys::futex_wake(&word, 1);
        }
    });
    simulate(&Machine::new(2, 1), 1, MILLISECOND, || vec![((0, 0), sleeper), ((0, 0), waker)]);
    assert_ne!(woken_after.get(), 0);
}

/// Threads that do nothing but compute share the processors evenly, in turns.
#[test]
fn threads_that_compute_share_the_processors() {
    let compute_for_long = || -> Body {
        Box::new(|| {
            while !sys::is_over() {
                spend(10 * MICROSECOND);
                sys::futex_wake(&AtomicU32::new(0), 1);
            }
        })
    };
    let scene = || (0..6).map(|_| ((0, 0), compute_for_long())).collect();
    let figures = simulate(&Machine::new(2, 1), 1, 600 * MILLISECOND, scene);
    let (least, most) = (figures.used.iter().min().expect("six"), figures.used.iter().max().expect("six"));
    assert!(most - least <= 20 * MILLISECOND, "{figures:?}");
    assert!(figures.idle.iter().all(|idle| *idle < MILLISECOND), "{figures:?}");
}

/// The control: where all that wait write one line all the time, the owner hardly gets it back to leave, and the more
/// so the more there are. A queue lock, whose threads wait at lines of their own, does not care.
#[test]
fn control_test_and_set_collapses_and_a_queue_lock_does_not() {
    let throughput =
        |kind, processors| run(processors, processors, SHORT, 200 * MICROSECOND).of(kind).throughput();
    let [few, many] = [4, 64].map(|processors| throughput(TEST_AND_SET, processors));
    assert!(many < few / 4.0, "{few} to {many}");
    let [few, many] = [4, 64].map(|processors| throughput(MCS, processors));
    assert!(many > few / 1.5, "{few} to {many}");
}

/// Of locks that are fair by construction each thread gets the same.
#[test]
fn queue_locks_are_fair() {
    for kind in [MCS, TICKET] {
        let fairness = run(16, 16, SHORT, 200 * MICROSECOND).of(kind).fairness();
        assert!(fairness < 1.1, "{}: {fairness}", kind.name);
    }
}

/// Where each waiter polls the section, the owner has little of it; and where it is given to whoever comes, some get it all
/// the time.
#[test]
fn with_processors_to_spare_ours_does_what_a_queue_lock_does_and_is_as_fair() {
    for work in [SHORT, HALF_MICROSECOND] {
        let run = run(16, 16, work, 2 * MILLISECOND);
        let (ours, best) = (run.of(OURS), run.of(MCS));
        assert!(ours.throughput() > best.throughput(), "{work:?}: {}", ours.throughput());
        assert!(ours.fairness() < 2.0, "{work:?}: {}", ours.fairness());
        assert!(ours.processor_time() < best.processor_time() / 3.0, "{work:?}: {}", ours.processor_time());
    }
}

/// More than one socket: each line that goes between them takes longer.
#[test]
fn two_sockets_cost_more_than_one() {
    let throughput = |sockets| {
        let machine = Machine::new(16, sockets);
        Run { machine, threads: 16, work: SHORT, time: 200 * MICROSECOND, seed: 1 }.of(MCS).throughput()
    };
    let [one, two] = [1, 2].map(throughput);
    assert!(two < 0.95 * one, "{one} to {two}");
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn control_sleeper_that_nobody_wakes() {
    let word = Rc::new(AtomicU32::new(0));
    let kept = word.clone();
    let sleeper: Body = Box::new(move || _ = sys::futex_wait(&word, 0, None));
    simulate(&Machine::new(1, 1), 1, 10 * NANOSECOND, || vec![((0, 0), sleeper)]);
    drop(kept);
}
