//! A latency distribution in `HdrHistogram`'s text format, which its plotter and other tools read. Milliseconds.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Lines from one half of what is left to the next; what the other tools write.
const TICKS_PER_HALF: u32 = 5;

/// The text of `latencies`, which are nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "shown with three decimals")]
pub(crate) fn text(latencies: &Histogram<u64>) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut count = 0;
    // Writing to a String cannot fail, here and below.
    for step in latencies.iter_quantiles(TICKS_PER_HALF) {
        let value = step.value_iterated_to() as f64 / 1e6;
        let quantile = step.quantile_iterated_to();
        count += step.count_since_last_iteration();
        let _ = if quantile < 1.0 {
            let inverse = 1.0 / (1.0 - quantile);
            writeln!(
                out,
                "{value:12.3} {quantile:2.12} {count:10} {inverse:14.2}"
            )
        } else {
            writeln!(out, "{value:12.3} {quantile:2.12} {count:10}")
        };
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]",
        latencies.mean() / 1e6,
        latencies.stdev() / 1e6,
        latencies.max() as f64 / 1e6,
        latencies.len(),
        latencies.buckets(),
        2_048
    );
    out
}

#[cfg(test)]
mod tests {
    use crate::stats::latencies;

    #[test]
    fn the_distribution_ends_with_every_value_and_the_sums() {
        let mut all = latencies();
        (1..=1_000_u64).for_each(|ms| all.saturating_record(ms * 1_000_000));
        let text = super::text(&all);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|w| w.parse().unwrap())
                    .collect()
            })
            .collect();
        let median = rows.iter().find(|row| row[1] >= 0.5).unwrap();
        assert!(
            (median[0] - 500.0).abs() < 1.0 && median[2] >= 500.0,
            "{median:?}"
        );
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 1_000.0));
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[2] <= b[2]));
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
