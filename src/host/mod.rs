//! Brings the rooms below together: the runtime's life, threads and their tasks, the slow enter, fork, settings. It
//! knows the order of things, and not the C types nor Windows' rules.

pub(crate) mod calls;
pub(crate) mod deadlocks;
pub(crate) mod endings;
pub(crate) mod ends;
pub(crate) mod enter;
pub(crate) mod fork;
pub(crate) mod holds;
pub(crate) mod hooks;
pub(crate) mod hosted;
pub(crate) mod locks;
pub(crate) mod order;
pub(crate) mod prepare;
pub(crate) mod resources;
pub(crate) mod runtime;
pub(crate) mod settings;
pub(crate) mod statistics;
pub(crate) mod threads;
pub(crate) mod watch;
