//! Owns the facts: every event that can stand in the log, with its outcome in it.
//!
//! Invariants: an event says all that `apply` needs (price, discount, expiry, reason), so that
//! applying never decides; a field, once written to a log, keeps its meaning: a change of shape is
//! a new version beside the old one (`journal::codec` numbers kinds and versions).
//! Deliberately absent: the instant and the LSN, which belong to the record around an event.

mod aftermath;
mod audited;
mod catalogue;
mod clock;
mod history;
mod hold;
mod imported;
mod part;
mod payment;
mod review;
mod risk;
mod segment;
mod webhook;

use crate::engine::words::lifecycle::{PaidState, Step};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection};
use crate::engine::words::score::Appraisal;
use crate::engine::words::settings::Limits;
use crate::ids::{
    CardToken, DeviceId, Digest16, KeyOwner, ProductId, PurchaseId, RequestId, UserId,
};
use crate::money::{Amount, Currency, Price};
use rkyv::{Archive, Deserialize, Serialize};
use std::net::IpAddr;

pub use aftermath::{
    Clawback, DisputeClosed, DisputeOpened, GivenBack, RefundExtent, RefundFailed, RefundFailure,
    RefundFound, RefundReturned, RefundStarted, RefundSucceeded, Restock, TokensSpent,
};
pub use audited::{Act, Actor, ActorRole, AdminActed, AdminRefused, Shown, Target};
pub use catalogue::{Active, Discount, ProductSet, PromotionSet};
pub use clock::{ClockCorrected, CorrectedBy};
pub use history::{HistoryAccepted, LogGeneration};
pub use hold::{HoldExpired, HoldPlaced, HoldReleased};
pub use imported::{
    HoldingsImported, KeyImported, NoncesImported, PromotionUsesImported, StockImported,
};
pub use part::{CatalogueChange, Part, RiskChange, ShardChange, WebhookChange};
pub use payment::{
    CaptureDiffered, CaptureDifference, CaptureStarted, DeclineCause, HoldAfter, PaymentAuthorized,
    PaymentCaptured, PaymentDeclined, PaymentStarted, PaymentVoided, PaysFor, RetryAdvice,
    ReturnedMoney, VoidCause, VoidStarted, VoidStuck, VoidStuckCause,
};
pub use review::{Decider, Judgement, ReviewDecided, ReviewOpened, ReviewVerdict};
pub use risk::{
    BuyerPaused, BuyerRated, CounterKept, ModelInForce, Pause, RULE_NAME_CHARS_MAX, Rating,
    RiskRulesSet, RiskScoringSet, RuleHit, RuleName, RuleOutcome, RulesSource, Whence,
};
pub use segment::BuyerSegmented;
pub use webhook::{Disposition, WebhookFormat, WebhookKind, WebhookReceived};

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

/// What a hold costs in one more currency, by the terms when it was placed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum HeldQuote {
    /// It can be paid in this currency.
    Payable(Quote),
    /// The product has a price in this currency, but it cannot be paid in it, for this reason.
    Refused(Currency, Refusal),
}

impl HeldQuote {
    /// The currency.
    pub const fn currency(&self) -> Currency {
        match self {
            Self::Payable(quote) => quote.currency,
            Self::Refused(currency, _) => *currency,
        }
    }
}

/// Who did an administrative act.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AdminAct {
    /// The request.
    pub request: RequestId,
    /// The name of the API key it came with.
    pub owner: KeyOwner,
}

/// An attempt by a known caller was refused.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AttemptRefused {
    /// By which call.
    pub flow: Flow,
    /// Why.
    pub reason: Refusal,
    /// What it is about, where the reason has figures.
    pub facts: Option<Box<RefusalFacts>>,
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
    /// What it was scored by, where it came as far as the rules.
    pub appraisal: Appraisal,
    /// Refusals of the same key's name just before that were not written down.
    pub left_out: u64,
}

impl AttemptRefused {
    /// Why, and what it is about.
    pub fn rejection(&self) -> Rejection {
        Rejection {
            reason: self.reason,
            facts: self.facts.as_deref().copied(),
        }
    }
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
    /// The gateway took another sum.
    CaptureDiffered(CaptureDiffered),
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
    /// The gateway gave money back without us.
    RefundFound(RefundFound),
    /// Money that had gone back came back.
    RefundReturned(RefundReturned),
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
    /// Attempts are scored in another way.
    RiskScoringSet(RiskScoringSet),
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
    /// The core's time was corrected.
    ClockCorrected(ClockCorrected),
    /// The operator ordered to go on with a restored or copied history of the log.
    HistoryAccepted(HistoryAccepted),
}

/// The words of refunds, whatever they leave.
const REFUND_SUCCEEDED: &str = Step::Refunded(PaidState::Refunded).as_str();
const REFUND_FOUND: &str = Step::RefundFound(PaidState::Refunded).as_str();
const REFUND_RETURNED: &str = Step::RefundReturned(PaidState::Captured).as_str();

