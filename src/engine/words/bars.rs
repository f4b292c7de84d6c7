//! Owns the types of a refusal's facts: the value of one fact, and the enums and lists in facts, such
//! as the scope of a limit or the reason why a promotion does not apply.
//!
//! Invariants: each type is `Copy` and of bounded size, so a refusal with facts needs no allocation;
//! their words are those of the API. Deliberately absent: which facts a refusal has (`rejection`).

#![allow(
    missing_docs,
    reason = "rkyv derives public fields without documentation; those written here have it"
)]

use crate::ids::PurchaseId;
use crate::money::Currency;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// The value of one fact.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number; an amount of money is in minor units.
    Number(i128),
    /// A word of the program.
    Word(&'static str),
    /// The currency of every amount among the same facts.
    Currency(Currency),
    /// An instant.
    Instant(UnixMs),
    /// A hold's id.
    Hold(PurchaseId),
    /// A purchase's id.
    Purchase(PurchaseId),
    /// Currencies that would be accepted.
    Currencies(CurrencyList),
    /// There is none.
    Null,
}

/// Why a card may not be tried again now.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum CardBar {
    /// The network allows no further try after this decline.
    Final,
    /// The network's number of tries after such declines is used up.
    Limit,
}

impl CardBar {
    /// The API's word, which is the advice given with those declines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "never",
            Self::Limit => "later",
        }
    }
}

/// Which of the two has no price in a currency.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum PricedBy {
    /// The product.
    Product,
    /// The hold, which fixed its prices.
    Hold,
}

impl PricedBy {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Hold => "hold",
        }
    }
}

/// The first currencies that would be accepted, in the order of the product's prices.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CurrencyList([Option<Currency>; Self::MAX]);

impl CurrencyList {
    /// Maximum number of currencies in the list. More would make every refusal larger.
    pub const MAX: usize = 8;

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Currency> + '_ {
        self.0.iter().copied().flatten()
    }
}

impl FromIterator<Currency> for CurrencyList {
    fn from_iter<I: IntoIterator<Item = Currency>>(currencies: I) -> Self {
        let mut list = Self::default();
        for (place, currency) in list.0.iter_mut().zip(currencies) {
            *place = Some(currency);
        }
        list
    }
}

/// The scope of a limit of amounts.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum SpendingScope {
    /// The buyer's.
    User,
    /// Those by the same card.
    Card,
    /// Those from the same device.
    Device,
}

impl SpendingScope {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Card => "card",
            Self::Device => "device",
        }
    }
}

/// A limited quantity.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum QuotaScope {
    /// Attempts of a buyer.
    Attempts,
    /// Open holds of a buyer.
    OpenHolds,
    /// Remembered idempotency keys of a buyer.
    IdempotencyKeys,
    /// Requests with an API key.
    ApiKey,
}

impl QuotaScope {
    pub(super) fn fields(
        self,
        limit: u64,
        window_s: Option<u64>,
    ) -> SmallVec<[(&'static str, Fact); 5]> {
        let mut fields = smallvec![
            ("scope", Fact::Word(self.as_str())),
            ("limit", Fact::Number(limit.into())),
        ];
        fields.extend(window_s.map(|it| ("window_s", Fact::Number(it.into()))));
        fields
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::OpenHolds => "open_holds",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::ApiKey => "api_key",
        }
    }
}

/// The scope of a promotion's limit.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum UsesScope {
    /// All buyers'.
    Promotion,
    /// This buyer's.
    User,
}

impl UsesScope {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promotion => "promotion",
            Self::User => "user",
        }
    }
}

/// What a refund conflicts with.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum RefundBar {
    /// The request's `previously_refunded` differs from the refunded amount.
    Stale,
    /// Another refund is in progress.
    UnderWay,
    /// Units go back into stock only with the refund that leaves nothing.
    Restock,
    /// The purchase has the maximum number of refunds; only one of the whole rest is accepted.
    TooMany,
}

impl RefundBar {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "previously_refunded",
            Self::UnderWay => "under_way",
            Self::Restock => "restock",
            Self::TooMany => "too_many",
        }
    }
}

/// Why a promotion does not apply.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum PromotionBar {
    /// It is switched off.
    Inactive,
    /// It has not begun.
    NotStarted {
        /// When it begins.
        starts_at: UnixMs,
    },
    /// It is over.
    Ended {
        /// When it ended.
        ends_at: UnixMs,
    },
    /// It is for other products.
    Product,
    /// It is for other segments of buyers.
    Segment,
    /// It takes nothing off in this currency.
    Currency(CurrencyList),
    /// The hold was made with another promotion, or with none.
    Hold,
}

impl PromotionBar {
    pub(super) fn fields(self) -> SmallVec<[(&'static str, Fact); 5]> {
        let mut fields = smallvec![("cause", Fact::Word(self.as_str()))];
        match self {
            Self::NotStarted { starts_at } => {
                fields.push(("starts_at", Fact::Instant(starts_at)));
            }
            Self::Ended { ends_at } => fields.push(("ends_at", Fact::Instant(ends_at))),
            Self::Currency(would_do) => {
                fields.push(("currencies", Fact::Currencies(would_do)));
            }
            Self::Inactive | Self::Product | Self::Segment | Self::Hold => {}
        }
        fields
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::NotStarted { .. } => "not_started",
            Self::Ended { .. } => "ended",
            Self::Product => "product",
            Self::Segment => "segment",
            Self::Currency(_) => "currency",
            Self::Hold => "hold",
        }
    }
}
