//! A set of fingerprints (nonces, webhook event ids) that forgets whole generations at once.
//!
//! 1. Of all callers with one fingerprint exactly one gets [`Admission::Fresh`] within the
//!    retention, for any difference of their clocks and any scheduling.
//! 2. A fingerprint is remembered for at least the retention, at most for twice that and three
//!    skews.
//! 3. A table belongs to one generation for ever: it is never cleared and reused, so a thread that
//!    was suspended with an old table cannot corrupt a new one. The last reference frees it.
//!
//! **Rotation.** Two tables are live, current and previous; the time a caller brings turns them. A
//! caller first makes sure that the fingerprint is not in the previous table *and never will be*:
//! if its probe ends at an empty slot, it writes `SEALED` there. A slot is written once. So a
//! thread that still takes the previous table for the current one either finds the fingerprint's
//! slot sealed and tries again, or it was first and the caller finds the fingerprint. Either way
//! one compare-and-swap on one slot decides. A thread that is two generations late writes into a
//! table that no other thread reads; for all others its instant is older than the retention. A
//! caller whose clock is more than the skew before the current generation is refused, because its
//! fingerprint may be forgotten.
//!
//! **Memory.** A table has twice its capacity in slots, rounded up to a power of two, of 8 bytes:
//! 16 to 32 bytes for each fingerprint of the capacity, twice for two generations, and once more
//! while an old table is freed. Tables come zeroed from the allocator; their pages cost memory
//! when they are first written.
//!
//! Left out: what a fingerprint is made of (callers cut a SHA-256), and the clock.

use std::sync::Arc;

use super::sync::{AtomicU64, Ordering, Shared, zeroed};

/// How far the clocks of two callers may lie apart, in milliseconds, without shortening the retention.
pub const CLOCK_SKEW_MS: u64 = 1_000;

/// The longest retention, in milliseconds: ten years.
pub const RETENTION_MS_MAX: u64 = 10 * 366 * 24 * 3_600 * 1_000;

/// The largest capacity of a generation: 2^28 fingerprints.
const CAPACITY_MAX: usize = 1 << 28;

/// How many slots a caller looks at before it calls a table full. At capacity a table is half full, and the longest
/// run of taken slots in one of a million is about 75.
const PROBES_MAX: usize = 256;

const EMPTY: u64 = 0;
const SEALED: u64 = u64::MAX;

/// 64 bits of a digest that stand for a nonce or an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// From 64 bits of a good digest. The two values that mark slots become their neighbours.
    pub const fn new(bits: u64) -> Self {
        Self(match bits {
            EMPTY => 1,
            SEALED => SEALED - 1,
            bits => bits,
        })
    }

    /// The bits to write down; `new(f.get()) == f`.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The guard's answer to a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Not seen within the retention; remembered from now on.
    Fresh,
    /// Seen before. Also the answer if it was seen longer ago than the retention, while its generation lives.
    Replayed,
    /// No room is left in this generation: nothing was remembered, and the caller must refuse.
    Full,
    /// The instant is so far behind other callers' that a use within the retention may be forgotten already. Nothing
    /// was remembered, and the caller must refuse; it may ask again with a new reading of the clock.
    Late,
}

/// A recovered fingerprint found no room: the capacity was lowered below what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replay guard has no room for all fingerprints it remembered: raise its capacity")]
pub struct GuardFull;

/// One generation as it goes into a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationExport {
    /// The last instant whose fingerprints the generation may hold, in milliseconds.
    pub last_ms: u64,
    /// Its fingerprints, in no order.
    pub fingerprints: Vec<Fingerprint>,
}

/// The guard. All calls take `&self`, never wait, and may come from any thread.
pub struct ReplayGuard {
    generation_ms: u64,
    slots: usize,
    live: Shared<Live>,
}

struct Live {
    generation: u64,
    current: Arc<GuardTable>,
    previous: Option<Arc<GuardTable>>,
}

