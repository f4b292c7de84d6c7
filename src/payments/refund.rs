//! Owns the next step of a refund in progress: a pure function of what is known of it at the
//! gateway, and the drive that carries it out.
//!
//! Invariants:
//! 1. After an unknown outcome the only action is a look-up. A refund is sent again only under its
//!    own number, which makes it the same refund at the gateway.
//! 2. A refusal is believed if no earlier call can have taken effect, or if a look-up confirms it.
//! 3. A refund ends by success or by the gateway's refusal; until then it stays open for any length
//!    of time: no other source knows where the money is.
//!
//! Deliberately absent: whether a refund is allowed (`engine`), and when to retry (`driver`).

use crate::engine::command::PaymentStep;
use crate::engine::event::RefundFailure;
use crate::engine::view::{PurchaseView, RefundView};
use crate::ids::{GatewayCode, Lsn};
use crate::journal::{CommitGate, Journal, StorageFault};
use crate::payments::books::{has_books, refunded_of};
use crate::payments::calls::{FailedTries, RetryDecision};
use crate::payments::drive::Go;
use crate::payments::gateway::{CallResult, Decline, FoundRefund, GatewayCall, RefundRequest};
use crate::payments::means::Means;
use crate::payments::naming::reference_of;

/// What is known about a refund at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownRefund {
    /// Not sent yet: known only to the task that recorded the intent, if the process has not crashed.
    Unasked,
    /// It may have been requested.
    InDoubt,
    /// The gateway's state of it, from its answer or a look-up.
    Has(FoundRefund),
    /// The gateway refused it, and does not have it.
    Refused(Option<GatewayCode>),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundAction {
    /// Look it up at the gateway.
    LookUp,
    /// Request it from the gateway.
    Send,
    /// Record that it was made.
    RecordSucceeded,
    /// Record that it failed, with the gateway's reason code.
    RecordFailed(Option<GatewayCode>),
    /// It is in progress: look again later.
    Later,
}

/// The next action for a refund, given what is `known` of it.
pub fn next_refund(known: &KnownRefund) -> RefundAction {
    match known {
        KnownRefund::Unasked | KnownRefund::Has(FoundRefund::Nothing) => RefundAction::Send,
        KnownRefund::InDoubt => RefundAction::LookUp,
        KnownRefund::Has(FoundRefund::Pending) => RefundAction::Later,
        KnownRefund::Has(FoundRefund::Succeeded) => RefundAction::RecordSucceeded,
        KnownRefund::Has(FoundRefund::Failed) => RefundAction::RecordFailed(None),
        KnownRefund::Refused(code) => RefundAction::RecordFailed(code.clone()),
    }
}

/// How a drive of a refund ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum DriveEnd {
    /// The refund ended.
    Reached,
    /// It is resumed later.
    Open,
    /// The gateway refuses and a person must act: it is resumed, rarely.
    Refused,
    /// It is in progress at the gateway, which may take days.
    Pending,
}

impl DriveEnd {
    /// The word for it in spans.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Pending => "pending",
        }
    }
}

/// A refund while it is driven.
pub(super) struct RefundDrive<'a> {
    means: &'a Means,
    view: PurchaseView,
    refund: RefundView,
    durable_at: Lsn,
    known: KnownRefund,
    /// The gateway refused it; a look-up has not confirmed it yet.
    refused: Option<Decline>,
    tries: FailedTries,
}

impl<'a> RefundDrive<'a> {
    pub(super) fn new(
        means: &'a Means,
        (view, durable_at): (PurchaseView, Lsn),
        refund: RefundView,
        known: KnownRefund,
    ) -> Self {
        Self {
            means,
            view,
            refund,
            durable_at,
            known,
            refused: None,
            tries: FailedTries::new(),
        }
    }

    /// Follows the table until the refund ends or no retries are left.
    pub(super) async fn run(mut self, gate: &CommitGate) -> Result<DriveEnd, StorageFault> {
        loop {
            self.means.log_room().await;
            let step = match next_refund(&self.known) {
                RefundAction::LookUp => {
                    if self.look_up().await == Go::Leave {
                        return Ok(DriveEnd::Open);
                    }
                    continue;
                }
                RefundAction::Send => {
                    // The intent must be durable first: otherwise a crash could lose it after the
                    // gateway has refunded.
                    self.means.durable(self.durable_at, gate).await?;
                    if self.send().await == Go::Leave {
                        return Ok(DriveEnd::Open);
                    }
                    continue;
                }
                RefundAction::Later => return Ok(DriveEnd::Pending),
                RefundAction::RecordSucceeded => PaymentStep::Refunded(self.refund.number),
                RefundAction::RecordFailed(code) => {
                    if self.record_failed(code).await? == Go::Leave {
                        return Ok(DriveEnd::Open);
                    }
                    return Ok(DriveEnd::Reached);
                }
            };
            // Refused if another task recorded it first: it has ended either way.
            self.means.record_if_allowed(self.view.purchase, step)?;
            return Ok(DriveEnd::Reached);
        }
    }

