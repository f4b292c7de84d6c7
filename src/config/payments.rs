//! Owns the section `payments`: the gateway, its access, and every limit of a payment.
//!
//! Invariant: the gateway must be set; there is no default, because it decides whether cards are
//! charged.

use super::read::{ConfigReader, invalid};
use super::{ConfigError, ID_FORM};
use crate::engine::payable::AmountRule;
use crate::engine::settings::CardRetries;
use crate::ids::GatewayCode;
use crate::money::Currency;
use crate::payments::breaker::BreakerSettings;
use crate::payments::scheme::SchemeRules;
use crate::payments::stripe::{ApiBase, Stripe, StripeSettings};
use secrecy::{ExposeSecret, SecretString};
use std::num::NonZeroU32;
use std::time::Duration;

const STRIPE_KEY_CHARS_MIN: usize = 8;

/// The kinds of gateways.
#[derive(Debug)]
pub enum GatewayKind {
    /// A gateway in this process that charges no card.
    Sandbox,
    Stripe(StripeSettings),
}

impl GatewayKind {
    /// The amounts in `currency` that the gateway accepts; `None`: none at all.
    pub fn amounts(&self, currency: Currency) -> Option<AmountRule> {
        match self {
            Self::Sandbox => Some(AmountRule::ANY),
            Self::Stripe(_) => Stripe::amounts_in(currency),
        }
    }
}

/// The gateway and its limits.
#[derive(Debug)]
pub struct PaymentsConfig {
    pub gateway: GatewayKind,
    /// Timeout of one call.
    pub attempt_timeout: Duration,
    /// Maximum number of retries.
    pub retries_max: u32,
    /// First wait between two retries, in milliseconds.
    pub backoff_first_ms: u64,
    /// Maximum wait between two retries, in milliseconds.
    pub backoff_max_ms: u64,
    /// After this time a payment without an outcome is retried in the background, in milliseconds.
    pub unknown_after_ms: u64,
    /// Maximum number of payments retried in the background at once.
    pub resume_parallel_max: usize,
    /// After this time a buy gets 202.
    pub answer_within: Duration,
    /// Maximum number of payments in flight.
    pub in_flight_max: usize,
    /// How long after its start a payment may still be authorized.
    pub give_up_after: Duration,
    /// How long a void may take before the purchase is `stuck`.
    pub void_deadline: Duration,
    /// How long a payment may stay in a transient state with no task driving it.
    pub pending_after: Duration,
    /// Time between two runs of the sweeper.
    pub sweep_every: Duration,
    /// The circuit breaker.
    pub breaker: BreakerSettings,
    /// The card networks' rules about another try.
    pub scheme: SchemeRules,
    /// Number of declined payments that end a hold.
    pub tries_per_hold_max: u32,
    /// How many tries are allowed after limited codes, and how long declines count.
    pub card_retries: CardRetries,
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<PaymentsConfig, ConfigError> {
    let gateway = match reader.text_if_given("payments.gateway")?.as_deref() {
        Some("sandbox") => {
            // The settings of the other gateway are checked and shown, too.
            stripe(reader)?;
            GatewayKind::Sandbox
        }
        Some("stripe") => GatewayKind::Stripe(stripe(reader)?.ok_or_else(|| {
            invalid(
                "payments.stripe.secret_key",
                "is not set, and payments.gateway is \"stripe\"; set it, best with { env = \"…\" } or { file = \"…\" }",
            )
        })?),
        Some(_) => return Err(invalid("payments.gateway", "must be sandbox or stripe")),
        None => {
            return Err(invalid(
                "payments.gateway",
                "is not set; set it to \"stripe\", or to \"sandbox\", which charges nobody, or start with --demo",
            ));
        }
    };
    Ok(PaymentsConfig {
        gateway,
        attempt_timeout: reader.milliseconds("payments.attempt_timeout_ms")?,
        retries_max: reader.small("payments.retries_max")?,
        backoff_first_ms: reader.integer("payments.backoff_first_ms")?,
        backoff_max_ms: reader.integer("payments.backoff_max_ms")?,
        unknown_after_ms: reader.integer("payments.unknown_after_ms")?,
        resume_parallel_max: reader.size("payments.resume_parallel_max")?,
        answer_within: reader.milliseconds("payments.answer_within_ms")?,
        in_flight_max: reader.size("payments.in_flight_max")?,
        give_up_after: reader.seconds("payments.give_up_after_s")?,
        void_deadline: reader.seconds("payments.void_deadline_s")?,
        pending_after: reader.seconds("payments.pending_after_s")?,
        sweep_every: reader.milliseconds("payments.sweep_every_ms")?,
        breaker: BreakerSettings {
            failures: reader.small("payments.circuit.failures")?,
            open_ms: reader.integer("payments.circuit.open_ms")?,
        },
        scheme: scheme(reader)?,
        tries_per_hold_max: reader.small("payments.tries_per_hold_max")?,
        card_retries: CardRetries {
            limited_max: reader.small("payments.scheme.limited_max")?,
            window_ms: reader.integer("payments.scheme.window_s")? * 1_000,
        },
    })
}

fn scheme(reader: &mut ConfigReader<'_>) -> Result<SchemeRules, ConfigError> {
    let mut codes = |path| {
        let texts = reader.texts(path)?;
        let parsed = texts.iter().map(|text| GatewayCode::parse(text));
        let parsed: Option<Vec<_>> = parsed.collect();
        parsed.ok_or_else(|| invalid(path, ID_FORM))
    };
    let never = codes("payments.scheme.never_retry_codes")?;
    let limited = codes("payments.scheme.limited_codes")?;
    SchemeRules::new(never, limited).map_err(|error| {
        invalid(
            "payments.scheme.limited_codes",
            format!("cannot be used: {error}"),
        )
    })
}

/// The settings of Stripe; `None` if no key is set.
fn stripe(reader: &mut ConfigReader<'_>) -> Result<Option<StripeSettings>, ConfigError> {
    let path = "payments.stripe.secret_key";
    let secret_key = reader.secret_if_given(path, STRIPE_KEY_CHARS_MIN)?;
    let visible = |key: &SecretString| {
        let bytes = key.expose_secret().bytes();
        bytes.into_iter().all(|b| (0x21..=0x7e).contains(&b))
    };
    if secret_key.as_ref().is_some_and(|key| !visible(key)) {
        return Err(invalid(path, "must be visible ASCII, as Stripe shows it"));
    }
    let base = "payments.stripe.api_base";
    let api_base =
        ApiBase::parse(&reader.text(base)?).map_err(|error| invalid(base, error.to_string()))?;
    let requests_per_s = reader.small("payments.stripe.requests_per_s")?;
    let connections_max = reader.size("payments.stripe.connections_max")?;
    let connect_timeout = reader.milliseconds("payments.stripe.connect_timeout_ms")?;
    let body_bytes_max = reader.size("payments.stripe.body_bytes_max")?;
    Ok(secret_key.map(|secret_key| StripeSettings {
        secret_key,
        api_base,
        requests_per_s: NonZeroU32::new(requests_per_s),
        connections_max,
        connect_timeout,
        body_bytes_max,
    }))
}
