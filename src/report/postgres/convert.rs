//! Owns converting an event into its rows in PostgreSQL.
//!
//! Invariant: rows depend only on the event, and on the part of its purchase's history that cannot
//! change any more (`LogTail::purchase_as_of`): the same event makes the same rows, live, after a
//! crash, and when redriven. So the sink needs no state of its own, and can start in the middle of
//! a purchase.

use super::attempts::{EventPlace, end_buy, end_refund, from_origin, stepped};
use super::bookings::{TOKENS, count, entry, reward};
use super::encode::Tuple;
use super::rows::{AttemptRow, Booking, PromotionUse, Risk, RowResult, Rows, Transaction};
use super::tables::{ACTIONS, AUDIT};
use crate::engine::event::{
    AttemptEvent, AttemptRefused, BuyerEvent, CatalogueEvent, DeclineCause, DisputeEvent, Event,
    Flow, Group, HoldAfter, HoldEvent, HoldPlaced, Origin, PaymentCaptured, PaymentEvent,
    PaymentStarted, RefundEvent, ReviewEvent, ReviewVerdict,
};
use crate::engine::lifecycle::{Stands, Step, stands};
use crate::ids::PurchaseId;
use crate::journal::{Journal, PurchaseAsOf};
use crate::receipts::Sealer;
use crate::report::attempt::metadata_json;
use crate::report::event_bytes;
use crate::report::feed::sink::{Convert, Fed, Unfit};
use crate::time::UnixMs;
use std::sync::Arc;

/// The reason of attempts that a risk rule blocked.
const RISK_BLOCKED: &str = "risk_blocked";

/// Converts events into rows.
pub struct ToRows {
    journal: Arc<Journal>,
    sealer: Sealer,
}

impl ToRows {
    pub(super) fn new(journal: Arc<Journal>, sealer: Sealer) -> Self {
        Self { journal, sealer }
    }
}

impl Convert for ToRows {
    type Item = Rows;

    fn convert(&mut self, fed: &Fed) -> Result<Option<Rows>, Unfit> {
        let at = EventPlace {
            lsn: fed.entry.lsn,
            at: fed.entry.at,
        };
        let mut rows = Rows {
            day: day_of(at.at),
            ..Rows::default()
        };
        audit(fed, &mut rows.audit);
        self.fill(&fed.entry.event, at, &mut rows)?;
        Ok(Some(rows))
    }

    fn bytes(rows: &Rows) -> usize {
        rows.bytes()
    }
}

fn day_of(at: UnixMs) -> i32 {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    i32::try_from(at.get() / DAY_MS).unwrap_or(i32::MAX)
}

fn audit(fed: &Fed, into: &mut Vec<u8>) {
    let event = &fed.entry.event;
    let json = event_bytes(&fed.entry);
    into.reserve(json.len() + 160);
    let purchase = event.step().map(|(purchase, _)| purchase.to_string());
    Tuple::new(into, AUDIT.columns.len())
        .lsn(fed.entry.lsn)
        .instant(fed.entry.at)
        .text(event.kind())
        .text_or_null(event.user().map(crate::ids::UserId::as_str))
        .text_or_null(purchase.as_deref())
        .json(&json);
}

impl ToRows {
    fn fill(&self, event: &Event, place: EventPlace, rows: &mut Rows) -> Result<(), Unfit> {
        match event.group() {
            Group::Hold(event) => self.of_hold(event, place, rows),
            Group::Payment(event) => self.of_payment(event, place, rows),
            Group::Review(ReviewEvent::ReviewDecided(it)) => match it.verdict {
                ReviewVerdict::Approved => Ok(()),
                ReviewVerdict::Rejected(_) => {
                    let known = self.known(it.purchase, place)?;
                    let reason = Some("review_rejected".to_owned());
                    end_buy(&known, RowResult::Failed, reason, place, rows)
                }
            },
            Group::Refund(event) => self.of_refund(event, place, rows),
            Group::Dispute(DisputeEvent::DisputeOpened(it)) => self.dispute_opened(it, place, rows),
            Group::Dispute(DisputeEvent::DisputeClosed(it)) => self.dispute_closed(it, place, rows),
            Group::Buyer(BuyerEvent::TokensSpent(it)) => {
                tokens_spent(it, place, rows);
                Ok(())
            }
            Group::Attempt(AttemptEvent::AttemptRefused(it)) => {
                refused(it, place, rows);
                Ok(())
            }
            Group::Catalogue(CatalogueEvent::ProductSet(_) | CatalogueEvent::PromotionSet(_)) => {
                rows.terms = Some(place.lsn);
                Ok(())
            }
            // Their row in `audit_log` is all that they have.
            Group::Review(ReviewEvent::ReviewOpened(_))
            | Group::Buyer(
                BuyerEvent::BuyerPaused(_)
                | BuyerEvent::BuyerRated(_)
                | BuyerEvent::BuyerSegmented(_)
                | BuyerEvent::HoldingsImported(_)
                | BuyerEvent::KeyImported(_),
            )
            | Group::Catalogue(
                CatalogueEvent::StockImported(_) | CatalogueEvent::PromotionUsesImported(_),
            )
            | Group::Risk(_)
            | Group::Webhook(_)
            | Group::Core(_)
            | Group::Trail(_) => Ok(()),
        }
    }

