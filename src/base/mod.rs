//! What the rest is made of, and knows nothing of locks or tasks.

pub(crate) mod arena;
pub(crate) mod copies;
pub(crate) mod memory;
pub(crate) mod name;
pub(crate) mod region;
pub(crate) mod seqlock;
