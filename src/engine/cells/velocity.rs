//! Attempts counted across buyers: for each key (a card token, an address, a device, a product) its last instants.
//!
//! 1. A key's answer is exact for every window, as long as the key is in the table: see [`VelocityCell`].
//! 2. At most `keys_max` keys, and one more for each thread that is just adding one.
//! 3. An instant recorded while its key goes out is not lost: whoever comes second, the recorder or the one who takes
//!    the key out, carries it over.
//!
//! **At the bound** a new key takes the place of the one whose latest instant is the oldest among [`SAMPLE`] keys next
//! to each other at a random place. So a key that is being tried right now is all but never the one to go, unless more
//! than `keys_max` keys are.
//!
//! **Memory.** For a key with a depth of up to 6 about 150 bytes: 96 for the entry, 16 for its place, the rest for the
//! map; 8 bytes for each further instant.
//!
//! Left out: which dimensions there are, which windows and thresholds rules ask for, and the digest of a key.

use foldhash::fast::FixedState;
use papaya::HashMap;

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

/// Instants by key, bounded in keys and in instants for each.
pub struct VelocityTable {
    depth: usize,
    cells: HashMap<KeyDigest, Entry, FixedState>,
    /// Which key stands at which place, for drawing samples. A place is written by its owner alone; a reader may see
    /// the halves of two keys, and finds no such key in the map.
    places: Box<[[AtomicU64; 2]]>,
    places_given: AtomicU64,
    draws: AtomicU64,
}

struct Entry {
    cell: VelocityCell,
    /// The entry's place plus one; zero while it has none and cannot be taken out.
    place: AtomicU64,
    /// The entry is being taken out of the map, or has been.
    gone: AtomicBool,
}

// What the head of this file says about memory.
#[cfg(all(target_pointer_width = "64", not(holdfast_loom)))]
const _: () = assert!(size_of::<(KeyDigest, Entry)>() == 96);

impl Entry {
    fn new(
        depth: usize,
        instants: impl IntoIterator<Item = AttemptInstant>,
        place: Option<usize>,
    ) -> Self {
        let cell = VelocityCell::new(depth);
        for instant in instants {
            cell.record(instant);
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
        self.cell.latest(1)
    }

    fn place(&self) -> Option<usize> {
        let place = self.place.load(Ordering::Acquire).checked_sub(1)?;
        Some(usize::try_from(place).expect("a place is an index into `places`"))
    }
}

impl VelocityTable {
    /// A table for up to `keys_max` keys (at least [`KEYS_MIN`]; fewer are taken as that many) which keeps `depth`
    /// instants for each (1 to [`DEPTH_MAX`]): one more than the largest threshold any rule asks for.
    pub fn new(keys_max: usize, depth: usize) -> Self {
        assert!(
            (1..=DEPTH_MAX).contains(&depth),
            "a velocity table keeps 1..={DEPTH_MAX} instants, not {depth}"
        );
        let keys_max = keys_max.max(KEYS_MIN);
        Self {
            depth,
            // Keys are digests already: a fixed seed takes nothing from an attacker's work.
            cells: HashMap::builder().hasher(FixedState::default()).build(),
            places: (0..keys_max)
                .map(|_| [AtomicU64::new(0), AtomicU64::new(0)])
                .collect(),
            places_given: AtomicU64::new(0),
            draws: AtomicU64::new(0),
        }
    }

    /// How many instants a key keeps: counts are exact below it.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Keys in the table.
    pub fn keys(&self) -> usize {
        self.cells.len()
    }

