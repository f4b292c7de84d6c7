//! Owns what the engine shows of itself: owned copies, taken within a shard's turn, that the
//! front end writes out. Deliberately absent: JSON, and anything a buyer may not see.

pub use super::catalogue::{ProductView, PromotionView};
pub use super::page::{More, Page};
pub use super::sizes::ShardSizes;
pub use crate::engine::state::catalogue::SaleStatus;

use crate::engine::event::{
    Clawback, Quote, Rating, ReceiptSigner, RefundFailure, Restock, RetryAdvice, ReturnedMoney,
};
use crate::engine::state::profile::Profile;
use crate::engine::words::dispute::Dispute;
use crate::engine::words::lifecycle::{PurchaseState, Step};
use crate::engine::words::metadata::Metadata;
use crate::engine::words::refusal::Refusal;
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, GatewayCode, Lsn, ProductId, PromotionCode, PurchaseId,
    ReceiptKeyId, RequestId, Segment, UserId,
};
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;

/// A purchase as a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldView {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub product: ProductId,
    pub quantity: u32,
    /// Where it is: `Held` when placed, `Released` when given up.
    pub state: PurchaseState,
    /// Whether a payment was ever begun for it.
    pub payments: PaymentBegun,
    /// What it costs.
    pub quote: Quote,
    /// When it runs out.
    pub expires_at: UnixMs,
}

/// Whether a payment was ever begun for a hold.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PaymentBegun {
    None,
    /// At least one was: it is a purchase, too.
    Some,
}

/// A purchase with its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurchaseView {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub product: ProductId,
    pub quantity: u32,
    /// What it costs.
    pub quote: Quote,
    /// What went back.
    pub refunded: Amount,
    /// What lost disputes took.
    pub charged_back: Amount,
    /// Its disputes, in the order in which they were heard of.
    pub disputes: Vec<Dispute>,
    /// The promotion used.
    pub promotion: Option<PromotionCode>,
    pub metadata: Metadata,
    /// Where it is.
    pub state: PurchaseState,
    /// Why it is there, where there is more to say than the state does.
    pub reason: Option<&'static str>,
    /// When its hold runs out.
    pub expires_at: UnixMs,
    /// The card it is paid with.
    pub card: Option<CardToken>,
    /// The gateway's name for its authorization.
    pub authorization: Option<AuthorizationId>,
    /// Until when the gateway lets it be captured.
    pub capture_before: Option<UnixMs>,
    /// The gateway's name for its capture.
    pub capture: Option<CaptureId>,
    /// What the gateway is known to have taken; in no currency: in one that is none of ISO 4217.
    pub captured: Option<(Amount, Option<Currency>)>,
    /// The key that seals its receipt, once captured.
    pub receipt_key: Option<ReceiptKeyId>,
    /// The key that signs its receipt, once captured, where there is one.
    pub signing_key: Option<ReceiptSigner>,
    /// The request that started its payment.
    pub request: Option<RequestId>,
    /// The answers of its payments that were not made, oldest first.
    pub declines: Vec<DeclineView>,
    /// Why a person decides before its money is taken, where one does.
    pub review: Option<ReviewView>,
    /// When a void under way is to be done.
    pub void_deadline: Option<UnixMs>,
    /// How many refunds it has, whatever became of them; they are numbered from 1.
    pub refunds: usize,
    /// The number of the refund under way.
    pub pending_refund: Option<u32>,
    /// What happened to it, oldest first; never empty.
    pub history: Vec<HistoryEntry>,
}

/// What the request is answered whose payment was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclineView {
    pub purchase: PurchaseId,
    pub request: RequestId,
    /// [`Refusal::PaymentDeclined`], or [`Refusal::GatewayUnavailable`] where nobody declined.
    pub reason: Refusal,
    /// The gateway's reason code, if it gave one.
    pub code: Option<GatewayCode>,
    /// What to do about another try.
    pub advice: RetryAdvice,
    /// What the gateway had captured and refunded; `None`: nothing was charged.
    pub returned: Option<ReturnedMoney>,
    /// Until when the hold that it was for lives on, where it does.
    pub hold: Option<UnixMs>,
}

/// Why a person decides about a purchase, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewView {
    /// Each a word or the name of a rule; never empty.
    pub reasons: Vec<String>,
    /// When the configuration decides, while it is under review.
    pub deadline: Option<UnixMs>,
}

/// What a buyer has bought in one currency.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SpendingView {
    pub currency: Currency,
    pub today: Amount,
    /// Ever.
    pub lifetime: Amount,
}

/// What our books say of one payment, for comparing with the gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentView {
    pub purchase: PurchaseId,
    /// The request that started it.
    pub request: RequestId,
    /// Whether it is the purchase's, or an earlier try.
    pub which: PaymentOf,
    /// Where the payment is.
    pub state: PurchaseState,
    /// What the state means for the money.
    pub standing: Standing,
    /// What it costs.
    pub amount: Amount,
    /// What went back.
    pub refunded: Amount,
    pub currency: Currency,
    /// The card that it is charged to.
    pub card: CardToken,
    pub started_at: UnixMs,
    /// The gateway's name for its authorization, where it is known.
    pub authorization: Option<AuthorizationId>,
    /// Where its last step stands in the log: the same for as long as nothing changes.
    pub last: Lsn,
}

