//! Owns the demo's drop, which `serve --demo` puts on sale.
//!
//! Invariant: existing products and promotions stay as they are.

use super::serve::Failure;
use crate::engine::event::{Active, AdminAct, Discount, ProductSet, PromotionSet};
use crate::ids::{KeyOwner, ProductId, PromotionCode, RequestId};
use crate::journal::{Journal, Set, StorageFault, WriteError};
use crate::money::{Currency, Price};

/// Puts the demo's drop and promotion on sale if they do not exist.
pub(super) fn put_on_sale(journal: &Journal) -> Result<(), Failure> {
    const PARSES: &str = "the demo's names keep to the alphabet of ids";
    let by = AdminAct {
        request: RequestId(0),
        owner: KeyOwner::parse("demo").expect(PARSES),
    };
    let price =
        |(code, minor_units): (&str, i64)| Some((Currency::parse(code)?, Price::new(minor_units)?));
    let product = ProductId::parse("drop-1").expect(PARSES);
    if journal.reads().product(&product).is_none() {
        let set = ProductSet {
            product: product.clone(),
            name: "Demo drop".to_owned(),
            prices: [("EUR", 1_899), ("KRW", 25_000), ("USD", 1_999)]
                .into_iter()
                .filter_map(price)
                .collect(),
            stock: 100,
            per_user_limit: Some(2),
            starts_at: None,
            ends_at: None,
            active: Active::Yes,
            hold_ttl_ms: None,
            reward_tokens: 0,
            by: by.clone(),
        };
        durable(journal, journal.catalogue().put_product(set))?;
    }
    let code = PromotionCode::parse("DEMO10").expect(PARSES);
    if journal.reads().promotion(&code).is_none() {
        let set = PromotionSet {
            code,
            discount: Discount::Percent(10),
            uses_max: 50,
            uses_per_user_max: Some(1),
            products: vec![product],
            segments: Vec::new(),
            starts_at: None,
            ends_at: None,
            active: Active::Yes,
            by,
        };
        durable(journal, journal.catalogue().put_promotion(set))?;
    }
    Ok(())
}

/// Waits until what was set is durable. It is refused only where the catalogue is full, and then the
/// demo is not what it is for.
fn durable<View>(
    journal: &Journal,
    set: Result<Set<View>, WriteError>,
) -> Result<(), StorageFault> {
    match set {
        Ok(set) => journal.wait_durable(set.durable_at),
        Err(WriteError::Refused(_)) => Ok(()),
        Err(WriteError::Fault(fault)) => Err(fault),
    }
}
