//! Owns the life cycle of a purchase: its states, what can happen to it, and the one table that
//! says which of these goes with which.
//!
//! Invariants: [`next_state`] is the only place that knows a transition; it names every pair it
//! allows and has no catch-all that moves a state. A purchase's state is the fold of its steps.
//! Deliberately absent: who decides that a step happens (decide, the saga) and what else it moves.

/// Where a purchase is. The words are the contract's `status`.
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
pub enum PurchaseState {
    /// Units are set aside until the hold expires.
    Held = 0,
    /// The gateway is being asked for the money, or what it answered is not known.
    Authorizing = 1,
    /// The gateway has set the money aside.
    Authorized = 2,
    /// A person decides whether to capture.
    UnderReview = 3,
    /// The gateway is being asked to take the money, or what it answered is not known.
    Capturing = 4,
    /// Paid; the units are the buyer's.
    Captured = 5,
    /// The payment was refused or failed; the units are back in stock.
    Declined = 6,
    /// The hold ran out; the units are back in stock.
    Expired = 7,
    /// The hold was given up; the units are back in stock.
    Released = 8,
    /// The authorization is being given back.
    Voiding = 9,
    /// The authorization is given back, and the units are.
    Voided = 10,
    /// The authorization could not be given back in time; an operator is needed.
    Stuck = 11,
    /// Part of the money went back.
    PartiallyRefunded = 12,
    /// All of the money went back.
    Refunded = 13,
    /// The cardholder disputes the payment.
    Disputed = 14,
    /// The dispute was lost; the money is gone.
    ChargedBack = 15,
}

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
    /// Some of the captured money went back, not all.
    PartRefunded = 12,
    /// The last of the captured money went back.
    FullyRefunded = 13,
    /// The cardholder opened a dispute.
    DisputeOpened = 14,
    /// The dispute was decided for the shop.
    DisputeWon = 15,
    /// The dispute was decided for the cardholder.
    DisputeLost = 16,
    /// The intent to give some of the captured money back was written down.
    RefundStarted = 17,
    /// The gateway refused to give the money back.
    RefundFailed = 18,
    /// The dispute was decided for the shop, after part of the money went back.
    DisputeWonPartRefunded = 19,
    /// The dispute was decided for the shop, after all of the money went back.
    DisputeWonRefunded = 20,
    /// The money is to be taken: a person, or the deadline of the review, decided so.
    ReviewApproved = 21,
    /// The authorization is to be given back: a person, or the deadline of the review, decided so.
    ReviewRejected = 22,
    /// The payment ended with nothing charged; the earlier hold that it was for lives on.
    PaymentDeclinedHoldKept = 23,
}

/// The state after `step` in `state`; `None` where the step cannot happen there.
///
/// `state` is `None` before the first step.
#[allow(
    clippy::match_same_arms,
    reason = "a row of the table is one step in one group of states"
)]
pub const fn next_state(state: Option<PurchaseState>, step: Step) -> Option<PurchaseState> {
    use PurchaseState as S;
    let Some(state) = state else {
        return match step {
            Step::HoldPlaced => Some(S::Held),
            _ => None,
        };
    };
    match (state, step) {
        (S::Held, Step::HoldReleased) => Some(S::Released),
        (S::Held, Step::HoldExpired) => Some(S::Expired),
        (S::Held, Step::PaymentStarted) => Some(S::Authorizing),

        (S::Authorizing, Step::PaymentAuthorized) => Some(S::Authorized),
        (S::Authorizing, Step::PaymentDeclined) => Some(S::Declined),
        (S::Authorizing, Step::PaymentDeclinedHoldKept) => Some(S::Held),

        (S::Authorized, Step::ReviewOpened) => Some(S::UnderReview),
        (S::UnderReview, Step::ReviewApproved) => Some(S::Capturing),
        (S::UnderReview, Step::ReviewRejected) => Some(S::Voiding),
        (S::Authorized, Step::CaptureStarted) => Some(S::Capturing),
        (
            S::Authorizing | S::Authorized | S::UnderReview | S::Capturing | S::Stuck,
            Step::VoidStarted,
        ) => Some(S::Voiding),

        (S::Capturing, Step::PaymentCaptured) => Some(S::Captured),

        (S::Voiding | S::Stuck, Step::PaymentVoided) => Some(S::Voided),
        (S::Voiding, Step::VoidStuck) => Some(S::Stuck),

        (S::Captured, Step::RefundStarted | Step::RefundFailed) => Some(S::Captured),
        (S::PartiallyRefunded, Step::RefundStarted | Step::RefundFailed) => {
            Some(S::PartiallyRefunded)
        }
        (S::Captured | S::PartiallyRefunded, Step::PartRefunded) => Some(S::PartiallyRefunded),
        (S::Captured | S::PartiallyRefunded, Step::FullyRefunded) => Some(S::Refunded),

        (S::Captured | S::PartiallyRefunded | S::Refunded, Step::DisputeOpened) => {
            Some(S::Disputed)
        }
        // A dispute's end may be told before its beginning: then it ends here, and the beginning
        // comes too late.
        (S::Disputed | S::Captured, Step::DisputeWon) => Some(S::Captured),
        (S::Disputed | S::PartiallyRefunded, Step::DisputeWonPartRefunded) => {
            Some(S::PartiallyRefunded)
        }
        (S::Disputed | S::Refunded, Step::DisputeWonRefunded) => Some(S::Refunded),
        (S::Disputed | S::Captured | S::PartiallyRefunded | S::Refunded, Step::DisputeLost) => {
            Some(S::ChargedBack)
        }

        // A refund that was under way when the dispute came ends nevertheless.
        (S::Disputed, Step::PartRefunded | Step::FullyRefunded | Step::RefundFailed) => {
            Some(S::Disputed)
        }
        (S::ChargedBack, Step::PartRefunded | Step::FullyRefunded | Step::RefundFailed) => {
            Some(S::ChargedBack)
        }

        // Every other pair is refused by name, so that a new state or step has to be placed.
        (
            S::Held
            | S::Authorizing
            | S::Authorized
            | S::UnderReview
            | S::Capturing
            | S::Captured
            | S::Declined
            | S::Expired
            | S::Released
            | S::Voiding
            | S::Voided
            | S::Stuck
            | S::PartiallyRefunded
            | S::Refunded
            | S::Disputed
            | S::ChargedBack,
            Step::HoldPlaced
            | Step::HoldReleased
            | Step::HoldExpired
            | Step::PaymentStarted
            | Step::PaymentAuthorized
            | Step::PaymentDeclined
            | Step::PaymentDeclinedHoldKept
            | Step::ReviewOpened
            | Step::CaptureStarted
            | Step::PaymentCaptured
            | Step::VoidStarted
            | Step::PaymentVoided
            | Step::VoidStuck
            | Step::PartRefunded
            | Step::FullyRefunded
            | Step::DisputeOpened
            | Step::DisputeWon
            | Step::DisputeLost
            | Step::RefundStarted
            | Step::RefundFailed
            | Step::DisputeWonPartRefunded
            | Step::DisputeWonRefunded
            | Step::ReviewApproved
            | Step::ReviewRejected,
        ) => None,
    }
}

