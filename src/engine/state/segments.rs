//! Owns the segment that was computed for a buyer, and how far computed segments were taken over.
//!
//! Invariant: it is what the last `buyer_segmented` says, whatever the operator said meanwhile.
//! Deliberately absent: computing, which is done where the events are carried to.

use crate::ids::{Lsn, Segment};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The segment that was computed for a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Segmented {
    pub(in crate::engine) segment: Segment,
    pub(in crate::engine) fed: SegmentCursor,
    pub(in crate::engine) run: u64,
    pub(in crate::engine) at: UnixMs,
    pub(in crate::engine) lsn: Lsn,
}

impl Segmented {
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The run that found it.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// When it was taken over.
    pub fn at(&self) -> UnixMs {
        self.at
    }
}

/// How far changes of segments have been taken over: up to this change of this series.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SegmentCursor {
    pub series: u64,
    pub change: u64,
}
