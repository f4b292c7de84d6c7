//! Owns the instants holdfast reckons in: whole milliseconds since the Unix epoch, and their text
//! (RFC 3339, and nothing else).
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

    /// This instant moved by `offset_ms`, back where that is negative; between the epoch and
    /// [`UnixMs::MAX`].
    #[must_use]
    pub const fn moved_ms(self, offset_ms: i64) -> Self {
        Self::new(self.0.saturating_add_signed(offset_ms))
    }

    /// Milliseconds from `earlier` to this instant; 0 where `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant that an RFC 3339 `date-time` says, in any offset; digits beyond milliseconds
    /// are dropped. `None` for every other text, and for instants before 1970 or after
    /// [`UnixMs::MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        parse(text).map(|(instant, _)| instant)
    }

    /// The same, but `None` also where the text is finer than milliseconds.
    pub fn parse_exact(text: &str) -> Option<Self> {
        parse(text).and_then(|(instant, fits)| fits.then_some(instant))
    }
}

/// The most bytes of a time: 32 digits of a second's fraction are more than anybody writes.
const TEXT_BYTES_MAX: usize = 58;

/// The instant, and whether it is in whole milliseconds.
fn parse(text: &str) -> Option<(UnixMs, bool)> {
    let bytes = text.as_bytes();
    if bytes.len() > TEXT_BYTES_MAX {
        return None;
    }
    // The fixed part: `2026-11-22T10:00:00`.
    let (fixed, rest) = bytes.split_at_checked(19)?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks
        .iter()
        .all(|(at, mark)| fixed[*at].to_ascii_uppercase() == *mark)
    {
        return None;
    }
    let (year, month, day) = (
        digits(&fixed[..4])?,
        digits(&fixed[5..7])?,
        digits(&fixed[8..10])?,
    );
    let (hour, minute, second) = (
        digits(&fixed[11..13])?,
        digits(&fixed[14..16])?,
        digits(&fixed[17..])?,
    );
    if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    let (fraction_ms, fits, offset) = fraction(rest)?;
    let offset_minutes = offset_minutes(offset)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let minutes = days_from_civil(year, month, day) * 1_440 + hour * 60 + minute - offset_minutes;
    // A leap second ends a month of UTC; Unix time counts it as the next second.
    if second == 60 && !is_last_minute_of_a_month(minutes) {
        return None;
    }
    let ms = u64::try_from((minutes * 60 + second) * 1_000 + fraction_ms).ok()?;
    (ms <= UnixMs::MAX.0).then_some((UnixMs(ms), fits))
}

/// `minutes` since 1970, in UTC.
fn is_last_minute_of_a_month(minutes: i64) -> bool {
    let next = u64::try_from(minutes + 1).ok();
    next.is_some_and(|next| next % 1_440 == 0 && civil_from_days(next / 1_440).2 == 1)
}

/// `.123456` before the offset: milliseconds, whether that is all of it, and what follows.
fn fraction(rest: &[u8]) -> Option<(i64, bool, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else {
        return Some((0, true, rest));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (all, rest) = rest.split_at(count);
    let mut ms = [b'0'; 3];
    let kept = all.len().min(ms.len());
    ms[..kept].copy_from_slice(&all[..kept]);
    let finer = all[kept..].iter().any(|digit| *digit != b'0');
    (count > 0).then_some((digits(&ms)?, !finer, rest))
}

/// `Z`, `+09:00` or `-05:30`, in minutes east of UTC.
fn offset_minutes(text: &[u8]) -> Option<i64> {
    let sign = match text {
        b"Z" | b"z" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let [_, h1, h2, b':', m1, m2] = text else {
        return None;
    };
    let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

/// Decimal digits and nothing else; few enough for any `i64`.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
        digit.map(|digit| number * 10 + digit)
    })
}

const fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar; the inverse of
/// [`civil_from_days`], by the same source.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl fmt::Display for UnixMs {
    /// RFC 3339 in UTC with milliseconds: `2026-11-22T10:00:00.000Z`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        out.write_str(str::from_utf8(&text).expect("digits and separators are ASCII"))
    }
}

