//! Owns where a purchase can be, and what each state means for its units and its payment.
//!
//! Deliberately absent: which state follows on which (`table`).

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
