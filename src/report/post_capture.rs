//! Owns how voids, refunds, disputes, reward tokens and webhooks look outside.

use super::{by, instant, merged, origin};
use crate::engine::dispute::Dispute;
use crate::engine::event::{
    Clawback, DisputeClosed, DisputeOpened, GivenBack, RefundExtent, RefundFailed, RefundFailure,
    RefundFound, RefundReturned, RefundStarted, RefundSucceeded, TokensSpent, VoidStarted,
    WebhookReceived,
};
use crate::ids::{DisputeId, GatewayCode};
use crate::money::Currency;
use serde_json::{Value, json};

pub(super) fn void_started(started: &VoidStarted) -> Value {
    let fields = json!({
        "reason": started.cause.as_str(),
        "code": started.code.as_ref().map(GatewayCode::as_str),
        "deadline": started.deadline.to_string(),
    });
    match &started.by {
        Some(act) => merged(fields, by(act)),
        None => fields,
    }
}

pub(super) fn refund_started(started: &RefundStarted) -> Value {
    let fields = json!({
        "refund": started.number,
        "amount": started.amount.get(),
        "previously_refunded": started.previously_refunded.get(),
        "reason": started.note,
        "restock": started.restock.as_bool(),
        "idempotency": {
            "scope": hex::encode(started.key.scope.0),
            "fingerprint": hex::encode(started.key.fingerprint.0),
        },
    });
    merged(fields, by(&started.by))
}

pub(super) fn refund_succeeded(done: &RefundSucceeded) -> Value {
    json!({
        "refund": done.number,
        "product_id": done.product.as_str(),
        "quantity": done.quantity,
        "amount": done.amount.get(),
        "currency": done.currency.as_str(),
        "extent": extent(done.extent),
        "clawback": clawback(done.clawback),
        "restock": done.restock.as_bool(),
    })
}

pub(super) fn refund_failed(failed: &RefundFailed) -> Value {
    let (reason, refunded) = match failed.failure {
        RefundFailure::Refused => ("refused", None),
        RefundFailure::LessWasLeft { refunded } => ("less_was_left", Some(refunded.get())),
    };
    json!({
        "refund": failed.number,
        "code": failed.code.as_ref().map(GatewayCode::as_str),
        "reason": reason,
        "refunded_amount": refunded,
    })
}

pub(super) fn refund_found(found: &RefundFound) -> Value {
    json!({
        "product_id": found.product.as_str(),
        "quantity": found.quantity,
        "amount": found.amount.get(),
        "currency": found.currency.as_str(),
        "extent": extent(found.extent),
        "clawback": clawback(found.clawback),
    })
}

pub(super) fn refund_returned(returned: &RefundReturned) -> Value {
    json!({
        "refund": returned.number,
        "product_id": returned.product.as_str(),
        "quantity": returned.quantity,
        "amount": returned.amount.get(),
        "currency": returned.currency.as_str(),
        "given_back": given_back(returned.given_back),
    })
}

pub(super) fn dispute_opened(opened: &DisputeOpened) -> Value {
    let fields = json!({
        "code": opened.code.as_ref().map(GatewayCode::as_str),
    });
    merged(
        fields,
        dispute(opened.number, &opened.dispute, opened.currency),
    )
}

pub(super) fn dispute_closed(closed: &DisputeClosed) -> Value {
    let fields = json!({
        // The end that it tells, even if a later beginning has opened the dispute again.
        "outcome": closed.dispute.ended.map(|it| it.outcome.as_str()),
        "charged_back_before": closed.charged_back_before.get(),
        "charged_back_amount": closed.charged_back.get(),
        "clawback": clawback(closed.clawback),
        "given_back": given_back(closed.given_back),
    });
    merged(
        fields,
        dispute(closed.number, &closed.dispute, closed.currency),
    )
}

fn dispute(number: u32, dispute: &Dispute, currency: Currency) -> Value {
    json!({
        "dispute": number,
        "dispute_id": dispute.id.as_ref().map(DisputeId::as_str),
        "amount": dispute.amount.get(),
        "currency": currency.as_str(),
        "opened_at": dispute.opened_at.to_string(),
        "happened_at": dispute.reported_at().to_string(),
    })
}

pub(super) fn tokens_spent(spent: &TokensSpent) -> Value {
    let fields = json!({ "reward_tokens": spent.tokens.get() });
    merged(fields, origin(&spent.origin))
}

fn given_back(given_back: GivenBack) -> Value {
    json!({
        "tokens": given_back.tokens.get(),
        "debt_paid": given_back.debt_paid.get(),
    })
}

const fn extent(extent: RefundExtent) -> &'static str {
    match extent {
        RefundExtent::Part => "part",
        RefundExtent::Full => "full",
    }
}

/// How reward tokens that were asked back look.
pub fn clawback(clawback: Clawback) -> Value {
    json!({
        "requested": clawback.requested.get(),
        "recovered": clawback.recovered.get(),
        "shortfall": clawback.shortfall.get(),
    })
}

pub(super) fn webhook(received: &WebhookReceived) -> Value {
    json!({
        "format": received.format.as_str(),
        "event_id": received.event_id.as_str(),
        "type": received.kind.as_str(),
        "purchase_id": received.purchase.map(|purchase| purchase.to_string()),
        "happened_at": instant(Some(received.happened_at)),
        "status": received.disposition.as_str(),
        "request_id": received.request.to_string(),
    })
}
