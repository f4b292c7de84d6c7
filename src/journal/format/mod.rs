//! The formats on the disk above the log: the bytes of events and snapshots, the files of snapshots,
//! and their errors.

pub mod codec;
pub(in crate::journal) mod fault;
pub mod sections;
pub(in crate::journal) mod store;
