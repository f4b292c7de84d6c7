//! Owns how the numbers of payment cards begin, and how long they are.
//!
//! Invariant: one row a range of prefixes, with the lengths that the scheme gives out. The rows
//! follow what the schemes publish; a prefix of a national scheme that lies in a larger one's range
//! has no row of its own. Used by the search for card numbers only.

/// A range of prefixes of the same length, and the lengths of numbers that begin with one.
struct Issuer {
    from: u32,
    to: u32,
    /// Digits of the prefix.
    digits: usize,
    lengths: &'static [usize],
}

const fn issuer(from: u32, to: u32, digits: usize, lengths: &'static [usize]) -> Issuer {
    Issuer {
        from,
        to,
        digits,
        lengths,
    }
}

/// The length of the shortest card number.
pub(super) const DIGITS_MIN: usize = 12;
/// The length of the longest card number.
pub(super) const DIGITS_MAX: usize = 19;

const LONG: &[usize] = &[16, 17, 18, 19];
const DINERS: &[usize] = &[14, 16, 17, 18, 19];
const MAESTRO: &[usize] = &[12, 13, 14, 15, 16, 17, 18, 19];

#[rustfmt::skip]
const ISSUERS: [Issuer; 45] = [
    issuer(4, 4, 1, &[13, 16, 19]),             // Visa
    issuer(51, 55, 2, &[16]),                   // Mastercard
    issuer(2221, 2720, 4, &[16]),               // Mastercard
    issuer(34, 34, 2, &[15]),                   // American Express
    issuer(37, 37, 2, &[15]),                   // American Express
    issuer(6011, 6011, 4, LONG),                // Discover
    issuer(644, 649, 3, LONG),                  // Discover
    issuer(65, 65, 2, LONG),                    // Discover, RuPay, Elo, Troy
    issuer(300, 305, 3, DINERS),                // Diners Club
    issuer(309, 309, 3, DINERS),                // Diners Club
    issuer(36, 36, 2, DINERS),                  // Diners Club
    issuer(38, 39, 2, DINERS),                  // Diners Club
    issuer(3528, 3589, 4, LONG),                // JCB
    issuer(62, 62, 2, LONG),                    // UnionPay
    issuer(81, 81, 2, LONG),                    // UnionPay, RuPay
    issuer(31, 31, 2, &[19]),                   // T-Union
    issuer(2200, 2205, 4, LONG),                // Mir, Belkart
    issuer(60, 60, 2, &[16]),                   // RuPay, Hipercard
    issuer(82, 82, 2, &[16]),                   // RuPay
    issuer(508, 508, 3, &[16]),                 // RuPay
    issuer(5018, 5018, 4, MAESTRO),             // Maestro
    issuer(5019, 5019, 4, &[16]),               // Dankort
    issuer(5020, 5020, 4, MAESTRO),             // Maestro
    issuer(5038, 5038, 4, MAESTRO),             // Maestro
    issuer(5893, 5893, 4, MAESTRO),             // Maestro
    issuer(6304, 6304, 4, MAESTRO),             // Maestro
    issuer(6759, 6759, 4, MAESTRO),             // Maestro
    issuer(6761, 6763, 4, MAESTRO),             // Maestro
    issuer(6771, 6771, 4, LONG),                // Maestro (Laser)
    issuer(676_770, 676_770, 6, MAESTRO),       // Maestro
    issuer(676_774, 676_774, 6, MAESTRO),       // Maestro
    issuer(636, 636, 3, LONG),                  // InterPayment
    issuer(637, 639, 3, &[16]),                 // InstaPayment
    issuer(504_175, 504_175, 6, &[16]),         // Elo
    issuer(5066, 5067, 4, &[16]),               // Elo
    issuer(5090, 5090, 4, &[16]),               // Elo
    issuer(506_099, 506_198, 6, &[16, 18, 19]), // Verve
    issuer(507_865, 507_964, 6, &[16, 18, 19]), // Verve
    issuer(94, 94, 2, &[16]),                   // cards for Korea only
    issuer(9704, 9704, 4, &[16, 19]),           // NAPAS
    issuer(9792, 9792, 4, &[16]),               // Troy
    issuer(8600, 8600, 4, &[16]),               // Uzcard
    issuer(5614, 5614, 4, &[16]),               // Uzcard
    issuer(9860, 9860, 4, &[16]),               // Humo
    issuer(9112, 9112, 4, &[16]),               // Belkart
];

