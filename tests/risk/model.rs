//! Models that score attempts: what a file says becomes the score by hand, values that are not known
//! and trees included; what is wrong with a file is said, and where.

use holdfast::engine::features::{FEATURES, FEATURES_VERSION, Feature, Features};
use holdfast::engine::risk::model::{DEPTH_MAX, Model, NODES_MAX, TREES_MAX};
use holdfast::risk::model::{MODEL_BYTES_MAX, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

fn model(text: &Value) -> Model {
    let parsed = parse(&text.to_string());
    parsed
        .unwrap_or_else(|error| panic!("{error} in {text}"))
        .model
}

fn logistic(intercept: f64, inputs: &Value) -> Value {
    json!({
        "format": "holdfast-risk-model/1", "features": FEATURES_VERSION, "kind": "logistic",
        "intercept": intercept, "inputs": inputs,
    })
}

fn trees(base_score: f64, trees: &Value) -> Value {
    json!({
        "format": "holdfast-risk-model/1", "features": FEATURES_VERSION,
        "kind": "gradient_boosted_trees", "base_score": base_score, "trees": trees,
    })
}

fn input(feature: &str, weight: f64, mean: f64, scale: f64, missing: f64) -> Value {
    json!({
        "feature": feature, "weight": weight, "mean": mean, "scale": scale, "missing": missing,
    })
}

fn split(feature: &str, threshold: f64, below: u16, otherwise: u16, missing: &str) -> Value {
    json!({
        "feature": feature, "threshold": threshold, "below": below, "otherwise": otherwise,
        "missing": missing,
    })
}

fn leaf(value: f64) -> Value {
    json!({ "leaf": value })
}

fn of(known: &[(Feature, u64)]) -> Features {
    let put = |features: Features, (feature, value): &(Feature, u64)| {
        features.with(*feature, Some(*value))
    };
    known.iter().fold(Features::unknown(), put)
}

/// The score of these log-odds, by the system's mathematics.
fn by_hand(log_odds: f64) -> u32 {
    let thousandths = 1_000.0 / (1.0 + (-log_odds).exp());
    // No log-odds of the tables are on the edge between two scores.
    format!("{thousandths:.0}").parse().expect("a number")
}

#[test]
fn logistic_models_score_as_by_hand() {
    use Feature::{Amount, AttemptsCard24h, DeclinesUser24h};
    let inputs = json!([
        input("attempts_card_24h", 1.5, 2.0, 0.5, 3.0),
        input("amount", -0.25, 2_000.0, 1_000.0, 2_000.0),
    ]);
    let model = model(&logistic(-1.0, &inputs));
    let table: [(&[(Feature, u64)], f64); 6] = [
        (&[(AttemptsCard24h, 2), (Amount, 2_000)], -1.0),
        (&[(AttemptsCard24h, 3), (Amount, 2_000)], -1.0 + 3.0),
        (&[(AttemptsCard24h, 0), (Amount, 2_000)], -1.0 - 6.0),
        (&[(AttemptsCard24h, 2), (Amount, 9_000)], -1.0 - 1.75),
        // Not known: the value that is said for it; what no input names says nothing.
        (&[(Amount, 2_000)], -1.0 + 3.0),
        (&[(DeclinesUser24h, 16)], -1.0 + 3.0),
    ];
    for (known, log_odds) in table {
        assert_eq!(
            model.score(&of(known)).get(),
            by_hand(log_odds),
            "{known:?}"
        );
    }
    assert_eq!(by_hand(0.0), 500);
}

#[test]
fn trees_lead_to_leaves_and_their_sum_is_the_score() {
    use Feature::{AccountAgeS, DeclinesCard24h};
    let one = json!([
        split("declines_card_24h", 3.0, 1, 2, "below"),
        leaf(-1.0),
        split("account_age_s", 86_400.0, 3, 4, "otherwise"),
        leaf(2.5),
        leaf(0.5),
    ]);
    let other = json!([
        split("account_age_s", 10.5, 1, 2, "below"),
        leaf(0.75),
        leaf(-0.125)
    ]);
    let model = model(&trees(-0.5, &json!([one, other, [leaf(0.25)]])));
    let table: [(&[(Feature, u64)], f64); 7] = [
        (&[(DeclinesCard24h, 2), (AccountAgeS, 11)], -1.0 - 0.125),
        // What is exactly the threshold is not below it.
        (&[(DeclinesCard24h, 3), (AccountAgeS, 86_399)], 2.5 - 0.125),
        (&[(DeclinesCard24h, 3), (AccountAgeS, 86_400)], 0.5 - 0.125),
        (&[(DeclinesCard24h, 3), (AccountAgeS, 10)], 2.5 + 0.75),
        (&[(DeclinesCard24h, 3)], 0.5 + 0.75),
        (&[(AccountAgeS, 10)], -1.0 + 0.75),
        (&[], -1.0 + 0.75),
    ];
    for (known, log_odds) in table {
        let log_odds = -0.5 + 0.25 + log_odds;
        assert_eq!(
            model.score(&of(known)).get(),
            by_hand(log_odds),
            "{known:?}"
        );
    }
}

#[test]
fn extreme_odds_score_zero_or_a_thousand() {
    for (intercept, score) in [(-1e12, 0), (-40.0, 0), (40.0, 1_000), (1e12, 1_000)] {
        let inputs = json!([input("amount", 0.0, 0.0, 1.0, 0.0)]);
        let model = model(&logistic(intercept, &inputs));
        assert_eq!(
            model.score(&Features::unknown()).get(),
            score,
            "{intercept}"
        );
    }
}

/// What is changed in a file that is fine, at this pointer, and what is said then.
fn wrong(fine: &Value, pointer: &str, value: Value) -> String {
    let mut text = fine.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = text.pointer_mut(parent).expect("it leads somewhere");
    match parent {
        Value::Object(fields) if value == json!("(gone)") => drop(fields.remove(name)),
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
        Value::Array(items) => items[name.parse::<usize>().expect("a place")] = value,
        other => panic!("{other} has no {name}"),
    }
    match parse(&text.to_string()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} is taken"),
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn a_logistic_model_that_is_wrong_is_refused_and_says_where() {
    let inputs = json!([
        input("amount", 1.0, 0.0, 1.0, 0.0),
        input("quantity", 1.0, 0.0, 1.0, 0.0),
    ]);
    let fine = logistic(0.0, &inputs);
    model(&fine);
    let many = vec![input("amount", 1.0, 0.0, 1.0, 0.0); FEATURES + 1];
    let table = [
        (
            "/format",
            json!("2"),
            "format: expected \"holdfast-risk-model/1\"",
        ),
        ("/features", json!(2), "features: expected 1, the version"),
        (
            "/features",
            json!(-1),
            "invalid value: integer `-1`, expected u16",
        ),
        (
            "/kind",
            json!("logistics"),
            "kind: expected one of `logistic`, `gradient_boosted_trees`; did you mean `logistic`?",
        ),
        (
            "/name",
            json!("a\u{7}"),
            "name: expected 1 to 64 characters of printable ASCII",
        ),
        ("/name", json!(""), "name: expected 1 to 64"),
        (
            "/intercept",
            json!("(gone)"),
            "intercept: a model of kind `logistic` has to say it",
        ),
        (
            "/intercept",
            json!(1e13),
            "intercept: must be a number of at most 1e12",
        ),
        ("/inputs", json!([]), "inputs: must have 1 to 20 entries"),
        ("/inputs", json!(many), "inputs: must have 1 to 20 entries"),
        (
            "/inputs/1/feature",
            json!("quantities"),
            "inputs[1].feature: expected one of `amount`, `quantity`",
        ),
        (
            "/inputs/1/feature",
            json!("amount"),
            "inputs[1].feature: `amount` stands there twice",
        ),
        (
            "/inputs/0/weight",
            json!(-2e12),
            "inputs[0].weight: must be a number",
        ),
        (
            "/inputs/0/mean",
            json!(2e12),
            "inputs[0].mean: must be a number",
        ),
        (
            "/inputs/0/missing",
            json!(2e12),
            "inputs[0].missing: must be a number",
        ),
        ("/inputs/0/missing", json!(null), "invalid type: null"),
        (
            "/inputs/0/scale",
            json!(0),
            "inputs[0].scale: must be at least 0.000000001",
        ),
        (
            "/inputs/0/scale",
            json!(-1),
            "inputs[0].scale: must be at least",
        ),
        (
            "/inputs/0/bias",
            json!(1),
            "unknown field `bias`, expected one of",
        ),
        ("/inputs/0/scale", json!("(gone)"), "missing field `scale`"),
        (
            "/trees",
            json!([]),
            "trees: a model of kind `logistic` has none",
        ),
        (
            "/base_score",
            json!(1),
            "base_score: a model of kind `logistic` has none",
        ),
        ("/weights", json!([]), "unknown field `weights`"),
    ];
    for (pointer, value, expected) in table {
        let said = wrong(&fine, pointer, value.clone());
        assert!(said.contains(expected), "{pointer} = {value}: {said}");
    }
    for (text, expected) in [
        ("", "line 1, column 1: EOF"),
        ("{\"format\": 1e999}", "line 1, column"),
        (
            "{\n \"format\": \"a\", \"format\": \"b\"}",
            "line 2, column 24: duplicate field `format`",
        ),
        (
            &" ".repeat(MODEL_BYTES_MAX + 1),
            "the file: it has more than 4194304 bytes",
        ),
    ] {
        let said = parse(text).expect_err("it is wrong").to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn trees_that_are_none_are_refused_and_say_where() {
    let fine = trees(
        0.0,
        &json!([
            [leaf(1.0)],
            [
                split("amount", 1.0, 1, 2, "below"),
                leaf(0.0),
                split("amount", 2.0, 3, 4, "below"),
                leaf(0.0),
                leaf(0.0),
            ],
        ]),
    );
    model(&fine);
    let deep: Vec<Value> = (0..=DEPTH_MAX)
        .flat_map(|level| {
            let next = u16::try_from(2 * level + 1).expect("small");
            [split("amount", 1.0, next + 1, next, "below"), leaf(0.0)]
        })
        .collect();
    let mut deep = deep;
    // The last split's own leaves.
    let last = deep.len() - 2;
    deep[last]["below"] = json!(last + 2);
    deep.push(leaf(0.0));
    let many = vec![json!([leaf(0.0)]); TREES_MAX + 1];
    let wide: Vec<Value> = vec![
        json!(
            (0..129)
                .map(|place| match place {
                    0..=63 => split("amount", 1.0, 2 * place + 1, 2 * place + 2, "below"),
                    _ => leaf(0.0),
                })
                .collect::<Vec<_>>()
        );
        NODES_MAX / 129 + 1
    ];
    let table = [
        (
            "/base_score",
            json!("(gone)"),
            "base_score: a model of kind `gradient_boosted_trees` has to say it",
        ),
        ("/base_score", json!(-1e13), "base_score: must be a number"),
        ("/trees", json!([]), "trees: must have 1 to 512 trees"),
        ("/trees", json!(many), "trees: must have 1 to 512 trees"),
        (
            "/trees",
            json!(wide),
            "trees: the trees have more than 16384 nodes",
        ),
        ("/trees/0", json!([]), "trees[0]: has no node"),
        (
            "/trees/0",
            json!(deep),
            "trees[0][24]: the tree is deeper than 12 splits",
        ),
        (
            "/trees/0/0",
            leaf(1e13),
            "trees[0][0].leaf: must be a number",
        ),
        // In a circle, back, out of the tree, and twice to the same.
        (
            "/trees/1/0/below",
            json!(0),
            "trees[1][0].below: must be a later node of its tree, at most 4",
        ),
        (
            "/trees/1/2/otherwise",
            json!(0),
            "trees[1][2].otherwise: must be a later node",
        ),
        (
            "/trees/1/2/otherwise",
            json!(5),
            "trees[1][2].otherwise: must be a later node",
        ),
        (
            "/trees/1/2/otherwise",
            json!(3),
            "trees[1][2].otherwise: node 3 is led to twice",
        ),
        (
            "/trees/1/2",
            leaf(0.0),
            "trees[1][3]: no node before it leads to it",
        ),
        (
            "/trees/1/0/threshold",
            json!(1e13),
            "trees[1][0].threshold: must be a number",
        ),
        (
            "/trees/1/0/missing",
            json!("belw"),
            "trees[1][0].missing: expected one of `below`, `otherwise`; did you mean `below`?",
        ),
        (
            "/trees/1/0/feature",
            json!("amonut"),
            "did you mean `amount`?",
        ),
        (
            "/trees/1/0/leaf",
            json!(1),
            "trees[1][0]: expected either `leaf` alone, or",
        ),
        (
            "/trees/1/0/missing",
            json!("(gone)"),
            "trees[1][0]: expected either",
        ),
        ("/trees/1/0", json!({}), "trees[1][0]: expected either"),
        ("/trees/1/0/below", json!(65_536), "expected u16"),
        (
            "/intercept",
            json!(1),
            "intercept: a model of kind `gradient_boosted_trees` has none",
        ),
        (
            "/inputs",
            json!([]),
            "inputs: a model of kind `gradient_boosted_trees` has none",
        ),
    ];
    for (pointer, value, expected) in table {
        let shown: String = value.to_string().chars().take(80).collect();
        let said = wrong(&fine, pointer, value);
        assert!(said.contains(expected), "{pointer} = {shown}: {said}");
    }
}

#[test]
fn the_deepest_and_the_most_trees_are_taken() {
    let most = vec![json!([leaf(0.0)]); TREES_MAX];
    model(&trees(0.0, &json!(most)));
    let mut deep: Vec<Value> = (0..DEPTH_MAX)
        .flat_map(|level| {
            let own_leaf = u16::try_from(2 * level + 1).expect("small");
            [
                split("amount", 1.0, own_leaf + 1, own_leaf, "below"),
                leaf(-9.0),
            ]
        })
        .collect();
    deep.push(leaf(9.0));
    let model = model(&trees(0.0, &json!([deep])));
    assert_eq!(model.score(&of(&[(Feature::Amount, 0)])).get(), 1_000);
    assert_eq!(model.score(&of(&[(Feature::Amount, 1)])).get(), 0);
}

proptest! {
    /// A logistic model in random numbers, against the system's mathematics.
    #[test]
    fn any_logistic_model_scores_as_by_hand(
        intercept in -5.0..5.0_f64,
        inputs in proptest::collection::vec((-3.0..3.0_f64, 0.0..20.0_f64, 0.1..10.0_f64, 0.0..20.0_f64), FEATURES),
        values in proptest::collection::vec(proptest::option::of(0..40_u32), FEATURES),
    ) {
        let written: Vec<Value> = Feature::ALL.iter().zip(&inputs)
            .map(|(feature, (weight, mean, scale, missing))| {
                input(feature.as_str(), *weight, *mean, *scale, *missing)
            })
            .collect();
        let known = Feature::ALL.iter().zip(&values);
        let features = known.fold(Features::unknown(), |features, (feature, value)| {
            features.with(*feature, value.map(u64::from))
        });
        let summands = inputs.iter().zip(&values).map(|((weight, mean, scale, missing), value)| {
            weight * (value.map_or(*missing, f64::from) - mean) / scale
        });
        let log_odds: f64 = intercept + summands.sum::<f64>();
        let expected = 1_000.0 / (1.0 + (-log_odds).exp());
        let score = f64::from(model(&logistic(intercept, &json!(written))).score(&features).get());
        prop_assert!((score - expected).abs() <= 0.5 + 1e-6, "{score}, {expected}");
    }
}
