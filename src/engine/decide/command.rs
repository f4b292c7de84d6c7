//! Owns the commands: what callers may ask of the engine, parsed and within every limit of shape.
//! Commands have imperative names; the resulting facts are `event`'s.

use crate::engine::event::{
    AdminAct, CaptureDifference, Decider, DeclineCause, IdempotencyKey, Origin, Quote,
    ReceiptSigner, RefundFailure, Restock, RetryAdvice, ReturnedMoney, VoidCause, VoidStuckCause,
    WebhookFormat, WebhookKind,
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

/// Reserve units.
#[derive(Clone, Debug)]
pub struct PlaceHold {
    /// The request's origin; it always has a key.
    pub origin: Origin,
    pub user: UserId,
    pub product: ProductId,
    /// 1 to [`QUANTITY_MAX`].
    pub quantity: u32,
    /// The currency to quote in; `None`: the first of the drop's currencies that the product has a
    /// price in and that the promotion applies to.
    pub currency: Option<Currency>,
    pub promotion: Option<PromotionCode>,
    pub metadata: Metadata,
}

/// Place a hold (or take an earlier one), authorize and capture.
#[derive(Clone, Debug)]
pub struct Buy {
    /// The request's origin; it always has a key.
    pub origin: Origin,
    pub user: UserId,
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

/// Release a hold.
#[derive(Clone, Debug)]
pub struct ReleaseHold {
    pub origin: Origin,
    pub hold: PurchaseId,
    /// The hold must be this buyer's; `None`: any buyer's.
    pub user: Option<UserId>,
}

/// What the saga learned from the gateway, or is about to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentStep {
    /// The amount is authorized.
    Authorized {
        /// The gateway's id of the authorization.
        authorization: AuthorizationId,
        /// Until when it may be captured.
        capture_before: Option<UnixMs>,
    },
    /// Nothing was charged, and nothing will be.
    Declined {
        cause: DeclineCause,
        /// The gateway's code for it.
        code: Option<GatewayCode>,
        /// What the card's network says about another attempt.
        advice: RetryAdvice,
    },
    /// A person must decide before the capture.
    OpenReview {
        /// The time to decide, in milliseconds.
        within_ms: u64,
        /// How long before the authorization lapses the decision is needed, in milliseconds.
        margin_ms: u64,
    },
    /// The review is decided.
    DecideReview {
        verdict: Verdict,
        /// A person, or the deadline, which is refused before its time.
        decider: Decider,
        /// How long voiding the authorization may take, in milliseconds.
        void_within_ms: u64,
    },
    /// The capture is about to be requested.
    StartCapture,
    /// The gateway captured.
    Captured {
        /// The gateway's id of the capture.
        capture: CaptureId,
        /// The amount that the gateway confirmed. It is refused if it differs from the request,
        /// unless an operator settles a different capture.
        amount: Amount,
        currency: Currency,
        /// The key that seals the receipt.
        receipt_key: ReceiptKeyId,
        /// The key that signs the receipt, where there is one.
        signing_key: Option<ReceiptSigner>,
    },
    /// The authorization is about to be voided.
    StartVoid {
        cause: VoidCause,
        /// The gateway's word for why it refused the capture, where it gave one.
        code: Option<GatewayCode>,
        /// How long it may take before the operator is called, in milliseconds.
        within_ms: u64,
        /// The operator who orders it, if one does.
        by: Option<AdminAct>,
    },
    /// The authorization is voided.
    Voided {
        /// What the gateway had captured and refunded.
        returned: Option<ReturnedMoney>,
    },
    /// Voiding is overdue (refused before the deadline), or the gateway refuses it.
    VoidStuck(VoidStuckCause),
    /// The gateway captured a different amount than requested.
    CaptureDiffered {
        difference: CaptureDifference,
        /// The gateway's id of the capture.
        capture: CaptureId,
        /// The captured amount.
        captured: Amount,
        /// Its currency; `None`: it is not one of ISO 4217.
        currency: Option<Currency>,
        /// How much of it was refunded.
        refunded: Amount,
    },
    /// The total that the gateway has refunded; refused if our books show at least as much.
    RefundedAtGateway(Amount),
    /// The gateway made the refund with this number.
    Refunded(u32),
    /// The refund with this number failed at the gateway after it had reported success.
    RefundReturned(u32),
    /// The total that the gateway has refunded. It is less than our books show, although every
    /// refund of ours succeeded there: a refund made at the gateway's own site came back.
    LessRefundedAtGateway(Amount),
    /// The gateway refused the refund with this number.
    RefundFailed {
        /// Which refund.
        number: u32,
        /// The gateway's reason code.
        code: Option<GatewayCode>,
        /// The reason that the caller gets.
        failure: RefundFailure,
    },
}

/// How a review is to be decided.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Capture.
    Approve,
    /// Void the authorization.
    Reject,
}

impl PaymentStep {
    /// The gateway captured exactly `quote`; one key seals the receipt.
    pub const fn captured(quote: Quote, capture: CaptureId, receipt_key: ReceiptKeyId) -> Self {
        Self::Captured {
            capture,
            amount: quote.amount,
            currency: quote.currency,
            receipt_key,
            signing_key: None,
        }
    }

    /// Nothing was charged because of `cause`; no code, no advice of the network.
    pub const fn declined(cause: DeclineCause) -> Self {
        Self::Declined {
            cause,
            code: None,
            advice: RetryAdvice::OtherCard,
        }
    }

    /// The authorization is voided, and nothing was captured.
    pub const fn voided() -> Self {
        Self::Voided { returned: None }
    }
}

/// Refund captured money.
#[derive(Clone, Debug)]
pub struct StartRefund {
    pub purchase: PurchaseId,
    /// The amount; `None`: all that is left.
    pub amount: Option<Amount>,
    /// The total that the operator believes was refunded before; the command is refused if it was
    /// not.
    pub previously_refunded: Amount,
    /// The operator's reason; at most 500 characters.
    pub note: String,
    /// Whether the units return to stock; only with a refund that leaves nothing.
    pub restock: Restock,
    pub key: IdempotencyKey,
    /// The operator.
    pub by: AdminAct,
}

/// Spend a buyer's reward tokens in the shop.
#[derive(Clone, Debug)]
pub struct SpendTokens {
    pub user: UserId,
    /// At least one.
    pub tokens: Tokens,
    /// The request's origin; it always has a key.
    pub origin: Origin,
}

/// The currency that a webhook names.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NamedCurrency {
    /// It names none, so it means the purchase's.
    None,
    /// One of ISO 4217.
    Known(Currency),
    /// Another one.
    Unknown,
}

/// Accept a webhook whose signature and timestamp are valid.
#[derive(Clone, Debug)]
pub struct ReceiveWebhook {
    /// The signature scheme it used.
    pub format: WebhookFormat,
    /// The gateway's event id.
    pub event_id: WebhookEventId,
    /// What it reports.
    pub kind: WebhookKind,
    /// Identifies this delivery: the nonce under the signature or, if the scheme has none, event id
    /// and timestamp.
    pub nonce: Option<u64>,
    /// When it happened, by the gateway's clock.
    pub happened_at: UnixMs,
    /// The purchase it is about, if it names one.
    pub purchase: Option<PurchaseId>,
    /// The dispute it is about, if it names one.
    pub dispute: Option<DisputeId>,
    /// The amount it names.
    pub amount: Option<Amount>,
    /// The currency it names.
    pub currency: NamedCurrency,
    /// The gateway's reason code, if it names one.
    pub code: Option<GatewayCode>,
    pub request: RequestId,
}
