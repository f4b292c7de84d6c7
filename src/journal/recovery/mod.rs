//! From the files on the disk to the state: opening, folding, checking a stopped directory, and
//! importing what another system sold.

pub(in crate::journal) mod check;
pub(in crate::journal) mod fold;
pub(in crate::journal) mod import;
pub(in crate::journal) mod newest;
pub(in crate::journal) mod opening;
mod sums;
