//! Owns how many log lines of one event word are let through, and the count of those left out.
//!
//! Invariants: a word that floods takes nothing from another word; every line left out is counted,
//! and its count is taken exactly once; memory is bounded, words beyond [`WORDS_MAX`] share one
//! rate. Deliberately absent: levels and texts. Used by `logging` alone.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Lines of one word at once.
const BURST: u32 = 100;
/// Between two lines of one word that goes on after its burst: ten lines a second, some 200 MB a day.
const INTERVAL: Duration = Duration::from_millis(100);
/// Words with a rate of their own. The program has fewer; the targets of libraries, where an operator
/// asks for these, may be more.
const WORDS_MAX: usize = 256;
/// What words beyond are called together.
const OTHERS: &str = "other_words";

/// The rates of all words.
#[derive(Debug, Default)]
pub(super) struct Rates {
    words: Mutex<BTreeMap<String, RatedWord>>,
    left_out: AtomicU64,
}

#[derive(Debug)]
struct RatedWord {
    /// When the lines let through so far would have come, one an interval.
    due: Instant,
    left_out: u64,
}

impl Rates {
    /// Whether a line with `word` is let through.
    pub(super) fn admit(&self, word: &str, now: Instant) -> bool {
        // Held for one look-up, never for I/O.
        let mut words = self.words.lock();
        let known = words.contains_key(word) || words.len() < WORDS_MAX;
        let name = if known { word } else { OTHERS };
        if !words.contains_key(name) {
            let fresh = RatedWord {
                due: now,
                left_out: 0,
            };
            words.insert(name.to_owned(), fresh);
        }
        let Some(word) = words.get_mut(name) else {
            return true;
        };
        let due = word.due.max(now);
        if due.duration_since(now) > INTERVAL * (BURST - 1) {
            word.left_out += 1;
            self.left_out.fetch_add(1, Relaxed);
            return false;
        }
        word.due = due + INTERVAL;
        true
    }

    /// The words of which lines were left out since this was called last, with how many.
    pub(super) fn take_left_out(&self) -> Vec<(String, u64)> {
        let mut words = self.words.lock();
        let some = words.iter_mut().filter(|(_, word)| word.left_out > 0);
        some.map(|(name, word)| (name.clone(), std::mem::take(&mut word.left_out)))
            .collect()
    }

    /// Lines left out so far, of all words.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_word_has_a_burst_then_a_rate_and_its_count_is_logged_once() {
        let rates = Rates::default();
        let start = Instant::now();
        let let_through =
            |word: &str, at: Instant| (0..1_000).filter(|_| rates.admit(word, at)).count();
        assert_eq!(let_through("flood", start), 100);
        assert_eq!(let_through("calm", start), 100, "a rate of its own");
        assert_eq!(let_through("flood", start + Duration::from_secs(1)), 10);
        let told = rates.take_left_out();
        assert_eq!(
            told,
            [("calm".to_owned(), 900), ("flood".to_owned(), 1_890)]
        );
        assert_eq!(rates.take_left_out(), []);
        assert_eq!(rates.left_out(), 2_790);
    }

    #[test]
    fn words_beyond_the_bound_share_one_rate() {
        let rates = Rates::default();
        let now = Instant::now();
        for number in 0..WORDS_MAX {
            assert!(rates.admit(&format!("word_{number}"), now));
        }
        let more = (0..1_000).filter(|number| rates.admit(&format!("more_{number}"), now));
        assert_eq!(more.count(), 100);
        assert_eq!(rates.take_left_out(), [(OTHERS.to_owned(), 900)]);
        assert_eq!(rates.words.lock().len(), WORDS_MAX + 1);
    }
}
