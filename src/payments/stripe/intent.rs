//! Owns the interpretation of an intent: the stage of the payment, and what was moved. Pure.
//!
//! Invariant: an unclear stage is [`IntentStage::Underway`], from which nothing is concluded.

use super::classify::declined;
use super::wire::{Intent, IntentStatus, REFERENCE};
use crate::ids::{CaptureId, GatewayCode};
use crate::money::{Amount, Currency};
use crate::payments::gateway::{
    Authorization, CapturedMoney, Charged, Decline, DeclinedBy, Reference,
};
use crate::time::UnixMs;

/// The stage of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IntentStage {
    /// Created and not confirmed: the card was not charged.
    Unconfirmed,
    /// The issuer declined.
    Declined(Decline),
    /// The issuer requires authentication of the cardholder, which is not possible here.
    NeedsAction,
    /// The issuer required authentication, and the intent was canceled because of it.
    Abandoned,
    /// In progress, or a status that is unknown here.
    Underway,
    Authorized(Authorization),
    /// Captured, and not completely refunded.
    Captured(CapturedMoney),
    /// Captured and completely refunded.
    Refunded(CapturedMoney),
    /// Canceled: voided, or never authorized.
    Canceled,
}

impl IntentStage {
    pub(super) fn of(intent: &Intent) -> Self {
        match intent.status {
            IntentStatus::RequiresPaymentMethod => match &intent.last_payment_error {
                Some(error) => Self::Declined(declined(DeclinedBy::Issuer, Some(error))),
                None => Self::Unconfirmed,
            },
            IntentStatus::RequiresConfirmation => Self::Unconfirmed,
            IntentStatus::RequiresAction => Self::NeedsAction,
            IntentStatus::Processing | IntentStatus::Other => Self::Underway,
            IntentStatus::Canceled if was_abandoned(intent) => Self::Abandoned,
            IntentStatus::Canceled => Self::Canceled,
            IntentStatus::RequiresCapture => Self::Authorized(authorization(intent)),
            IntentStatus::Succeeded => match money(intent) {
                Some(money) if is_refunded(intent) => Self::Refunded(money),
                Some(money) => Self::Captured(money),
                // Stripe does not say what it captured: nothing is concluded from that.
                None => Self::Underway,
            },
        }
    }

    /// How far it came: of two intents under one reference, one of which was lost before it was
    /// confirmed, the higher one is the payment.
    pub(super) const fn weight(&self) -> u8 {
        match self {
            Self::Unconfirmed => 0,
            Self::Canceled => 1,
            Self::Declined(_) | Self::Abandoned => 2,
            Self::NeedsAction => 3,
            Self::Underway => 4,
            Self::Refunded(_) => 5,
            Self::Authorized(_) => 6,
            Self::Captured(_) => 7,
        }
    }
}

/// The reason for canceling an intent whose card requires authentication. Stripe stores it, so that
/// a look-up still knows the decline if the response to the cancellation was lost.
pub(super) const ABANDONED: &str = "abandoned";

/// Whether it was canceled for that reason, before it was authorized.
fn was_abandoned(intent: &Intent) -> bool {
    intent.cancellation_reason.as_deref() == Some(ABANDONED) && intent.charge_id().is_none()
}

/// The decline of a card that requires authentication.
pub(super) fn authentication_required() -> Decline {
    Decline {
        by: DeclinedBy::Issuer,
        code: GatewayCode::parse("authentication_required"),
    }
}

/// Our reference, if it has one.
pub(super) fn reference(intent: &Intent) -> Option<Reference> {
    Reference::parse(intent.metadata.get(REFERENCE)?)
}

