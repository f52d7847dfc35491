//! What exists: every structure that a reader inside or outside the process sees, and the one static that holds them.
//! It knows how one field is read, and not who waits, wakes or spins; it calls nothing above.

pub(crate) mod addresses;
pub(crate) mod bias;
pub(crate) mod deadlocks;
pub(crate) mod free_slots;
pub(crate) mod holds;
pub(crate) mod layers;
pub(crate) mod layout;
pub(crate) mod managed_wait;
pub(crate) mod messages;
pub(crate) mod mirror;
pub(crate) mod misuses;
pub(crate) mod once;
pub(crate) mod orders;
pub(crate) mod registry;
pub(crate) mod resource;
pub(crate) mod resources;
pub(crate) mod runtime;
pub(crate) mod section;
pub(crate) mod sections;
pub(crate) mod sleep;
pub(crate) mod srw;
pub(crate) mod statistics;
pub(crate) mod targets;
pub(crate) mod task;
pub(crate) mod tasks;
pub(crate) mod wait;
pub(crate) mod words;
