//! Owns how full each limit of the engine is: for a limit per shard, the fullest shard.
//!
//! Invariant: reading takes no shard's lock; each turn publishes the sizes of its shard, so figures
//! are at most one turn old. Deliberately absent: what happens at a limit (the engine refuses), and
//! showing the figures (`cli`, `http`).

use super::status::JournalFigures;
use crate::ids::ShardId;
use crate::journal::core::slot::{SizesSeen, Slot};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit of `[engine]`; requests get 503 beyond it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Buyers per shard.
    Buyers,
    /// Holds and purchases per shard.
    Purchases,
    /// Idempotency keys per shard.
    IdempotencyKeys,
    Products,
    Promotions,
    /// Cards and devices with counted amounts.
    AmountKeys,
}

impl Bound {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Buyers,
        Self::Purchases,
        Self::IdempotencyKeys,
        Self::Products,
        Self::Promotions,
        Self::AmountKeys,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buyers => "buyers",
            Self::Purchases => "purchases",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::Products => "products",
            Self::Promotions => "promotions",
            Self::AmountKeys => "amount_keys",
        }
    }

    pub const fn setting(self) -> &'static str {
        match self {
            Self::Buyers => "engine.buyers_max",
            Self::Purchases => "engine.purchases_max",
            Self::IdempotencyKeys => "engine.keys_max",
            Self::Products => "engine.products_max",
            Self::Promotions => "engine.promotions_max",
            Self::AmountKeys => "engine.amount_keys_max",
        }
    }
}

/// How much of a limit is used.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BoundUsed {
    pub bound: Bound,
    pub used: usize,
    /// At least 1.
    pub maximum: usize,
    /// The fullest shard, for a limit per shard.
    pub shard: Option<ShardId>,
}

impl JournalFigures<'_> {
    /// How much of each limit of `[engine]` is used.
    pub fn bounds_used(&self) -> [BoundUsed; Bound::ALL.len()] {
        let bounds = &self.core.settings.bounds;
        let catalogue = self.core.catalogue.load();
        Bound::ALL.map(|bound| match bound {
            Bound::Buyers => self.fullest(bound, bounds.buyers_max, |it| &it.buyers),
            Bound::Purchases => self.fullest(bound, bounds.purchases_max, |it| &it.purchases),
            Bound::IdempotencyKeys => self.fullest(bound, bounds.keys_max, |it| &it.keys),
            Bound::Products => of_all(bound, catalogue.products().len(), bounds.products_max),
            Bound::Promotions => of_all(bound, catalogue.promotions().len(), bounds.promotions_max),
            Bound::AmountKeys => of_all(bound, self.core.shared.keys(), bounds.amount_keys_max),
        })
    }

    fn fullest(
        &self,
        bound: Bound,
        maximum: usize,
        size: impl Fn(&SizesSeen) -> &AtomicUsize,
    ) -> BoundUsed {
        let used = |slot: &Slot| size(&slot.sizes).load(Ordering::Relaxed);
        let slots = ShardId::all().map(|id| (used(&self.core.slots[id.index()]), id));
        let fullest = slots.max_by_key(|(used, _)| *used);
        BoundUsed {
            bound,
            used: fullest.map_or(0, |(used, _)| used),
            maximum,
            shard: fullest.map(|(_, id)| id),
        }
    }
}

fn of_all(bound: Bound, used: usize, maximum: usize) -> BoundUsed {
    BoundUsed {
        bound,
        used,
        maximum,
        shard: None,
    }
}
