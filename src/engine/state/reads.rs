//! Owns reading what a shard knows about one buyer: tokens, sums, limits, segment, profile.
//!
//! Invariants: a pause ends by itself; the operator's word takes precedence over what was computed;
//! what a buyer paid is counted from the purchases, so that it is the same after any recovery.

use crate::engine::event::{Pause, Rating};
use crate::engine::state::buyer::{Buyer, tally_of};
use crate::engine::state::catalogue::{Catalogue, ProductIndex, PromotionIndex};
use crate::engine::state::profile::Profile;
use crate::engine::state::purchase::Purchase;
use crate::engine::state::segments::Segmented;
use crate::engine::state::shard::Shard;
use crate::ids::{ProductId, Segment, UserId};
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;

impl Shard {
    /// Reward tokens that the buyer can spend.
    pub fn tokens(&self, user: &UserId) -> Tokens {
        let more = self.buyer(user).and_then(|buyer| buyer.more.as_ref());
        more.map_or(Tokens::NONE, |more| more.tokens)
    }

    /// Reward tokens that the buyer owes.
    pub fn token_debt(&self, user: &UserId) -> Tokens {
        let more = self.buyer(user).and_then(|buyer| buyer.more.as_ref());
        more.map_or(Tokens::NONE, |more| more.debt)
    }

    /// What `user` has bought in `currency` since `day_start`, and ever.
    pub(in crate::engine) fn spent(
        &self,
        user: &UserId,
        currency: Currency,
        day_start: UnixMs,
    ) -> (Amount, Amount) {
        self.buyer(user)
            .map_or((Amount::ZERO, Amount::ZERO), |buyer| {
                let spending = &buyer.spending;
                (
                    spending.since(day_start, currency),
                    spending.lifetime(currency),
                )
            })
    }

    pub(in crate::engine) fn committed(&self, user: &UserId, product: ProductIndex) -> u32 {
        let of_product = |buyer: &Buyer| tally_of(&buyer.committed, product);
        self.buyer(user).map_or(0, of_product)
    }

    pub(in crate::engine) fn promotion_uses(
        &self,
        user: &UserId,
        promotion: PromotionIndex,
    ) -> u32 {
        let of_promotion = |buyer: &Buyer| tally_of(&buyer.promotion_uses, promotion);
        self.buyer(user).map_or(0, of_promotion)
    }

    /// Units of `product` that `user` bought in the system before.
    pub fn imported_units(&self, user: &UserId, product: &ProductId, catalogue: &Catalogue) -> u32 {
        let more = self.buyer(user).and_then(|buyer| buyer.more.as_ref());
        let found = more.zip(catalogue.product(product));
        found.map_or(0, |(more, product)| tally_of(&more.imported, product.index))
    }

    /// Whether any state of `user` is stored.
    pub fn knows_buyer(&self, user: &UserId) -> bool {
        self.buyer(user).is_some()
    }

    /// The segment of `user`: the operator's, otherwise the computed one.
    pub fn segment(&self, user: &UserId) -> Option<&Segment> {
        let buyer = self.buyer(user)?;
        let said = buyer
            .risk
            .as_ref()
            .and_then(|it| it.rating.segment.as_ref());
        said.or_else(|| Some(&buyer.segmented.as_ref()?.segment))
    }

    /// The computed segment of `user`.
    pub fn segmented(&self, user: &UserId) -> Option<&Segmented> {
        self.buyer(user)?.segmented.as_deref()
    }

    /// Whether anything is known of `user`.
    pub fn knows(&self, user: &UserId) -> bool {
        self.buyer(user).is_some()
    }

    /// The profile of `user`; `None` without an attempt.
    pub fn profile(&self, user: &UserId) -> Option<&Profile> {
        self.buyer(user)?.profile.as_deref()
    }

    /// The operator's pause of `user`, while it lasts.
    pub fn paused(&self, user: &UserId, at: UnixMs) -> Option<&Pause> {
        let pause = self.buyer(user)?.risk.as_ref()?.pause.as_ref()?;
        (at < pause.until).then_some(pause)
    }

    /// The operator's rating of `user`.
    pub fn rating(&self, user: &UserId) -> Option<&Rating> {
        Some(&self.buyer(user)?.risk.as_ref()?.rating)
    }

    /// What `user` paid in `currency` since `since`, in minor units; later refunds are not
    /// subtracted.
    pub fn captured_since(&self, user: &UserId, currency: Currency, since: UnixMs) -> i64 {
        let captures = self.buyer(user).map_or(&[][..], |buyer| &buyer.captures);
        let recent = captures.iter().rev().take_while(|(at, _)| *at >= since);
        let sums = recent.map(|(_, sequence)| {
            let quote = self.purchases.get(*sequence).map(Purchase::quote);
            let in_currency = quote.filter(|quote| quote.currency == currency);
            in_currency.map_or(0, |quote| quote.amount.get())
        });
        sums.fold(0, i64::saturating_add)
    }
}
