//! Owns what a running journal knows of its snapshots: where they are, and the newest.

use super::order::Ordered;
use crate::ids::Lsn;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The journal's snapshots: where they are, and the newest.
pub(in crate::journal) struct Snapshots {
    pub(in crate::journal) storage: Arc<dyn wal::Storage>,
    /// Held while one is taken: one at a time.
    pub(in crate::journal) taking: Ordered<()>,
    pub(in crate::journal) newest: Mutex<Option<Lsn>>,
    /// The size of the newest; 0 where there is none.
    pub(in crate::journal) newest_bytes: AtomicU64,
    /// Why the last one was not taken.
    pub(in crate::journal) failure: Mutex<Option<String>>,
    /// Keeps the log from where recovery would read it.
    pub(in crate::journal) pin: Mutex<wal::Pin>,
}
