//! Owns the facts of a refusal: the limit and its use, the state, the balance, the bound.
//!
//! Invariants: facts are numbers, instants and ids, never text, so they are the same in the event,
//! under the idempotency key, in a snapshot and in the response; they are collected where the
//! refusal is decided, so they are the figures it was decided on; one exhaustive match names them,
//! for responses and events alike. Deliberately absent: sentences, and JSON.

#![allow(
    missing_docs,
    reason = "rkyv derives public fields without documentation; those written here have it"
)]

use crate::engine::words::lifecycle::PurchaseState;
use crate::engine::words::payable::AmountRule;
use crate::engine::words::refusal::Refusal;
use crate::ids::PurchaseId;
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// A refusal with its facts.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Refusal,
    /// The figures, where the reason has any.
    pub facts: Option<RefusalFacts>,
}

impl From<Refusal> for Rejection {
    fn from(reason: Refusal) -> Self {
        Self {
            reason,
            facts: None,
        }
    }
}

impl Refusal {
    /// This refusal with `facts`.
    pub const fn about(self, facts: RefusalFacts) -> Rejection {
        Rejection {
            reason: self,
            facts: Some(facts),
        }
    }
}

/// The facts of a refusal, by reason.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum RefusalFacts {
    /// Of `per_user_limit`.
    UserUnits {
        /// Units of the product that a buyer may have.
        limit: u32,
        /// Units of open holds and of purchases that stand.
        used: u32,
        /// Units that were asked for.
        requested: u32,
    },
    /// Of `daily_limit` and `lifetime_limit`.
    Spending {
        /// Whose purchases are counted.
        scope: SpendingScope,
        currency: Currency,
        /// The most that may be bought.
        limit: Amount,
        /// What was bought.
        used: Amount,
        /// What was to be paid now.
        amount: Amount,
    },
    /// Of `sold_out`.
    Stock {
        /// Units that are left.
        available: u32,
        /// Units that were asked for.
        requested: u32,
    },
    /// Of `sale_not_started`, `sale_ended` and `sale_inactive`.
    Window {
        /// When the sale opens.
        starts_at: Option<UnixMs>,
        /// When it closes.
        ends_at: Option<UnixMs>,
    },
    /// Of `hold_expired`.
    HoldExpired {
        hold: PurchaseId,
        /// When its time ran out.
        expires_at: UnixMs,
    },
    /// Of `hold_closed`.
    HoldClosed {
        hold: PurchaseId,
        /// Where it is.
        status: PurchaseState,
    },
    /// Of `wrong_state`.
    State {
        purchase: PurchaseId,
        /// Where it is.
        status: PurchaseState,
    },
    /// Of `refund_exceeds_captured`.
    Captured {
        currency: Currency,
        /// What was captured.
        captured: Amount,
        /// What went back of it.
        refunded: Amount,
        /// What can still be refunded; disputed money cannot.
        left: Amount,
        /// The requested refund.
        amount: Amount,
    },
    /// Of `refund_conflict`.
    Refunded {
        conflict: RefundBar,
        currency: Currency,
        /// What went back.
        refunded: Amount,
        /// What can still be refunded; disputed money cannot. `None`: the gateway found the
        /// conflict.
        left: Option<Amount>,
    },
    /// Of `rate_limited`.
    Quota {
        /// Of what.
        scope: QuotaScope,
        /// How many there may be.
        limit: u64,
        /// In how many seconds; `None`: at once.
        window_s: Option<u64>,
    },
    /// Of `not_enough_tokens`.
    Balance {
        /// Tokens that the buyer can spend.
        balance: Tokens,
        /// Tokens that were asked for.
        requested: Tokens,
    },
    /// Of `promotion_exhausted`.
    Uses {
        /// Whose uses are counted.
        scope: UsesScope,
        /// How often it was used.
        uses: u32,
        /// How often it may be used.
        uses_max: u32,
    },
    /// Of `promotion_not_applicable`.
    Promotion(PromotionBar),
    /// Of `amount_not_payable`.
    Payable {
        currency: Currency,
        /// What was to be paid or refunded; `None`: refused at the hold, before an amount was
        /// chosen.
        amount: Option<Amount>,
        /// The smallest amount that the gateway takes; `None`: any that is a multiple of the step.
        least: Option<i64>,
        /// The largest one; `None`: no limit.
        most: Option<i64>,
        /// What amounts must be a multiple of.
        step: i64,
    },
}

/// The value of one fact.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number, in minor units where it is money.
    Number(i128),
    /// A word of the program.
    Word(&'static str),
    /// The currency of every amount beside it.
    Currency(Currency),
    /// An instant.
    Instant(UnixMs),
    /// A hold's id.
    Hold(PurchaseId),
    /// A purchase's id.
    Purchase(PurchaseId),
    /// There is none.
    Null,
}

