//! Owns the JSON of imports from the system that sold before.

use crate::engine::event::{
    HoldingsImported, KeyImported, NoncesImported, PromotionUsesImported, StockImported,
};
use serde_json::{Value, json};

pub(super) fn stock(imported: &StockImported) -> Value {
    json!({
        "product_id": imported.product.as_str(),
        "sold": imported.sold,
    })
}

pub(super) fn uses(imported: &PromotionUsesImported) -> Value {
    json!({
        "promotion_code": imported.code.as_str(),
        "uses": imported.uses,
    })
}

pub(super) fn holdings(imported: &HoldingsImported) -> Value {
    json!({
        "product_id": imported.product.as_str(),
        "units": imported.units,
    })
}

pub(super) fn key(imported: &KeyImported) -> Value {
    json!({ "scope": hex::encode(imported.scope.0) })
}

pub(super) fn nonces(imported: &NoncesImported) -> Value {
    json!({ "nonces": imported.nonces.len() })
}
