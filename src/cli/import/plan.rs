//! Owns comparing what a Redis knows with what the data directory has: what is to be taken over,
//! what is there, what contradicts.
//!
//! Invariants: every entry that was found ends in exactly one row; where stock and sales of the
//! two do not go together, nothing of the product is taken.

use super::mapping::Meaning;
use super::outcome::Outcome;
use super::source::Found;
use crate::engine::cells::UNITS_MAX;
use crate::http::idempotency::scope;
use crate::ids::{Digest16, KeyOwner, ProductId, PromotionCode, UserId};
use crate::journal::Standing;
use crate::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is to be taken over.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Products that are not there: with all their units.
    pub(super) products: Vec<(ProductId, u32)>,
    pub(super) sold: Vec<(ProductId, u32)>,
    pub(super) holdings: Vec<(UserId, ProductId, u32)>,
    pub(super) uses: Vec<(PromotionCode, u32)>,
    pub(super) keys: Vec<(UserId, Digest16)>,
    pub(super) nonces: Vec<String>,
}

impl Plan {
    /// Compares.
    pub(super) fn make(found: &Found, standing: &Standing, outcome: &mut Outcome) -> Self {
        let mut plan = Self::default();
        let mut sold_to_buyers: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, product), units) in &found.holdings {
            *sold_to_buyers.entry(product).or_default() += units;
        }
        let mut known = BTreeSet::new();
        for (product, left) in &found.stock {
            let by_buyers = sold_to_buyers.get(product.as_str()).copied().unwrap_or(0);
            let sold = found.sold.get(product).copied().unwrap_or(by_buyers);
            if plan.product(product, *left, sold, standing, outcome) {
                known.insert(product.as_str());
            }
        }
        // What goes with a stock is in that one's row.
        let alone = |product: &&String| !found.stock.contains_key(*product);
        for product in found.sold.keys().filter(alone) {
            outcome.skip(Meaning::Sold, product, "no stock of it was found");
        }
        for ((user, product), units) in &found.holdings {
            let is_known = known.contains(product.as_str());
            plan.holding(user, product, *units, is_known, standing, outcome);
        }
        let mut spellings: BTreeMap<String, u32> = BTreeMap::new();
        for code in found.uses.keys() {
            *spellings.entry(code.to_ascii_lowercase()).or_default() += 1;
        }
        for (code, uses) in &found.uses {
            if spellings[&code.to_ascii_lowercase()] > 1 {
                let why =
                    "another code differs from it in upper and lower case only: one promotion here";
                outcome.conflict(Meaning::Promotions, code, why);
                continue;
            }
            plan.promotion(code, *uses, standing, outcome);
        }
        for (key, user) in &found.keys {
            plan.key(key, user.as_deref(), &found.key_owner, standing, outcome);
        }
        plan.nonces(found, standing, outcome);
        plan
    }

    /// Whether the product is, or will be, as the Redis says.
    fn product(
        &mut self,
        name: &str,
        left: u64,
        sold: u64,
        standing: &Standing,
        outcome: &mut Outcome,
    ) -> bool {
        let is = Meaning::Stock;
        let Some(product) = ProductId::parse(name) else {
            outcome.skip(is, name, NO_ID);
            return false;
        };
        let all = left.saturating_add(sold);
        let units = |count: u64| u32::try_from(count).ok().filter(|it| *it <= UNITS_MAX);
        let (Some(total), Some(sold)) = (units(all), units(sold)) else {
            outcome.conflict(
                is,
                name,
                &format!("{all} units are more than a product can have"),
            );
            return false;
        };
        let Some((levels, imported)) = standing.product(&product) else {
            self.products.push((product.clone(), total));
            self.sold.extend((sold > 0).then_some((product, sold)));
            outcome.take(is);
            return true;
        };
        if levels.total != total {
            let why = format!(
                "{left} left and {sold} sold make {total} units, and the core has {}; set its stock first",
                levels.total
            );
            outcome.conflict(is, name, &why);
            return false;
        }
        let here = levels.held + (levels.sold - imported);
        if here + sold > total {
            let why = format!("{here} units are held and sold here and {sold} there, of {total}");
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

    fn holding(
        &mut self,
        user: &str,
        product: &str,
        units: u64,
        planned: bool,
        standing: &Standing,
        outcome: &mut Outcome,
    ) {
        let is = Meaning::Holdings;
        let shown = format!("{user} {product}");
        let (Some(user), Some(product)) = (UserId::parse(user), ProductId::parse(product)) else {
            return outcome.skip(is, &shown, NO_ID);
        };
        if !planned && standing.product(&product).is_none() {
            return outcome.skip(
                is,
                &shown,
                "the core has no such product; set it, then repeat",
            );
        }
        let Some(units) = u32::try_from(units).ok().filter(|it| *it <= UNITS_MAX) else {
            return outcome.conflict(is, &shown, "more units than a product can have");
        };
        if standing.holdings(&user, &product) == units {
            outcome.there(is);
        } else {
            self.holdings.push((user, product, units));
            outcome.take(is);
        }
    }

    fn promotion(&mut self, name: &str, uses: u64, standing: &Standing, outcome: &mut Outcome) {
        let is = Meaning::Promotions;
        let Some(code) = PromotionCode::parse(name) else {
            return outcome.skip(is, name, NO_ID);
        };
        let Some((levels, imported)) = standing.promotion(&code) else {
            let why = "the core has no such promotion; set it, then repeat";
            return outcome.skip(is, name, why);
        };
        let here = levels.uses - imported;
        let fits = |uses: &u32| here.checked_add(*uses).is_some_and(|all| all <= levels.max);
        match u32::try_from(uses).ok().filter(fits) {
            None => {
                let why = format!("{here} uses here and {uses} there, of {}", levels.max);
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
        owner: &str,
        standing: &Standing,
        outcome: &mut Outcome,
    ) {
        let is = Meaning::Keys;
        let Some(user) = user else {
            let why = "neither its name nor its JSON says whose it is (`user_id`)";
            return outcome.skip(is, key, why);
        };
        let (Some(user), Some(owner)) = (UserId::parse(user), KeyOwner::parse(owner)) else {
            return outcome.skip(is, key, NO_ID);
        };
        let scope = scope(&owner, user.as_str(), key.as_bytes());
        if standing.knows_key(&user, scope) {
            outcome.there(is);
        } else {
            self.keys.push((user, scope));
            outcome.take(is);
        }
    }

    fn nonces(&mut self, found: &Found, standing: &Standing, outcome: &mut Outcome) {
        let is = Meaning::Nonces;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        for nonce in &found.nonces {
            let one = std::slice::from_ref(nonce);
            match standing.unknown_nonces(one, UnixMs::new(now_ms)) {
                None => outcome.conflict(is, nonce, "no room; raise webhooks.nonces_max"),
                Some(0) => outcome.there(is),
                Some(_) => {
                    self.nonces.push(nonce.clone());
                    outcome.take(is);
                }
            }
        }
    }
}

const NO_ID: &str = "an id has 1 to 64 characters of A-Z a-z 0-9 _ . : -";
