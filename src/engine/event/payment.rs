//! Owns the facts about payments: intents, what the gateway said, captures and voids.

use super::{AdminAct, Origin, PaymentSource, Quote, RuleHit};
use crate::engine::words::lifecycle::Step;
use crate::engine::words::metadata::Metadata;
use crate::engine::words::score::Appraisal;
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, GatewayCode, KeyOwner, PurchaseId, ReceiptKeyId, UserId,
};
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The intent to authorize and capture; the gateway is called once this is durable.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentStarted {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// What is to be paid; it may be in another currency than the hold was quoted in.
    pub quote: Quote,
    pub card: CardToken,
    /// Whether this pays for an earlier hold or the same call placed it.
    pub pays_for: PaysFor,
    pub origin: Origin,
    /// What the shop attached to it, or where it attached nothing, to the hold.
    pub metadata: Metadata,
    /// The risk rules that it met; those that the same call's hold met, too.
    pub hits: Vec<RuleHit>,
    /// Why a person is to decide before the money is taken, each reason a word or the name of a
    /// rule; empty: nobody has to.
    pub review: Vec<String>,
    /// Its features and score, if any.
    pub appraisal: Appraisal,
}

/// What a payment pays for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum PaysFor {
    /// A hold that the same call placed.
    OwnHold = 0,
    /// A hold that an earlier call placed.
    EarlierHold = 1,
}

/// The gateway authorized the amount.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentAuthorized {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The gateway's id of it.
    pub authorization: AuthorizationId,
    /// Until when the gateway lets it be captured, where it says so.
    pub capture_before: Option<UnixMs>,
}

/// Why a payment ended with nothing charged.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum DeclineCause {
    /// The card's issuer said no.
    DeclinedByIssuer = 0,
    /// The gateway itself said no for good, and holds nothing of it.
    GatewayFailed = 1,
    /// The gateway was busy, refused our key or could not be reached until the payment was given
    /// up; it holds nothing of it. Nobody declined.
    GatewayUnavailable = 2,
}

impl DeclineCause {
    /// The word in a purchase's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeclinedByIssuer => "declined_by_issuer",
            Self::GatewayFailed => "gateway_failed",
            Self::GatewayUnavailable => "gateway_unavailable",
        }
    }

    /// Whether somebody said no: only such a payment counts as one of a hold's tries, and only
    /// such a one is told as a decline.
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::DeclinedByIssuer | Self::GatewayFailed => true,
            Self::GatewayUnavailable => false,
        }
    }
}

/// What becomes of the hold whose payment ended with nothing charged.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum HoldAfter {
    /// It ends with the payment, and its units are free: the buy had placed it itself, or this was
    /// its last try.
    Ended = 0,
    /// It lives on until it runs out.
    Kept = 1,
}

impl HoldAfter {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Kept => "kept",
        }
    }
}

/// What to do about another try after a payment that was not made.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum RetryAdvice {
    /// Another card, or this one entered anew.
    OtherCard = 0,
    /// The same card later; its network limits how often.
    Later = 1,
    /// The same card must not be tried again.
    Never = 2,
}

impl RetryAdvice {
    /// The contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherCard => "other_card",
            Self::Later => "later",
            Self::Never => "never",
        }
    }
}

/// The payment ended with nothing charged.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentDeclined {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub cause: DeclineCause,
    /// The gateway's reason code, if it gave one.
    pub code: Option<GatewayCode>,
    /// What to do about another try, by the rules of the configuration.
    pub advice: RetryAdvice,
    /// Whether the hold stays.
    pub hold: HoldAfter,
    /// What its outcome is counted by.
    pub payment_source: PaymentSource,
}

impl PaymentDeclined {
    pub const fn step(&self) -> Step {
        match self.hold {
            HoldAfter::Ended => Step::PaymentDeclined,
            HoldAfter::Kept => Step::PaymentDeclinedHoldKept,
        }
    }
}

/// The intent to capture; the gateway is called once this is durable.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CaptureStarted {
    pub purchase: PurchaseId,
    pub user: UserId,
}

/// When the signature of a receipt is made. It is the same either way.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum SignWhen {
    /// While the buyer waits: the answer to the buy has it.
    #[default]
    AtCapture = 0,
    /// For each read: the answer to the buy and its replays have the HMAC alone.
    WhenRead = 1,
}

/// What signs a receipt. A capture writes it down, so that replays of its answer stay the same
/// whatever the configuration says later.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReceiptSigner {
    pub key: ReceiptKeyId,
    pub when: SignWhen,
}

impl ReceiptSigner {
    /// `key`, while the buyer waits.
    pub const fn at_capture(key: ReceiptKeyId) -> Self {
        let when = SignWhen::AtCapture;
        Self { key, when }
    }
}

