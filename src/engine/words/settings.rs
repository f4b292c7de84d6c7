//! Owns the operator's settings for deciding: limits, times and bounds, checked once.
//!
//! Deliberately absent: where they come from (`config`) and everything about disks and sockets.

use crate::engine::words::payable::AmountRules;
use crate::money::{Amount, Currency};

/// The most attempts a rate window may allow; a buyer's instants are kept in memory.
pub const RATE_COUNT_MAX: u32 = 1_000;

#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// How long a hold lasts where its product does not say, in milliseconds; at least 1.
    pub hold_ttl_ms: u64,
    /// The currencies of the drop, the first being the one that holds are quoted in by default.
    pub currencies: Vec<Currency>,
    /// Which amounts the gateway takes in each of them.
    pub payable: AmountRules,
    /// The rate limit of a buyer.
    pub rate: RateLimit,
    /// How long a key's outcome is remembered, in milliseconds.
    pub idempotency_retention_ms: u64,
    /// How long a hold that ended without a payment is kept, in milliseconds; at least as long as
    /// keys are and attempts count.
    pub ended_keep_ms: u64,
    /// When a card's network allows a declined card to be tried again.
    pub card_retries: CardRetries,
    /// Declined payments after which an earlier hold ends; at least 1.
    pub tries_per_hold_max: u32,
    /// How long and how many webhooks are remembered.
    pub webhooks: WebhookMemory,
    /// How much may be bought.
    pub amounts: AmountLimits,
    /// Which purchases are reviewed.
    pub review: ReviewRules,
    /// Bounds on what one shard stores.
    pub bounds: Bounds,
}

/// How much may be bought in a day and in all. A currency that is not named has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmountLimits {
    /// In one day of the configured time zone.
    pub daily: Vec<(Currency, Amount)>,
    /// Ever.
    pub lifetime: Vec<(Currency, Amount)>,
    /// What else amounts are counted by, besides the buyer.
    pub shared: Vec<SharedBy>,
}

/// What amounts may be counted by across buyers, because one person may have several accounts.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SharedBy {
    /// The card that pays.
    Card,
    /// The device that the shop says it came from.
    Device,
}

impl AmountLimits {
    /// The most in one day.
    pub fn daily_in(&self, currency: Currency) -> Option<Amount> {
        limit_in(&self.daily, currency)
    }

    /// The most ever.
    pub fn lifetime_in(&self, currency: Currency) -> Option<Amount> {
        limit_in(&self.lifetime, currency)
    }
}

/// Which purchases are reviewed before the money is captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewRules {
    /// Purchases above this amount. A currency that is not named has no such amount.
    pub amount_over: Vec<(Currency, Amount)>,
}

impl ReviewRules {
    /// The amount above which a purchase is reviewed.
    pub fn amount_over_in(&self, currency: Currency) -> Option<Amount> {
        limit_in(&self.amount_over, currency)
    }
}

fn limit_in(limits: &[(Currency, Amount)], currency: Currency) -> Option<Amount> {
    let limit = limits.iter().find(|(known, _)| *known == currency);
    limit.map(|(_, limit)| *limit)
}

/// When a declined card may be tried again, by the rules of its network.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CardRetries {
    /// Declines with limited advice in the window, after which the card is refused.
    pub limited_max: u32,
    /// How long a decline counts, in milliseconds.
    pub window_ms: u64,
}

/// How long nonces and event ids of webhooks are remembered, and how many.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct WebhookMemory {
    nonce_retention_ms: u64,
    /// Nonces in [`WebhookMemory::nonce_retention_ms`].
    pub nonces_max: usize,
    /// How long an event id is remembered, in milliseconds.
    pub event_retention_ms: u64,
    /// Event ids in that time.
    pub events_max: usize,
}

