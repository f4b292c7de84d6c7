//! Owns the shapes of text that hold many digits and no card number: UUIDs, digests in hexadecimal,
//! dates with times, telephone numbers.
//!
//! Invariant: a shape begins where no letter or digit stands before it, and ends where none follows,
//! so it never takes a part of a longer number away from the search.

/// The fewest characters of a word in hexadecimal that is taken for a digest: 128 bits.
const HEX_CHARS_MIN: usize = 32;
/// Letters that such a word has at least; one drawn at random has twelve.
const HEX_LETTERS_MIN: usize = 4;

/// How many characters at `at` are of such a shape; 0 where none begins there.
pub(super) fn harmless_at(chars: &[char], at: usize) -> usize {
    let begins = at == 0 || !chars[at - 1].is_alphanumeric();
    let rest = &chars[at..];
    if !begins || !(rest[0].is_ascii_hexdigit() || rest[0] == '+') {
        return 0;
    }
    let shapes = [uuid, digest, date, telephone];
    let lengths = shapes.iter().filter_map(|shape| shape(rest));
    let ends = |length: &usize| !rest.get(*length).is_some_and(|next| next.is_alphanumeric());
    lengths.filter(ends).max().unwrap_or(0)
}

/// 8-4-4-4-12 digits in hexadecimal. One without letters has to say that it is a UUID, by version
/// and variant (RFC 9562).
fn uuid(rest: &[char]) -> Option<usize> {
    const LENGTH: usize = 36;
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let text = rest.get(..LENGTH)?;
    let fits = |(place, c): (usize, &char)| {
        let dash = DASHES.contains(&place);
        (dash && *c == '-') || (!dash && c.is_ascii_hexdigit())
    };
    let has_letter = text.iter().any(char::is_ascii_alphabetic);
    let says_so = matches!(text[14], '1'..='8') && matches!(text[19], '8' | '9');
    let is_one = text.iter().enumerate().all(fits) && (has_letter || says_so);
    is_one.then_some(LENGTH)
}

/// A word in hexadecimal, as long as a digest.
fn digest(rest: &[char]) -> Option<usize> {
    let length = rest.iter().take_while(|c| c.is_ascii_hexdigit()).count();
    let letters = rest[..length]
        .iter()
        .filter(|c| c.is_ascii_alphabetic())
        .count();
    (length >= HEX_CHARS_MIN && letters >= HEX_LETTERS_MIN).then_some(length)
}

/// `+` and at most 13 digits (ITU-T E.164): a German mobile number looks like an old Visa number.
fn telephone(rest: &[char]) -> Option<usize> {
    const DIGITS_MAX: usize = 13;
    let digits = rest.strip_prefix(&['+'])?;
    let of_a_number = |c: &&char| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')' | '/');
    let length = digits.iter().take_while(of_a_number).count();
    let text = &digits[..length];
    let count = text.iter().filter(|c| c.is_ascii_digit()).count();
    let last = text.iter().rposition(char::is_ascii_digit)?;
    (digits[0].is_ascii_digit() && count <= DIGITS_MAX).then_some(last + 2)
}

/// A date from 1900 to 2099 with `-`, `/` or `.`, and the time behind it (RFC 3339, ISO 8601).
fn date(rest: &[char]) -> Option<usize> {
    let mut text = Reader { rest, at: 0 };
    text.number(4, 1900..=2099)?;
    let separator = text.one_of(&['-', '/', '.'])?;
    text.number(2, 1..=12)?;
    text.one_of(&[separator])?;
    text.number(2, 1..=31)?;
    let date = text.at;
    Some(time(&mut text).unwrap_or(date))
}

/// Where ` 10:00`, `T10:00:00.123456Z` or `T10:00:00,123+02:00` ends.
fn time(text: &mut Reader<'_>) -> Option<usize> {
    text.one_of(&['T', 't', ' ', '_'])?;
    text.number(2, 0..=23)?;
    text.one_of(&[':'])?;
    text.number(2, 0..=59)?;
    let mut whole = text.at;
    let seconds = text.one_of(&[':']).and_then(|_| text.number(2, 0..=60));
    if seconds.is_some() {
        whole = text.at;
        if text.one_of(&['.', ',']).is_some() && text.fraction().is_some() {
            whole = text.at;
        }
    }
    text.at = whole;
    if text.one_of(&['Z', 'z']).is_some() {
        return Some(text.at);
    }
    if text.one_of(&['+', '-', '\u{2212}']).is_some() {
        let hours = text.number(2, 0..=23);
        let minutes = hours.and_then(|_| {
            let _ = text.one_of(&[':']);
            text.number(2, 0..=59)
        });
        if minutes.is_some() {
            whole = text.at;
        }
    }
    Some(whole)
}

struct Reader<'a> {
    rest: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn one_of(&mut self, known: &[char]) -> Option<char> {
        let c = *self.rest.get(self.at)?;
        known.contains(&c).then(|| {
            self.at += 1;
            c
        })
    }

    fn number(&mut self, digits: usize, within: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let text = self.rest.get(self.at..self.at + digits)?;
        let add = |all: u32, c: &char| Some(all * 10 + c.to_digit(10)?);
        let number = text.iter().try_fold(0, add)?;
        within.contains(&number).then(|| {
            self.at += digits;
            number
        })
    }

    /// How many digits there are: one to nine, and none behind them.
    fn fraction(&mut self) -> Option<usize> {
        const DIGITS_MAX: usize = 9;
        let digits = self.rest[self.at..]
            .iter()
            .take_while(|c| c.is_ascii_digit());
        let count = digits.count();
        (1..=DIGITS_MAX).contains(&count).then(|| {
            self.at += count;
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_taken_whole_or_not_at_all() {
        for (text, length) in [
            ("550e8400-e29b-41d4-a716-446655440000", 36),
            ("41111111-1111-4111-8111-111111111111 x", 36),
            ("41111111-1111-1111-1111-111111111111", 0),
            ("550e8400-e29b-41d4-a716-4466554400001", 0),
            ("d41d8cd98f00b204e9800998ecf8427e", 32),
            ("41111111111111111111111111111111", 0),
            ("2026-11-30", 10),
            ("2026-11-30 4111 1111", 10),
            ("2026-11-30T02:09:12.123456Z", 27),
            ("2026-11-30 02:09:12.123456+05:30 4", 32),
            ("2026/11/30 02:09", 16),
            ("2026-11-30 02:09:12.4111111111111111", 19),
            ("2026-11-301", 0),
            ("2026-13-30", 0),
            ("+49 151 12345678, x", 16),
            ("+4915112345678", 14),
            ("+4111111111111111", 0),
            ("4111111111111111", 0),
        ] {
            let chars: Vec<char> = text.chars().collect();
            assert_eq!(harmless_at(&chars, 0), length, "{text}");
        }
        let chars: Vec<char> = "x2026-11-30".chars().collect();
        assert_eq!(harmless_at(&chars, 1), 0);
    }
}