/// Which of a purchase's payments one is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PaymentOf {
    /// The one that is under way, was made or was given back.
    Purchase,
    /// One that ended with nothing charged.
    EarlierTry,
}

/// What became of a payment's money, as far as it is decided.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not decided: a payment or a refund is under way, or a person decides.
    Open,
    /// It ended with nothing taken.
    NothingTaken,
    /// The money was taken, by the step that stands there in the log.
    Captured(Lsn),
}

/// Some of a shard's payments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentsPage {
    /// They, in the order of their numbers.
    pub payments: Vec<PaymentView>,
    /// The sequence number from which to go on; `None`: these were the last.
    pub next: Option<u64>,
}

/// Money that was captured and not given back.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NetCapture {
    pub amount: Amount,
    pub currency: Currency,
}

/// One refund of a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundView {
    pub purchase: PurchaseId,
    /// Which of its refunds, from 1.
    pub number: u32,
    pub amount: Amount,
    pub currency: Currency,
    /// What had gone back before.
    pub previously_refunded: Amount,
    /// Why, in the operator's words.
    pub note: String,
    /// Whether the units go back into stock with it.
    pub restock: Restock,
    /// The request that asked for it.
    pub request: RequestId,
    /// When it was asked for.
    pub started_at: UnixMs,
    /// Where it is.
    pub status: RefundStatus,
}

/// Where a refund is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    /// The gateway is being asked, or what it answered is not known.
    Pending,
    /// The money went back.
    Succeeded {
        at: UnixMs,
        /// The reward tokens clawed back with it.
        clawback: Clawback,
    },
    /// The gateway refused.
    Failed {
        at: UnixMs,
        /// The gateway's reason code.
        code: Option<GatewayCode>,
        /// The reason that the caller gets.
        failure: RefundFailure,
    },
    /// The money went back, and came back later: the refund failed after all.
    Returned {
        /// When it went back.
        at: UnixMs,
        /// The reward tokens that went with it then.
        clawback: Clawback,
        /// When it came back.
        returned_at: UnixMs,
    },
}

/// What became of a purchase beyond a plain capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostCaptureView {
    /// Its refunds, in the order of their numbers.
    pub refunds: Vec<RefundView>,
    /// Its disputes, in the order in which they were heard of.
    pub disputes: Vec<Dispute>,
    /// Reward tokens that it brought.
    pub tokens: Tokens,
    /// How many of them were asked back.
    pub tokens_asked_back: Tokens,
}

/// A purchase of which a payment or a refund is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenView {
    pub purchase: PurchaseView,
    /// The refund under way; `None`: the payment is.
    pub refund: Option<RefundView>,
}

/// What is known of a buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuyerView {
    pub user: UserId,
    /// Reward tokens that can be spent.
    pub tokens: Tokens,
    /// Reward tokens that were asked back and were not there any more.
    pub token_debt: Tokens,
    /// Units of open holds and standing purchases, by product.
    pub committed: Vec<(ProductId, u32)>,
    /// The latest attempts, oldest first.
    pub attempts: Vec<UnixMs>,
    /// What was bought, payments under way included, by currency.
    pub spending: Vec<SpendingView>,
    /// Purchases that are paid or being paid.
    pub purchases: u32,
    /// The segment that the buyer is in, as rules and promotions see it.
    pub segment: Option<Segment>,
    /// What the operator said of the buyer.
    pub rating: Rating,
    /// What is remembered of the buyer for judging.
    pub profile: Option<Profile>,
}

/// One step in a purchase's life.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When, as it was written then.
    pub at: UnixMs,
    /// When by today's clock: moved by every correction since. Ages are measured from here.
    pub today: UnixMs,
    pub step: Step,
    /// Where it stands in the log.
    pub lsn: Lsn,
}

impl PurchaseView {
    /// When it began.
    pub fn created_at(&self) -> UnixMs {
        self.history
            .first()
            .map_or_else(UnixMs::default, |entry| entry.at)
    }

    /// When it last changed.
    pub fn updated_at(&self) -> UnixMs {
        self.history
            .last()
            .map_or_else(UnixMs::default, |entry| entry.at)
    }

    /// When its latest payment was started, by today's clock.
    pub fn payment_started_at(&self) -> Option<UnixMs> {
        let started = |entry: &&HistoryEntry| entry.step == Step::PaymentStarted;
        self.history.iter().rfind(started).map(|entry| entry.today)
    }

    /// The answer of the payment that `request` brought, where it was not made.
    pub fn decline_of(&self, request: RequestId) -> Option<&DeclineView> {
        self.declines.iter().find(|it| it.request == request)
    }

    /// When it was put before a person.
    pub fn review_opened_at(&self) -> Option<UnixMs> {
        let opened = |entry: &&HistoryEntry| entry.step == Step::ReviewOpened;
        self.history.iter().find(opened).map(|entry| entry.at)
    }

    pub fn captured_at(&self) -> Option<UnixMs> {
        let captured = |entry: &&HistoryEntry| entry.step == Step::PaymentCaptured;
        self.history.iter().find(captured).map(|entry| entry.at)
    }
}

/// What is under way under an idempotency key.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum UnderWay {
    /// The payment of this purchase, or the review of it.
    Payment(PurchaseId),
    /// The refund of this purchase with this number, from 1.
    Refund(PurchaseId, u32),
}
