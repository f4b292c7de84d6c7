//! Owns applying what was taken over from the system that sold before.
//!
//! Invariants: a baseline replaces the one before it, so applying the same twice changes nothing; a
//! key that has an outcome here keeps it. Deliberately absent: baselines of products and promotions,
//! which the catalogue has.

use crate::engine::apply::Stamp;
use crate::engine::catalogue::Catalogue;
use crate::engine::cells::UNITS_MAX;
use crate::engine::event::{HoldingsImported, IdempotencyKey, KeyImported};
use crate::engine::settings::Limits;
use crate::engine::shard::{KeyOutcome, Shard, tally_add, tally_of, tally_take};
use crate::ids::{Digest16, ProductId, UserId};

impl Shard {
    pub(super) fn apply_holdings(
        &mut self,
        imported: &HoldingsImported,
        catalogue: &Catalogue,
    ) -> Result<(), &'static str> {
        let product = catalogue
            .product(&imported.product)
            .ok_or("its product was never set")?
            .index;
        if imported.units > UNITS_MAX {
            return Err("it is more than a product can have");
        }
        let buyer = self.buyer_index(&imported.user);
        let place = (buyer, product);
        let before = if imported.units == 0 {
            self.imported.remove(&place)
        } else {
            self.imported.insert(place, imported.units)
        };
        let committed = &mut self.buyers[buyer.0 as usize].committed;
        let others = tally_of(committed, product) - before.unwrap_or(0);
        if others.checked_add(imported.units).is_none() {
            return Err("it is more than can be counted");
        }
        if let Some(before) = before {
            tally_take(committed, product, before);
        }
        if imported.units > 0 {
            tally_add(committed, product, imported.units);
        }
        Ok(())
    }

    pub(super) fn apply_key(&mut self, imported: &KeyImported, stamp: Stamp, limits: Limits) {
        self.buyer_index(&imported.user);
        if self.knows_key(imported.scope) {
            return;
        }
        let key = IdempotencyKey {
            scope: imported.scope,
            fingerprint: Digest16([0; 16]),
        };
        self.remember(Some(key), KeyOutcome::Elsewhere, stamp.at, limits);
    }

    /// Whether something stands under the key.
    pub fn knows_key(&self, scope: Digest16) -> bool {
        self.keys.contains_key(&scope)
    }

    /// Units of `product` that `user` bought elsewhere.
    pub fn imported_units(&self, user: &UserId, product: &ProductId, catalogue: &Catalogue) -> u32 {
        let found = self.buyer_places.get(user).zip(catalogue.product(product));
        let units = found.and_then(|(buyer, product)| self.imported.get(&(*buyer, product.index)));
        units.copied().unwrap_or(0)
    }
}
