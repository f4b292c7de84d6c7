//! Terms of products, promotions and buyers as PUT takes them: a test names what matters to it.

use serde_json::{Value, json};

/// A product's terms as PUT takes them, with what `given` says and else without limits.
pub fn product_terms(given: &Value) -> Value {
    let open = json!({"per_user_limit": null, "starts_at": null, "ends_at": null, "active": true});
    over(open, given)
}

/// A promotion's terms, likewise.
pub fn promotion_terms(given: &Value) -> Value {
    let open =
        json!({"uses_per_user_max": null, "starts_at": null, "ends_at": null, "active": true});
    over(open, given)
}

/// What is known of a buyer as PUT takes it, with what `given` says and else nothing.
pub fn rating_terms(given: &Value) -> Value {
    over(
        json!({"segment": null, "risk_score": null, "account_since": null}),
        given,
    )
}

fn over(mut all: Value, given: &Value) -> Value {
    for (name, value) in given.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all
}
