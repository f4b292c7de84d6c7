//! Owns the next step of a payment: a pure function of the purchase's state and of what is known
//! of the gateway's. It calls nothing, waits for nothing and records nothing.
//!
//! Invariants:
//! 1. After an unknown outcome the only action is a look-up: a call that may have had an effect is
//!    not sent again.
//! 2. A call is sent to the gateway only in the state whose intent is in the log.
//! 3. Every pair of state and knowledge has its action; there is no fallback arm, so a new state
//!    or a new thing to know must be placed here.
//!
//! Deliberately absent: how often and how long to try (`calls`, `driver`), and refunds of what was
//! captured (`refund`).

#[cfg(test)]
mod tests;

use crate::engine::command::Verdict;
use crate::engine::event::{CaptureDifference, DeclineCause, Quote, VoidCause};
use crate::engine::lifecycle::PurchaseState;
use crate::ids::GatewayCode;
use crate::payments::gateway::{Authorization, CapturedMoney, LookupResult};

/// What is known about one payment at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayState {
    /// No call that may have had an effect was made since the last step was recorded: known only to
    /// the task that recorded the intent, if the process has not crashed since.
    Unasked,
    /// A call with an unknown outcome may have been made: after a crash, a timeout or an unknown
    /// answer.
    InDoubt,
    /// The state at the gateway, from its answer or a look-up; a captured amount is the requested one.
    Has(LookupResult),
    /// The gateway captured a different amount than requested, and some of it is left.
    Differs(CaptureDifference, CapturedMoney),
    /// The gateway will never capture, with its word for why.
    CaptureRefused(Option<GatewayCode>),
    /// The gateway has nothing, and no further authorization is sent: it did not answer within
    /// `payments.give_up_after_s`.
    GivenUp(Late),
}

impl GatewayState {
    /// The knowledge from the look-up result `found` of a payment for which `asked` was requested.
    pub fn of(found: LookupResult, asked: Quote) -> Self {
        match found {
            LookupResult::Captured(money) => match difference(&money, asked) {
                Some(difference) => Self::Differs(difference, money),
                None => Self::Has(LookupResult::Captured(money)),
            },
            LookupResult::Nothing
            | LookupResult::Declined(_)
            | LookupResult::Authorized(_)
            | LookupResult::Voided
            | LookupResult::Refunded(_) => Self::Has(found),
        }
    }
}

/// What differs between a capture and the request.
pub fn difference(money: &CapturedMoney, asked: Quote) -> Option<CaptureDifference> {
    if money.currency != Some(asked.currency) {
        Some(CaptureDifference::Currency)
    } else if money.captured != asked.amount {
        Some(CaptureDifference::Amount)
    } else {
        None
    }
}

/// The state of a payment's review.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// No review.
    No,
    /// A person must decide before the capture.
    Wanted,
    /// The deadline has passed, and decides.
    Due(Verdict),
}

/// Whether an authorization without an answer may still take effect.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Late {
    /// None is in progress, or the reference is closed.
    Impossible,
    /// One may.
    Possible,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Call the gateway.
    Ask(Ask),
    /// Record what is known, or what is about to be called.
    Record(Record),
    /// Nothing for the saga to do.
    Rest(RestReason),
}

/// The calls of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look up what it has.
    LookUp,
    /// Authorize.
    Authorize,
    /// Capture.
    Capture,
    /// Close the reference, under which it has nothing, so that no authorization still in transit
    /// takes effect later.
    Close,
    /// Void the authorization, and close the reference.
    Void,
    /// Refund what is left of the captured money.
    GiveBack(CapturedMoney),
}

/// The records of the saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The authorization.
    Authorized(Authorization),
    /// Nothing was charged, with the gateway's reason code; the units are free.
    Declined(DeclineCause, Option<GatewayCode>),
    /// A review is opened.
    OpenReview,
    /// The decision of the deadline, because no person decided in time.
    DecideReview(Verdict),
    /// The intent to capture; the gateway is called once this is durable.
    StartCapture,
    /// The capture, which sells the units.
    Captured(CapturedMoney),
    /// A capture of a different amount, which a person must settle.
    Differs(CaptureDifference, CapturedMoney),
    /// The intent to void, with the gateway's word for why it refused the capture.
    StartVoid(VoidCause, Option<GatewayCode>),
    /// The gateway has nothing of it any more; what it had captured and refunded, if anything.
    Voided(Option<CapturedMoney>),
}

/// Why there is nothing to do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RestReason {
    /// Captured; refunds and disputes may have followed.
    Captured,
    /// Ended with nothing charged.
    Declined,
    /// Ended with the authorization voided.
    Voided,
    /// A person must act first.
    Waiting,
    /// There is no payment: an open or ended hold.
    NoPayment,
}