impl Event {
    /// The words for all kinds.
    pub const KINDS: [&str; 41] = [
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
        Step::CaptureDiffered.as_str(),
        Step::VoidStarted.as_str(),
        Step::PaymentVoided.as_str(),
        Step::VoidStuck.as_str(),
        Step::RefundStarted.as_str(),
        REFUND_SUCCEEDED,
        Step::RefundFailed.as_str(),
        REFUND_FOUND,
        REFUND_RETURNED,
        Step::DisputeOpened.as_str(),
        "dispute_closed",
        "tokens_spent",
        "webhook_received",
        "risk_rules_set",
        "risk_scoring_set",
        "buyer_paused",
        "buyer_rated",
        "buyer_segmented",
        "stock_imported",
        "promotion_uses_imported",
        "holdings_imported",
        "key_imported",
        "nonces_imported",
        "clock_corrected",
        "history_accepted",
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
            Self::CaptureDiffered(_) => Step::CaptureDiffered.as_str(),
            Self::VoidStarted(_) => Step::VoidStarted.as_str(),
            Self::PaymentVoided(_) => Step::PaymentVoided.as_str(),
            Self::VoidStuck(_) => Step::VoidStuck.as_str(),
            Self::RefundStarted(_) => Step::RefundStarted.as_str(),
            Self::RefundSucceeded(_) => REFUND_SUCCEEDED,
            Self::RefundFailed(_) => Step::RefundFailed.as_str(),
            Self::RefundFound(_) => REFUND_FOUND,
            Self::RefundReturned(_) => REFUND_RETURNED,
            Self::DisputeOpened(_) => Step::DisputeOpened.as_str(),
            Self::DisputeClosed(_) => "dispute_closed",
            Self::TokensSpent(_) => "tokens_spent",
            Self::WebhookReceived(_) => "webhook_received",
            Self::RiskRulesSet(_) => "risk_rules_set",
            Self::RiskScoringSet(_) => "risk_scoring_set",
            Self::BuyerPaused(_) => "buyer_paused",
            Self::BuyerRated(_) => "buyer_rated",
            Self::BuyerSegmented(_) => "buyer_segmented",
            Self::StockImported(_) => "stock_imported",
            Self::PromotionUsesImported(_) => "promotion_uses_imported",
            Self::HoldingsImported(_) => "holdings_imported",
            Self::KeyImported(_) => "key_imported",
            Self::NoncesImported(_) => "nonces_imported",
            Self::ClockCorrected(_) => "clock_corrected",
            Self::HistoryAccepted(_) => "history_accepted",
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
            Self::PaymentDeclined(e) => Some((
                e.purchase,
                match e.hold {
                    HoldAfter::Ended => Step::PaymentDeclined,
                    HoldAfter::Kept => Step::PaymentDeclinedHoldKept,
                },
            )),
            Self::ReviewOpened(e) => Some((e.purchase, Step::ReviewOpened)),
            Self::ReviewDecided(e) => Some((e.purchase, e.step())),
            Self::CaptureStarted(e) => Some((e.purchase, Step::CaptureStarted)),
            Self::PaymentCaptured(e) => Some((e.purchase, Step::PaymentCaptured)),
            Self::CaptureDiffered(e) => Some((e.purchase, Step::CaptureDiffered)),
            Self::VoidStarted(e) => Some((e.purchase, Step::VoidStarted)),
            Self::PaymentVoided(e) => Some((
                e.purchase,
                match e.hold {
                    HoldAfter::Ended => Step::PaymentVoided,
                    HoldAfter::Kept => Step::PaymentVoidedHoldKept,
                },
            )),
            Self::VoidStuck(e) => Some((e.purchase, Step::VoidStuck)),
            Self::RefundStarted(e) => Some((e.purchase, Step::RefundStarted)),
            Self::RefundSucceeded(e) => Some((e.purchase, Step::Refunded(e.leaves))),
            Self::RefundFound(e) => Some((e.purchase, Step::RefundFound(e.leaves))),
            Self::RefundReturned(e) => Some((e.purchase, Step::RefundReturned(e.leaves))),
            Self::RefundFailed(e) => Some((e.purchase, Step::RefundFailed)),
            Self::DisputeOpened(e) => Some((e.purchase, Step::DisputeOpened)),
            Self::DisputeClosed(e) => Some((e.purchase, e.step())),
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
            | Self::RiskScoringSet(_)
            | Self::BuyerPaused(_)
            | Self::BuyerRated(_)
            | Self::BuyerSegmented(_)
            | Self::AdminRefused(_)
            | Self::ClockCorrected(_)
            | Self::HistoryAccepted(_)
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
            Self::CaptureDiffered(e) => Some(&e.user),
            Self::VoidStarted(e) => Some(&e.user),
            Self::PaymentVoided(e) => Some(&e.user),
            Self::VoidStuck(e) => Some(&e.user),
            Self::RefundStarted(e) => Some(&e.user),
            Self::RefundSucceeded(e) => Some(&e.user),
            Self::RefundFailed(e) => Some(&e.user),
            Self::RefundFound(e) => Some(&e.user),
            Self::RefundReturned(e) => Some(&e.user),
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
            | Self::RiskScoringSet(_)
            | Self::ProductSet(_)
            | Self::PromotionSet(_)
            | Self::StockImported(_)
            | Self::PromotionUsesImported(_)
            | Self::NoncesImported(_)
            | Self::LimitsSet(_)
            | Self::AdminRefused(_)
            | Self::ClockCorrected(_)
            | Self::HistoryAccepted(_)
            | Self::AdminActed(_) => None,
        }
    }
}
