//! Owns what follows a purchase from one state to the next: its units, its buyer's limit and sums,
//! its promotion's use, and the shard's work lists.
//!
//! Invariants: each moves once; a promotion's use that was given back is never taken again.

use super::effects::{Effects, StockMove};
use crate::engine::state::buyer::{tally_add, tally_take};
use crate::engine::state::purchase::Claimed;
use crate::engine::state::purchases::PurchaseIndex;
use crate::engine::state::shard::Shard;
use crate::engine::state::spending::{CountedPurchase, SharedCount};
use crate::engine::words::lifecycle::{PurchaseState, Stands, Units};
use crate::money::Amount;

impl Shard {
    /// Moves the units, the buyer's limit and the promotion's use with the purchase, each once.
    pub(super) fn move_claims(
        &mut self,
        place: PurchaseIndex,
        before: Claimed,
    ) -> Result<Effects, &'static str> {
        let purchase = &mut self.purchases[place];
        let (product, units) = (purchase.product, purchase.quantity);
        let after = purchase.claimed();
        if before.units == Units::Held && after.units != Units::Held {
            purchase.forget_hold();
        }
        let buyer = &mut self.buyers[purchase.buyer];
        match (before.stands, after.stands) {
            (Stands::Always | Stands::Again, Stands::No) => {
                tally_take(&mut buyer.committed, product, units);
            }
            (Stands::No, Stands::Always | Stands::Again) => {
                tally_add(&mut buyer.committed, product, units);
            }
            (Stands::Always | Stands::Again, Stands::Always | Stands::Again)
            | (Stands::No, Stands::No) => {}
        }
        // Given back once, and never taken again, because another buyer may have it by then.
        let promotion = match (before.stands, after.stands) {
            (Stands::Always, Stands::No) => purchase.promotion,
            (Stands::Always | Stands::Again | Stands::No, _) => None,
        };
        if let Some(promotion) = promotion {
            tally_take(&mut buyer.promotion_uses, promotion, 1);
        }
        let stock = match (before.units, after.units) {
            (Units::Held, Units::Sold) => Some(StockMove::Sell(product, units)),
            (Units::Held, Units::None) => Some(StockMove::GiveBack(product, units)),
            (Units::Sold, Units::None) => Some(StockMove::Restock(product, units)),
            (Units::Held, Units::Held)
            | (Units::Sold, Units::Sold)
            | (Units::None, Units::None) => None,
            (Units::Sold | Units::None, Units::Held) | (Units::None, Units::Sold) => {
                return Err("units that were given back are taken again");
            }
        };
        Ok(Effects {
            stock,
            promotion,
            ..Effects::default()
        })
    }

    /// Moves the buyer's sums with the purchase. Returns the amount that no longer counts, and the
    /// amount that counts without a claim (an operator booked a capture of more than was
    /// requested).
    pub(super) fn recount(
        &mut self,
        place: PurchaseIndex,
        before: Option<CountedPurchase>,
    ) -> (Option<Box<SharedCount>>, Option<Box<SharedCount>>) {
        let purchase = &self.purchases[place];
        let after = purchase.counted(&self.corrections);
        let spending = &mut self.buyers[purchase.buyer].spending;
        spending.change(before, after);
        let Some(before) = before else {
            // The decision claimed it.
            return (None, None);
        };
        let now = after.map_or(Amount::ZERO, |it| it.amount);
        let shared = |amount: Amount| {
            let counted = CountedPurchase { amount, ..before };
            (amount > Amount::ZERO).then(|| SharedCount::new(purchase, counted).map(Box::new))?
        };
        (
            shared(before.amount.saturating_minus(now)),
            shared(now.saturating_minus(before.amount)),
        )
    }

    pub(super) fn keep_waiting(
        &mut self,
        sequence: u64,
        before: PurchaseState,
        place: PurchaseIndex,
    ) {
        let now = self.purchases[place].state;
        let kept = [
            (PurchaseState::UnderReview, &mut self.reviews),
            (PurchaseState::CaptureDiffers, &mut self.differing),
        ];
        for (state, purchases) in kept {
            match (before == state, now == state) {
                (false, true) => {
                    purchases.insert(sequence);
                }
                (true, false) => {
                    purchases.remove(&sequence);
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Moves the buyer's open holds with the purchase.
    pub(in crate::engine::state) fn keep_held(
        &mut self,
        sequence: u64,
        before: PurchaseState,
        place: PurchaseIndex,
    ) {
        let purchase = &self.purchases[place];
        let held = &mut self.buyers[purchase.buyer].held;
        let (before, now) = (before, purchase.state);
        match (before == PurchaseState::Held, now == PurchaseState::Held) {
            (false, true) => held.push(sequence),
            (true, false) => held.retain(|it| *it != sequence),
            (true, true) | (false, false) => {}
        }
    }
}
