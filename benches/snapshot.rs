//! Snapshots: writing one of 100,000 held purchases beside an idle journal, and restoring it from
//! memory (the page cache's part of a start). Bytes a purchase, all that a buyer brings with them
//! (their name, rate window and idempotency key) included, are printed first.

mod common;

use common::{Bench, hold};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast::engine::settings::EngineSettings;
use holdfast::journal::SnapshotReport;
use holdfast::journal::snapshot::restore;
use std::hint::black_box;
use std::time::Duration;

const PURCHASES: u64 = 100_000;

fn snapshot(criterion: &mut Criterion) {
    let bench = Bench::open();
    let product = bench.fresh_product();
    for buyer in 0..PURCHASES {
        let submitted = bench.journal.place_hold(&hold(&product, buyer));
        submitted.expect("the log takes it");
    }
    let taken = bench.journal.upkeep().snapshot().expect("it is written");
    assert_eq!(taken.purchases, PURCHASES, "every hold is in it");
    let per_mille = taken.bytes * 10 / taken.purchases;
    println!(
        "a snapshot of {PURCHASES} purchases has {} bytes: {}.{} each",
        taken.bytes,
        per_mille / 10,
        per_mille % 10
    );
    let file = bench.snapshot_file(taken.lsn);
    let bytes = std::fs::read(file).expect("the snapshot is there");

    let mut engine = EngineSettings::default();
    engine.bounds.velocity_keys_max = 1_000;

    let mut group = criterion.benchmark_group("snapshot");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(PURCHASES));
    group.bench_function("write", |bencher| {
        bencher.iter(|| -> SnapshotReport {
            bench.journal.upkeep().snapshot().expect("it is written")
        });
    });
    group.bench_function("restore", |bencher| {
        bencher.iter(|| restore(black_box(&bytes[..]), &engine).expect("it is good"));
    });
    group.finish();
}

criterion_group!(benches, snapshot);
criterion_main!(benches);
