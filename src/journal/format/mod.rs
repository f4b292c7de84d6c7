//! What stands on the disk beside the log itself: the bytes of events and snapshots, the files of
//! snapshots, and what can be wrong with any of them.

pub mod codec;
pub(in crate::journal) mod fault;
pub mod sections;
pub(in crate::journal) mod store;
