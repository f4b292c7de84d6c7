//! Owns the external names of events: a `CloudEvents` type for each kind.
//!
//! Invariants: a type ends in the version of its schema (`docs/events/`). Within a version a schema
//! only grows; an incompatible change is a new version with a new name.
//! Deliberately absent: the schemas, which are files; a test compares them with the events.

use crate::engine::event::Event;
use std::sync::LazyLock;

/// Kinds whose type does not follow the rule.
const NAMED: [(&str, &str); 1] = [("payment_captured", "holdfast.purchase.captured.v1")];

static TYPES: LazyLock<Vec<(&'static str, String)>> = LazyLock::new(|| {
    Event::KINDS
        .iter()
        .map(|kind| (*kind, type_by_rule(kind)))
        .collect()
});

/// The `CloudEvents` type of events of `kind`: `hold_placed` is `holdfast.hold.placed.v1`.
///
/// # Panics
///
/// If `kind` is not in [`Event::KINDS`].
pub fn event_type(kind: &str) -> &'static str {
    let known = TYPES.iter().find(|(name, _)| *name == kind);
    known.map_or_else(
        || panic!("{kind} is not in the list of kinds"),
        |(_, name)| name,
    )
}

/// Every kind with its type, in the order of the kinds.
pub fn event_types() -> impl Iterator<Item = (&'static str, &'static str)> {
    TYPES.iter().map(|(kind, name)| (*kind, name.as_str()))
}

fn type_by_rule(kind: &str) -> String {
    if let Some((_, name)) = NAMED.iter().find(|(named, _)| *named == kind) {
        return (*name).to_owned();
    }
    let (thing, past) = kind.rsplit_once('_').unwrap_or(("core", kind));
    format!("holdfast.{thing}.{past}.v1")
}
