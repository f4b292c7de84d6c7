//! Owns comparing a Redis with the data directory: what to import, what exists, what conflicts.
//!
//! Invariants: every entry that was found is counted in exactly one row; what cannot be imported
//! without loss is a conflict; if stock and sales of a product contradict each other, neither is
//! imported; the plan has room, so that writing it finds no further conflict.

use super::mapping::Meaning;
use super::outcome::ImportReport;
use super::source::RedisContents;
use crate::engine::cells::UNITS_MAX;
use crate::http::wire::idempotency::scope;
use crate::ids::{Digest16, KeyOwner, ProductId, PromotionCode, UserId};
use crate::journal::ImportTarget;
use crate::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// What to import.
#[derive(Debug, Default)]
pub(super) struct ImportPlan {
    /// Products that do not exist here: with all their units.
    pub(super) products: Vec<(ProductId, u32)>,
    pub(super) sold: Vec<(ProductId, u32)>,
    pub(super) holdings: Vec<(UserId, ProductId, u32)>,
    pub(super) uses: Vec<(PromotionCode, u32)>,
    pub(super) keys: Vec<(UserId, Digest16)>,
    pub(super) nonces: Vec<String>,
}

impl ImportPlan {
    /// Compares. `key_owner` is the owner of the idempotency keys, or why they have none.
    pub(super) fn make(
        found: &RedisContents,
        key_owner: &Result<KeyOwner, String>,
        standing: &mut ImportTarget,
        outcome: &mut ImportReport,
    ) -> Self {
        let mut plan = Self::default();
        let mut sold_to_buyers: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, product), units) in &found.holdings {
            let sold = sold_to_buyers.entry(product).or_default();
            *sold = sold.saturating_add(*units);
        }
        let mut known = BTreeSet::new();
        for (product, left) in &found.stock {
            let by_buyers = sold_to_buyers.get(product.as_str()).copied().unwrap_or(0);
            let sold = found.sold.get(product).copied().unwrap_or(by_buyers);
            if plan.product(product, *left, sold, standing, outcome) {
                known.insert(product.as_str());
            }
        }
        // Sales that belong to a stock are in that one's row.
        let alone = |product: &&String| !found.stock.contains_key(*product);
        for product in found.sold.keys().filter(alone) {
            outcome.conflict(Meaning::Sold, product, NO_STOCK);
        }
        for ((user, product), units) in &found.holdings {
            let holding = Holding {
                user,
                product,
                units: *units,
            };
            let is_planned = known.contains(product.as_str());
            let is_counted = !found.stock_is_read || found.stock.contains_key(product);
            let sold = sold_to_buyers.get(product.as_str()).copied();
            let uncounted = sold.filter(|_| !is_counted).unwrap_or(0);
            plan.holding(&holding, is_planned, uncounted, standing, outcome);
        }
        let mut spellings: BTreeMap<String, u32> = BTreeMap::new();
        for code in found.uses.keys() {
            *spellings.entry(code.to_ascii_lowercase()).or_default() += 1;
        }
        for (code, uses) in &found.uses {
            if spellings[&code.to_ascii_lowercase()] > 1 {
                let why = "it differs from another code only in upper and lower case; holdfast treats both as one promotion";
                outcome.conflict(Meaning::Promotions, code, why);
                continue;
            }
            plan.promotion(code, *uses, standing, outcome);
        }
        for (key, user) in &found.keys {
            plan.key(key, user.as_deref(), key_owner, standing, outcome);
        }
        plan.nonces(found, standing, outcome);
        plan
    }

    /// Whether the product is, or will be, as in the Redis.
    fn product(
        &mut self,
        name: &str,
        left: u64,
        sold: u64,
        standing: &mut ImportTarget,
        outcome: &mut ImportReport,
    ) -> bool {
        let is = Meaning::Stock;
        let Some(product) = ProductId::parse(name) else {
            outcome.conflict(is, name, NO_ID);
            return false;
        };
        let all = left.saturating_add(sold);
        let units = |count: u64| u32::try_from(count).ok().filter(|it| *it <= UNITS_MAX);
        let (Some(total), Some(sold)) = (units(all), units(sold)) else {
            outcome.conflict(
                is,
                name,
                &format!("{all} units exceed the maximum of a product"),
            );
            return false;
        };
        let Some((levels, imported)) = standing.product(&product) else {
            if !standing.room_for_product() {
                outcome.conflict(is, name, "engine.products_max is reached; raise it");
                return false;
            }
            self.products.push((product.clone(), total));
            self.sold.extend((sold > 0).then_some((product, sold)));
            outcome.take(is);
            return true;
        };
        if levels.total != total {
            let why = format!(
                "{left} left and {sold} sold are {total} units, but holdfast has {}; set its stock first",
                levels.total
            );
            outcome.conflict(is, name, &why);
            return false;
        }
        let here = levels.held + (levels.sold - imported);
        if here + sold > total {
            let why = format!(
                "{here} units are held and sold in holdfast and {sold} in Redis, of {total}"
            );
            outcome.conflict(is, name, &why);
            return false;
        }
        if imported == sold {
            outcome.there(is);
        } else {
            self.sold.push((product, sold));
            outcome.take(is);
        }
        true
    }

    /// `uncounted` is how many units of the product buyers have that no stock accounts for.
    fn holding(
        &mut self,
        holding: &Holding<'_>,
        is_planned: bool,
        uncounted: u64,
        standing: &mut ImportTarget,
        outcome: &mut ImportReport,
    ) {
        let is = Meaning::Holdings;
        let shown = format!("{} {}", holding.user, holding.product);
        let ids = UserId::parse(holding.user).zip(ProductId::parse(holding.product));
        let Some((user, product)) = ids else {
            return outcome.conflict(is, &shown, NO_ID);
        };
        let there = standing.product(&product);
        if !is_planned && there.is_none() {
            let why = "holdfast has no such product; create it, then repeat";
            return outcome.conflict(is, &shown, why);
        }
        // They would stay on sale here.
        if there.is_some_and(|(_, imported)| uncounted > u64::from(imported)) {
            return outcome.conflict(is, &shown, NO_STOCK);
        }
        let units = u32::try_from(holding.units).ok();
        let Some(units) = units.filter(|it| *it <= UNITS_MAX) else {
            return outcome.conflict(is, &shown, "more units than the maximum of a product");
        };
        if standing.holdings(&user, &product) == units {
            outcome.there(is);
        } else if standing.room_for_holding(&user) {
            self.holdings.push((user, product, units));
            outcome.take(is);
        } else {
            outcome.conflict(is, &shown, NO_ROOM_FOR_BUYERS);
        }
    }

    fn promotion(
        &mut self,
        name: &str,
        uses: u64,
        standing: &ImportTarget,
        outcome: &mut ImportReport,
    ) {
        let is = Meaning::Promotions;
        let Some(code) = PromotionCode::parse(name) else {
            return outcome.conflict(is, name, NO_ID);
        };
        let Some((levels, imported)) = standing.promotion(&code) else {
            let why = "holdfast has no such promotion; create it, then repeat";
            return outcome.conflict(is, name, why);
        };
        let here = levels.uses - imported;
        let fits = |uses: &u32| here.checked_add(*uses).is_some_and(|all| all <= levels.max);
        match u32::try_from(uses).ok().filter(fits) {
            None => {
                let why = format!(
                    "{here} uses in holdfast and {uses} in Redis, of {}",
                    levels.max
                );
                outcome.conflict(is, name, &why);
            }
            Some(uses) if uses == imported => outcome.there(is),
            Some(uses) => {
                self.uses.push((code, uses));
                outcome.take(is);
            }
        }
    }

    fn key(
        &mut self,
        key: &str,
        user: Option<&str>,
        owner: &Result<KeyOwner, String>,
        standing: &mut ImportTarget,
        outcome: &mut ImportReport,
    ) {
        let is = Meaning::Keys;
        let Some(user) = user else {
            let why = "neither its name nor its JSON has a `user_id`";
            return outcome.conflict(is, key, why);
        };
        let Some(user) = UserId::parse(user) else {
            return outcome.conflict(is, key, NO_ID);
        };
        let owner = match owner {
            Ok(owner) => owner,
            Err(why) => return outcome.conflict(is, key, why),
        };
        let scope = scope(owner, user.as_str(), key.as_bytes());
        if standing.knows_key(&user, scope) {
            outcome.there(is);
        } else if standing.room_for_key(&user) {
            self.keys.push((user, scope));
            outcome.take(is);
        } else {
            outcome.conflict(is, key, NO_ROOM_FOR_BUYERS);
        }
    }

    fn nonces(
        &mut self,
        found: &RedisContents,
        standing: &ImportTarget,
        outcome: &mut ImportReport,
    ) {
        let is = Meaning::Nonces;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        for nonce in &found.nonces {
            let one = std::slice::from_ref(nonce);
            match standing.unknown_nonces(one, UnixMs::new(now_ms)) {
                None => outcome.conflict(is, nonce, "webhooks.nonces_max is reached; raise it"),
                Some(0) => outcome.there(is),
                Some(_) => {
                    self.nonces.push(nonce.clone());
                    outcome.take(is);
                }
            }
        }
    }
}

/// A buyer's units of a product.
struct Holding<'a> {
    user: &'a str,
    product: &'a str,
    units: u64,
}

const NO_STOCK: &str = "no stock of this product was found, so its sold units would be sold again";
const NO_ROOM_FOR_BUYERS: &str = "engine.buyers_max or engine.keys_max is reached; raise it";
const NO_ID: &str = "an id must be 1 to 64 characters of A-Z a-z 0-9 _ . : -";
