//! What the shipped risk rules cost: the whole way of a hold (turn, decide, append, apply) and of a
//! payment's intent, with all of them in force and with none. Each buyer tries once, so every counter
//! that the rules ask for is a new key: the dearest case.
//!
//! Beside criterion's figures it prints how the throughput with the rules stands to that without, from rounds
//! that alternate, so that what else the machine does meets both alike.

mod common;

use common::{Bench, hold};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdfast::engine::command::{Buy, PlaceHold};
use holdfast::engine::event::RulesSource;
use holdfast::ids::{CardToken, DeviceId, Lsn};
use holdfast::journal::NewRules;
use holdfast::money::Currency;
use holdfast::risk::{SHIPPED, compile};
use std::net::{IpAddr, Ipv4Addr};
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
    for (name, text) in [("none", ""), ("shipped", SHIPPED)] {
        group.bench_function(BenchmarkId::new("hold", name), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| holds(text)).sum());
        });
        group.bench_function(BenchmarkId::new("buy", name), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| buys(text)).sum());
        });
    }
    group.finish();
    ratio("hold", holds);
    ratio("buy", buys);
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

fn with_rules(text: &str) -> Bench {
    let bench = Bench::open();
    let compiled = compile(text).expect("the rules are fine");
    let new = NewRules {
        compiled: compiled.set,
        text: text.to_owned(),
        source: RulesSource::Shipped,
        by: None,
    };
    bench.journal.put_rules(new).expect("the log takes it");
    bench
}

fn holds(text: &str) -> Duration {
    let bench = with_rules(text);
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

fn buys(text: &str) -> Duration {
    let bench = with_rules(text);
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
    began.elapsed()
}

criterion_group!(benches, risk_rules);
criterion_main!(benches);
