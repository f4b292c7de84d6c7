//! Owns finding the purchases with an open dispute.

use crate::engine::state::shard::Shard;
use crate::engine::words::dispute::DisputeStatus;
use crate::ids::PurchaseId;

/// The purchases of `shard` with an open dispute among `most` purchases from the sequence number `from`
/// on, and the sequence number to continue from.
pub fn with_open_dispute(shard: &Shard, from: u64, most: usize) -> (Vec<PurchaseId>, Option<u64>) {
    let mut numbered = shard.kept_purchases().from(from);
    let looked_at = numbered.by_ref().take(most);
    let disputed = looked_at.filter(|(_, purchase)| {
        let mut disputes = purchase.disputes().iter();
        disputes.any(|it| it.status() == DisputeStatus::Opened)
    });
    let ids = disputed.map(|(sequence, it)| shard.id_of(sequence, it));
    (ids.collect(), numbered.next().map(|(sequence, _)| sequence))
}
