//! What is counted across buyers: for each key (of a card token, an address, a device, a product, a buyer) its last
//! instants, or its last distinct values.
//!
//! 1. A key's answer is exact for every window, as long as the key is in the table: see [`VelocityCell`] and
//!    [`DistinctCell`].
//! 2. At most `keys_max` keys, and one more for each thread that is just adding one.
//! 3. An instant recorded while its key goes out is not lost: whoever comes second, the recorder or the one who takes
//!    the key out, carries it over.
//!
//! **At the bound** a new key takes the place of the one whose latest instant is the oldest among [`SAMPLE`] keys next
//! to each other at a random place, and only of one whose latest instant is of an earlier millisecond than its own: the
//! keys that one attempt names never push each other out. Where none such is found the newcomer is not taken in. Both
//! are counted ([`VelocityTable::given_up`]).
//!
//! **Memory.** For a key with up to 6 instants about 150 bytes: 96 for the entry, 16 for its place, the rest for the
//! map; 8 bytes for each further slot, of which there are 16, 32, 64 and so on up to the depth as they are needed.
//!
//! Left out: which dimensions there are, which windows and thresholds rules ask for, and the digest of a key.

use foldhash::fast::FixedState;
use papaya::HashMap;

use super::distinct_cell::DistinctCell;
use super::sync::{AtomicBool, AtomicU64, Ordering, fence};
use super::velocity_cell::{AttemptInstant, DEPTH_MAX, VelocityCell};

/// The smallest bound on the number of keys: many more than there are threads.
pub const KEYS_MIN: usize = 1_024;

/// How many keys are compared to choose the one that goes.
const SAMPLE: usize = 8;

/// How many samples are drawn for one that can go. A sample fails only where all its keys are just coming or going in
/// other threads' hands.
const SAMPLES_MAX: usize = 64;

/// How often a record starts over because its key was taken out under it. Each time the key had been the oldest of a
/// sample a moment after it was written to.
const RECORD_ROUNDS_MAX: usize = 64;

/// A key: 128 bits of a digest over dimension and value.
pub type KeyDigest = u128;

/// What stands under one key: a set that keeps the largest of what is recorded, and in which recording again changes
/// nothing.
pub trait Cell: Default {
    /// What is recorded.
    type Item: Copy + Ord;

    /// Adds `item`. It stays unless `depth` (1 to [`DEPTH_MAX`]) later ones are there.
    fn record(&self, item: Self::Item, depth: usize);

    /// The latest instant.
    fn newest(&self) -> Option<AttemptInstant>;

    /// When an item is from.
    fn instant_of(item: Self::Item) -> AttemptInstant;

    /// All items, in no order.
    fn items(&self) -> Vec<Self::Item>;
}

/// Cells by key, bounded in keys and, by what is asked for with each record, in items for each.
pub struct VelocityTable<C: Cell = VelocityCell> {
    cells: HashMap<KeyDigest, Entry<C>, FixedState>,
    /// Which key stands at which place, for drawing samples. A place is written by its owner alone; a reader may see
    /// the halves of two keys, and finds no such key in the map.
    places: Box<[[AtomicU64; 2]]>,
    places_given: AtomicU64,
    draws: AtomicU64,
    /// Keys that had to go, and newcomers that had to give way.
    given_up: AtomicU64,
}

struct Entry<C> {
    cell: C,
    /// The entry's place plus one; zero while it has none and cannot be taken out.
    place: AtomicU64,
    /// The entry is being taken out of the map, or has been.
    gone: AtomicBool,
}

// What the head of this file says about memory.
#[cfg(all(target_pointer_width = "64", not(holdfast_loom)))]
const _: () = assert!(size_of::<(KeyDigest, Entry<VelocityCell>)>() == 96);

impl<C: Cell> Entry<C> {
    fn new(depth: usize, items: impl IntoIterator<Item = C::Item>, place: Option<usize>) -> Self {
        let cell = C::default();
        for item in items {
            cell.record(item, depth);
        }
        Self {
            cell,
            place: AtomicU64::new(Self::mark(place)),
            gone: AtomicBool::new(false),
        }
    }

