//! Owns applying what was imported from the system that sold before.
//!
//! Invariants: a baseline replaces the one before it, so applying it twice changes nothing; a key
//! with an outcome of this core keeps it. Deliberately absent: baselines of products and
//! promotions, which the catalogue owns.

use crate::engine::cells::UNITS_MAX;
use crate::engine::event::{HoldingsImported, IdempotencyKey, KeyImported};
use crate::engine::state::buyer::{tally_add, tally_of, tally_take};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::keys::KeyOutcome;
use crate::engine::state::shard::Shard;
use crate::engine::words::settings::Limits;
use crate::engine::words::stamp::Stamp;
use crate::ids::Digest16;

impl Shard {
    pub(in crate::engine::state) fn apply_holdings(
        &mut self,
        imported: &HoldingsImported,
        catalogue: &Catalogue,
    ) -> Result<(), &'static str> {
        let product = catalogue
            .product(&imported.product)
            .ok_or("its product was never set")?
            .index;
        if imported.units > UNITS_MAX {
            return Err("it exceeds the maximum of a product");
        }
        let index = self.buyer_index(&imported.user);
        let buyer = &mut self.buyers[index];
        let elsewhere = buyer.more.as_ref().map_or(&[][..], |it| &it.imported);
        let before = tally_of(elsewhere, product);
        let others = tally_of(&buyer.committed, product) - before;
        if others.checked_add(imported.units).is_none() {
            return Err("it is too large to be counted");
        }
        if before > 0 {
            tally_take(&mut buyer.committed, product, before);
            tally_take(&mut buyer.more_mut().imported, product, before);
        }
        if imported.units > 0 {
            tally_add(&mut buyer.committed, product, imported.units);
            tally_add(&mut buyer.more_mut().imported, product, imported.units);
        }
        self.note_idle(index);
        Ok(())
    }

    pub(in crate::engine::state) fn apply_key(
        &mut self,
        imported: &KeyImported,
        stamp: Stamp,
        limits: Limits,
    ) {
        let owner = self.buyer_index(&imported.user);
        if self.knows_key(imported.scope) {
            return;
        }
        let key = IdempotencyKey {
            scope: imported.scope,
            fingerprint: Digest16([0; 16]),
        };
        self.remember(owner, Some(key), KeyOutcome::Elsewhere, stamp.at, limits);
    }
}
