//! Decides what the saga records: each step is allowed in the purchase's state, or refused.

use super::refund::{ComesBack, clawback, comes_back, extent_after, found_comes_back};
use super::release::expiry;
use super::{Context, Decision, OwnedPurchase};
use crate::engine::decide::command::{PaymentStep, Verdict};
use crate::engine::event::{
    CaptureDiffered, CaptureStarted, Decider, Event, GivenBack, HoldAfter, PaymentAuthorized,
    PaymentCaptured, PaymentDeclined, PaymentSource, PaymentVoided, PaysFor, Quote, ReceiptSigner,
    RefundFailed, RefundFound, RefundReturned, RefundSucceeded, ReviewDecided, ReviewOpened,
    ReviewVerdict, VoidCause, VoidStarted, VoidStuck, VoidStuckCause,
};
use crate::engine::state::purchase::{Purchase, Refund, StateReason};
use crate::engine::words::lifecycle::{PurchaseState, Step};
use crate::engine::words::refusal::Refusal;
use crate::ids::{CaptureId, PurchaseId, ReceiptKeyId};
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;

/// Whether `step` is allowed in the state of `purchase`, and the event that records it.
pub fn decide_payment(
    context: Context<'_>,
    purchase: PurchaseId,
    step: PaymentStep,
) -> Result<Decision, Refusal> {
    let found = OwnedPurchase::find(context.shard, purchase);
    let of = found.ok_or(Refusal::PurchaseNotFound)?;
    let event = event_of(context, of, step)?;
    let (_, taken) = event
        .step()
        .expect("every payment step is a step of a purchase");
    if !of.stored.may(taken) {
        return Err(Refusal::WrongState);
    }
    let mut decision = Decision::without_claims(event);
    // A hold whose time passed while it was being paid expires now.
    if taken == Step::PaymentDeclinedHoldKept && context.at >= of.stored.expires_at {
        let expired = expiry(context.catalogue, of);
        decision.events.push(Event::HoldExpired(expired));
    }
    Ok(decision)
}

/// Whether the hold stays after a payment that charged nothing. It does if it existed before the
/// payment and has tries left. A payment that nobody declined is not a try.
fn hold_after(context: Context<'_>, stored: &Purchase, ended: StateReason) -> HoldAfter {
    let pays_for = stored.payment.as_ref().map(|payment| payment.pays_for);
    let tries_max = context.settings.tries_per_hold_max as usize;
    let has_tries_left = !ended.is_refusal() || stored.declined_payments() + 1 < tries_max;
    match pays_for {
        Some(PaysFor::EarlierHold) if has_tries_left => HoldAfter::Kept,
        None | Some(PaysFor::OwnHold | PaysFor::EarlierHold) => HoldAfter::Ended,
    }
}

/// The same after its authorization was voided: the hold stays only if the gateway ended the
/// payment and the hold's time has not passed.
fn hold_after_void(context: Context<'_>, stored: &Purchase) -> HoldAfter {
    match stored.reason {
        Some(ended @ StateReason::Void(cause))
            if cause.is_decline() && context.at < stored.expires_at =>
        {
            hold_after(context, stored, ended)
        }
        Some(StateReason::Void(_) | StateReason::Declined(_)) | None => HoldAfter::Ended,
    }
}

/// The source of the payment, which its outcome is counted by.
fn payment_source(context: Context<'_>, stored: &Purchase) -> Result<PaymentSource, Refusal> {
    // Without a payment no step of one is allowed.
    let payment = stored.payment.as_deref().ok_or(Refusal::WrongState)?;
    let product = &context.catalogue.product_at(stored.product).terms.product;
    let particulars = stored.particulars.as_deref();
    Ok(PaymentSource {
        card: payment.card.clone(),
        product: product.clone(),
        ip: payment.ip,
        device: particulars.and_then(|it| it.device.clone()),
    })
}

