//! What happens to sections, SRW locks, condition variables and resources: entering, leaving, waiting. Nothing here knows of deadlocks,
//! reports, or how a thread becomes a task.

pub(crate) mod addresses;
pub(crate) mod barrier;
pub(crate) mod bias;
pub(crate) mod condition;
pub(crate) mod crst;
pub(crate) mod holds;
pub(crate) mod queue;
pub(crate) mod resources;
pub(crate) mod slots;
pub(crate) mod spin;
pub(crate) mod srw;
pub(crate) mod statistics;
