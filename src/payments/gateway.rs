//! Owns what a payment provider must offer, and the one classification of its answers.
//!
//! Invariants:
//! 1. Every call carries our [`Reference`], one for each purchase of each log, and a provider's
//!    adapter makes authorize, capture, void and each numbered refund idempotent by it.
//! 2. An answer is one of four: approved, declined for good, retriable (certainly without effect),
//!    unknown (perhaps with effect). An adapter that cannot tell says unknown, never retriable.
//!
//! Deliberately absent: time limits, retries and what to do next, which `driver` and `saga` own.

use crate::engine::event::DeclineCause;
use crate::ids::{AuthorizationId, CaptureId, CardToken, PurchaseId};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A call under way; dropping it gives up waiting for the answer, not what the call does.
pub type Calling<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A payment provider.
pub trait Gateway: Send + Sync + 'static {
    /// Its word in a purchase's `gateway.name`.
    fn name(&self) -> &'static str;

    /// Sets money aside.
    fn authorize(&self, order: Order) -> Calling<'_, Answer<Authorization>>;

    /// Takes all the money that was set aside.
    fn capture(&self, claim: Claim) -> Calling<'_, Answer<CaptureId>>;

    /// Gives back what was set aside. Declined where it was captured already.
    fn void(&self, claim: Claim) -> Calling<'_, Answer<()>>;

    /// Gives back money that was taken.
    fn refund(&self, refund: Refund) -> Calling<'_, Answer<()>>;

    /// What the provider has under `reference`. It changes nothing, so it may always be asked again.
    fn look_up(&self, reference: Reference) -> Calling<'_, Result<Found, Trouble>>;
}

/// Our name for a purchase at a gateway: `hf-`, the log's id in 16 hexadecimal digits, `-`, the
/// purchase. Two data directories never use the same one, so they may share a gateway.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    log_id: u64,
    purchase: PurchaseId,
}

impl Reference {
    /// The reference of `purchase` in the log named `log_id`.
    pub const fn new(log_id: u64, purchase: PurchaseId) -> Self {
        Self { log_id, purchase }
    }

    /// The log it belongs to.
    pub const fn log_id(self) -> u64 {
        self.log_id
    }

    /// The purchase it stands for.
    pub const fn purchase(self) -> PurchaseId {
        self.purchase
    }

    /// The reference written `text`; `None` where that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (log_id, purchase) = text.strip_prefix("hf-")?.split_at_checked(16)?;
        let lower = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
        log_id.bytes().all(lower).then_some(())?;
        Some(Self {
            log_id: u64::from_str_radix(log_id, 16).ok()?,
            purchase: PurchaseId::parse_purchase(purchase.strip_prefix('-')?)?,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `hf-{log_id:016x}-{purchase}` by hand: every call at the gateway writes it.
        let mut text = *b"hf-0000000000000000-p_0000000000000000";
        for (place, number) in [(3, self.log_id), (22, self.purchase.get())] {
            hex::encode_to_slice(number.to_be_bytes(), &mut text[place..place + 16])
                .expect("eight bytes are 16 hexadecimal digits");
        }
        out.write_str(std::str::from_utf8(&text).expect("it is made of ASCII only"))
    }
}

/// Money to set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Our name for it.
    pub reference: Reference,
    /// How much, in minor units; above zero.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// From which card.
    pub card: CardToken,
}

/// What was set aside, to be captured or voided as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Our name for it.
    pub reference: Reference,
    /// The gateway's name for it.
    pub authorization: AuthorizationId,
    /// How much was set aside, in minor units.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
}

/// Captured money to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Our name for the payment.
    pub reference: Reference,
    /// Which refund of this payment it is, from 1: the same number is the same refund.
    pub number: u32,
    /// How much of it, in minor units.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
}

/// Money set aside, as the gateway names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The gateway's name for it.
    pub id: AuthorizationId,
    /// Until when it may be captured, where the gateway says.
    pub capture_before: Option<UnixMs>,
}

/// How a call ended. The one classification: nothing else decides whether to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It took effect.
    Approved(T),
    /// It had no effect and never will.
    Declined(Decline),
    /// It had no effect; it may be sent again.
    Retriable(Trouble),
    /// It may have had effect: to be looked up before anything else is sent.
    Unknown(Trouble),
}

impl<T> Answer<T> {
    /// The word for the classification, for metrics and logs.
    pub const fn class(&self) -> Class {
        match self {
            Self::Approved(_) => Class::Approved,
            Self::Declined(_) => Class::Declined,
            Self::Retriable(_) => Class::Retriable,
            Self::Unknown(_) => Class::Unknown,
        }
    }
}

/// How a call ended, without what it brought.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It took effect, or a look-up was answered.
    Approved,
    /// It had no effect and never will.
    Declined,
    /// It had no effect; it may be sent again. Look-ups that fail count here.
    Retriable,
    /// It may have had effect.
    Unknown,
}

impl Class {
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

/// Why a gateway said no for good.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decline {
    /// The card's issuer said no.
    ByIssuer,
    /// The gateway itself will not do it: not in this state, another amount under the same
    /// reference, an account that is closed.
    ByGateway,
}

impl Decline {
    /// The word that the engine keeps.
    pub const fn cause(self) -> DeclineCause {
        match self {
            Self::ByIssuer => DeclineCause::DeclinedByIssuer,
            Self::ByGateway => DeclineCause::GatewayFailed,
        }
    }
}

/// What kept a call from an answer.
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
    /// It answered that something broke on its side, or what nobody can read.
    #[error("internal error")]
    Internal,
}

/// What a gateway has under a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It never heard of it.
    Nothing,
    /// The authorization was declined.
    Declined(Decline),
    /// Money is set aside.
    Authorized(Authorization),
    /// Money is taken, at least some of which was not given back.
    Captured(Authorization, CaptureId),
    /// What was set aside is given back, or lapsed.
    Voided,
    /// All that was taken is given back.
    Refunded,
}

/// Which call was made; the metric's label.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Gateway::authorize`].
    Authorize,
    /// [`Gateway::capture`].
    Capture,
    /// [`Gateway::void`].
    Void,
    /// [`Gateway::refund`].
    Refund,
    /// [`Gateway::look_up`].
    LookUp,
}

impl Call {
    /// The metric's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::LookUp => "look_up",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    #[test]
    fn a_reference_names_log_and_purchase_and_reads_back() {
        let reference = Reference::new(0xab, PurchaseId::new(ShardId::new(7), 300));
        let text = "hf-00000000000000ab-p_0000000000012c07";
        assert_eq!(reference.to_string(), text);
        assert_eq!(Reference::parse(text), Some(reference));
        for bad in [
            "",
            "hf-",
            "hf-00000000000000AB-p_0000000000012c07",
            "hf-00000000000000ab-h_0000000000012c07",
            "hf-00000000000000abp_0000000000012c07",
            "hf-000000000000000é-p_0000000000012c07",
            "hf-+0000000000000ab-p_0000000000012c07",
        ] {
            assert_eq!(Reference::parse(bad), None, "{bad}");
        }
    }
}
