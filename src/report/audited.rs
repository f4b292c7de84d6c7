//! Owns the JSON of administrative acts, done and refused.

use super::merged;
use crate::engine::event::{Actor, AdminActed, AdminRefused, Shown, Target};
use serde_json::{Value, json};

pub(super) fn acted(acted: &AdminActed) -> Value {
    let fields = json!({
        "act": acted.act,
        "target": acted.target.as_ref().map(Target::as_str),
        "before": acted.before.as_ref().map(shown),
        "after": acted.after.as_ref().map(shown),
    });
    merged(fields, actor(&acted.by))
}

pub(super) fn refused(refused: &AdminRefused) -> Value {
    let fields = json!({
        "act": refused.act,
        "target": refused.target.as_ref().map(Target::as_str),
        "reason": refused.reason,
        "left_out": refused.left_out,
    });
    merged(fields, actor(&refused.by))
}

fn actor(actor: &Actor) -> Value {
    json!({
        "request_id": actor.request.to_string(),
        "key_owner": actor.owner.as_str(),
        "role": actor.role.as_str(),
    })
}

/// The stored JSON, or a string if it is not valid JSON.
fn shown(shown: &Shown) -> Value {
    let text = shown.as_str();
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
