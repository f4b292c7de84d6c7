//! What is counted across buyers: for each key (of a card token, an address, a device, a product, a buyer) its last
//! instants, or its last distinct values.
//!
//! 1. A key's answer is exact for every window, as long as the key is in the table: see [`VelocityCell`] and
//!    [`DistinctCell`].
//! 2. At most `keys_max` keys: a key is added only with a place of its own.
//! 3. An instant is recorded under a shared lock, and a key is removed under the exclusive one, so no instant is lost
//!    with its key. Each of the map's [`SHARDS`] has a lock, held while a cell is written or read or the shard grows.
//!    Cells themselves have no locks, and the table never copies itself as a whole.
//!
//! **At the bound** a new key takes the place of the one whose latest instant is the oldest among [`SAMPLE`] keys next
//! to each other at a random place, if that instant is in an earlier millisecond than its own: so the keys of one
//! attempt never replace each other. If there is no such key, the new key is not added. Both are counted
//! ([`VelocityTable::given_up`]).
//!
//! **Memory.** For a key with up to 6 instants about 130 bytes: 80 for key and entry, 24 for its place, the rest for
//! the map; 8 bytes for each further slot, of which there are 16, 32, 64 and so on up to the depth as they are needed.
//! For a key with one distinct value about 90; with more of them a list on the heap is added.
//!
//! Left out: which dimensions there are, which windows and thresholds rules ask for, and the digest of a key.

use crossbeam_utils::CachePadded;
use dashmap::{DashMap, Entry as Slot};
use foldhash::fast::FixedState;

use super::cell::{AttemptInstant, Cell, DEPTH_MAX};
use super::distinct_cell::DistinctCell;
use super::sync::{AtomicU64, Ordering, zeroed};
use super::velocity_cell::VelocityCell;

/// The smallest bound on the number of keys: many more than there are threads.
pub const KEYS_MIN: usize = 1_024;

/// What stands at a place that no key had yet, or that is just being taken; no instant packs to it.
const EMPTY: u64 = 0;

/// What stands at a place that was taken for a key that another thread had added meanwhile; no instant packs to it.
const SPARE: u64 = 1;

/// What a place takes.
const PLACE_WORDS: usize = 3;

/// How many keys are compared to choose the one that goes.
const SAMPLE: usize = 8;

/// How many looks at keys of one sample find its oldest. Where each look finds a key that was just written to, another
/// sample is drawn.
const LOOKS_MAX: usize = 2 * SAMPLE;

/// How many samples are drawn for one that can go. A sample fails only where all its keys are as young as the newcomer,
/// or just coming or going in other threads' hands.
const SAMPLES_MAX: usize = 64;

/// Parts of the map, each with a lock of its own: at the default bound of a million keys one has some 1,000, so a part that
/// grows is copied within about a hundred microseconds, and a snapshot holds no writer up for longer.
const SHARDS: usize = 1_024;

/// A key: 128 bits of a digest over dimension and value.
pub type KeyDigest = u128;

/// Cells by key. The number of keys is bounded; each record bounds the items of its cell.
pub struct VelocityTable<C: Cell = VelocityCell> {
    cells: DashMap<KeyDigest, Entry<C>, FixedState>,
    /// Three words for each place, see [`Place`]. Memory that no key has needed yet is never touched.
    places: Box<[AtomicU64]>,
    places_given: AtomicU64,
    turnover: CachePadded<Turnover>,
}

/// What adding a key came to.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Added {
    /// It is there with its item, or given up at the bound.
    Done,
    /// Another thread added the key first.
    ByAnother,
}

/// What every newcomer to a full table counts; away from what all threads read.
struct Turnover {
    draws: AtomicU64,
    /// Keys that had to go, and newcomers that had to give way.
    given_up: AtomicU64,
}

