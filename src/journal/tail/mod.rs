//! Readers of the log: a feed, the audit trail, copies; and which history of the log may sell.

pub(in crate::journal) mod audit;
pub(in crate::journal) mod copying;
pub(in crate::journal) mod feed;
pub(in crate::journal) mod history;
