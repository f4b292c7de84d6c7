//! Owns money: integer minor units and the currency they are in.
//!
//! Invariants: a [`Price`] is positive and at most [`Price::MAX`], so that a price times a
//! quantity never overflows an [`Amount`]; a [`Currency`] is one that ISO 4217 lists.
//! Deliberately absent: floating point and exchange.

use rkyv::Place;
use rkyv::rancor::{Fallible, Source, fail};
use rkyv::with::{ArchiveWith, DeserializeWith, SerializeWith};
use std::fmt;

/// An ISO 4217 currency, by its three capital letters.
#[derive(
    Copy,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Currency(#[rkyv(with = Capitals)] [u8; 3]);

/// Accepts three letters from an archive only if they are capitals, which [`Currency::as_str`]
/// relies on: archived bytes come from a disk.
struct Capitals;

#[derive(Debug, thiserror::Error)]
#[error("a currency is not three capital letters")]
struct NotCapitals;

impl ArchiveWith<[u8; 3]> for Capitals {
    type Archived = [u8; 3];
    type Resolver = ();

    fn resolve_with(letters: &[u8; 3], (): (), out: Place<[u8; 3]>) {
        out.write(*letters);
    }
}

impl<S: Fallible + ?Sized> SerializeWith<[u8; 3], S> for Capitals {
    fn serialize_with(_: &[u8; 3], _: &mut S) -> Result<(), S::Error> {
        Ok(())
    }
}

impl<D: Fallible<Error: Source> + ?Sized> DeserializeWith<[u8; 3], [u8; 3], D> for Capitals {
    fn deserialize_with(letters: &[u8; 3], _: &mut D) -> Result<[u8; 3], D::Error> {
        if letters.iter().all(u8::is_ascii_uppercase) {
            Ok(*letters)
        } else {
            fail!(NotCapitals)
        }
    }
}

impl Currency {
    /// The currency with this three-letter code in capitals; `None` if ISO 4217 does not list it.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(())?;
        iso_currency::Currency::from_code(code)?;
        Some(Self(bytes))
    }

    /// `minor_units` as people read them: `450.00` in USD, `13000` in KRW.
    pub fn in_units(self, minor_units: i64) -> String {
        let known = iso_currency::Currency::from_code(self.as_str());
        let decimals = known.and_then(iso_currency::Currency::exponent);
        let decimals = usize::from(decimals.unwrap_or(0));
        let sign = if minor_units < 0 { "-" } else { "" };
        let digits = format!("{:0>1$}", minor_units.unsigned_abs(), decimals + 1);
        let (units, part) = digits.split_at(digits.len() - decimals);
        let point = if part.is_empty() { "" } else { "." };
        format!("{sign}{units}{point}{part}")
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is made of ASCII capitals only")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The price of one unit in minor units: 1 to [`Price::MAX`].
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Price(i64);

impl Price {
    /// The largest price of one unit: 10¹² minor units.
    pub const MAX: i64 = 1_000_000_000_000;

    /// A price of `minor_units`; `None` outside 1 to [`Price::MAX`].
    pub const fn new(minor_units: i64) -> Option<Self> {
        if minor_units >= 1 && minor_units <= Self::MAX {
            Some(Self(minor_units))
        } else {
            None
        }
    }

    /// Minor units, 1 to [`Price::MAX`].
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The price of `quantity` units; `quantity` is at most 2²¹, so this never overflows.
    pub fn times(self, quantity: u32) -> Amount {
        Amount(self.0 * i64::from(quantity))
    }
}

/// A sum of money in minor units, never negative.
#[derive(
    Copy,
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Amount(i64);

impl Amount {
    pub const ZERO: Self = Self(0);

    /// An amount of `minor_units`; `None` if negative.
    pub const fn new(minor_units: i64) -> Option<Self> {
        if minor_units >= 0 {
            Some(Self(minor_units))
        } else {
            None
        }
    }

    /// Minor units, 0 or more.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// This amount less `other`, at least zero.
    #[must_use]
    pub const fn saturating_minus(self, other: Self) -> Self {
        if other.0 >= self.0 {
            Self(0)
        } else {
            Self(self.0 - other.0)
        }
    }

    /// `percent` of this amount, rounded down to a whole minor unit; `percent` is 1 to 100.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        let scaled = i128::from(self.0) * i128::from(percent.min(100)) / 100;
        Self(i64::try_from(scaled).expect("a share of at most 100 % is no larger than the whole"))
    }
}

/// Reward tokens; a whole number, 0 or more.
#[derive(
    Copy,
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Tokens(u64);

impl Tokens {
    pub const NONE: Self = Self(0);

    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, at most 2^64 - 1.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// The difference, at least zero.
    #[must_use]
    pub const fn minus(self, fewer: Self) -> Self {
        Self(self.0.saturating_sub(fewer.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_currencies_in_capitals_parse() {
        for (code, valid) in [
            ("USD", true),
            ("KRW", true),
            ("usd", false),
            ("US", false),
            ("ZZZ", false),
            ("€UR", false),
        ] {
            assert_eq!(Currency::parse(code).is_some(), valid, "{code}");
        }
    }

    #[test]
    fn amounts_read_with_the_decimals_of_their_currency() {
        for (minor, code, read) in [
            (45_000, "USD", "450.00"),
            (5, "USD", "0.05"),
            (0, "EUR", "0.00"),
            (13_000, "KRW", "13000"),
            (1_250, "KWD", "1.250"),
            (-199, "USD", "-1.99"),
        ] {
            let currency = Currency::parse(code).unwrap();
            assert_eq!(currency.in_units(minor), read, "{minor} {code}");
        }
    }

    #[test]
    fn a_percentage_rounds_down_and_never_overflows() {
        let largest = Price::new(Price::MAX).unwrap().times(2_097_151);
        assert_eq!(largest.percent(100), largest);
        assert_eq!(Amount::new(199).unwrap().percent(10).get(), 19);
    }

    #[test]
    fn prices_keep_their_range() {
        assert!(Price::new(0).is_none() && Price::new(-1).is_none());
        assert!(Price::new(Price::MAX).is_some() && Price::new(Price::MAX + 1).is_none());
    }
}
