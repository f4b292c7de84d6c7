//! Owns the facts: every event that can stand in the log, with its outcome in it.
//!
//! Invariants: an event says all that `apply` needs (price, discount, expiry, reason), so that
//! applying never decides; a field, once written to a log, keeps its meaning: a change of shape is
//! a new version beside the old one (`journal::codec` numbers kinds and versions).
//! Deliberately absent: the instant and the LSN, which belong to the record around an event.

mod audited;
mod imported;
mod risk;
mod segment;

pub use audited::{Act, Actor, ActorRole, AdminActed, AdminRefused, Shown, Target};

use crate::engine::lifecycle::Step;
use crate::engine::refusal::Refusal;
use crate::engine::settings::Limits;
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, GatewayCode, KeyOwner, ProductId,
    PromotionCode, PurchaseId, ReceiptKeyId, RequestId, Segment, UserId, WebhookEventId,
};
use crate::money::{Amount, Currency, Price, Tokens};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use std::net::IpAddr;

pub use risk::{
    BuyerPaused, BuyerRated, CounterKept, Pause, RULE_NAME_CHARS_MAX, Rating, RiskRulesSet,
    RuleHit, RuleName, RuleOutcome, RulesSource, Whence,
};

pub use segment::BuyerSegmented;

pub use imported::{
    HoldingsImported, KeyImported, NoncesImported, PromotionUsesImported, StockImported,
};

/// An idempotency key as the engine knows it: digests, never the text.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// Stands for the key's owner, the user and the key.
    pub scope: Digest16,
    /// Stands for method, path and the request's canonical fields.
    pub fingerprint: Digest16,
}

/// Which of the shop's calls an attempt came by. The words are the metric's `flow`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Flow {
    /// `POST /limited/holds`, and the release of a hold.
    Hold = 0,
    /// `POST /limited/buy`.
    Buy = 1,
    /// `POST /admin/purchases/{id}/refunds`.
    Refund = 2,
    /// `POST /webhooks/…`.
    Webhook = 3,
    /// `POST /limited/rewards/{user_id}/spend`.
    Reward = 4,
}

impl Flow {
    /// The metric's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Buy => "buy",
            Self::Refund => "refund",
            Self::Webhook => "webhook",
            Self::Reward => "reward",
        }
    }
}

/// Where a command came from.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Origin {
    /// The request.
    pub request: RequestId,
    /// The name of the API key it came with.
    pub owner: KeyOwner,
    /// Its idempotency key, where the call takes one.
    pub key: Option<IdempotencyKey>,
    /// The buyer's address, where the shop says it.
    pub ip: Option<IpAddr>,
    /// The buyer's device, where the shop says it.
    pub device: Option<DeviceId>,
}

/// What is asked for and what it costs, computed here from stored prices.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Quote {
    /// The currency of all amounts.
    pub currency: Currency,
    /// The price of one unit.
    pub unit_price: Price,
    /// What the promotion takes off the whole.
    pub discount: Amount,
    /// What is to be paid.
    pub amount: Amount,
}

/// A product as the operator set it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ProductSet {
    /// Which product.
    pub product: ProductId,
    /// What it is called, at most 200 characters.
    pub name: String,
    /// A price for each currency it is sold in, in the order of the codes.
    pub prices: Vec<(Currency, Price)>,
    /// All units ever for sale, 0 to 2,097,151.
    pub stock: u32,
    /// Units that one buyer may hold and own at once; `None`: no limit.
    pub per_user_limit: Option<u32>,
    /// When the sale opens; `None`: it has always been open.
    pub starts_at: Option<UnixMs>,
    /// When the sale closes; `None`: never.
    pub ends_at: Option<UnixMs>,
    /// Whether it is for sale at all.
    pub active: Active,
    /// How long its holds last; `None`: as the configuration says.
    pub hold_ttl_ms: Option<u64>,
    /// Tokens that a purchase of one unit grants.
    pub reward_tokens: u32,
    /// Who set it.
    pub by: AdminAct,
}

/// Whether something is switched on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Active {
    /// Switched on.
    Yes = 0,
    /// Switched off.
    No = 1,
}

/// Who did an administrative act.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AdminAct {
    /// The request.
    pub request: RequestId,
    /// The name of the API key it came with.
    pub owner: KeyOwner,
}

