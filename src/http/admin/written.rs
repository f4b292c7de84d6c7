//! Owns what a body of PUT or PATCH writes: the whole terms, or a merge patch (RFC 7396) onto the current
//! ones.
//!
//! Invariant: what a patch leaves is read like a whole document, so no rule of the terms differs between
//! the two. Deliberately absent: what the fields mean (`terms`).

use crate::engine::refusal::Refusal;
use crate::http::wire::fields::{Fields, InvalidBody};
use serde_json::{Map, Value};

/// The fields of a product's terms.
const PRODUCT_FIELDS: &[&str] = &[
    "name",
    "price",
    "stock",
    "per_user_limit",
    "starts_at",
    "ends_at",
    "active",
    "hold_ttl_s",
    "reward_tokens",
];

/// The fields of a promotion's terms.
const PROMOTION_FIELDS: &[&str] = &[
    "percent_off",
    "amount_off",
    "uses_max",
    "uses_per_user_max",
    "product_ids",
    "segments",
    "starts_at",
    "ends_at",
    "active",
];

/// The fields from which null removes a limit.
const NULLABLE_FIELDS: [&str; 4] = [
    "per_user_limit",
    "uses_per_user_max",
    "starts_at",
    "ends_at",
];

/// The body of PUT or PATCH.
#[derive(Debug)]
pub enum Written {
    /// The whole terms.
    Whole(Fields),
    /// A patch to merge into the current terms (RFC 7396).
    Patch(Map<String, Value>),
}

impl Written {
    /// The terms in `body`, with the fields `known`.
    pub fn whole(body: &[u8], known: Terms) -> Self {
        Self::Whole(Fields::of(body, known.fields()))
    }

    /// The patch in `body`, with the fields `known`.
    pub fn patch(body: &[u8], known: Terms) -> Result<Self, InvalidBody> {
        let patch = Fields::of(body, known.fields()).into_values();
        patch
            .map(Self::Patch)
            .map_err(|errors| (Refusal::InvalidRequest, errors))
    }

    pub(super) fn onto(self, standing: impl FnOnce() -> Value) -> Fields {
        let patch = match self {
            Self::Whole(fields) => return fields,
            Self::Patch(patch) => patch,
        };
        let mut merged = standing();
        merge(&mut merged, Value::Object(patch));
        let Value::Object(mut merged) = merged else {
            unreachable!("an object merged into an object is one");
        };
        // A merge patch removes fields that are null; for these fields null is the value for no
        // limit.
        for name in NULLABLE_FIELDS {
            merged.entry(name).or_insert(Value::Null);
        }
        Fields::of_values(merged)
    }
}

/// The kind of terms.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Terms {
    Product,
    Promotion,
}

impl Terms {
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Product => PRODUCT_FIELDS,
            Self::Promotion => PROMOTION_FIELDS,
        }
    }
}

/// Merges `patch` into `target` by RFC 7396. The depth of both was limited when they were parsed.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        unreachable!("it was made an object just now");
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn merging_agrees_with_the_standard() {
        for (target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, patch.clone());
            assert_eq!(merged, expected, "{target} {patch}");
        }
    }
}
