//! Folds printed events into a world of numbered units, each with at most one owner.
//!
//! Held after every single event: I1 (`total = free + held + sold`, nothing negative), I2 (uses of
//! a promotion ≤ its maximum), I3 (one outcome a key), I4 (one owner a unit), and nobody above the
//! product's limit. A log that breaks one of them fails the test at that LSN.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The world as of the last event.
#[derive(Default)]
pub struct Fold {
    pub events: u64,
    pub kinds: BTreeMap<String, u64>,
    pub refusals: BTreeMap<String, u64>,
    pub products: BTreeMap<String, Product>,
    pub promotions: BTreeMap<String, Promotion>,
    pub purchases: HashMap<String, Purchase>,
    keys: HashMap<String, String>,
    lsn: Option<u64>,
}

#[derive(Default)]
pub struct Product {
    pub total: u64,
    pub held: u64,
    pub sold: u64,
    per_user_limit: Option<u64>,
    /// Units that nobody has.
    free: BTreeSet<u64>,
    owners: BTreeMap<u64, String>,
    units_made: u64,
    standing: HashMap<String, u64>,
}

#[derive(Default)]
pub struct Promotion {
    pub max: u64,
    pub uses: u64,
    per_user_max: Option<u64>,
    by_user: HashMap<String, u64>,
}

#[derive(Clone)]
pub struct Purchase {
    pub product: String,
    pub user: String,
    pub units: Vec<u64>,
    pub promotion: Option<String>,
    pub stage: Stage,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Held,
    Sold,
    Gone,
}

/// Refusals that their key does not remember.
const FORGOTTEN: [&str; 9] = [
    "rate_limited",
    "idempotency_in_flight",
    "idempotency_key_reused",
    "overloaded",
    "storage_unavailable",
    "invalid_request",
    "invalid_card_token",
    "currency_not_allowed",
    "wrong_state",
];

impl Fold {
    /// The next event.
    pub fn apply(&mut self, event: &Value) {
        let lsn = event["lsn"].as_u64().unwrap();
        assert!(self.lsn < Some(lsn), "out of order: {event}");
        self.lsn = Some(lsn);
        self.events += 1;
        let kind = text(event, "kind");
        *self.kinds.entry(kind.clone()).or_default() += 1;
        match kind.as_str() {
            "product_set" => self.product_set(event),
            "promotion_set" => self.promotion_set(event),
            "hold_placed" => self.placed(event),
            // An earlier hold lives on after a decline, and may be paid again.
            "payment_declined" if event["hold"] == "kept" => {}
            "hold_released" | "hold_expired" | "payment_declined" | "payment_voided" => {
                self.ended(event);
            }
            "payment_started" => self.key_has(event, &text(event, "purchase_id")),
            "payment_captured" => self.captured(event),
            "attempt_refused" => self.refused(event),
            _ => {}
        }
    }

    fn product_set(&mut self, event: &Value) {
        let product = self.products.entry(text(event, "product_id")).or_default();
        let total = event["stock"].as_u64().unwrap();
        while product.total < total {
            product.free.insert(product.units_made);
            product.units_made += 1;
            product.total += 1;
        }
        while product.total > total {
            let gone = product.free.pop_last();
            assert!(gone.is_some(), "total below what is committed: {event}");
            product.total -= 1;
        }
        product.per_user_limit = event["per_user_limit"].as_u64();
        product.balance(event);
    }

    fn promotion_set(&mut self, event: &Value) {
        let code = text(event, "promotion_code");
        let promotion = self.promotions.entry(code).or_default();
        promotion.max = event["uses_max"].as_u64().unwrap();
        promotion.per_user_max = event["uses_per_user_max"].as_u64();
        assert!(promotion.uses <= promotion.max, "I2: {event}");
    }

