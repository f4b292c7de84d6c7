//! Owns the rows of `purchase_attempts`: how each starts, and which event ends it.
//!
//! Invariant: an attempt is ended by the first event that can end it, and by no other; the row of
//! its end is complete, so that it is correct even without the row of its start.

use super::rows::{AttemptRow, RowResult, Rows};
use crate::engine::event::{Flow, Origin};
use crate::engine::lifecycle::Step;
use crate::engine::view::HistoryEntry;
use crate::ids::Lsn;
use crate::journal::PurchaseAsOf;
use crate::money::Amount;
use crate::report::feed::sink::Unfit;
use crate::time::UnixMs;

/// LSN and time of an event.
#[derive(Copy, Clone)]
pub(super) struct EventPlace {
    pub(super) lsn: Lsn,
    pub(super) at: UnixMs,
}

/// An attempt with only its origin.
pub(super) fn from_origin(place: EventPlace, flow: Flow, origin: &Origin) -> AttemptRow {
    AttemptRow {
        ip: origin.ip.map(|it| it.to_string()),
        device: origin.device.as_ref().map(ToString::to_string),
        request: Some(origin.request.to_string()),
        owner: Some(origin.owner.to_string()),
        ..blank(place, flow)
    }
}

fn blank(place: EventPlace, flow: Flow) -> AttemptRow {
    AttemptRow {
        lsn: place.lsn,
        at: place.at,
        flow: flow.as_str(),
        result: RowResult::Pending,
        reason: None,
        user: None,
        product: None,
        quantity: None,
        purchase: None,
        amount: None,
        currency: None,
        promotion: None,
        card: None,
        ip: None,
        device: None,
        request: None,
        owner: None,
        ended: None,
    }
}

/// The row of a payment, if the event at `place` ended it; a void may begin more than once. The row
/// is complete, so that it is correct even without the row of its start.
pub(super) fn end_buy(
    known: &PurchaseAsOf,
    result: RowResult,
    reason: Option<String>,
    place: EventPlace,
    rows: &mut Rows,
) -> Result<(), Unfit> {
    let view = &known.view;
    // If a hold was paid for more than once, the payment that ends is the one that started last.
    let mut begun = view.history.iter().enumerate();
    let (place_of_start, started) = begun
        .rfind(|(_, entry)| entry.step == Step::PaymentStarted)
        .ok_or_else(|| Unfit(format!("the payment of {} never started", view.purchase)))?;
    let ends = |entry: &&HistoryEntry| {
        matches!(
            entry.step,
            Step::PaymentCaptured
                | Step::PaymentDeclined
                | Step::PaymentDeclinedHoldKept
                | Step::VoidStarted
                | Step::ReviewRejected
        )
    };
    let mut since = view.history[place_of_start..].iter();
    if since.find(ends).map(|entry| entry.lsn) != Some(place.lsn) {
        return Ok(());
    }
    rows.attempt = Some(Box::new(AttemptRow {
        result,
        reason,
        user: Some(view.user.to_string()),
        product: Some(view.product.to_string()),
        quantity: Some(view.quantity),
        purchase: Some(view.purchase.to_string()),
        amount: Some(view.quote.amount.get()),
        currency: Some(view.quote.currency.to_string()),
        promotion: view.promotion.as_ref().map(ToString::to_string),
        card: view.card.as_ref().map(|it| it.as_str().to_owned()),
        request: view.request.map(|it| it.to_string()),
        ended: Some((place.lsn, place.at)),
        ..blank(of(started), Flow::Buy)
    }));
    Ok(())
}

pub(super) fn end_refund(
    known: &PurchaseAsOf,
    number: u32,
    result: RowResult,
    reason: Option<String>,
    place: EventPlace,
    rows: &mut Rows,
) -> Result<(), Unfit> {
    let view = &known.view;
    let nth = usize::try_from(number).unwrap_or(usize::MAX);
    let started = stepped(&view.history, Step::RefundStarted, nth).ok_or_else(|| {
        Unfit(format!(
            "refund {number} of {} never started",
            view.purchase
        ))
    })?;
    let amount = known.amount_of(number);
    let amount = amount.ok_or_else(|| Unfit(format!("refund {number} has no amount")))?;
    rows.attempt = Some(Box::new(AttemptRow {
        result,
        reason,
        ended: Some((place.lsn, place.at)),
        ..refund_attempt(known, amount, of(started))
    }));
    Ok(())
}

pub(super) fn refund_attempt(
    known: &PurchaseAsOf,
    amount: Amount,
    place: EventPlace,
) -> AttemptRow {
    let view = &known.view;
    AttemptRow {
        user: Some(view.user.to_string()),
        product: Some(view.product.to_string()),
        quantity: Some(view.quantity),
        purchase: Some(view.purchase.to_string()),
        amount: Some(amount.get()),
        currency: Some(view.quote.currency.to_string()),
        ..blank(place, Flow::Refund)
    }
}

/// The `nth` occurrence of this step, from 1.
pub(super) fn stepped(history: &[HistoryEntry], step: Step, nth: usize) -> Option<&HistoryEntry> {
    let mut taken = history.iter().filter(|entry| entry.step == step);
    taken.nth(nth.checked_sub(1)?)
}

fn of(entry: &HistoryEntry) -> EventPlace {
    EventPlace {
        lsn: entry.lsn,
        at: entry.at,
    }
}
