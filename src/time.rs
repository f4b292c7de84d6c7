//! Owns the instants holdfast reckons in: whole milliseconds since the Unix epoch.
//!
//! Nothing here reads a clock; only the journal does, once per turn of a shard.

use std::fmt;

/// An instant in whole milliseconds since 1970-01-01T00:00:00Z.
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
pub struct UnixMs(u64);

impl UnixMs {
    /// The latest instant that RFC 3339 can write: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// An instant `ms` milliseconds after the epoch; later ones than [`UnixMs::MAX`] become it.
    pub const fn new(ms: u64) -> Self {
        if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This instant and `duration_ms` more, at most [`UnixMs::MAX`].
    #[must_use]
    pub const fn plus_ms(self, duration_ms: u64) -> Self {
        Self::new(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` to this instant; 0 where `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixMs {
    /// RFC 3339 in UTC with milliseconds: `2026-11-22T10:00:00.000Z`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms_of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let (second, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
        write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01.
///
/// Follows the published algorithm `civil_from_days` of Howard Hinnant's "chrono-Compatible
/// Low-Level Date Algorithms"; written out because answers carry two times each and the engine
/// may not depend on a calendar library.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_rfc_3339_with_milliseconds() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_795_305_600_001, "2026-11-22T00:00:00.001Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(UnixMs::new(ms).to_string(), expected);
        }
    }

    #[test]
    fn agrees_with_a_calendar_library_on_every_day_of_four_centuries() {
        for day in 0..146_097 {
            let ms = day * 86_400_000;
            let expected = jiff::Timestamp::from_millisecond(ms).expect("in range");
            let ours = UnixMs::new(u64::try_from(ms).expect("positive")).to_string();
            assert_eq!(ours, format!("{expected:.3}"));
        }
    }
}
