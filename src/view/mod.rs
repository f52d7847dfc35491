//! A consistent picture of the state, of this process or of a copy of another. Only reads; does not know how it is
//! shown.

pub(crate) mod names;
pub(crate) mod picture;
