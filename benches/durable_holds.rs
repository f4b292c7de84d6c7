//! Durable holds in process: engine and log, from one and from two threads, random buyers on one
//! hot product. Each measured batch ends only when its last hold is durable. Beside it, the limit:
//! the same bytes appended to the log without an engine.

mod common;

use common::{Bench, hold};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdfast::ids::Lsn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Holds in flight a thread before it waits for the disk: what 256 connections would have.
const IN_FLIGHT: u64 = 4_096;

/// Holds a thread places in one measured round.
const EACH: u64 = 200_000;

fn durable_holds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable_holds");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    let buyers = AtomicU64::new(0);
    for threads in [1_u64, 2] {
        group.throughput(Throughput::Elements(threads * EACH));
        group.bench_function(BenchmarkId::new("engine_and_log", threads), |bencher| {
            bencher.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| run(&Bench::open(), threads, EACH, &buyers))
                    .sum()
            });
        });
    }
    group.finish();
}

/// `threads` threads place `each` holds; the time until all are durable.
fn run(bench: &Bench, threads: u64, each: u64, buyers: &AtomicU64) -> Duration {
    let product = bench.fresh_product();
    let first = buyers.fetch_add(threads * each, Ordering::Relaxed);
    let batches: Vec<Vec<_>> = (0..threads)
        .map(|thread| {
            (0..each)
                .map(|it| hold(&product, first + thread * each + it))
                .collect()
        })
        .collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for batch in &batches {
            scope.spawn(move || {
                let mut last = Lsn(0);
                for (number, command) in (1..).zip(batch) {
                    let submitted = bench.journal.place_hold(command).expect("the log takes it");
                    last = submitted.durable_at.expect("a hold waits for the log");
                    if number % IN_FLIGHT == 0 {
                        bench.journal.wait_durable(last).expect("durable");
                    }
                }
                bench.journal.wait_durable(last).expect("durable");
            });
        }
    });
    began.elapsed()
}

criterion_group!(benches, durable_holds);
criterion_main!(benches);
