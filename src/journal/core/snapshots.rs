//! Owns the figures of a running journal's snapshots: their directory and the newest one.

use super::order::Ordered;
use crate::ids::Lsn;
use crate::time::UnixMs;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The journal's snapshots: where they are, and the newest.
pub(in crate::journal) struct Snapshots {
    pub(in crate::journal) storage: Arc<dyn wal::Storage>,
    /// Held while a snapshot is taken: one at a time.
    pub(in crate::journal) taking: Ordered<()>,
    pub(in crate::journal) newest: Mutex<Option<Lsn>>,
    /// When the newest was taken, where that is known.
    pub(in crate::journal) newest_at: Mutex<Option<UnixMs>>,
    /// The size of the newest, in bytes; 0 if there is none.
    pub(in crate::journal) newest_bytes: AtomicU64,
    /// Why the last one failed; `None` if it did not.
    pub(in crate::journal) failure: Mutex<Option<String>>,
    /// Keeps the log that recovery needs.
    pub(in crate::journal) pin: Mutex<wal::Pin>,
}

impl Snapshots {
    /// Makes the snapshot at `lsn` the newest.
    pub(in crate::journal) fn took(&self, lsn: Lsn, bytes: u64, at: UnixMs) {
        *self.newest.lock() = Some(lsn);
        *self.newest_at.lock() = Some(at);
        self.newest_bytes.store(bytes, Ordering::Relaxed);
    }
}
