//! Owns the states of a purchase, and what each means for its units and its payment.
//!
//! Deliberately absent: the transitions (`table`).

/// The state of a purchase. The words are the contract's `status`.
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
    /// Units are reserved until the hold expires.
    Held = 0,
    /// An authorization was requested; its outcome is not known yet.
    Authorizing = 1,
    /// The gateway has authorized the amount.
    Authorized = 2,
    /// A person decides whether to capture.
    UnderReview = 3,
    /// A capture was requested; its outcome is not known yet.
    Capturing = 4,
    /// Paid; the units are the buyer's.
    Captured = 5,
    /// The payment was refused or failed; the units are back in stock.
    Declined = 6,
    /// The hold ran out; the units are back in stock.
    Expired = 7,
    /// The hold was released; the units are back in stock.
    Released = 8,
    /// The authorization is being voided.
    Voiding = 9,
    /// The authorization is voided, and the units are back in stock.
    Voided = 10,
    /// The authorization, or money taken without goods, could not be returned; an operator is
    /// needed.
    Stuck = 11,
    /// Part of the money was refunded.
    PartiallyRefunded = 12,
    /// All of the money was refunded.
    Refunded = 13,
    /// The cardholder disputes the payment.
    Disputed = 14,
    /// The dispute was lost; the money is gone.
    ChargedBack = 15,
    /// The gateway captured a different amount than requested; an operator settles it.
    CaptureDiffers = 16,
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

    /// What it claims of the product's units, except those that a refund put back into stock. Sold
    /// units stay sold when money is refunded, unless the refund says that the goods are back.
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

    /// Whether it is a hold that ended without a payment.
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

    /// Whether a payment is in progress and needs a task that drives it. A stuck void counts: the
    /// gateway is still retried while the operator is called. A capture of a different amount does
    /// not.
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

/// The state of a paid purchase, by what became of its money.
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
    /// Part of it was refunded.
    PartiallyRefunded = 1,
    /// All of it was refunded.
    Refunded = 2,
    /// A dispute is open.
    Disputed = 3,
    /// Nothing is left, and a dispute took some of it.
    ChargedBack = 4,
}

impl PaidState {
    /// All, by number.
    pub const ALL: [Self; 5] = [
        Self::Captured,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Disputed,
        Self::ChargedBack,
    ];

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

/// What a purchase claims of the product's units.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Units {
    Held,
    Sold,
    None,
}
