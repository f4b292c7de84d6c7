//! Owns a shard behind its turn's lock, and the figures that are read without a turn.
//!
//! Invariant: each turn ends with [`Slot::note`], so that the figures are at most one turn old.

use super::order::{LockRank, Ordered};
use crate::engine::shard::Shard;
use crate::engine::view::ShardSizes;
use crate::ids::ShardId;
use crate::time::UnixMs;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A shard, and the figures that are read without its turn.
pub(in crate::journal) struct Slot {
    pub(in crate::journal) shard: Ordered<Shard>,
    /// When its next hold expires, in Unix milliseconds; `u64::MAX`: it has no hold.
    pub(in crate::journal) next_expiry_ms: AtomicU64,
    pub(in crate::journal) sizes: SizesSeen,
}

impl Slot {
    pub(in crate::journal) fn new(id: ShardId, shard: Shard) -> Self {
        let next_expiry_ms = AtomicU64::new(expiry_ms(&shard));
        let sizes = SizesSeen::default();
        sizes.note(&shard);
        Self {
            shard: Ordered::new(LockRank::Shard(id), shard),
            next_expiry_ms,
            sizes,
        }
    }

    /// Publishes the figures. Call it at the end of each turn, within the turn.
    pub(in crate::journal) fn note(&self, shard: &Shard) {
        self.next_expiry_ms
            .store(expiry_ms(shard), Ordering::Release);
        self.sizes.note(shard);
    }
}

fn expiry_ms(shard: &Shard) -> u64 {
    shard.next_expiry().map_or(u64::MAX, UnixMs::get)
}

/// The sizes of a shard after its last turn.
#[derive(Debug, Default)]
pub(in crate::journal) struct SizesSeen {
    pub(in crate::journal) buyers: AtomicUsize,
    pub(in crate::journal) purchases: AtomicUsize,
    pub(in crate::journal) keys: AtomicUsize,
}

impl SizesSeen {
    pub(in crate::journal) fn note(&self, shard: &Shard) {
        let ShardSizes {
            buyers,
            purchases,
            keys,
            ..
        } = shard.kept();
        // Relaxed, and each alone: these are figures for display; nothing is decided by them.
        self.buyers.store(buyers, Ordering::Relaxed);
        self.purchases.store(purchases, Ordering::Relaxed);
        self.keys.store(keys, Ordering::Relaxed);
    }
}
