//! Owns taking back rows of another history of the log: finding events by their LSN, and moving
//! what the log has lost aside, with the schema's own function, in one transaction.
//!
//! Invariant: every deleted row is in `holdfast.lost_history` afterwards.

use super::encode::bigint;
use super::fault::PostgresError;
use crate::ids::Lsn;
use crate::journal::Cursor;
use crate::report::feed::sink::SinkRecord;
use crate::time::UnixMs;
use tokio_postgres::Client;

const NEWEST: &str = "SELECT lsn, (extract(epoch FROM at) * 1000)::bigint, kind, user_id \
    FROM holdfast.audit_log WHERE lsn >= $1 AND lsn < $2 ORDER BY lsn DESC LIMIT 1";

/// The newest event from `from` on and before `before`.
pub(super) async fn newest(
    client: &Client,
    from: Lsn,
    before: Lsn,
) -> Result<Option<SinkRecord>, PostgresError> {
    let row = client
        .query_opt(NEWEST, &[&bigint(from), &bigint(before)])
        .await
        .map_err(PostgresError::doing("looking for the newest event"))?;
    Ok(row.map(|row| SinkRecord {
        lsn: Lsn(row.get::<_, i64>(0).unsigned_abs()),
        at: UnixMs::new(row.get::<_, i64>(1).unsigned_abs()),
        kind: row.get(2),
        user: row.get(3),
    }))
}

/// Takes back the rows of events from `to` on, and moves the cursor from `from` to `to`; returns
/// the number of events.
pub(super) async fn take_back(
    client: &Client,
    log_id: &str,
    from: &Cursor,
    to: &Cursor,
) -> Result<u64, PostgresError> {
    let row = client
        .query_one(
            "SELECT holdfast.take_back($1, $2, $3, $4, $5, $6)",
            &[
                &log_id,
                &bigint(from.lsn),
                &from.generation.to_string(),
                &bigint(to.lsn),
                &to.generation.to_string(),
                &i64::from(to.chain),
            ],
        )
        .await
        .map_err(PostgresError::doing("taking back what the log has lost"))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