/// The intent as a line of the gateway's books; `None` if no card was ever charged, or if its
/// currency is not one of ISO 4217.
pub(super) fn charged(intent: &Intent) -> Option<Charged> {
    intent.charge_id()?;
    let captured = captured(intent).unwrap_or(0);
    let refunded = match captured {
        // A released authorization counts as refunded at Stripe; no money moved.
        0 => 0,
        captured => refunded(intent).min(captured),
    };
    let authorized = match intent.status {
        IntentStatus::RequiresCapture => intent.amount_capturable.unwrap_or(intent.amount),
        _ => 0,
    };
    Some(Charged {
        reference: reference(intent),
        gateway_id: intent.id.to_string(),
        currency: currency(intent)?,
        authorized: Amount::new(authorized)?,
        captured: Amount::new(captured)?,
        refunded: Amount::new(refunded)?,
    })
}

fn money(intent: &Intent) -> Option<CapturedMoney> {
    Some(CapturedMoney {
        authorization: authorization(intent),
        capture: capture_id(intent),
        captured: Amount::new(captured(intent)?)?,
        currency: currency(intent),
        refunded: Amount::new(refunded(intent))?,
    })
}

fn currency(intent: &Intent) -> Option<Currency> {
    Currency::parse(&intent.currency.to_ascii_uppercase())
}

/// The captured amount; `None` if it is not there.
fn captured(intent: &Intent) -> Option<i64> {
    if intent.status != IntentStatus::Succeeded {
        return Some(0);
    }
    let charge = intent.charge();
    charge
        .and_then(|charge| charge.amount_captured)
        .or(intent.amount_received)
        .or_else(|| charge.filter(|it| it.captured).map(|_| intent.amount))
}

fn refunded(intent: &Intent) -> i64 {
    let charge = intent.charge();
    charge.and_then(|it| it.amount_refunded).unwrap_or(0)
}

fn is_refunded(intent: &Intent) -> bool {
    let captured = captured(intent).unwrap_or(0);
    captured > 0 && refunded(intent) >= captured
}

fn authorization(intent: &Intent) -> Authorization {
    let details = intent
        .charge()
        .and_then(|charge| charge.payment_method_details.as_ref());
    let capture_before = details
        .and_then(|details| details.card.as_ref()?.capture_before)
        .map(|seconds| UnixMs::new(seconds.saturating_mul(1_000)));
    Authorization {
        id: intent.id.clone(),
        capture_before,
    }
}

