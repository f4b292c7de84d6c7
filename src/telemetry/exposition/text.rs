//! Owns the two texts that Prometheus reads: its own format 0.0.4, and `OpenMetrics` 1.0.
//!
//! Invariants: both have the same series with the same values. Numbers are exact; a bound is written as
//! a number with a point, as `OpenMetrics` wants it, in both formats, so that changing the format does not
//! begin new series. Only `OpenMetrics` has units, exemplars and an end.

use super::{Bucket, Distribution, Exposition, FamilySamples, Sample, SampleValue};
use crate::telemetry::families::{Family, Type};
use std::fmt::{self, Display, Write as _};

/// What a scraper asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

/// The end of a counter's samples; in `OpenMetrics` its family goes without.
const COUNTER_SUFFIX: &str = "_total";

pub(super) fn written(exposition: &Exposition, format: TextFormat) -> String {
    let mut out = String::new();
    for family in exposition.families() {
        // Writing to a string does not fail.
        let _ = write_family(&mut out, family, format);
    }
    if format == TextFormat::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn write_family(out: &mut String, of: &FamilySamples, format: TextFormat) -> fmt::Result {
    let Family { name, help, .. } = of.family;
    let kind = of.family.kind.as_str();
    let begun = match (format, of.family.kind) {
        (TextFormat::OpenMetrics, Type::Counter) => name.trim_end_matches(COUNTER_SUFFIX),
        _ => name,
    };
    writeln!(
        out,
        "# HELP {begun} {}",
        Escaped(help, Quotes::in_help(format))
    )?;
    writeln!(out, "# TYPE {begun} {kind}")?;
    if let (TextFormat::OpenMetrics, Some(unit)) = (format, unit_of(begun)) {
        writeln!(out, "# UNIT {begun} {unit}")?;
    }
    for sample in &of.samples {
        write_sample(out, name, sample, format)?;
    }
    Ok(())
}

/// A unit must be the end of its family's name.
fn unit_of(begun: &str) -> Option<&'static str> {
    let units = ["seconds", "bytes", "ratio"];
    units.into_iter().find(|unit| {
        let rest = begun.strip_suffix(unit);
        rest.is_some_and(|it| it.ends_with('_'))
    })
}

fn write_sample(out: &mut String, name: &str, sample: &Sample, format: TextFormat) -> fmt::Result {
    let labels = LabelText(&sample.labels, None);
    match &sample.value {
        SampleValue::Integer(value) => writeln!(out, "{name}{labels} {value}"),
        SampleValue::Billionths(value) => writeln!(out, "{name}{labels} {}", Billionths(*value)),
        SampleValue::Times(times) => write_times(out, name, (sample, times), format),
    }
}

fn write_times(
    out: &mut String,
    name: &str,
    (sample, times): (&Sample, &Distribution),
    format: TextFormat,
) -> fmt::Result {
    let mut below = 0;
    for bucket in &times.buckets {
        below += bucket.count;
        let labels = LabelText(&sample.labels, Some(*bucket));
        write!(out, "{name}_bucket{labels} {below}")?;
        if let (TextFormat::OpenMetrics, Some(it)) = (format, bucket.exemplar) {
            let (value, at) = (billionths(it.value_ns), billionths(it.at_ns));
            let (trace, span) = (hex::encode(it.trace), hex::encode(it.span));
            write!(
                out,
                " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {value} {at}"
            )?;
        }
        out.push('\n');
    }
    let labels = LabelText(&sample.labels, None);
    writeln!(out, "{name}_sum{labels} {}", billionths(times.sum_ns))?;
    writeln!(out, "{name}_count{labels} {below}")
}

/// Labels in braces; nothing if there are none.
struct LabelText<'a>(&'a [(&'static str, String)], Option<Bucket>);

impl Display for LabelText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(labels, bucket) = self;
        if labels.is_empty() && bucket.is_none() {
            return Ok(());
        }
        let mut before = '{';
        for (name, value) in *labels {
            let value = Escaped(value, Quotes::Escape);
            write!(out, "{before}{}=\"{value}\"", WithoutDots(name))?;
            before = ',';
        }
        match bucket.map(|it| it.bound_ns) {
            None => {}
            Some(None) => write!(out, "{before}le=\"+Inf\"")?,
            Some(Some(bound_ns)) => write!(out, "{before}le=\"{}\"", WithPoint(bound_ns))?,
        }
        out.write_char('}')
    }
}

/// A name of a convention as Prometheus takes it.
struct WithoutDots<'a>(&'a str);

impl Display for WithoutDots<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split('.');
        out.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| write!(out, "_{part}"))
    }
}

/// Whether a quote is written with a backslash.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Quotes {
    Escape,
    Keep,
}

impl Quotes {
    const fn in_help(format: TextFormat) -> Self {
        match format {
            TextFormat::Prometheus => Self::Keep,
            TextFormat::OpenMetrics => Self::Escape,
        }
    }
}

struct Escaped<'a>(&'a str, Quotes);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|it| match it {
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '"' if self.1 == Quotes::Escape => out.write_str("\\\""),
            other => out.write_char(other),
        })
    }
}

/// Nanoseconds written as seconds, exactly.
struct Billionths(i64);

fn billionths(value: u64) -> Billionths {
    Billionths(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Display for Billionths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let text = format!("{}.{:09}", value / 1_000_000_000, value % 1_000_000_000);
        out.write_str(sign)?;
        out.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// The same with a point in every case.
struct WithPoint(u64);

impl Display for WithPoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", billionths(self.0))?;
        if self.0.is_multiple_of(1_000_000_000) {
            out.write_str(".0")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        for (value, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (-1_500_000_000, "-1.5"),
            (20_000_000_000, "20"),
        ] {
            assert_eq!(Billionths(value).to_string(), text);
        }
        assert_eq!(WithPoint(10_000_000_000).to_string(), "10.0");
        assert_eq!(WithPoint(12_000).to_string(), "0.000012");
    }
}
