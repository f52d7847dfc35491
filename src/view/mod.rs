//! One consistent picture of the state, of this process or of a copy of another.

pub(crate) mod names;
pub(crate) mod picture;