impl ReplayGuard {
    /// Remembers up to `capacity` fingerprints (at most 2^28) in each span of `retention_ms` (1 to
    /// [`RETENTION_MS_MAX`]), and each of them for at least that long. Panics outside of these ranges; the configuration
    /// checks them before.
    pub fn new(capacity: usize, retention_ms: u64) -> Self {
        assert!(
            (1..=CAPACITY_MAX).contains(&capacity),
            "a guard's capacity is 1..=2^28, not {capacity}"
        );
        assert!(
            (1..=RETENTION_MS_MAX).contains(&retention_ms),
            "a retention of {retention_ms} ms"
        );
        let slots = (2 * capacity).next_power_of_two();
        let first = Live {
            generation: 0,
            current: Arc::new(GuardTable::new(slots)),
            previous: None,
        };
        Self {
            generation_ms: retention_ms + CLOCK_SKEW_MS,
            slots,
            live: Shared::new(first),
        }
    }

    /// Asks for one use of `fingerprint` at `at_ms` (milliseconds of the Unix epoch).
    ///
    /// `at_ms` may lag behind another caller's by up to [`CLOCK_SKEW_MS`]. It turns the generations: an instant from
    /// far ahead drops what is remembered, so it must come from the journal's clock and never from a client.
    pub fn admit(&self, fingerprint: Fingerprint, at_ms: u64) -> Admission {
        self.settle(fingerprint, at_ms, true)
    }

    /// What [`ReplayGuard::admit`] would say, with nothing remembered. It holds until somebody is admitted: who lets in
    /// what has more than one fingerprint looks at all of them, then admits them, under one lock of their own.
    pub fn look(&self, fingerprint: Fingerprint, at_ms: u64) -> Admission {
        let live = self.live.load();
        if at_ms + CLOCK_SKEW_MS < live.generation * self.generation_ms {
            return Admission::Late;
        }
        let (previous, current) = match (at_ms / self.generation_ms).saturating_sub(live.generation)
        {
            0 => (live.previous.as_ref(), Some(&live.current)),
            1 => (Some(&live.current), None),
            _ => (None, None),
        };
        if previous.is_some_and(|table| table.look(fingerprint) == Some(Admission::Replayed)) {
            return Admission::Replayed;
        }
        // A table that is still to be made has room.
        current.map_or(Admission::Fresh, |table| {
            table.look(fingerprint).unwrap_or(Admission::Full)
        })
    }

    /// Remembers a fingerprint that was admitted at `at_ms` before a restart. Applying it twice changes nothing. One
    /// whose generation is gone is remembered a little longer than it needs.
    pub fn insert(&self, fingerprint: Fingerprint, at_ms: u64) -> Result<(), GuardFull> {
        match self.settle(fingerprint, at_ms, false) {
            Admission::Fresh | Admission::Replayed | Admission::Late => Ok(()),
            Admission::Full => Err(GuardFull),
        }
    }

    fn settle(&self, fingerprint: Fingerprint, at_ms: u64, refuse_late: bool) -> Admission {
        let generation = at_ms / self.generation_ms;
        // Bound: each round that does not answer has found the generations turned since the round before, which takes
        // another caller and the passing of a whole retention.
        loop {
            let live = self.live.load();
            if live.generation < generation {
                // If the replacement fails, another thread has turned the generation.
                let next = live.turned_to(generation, self.slots);
                let _ = self.live.replace(&live, next);
                continue;
            }
            if refuse_late && at_ms + CLOCK_SKEW_MS < live.generation * self.generation_ms {
                return Admission::Late;
            }
            if live
                .previous
                .as_ref()
                .is_some_and(|table| table.seal(fingerprint))
            {
                return Admission::Replayed;
            }
            match live.current.insert(fingerprint) {
                Inserted::New => return Admission::Fresh,
                Inserted::There => return Admission::Replayed,
                Inserted::NoRoom => return Admission::Full,
                Inserted::Sealed => {}
            }
        }
    }

    /// The live generations, oldest first, for a snapshot. What is admitted meanwhile may or may not be in it; all
    /// that was admitted before the call, and is not forgotten yet, is.
    pub fn export(&self) -> Vec<GenerationExport> {
        let live = self.live.load();
        let export = |table: &GuardTable, generation: u64| GenerationExport {
            last_ms: (generation + 1) * self.generation_ms - 1,
            fingerprints: table.fingerprints().collect(),
        };
        let previous = live
            .previous
            .as_ref()
            .map(|table| export(table, live.generation - 1));
        previous
            .into_iter()
            .chain([export(&live.current, live.generation)])
            .collect()
    }

