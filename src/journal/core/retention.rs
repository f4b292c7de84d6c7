//! Owns from where on the log is kept for its readers.
//!
//! Invariant: the log is kept from where every named reader is, from before the first snapshot of this
//! process could let go of anything.

use super::order::{LockRank, Ordered};
use crate::ids::Lsn;

/// Keeps the log from an LSN on for a named reader, from the opening of the journal on.
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