    fn of_hold(
        &self,
        event: HoldEvent<'_>,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        match event {
            HoldEvent::HoldPlaced(it) => {
                hold_placed(it, place, rows);
                Ok(())
            }
            HoldEvent::HoldReleased(it) => {
                action(
                    place,
                    it.user.as_str(),
                    "hold_released",
                    &it.origin,
                    None,
                    Some(it.purchase),
                    rows,
                );
                self.promotion_back(it.purchase, place, rows)
            }
            HoldEvent::HoldExpired(it) => self.promotion_back(it.purchase, place, rows),
        }
    }

    fn of_payment(
        &self,
        event: PaymentEvent<'_>,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        match event {
            PaymentEvent::PaymentStarted(it) => self.payment_started(it, place, rows),
            PaymentEvent::PaymentDeclined(it) => {
                let known = self.known(it.purchase, place)?;
                let reason = it.cause.as_str().to_owned();
                end_buy(&known, RowResult::Failed, Some(reason), place, rows)?;
                // Only a decline by the issuer counts against the buyer.
                if it.cause == DeclineCause::DeclinedByIssuer {
                    rows.risk = Some(Risk {
                        declines: 1,
                        ..Risk::none(it.user.as_str(), place.lsn)
                    });
                }
                self.payment_ended(it.purchase, it.hold, place, rows)
            }
            PaymentEvent::PaymentCaptured(it) => self.captured(it, place, rows),
            PaymentEvent::VoidStarted(it) => {
                let known = self.known(it.purchase, place)?;
                let reason = it.cause.as_str().to_owned();
                end_buy(&known, RowResult::Failed, Some(reason), place, rows)
            }
            PaymentEvent::PaymentVoided(it) => {
                self.payment_ended(it.purchase, it.hold, place, rows)
            }
            PaymentEvent::PaymentAuthorized(_)
            | PaymentEvent::CaptureStarted(_)
            | PaymentEvent::CaptureDiffered(_)
            | PaymentEvent::VoidStuck(_) => Ok(()),
        }
    }

    fn of_refund(
        &self,
        event: RefundEvent<'_>,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        match event {
            RefundEvent::RefundStarted(it) => self.refund_started(it, place, rows),
            RefundEvent::RefundSucceeded(it) => {
                let known = self.known(it.purchase, place)?;
                end_refund(&known, it.number, RowResult::Success, None, place, rows)?;
                self.refunded(&known, it.amount, it.clawback, place, rows)?;
                use_back_where_ended(&known, place, rows);
                Ok(())
            }
            RefundEvent::RefundFailed(it) => {
                let known = self.known(it.purchase, place)?;
                let reason = it.code.as_ref().map(ToString::to_string);
                end_refund(&known, it.number, RowResult::Failed, reason, place, rows)
            }
            RefundEvent::RefundFound(it) => {
                let known = self.known(it.purchase, place)?;
                self.refunded(&known, it.amount, it.clawback, place, rows)?;
                use_back_where_ended(&known, place, rows);
                Ok(())
            }
            RefundEvent::RefundReturned(it) => self.refund_returned(it, place, rows),
        }
    }

    pub(super) fn known(
        &self,
        purchase: PurchaseId,
        place: EventPlace,
    ) -> Result<PurchaseAsOf, Unfit> {
        let known = self.journal.tail().purchase_as_of(purchase, place.lsn);
        known.ok_or_else(|| Unfit(format!("the purchase {purchase} is not known")))
    }

    /// A payment ended with nothing charged; with its hold the promotion's use is given back.
    fn payment_ended(
        &self,
        purchase: PurchaseId,
        hold: HoldAfter,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        match hold {
            HoldAfter::Ended => self.promotion_back(purchase, place, rows),
            HoldAfter::Kept => Ok(()),
        }
    }

    fn promotion_back(
        &self,
        id: PurchaseId,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let known = self.known(id, place)?;
        use_back_where_ended(&known, place, rows);
        Ok(())
    }

    fn payment_started(
        &self,
        it: &PaymentStarted,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let known = self.known(it.purchase, place)?;
        let view = &known.view;
        rows.attempt = Some(Box::new(AttemptRow {
            result: RowResult::Pending,
            user: Some(it.user.to_string()),
            product: Some(view.product.to_string()),
            quantity: Some(view.quantity),
            purchase: Some(it.purchase.to_string()),
            amount: Some(it.quote.amount.get()),
            currency: Some(it.quote.currency.to_string()),
            promotion: view.promotion.as_ref().map(ToString::to_string),
            card: Some(it.card.as_str().to_owned()),
            ..from_origin(place, Flow::Buy, &it.origin)
        }));
        let (user, product) = (it.user.as_str(), Some(view.product.as_str()));
        action(
            place,
            user,
            "payment_started",
            &it.origin,
            product,
            Some(it.purchase),
            rows,
        );
        Ok(())
    }

    fn captured(
        &self,
        it: &PaymentCaptured,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let known = self.known(it.purchase, place)?;
        end_buy(&known, RowResult::Success, None, place, rows)?;
        rows.transaction = Some(Box::new(self.transaction(&known, place)?));
        let (granted, paid) = (count(it.tokens.get())?, count(it.debt_paid.get())?);
        let purchase = it.purchase.to_string();
        let currency = it.quote.currency.to_string();
        let amount = it.quote.amount.get();
        let booking = Booking {
            lsn: place.lsn,
            at: place.at,
            purchase: Some(&purchase),
            user: it.user.as_str(),
        };
        let entries = [
            entry("cash_clearing", &currency, amount),
            entry("revenue", &currency, -amount),
            entry("token_grants", TOKENS, granted),
            entry("token_liability", TOKENS, paid - granted),
            entry("token_receivable", TOKENS, -paid),
        ];
        booking.write(&entries, &mut rows.ledger);
        if granted != 0 {
            reward(&booking, "granted", granted - paid, -paid, &mut rows.reward);
        }
        Ok(())
    }

    /// The row of the purchase as captured; the caller adds the effect of the event.
    pub(super) fn transaction(
        &self,
        known: &PurchaseAsOf,
        place: EventPlace,
    ) -> Result<Transaction, Unfit> {
        let view = &known.view;
        let unfit = |what: &str| Unfit(format!("the purchase {} {what}", view.purchase));
        let sealed = self.sealer.receipt(view);
        let sealed = sealed.map_err(|error| Unfit(error.to_string()))?;
        let receipt = sealed.ok_or_else(|| unfit("was not captured"))?;
        let captured = stepped(&view.history, Step::PaymentCaptured, 1);
        let captured = captured.ok_or_else(|| unfit("has no capture in its history"))?;
        Ok(Transaction {
            purchase: view.purchase.to_string(),
            user: view.user.to_string(),
            product: view.product.to_string(),
            quantity: view.quantity,
            currency: view.quote.currency.to_string(),
            unit_price: view.quote.unit_price.get(),
            discount: view.quote.discount.get(),
            amount: view.quote.amount.get(),
            promotion: view.promotion.as_ref().map(ToString::to_string),
            metadata: metadata_json(&view.metadata).to_string().into_bytes(),
            card: view.card.as_ref().map(|it| it.as_str().to_owned()),
            authorization: view.authorization.as_ref().map(ToString::to_string),
            capture: view.capture.as_ref().map(ToString::to_string),
            captured_lsn: captured.lsn,
            captured_at: captured.at,
            receipt: receipt.receipt.receipt().to_string(),
            integrity_hash: receipt.integrity_hash,
            receipt_key: receipt.key_id.to_string(),
            hmac: receipt.hmac,
            signing_key: view.signing_key.as_ref().map(|it| it.key.to_string()),
            signature: receipt.ed25519.map(|it| it.signature),
            refunds: 0,
            refunded: 0,
            dispute: None,
            updated: place.lsn,
        })
    }
}

