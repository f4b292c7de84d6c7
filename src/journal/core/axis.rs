//! Owns the time by which webhooks are remembered.
//!
//! Invariant: what is remembered keeps its age or becomes younger, whatever the clock does.

use crate::engine::event::ClockCorrected;
use crate::engine::stamp::Settled;
use crate::journal::time::clock::Moment;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The time by which webhooks are remembered. It advances with the core's time, with two
/// exceptions:
///
/// 1. A correction of the clock does not move it.
/// 2. Until the clock has settled after a start, it stands still, and then continues from the last
///    webhook of that time. So a wrong clock at a start forgets nothing, and the time that the
///    process was off does not age webhooks remembered then.
#[derive(Copy, Clone, Debug, Default, Archive, Serialize, Deserialize)]
pub(in crate::journal) struct Axis {
    /// Added to the core's time.
    offset_ms: i64,
    /// The latest value reached; 0: no webhook was ever remembered.
    latest_ms: u64,
    /// When a webhook was last remembered before the clock had settled; `None`: not since the last start.
    unsettled_at: Option<UnixMs>,
}

impl Axis {
    /// The axis at `moment`.
    pub(in crate::journal) fn at(mut self, moment: Moment) -> u64 {
        self.go_on(moment)
    }

    /// The axis at `moment`, at which a webhook is remembered.
    pub(in crate::journal) fn go_on(&mut self, moment: Moment) -> u64 {
        let reached = self.of(moment.at);
        match moment.settled {
            Settled::No if self.latest_ms == 0 => self.latest_ms = reached,
            Settled::No => {
                self.unsettled_at = Some(moment.at);
                return reached.min(self.latest_ms);
            }
            Settled::Yes => {
                if let Some(at) = self.unsettled_at.take() {
                    let ahead = self.of(at).saturating_sub(self.latest_ms);
                    self.offset_ms -= ahead.cast_signed();
                }
            }
        }
        let reached = self.of(moment.at);
        self.latest_ms = self.latest_ms.max(reached);
        reached
    }

    pub(in crate::journal) fn correct(&mut self, corrected: &ClockCorrected) {
        let offset_ms = corrected.offset_ms();
        self.unsettled_at = self.unsettled_at.map(|at| at.moved_ms(offset_ms));
        if offset_ms >= 0 {
            self.offset_ms -= offset_ms;
        } else {
            // The last webhook must not lie in the future after the correction. It may become younger.
            let ahead = self.latest_ms.saturating_sub(self.of(corrected.after));
            self.offset_ms += ahead.cast_signed();
        }
    }

    fn of(self, at: UnixMs) -> u64 {
        at.get().saturating_add_signed(self.offset_ms)
    }
}