    /// Adds an instant to a key. Applying it again changes nothing.
    ///
    /// It is given up only where other threads have come first in each of 64 rounds or samples,
    /// which takes more threads that add keys than the table has keys.
    pub fn record(&self, key: KeyDigest, instant: AttemptInstant) {
        for _ in 0..RECORD_ROUNDS_MAX {
            let cells = self.cells.pin();
            let Some(entry) = cells.get(&key) else {
                if self.add(key, instant) {
                    return;
                }
                continue;
            };
            entry.cell.record(instant);
            // Pairs with the fence in `take_out`: it sees the instant, or this sees `gone`.
            fence(Ordering::SeqCst);
            if !entry.gone.load(Ordering::Relaxed) {
                return;
            }
            // The entry may still be in the map for a moment; the next round must not find it there.
            let _ = cells.remove_if(&key, |_, found| std::ptr::eq(found, entry));
        }
    }

    /// How many of a key's instants lie at `since_ms` or later, at most `cap`. Exact as long as the answer is below
    /// both `cap` and the depth; otherwise it means "at least".
    pub fn count_since(&self, key: KeyDigest, since_ms: u64, cap: u32) -> u32 {
        self.cells
            .pin()
            .get(&key)
            .map_or(0, |entry| entry.cell.count_since(since_ms))
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
        self.cells.pin().get(&key)?.cell.latest(n)
    }

    /// Calls `visit` with every key and its instants (in no order), for a snapshot. What is recorded meanwhile may or
    /// may not be in it; all that was recorded before the call is.
    pub fn export(&self, mut visit: impl FnMut(KeyDigest, &[AttemptInstant])) {
        let mut instants = Vec::with_capacity(self.depth);
        for (key, entry) in &self.cells.pin() {
            instants.clear();
            instants.extend(entry.cell.instants());
            visit(*key, &instants);
        }
    }

    /// Takes over one key of an export; importing twice changes nothing.
    pub fn import(&self, key: KeyDigest, instants: &[AttemptInstant]) {
        for instant in instants {
            self.record(key, *instant);
        }
    }

    /// Adds a key with its first instant; false when another thread was first.
    fn add(&self, key: KeyDigest, instant: AttemptInstant) -> bool {
        let fresh = Entry::new(self.depth, [instant], None);
        let cells = self.cells.pin();
        let Ok(entry) = cells.try_insert(key, fresh) else {
            return false;
        };
        let Some(place) = self.new_place().or_else(|| self.vacate()) else {
            // Everything in reach is in other hands: the newcomer gives way, and the bound stands.
            entry.gone.store(true, Ordering::Relaxed);
            let _ = cells.remove_if(&key, |_, found| std::ptr::eq(found, entry));
            return true;
        };
        for (half, word) in self.places[place].iter().zip(halves(key)) {
            half.store(word, Ordering::Relaxed);
        }
        entry
            .place
            .store(Entry::mark(Some(place)), Ordering::Release);
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

    /// Takes out the oldest key of a sample and hands over its place.
    fn vacate(&self) -> Option<usize> {
        (0..SAMPLES_MAX).find_map(|_| {
            let (judged_by, victim) = self.oldest_of_a_sample()?;
            self.take_out(victim, judged_by)
        })
    }

    /// The key whose latest instant is the oldest, with that instant.
    fn oldest_of_a_sample(&self) -> Option<(Option<AttemptInstant>, KeyDigest)> {
        let cells = self.cells.pin();
        let start = self.draw();
        let sampled = (0..SAMPLE).filter_map(|step| {
            let place = (start + step) % self.places.len();
            let [low, high] = &self.places[place];
            let key = joined([low.load(Ordering::Relaxed), high.load(Ordering::Relaxed)]);
            let entry = cells.get(&key)?;
            (entry.place() == Some(place)).then(|| (entry.latest(), key))
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
        let back = Entry::new(self.depth, entry.cell.instants(), Some(place));
        if cells.try_insert(key, back).is_ok() {
            return None;
        }
        // Another recorder has brought the key back already, with a place of its own.
        for instant in entry.cell.instants() {
            self.record(key, instant);
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

impl std::fmt::Debug for VelocityTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VelocityTable")
            .field("depth", &self.depth)
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