/// What a promotion takes off.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Discount {
    /// Percent of the whole, 1 to 100, rounded down to the minor unit.
    Percent(u8),
    /// A fixed sum off the whole for each currency, at most the whole.
    Fixed(Vec<(Currency, Amount)>),
}

/// A promotion as the operator set it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PromotionSet {
    /// Its code.
    pub code: PromotionCode,
    /// What it takes off.
    pub discount: Discount,
    /// Uses by all buyers together.
    pub uses_max: u32,
    /// Uses by one buyer; `None`: no limit.
    pub uses_per_user_max: Option<u32>,
    /// The products it applies to; empty: all.
    pub products: Vec<ProductId>,
    /// The segments of buyers it applies to; empty: all buyers.
    pub segments: Vec<Segment>,
    /// When it begins; `None`: it always has.
    pub starts_at: Option<UnixMs>,
    /// When it ends; `None`: never.
    pub ends_at: Option<UnixMs>,
    /// Whether it applies at all.
    pub active: Active,
    /// Who set it.
    pub by: AdminAct,
}

/// Units were set aside for a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldPlaced {
    /// The new purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Of what.
    pub product: ProductId,
    /// How many units.
    pub quantity: u32,
    /// What it costs.
    pub quote: Quote,
    /// The promotion used.
    pub promotion: Option<PromotionCode>,
    /// When the hold runs out, unless a payment pins it.
    pub expires_at: UnixMs,
    /// By which call.
    pub flow: Flow,
    /// Where it came from.
    pub origin: Origin,
    /// The risk rules that it met.
    pub hits: Vec<RuleHit>,
}

/// A hold was given up.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldReleased {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Where it came from.
    pub origin: Origin,
}

/// A hold ran out.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldExpired {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
}

/// The intent to authorize and capture; the gateway is asked once this is durable.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentStarted {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// What is to be paid; it may be in another currency than the hold was quoted in.
    pub quote: Quote,
    /// The card.
    pub card: CardToken,
    /// Whether this pays for an earlier hold or the same call placed it.
    pub pays_for: PaysFor,
    /// Where it came from.
    pub origin: Origin,
    /// The risk rules that it met; those that the same call's hold met, too.
    pub hits: Vec<RuleHit>,
    /// Why a person is to decide before the money is taken, each reason a word or the name of a
    /// rule; empty: nobody has to.
    pub review: Vec<String>,
    /// Whether the origin's device is kept, for amounts to be counted by.
    pub device: DeviceKept,
}

/// Whether the device of a payment is kept with it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum DeviceKept {
    /// It is not: the payment was started before amounts were counted by device.
    No = 0,
    /// It is, where there is one.
    Yes = 1,
    /// It is, and the address until the payment's outcome is known, for both to be counted by.
    AndAddress = 2,
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

/// The gateway set the money aside.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentAuthorized {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// The gateway's name for it.
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
    /// The gateway could not process it and holds nothing of it.
    GatewayFailed = 1,
    /// The gateway never received it, as a look-up by our reference showed.
    NeverReceived = 2,
}

impl DeclineCause {
    /// The word in a purchase's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeclinedByIssuer => "declined_by_issuer",
            Self::GatewayFailed => "gateway_failed",
            Self::NeverReceived => "never_received",
        }
    }
}

/// What the card's network says about trying the same card again.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum RetryAdvice {
    /// It may be tried again.
    Free = 0,
    /// It may be tried again a limited number of times in a window.
    Limited = 1,
    /// It must not be tried again.
    Never = 2,
}

/// The payment ended with nothing charged.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentDeclined {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Why.
    pub cause: DeclineCause,
    /// The gateway's word for why, where it gave one.
    pub code: Option<GatewayCode>,
    /// What the card's network says about another try, by the rules of the configuration.
    pub advice: RetryAdvice,
    /// Where the payment came from; `None` in records of earlier versions.
    pub whence: Option<Whence>,
}

/// A purchase waits for a person, its money set aside and not taken.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReviewOpened {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Why, each reason a word or the name of a rule.
    pub reasons: Vec<String>,
    /// When the configuration decides where nobody has.
    pub deadline: UnixMs,
}

