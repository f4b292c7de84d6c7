//! Owns taking changed segments over into the core, in the order in which they changed.
//!
//! Invariants: the log says from where to continue, so a run that stopped anywhere, or that is
//! repeated, leads to the same result; at most `feedback_per_s` changes per second, each in its
//! buyer's turn, and a slice of them is durable before the next; none while the disk is nearly full.
//! Deliberately absent: which segment applies if the operator has set another.

use super::SegmentSettings;
use super::run::{RunError, SegmentSession, UnreadValue, signed};
use super::status::SegmentProgress;
use crate::engine::event::BuyerSegmented;
use crate::engine::segments::SegmentCursor;
use crate::ids::{Segment, UserId};
use crate::journal::{Journal, Readiness, SegmentTaken};
use std::time::Duration;
use tokio_postgres::Row;

/// Slices per second: so short that a sale does not notice one.
const SLICES_PER_S: u32 = 20;
/// Rows per query.
const PAGE: i64 = 1_000;

/// The context of taking over changes.
#[derive(Copy, Clone)]
pub(super) struct SegmentFeed<'a> {
    pub(super) journal: &'a Journal,
    pub(super) settings: SegmentSettings,
    pub(super) session: &'a SegmentSession,
}

/// Takes over the changes after `fed`.
pub(super) async fn feed(
    with: SegmentFeed<'_>,
    fed: &mut Option<SegmentCursor>,
    at: &mut SegmentProgress,
    told: &mut (dyn FnMut(SegmentProgress) + Send),
) -> Result<(), RunError> {
    let row = with
        .session
        .row(
            "reading the series of changes",
            "SELECT series FROM holdfast.segment_state",
            &[],
        )
        .await?;
    let text: &str = row.get(0);
    let unread = |_| RunError::Unread(UnreadValue::Series(text.to_owned()));
    let series = u64::from_str_radix(text, 16).map_err(unread)?;
    let mut after = fed
        .filter(|it| it.series == series)
        .map_or(0, |it| it.change);
    loop {
        let rows = with
            .session
            .rows(
                "reading changed segments",
                "SELECT user_id, segment, change, run FROM holdfast.user_segments \
                 WHERE change > $1 ORDER BY change LIMIT $2",
                &[&signed(after), &PAGE],
            )
            .await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.get::<_, i64>(2).unsigned_abs();
        let slice = (with.settings.feedback_per_s / SLICES_PER_S).max(1);
        for rows in rows.chunks(slice as usize) {
            let taken = with.slice(rows, series, fed)?;
            at.fed += u64::from(taken);
            told(*at);
            let pause = Duration::from_secs(1) * taken / with.settings.feedback_per_s;
            tokio::time::sleep(pause).await;
        }
    }
}

impl SegmentFeed<'_> {
    /// Takes over these changes, and waits until they are durable; returns the number of events.
    fn slice(
        &self,
        rows: &[Row],
        series: u64,
        fed: &mut Option<SegmentCursor>,
    ) -> Result<u32, RunError> {
        match self.journal.figures().readiness() {
            Readiness::Ready => {}
            Readiness::DiskFull => return Err(RunError::NoRoom),
            Readiness::RestoredCopy => return Err(RunError::RestoredCopy),
            Readiness::NotLeader | Readiness::Failed(_) => return Err(RunError::Stopped),
        }
        let mut taken = 0;
        let mut durable_at = None;
        let mut last = None;
        for row in rows {
            let segmented = read(row, series)?;
            let now_fed = SegmentCursor {
                series,
                change: segmented.change,
            };
            let segmented = self.journal.risk().segment_buyer(segmented);
            match segmented.map_err(|_| RunError::Stopped)? {
                SegmentTaken::Stands(lsn) => {
                    durable_at = Some(lsn);
                    taken += 1;
                }
                SegmentTaken::There | SegmentTaken::Unknown => {}
            }
            last = Some(now_fed);
        }
        if let Some(lsn) = durable_at {
            let durable = self.journal.wait_durable(lsn);
            durable.map_err(|_| RunError::Stopped)?;
        }
        *fed = last.or(*fed);
        Ok(taken)
    }
}

fn read(row: &Row, series: u64) -> Result<BuyerSegmented, RunError> {
    let (user, segment): (&str, &str) = (row.get(0), row.get(1));
    let user = UserId::parse(user).ok_or(RunError::Unread(UnreadValue::Buyer))?;
    let unread = || RunError::Unread(UnreadValue::Segment(user.clone()));
    let segment = Segment::parse(segment).ok_or_else(unread)?;
    Ok(BuyerSegmented {
        user,
        segment,
        series,
        change: row.get::<_, i64>(2).unsigned_abs(),
        run: row.get::<_, i64>(3).unsigned_abs(),
    })
}
