//! What the shipped risk rules cost: the whole way of a hold (turn, decide, append, apply) and of a
//! payment's intent, with all of them in force and with none; and what features and models cost beside
//! them. Each buyer tries once, so every counter that the rules ask for is a new key: the dearest
//! case. Prints how long the records of each are.
//!
//! Beside criterion's figures it prints how the throughput with the rules stands to that without, from rounds
//! that alternate, so that what else the machine does meets both alike.

mod common;

use common::{Bench, hold};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdfast::engine::command::{Buy, PlaceHold};
use holdfast::engine::event::{ModelInForce, RulesSource};
use holdfast::engine::features::{FEATURES_VERSION, Feature, Features};
use holdfast::engine::metadata::Metadata;
use holdfast::engine::risk::scoring::{FeaturesWritten, LoadedModel};
use holdfast::ids::{CardToken, DeviceId, Lsn};
use holdfast::journal::{Audit, NewRules, NewScoring, digest_of};
use holdfast::money::Currency;
use holdfast::risk::{SHIPPED, compile, model};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Attempts in one measured round, and how many before the disk is waited for.
const ATTEMPTS: u64 = 50_000;
const IN_FLIGHT: u64 = 4_096;

fn risk_rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("risk_rules");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .throughput(Throughput::Elements(ATTEMPTS));
    let scored = format!("{SHIPPED}{ON_SCORE}");
    let cases: [(&str, &str, Option<&Scored>); 5] = [
        ("none", "", None),
        ("shipped", SHIPPED, None),
        ("shipped+features", SHIPPED, Some(&Scored::Features)),
        ("shipped+logistic", &scored, Some(&Scored::Logistic)),
        ("shipped+trees", &scored, Some(&Scored::Trees)),
    ];
    for (name, text, scored) in cases {
        group.bench_function(BenchmarkId::new("hold", name), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| holds(text, scored)).sum());
        });
        group.bench_function(BenchmarkId::new("buy", name), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| buys(text, scored)).sum());
        });
    }
    group.finish();
    ratio("hold", |text| holds(text, None));
    ratio("buy", |text| buys(text, None));
}

/// Pairs of rounds that are compared.
const PAIRS: usize = 15;