    fn placed(&mut self, event: &Value) {
        let id = text(event, "purchase_id");
        let user = text(event, "user_id");
        let name = text(event, "product_id");
        let quantity = event["quantity"].as_u64().unwrap();
        if event["flow"] == "hold" {
            self.key_has(event, &id);
        }
        let product = self.products.get_mut(&name).expect("a product that is set");
        let mut units = Vec::new();
        for _ in 0..quantity {
            let unit = product.free.pop_first();
            let unit = unit.unwrap_or_else(|| panic!("I1: no unit is left for {event}"));
            let owner = product.owners.insert(unit, id.clone());
            assert_eq!(owner, None, "I4: unit {unit} has an owner: {event}");
            units.push(unit);
        }
        product.held += quantity;
        product.balance(event);
        let standing = product.standing.entry(user.clone()).or_default();
        *standing += quantity;
        let limit = product.per_user_limit.unwrap_or(u64::MAX);
        assert!(*standing <= limit, "above the buyer's limit: {event}");
        let promotion = event["promotion_code"].as_str().map(str::to_owned);
        if let Some(code) = &promotion {
            let promotion = self.promotions.get_mut(code).expect("one that is set");
            promotion.uses += 1;
            assert!(promotion.uses <= promotion.max, "I2: {event}");
            let by_user = promotion.by_user.entry(user.clone()).or_default();
            *by_user += 1;
            let most = promotion.per_user_max.unwrap_or(u64::MAX);
            assert!(*by_user <= most, "I2, for one buyer: {event}");
        }
        let purchase = Purchase {
            product: name,
            user,
            units,
            promotion,
            stage: Stage::Held,
        };
        let twice = self.purchases.insert(id, purchase);
        assert!(twice.is_none(), "I4: placed twice: {event}");
    }

    /// The purchase leaves `Held`, which it can do once.
    fn leave(&mut self, event: &Value, to: Stage) -> Purchase {
        let id = text(event, "purchase_id");
        let purchase = self.purchases.get_mut(&id);
        let purchase = purchase.unwrap_or_else(|| panic!("never placed: {event}"));
        assert_eq!(purchase.stage, Stage::Held, "I4: ended before: {event}");
        let user = event["user_id"].as_str();
        assert_eq!(user, Some(&*purchase.user), "another's purchase: {event}");
        purchase.stage = to;
        purchase.clone()
    }

    fn ended(&mut self, event: &Value) {
        let purchase = self.leave(event, Stage::Gone);
        let id = text(event, "purchase_id");
        let product = self.products.get_mut(&purchase.product).unwrap();
        for unit in &purchase.units {
            let owner = product.owners.remove(unit);
            assert_eq!(owner.as_ref(), Some(&id), "I4: unit {unit}: {event}");
            product.free.insert(*unit);
        }
        product.held -= purchase.units.len() as u64;
        product.balance(event);
        *product.standing.get_mut(&purchase.user).unwrap() -= purchase.units.len() as u64;
        if let Some(code) = &purchase.promotion {
            let promotion = self.promotions.get_mut(code).unwrap();
            promotion.uses -= 1;
            *promotion.by_user.get_mut(&purchase.user).unwrap() -= 1;
        }
    }

    fn captured(&mut self, event: &Value) {
        let purchase = self.leave(event, Stage::Sold);
        let product = self.products.get_mut(&purchase.product).unwrap();
        product.held -= purchase.units.len() as u64;
        product.sold += purchase.units.len() as u64;
        product.balance(event);
    }

    fn refused(&mut self, event: &Value) {
        let reason = text(event, "reason");
        if !FORGOTTEN.contains(&reason.as_str()) {
            self.key_has(event, &format!("refused at {}", event["lsn"]));
        }
        *self.refusals.entry(reason).or_default() += 1;
    }

    /// I3: what stands under a key never changes.
    fn key_has(&mut self, event: &Value, outcome: &str) {
        let Some(scope) = event["idempotency"]["scope"].as_str() else {
            return;
        };
        let stands = self.keys.entry(scope.to_owned());
        let stands = stands.or_insert_with(|| outcome.to_owned());
        assert_eq!(stands, outcome, "I3: two outcomes under one key: {event}");
    }

    /// Units sold and held of `product`.
    pub fn levels(&self, product: &str) -> (u64, u64) {
        let product = &self.products[product];
        (product.sold, product.held)
    }

    /// The purchases that were captured.
    pub fn sold(&self) -> BTreeSet<String> {
        let sold = self.purchases.iter();
        let sold = sold.filter(|(_, purchase)| purchase.stage == Stage::Sold);
        sold.map(|(id, _)| id.clone()).collect()
    }

    pub fn count(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or(0)
    }
}

impl Product {
    fn balance(&self, event: &Value) {
        let free = self.free.len() as u64;
        assert_eq!(self.total, free + self.held + self.sold, "I1: {event}");
        let owned = self.owners.len() as u64;
        assert_eq!(owned, self.held + self.sold, "I4: {event}");
    }
}

fn text(event: &Value, field: &str) -> String {
    let text = event[field].as_str();
    text.unwrap_or_else(|| panic!("no {field}: {event}"))
        .to_owned()
}
