//! Owns refunds: made once for each number, and found again.
//!
//! Invariants: a refund of ours carries its reference and number in its metadata; a further key is
//! used only after the list of the payment's refunds, read since the earlier key was spent, has it
//! not; a refund that Stripe has not finished is not a success, and what Stripe answers from store
//! is not believed of it.

use super::api::Api;
use super::classify::{Classification, Moves};
use super::client::ResponseOrigin;
use super::find::KEYS_MAX;
use super::wire::{FormFields, REFUND, RefundMade, StripePage, StripeRefundState};
use crate::ids::{AuthorizationId, CaptureId, GatewayCode};
use crate::payments::gateway::{
    CallResult, Decline, DeclinedBy, FoundRefund, RefundRequest, Trouble,
};

/// Maximum number of pages of 100 refunds to read for one payment.
const PAGES_MAX: u32 = 20;

/// Makes `refund`, once.
pub(super) async fn refund(api: &Api, refund: &RefundRequest) -> CallResult<()> {
    let Some(of) = of(refund) else {
        return CallResult::Declined(Decline::BY_GATEWAY);
    };
    for n in 1..=KEYS_MAX {
        let key = format!("{}:refund:{}:{n}", refund.reference, refund.number);
        let form = FormFields::new()
            .with(of.0, of.1)
            .with("amount", &refund.amount.get().to_string())
            .with(&format!("metadata[{REFUND}]"), &name(refund));
        let made = api
            .post_told::<RefundMade>("/v1/refunds", form, Some(&key), Moves::Money)
            .await;
        match made {
            Ok((made, ResponseOrigin::Now)) => return answer(&made),
            // It is a stored response: a refund that was pending may have ended since.
            Ok((made, ResponseOrigin::Again)) => {
                return match listed(api, refund).await {
                    Ok(listed) => answer(&listed.unwrap_or(made)),
                    Err(listing) => CallResult::Unknown(listing.trouble()),
                };
            }
            // It may have been made earlier, under a key that Stripe has forgotten or under this
            // one when Stripe failed internally: the list knows.
            Err((
                verdict @ (Classification::KeySpent
                | Classification::KeyMismatch
                | Classification::Declined(_)),
                told,
            )) => {
                // A stored refusal is from an earlier day; a new request may succeed.
                let spent = match verdict {
                    Classification::KeySpent => true,
                    Classification::Declined(_) => told == ResponseOrigin::Again,
                    _ => false,
                };
                match listed(api, refund).await {
                    Ok(Some(made)) => return answer(&made),
                    Ok(None) if spent => {}
                    Ok(None) => return verdict.answer(),
                    Err(listing) => return CallResult::Unknown(listing.trouble()),
                }
            }
            Err((verdict, _)) => return verdict.answer(),
        }
    }
    CallResult::Unknown(Trouble::Internal)
}

/// The state of `refund`.
pub(super) async fn look_up(api: &Api, refund: &RefundRequest) -> Result<FoundRefund, Trouble> {
    match listed(api, refund).await {
        Ok(Some(made)) => Ok(found(&made)),
        Ok(None) => Ok(FoundRefund::Nothing),
        Err(verdict) => Err(verdict.trouble()),
    }
}

/// The refund with this number; if it was made several times because earlier ones failed, the one
/// that came furthest.
async fn listed(api: &Api, refund: &RefundRequest) -> Result<Option<RefundMade>, Classification> {
    let Some(of) = of(refund) else {
        return Ok(None);
    };
    let name = name(refund);
    let mut best: Option<RefundMade> = None;
    let mut after: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut form = FormFields::new().with(of.0, of.1).with("limit", "100");
        if let Some(after) = &after {
            form = form.with("starting_after", after);
        }
        let page: StripePage<RefundMade> = api.get("/v1/refunds", form).await?;
        after = page.data.last().map(|made| made.id.clone());
        for made in page.data {
            let better = best.as_ref().is_none_or(|it| weight(&made) > weight(it));
            if made.metadata.get(REFUND) == Some(&name) && better {
                best = Some(made);
            }
        }
        if !page.has_more || after.is_none() {
            return Ok(best);
        }
    }
    Err(Classification::Retriable(Trouble::Internal))
}

/// The refunded object, as Stripe names it.
fn of(refund: &RefundRequest) -> Option<(&'static str, &str)> {
    let intent = refund.authorization.as_ref().map(AuthorizationId::as_str);
    let capture = refund.capture.as_ref().map(CaptureId::as_str);
    match (intent, capture) {
        (Some(intent), _) => Some(("payment_intent", intent)),
        (None, Some(id)) if id.starts_with("pi_") => Some(("payment_intent", id)),
        (None, Some(charge)) => Some(("charge", charge)),
        (None, None) => None,
    }
}

fn name(refund: &RefundRequest) -> String {
    format!("{}:{}", refund.reference, refund.number)
}

fn weight(made: &RefundMade) -> u8 {
    match found(made) {
        FoundRefund::Nothing => 0,
        FoundRefund::Failed => 1,
        FoundRefund::Pending => 2,
        FoundRefund::Succeeded => 3,
    }
}

fn found(made: &RefundMade) -> FoundRefund {
    match made.status {
        Some(StripeRefundState::Succeeded) => FoundRefund::Succeeded,
        Some(StripeRefundState::Failed | StripeRefundState::Canceled) => FoundRefund::Failed,
        Some(
            StripeRefundState::Pending
            | StripeRefundState::RequiresAction
            | StripeRefundState::Other,
        )
        | None => FoundRefund::Pending,
    }
}

fn answer(made: &RefundMade) -> CallResult<()> {
    match found(made) {
        FoundRefund::Succeeded => CallResult::Approved(()),
        FoundRefund::Failed => CallResult::Declined(Decline {
            by: DeclinedBy::Gateway,
            code: made.failure_reason.as_deref().and_then(GatewayCode::parse),
        }),
        FoundRefund::Pending | FoundRefund::Nothing => CallResult::Unknown(Trouble::Busy),
    }
}