/// A purchase under review was decided about: the intent to capture, or to give back.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReviewDecided {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// How.
    pub verdict: ReviewVerdict,
    /// By whom.
    pub decider: Decider,
}

/// How a review was decided.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ReviewVerdict {
    /// The money is to be taken.
    Approved,
    /// The authorization is to be given back, by this instant; after it, it is stuck and the
    /// operator is called.
    Rejected(UnixMs),
}

/// Who decided a review.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Decider {
    /// A person.
    Person(Judgement),
    /// The configuration, at the deadline.
    Deadline,
}

/// What a person decided by.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Judgement {
    /// Who.
    pub by: AdminAct,
    /// Why, in their words; at most 500 characters.
    pub note: String,
}

impl ReviewDecided {
    /// The step in the purchase's life.
    pub const fn step(&self) -> Step {
        match self.verdict {
            ReviewVerdict::Approved => Step::ReviewApproved,
            ReviewVerdict::Rejected(_) => Step::ReviewRejected,
        }
    }

    /// Why the authorization is given back, where it is.
    pub const fn void_cause(&self) -> VoidCause {
        match self.decider {
            Decider::Person(_) => VoidCause::ReviewRejected,
            Decider::Deadline => VoidCause::ReviewTimedOut,
        }
    }
}

/// The intent to capture.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CaptureStarted {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
}

/// The gateway took the money.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentCaptured {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// The gateway's name for it.
    pub capture: CaptureId,
    /// The key that seals its receipt.
    pub receipt_key: ReceiptKeyId,
    /// The key that signs its receipt, where there is one.
    pub signing_key: Option<ReceiptKeyId>,
    /// Reward tokens that the buyer gets for it, debt paid off with them included.
    pub tokens: Tokens,
    /// How many of them pay off debt.
    pub debt_paid: Tokens,
    /// Where the payment came from; `None` in records of earlier versions.
    pub whence: Option<Whence>,
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
        }
    }
}

/// The intent to give an authorization back.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct VoidStarted {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Why.
    pub cause: VoidCause,
    /// When it is to be done; after that it is stuck and the operator is called.
    pub deadline: UnixMs,
    /// Who wanted it, where it was the operator.
    pub by: Option<AdminAct>,
}

/// The gateway gave the authorization back, or holds none.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentVoided {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
}

/// Giving the authorization back did not succeed by its deadline. It goes on being tried.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct VoidStuck {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
}

/// Reward tokens taken back because money went back.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Clawback {
    /// What the money that went back stands for.
    pub requested: Tokens,
    /// What was taken from the balance.
    pub recovered: Tokens,
    /// What was not there any more; the buyer owes it.
    pub shortfall: Tokens,
}

/// The intent to give captured money back; the gateway is asked once this is durable.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundStarted {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which refund of this purchase it is, from 1.
    pub number: u32,
    /// How much.
    pub amount: Amount,
    /// What had gone back before, as the operator knew it.
    pub previously_refunded: Amount,
    /// Why, in the operator's words; at most 500 characters.
    pub note: String,
    /// The idempotency key that it came with.
    pub key: IdempotencyKey,
    /// Who wanted it.
    pub by: AdminAct,
}

/// The gateway gave money back.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundSucceeded {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which refund of this purchase.
    pub number: u32,
    /// How much.
    pub amount: Amount,
    /// Whether money is left that could go back.
    pub extent: RefundExtent,
    /// The reward tokens that went with it.
    pub clawback: Clawback,
}

/// How much of the captured money has gone back.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum RefundExtent {
    /// Some of it.
    Part = 0,
    /// All of it.
    Full = 1,
}

/// The gateway refused to give the money back.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundFailed {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which refund of this purchase.
    pub number: u32,
    /// The gateway's word for why, where it gave one.
    pub code: Option<GatewayCode>,
}

/// The cardholder disputes the payment.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DisputeOpened {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// How much of it, where the gateway says.
    pub amount: Option<Amount>,
    /// The gateway's word for why, where it gave one.
    pub code: Option<GatewayCode>,
    /// When the gateway says that it happened.
    pub happened_at: UnixMs,
}

/// A dispute was decided.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DisputeClosed {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// For whom, and what the purchase is then.
    pub outcome: DisputeOutcome,
    /// When the gateway says that it happened.
    pub happened_at: UnixMs,
    /// The reward tokens that went with the money.
    pub clawback: Clawback,
}