impl UnixMs {
    /// The same text, without the formatter's cost: a purchase's answer has nine of them.
    pub fn text(self) -> [u8; 24] {
        let (days, ms_of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let (second, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        // A year has four digits: none is later than `MAX`.
        put_digits(&mut text[..4], year);
        put_digits(&mut text[5..7], month);
        put_digits(&mut text[8..10], day);
        put_digits(&mut text[11..13], hour);
        put_digits(&mut text[14..16], minute);
        put_digits(&mut text[17..19], second);
        put_digits(&mut text[20..23], ms);
        text
    }
}

/// The last digits of `number`, as many as there is room for.
fn put_digits(room: &mut [u8], mut number: u64) {
    for place in room.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).expect("a digit fits into a byte");
        number /= 10;
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
    fn reads_rfc_3339_and_nothing_else() {
        let at = 1_796_000_400_000;
        let cases: &[(&str, Option<u64>)] = &[
            ("2026-11-30T01:00:00.000Z", Some(at)),
            ("2026-11-30T01:00:00Z", Some(at)),
            ("2026-11-30t01:00:00z", Some(at)),
            ("2026-11-30T01:00:00.0Z", Some(at)),
            ("2026-11-30T01:00:00.000000000Z", Some(at)),
            ("2026-11-30T01:00:00+00:00", Some(at)),
            ("2026-11-30T01:00:00-00:00", Some(at)),
            ("2026-11-30T10:00:00.000+09:00", Some(at)),
            ("2026-11-29T19:30:00-05:30", Some(at)),
            ("2026-11-30T01:00:00.1239Z", Some(at + 123)),
            ("2026-12-31T23:59:60Z", Some(1_798_761_600_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("9999-12-31T23:59:59.999Z", Some(UnixMs::MAX.get())),
            ("9999-12-31T23:59:59-00:01", None),
            ("1970-01-01T00:00:00+00:01", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-31T00:00:00Z", None),
            ("2026-11-30T24:00:00Z", None),
            ("2026-11-30T01:60:00Z", None),
            ("2026-11-30T01:00:60Z", None),
            ("2026-11-30T01:00:00.Z", None),
            ("2026-11-30T01:00:00,5Z", None),
            ("2026-11-30T01:00:00", None),
            ("2026-11-30T01:00Z", None),
            ("2026-11-30 01:00:00Z", None),
            ("2026-11-30", None),
            ("2026-11-30T01:00:00+09", None),
            ("2026-11-30T01:00:00+0900", None),
            ("2026-11-30T01:00:00+24:00", None),
            ("2026-11-30T01:00:00[UTC]", None),
            ("2026-11-30T01:00:00Z[UTC]", None),
            ("20261130T010000Z", None),
            ("+02026-11-30T01:00:00Z", None),
            (" 2026-11-30T01:00:00Z", None),
            ("2026-11-30T01:00:00Z ", None),
            ("２026-11-30T01:00:00Z", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(UnixMs::parse(text).map(UnixMs::get), *expected, "{text}");
        }
        assert_eq!(
            UnixMs::parse(&format!("2026-11-30T01:00:00.{}Z", "0".repeat(60))),
            None
        );
        assert_eq!(UnixMs::parse_exact("2026-11-30T01:00:00.0001Z"), None);
        let exact = UnixMs::parse_exact("2026-11-30T01:00:00.001000Z");
        assert_eq!(exact, Some(UnixMs::new(at + 1)));
    }

    #[test]
    fn agrees_with_a_calendar_library_on_every_day_of_four_centuries() {
        for day in 0..146_097 {
            let ms = day * 86_400_000;
            let expected = jiff::Timestamp::from_millisecond(ms).expect("in range");
            let ours = UnixMs::new(u64::try_from(ms).expect("positive"));
            assert_eq!(ours.to_string(), format!("{expected:.3}"));
            assert_eq!(UnixMs::parse_exact(&ours.to_string()), Some(ours));
        }
    }
}
