//! Owns what payments measure: calls, waits, and what an operator must be called for.
//!
//! Deliberately absent: names and labels of metrics, which `telemetry` owns.

use crate::ids::PurchaseId;
use crate::payments::gateway::{CallClass, GatewayCall};
use crate::trace::RequestTrace;
use std::time::Duration;

/// A round of a payment that nobody waits for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RoundEnded {
    /// How often the payment was driven, with this round.
    pub number: u32,
    /// How it ended, as a word.
    pub end: &'static str,
}

/// Measurements of payments. It is called on the hot path: count and return.
pub trait Meter: Send + Sync + 'static {
    /// A call to the gateway ended or timed out after `took`; `span` as it began.
    fn gateway_call(
        &self,
        span: Option<RequestTrace>,
        call: GatewayCall,
        class: CallClass,
        took: Duration,
    );

    /// The trace of a call or a round that begins now, at a span of its own; `None`: it is not
    /// recorded.
    fn span_begins(&self) -> Option<RequestTrace> {
        None
    }

    /// A round in the background ended after `took`; `span` as it began.
    fn round_ended(&self, span: RequestTrace, round: RoundEnded, took: Duration) {
        let _ = (span, round, took);
    }

    /// A wait for the log ended, before the payment continued or was answered.
    fn log_waited(&self, took: Duration);

    /// A drive left a payment open; it is resumed later.
    fn left_open(&self);

    /// A void is overdue or refused: the operator must be called.
    fn void_stuck(&self, purchase: PurchaseId);

    /// The gateway captured a different amount than requested: the operator must be called.
    fn capture_differs(&self, purchase: PurchaseId) {
        let _ = purchase;
    }

    /// The sweeper found a payment in a transient state with no task driving it.
    fn neglected(&self, purchase: PurchaseId);
}

/// Measures nothing.
impl Meter for () {
    fn gateway_call(&self, _: Option<RequestTrace>, _: GatewayCall, _: CallClass, _: Duration) {}

    fn log_waited(&self, _: Duration) {}

    fn left_open(&self) {}

    fn void_stuck(&self, _: PurchaseId) {}

    fn neglected(&self, _: PurchaseId) {}
}
