//! Owns a shard's image: an owned copy of all that its events made, for snapshots and digests.
//!
//! Invariants: `Shard::from_image(shard.image())` behaves like `shard`; two shards that saw the
//! same events have equal images, byte for byte once archived (maps are written in order).
//! What can be derived is not in it: tallies, timers, places.

use crate::engine::catalogue::{Catalogue, ProductIndex};
use crate::engine::cells::UNITS_MAX;
use crate::engine::lifecycle::{PurchaseState, Step, Units, next_state};
use crate::engine::purchase::{Aftermath, BuyerIndex, Particulars, Purchase};
use crate::engine::scrutiny::BuyerRisk;
use crate::engine::segments::Segmented;
use crate::engine::shard::{Buyer, BuyerMore, KeyEntry, KeyOutcome, Shard, tally_add, tally_of};
use crate::ids::{Digest16, ShardId, UserId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::IpAddr;

/// A shard's whole state.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardImage {
    buyers: Vec<BuyerImage>,
    purchases: Vec<Purchase>,
    /// In the order in which they are to be forgotten.
    keys: Vec<KeyImage>,
    last_at: UnixMs,
}

#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct BuyerImage {
    user: UserId,
    attempts: Vec<UnixMs>,
}

#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct KeyImage {
    forget_at: UnixMs,
    scope: Digest16,
    entry: KeyEntry,
}

/// What a shard has beside its image: of the few purchases and buyers that have more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardMore {
    /// By the purchase's sequence, in order.
    purchases: Vec<(u64, Aftermath)>,
    /// By the buyer's place, in order.
    buyers: Vec<(u32, BuyerMore)>,
}

/// What some of a shard's payments have, by the purchase's sequence, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardParticulars {
    payments: Vec<(u64, Particulars)>,
}

impl ShardParticulars {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.payments.is_empty()
    }
}

impl ShardMore {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.purchases.is_empty() && self.buyers.is_empty()
    }
}

/// Units that a shard's buyers bought elsewhere, before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardImported {
    /// By the buyer's place and the product's, in order.
    units: Vec<(BuyerIndex, ProductIndex, u32)>,
}

impl ShardImported {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}

/// What a shard has for the risk rules, beside its image: of payments under way, and what the
/// operator said of buyers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardRisk {
    /// By the purchase's sequence, in order.
    payments: Vec<(u64, IpAddr)>,
    /// By the buyer's place, in order.
    buyers: Vec<(u32, BuyerRisk)>,
}

impl ShardRisk {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.payments.is_empty() && self.buyers.is_empty()
    }
}

/// The segments that were computed for a shard's buyers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardSegments {
    /// By the buyer's place, in order.
    buyers: Vec<(u32, Segmented)>,
}

impl ShardSegments {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buyers.is_empty()
    }
}

/// All that stands beside a shard's image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Of the few purchases and buyers that have more.
    pub more: ShardMore,
    /// Of some payments.
    pub particulars: ShardParticulars,
    /// Bought elsewhere, before.
    pub imported: ShardImported,
    /// For the risk rules.
    pub risk: ShardRisk,
    /// Computed from what was bought.
    pub segments: ShardSegments,
}

impl Beside {
    /// What stands beside the image of `shard`.
    pub fn of(shard: &Shard) -> Self {
        Self {
            more: shard.more(),
            particulars: shard.particulars(),
            imported: shard.imported(),
            risk: shard.risk(),
            segments: shard.segments(),
        }
    }
}

impl ShardImage {
    /// Purchases in it.
    pub fn purchases(&self) -> usize {
        self.purchases.len()
    }
}

impl Shard {
    /// A copy of everything, to be written outside the shard's turn.
    pub fn image(&self) -> ShardImage {
        // What `more` keeps is skipped by the archive.
        let buyers = self.buyers.iter().map(|buyer| BuyerImage {
            user: buyer.user.clone(),
            attempts: buyer.attempts.iter().copied().collect(),
        });
        let keys = self.key_expiries.iter().filter_map(|(forget_at, scope)| {
            let entry = *self.keys.get(scope)?;
            Some(KeyImage {
                forget_at: *forget_at,
                scope: *scope,
                entry,
            })
        });
        ShardImage {
            buyers: buyers.collect(),
            purchases: self.purchases.clone(),
            keys: keys.collect(),
            last_at: self.last_at,
        }
    }

