//! Building blocks: slots, names, memory regions, numbers of copies, a sort. Knows that others read memory while it changes;
//! does not know what is kept in it.

pub(crate) mod arena;
pub(crate) mod beside;
pub(crate) mod copies;
pub(crate) mod hash;
pub(crate) mod memory;
pub(crate) mod name;
pub(crate) mod region;
pub(crate) mod seqlock;
pub(crate) mod sort;
pub(crate) mod table;