impl RefusalFacts {
    /// Each fact with its name, as responses and events show it.
    #[allow(clippy::too_many_lines, reason = "a table")]
    pub fn fields(&self) -> SmallVec<[(&'static str, Fact); 5]> {
        let count = |number: u32| Fact::Number(number.into());
        let minor = |amount: Amount| Fact::Number(amount.get().into());
        let tokens = |tokens: Tokens| Fact::Number(tokens.get().into());
        let instant = |at: Option<UnixMs>| at.map_or(Fact::Null, Fact::Instant);
        let bound = |bound: Option<i64>| bound.map_or(Fact::Null, |it| Fact::Number(it.into()));
        match *self {
            Self::UserUnits {
                limit,
                used,
                requested,
            } => smallvec![
                ("limit", count(limit)),
                ("used", count(used)),
                ("requested", count(requested)),
            ],
            Self::Spending {
                scope,
                currency,
                limit,
                used,
                amount,
            } => smallvec![
                ("scope", Fact::Word(scope.as_str())),
                ("currency", Fact::Currency(currency)),
                ("limit", minor(limit)),
                ("used", minor(used)),
                ("amount", minor(amount)),
            ],
            Self::Stock {
                available,
                requested,
            } => smallvec![
                ("available", count(available)),
                ("requested", count(requested)),
            ],
            Self::Window { starts_at, ends_at } => smallvec![
                ("starts_at", instant(starts_at)),
                ("ends_at", instant(ends_at)),
            ],
            Self::HoldExpired { hold, expires_at } => smallvec![
                ("hold_id", Fact::Hold(hold)),
                ("expires_at", Fact::Instant(expires_at)),
            ],
            Self::HoldClosed { hold, status } => smallvec![
                ("hold_id", Fact::Hold(hold)),
                ("state", Fact::Word(status.as_str())),
            ],
            Self::State { purchase, status } => smallvec![
                ("purchase_id", Fact::Purchase(purchase)),
                ("state", Fact::Word(status.as_str())),
            ],
            Self::Captured {
                currency,
                captured,
                refunded,
                left,
                amount,
            } => smallvec![
                ("currency", Fact::Currency(currency)),
                ("captured", minor(captured)),
                ("refunded_amount", minor(refunded)),
                ("left", minor(left)),
                ("amount", minor(amount)),
            ],
            Self::Refunded {
                conflict,
                currency,
                refunded,
                left,
            } => {
                let mut fields = smallvec![
                    ("conflict", Fact::Word(conflict.as_str())),
                    ("currency", Fact::Currency(currency)),
                    ("refunded_amount", minor(refunded)),
                ];
                fields.extend(left.map(|it| ("left", minor(it))));
                fields
            }
            Self::Quota {
                scope,
                limit,
                window_s,
            } => scope.fields(limit, window_s),
            Self::Balance { balance, requested } => smallvec![
                ("balance", tokens(balance)),
                ("requested", tokens(requested)),
            ],
            Self::Uses {
                scope,
                uses,
                uses_max,
            } => smallvec![
                ("scope", Fact::Word(scope.as_str())),
                ("uses", count(uses)),
                ("uses_max", count(uses_max)),
            ],
            Self::Promotion(bar) => bar.fields(),
            Self::Payable {
                currency,
                amount,
                least,
                most,
                step,
            } => smallvec![
                ("currency", Fact::Currency(currency)),
                ("amount", amount.map_or(Fact::Null, minor)),
                ("amount_min", bound(least)),
                ("amount_max", bound(most)),
                ("amount_step", Fact::Number(step.into())),
            ],
        }
    }

    /// An amount that cannot be charged under `rule`.
    pub fn not_charged(rule: AmountRule, currency: Currency, amount: Option<Amount>) -> Self {
        Self::Payable {
            currency,
            amount,
            least: Some(rule.least()),
            most: Some(rule.most()).filter(|most| *most < i64::MAX),
            step: rule.step(),
        }
    }

    /// An amount that cannot be given back under `rule`.
    pub const fn not_given_back(rule: AmountRule, currency: Currency, amount: Amount) -> Self {
        Self::Payable {
            currency,
            amount: Some(amount),
            least: None,
            most: None,
            step: rule.step(),
        }
    }
}

/// Whose purchases a limit of amounts counts.
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Card => "card",
            Self::Device => "device",
        }
    }
}

/// What is limited in number.
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
    fn fields(self, limit: u64, window_s: Option<u64>) -> SmallVec<[(&'static str, Fact); 5]> {
        let mut fields = smallvec![
            ("scope", Fact::Word(self.as_str())),
            ("limit", Fact::Number(limit.into())),
        ];
        fields.extend(window_s.map(|it| ("window_s", Fact::Number(it.into()))));
        fields
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::OpenHolds => "open_holds",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::ApiKey => "api_key",
        }
    }
}

/// Whose uses of a promotion are counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum UsesScope {
    /// All buyers'.
    Promotion,
    /// This buyer's.
    User,
}

impl UsesScope {
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
    /// Another amount was refunded than the order says.
    Stale,
    /// Another refund is under way.
    UnderWay,
    /// Units return to stock only with the refund that leaves nothing.
    Restock,
    /// The purchase has as many refunds as are stored; only a refund of all that is left is
    /// accepted.
    TooMany,
}

impl RefundBar {
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
    Currency,
    /// The hold was made with another promotion, or with none.
    Hold,
}

impl PromotionBar {
    fn fields(self) -> SmallVec<[(&'static str, Fact); 5]> {
        let mut fields = smallvec![("cause", Fact::Word(self.as_str()))];
        match self {
            Self::NotStarted { starts_at } => {
                fields.push(("starts_at", Fact::Instant(starts_at)));
            }
            Self::Ended { ends_at } => fields.push(("ends_at", Fact::Instant(ends_at))),
            Self::Inactive | Self::Product | Self::Segment | Self::Currency | Self::Hold => {}
        }
        fields
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::NotStarted { .. } => "not_started",
            Self::Ended { .. } => "ended",
            Self::Product => "product",
            Self::Segment => "segment",
            Self::Currency => "currency",
            Self::Hold => "hold",
        }
    }
}
