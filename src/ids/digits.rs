//! Owns what a character is to the search for card numbers: a digit in any script, something that
//! may stand between two digits, or the end of a number.
//!
//! Invariant: the tables follow the Unicode Character Database, version 16 (`Numeric_Type` decimal
//! and digit). Deliberately absent: numerals that are no digits (Roman, Han, fractions).

/// The class of a character.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A digit, 0 to 9.
    Digit(u8),
    /// May stand between the digits of one number: white space, punctuation, invisible characters.
    Separator,
    /// Ends a number: a letter.
    Break,
}

impl Mark {
    /// The class of `c`.
    pub(super) fn of(c: char) -> Self {
        match digit(c) {
            Some(digit) => Self::Digit(digit),
            None if c.is_alphanumeric() && !LETTERS_LIKE_SEPARATORS.contains(&c) => Self::Break,
            None => Self::Separator,
        }
    }
}

/// Letters by their category that are invisible or look like a dash.
const LETTERS_LIKE_SEPARATORS: [char; 9] = [
    '\u{0640}', // Arabic tatweel
    '\u{115f}', // Hangul fillers
    '\u{1160}', //
    '\u{3164}', //
    '\u{ffa0}', //
    '\u{30fc}', // Japanese prolonged sound marks
    '\u{ff70}', //
    '\u{3161}', // Hangul eu
    '\u{4e00}', // Han one
];

/// The digit that `c` is, in any script.
pub(super) fn digit(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c
            .is_ascii_digit()
            .then(|| u8::try_from(c).ok().map(|c| c - b'0'))?;
    }
    let c = u32::from(c);
    let place = ZEROES.partition_point(|zero| *zero <= c);
    if let Some(zero) = place.checked_sub(1).map(|at| ZEROES[at])
        && c - zero < 10
    {
        return u8::try_from(c - zero).ok();
    }
    let found = OTHERS
        .iter()
        .find(|(first, _, count)| (*first..first + count).contains(&c));
    found.and_then(|(first, digit, _)| u8::try_from(c - first).ok().map(|step| digit + step))
}

/// The zeroes of scripts that have ten digits in a row, in order (general category Nd).
const ZEROES: [u32; 75] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66,
    0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0,
    0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50,
    0x11da0, 0x11de0, 0x11f50, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8,
    0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950, 0x1fbf0,
];

/// Digits that are raised, lowered, circled or otherwise set apart (general category No): the first
/// character, its digit, and how many follow one another.
const OTHERS: [(u32, u8, u32); 21] = [
    (0x00b2, 2, 2),
    (0x00b9, 1, 1),
    (0x1369, 1, 9),
    (0x19da, 1, 1),
    (0x2070, 0, 1),
    (0x2074, 4, 6),
    (0x2080, 0, 10),
    (0x2460, 1, 9),
    (0x2474, 1, 9),
    (0x2488, 1, 9),
    (0x24ea, 0, 1),
    (0x24f5, 1, 9),
    (0x24ff, 0, 1),
    (0x2776, 1, 9),
    (0x2780, 1, 9),
    (0x278a, 1, 9),
    (0x10a40, 1, 4),
    (0x10e60, 1, 9),
    (0x11052, 1, 9),
    (0x1f100, 0, 1),
    (0x1f101, 0, 10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_many_scripts_are_read() {
        for (text, expected) in [
            ("0123456789", 0),
            ("٠١٢٣٤٥٦٧٨٩", 0),
            ("०१२३४५६७८९", 0),
            ("０１２３４５６７８９", 0),
            ("𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗", 0),
            ("𝟢𝟣𝟤𝟥𝟦𝟧𝟨𝟩𝟪𝟫", 0),
            ("①②③④⑤⑥⑦⑧⑨", 1),
            ("⁴⁵⁶⁷⁸⁹", 4),
            ("₀₁₂₃₄₅₆₇₈₉", 0),
        ] {
            let read: Vec<u8> = text.chars().filter_map(digit).collect();
            let count = u8::try_from(text.chars().count()).unwrap();
            let all: Vec<u8> = (expected..expected + count).collect();
            assert_eq!(read, all, "{text}");
        }
        for c in "aⅣ½〇四/\u{200b}".chars() {
            assert_eq!(digit(c), None, "{c}");
        }
        assert!(ZEROES.is_sorted());
    }

    #[test]
    fn any_character_except_letters_may_separate_digits() {
        for c in " \u{a0}\u{202f}\u{3000}-\u{2011}\u{2212}\u{30fc}._/\\|,:;=\n\t\u{200d}\u{ad}\u{fe0f}\u{20e3}".chars() {
            assert_eq!(Mark::of(c), Mark::Separator, "{c:?}");
        }
        for c in "aZüß日Ⅳ½".chars() {
            assert_eq!(Mark::of(c), Mark::Break, "{c:?}");
        }
    }
}
