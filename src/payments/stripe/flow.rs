//! Owns the calls about one payment: authorize, capture, void, look up, as requests to Stripe.
//!
//! Invariants:
//! 1. A card is charged by confirming, and only for the intent that the reference's keys lead to.
//!    If a response may have been lost, the intent itself shows the outcome.
//! 2. Capturing and canceling need no key: Stripe captures or cancels an intent at most once. A
//!    refusal is checked against the intent before it is believed.
//! 3. A payment too old for its keys is not started any more.
//!
//! Deliberately absent: timeouts, and what to do next (the driver and the saga).

use super::amounts;
use super::api::Api;
use super::classify::{Classification, Moves};
use super::client::ResponseOrigin;
use super::find::{self, Age, KEYS_MAX, KeyLookup, PaymentDetails};
use super::intent::{ABANDONED, IntentStage, authentication_required};
use super::wire::{FormFields, Intent};
use crate::ids::GatewayCode;
use crate::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallResult, CapturedMoney, Decline,
    DeclinedBy, Inquiry, LookupResult, Reference, Trouble,
};

/// Authorizes the order.
pub(super) async fn authorize(api: &Api, order: AuthorizeRequest) -> CallResult<Authorization> {
    if amounts::rule(order.currency).is_none() {
        return CallResult::Declined(by_us("currency_not_supported"));
    }
    let payment = PaymentDetails::from(order);
    if payment.age(api.now()) != Age::Fresh {
        return CallResult::Declined(by_us("started_too_long_ago"));
    }
    let intent = match find::by_key(api, &payment).await {
        KeyLookup::Intent(intent, ResponseOrigin::Now) => *intent,
        KeyLookup::Intent(intent, ResponseOrigin::Again) => {
            match find::by_id(api, intent.id.as_str()).await {
                Ok(intent) => intent,
                // This call has not charged the card.
                Err(verdict) => return CallResult::Retriable(verdict.trouble()),
            }
        }
        KeyLookup::Refused(decline) => return CallResult::Declined(decline),
        KeyLookup::Trouble(verdict) => return CallResult::Retriable(verdict.trouble()),
        KeyLookup::NotByKey => return CallResult::Retriable(Trouble::Internal),
    };
    match IntentStage::of(&intent) {
        IntentStage::Unconfirmed => confirm(api, payment.reference, intent.id.as_str()).await,
        stage => authorized(api, intent.id.as_str(), stage).await,
    }
}

async fn confirm(api: &Api, reference: Reference, id: &str) -> CallResult<Authorization> {
    let path = format!("/v1/payment_intents/{id}/confirm");
    for n in 1..=KEYS_MAX {
        let key = format!("{reference}:confirm:{n}");
        let form = FormFields::new().with("expand[]", "latest_charge");
        let confirmed = api
            .post::<Intent>(&path, form, Some(&key), Moves::Money)
            .await;
        let verdict = match confirmed {
            Ok((intent, ResponseOrigin::Now)) => {
                return authorized(api, id, IntentStage::of(&intent)).await;
            }
            Ok((_, ResponseOrigin::Again)) => Classification::Done,
            Err(verdict) => verdict,
        };
        let to_check = match &verdict {
            Classification::Done | Classification::KeySpent | Classification::KeyMismatch => true,
            // The card was not charged: the intent cannot be confirmed, or cannot be any more.
            Classification::Declined(decline) => decline.by == DeclinedBy::Gateway,
            Classification::Retriable(_)
            | Classification::Unknown(_)
            | Classification::KeyRefused => false,
        };
        if !to_check {
            return verdict.answer();
        }
        match find::by_id(api, id).await.as_ref().map(IntentStage::of) {
            Ok(IntentStage::Unconfirmed) if verdict == Classification::KeySpent => {}
            Ok(IntentStage::Unconfirmed) => return verdict.answer(),
            Ok(stage) => return authorized(api, id, stage).await,
            Err(verdict) => return CallResult::Unknown(verdict.trouble()),
        }
    }
    CallResult::Unknown(Trouble::Internal)
}

