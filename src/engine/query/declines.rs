//! Owns the response to a declined payment, rebuilt from what its purchase stores.
//!
//! Invariant: the response follows from the try alone, whatever happens to the purchase later.

use crate::engine::query::view::DeclineView;
use crate::engine::state::purchase::Purchase;
use crate::engine::state::tries::Try;
use crate::engine::words::refusal::Refusal;
use crate::ids::{Lsn, PurchaseId, RequestId};

impl Purchase {
    /// The responses of its declined payments, as of the record at `as_of`.
    pub(in crate::engine) fn decline_views(&self, id: PurchaseId, as_of: Lsn) -> Vec<DeclineView> {
        let ended = self.ended().iter().filter(|it| it.ended <= as_of);
        let mut views: Vec<_> = ended.map(|it| it.decline_view(id)).collect();
        let last = self.history.last();
        if last.is_some_and(|last| last.lsn <= as_of) {
            views.extend(self.void_view(id));
        }
        views
    }

    /// The response of the payment that `request` started, if it was declined.
    pub(in crate::engine) fn decline_view(
        &self,
        id: PurchaseId,
        request: RequestId,
    ) -> Option<DeclineView> {
        let ended = self.ended().iter().find(|it| it.request == request);
        let ended = ended.map(|it| it.decline_view(id));
        ended.or_else(|| self.void_view(id).filter(|it| it.request == request))
    }

    /// The response of a payment that was authorized and voided.
    fn void_view(&self, purchase: PurchaseId) -> Option<DeclineView> {
        let (payment, cause) = self.voided_payment()?;
        Some(DeclineView {
            purchase,
            request: payment.request,
            reason: Refusal::PaymentDeclined,
            code: self.void_code().cloned(),
            advice: cause.advice(),
            returned: self.returned_money(),
            hold: None,
        })
    }
}

impl Try {
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
            returned: self.returned,
            hold: self.hold,
        }
    }
}
