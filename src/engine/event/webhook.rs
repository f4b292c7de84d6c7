//! Owns the facts about webhooks that were received.

use crate::ids::{PurchaseId, RequestId, UserId, WebhookEventId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

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

/// A genuine webhook was accepted.
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
