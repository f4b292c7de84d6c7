//! Owns the steps of a purchase: everything that an event can do to it.
//!
//! Deliberately absent: where each is allowed (`table`).

use super::state::PaidState;

/// A step of a purchase.
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[repr(u8)]
pub enum Step {
    /// Units were reserved: the first step of every purchase.
    HoldPlaced = 0,
    /// The hold was released.
    HoldReleased = 1,
    /// The hold expired.
    HoldExpired = 2,
    /// The intent to authorize and capture was recorded.
    PaymentStarted = 3,
    /// The gateway authorized.
    PaymentAuthorized = 4,
    /// The payment ended with nothing charged, and the purchase ended with it.
    PaymentDeclined = 5,
    /// The purchase was submitted for review.
    ReviewOpened = 6,
    /// The intent to capture was recorded.
    CaptureStarted = 7,
    /// The gateway captured.
    PaymentCaptured = 8,
    /// The intent to void the authorization was recorded.
    VoidStarted = 9,
    /// The gateway voided the authorization.
    PaymentVoided = 10,
    /// Voiding did not succeed in time.
    VoidStuck = 11,
    /// Some of the captured money was refunded; the state after it.
    Refunded(PaidState) = 12,
    /// The gateway's books show a refund that was not made here; the state after it.
    RefundFound(PaidState) = 13,
    /// The cardholder opened a dispute.
    DisputeOpened = 14,
    /// A dispute was decided for the shop; the state after it.
    DisputeWon(PaidState) = 15,
    /// A dispute was decided for the cardholder; the state after it.
    DisputeLost(PaidState) = 16,
    /// The intent to refund was recorded.
    RefundStarted = 17,
    /// The gateway refused the refund.
    RefundFailed = 18,
    /// The gateway captured a different amount than requested.
    CaptureDiffered = 19,
    /// The review decided to capture: a person did, or its deadline.
    ReviewApproved = 21,
    /// The review decided to void: a person did, or its deadline.
    ReviewRejected = 22,
    /// The payment ended with nothing charged; the earlier hold stays.
    PaymentDeclinedHoldKept = 23,
    /// Refunded money came back to the shop; the state after it.
    RefundReturned(PaidState) = 24,
    /// The gateway voided the authorization; the earlier hold stays.
    PaymentVoidedHoldKept = 25,
}

impl Step {
    /// Every step that events make, by its number.
    pub const ALL: [Self; 45] = [
        Self::HoldPlaced,
        Self::HoldReleased,
        Self::HoldExpired,
        Self::PaymentStarted,
        Self::PaymentAuthorized,
        Self::PaymentDeclined,
        Self::ReviewOpened,
        Self::CaptureStarted,
        Self::PaymentCaptured,
        Self::VoidStarted,
        Self::PaymentVoided,
        Self::VoidStuck,
        Self::Refunded(PaidState::Captured),
        Self::Refunded(PaidState::PartiallyRefunded),
        Self::Refunded(PaidState::Refunded),
        Self::Refunded(PaidState::Disputed),
        Self::Refunded(PaidState::ChargedBack),
        Self::RefundFound(PaidState::Captured),
        Self::RefundFound(PaidState::PartiallyRefunded),
        Self::RefundFound(PaidState::Refunded),
        Self::RefundFound(PaidState::Disputed),
        Self::RefundFound(PaidState::ChargedBack),
        Self::DisputeOpened,
        Self::DisputeWon(PaidState::Captured),
        Self::DisputeWon(PaidState::PartiallyRefunded),
        Self::DisputeWon(PaidState::Refunded),
        Self::DisputeWon(PaidState::Disputed),
        Self::DisputeWon(PaidState::ChargedBack),
        Self::DisputeLost(PaidState::Captured),
        Self::DisputeLost(PaidState::PartiallyRefunded),
        Self::DisputeLost(PaidState::Refunded),
        Self::DisputeLost(PaidState::Disputed),
        Self::DisputeLost(PaidState::ChargedBack),
        Self::RefundStarted,
        Self::RefundFailed,
        Self::CaptureDiffered,
        Self::ReviewApproved,
        Self::ReviewRejected,
        Self::PaymentDeclinedHoldKept,
        Self::RefundReturned(PaidState::Captured),
        Self::RefundReturned(PaidState::PartiallyRefunded),
        Self::RefundReturned(PaidState::Refunded),
        Self::RefundReturned(PaidState::Disputed),
        Self::RefundReturned(PaidState::ChargedBack),
        Self::PaymentVoidedHoldKept,
    ];

    /// The word in a purchase's history, in the log and in events downstream.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HoldPlaced => "hold_placed",
            Self::HoldReleased => "hold_released",
            Self::HoldExpired => "hold_expired",
            Self::PaymentStarted => "payment_started",
            Self::PaymentAuthorized => "payment_authorized",
            Self::PaymentDeclined | Self::PaymentDeclinedHoldKept => "payment_declined",
            Self::ReviewOpened => "review_opened",
            Self::CaptureStarted => "capture_started",
            Self::PaymentCaptured => "payment_captured",
            Self::VoidStarted => "void_started",
            Self::PaymentVoided | Self::PaymentVoidedHoldKept => "payment_voided",
            Self::VoidStuck => "void_stuck",
            Self::Refunded(_) => "refund_succeeded",
            Self::RefundFound(_) => "refund_found",
            Self::RefundReturned(_) => "refund_returned",
            Self::DisputeOpened => "dispute_opened",
            Self::DisputeWon(_) => "dispute_won",
            Self::DisputeLost(_) => "dispute_lost",
            Self::CaptureDiffered => "capture_differed",
            Self::RefundStarted => "refund_started",
            Self::RefundFailed => "refund_failed",
            Self::ReviewApproved => "review_approved",
            Self::ReviewRejected => "review_rejected",
        }
    }
}
