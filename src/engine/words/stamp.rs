//! Owns the position of a record: its LSN, its instant, and whether the clock was trusted.

use crate::ids::Lsn;
use crate::time::UnixMs;

/// The position of an event.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its instant.
    pub at: UnixMs,
    /// Its place in the log.
    pub lsn: Lsn,
    /// Whether something may be forgotten because of this instant.
    pub settled: Settled,
}

/// Whether the clock has been watched long enough since the process started. Before that, the
/// instant may come from a single wrong reading, so nothing is forgotten because of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It has.
    Yes,
    /// Not yet.
    No,
}

/// Not the position of any record: the state as of now.
pub const LATEST: Lsn = Lsn(u64::MAX);
