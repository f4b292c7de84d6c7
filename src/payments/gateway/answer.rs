//! Owns what a gateway answers, and the one classification of its answers.
//!
//! Invariant: an answer is one of four: approved, declined permanently, retriable (certainly without
//! effect), unknown (perhaps with effect). Nothing else decides whether a call is sent again.
//!
//! Deliberately absent: how a provider's answer is read, which its adapter owns.

use super::reference::Reference;
use crate::engine::event::DeclineCause;
use crate::ids::{AuthorizationId, CaptureId, GatewayCode};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;

/// An authorization, by the gateway's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The gateway's id of it.
    pub id: AuthorizationId,
    /// Until when it may be captured, where the gateway says.
    pub capture_before: Option<UnixMs>,
}

/// Captured money, by the gateway's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedMoney {
    /// What it was set aside as.
    pub authorization: Authorization,
    /// The gateway's name for the capture.
    pub capture: CaptureId,
    /// How much was taken, in minor units.
    pub captured: Amount,
    /// `None`: not one of ISO 4217.
    pub currency: Option<Currency>,
    /// How much of it was given back, in minor units.
    pub refunded: Amount,
}

impl CapturedMoney {
    /// What is left of it, in minor units.
    pub const fn left(&self) -> Amount {
        self.captured.saturating_minus(self.refunded)
    }
}

/// The result of a call. This is the only classification: nothing else decides whether to retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallResult<T> {
    /// It took effect.
    Approved(T),
    /// It had no effect and never will.
    Declined(Decline),
    /// It had no effect; it may be sent again.
    Retriable(Trouble),
    /// It may have had an effect: look it up before sending anything else.
    Unknown(Trouble),
}

impl<T> CallResult<T> {
    /// The class, for metrics and logs.
    pub const fn class(&self) -> CallClass {
        match self {
            Self::Approved(_) => CallClass::Approved,
            Self::Declined(_) => CallClass::Declined,
            Self::Retriable(_) => CallClass::Retriable,
            Self::Unknown(_) => CallClass::Unknown,
        }
    }
}

/// The class of a call's result.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallClass {
    /// It took effect, or a look-up was answered.
    Approved,
    /// It had no effect and never will.
    Declined,
    /// It had no effect; it may be sent again. Look-ups that fail count here.
    Retriable,
    /// It may have had an effect.
    Unknown,
}

impl CallClass {
    /// All, by number.
    pub const ALL: [Self; 4] = [
        Self::Approved,
        Self::Declined,
        Self::Retriable,
        Self::Unknown,
    ];

    /// The metric's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Retriable => "retriable",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a gateway declined permanently.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decline {
    /// Who said it.
    pub by: DeclinedBy,
    /// The gateway's word for why, such as `insufficient_funds`; what scheme rules go by.
    pub code: Option<GatewayCode>,
}

/// Who declined.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeclinedBy {
    /// The card's issuer.
    Issuer,
    /// The gateway itself: wrong state, another amount under the same reference, a closed account.
    Gateway,
}

impl Decline {
    /// Declined by the issuer, without a code.
    pub const BY_ISSUER: Self = Self {
        by: DeclinedBy::Issuer,
        code: None,
    };

    /// Declined by the gateway, without a code.
    pub const BY_GATEWAY: Self = Self {
        by: DeclinedBy::Gateway,
        code: None,
    };

    /// The cause that the engine records.
    pub const fn cause(&self) -> DeclineCause {
        match self.by {
            DeclinedBy::Issuer => DeclineCause::DeclinedByIssuer,
            DeclinedBy::Gateway => DeclineCause::GatewayFailed,
        }
    }
}

/// Why a call got no usable answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Trouble {
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// No connection to it.
    #[error("no connection")]
    Unreachable,
    /// It says that it is busy or asks to slow down.
    #[error("busy")]
    Busy,
    /// It does not accept our key, or not for this: nothing happened, and the operator has to act.
    #[error("the gateway does not accept our key")]
    KeyRefused,
    /// It answered with an internal error, or with something unreadable.
    #[error("internal error")]
    Internal,
    /// Nothing was sent: too many calls failed just before.
    #[error("not sent, because the circuit to the gateway is open")]
    CircuitOpen,
}

/// What a gateway has under a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupResult {
    /// It does not know it.
    Nothing,
    /// The authorization was declined.
    Declined(Decline),
    /// Authorized.
    Authorized(Authorization),
    /// Captured, and not completely refunded.
    Captured(CapturedMoney),
    /// Voided, or lapsed.
    Voided,
    /// Captured and completely refunded.
    Refunded(CapturedMoney),
}

impl LookupResult {
    /// The result for captured money, completely refunded or not.
    pub fn taken(money: CapturedMoney) -> Self {
        if money.captured > Amount::ZERO && money.left() == Amount::ZERO {
            Self::Refunded(money)
        } else {
            Self::Captured(money)
        }
    }
}

/// What a gateway has of one refund.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FoundRefund {
    /// It does not know it.
    Nothing,
    /// In progress.
    Pending,
    /// Done.
    Succeeded,
    /// It was refused, or came back.
    Failed,
}

/// The end of a page; opaque, defined by the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageMark(pub String);

/// A page of the payments that a gateway has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargePage {
    /// The payments.
    pub charges: Vec<Charged>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<PageMark>,
}

/// One payment in its gateway's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The name under which it was asked for, where that is one of ours.
    pub reference: Option<Reference>,
    /// The gateway's own name for it.
    pub gateway_id: String,
    pub currency: Currency,
    /// Money set aside and neither taken nor given back.
    pub authorized: Amount,
    /// Money taken, whatever went back later.
    pub captured: Amount,
    /// Money that went back.
    pub refunded: Amount,
}
