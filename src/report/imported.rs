//! Owns how what was taken over from the system that sold before looks outside.

use crate::engine::event::Event;
use serde_json::{Value, json};

pub(super) fn fields_of(event: &Event) -> Value {
    match event {
        Event::StockImported(imported) => json!({
            "product_id": imported.product.as_str(),
            "sold": imported.sold,
        }),
        Event::PromotionUsesImported(imported) => json!({
            "promotion_code": imported.code.as_str(),
            "uses": imported.uses,
        }),
        Event::HoldingsImported(imported) => json!({
            "product_id": imported.product.as_str(),
            "units": imported.units,
        }),
        Event::KeyImported(imported) => json!({ "scope": hex::encode(imported.scope.0) }),
        Event::NoncesImported(imported) => json!({ "nonces": imported.nonces.len() }),
        _ => json!({}),
    }
}
