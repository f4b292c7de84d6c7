//! Owns what a client prefers (`Accept`, RFC 9110, section 12.5.1), where an answer has two formats.
//!
//! Invariant: a header that is malformed, or takes neither, is no error: the answer has the format that
//! everyone reads.

use crate::telemetry::exposition::TextFormat;
use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// A weight is at most this.
const WEIGHT_MAX: u32 = 1_000;

/// The format for metrics.
pub fn metrics(headers: &HeaderMap) -> TextFormat {
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values.filter_map(|it| it.to_str().ok());
    let ranges = ranges.flat_map(|it| it.split(','));
    let (mut plain, mut open) = (0, 0);
    for range in ranges {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let weight = weight_in(parameters);
        match name.trim().to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => open = weight.max(open),
            "text/plain" | "text/*" | "*/*" => plain = weight.max(plain),
            _ => {}
        }
    }
    if open > 0 && open >= plain {
        TextFormat::OpenMetrics
    } else {
        TextFormat::Prometheus
    }
}

/// The weight `q` in thousandths; all of it if there is none, nothing if it is malformed.
fn weight_in(parameters: &str) -> u32 {
    let parameters = parameters.split(';').map(str::trim);
    let mut weights = parameters.filter_map(|it| it.strip_prefix("q="));
    let Some(weight) = weights.next() else {
        return WEIGHT_MAX;
    };
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let is_number = part.len() <= 3 && part.bytes().all(|it| it.is_ascii_digit());
    let part = format!("{part:0<3}");
    match (whole, part.parse::<u32>()) {
        ("0", Ok(thousandths)) if is_number => thousandths,
        ("1", Ok(0)) if is_number => WEIGHT_MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn the_format_is_what_the_scraper_prefers() {
        use TextFormat::{OpenMetrics, Prometheus};
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accepts, format) in [
            (&[] as &[&str], Prometheus),
            (&["*/*"], Prometheus),
            (&["text/html,application/xml;q=0.9,*/*;q=0.8"], Prometheus),
            (&[prometheus], OpenMetrics),
            (&["application/openmetrics-text"], OpenMetrics),
            (
                &["text/plain; q=0.5", "Application/OpenMetrics-Text"],
                OpenMetrics,
            ),
            (&["application/openmetrics-text;q=0"], Prometheus),
            (
                &["application/openmetrics-text;q=0.1,text/plain;q=0.11"],
                Prometheus,
            ),
            (&["application/openmetrics-text;q=1.5"], Prometheus),
            (&["application/openmetrics-text;q=x"], Prometheus),
            (&["application/openmetrics-textual"], Prometheus),
        ] {
            let mut headers = HeaderMap::new();
            for accept in accepts {
                headers.append(ACCEPT, HeaderValue::from_str(accept).unwrap());
            }
            assert_eq!(metrics(&headers), format, "{accepts:?}");
        }
    }
}
