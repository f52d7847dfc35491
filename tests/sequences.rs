//! Random sequences of calls through the C interface, each answer and all that can be seen afterwards against a model in
//! plain Rust. One thread at a time: what two threads make of it is for the models and for ctests/pairs.c.
//!
//! A sequence that fails is made shorter before it is printed. PROPTEST_CASES=<number> runs more of them.

#[path = "sequences/host.rs"]
mod host;
#[path = "sequences/windows.rs"]
mod windows;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRunner};
use std::{env, process::Command, sync::Mutex, thread};

/// What a sequence found wrong.
type Verdict = Result<(), TestCaseError>;

/// As many as take a few seconds, or as the environment says. Where they are drawn from must be quick without optimisation.
fn config() -> Config {
    const FEW: u32 = 300;
    let cases = if env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { FEW };
    Config { cases, failure_persistence: None, rng_algorithm: RngAlgorithm::XorShift, ..Config::default() }
}

/// What the calls of one thread did. Whoever calls next is another one.
fn on_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(act).join().expect("no call unwinds"))
}

/// Lets a thread live for each list of calls, one after the other, until one finds something wrong.
fn play<M: Send, C: Sync>(
    model: &mut M,
    program: &[Vec<C>],
    live: fn(&mut M, &[C]) -> Verdict,
    thread_ends: fn(&mut M),
) -> Verdict {
    let mut verdict = Ok(());
    for calls in program {
        verdict = verdict.and_then(|()| on_a_thread(|| live(model, calls)));
        thread_ends(model);
    }
    verdict
}

/// The runtime is one for the whole process: one test at a time starts and stops it.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn host() {
    let _turn = TURN.lock();
    TestRunner::new(config())
        .run(&host::programs(), |program| host::run(&program))
        .unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn windows() {
    let _turn = TURN.lock();
    TestRunner::new(config())
        .run(&windows::programs(), |program| windows::run(&program))
        .unwrap_or_else(|why| panic!("{why}"));
}

/// Variables of the environment are read once in a process.
#[test]
fn host_with_every_section_biased_at_once() {
    let again = Command::new(env::current_exe().expect("this program has a file"))
        .args(["host", "--exact"])
        .env("HOSTCRST_BIAS", "always")
        .output()
        .expect("it starts once more");
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
}
