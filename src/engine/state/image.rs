//! Owns a shard's image: an owned copy of everything that its events made, for snapshots and
//! digests.
//!
//! Invariants: `Shard::from_image(shard.image())` behaves like `shard`; two shards that saw the
//! same events have equal images, byte for byte once archived (maps are written in order). An image
//! that no events could have made is refused, and the error names the buyer, purchase or key. What
//! can be derived is not in it: tallies, timers, slots.

use crate::engine::cells::UNITS_MAX;
use crate::engine::state::buyer::BuyerRisk;
use crate::engine::state::buyer::{Buyer, BuyerMore, tally_add, tally_of};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::corrections::Corrections;
use crate::engine::state::keys::{KeyEntry, KeyOutcome};
use crate::engine::state::profile::Profile;
use crate::engine::state::purchase::{BuyerIndex, Purchase};
use crate::engine::state::purchases::SEQUENCES_MAX;
use crate::engine::state::segments::Segmented;
use crate::engine::state::shard::Shard;
use crate::engine::words::lifecycle::{PurchaseState, Stands, next_state};
use crate::ids::{Digest16, PurchaseId, ShardId, UserId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use smallvec::SmallVec;
use std::cmp::Reverse;

/// A shard's whole state.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardImage {
    /// In the order of their slots.
    buyers: Vec<BuyerImage>,
    /// In the order of their sequence numbers.
    purchases: Vec<PurchaseImage>,
    /// The sequence number of the next purchase.
    next_sequence: u64,
    /// In the order in which they are forgotten.
    keys: Vec<KeyImage>,
    last_at: UnixMs,
    corrections: Corrections,
}

/// A buyer. What only some buyers have is boxed, so that it takes four bytes in the others.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct BuyerImage {
    place: BuyerIndex,
    user: UserId,
    attempts: Vec<UnixMs>,
    more: Option<Box<BuyerMore>>,
    risk: Option<Box<BuyerRisk>>,
    segmented: Option<Box<Segmented>>,
    profile: Option<Box<Profile>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct PurchaseImage {
    sequence: u64,
    purchase: Purchase,
}

#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct KeyImage {
    scope: Digest16,
    entry: KeyEntry,
}

/// Something in an image that no events could have made.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {}, {part}: {what}", .shard.index())]
pub struct ImageError {
    pub shard: ShardId,
    /// Where in it.
    pub part: ImagePart,
    /// Which field, and what is wrong with it.
    pub what: &'static str,
}

/// The part of a shard's image that is wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ImagePart {
    /// The shard as a whole.
    Shard,
    /// The buyer at this index of the list.
    Buyer(usize),
    Purchase(PurchaseId),
    /// The idempotency key at this index.
    Key(usize),
}

impl std::fmt::Display for ImagePart {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shard => out.write_str("the whole"),
            Self::Buyer(place) => write!(out, "buyer {place}"),
            Self::Purchase(id) => write!(out, "purchase {id}"),
            Self::Key(place) => write!(out, "key {place}"),
        }
    }
}

impl ShardImage {
    pub fn purchases(&self) -> usize {
        self.purchases.len()
    }
}

impl Shard {
    /// A copy of everything, to be written outside the shard's turn.
    pub fn image(&self) -> ShardImage {
        let buyers = self.buyers.numbered().map(|(place, buyer)| BuyerImage {
            place,
            user: buyer.user.clone(),
            attempts: buyer.attempts.iter().copied().collect(),
            more: buyer.more.clone(),
            risk: buyer.risk.clone(),
            segmented: buyer.segmented.clone(),
            profile: buyer.profile.clone(),
        });
        let keys = self.key_expiries.iter().filter_map(|(forget_at, scope)| {
            let entry = self.keys.get(scope)?.clone();
            debug_assert_eq!(entry.forget_at, *forget_at, "the queue follows the keys");
            Some(KeyImage {
                scope: *scope,
                entry,
            })
        });
        let purchases = self.purchases.from(0);
        let purchases = purchases.map(|(sequence, purchase)| PurchaseImage {
            sequence,
            purchase: purchase.to_image(),
        });
        ShardImage {
            buyers: buyers.collect(),
            purchases: purchases.collect(),
            next_sequence: self.purchases.next(),
            keys: keys.collect(),
            last_at: self.last_at,
            corrections: self.corrections.clone(),
        }
    }

