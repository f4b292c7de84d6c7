//! Owns the fact that the operator accepted a history of the log.

use super::AdminAct;
use crate::ids::Lsn;
use rkyv::{Archive, Deserialize, Serialize};

/// Which history of the log: its number, and a tag that tells two begun from the same copy.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LogGeneration {
    /// 1 for a new log, more for each restore or accepted copy since.
    pub number: u32,
    /// Drawn at random when it was begun.
    pub tag: u64,
}

/// The operator ordered to go on with a restored or copied history of the log: what others have of
/// earlier histories behind the place where this one parted from them is lost.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HistoryAccepted {
    /// The generation that goes on.
    pub generation: LogGeneration,
    /// Where it begins.
    pub first: Lsn,
    /// Who ordered it.
    pub by: AdminAct,
}
