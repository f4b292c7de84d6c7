//! Owns the pairs of text that a shop attaches to a hold or a buy.
//!
//! Invariants: at most [`METADATA_PAIRS_MAX`] pairs, each key once, sorted by key; keys of 1 to
//! [`METADATA_KEY_CHARS_MAX`] characters, values of at most [`METADATA_VALUE_CHARS_MAX`], which may
//! be empty; no card number in either, and no U+0000, which PostgreSQL cannot store. Deliberately
//! absent: any meaning. No decision depends on them.

use crate::ids::holds_card_number;
use rkyv::{Archive, Deserialize, Serialize};

/// Maximum number of pairs.
pub const METADATA_PAIRS_MAX: usize = 10;
/// Maximum length of a key, in characters.
pub const METADATA_KEY_CHARS_MAX: usize = 40;
/// Maximum length of a value, in characters.
pub const METADATA_VALUE_CHARS_MAX: usize = 200;

/// Pairs of text that the shop attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// The metadata of these pairs, or what is wrong with them.
    pub fn new(mut pairs: Vec<(String, String)>) -> Result<Self, &'static str> {
        if pairs.len() > METADATA_PAIRS_MAX {
            return Err("must have at most 10 pairs");
        }
        for (key, value) in &pairs {
            let chars = key.chars().count();
            if !(1..=METADATA_KEY_CHARS_MAX).contains(&chars) {
                return Err("has a key that is not 1 to 40 characters long");
            }
            if value.chars().count() > METADATA_VALUE_CHARS_MAX {
                return Err("has a value of more than 200 characters");
            }
            if key.contains('\0') || value.contains('\0') {
                return Err("must not contain U+0000");
            }
            if holds_card_number(key) || holds_card_number(value) {
                return Err("must not contain a card number");
            }
        }
        pairs.sort_unstable();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("has a key twice");
        }
        Ok(Self(pairs))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, sorted by key.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Metadata, &'static str> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Metadata::new(owned.collect())
    }

    #[test]
    fn pairs_keep_their_bounds_and_stand_in_the_order_of_their_keys() {
        let (key, value) = ("ä".repeat(40), "ä".repeat(200));
        let metadata = of(&[("z", ""), (&key, &value), ("a", "1")]).unwrap();
        let keys: Vec<&str> = metadata.pairs().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "z", &key]);
        assert_eq!(of(&[]), Ok(Metadata::default()));
        let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
        assert!(of(&many[..10]).is_ok());
        for wrong in [
            &many[..],
            &[("", "x")],
            &[(&*"k".repeat(41), "x")],
            &[("k", &*"v".repeat(201))],
            &[("k", "a\0b")],
            &[("k", "1"), ("k", "2")],
            &[("note", "card 4111 1111 1111 1111")],
            &[("4111111111111111", "x")],
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}
