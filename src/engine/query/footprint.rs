//! Owns how much memory the bounds allow: for each kind the size of one, times the bound.
//!
//! Invariants: figures follow from the sizes of the structures and from how tables grow, so a
//! structure that grows shows here. They describe the usual case: a paid purchase in one currency,
//! ids of up to 24 characters. Metadata, longer ids, refunds, disputes and reviews come on top.
//! Deliberately absent: the log's ring, connections and sinks.

use crate::engine::shared::sums::SUM_BYTES;
use crate::engine::shared::velocity::KEY_BYTES;
use crate::engine::state::buyer::Buyer;
use crate::engine::state::keys::KeyEntry;
use crate::engine::state::profile::Profile;
use crate::engine::state::purchase::{BuyerIndex, Payment};
use crate::engine::state::purchases::STORED_BYTES;
use crate::engine::words::settings::Bounds;
use crate::ids::{Digest16, SHARD_COUNT};
use crate::time::UnixMs;

/// Tables and lists double when they are full: for each entry there may be as much unused room.
const GROWTH: usize = 2;
/// Entries of a B-tree that is filled in order: each leaf is half full.
const TREE: usize = 2;
/// What a plain purchase's history takes beside its record.
const HISTORY_BYTES: usize = 40;

/// One buyer: the record, its table entry, their attempts and their profile.
const fn buyer_bytes(rate_count: u32) -> usize {
    size_of::<Buyer>()
        + GROWTH * (size_of::<(u32, BuyerIndex)>() + size_of::<Option<Box<Buyer>>>())
        + GROWTH * rate_count as usize * size_of::<UnixMs>()
        + size_of::<Profile>()
}

/// One purchase: the record, its table entry, its payment and its history.
const PURCHASE_BYTES: usize = STORED_BYTES
    + GROWTH * size_of::<usize>()
    + TREE * size_of::<(u64, u32)>()
    + size_of::<Payment>()
    + HISTORY_BYTES;

/// One key: its entry, and its places in the queues of the shard and the buyer.
const IDEMPOTENCY_KEY_BYTES: usize = GROWTH
    * (size_of::<(Digest16, KeyEntry)>() + size_of::<(UnixMs, Digest16)>() + size_of::<UnixMs>());

// There are millions of each.
const _: () = {
    assert!(size_of::<Buyer>() <= 280, "a buyer grew");
    assert!(STORED_BYTES <= 176, "a purchase grew");
    assert!(size_of::<Payment>() <= 224, "a payment grew");
    assert!(size_of::<KeyEntry>() <= 64, "a key grew");
};

/// Memory at the bounds, by kind.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    pub buyers_bytes: u64,
    /// Holds and purchases.
    pub purchases_bytes: u64,
    /// Idempotency keys.
    pub keys_bytes: u64,
    /// Counters of attempts.
    pub velocity_bytes: u64,
    /// Sums by card and device.
    pub amounts_bytes: u64,
}

impl Footprint {
    /// The footprint of these bounds, with `rate_count` attempts stored per buyer.
    pub fn of(bounds: &Bounds, rate_count: u32) -> Self {
        let times = |count: usize, bytes: usize| (count as u64).saturating_mul(bytes as u64);
        let sharded = |count: usize, bytes| times(count.saturating_mul(SHARD_COUNT), bytes);
        Self {
            buyers_bytes: sharded(bounds.buyers_max, buyer_bytes(rate_count)),
            purchases_bytes: sharded(bounds.purchases_max, PURCHASE_BYTES),
            keys_bytes: sharded(bounds.keys_max, IDEMPOTENCY_KEY_BYTES),
            velocity_bytes: times(bounds.velocity_keys_max, KEY_BYTES),
            amounts_bytes: times(bounds.amount_keys_max, SUM_BYTES),
        }
    }

    /// The total.
    pub fn bytes(&self) -> u64 {
        let all = [
            self.buyers_bytes,
            self.purchases_bytes,
            self.keys_bytes,
            self.velocity_bytes,
            self.amounts_bytes,
        ];
        all.into_iter().fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_the_sum_of_the_kinds_and_follows_the_bounds() {
        let bounds = Bounds::default();
        let one = Footprint::of(&bounds, 5);
        let more = Bounds {
            purchases_max: 2 * bounds.purchases_max,
            ..bounds
        };
        let more = Footprint::of(&more, 5);
        assert_eq!(more.purchases_bytes, 2 * one.purchases_bytes);
        assert_eq!(more.bytes(), one.bytes() + one.purchases_bytes);
        // A purchase and its buyer are some hundred bytes each.
        let each = |bytes: u64| bytes / (256 * 100_000);
        assert!((400..1_000).contains(&each(one.purchases_bytes)), "{one:?}");
        assert!((400..1_000).contains(&each(one.buyers_bytes)), "{one:?}");
    }
}
