//! Owns what a payment provider must offer: the trait [`Gateway`]. Its requests are in `request`, its
//! answers in `answer`, our name of a payment in `reference`.
//!
//! Invariants:
//! 1. Every call carries our [`Reference`], one for each payment of each log, and a provider's
//!    adapter makes authorize, capture, void and each numbered refund idempotent by it.
//! 2. An answer is one of four: approved, declined permanently, retriable (certainly without effect),
//!    unknown (perhaps with effect). An adapter that cannot tell says unknown, never retriable.
//! 3. Void closes the reference: after it is approved, an authorization under it that is still on
//!    its way can no longer take effect, whether or not there was anything to give back.
//!
//! Deliberately absent: time limits, retries and what to do next, which `calls` and `saga` own.

mod answer;
mod reference;
mod request;

pub use answer::{
    Authorization, CallClass, CallResult, CapturedMoney, ChargePage, Charged, Decline, DeclinedBy,
    FoundRefund, LookupResult, PageMark, Trouble,
};
pub use reference::Reference;
pub use request::{AuthorizationClaim, AuthorizeRequest, GatewayCall, Inquiry, RefundRequest};

use crate::engine::payable::AmountRule;
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A call in progress; dropping it stops waiting for the answer, not the call itself.
pub type Calling<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Calls that wait for their turn.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingCalls {
    /// Those that bring to an end what was begun: captures, voids, refunds and look-ups.
    pub urgent: usize,
    /// Those that begin something: authorizations.
    pub new: usize,
}

/// Returns the core's time.
pub type CoreTime = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// A payment provider.
pub trait Gateway: Send + Sync + 'static {
    /// The word in a purchase's `gateway.name`.
    fn name(&self) -> &'static str;

    /// The amounts in `currency` that it accepts; `None`: none at all.
    fn amounts(&self, currency: Currency) -> Option<AmountRule>;

    /// Whether it accepts `amount` in `currency`.
    fn takes(&self, amount: Amount, currency: Currency) -> bool {
        let rule = self.amounts(currency);
        rule.is_some_and(|rule| rule.takes(amount))
    }

    /// Gives the core's time to a gateway that computes the age of a payment: the wall clock may be
    /// wrong for a moment, and no payment may end because of that.
    fn keep_time(&self, time: CoreTime) {
        drop(time);
    }

    /// Waits until a call of this kind may be sent, if the provider limits their rate; `None`: at
    /// once. A waiting call was not sent, so its timeout has not begun.
    fn turn(&self, call: GatewayCall) -> Option<Calling<'_, Result<(), Trouble>>> {
        let _ = call;
        None
    }

    /// Number of calls that wait for their turn; `None`: there is no limit, so none waits.
    fn waiting(&self) -> Option<WaitingCalls> {
        None
    }

    /// Authorizes an amount.
    fn authorize(&self, order: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>>;

    /// Captures the whole authorized amount, and returns how much that was.
    fn capture(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>>;

    /// Voids the authorization, if there is one, and closes the reference: nothing sent under it
    /// earlier takes effect later. Declined if it is captured already.
    fn void(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<()>>;

    /// Refunds captured money.
    fn refund(&self, refund: RefundRequest) -> Calling<'_, CallResult<()>>;

    /// What the provider has of a payment. It charges nothing, so it may always be repeated.
    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>>;

    /// What the provider has of one refund. It moves nothing, so it may always be repeated.
    fn look_up_refund(&self, refund: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>>;

    /// One page of all payments that the provider has of ours, in a stable order of its own, for
    /// reconciliation.
    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>>;

    /// The same; payments made before `since` may be left out.
    fn list_since(
        &self,
        since: UnixMs,
        after: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>> {
        let _ = since;
        self.list(after)
    }
}
