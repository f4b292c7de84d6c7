//! Owns how reviews look outside: opened, and decided with who and why.

use super::{by, merged};
use crate::engine::event::{Decider, Event, ReviewDecided, ReviewVerdict};
use serde_json::{Value, json};

pub(super) fn fields_of(event: &Event) -> Value {
    match event {
        Event::ReviewOpened(opened) => json!({
            "reasons": opened.reasons,
            "deadline": opened.deadline.to_string(),
        }),
        Event::ReviewDecided(decided) => decision(decided),
        _ => json!({}),
    }
}

fn decision(decided: &ReviewDecided) -> Value {
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
