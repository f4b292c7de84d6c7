//! Owns which segment a buyer is in.
//!
//! Invariants: what the operator said of a buyer goes before what was computed, until the operator
//! takes it back; what was computed stays beside it meanwhile, and is what the last
//! `buyer_segmented` says. Changed by `apply` alone.
//! Deliberately absent: computing, which is done where the events are carried to.

use crate::engine::apply::Stamp;
use crate::engine::event::BuyerSegmented;
use crate::engine::state::shard::Shard;
use crate::ids::{Lsn, Segment, UserId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The segment that was computed for a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Segmented {
    pub(in crate::engine) segment: Segment,
    pub(in crate::engine) fed: Fed,
    pub(in crate::engine) run: u64,
    pub(in crate::engine) at: UnixMs,
    pub(in crate::engine) lsn: Lsn,
}

impl Segmented {
    /// Which one.
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
pub struct Fed {
    /// The series.
    pub series: u64,
    /// The change.
    pub change: u64,
}

impl Shard {
    /// The segment that `user` is in: the operator's word, else what was computed.
    pub fn segment(&self, user: &UserId) -> Option<&Segment> {
        let buyer = self.buyer(user)?;
        let said = buyer
            .risk
            .as_ref()
            .and_then(|it| it.rating.segment.as_ref());
        said.or_else(|| Some(&buyer.segmented.as_ref()?.segment))
    }

    /// What was computed for `user`.
    pub fn segmented(&self, user: &UserId) -> Option<&Segmented> {
        self.buyer(user)?.segmented.as_deref()
    }

    /// Whether anything is known of `user`.
    pub fn knows(&self, user: &UserId) -> bool {
        self.buyer(user).is_some()
    }

    /// The last change of a segment among this shard's buyers, with its place in the log. Looks at
    /// every buyer.
    pub fn last_fed(&self) -> Option<(Lsn, Fed)> {
        let segmented = self.buyers.iter().filter_map(|it| it.segmented.as_ref());
        let last = segmented.max_by_key(|it| it.lsn)?;
        Some((last.lsn, last.fed))
    }

    pub(in crate::engine) fn apply_segmented(&mut self, segmented: &BuyerSegmented, stamp: Stamp) {
        let index = self.buyer_index(&segmented.user);
        self.buyers[index].segmented = Some(Box::new(Segmented {
            segment: segmented.segment.clone(),
            fed: Fed {
                series: segmented.series,
                change: segmented.change,
            },
            run: segmented.run,
            at: stamp.at,
            lsn: stamp.lsn,
        }));
        self.note_idle(index);
    }
}
