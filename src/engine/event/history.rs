//! Owns the fact that the operator accepted a history of the log.

use super::AdminAct;
use crate::ids::Lsn;
use rkyv::{Archive, Deserialize, Serialize};

/// A history of the log: its number, and a tag that distinguishes two that began from the same
/// copy.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LogGeneration {
    /// 1 for a new log, more for each restore or accepted copy since.
    pub number: u32,
    /// Random, drawn at its beginning.
    pub tag: u64,
}

/// The operator accepted a restored or copied history of the log. What sinks have of earlier
/// histories after the point where this one branched off is lost.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HistoryAccepted {
    /// The accepted generation.
    pub generation: LogGeneration,
    /// The LSN at which it begins.
    pub first: Lsn,
    /// Who ordered it.
    pub by: AdminAct,
}
