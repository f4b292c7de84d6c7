//! Owns what a shard shows of a buyer.

use crate::engine::query::view::{BuyerView, SpendingView};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::segments::SegmentCursor;
use crate::engine::state::shard::Shard;
use crate::ids::{Lsn, PurchaseId, UserId};
use crate::time::UnixMs;

impl Shard {
    /// What the shard knows of a buyer; `day_start` is when today began.
    pub fn buyer_view(
        &self,
        user: &UserId,
        catalogue: &Catalogue,
        day_start: UnixMs,
    ) -> Option<BuyerView> {
        let buyer = self.buyer(user)?;
        // Tallies are in the order of their events, which a restart changes, so they are sorted
        // here.
        let committed = buyer.committed.iter().map(|(product, units)| {
            let terms = &catalogue.product_at(*product).terms;
            (terms.product.clone(), *units)
        });
        let mut committed: Vec<_> = committed.collect();
        committed.sort_unstable();
        let spending = buyer.spending.currencies();
        let spending = spending.map(|currency| SpendingView {
            currency,
            today: buyer.spending.since(day_start, currency),
            lifetime: buyer.spending.lifetime(currency),
        });
        let mut spending: Vec<_> = spending.collect();
        spending.sort_unstable_by_key(|it| it.currency);
        Some(BuyerView {
            user: user.clone(),
            tokens: self.tokens(user),
            token_debt: self.token_debt(user),
            committed,
            attempts: buyer.attempts.iter().copied().collect(),
            spending,
            purchases: buyer.spending.purchases(),
            segment: self.segment(user).cloned(),
            rating: self.rating(user).cloned().unwrap_or_default(),
            profile: buyer.profile.as_deref().cloned(),
        })
    }

    /// Holds and purchases of `user` among `most` purchases from the sequence number `from` on, and
    /// the sequence number to continue from.
    pub fn purchases_of(
        &self,
        user: &UserId,
        from: u64,
        most: usize,
    ) -> (Vec<PurchaseId>, Option<u64>) {
        let Some(buyer) = self.kept_buyers().place(user) else {
            return (Vec::new(), None);
        };
        let mut numbered = self.kept_purchases().from(from);
        let looked_at = numbered.by_ref().take(most);
        let theirs = looked_at.filter(|(_, it)| it.buyer == buyer);
        let ids = theirs.map(|(sequence, it)| self.id_of(sequence, it));
        (ids.collect(), numbered.next().map(|(sequence, _)| sequence))
    }

    /// The last applied change of a segment in this shard, with its LSN. Looks at every buyer.
    pub fn last_fed(&self) -> Option<(Lsn, SegmentCursor)> {
        let segmented = self
            .kept_buyers()
            .iter()
            .filter_map(|it| it.segmented.as_ref());
        let last = segmented.max_by_key(|it| it.lsn)?;
        Some((last.lsn, last.fed))
    }
}
