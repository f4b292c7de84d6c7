//! Owns one shard: the buyers hashed to it, their purchases, keys, rate windows and timers.
//!
//! Invariants: purchases are numbered in the order in which they begin; a buyer's committed units
//! and promotion uses are the sums over their purchases; every held purchase has a timer. Only
//! `apply` changes it. Deliberately absent: the lock around it and the cells beside it.

use crate::engine::state::buyer::{Buyer, Idle};
use crate::engine::state::buyers::Buyers;
use crate::engine::state::corrections::Corrections;
use crate::engine::state::keys::KeyEntry;
use crate::engine::state::purchase::{BuyerIndex, Purchase};
use crate::engine::state::purchases::{PurchaseIndex, Purchases};
use crate::engine::words::lifecycle::PurchaseState;
use crate::ids::{Digest16, PurchaseId, PurchaseTag, ShardId, UserId};
use crate::time::UnixMs;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

#[derive(Debug)]
pub struct Shard {
    pub(in crate::engine::state) id: ShardId,
    pub(in crate::engine::state) buyers: Buyers,
    pub(in crate::engine::state) purchases: Purchases,
    pub(in crate::engine::state) keys: HashMap<Digest16, KeyEntry, FixedState>,
    /// All keys, in the order in which they are forgotten.
    pub(in crate::engine::state) key_expiries: VecDeque<(UnixMs, Digest16)>,
    /// May name purchases that are no longer held; those are skipped when due.
    pub(in crate::engine::state) timers: BinaryHeap<Reverse<(UnixMs, u64)>>,
    pub(in crate::engine::state) last_at: UnixMs,
    pub(in crate::engine::state) corrections: Corrections,
    /// Purchases with a payment or refund in progress, by sequence: derived from them.
    pub(in crate::engine::state) open: BTreeSet<u64>,
    /// Purchases under review, by sequence: derived from them.
    pub(in crate::engine::state) reviews: BTreeSet<u64>,
    /// Purchases whose capture differs from the request, by sequence: derived from them.
    pub(in crate::engine::state) differing: BTreeSet<u64>,
    /// Ended, unpaid holds that no key names, by when they ended: derived.
    pub(in crate::engine::state) ended: BTreeSet<(UnixMs, u64)>,
    /// Buyers of whom nothing is left except that they tried: derived.
    pub(in crate::engine::state) idle: BTreeSet<(Idle, BuyerIndex)>,
}

impl Shard {
    /// A shard without buyers.
    pub fn new(id: ShardId) -> Self {
        Self {
            id,
            buyers: Buyers::default(),
            purchases: Purchases::default(),
            keys: HashMap::with_hasher(FixedState::default()),
            key_expiries: VecDeque::new(),
            timers: BinaryHeap::new(),
            last_at: UnixMs::default(),
            corrections: Corrections::default(),
            open: BTreeSet::new(),
            reviews: BTreeSet::new(),
            differing: BTreeSet::new(),
            ended: BTreeSet::new(),
            idle: BTreeSet::new(),
        }
    }

    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The corrections of the clock, which today's instants follow from.
    pub(in crate::engine) fn corrections(&self) -> &Corrections {
        &self.corrections
    }

    pub(in crate::engine) fn kept_buyers(&self) -> &Buyers {
        &self.buyers
    }

    pub(in crate::engine) fn kept_purchases(&self) -> &Purchases {
        &self.purchases
    }

    /// The entry of each idempotency key.
    pub(in crate::engine) fn kept_keys(&self) -> &HashMap<Digest16, KeyEntry, FixedState> {
        &self.keys
    }

    /// Purchases with a payment or refund in progress, by sequence.
    pub(in crate::engine) fn under_payment(&self) -> &BTreeSet<u64> {
        &self.open
    }

    /// Purchases under review, by sequence.
    pub(in crate::engine) fn under_review(&self) -> &BTreeSet<u64> {
        &self.reviews
    }

    /// Purchases whose capture differs from the request, by sequence.
    pub(in crate::engine) fn with_differing_capture(&self) -> &BTreeSet<u64> {
        &self.differing
    }

    /// The instant of the latest event.
    pub fn last_at(&self) -> UnixMs {
        self.last_at
    }

    /// The owner of the purchase `id`.
    pub fn owner_of(&self, id: PurchaseId) -> Option<&UserId> {
        self.find(id)
            .map(|purchase| &self.buyers[purchase.buyer].user)
    }

    /// The earliest expiry of a hold.
    pub fn next_expiry(&self) -> Option<UnixMs> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the timer of the hold that expires first, if one has by `at`, and skips timers of
    /// purchases that are no longer held. Timers follow from the holds, so no image has them.
    pub(in crate::engine) fn take_due_hold(&mut self, at: UnixMs) -> Option<PurchaseId> {
        while let Some(Reverse((due, sequence))) = self.timers.peek().copied()
            && due <= at
        {
            // Each payment that the hold survived has set its timer again.
            while self.timers.peek() == Some(&Reverse((due, sequence))) {
                self.timers.pop();
            }
            // Stale timers belong only to paid or released holds; skip them.
            let held = self.at_place(sequence).filter(|purchase| {
                purchase.state == PurchaseState::Held && purchase.expires_at == due
            });
            if let Some(purchase) = held {
                return Some(self.id_of(sequence, purchase));
            }
        }
        None
    }

    pub(in crate::engine) fn find(&self, id: PurchaseId) -> Option<&Purchase> {
        self.place_of(id).map(|place| &self.purchases[place])
    }

    /// The slot of the purchase, if it is stored.
    pub(in crate::engine) fn place_of(&self, id: PurchaseId) -> Option<PurchaseIndex> {
        (id.shard() == self.id).then_some(())?;
        let place = self.purchases.place(id.sequence())?;
        self.purchases[place].tag.is(id.tag()).then_some(place)
    }

    pub(in crate::engine) fn at_place(&self, sequence: u64) -> Option<&Purchase> {
        self.purchases.get(sequence)
    }

    pub(in crate::engine) fn id_of(&self, sequence: u64, purchase: &Purchase) -> PurchaseId {
        PurchaseId::new(self.id, sequence, purchase.tag)
    }

    /// All holds and purchases, in order.
    pub fn purchases(&self) -> impl Iterator<Item = PurchaseId> {
        self.numbered().map(|(id, _)| id)
    }

    pub(in crate::engine) fn numbered(&self) -> impl Iterator<Item = (PurchaseId, &Purchase)> {
        self.purchases
            .from(0)
            .map(|(sequence, it)| (self.id_of(sequence, it), it))
    }

    pub(in crate::engine) fn buyer(&self, user: &UserId) -> Option<&Buyer> {
        self.buyers.place(user).map(|place| &self.buyers[place])
    }

    pub(in crate::engine) fn next_id(&self, tag: PurchaseTag) -> PurchaseId {
        PurchaseId::new(self.id, self.purchases.next(), tag)
    }

    /// Whether a purchase existed and was forgotten.
    pub fn has_forgotten(&self, id: PurchaseId) -> bool {
        let sequence = id.sequence();
        let given = id.shard() == self.id && sequence < self.purchases.next();
        given && self.purchases.place(sequence).is_none()
    }

    pub fn knows_key(&self, scope: Digest16) -> bool {
        self.keys.contains_key(&scope)
    }
}
