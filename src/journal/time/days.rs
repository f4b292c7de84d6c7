//! Owns when a day begins in the time zone of the operator's daily limits.
//!
//! Invariants: a day begins at its first instant, which a change to summer time can make later than
//! midnight; it lasts 23, 24 or 25 hours as the rules of the zone say. The program has the rules
//! built in for machines without them. Deliberately absent: what is counted per day (the engine).

use crate::time::UnixMs;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time zone of the IANA database, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayZone(TimeZone);

impl DayZone {
    /// The zone with this name, such as `Asia/Seoul`; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "UTC" {
            return Some(Self(TimeZone::UTC));
        }
        TimeZone::get(name).ok().map(Self)
    }
}

impl Default for DayZone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

/// The days of a zone. Shared by all threads.
pub(in crate::journal) struct Days {
    zone: TimeZone,
    /// A cache: the next request is nearly always about the same day.
    latest: ArcSwap<Day>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Day {
    start: UnixMs,
    end: UnixMs,
}

impl Days {
    pub(in crate::journal) fn new(zone: DayZone) -> Self {
        let never = Day {
            start: UnixMs::default(),
            end: UnixMs::default(),
        };
        Self {
            zone: zone.0,
            latest: ArcSwap::from_pointee(never),
        }
    }

    /// When the day of `at` began.
    pub(in crate::journal) fn start_of(&self, at: UnixMs) -> UnixMs {
        let latest = **self.latest.load();
        if latest.start <= at && at < latest.end {
            return latest.start;
        }
        let day = self.day_of(at).unwrap_or_else(|| utc_day_of(at));
        if day.start > latest.start {
            self.latest.store(std::sync::Arc::new(day));
        }
        day.start
    }

    /// `None` beyond the year 9999.
    fn day_of(&self, at: UnixMs) -> Option<Day> {
        let at = i64::try_from(at.get()).ok()?;
        let at = Timestamp::from_millisecond(at).ok()?;
        let start = at.to_zoned(self.zone.clone()).start_of_day().ok()?;
        let end = start.tomorrow().ok()?.start_of_day().ok()?;
        let instant = |it: &jiff::Zoned| {
            let ms = u64::try_from(it.timestamp().as_millisecond()).unwrap_or(0);
            UnixMs::new(ms)
        };
        Some(Day {
            start: instant(&start),
            end: instant(&end),
        })
    }
}

fn utc_day_of(at: UnixMs) -> Day {
    const DAY_MS: u64 = 86_400_000;
    let start = at.get() - at.get() % DAY_MS;
    Day {
        start: UnixMs::new(start),
        end: UnixMs::new(start.saturating_add(DAY_MS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> UnixMs {
        let at: Timestamp = text.parse().expect("an instant");
        UnixMs::new(u64::try_from(at.as_millisecond()).expect("after 1970"))
    }

    /// A zone, a time, the start of its day there, and the length of the day in hours.
    const DAYS: [(&str, &str, &str, u64); 9] = [
        (
            "UTC",
            "2026-11-25T03:56:19.123Z",
            "2026-11-25T00:00:00Z",
            24,
        ),
        (
            "Asia/Seoul",
            "2026-11-25T14:59:59.999Z",
            "2026-11-24T15:00:00Z",
            24,
        ),
        (
            "Asia/Seoul",
            "2026-11-25T15:00:00Z",
            "2026-11-25T15:00:00Z",
            24,
        ),
        // The clocks go forward (23 hours) and back (25 hours).
        (
            "America/New_York",
            "2026-03-08T12:00:00Z",
            "2026-03-08T05:00:00Z",
            23,
        ),
        (
            "America/New_York",
            "2026-11-01T12:00:00Z",
            "2026-11-01T04:00:00Z",
            25,
        ),
        (
            "America/New_York",
            "2026-11-02T04:59:59.999Z",
            "2026-11-01T04:00:00Z",
            25,
        ),
        // This day has no midnight.
        (
            "Africa/Cairo",
            "2026-04-24T12:00:00Z",
            "2026-04-23T22:00:00Z",
            23,
        ),
        (
            "Asia/Kathmandu",
            "2026-11-25T18:15:00Z",
            "2026-11-25T18:15:00Z",
            24,
        ),
        (
            "Australia/Lord_Howe",
            "2026-04-05T10:00:00Z",
            "2026-04-04T13:00:00Z",
            24,
        ),
    ];

    #[test]
    fn days_begin_and_last_as_the_zone_says_whatever_was_asked_before() {
        for forward in [true, false] {
            let mut rows = DAYS.to_vec();
            if !forward {
                rows.reverse();
            }
            for (zone, at, start, hours) in rows {
                let days = Days::new(DayZone::parse(zone).expect("a zone"));
                let start = instant(start);
                assert_eq!(days.start_of(instant(at)), start, "{zone} {at}");
                let last = start.plus_ms(hours * 3_600_000 - 1);
                // Lord Howe's clocks move by half an hour.
                let half = if zone.ends_with("Howe") { 1_800_000 } else { 0 };
                let end = last.plus_ms(1 + half);
                assert_eq!(days.start_of(last), start, "{zone} {at}");
                assert_eq!(days.start_of(end), end, "{zone} {at}");
                assert_eq!(days.start_of(last), start, "{zone} {at}, asked again");
            }
        }
        assert_eq!(DayZone::parse("Mars/Olympus"), None);
    }
    /// What `engine::state::spending` relies on.
    #[test]
    fn days_begin_at_a_quarter_of_an_hour_in_every_zone() {
        let names: Vec<_> = jiff::tz::db().available().collect();
        assert!(names.len() > 400, "only {} zones", names.len());
        for name in names {
            let days = Days::new(DayZone::parse(name.as_str()).expect("a zone that is listed"));
            let mut at = instant("2026-01-01T12:00:00Z");
            while at < instant("2028-01-01T00:00:00Z") {
                let start = days.start_of(at);
                assert_eq!(start.get() % 900_000, 0, "{name} {start}");
                assert!(
                    start <= at && at.since_ms(start) < 25 * 3_600_000,
                    "{name} {at}"
                );
                at = at.plus_ms(10 * 86_400_000);
            }
        }
    }
}
