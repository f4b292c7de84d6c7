//! Owns which amounts Stripe takes in which currency, as its page "Supported currencies" has it
//! (read in November 2026).
//!
//! Deliberately absent: the minimum of an account that settles in another currency, which depends
//! on an exchange rate; Stripe declines such an amount with `amount_too_small`.

use crate::engine::payable::AmountRule;
use crate::money::Currency;

/// Currencies whose minor unit at Stripe differs from ISO 4217: the same number would be another
/// amount of money.
const OTHER_MINOR_UNITS: [&str; 3] = ["ISK", "MGA", "UGX"];

/// Currencies with three decimals, of which the last must be 0.
const THREE_DECIMALS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// The smallest charge, in minor units. For other currencies Stripe names none.
const LEAST: [(&str, i64); 31] = [
    ("AED", 200),
    ("ARS", 50),
    ("AUD", 50),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("COP", 50),
    ("CZK", 1_500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("IDR", 50),
    ("ILS", 50),
    ("INR", 50),
    ("JPY", 50),
    ("KRW", 50),
    ("MXN", 1_000),
    ("MYR", 200),
    ("NOK", 300),
    ("NZD", 50),
    ("PHP", 50),
    ("PLN", 200),
    ("RON", 200),
    ("RUB", 50),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1_000),
    ("USD", 50),
    ("ZAR", 50),
];

/// The largest charge of most currencies: eight digits.
const MOST: i64 = 99_999_999;
/// Exceptions, with more digits.
const MOST_OF: [(&str, i64); 3] = [
    ("COP", 9_999_999_999),
    ("IDR", 999_999_999_999),
    ("INR", 999_999_999),
];

/// The amounts that Stripe accepts in `currency`; `None`: none, because its minor unit differs
/// there.
///
/// HUF and TWD have two decimals here: Stripe pays them out in whole units only, which does not
/// concern charges.
pub(super) fn rule(currency: Currency) -> Option<AmountRule> {
    let code = currency.as_str();
    if OTHER_MINOR_UNITS.contains(&code) {
        return None;
    }
    let listed = |list: &[(&str, i64)]| {
        let found = list.iter().find(|(known, _)| *known == code);
        found.map(|(_, minor_units)| *minor_units)
    };
    let step = if THREE_DECIMALS.contains(&code) {
        10
    } else {
        1
    };
    let (least, most) = (
        listed(&LEAST).unwrap_or(1),
        listed(&MOST_OF).unwrap_or(MOST),
    );
    let rule = AmountRule::new(least, most, step);
    Some(rule.expect("every least above lies below every most"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Amount;

    #[test]
    fn amounts_are_those_of_stripes_page() {
        for (code, taken, refused) in [
            (
                "USD",
                &[50, 51, 1_999, 99_999_999][..],
                &[0, 1, 49, 100_000_000][..],
            ),
            ("GBP", &[30], &[29]),
            ("JPY", &[50, 99_999_999], &[49, 100_000_000]),
            ("KRW", &[50, 13_000], &[49]),
            ("VND", &[1], &[0]),
            ("HUF", &[17_500, 17_501], &[17_499]),
            ("TWD", &[80_045], &[0]),
            ("KWD", &[10, 5_120, 99_999_990], &[5, 5_124, 99_999_999]),
            ("BHD", &[10], &[9, 11]),
            ("TND", &[20], &[21]),
            ("INR", &[999_999_999], &[1_000_000_000]),
            ("COP", &[9_999_999_999], &[10_000_000_000]),
            ("IDR", &[999_999_999_999], &[1_000_000_000_000]),
        ] {
            let rule = rule(Currency::parse(code).unwrap()).unwrap();
            for (list, expected) in [(taken, true), (refused, false)] {
                for minor_units in list {
                    let amount = Amount::new(*minor_units).unwrap();
                    assert_eq!(rule.takes(amount), expected, "{code} {minor_units}");
                }
            }
        }
        for code in OTHER_MINOR_UNITS {
            assert_eq!(rule(Currency::parse(code).unwrap()), None, "{code}");
        }
        for code in THREE_DECIMALS {
            assert_eq!(rule(Currency::parse(code).unwrap()).unwrap().step(), 10);
        }
        for (code, _) in LEAST.into_iter().chain(MOST_OF) {
            assert!(rule(Currency::parse(code).unwrap()).is_some(), "{code}");
        }
    }
}
