//! Owns one drive of one payment: does what the saga says until nothing is to do or the retries are
//! used up.
//!
//! Invariants: each round of the loop records a step (states never go back) or makes a call, and each
//! failure is counted, so a drive ends; after a call that may have had an effect comes a look-up;
//! a refusal to capture is believed only once a look-up shows the money still set aside; an
//! authorization is given up only where the gateway is known to have nothing of it, and where
//! nothing can take effect late. A free order goes to no gateway.
//! Deliberately absent: who drives, and when an open payment is retried (`driver`).

use crate::engine::command::PaymentStep;
use crate::engine::event::{Decider, ReturnedMoney, VoidStuckCause};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::view::PurchaseView;
use crate::ids::{AuthorizationId, CaptureId, CardToken, Lsn, PurchaseId};
use crate::journal::{Audit, CommitGate, StorageFault, WriteError};
use crate::money::{Amount, Currency};
use crate::payments::calls::{FailedTries, RetryDecision};
use crate::payments::driver::Payments;
use crate::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallResult, CapturedMoney, Decline,
    FoundRefund, GatewayCall, Inquiry, LookupResult, Reference, RefundRequest, Trouble,
};
use crate::payments::saga::{Action, Ask, GatewayState, Late, Record, RestReason, Review, next};
use crate::time::UnixMs;

/// Maximum number of refunds of one payment to return what was captured without goods. Each one
/// after the first is made because earlier ones failed or left something.
const GIVE_BACKS_MAX: u32 = 10;

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

/// How something is returned.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum GiveBack {
    Void,
    /// By the refund with this number.
    Refund(u32),
}

