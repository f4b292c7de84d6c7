//! Owns the fact that the clock was wrong.

use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The core's time was corrected: from here on it is another than before.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ClockCorrected {
    /// The core's time until then.
    pub before: UnixMs,
    /// What it is from then on; the instant of this event's record.
    pub after: UnixMs,
    /// Why it is believed.
    pub by: CorrectedBy,
}

/// Why a correction is believed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum CorrectedBy {
    /// The difference lasted.
    Settled,
    /// The operator ordered it at a start.
    Operator,
}

impl CorrectedBy {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Operator => "operator",
        }
    }
}

impl ClockCorrected {
    /// Milliseconds by which the time was set forward; negative: back. Instants that no clock shows
    /// stand in damaged records only: there it is as far as it goes.
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
