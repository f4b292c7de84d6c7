//! Owns the one search for card numbers in text, used at every entrance for text that is kept.
//!
//! A card number has an issuer's prefix, a length of that scheme, and passes Luhn's check. Digits of
//! all scripts count, and whatever is no letter may stand between them. One number of digits in
//! thirty passes all three by chance, so *where* it stands decides, too ([`Run::counts`]):
//! 1. It is made of whole groups of digits (a group ends where no digit follows directly).
//! 2. Its digits are grouped as on a card, whatever touches it.
//! 3. It lies within a longer group, and the rest is what people and programs put beside a number:
//!    padding of one repeated digit, an expiry date, a security code.
//! 4. It was made up for tests: then it counts anywhere.
//!
//! Not searched: UUIDs, digests in hexadecimal, dates and times with separators, telephone numbers
//! behind a `+`. `docs/security.md` says what follows, with the rates; `tests/http/card_numbers.rs`
//! measures them. Deliberately absent: which texts are searched, and what becomes of them.

use super::digits::{Mark, digit};
use super::issuers::{DIGITS_MAX, DIGITS_MIN, is_card_number, is_made_up};
use super::shapes;

/// Whether `text` holds a card number.
pub fn holds_card_number(text: &str) -> bool {
    // Nearly every text ends here.
    if text.chars().filter_map(digit).nth(DIGITS_MIN - 1).is_none() {
        return false;
    }
    let chars: Vec<char> = text.chars().collect();
    let mut marks: Vec<Mark> = chars.iter().map(|c| Mark::of(*c)).collect();
    let mut at = 0;
    while at < chars.len() {
        let harmless = shapes::harmless_at(&chars, at);
        marks[at..at + harmless].fill(Mark::Break);
        at += harmless.max(1);
    }
    let runs = marks.split(|mark| *mark == Mark::Break);
    runs.map(Run::of).any(|run| run.holds_card_number())
}

/// Digits with only separators between them.
struct Run {
    digits: Vec<u8>,
    /// Whether a group ends before the digit at this place; one more than there are digits.
    cuts: Vec<bool>,
}

impl Run {
    fn of(marks: &[Mark]) -> Self {
        let (mut digits, mut cuts) = (Vec::new(), Vec::new());
        let mut cut = true;
        for mark in marks {
            match mark {
                Mark::Digit(digit) => {
                    digits.push(*digit);
                    cuts.push(cut);
                    cut = false;
                }
                Mark::Separator | Mark::Break => cut = true,
            }
        }
        cuts.push(true);
        Self { digits, cuts }
    }

    fn holds_card_number(&self) -> bool {
        let starts = 0..self.digits.len().saturating_sub(DIGITS_MIN - 1);
        let windows = starts.flat_map(|from| (DIGITS_MIN..=DIGITS_MAX).map(move |n| (from, n)));
        windows
            .filter_map(|(from, length)| Some((from, self.digits.get(from..from + length)?)))
            .any(|(from, number)| is_card_number(number) && self.counts(from, number))
    }

    /// Whether the card number `number`, which begins at digit `from`, is probably one.
    fn counts(&self, from: usize, number: &[u8]) -> bool {
        let to = from + number.len();
        (self.cuts[from] && self.cuts[to])
            || self.is_grouped_as_on_a_card(from, number.len())
            || is_made_up(number)
            || self.is_beside_what_goes_with_it(from, to)
    }

    fn is_grouped_as_on_a_card(&self, from: usize, length: usize) -> bool {
        let groups: &[usize] = match length {
            14 | 15 => &[4, 10],
            16 => &[4, 8, 12],
            _ => return false,
        };
        (1..length).all(|place| self.cuts[from + place] == groups.contains(&place))
    }

    /// Whether the number lies in one group, whose other digits often stand beside a card number.
    /// Only lengths that are in daily use are looked for there: each further one costs tokens that
    /// are none.
    fn is_beside_what_goes_with_it(&self, from: usize, to: usize) -> bool {
        let length = to - from;
        if !(14..=16).contains(&length) || self.cuts[from + 1..to].contains(&true) {
            return false;
        }
        let begins = (0..=from).rfind(|at| self.cuts[*at]).unwrap_or(0);
        let ends = (to..=self.digits.len()).find(|at| self.cuts[*at]);
        let ends = ends.expect("a group ends where the run does");
        let group = &self.digits[begins..ends];
        if is_clock_or_counter(group) {
            return false;
        }
        let (before, after) = (&self.digits[begins..from], &self.digits[to..ends]);
        match (before.is_empty(), after.is_empty()) {
            (true, _) => is_padding(after) || is_expiry_or_code(after, length),
            (false, true) => is_padding(before),
            (false, false) => is_padding(&[before, after].concat()),
        }
    }
}

/// Seconds to nanoseconds since 1970 (until 2033), and ids made from them. No issuer's numbers
/// begin like this.
fn is_clock_or_counter(group: &[u8]) -> bool {
    group.first() == Some(&1) && group.len() <= 19
}

/// One digit, repeated.
fn is_padding(rest: &[u8]) -> bool {
    rest.windows(2).all(|pair| pair[0] == pair[1])
}

/// A month and a year, a security code, or both.
fn is_expiry_or_code(rest: &[u8], length: usize) -> bool {
    let code = if length == 15 { 4 } else { 3 };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0_u32, |all, it| all * 10 + u32::from(*it))
    };
    let is_month = |digits: &[u8]| (1..=12).contains(&number(digits));
    let is_year = |digits: &[u8]| match digits.len() {
        2 => (20..50).contains(&number(digits)),
        _ => (2020..2050).contains(&number(digits)),
    };
    let is_expiry = |digits: &[u8]| {
        let year = digits.len() - 2;
        (is_month(&digits[..2]) && is_year(&digits[2..]))
            || (is_year(&digits[..year]) && is_month(&digits[year..]))
    };
    match rest.len() {
        n if n == code => true,
        4 | 6 => is_expiry(rest),
        n if n == 4 + code => is_expiry(&rest[..4]),
        n if n == 6 + code => is_expiry(&rest[..6]),
        _ => false,
    }
}
