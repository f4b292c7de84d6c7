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

pub use crate::engine::words::bars::{
    CardBar, CurrencyList, Fact, PricedBy, PromotionBar, QuotaScope, RefundBar, SpendingScope,
    UsesScope,
};
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
    /// Of `currency_not_allowed`, where the product or the hold decides.
    Priced {
        /// What has no price in the currency.
        by: PricedBy,
        /// In which it has one.
        currencies: CurrencyList,
    },
    /// Of `card_retry_forbidden`.
    CardRetry {
        /// What bars it.
        bar: CardBar,
        /// Declines that count.
        declines: u32,
        /// Declines after which the card is refused.
        declines_max: u32,
        /// How long a decline counts, in seconds.
        window_s: u64,
        /// From when the card may be tried again.
        retry_at: UnixMs,
    },
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
            Self::Priced { by, currencies } => smallvec![
                ("cause", Fact::Word(by.as_str())),
                ("currencies", Fact::Currencies(currencies)),
            ],
            Self::CardRetry {
                bar,
                declines,
                declines_max,
                window_s,
                retry_at,
            } => smallvec![
                ("retry_advice", Fact::Word(bar.as_str())),
                ("declines", count(declines)),
                ("declines_max", count(declines_max)),
                ("window_s", Fact::Number(window_s.into())),
                ("retry_at", Fact::Instant(retry_at)),
            ],
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
