//! Owns what the calls of a gateway say: the kind of a call, and its request.
//!
//! Invariant: every request carries our [`Reference`], by which the call is idempotent.
//!
//! Deliberately absent: how a provider writes a request, which its adapter owns.

use super::reference::Reference;
use crate::ids::{AuthorizationId, CaptureId, CardToken};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;

/// The kind of a call; the metric's label.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum GatewayCall {
    /// [`super::Gateway::authorize`].
    Authorize,
    /// [`super::Gateway::capture`].
    Capture,
    /// [`super::Gateway::void`].
    Void,
    /// [`super::Gateway::refund`].
    Refund,
    /// [`super::Gateway::look_up`].
    LookUp,
    /// [`super::Gateway::look_up_refund`].
    LookUpRefund,
    /// [`super::Gateway::list`].
    List,
}

impl GatewayCall {
    /// All, by number.
    pub const ALL: [Self; 7] = [
        Self::Authorize,
        Self::Capture,
        Self::Void,
        Self::Refund,
        Self::LookUp,
        Self::LookUpRefund,
        Self::List,
    ];

    /// The metric's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::LookUp => "look_up",
            Self::LookUpRefund => "look_up_refund",
            Self::List => "list",
        }
    }
}

/// An amount to authorize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// Our name for it.
    pub reference: Reference,
    /// How much, in minor units; above zero.
    pub amount: Amount,
    pub currency: Currency,
    /// From which card.
    pub card: CardToken,
    /// When the payment was started, by our log: what is idempotent only for a time goes by it.
    pub started_at: UnixMs,
}

/// An authorization, to be captured or voided as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationClaim {
    /// Our name for it.
    pub reference: Reference,
    /// The gateway's name for it; `None` where it is not known that there is one, and then only to
    /// void it.
    pub authorization: Option<AuthorizationId>,
    /// How much was set aside, in minor units.
    pub amount: Amount,
    pub currency: Currency,
    /// From which card.
    pub card: CardToken,
    /// When the payment was started, by our log.
    pub started_at: UnixMs,
}

/// Captured money to refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// Our name for the payment.
    pub reference: Reference,
    /// The gateway's name for the capture, where it is known.
    pub capture: Option<CaptureId>,
    /// The gateway's name for the authorization, where it is known.
    pub authorization: Option<AuthorizationId>,
    /// The refund's number within this payment, from 1: the same number is the same refund.
    pub number: u32,
    /// How much of it, in minor units.
    pub amount: Amount,
    pub currency: Currency,
}

/// What to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Our name for the payment.
    pub reference: Reference,
    /// The gateway's name for it, where it is known.
    pub authorization: Option<AuthorizationId>,
    /// How much was asked for, in minor units.
    pub amount: Amount,
    pub currency: Currency,
    /// From which card.
    pub card: CardToken,
    /// When the payment was started, by our log.
    pub started_at: UnixMs,
}
