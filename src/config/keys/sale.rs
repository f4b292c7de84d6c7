//! Owns the keys of the sale: holds, limits of buyers, risk rules, and how much the engine keeps in memory.

use super::{DAY_S, Setting, ValueKind, amounts, number, other, text};

/// Holds, limits, risk rules, idempotency, and the engine's bounds.
pub(super) const SALE: &[Setting] = &[
    number(
        "drop.hold_ttl_s",
        "300",
        (1, 30 * DAY_S),
        "Lifetime of a hold whose product sets none.",
    ),
    other(
        "drop.currencies",
        "[\"USD\", \"EUR\", \"KRW\"]",
        ValueKind::Texts,
        "ISO 4217 codes of the accepted currencies. Holds are quoted in the first one.",
    ),
    number(
        "limits.rate.count",
        "5",
        (1, 1_000),
        "Maximum number of holds and buys of one buyer in a window.",
    ),
    number(
        "limits.rate.per_s",
        "10",
        (1, DAY_S),
        "Length of that window.",
    ),
    amounts(
        "limits.daily",
        "Maximum amount that one buyer may spend in a day, per currency in minor units, such as `{ USD = 500000 }`. A currency that is not listed has no limit. A refund lowers the amount of the day of the payment; a lost dispute does not.",
    ),
    amounts(
        "limits.lifetime",
        "Maximum amount that one buyer may ever spend, per currency in minor units.",
    ),
    text(
        "limits.zone",
        "\"UTC\"",
        "Time zone whose days are counted, by IANA name, such as `Asia/Seoul`.",
    ),
    other(
        "limits.by",
        "[\"user\"]",
        ValueKind::Texts,
        "What amounts are counted by: `user`, and optionally `card_token` or `device`, to count the accounts of one person together.",
    ),
    text(
        "risk.rules_file",
        "",
        "TOML file with the risk rules, read at start and on SIGHUP. The rules take effect when the file has changed since it was last read.",
    ),
    other(
        "risk.default_rules",
        "true",
        ValueKind::Switch,
        "Use the shipped rules if no file is set and no rules were ever set. `false` with `--demo`, because everyone shares its test cards.",
    ),
    other(
        "risk.features",
        "false",
        ValueKind::Switch,
        "Write the features of every attempt into its event, as training data for a model. When `false`, they are written only if a rule uses a model's score.",
    ),
    text(
        "risk.model_file",
        "",
        "JSON file with the model that scores attempts, read at start and on SIGHUP.",
    ),
    number(
        "idempotency.retention_s",
        "604800",
        (1, 365 * DAY_S),
        "How long the outcome of an idempotency key is kept.",
    ),
    number(
        "engine.buyers_max",
        "100000",
        (1, 1 << 22),
        "Maximum number of buyers in each of the 256 shards. Beyond it, requests get 503.",
    ),
    number(
        "engine.purchases_max",
        "100000",
        (1, 1 << 32),
        "Maximum number of holds and purchases in each shard. Holds that ended without a payment are removed after `engine.ended_keep_s`.",
    ),
    number(
        "engine.keys_max",
        "200000",
        (1, 1 << 32),
        "Maximum number of idempotency keys in each shard.",
    ),
    number(
        "engine.ended_keep_s",
        "",
        (1, 365 * DAY_S),
        "How long a released, expired or declined hold is kept, and a buyer who has nothing else. At least the longer of `idempotency.retention_s` and `limits.rate.per_s`, which is also the default.",
    ),
    number(
        "engine.open_holds_per_user_max",
        "100",
        (1, 1 << 32),
        "Maximum number of open holds of one buyer. Beyond it, requests get 429 until a hold ends.",
    ),
    number(
        "engine.keys_per_user_max",
        "1000",
        (1, 1 << 32),
        "Maximum number of idempotency keys kept for one buyer. Beyond it, requests get 429 until a key is forgotten.",
    ),
    number(
        "engine.velocity_keys_max",
        "1000000",
        (1, 1 << 32),
        "Maximum number of cards, addresses, devices and products whose attempts are counted. Beyond it, a new one replaces one that has not been seen for long.",
    ),
    number(
        "engine.amount_keys_max",
        "1000000",
        (1, 1 << 32),
        "Maximum number of cards and devices whose amounts are counted, per currency and day. Beyond it, a purchase with a new one gets 503.",
    ),
    number(
        "engine.products_max",
        "10000",
        (1, 1_000_000),
        "Maximum number of products in the catalogue.",
    ),
    number(
        "engine.promotions_max",
        "10000",
        (1, 1_000_000),
        "Maximum number of promotions in the catalogue.",
    ),
];
