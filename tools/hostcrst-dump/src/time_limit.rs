//! The time limit for a whole run, whatever the number of registries and files.

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// An end that was set when the run began.
#[derive(Clone, Copy)]
pub struct TimeLimit {
    end: Instant,
    allowed: Duration,
}

impl TimeLimit {
    pub fn of(allowed: Duration) -> Self {
        TimeLimit { end: Instant::now() + allowed, allowed }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() > self.end
    }

    pub fn failure(&self, subject: String) -> Failure {
        Failure::Unfinished { subject, seconds: self.allowed.as_secs_f64() }
    }
}
