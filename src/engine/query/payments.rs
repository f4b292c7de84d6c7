//! Owns what the books say about payments, for comparing them with the gateway's.

use crate::engine::query::view::{NetCapture, PaymentOf, PaymentView, PaymentsPage, Standing};
use crate::engine::state::corrections::Corrections;
use crate::engine::state::purchase::{Happened, Purchase, RefundState, StateReason};
use crate::engine::state::shard::Shard;
use crate::engine::state::tries::Try;
use crate::engine::words::lifecycle::{PurchaseState, Step, Units};
use crate::ids::{AuthorizationId, PurchaseId, RequestId};
use crate::money::Amount;
use crate::time::UnixMs;
use std::ops::ControlFlow;

impl Shard {
    /// The purchase whose authorization has this id at the gateway, among `most` purchases from the
    /// sequence number `from` on; otherwise where to continue.
    pub fn purchase_of(
        &self,
        authorization: &AuthorizationId,
        from: u64,
        most: usize,
    ) -> ControlFlow<Option<PurchaseId>, u64> {
        let named = |purchase: &Purchase| {
            let payment = purchase.payment.as_ref();
            let payment = payment.and_then(|it| it.authorization.as_ref());
            let ended = purchase.ended().iter();
            let mut names = payment
                .into_iter()
                .chain(ended.flat_map(|it| &it.authorization));
            names.any(|it| it == authorization)
        };
        let mut numbered = self.kept_purchases().from(from);
        for (sequence, purchase) in numbered.by_ref().take(most) {
            if named(purchase) {
                return ControlFlow::Break(Some(self.id_of(sequence, purchase)));
            }
        }
        match numbered.next() {
            Some((next, _)) => ControlFlow::Continue(next),
            None => ControlFlow::Break(None),
        }
    }

    /// Whether the refund of this number, or the last one, succeeded by our books, whether or not it
    /// came back since.
    pub fn refund_succeeded(&self, id: PurchaseId, number: Option<u32>) -> bool {
        let post_capture = self.find(id).and_then(|it| it.post_capture.as_ref());
        let refunds = post_capture.map_or(&[][..], |it| &it.refunds);
        let refund = match number {
            Some(number) => (number as usize)
                .checked_sub(1)
                .and_then(|place| refunds.get(place)),
            None => refunds.last(),
        };
        refund.is_some_and(|it| match it.state {
            RefundState::Succeeded { .. } | RefundState::Returned { .. } => true,
            RefundState::Pending | RefundState::Failed { .. } => false,
        })
    }

    /// Whether a payment is under way that was begun by this instant and of which it is not known
    /// what the gateway calls it.
    pub fn awaits_authorization(&self, begun_by: UnixMs) -> bool {
        let payments = self
            .opened()
            .filter_map(|(id, it)| it.payment_view(id, self.corrections()));
        let mut begun = payments.filter(|it| it.started_at <= begun_by);
        begun.any(|it| it.authorization.is_none())
    }

    /// Every purchase that has been paid, and what of the money was not given back.
    pub fn captures(&self) -> impl Iterator<Item = (PurchaseId, NetCapture)> + '_ {
        let sold = self
            .numbered()
            .filter(|(_, it)| it.state.units() == Units::Sold);
        sold.map(|(id, it)| {
            let quote = it.quote();
            let kept = NetCapture {
                amount: quote.amount.saturating_minus(it.refunded),
                currency: quote.currency,
            };
            (id, kept)
        })
    }

    /// What the books say of the payment of a purchase that `request` brought.
    pub fn payment_view(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        let mut payments = self.find(id)?.payment_views(id, self.corrections());
        payments.find(|it| it.request == request)
    }

    /// The payments among the purchases from the sequence number `from` on, of which at most
    /// `most` are looked at.
    pub fn payments(&self, from: u64, most: usize) -> PaymentsPage {
        let mut numbered = self.kept_purchases().from(from);
        let looked_at = numbered.by_ref().take(most);
        let payments = looked_at.flat_map(|(sequence, it)| {
            it.payment_views(self.id_of(sequence, it), self.corrections())
        });
        PaymentsPage {
            payments: payments.collect(),
            next: numbered.next().map(|(sequence, _)| sequence),
        }
    }
}

impl Purchase {
    /// What the books say of the payment under way, made or given back.
    pub(in crate::engine) fn payment_view(
        &self,
        purchase: PurchaseId,
        corrections: &Corrections,
    ) -> Option<PaymentView> {
        let payment = self.payment.as_deref()?;
        let last = self.history.last()?;
        let started = self.payment_start();
        Some(PaymentView {
            purchase,
            request: payment.request,
            which: PaymentOf::Purchase,
            state: self.state,
            standing: self.standing(),
            amount: payment.quote.amount,
            refunded: self.refunded,
            currency: payment.quote.currency,
            card: payment.card.clone(),
            started_at: corrections.today(&started?),
            authorization: payment.authorization.clone(),
            last: last.lsn,
        })
    }

    /// What the books say of each of its payments, oldest first.
    pub(in crate::engine) fn payment_views(
        &self,
        id: PurchaseId,
        corrections: &Corrections,
    ) -> impl Iterator<Item = PaymentView> + '_ {
        let ended = self.ended().iter().map(move |it| it.payment_view(id));
        ended.chain(self.payment_view(id, corrections))
    }

    fn standing(&self) -> Standing {
        if self.is_open() {
            return Standing::Open;
        }
        match self.state.units() {
            Units::Held => Standing::Open,
            Units::None => Standing::NothingTaken,
            Units::Sold => {
                let captured = |it: &Happened| it.step == Step::PaymentCaptured;
                let step = self.history.iter().find(captured);
                let step = step.expect("units are sold by a capture");
                Standing::Captured(step.lsn)
            }
        }
    }
}

impl Try {
    fn payment_view(&self, purchase: PurchaseId) -> PaymentView {
        PaymentView {
            purchase,
            request: self.request,
            which: PaymentOf::EarlierTry,
            state: match self.cause {
                StateReason::Declined(_) => PurchaseState::Declined,
                StateReason::Void(_) => PurchaseState::Voided,
            },
            standing: Standing::NothingTaken,
            amount: self.quote.amount,
            refunded: Amount::ZERO,
            currency: self.quote.currency,
            card: self.card.clone(),
            started_at: self.started_at,
            authorization: self.authorization.clone(),
            last: self.ended,
        }
    }
}