/// The result of an authorization whose intent is at `stage`.
async fn authorized(api: &Api, id: &str, stage: IntentStage) -> CallResult<Authorization> {
    match stage {
        IntentStage::Authorized(authorization) => CallResult::Approved(authorization),
        IntentStage::Captured(money) => CallResult::Approved(money.authorization),
        IntentStage::Declined(decline) => CallResult::Declined(decline),
        IntentStage::Canceled | IntentStage::Refunded(_) => CallResult::Declined(by_us("canceled")),
        IntentStage::Abandoned => CallResult::Declined(authentication_required()),
        IntentStage::NeedsAction => match abandon(api, id).await {
            CallResult::Approved(()) => CallResult::Declined(authentication_required()),
            CallResult::Declined(_) => CallResult::Unknown(Trouble::Busy),
            CallResult::Retriable(trouble) | CallResult::Unknown(trouble) => {
                CallResult::Unknown(trouble)
            }
        },
        IntentStage::Underway => CallResult::Unknown(Trouble::Busy),
        IntentStage::Unconfirmed => CallResult::Unknown(Trouble::Internal),
    }
}

/// Captures everything that was authorized.
pub(super) async fn capture(api: &Api, claim: AuthorizationClaim) -> CallResult<CapturedMoney> {
    let Some(id) = claim.authorization else {
        return CallResult::Declined(Decline::BY_GATEWAY);
    };
    let path = format!("/v1/payment_intents/{id}/capture");
    let form = FormFields::new().with("expand[]", "latest_charge");
    match api.post::<Intent>(&path, form, None, Moves::Money).await {
        Ok((intent, _)) => match IntentStage::of(&intent) {
            IntentStage::Captured(money) => CallResult::Approved(money),
            _ => CallResult::Unknown(Trouble::Internal),
        },
        Err(Classification::Declined(decline)) => match find::by_id(api, id.as_str()).await {
            Ok(intent) => match IntentStage::of(&intent) {
                IntentStage::Captured(money) => CallResult::Approved(money),
                IntentStage::Underway => CallResult::Unknown(Trouble::Busy),
                _ => CallResult::Declined(decline),
            },
            Err(verdict) => CallResult::Unknown(verdict.trouble()),
        },
        Err(verdict) => verdict.answer(),
    }
}

/// Voids the authorization and closes the reference.
pub(super) async fn void(api: &Api, mut claim: AuthorizationClaim) -> CallResult<()> {
    if let Some(id) = claim.authorization.take() {
        return cancel(api, id.as_str()).await;
    }
    let payment = PaymentDetails::from(claim);
    if payment.age(api.now()) != Age::TooOld {
        match find::by_key(api, &payment).await {
            KeyLookup::Intent(intent, _) => return cancel(api, intent.id.as_str()).await,
            // Stripe refuses to create one, now or earlier.
            KeyLookup::Refused(_) => return CallResult::Approved(()),
            KeyLookup::Trouble(verdict) => return CallResult::Retriable(verdict.trouble()),
            KeyLookup::NotByKey => {}
        }
    }
    let found = match find::by_metadata(api, &payment).await {
        Ok(found) => found,
        Err(verdict) => return CallResult::Retriable(verdict.trouble()),
    };
    for intent in found {
        match cancel(api, intent.id.as_str()).await {
            CallResult::Approved(()) => {}
            other => return other,
        }
    }
    CallResult::Approved(())
}

/// Cancels an intent, whether or not it is authorized. Declined if it is captured.
async fn cancel(api: &Api, id: &str) -> CallResult<()> {
    cancel_with(api, id, FormFields::new()).await
}