    /// The reason may be a refund made at the gateway's own site, so its books are looked up first,
    /// and what they show is recorded, too.
    async fn record_failed(&mut self, code: Option<GatewayCode>) -> Result<Go, StorageFault> {
        let refused = matches!(self.known, KnownRefund::Refused(_));
        let total = if refused && has_books(&self.view) {
            loop {
                if self.tries.next(&self.means.settings).await == RetryDecision::Spent {
                    return Ok(Go::Leave);
                }
                match self.means.look_up(&self.view).await {
                    Ok(found) => break refunded_of(&self.view, &found),
                    Err(trouble) => self.tries.trouble(trouble),
                }
            }
        } else {
            None
        };
        let more = total.filter(|total| *total > self.view.refunded);
        let failed = PaymentStep::RefundFailed {
            number: self.refund.number,
            code,
            failure: match more {
                Some(refunded) => RefundFailure::LessWasLeft { refunded },
                None => RefundFailure::Refused,
            },
        };
        // Refused if another task recorded it first: it has ended either way.
        self.means.record_if_allowed(self.view.purchase, failed)?;
        if let Some(total) = more {
            let found = PaymentStep::RefundedAtGateway(total);
            self.means.record_if_allowed(self.view.purchase, found)?;
        }
        Ok(Go::On)
    }

    async fn look_up(&mut self) -> Go {
        if self.tries.next(&self.means.settings).await == RetryDecision::Spent {
            return Go::Leave;
        }
        let refund = self.order();
        let asked = self.means.calls.ask(GatewayCall::LookUpRefund, |gateway| {
            gateway.look_up_refund(refund)
        });
        match (asked.await, self.refused.take()) {
            (Ok(FoundRefund::Nothing), Some(decline)) => {
                self.known = KnownRefund::Refused(decline.code);
            }
            (Ok(found), _) => self.known = KnownRefund::Has(found),
            (Err(trouble), refused) => {
                self.refused = refused;
                self.tries.trouble(trouble);
            }
        }
        Go::On
    }

    async fn send(&mut self) -> Go {
        if self.tries.next(&self.means.settings).await == RetryDecision::Spent {
            return Go::Leave;
        }
        let refund = self.order();
        let sent = self
            .means
            .calls
            .send(GatewayCall::Refund, |gateway| gateway.refund(refund));
        match sent.await {
            CallResult::Approved(()) => self.known = KnownRefund::Has(FoundRefund::Succeeded),
            CallResult::Declined(decline) => {
                self.refused = Some(decline);
                self.known = KnownRefund::InDoubt;
            }
            CallResult::Retriable(trouble) => self.tries.trouble(trouble),
            CallResult::Unknown(trouble) => {
                self.tries.trouble(trouble);
                self.known = KnownRefund::InDoubt;
            }
        }
        Go::On
    }

    fn order(&self) -> RefundRequest {
        order_of(&self.means.journal, &self.view, &self.refund)
    }
}

/// The request for the gateway.
pub(super) fn order_of(
    journal: &Journal,
    view: &PurchaseView,
    refund: &RefundView,
) -> RefundRequest {
    RefundRequest {
        reference: reference_of(journal, view),
        capture: view.capture.clone(),
        authorization: view.authorization.clone(),
        number: refund.number,
        amount: refund.amount,
        currency: refund.currency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_to_do_with_everything_known() {
        let code = || GatewayCode::parse("expired_card");
        for (known, action) in [
            (KnownRefund::Unasked, RefundAction::Send),
            (KnownRefund::InDoubt, RefundAction::LookUp),
            (KnownRefund::Has(FoundRefund::Nothing), RefundAction::Send),
            (KnownRefund::Has(FoundRefund::Pending), RefundAction::Later),
            (
                KnownRefund::Has(FoundRefund::Succeeded),
                RefundAction::RecordSucceeded,
            ),
            (
                KnownRefund::Has(FoundRefund::Failed),
                RefundAction::RecordFailed(None),
            ),
            (
                KnownRefund::Refused(code()),
                RefundAction::RecordFailed(code()),
            ),
        ] {
            assert_eq!(next_refund(&known), action, "{known:?}");
        }
    }
}
