//! The scenario file: its keys, their limits and their defaults.
//!
//! 1. An unknown key, a wrong type and a value out of range are refused with line and column: every check of one value or
//!    one table stands in its `TryFrom`, so that the parser knows where it is.
//! 2. What a scenario holds once it is read is valid: the runner checks nothing again.
//!
//! It knows nothing of time or connections. `docs/loadtest.md` describes every key.

use std::time::Duration;

use serde::Deserialize;

use super::pace::{Pace, Stage};
use super::threshold::Threshold;
use super::token::CardToken;
use crate::admin::STOCK_MAX;

const CONNECTIONS_MAX: usize = 16_384;
const STREAMS_MAX: usize = 1_000;
const RETRIES_MAX: u32 = 1_000;

/// A whole scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it is for, in a sentence or two.
    #[serde(default)]
    pub(crate) about: String,
    /// Most answers may be refusals without failing the run.
    #[serde(default)]
    pub(crate) expect_refusals: bool,
    #[serde(default)]
    pub(crate) thresholds: Vec<Threshold>,
    #[serde(default)]
    pub(crate) server: Server,
    #[serde(default)]
    pub(crate) products: Products,
    #[serde(default)]
    pub(crate) buyers: Buyers,
    #[serde(rename = "stage")]
    pub(crate) stages: Stages,
    #[serde(rename = "mix")]
    pub(crate) mix: Weighted<Mix>,
    #[serde(rename = "card", default)]
    pub(crate) cards: Weighted<Card>,
    #[serde(rename = "retry", default)]
    pub(crate) retries: Vec<Retry>,
}

/// How to reach the server under test.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) key: Secret,
    pub(crate) admin_key: Secret,
    pub(crate) http: HttpVersion,
    pub(crate) connections_max: Bounded<1, CONNECTIONS_MAX>,
    /// Requests in flight on one HTTP/2 connection.
    pub(crate) streams_max: Bounded<1, STREAMS_MAX>,
    pub(crate) timeout_ms: Bounded<1, 600_000>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080".to_owned(),
            key: Secret::Given("demo-shop-key".to_owned()),
            admin_key: Secret::Given("demo-admin-key".to_owned()),
            http: HttpVersion::One,
            connections_max: Bounded(256),
            streams_max: Bounded(100),
            timeout_ms: Bounded(10_000),
        }
    }
}

/// A key, or the environment variable that has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a key as text, or { env = \"NAME OF A VARIABLE\" }"
)]
pub(crate) enum Secret {
    Given(String),
    Env { env: String },
}

impl Secret {
    /// The key itself.
    pub(crate) fn read(&self) -> Result<String, String> {
        match self {
            Self::Given(key) => Ok(key.clone()),
            Self::Env { env } => std::env::var(env).map_err(|_| {
                format!("the environment variable {env}, which has the key, is not set")
            }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum HttpVersion {
    #[serde(rename = "1.1")]
    One,
    #[serde(rename = "2")]
    Two,
}

/// What is on sale.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Products {
    /// An existing product, used as it is; without it, new products are put on sale.
    pub(crate) id: Option<Id>,
    pub(crate) count: Bounded<1, 100_000>,
    pub(crate) stock: Bounded<0, { STOCK_MAX as usize }>,
    pub(crate) per_user_limit: Bounded<1, 1_000_000>,
    pub(crate) hold_ttl_s: Option<Bounded<1, 86_400>>,
    /// The sale opens so long after the first request; before, holds are refused with `sale_not_started`.
    pub(crate) opens_after_s: Option<Seconds>,
    pub(crate) currency: Id,
    pub(crate) pick: Pick,
}

impl Default for Products {
    fn default() -> Self {
        Self {
            id: None,
            count: Bounded(1),
            stock: Bounded(STOCK_MAX as usize),
            per_user_limit: Bounded(1_000),
            hold_ttl_s: None,
            opens_after_s: None,
            currency: Id("USD".to_owned()),
            pick: Pick::Even,
        }
    }
}

/// Who buys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Buyers {
    pub(crate) count: Bounded<1, 99_999_999_999>,
    pub(crate) pick: Pick,
    /// Whether requests name an address and a device of the buyer's own.
    pub(crate) origin: bool,
    /// In a stage with `connections`: between one buyer and the next.
    pub(crate) pause_ms: Range,
}

impl Default for Buyers {
    fn default() -> Self {
        Self {
            count: Bounded(10_000_000),
            pick: Pick::Even,
            origin: true,
            pause_ms: Range::default(),
        }
    }
}

/// How one of many is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pick {
    /// Each as often.
    Even,
    /// One after the other, from the first again after the last.
    InTurn,
    /// The first gets this share, the others the rest.
    Hot(Share),
    /// Number *r* about in proportion to 1 / r^exponent.
    Zipf(Exponent),
}

/// One thing that buyers do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mix {
    pub(crate) flow: Flow,
    #[serde(default = "one")]
    pub(crate) weight: u32,
    /// Between the steps of a flow.
    #[serde(default)]
    pub(crate) think_ms: Range,
    /// How often each request is sent again under its key after its answer.
    #[serde(default)]
    pub(crate) repeat: Bounded<0, 100>,
    #[serde(default = "one_unit")]
    pub(crate) quantity: Bounded<1, 1_000>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flow {
    Hold,
    Buy,
    HoldThenPay,
    HoldThenRelease,
    Read,
}

/// A card among those that buyers pay with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    pub(crate) token: CardToken,
    #[serde(default = "one")]
    pub(crate) weight: u32,
}

