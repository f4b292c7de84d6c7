//! Owns the commands: what callers may ask of the engine, parsed and with every limit of their
//! shape kept. Imperative names; the facts that come of them are `event`'s.

use crate::engine::event::{DeclineCause, Origin, VoidCause};
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, ProductId, PromotionCode, PurchaseId, ReceiptKeyId,
    UserId,
};
use crate::money::Currency;
use crate::time::UnixMs;

/// The most units one command may ask for.
pub const QUANTITY_MAX: u32 = 1_000;

/// Set units aside.
#[derive(Clone, Debug)]
pub struct PlaceHold {
    /// Where it comes from; its key is always there.
    pub origin: Origin,
    /// For whom.
    pub user: UserId,
    /// Of what.
    pub product: ProductId,
    /// 1 to [`QUANTITY_MAX`].
    pub quantity: u32,
    /// The currency to quote in; `None`: the first of the drop's that the product has a price in.
    pub currency: Option<Currency>,
    /// A promotion to use.
    pub promotion: Option<PromotionCode>,
}

/// Hold (or take an earlier hold), authorize and capture.
#[derive(Clone, Debug)]
pub struct Buy {
    /// Where it comes from; its key is always there.
    pub origin: Origin,
    /// For whom.
    pub user: UserId,
    /// Of what.
    pub product: ProductId,
    /// 1 to [`QUANTITY_MAX`].
    pub quantity: u32,
    /// The currency to pay in.
    pub currency: Currency,
    /// The card to charge.
    pub card: CardToken,
    /// A promotion to use; with an earlier hold, the hold's promotion stands and this is refused
    /// unless it is the same.
    pub promotion: Option<PromotionCode>,
    /// The earlier hold to pay for.
    pub hold: Option<PurchaseId>,
}

/// Give a hold up.
#[derive(Clone, Debug)]
pub struct ReleaseHold {
    /// Where it comes from.
    pub origin: Origin,
    /// Which hold.
    pub hold: PurchaseId,
}

/// What the saga learned at the gateway, or is about to ask of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentStep {
    /// The money is set aside.
    Authorized {
        /// The gateway's name for it.
        authorization: AuthorizationId,
        /// Until when it may be captured.
        capture_before: Option<UnixMs>,
    },
    /// Nothing was charged, and nothing will be.
    Declined(DeclineCause),
    /// The money is about to be taken.
    StartCapture,
    /// The money is taken.
    Captured {
        /// The gateway's name for it.
        capture: CaptureId,
        /// The key that seals the receipt.
        receipt_key: ReceiptKeyId,
    },
    /// The authorization is about to be given back.
    StartVoid(VoidCause),
    /// The authorization is given back.
    Voided,
}
