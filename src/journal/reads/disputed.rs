//! Owns the list of purchases with an open dispute.
//!
//! Invariants: it is ordered by shard and number, so a page goes on where the one before ended; it takes
//! the turn of one shard at a time, and for a few purchases at a time.

use crate::engine::disputed::with_open_dispute;
use crate::engine::stamp::LATEST;
use crate::engine::view::{More, Page, PurchaseView};
use crate::ids::{Lsn, PurchaseId, ShardId};
use crate::journal::reads::views::JournalReads;

/// Purchases that are looked at in one turn.
const LOOKED_AT_ONCE: usize = 8_192;

impl JournalReads<'_> {
    /// The first `limit` purchases with an open dispute after the one at `after`, and the LSN that must
    /// be durable before they are shown. Looks at every purchase: not for a thread that serves requests.
    pub fn disputed(&self, after: Option<PurchaseId>, limit: usize) -> (Page<PurchaseView>, Lsn) {
        let mut entries = Vec::new();
        let begins = after.map(|id| (id.shard(), id.sequence().saturating_add(1)));
        for id in ShardId::all() {
            let mut from = match begins {
                Some((shard, _)) if id.index() < shard.index() => None,
                Some((shard, sequence)) if id == shard => Some(sequence),
                Some(_) | None => Some(0),
            };
            while let Some(start) = from
                && entries.len() <= limit
            {
                let shard = self.core.shard(id);
                let (ids, next) = with_open_dispute(&shard, start, LOOKED_AT_ONCE);
                let catalogue = self.core.catalogue.load();
                let room = limit + 1 - entries.len();
                let views = ids.into_iter().take(room);
                entries.extend(views.filter_map(|id| shard.purchase_view(id, &catalogue, LATEST)));
                from = next;
            }
        }
        let more = if entries.len() > limit {
            More::Yes
        } else {
            More::No
        };
        entries.truncate(limit);
        (Page { entries, more }, self.core.appended())
    }
}
