//! New keys in a full table: what every attempt of a stranger costs where counters by card, address and device are kept.
//!
//! ```text
//! cargo bench --bench velocity_tables                       # a million keys, a few minutes
//! cargo bench --bench velocity_tables -- --keys 100000      # fewer
//! ```
//!
//! Each record names a key that was never seen, so each takes one key out. Ours looks for an old key among eight; the
//! maps beside it are told which key goes (the one that came first), and are spared that work. The table is filled to
//! its bound first; rounds of the tables alternate, and the median round by time a record stands in the table. The latency
//! is that of single records, a clock read of about 25 ns included.
//!
//! The figures and what follows from them: `docs/decisions/0002-velocity-tables.md`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::sync::Barrier;
use std::time::Instant;

use dashmap::DashMap;
use foldhash::fast::FixedState;
use hdrhistogram::Histogram;
use holdfast::engine::cells::{AttemptInstant, Cell, KeyDigest, VelocityCell, VelocityTable};
use parking_lot::Mutex;

const ROUNDS: usize = 3;
const TABLES: usize = 5;
const RECORDS: u64 = 1_000_000;
const SHARDS: usize = 64;
const BEGIN_MS: u64 = 1_800_000_000_000;
/// Many attempts share a millisecond, as in a drop.
const PER_MS: u64 = 50;

trait Table: Sync {
    const NAME: &'static str;
    fn new(keys_max: usize) -> Self;
    /// Records `instant` under `key`; where the table is full, `oldest` may go.
    fn record(&self, key: KeyDigest, instant: AttemptInstant, oldest: Option<KeyDigest>);
}

struct Ours(VelocityTable);

impl Table for Ours {
    const NAME: &'static str = "velocity table";

    fn new(keys_max: usize) -> Self {
        Self(VelocityTable::new(keys_max))
    }

    fn record(&self, key: KeyDigest, instant: AttemptInstant, _: Option<KeyDigest>) {
        self.0.record(key, instant, 16);
    }
}

/// With this many shards; 0: as many as it chooses.
struct Dash<const SHARDS: usize>(DashMap<KeyDigest, VelocityCell, FixedState>);

impl<const SHARDS: usize> Table for Dash<SHARDS> {
    const NAME: &'static str = match SHARDS {
        0 => "dashmap, told what goes",
        256 => "dashmap of 256 shards, told what goes",
        _ => "dashmap of 1,024 shards, told what goes",
    };

    fn new(_: usize) -> Self {
        Self(match SHARDS {
            0 => DashMap::with_hasher(FixedState::default()),
            shards => DashMap::with_hasher_and_shard_amount(FixedState::default(), shards),
        })
    }

    fn record(&self, key: KeyDigest, instant: AttemptInstant, oldest: Option<KeyDigest>) {
        self.0.insert(key, VelocityCell::of(instant));
        if let Some(oldest) = oldest {
            self.0.remove(&oldest);
        }
    }
}

type Locked = Mutex<hashbrown::HashMap<KeyDigest, VelocityCell, FixedState>>;

struct Hashbrown(Vec<Locked>);

impl Hashbrown {
    fn shard(&self, key: KeyDigest) -> &Locked {
        &self.0[(key >> 122) as usize]
    }
}

impl Table for Hashbrown {
    const NAME: &'static str = "hashbrown behind 64 mutexes, told what goes";

    fn new(_: usize) -> Self {
        Self((0..SHARDS).map(|_| Locked::default()).collect())
    }

    fn record(&self, key: KeyDigest, instant: AttemptInstant, oldest: Option<KeyDigest>) {
        self.shard(key)
            .lock()
            .insert(key, VelocityCell::of(instant));
        if let Some(oldest) = oldest {
            self.shard(oldest).lock().remove(&oldest);
        }
    }
}

/// The `n`th key of a thread.
fn key(thread: u64, n: u64) -> KeyDigest {
    let half = |seed: u64| {
        let mut bits = (n ^ thread << 56 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    };
    u128::from(half(1 << 48)) << 64 | u128::from(half(1 << 49))
}

struct Round {
    ns_a_record: u128,
    latency: Histogram<u64>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000, 3).expect("a second and three digits are allowed")
}

type Run = fn(usize, u64) -> Round;

fn round<T: Table>(keys_max: usize, threads: u64) -> Round {
    let table = T::new(keys_max);
    let kept = keys_max as u64 / threads;
    let start = Barrier::new(usize::try_from(threads).expect("few"));
    let records = RECORDS / threads;
    let timed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (table, start) = (&table, &start);
                scope.spawn(move || {
                    let record = |n: u64| {
                        let at_ms = BEGIN_MS + n / PER_MS;
                        let instant = AttemptInstant::new(at_ms, n * threads + thread);
                        let oldest = n.checked_sub(kept).map(|n| key(thread, n));
                        table.record(key(thread, n), instant, oldest);
                    };
                    (0..kept).for_each(record);
                    start.wait();
                    let mut latency = histogram();
                    let began = Instant::now();
                    for n in kept..kept + records {
                        let at = Instant::now();
                        record(n);
                        let took_ns = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        latency.saturating_record(took_ns);
                    }
                    (began.elapsed(), latency)
                })
            })
            .collect();
        let done = workers
            .into_iter()
            .map(|worker| worker.join().expect("it does not panic"));
        done.collect::<Vec<_>>()
    });
    let mut latency = histogram();
    for (_, of_thread) in &timed {
        latency.add(of_thread).expect("the same digits");
    }
    let longest = timed.iter().map(|(took, _)| *took).max().expect("a thread");
    Round {
        ns_a_record: longest.as_nanos() / u128::from(records),
        latency,
    }
}

fn main() {
    let mut keys_max = 1_000_000;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        // Cargo says --bench.
        if arg == "--keys" {
            let given = args.next().and_then(|it| it.parse().ok());
            keys_max = given.expect("--keys takes a number");
        }
    }
    println!("{RECORDS} new keys in a full table of {keys_max}, ns a record and thread");
    println!("| threads | table | ns a record | p50 | p99.9 | max µs |");
    println!("|---|---|---|---|---|---|");
    for threads in [1, 2] {
        let runs: [(&str, Run); TABLES] = [
            (Ours::NAME, round::<Ours>),
            (Dash::<0>::NAME, round::<Dash<0>>),
            (Dash::<256>::NAME, round::<Dash<256>>),
            (Dash::<1024>::NAME, round::<Dash<1024>>),
            (Hashbrown::NAME, round::<Hashbrown>),
        ];
        let mut rounds: [Vec<Round>; TABLES] = std::array::from_fn(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (of_table, (_, run)) in rounds.iter_mut().zip(runs) {
                of_table.push(run(keys_max, threads));
            }
        }
        for (mut of_table, (name, _)) in rounds.into_iter().zip(runs) {
            of_table.sort_by_key(|round| round.ns_a_record);
            let Round {
                ns_a_record,
                latency,
            } = &of_table[ROUNDS / 2];
            println!(
                "| {threads} | {name} | {ns_a_record} | {} | {} | {} |",
                latency.value_at_quantile(0.5),
                latency.value_at_quantile(0.999),
                latency.max() / 1_000
            );
        }
    }
}