impl WebhookMemory {
    /// The settings if a timestamp may lie `tolerance_ms` before or after now.
    pub const fn new(
        tolerance_ms: u64,
        nonces_max: usize,
        event_retention_ms: u64,
        events_max: usize,
    ) -> Self {
        Self {
            // A first delivery may be ahead of the clock by the whole tolerance, and a repeat
            // behind it by as much; both are counted in whole seconds.
            nonce_retention_ms: 2 * tolerance_ms + 1_000,
            nonces_max,
            event_retention_ms,
            events_max,
        }
    }

    /// How long a nonce is remembered, in milliseconds: longer than any timestamp stays good.
    pub const fn nonce_retention_ms(self) -> u64 {
        self.nonce_retention_ms
    }
}

/// At most `count` attempts of a buyer in any window of `window_ms` milliseconds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// 1 to [`RATE_COUNT_MAX`].
    pub count: u32,
    /// At least 1.
    pub window_ms: u64,
}

/// The settings that applying depends on. They are recorded in the log, so that the log alone
/// determines the state, whatever the reader's configuration is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Limits {
    /// Attempts stored per buyer.
    pub rate_count: u32,
    /// How long a key's outcome is remembered, in milliseconds.
    pub idempotency_retention_ms: u64,
    /// How long an ended, unpaid hold is stored, and a buyer without any other state, in
    /// milliseconds.
    pub ended_keep_ms: u64,
    /// How long declines of a card count for another try, in milliseconds.
    pub declines_keep_ms: u64,
}

impl EngineSettings {
    pub fn limits(&self) -> Limits {
        self.limits_at(self.rate)
    }

    /// The same with another rate limit.
    pub fn limits_at(&self, rate: RateLimit) -> Limits {
        Limits {
            rate_count: rate.count,
            idempotency_retention_ms: self.idempotency_retention_ms,
            ended_keep_ms: self
                .ended_keep_ms
                .max(self.idempotency_retention_ms)
                .max(rate.window_ms),
            declines_keep_ms: self.card_retries.window_ms,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        EngineSettings::default().limits()
    }
}

/// What a shard may store before it answers `overloaded`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Buyers in one shard.
    pub buyers_max: usize,
    /// Purchases in one shard, ended ones too until they are forgotten.
    pub purchases_max: usize,
    /// Remembered idempotency keys in one shard.
    pub keys_max: usize,
    /// Open holds of one buyer; at least 1.
    pub open_holds_per_user_max: usize,
    /// Remembered idempotency keys of one buyer; at least 1.
    pub keys_per_user_max: usize,
    /// Keys of velocity counters in all.
    pub velocity_keys_max: usize,
    /// Cards and devices whose amounts are counted, by currency and day.
    pub amount_keys_max: usize,
    /// Products in the catalogue.
    pub products_max: usize,
    /// Promotions in the catalogue.
    pub promotions_max: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        let listed = |code| Currency::parse(code).expect("ISO 4217 lists USD, EUR and KRW");
        Self {
            hold_ttl_ms: 300_000,
            currencies: ["USD", "EUR", "KRW"].map(listed).to_vec(),
            payable: AmountRules::default(),
            rate: RateLimit {
                count: 5,
                window_ms: 10_000,
            },
            idempotency_retention_ms: 7 * 86_400_000,
            ended_keep_ms: 7 * 86_400_000,
            card_retries: CardRetries {
                limited_max: 15,
                window_ms: 30 * 86_400_000,
            },
            tries_per_hold_max: 5,
            amounts: AmountLimits::default(),
            review: ReviewRules::default(),
            webhooks: WebhookMemory::new(300_000, 100_000, 7 * 86_400_000, 1_000_000),
            bounds: Bounds::default(),
        }
    }
}

impl Default for Bounds {
    /// Room for 25 million buyers and purchases, and as many keys, in all shards together.
    fn default() -> Self {
        Self {
            buyers_max: 100_000,
            purchases_max: 100_000,
            keys_max: 200_000,
            open_holds_per_user_max: 100,
            keys_per_user_max: 1_000,
            velocity_keys_max: 1_000_000,
            amount_keys_max: 1_000_000,
            products_max: 10_000,
            promotions_max: 10_000,
        }
    }
}
