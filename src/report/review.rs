//! Owns the JSON of reviews: opened, and decided, with who and why.

use super::{by, merged};
use crate::engine::event::{Decider, ReviewDecided, ReviewOpened, ReviewVerdict};
use serde_json::{Value, json};

pub(super) fn opened(opened: &ReviewOpened) -> Value {
    json!({
        "reasons": opened.reasons,
        "deadline": opened.deadline.to_string(),
    })
}

pub(super) fn decided(decided: &ReviewDecided) -> Value {
    let (verdict, void_deadline) = match decided.verdict {
        ReviewVerdict::Approved => ("approved", None),
        ReviewVerdict::Rejected(void_by) => ("rejected", Some(void_by.to_string())),
    };
    let fields = json!({ "verdict": verdict, "void_deadline": void_deadline });
    match &decided.decider {
        Decider::Person(judgement) => {
            let person = json!({ "decided_by": "person", "note": judgement.note });
            merged(merged(fields, person), by(&judgement.by))
        }
        Decider::Deadline => merged(fields, json!({ "decided_by": "deadline" })),
    }
}
