//! Owns one run: the database computes, batch by batch, then changed segments are taken over.
//!
//! Invariants: each batch is one transaction, which also records the progress, so a run may stop
//! anywhere and the next one continues; it reads what the sink has delivered and no further; no
//! other run is active in that database; it has at most `batches_max` batches, and fails if it needs
//! more. Its result is in `segment_runs`. Deliberately absent: how segments are computed.

use super::SegmentSettings;
use super::feed::{SegmentFeed, feed};
use super::job::RequestedBy;
use super::status::{SegmentProgress, SegmentReport};
use crate::engine::segments::SegmentCursor;
use crate::ids::UserId;
use crate::journal::Journal;
use crate::report::feed::cursor::log_id_text;
use crate::report::postgres::connect::{Connected, connect};
use crate::report::postgres::{PostgresError, PostgresSettings};
use std::future::Future;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// The context of a run.
#[derive(Copy, Clone)]
pub(super) struct SegmentBounds<'a> {
    pub(super) journal: &'a Journal,
    pub(super) postgres: &'a PostgresSettings,
    pub(super) settings: SegmentSettings,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Database(#[from] PostgresError),
    #[error("{0} took longer than report.deliver_timeout_ms")]
    TimedOut(&'static str),
    #[error("another process is updating segments in this database")]
    Busy,
    #[error(
        "the tables are ahead of the log: delivered up to LSN {delivered}, durable up to {durable}; the data directory is an older copy"
    )]
    AheadOfLog { delivered: i64, durable: i64 },
    #[error(
        "the run needs more than report.postgres.segments.batches_max batches; the next run continues from here"
    )]
    TooLong,
    #[error("the database has {0}, which is invalid; correct it there")]
    Unread(UnreadValue),
    #[error("the disk is nearly full; segments are taken over when there is free space")]
    NoRoom,
    #[error(
        "this is a restored or copied history of the log; segments are taken over once it is accepted"
    )]
    RestoredCopy,
    #[error("the log has stopped")]
    Stopped,
}

/// What in the database is no value that the job writes there.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnreadValue {
    #[error("the series {0:?}")]
    Series(String),
    /// It could be anything, so it is not repeated.
    #[error("a buyer's id")]
    Buyer,
    #[error("a segment of the buyer {0}")]
    Segment(UserId),
}

/// Runs once. `fed` is the last change that was taken over.
pub(super) async fn run(
    bounds: SegmentBounds<'_>,
    number: u64,
    by: RequestedBy,
    fed: &mut Option<SegmentCursor>,
    progress: &mut (dyn FnMut(SegmentProgress) + Send),
) -> SegmentReport {
    let started_at = bounds.journal.now();
    let mut came = SegmentProgress::default();
    let mut told = |at: SegmentProgress| {
        came = at;
        progress(at);
    };
    let ended = carry_out(bounds, by, fed, &mut told).await;
    SegmentReport {
        number,
        started_at,
        ended_at: bounds.journal.now(),
        progress: came,
        failure: ended.err().map(|error| error.to_string()),
    }
}

async fn carry_out(
    bounds: SegmentBounds<'_>,
    by: RequestedBy,
    fed: &mut Option<SegmentCursor>,
    told: &mut (dyn FnMut(SegmentProgress) + Send),
) -> Result<(), RunError> {
    let session = SegmentSession::open(bounds).await?;
    let run = session.begin(bounds.journal, by, *fed).await?;
    let mut at = SegmentProgress {
        run: Some(run.unsigned_abs()),
        ..SegmentProgress::default()
    };
    told(at);
    let worked = session.work(bounds, run, fed, &mut at, told).await;
    let failure = worked.as_ref().err().map(ToString::to_string);
    let ended = session.end(run, at.fed, failure.as_deref()).await;
    // The first error is more useful than the failure to record it.
    worked.and(ended)
}

/// A connection in the writer's role, with a timeout for every statement.
pub(super) struct SegmentSession {
    connected: Connected,
    timeout: Duration,
}