/// How a dispute was decided.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum DisputeOutcome {
    /// For the shop; nothing was refunded before.
    Won = 0,
    /// For the shop; part was refunded before.
    WonPartRefunded = 1,
    /// For the shop; all was refunded before.
    WonRefunded = 2,
    /// For the cardholder: the money is gone.
    Lost = 3,
}

impl DisputeOutcome {
    /// The step in the purchase's life.
    pub const fn step(self) -> Step {
        match self {
            Self::Won => Step::DisputeWon,
            Self::WonPartRefunded => Step::DisputeWonPartRefunded,
            Self::WonRefunded => Step::DisputeWonRefunded,
            Self::Lost => Step::DisputeLost,
        }
    }
}

/// A buyer spent reward tokens in the shop.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TokensSpent {
    /// Who.
    pub user: UserId,
    /// How many.
    pub tokens: Tokens,
    /// Where it came from.
    pub origin: Origin,
}

/// The form that a webhook came in.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum WebhookFormat {
    /// holdfast's own: `X-Timestamp`, `X-Nonce`, `X-Signature`.
    Holdfast = 0,
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Standard = 1,
    /// Stripe's: `Stripe-Signature`.
    Stripe = 2,
}

impl WebhookFormat {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holdfast => "holdfast",
            Self::Standard => "standard",
            Self::Stripe => "stripe",
        }
    }

    /// The form with this word.
    pub fn parse(word: &str) -> Option<Self> {
        let known = [Self::Holdfast, Self::Standard, Self::Stripe];
        known.into_iter().find(|format| format.as_str() == word)
    }
}

/// What a gateway reports.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum WebhookKind {
    /// Money was set aside (Stripe alone reports it).
    PaymentAuthorized = 0,
    /// Money was taken.
    PaymentCaptured = 1,
    /// What was set aside was given back.
    PaymentVoided = 2,
    /// A payment failed.
    PaymentFailed = 3,
    /// Money went back.
    RefundSucceeded = 4,
    /// Money did not go back.
    RefundFailed = 5,
    /// A dispute began.
    DisputeOpened = 6,
    /// A dispute was decided for the shop.
    DisputeWon = 7,
    /// A dispute was decided for the cardholder.
    DisputeLost = 8,
    /// Something else.
    Other = 9,
}

impl WebhookKind {
    /// The contract's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentAuthorized => "payment.authorized",
            Self::PaymentCaptured => "payment.captured",
            Self::PaymentVoided => "payment.voided",
            Self::PaymentFailed => "payment.failed",
            Self::RefundSucceeded => "refund.succeeded",
            Self::RefundFailed => "refund.failed",
            Self::DisputeOpened => "dispute.opened",
            Self::DisputeWon => "dispute.won",
            Self::DisputeLost => "dispute.lost",
            Self::Other => "other",
        }
    }

    /// Whether it is about a dispute.
    pub const fn is_dispute(self) -> bool {
        matches!(
            self,
            Self::DisputeOpened | Self::DisputeWon | Self::DisputeLost
        )
    }

    /// Whether it is about what can only happen after a capture.
    pub const fn is_after_capture(self) -> bool {
        self.is_dispute() || matches!(self, Self::RefundSucceeded | Self::RefundFailed)
    }

    /// The kind with this word; [`WebhookKind::Other`] where there is none.
    pub fn parse(word: &str) -> Self {
        const KNOWN: [WebhookKind; 9] = [
            WebhookKind::PaymentAuthorized,
            WebhookKind::PaymentCaptured,
            WebhookKind::PaymentVoided,
            WebhookKind::PaymentFailed,
            WebhookKind::RefundSucceeded,
            WebhookKind::RefundFailed,
            WebhookKind::DisputeOpened,
            WebhookKind::DisputeWon,
            WebhookKind::DisputeLost,
        ];
        let known = KNOWN.into_iter().find(|kind| kind.as_str() == word);
        known.unwrap_or(Self::Other)
    }
}

/// What was made of a webhook. The words are the answer's `status`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Disposition {
    /// It was taken into account.
    Processed = 0,
    /// The same event came before.
    Duplicate = 1,
    /// It is about nothing that is known here, or comes too late to change anything.
    Ignored = 2,
}

