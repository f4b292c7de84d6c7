//! Owns how a hold, a purchase and its refunds are shown.
//!
//! Invariants: only copies leave the shard, all of one view of one turn; a purchase as of a record
//! is shown as it was then.

use crate::engine::query::view::{
    DeclineView, HistoryEntry, HoldView, PaymentBegun, PostCaptureView, PurchaseView, RefundStatus,
    RefundView, ReviewView,
};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::purchase::{Purchase, RefundState};
use crate::engine::state::shard::Shard;
use crate::engine::words::lifecycle::{Units, next_state};
use crate::ids::{Lsn, PurchaseId, RequestId};
use crate::money::Amount;
use crate::time::UnixMs;

impl Shard {
    /// The purchase as a hold, with the quote it was placed at.
    pub fn hold_view(&self, id: PurchaseId, catalogue: &Catalogue) -> Option<HoldView> {
        let purchase = self.find(id)?;
        Some(HoldView {
            purchase: id,
            user: self.kept_buyers()[purchase.buyer].user.clone(),
            product: catalogue.product_at(purchase.product).terms.product.clone(),
            quantity: purchase.quantity,
            state: purchase.state,
            payments: if purchase.payment_start().is_some() {
                PaymentBegun::Some
            } else {
                PaymentBegun::None
            },
            quote: purchase.hold_quote,
            expires_at: purchase.expires_at,
        })
    }

    /// When the hold was to run out as it was placed, before corrections of the clock moved that.
    pub(in crate::engine::query) fn placed_until(&self, id: PurchaseId) -> Option<UnixMs> {
        let purchase = self.find(id)?;
        let placed = purchase.history.first()?.lsn;
        let moved = |lsn: Lsn| {
            let until = purchase.history.iter().take_while(|it| it.lsn < lsn);
            let state = until.fold(None, |state, it| next_state(state, it.step));
            state.is_some_and(|it| it.units() == Units::Held)
        };
        let later = self.corrections().newest_first();
        let later = later.take_while(|(lsn, _)| *lsn > placed);
        let as_placed = later.filter(|(lsn, _)| moved(*lsn));
        Some(as_placed.fold(purchase.expires_at, |at, (_, offset_ms)| {
            at.moved_ms(offset_ms.saturating_neg())
        }))
    }

    /// The purchase as it was when the record at `as_of` had been applied; [`LATEST`] for now.
    pub fn purchase_view(
        &self,
        id: PurchaseId,
        catalogue: &Catalogue,
        as_of: Lsn,
    ) -> Option<PurchaseView> {
        let purchase = self.find(id)?;
        let until = purchase
            .history
            .iter()
            .take_while(|happened| happened.lsn <= as_of);
        let history: Vec<HistoryEntry> = until
            .map(|it| HistoryEntry {
                at: it.at,
                today: self.corrections().today(&it),
                step: it.step,
                lsn: it.lsn,
            })
            .collect();
        let state = history
            .iter()
            .fold(None, |state, entry| next_state(state, entry.step))?;
        let payment = purchase.payment.as_deref();
        let post_capture = purchase.post_capture.as_deref();
        let shown = purchase.shown_as_of(as_of);
        // What is kept without the instant at which it came about is that of now, or not shown.
        let now = (history.len() == purchase.history.len()).then_some(purchase);
        Some(PurchaseView {
            purchase: id,
            user: self.kept_buyers()[purchase.buyer].user.clone(),
            product: catalogue.product_at(purchase.product).terms.product.clone(),
            quantity: purchase.quantity,
            quote: shown.as_ref().map_or(purchase.hold_quote, |it| it.quote),
            refunded: now.map_or(Amount::ZERO, |it| it.refunded),
            charged_back: now.map_or(Amount::ZERO, Purchase::charged_back),
            disputes: now.map_or_else(Vec::new, |it| it.disputes().to_vec()),
            promotion: purchase
                .promotion
                .map(|index| catalogue.promotion_at(index).terms.code.clone()),
            metadata: purchase.metadata(),
            state,
            reason: now.and_then(Purchase::reason_word),
            expires_at: purchase.expires_at,
            card: shown.as_ref().map(|it| it.card.clone()),
            authorization: payment.and_then(|payment| payment.authorization.clone()),
            capture_before: payment.and_then(|payment| payment.capture_before),
            capture: payment.and_then(|payment| payment.capture.clone()),
            captured: purchase.captured_money(),
            receipt_key: payment.and_then(|payment| payment.receipt_key.clone()),
            signing_key: payment.and_then(|payment| payment.signing_key.clone()),
            request: shown.as_ref().map(|it| it.request),
            declines: purchase.decline_views(id, as_of),
            review: review_of(purchase),
            void_deadline: post_capture.and_then(|it| it.void_deadline),
            refunds: now
                .and(post_capture)
                .map_or(0, |post_capture| post_capture.refunds.len()),
            pending_refund: now
                .and_then(Purchase::pending_refund)
                .map(|(number, _)| number),
            history,
        })
    }

    /// The answer of the payment of a purchase that `request` brought, where it was not made.
    pub fn decline_view(&self, id: PurchaseId, request: RequestId) -> Option<DeclineView> {
        self.find(id)?.decline_view(id, request)
    }

    /// One refund of a purchase.
    pub fn refund_view(&self, id: PurchaseId, number: u32) -> Option<RefundView> {
        let purchase = self.find(id)?;
        let refund = purchase.refund(number)?;
        let status = match &refund.state {
            RefundState::Pending => RefundStatus::Pending,
            RefundState::Succeeded { at, clawback } => RefundStatus::Succeeded {
                at: *at,
                clawback: *clawback,
            },
            RefundState::Failed { at, code, failure } => RefundStatus::Failed {
                failure: *failure,
                at: *at,
                code: code.clone(),
            },
            RefundState::Returned {
                at,
                clawback,
                returned_at,
            } => RefundStatus::Returned {
                at: *at,
                clawback: *clawback,
                returned_at: *returned_at,
            },
        };
        Some(RefundView {
            purchase: id,
            number,
            amount: refund.amount,
            currency: purchase.quote().currency,
            previously_refunded: refund.previously_refunded,
            note: refund.note.clone(),
            restock: refund.restock,
            request: refund.request,
            started_at: refund.started,
            status,
        })
    }

    /// What became of a purchase beyond a plain capture; nothing of most.
    pub fn post_capture_view(&self, id: PurchaseId) -> Option<PostCaptureView> {
        let Some(post_capture) = &self.find(id)?.post_capture else {
            return Some(PostCaptureView::default());
        };
        let numbers = (1..).take(post_capture.refunds.len());
        Some(PostCaptureView {
            refunds: numbers.filter_map(|it| self.refund_view(id, it)).collect(),
            disputes: post_capture.disputes.clone(),
            tokens: post_capture.tokens,
            tokens_asked_back: post_capture.tokens_asked_back,
        })
    }
}

fn review_of(purchase: &Purchase) -> Option<ReviewView> {
    purchase.wants_review().then_some(())?;
    let particulars = purchase.particulars.as_ref()?;
    Some(ReviewView {
        reasons: particulars.review_reasons.clone(),
        deadline: purchase.review_deadline(),
    })
}
