//! Owns where a command came from, what it would pay, and the fact that an attempt was refused.

use super::RuleHit;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection};
use crate::engine::words::score::Appraisal;
use crate::ids::{CardToken, DeviceId, Digest16, KeyOwner, ProductId, RequestId, UserId};
use crate::money::{Amount, Currency, Price};
use rkyv::{Archive, Deserialize, Serialize};
use std::net::IpAddr;

/// An idempotency key as digests, never as text.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// Digest of the API key's owner, the user and the key.
    pub scope: Digest16,
    /// Digest of method, path and the request's canonical fields.
    pub fingerprint: Digest16,
}

/// The call that an attempt was made by. The words are the metric's `flow`.
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
    pub request: RequestId,
    /// The name of the API key it came with.
    pub owner: KeyOwner,
    /// Its idempotency key, where the call takes one.
    pub key: Option<IdempotencyKey>,
    /// The buyer's address, if the shop names it.
    pub ip: Option<IpAddr>,
    /// The buyer's device, if the shop names it.
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
    pub request: RequestId,
    /// The name of the API key it came with.
    pub owner: KeyOwner,
}

/// An attempt by a known caller was refused.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AttemptRefused {
    pub flow: Flow,
    pub reason: Refusal,
    /// The facts, if the reason has any.
    pub facts: Option<Box<RefusalFacts>>,
    /// The buyer, if the request was well-formed enough to tell.
    pub user: Option<UserId>,
    /// The product, likewise.
    pub product: Option<ProductId>,
    /// 0 if unknown.
    pub quantity: u32,
    /// The card, if a valid token was given.
    pub card: Option<CardToken>,
    pub origin: Origin,
    /// The risk rules that it met; none where it was blocked because the buyer is paused.
    pub hits: Vec<RuleHit>,
    /// What it was scored by, where it came as far as the rules.
    pub appraisal: Appraisal,
    /// Refusals of the same API key just before this one that were not logged.
    pub left_out: u64,
}

impl AttemptRefused {
    /// The refusal with its facts.
    pub fn rejection(&self) -> Rejection {
        Rejection {
            reason: self.reason,
            facts: self.facts.as_deref().copied(),
        }
    }
}
