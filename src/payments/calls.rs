//! Owns the one wrapper around every call to a gateway: when its turn is (the gateway's pace), how
//! long an attempt may take, whether it is sent at all (the circuit breaker), how it is counted, and
//! the waits between attempts.
//!
//! Invariants:
//! 1. Nothing moves money at a gateway but through here; reconciliation, which only reads, asks past it.
//! 2. An attempt that got no answer in time is unknown; one that was not sent had no effect.
//! 3. Waits double up to a bound with full jitter, and their number is bounded.
//!
//! Deliberately absent: what to do after an answer (`saga`, `refund`), and the classification
//! itself, which is `gateway::CallResult`'s.

use crate::payments::breaker::{Breaker, Circuit};
use crate::payments::gateway::{CallClass, CallResult, Calling, Gateway, GatewayCall, Trouble};
use crate::payments::meter::Meter;
use crate::payments::settings::PaymentSettings;
use crate::trace::{RequestTrace, Scoped};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The way to a gateway.
pub(super) struct Calls {
    gateway: Arc<dyn Gateway>,
    breaker: Breaker,
    attempt_timeout: Duration,
    meter: Arc<dyn Meter>,
}

impl Calls {
    pub(super) fn new(
        gateway: Arc<dyn Gateway>,
        settings: &PaymentSettings,
        meter: Arc<dyn Meter>,
    ) -> Self {
        Self {
            gateway,
            breaker: Breaker::new(settings.breaker),
            attempt_timeout: settings.attempt_timeout(),
            meter,
        }
    }

    pub(super) fn gateway(&self) -> &dyn Gateway {
        &*self.gateway
    }

    pub(super) fn circuit(&self) -> Circuit {
        self.breaker.circuit()
    }

    /// Waits until a call of this kind may be sent.
    pub(super) async fn turn(&self, name: GatewayCall) -> Result<(), Trouble> {
        if self.breaker.circuit() == Circuit::Open {
            return Err(Trouble::CircuitOpen);
        }
        match self.gateway.turn(name) {
            Some(turn) => turn.await,
            None => Ok(()),
        }
    }

    /// Makes a call that may have an effect, after waiting for its turn.
    pub(super) async fn send<'a, T>(
        &'a self,
        name: GatewayCall,
        call: impl FnOnce(&'a dyn Gateway) -> Calling<'a, CallResult<T>>,
    ) -> CallResult<T> {
        match self.turn(name).await {
            Ok(()) => self.send_in_turn(name, call).await,
            Err(trouble) => CallResult::Retriable(trouble),
        }
    }

    /// Makes a call that may have an effect and whose turn it is.
    pub(super) async fn send_in_turn<'a, T>(
        &'a self,
        name: GatewayCall,
        call: impl FnOnce(&'a dyn Gateway) -> Calling<'a, CallResult<T>>,
    ) -> CallResult<T> {
        if !self.breaker.admits() {
            return CallResult::Retriable(Trouble::CircuitOpen);
        }
        let began = (Instant::now(), self.meter.span_begins());
        let calling = in_span(began.1.clone(), call(&*self.gateway));
        let answered = within(self.attempt_timeout, calling).await;
        let answer = answered.unwrap_or(CallResult::Unknown(Trouble::Timeout));
        let trouble = match &answer {
            CallResult::Approved(_) | CallResult::Declined(_) => None,
            CallResult::Retriable(trouble) | CallResult::Unknown(trouble) => Some(*trouble),
        };
        self.ended(name, answer.class(), trouble, began);
        answer
    }

    /// Makes a call that only reads.
    pub(super) async fn ask<'a, T>(
        &'a self,
        name: GatewayCall,
        call: impl FnOnce(&'a dyn Gateway) -> Calling<'a, Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        self.turn(name).await?;
        if !self.breaker.admits() {
            return Err(Trouble::CircuitOpen);
        }
        let began = (Instant::now(), self.meter.span_begins());
        let calling = in_span(began.1.clone(), call(&*self.gateway));
        let answered = within(self.attempt_timeout, calling).await;
        let answer = answered.unwrap_or(Err(Trouble::Timeout));
        let (class, trouble) = match answer {
            Ok(_) => (CallClass::Approved, None),
            Err(trouble) => (CallClass::Retriable, Some(trouble)),
        };
        self.ended(name, class, trouble, began);
        answer
    }

    fn ended(
        &self,
        name: GatewayCall,
        class: CallClass,
        trouble: Option<Trouble>,
        (began, span): (Instant, Option<RequestTrace>),
    ) {
        match trouble {
            None => self.breaker.succeeded(),
            Some(
                Trouble::Timeout | Trouble::Unreachable | Trouble::Internal | Trouble::KeyRefused,
            ) => {
                self.breaker.failed();
            }
            // The gateway is there and asks for a slower pace, or the breaker is open. Opening the
            // breaker because of it would decline buyers for our own haste.
            Some(Trouble::Busy | Trouble::CircuitOpen) => {}
        }
        self.meter.gateway_call(span, name, class, began.elapsed());
    }
}

/// The failures since the last recorded step.
pub(super) struct FailedTries {
    began: Instant,
    failed: u32,
    circuit_open: bool,
}

/// Whether to make another attempt.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Now: the wait is over.
    Attempt,
    /// No attempts, or no time, are left.
    Spent,
}

impl FailedTries {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            failed: 0,
            circuit_open: false,
        }
    }

    /// How many attempts failed.
    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    /// A step was recorded: earlier failures no longer count.
    pub(super) fn went_on(&mut self) {
        self.failed = 0;
    }

    /// Counts a failure.
    pub(super) fn fail(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// Counts an unusable answer.
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        self.circuit_open |= trouble == Trouble::CircuitOpen;
        self.fail();
    }

    /// Waits before an attempt, if earlier ones failed.
    pub(super) async fn next(&self, settings: &PaymentSettings) -> RetryDecision {
        if self.failed == 0 {
            return RetryDecision::Attempt;
        }
        // While the breaker is open, waiting here does not help: the payment is resumed later.
        if self.failed > settings.retries_max || self.circuit_open {
            return RetryDecision::Spent;
        }
        let backoff = settings.backoff(self.failed);
        if self.began.elapsed() + backoff > settings.unknown_after() {
            return RetryDecision::Spent;
        }
        tokio::time::sleep(backoff).await;
        RetryDecision::Attempt
    }
}

/// The call in its span, so that the gateway is told of it.
fn in_span<'a, T: 'a>(span: Option<RequestTrace>, call: Calling<'a, T>) -> Calling<'a, T> {
    match span {
        None => call,
        span => Box::pin(Scoped::new(span, call)),
    }
}

/// The answer of `call`; `None` on a timeout. An answer that is there at once needs no timer.
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