#[allow(
    clippy::too_many_lines,
    reason = "one arm for each step, nearly all fields"
)]
fn event_of(
    context: Context<'_>,
    of: OwnedPurchase<'_>,
    step: PaymentStep,
) -> Result<Event, Refusal> {
    let (purchase, stored, user) = (of.id, of.stored, of.owner.clone());
    Ok(match step {
        PaymentStep::Authorized {
            authorization,
            capture_before,
        } => Event::PaymentAuthorized(PaymentAuthorized {
            purchase,
            user,
            authorization,
            capture_before,
        }),
        PaymentStep::Declined {
            cause,
            code,
            advice,
        } => Event::PaymentDeclined(PaymentDeclined {
            purchase,
            user,
            cause,
            code,
            advice,
            hold: hold_after(context, stored, StateReason::Declined(cause)),
            payment_source: payment_source(context, stored)?,
        }),
        // The review comes first.
        PaymentStep::StartCapture if stored.wants_review() => return Err(Refusal::WrongState),
        PaymentStep::StartCapture => Event::CaptureStarted(CaptureStarted { purchase, user }),
        PaymentStep::OpenReview {
            within_ms,
            margin_ms,
        } => open_review(
            of,
            review_deadline(context.at, stored, within_ms, margin_ms),
        )?,
        PaymentStep::DecideReview {
            verdict,
            decider,
            void_within_ms,
        } => {
            check_due(context.at, stored, &decider)?;
            Event::ReviewDecided(ReviewDecided {
                purchase,
                user,
                verdict: verdict_of(verdict, context.at.plus_ms(void_within_ms)),
                decider,
            })
        }
        PaymentStep::Captured {
            capture,
            amount,
            currency,
            receipt_key,
            signing_key,
        } => {
            let confirmed = ConfirmedCapture {
                capture,
                quote: paid(stored, amount, currency)?,
                receipt_key,
                signing_key,
            };
            captured(context, of, confirmed)?
        }
        // Only a stuck purchase is settled.
        PaymentStep::StartVoid {
            cause: VoidCause::Settled,
            ..
        } if !is_stuck(stored) => return Err(Refusal::WrongState),
        // Captured money is only returned by an order that says so, and why.
        PaymentStep::StartVoid { cause, .. }
            if cause != VoidCause::Settled && stored.state == PurchaseState::CaptureDiffers =>
        {
            return Err(Refusal::WrongState);
        }
        PaymentStep::StartVoid {
            cause,
            code,
            within_ms,
            by,
        } => Event::VoidStarted(VoidStarted {
            purchase,
            user,
            cause,
            code,
            deadline: context.at.plus_ms(within_ms),
            by,
        }),
        PaymentStep::Voided { returned } => Event::PaymentVoided(PaymentVoided {
            purchase,
            user,
            hold: hold_after_void(context, stored),
            returned,
        }),
        PaymentStep::VoidStuck(cause) => {
            check_stuck(context.at, stored, cause)?;
            Event::VoidStuck(VoidStuck {
                purchase,
                user,
                cause,
            })
        }
        PaymentStep::CaptureDiffered {
            difference,
            capture,
            captured,
            currency,
            refunded,
        } => Event::CaptureDiffered(CaptureDiffered {
            purchase,
            user,
            difference,
            capture,
            captured,
            currency,
            refunded,
        }),
        PaymentStep::RefundedAtGateway(total) => refund_found(context, of, total)?,
        PaymentStep::Refunded(number) => refunded(context, of, number)?,
        PaymentStep::RefundReturned(number) => {
            let back = comes_back(stored, number).ok_or(Refusal::WrongState)?;
            returned(context, of, Some(number), back)
        }
        PaymentStep::LessRefundedAtGateway(total) => {
            let back = found_comes_back(stored, total).ok_or(Refusal::WrongState)?;
            returned(context, of, None, back)
        }
        PaymentStep::RefundFailed {
            number,
            code,
            failure,
        } => {
            pending(stored, number)?;
            Event::RefundFailed(RefundFailed {
                purchase,
                user,
                number,
                code,
                failure,
            })
        }
    })
}

/// The quote with the amount that the gateway confirmed.
fn paid(stored: &Purchase, amount: Amount, currency: Currency) -> Result<Quote, Refusal> {
    check_captured(stored, amount, currency)?;
    Ok(Quote {
        amount,
        ..stored.quote()
    })
}

/// A capture over the amount that the gateway confirmed, and the keys that seal its receipt.
struct ConfirmedCapture {
    capture: CaptureId,
    quote: Quote,
    receipt_key: ReceiptKeyId,
    signing_key: Option<ReceiptSigner>,
}

fn captured(
    context: Context<'_>,
    of: OwnedPurchase<'_>,
    confirmed: ConfirmedCapture,
) -> Result<Event, Refusal> {
    let stored = of.stored;
    let tokens = tokens_of(stored);
    let debt_paid = tokens.min(context.shard.token_debt(of.owner));
    Ok(Event::PaymentCaptured(PaymentCaptured {
        purchase: of.id,
        user: of.owner.clone(),
        capture: confirmed.capture,
        quantity: stored.quantity,
        quote: confirmed.quote,
        metadata: stored.metadata(),
        receipt_key: confirmed.receipt_key,
        signing_key: confirmed.signing_key,
        tokens,
        debt_paid,
        payment_source: payment_source(context, stored)?,
    }))
}

/// A void is not overdue before its deadline.
fn check_stuck(at: UnixMs, stored: &Purchase, cause: VoidStuckCause) -> Result<(), Refusal> {
    let post_capture = stored.post_capture.as_ref();
    let deadline = post_capture.and_then(|it| it.void_deadline);
    let early = deadline.is_some_and(|deadline| at < deadline);
    if cause == VoidStuckCause::Overdue && early {
        return Err(Refusal::WrongState);
    }
    Ok(())
}

fn refunded(context: Context<'_>, of: OwnedPurchase<'_>, number: u32) -> Result<Event, Refusal> {
    let stored = of.stored;
    let refund = pending(stored, number)?;
    let (amount, restock) = (refund.amount, refund.restock);
    let extent = extent_after(stored, amount);
    let clawback = clawback(context, of.owner, stored, extent, amount);
    let product = &context.catalogue.product_at(stored.product).terms.product;
    Ok(Event::RefundSucceeded(RefundSucceeded {
        purchase: of.id,
        user: of.owner.clone(),
        number,
        product: product.clone(),
        quantity: stored.quantity,
        amount,
        currency: stored.quote().currency,
        extent,
        leaves: stored.paid_state_after(amount),
        clawback,
        restock,
    }))
}