/// Which key stands at a place, for drawing samples.
///
/// The key is written by its owner alone; a reader may see the halves of two keys, and finds no such key in the map. Beside
/// it stands the key's latest instant when it was last looked at, packed: its latest is this or a later one, so the oldest
/// of a sample is found by looking at one or two keys, not at all. It is wrong for a moment where a place changes hands
/// just while somebody writes what the earlier key had: that key is taken for younger than it is.
struct Place<'a> {
    key: [&'a AtomicU64; 2],
    seen: &'a AtomicU64,
}

struct Entry<C> {
    cell: C,
    place: usize,
}

// What the head of this file says about memory.
#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = {
    assert!(size_of::<(KeyDigest, Entry<VelocityCell>)>() == 80);
    assert!(size_of::<(KeyDigest, Entry<DistinctCell>)>() == 48);
};

impl Place<'_> {
    /// Its owner's: `key`, whose latest instant is `latest`, stands here now.
    fn take(&self, key: KeyDigest, latest: AttemptInstant) {
        for (half, word) in self.key.iter().zip(halves(key)) {
            half.store(word, Ordering::Relaxed);
        }
        self.seen.store(latest.to_bits(), Ordering::Relaxed);
    }

    fn key(&self) -> KeyDigest {
        joined(self.key.map(|half| half.load(Ordering::Relaxed)))
    }

    /// Makes the place spare. Call it as its owner; the next thread that takes it owns it.
    fn put_back(&self) {
        self.seen.store(SPARE, Ordering::Relaxed);
    }

    /// Whether it was put back and is the caller's now.
    fn pick_up(&self) -> bool {
        self.seen.load(Ordering::Relaxed) == SPARE
            && self
                .seen
                .compare_exchange(SPARE, EMPTY, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn seen(&self) -> Option<AttemptInstant> {
        AttemptInstant::from_bits(self.seen.load(Ordering::Relaxed))
    }

    /// Its key's latest instant is `latest`, no longer `seen`.
    fn look_again(&self, seen: AttemptInstant, latest: AttemptInstant) {
        // Where it fails, somebody else has looked again, or the place has another key.
        let _ = self.seen.compare_exchange(
            seen.to_bits(),
            latest.to_bits(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

impl<C: Cell> VelocityTable<C> {
    /// A table for up to `keys_max` keys (at least [`KEYS_MIN`]; fewer are taken as that many).
    pub fn new(keys_max: usize) -> Self {
        let keys_max = keys_max.max(KEYS_MIN);
        Self {
            // Keys are digests already: a fixed seed takes nothing from an attacker's work.
            cells: DashMap::with_hasher_and_shard_amount(FixedState::default(), SHARDS),
            places: zeroed(keys_max * PLACE_WORDS),
            places_given: AtomicU64::new(0),
            turnover: CachePadded::new(Turnover {
                draws: AtomicU64::new(0),
                given_up: AtomicU64::new(0),
            }),
        }
    }

    /// Keys that had to go because the table was full, and newcomers that had to give way.
    pub fn given_up(&self) -> u64 {
        self.turnover.given_up.load(Ordering::Relaxed)
    }

    /// Keys in the table.
    pub fn keys(&self) -> usize {
        let given = self.places_given.load(Ordering::Relaxed);
        usize::try_from(given).map_or(self.keys_max(), |given| given.min(self.keys_max()))
    }

    /// Adds an item to a key, which keeps `depth` (1 to [`DEPTH_MAX`]). Applying it again changes nothing.
    ///
    /// It is given up only where the table is full and no key of 64 samples may go: each is as young as the item, or in
    /// another thread's hands.
    pub fn record(&self, key: KeyDigest, item: C::Item, depth: usize) {
        loop {
            let recorded = self.read(key, |cell| cell.record(item, depth));
            if recorded.is_some() || self.add(key, item) == Added::Done {
                return;
            }
        }
    }

    /// Calls `visit` with every key and its items (in their order), for a snapshot. What is recorded meanwhile may or
    /// may not be in it; all that was recorded before the call is. Each key comes once. `visit` runs under the lock of
    /// the key's part of the map, so it must be short and must not use this table.
    pub fn export(&self, mut visit: impl FnMut(KeyDigest, &[C::Item])) {
        let mut items = Vec::new();
        // The iterator locks a part for reading before it leaves the part before it, always in the same order; everything
        // else locks one part at a time. So no two threads can wait for each other.
        for entry in &self.cells {
            items.clear();
            entry.cell.items(&mut items);
            items.sort_unstable();
            visit(*entry.key(), &items);
        }
    }

    /// Takes over one key of an export, all of it; importing twice changes nothing.
    pub fn import(&self, key: KeyDigest, items: &[C::Item]) {
        let depth = items.len().clamp(1, DEPTH_MAX);
        for item in items {
            self.record(key, *item, depth);
        }
    }

    /// What `read` makes of the cell under `key`; `None` where there is none.
    fn read<T>(&self, key: KeyDigest, read: impl FnOnce(&C) -> T) -> Option<T> {
        self.cells.view(&key, |_, entry| read(&entry.cell))
    }

    /// Adds a key with its first item.
    fn add(&self, key: KeyDigest, item: C::Item) -> Added {
        let instant = C::instant_of(item);
        let Some(place) = self.new_place().or_else(|| self.vacate(instant)) else {
            // Everything in reach is newer or in other hands: the newcomer gives way, and the bound stands.
            self.turnover.given_up.fetch_add(1, Ordering::Relaxed);
            return Added::Done;
        };
        // Made before the lock: a list may have to be allocated.
        let cell = C::of(item);
        match self.cells.entry(key) {
            Slot::Vacant(slot) => drop(slot.insert(Entry { cell, place })),
            Slot::Occupied(_) => {
                self.place(place).put_back();
                return Added::ByAnother;
            }
        }
        self.place(place).take(key, instant);
        Added::Done
    }

    /// A place that was never used.
    fn new_place(&self) -> Option<usize> {
        let in_range = |place: &usize| *place < self.keys_max();
        if self.places_given.load(Ordering::Relaxed) >= self.keys_max() as u64 {
            return None;
        }
        let place = self.places_given.fetch_add(1, Ordering::Relaxed);
        usize::try_from(place).ok().filter(in_range)
    }

    fn keys_max(&self) -> usize {
        self.places.len() / PLACE_WORDS
    }

    fn place(&self, place: usize) -> Place<'_> {
        let (places, _) = self.places.as_chunks::<PLACE_WORDS>();
        let [low, high, seen] = &places[place];
        Place {
            key: [low, high],
            seen,
        }
    }

    /// A place for a newcomer of `instant`, at which another key stood until now.
    fn vacate(&self, instant: AttemptInstant) -> Option<usize> {
        (0..SAMPLES_MAX).find_map(|_| self.take_out_the_oldest(instant))
    }

    /// Takes out the key of a sample whose latest instant is the oldest; its place now belongs to the caller. Only a key
    /// whose latest instant is of an earlier millisecond than the newcomer's goes, so none that the same attempt names.
    fn take_out_the_oldest(&self, newcomer: AttemptInstant) -> Option<usize> {
        // 1. Draw a sample: a few places side by side, at random, so that this takes the same time in
        // a table of any size, and no list in order of age has to be kept.
        let first = self.draw() * SAMPLE;
        let places: [usize; SAMPLE] = std::array::from_fn(|step| (first + step) % self.keys_max());
        // 2. A place that was taken for a key that another thread added first has no key: use it.
        let spare = places.into_iter().find(|it| self.place(*it).pick_up());
        if spare.is_some() {
            return spare;
        }
        // 3. `seen` is a key's latest instant when it was last looked at; its latest is that one or a
        // later one. So the key with the smallest `seen` is the oldest, if nothing was written since.
        let mut sample = places.map(|it| self.place(it).seen().map(|seen| (seen, it)));
        for _ in 0..LOOKS_MAX {
            let oldest = sample.iter_mut().filter(|it| it.is_some()).min()?;
            let (seen, place) = (*oldest)?;
            // 4. All keys of the sample are as young as the newcomer, some perhaps of the same attempt.
            if seen.at_ms() >= newcomer.at_ms() {
                return None;
            }
            // 5. Look and remove under the shard's lock, which a writer to the cell shares: no instant
            // can be recorded between the comparison and the removal, and none is lost with its key.
            // The place is compared too, because the key read from it may be torn, or may have moved.
            let mut latest = None;
            let taken = self.cells.remove_if(&self.place(place).key(), |_, entry| {
                if entry.place == place {
                    latest = entry.cell.newest();
                }
                latest == Some(seen)
            });
            // 6. No entry points to the place any more, so it belongs to the caller alone.
            if taken.is_some() {
                self.turnover.given_up.fetch_add(1, Ordering::Relaxed);
                return Some(place);
            }
            // 7. Written to since it was last looked at: note the later instant and look at the next
            // oldest. Or the place belongs to another thread now: leave it out.
            *oldest = latest.map(|latest| {
                self.place(place).look_again(seen, latest);
                (latest, place)
            });
        }
        None
    }

    /// Draws one of the samples into which the places are divided, so that a sample lies in few cache lines. The last
    /// sample may wrap around to the first places. Splitmix over a counter: no thread-local state, no clock, and the
    /// same in every run.
    fn draw(&self) -> usize {
        let mut bits = self
            .turnover
            .draws
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let samples = self.keys_max().div_ceil(SAMPLE) as u64;
        let sample = (bits ^ (bits >> 31)) % samples;
        usize::try_from(sample).expect("less than the number of places")
    }
}

impl VelocityTable {
    /// How many of a key's instants lie at `since_ms` or later, at most `cap`; `None` where there is no such key. Exact
    /// as long as the answer is below both `cap` and the depth; otherwise it means "at least".
    pub fn count_since(&self, key: KeyDigest, since_ms: u64, cap: u32) -> Option<u32> {
        self.read(key, |cell| cell.count_since(since_ms).min(cap))
    }

    /// Whether a key has more than `n` instants younger than `window_ms` at `now_ms`; exact for every `n` below the
    /// depth. An instant exactly `window_ms` old is out; one from after `now_ms` is in.
    pub fn more_than(&self, key: KeyDigest, n: usize, window_ms: u64, now_ms: u64) -> bool {
        let younger = |instant: AttemptInstant| instant.at_ms().saturating_add(window_ms) > now_ms;
        self.latest(key, n + 1).is_some_and(younger)
    }

    /// A key's `n`th latest instant, counting from 1; `None` when there are fewer or `n` is beyond the depth.
    pub fn latest(&self, key: KeyDigest, n: usize) -> Option<AttemptInstant> {
        self.read(key, |cell| cell.latest(n))?
    }
}

impl VelocityTable<DistinctCell> {
    /// How many distinct values a key has seen at `since_ms` or later, at most `cap`; `None` where there is no such key.
    /// Exact as long as the answer is below both `cap` and the depth; otherwise it means "at least".
    pub fn distinct_since(&self, key: KeyDigest, since_ms: u64, cap: u32) -> Option<u32> {
        self.read(key, |cell| cell.distinct_since(since_ms).min(cap))
    }
}

impl<C: Cell> std::fmt::Debug for VelocityTable<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VelocityTable")
            .field("keys_max", &self.keys_max())
            .finish_non_exhaustive()
    }
}

// Cut into the two halves on purpose.
#[allow(clippy::cast_possible_truncation)]
const fn halves(key: KeyDigest) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

const fn joined([low, high]: [u64; 2]) -> KeyDigest {
    ((high as u128) << 64) | low as u128
}
