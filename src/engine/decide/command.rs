//! Owns the commands: what callers may ask of the engine, parsed and with every limit of their
//! shape kept. Imperative names; the facts that come of them are `event`'s.

use crate::engine::event::{
    AdminAct, CaptureDifference, Decider, DeclineCause, IdempotencyKey, Origin, Quote,
    RefundFailure, Restock, RetryAdvice, ReturnedMoney, VoidCause, VoidStuckCause, WebhookFormat,
    WebhookKind,
};
use crate::engine::words::metadata::Metadata;
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, DisputeId, GatewayCode, ProductId, PromotionCode,
    PurchaseId, ReceiptKeyId, RequestId, UserId, WebhookEventId,
};
use crate::money::{Amount, Currency, Tokens};
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
    /// The currency to quote in; `None`: the first of the drop's that the product has a price in and
    /// that the promotion applies to.
    pub currency: Option<Currency>,
    /// A promotion to use.
    pub promotion: Option<PromotionCode>,
    /// What the shop attached to it.
    pub metadata: Metadata,
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
    /// What the shop attached to it; empty: what the earlier hold has stays.
    pub metadata: Metadata,
}

/// Give a hold up.
#[derive(Clone, Debug)]
pub struct ReleaseHold {
    /// Where it comes from.
    pub origin: Origin,
    /// Which hold.
    pub hold: PurchaseId,
    /// Whose it must be; `None`: anybody's.
    pub user: Option<UserId>,
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
    Declined {
        /// Why.
        cause: DeclineCause,
        /// The gateway's word for why.
        code: Option<GatewayCode>,
        /// What the card's network says about another try.
        advice: RetryAdvice,
    },
    /// A person is to decide before the money is taken.
    OpenReview {
        /// How long they have, in milliseconds.
        within_ms: u64,
        /// How long before the authorization lapses they have to have decided, in milliseconds.
        margin_ms: u64,
    },
    /// It was decided whether the money is to be taken.
    DecideReview {
        /// How.
        verdict: Verdict,
        /// By whom; refused before its time where it is the deadline.
        decider: Decider,
        /// How long giving the authorization back may take, in milliseconds.
        void_within_ms: u64,
    },
    /// The money is about to be taken.
    StartCapture,
    /// The money is taken.
    Captured {
        /// The gateway's name for it.
        capture: CaptureId,
        /// How much, as the gateway confirmed it; refused where that is not what was asked for,
        /// unless an operator settles a capture of another sum.
        amount: Amount,
        /// In which currency.
        currency: Currency,
        /// The key that seals the receipt.
        receipt_key: ReceiptKeyId,
        /// The key that signs the receipt, where there is one.
        signing_key: Option<ReceiptKeyId>,
    },
    /// The authorization is about to be given back.
    StartVoid {
        /// Why.
        cause: VoidCause,
        /// How long it may take before the operator is called, in milliseconds.
        within_ms: u64,
        /// Who wants it, where it is the operator.
        by: Option<AdminAct>,
    },
    /// The authorization is given back.
    Voided {
        /// What the gateway had captured and refunded.
        returned: Option<ReturnedMoney>,
    },
    /// Giving it back is overdue, which is refused before its deadline, or the gateway refuses.
    VoidStuck(VoidStuckCause),
    /// The gateway took another sum than was asked for.
    CaptureDiffered {
        /// What differs.
        difference: CaptureDifference,
        /// The gateway's name for the capture.
        capture: CaptureId,
        /// What it took.
        captured: Amount,
        /// In which currency; `None`: one that is none of ISO 4217.
        currency: Option<Currency>,
        /// What of it went back.
        refunded: Amount,
    },
    /// So much in all the gateway has given back; refused where our books say as much or more.
    RefundedAtGateway(Amount),
    /// The gateway gave back what the refund with this number is of.
    Refunded(u32),
    /// The refund with this number failed at the gateway after it had succeeded.
    RefundReturned(u32),
    /// So much in all the gateway has given back, which is less than our books say, and every refund
    /// of ours stands there: what was refunded at its own site came back.
    LessRefundedAtGateway(Amount),
    /// The gateway refused the refund with this number.
    RefundFailed {
        /// Which refund.
        number: u32,
        /// The gateway's word for why.
        code: Option<GatewayCode>,
        /// What its caller is told.
        failure: RefundFailure,
    },
}

/// How a review is to be decided.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The money is to be taken.
    Approve,
    /// The authorization is to be given back.
    Reject,
}

impl PaymentStep {
    /// What `quote` asks for is taken, and confirmed; its receipt is sealed by one key.
    pub const fn captured(quote: Quote, capture: CaptureId, receipt_key: ReceiptKeyId) -> Self {
        Self::Captured {
            capture,
            amount: quote.amount,
            currency: quote.currency,
            receipt_key,
            signing_key: None,
        }
    }

    /// Nothing was charged, for `cause` and with nothing more known.
    pub const fn declined(cause: DeclineCause) -> Self {
        Self::Declined {
            cause,
            code: None,
            advice: RetryAdvice::OtherCard,
        }
    }

    /// The authorization is given back, and nothing was captured.
    pub const fn voided() -> Self {
        Self::Voided { returned: None }
    }
}

/// Give captured money back.
#[derive(Clone, Debug)]
pub struct StartRefund {
    /// Of which purchase.
    pub purchase: PurchaseId,
    /// How much; `None`: all that is left.
    pub amount: Option<Amount>,
    /// What the operator believes went back before: refused where that is not so.
    pub previously_refunded: Amount,
    /// Why, in the operator's words; at most 500 characters.
    pub note: String,
    /// Whether the units go back into stock; only with a refund that leaves nothing.
    pub restock: Restock,
    /// The idempotency key that it came with.
    pub key: IdempotencyKey,
    /// Who wants it.
    pub by: AdminAct,
}

/// Take reward tokens that a buyer spends in the shop.
#[derive(Clone, Debug)]
pub struct SpendTokens {
    /// Whose.
    pub user: UserId,
    /// How many; at least one.
    pub tokens: Tokens,
    /// Where it comes from; its key is always there.
    pub origin: Origin,
}

/// The currency that a webhook names.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NamedCurrency {
    /// It names none: the purchase's is meant.
    None,
    /// One of ISO 4217.
    Known(Currency),
    /// Another one.
    Unknown,
}

/// Let a webhook in whose signature and timestamp are good.
#[derive(Clone, Debug)]
pub struct ReceiveWebhook {
    /// The form that it came in.
    pub format: WebhookFormat,
    /// The gateway's name for what it reports.
    pub event_id: WebhookEventId,
    /// What it reports.
    pub kind: WebhookKind,
    /// Stands for what makes this delivery unlike every other one: the nonce under the signature,
    /// or, where the form has none, event id and timestamp.
    pub nonce: Option<u64>,
    /// When the gateway says that it happened.
    pub happened_at: UnixMs,
    /// What it is about, where that is a purchase's name.
    pub purchase: Option<PurchaseId>,
    /// The dispute that it is about, where that has a name.
    pub dispute: Option<DisputeId>,
    /// An amount that it names.
    pub amount: Option<Amount>,
    /// In which currency.
    pub currency: NamedCurrency,
    /// The gateway's word for why, where it names one.
    pub code: Option<GatewayCode>,
    /// The request that brought it.
    pub request: RequestId,
}
