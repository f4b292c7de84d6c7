//! Owns the payments of a purchase that ended with nothing charged.
//!
//! Invariants: a try never changes; its response follows from it alone, so the key of a failed try
//! answers the same whatever happens to the purchase later. There are at most
//! [`PAYMENTS_PER_PURCHASE_MAX`]. Deliberately absent: whether a hold stays after a try (`decide`),
//! and the payment in progress.

use crate::engine::event::{
    HoldAfter, PaymentDeclined, PaymentVoided, Quote, RetryAdvice, ReturnedMoney, VoidCause,
};
use crate::engine::state::purchase::{Happened, Payment, Purchase, StateReason};
use crate::engine::words::lifecycle::{PurchaseState, Step};
use crate::ids::{AuthorizationId, CardToken, GatewayCode, Lsn, RequestId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Maximum number of payments of one purchase, those that the gateway never answered included,
/// because each is stored. Far more than a buyer can begin within a hold's life.
pub(in crate::engine) const PAYMENTS_PER_PURCHASE_MAX: usize = 100;

/// The ended payments of one purchase, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Tries {
    pub(in crate::engine) ended: Vec<Try>,
}

/// A payment that ended with no money for the shop.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(in crate::engine) struct Try {
    pub(in crate::engine) quote: Quote,
    pub(in crate::engine) card: CardToken,
    /// The request that started it, which identifies the payment at the gateway.
    pub(in crate::engine) request: RequestId,
    pub(in crate::engine) started_at: UnixMs,
    /// The position of its first and its last step.
    pub(in crate::engine) started: Lsn,
    pub(in crate::engine) ended: Lsn,
    /// The gateway's id of its authorization, if it was authorized.
    pub(in crate::engine) authorization: Option<AuthorizationId>,
    pub(in crate::engine) cause: StateReason,
    pub(in crate::engine) code: Option<GatewayCode>,
    pub(in crate::engine) advice: RetryAdvice,
    /// What the gateway had captured without goods, and refunded.
    pub(in crate::engine) returned: Option<ReturnedMoney>,
    /// The expiry of the hold, if it stayed.
    pub(in crate::engine) hold: Option<UnixMs>,
}

/// How a payment without money for the shop ended.
pub(in crate::engine::state) struct PaymentEnd {
    pub(in crate::engine::state) cause: StateReason,
    pub(in crate::engine::state) code: Option<GatewayCode>,
    pub(in crate::engine::state) advice: RetryAdvice,
    pub(in crate::engine::state) hold: HoldAfter,
    pub(in crate::engine::state) returned: Option<ReturnedMoney>,
}

/// A payment as shown with its purchase.
pub(in crate::engine) struct ShownPayment<'a> {
    pub(in crate::engine) quote: Quote,
    pub(in crate::engine) card: &'a CardToken,
    pub(in crate::engine) request: RequestId,
}

impl PaymentEnd {
    pub(in crate::engine::state) fn declined(declined: &PaymentDeclined) -> Self {
        Self {
            cause: StateReason::Declined(declined.cause),
            code: declined.code.clone(),
            advice: declined.advice,
            hold: declined.hold,
            returned: None,
        }
    }

    /// Its authorization was given back because of `cause`, and the hold lives on.
    pub(in crate::engine::state) fn voided(
        cause: VoidCause,
        code: Option<GatewayCode>,
        voided: &PaymentVoided,
    ) -> Self {
        Self {
            cause: StateReason::Void(cause),
            code,
            advice: cause.advice(),
            hold: voided.hold,
            returned: voided.returned,
        }
    }
}

impl Try {
    pub(in crate::engine::state) fn shown(&self) -> ShownPayment<'_> {
        ShownPayment {
            quote: self.quote,
            card: &self.card,
            request: self.request,
        }
    }
}

