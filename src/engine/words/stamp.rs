//! Owns where a record stands in the log: its place, its instant, and whether the clock was right.

use crate::ids::Lsn;
use crate::time::UnixMs;

/// Where an event stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its instant.
    pub at: UnixMs,
    /// Its place in the log.
    pub lsn: Lsn,
    /// Whether its instant may be gone by to forget something.
    pub settled: Settled,
}

/// Whether the clock has been watched for long enough since the process started. Before, a single
/// wrong reading may be behind an instant: nothing is forgotten because of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It has.
    Yes,
    /// Not yet.
    No,
}

/// As of no record in particular: now.
pub const LATEST: Lsn = Lsn(u64::MAX);
