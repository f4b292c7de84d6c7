//! Decides what the saga records: each step goes with the purchase's state or is refused.

use super::{Context, Decision};
use crate::engine::command::PaymentStep;
use crate::engine::event::{
    CaptureStarted, Event, PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided,
    VoidStarted,
};
use crate::engine::refusal::Refusal;
use crate::ids::PurchaseId;

/// Whether `step` goes with the state of `purchase`, and the event that records it.
pub fn decide_payment(
    context: Context<'_>,
    purchase: PurchaseId,
    step: PaymentStep,
) -> Result<Decision, Refusal> {
    let user = context
        .shard
        .owner_of(purchase)
        .ok_or(Refusal::PurchaseNotFound)?
        .clone();
    let event = match step {
        PaymentStep::Authorized {
            authorization,
            capture_before,
        } => Event::PaymentAuthorized(PaymentAuthorized {
            purchase,
            user,
            authorization,
            capture_before,
        }),
        PaymentStep::Declined(cause) => Event::PaymentDeclined(PaymentDeclined {
            purchase,
            user,
            cause,
        }),
        PaymentStep::StartCapture => Event::CaptureStarted(CaptureStarted { purchase, user }),
        PaymentStep::Captured {
            capture,
            receipt_key,
        } => Event::PaymentCaptured(PaymentCaptured {
            purchase,
            user,
            capture,
            receipt_key,
        }),
        PaymentStep::StartVoid(cause) => Event::VoidStarted(VoidStarted {
            purchase,
            user,
            cause,
        }),
        PaymentStep::Voided => Event::PaymentVoided(PaymentVoided { purchase, user }),
    };
    let (_, taken) = event
        .step()
        .expect("every payment step is a step of a purchase");
    let stored = context
        .shard
        .find(purchase)
        .ok_or(Refusal::PurchaseNotFound)?;
    if stored.may(taken) {
        Ok(Decision::without_claims(event))
    } else {
        Err(Refusal::WrongState)
    }
}
