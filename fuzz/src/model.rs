//! `model_parser`: the file of a model that scores attempts.
//!
//! Input: the file. An accepted model scores any features, within limits and with the same result
//! each time; a refusal names the place.

use crate::within;
use holdfast::engine::features::{Feature, Features};
use holdfast::engine::score::Score;
use holdfast::risk::model::parse;

/// What parsing takes beside a few times its input.
const SLACK_BYTES: usize = 1 << 20;

/// The target.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // A node of two bytes, `{}`, is about a hundred in memory, in a list that may have doubled.
    let parsed = within(256 * text.len() + SLACK_BYTES, || parse(text));
    let file = match parsed {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.place.is_empty() && !error.message.is_empty());
            return;
        }
    };
    let all = |value| {
        let put = |features: Features, feature| features.with(feature, Some(value));
        Feature::ALL.into_iter().fold(Features::unknown(), put)
    };
    let rising = (0..).zip(Feature::ALL);
    let rising = rising.fold(Features::unknown(), |features, (number, feature)| {
        features.with(feature, (number % 3 != 0).then_some(number * 1_000))
    });
    for features in [Features::unknown(), all(0), all(1), all(u64::MAX), rising] {
        let score = file.model.score(&features);
        assert!(score <= Score::MAX);
        assert_eq!(score, file.model.score(&features));
    }
}

/// A model of each kind, and some that are not fine.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let seeds = [
        (
            "logistic",
            r#"{"format": "holdfast-risk-model/1", "features": 1, "kind": "logistic", "name": "a", "description": "b", "intercept": -1.5, "inputs": [{"feature": "amount", "weight": 0.5, "mean": 2000, "scale": 1e3, "missing": 0}, {"feature": "users_ip_1h", "weight": -1, "mean": 0, "scale": 1, "missing": 2}]}"#,
        ),
        (
            "trees",
            r#"{"format": "holdfast-risk-model/1", "features": 1, "kind": "gradient_boosted_trees", "base_score": -2, "trees": [[{"feature": "declines_card_24h", "threshold": 3, "below": 1, "otherwise": 2, "missing": "below"}, {"leaf": -0.5}, {"leaf": 1e0}], [{"leaf": 0}]]}"#,
        ),
        (
            "circle",
            r#"{"format": "holdfast-risk-model/1", "features": 1, "kind": "gradient_boosted_trees", "base_score": 0, "trees": [[{"feature": "amount", "threshold": 0, "below": 0, "otherwise": 0, "missing": "otherwise"}]]}"#,
        ),
        (
            "unknown-feature",
            r#"{"format": "holdfast-risk-model/1", "features": 1, "kind": "logistic", "intercept": 1e13, "inputs": [{"feature": "amonut", "weight": 1, "mean": 0, "scale": 0, "missing": 0}]}"#,
        ),
    ];
    let seed = |(name, text): (&str, &str)| (name.to_owned(), text.as_bytes().to_vec());
    seeds.into_iter().map(seed).collect()
}
