//! Owns how much a shard keeps, and what its purchases have of what is shared, for recovery and for
//! checking I1, I2 and I4.

use crate::engine::state::catalogue::{ProductIndex, PromotionIndex};
use crate::engine::state::purchase::Purchase;
use crate::engine::state::shard::Shard;
use crate::engine::state::spending::SharedCount;
use crate::engine::words::lifecycle::{PurchaseState, Stands, Units};

/// How much a shard keeps.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSizes {
    /// Buyers kept.
    pub buyers: usize,
    /// Purchases kept.
    pub purchases: usize,
    /// Idempotency keys remembered.
    pub keys: usize,
    /// Payments and refunds under way.
    pub open_payments: usize,
    /// Purchases that wait for a person.
    pub reviews: usize,
    /// Voids among the open payments that are overdue or refused.
    pub stuck_voids: usize,
    /// Captures of another sum than was asked for, which an operator has to settle.
    pub differing_captures: usize,
}

impl Shard {
    /// Buyers, purchases and keys kept.
    pub fn sizes(&self) -> ShardSizes {
        ShardSizes {
            open_payments: self.under_payment().len(),
            reviews: self.under_review().len(),
            differing_captures: self.with_differing_capture().len(),
            stuck_voids: self
                .opened()
                .filter(|(_, it)| it.state == PurchaseState::Stuck)
                .count(),
            ..self.kept()
        }
    }

    /// The same without what is under way, which must be looked for.
    pub fn kept(&self) -> ShardSizes {
        ShardSizes {
            buyers: self.kept_buyers().len(),
            purchases: self.kept_purchases().len(),
            keys: self.kept_keys().len(),
            ..ShardSizes::default()
        }
    }

    /// Units of each purchase in each product's cell, for recovery and for checking I1 and I4.
    pub fn claimed_units(&self) -> impl Iterator<Item = (ProductIndex, Units, u32)> + '_ {
        self.kept_purchases()
            .iter()
            .map(|it| (it.product, it.claimed().units, it.quantity))
    }

    /// The promotion of each purchase that has one and keeps its use, likewise for I2.
    pub fn claimed_uses(&self) -> impl Iterator<Item = PromotionIndex> + '_ {
        let stands = |it: &&Purchase| it.claimed().stands == Stands::Always;
        self.kept_purchases()
            .iter()
            .filter(stands)
            .filter_map(|it| it.promotion)
    }

    /// What counts of each payment that stands or is under way, for the sums that buyers share.
    pub fn shared_counts(&self) -> impl Iterator<Item = SharedCount> + '_ {
        self.kept_purchases()
            .iter()
            .filter_map(|it| SharedCount::of(it, self.corrections()))
    }
}
