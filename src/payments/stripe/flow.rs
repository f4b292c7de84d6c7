//! Owns the calls about one payment: authorize, capture, void, look up, as requests to Stripe.
//!
//! Invariants:
//! 1. A card is asked for money by confirming, and only ever the intent that the reference's keys
//!    lead to; once an answer may have been lost, the intent itself says what became of it.
//! 2. Capturing and canceling need no key: an intent is captured or canceled at most once,
//!    whatever is sent. A refusal is checked against the intent before it is believed.
//! 3. A payment too old for its keys is not begun any more.
//!
//! Deliberately absent: time limits, and what to do next (the driver and the saga).

use super::amounts;
use super::api::Api;
use super::classify::{Moves, Verdict};
use super::client::Told;
use super::find::{self, Age, KEYS_MAX, Made, Payment};
use super::intent::{ABANDONED, Stage, authentication_required};
use super::wire::{Form, Intent};
use crate::ids::GatewayCode;
use crate::payments::gateway::{
    Answer, Authorization, CapturedMoney, Claim, Decline, DeclinedBy, Found, Inquiry, Order,
    Reference, Trouble,
};

/// Sets the order's money aside.
pub(super) async fn authorize(api: &Api, order: Order) -> Answer<Authorization> {
    if amounts::rule(order.currency).is_none() {
        return Answer::Declined(by_us("currency_not_supported"));
    }
    let payment = Payment::from(order);
    if payment.age(api.now()) != Age::Fresh {
        return Answer::Declined(by_us("started_too_long_ago"));
    }
    let intent = match find::by_key(api, &payment).await {
        Made::Intent(intent, Told::Now) => *intent,
        Made::Intent(intent, Told::Again) => match find::by_id(api, intent.id.as_str()).await {
            Ok(intent) => intent,
            // Nothing was asked of the card in this call.
            Err(verdict) => return Answer::Retriable(verdict.trouble()),
        },
        Made::Refused(decline) => return Answer::Declined(decline),
        Made::Trouble(verdict) => return Answer::Retriable(verdict.trouble()),
        Made::NotByKey => return Answer::Retriable(Trouble::Internal),
    };
    match Stage::of(&intent) {
        Stage::Unconfirmed => confirm(api, payment.reference, intent.id.as_str()).await,
        stage => authorized(api, intent.id.as_str(), stage).await,
    }
}

async fn confirm(api: &Api, reference: Reference, id: &str) -> Answer<Authorization> {
    let path = format!("/v1/payment_intents/{id}/confirm");
    for n in 1..=KEYS_MAX {
        let key = format!("{reference}:confirm:{n}");
        let form = Form::new().with("expand[]", "latest_charge");
        let confirmed = api
            .post::<Intent>(&path, form, Some(&key), Moves::Money)
            .await;
        let verdict = match confirmed {
            Ok((intent, Told::Now)) => return authorized(api, id, Stage::of(&intent)).await,
            Ok((_, Told::Again)) => Verdict::Done,
            Err(verdict) => verdict,
        };
        let to_check = match &verdict {
            Verdict::Done | Verdict::KeySpent | Verdict::KeyMismatch => true,
            // No card was asked: it is not in a state to be confirmed, or not any more.
            Verdict::Declined(decline) => decline.by == DeclinedBy::Gateway,
            Verdict::Retriable(_) | Verdict::Unknown(_) | Verdict::NotLetIn => false,
        };
        if !to_check {
            return verdict.answer();
        }
        match find::by_id(api, id).await.as_ref().map(Stage::of) {
            Ok(Stage::Unconfirmed) if verdict == Verdict::KeySpent => {}
            Ok(Stage::Unconfirmed) => return verdict.answer(),
            Ok(stage) => return authorized(api, id, stage).await,
            Err(verdict) => return Answer::Unknown(verdict.trouble()),
        }
    }
    Answer::Unknown(Trouble::Internal)
}

/// What the authorization of an intent that is at `stage` is told.
async fn authorized(api: &Api, id: &str, stage: Stage) -> Answer<Authorization> {
    match stage {
        Stage::Authorized(authorization) => Answer::Approved(authorization),
        Stage::Captured(money) => Answer::Approved(money.authorization),
        Stage::Declined(decline) => Answer::Declined(decline),
        Stage::Canceled | Stage::Refunded(_) => Answer::Declined(by_us("canceled")),
        Stage::Abandoned => Answer::Declined(authentication_required()),
        Stage::NeedsAction => match abandon(api, id).await {
            Answer::Approved(()) => Answer::Declined(authentication_required()),
            Answer::Declined(_) => Answer::Unknown(Trouble::Busy),
            Answer::Retriable(trouble) | Answer::Unknown(trouble) => Answer::Unknown(trouble),
        },
        Stage::Underway => Answer::Unknown(Trouble::Busy),
        Stage::Unconfirmed => Answer::Unknown(Trouble::Internal),
    }
}

/// Takes all that was set aside.
pub(super) async fn capture(api: &Api, claim: Claim) -> Answer<CapturedMoney> {
    let Some(id) = claim.authorization else {
        return Answer::Declined(Decline::BY_GATEWAY);
    };
    let path = format!("/v1/payment_intents/{id}/capture");
    let form = Form::new().with("expand[]", "latest_charge");
    match api.post::<Intent>(&path, form, None, Moves::Money).await {
        Ok((intent, _)) => match Stage::of(&intent) {
            Stage::Captured(money) => Answer::Approved(money),
            _ => Answer::Unknown(Trouble::Internal),
        },
        Err(Verdict::Declined(decline)) => match find::by_id(api, id.as_str()).await {
            Ok(intent) => match Stage::of(&intent) {
                Stage::Captured(money) => Answer::Approved(money),
                Stage::Underway => Answer::Unknown(Trouble::Busy),
                _ => Answer::Declined(decline),
            },
            Err(verdict) => Answer::Unknown(verdict.trouble()),
        },
        Err(verdict) => verdict.answer(),
    }
}