    /// Takes an export over; `at_ms` is when it was made, or later. The guard may have another retention or capacity
    /// than the one that exported; what it remembers counts from the end of its old generation.
    pub fn import(&self, generations: &[GenerationExport], at_ms: u64) -> Result<(), GuardFull> {
        for generation in generations {
            let at_ms = generation.last_ms.min(at_ms);
            for fingerprint in &generation.fingerprints {
                self.insert(*fingerprint, at_ms)?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for ReplayGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayGuard")
            .field("generation_ms", &self.generation_ms)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// The generations as of a later one. After a pause of a generation or more the one before is empty.
    fn turned_to(&self, generation: u64, slots: usize) -> Self {
        let previous = (generation == self.generation + 1).then(|| Arc::clone(&self.current));
        Self {
            generation,
            current: Arc::new(GuardTable::new(slots)),
            previous,
        }
    }
}

enum Inserted {
    New,
    There,
    NoRoom,
    /// A newer generation exists.
    Sealed,
}

/// One generation: open addressing, linear probing, every slot written at most once.
struct GuardTable {
    slots: Box<[AtomicU64]>,
}

impl GuardTable {
    fn new(slots: usize) -> Self {
        Self {
            slots: zeroed(slots),
        }
    }

    fn insert(&self, fingerprint: Fingerprint) -> Inserted {
        match self.settle(fingerprint, fingerprint.0) {
            ProbeEnd::Wrote => Inserted::New,
            ProbeEnd::Found => Inserted::There,
            ProbeEnd::Sealed => Inserted::Sealed,
            ProbeEnd::Exhausted => Inserted::NoRoom,
        }
    }

    /// Makes sure that the fingerprint will never be inserted here; true when it has been already.
    fn seal(&self, fingerprint: Fingerprint) -> bool {
        match self.settle(fingerprint, SEALED) {
            ProbeEnd::Found => true,
            // A table is never exhausted for one and open for another: the slots of a probe stay taken.
            ProbeEnd::Wrote | ProbeEnd::Sealed | ProbeEnd::Exhausted => false,
        }
    }

    /// Walks the fingerprint's probe to where its fate stands, or writes `ending` at the empty slot that ends it. No
    /// probe ever passes an empty or a sealed slot, so nothing of it lies beyond.
    fn settle(&self, fingerprint: Fingerprint, ending: u64) -> ProbeEnd {
        for slot in self.probe(fingerprint) {
            let mut seen = slot.load(Ordering::Acquire);
            if seen == EMPTY {
                match slot.compare_exchange(EMPTY, ending, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return ProbeEnd::Wrote,
                    Err(winner) => seen = winner,
                }
            }
            if seen == fingerprint.0 {
                return ProbeEnd::Found;
            }
            if seen == SEALED {
                return ProbeEnd::Sealed;
            }
        }
        ProbeEnd::Exhausted
    }

    /// Whether the fingerprint is here; `None` where it is not and finds no room.
    fn look(&self, fingerprint: Fingerprint) -> Option<Admission> {
        self.probe(fingerprint)
            .find_map(|slot| match slot.load(Ordering::Acquire) {
                EMPTY | SEALED => Some(Admission::Fresh),
                seen if seen == fingerprint.0 => Some(Admission::Replayed),
                _ => None,
            })
    }

    fn probe(&self, fingerprint: Fingerprint) -> impl Iterator<Item = &AtomicU64> {
        // Spreads fingerprints that are no good digests, as tests use them; the upper half feeds the index.
        let hash = fingerprint
            .0
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(32);
        let mask = self.slots.len() - 1;
        // On a machine with 32-bit addresses the low half is as good an index.
        #[allow(clippy::cast_possible_truncation)]
        let first = hash as usize;
        (0..PROBES_MAX.min(self.slots.len()))
            .map(move |step| &self.slots[first.wrapping_add(step) & mask])
    }

    fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        let values = self.slots.iter().map(|slot| slot.load(Ordering::Acquire));
        values
            .filter(|value| !matches!(*value, EMPTY | SEALED))
            .map(Fingerprint)
    }
}

enum ProbeEnd {
    Wrote,
    Found,
    Sealed,
    /// Every slot of the probe holds another fingerprint, for ever.
    Exhausted,
}