/// Cancels an intent whose card requires authentication, and stores the reason in it.
async fn abandon(api: &Api, id: &str) -> CallResult<()> {
    let form = FormFields::new().with("cancellation_reason", ABANDONED);
    match cancel_with(api, id, form).await {
        // A server that does not accept the reason: the intent must not stay open because of that.
        CallResult::Declined(_) => cancel(api, id).await,
        other => other,
    }
}

async fn cancel_with(api: &Api, id: &str, form: FormFields) -> CallResult<()> {
    let path = format!("/v1/payment_intents/{id}/cancel");
    let ended =
        |stage: &IntentStage| matches!(stage, IntentStage::Canceled | IntentStage::Abandoned);
    let canceled = api.post::<Intent>(&path, form, None, Moves::Money).await;
    match canceled {
        Ok((intent, _)) if ended(&IntentStage::of(&intent)) => CallResult::Approved(()),
        Ok(_) => CallResult::Unknown(Trouble::Internal),
        Err(Classification::Declined(decline)) => {
            match find::by_id(api, id).await.as_ref().map(IntentStage::of) {
                Ok(stage) if ended(&stage) => CallResult::Approved(()),
                Ok(IntentStage::Underway) => CallResult::Unknown(Trouble::Busy),
                Ok(_) => CallResult::Declined(decline),
                Err(verdict) => CallResult::Unknown(verdict.trouble()),
            }
        }
        Err(verdict) => verdict.answer(),
    }
}

/// The state of a payment at Stripe.
pub(super) async fn look_up(api: &Api, mut inquiry: Inquiry) -> Result<LookupResult, Trouble> {
    // An intent whose id we know and that is missing does not mean "nothing": the key may belong to
    // another account.
    let by_id = async |id: &str| find::by_id(api, id).await.map_err(|it| it.trouble());
    if let Some(id) = inquiry.authorization.take() {
        return found(api, by_id(id.as_str()).await?).await;
    }
    let payment = PaymentDetails::from(inquiry);
    if payment.age(api.now()) != Age::TooOld {
        match find::by_key(api, &payment).await {
            KeyLookup::Intent(intent, ResponseOrigin::Now) => return found(api, *intent).await,
            KeyLookup::Intent(intent, ResponseOrigin::Again) => {
                return found(api, by_id(intent.id.as_str()).await?).await;
            }
            KeyLookup::Refused(decline) => return Ok(LookupResult::Declined(decline)),
            KeyLookup::Trouble(verdict) => return Err(verdict.trouble()),
            KeyLookup::NotByKey => {}
        }
    }
    let listed = find::by_metadata(api, &payment).await;
    let listed = listed.map_err(|verdict| verdict.trouble())?;
    match listed.into_iter().next() {
        Some(intent) => found(api, intent).await,
        None => Ok(LookupResult::Nothing),
    }
}

async fn found(api: &Api, intent: Intent) -> Result<LookupResult, Trouble> {
    Ok(match IntentStage::of(&intent) {
        IntentStage::Unconfirmed => LookupResult::Nothing,
        IntentStage::Declined(decline) => LookupResult::Declined(decline),
        IntentStage::Authorized(authorization) => LookupResult::Authorized(authorization),
        IntentStage::Captured(money) | IntentStage::Refunded(money) => LookupResult::taken(money),
        IntentStage::Canceled => LookupResult::Voided,
        IntentStage::Underway => return Err(Trouble::Busy),
        // The response to the cancellation was lost.
        IntentStage::Abandoned => LookupResult::Declined(authentication_required()),
        IntentStage::NeedsAction => match abandon(api, intent.id.as_str()).await {
            CallResult::Approved(()) => LookupResult::Declined(authentication_required()),
            CallResult::Declined(_) => return Err(Trouble::Busy),
            CallResult::Retriable(trouble) | CallResult::Unknown(trouble) => return Err(trouble),
        },
    })
}

fn by_us(code: &str) -> Decline {
    Decline {
        by: DeclinedBy::Gateway,
        code: GatewayCode::parse(code),
    }
}