impl SegmentSession {
    async fn open(bounds: SegmentBounds<'_>) -> Result<Self, RunError> {
        let timeout = bounds.settings.timeout;
        let connecting = connect(bounds.postgres, bounds.postgres.writer());
        let connected = within(timeout, "connecting", connecting).await??;
        let role = format!(
            "SET ROLE holdfast_writer; SET statement_timeout = {}",
            timeout.as_millis()
        );
        let doing = "taking on the role holdfast_writer";
        let taken = within(timeout, doing, connected.client.batch_execute(&role)).await?;
        taken.map_err(PostgresError::doing(doing))?;
        Ok(Self { connected, timeout })
    }

    /// Begins a run; returns its number.
    async fn begin(
        &self,
        journal: &Journal,
        by: RequestedBy,
        fed: Option<SegmentCursor>,
    ) -> Result<i64, RunError> {
        let log = log_id_text(journal.log_id());
        let cursor = self
            .row(
                "reading the sink's cursor",
                "SELECT (SELECT lsn FROM holdfast.sink_cursor \
                 WHERE sink = 'postgres' AND log_id = $1)",
                &[&log],
            )
            .await?;
        let delivered: Option<i64> = cursor.get(0);
        // Read the durable LSN after the cursor: the sink continues meanwhile, but never past the
        // durable LSN. In the other order the cursor could seem to be ahead of the log.
        let durable = signed(journal.tail().durable_lsn().0);
        if let Some(delivered) = delivered.filter(|it| *it > durable) {
            return Err(RunError::AheadOfLog { delivered, durable });
        }
        let now_ms = signed(journal.now().get());
        let series = fed.map(|fed| series_text(fed.series));
        let change = fed.map(|fed| signed(fed.change));
        let row = self
            .row(
                "beginning a run",
                "SELECT holdfast.segments_begin($1, $2, $3, $4, $5, $6)",
                &[&log, &delivered, &now_ms, &by.as_str(), &series, &change],
            )
            .await?;
        row.get::<_, Option<i64>>(0).ok_or(RunError::Busy)
    }

    async fn work(
        &self,
        bounds: SegmentBounds<'_>,
        run: i64,
        fed: &mut Option<SegmentCursor>,
        at: &mut SegmentProgress,
        told: &mut (dyn FnMut(SegmentProgress) + Send),
    ) -> Result<(), RunError> {
        let most = i32::try_from(bounds.settings.batch).unwrap_or(i32::MAX);
        let mut batches = 0;
        loop {
            if batches == bounds.settings.batches_max {
                return Err(RunError::TooLong);
            }
            batches += 1;
            let row = self
                .row(
                    "computing segments",
                    "SELECT phase, seen, changed FROM holdfast.segments_step($1, $2)",
                    &[&run, &most],
                )
                .await?;
            if row.get::<_, &str>(0) == "done" {
                break;
            }
            at.seen += row.get::<_, i64>(1).unsigned_abs();
            at.changed += row.get::<_, i64>(2).unsigned_abs();
            told(*at);
        }
        let feeding = SegmentFeed {
            journal: bounds.journal,
            settings: bounds.settings,
            session: self,
        };
        feed(feeding, fed, at, told).await
    }

    async fn end(&self, run: i64, fed: u64, failure: Option<&str>) -> Result<(), RunError> {
        let fed = signed(fed);
        self.row(
            "ending a run",
            "SELECT holdfast.segments_end($1, $2, $3)",
            &[&run, &fed, &failure],
        )
        .await
        .map(drop)
    }

    /// The single row of `sql`.
    pub(super) async fn row(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, RunError> {
        let asked = self.connected.client.query_one(sql, parameters);
        let row = within(self.timeout, doing, asked).await?;
        Ok(row.map_err(PostgresError::doing(doing))?)
    }

    /// The rows of `sql`.
    pub(super) async fn rows(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, RunError> {
        let asked = self.connected.client.query(sql, parameters);
        let rows = within(self.timeout, doing, asked).await?;
        Ok(rows.map_err(PostgresError::doing(doing))?)
    }
}

async fn within<T>(
    timeout: Duration,
    doing: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, RunError> {
    let worked = tokio::time::timeout(timeout, work).await;
    worked.map_err(|_| RunError::TimedOut(doing))
}

/// A series as text in the database.
pub(super) fn series_text(series: u64) -> String {
    format!("{series:016x}")
}

/// A number as `bigint`: no number reaches 2⁶³.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