/// Gives back what was set aside and closes the reference.
pub(super) async fn void(api: &Api, mut claim: Claim) -> Answer<()> {
    if let Some(id) = claim.authorization.take() {
        return cancel(api, id.as_str()).await;
    }
    let payment = Payment::from(claim);
    if payment.age(api.now()) != Age::TooOld {
        match find::by_key(api, &payment).await {
            Made::Intent(intent, _) => return cancel(api, intent.id.as_str()).await,
            // Stripe makes none for it, now or when it was asked before.
            Made::Refused(_) => return Answer::Approved(()),
            Made::Trouble(verdict) => return Answer::Retriable(verdict.trouble()),
            Made::NotByKey => {}
        }
    }
    let found = match find::by_metadata(api, &payment).await {
        Ok(found) => found,
        Err(verdict) => return Answer::Retriable(verdict.trouble()),
    };
    for intent in found {
        match cancel(api, intent.id.as_str()).await {
            Answer::Approved(()) => {}
            other => return other,
        }
    }
    Answer::Approved(())
}

/// Cancels an intent, whether or not money was set aside. Declined where it was captured.
async fn cancel(api: &Api, id: &str) -> Answer<()> {
    cancel_with(api, id, Form::new()).await
}

/// Cancels an intent whose card wants its holder, and leaves the reason with it.
async fn abandon(api: &Api, id: &str) -> Answer<()> {
    let form = Form::new().with("cancellation_reason", ABANDONED);
    match cancel_with(api, id, form).await {
        // A server that does not take the reason: the intent must not stay open for that.
        Answer::Declined(_) => cancel(api, id).await,
        other => other,
    }
}

async fn cancel_with(api: &Api, id: &str, form: Form) -> Answer<()> {
    let path = format!("/v1/payment_intents/{id}/cancel");
    let ended = |stage: &Stage| matches!(stage, Stage::Canceled | Stage::Abandoned);
    let canceled = api.post::<Intent>(&path, form, None, Moves::Money).await;
    match canceled {
        Ok((intent, _)) if ended(&Stage::of(&intent)) => Answer::Approved(()),
        Ok(_) => Answer::Unknown(Trouble::Internal),
        Err(Verdict::Declined(decline)) => {
            match find::by_id(api, id).await.as_ref().map(Stage::of) {
                Ok(stage) if ended(&stage) => Answer::Approved(()),
                Ok(Stage::Underway) => Answer::Unknown(Trouble::Busy),
                Ok(_) => Answer::Declined(decline),
                Err(verdict) => Answer::Unknown(verdict.trouble()),
            }
        }
        Err(verdict) => verdict.answer(),
    }
}

/// What Stripe has of a payment.
pub(super) async fn look_up(api: &Api, mut inquiry: Inquiry) -> Result<Found, Trouble> {
    // An intent that we were told of and that is not there is no "nothing": the key may be of
    // another account.
    let by_id = async |id: &str| find::by_id(api, id).await.map_err(|it| it.trouble());
    if let Some(id) = inquiry.authorization.take() {
        return found(api, by_id(id.as_str()).await?).await;
    }
    let payment = Payment::from(inquiry);
    if payment.age(api.now()) != Age::TooOld {
        match find::by_key(api, &payment).await {
            Made::Intent(intent, Told::Now) => return found(api, *intent).await,
            Made::Intent(intent, Told::Again) => {
                return found(api, by_id(intent.id.as_str()).await?).await;
            }
            Made::Refused(decline) => return Ok(Found::Declined(decline)),
            Made::Trouble(verdict) => return Err(verdict.trouble()),
            Made::NotByKey => {}
        }
    }
    let listed = find::by_metadata(api, &payment).await;
    let listed = listed.map_err(|verdict| verdict.trouble())?;
    match listed.into_iter().next() {
        Some(intent) => found(api, intent).await,
        None => Ok(Found::Nothing),
    }
}

async fn found(api: &Api, intent: Intent) -> Result<Found, Trouble> {
    Ok(match Stage::of(&intent) {
        Stage::Unconfirmed => Found::Nothing,
        Stage::Declined(decline) => Found::Declined(decline),
        Stage::Authorized(authorization) => Found::Authorized(authorization),
        Stage::Captured(money) | Stage::Refunded(money) => Found::taken(money),
        Stage::Canceled => Found::Voided,
        Stage::Underway => return Err(Trouble::Busy),
        // The answer that said so was lost, and with it the cancellation.
        Stage::Abandoned => Found::Declined(authentication_required()),
        Stage::NeedsAction => match abandon(api, intent.id.as_str()).await {
            Answer::Approved(()) => Found::Declined(authentication_required()),
            Answer::Declined(_) => return Err(Trouble::Busy),
            Answer::Retriable(trouble) | Answer::Unknown(trouble) => return Err(trouble),
        },
    })
}

fn by_us(code: &str) -> Decline {
    Decline {
        by: DeclinedBy::Gateway,
        code: GatewayCode::parse(code),
    }
}
