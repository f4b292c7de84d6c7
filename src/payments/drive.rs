//! Owns one drive of one payment: does what the saga says until the payment rests or the tries are
//! spent.
//!
//! Invariants: each turn of the loop records a step (states only go on) or makes a call, and each
//! failure is counted, so a drive ends; a call that may have had effect leaves the drive in doubt;
//! an authorization is given up only where the gateway is known to have nothing of it.
//! Deliberately absent: who drives, and when to try again what was left open (`driver`).

use crate::engine::command::PaymentStep;
use crate::engine::event::DeclineCause;
use crate::engine::view::PurchaseView;
use crate::ids::{CaptureId, Lsn, PurchaseId};
use crate::journal::{CommitGate, StorageFault};
use crate::payments::driver::Payments;
use crate::payments::gateway::{
    Answer, Authorization, Call, Calling, Claim, Class, Found, Inquiry, Order, Reference, Refund,
    Trouble,
};
use crate::payments::saga::{Action, Known, Rest, next};
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The number of the refund that gives back what was captured against what the gateway said.
const GIVE_BACK_NUMBER: u32 = 1;

/// How a drive ended.
pub(super) struct Ended {
    /// Why it rests; `None`: it does not, the tries are spent.
    pub(super) rest: Option<Rest>,
    /// The purchase then.
    pub(super) view: PurchaseView,
    /// The LSN that must be durable before it is told.
    pub(super) durable_at: Lsn,
}

/// One payment on its way.
pub(super) struct Drive<'a> {
    payments: &'a Payments,
    gate: &'a CommitGate,
    purchase: PurchaseId,
    view: PurchaseView,
    durable_at: Lsn,
    known: Known,
    tries: Tries,
}

/// What has gone wrong since the last step was recorded.
struct Tries {
    began: Instant,
    failed: u32,
    last: Option<Class>,
    look_up_failed: bool,
}

