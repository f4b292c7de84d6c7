//! Owns the event that corrects the core's time.

use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The core's time was corrected.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ClockCorrected {
    /// The core's time before it.
    pub before: UnixMs,
    /// The core's time from then on; it is the instant of this event's record.
    pub after: UnixMs,
    /// Why the correction is trusted.
    pub by: CorrectedBy,
}

/// Why a correction is trusted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum CorrectedBy {
    /// The difference lasted.
    Settled,
    /// The operator ordered it at a start.
    Operator,
}

impl CorrectedBy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Operator => "operator",
        }
    }
}

impl ClockCorrected {
    /// Milliseconds by which the time was moved forward; negative: back. Only damaged records have
    /// instants whose difference overflows; it saturates there.
    pub const fn offset_ms(&self) -> i64 {
        let (before, after) = (self.before.get(), self.after.get());
        match after.checked_signed_diff(before) {
            Some(offset_ms) => offset_ms,
            None if after > before => i64::MAX,
            None => i64::MIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_of_instants_that_no_clock_shows_is_as_far_as_it_goes() {
        let offset = |before: u64, after: u64| {
            let (before, after) = (UnixMs::new(before), UnixMs::new(after));
            let by = CorrectedBy::Settled;
            ClockCorrected { before, after, by }.offset_ms()
        };
        assert_eq!((offset(5, 12), offset(12, 5)), (7, -7));
        assert!(offset(0, u64::MAX) > 0 && offset(u64::MAX, 0) < 0);
    }
}