/// The gateway captured.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentCaptured {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The gateway's id of it.
    pub capture: CaptureId,
    pub quantity: u32,
    /// What was paid: the amount is what the gateway confirmed, and what the receipt is sealed over.
    pub quote: Quote,
    pub metadata: Metadata,
    /// The key that seals its receipt.
    pub receipt_key: ReceiptKeyId,
    /// The key that signs its receipt, where there is one.
    pub signing_key: Option<ReceiptSigner>,
    /// Reward tokens that the buyer gets for it, debt paid off with them included.
    pub tokens: Tokens,
    /// How many of them pay off debt.
    pub debt_paid: Tokens,
    /// What its outcome is counted by.
    pub payment_source: PaymentSource,
}

/// Why an authorization is given back.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum VoidCause {
    /// The gateway refused to capture for good.
    CaptureRefused = 0,
    /// The authorization may no longer be captured.
    AuthorizationLapsed = 1,
    /// The operator wanted it back.
    Operator = 2,
    /// A person decided against the purchase.
    ReviewRejected = 3,
    /// Nobody decided about the purchase in time.
    ReviewTimedOut = 4,
    /// The gateway took another sum than was asked for, and an operator wants it given back.
    Settled = 5,
}

impl VoidCause {
    /// The word in a purchase's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CaptureRefused => "capture_refused",
            Self::AuthorizationLapsed => "authorization_lapsed",
            Self::Operator => "operator",
            Self::ReviewRejected => "review_rejected",
            Self::ReviewTimedOut => "review_timed_out",
            Self::Settled => "settled",
        }
    }

    /// Whether the gateway ended the payment: that is a decline, and an earlier hold lives on. A
    /// person's no, or the review's, ends the hold too.
    pub const fn is_decline(self) -> bool {
        match self {
            Self::CaptureRefused | Self::AuthorizationLapsed => true,
            Self::Operator | Self::ReviewRejected | Self::ReviewTimedOut | Self::Settled => false,
        }
    }

    /// What a buyer may do whose payment was given back.
    pub const fn advice(self) -> RetryAdvice {
        match self {
            Self::CaptureRefused => RetryAdvice::OtherCard,
            Self::AuthorizationLapsed | Self::ReviewTimedOut | Self::Settled => RetryAdvice::Later,
            Self::Operator | Self::ReviewRejected => RetryAdvice::Never,
        }
    }
}

/// The intent to void an authorization.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct VoidStarted {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub cause: VoidCause,
    /// The gateway's word for why it refused the capture, where it gave one.
    pub code: Option<GatewayCode>,
    /// When it is to be done; after that it is stuck and the operator is called.
    pub deadline: UnixMs,
    /// The operator who ordered it, if one did.
    pub by: Option<AdminAct>,
}

impl VoidStarted {
    /// The name of the API key that ordered it, where one did.
    pub const fn owner(&self) -> Option<&KeyOwner> {
        match &self.by {
            Some(by) => Some(&by.owner),
            None => None,
        }
    }
}

/// The gateway voided the authorization, or has none.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentVoided {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// Whether the hold stays.
    pub hold: HoldAfter,
    /// What the gateway had captured and refunded, where it had captured anything.
    pub returned: Option<ReturnedMoney>,
}

impl PaymentVoided {
    pub const fn step(&self) -> Step {
        match self.hold {
            HoldAfter::Ended => Step::PaymentVoided,
            HoldAfter::Kept => Step::PaymentVoidedHoldKept,
        }
    }
}

/// Money that the gateway captured without goods, and refunded.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReturnedMoney {
    pub amount: Amount,
    /// `None`: not one of ISO 4217.
    pub currency: Option<Currency>,
}

/// Why a void is stuck.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum VoidStuckCause {
    /// It did not succeed by its deadline.
    Overdue = 0,
    /// The gateway refuses to give back what it has.
    Refused = 1,
}

impl VoidStuckCause {
    /// The word for it; a refusal's is the purchase's `reason` as well.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Refused => "give_back_refused",
        }
    }
}

/// Giving the authorization back did not succeed. It goes on being tried.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct VoidStuck {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub cause: VoidStuckCause,
}

/// What of a capture is not as it was asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum CaptureDifference {
    /// The amount.
    Amount = 0,
    /// The currency.
    Currency = 1,
}

impl CaptureDifference {
    /// The word in a purchase's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "captured_amount_differs",
            Self::Currency => "captured_currency_differs",
        }
    }
}

/// The gateway took another sum than was asked for: an operator settles it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CaptureDiffered {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub difference: CaptureDifference,
    /// The gateway's name for the capture.
    pub capture: CaptureId,
    /// What the gateway took.
    pub captured: Amount,
    /// `None`: not one of ISO 4217.
    pub currency: Option<Currency>,
    /// What of it went back by then.
    pub refunded: Amount,
}
