//! Owns the Prometheus text format: families, samples, histograms, seconds written exactly.
//!
//! Deliberately absent: which families there are, which [`families`](super::families) lists.

use super::families::Family;
use super::histogram::{BOUNDS, HistogramCounts, bound_ns};
use std::fmt::Write as _;

/// Prometheus text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family.
    pub fn family(&mut self, family: &Family) {
        let Family { name, help, .. } = family;
        let kind = family.kind.as_str();
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family begun last.
    pub fn sample(&mut self, family: &Family, labels: &str, value: u64) {
        let name = family.name;
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {value}")
        };
    }

    /// One sample of the family begun last, in seconds.
    pub fn sample_ms(&mut self, family: &Family, labels: &str, value_ms: u64) {
        let name = family.name;
        let seconds = Seconds(value_ms.saturating_mul(1_000_000));
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name} {seconds}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {seconds}")
        };
    }

    /// A histogram without labels: for each upper bound in nanoseconds, how many fell under it
    /// and no smaller one; how many are `above` all; and all of them together.
    pub fn times(&mut self, family: &Family, bounded: &[(u64, u64)], above: u64, sum_ns: u64) {
        self.family(family);
        let name = family.name;
        let mut below = 0;
        for (bound_ns, count) in bounded {
            below += count;
            let le = Seconds(*bound_ns);
            let _ = writeln!(self.text, "{name}_bucket{{le=\"{le}\"}} {below}");
        }
        let (all, sum) = (below + above, Seconds(sum_ns));
        let _ = writeln!(
            self.text,
            "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}"
        );
    }

    /// One sample of the family begun last: the share that `used` is of `maximum`.
    pub fn sample_ratio(&mut self, family: &Family, labels: &str, used: usize, maximum: usize) {
        let name = family.name;
        let millionths = (used as u128 * 1_000_000) / (maximum.max(1) as u128);
        let millionths = u64::try_from(millionths).unwrap_or(u64::MAX);
        let share = Seconds(millionths.saturating_mul(1_000));
        let _ = writeln!(self.text, "{name}{{{labels}}} {share}");
    }

    /// A gauge of seconds that may be negative, without labels.
    pub fn signed_seconds(&mut self, family: &Family, value_ms: i64) {
        self.family(family);
        let name = family.name;
        let sign = if value_ms < 0 { "-" } else { "" };
        let seconds = Seconds(value_ms.unsigned_abs().saturating_mul(1_000_000));
        let _ = writeln!(self.text, "{name} {sign}{seconds}");
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, family: &Family, value: u64) {
        self.family(family);
        self.sample(family, "", value);
    }

    pub(super) fn histogram(&mut self, family: &Family, labels: &str, counts: &HistogramCounts) {
        let name = family.name;
        let mut below = 0;
        for place in 0..BOUNDS {
            below += counts.buckets[place];
            let le = Seconds(bound_ns(place));
            let _ = writeln!(self.text, "{name}_bucket{{{labels},le=\"{le}\"}} {below}");
        }
        let all = below + counts.buckets[BOUNDS];
        let sum = Seconds(counts.sum_ns);
        let _ = writeln!(
            self.text,
            "{name}_bucket{{{labels},le=\"+Inf\"}} {all}\n{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {all}"
        );
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

/// Nanoseconds written as seconds, exactly.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        out.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