/// Prints the throughput with the shipped rules against none: the median of pairs, and the range of their
/// middle half.
fn ratio(name: &str, timed: fn(&str) -> Duration) {
    let mut ratios: Vec<f64> = (0..PAIRS)
        .map(|pair| {
            // Neither is always the first.
            let (none, shipped) = if pair % 2 == 0 {
                let none = timed("");
                (none, timed(SHIPPED))
            } else {
                let shipped = timed(SHIPPED);
                (timed(""), shipped)
            };
            none.as_secs_f64() / shipped.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let [low, median, high] = [PAIRS / 4, PAIRS / 2, PAIRS - 1 - PAIRS / 4].map(|at| ratios[at]);
    println!(
        "risk_rules/{name}: throughput with the shipped rules / without: {median:.3} ({low:.3} to {high:.3}), {PAIRS} pairs of {ATTEMPTS}"
    );
}

/// Models alone, over features of which half are known.
fn models(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("risk_models");
    let known = (0..).zip(Feature::ALL);
    let features = known.fold(Features::unknown(), |features, (number, feature)| {
        features.with(feature, (number % 2 == 0).then_some(number))
    });
    for (name, text) in [("logistic", logistic()), ("trees", trees())] {
        let model = model::parse(&text).expect("it is fine").model;
        group.bench_function(name, |bencher| {
            bencher.iter(|| model.score(std::hint::black_box(&features)));
        });
    }
    group.finish();
}

/// What is done beside rules.
#[derive(Debug)]
enum Scored {
    /// Features are written.
    Features,
    /// And every feature has a weight.
    Logistic,
    /// Or a hundred trees of depth five are asked.
    Trees,
}

const ON_SCORE: &str = "
[[rule]]
name = \"scored\"
when = \"risk_score >= 1000\"
then = \"block\"
";

fn logistic() -> String {
    let inputs = Feature::ALL.map(|feature| {
        let name = feature.as_str();
        json!({ "feature": name, "weight": 0.01, "mean": 1, "scale": 100, "missing": 0 })
    });
    json!({
        "format": "holdfast-risk-model/1", "features": FEATURES_VERSION, "kind": "logistic",
        "intercept": -2, "inputs": inputs,
    })
    .to_string()
}

fn trees() -> String {
    let node = |tree: usize, place: usize| {
        if place >= 31 {
            return json!({ "leaf": 0.01 });
        }
        let feature = Feature::ALL[(tree + place) % Feature::ALL.len()].as_str();
        json!({
            "feature": feature, "threshold": place % 7, "below": 2 * place + 1,
            "otherwise": 2 * place + 2, "missing": "below",
        })
    };
    let tree = |tree: usize| (0..63).map(|place| node(tree, place)).collect::<Vec<_>>();
    json!({
        "format": "holdfast-risk-model/1", "features": FEATURES_VERSION,
        "kind": "gradient_boosted_trees", "base_score": -2,
        "trees": (0..100).map(tree).collect::<Vec<_>>(),
    })
    .to_string()
}

fn scoring(scored: &Scored) -> NewScoring {
    let text = match scored {
        Scored::Features => None,
        Scored::Logistic => Some(logistic()),
        Scored::Trees => Some(trees()),
    };
    let model = text.map(|text| {
        let parsed = model::parse(&text).expect("it is fine");
        let digest = digest_of(&text);
        let named = ModelInForce {
            digest,
            kind: parsed.model.kind().to_owned(),
            name: None,
        };
        let model = Arc::new(parsed.model);
        (LoadedModel { model, digest }, named)
    });
    NewScoring {
        features: FeaturesWritten::Always,
        model,
    }
}

fn with_rules(text: &str, scored: Option<&Scored>) -> Bench {
    let bench = Bench::open();
    if let Some(scored) = scored {
        let put = bench.journal.risk().put_scoring(scoring(scored));
        put.expect("the log takes it");
    }
    let compiled = compile(text).expect("the rules are fine");
    let new = NewRules {
        compiled: compiled.set,
        text: text.to_owned(),
        source: RulesSource::Shipped,
        by: None,
    };
    bench
        .journal
        .risk()
        .put_rules(new, Audit::Nothing)
        .expect("the log takes it");
    bench
}

fn holds(text: &str, scored: Option<&Scored>) -> Duration {
    let bench = with_rules(text, scored);
    let product = bench.fresh_product();
    let commands: Vec<PlaceHold> = (0..ATTEMPTS)
        .map(|number| {
            let mut command = hold(&product, number);
            command.origin.ip = Some(address(number));
            command
        })
        .collect();
    timed(&bench, &commands, |command| {
        let submitted = bench.journal.place_hold(command);
        submitted
            .expect("the log takes it")
            .durable_at
            .expect("a hold waits for the log")
    })
}

fn buys(text: &str, scored: Option<&Scored>) -> Duration {
    let bench = with_rules(text, scored);
    let product = bench.fresh_product();
    let commands: Vec<Buy> = (0..ATTEMPTS)
        .map(|number| {
            let PlaceHold {
                mut origin, user, ..
            } = hold(&product, number);
            origin.ip = Some(address(number));
            origin.device = DeviceId::parse(&format!("device-{number}"));
            Buy {
                origin,
                user,
                product: product.clone(),
                quantity: 1,
                currency: Currency::parse("USD").expect("listed"),
                card: CardToken::parse(&format!("tok_{number}x")).expect("a token"),
                promotion: None,
                hold: None,
                metadata: Metadata::default(),
            }
        })
        .collect();
    timed(&bench, &commands, |command| {
        let submitted = bench.journal.buy(command).expect("the log takes it");
        submitted.durable_at.expect("a payment waits for the log")
    })
}

/// A few thousand addresses: several buyers share one.
fn address(number: u64) -> IpAddr {
    let [.., a, b] = (number % 4_096).to_be_bytes();
    Ipv4Addr::new(198, 18, a, b).into()
}

fn timed<C>(bench: &Bench, commands: &[C], submit: impl Fn(&C) -> Lsn) -> Duration {
    let began = Instant::now();
    let mut last = Lsn(0);
    for (number, command) in (1..).zip(commands) {
        last = submit(command);
        if number % IN_FLIGHT == 0 {
            bench.journal.wait_durable(last).expect("durable");
        }
    }
    bench.journal.wait_durable(last).expect("durable");
    let elapsed = began.elapsed();
    let bytes = last.0 / commands.len() as u64;
    eprintln!("{bytes} bytes of log an attempt");
    elapsed
}

criterion_group!(benches, risk_rules, models);
criterion_main!(benches);