    /// The shard of `image`, whose products and promotions are in `catalogue`.
    pub fn from_image(
        id: ShardId,
        image: ShardImage,
        catalogue: &Catalogue,
    ) -> Result<Self, ImageError> {
        let error = |part, what| ImageError {
            shard: id,
            part,
            what,
        };
        let mut shard = Self::new(id);
        shard.last_at = image.last_at;
        shard.corrections = image.corrections;
        if image.next_sequence >= SEQUENCES_MAX {
            return Err(error(
                ImagePart::Shard,
                "next_sequence: no purchase can have it",
            ));
        }
        for (place, buyer) in image.buyers.into_iter().enumerate() {
            let taken = shard.take_buyer(buyer, catalogue);
            taken.map_err(|what| error(ImagePart::Buyer(place), what))?;
        }
        for PurchaseImage { sequence, purchase } in image.purchases {
            if sequence < shard.purchases.next() || sequence >= image.next_sequence {
                let next = shard.purchases.next().min(SEQUENCES_MAX - 1);
                let part = ImagePart::Purchase(PurchaseId::new(id, next, purchase.tag));
                return Err(error(part, "sequence: it is not between those beside it"));
            }
            let part = ImagePart::Purchase(PurchaseId::new(id, sequence, purchase.tag));
            let taken = shard.take_purchase(sequence, purchase, catalogue);
            taken.map_err(|what| error(part, what))?;
        }
        shard.purchases.skip_to(image.next_sequence);
        for buyer in shard.buyers.iter_mut() {
            buyer.captures.sort_unstable();
        }
        for (place, key) in image.keys.into_iter().enumerate() {
            if shard.keys.contains_key(&key.scope) {
                return Err(error(ImagePart::Key(place), "scope: it is there twice"));
            }
            let names = shard.names_what_is_there(&key.entry);
            names.map_err(|what| error(ImagePart::Key(place), what))?;
            shard.take_key(key.scope, key.entry);
        }
        shard.derive_forgetting();
        Ok(shard)
    }

    fn take_buyer(&mut self, image: BuyerImage, catalogue: &Catalogue) -> Result<(), &'static str> {
        self.buyers.insert_at(image.place, &image.user)?;
        let buyer = &mut self.buyers[image.place];
        for (product, units) in image.more.iter().flat_map(|it| &it.imported) {
            if !catalogue.has_product(*product) {
                return Err("imported: a product that is not in the catalogue");
            }
            if !(1..=UNITS_MAX).contains(units) {
                return Err("imported: units that no product can have");
            }
            if tally_of(&buyer.committed, *product) > 0 {
                return Err("imported: a product is there twice");
            }
            tally_add(&mut buyer.committed, *product, *units);
        }
        buyer.attempts = SmallVec::from_vec(image.attempts);
        buyer.more = image.more;
        buyer.risk = image.risk;
        buyer.segmented = image.segmented;
        buyer.profile = image.profile;
        Ok(())
    }

    fn take_purchase(
        &mut self,
        sequence: u64,
        purchase: Purchase,
        catalogue: &Catalogue,
    ) -> Result<(), &'static str> {
        check_whole(&purchase, catalogue)?;
        let buyer: &mut Buyer = self
            .buyers
            .get_mut(purchase.buyer)
            .ok_or("buyer: there is none at this place")?;
        let stands = purchase.claimed().stands;
        if stands != Stands::No {
            let committed = tally_of(&buyer.committed, purchase.product);
            if committed.checked_add(purchase.quantity).is_none() {
                return Err("quantity: the buyer's units are more than can be counted");
            }
            tally_add(&mut buyer.committed, purchase.product, purchase.quantity);
        }
        if let (Stands::Always, Some(promotion)) = (stands, purchase.promotion) {
            tally_add(&mut buyer.promotion_uses, promotion, 1);
        }
        buyer.sum_up(sequence, &purchase, &self.corrections);
        if purchase.state == PurchaseState::Held {
            buyer.held.push(sequence);
            self.timers.push(Reverse((purchase.expires_at, sequence)));
        }
        if purchase.state == PurchaseState::UnderReview {
            self.reviews.insert(sequence);
        }
        if purchase.state == PurchaseState::CaptureDiffers {
            self.differing.insert(sequence);
        }
        if purchase.is_open() {
            self.open.insert(sequence);
        }
        buyer.owned += 1;
        self.purchases.insert(sequence, purchase.of_image());
        Ok(())
    }

    /// Checks that the purchase that a key names is stored, as far as it must be.
    fn names_what_is_there(&self, entry: &KeyEntry) -> Result<(), &'static str> {
        if self.buyers.get(entry.owner).is_none() {
            return Err("owner: there is no buyer at this place");
        }
        let (there, what) = match entry.outcome {
            KeyOutcome::Held(id) => (self.find(id).is_some(), "held: no such purchase"),
            KeyOutcome::Paid { purchase, as_of } => (
                self.find(purchase).is_some_and(|it| {
                    let first = it.history.first();
                    first.is_some_and(|first| first.lsn <= as_of)
                }),
                "paid: no such purchase as of then",
            ),
            KeyOutcome::Refunded { purchase, number } => (
                self.find(purchase)
                    .is_some_and(|it| it.refund(number).is_some()),
                "refunded: no such refund",
            ),
            KeyOutcome::Declined { purchase, request } => (
                self.find(purchase)
                    .is_some_and(|it| it.has_declined(request)),
                "declined: no such payment",
            ),
            KeyOutcome::InFlight
            | KeyOutcome::Refused { .. }
            | KeyOutcome::SoldOut { .. }
            | KeyOutcome::Spent { .. }
            | KeyOutcome::Elsewhere => (true, ""),
        };
        if there { Ok(()) } else { Err(what) }
    }
}

