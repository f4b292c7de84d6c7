//! Owns what can happen to a purchase: every step that an event can be in its life.
//!
//! Deliberately absent: where each may happen (`table`).

use super::state::PaidState;

/// What can happen to a purchase.
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
    /// Units were set aside: the first step of every purchase.
    HoldPlaced = 0,
    /// The hold was given up.
    HoldReleased = 1,
    /// The hold ran out.
    HoldExpired = 2,
    /// The intent to authorize and capture was written down.
    PaymentStarted = 3,
    /// The gateway authorized.
    PaymentAuthorized = 4,
    /// The payment ended with nothing charged, and the purchase with it.
    PaymentDeclined = 5,
    /// The purchase was put before a person.
    ReviewOpened = 6,
    /// The intent to capture was written down.
    CaptureStarted = 7,
    /// The gateway captured.
    PaymentCaptured = 8,
    /// The intent to give the authorization back was written down.
    VoidStarted = 9,
    /// The gateway gave the authorization back.
    PaymentVoided = 10,
    /// Giving the authorization back did not succeed in time.
    VoidStuck = 11,
    /// Some of the captured money went back; where the purchase is then.
    Refunded(PaidState) = 12,
    /// The gateway's books show money that went back without us; where the purchase is then.
    RefundFound(PaidState) = 13,
    /// The cardholder opened a dispute.
    DisputeOpened = 14,
    /// A dispute was decided for the shop; where the purchase is then.
    DisputeWon(PaidState) = 15,
    /// A dispute was decided for the cardholder; where the purchase is then.
    DisputeLost(PaidState) = 16,
    /// The intent to give some of the captured money back was written down.
    RefundStarted = 17,
    /// The gateway refused to give the money back.
    RefundFailed = 18,
    /// The gateway took another sum than was asked for.
    CaptureDiffered = 19,
    /// The money is to be taken: a person, or the deadline of the review, decided so.
    ReviewApproved = 21,
    /// The authorization is to be given back: a person, or the deadline of the review, decided so.
    ReviewRejected = 22,
    /// The payment ended with nothing charged; the earlier hold that it was for lives on.
    PaymentDeclinedHoldKept = 23,
    /// Money that had gone back is with the shop again; where the purchase is then.
    RefundReturned(PaidState) = 24,
    /// The gateway gave the authorization back; the earlier hold that it was for lives on.
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

    /// The word for it in a purchase's history, the log and the events downstream.
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
