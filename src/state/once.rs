//! An INIT_ONCE as it stands in memory of the program's: eight bytes, zero where nothing has begun. The two lowest bits say
//! where it stands, as on Windows; the rest is what was made, or who makes it.

use crate::sys::Mutex;

/// Held while what stands in an INIT_ONCE changes.
pub(crate) static CHANGING: Mutex = Mutex::new();

/// Where an INIT_ONCE stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    NotBegun,
    /// The task with this id runs the initialisation; others wait for it.
    Runs(u64),
    /// It is done; what was made.
    Done(u64),
    /// Any number of threads run it, and the first to complete it has made what counts.
    RunsAsync,
}

const STATE_BITS: u64 = 3;
const RUNS: u64 = 1;
const DONE: u64 = 2;
const RUNS_ASYNC: u64 = 3;
const ID_SHIFT: u32 = 2;

impl State {
    pub(crate) const fn of(word: u64) -> Self {
        match word & STATE_BITS {
            RUNS => State::Runs(word >> ID_SHIFT),
            DONE => State::Done(word & !STATE_BITS),
            RUNS_ASYNC => State::RunsAsync,
            _ => State::NotBegun,
        }
    }

    pub(crate) const fn word(self) -> u64 {
        match self {
            State::NotBegun => 0,
            State::Runs(id) => id << ID_SHIFT | RUNS,
            State::Done(context) => context | DONE,
            State::RunsAsync => RUNS_ASYNC,
        }
    }
}

/// Whether a context leaves room for the state.
pub(crate) const fn is_context(context: u64) -> bool {
    context & STATE_BITS == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::{LAST_TASK_GENERATION, MAX_TASKS, owner_id};

    #[test]
    fn a_state_comes_back_from_its_word() {
        let id = owner_id(MAX_TASKS - 1, LAST_TASK_GENERATION);
        for state in
            [State::NotBegun, State::Runs(id), State::Done(0), State::Done(!STATE_BITS), State::RunsAsync]
        {
            assert_eq!(State::of(state.word()), state);
        }
        assert!(is_context(64) && !is_context(66));
    }
}
