//! What a journal is set up with, and where answers wait for the disk.

pub(in crate::journal) mod gate;
pub(in crate::journal) mod refusals;
pub(in crate::journal) mod settings;
