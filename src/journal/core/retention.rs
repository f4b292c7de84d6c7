//! Owns the retentions: the LSN from which each reader needs the log.
//!
//! Invariant: the log from the position of every named reader on is kept. A retention begins before the
//! first snapshot of this process, which could remove log.

use super::order::{LockRank, Ordered};
use crate::ids::Lsn;

/// Keeps the log from an LSN on for a named reader, from the journal's opening on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub name: String,
    /// From this LSN on; what is already removed stays removed.
    pub from: Lsn,
}

/// The pins behind the retentions of a running journal.
pub(in crate::journal) struct Retentions(pub(in crate::journal) Ordered<Vec<wal::Pin>>);

impl Retentions {
    pub(in crate::journal) fn of(log: &wal::Log, retentions: &[Retention]) -> Self {
        let pins = retentions
            .iter()
            .map(|it| log.pin(&it.name, wal::Lsn::new(it.from.0)));
        Self(Ordered::new(LockRank::Retentions, pins.collect()))
    }
}