impl Disposition {
    /// The contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
        }
    }
}

/// A genuine webhook was let in.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct WebhookReceived {
    /// In which form.
    pub format: WebhookFormat,
    /// The gateway's name for what it reports.
    pub event_id: WebhookEventId,
    /// What it reports.
    pub kind: WebhookKind,
    /// Stands for what makes the delivery unlike every other one: the nonce under the signature, or,
    /// where its form has none, event id and timestamp.
    pub nonce: Option<u64>,
    /// When the gateway says that it happened.
    pub happened_at: UnixMs,
    /// The purchase that it is about, where it is one of ours.
    pub purchase: Option<PurchaseId>,
    /// Whose it is, where the purchase is known.
    pub user: Option<UserId>,
    /// What was made of it.
    pub disposition: Disposition,
    /// The request that brought it.
    pub request: RequestId,
}

/// An attempt by a known caller was refused.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AttemptRefused {
    /// By which call.
    pub flow: Flow,
    /// Why.
    pub reason: Refusal,
    /// Who tried, where the request was well enough formed to tell.
    pub user: Option<UserId>,
    /// What for, likewise.
    pub product: Option<ProductId>,
    /// How many units; 0 where not known.
    pub quantity: u32,
    /// The card, where one was named that is a token.
    pub card: Option<CardToken>,
    /// Where it came from.
    pub origin: Origin,
    /// The risk rules that it met; none where it was blocked because the buyer is paused.
    pub hits: Vec<RuleHit>,
}

/// The settings that applying depends on are these from here on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LimitsSet {
    /// The settings.
    pub limits: Limits,
}

/// A fact that stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The operator set a product.
    ProductSet(ProductSet),
    /// The operator set a promotion.
    PromotionSet(PromotionSet),
    /// Units were set aside for a buyer.
    HoldPlaced(HoldPlaced),
    /// A hold was given up.
    HoldReleased(HoldReleased),
    /// A hold ran out.
    HoldExpired(HoldExpired),
    /// The intent to authorize and capture.
    PaymentStarted(PaymentStarted),
    /// The gateway set the money aside.
    PaymentAuthorized(PaymentAuthorized),
    /// The payment ended with nothing charged.
    PaymentDeclined(PaymentDeclined),
    /// A purchase waits for a person.
    ReviewOpened(ReviewOpened),
    /// A purchase under review was decided about.
    ReviewDecided(ReviewDecided),
    /// The intent to capture.
    CaptureStarted(CaptureStarted),
    /// The gateway took the money.
    PaymentCaptured(PaymentCaptured),
    /// The intent to give an authorization back.
    VoidStarted(VoidStarted),
    /// The gateway gave the authorization back.
    PaymentVoided(PaymentVoided),
    /// Giving an authorization back is overdue.
    VoidStuck(VoidStuck),
    /// The intent to give captured money back.
    RefundStarted(RefundStarted),
    /// The gateway gave money back.
    RefundSucceeded(RefundSucceeded),
    /// The gateway refused to give money back.
    RefundFailed(RefundFailed),
    /// The cardholder disputes the payment.
    DisputeOpened(DisputeOpened),
    /// A dispute was decided.
    DisputeClosed(DisputeClosed),
    /// A buyer spent reward tokens.
    TokensSpent(TokensSpent),
    /// A genuine webhook was let in.
    WebhookReceived(WebhookReceived),
    /// An attempt was refused.
    AttemptRefused(AttemptRefused),
    /// The process started with other limits than before.
    LimitsSet(LimitsSet),
    /// An administrative act.
    AdminActed(AdminActed),
    /// Risk rules were set.
    RiskRulesSet(RiskRulesSet),
    /// A buyer was paused, or is not any more.
    BuyerPaused(BuyerPaused),
    /// The operator rated a buyer.
    BuyerRated(BuyerRated),
    /// A buyer's segment was computed from what they bought.
    BuyerSegmented(BuyerSegmented),
    /// An administrative act was refused.
    AdminRefused(AdminRefused),
    /// Units of a product were sold elsewhere before.
    StockImported(StockImported),
    /// A promotion was used elsewhere before.
    PromotionUsesImported(PromotionUsesImported),
    /// A buyer bought units elsewhere before.
    HoldingsImported(HoldingsImported),
    /// An idempotency key was used elsewhere before.
    KeyImported(KeyImported),
    /// Webhook nonces were used elsewhere before.
    NoncesImported(NoncesImported),
}