/// The next action for a purchase in `state`, given what is `known` of the gateway, and the state
/// of its review.
pub fn next(state: PurchaseState, review: Review, known: &GatewayState) -> Action {
    use PurchaseState as S;
    match state {
        S::Authorizing => authorizing(known),
        S::Authorized => authorized(review, known),
        S::Capturing => capturing(known),
        S::Voiding | S::Stuck => voiding(known),
        S::Captured | S::PartiallyRefunded | S::Refunded | S::Disputed | S::ChargedBack => {
            Action::Rest(RestReason::Captured)
        }
        S::Declined => Action::Rest(RestReason::Declined),
        S::Voided => Action::Rest(RestReason::Voided),
        S::CaptureDiffers => Action::Rest(RestReason::Waiting),
        S::UnderReview => match review {
            Review::Due(verdict) => Action::Record(Record::DecideReview(verdict)),
            Review::No | Review::Wanted => Action::Rest(RestReason::Waiting),
        },
        S::Held | S::Expired | S::Released => Action::Rest(RestReason::NoPayment),
    }
}

fn authorizing(known: &GatewayState) -> Action {
    match known {
        GatewayState::Unasked | GatewayState::Has(LookupResult::Nothing) => {
            Action::Ask(Ask::Authorize)
        }
        GatewayState::InDoubt | GatewayState::CaptureRefused(_) => Action::Ask(Ask::LookUp),
        GatewayState::Has(LookupResult::Authorized(authorization)) => {
            Action::Record(Record::Authorized(authorization.clone()))
        }
        // Captured already: a crash lost the steps, so they are recorded again one by one.
        GatewayState::Has(LookupResult::Captured(money)) | GatewayState::Differs(_, money) => {
            Action::Record(Record::Authorized(money.authorization.clone()))
        }
        GatewayState::Has(LookupResult::Declined(decline)) => {
            Action::Record(Record::Declined(decline.cause(), decline.code.clone()))
        }
        GatewayState::GivenUp(Late::Possible) => Action::Ask(Ask::Close),
        // Voided without a record of it: the reference was closed and the answer was lost, or it
        // was voided at the gateway's own site. No issuer declined.
        GatewayState::Has(LookupResult::Voided | LookupResult::Refunded(_))
        | GatewayState::GivenUp(Late::Impossible) => {
            Action::Record(Record::Declined(DeclineCause::GatewayUnavailable, None))
        }
    }
}

fn authorized(review: Review, known: &GatewayState) -> Action {
    match known {
        GatewayState::Unasked
        | GatewayState::Has(LookupResult::Authorized(_) | LookupResult::Captured(_))
        | GatewayState::Differs(..) => match review {
            Review::No => Action::Record(Record::StartCapture),
            // Even if it is captured already, a person decides whether it stays.
            Review::Wanted | Review::Due(_) => Action::Record(Record::OpenReview),
        },
        GatewayState::InDoubt | GatewayState::GivenUp(_) => Action::Ask(Ask::LookUp),
        GatewayState::CaptureRefused(code) => start_void(VoidCause::CaptureRefused, code.clone()),
        GatewayState::Has(
            LookupResult::Nothing
            | LookupResult::Declined(_)
            | LookupResult::Voided
            | LookupResult::Refunded(_),
        ) => start_void(VoidCause::AuthorizationLapsed, None),
    }
}

fn capturing(known: &GatewayState) -> Action {
    match known {
        GatewayState::Has(LookupResult::Authorized(_)) => Action::Ask(Ask::Capture),
        GatewayState::Unasked | GatewayState::InDoubt | GatewayState::GivenUp(_) => {
            Action::Ask(Ask::LookUp)
        }
        GatewayState::Has(LookupResult::Captured(money)) => {
            Action::Record(Record::Captured(money.clone()))
        }
        // A receipt is sealed only over what was requested and confirmed.
        GatewayState::Differs(difference, money) => {
            Action::Record(Record::Differs(*difference, money.clone()))
        }
        GatewayState::CaptureRefused(code) => start_void(VoidCause::CaptureRefused, code.clone()),
        GatewayState::Has(
            LookupResult::Nothing
            | LookupResult::Declined(_)
            | LookupResult::Voided
            | LookupResult::Refunded(_),
        ) => start_void(VoidCause::AuthorizationLapsed, None),
    }
}

fn start_void(cause: VoidCause, code: Option<GatewayCode>) -> Action {
    Action::Record(Record::StartVoid(cause, code))
}

fn voiding(known: &GatewayState) -> Action {
    match known {
        // If it has nothing, an authorization may still be in transit: voiding closes the
        // reference.
        GatewayState::Has(LookupResult::Authorized(_) | LookupResult::Nothing)
        | GatewayState::CaptureRefused(_) => Action::Ask(Ask::Void),
        GatewayState::Unasked | GatewayState::InDoubt | GatewayState::GivenUp(_) => {
            Action::Ask(Ask::LookUp)
        }
        // The gateway captured although it refused, or a person captured at its site. No money
        // without goods, so any amount is refunded.
        GatewayState::Has(LookupResult::Captured(money)) | GatewayState::Differs(_, money) => {
            Action::Ask(Ask::GiveBack(money.clone()))
        }
        GatewayState::Has(LookupResult::Refunded(money)) => {
            Action::Record(Record::Voided(Some(money.clone())))
        }
        GatewayState::Has(LookupResult::Declined(_) | LookupResult::Voided) => {
            Action::Record(Record::Voided(None))
        }
    }
}
