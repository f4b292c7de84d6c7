//! Owns the computed segment of a buyer, and which change of segments was applied last.
//!
//! Invariant: it is that of the last `buyer_segmented`, whatever the operator said meanwhile.
//! Deliberately absent: computing, which the database does that receives the events.

use crate::ids::{Lsn, Segment};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The computed segment of a buyer.
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

    /// The run that computed it.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// When it was applied.
    pub fn at(&self) -> UnixMs {
        self.at
    }
}

/// Changes of segments are applied up to this one of this series.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SegmentCursor {
    pub series: u64,
    pub change: u64,
}
