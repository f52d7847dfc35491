//! What happens to sections and condition variables.

pub(crate) mod addresses;
pub(crate) mod bias;
pub(crate) mod condition;
pub(crate) mod crst;
pub(crate) mod holds;
pub(crate) mod queue;
pub(crate) mod spin;
