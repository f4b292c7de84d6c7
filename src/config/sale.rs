//! Owns the sections `drop`, `limits`, `idempotency`, `engine` and `risk`: what the engine decides by, and how
//! much it keeps in memory.
//!
//! Invariant: an ended hold is kept at least as long as its idempotency key, and as long as its attempt counts.

use super::ConfigError;
use super::read::{ConfigReader, invalid};
use crate::engine::risk::scoring::FeaturesWritten;
use crate::engine::settings::{AmountLimits, SharedBy};
use crate::journal::DayZone;
use crate::money::Currency;
use std::path::PathBuf;

/// The sale.
#[derive(Debug)]
pub struct SaleConfig {
    /// Lifetime of holds, in seconds.
    pub hold_ttl_s: u64,
    /// Accepted currencies; never empty.
    pub currencies: Vec<Currency>,
    /// Maximum attempts of a buyer in a window.
    pub rate_count: u32,
    /// The window, in seconds.
    pub rate_per_s: u64,
    /// How long outcomes are kept, in seconds.
    pub idempotency_retention_s: u64,
}

/// Limits of buyers.
#[derive(Debug)]
pub struct LimitsConfig {
    /// Limits per day and lifetime.
    pub amounts: AmountLimits,
    /// The time zone whose days are counted.
    pub zone: DayZone,
}

/// Limits of the engine; the first three per shard.
#[derive(Debug)]
pub struct EngineConfig {
    pub buyers_max: usize,
    pub purchases_max: usize,
    /// Idempotency keys.
    pub keys_max: usize,
    /// How long ended holds are kept, in seconds.
    pub ended_keep_s: u64,
    pub open_holds_per_user_max: usize,
    /// Idempotency keys of one buyer.
    pub keys_per_user_max: usize,
    /// Keys of velocity counters.
    pub velocity_keys_max: usize,
    /// Cards and devices with counted amounts.
    pub amount_keys_max: usize,
    pub products_max: usize,
    pub promotions_max: usize,
}

/// Sources of risk rules and model.
#[derive(Debug)]
pub struct RiskConfig {
    /// The file with the rules.
    pub rules_file: Option<PathBuf>,
    /// Whether the shipped rules are used if no others are set.
    pub default_rules: bool,
    /// Whether the features of every attempt are written.
    pub features: FeaturesWritten,
    /// The file with the model that scores attempts.
    pub model_file: Option<PathBuf>,
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<SaleConfig, ConfigError> {
    let path = "drop.currencies";
    let mut currencies = Vec::new();
    for code in reader.texts(path)? {
        let currency = Currency::parse(&code)
            .ok_or_else(|| invalid(path, "must be ISO 4217 codes in capitals, such as \"USD\""))?;
        if currencies.contains(&currency) {
            return Err(invalid(path, "lists a currency twice"));
        }
        currencies.push(currency);
    }
    if currencies.is_empty() {
        return Err(invalid(path, "must list at least one currency"));
    }
    Ok(SaleConfig {
        hold_ttl_s: reader.integer("drop.hold_ttl_s")?,
        currencies,
        rate_count: reader.small("limits.rate.count")?,
        rate_per_s: reader.integer("limits.rate.per_s")?,
        idempotency_retention_s: reader.integer("idempotency.retention_s")?,
    })
}

pub(super) fn limits(reader: &mut ConfigReader<'_>) -> Result<LimitsConfig, ConfigError> {
    const BY: &str = "must be a list with \"user\", and optionally \"card_token\" and \"device\"";
    let mut shared = Vec::new();
    let by = reader.texts("limits.by")?;
    for word in &by {
        let more = match word.as_str() {
            "user" => continue,
            "card_token" => SharedBy::Card,
            "device" => SharedBy::Device,
            _ => return Err(invalid("limits.by", BY)),
        };
        if shared.contains(&more) {
            return Err(invalid("limits.by", "lists an entry twice"));
        }
        shared.push(more);
    }
    if !by.iter().any(|word| word == "user") {
        return Err(invalid("limits.by", BY));
    }
    let zone = DayZone::parse(&reader.text("limits.zone")?);
    Ok(LimitsConfig {
        amounts: AmountLimits {
            daily: reader.amounts("limits.daily")?,
            lifetime: reader.amounts("limits.lifetime")?,
            shared,
        },
        zone: zone.ok_or_else(|| {
            invalid(
                "limits.zone",
                "must be the IANA name of a time zone, such as \"Asia/Seoul\"",
            )
        })?,
    })
}

pub(super) fn engine(reader: &mut ConfigReader<'_>) -> Result<EngineConfig, ConfigError> {
    let retention_s = reader.integer("idempotency.retention_s")?;
    let least_s = retention_s.max(reader.integer("limits.rate.per_s")?);
    let ended_keep_s = reader.integer_if_given("engine.ended_keep_s")?;
    // A hold must be kept for as long as its idempotency key, and as long as its attempt counts.
    if ended_keep_s.is_some_and(|keep_s| keep_s < least_s) {
        return Err(invalid(
            "engine.ended_keep_s",
            format!(
                "must be at least {least_s}, the longer of idempotency.retention_s and limits.rate.per_s"
            ),
        ));
    }
    Ok(EngineConfig {
        ended_keep_s: ended_keep_s.unwrap_or(least_s),
        buyers_max: reader.size("engine.buyers_max")?,
        purchases_max: reader.size("engine.purchases_max")?,
        keys_max: reader.size("engine.keys_max")?,
        open_holds_per_user_max: reader.size("engine.open_holds_per_user_max")?,
        keys_per_user_max: reader.size("engine.keys_per_user_max")?,
        velocity_keys_max: reader.size("engine.velocity_keys_max")?,
        amount_keys_max: reader.size("engine.amount_keys_max")?,
        products_max: reader.size("engine.products_max")?,
        promotions_max: reader.size("engine.promotions_max")?,
    })
}

pub(super) fn risk(reader: &mut ConfigReader<'_>) -> Result<RiskConfig, ConfigError> {
    Ok(RiskConfig {
        rules_file: reader.text_if_given("risk.rules_file")?.map(PathBuf::from),
        default_rules: reader.switch("risk.default_rules")?,
        features: if reader.switch("risk.features")? {
            FeaturesWritten::Always
        } else {
            FeaturesWritten::WithScores
        },
        model_file: reader.text_if_given("risk.model_file")?.map(PathBuf::from),
    })
}