/// Checks that the history leads to the state, that the indices are in the catalogue, and that the
/// purchase has what its state requires.
fn check_whole(purchase: &Purchase, catalogue: &Catalogue) -> Result<(), &'static str> {
    let history = purchase.history.iter();
    let lived = history
        .map(|happened| happened.step)
        .try_fold(None, |state, step| next_state(state, step).map(Some));
    if lived != Some(Some(purchase.state)) {
        return Err("state: it is not what the history leads to");
    }
    if !catalogue.has_product(purchase.product) {
        return Err("product: it is not in the catalogue");
    }
    if let Some(promotion) = purchase.promotion
        && !catalogue.has_promotion(promotion)
    {
        return Err("promotion: it is not in the catalogue");
    }
    if purchase.particulars.is_some() && purchase.payment.is_none() {
        return Err("particulars: there is no payment that they are of");
    }
    if purchase.payment.is_none() && purchase.state.is_open_payment() {
        return Err("payment: it is being paid without one");
    }
    if purchase.payment.is_some() && purchase.state == PurchaseState::Held {
        return Err("payment: it is a hold with one");
    }
    if purchase.state == PurchaseState::UnderReview && purchase.review_deadline().is_none() {
        return Err("review_deadline: it is under review without one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::purchase::BuyerIndex;
    use crate::engine::words::refusal::Refusal;
    use crate::ids::{PurchaseTag, RequestId};

    fn refused_as(image: ShardImage) -> String {
        let taken = Shard::from_image(ShardId::new(7), image, &Catalogue::default());
        taken.expect_err("no events make it").to_string()
    }

    fn image(users: &[&str], outcomes: &[KeyOutcome]) -> ShardImage {
        let buyer = |(place, user): (u32, &&str)| BuyerImage {
            place: BuyerIndex(place),
            user: UserId::parse(user).expect("an id"),
            attempts: Vec::new(),
            more: None,
            risk: None,
            segmented: None,
            profile: None,
        };
        let key = |(number, outcome): (u8, &KeyOutcome)| KeyImage {
            scope: Digest16([number; 16]),
            entry: KeyEntry {
                owner: BuyerIndex(0),
                fingerprint: Digest16([2; 16]),
                outcome: outcome.clone(),
                forget_at: UnixMs::new(1),
            },
        };
        ShardImage {
            buyers: (0..).zip(users).map(buyer).collect(),
            purchases: Vec::new(),
            next_sequence: 0,
            keys: (1..).zip(outcomes).map(key).collect(),
            last_at: UnixMs::new(1),
            corrections: Corrections::default(),
        }
    }

    #[test]
    fn an_image_that_no_events_make_is_refused_with_the_place_that_shows_it() {
        assert_eq!(
            refused_as(image(&["ana", "bo", "ana"], &[])),
            "shard 7, buyer 2: user: it is there twice"
        );
        let refused = KeyOutcome::Refused {
            reason: Refusal::SoldOut,
            request: RequestId(1),
            facts: None,
        };
        let held = KeyOutcome::Held(PurchaseId::new(ShardId::new(7), 0, PurchaseTag(0)));
        assert_eq!(
            refused_as(image(&["ana"], &[refused, held])),
            "shard 7, key 1: held: no such purchase"
        );
    }
}
