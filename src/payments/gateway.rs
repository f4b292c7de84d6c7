//! Owns what a payment provider must offer, and the one classification of its answers.
//!
//! Invariants:
//! 1. Every call carries our [`Reference`], one for each payment of each log, and a provider's
//!    adapter makes authorize, capture, void and each numbered refund idempotent by it.
//! 2. An answer is one of four: approved, declined permanently, retriable (certainly without effect),
//!    unknown (perhaps with effect). An adapter that cannot tell says unknown, never retriable.
//! 3. Void closes the reference: after it is approved, an authorization under it that is still on
//!    its way can no longer take effect, whether or not there was anything to give back.
//!
//! Deliberately absent: time limits, retries and what to do next, which `calls` and `saga` own.

use crate::engine::event::DeclineCause;
use crate::engine::payable::AmountRule;
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, GatewayCode, PURCHASE_DIGITS, PurchaseId, RequestId,
};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A call in progress; dropping it stops waiting for the answer, not the call itself.
pub type Calling<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Calls that wait for their turn.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingCalls {
    /// Those that bring to an end what was begun: captures, voids, refunds and look-ups.
    pub urgent: usize,
    /// Those that begin something: authorizations.
    pub new: usize,
}

/// Returns the core's time.
pub type CoreTime = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// A payment provider.
pub trait Gateway: Send + Sync + 'static {
    /// The word in a purchase's `gateway.name`.
    fn name(&self) -> &'static str;

    /// The amounts in `currency` that it accepts; `None`: none at all.
    fn amounts(&self, currency: Currency) -> Option<AmountRule>;

    /// Whether it accepts `amount` in `currency`.
    fn takes(&self, amount: Amount, currency: Currency) -> bool {
        let rule = self.amounts(currency);
        rule.is_some_and(|rule| rule.takes(amount))
    }

    /// Gives the core's time to a gateway that computes the age of a payment: the wall clock may be
    /// wrong for a moment, and no payment may end because of that.
    fn keep_time(&self, time: CoreTime) {
        drop(time);
    }

    /// Waits until a call of this kind may be sent, if the provider limits their rate; `None`: at
    /// once. A waiting call was not sent, so its timeout has not begun.
    fn turn(&self, call: GatewayCall) -> Option<Calling<'_, Result<(), Trouble>>> {
        let _ = call;
        None
    }

    /// Number of calls that wait for their turn; `None`: there is no limit, so none waits.
    fn waiting(&self) -> Option<WaitingCalls> {
        None
    }

    /// Authorizes an amount.
    fn authorize(&self, order: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>>;

    /// Captures the whole authorized amount, and returns how much that was.
    fn capture(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>>;

    /// Voids the authorization, if there is one, and closes the reference: nothing sent under it
    /// earlier takes effect later. Declined if it is captured already.
    fn void(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<()>>;

    /// Refunds captured money.
    fn refund(&self, refund: RefundRequest) -> Calling<'_, CallResult<()>>;

    /// What the provider has of a payment. It charges nothing, so it may always be repeated.
    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>>;

    /// What the provider has of one refund. It moves nothing, so it may always be repeated.
    fn look_up_refund(&self, refund: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>>;

    /// One page of all payments that the provider has of ours, in a stable order of its own, for
    /// reconciliation.
    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>>;

    /// The same; payments made before `since` may be left out.
    fn list_since(
        &self,
        since: UnixMs,
        after: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>> {
        let _ = since;
        self.list(after)
    }
}

/// Our reference of a payment at a gateway: `hf-`, the log's id in 16 hexadecimal digits, `-`, the
/// purchase's id, `-`, the request that started the payment in 16 hexadecimal digits. Two data
/// directories never share one, so they may share a gateway; a purchase number that is assigned
/// again after an older copy of the log was restored gets another reference.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    log_id: u64,
    purchase: PurchaseId,
    request: RequestId,
}

impl Reference {
    /// The reference of the payment for `purchase` that `request` started, in the log `log_id`.
    pub const fn new(log_id: u64, purchase: PurchaseId, request: RequestId) -> Self {
        Self {
            log_id,
            purchase,
            request,
        }
    }

    pub const fn log_id(self) -> u64 {
        self.log_id
    }

    pub const fn purchase(self) -> PurchaseId {
        self.purchase
    }

    pub const fn request(self) -> RequestId {
        self.request
    }

    /// The reference written as `text`; `None` if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let (log_id, rest) = text.strip_prefix("hf-")?.split_at_checked(16)?;
        let (purchase, request) = rest.strip_prefix('-')?.rsplit_once('-')?;
        Some(Self {
            log_id: sixteen_digits(log_id)?,
            purchase: PurchaseId::parse_purchase(purchase)?,
            request: RequestId(sixteen_digits(request)?),
        })
    }
}

fn sixteen_digits(text: &str) -> Option<u64> {
    let lower = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    (text.len() == 16 && text.bytes().all(lower)).then_some(())?;
    u64::from_str_radix(text, 16).ok()
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `hf-{log_id:016x}-{purchase}-{request:016x}`, formatted by hand because every call writes
        // it.
        let mut text = *b"hf-0000000000000000-p_00000000000000000000000000000000-0000000000000000";
        for (place, number) in [(3, self.log_id), (55, self.request.0)] {
            hex::encode_to_slice(number.to_be_bytes(), &mut text[place..place + 16])
                .expect("eight bytes are 16 hexadecimal digits");
        }
        text[22..22 + PURCHASE_DIGITS].copy_from_slice(&self.purchase.digits());
        out.write_str(std::str::from_utf8(&text).expect("it is made of ASCII only"))
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

/// The kind of a call; the metric's label.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum GatewayCall {
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
    /// [`Gateway::look_up_refund`].
    LookUpRefund,
    /// [`Gateway::list`].
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PurchaseTag, ShardId};

    #[test]
    fn a_reference_names_log_purchase_and_request_and_reads_back() {
        let purchase = PurchaseId::new(ShardId::new(7), 300, PurchaseTag(0xef));
        let reference = Reference::new(0xab, purchase, RequestId(0xcd));
        let text = "hf-00000000000000ab-p_0000000000012c0700000000000000ef-00000000000000cd";
        assert_eq!(reference.to_string(), text);
        assert_eq!(Reference::parse(text), Some(reference));
        for bad in [
            "",
            "hf-",
            "hf-00000000000000ab-p_0000000000012c0700000000000000ef",
            "hf-00000000000000AB-p_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-00000000000000ab-h_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-00000000000000abp_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-000000000000000é-p_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-+0000000000000ab-p_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-00000000000000ab-p_0000000000012c0700000000000000ef-0000000000000cd",
            "hf-00000000000000ab-p_0000000000012c0700000000000000ef-00000000000000cd-",
        ] {
            assert_eq!(Reference::parse(bad), None, "{bad}");
        }
    }
}