/// Whether `digits` is a card number: an issuer's prefix, a length of that scheme, Luhn's check
/// (ISO/IEC 7812-1, annex B).
pub(super) fn is_card_number(digits: &[u8]) -> bool {
    let issued = |issuer: &Issuer| {
        let prefix = digits.get(..issuer.digits).unwrap_or_default();
        let prefix = prefix
            .iter()
            .fold(0, |all, digit| all * 10 + u32::from(*digit));
        (issuer.from..=issuer.to).contains(&prefix) && issuer.lengths.contains(&digits.len())
    };
    (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && luhn(digits) && ISSUERS.iter().any(issued)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            match (place % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) if doubled > 9 => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Numbers that gateways and schemes publish for tests, of more than three different digits.
const PUBLISHED: [&str; 48] = [
    "2222400070000005",
    "2222410740360010",
    "2223003122003222",
    "2223016768739313",
    "3056930009020004",
    "30569309025904",
    "3530111333300000",
    "3566002020360505",
    "3569990010095841",
    "36006666333344",
    "36227206271667",
    "371449635398431",
    "378282246310005",
    "378734493671000",
    "38520000023237",
    "4000000000009979",
    "4000000000009987",
    "4000000000009995",
    "4000002500001001",
    "4000002500003155",
    "4000002760003184",
    "4000003800000446",
    "4000056655665556",
    "4000120000001154",
    "4000300011112220",
    "4000620000000007",
    "4012001037141112",
    "4012888888881881",
    "4035501000000008",
    "4111112014267661",
    "4263982640269299",
    "4360000001000005",
    "4571000000000001",
    "4917484589897107",
    "4988438843884305",
    "5066991111111118",
    "5200828282828210",
    "5425233430109903",
    "5555552500001001",
    "5577000055770004",
    "6011000990139424",
    "6011981111111113",
    "6062826786276634",
    "6200000000000005",
    "6243030000000001",
    "6304000000000000",
    "6555900000604105",
    "8171999927660000",
];

/// Whether `number`, which is a card number, was made up for tests rather than given out: one that
/// is published, or one of at most three different digits. Of a million numbers drawn at random
/// one is so.
pub(super) fn is_made_up(number: &[u8]) -> bool {
    let seen = number.iter().fold(0_u16, |seen, digit| seen | 1 << digit);
    let is = |text: &&str| text.bytes().map(|b| b - b'0').eq(number.iter().copied());
    seen.count_ones() <= 3 || PUBLISHED.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|b| b - b'0').collect()
    }

    #[test]
    fn what_is_published_for_tests_is_a_card_number() {
        for text in PUBLISHED {
            assert!(is_card_number(&digits(text)), "{text}");
        }
    }

    #[test]
    fn a_number_has_a_prefix_a_length_of_its_scheme_and_passes_luhn() {
        for (text, is) in [
            ("4111111111111111", true),
            ("4222222222222", true),
            ("4111111111111112", false), // Luhn
            ("1111111111111117", false), // no issuer
            ("41111111111111", false),   // 14 digits are no Visa
            ("378282246310005", true),
            ("0000000000000000", false),
        ] {
            assert_eq!(is_card_number(&digits(text)), is, "{text}");
        }
    }

    #[test]
    fn every_row_can_be_met() {
        for it in &ISSUERS {
            assert!(it.from <= it.to && it.to < 10_u32.pow(u32::try_from(it.digits).unwrap()));
            let known = |length: &usize| (DIGITS_MIN..=DIGITS_MAX).contains(length);
            assert!(it.lengths.iter().all(known));
        }
    }
}
