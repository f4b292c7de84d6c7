//! Owns importing segments of buyers that PostgreSQL computed, and the position reached.
//!
//! Invariants: a change to the segment that a buyer already has leaves no event, so sending a change
//! again is harmless; changes are taken over in order, so the last `buyer_segmented` in the log says
//! where to continue. Deliberately absent: computing segments, and the rate of changes.

use super::rules::RiskControl;
use crate::engine::decide::Claims;
use crate::engine::event::{BuyerSegmented, Event};
use crate::engine::segments::{SegmentCursor, Segmented};
use crate::ids::{Lsn, Segment, ShardId, UserId};
use crate::journal::format::fault::StorageFault;
use crate::journal::turn::shard_turn::Turn;

/// The effect of importing a segment.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SegmentTaken {
    /// It is in the log; this LSN must be durable before it is confirmed.
    Stands(Lsn),
    /// The buyer has this segment already.
    There,
    /// The buyer is unknown.
    Unknown,
}

impl RiskControl<'_> {
    /// Imports the segment of a buyer.
    pub fn segment_buyer(&self, segmented: BuyerSegmented) -> Result<SegmentTaken, StorageFault> {
        self.core.wait_for_log_room();
        let mut turn = Turn::take(self.core, ShardId::of(&segmented.user))?;
        if !turn.shard.knows(&segmented.user) {
            return Ok(SegmentTaken::Unknown);
        }
        let there = turn.shard.segmented(&segmented.user);
        if there.is_some_and(|it| *it.segment() == segmented.segment) {
            return Ok(SegmentTaken::There);
        }
        let told = turn.commit_events(&[Event::BuyerSegmented(segmented)], Claims::default())?;
        Ok(SegmentTaken::Stands(told))
    }

    /// The last imported change; `None`: there was none. Reads every buyer, shard by shard: call it once.
    pub fn segments_fed(&self) -> Option<SegmentCursor> {
        let shards = ShardId::all().filter_map(|id| self.core.shard(id).last_fed());
        let last = shards.max_by_key(|(lsn, _)| *lsn)?;
        Some(last.1)
    }

    /// The buyer's segment, the computed one, and the LSN that must be durable before they are shown.
    pub fn buyer_segment(&self, user: &UserId) -> (Option<Segment>, Option<Segmented>, Lsn) {
        let shard = self.core.shard(ShardId::of(user));
        let (is_in, computed) = (shard.segment(user), shard.segmented(user));
        (is_in.cloned(), computed.cloned(), self.core.appended())
    }
}
