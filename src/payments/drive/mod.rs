//! Owns one drive of one payment: does what the saga says until nothing is to do or the retries are
//! used up.
//!
//! Invariants: each round of the loop records a step (states never go back) or makes a call, and each
//! failure is counted, so a drive ends; an authorization is given up only if the gateway is known to
//! have nothing of it and nothing can take effect late. A free order goes to no gateway.
//! Deliberately absent: the calls themselves (`charging`, `giving_back`), who drives, and when an open
//! payment is retried (`driver`).

mod charging;
mod giving_back;

use crate::engine::command::PaymentStep;
use crate::engine::event::{Decider, ReturnedMoney, VoidStuckCause};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::view::PurchaseView;
use crate::ids::{AuthorizationId, CaptureId, CardToken, Lsn, PurchaseId};
use crate::journal::{Audit, CommitGate, StorageFault, WriteError};
use crate::money::{Amount, Currency};
use crate::payments::calls::{FailedTries, RetryDecision};
use crate::payments::gateway::{
    Authorization, AuthorizationClaim, CapturedMoney, Decline, LookupResult, Reference, Trouble,
};
use crate::payments::means::Means;
use crate::payments::naming::{card_of, reference_of, started_at_of};
use crate::payments::saga::{Action, Ask, GatewayState, Late, Record, RestReason, Review, next};
use crate::time::UnixMs;
use giving_back::GiveBack;

/// How a drive ended.
pub(super) struct Ended {
    /// Why there is nothing to do; `None`: no retries are left.
    pub(super) rest: Option<RestReason>,
    /// How soon an open payment is resumed.
    pub(super) pace: Pace,
    pub(super) view: PurchaseView,
    /// The LSN that must be durable before the response.
    pub(super) durable_at: Lsn,
    /// Whether a call with an unknown answer may still take effect.
    pub(super) late: Late,
}

/// A payment while it is driven.
pub(super) struct Drive<'a> {
    means: &'a Means,
    gate: &'a CommitGate,
    purchase: PurchaseId,
    view: PurchaseView,
    durable_at: Lsn,
    known: GatewayState,
    /// Whether an authorization may still be in transit.
    late: Late,
    /// The gateway refused to capture; not yet looked up.
    capture_refused: Option<Decline>,
    /// What the gateway refused to give back; sent once more only after another drive began.
    refused: Option<GiveBack>,
    pace: Pace,
    look_up_failed: bool,
    tries: FailedTries,
}

/// When an open payment is resumed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// After the waits of retries.
    Retry,
    /// Rarely: the gateway refuses, and a person must act.
    Slow,
}