fn refund_found(
    context: Context<'_>,
    of: OwnedPurchase<'_>,
    total: Amount,
) -> Result<Event, Refusal> {
    let stored = of.stored;
    let amount = found_refund(stored, total)?;
    let extent = extent_after(stored, amount);
    Ok(Event::RefundFound(RefundFound {
        purchase: of.id,
        product: context
            .catalogue
            .product_at(stored.product)
            .terms
            .product
            .clone(),
        quantity: stored.quantity,
        amount,
        currency: stored.quote().currency,
        extent,
        leaves: stored.paid_state_after(amount),
        clawback: clawback(context, of.owner, stored, extent, amount),
        user: of.owner.clone(),
    }))
}

/// Refunded money came back to the shop, and its reward tokens to the buyer.
fn returned(
    context: Context<'_>,
    of: OwnedPurchase<'_>,
    number: Option<u32>,
    back: ComesBack,
) -> Event {
    let stored = of.stored;
    let ComesBack { amount, tokens } = back;
    let product = &context.catalogue.product_at(stored.product).terms.product;
    Event::RefundReturned(RefundReturned {
        purchase: of.id,
        number,
        product: product.clone(),
        quantity: stored.quantity,
        amount,
        currency: stored.quote().currency,
        leaves: stored.paid_state_less(amount),
        given_back: GivenBack {
            tokens,
            debt_paid: tokens.min(context.shard.token_debt(of.owner)),
        },
        user: of.owner.clone(),
    })
}

/// A receipt is sealed over the amount that was requested and confirmed, or over one that an
/// operator settled.
fn check_captured(stored: &Purchase, amount: Amount, currency: Currency) -> Result<(), Refusal> {
    let quote = stored.quote();
    let settled = is_stuck(stored);
    let fits = currency == quote.currency && (amount == quote.amount || settled);
    fits.then_some(()).ok_or(Refusal::WrongState)
}

fn is_stuck(stored: &Purchase) -> bool {
    matches!(
        stored.state,
        PurchaseState::CaptureDiffers | PurchaseState::Stuck
    )
}

/// The part of `total`, refunded by the gateway, that our books do not have; at most what was
/// captured.
fn found_refund(stored: &Purchase, total: Amount) -> Result<Amount, Refusal> {
    let more = total
        .min(stored.quote().amount)
        .saturating_minus(stored.refunded);
    // A refund in progress may be part of it; its own outcome comes first.
    let known = more == Amount::ZERO || stored.pending_refund().is_some();
    if known {
        return Err(Refusal::WrongState);
    }
    Ok(more)
}

/// A person decides while it is under review; the deadline only once it is reached.
fn check_due(at: UnixMs, stored: &Purchase, decider: &Decider) -> Result<(), Refusal> {
    let due = stored.review_deadline().ok_or(Refusal::WrongState)?;
    if *decider == Decider::Deadline && at < due {
        return Err(Refusal::WrongState);
    }
    Ok(())
}

fn verdict_of(verdict: Verdict, void_by: UnixMs) -> ReviewVerdict {
    match verdict {
        Verdict::Approve => ReviewVerdict::Approved,
        Verdict::Reject => ReviewVerdict::Rejected(void_by),
    }
}

fn open_review(of: OwnedPurchase<'_>, deadline: UnixMs) -> Result<Event, Refusal> {
    let particulars = of.stored.particulars.as_ref();
    let wanted = particulars.filter(|_| of.stored.wants_review());
    Ok(Event::ReviewOpened(ReviewOpened {
        purchase: of.id,
        user: of.owner.clone(),
        reasons: wanted.ok_or(Refusal::WrongState)?.review_reasons.clone(),
        deadline,
    }))
}

/// The time that the operator allows, but early enough for the gateway.
fn review_deadline(at: UnixMs, stored: &Purchase, within_ms: u64, margin_ms: u64) -> UnixMs {
    let payment = stored.payment.as_ref();
    let lapses = payment.and_then(|it| it.capture_before);
    let given = at.plus_ms(within_ms);
    lapses.map_or(given, |lapses| {
        let in_time = UnixMs::new(lapses.get().saturating_sub(margin_ms));
        given.min(in_time).max(at)
    })
}

/// The refund in progress, if it has this number.
fn pending(stored: &Purchase, number: u32) -> Result<&Refund, Refusal> {
    let pending = stored.pending_refund();
    let known = pending.filter(|(pending, _)| *pending == number);
    known.map(|(_, refund)| refund).ok_or(Refusal::WrongState)
}

/// The reward tokens of the purchase, by the terms of its hold. A free purchase brings none.
fn tokens_of(stored: &Purchase) -> Tokens {
    if stored.quote().amount == Amount::ZERO {
        return Tokens::NONE;
    }
    Tokens::new(u64::from(stored.reward_tokens) * u64::from(stored.quantity))
}
