//! A claim on stock and its giving back, under contention: the packed cell beside what else one would take.
//!
//! ```text
//! cargo bench --bench stock_claim -- --measurement-time 2
//! ```
//!
//! Threads hammer one product and do nothing else, which is worse than any drop: in the engine a claim is a few
//! nanoseconds within some hundred of `decide`. Time is for one claim and one giving back of one thread, while the
//! others do the same. `fetch_add` is the floor: it has no bound and would oversell.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_utils::CachePadded;
use holdfast::engine::cells::StockCell;
use parking_lot::Mutex;

const TOTAL: u32 = 1_000_000;

/// Runs `turn` `turns` times on each of `threads` threads; the time until the last is done.
fn together(threads: u64, turns: u64, turn: impl Fn() + Sync) -> Duration {
    let start = Barrier::new(usize::try_from(threads).expect("a few threads") + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..turns {
                        turn();
                    }
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        for worker in workers {
            worker.join().expect("no worker panics");
        }
        began.elapsed()
    })
}

fn claim_and_give_back(c: &mut Criterion) {
    let mut group = c.benchmark_group("stock_claim");
    for threads in [1, 2, 4] {
        group.throughput(Throughput::Elements(threads));

        let cell = StockCell::new(TOTAL).expect("in range");
        group.bench_function(BenchmarkId::new("packed_cell", threads), |b| {
            b.iter_custom(|turns| together(threads, turns, || drop(black_box(cell.claim(1)))));
        });

        let locked = CachePadded::new(Mutex::new((TOTAL, 0_u32)));
        group.bench_function(BenchmarkId::new("mutex", threads), |b| {
            b.iter_custom(|turns| {
                together(threads, turns, || {
                    let claimed = {
                        let mut levels = locked.lock();
                        let fits = levels.1 < levels.0;
                        levels.1 += u32::from(fits);
                        fits
                    };
                    if black_box(claimed) {
                        locked.lock().1 -= 1;
                    }
                })
            });
        });

        let bare = CachePadded::new(AtomicU64::new(0));
        group.bench_function(BenchmarkId::new("fetch_add", threads), |b| {
            b.iter_custom(|turns| {
                together(threads, turns, || {
                    black_box(bare.fetch_add(1, Ordering::AcqRel));
                    bare.fetch_sub(1, Ordering::AcqRel);
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, claim_and_give_back);
criterion_main!(benches);
