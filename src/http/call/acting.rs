//! Owns an administrative act in progress: who acts, and its event in the audit trail.
//!
//! Invariants: an act that is answered with success has left one [`AdminActed`], in the same append
//! as its effect if it has one, and every other act an `AdminRefused`, both durable before the
//! response; refusals beyond `audit.refusals_per_s` of a key are only counted. Only known keys
//! reach the audit trail. It has no secret, and text that looks like a card number is shown as
//! `***`. Deliberately absent: which routes are acts, which the table of routes says.

use super::auth::Caller;
use crate::config::Role;
pub use crate::engine::event::Actor;
use crate::engine::event::{Act, ActorRole, AdminActed, Shown, Target};
use crate::ids::{RequestId, holds_card_number};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

/// An administrative act in progress.
pub struct Acting {
    act: Act,
    actor: Actor,
    described: AtomicBool,
}

impl Acting {
    pub fn new(act: Act, caller: &Caller, id: RequestId) -> Self {
        Self {
            act,
            actor: actor(caller, id),
            described: AtomicBool::new(false),
        }
    }

    pub const fn act(&self) -> Act {
        self.act
    }

    /// Who acts.
    pub fn actor(&self) -> Actor {
        self.actor.clone()
    }

    /// Whether its event was created.
    pub fn is_described(&self) -> bool {
        self.described.load(Ordering::Relaxed)
    }

    /// The event of this act, to append together with its effect.
    pub fn acted(
        &self,
        target: Option<&str>,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> AdminActed {
        self.described.store(true, Ordering::Relaxed);
        AdminActed {
            act: self.act.as_str().to_owned(),
            target: target.and_then(Target::parse),
            before: before.map(shown),
            after: after.map(shown),
            by: self.actor.clone(),
        }
    }
}

/// Who acts by this request.
pub fn actor(caller: &Caller, request: RequestId) -> Actor {
    Actor {
        request,
        owner: caller.owner.clone(),
        role: role_of(caller.role),
    }
}

/// The role as the trail has it.
pub const fn role_of(role: Role) -> ActorRole {
    match role {
        Role::Shop => ActorRole::Shop,
        Role::Admin => ActorRole::Admin,
        Role::Auditor => ActorRole::Auditor,
        Role::Metrics => ActorRole::Metrics,
    }
}

/// `value` for the audit trail: text that looks like a card number is removed.
fn shown(value: &Value) -> Shown {
    Shown::new(without_cards(value).to_string())
}

fn without_cards(value: &Value) -> Value {
    match value {
        Value::String(text) if holds_card_number(text) => "***".into(),
        Value::Array(values) => values.iter().map(without_cards).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let clean = fields.map(|(name, value)| (name.clone(), without_cards(value)));
            Value::Object(clean.collect())
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_taken_out_at_any_depth() {
        let value = serde_json::json!({"a": [{"b": "4111 1111 1111 1111"}], "n": 4_111, "t": "x"});
        let clean = r#"{"a":[{"b":"***"}],"n":4111,"t":"x"}"#;
        assert_eq!(shown(&value).as_str(), clean);
    }
}