/// Whether to continue.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Go {
    On,
    Leave,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        means: &'a Means,
        gate: &'a CommitGate,
        (view, durable_at): (PurchaseView, Lsn),
        known: GatewayState,
    ) -> Self {
        let late = match known {
            GatewayState::Unasked => Late::Impossible,
            _ => Late::Possible,
        };
        Self {
            means,
            gate,
            purchase: view.purchase,
            view,
            durable_at,
            known,
            late,
            capture_refused: None,
            refused: None,
            pace: Pace::Retry,
            look_up_failed: false,
            tries: FailedTries::new(),
        }
    }

    /// Does what the saga says until nothing is to do or the retries are used up.
    pub(super) async fn run(mut self) -> Result<Ended, StorageFault> {
        // Each round: the saga names one action for the state in the log and what is known of the
        // gateway; asking changes `known`, recording changes `view`. So the drive ends where the saga
        // has nothing to do, and may begin again from any point after a crash.
        loop {
            self.means.log_room().await;
            if self.view.quote.amount == Amount::ZERO {
                self.known = known_of_free(self.view.state, self.view.quote.currency);
            }
            let go = match next(self.view.state, self.review(), &self.known) {
                Action::Rest(rest) => return Ok(self.ended(Some(rest))),
                Action::Ask(ask) => self.ask(ask).await?,
                Action::Record(record) => self.write_down(record)?,
            };
            if go == Go::Leave {
                self.note_stuck()?;
                return Ok(self.ended(None));
            }
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<Go, StorageFault> {
        Ok(match ask {
            // Charging needs no sync of its own: the intent to charge is durable before a drive
            // begins, and a step that a crash loses is found again by a look-up.
            Ask::LookUp => self.look_up().await,
            Ask::Authorize => self.authorize().await,
            Ask::Capture => self.capture().await,
            // It closes the reference before anything was authorized, so there is nothing to give
            // back, and the intent to charge covers it.
            Ask::Close => self.close().await,
            // Giving back needs its own intent to be durable first. Otherwise a crash could leave the
            // money returned and a log that says to capture it.
            Ask::Void => {
                self.intent_durable().await?;
                self.void().await
            }
            Ask::GiveBack(money) => {
                self.intent_durable().await?;
                self.give_back(&money).await
            }
        })
    }

    fn write_down(&mut self, record: Record) -> Result<Go, StorageFault> {
        if let Record::Captured(money) = record {
            let refunded = money.refunded;
            // The capture first: a refund of a purchase that is not captured has no place in the life
            // cycle.
            let go = self.record(self.captured_step(money))?;
            self.record_refunds_found(refunded)?;
            return Ok(go);
        }
        let go = self.record(self.step_of(record))?;
        if self.view.state == PurchaseState::CaptureDiffers {
            self.means.meter.capture_differs(self.purchase);
        }
        Ok(go)
    }

    /// The step of a record.
    fn step_of(&self, record: Record) -> PaymentStep {
        match record {
            Record::Authorized(Authorization { id, capture_before }) => PaymentStep::Authorized {
                authorization: id,
                capture_before,
            },
            Record::Declined(cause, code) => PaymentStep::Declined {
                cause,
                advice: self.means.settings.scheme.advice(cause, code.as_ref()),
                code,
            },
            Record::StartCapture => PaymentStep::StartCapture,
            Record::OpenReview => {
                let review = self.means.settings.review;
                PaymentStep::OpenReview {
                    within_ms: review.deadline_ms,
                    margin_ms: review.capture_margin_ms,
                }
            }
            Record::DecideReview(verdict) => PaymentStep::DecideReview {
                verdict,
                decider: Decider::Deadline,
                void_within_ms: self.means.settings.void_deadline_ms,
            },
            Record::Captured(money) => self.captured_step(money),
            Record::Differs(difference, money) => PaymentStep::CaptureDiffered {
                difference,
                capture: money.capture,
                captured: money.captured,
                currency: money.currency,
                refunded: money.refunded,
            },
            Record::StartVoid(cause, code) => PaymentStep::StartVoid {
                cause,
                code,
                within_ms: self.means.settings.void_deadline_ms,
                by: None,
            },
            Record::Voided(money) => PaymentStep::Voided {
                returned: money.map(|it| ReturnedMoney {
                    amount: it.captured,
                    currency: it.currency,
                }),
            },
        }
    }

    /// Whether a person must decide.
    fn review(&self) -> Review {
        let Some(wanted) = &self.view.review else {
            return Review::No;
        };
        let now = self.means.journal.now();
        match wanted.deadline {
            Some(deadline) if now >= deadline => {
                Review::Due(self.means.settings.review.on_deadline)
            }
            Some(_) | None => Review::Wanted,
        }
    }

    fn captured_step(&self, money: CapturedMoney) -> PaymentStep {
        self.means.captured_step(money, self.view.quote.currency)
    }

    /// Records refunds that the gateway made before we knew of the capture.
    fn record_refunds_found(&mut self, total: Amount) -> Result<(), StorageFault> {
        if total > Amount::ZERO && self.view.state == PurchaseState::Captured {
            self.record(PaymentStep::RefundedAtGateway(total))?;
        }
        Ok(())
    }

    fn ended(self, rest: Option<RestReason>) -> Ended {
        Ended {
            rest,
            late: match self.view.state {
                PurchaseState::Authorizing => self.late,
                // Any request since then is looked up first.
                _ => Late::Possible,
            },
            pace: self.pace,
            view: self.view,
            durable_at: self.durable_at,
        }
    }

    /// Records that a void is overdue or refused, so that the operator is called. Retries continue.
    fn note_stuck(&mut self) -> Result<(), StorageFault> {
        let overdue = |deadline: UnixMs| self.means.journal.now() >= deadline;
        let cause = match self.pace {
            Pace::Slow => Some(VoidStuckCause::Refused),
            Pace::Retry if self.view.void_deadline.is_some_and(overdue) => {
                Some(VoidStuckCause::Overdue)
            }
            Pace::Retry => None,
        };
        if let (PurchaseState::Voiding, Some(cause)) = (self.view.state, cause) {
            self.record(PaymentStep::VoidStuck(cause))?;
            if self.view.state == PurchaseState::Stuck {
                self.means.meter.void_stuck(self.purchase);
            }
        }
        Ok(())
    }

    /// Records a step. It need not be durable before the next call that charges: the intent to
    /// charge is durable, and a look-up finds again what a crash loses.
    fn record(&mut self, step: PaymentStep) -> Result<Go, StorageFault> {
        let recorded = (self.means.journal).record(self.purchase, step, Audit::Nothing);
        match recorded {
            Ok(recorded) => {
                self.view = recorded.view;
                self.durable_at = recorded.durable_at;
                self.tries.went_on();
            }
            // Another task recorded a step first (an operator's void, for instance). What it learned from
            // the gateway is not known here, so look up before anything is sent.
            Err(WriteError::Refused(_)) => {
                let payment = self.view.request;
                (self.view, self.durable_at) = self.means.read(self.purchase);
                // The hold is being paid for again. That payment has its own drive, and its intent may
                // not be durable yet: acting for it here could charge without a durable intent.
                if self.view.request != payment {
                    return Ok(Go::Leave);
                }
                self.known = GatewayState::InDoubt;
                self.tries.fail();
                if self.tries.failed() > self.means.settings.retries_max {
                    return Ok(Go::Leave);
                }
            }
            Err(WriteError::Fault(fault)) => return Err(fault),
        }
        Ok(Go::On)
    }

    /// Waits for the intent to void or refund: the intent to charge does not cover it, so after a
    /// crash the money could be returned at the gateway without a trace in the log.
    async fn intent_durable(&self) -> Result<(), StorageFault> {
        self.means.durable(self.durable_at, self.gate).await
    }

    fn in_doubt(&mut self, trouble: Trouble) {
        self.tries.trouble(trouble);
        self.known = GatewayState::InDoubt;
    }

    async fn next_attempt(&self) -> RetryDecision {
        self.tries.next(&self.means.settings).await
    }

    fn reference(&self) -> Reference {
        reference_of(&self.means.journal, &self.view)
    }

    fn card(&self) -> CardToken {
        card_of(&self.view)
    }

    fn started_at(&self) -> UnixMs {
        started_at_of(&self.view)
    }

    fn claim(&self) -> AuthorizationClaim {
        AuthorizationClaim {
            reference: self.reference(),
            authorization: self.view.authorization.clone(),
            amount: self.view.quote.amount,
            currency: self.view.quote.currency,
            card: self.card(),
            started_at: self.started_at(),
        }
    }
}

/// The gateway state of a free payment. No gateway takes an amount of zero, so none is called. It
/// counts as captured, or as voided if that is requested.
fn known_of_free(state: PurchaseState, currency: Currency) -> GatewayState {
    const FREE: &str = "four letters are an id";
    if matches!(state, PurchaseState::Voiding | PurchaseState::Stuck) {
        return GatewayState::Has(LookupResult::Voided);
    }
    GatewayState::Has(LookupResult::Captured(CapturedMoney {
        authorization: Authorization {
            id: AuthorizationId::parse("free").expect(FREE),
            capture_before: None,
        },
        capture: CaptureId::parse("free").expect(FREE),
        captured: Amount::ZERO,
        currency: Some(currency),
        refunded: Amount::ZERO,
    }))
}
