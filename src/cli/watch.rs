//! Owns what `serve` reports about its clock, its disk, its log and its bounds, and to its
//! supervisor.
//!
//! Invariant: a state is reported once when it begins and once when it ends, however often it is
//! checked. Deliberately absent: what happens to requests meanwhile, which the journal decides.

use super::bounds::BoundWatch;
use super::supervisor::Heartbeat;
use crate::http::core::Core;
use crate::journal::{ClockNotice, DiskRoom, DiskState, Journal, SYNC_SLOW};
use std::path::Path;
use std::time::Duration;

/// Called regularly.
pub(super) struct HealthWatch<'a> {
    journal: &'a Journal,
    core: &'a Core,
    data_dir: &'a Path,
    heartbeat: Heartbeat<'a>,
    room: DiskRoom,
    is_slow: bool,
    bounds: BoundWatch,
}

/// Whether the process can continue.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    /// The log has stopped.
    Fault,
}

impl<'a> HealthWatch<'a> {
    /// Watches `journal` in `data_dir`.
    pub(super) fn new(
        journal: &'a Journal,
        core: &'a Core,
        data_dir: &'a Path,
        heartbeat: Heartbeat<'a>,
    ) -> Self {
        Self {
            journal,
            core,
            data_dir,
            heartbeat,
            room: DiskRoom::Enough,
            is_slow: false,
            bounds: BoundWatch::default(),
        }
    }

    /// Reports what has changed since the last check.
    pub(super) fn look(&mut self) -> Health {
        let notices = self.journal.upkeep().take_clock_notices();
        notices.into_iter().for_each(say_of_clock);
        let disk = self.journal.figures().disk();
        if disk.room != self.room {
            self.room = disk.room;
            self.say_of_room(&disk);
        }
        if disk.is_slow() != self.is_slow {
            self.is_slow = disk.is_slow();
            self.say_of_speed(&disk);
        }
        self.bounds.look(self.journal);
        match self.journal.fault() {
            None => {
                self.heartbeat.beat(self.core.not_ready());
                Health::Good
            }
            Some(fault) => {
                tracing::error!(event = "log_stopped", "{fault}");
                Health::Fault
            }
        }
    }

    fn say_of_room(&self, disk: &DiskState) {
        let path = self.data_dir.display();
        let DiskState {
            free_bytes,
            free_bytes_min,
            ..
        } = *disk;
        match disk.room {
            DiskRoom::Lacking => tracing::error!(
                event = "disk_full",
                %path,
                free_bytes,
                free_bytes_min,
                "new purchases are refused until storage.disk_free_bytes_min and the log's next segment fit on the disk; free disk space, sales then resume on their own"
            ),
            DiskRoom::Enough => tracing::info!(
                event = "disk_room_again",
                %path,
                free_bytes,
                free_bytes_min,
                "new purchases are accepted again"
            ),
        }
    }

    fn say_of_speed(&self, disk: &DiskState) {
        let path = self.data_dir.display();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let slowest_ms = ms(disk.sync_slowest);
        if disk.is_slow() {
            tracing::warn!(
                event = "disk_slow",
                %path,
                slowest_ms,
                bound_ms = ms(SYNC_SLOW),
                "a sync of the log is slow, and every answer waits for it; check the disk"
            );
        } else {
            tracing::info!(
                event = "disk_fast_again",
                %path,
                slowest_ms,
                "the syncs of the last ten seconds were fast enough"
            );
        }
    }
}

/// Reports what happened to the clock.
fn say_of_clock(notice: ClockNotice) {
    match notice {
        ClockNotice::Stepped(difference) => tracing::warn!(
            event = "clock_stepped",
            core_time = %difference.core,
            wall_clock = %difference.wall,
            offset_ms = difference.offset_ms(),
            "the wall clock stepped by more than clock.step_max_ms; the core follows only if the step lasts for clock.settle_s"
        ),
        ClockNotice::Corrected(difference) => tracing::warn!(
            event = "clock_corrected",
            before = %difference.core,
            after = %difference.wall,
            offset_ms = difference.offset_ms(),
            "the core's time was corrected; holds and deadlines keep their remaining time"
        ),
    }
}