fn hold_placed(it: &HoldPlaced, place: EventPlace, rows: &mut Rows) {
    // The hold of a buy is part of the buy, whose attempt is the payment.
    if it.flow == Flow::Hold {
        rows.attempt = Some(Box::new(AttemptRow {
            result: RowResult::Success,
            user: Some(it.user.to_string()),
            product: Some(it.product.to_string()),
            quantity: Some(it.quantity),
            purchase: Some(it.purchase.to_string()),
            amount: Some(it.quote.amount.get()),
            currency: Some(it.quote.currency.to_string()),
            promotion: it.promotion.as_ref().map(ToString::to_string),
            ended: Some((place.lsn, place.at)),
            ..from_origin(place, it.flow, &it.origin)
        }));
        let (user, product) = (it.user.as_str(), Some(it.product.as_str()));
        action(
            place,
            user,
            "hold_placed",
            &it.origin,
            product,
            Some(it.purchase),
            rows,
        );
    }
    rows.promotion = it.promotion.as_ref().map(|code| PromotionUse {
        purchase: it.purchase.to_string(),
        code: code.to_string(),
        user: it.user.to_string(),
        used: Some((place.lsn, place.at)),
        given_back: None,
    });
}

fn refused(it: &AttemptRefused, place: EventPlace, rows: &mut Rows) {
    rows.attempt = Some(Box::new(AttemptRow {
        result: RowResult::Refused,
        reason: Some(it.reason.reason().to_owned()),
        user: it.user.as_ref().map(ToString::to_string),
        product: it.product.as_ref().map(ToString::to_string),
        quantity: Some(it.quantity),
        card: it.card.as_ref().map(|it| it.as_str().to_owned()),
        ended: Some((place.lsn, place.at)),
        ..from_origin(place, it.flow, &it.origin)
    }));
    let Some(user) = &it.user else { return };
    let product = it.product.as_ref().map(crate::ids::ProductId::as_str);
    action(
        place,
        user.as_str(),
        "attempt_refused",
        &it.origin,
        product,
        None,
        rows,
    );
    if it.reason.reason() == RISK_BLOCKED {
        rows.risk = Some(Risk {
            blocks: 1,
            ..Risk::none(user.as_str(), place.lsn)
        });
    }
}