impl Event {
    /// The words for all kinds.
    pub const KINDS: [&str; 35] = [
        "product_set",
        "promotion_set",
        "limits_set",
        "admin_acted",
        "admin_refused",
        "attempt_refused",
        Step::HoldPlaced.as_str(),
        Step::HoldReleased.as_str(),
        Step::HoldExpired.as_str(),
        Step::PaymentStarted.as_str(),
        Step::PaymentAuthorized.as_str(),
        Step::PaymentDeclined.as_str(),
        Step::ReviewOpened.as_str(),
        "review_decided",
        Step::CaptureStarted.as_str(),
        Step::PaymentCaptured.as_str(),
        Step::VoidStarted.as_str(),
        Step::PaymentVoided.as_str(),
        Step::VoidStuck.as_str(),
        Step::RefundStarted.as_str(),
        Step::FullyRefunded.as_str(),
        Step::RefundFailed.as_str(),
        Step::DisputeOpened.as_str(),
        "dispute_closed",
        "tokens_spent",
        "webhook_received",
        "risk_rules_set",
        "buyer_paused",
        "buyer_rated",
        "buyer_segmented",
        "stock_imported",
        "promotion_uses_imported",
        "holdings_imported",
        "key_imported",
        "nonces_imported",
    ];

    /// The word for its kind, as `holdfast log --kind` and `/admin/audit?kind=` take it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ProductSet(_) => "product_set",
            Self::PromotionSet(_) => "promotion_set",
            Self::AttemptRefused(_) => "attempt_refused",
            Self::LimitsSet(_) => "limits_set",
            Self::AdminActed(_) => "admin_acted",
            Self::AdminRefused(_) => "admin_refused",
            Self::HoldPlaced(_) => Step::HoldPlaced.as_str(),
            Self::HoldReleased(_) => Step::HoldReleased.as_str(),
            Self::HoldExpired(_) => Step::HoldExpired.as_str(),
            Self::PaymentStarted(_) => Step::PaymentStarted.as_str(),
            Self::PaymentAuthorized(_) => Step::PaymentAuthorized.as_str(),
            Self::PaymentDeclined(_) => Step::PaymentDeclined.as_str(),
            Self::ReviewOpened(_) => Step::ReviewOpened.as_str(),
            Self::ReviewDecided(_) => "review_decided",
            Self::CaptureStarted(_) => Step::CaptureStarted.as_str(),
            Self::PaymentCaptured(_) => Step::PaymentCaptured.as_str(),
            Self::VoidStarted(_) => Step::VoidStarted.as_str(),
            Self::PaymentVoided(_) => Step::PaymentVoided.as_str(),
            Self::VoidStuck(_) => Step::VoidStuck.as_str(),
            Self::RefundStarted(_) => Step::RefundStarted.as_str(),
            Self::RefundSucceeded(_) => Step::FullyRefunded.as_str(),
            Self::RefundFailed(_) => Step::RefundFailed.as_str(),
            Self::DisputeOpened(_) => Step::DisputeOpened.as_str(),
            Self::DisputeClosed(_) => "dispute_closed",
            Self::TokensSpent(_) => "tokens_spent",
            Self::WebhookReceived(_) => "webhook_received",
            Self::RiskRulesSet(_) => "risk_rules_set",
            Self::BuyerPaused(_) => "buyer_paused",
            Self::BuyerRated(_) => "buyer_rated",
            Self::BuyerSegmented(_) => "buyer_segmented",
            Self::StockImported(_) => "stock_imported",
            Self::PromotionUsesImported(_) => "promotion_uses_imported",
            Self::HoldingsImported(_) => "holdings_imported",
            Self::KeyImported(_) => "key_imported",
            Self::NoncesImported(_) => "nonces_imported",
        }
    }

    /// The step that this event is in some purchase's life.
    pub const fn step(&self) -> Option<(PurchaseId, Step)> {
        match self {
            Self::HoldPlaced(e) => Some((e.purchase, Step::HoldPlaced)),
            Self::HoldReleased(e) => Some((e.purchase, Step::HoldReleased)),
            Self::HoldExpired(e) => Some((e.purchase, Step::HoldExpired)),
            Self::PaymentStarted(e) => Some((e.purchase, Step::PaymentStarted)),
            Self::PaymentAuthorized(e) => Some((e.purchase, Step::PaymentAuthorized)),
            Self::PaymentDeclined(e) => Some((e.purchase, Step::PaymentDeclined)),
            Self::ReviewOpened(e) => Some((e.purchase, Step::ReviewOpened)),
            Self::ReviewDecided(e) => Some((e.purchase, e.step())),
            Self::CaptureStarted(e) => Some((e.purchase, Step::CaptureStarted)),
            Self::PaymentCaptured(e) => Some((e.purchase, Step::PaymentCaptured)),
            Self::VoidStarted(e) => Some((e.purchase, Step::VoidStarted)),
            Self::PaymentVoided(e) => Some((e.purchase, Step::PaymentVoided)),
            Self::VoidStuck(e) => Some((e.purchase, Step::VoidStuck)),
            Self::RefundStarted(e) => Some((e.purchase, Step::RefundStarted)),
            Self::RefundSucceeded(e) => Some((
                e.purchase,
                match e.extent {
                    RefundExtent::Part => Step::PartRefunded,
                    RefundExtent::Full => Step::FullyRefunded,
                },
            )),
            Self::RefundFailed(e) => Some((e.purchase, Step::RefundFailed)),
            Self::DisputeOpened(e) => Some((e.purchase, Step::DisputeOpened)),
            Self::DisputeClosed(e) => Some((e.purchase, e.outcome.step())),
            Self::ProductSet(_)
            | Self::PromotionSet(_)
            | Self::AttemptRefused(_)
            | Self::TokensSpent(_)
            | Self::WebhookReceived(_)
            | Self::StockImported(_)
            | Self::PromotionUsesImported(_)
            | Self::HoldingsImported(_)
            | Self::KeyImported(_)
            | Self::NoncesImported(_)
            | Self::LimitsSet(_)
            | Self::RiskRulesSet(_)
            | Self::BuyerPaused(_)
            | Self::BuyerRated(_)
            | Self::BuyerSegmented(_)
            | Self::AdminRefused(_)
            | Self::AdminActed(_) => None,
        }
    }

    /// The buyer that this event is about.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::HoldPlaced(e) => Some(&e.user),
            Self::HoldReleased(e) => Some(&e.user),
            Self::HoldExpired(e) => Some(&e.user),
            Self::PaymentStarted(e) => Some(&e.user),
            Self::PaymentAuthorized(e) => Some(&e.user),
            Self::PaymentDeclined(e) => Some(&e.user),
            Self::ReviewOpened(e) => Some(&e.user),
            Self::ReviewDecided(e) => Some(&e.user),
            Self::CaptureStarted(e) => Some(&e.user),
            Self::PaymentCaptured(e) => Some(&e.user),
            Self::VoidStarted(e) => Some(&e.user),
            Self::PaymentVoided(e) => Some(&e.user),
            Self::VoidStuck(e) => Some(&e.user),
            Self::RefundStarted(e) => Some(&e.user),
            Self::RefundSucceeded(e) => Some(&e.user),
            Self::RefundFailed(e) => Some(&e.user),
            Self::DisputeOpened(e) => Some(&e.user),
            Self::DisputeClosed(e) => Some(&e.user),
            Self::TokensSpent(e) => Some(&e.user),
            Self::HoldingsImported(e) => Some(&e.user),
            Self::KeyImported(e) => Some(&e.user),
            Self::WebhookReceived(e) => e.user.as_ref(),
            Self::AttemptRefused(e) => e.user.as_ref(),
            Self::BuyerPaused(e) => Some(&e.user),
            Self::BuyerRated(e) => Some(&e.user),
            Self::BuyerSegmented(e) => Some(&e.user),
            Self::RiskRulesSet(_)
            | Self::ProductSet(_)
            | Self::PromotionSet(_)
            | Self::StockImported(_)
            | Self::PromotionUsesImported(_)
            | Self::NoncesImported(_)
            | Self::LimitsSet(_)
            | Self::AdminRefused(_)
            | Self::AdminActed(_) => None,
        }
    }
}