    /// What the image leaves out.
    pub fn more(&self) -> ShardMore {
        let purchases = (0..).zip(&self.purchases).filter_map(|(sequence, it)| {
            let aftermath = it.aftermath.as_deref()?;
            Some((sequence, aftermath.clone()))
        });
        let buyers = (0..)
            .zip(&self.buyers)
            .filter_map(|(place, it)| Some((place, BuyerMore::clone(it.more.as_deref()?))));
        ShardMore {
            purchases: purchases.collect(),
            buyers: buyers.collect(),
        }
    }

    /// What the image and what stands beside it leave out of payments.
    pub fn particulars(&self) -> ShardParticulars {
        let payments = (0..).zip(&self.purchases).filter_map(|(sequence, it)| {
            let particulars = it.particulars.as_deref()?;
            Some((sequence, particulars.clone()))
        });
        ShardParticulars {
            payments: payments.collect(),
        }
    }

    /// Puts it back; `None` where it names what is not there, or a purchase under review is not in
    /// it with its deadline.
    pub fn put_particulars(&mut self, particulars: ShardParticulars) -> Option<()> {
        for (sequence, particulars) in particulars.payments {
            let purchase = self.purchases.get_mut(usize::try_from(sequence).ok()?)?;
            purchase.payment.as_ref()?;
            purchase.particulars = Some(Box::new(particulars));
        }
        (self.reviews().count() == self.reviews.len()).then_some(())
    }

    /// What its buyers bought elsewhere.
    pub fn imported(&self) -> ShardImported {
        let units = self.imported.iter();
        ShardImported {
            units: units
                .map(|((buyer, product), it)| (*buyer, *product, *it))
                .collect(),
        }
    }

    /// Puts that back; `None` where it names what is not there.
    pub fn put_imported(&mut self, imported: ShardImported, catalogue: &Catalogue) -> Option<()> {
        for (buyer, product, units) in imported.units {
            let known = self.buyers.get_mut(buyer.0 as usize)?;
            catalogue.has_product(product).then_some(())?;
            tally_of(&known.committed, product).checked_add(units)?;
            let before = self.imported.insert((buyer, product), units);
            (before.is_none() && (1..=UNITS_MAX).contains(&units)).then_some(())?;
            tally_add(&mut known.committed, product, units);
        }
        Some(())
    }

    /// Puts back what the image left out; `None` where it names what is not there.
    pub fn put_more(&mut self, more: ShardMore) -> Option<()> {
        for (sequence, aftermath) in more.purchases {
            let place = usize::try_from(sequence).ok()?;
            let purchase = self.purchases.get_mut(place)?;
            purchase.aftermath = Some(Box::new(aftermath));
            if purchase.is_open() {
                self.open.insert(sequence);
            }
        }
        for (place, more) in more.buyers {
            self.buyers.get_mut(place as usize)?.more = Some(Box::new(more));
        }
        let mut outcomes = self.keys.values().map(|entry| entry.outcome);
        outcomes
            .all(|outcome| match outcome {
                KeyOutcome::Refunded { purchase, number } => {
                    self.refund_view(purchase, number).is_some()
                }
                _ => true,
            })
            .then_some(())
    }

    /// Puts all of it back; `None` where it names what is not there.
    pub fn put_beside(&mut self, beside: Beside, catalogue: &Catalogue) -> Option<()> {
        self.put_more(beside.more)?;
        self.put_particulars(beside.particulars)?;
        self.put_imported(beside.imported, catalogue)?;
        self.put_risk(beside.risk)?;
        self.put_segments(beside.segments)
    }

    /// The segments that were computed.
    pub fn segments(&self) -> ShardSegments {
        let buyers = (0..)
            .zip(&self.buyers)
            .filter_map(|(place, it)| Some((place, Segmented::clone(it.segmented.as_deref()?))));
        ShardSegments {
            buyers: buyers.collect(),
        }
    }

    /// Puts them back; `None` where they name who is not there.
    pub fn put_segments(&mut self, segments: ShardSegments) -> Option<()> {
        for (place, segmented) in segments.buyers {
            self.buyers.get_mut(place as usize)?.segmented = Some(Box::new(segmented));
        }
        Some(())
    }

