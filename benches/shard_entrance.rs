//! The entrance of a shard: one writer at a time. A `parking_lot` mutex against two lock-free mailboxes that whoever
//! finds the shard idle drains for all (flat combining).
//!
//! ```text
//! cargo bench --bench shard_entrance                  # every row, 5 rounds of 0.5 s, about 2 minutes
//! cargo bench --bench shard_entrance -- --seconds 2   # longer rows
//! ```
//!
//! Threads enter shards in a closed loop: 256 shards at random, or one hot shard. Within its turn a thread works for
//! about 300 ns or 1 µs on the shard's memory; between two turns for about 1 µs on its own, as a worker does that
//! parses and answers. Latency is from knocking to having the result, the work within included. Rounds of the three
//! entrances alternate, and the median round by throughput stands in the table.
//!
//! The figures and what follows from them: `docs/decisions/0001-shard-entrance.md`.

use std::cell::UnsafeCell;
use std::hint::{black_box, spin_loop};
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// What a turn changes: a few cache lines of a shard.
#[derive(Default)]
struct Shard {
    words: [u64; 32],
}

impl Shard {
    /// Dependent steps over the shard's memory, so that neither the compiler nor the core can skip any.
    fn turn(&mut self, steps: u32) -> u64 {
        let mut x = self.words[0] | 1;
        for step in 0..steps {
            x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ u64::from(step);
            self.words[(x >> 59) as usize] ^= x;
        }
        self.words[0] = x;
        x
    }
}

trait Entrance: Default + Sync {
    const NAME: &'static str;
    fn enter(&self, steps: u32) -> u64;
}

#[derive(Default)]
struct Locked(Mutex<Shard>);

impl Entrance for Locked {
    const NAME: &'static str = "mutex";

    fn enter(&self, steps: u32) -> u64 {
        self.0.lock().turn(steps)
    }
}

const WAITING: u8 = 0;
const PARKED: u8 = 1;
const DONE: u8 = 2;

/// One request, on the stack of whoever waits for it.
struct Letter {
    next: AtomicPtr<Letter>,
    steps: u32,
    result: AtomicU64,
    state: AtomicU8,
    owner: Thread,
}

/// A stack of letters that the one who wins `busy` takes whole, turns over and works off. `PARK` says how a waiting
/// thread waits in the end: parked, or yielding until it is served.
struct Mailbox<const PARK: bool> {
    letters: CachePadded<AtomicPtr<Letter>>,
    busy: CachePadded<AtomicBool>,
    shard: UnsafeCell<Shard>,
}

// SAFETY: `shard` is touched only by the thread that turned `busy` from false to true, until it turns it back.
unsafe impl<const PARK: bool> Sync for Mailbox<PARK> {}

impl<const PARK: bool> Default for Mailbox<PARK> {
    fn default() -> Self {
        Self {
            letters: CachePadded::new(AtomicPtr::new(null_mut())),
            busy: CachePadded::default(),
            shard: UnsafeCell::default(),
        }
    }
}

thread_local! {
    static ME: Thread = thread::current();
}

impl<const PARK: bool> Entrance for Mailbox<PARK> {
    const NAME: &'static str = if PARK {
        "mailbox, parks"
    } else {
        "mailbox, yields"
    };

    fn enter(&self, steps: u32) -> u64 {
        // Nobody there: straight in, without a letter.
        if self.letters.load(Ordering::Relaxed).is_null() && self.try_open() {
            // SAFETY: `try_open` won `busy`.
            let result = unsafe { &mut *self.shard.get() }.turn(steps);
            self.drain();
            self.close();
            return result;
        }
        let owner = ME.with(Thread::clone);
        let letter = Letter {
            next: AtomicPtr::default(),
            steps,
            result: AtomicU64::default(),
            state: AtomicU8::new(WAITING),
            owner,
        };
        self.post(&letter);
        self.wait_for(&letter);
        letter.result.load(Ordering::Relaxed)
    }
}

