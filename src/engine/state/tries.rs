//! Owns the payments of a purchase that ended with nothing charged: what is kept of each, and how
//! its answer is told again.
//!
//! Invariants: a try is never changed once it stands here; its answer follows from it alone, so
//! that the key of a failed try answers the same whatever became of the purchase later. At most
//! [`PAYMENTS_PER_PURCHASE_MAX`] stand here.
//! Deliberately absent: whether a hold lives on after a try (`decide`), and the payment under way.

use crate::engine::event::{
    DeclineCause, HoldAfter, PaymentDeclined, Quote, RetryAdvice, VoidCause,
};
use crate::engine::query::view::{DeclineView, PaymentOf, PaymentView, Standing};
use crate::engine::state::correction::Corrections;
use crate::engine::state::purchase::{Happened, Payment, Purchase, Reason};
use crate::engine::words::lifecycle::{PurchaseState, Step};
use crate::engine::words::refusal::Refusal;
use crate::ids::{CardToken, GatewayCode, Lsn, PurchaseId, RequestId};
use crate::money::Amount;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Payments of one purchase, those that the gateway never answered included; each is kept. Far
/// more than a buyer can begin within a hold's life.
pub(in crate::engine) const PAYMENTS_PER_PURCHASE_MAX: usize = 100;

/// The ended payments of one purchase, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Tries {
    ended: Vec<Try>,
}

/// A payment that ended with nothing charged.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct Try {
    quote: Quote,
    card: CardToken,
    /// The request that brought it: it names the payment at the gateway.
    request: RequestId,
    started_at: UnixMs,
    /// Where its first and its last step stand.
    started: Lsn,
    ended: Lsn,
    cause: DeclineCause,
    code: Option<GatewayCode>,
    advice: RetryAdvice,
    /// Until when the hold lived on, where it did.
    hold: Option<UnixMs>,
}

/// A payment as it is shown of its purchase.
pub(in crate::engine) struct Shown<'a> {
    pub(in crate::engine) quote: Quote,
    pub(in crate::engine) card: &'a CardToken,
    pub(in crate::engine) request: RequestId,
}

impl Try {
    fn shown(&self) -> Shown<'_> {
        Shown {
            quote: self.quote,
            card: &self.card,
            request: self.request,
        }
    }

    fn decline_view(&self, purchase: PurchaseId) -> DeclineView {
        DeclineView {
            purchase,
            request: self.request,
            reason: if self.cause.is_refusal() {
                Refusal::PaymentDeclined
            } else {
                Refusal::GatewayUnavailable
            },
            code: self.code.clone(),
            advice: self.advice,
            hold: self.hold,
        }
    }

    fn payment_view(&self, purchase: PurchaseId) -> PaymentView {
        PaymentView {
            purchase,
            request: self.request,
            which: PaymentOf::EarlierTry,
            state: PurchaseState::Declined,
            standing: Standing::NothingTaken,
            amount: self.quote.amount,
            refunded: Amount::ZERO,
            currency: self.quote.currency,
            card: self.card.clone(),
            started_at: self.started_at,
            authorization: None,
            last: self.ended,
        }
    }
}

impl Purchase {
    /// Its payment ended with nothing charged: what is left of it moves to the tries.
    pub(in crate::engine) fn end_payment(
        &mut self,
        declined: &PaymentDeclined,
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
            ..
        } = *payment;
        let lives = declined.hold == HoldAfter::Kept && self.expires_at > at;
        let ended = Try {
            quote,
            card,
            request,
            started_at: started.at,
            started: started.lsn,
            ended,
            cause: declined.cause,
            code: declined.code.clone(),
            advice: declined.advice,
            hold: lives.then_some(self.expires_at),
        };
        // What a person was to decide, and the device, were the payment's.
        self.particulars = None;
        self.tries.get_or_insert_default().ended.push(ended);
    }

    /// When and where its latest payment was started.
    pub(in crate::engine) fn payment_start(&self) -> Option<Happened> {
        let started = |it: &&Happened| it.step == Step::PaymentStarted;
        self.history.iter().rfind(started).copied()
    }

    /// Payments that ended with nothing charged.
    pub(in crate::engine) fn ended_payments(&self) -> usize {
        self.ended().len()
    }

    /// How many of them somebody declined.
    pub(in crate::engine) fn declined_payments(&self) -> usize {
        let declined = self.ended().iter().filter(|it| it.cause.is_refusal());
        declined.count()
    }

    /// What is paid, and with what, as of the record at `as_of`; `None` while no payment is under
    /// way and none has ended the purchase.
    pub(in crate::engine) fn shown_as_of(&self, as_of: Lsn) -> Option<Shown<'_>> {
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

    /// The answers of its payments that were not made, as of the record at `as_of`.
    pub(in crate::engine) fn decline_views(&self, id: PurchaseId, as_of: Lsn) -> Vec<DeclineView> {
        let ended = self.ended().iter().filter(|it| it.ended <= as_of);
        let mut views: Vec<_> = ended.map(|it| it.decline_view(id)).collect();
        let last = self.history.last();
        if last.is_some_and(|last| last.lsn <= as_of) {
            views.extend(self.void_view(id));
        }
        views
    }

    /// The answer of the payment that `request` brought, where it was not made.
    pub(in crate::engine) fn decline_view(
        &self,
        id: PurchaseId,
        request: RequestId,
    ) -> Option<DeclineView> {
        let ended = self.ended().iter().find(|it| it.request == request);
        let ended = ended.map(|it| it.decline_view(id));
        ended.or_else(|| self.void_view(id).filter(|it| it.request == request))
    }

    /// The answer of a payment that was authorized and given back.
    fn void_view(&self, purchase: PurchaseId) -> Option<DeclineView> {
        let payment = self.payment.as_ref()?;
        let (PurchaseState::Voided, Some(Reason::Void(cause))) = (self.state, self.reason) else {
            return None;
        };
        Some(DeclineView {
            purchase,
            request: payment.request,
            reason: Refusal::PaymentDeclined,
            code: None,
            advice: advice_after(cause),
            hold: None,
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

    /// The card that is being tried, or was last.
    pub(in crate::engine) fn card_tried(&self) -> Option<&CardToken> {
        let paying = self.payment.as_ref().map(|it| &it.card);
        paying.or_else(|| self.ended().last().map(|it| &it.card))
    }

    fn ended(&self) -> &[Try] {
        self.tries.as_ref().map_or(&[], |tries| &tries.ended)
    }
}

impl Payment {
    fn shown(&self) -> Shown<'_> {
        Shown {
            quote: self.quote,
            card: &self.card,
            request: self.request,
        }
    }
}

/// What a buyer may do whose payment was given back.
const fn advice_after(cause: VoidCause) -> RetryAdvice {
    match cause {
        VoidCause::CaptureRefused => RetryAdvice::OtherCard,
        VoidCause::AuthorizationLapsed | VoidCause::ReviewTimedOut | VoidCause::Settled => {
            RetryAdvice::Later
        }
        VoidCause::Operator | VoidCause::ReviewRejected => RetryAdvice::Never,
    }
}