    /// What the image leaves out for the risk rules.
    pub fn risk(&self) -> ShardRisk {
        let payments = (0..)
            .zip(&self.purchases)
            .filter_map(|(sequence, it)| Some((sequence, it.payment.as_deref()?.ip?)));
        let buyers = (0..)
            .zip(&self.buyers)
            .filter_map(|(place, it)| Some((place, BuyerRisk::clone(it.risk.as_deref()?))));
        ShardRisk {
            payments: payments.collect(),
            buyers: buyers.collect(),
        }
    }

    /// Puts that back; `None` where it names what is not there.
    pub fn put_risk(&mut self, risk: ShardRisk) -> Option<()> {
        for (sequence, ip) in risk.payments {
            let place = usize::try_from(sequence).ok()?;
            let payment = self.purchases.get_mut(place)?.payment.as_deref_mut()?;
            payment.ip = Some(ip);
        }
        for (place, risk) in risk.buyers {
            self.buyers.get_mut(place as usize)?.risk = Some(Box::new(risk));
        }
        Some(())
    }

    /// The shard that `image` is of; `None` where it names places that it does not have, or that
    /// `catalogue` has not, or holds what no events make.
    pub fn from_image(id: ShardId, image: ShardImage, catalogue: &Catalogue) -> Option<Self> {
        let mut shard = Self::new(id);
        shard.last_at = image.last_at;
        for (number, buyer) in image.buyers.into_iter().enumerate() {
            let BuyerIndex(place) = shard.buyer_index(&buyer.user);
            // A buyer who is there twice would move every place behind.
            (place as usize == number).then_some(())?;
            shard.buyers[number].attempts = VecDeque::from(buyer.attempts);
        }
        for (sequence, purchase) in (0..).zip(&image.purchases) {
            let buyer: &mut Buyer = shard.buyers.get_mut(purchase.buyer.0 as usize)?;
            is_whole(purchase, catalogue).then_some(())?;
            if purchase.state.units() != Units::None {
                tally_of(&buyer.committed, purchase.product).checked_add(purchase.quantity)?;
                tally_add(&mut buyer.committed, purchase.product, purchase.quantity);
                if let Some(promotion) = purchase.promotion {
                    tally_add(&mut buyer.promotion_uses, promotion, 1);
                }
            }
            if let Some(counted) = purchase.counted() {
                buyer.spending.add(counted);
            }
            if purchase.state == PurchaseState::UnderReview {
                shard.reviews.insert(sequence);
            }
            let mut steps = purchase.history.iter();
            if let Some(paid) = steps.find(|it| it.step == Step::PaymentCaptured) {
                buyer.captures.push((paid.at, sequence));
            }
            if purchase.state == PurchaseState::Held {
                shard.timers.push(Reverse((purchase.expires_at, sequence)));
            }
        }
        for buyer in &mut shard.buyers {
            buyer.captures.sort_unstable();
        }
        let open = |(_, it): &(u64, &Purchase)| it.is_open();
        let numbered = (0..).zip(&image.purchases).filter(open);
        shard.open = numbered.map(|(sequence, _)| sequence).collect();
        shard.purchases = image.purchases;
        for key in image.keys {
            shard.names_what_is_there(&key.entry).then_some(())?;
            shard.key_expiries.push_back((key.forget_at, key.scope));
            shard.keys.insert(key.scope, key.entry);
        }
        Some(shard)
    }

    /// Whether the purchase that a key names, if it names one, is there, as far as it says.
    fn names_what_is_there(&self, entry: &KeyEntry) -> bool {
        match entry.outcome {
            KeyOutcome::Held(id) => self.find(id).is_some(),
            KeyOutcome::Paid { purchase, as_of } => self
                .find(purchase)
                .is_some_and(|it| it.history.first().is_some_and(|first| first.lsn <= as_of)),
            KeyOutcome::Refunded { purchase, .. } => self.find(purchase).is_some(),
            KeyOutcome::InFlight
            | KeyOutcome::Refused { .. }
            | KeyOutcome::Spent { .. }
            | KeyOutcome::Elsewhere => true,
        }
    }
}

/// Whether its history leads to its state, and its places are in the catalogue.
fn is_whole(purchase: &Purchase, catalogue: &Catalogue) -> bool {
    let history = purchase.history.iter();
    let lived = history
        .map(|happened| happened.step)
        .try_fold(None, |state, step| next_state(state, step).map(Some));
    lived == Some(Some(purchase.state))
        && catalogue.has_product(purchase.product)
        && purchase
            .promotion
            .is_none_or(|index| catalogue.has_promotion(index))
}