fn tokens_spent(it: &crate::engine::event::TokensSpent, place: EventPlace, rows: &mut Rows) {
    rows.attempt = Some(Box::new(AttemptRow {
        result: RowResult::Success,
        user: Some(it.user.to_string()),
        ended: Some((place.lsn, place.at)),
        ..from_origin(place, Flow::Reward, &it.origin)
    }));
    action(
        place,
        it.user.as_str(),
        "tokens_spent",
        &it.origin,
        None,
        None,
        rows,
    );
    let tokens = i64::try_from(it.tokens.get()).unwrap_or(i64::MAX);
    let booking = Booking {
        lsn: place.lsn,
        at: place.at,
        purchase: None,
        user: it.user.as_str(),
    };
    let entries = [
        entry("token_liability", TOKENS, tokens),
        entry("token_redemptions", TOKENS, -tokens),
    ];
    booking.write(&entries, &mut rows.ledger);
    reward(&booking, "spent", -tokens, 0, &mut rows.reward);
}

/// A promotion's use is given back with the first event that ends the purchase for the buyer, and
/// with no later one, so exactly once.
pub(super) fn use_back_where_ended(known: &PurchaseAsOf, place: EventPlace, rows: &mut Rows) {
    let view = &known.view;
    let steps = || view.history.iter().map(|it| it.step);
    let before = stands(steps().take(view.history.len().saturating_sub(1)));
    if (before, stands(steps())) != (Stands::Always, Stands::No) {
        return;
    }
    rows.promotion = view.promotion.as_ref().map(|code| PromotionUse {
        purchase: view.purchase.to_string(),
        code: code.to_string(),
        user: view.user.to_string(),
        used: None,
        given_back: Some((place.lsn, place.at)),
    });
}

fn action(
    place: EventPlace,
    user: &str,
    action: &str,
    origin: &Origin,
    product: Option<&str>,
    purchase: Option<PurchaseId>,
    rows: &mut Rows,
) {
    Tuple::new(&mut rows.action, ACTIONS.columns.len())
        .lsn(place.lsn)
        .instant(place.at)
        .text(user)
        .text(action)
        .text_or_null(product)
        .text_or_null(purchase.map(|it| it.to_string()).as_deref())
        .text_or_null(origin.ip.map(|it| it.to_string()).as_deref())
        .text_or_null(origin.device.as_ref().map(crate::ids::DeviceId::as_str));
}
