//! Owns the fact that a buyer's segment was computed from what they bought.
//!
//! Deliberately absent: how, which the database does that the events are carried to.

use crate::ids::{Segment, UserId};
use rkyv::{Archive, Deserialize, Serialize};

/// A buyer's segment was computed from their purchases.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BuyerSegmented {
    pub user: UserId,
    /// Which segment the buyer is in from here on.
    pub segment: Segment,
    /// In which series of changes this is one: a database that begins anew begins a new series.
    pub series: u64,
    /// Its number in the series. Changes are taken over in this order, so that the last one in the
    /// log says from where on to go on.
    pub change: u64,
    /// The run that found it, by its row in `segment_runs`.
    pub run: u64,
}