    fn mark(place: Option<usize>) -> u64 {
        place.map_or(0, |place| place as u64 + 1)
    }

    fn latest(&self) -> Option<AttemptInstant> {
        self.cell.newest()
    }

    fn place(&self) -> Option<usize> {
        let place = self.place.load(Ordering::Acquire).checked_sub(1)?;
        Some(usize::try_from(place).expect("a place is an index into `places`"))
    }
}

impl<C: Cell> VelocityTable<C> {
    /// A table for up to `keys_max` keys (at least [`KEYS_MIN`]; fewer are taken as that many).
    pub fn new(keys_max: usize) -> Self {
        let keys_max = keys_max.max(KEYS_MIN);
        Self {
            // Keys are digests already: a fixed seed takes nothing from an attacker's work.
            cells: HashMap::builder().hasher(FixedState::default()).build(),
            places: (0..keys_max)
                .map(|_| [AtomicU64::new(0), AtomicU64::new(0)])
                .collect(),
            places_given: AtomicU64::new(0),
            draws: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    /// Keys that had to go because the table was full, and newcomers that had to give way.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Keys in the table.
    pub fn keys(&self) -> usize {
        self.cells.len()
    }

    /// Adds an item to a key, which keeps `depth` (1 to [`DEPTH_MAX`]). Applying it again changes nothing.
    ///
    /// It is given up only where other threads have come first in each of 64 rounds or samples,
    /// which takes more threads that add keys than the table has keys.
    pub fn record(&self, key: KeyDigest, item: C::Item, depth: usize) {
        for _ in 0..RECORD_ROUNDS_MAX {
            let cells = self.cells.pin();
            let Some(entry) = cells.get(&key) else {
                if self.add(key, item, depth) {
                    return;
                }
                continue;
            };
            entry.cell.record(item, depth);
            // Pairs with the fence in `take_out`: it sees the instant, or this sees `gone`.
            fence(Ordering::SeqCst);
            if !entry.gone.load(Ordering::Relaxed) {
                return;
            }
            // The entry may still be in the map for a moment; the next round must not find it there.
            let _ = cells.remove_if(&key, |_, found| std::ptr::eq(found, entry));
        }
    }

    /// Calls `visit` with every key and its items (in their order), for a snapshot. What is recorded meanwhile may or
    /// may not be in it; all that was recorded before the call is.
    pub fn export(&self, mut visit: impl FnMut(KeyDigest, &[C::Item])) {
        for (key, entry) in &self.cells.pin() {
            let mut items = entry.cell.items();
            items.sort_unstable();
            visit(*key, &items);
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
        self.cells.pin().get(&key).map(|entry| read(&entry.cell))
    }

    /// Adds a key with its first item; false when another thread was first.
    fn add(&self, key: KeyDigest, item: C::Item, depth: usize) -> bool {
        let fresh = Entry::new(depth, [item], None);
        let cells = self.cells.pin();
        let Ok(entry) = cells.try_insert(key, fresh) else {
            return false;
        };
        let Some(place) = self
            .new_place()
            .or_else(|| self.vacate(C::instant_of(item)))
        else {
            // Everything in reach is newer or in other hands: the newcomer gives way, and the bound stands.
            self.given_up.fetch_add(1, Ordering::Relaxed);
            entry.gone.store(true, Ordering::Relaxed);
            let _ = cells.remove_if(&key, |_, found| std::ptr::eq(found, entry));
            return true;
        };
        for (half, word) in self.places[place].iter().zip(halves(key)) {
            half.store(word, Ordering::Relaxed);
        }
        entry
            .place
            .store(Entry::<C>::mark(Some(place)), Ordering::Release);
        true
    }

    /// A place nobody has had yet.
    fn new_place(&self) -> Option<usize> {
        let places = self.places.len() as u64;
        if self.places_given.load(Ordering::Relaxed) >= places {
            return None;
        }
        let place = self.places_given.fetch_add(1, Ordering::Relaxed);
        usize::try_from(place)
            .ok()
            .filter(|place| *place < self.places.len())
    }

    /// Takes out the oldest key of a sample and hands over its place, which a newcomer of `instant` wants.
    fn vacate(&self, instant: AttemptInstant) -> Option<usize> {
        let place = (0..SAMPLES_MAX).find_map(|_| {
            let (judged_by, victim) = self.oldest_of_a_sample(instant)?;
            self.take_out(victim, judged_by)
        })?;
        self.given_up.fetch_add(1, Ordering::Relaxed);
        Some(place)
    }

    /// The key whose latest instant is the oldest, with that instant; only of an earlier millisecond than the
    /// newcomer's, so that no key that the same attempt names is ever the one to go.
    fn oldest_of_a_sample(
        &self,
        newcomer: AttemptInstant,
    ) -> Option<(Option<AttemptInstant>, KeyDigest)> {
        let cells = self.cells.pin();
        let start = self.draw();
        let older =
            |latest: Option<AttemptInstant>| latest.is_none_or(|it| it.at_ms() < newcomer.at_ms());
        let sampled = (0..SAMPLE).filter_map(|step| {
            let place = (start + step) % self.places.len();
            let [low, high] = &self.places[place];
            let key = joined([low.load(Ordering::Relaxed), high.load(Ordering::Relaxed)]);
            let entry = cells.get(&key)?;
            let latest = entry.latest();
            (entry.place() == Some(place) && older(latest)).then_some((latest, key))
        });
        sampled.min()
    }

    /// Takes a key out of the map; its place now belongs to the caller. `None` when another thread was first, or when
    /// the key was written to since its latest instant was `judged_by`: it is not the oldest after all, and stays.
    fn take_out(&self, key: KeyDigest, judged_by: Option<AttemptInstant>) -> Option<usize> {
        let cells = self.cells.pin();
        let entry = cells.get(&key)?;
        let place = entry.place()?;
        if entry.latest() != judged_by || entry.gone.swap(true, Ordering::Relaxed) {
            return None;
        }
        let _ = cells.remove_if(&key, |_, found| std::ptr::eq(found, entry));
        // Pairs with the fence in `record`.
        fence(Ordering::SeqCst);
        if entry.latest() == judged_by {
            return Some(place);
        }
        let items = entry.cell.items();
        let depth = items.len().clamp(1, DEPTH_MAX);
        let back = Entry::new(depth, items.iter().copied(), Some(place));
        if cells.try_insert(key, back).is_ok() {
            return None;
        }
        // Another recorder has brought the key back already, with a place of its own.
        for item in items {
            self.record(key, item, depth);
        }
        Some(place)
    }

    /// A random place. Splitmix over a counter: no thread-local state, no clock, and the same in every run.
    fn draw(&self) -> usize {
        let mut bits = self
            .draws
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let place = (bits ^ (bits >> 31)) % self.places.len() as u64;
        usize::try_from(place).expect("less than the number of places")
    }
}

impl VelocityTable {
    /// How many of a key's instants lie at `since_ms` or later, at most `cap`. Exact as long as the answer is below
    /// both `cap` and the depth; otherwise it means "at least".
    pub fn count_since(&self, key: KeyDigest, since_ms: u64, cap: u32) -> u32 {
        self.read(key, |cell| cell.count_since(since_ms))
            .unwrap_or(0)
            .min(cap)
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
    /// How many distinct values a key has seen at `since_ms` or later, at most `cap`. Exact as long as the answer is
    /// below both `cap` and the depth; otherwise it means "at least".
    pub fn distinct_since(&self, key: KeyDigest, since_ms: u64, cap: u32) -> u32 {
        self.read(key, |cell| cell.distinct_since(since_ms))
            .unwrap_or(0)
            .min(cap)
    }
}

impl<C: Cell> std::fmt::Debug for VelocityTable<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VelocityTable")
            .field("keys_max", &self.places.len())
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
