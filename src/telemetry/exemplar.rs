//! Owns exemplars: for a bucket of a histogram, the latest traced request that was counted in it.
//!
//! Invariants:
//! 1. Writing never waits: while another thread writes the same place, the exemplar is left out.
//! 2. What is read was written as one: a reader that meets a writer tries again, and gives up after
//!    [`READS_MAX`] times.
//! 3. Nothing is allocated before the first traced request.

use crate::trace::TraceContext;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};
use std::time::UNIX_EPOCH;

/// A duration of a traced request.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Exemplar {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub value_ns: u64,
    /// Since 1970.
    pub at_ns: u64,
}

/// Words of an exemplar: the trace in two, the span, the value, the instant.
const WORDS: usize = 5;
/// How often a place is read while others write to it.
const READS_MAX: usize = 8;

/// One exemplar, which many threads may write.
#[derive(Debug, Default)]
struct ExemplarSlot {
    /// Odd while it is written; 0: nothing was.
    version: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// An exemplar for each of `N` buckets.
#[derive(Debug)]
pub(super) struct Exemplars<const N: usize> {
    slots: OnceLock<Box<[ExemplarSlot; N]>>,
}

impl<const N: usize> Default for Exemplars<N> {
    fn default() -> Self {
        Self {
            slots: OnceLock::new(),
        }
    }
}

impl<const N: usize> Exemplars<N> {
    /// The latest of the bucket at `place` from now on.
    pub(super) fn put(&self, place: usize, value_ns: u64, context: TraceContext) {
        let since = UNIX_EPOCH.elapsed().unwrap_or_default();
        let exemplar = Exemplar {
            trace: context.trace(),
            span: context.span(),
            value_ns,
            at_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        };
        let slots = self
            .slots
            .get_or_init(|| Box::new(std::array::from_fn(|_| ExemplarSlot::default())));
        slots[place].write(&exemplar);
    }

    /// The latest of the bucket at `place`.
    pub(super) fn get(&self, place: usize) -> Option<Exemplar> {
        self.slots.get()?[place].read()
    }
}

impl ExemplarSlot {
    fn write(&self, exemplar: &Exemplar) {
        let version = self.version.load(Relaxed);
        if !version.is_multiple_of(2) {
            return;
        }
        let taken = self
            .version
            .compare_exchange(version, version + 1, Acquire, Relaxed);
        if taken.is_err() {
            return;
        }
        // No word below may be seen before the odd version.
        fence(Release);
        for (word, value) in self.words.iter().zip(exemplar.words()) {
            word.store(value, Relaxed);
        }
        self.version.store(version + 2, Release);
    }

    fn read(&self) -> Option<Exemplar> {
        for _ in 0..READS_MAX {
            let before = self.version.load(Acquire);
            if before == 0 {
                return None;
            }
            let words = std::array::from_fn(|it| self.words[it].load(Relaxed));
            // The version below may not be read before the words above.
            fence(Acquire);
            if before.is_multiple_of(2) && self.version.load(Relaxed) == before {
                return Some(Exemplar::of_words(words));
            }
        }
        None
    }
}

impl Exemplar {
    fn words(&self) -> [u64; WORDS] {
        let (high, low) = self.trace.split_at(8);
        let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("it has 8 bytes"));
        [
            word(high),
            word(low),
            word(&self.span),
            self.value_ns,
            self.at_ns,
        ]
    }

    fn of_words([high, low, span, value_ns, at_ns]: [u64; WORDS]) -> Self {
        let trace = (u128::from(high) << 64) | u128::from(low);
        Self {
            trace: trace.to_be_bytes(),
            span: span.to_be_bytes(),
            value_ns,
            at_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reader_sees_parts_of_two_exemplars() {
        let place = ExemplarSlot::default();
        assert_eq!(place.read(), None);
        let of = |byte: u8| Exemplar {
            trace: [byte; 16],
            span: [byte; 8],
            value_ns: u64::from_be_bytes([byte; 8]),
            at_ns: u64::from_be_bytes([byte; 8]),
        };
        place.write(&of(1));
        std::thread::scope(|scope| {
            for byte in 1..=3 {
                let place = &place;
                scope.spawn(move || (0..20_000).for_each(|_| place.write(&of(byte))));
            }
            for _ in 0..20_000 {
                if let Some(read) = place.read() {
                    assert_eq!(read, of(read.span[0]));
                }
            }
        });
        let last = place.read().expect("nobody writes any more");
        assert_eq!(last, of(last.span[0]));
    }
}