/// A payment while it is driven.
pub(super) struct Drive<'a> {
    payments: &'a Payments,
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
        payments: &'a Payments,
        gate: &'a CommitGate,
        (view, durable_at): (PurchaseView, Lsn),
        known: GatewayState,
    ) -> Self {
        let late = match known {
            GatewayState::Unasked => Late::Impossible,
            _ => Late::Possible,
        };
        Self {
            payments,
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
            self.payments.log_room().await;
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
            self.payments.meter().capture_differs(self.purchase);
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
                advice: self.payments.settings().scheme.advice(cause, code.as_ref()),
                code,
            },
            Record::StartCapture => PaymentStep::StartCapture,
            Record::OpenReview => {
                let review = self.payments.settings().review;
                PaymentStep::OpenReview {
                    within_ms: review.deadline_ms,
                    margin_ms: review.capture_margin_ms,
                }
            }
            Record::DecideReview(verdict) => PaymentStep::DecideReview {
                verdict,
                decider: Decider::Deadline,
                void_within_ms: self.payments.settings().void_deadline_ms,
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
                within_ms: self.payments.settings().void_deadline_ms,
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
        let now = self.payments.journal().now();
        match wanted.deadline {
            Some(deadline) if now >= deadline => {
                Review::Due(self.payments.settings().review.on_deadline)
            }
            Some(_) | None => Review::Wanted,
        }
    }

    fn captured_step(&self, money: CapturedMoney) -> PaymentStep {
        self.payments.captured_step(money, self.view.quote.currency)
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
        let overdue = |deadline: UnixMs| self.payments.journal().now() >= deadline;
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
                self.payments.meter().void_stuck(self.purchase);
            }
        }
        Ok(())
    }

    /// Records a step. It need not be durable before the next call that charges: the intent to
    /// charge is durable, and a look-up finds again what a crash loses.
    fn record(&mut self, step: PaymentStep) -> Result<Go, StorageFault> {
        let recorded = (self.payments.journal()).record(self.purchase, step, Audit::Nothing);
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
                (self.view, self.durable_at) = self.payments.read(self.purchase);
                // The hold is being paid for again. That payment has its own drive, and its intent may
                // not be durable yet: acting for it here could charge without a durable intent.
                if self.view.request != payment {
                    return Ok(Go::Leave);
                }
                self.known = GatewayState::InDoubt;
                self.tries.fail();
                if self.tries.failed() > self.payments.settings().retries_max {
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
        self.payments.durable(self.durable_at, self.gate).await
    }

    async fn look_up(&mut self) -> Go {
        if self.look_up_failed && self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        let inquiry = inquiry_of(self.payments, &self.view);
        let asked = self
            .payments
            .calls()
            .ask(GatewayCall::LookUp, |gateway| gateway.look_up(inquiry));
        match asked.await {
            Ok(found) => {
                self.look_up_failed = false;
                self.known = match (found, self.capture_refused.take()) {
                    (LookupResult::Authorized(_), Some(refused)) => {
                        GatewayState::CaptureRefused(refused.code)
                    }
                    (found, _) => GatewayState::of(found, self.view.quote),
                };
            }
            Err(trouble) => {
                self.look_up_failed = true;
                self.tries.trouble(trouble);
            }
        }
        Go::On
    }

    async fn authorize(&mut self) -> Go {
        // 1. Wait after a failure. Without retries left, the payment continues in the background.
        if !self.is_late() && self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        // 2. Wait for the turn at the gateway's rate, which may take long.
        if !self.is_late()
            && let Err(trouble) = self.payments.calls().turn(GatewayCall::Authorize).await
        {
            self.tries.trouble(trouble);
            return Go::On;
        }
        // 3. Begin nothing that the buyer no longer expects. The saga authorizes only if
        // the gateway has nothing.
        if self.is_late() {
            self.known = GatewayState::GivenUp(self.late);
            return Go::On;
        }
        let order = AuthorizeRequest {
            reference: self.reference(),
            amount: self.view.quote.amount,
            currency: self.view.quote.currency,
            card: self.card(),
            started_at: self.started_at(),
        };
        let sent = self
            .payments
            .calls()
            .send_in_turn(GatewayCall::Authorize, |gateway| gateway.authorize(order));
        match sent.await {
            CallResult::Approved(authorization) => {
                self.known = GatewayState::Has(LookupResult::Authorized(authorization));
            }
            CallResult::Declined(decline) => {
                self.known = GatewayState::Has(LookupResult::Declined(decline));
            }
            CallResult::Retriable(trouble) => self.tries.trouble(trouble),
            CallResult::Unknown(trouble) => {
                self.late = Late::Possible;
                self.in_doubt(trouble);
            }
        }
        Go::On
    }

    /// Whether it is too late to authorize, because the buyer no longer expects it.
    fn is_late(&self) -> bool {
        let now = self.payments.journal().now();
        now.since_ms(self.started_at()) >= self.payments.settings().give_up_after_ms
    }

    async fn capture(&mut self) -> Go {
        if self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        let claim = self.claim();
        let sent = self
            .payments
            .calls()
            .send(GatewayCall::Capture, |gateway| gateway.capture(claim));
        match sent.await {
            CallResult::Approved(money) => {
                self.known = GatewayState::of(LookupResult::taken(money), self.view.quote);
            }
            CallResult::Declined(refused) => {
                self.capture_refused = Some(refused);
                self.known = GatewayState::InDoubt;
            }
            CallResult::Retriable(trouble) => self.tries.trouble(trouble),
            CallResult::Unknown(trouble) => self.in_doubt(trouble),
        }
        Go::On
    }

    async fn close(&mut self) -> Go {
        let answer = self.send_void().await;
        match answer {
            Some(CallResult::Approved(())) => {
                self.late = Late::Impossible;
                self.known = GatewayState::GivenUp(Late::Impossible);
            }
            // The authorization arrived after all, or the outcome is unknown. This drive ends; the next
            // one looks up the current state.
            Some(CallResult::Declined(_) | CallResult::Unknown(_) | CallResult::Retriable(_))
            | None => {
                return Go::Leave;
            }
        }
        Go::On
    }

    async fn void(&mut self) -> Go {
        if self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        if self.refused == Some(GiveBack::Void) {
            self.pace = Pace::Slow;
            return Go::Leave;
        }
        let Some(answer) = self.send_void().await else {
            return Go::Leave;
        };
        if answer == CallResult::Approved(()) {
            self.known = GatewayState::Has(LookupResult::Voided);
        } else {
            self.not_given_back(&answer, GiveBack::Void);
        }
        Go::On
    }

    /// `None` if nothing was sent.
    async fn send_void(&mut self) -> Option<CallResult<()>> {
        let claim = self.claim();
        let sent = self
            .payments
            .calls()
            .send(GatewayCall::Void, |gateway| gateway.void(claim));
        let answer = sent.await;
        (answer != CallResult::Retriable(Trouble::CircuitOpen)).then_some(answer)
    }

    async fn give_back(&mut self, money: &CapturedMoney) -> Go {
        if self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        let number = match self.next_give_back(money).await {
            Ok(number) => number,
            Err(go) => return go,
        };
        if self.refused == Some(GiveBack::Refund(number)) {
            self.pace = Pace::Slow;
            return Go::Leave;
        }
        let refund = self.refund_of_rest(money, number);
        let sent = self
            .payments
            .calls()
            .send(GatewayCall::Refund, |gateway| gateway.refund(refund));
        let answer = sent.await;
        if answer == CallResult::Approved(()) {
            let refunded = money.captured;
            self.known = GatewayState::Has(LookupResult::Refunded(CapturedMoney {
                refunded,
                ..money.clone()
            }));
        } else {
            self.not_given_back(&answer, GiveBack::Refund(number));
        }
        Go::On
    }

    /// The number of the refund to send: the first one that the gateway does not know. A failed
    /// refund keeps its number for ever, so sending it again would return nothing; and if one
    /// succeeded and something is left, the rest is another refund. `Err`: there is none to send
    /// now.
    async fn next_give_back(&mut self, money: &CapturedMoney) -> Result<u32, Go> {
        for number in 1..=GIVE_BACKS_MAX {
            let refund = self.refund_of_rest(money, number);
            let asked = self
                .payments
                .calls()
                .ask(GatewayCall::LookUpRefund, |gateway| {
                    gateway.look_up_refund(refund)
                });
            match asked.await {
                Ok(FoundRefund::Nothing) => return Ok(number),
                Ok(FoundRefund::Failed | FoundRefund::Succeeded) => {}
                Ok(FoundRefund::Pending) => return Err(Go::Leave),
                Err(trouble) => {
                    self.tries.trouble(trouble);
                    return Err(Go::On);
                }
            }
        }
        self.pace = Pace::Slow;
        Err(Go::Leave)
    }

    /// Never more than what is left in the gateway's books.
    fn refund_of_rest(&self, money: &CapturedMoney, number: u32) -> RefundRequest {
        RefundRequest {
            reference: self.reference(),
            capture: Some(money.capture.clone()),
            authorization: Some(money.authorization.id.clone()),
            number,
            amount: money.left(),
            currency: money.currency.unwrap_or(self.view.quote.currency),
        }
    }

    fn not_given_back(&mut self, answer: &CallResult<()>, what: GiveBack) {
        match answer {
            CallResult::Approved(()) => {}
            CallResult::Retriable(trouble) => self.tries.trouble(*trouble),
            CallResult::Unknown(trouble) => self.in_doubt(*trouble),
            // The gateway may have something else by now, so look it up. If it has the same and
            // refuses again, a person must act.
            CallResult::Declined(_) => {
                self.refused = Some(what);
                self.known = GatewayState::InDoubt;
                self.tries.fail();
            }
        }
    }

    fn in_doubt(&mut self, trouble: Trouble) {
        self.tries.trouble(trouble);
        self.known = GatewayState::InDoubt;
    }

    async fn next_attempt(&self) -> RetryDecision {
        self.tries.next(self.payments.settings()).await
    }

    fn reference(&self) -> Reference {
        reference_of(self.payments, &self.view)
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

/// Our reference of the payment of `view`.
pub(super) fn reference_of(payments: &Payments, view: &PurchaseView) -> Reference {
    let request = view.request.expect("a payment names its request");
    Reference::new(payments.journal().log_id(), view.purchase, request)
}

/// The look-up of the payment of `view`.
pub(super) fn inquiry_of(payments: &Payments, view: &PurchaseView) -> Inquiry {
    Inquiry {
        reference: reference_of(payments, view),
        authorization: view.authorization.clone(),
        amount: view.quote.amount,
        currency: view.quote.currency,
        card: card_of(view),
        started_at: started_at_of(view),
    }
}

fn card_of(view: &PurchaseView) -> CardToken {
    let card = view.card.clone();
    card.expect("a payment names its card")
}

fn started_at_of(view: &PurchaseView) -> UnixMs {
    let started = view.payment_started_at();
    started.expect("a payment's history has its start")
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
