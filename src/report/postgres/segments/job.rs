//! Owns the job in a running core: on its own thread, periodically and on request.
//!
//! Invariants: one run at a time. A request during a run causes another one after it, so that
//! everything delivered before the request is included; the last report stays until there is
//! another. A failed run does not change the time of the last success; the next one continues from
//! there, and starts soon if runs are periodic.
//! Deliberately absent: what a run does.

use super::SegmentSettings;
use super::run::SegmentBounds;
use super::status::{SegmentProgress, SegmentReport, SegmentsStatus};
use crate::engine::segments::SegmentCursor;
use crate::job::Alarm;
use crate::journal::Journal;
use crate::report::postgres::PostgresSettings;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The first periodic run comes this long after the start; after a failed run the next one comes
/// after this time.
const SOON: Duration = Duration::from_mins(1);

/// Segments in a running core.
pub struct SegmentJob {
    journal: Arc<Journal>,
    postgres: PostgresSettings,
    settings: SegmentSettings,
    state: Mutex<SegmentsStatus>,
    alarm: Arc<Alarm>,
}

/// What triggers a run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestedBy {
    Schedule,
    Request,
}

impl RequestedBy {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Request => "request",
        }
    }
}

impl SegmentJob {
    /// A job that computes segments in `postgres` and takes them over into `journal`, once
    /// [`SegmentJob::start`] is called.
    pub fn new(
        journal: Arc<Journal>,
        postgres: PostgresSettings,
        settings: SegmentSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            journal,
            postgres,
            settings,
            state: Mutex::default(),
            alarm: Arc::default(),
        })
    }

    /// Starts the thread, which runs until [`SegmentJob::stop`].
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let job = Arc::clone(self);
        self.alarm
            .start("segments", move || async move { job.go_on().await })
    }

    /// Ends the thread. A run in progress stops where it is, and the next one continues there.
    pub fn stop(&self) {
        self.alarm.stop();
    }

    /// Requests a run that starts after this call; returns its number.
    pub fn ask(&self) -> u64 {
        let mut state = self.state.lock();
        state.asked = true;
        self.alarm.wake();
        state.asked_for()
    }

    /// The status. Everything that it reveals is durable.
    pub fn status(&self) -> SegmentsStatus {
        self.state.lock().clone()
    }

    async fn go_on(&self) {
        // The log says which changes were taken over; from here on this thread keeps count.
        let mut fed = self.journal.risk().segments_fed();
        let every = self.settings.every;
        let mut wait = every.map(|every| every.min(SOON));
        loop {
            let asked = || self.state.lock().asked;
            self.alarm.due(wait, asked).await;
            let failed = self.run(&mut fed).await;
            wait = every.map(|every| if failed { every.min(SOON) } else { every });
        }
    }

    /// Runs once; returns whether the run failed.
    async fn run(&self, fed: &mut Option<SegmentCursor>) -> bool {
        let (number, by) = {
            let mut state = self.state.lock();
            let by = if std::mem::take(&mut state.asked) {
                RequestedBy::Request
            } else {
                RequestedBy::Schedule
            };
            state.runs += 1;
            state.running = Some(SegmentProgress::default());
            (state.runs, by)
        };
        let bounds = SegmentBounds {
            journal: &self.journal,
            postgres: &self.postgres,
            settings: self.settings,
        };
        let mut progress = |progress| self.state.lock().running = Some(progress);
        let report = super::run::run(bounds, number, by, fed, &mut progress).await;
        log(&report);
        let failed = report.failure.is_some();
        let report = Arc::new(report);
        let mut state = self.state.lock();
        state.running = None;
        state.fed += report.progress.fed;
        state.failed += u64::from(failed);
        if !failed {
            state.last_good = Some(Arc::clone(&report));
        }
        state.last = Some(report);
        failed
    }
}

fn log(report: &SegmentReport) {
    let SegmentProgress {
        seen, changed, fed, ..
    } = report.progress;
    let elapsed_ms = report.ended_at.since_ms(report.started_at);
    match &report.failure {
        None => tracing::info!(
            event = "segments",
            run = report.progress.run,
            seen,
            changed,
            fed,
            elapsed_ms,
            "buyers' segments are up to date"
        ),
        Some(why) => tracing::error!(
            event = "segments",
            run = report.progress.run,
            seen,
            changed,
            fed,
            elapsed_ms,
            "buyers' segments could not be updated; the next run continues from there: {why}"
        ),
    }
}
