//! Owns the figures of all metrics at one moment, collected once for every format.
//!
//! Invariants: a family is begun at most once, and its samples belong to it; times are whole
//! nanoseconds, so that every format writes them exactly.
//! Deliberately absent: which families there are, which [`families`](super::families) lists; the formats
//! (`text` for Prometheus, `otlp` for a collector).

mod text;

pub use text::TextFormat;

use super::exemplar::Exemplar;
use super::families::Family;

/// A sample's labels: names by OpenTelemetry's conventions, with dots, and values.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// All metrics at one moment.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<FamilySamples>,
}

/// A family with its samples.
#[derive(Debug)]
pub struct FamilySamples {
    pub family: &'static Family,
    pub samples: Vec<Sample>,
}

/// One time series at one moment.
#[derive(Debug)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: SampleValue,
}

#[derive(Debug)]
pub enum SampleValue {
    Integer(u64),
    /// A number in billionths: seconds as nanoseconds, and shares.
    Billionths(i64),
    Times(Distribution),
}

/// Durations by their buckets.
#[derive(Debug)]
pub struct Distribution {
    /// Ordered by their bounds; the last one has none.
    pub buckets: Vec<Bucket>,
    /// All durations together.
    pub sum_ns: u64,
}

/// Durations at most as long as `bound_ns` and longer than the bound before.
#[derive(Copy, Clone, Debug)]
pub struct Bucket {
    /// `None`: longer than all bounds.
    pub bound_ns: Option<u64>,
    pub count: u64,
    pub exemplar: Option<Exemplar>,
}

impl Exposition {
    /// Begins a family.
    pub fn family(&mut self, family: &'static Family) -> &mut FamilySamples {
        self.families.push(FamilySamples {
            family,
            samples: Vec::new(),
        });
        self.families.last_mut().expect("it was just added")
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, family: &'static Family, value: u64) {
        self.family(family).sample(&[], value);
    }

    /// A gauge of seconds that may be negative, without labels.
    pub fn signed_seconds(&mut self, family: &'static Family, value_ms: i64) {
        let ns = value_ms.saturating_mul(NS_PER_MS);
        self.family(family).add(&[], SampleValue::Billionths(ns));
    }

    pub fn families(&self) -> &[FamilySamples] {
        &self.families
    }

    /// As text that Prometheus reads.
    pub fn text(&self, format: TextFormat) -> String {
        text::written(self, format)
    }
}

const NS_PER_MS: i64 = 1_000_000;

impl FamilySamples {
    pub fn sample(&mut self, labels: Labels<'_>, value: u64) {
        self.add(labels, SampleValue::Integer(value));
    }

    /// One sample in seconds.
    pub fn sample_ms(&mut self, labels: Labels<'_>, value_ms: u64) {
        let ms = i64::try_from(value_ms).unwrap_or(i64::MAX);
        self.add(
            labels,
            SampleValue::Billionths(ms.saturating_mul(NS_PER_MS)),
        );
    }

    /// One sample: the share that `used` is of `maximum`.
    pub fn sample_ratio(&mut self, labels: Labels<'_>, used: usize, maximum: usize) {
        let millionths = (used as u128 * 1_000_000) / (maximum.max(1) as u128);
        let millionths = i64::try_from(millionths).unwrap_or(i64::MAX);
        self.add(
            labels,
            SampleValue::Billionths(millionths.saturating_mul(1_000)),
        );
    }

    pub fn times(&mut self, labels: Labels<'_>, times: Distribution) {
        self.add(labels, SampleValue::Times(times));
    }

    fn add(&mut self, labels: Labels<'_>, value: SampleValue) {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| (*name, (*value).to_owned()));
        self.samples.push(Sample {
            labels: labels.collect(),
            value,
        });
    }
}

impl Distribution {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|it| it.count).sum()
    }
}
