//! Owns the operator's request for the charges of the sandbox gateway.

use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::Reason;
use crate::http::wire::query::Query;
use crate::payments::gateway::Reference;
use crate::payments::sandbox::Sandbox;
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Maximum number of charges per page.
const LIMIT_MAX: u64 = 100_000;
const LIMIT_DEFAULT: u64 = 1_000;

/// The sandbox gateway's charges.
pub struct SandboxCharges {
    pub sandbox: Option<Arc<Sandbox>>,
}

impl SandboxCharges {
    pub fn list(&self, call: &Call) -> Answer {
        let Some(sandbox) = &self.sandbox else {
            return call.problem(Reason::NotFound);
        };
        let mut query = Query::of(call.parts.uri.query(), &["after", "limit"]);
        let after = query.parsed(
            "after",
            "must be the value of next from an earlier answer",
            |text| Reference::parse(text).map(|_| text.to_owned()),
        );
        let limit = query
            .integer("limit", 1, LIMIT_MAX)
            .unwrap_or(LIMIT_DEFAULT);
        let errors = query.into_errors();
        if !errors.is_empty() {
            return call.invalid(Refusal::InvalidRequest, &errors);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let charges = sandbox.charges();
        // They are ordered by reference, and the text of references has the same order.
        let mut rest = charges.iter().filter(|charge| {
            after
                .as_ref()
                .is_none_or(|after| charge.reference.to_string() > *after)
        });
        let shown: Vec<_> = rest.by_ref().take(limit).map(charge).collect();
        let more = rest.next().is_some();
        let last = shown.last().map(|it: &Value| it["reference"].clone());
        let next = last.filter(|_| more);
        let shown = json!({ "charges": shown, "total": charges.len(), "more": more, "next": next });
        Answer::value(StatusCode::OK, &shown)
    }
}

fn charge(charge: &crate::payments::sandbox::SandboxCharge) -> Value {
    use crate::payments::sandbox::ChargeState;
    let state = match charge.state {
        ChargeState::Declined => "declined",
        ChargeState::Authorized => "authorized",
        ChargeState::Captured => "captured",
        ChargeState::Voided => "voided",
        ChargeState::Refunded => "refunded",
    };
    json!({
        "reference": charge.reference.to_string(),
        "purchase_id": charge.reference.purchase().to_string(),
        "currency": charge.currency.as_str(),
        "state": state,
        "amount": charge.amount.get(),
        "captured": charge.captured.get(),
        "refunded": charge.refunded.get(),
    })
}
