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
    /// Milliseconds by which the time was set forward; negative: back.
    pub const fn offset_ms(&self) -> i64 {
        self.after.get().cast_signed() - self.before.get().cast_signed()
    }
}