/// What a buyer does about an answer that is not the one wanted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// A reason such as `rate_limited`, a status such as `503`, or `no_answer`.
    pub(crate) on: String,
    pub(crate) times: Bounded<1, { RETRIES_MAX as usize }>,
    #[serde(default)]
    pub(crate) pause_ms: Range,
    #[serde(default)]
    pub(crate) key: RetryKey,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetryKey {
    /// The same request again: what was remembered is answered again.
    #[default]
    Same,
    /// Another attempt.
    New,
}

/// Something with a weight.
pub(crate) trait HasWeight {
    fn weight(&self) -> u32;
}

impl HasWeight for Mix {
    fn weight(&self) -> u32 {
        self.weight
    }
}

impl HasWeight for Card {
    fn weight(&self) -> u32 {
        self.weight
    }
}

/// A list whose weights are not all zero.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    try_from = "Vec<T>",
    bound = "T: HasWeight + serde::de::DeserializeOwned"
)]
pub(crate) struct Weighted<T> {
    all: Vec<T>,
    sum: u64,
}

impl<T: HasWeight> TryFrom<Vec<T>> for Weighted<T> {
    type Error = String;

    fn try_from(all: Vec<T>) -> Result<Self, String> {
        let sum = all.iter().map(|one| u64::from(one.weight())).sum();
        if sum == 0 {
            return Err("at least one entry needs a weight above 0".to_owned());
        }
        Ok(Self { all, sum })
    }
}

impl<T: HasWeight> Weighted<T> {
    /// The entry that `draw`, any number, falls on.
    pub(crate) fn at(&self, draw: u64) -> &T {
        let mut left = draw % self.sum;
        for one in &self.all {
            let weight = u64::from(one.weight());
            if left < weight {
                return one;
            }
            left -= weight;
        }
        unreachable!("the draw is below the sum of all weights")
    }
}

impl Default for Weighted<Card> {
    fn default() -> Self {
        let card = Card {
            token: CardToken::works(),
            weight: 1,
        };
        Self {
            all: vec![card],
            sum: 1,
        }
    }
}

/// The stages, in order: those that are not measured come first, and one is measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<Stage>")]
pub(crate) struct Stages(pub(crate) Vec<Stage>);

impl TryFrom<Vec<Stage>> for Stages {
    type Error = String;

    fn try_from(all: Vec<Stage>) -> Result<Self, String> {
        let warmup = all.iter().take_while(|stage| !stage.measured).count();
        if all[warmup..].iter().any(|stage| !stage.measured) {
            return Err(
                "a stage with `measured = false` must come before the measured ones".to_owned(),
            );
        }
        if all[warmup..].iter().all(|stage| stage.pace == Pace::Pause) {
            return Err("no measured stage has a `rate`, `connections` or `at_once`".to_owned());
        }
        Ok(Self(all))
    }
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct Bounded<const LOW: usize, const HIGH: usize>(usize);

impl<const LOW: usize, const HIGH: usize> Bounded<LOW, HIGH> {
    pub(crate) fn get(self) -> usize {
        self.0
    }
}

impl<const LOW: usize, const HIGH: usize> TryFrom<i64> for Bounded<LOW, HIGH> {
    type Error = String;

    fn try_from(value: i64) -> Result<Self, String> {
        match usize::try_from(value) {
            Ok(value) if (LOW..=HIGH).contains(&value) => Ok(Self(value)),
            _ => Err(format!(
                "{value} is not a whole number from {LOW} to {HIGH}"
            )),
        }
    }
}

impl<const HIGH: usize> Default for Bounded<0, HIGH> {
    fn default() -> Self {
        Self(0)
    }
}

/// An id of the contract: what may stand in a path and in JSON as it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Id(pub(crate) String);

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text));
        }
        Err(format!(
            "`{text}` is not an id: 1 to 64 of A-Z a-z 0-9 _ . : -"
        ))
    }
}

/// A length of time, as seconds in the file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Seconds(pub(crate) Duration);

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        if (0.001..=86_400.0).contains(&seconds) {
            return Ok(Self(Duration::from_secs_f64(seconds)));
        }
        Err(format!(
            "{seconds} is not a number of seconds from 0.001 to 86400"
        ))
    }
}

/// A share of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Share(pub(crate) f64);

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(format!("{share} is not a share from 0 to 1"))
    }
}

/// The exponent of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Exponent(pub(crate) f64);

impl TryFrom<f64> for Exponent {
    type Error = String;

    fn try_from(exponent: f64) -> Result<Self, String> {
        if (0.1..=5.0).contains(&exponent) {
            return Ok(Self(exponent));
        }
        Err(format!("{exponent} is not an exponent from 0.1 to 5"))
    }
}

/// Milliseconds, drawn evenly: one number, or `{ from = …, to = … }`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(try_from = "RawRange")]
pub(crate) struct Range {
    from_ms: u32,
    to_ms: u32,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a number of milliseconds, or { from = …, to = … }"
)]
enum RawRange {
    One(u32),
    Two { from: u32, to: u32 },
}

impl TryFrom<RawRange> for Range {
    type Error = String;

    fn try_from(raw: RawRange) -> Result<Self, String> {
        let (from_ms, to_ms) = match raw {
            RawRange::One(ms) => (ms, ms),
            RawRange::Two { from, to } => (from, to),
        };
        if from_ms <= to_ms && to_ms <= 3_600_000 {
            return Ok(Self { from_ms, to_ms });
        }
        Err("`from` must not be above `to`, nor `to` above 3600000".to_owned())
    }
}

impl Range {
    /// The length that `draw`, any number, falls on.
    pub(crate) fn at(self, draw: u64) -> Duration {
        let span = u64::from(self.to_ms - self.from_ms) * 1_000 + 1;
        Duration::from_micros(u64::from(self.from_ms) * 1_000 + draw % span)
    }
}

fn one() -> u32 {
    1
}

fn one_unit() -> Bounded<1, 1_000> {
    Bounded(1)
}
