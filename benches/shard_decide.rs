//! One turn of a shard without a log: deciding a hold and applying its event, through the engine's
//! public functions only, and the refusal when nothing is left. A new shard is begun every few
//! thousand holds, so that the figures are those of a shard of usual size, not of one that grows
//! without end.

mod common;

use common::{UNITS, hold, hot_product};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast::engine::catalogue::Catalogue;
use holdfast::engine::command::PlaceHold;
use holdfast::engine::decide::{Context, decide_hold};
use holdfast::engine::settings::EngineSettings;
use holdfast::engine::shard::Shard;
use holdfast::engine::shared::amounts::SharedAmounts;
use holdfast::engine::stamp::{Settled, Stamp};
use holdfast::ids::{Lsn, ProductId, PurchaseTag, ShardId};
use holdfast::time::UnixMs;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Holds that a shard takes before the next one begins.
const HOLDS_A_SHARD: usize = 4_096;
const AT: UnixMs = UnixMs::new(1_800_000_000_000);

fn shard_decide(criterion: &mut Criterion) {
    let settings = EngineSettings::default();
    let product = ProductId::parse("drop-1").expect("an id");
    let commands: Vec<PlaceHold> = (0..HOLDS_A_SHARD as u64)
        .map(|number| hold(&product, number))
        .collect();
    let mut group = criterion.benchmark_group("shard_decide");
    group.throughput(Throughput::Elements(1));

    group.bench_function("hold_decided_and_applied", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            let mut left = usize::try_from(rounds).expect("rounds fit memory");
            while left > 0 {
                let batch = left.min(HOLDS_A_SHARD);
                spent += place(&product, &commands[..batch], &settings);
                left -= batch;
            }
            spent
        });
    });

    group.bench_function("sold_out", |bencher| {
        let catalogue = catalogue_of(&product, 0);
        let shard = Shard::new(ShardId::new(0));
        let amounts = SharedAmounts::new(&settings.amounts, 1);
        let context = Context {
            shard: &shard,
            catalogue: &catalogue,
            settings: &settings,
            shared: &amounts,
            watch: None,
            at: AT,
            day_start: AT,
            tag: PurchaseTag(7),
        };
        let mut commands = commands.iter().cycle();
        bencher.iter(|| {
            let command = commands.next().expect("a cycle has no end");
            decide_hold(context, black_box(command)).expect_err("nothing is left")
        });
    });
    group.finish();
}

/// Places `commands` in a shard of their own; the time it took.
fn place(product: &ProductId, commands: &[PlaceHold], settings: &EngineSettings) -> Duration {
    let catalogue = catalogue_of(product, UNITS);
    let mut shard = Shard::new(ShardId::new(0));
    let amounts = SharedAmounts::new(&settings.amounts, 1);
    let began = Instant::now();
    for (lsn, command) in (0..).step_by(256).zip(commands) {
        let context = Context {
            shard: &shard,
            catalogue: &catalogue,
            settings,
            shared: &amounts,
            watch: None,
            at: AT,
            day_start: AT,
            tag: PurchaseTag(7),
        };
        let decision = decide_hold(context, command).expect("units are left");
        decision.claims.keep();
        for event in &decision.events {
            let stamp = Stamp {
                at: AT,
                lsn: Lsn(lsn),
                settled: Settled::Yes,
            };
            let effects = shard.apply(event, stamp, &catalogue, settings.limits());
            black_box(effects.expect("a decision goes with its shard"));
        }
    }
    began.elapsed()
}

fn catalogue_of(product: &ProductId, stock: u32) -> Catalogue {
    let mut catalogue = Catalogue::default();
    let mut set = hot_product(product);
    set.stock = stock;
    catalogue.add_product(set);
    catalogue
}

criterion_group!(benches, shard_decide);
criterion_main!(benches);