impl<const PARK: bool> Mailbox<PARK> {
    fn try_open(&self) -> bool {
        !self.busy.load(Ordering::SeqCst)
            && self
                .busy
                .compare_exchange(false, true, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
    }

    fn close(&self) {
        loop {
            self.busy.store(false, Ordering::SeqCst);
            // A letter posted after the drain and before the store: its sender may have found the shard busy.
            if self.letters.load(Ordering::SeqCst).is_null() || !self.try_open() {
                return;
            }
            self.drain();
        }
    }

    fn post(&self, letter: &Letter) {
        let mut head = self.letters.load(Ordering::Relaxed);
        loop {
            letter.next.store(head, Ordering::Relaxed);
            let posted = (&raw const *letter).cast_mut();
            match self.letters.compare_exchange_weak(
                head,
                posted,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Works off what was posted; only under `busy`.
    fn drain(&self) {
        let mut newest = self.letters.swap(null_mut(), Ordering::SeqCst);
        while !newest.is_null() {
            let mut oldest = null_mut::<Letter>();
            // SAFETY: a letter lives until its `state` says DONE, and the whole chain is ours.
            while let Some(letter) = unsafe { newest.as_ref() } {
                let next = letter.next.swap(oldest, Ordering::Relaxed);
                oldest = newest;
                newest = next;
            }
            // SAFETY: as above; what is read of the letter is read before it is DONE.
            while let Some(letter) = unsafe { oldest.as_ref() } {
                oldest = letter.next.load(Ordering::Relaxed);
                let owner = PARK.then(|| letter.owner.clone());
                // SAFETY: `busy` is ours, so the shard is.
                let result = unsafe { &mut *self.shard.get() }.turn(letter.steps);
                letter.result.store(result, Ordering::Relaxed);
                let was = letter.state.swap(DONE, Ordering::AcqRel);
                if let (PARKED, Some(owner)) = (was, owner) {
                    owner.unpark();
                }
            }
            newest = self.letters.swap(null_mut(), Ordering::SeqCst);
        }
    }

    fn wait_for(&self, letter: &Letter) {
        let mut rounds = 0_u32;
        while letter.state.load(Ordering::Acquire) != DONE {
            if self.try_open() {
                self.drain();
                self.close();
                continue;
            }
            rounds += 1;
            match rounds {
                0..64 => spin_loop(),
                64..72 => thread::yield_now(),
                _ if !PARK => thread::yield_now(),
                _ => {
                    let parks = letter.state.compare_exchange(
                        WAITING,
                        PARKED,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    );
                    // Whoever is busy sees the letter before it leaves (`close`), so somebody unparks.
                    if parks.is_ok() || letter.state.load(Ordering::Acquire) == PARKED {
                        if self.try_open() {
                            self.drain();
                            self.close();
                            continue;
                        }
                        thread::park();
                    }
                }
            }
        }
    }
}

struct Row {
    per_second: f64,
    latency: Histogram<u64>,
}

/// What one step of `Shard::turn` takes here, in nanoseconds: the fastest of many short runs, as on a shared machine
/// all the others were interrupted.
fn nanos_per_step() -> f64 {
    const STEPS: u32 = 5_000;
    let mut shard = Shard::default();
    let run = || {
        let began = Instant::now();
        black_box(shard.turn(STEPS));
        began.elapsed().as_secs_f64() * 1e9 / f64::from(STEPS)
    };
    std::iter::repeat_with(run)
        .take(4_000)
        .fold(f64::INFINITY, f64::min)
}

/// How many steps take about `nanos`.
fn steps_for(nanos: u32, per_step: f64) -> u32 {
    // A few hundred steps: nothing is lost.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let steps = (f64::from(nanos) / per_step).round() as u32;
    steps
}

fn measure<E: Entrance>(
    threads: u64,
    shards: usize,
    inside: u32,
    outside: u32,
    time: Duration,
) -> Row {
    let doors: Vec<CachePadded<E>> = (0..shards).map(|_| CachePadded::default()).collect();
    let start = Barrier::new(usize::try_from(threads).expect("a few threads"));
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let latencies: Vec<Histogram<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (doors, start, stop) = (&doors, &start, &stop);
                scope.spawn(move || {
                    let mut latency =
                        Histogram::new_with_max(10_000_000_000, 3).expect("a valid range");
                    let mut own = Shard::default();
                    let mut random = worker.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                    start.wait();
                    while !stop.load(Ordering::Relaxed) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let door =
                            &doors[usize::try_from(random >> 40).expect("24 bits") % doors.len()];
                        let knocked = Instant::now();
                        black_box(door.enter(inside));
                        let took = knocked.elapsed().as_nanos();
                        latency.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                        black_box(own.turn(outside));
                    }
                    latency
                })
            })
            .collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no worker panics"))
            .collect()
    });
    let elapsed = began.elapsed().as_secs_f64();
    let mut latency = Histogram::new_with_max(10_000_000_000, 3).expect("a valid range");
    for one in &latencies {
        latency.add(one).expect("the same range");
    }
    // A count of turns in a few seconds is far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    Row {
        per_second: latency.len() as f64 / elapsed,
        latency,
    }
}

fn print(name: &str, case: &str, mut rounds: Vec<Row>) {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let row = rounds.swap_remove(rounds.len() / 2);
    let at = |quantile: f64| {
        let nanos = row.latency.value_at_quantile(quantile);
        #[allow(clippy::cast_precision_loss)]
        let micros = nanos as f64 / 1_000.0;
        micros
    };
    println!(
        "| {case} | {name} | {:.2} | {:.2} | {:.2} | {:.1} |",
        row.per_second / 1e6,
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

fn main() {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--seconds")
        .skip(1);
    let seconds = arguments.next().map_or(0.5, |value| {
        value.parse().expect("--seconds takes a number")
    });
    // `cargo test --benches` only wants to see that it runs.
    let (time, rounds) = if std::env::args().any(|argument| argument == "--bench") {
        (Duration::from_secs_f64(seconds), 5)
    } else {
        (Duration::from_millis(5), 1)
    };
    let per_step = nanos_per_step();
    let outside = steps_for(1_000, per_step);
    println!("One step takes {per_step:.2} ns; {rounds} rounds of {time:?}.\n");
    println!(
        "| shards, work within, threads | entrance | M/s | p50 µs | p99 µs | p99.9 µs |\n|---|---|---|---|---|---|"
    );
    for (shards, shards_are) in [(256, "256 random"), (1, "1 hot")] {
        for nanos in [300, 1_000] {
            let inside = steps_for(nanos, per_step);
            for threads in [1, 2, 4, 8] {
                let case = format!("{shards_are}, {nanos} ns, {threads}");
                let mut all = [Vec::new(), Vec::new(), Vec::new()];
                for _ in 0..rounds {
                    all[0].push(measure::<Locked>(threads, shards, inside, outside, time));
                    all[1].push(measure::<Mailbox<true>>(
                        threads, shards, inside, outside, time,
                    ));
                    all[2].push(measure::<Mailbox<false>>(
                        threads, shards, inside, outside, time,
                    ));
                }
                let [locked, parks, yields] = all;
                print(Locked::NAME, &case, locked);
                print(Mailbox::<true>::NAME, &case, parks);
                print(Mailbox::<false>::NAME, &case, yields);
            }
        }
    }
}