/// What a purchase in some state has of the product's units.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Units {
    /// They are set aside.
    Held,
    /// They are the buyer's.
    Sold,
    /// It has none.
    None,
}

impl PurchaseState {
    /// Every state, by its number.
    pub const ALL: [Self; 16] = [
        Self::Held,
        Self::Authorizing,
        Self::Authorized,
        Self::UnderReview,
        Self::Capturing,
        Self::Captured,
        Self::Declined,
        Self::Expired,
        Self::Released,
        Self::Voiding,
        Self::Voided,
        Self::Stuck,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Disputed,
        Self::ChargedBack,
    ];

    /// The contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Authorizing => "authorizing",
            Self::Authorized => "authorized",
            Self::UnderReview => "under_review",
            Self::Capturing => "capturing",
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Voiding => "voiding",
            Self::Voided => "voided",
            Self::Stuck => "stuck",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
            Self::ChargedBack => "charged_back",
        }
    }

    /// What it has of the product's units. Sold units stay sold when money goes back: goods that
    /// left the house come back into stock by the operator's hand only.
    pub const fn units(self) -> Units {
        match self {
            Self::Held
            | Self::Authorizing
            | Self::Authorized
            | Self::UnderReview
            | Self::Capturing
            | Self::Voiding
            | Self::Stuck => Units::Held,
            Self::Captured
            | Self::PartiallyRefunded
            | Self::Refunded
            | Self::Disputed
            | Self::ChargedBack => Units::Sold,
            Self::Declined | Self::Expired | Self::Released | Self::Voided => Units::None,
        }
    }

    /// Whether a payment is under way, so that somebody has to drive it on. One that is stuck is:
    /// the gateway goes on being asked while the operator is called.
    pub const fn is_open_payment(self) -> bool {
        match self {
            Self::Authorizing
            | Self::Authorized
            | Self::Capturing
            | Self::Voiding
            | Self::Stuck => true,
            Self::Held
            | Self::UnderReview
            | Self::Captured
            | Self::Declined
            | Self::Expired
            | Self::Released
            | Self::Voided
            | Self::PartiallyRefunded
            | Self::Refunded
            | Self::Disputed
            | Self::ChargedBack => false,
        }
    }
}

impl Step {
    /// Every step, by its number.
    pub const ALL: [Self; 24] = [
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
        Self::PartRefunded,
        Self::FullyRefunded,
        Self::DisputeOpened,
        Self::DisputeWon,
        Self::DisputeLost,
        Self::RefundStarted,
        Self::RefundFailed,
        Self::DisputeWonPartRefunded,
        Self::DisputeWonRefunded,
        Self::ReviewApproved,
        Self::ReviewRejected,
        Self::PaymentDeclinedHoldKept,
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
            Self::PaymentVoided => "payment_voided",
            Self::VoidStuck => "void_stuck",
            Self::PartRefunded | Self::FullyRefunded => "refund_succeeded",
            Self::DisputeOpened => "dispute_opened",
            Self::DisputeWon | Self::DisputeWonPartRefunded | Self::DisputeWonRefunded => {
                "dispute_won"
            }
            Self::DisputeLost => "dispute_lost",
            Self::RefundStarted => "refund_started",
            Self::RefundFailed => "refund_failed",
            Self::ReviewApproved => "review_approved",
            Self::ReviewRejected => "review_rejected",
        }
    }
}
