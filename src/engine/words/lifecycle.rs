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
    /// The authorization, or money taken without goods, could not be given back; an operator is
    /// needed.
    Stuck = 11,
    /// Part of the money went back.
    PartiallyRefunded = 12,
    /// All of the money went back.
    Refunded = 13,
    /// The cardholder disputes the payment.
    Disputed = 14,
    /// The dispute was lost; the money is gone.
    ChargedBack = 15,
    /// The gateway took another sum than was asked for; an operator settles it.
    CaptureDiffers = 16,
}

/// Where a paid purchase is, by what became of its money.
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
pub enum PaidState {
    /// All of the money is with the shop.
    Captured = 0,
    /// Part of it went back.
    PartiallyRefunded = 1,
    /// All of it went back.
    Refunded = 2,
    /// A dispute is open.
    Disputed = 3,
    /// Nothing is left, and a dispute took some of it.
    ChargedBack = 4,
}

impl PaidState {
    /// Every one, by its number.
    pub const ALL: [Self; 5] = [
        Self::Captured,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Disputed,
        Self::ChargedBack,
    ];

    /// The purchase's state.
    pub const fn state(self) -> PurchaseState {
        match self {
            Self::Captured => PurchaseState::Captured,
            Self::PartiallyRefunded => PurchaseState::PartiallyRefunded,
            Self::Refunded => PurchaseState::Refunded,
            Self::Disputed => PurchaseState::Disputed,
            Self::ChargedBack => PurchaseState::ChargedBack,
        }
    }
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
            S::Authorizing
            | S::Authorized
            | S::UnderReview
            | S::Capturing
            | S::CaptureDiffers
            | S::Stuck,
            Step::VoidStarted,
        ) => Some(S::Voiding),

        (S::Capturing, Step::PaymentCaptured) => Some(S::Captured),
        (S::Capturing, Step::CaptureDiffered) => Some(S::CaptureDiffers),
        // An operator settles it: the gateway's sum is booked, or what is left there goes back.
        (S::CaptureDiffers | S::Stuck, Step::PaymentCaptured) => Some(S::Captured),

        (S::Voiding | S::Stuck, Step::PaymentVoided) => Some(S::Voided),
        (S::Voiding, Step::VoidStuck) => Some(S::Stuck),

        // What an open dispute leaves can be refunded; a refund that was under way when a dispute
        // was lost ends nevertheless.
        (S::Captured, Step::RefundStarted | Step::RefundFailed) => Some(S::Captured),
        (S::PartiallyRefunded, Step::RefundStarted | Step::RefundFailed) => {
            Some(S::PartiallyRefunded)
        }
        (S::Disputed, Step::RefundStarted | Step::RefundFailed) => Some(S::Disputed),
        (S::ChargedBack, Step::RefundFailed) => Some(S::ChargedBack),
        (
            S::Captured | S::PartiallyRefunded | S::Disputed | S::ChargedBack,
            Step::Refunded(then) | Step::RefundFound(then),
        ) => Some(then.state()),

        // Words of disputes arrive in any order, and a purchase may have several: one that is open
        // makes it disputed, and a lost one may be won later.
        (
            S::Captured | S::PartiallyRefunded | S::Refunded | S::Disputed | S::ChargedBack,
            Step::DisputeOpened,
        ) => Some(S::Disputed),
        (
            S::Captured | S::PartiallyRefunded | S::Refunded | S::Disputed | S::ChargedBack,
            Step::DisputeWon(then) | Step::DisputeLost(then),
        ) => Some(then.state()),

        // Every other pair is refused by name, so that a new state or step must be placed.
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
            | S::ChargedBack
            | S::CaptureDiffers,
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
            | Step::Refunded(_)
            | Step::RefundFound(_)
            | Step::DisputeOpened
            | Step::DisputeWon(_)
            | Step::DisputeLost(_)
            | Step::RefundStarted
            | Step::RefundFailed
            | Step::CaptureDiffered
            | Step::ReviewApproved
            | Step::ReviewRejected,
        ) => None,
    }
}

/// Whether a purchase counts for its buyer's limit, and keeps its promotion's use.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It does, and always did.
    Always,
    /// It does again, after it did not: a dispute that was lost is won. It counts for the limit; the
    /// promotion's use was given back, and somebody else may have it.
    Again,
    /// It does not.
    No,
}

/// Whether a purchase of these steps stands. One that is disputed stands as it did before.
pub fn stands(steps: impl IntoIterator<Item = Step>) -> Stands {
    let mut state = None;
    let mut stands = Stands::Always;
    for step in steps {
        state = next_state(state, step).or(state);
        stands = match (state.map(PurchaseState::ends), stands) {
            (Some(Ends::Yes), _) => Stands::No,
            (Some(Ends::No), Stands::No) => Stands::Again,
            (Some(Ends::No | Ends::AsBefore) | None, before) => before,
        };
    }
    stands
}

/// Whether a purchase in some state has ended for its buyer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Ends {
    Yes,
    No,
    AsBefore,
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
    pub const ALL: [Self; 17] = [
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
        Self::CaptureDiffers,
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
            Self::Stuck | Self::CaptureDiffers => "stuck",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
            Self::ChargedBack => "charged_back",
        }
    }

    /// What it has of the product's units, but for those that a refund put back into stock. Sold
    /// units stay sold when money goes back, unless the refund says that the goods are back.
    pub const fn units(self) -> Units {
        match self {
            Self::Held
            | Self::Authorizing
            | Self::Authorized
            | Self::UnderReview
            | Self::Capturing
            | Self::Voiding
            | Self::Stuck
            | Self::CaptureDiffers => Units::Held,
            Self::Captured
            | Self::PartiallyRefunded
            | Self::Refunded
            | Self::Disputed
            | Self::ChargedBack => Units::Sold,
            Self::Declined | Self::Expired | Self::Released | Self::Voided => Units::None,
        }
    }

    /// Whether it is a hold that ended without a payment, for good.
    pub const fn is_ended_hold(self) -> bool {
        match self {
            Self::Declined | Self::Expired | Self::Released => true,
            Self::Held
            | Self::Authorizing
            | Self::Authorized
            | Self::UnderReview
            | Self::Capturing
            | Self::CaptureDiffers
            | Self::Captured
            | Self::Voiding
            | Self::Voided
            | Self::Stuck
            | Self::PartiallyRefunded
            | Self::Refunded
            | Self::Disputed
            | Self::ChargedBack => false,
        }
    }

    /// Whether a purchase that comes here ends for its buyer.
    const fn ends(self) -> Ends {
        match self {
            Self::Declined
            | Self::Expired
            | Self::Released
            | Self::Voided
            | Self::Refunded
            | Self::ChargedBack => Ends::Yes,
            Self::Held
            | Self::Authorizing
            | Self::Authorized
            | Self::UnderReview
            | Self::Capturing
            | Self::Voiding
            | Self::Stuck
            | Self::CaptureDiffers
            | Self::Captured
            | Self::PartiallyRefunded => Ends::No,
            Self::Disputed => Ends::AsBefore,
        }
    }

    /// Whether a payment is under way, so that somebody has to drive it on. A stuck void is: the
    /// gateway goes on being asked while the operator is called. A capture of another sum is not.
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
            | Self::ChargedBack
            | Self::CaptureDiffers => false,
        }
    }
}

impl Step {
    /// Every step that events make, by its number.
    pub const ALL: [Self; 39] = [
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
            Self::Refunded(_) => "refund_succeeded",
            Self::RefundFound(_) => "refund_found",
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
