//! Intents, charges and refunds as Stripe's JSON has them.

use super::books::{RefundMade, StripeBooks};
use serde_json::{Value, json};

impl StripeBooks {
    pub(super) fn intent(&self, at: usize, expand: bool) -> Value {
        let it = &self.intents[at];
        let charge = match &it.charge {
            Some(_) if expand => self.charge(at),
            other => json!(other),
        };
        let capturable = match it.booked.status.as_str() {
            "requires_capture" => it.booked.amount,
            _ => 0,
        };
        json!({
            "id": it.booked.id, "object": "payment_intent", "amount": it.booked.amount,
            "amount_capturable": capturable,
            "cancellation_reason": it.cancellation_reason, "amount_received": it.booked.captured,
            "capture_method": "manual", "created": it.created, "currency": it.booked.currency,
            "last_payment_error": it.error, "latest_charge": charge, "livemode": false,
            "metadata": it.metadata, "payment_method": it.payment_method,
            "payment_method_types": ["card"], "status": it.booked.status,
        })
    }

    pub(super) fn charge(&self, at: usize) -> Value {
        let it = &self.intents[at];
        // What was let go counts as refunded.
        let let_go = it.booked.status == "canceled" && it.booked.authorizations > 0;
        let refunded = if let_go {
            it.booked.amount
        } else {
            it.booked.refunded - self.lags.unwrap_or(0)
        };
        json!({
            "id": it.charge, "object": "charge", "amount": it.booked.amount,
            "amount_captured": it.booked.captured, "amount_refunded": refunded,
            "captured": it.booked.captured > 0, "currency": it.booked.currency,
            "payment_intent": it.booked.id, "metadata": it.metadata,
            "paid": it.error.is_none(), "refunded": refunded == it.booked.amount,
            "payment_method_details": {
                "type": "card", "card": { "capture_before": it.created + 7 * 86_400 },
            },
        })
    }

    pub(super) fn refund_shown(&self, made: &RefundMade) -> Value {
        let of = &self.intents[made.intent];
        json!({
            "id": made.id, "object": "refund", "amount": made.amount, "created": made.created,
            "charge": of.charge, "currency": of.booked.currency, "metadata": made.metadata,
            "payment_intent": of.booked.id, "status": made.status,
            "failure_reason": (made.status == "failed").then_some("expired_or_canceled_card"),
        })
    }
}