/// The charge's id, which a statement shows; the intent's if there is none.
pub(super) fn capture_id(intent: &Intent) -> CaptureId {
    let charge = intent.charge_id().and_then(CaptureId::parse);
    charge.unwrap_or_else(|| {
        CaptureId::parse(intent.id.as_str()).expect("what is an id of one kind is one of another")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn intent(changes: &Value) -> Intent {
        let mut whole = json!({
            "id": "pi_1", "object": "payment_intent", "amount": 2500, "currency": "usd",
            "status": "requires_confirmation", "metadata": {}, "latest_charge": null,
            "last_payment_error": null, "next_action": null, "what_comes_later": [1],
        });
        for (name, value) in changes.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        serde_json::from_value(whole).expect("an intent")
    }

    fn word(stage: &IntentStage) -> String {
        match stage {
            IntentStage::Declined(Decline { code, .. }) => {
                format!(
                    "declined:{}",
                    code.as_ref().map_or("-", GatewayCode::as_str)
                )
            }
            IntentStage::Authorized(Authorization { id, capture_before }) => {
                format!("authorized:{id}:{}", capture_before.map_or(0, UnixMs::get))
            }
            IntentStage::Captured(money) => format!(
                "captured:{}:{}:{}-{}",
                money.authorization.id,
                money.capture,
                money.captured.get(),
                money.refunded.get(),
            ),
            IntentStage::Refunded(money) => format!("refunded:{}", money.refunded.get()),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn each_status_says_where_a_payment_is() {
        let charge = |captured: i64, refunded: i64| {
            json!({"id": "ch_1", "captured": captured > 0, "amount_captured": captured,
                "amount_refunded": refunded,
                "payment_method_details": {"card": {"capture_before": 1_700_000_000}}})
        };
        let error = json!({"type": "card_error", "code": "card_declined",
            "decline_code": "lost_card"});
        for (changes, expected) in [
            (json!({}), "unconfirmed"),
            (json!({"status": "requires_payment_method"}), "unconfirmed"),
            (
                json!({"status": "requires_payment_method", "last_payment_error": error}),
                "declined:lost_card",
            ),
            (json!({"status": "requires_action"}), "needsaction"),
            (json!({"status": "processing"}), "underway"),
            (json!({"status": "some_day"}), "underway"),
            (json!({"status": "canceled"}), "canceled"),
            (
                json!({"status": "canceled", "cancellation_reason": "abandoned"}),
                "abandoned",
            ),
            (
                json!({"status": "canceled", "cancellation_reason": "duplicate"}),
                "canceled",
            ),
            (
                json!({"status": "canceled", "cancellation_reason": "abandoned",
                    "latest_charge": charge(0, 2500)}),
                "canceled",
            ),
            (
                json!({"status": "canceled", "latest_charge": charge(0, 2500)}),
                "canceled",
            ),
            (
                json!({"status": "requires_capture", "latest_charge": "ch_1"}),
                "authorized:pi_1:0",
            ),
            (
                json!({"status": "requires_capture", "latest_charge": charge(0, 0)}),
                "authorized:pi_1:1700000000000",
            ),
            (
                json!({"status": "succeeded", "latest_charge": charge(2500, 0)}),
                "captured:pi_1:ch_1:2500-0",
            ),
            (
                json!({"status": "succeeded", "latest_charge": charge(2500, 2499)}),
                "captured:pi_1:ch_1:2500-2499",
            ),
            (
                json!({"status": "succeeded", "latest_charge": charge(2500, 2500)}),
                "refunded:2500",
            ),
            (
                json!({"status": "succeeded", "latest_charge": charge(1000, 0)}),
                "captured:pi_1:ch_1:1000-0",
            ),
            (
                json!({"status": "succeeded", "amount_received": 1999}),
                "captured:pi_1:pi_1:1999-0",
            ),
            (json!({"status": "succeeded"}), "underway"),
        ] {
            assert_eq!(
                word(&IntentStage::of(&intent(&changes))),
                expected,
                "{changes}"
            );
        }
    }

    #[test]
    fn what_has_no_id_for_a_name_is_not_read() {
        for id in ["no id", "", "pi_1/../pi_2"] {
            let text = json!({"id": id, "status": "canceled", "amount": 1, "currency": "usd"});
            let read = serde_json::from_value::<Intent>(text);
            assert!(read.is_err(), "{id}");
        }
    }

    #[test]
    fn the_books_count_moved_money_and_not_voided_authorizations() {
        let line = |changes: Value| {
            let it = charged(&intent(&changes))?;
            Some((it.authorized.get(), it.captured.get(), it.refunded.get()))
        };
        let charge = |captured: i64, refunded: i64| json!({"id": "ch_1", "amount_captured": captured, "amount_refunded": refunded});
        for (changes, expected) in [
            (json!({}), None),
            (
                json!({"latest_charge": charge(0, 0), "status": "requires_capture", "amount_capturable": 2400}),
                Some((2400, 0, 0)),
            ),
            (
                json!({"latest_charge": charge(0, 2500), "status": "canceled"}),
                Some((0, 0, 0)),
            ),
            (
                json!({"latest_charge": charge(2500, 100), "status": "succeeded"}),
                Some((0, 2500, 100)),
            ),
            (
                json!({"latest_charge": "ch_1", "status": "succeeded", "amount_received": 2500}),
                Some((0, 2500, 0)),
            ),
            (
                json!({"latest_charge": {"id": "ch_1", "captured": true}, "status": "succeeded"}),
                Some((0, 2500, 0)),
            ),
            (
                json!({"latest_charge": charge(2500, 0), "status": "succeeded", "currency": "zzz"}),
                None,
            ),
        ] {
            assert_eq!(line(changes.clone()), expected, "{changes}");
        }
    }
}