impl Purchase {
    /// Moves a payment that ended with no money for the shop to the tries.
    pub(in crate::engine::state) fn end_payment(
        &mut self,
        end: &PaymentEnd,
        at: UnixMs,
        ended: Lsn,
    ) {
        let (Some(payment), Some(started)) = (self.payment.take(), self.payment_start()) else {
            return;
        };
        let Payment {
            quote,
            card,
            request,
            authorization,
            ..
        } = *payment;
        let lives = end.hold == HoldAfter::Kept && self.expires_at > at;
        let ended = Try {
            quote,
            card,
            request,
            started_at: started.at,
            started: started.lsn,
            ended,
            authorization,
            cause: end.cause,
            code: end.code.clone(),
            advice: end.advice,
            returned: end.returned,
            hold: lives.then_some(self.expires_at),
        };
        // What a person was to decide, the device and why it was given back were the payment's.
        self.particulars = None;
        self.post_capture = None;
        self.tries.get_or_insert_default().ended.push(ended);
    }

    /// The position of its latest payment's start.
    pub(in crate::engine) fn payment_start(&self) -> Option<Happened> {
        let started = |it: &Happened| it.step == Step::PaymentStarted;
        self.history.iter().filter(started).last()
    }

    /// Number of payments that ended with nothing charged.
    pub(in crate::engine) fn ended_payments(&self) -> usize {
        self.ended().len()
    }

    /// Number of payments that were declined.
    pub(in crate::engine) fn declined_payments(&self) -> usize {
        let declined = self.ended().iter().filter(|it| it.cause.is_refusal());
        declined.count()
    }

    /// The quote and card, as of the record at `as_of`; `None` while no payment is in progress and
    /// none has ended the purchase.
    pub(in crate::engine) fn shown_as_of(&self, as_of: Lsn) -> Option<ShownPayment<'_>> {
        let of_then = |it: &&Try| it.started <= as_of && as_of <= it.ended;
        if let Some(of_then) = self.ended().iter().find(of_then) {
            return Some(of_then.shown());
        }
        match (&self.payment, self.ended().last()) {
            (Some(payment), None) => Some(payment.shown()),
            (Some(payment), Some(before)) => (as_of > before.ended).then(|| payment.shown()),
            (None, Some(last)) if self.state == PurchaseState::Declined => Some(last.shown()),
            (None, _) => None,
        }
    }

    /// The card of the payment in progress, or of the last one.
    pub(in crate::engine) fn card_tried(&self) -> Option<&CardToken> {
        let paying = self.payment.as_ref().map(|it| &it.card);
        paying.or_else(|| self.ended().last().map(|it| &it.card))
    }

    /// Its payments that ended with nothing charged, oldest first.
    pub(in crate::engine) fn ended(&self) -> &[Try] {
        self.tries.as_ref().map_or(&[], |tries| &tries.ended)
    }

    /// The payment that was voided and ended the purchase, and why.
    pub(in crate::engine) fn voided_payment(&self) -> Option<(&Payment, VoidCause)> {
        let payment = self.payment.as_deref()?;
        match (self.state, self.reason) {
            (PurchaseState::Voided, Some(StateReason::Void(cause))) => Some((payment, cause)),
            _ => None,
        }
    }

    /// The gateway's word for why it refused to capture it, where it gave one.
    pub(in crate::engine) fn void_code(&self) -> Option<&GatewayCode> {
        self.post_capture.as_ref()?.void_code.as_ref()
    }

    /// What the gateway had captured of it without goods, and refunded.
    pub(in crate::engine) fn returned_money(&self) -> Option<ReturnedMoney> {
        self.post_capture.as_ref()?.returned
    }

    /// Whether `request` started a payment of it that was declined.
    pub(in crate::engine) fn has_declined(&self, request: RequestId) -> bool {
        let ended = self.ended().iter().any(|it| it.request == request);
        ended || (self.voided_payment()).is_some_and(|(payment, _)| payment.request == request)
    }
}

impl Payment {
    fn shown(&self) -> ShownPayment<'_> {
        ShownPayment {
            quote: self.quote,
            card: &self.card,
            request: self.request,
        }
    }
}