/// Whether to go on.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Go {
    On,
    Leave,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        payments: &'a Payments,
        gate: &'a CommitGate,
        (view, durable_at): (PurchaseView, Lsn),
        known: Known,
    ) -> Self {
        let tries = Tries {
            began: Instant::now(),
            failed: 0,
            last: None,
            look_up_failed: false,
        };
        Self {
            payments,
            gate,
            purchase: view.purchase,
            view,
            durable_at,
            known,
            tries,
        }
    }

    /// Does what the saga says until there is nothing to do or the tries are spent.
    pub(super) async fn run(mut self) -> Result<Ended, StorageFault> {
        loop {
            let go = match next(self.view.state, &self.known) {
                Action::Rest(rest) => return Ok(self.ended(Some(rest))),
                Action::LookUp => self.look_up().await,
                Action::Authorize => self.authorize().await,
                Action::Capture => self.capture().await,
                Action::Void => {
                    self.intent_durable().await?;
                    self.void().await
                }
                Action::GiveBack => {
                    self.intent_durable().await?;
                    self.give_back().await
                }
                Action::RecordAuthorized(Authorization { id, capture_before }) => {
                    self.record(PaymentStep::Authorized {
                        authorization: id,
                        capture_before,
                    })?
                }
                Action::RecordDeclined(cause) => self.record(PaymentStep::declined(cause))?,
                Action::StartCapture => self.record(PaymentStep::StartCapture)?,
                Action::RecordCaptured(capture) => {
                    let keys = self.payments.receipt_keys().clone();
                    self.record(PaymentStep::Captured {
                        capture,
                        receipt_key: keys.seal,
                        signing_key: keys.sign,
                    })?
                }
                Action::StartVoid(cause) => self.record(PaymentStep::StartVoid {
                    cause,
                    within_ms: 86_400_000,
                    by: None,
                })?,
                Action::RecordVoided => self.record(PaymentStep::Voided)?,
            };
            if go == Go::Leave {
                return Ok(self.ended(None));
            }
        }
    }

    fn ended(self, rest: Option<Rest>) -> Ended {
        Ended {
            rest,
            view: self.view,
            durable_at: self.durable_at,
        }
    }

    /// Writes a step down. It need not be durable before the next call that charges: the intent to
    /// charge is, and what a crash takes away is found again by looking up.
    fn record(&mut self, step: PaymentStep) -> Result<Go, StorageFault> {
        match self.payments.journal().record(self.purchase, step)? {
            Ok(recorded) => {
                self.view = recorded.view;
                self.durable_at = recorded.durable_at;
                self.tries.failed = 0;
            }
            // Somebody else recorded first. What they know of the gateway is not known here.
            Err(_wrong_state) => {
                (self.view, self.durable_at) = self.payments.read(self.purchase);
                self.known = Known::InDoubt;
                if self.tries.fail(Class::Unknown) > self.payments.settings().retries_max {
                    return Ok(Go::Leave);
                }
            }
        }
        Ok(Go::On)
    }

    /// Waits for the intent to give back: the intent to charge does not cover it, so a crash must
    /// not find the money gone from the gateway and nothing of it in the log.
    async fn intent_durable(&self) -> Result<(), StorageFault> {
        self.payments.durable(self.durable_at, self.gate).await
    }

    async fn look_up(&mut self) -> Go {
        if self.tries.look_up_failed && !self.pause().await {
            return Go::Leave;
        }
        let call = self.payments.gateway().look_up(self.inquiry());
        let answer = self
            .call(Call::LookUp, call, Err(Trouble::Timeout), class_of_look_up)
            .await;
        self.tries.look_up_failed = answer.is_err();
        if let Ok(found) = answer {
            self.known = Known::Has(found);
        } else {
            self.tries.fail(Class::Unknown);
        }
        Go::On
    }

    async fn authorize(&mut self) -> Go {
        if self.tries.failed > 0 && !self.pause().await {
            // The saga only authorizes where the gateway has nothing.
            self.known = Known::GivenUp(match self.tries.last {
                Some(Class::Retriable) => DeclineCause::GatewayFailed,
                _ => DeclineCause::NeverReceived,
            });
            return Go::On;
        }
        let order = Order {
            reference: self.reference(),
            amount: self.view.quote.amount,
            currency: self.view.quote.currency,
            card: self
                .view
                .card
                .clone()
                .expect("a payment under way names its card"),
        };
        let call = self.payments.gateway().authorize(order);
        match self.send(Call::Authorize, call).await {
            Answer::Approved(authorization) => {
                self.known = Known::Has(Found::Authorized(authorization));
            }
            Answer::Declined(decline) => self.known = Known::Has(Found::Declined(decline)),
            Answer::Retriable(_) => {}
            Answer::Unknown(_) => self.known = Known::InDoubt,
        }
        Go::On
    }

    async fn capture(&mut self) -> Go {
        if self.tries.failed > 0 && !self.pause().await {
            return Go::Leave;
        }
        let call = self.payments.gateway().capture(self.claim());
        match self.send(Call::Capture, call).await {
            Answer::Approved(capture) => self.captured(capture),
            Answer::Declined(_) => self.known = Known::CaptureRefused,
            Answer::Retriable(_) => {}
            Answer::Unknown(_) => self.known = Known::InDoubt,
        }
        Go::On
    }

    fn captured(&mut self, capture: CaptureId) {
        let authorization = Authorization {
            id: self
                .view
                .authorization
                .clone()
                .expect("what was captured names its authorization"),
            capture_before: self.view.capture_before,
        };
        self.known = Known::Has(Found::Captured(authorization, capture));
    }

    async fn void(&mut self) -> Go {
        if self.tries.failed > 0 && !self.pause().await {
            return Go::Leave;
        }
        let call = self.payments.gateway().void(self.claim());
        let answer = self.send(Call::Void, call).await;
        self.gave_back(&answer, Found::Voided);
        Go::On
    }

    async fn give_back(&mut self) -> Go {
        if self.tries.failed > 0 && !self.pause().await {
            return Go::Leave;
        }
        let refund = Refund {
            reference: self.reference(),
            capture: self.view.capture.clone(),
            authorization: self.view.authorization.clone(),
            number: GIVE_BACK_NUMBER,
            amount: self.view.quote.amount,
            currency: self.view.quote.currency,
        };
        let call = self.payments.gateway().refund(refund);
        let answer = self.send(Call::Refund, call).await;
        self.gave_back(&answer, Found::Refunded);
        Go::On
    }

    fn gave_back(&mut self, answer: &Answer<()>, found: Found) {
        match answer {
            Answer::Approved(()) => self.known = Known::Has(found),
            Answer::Retriable(_) => {}
            Answer::Unknown(_) => self.known = Known::InDoubt,
            // It is not there to give back in this way: see what there is.
            Answer::Declined(_) => {
                self.known = Known::InDoubt;
                self.tries.fail(Class::Declined);
            }
        }
    }

    /// Makes a call that has effect, and counts it where it fails.
    async fn send<T>(&mut self, name: Call, call: Calling<'_, Answer<T>>) -> Answer<T> {
        let timeout = Answer::Unknown(Trouble::Timeout);
        let answer = self.call(name, call, timeout, Answer::class).await;
        match answer.class() {
            Class::Approved | Class::Declined => {}
            class @ (Class::Retriable | Class::Unknown) => {
                self.tries.fail(class);
            }
        }
        answer
    }

    /// Waits for a call at most as long as a call may take.
    async fn call<T>(
        &self,
        name: Call,
        call: Calling<'_, T>,
        timeout: T,
        class: impl Fn(&T) -> Class,
    ) -> T {
        let began = Instant::now();
        let limit = self.payments.settings().attempt_timeout();
        let answer = within(limit, call).await.unwrap_or(timeout);
        self.payments
            .meter()
            .gateway_call(name, class(&answer), began.elapsed());
        answer
    }

    /// Waits before another attempt; `false` where the tries, or the caller's time, are spent.
    async fn pause(&self) -> bool {
        let settings = self.payments.settings();
        if self.tries.failed > settings.retries_max {
            return false;
        }
        let backoff = settings.backoff(self.tries.failed);
        if self.tries.began.elapsed() + backoff > settings.unknown_after() {
            return false;
        }
        tokio::time::sleep(backoff).await;
        true
    }

    fn reference(&self) -> Reference {
        let request = self.view.request.expect("a payment names its request");
        Reference::new(self.payments.journal().log_id(), self.purchase, request)
    }

    fn inquiry(&self) -> Inquiry {
        Inquiry {
            reference: self.reference(),
            authorization: self.view.authorization.clone(),
            amount: self.view.quote.amount,
            currency: self.view.quote.currency,
        }
    }

    fn claim(&self) -> Claim {
        Claim {
            reference: self.reference(),
            authorization: self.view.authorization.clone(),
            amount: self.view.quote.amount,
            currency: self.view.quote.currency,
        }
    }
}

impl Tries {
    /// Counts a failure; how many there are.
    fn fail(&mut self, class: Class) -> u32 {
        self.last = Some(class);
        self.failed = self.failed.saturating_add(1);
        self.failed
    }
}

fn class_of_look_up(answer: &Result<Found, Trouble>) -> Class {
    match answer {
        Ok(_) => Class::Approved,
        Err(_) => Class::Retriable,
    }
}

/// The answer of `call`, or `None` where none comes in time. An answer that is there at once costs
/// no timer.
async fn within<T>(limit: Duration, mut call: Calling<'_, T>) -> Option<T> {
    let at_once = poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await;
    match at_once {
        Some(answer) => Some(answer),
        None => tokio::time::timeout(limit, call).await.ok(),
    }
}
