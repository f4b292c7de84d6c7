//! Owns writing a batch: one transaction with its rows and the cursor.
//!
//! Invariants: the cursor moves from exactly its last position, in the transaction that writes the
//! rows, so every event is written once, even if a batch is repeated or another process writes; a
//! commit whose response was lost is recognized by the cursor; a redriven event is written only if
//! the audit log does not have it; an event of any month can be written, and none comes back to a
//! month that the operator has dropped.

use super::connect::{Connected, connect};
use super::encode::{HEADER, TRAILER, bigint};
use super::fault::PostgresError;
use super::rows::{RowBatch, Rows};
use super::settings::{Migrate, PostgresSettings};
use super::tables::{
    ACTIONS, ATTEMPTS, AUDIT, LEDGER, REWARDS, RISK, RowTable, TRANSACTIONS, USES,
};
use super::{history, schema};
use crate::ids::Lsn;
use crate::journal::{Cursor, Generation};
use crate::report::feed::cursor::log_id_text;
use crate::report::feed::sink::{Batch, Class, Deliver, Delivered, Placed, Purpose, SinkRecord};
use bytes::Bytes;
use futures_util::SinkExt;
use std::collections::{BTreeSet, HashSet};
use std::pin::pin;
use tokio_postgres::{Statement, Transaction};

/// Bytes of one message of a `COPY`.
const COPY_CHUNK: usize = 256 << 10;

pub struct PostgresWriter {
    settings: PostgresSettings,
    session: Option<Session>,
    migrated: bool,
}

struct Session {
    connected: Connected,
    log_id: String,
    /// The text form in the cursor's row.
    generation: String,
    statements: Statements,
    /// Days whose months were made over this connection.
    days: BTreeSet<i32>,
}

/// The prepared statements of a session: for tables that only grow, and, by way of a temporary
/// table, for tables whose rows change.
struct Statements {
    move_cursor: Statement,
    audit: Statement,
    actions: Statement,
    rewards: Statement,
    ledger: Statement,
    attempts: Changing,
    transactions: Changing,
    uses: Changing,
    risks: Changing,
    /// Sets the terms of products and promotions from their events in the audit log.
    terms: Statement,
    /// Makes the months of days.
    months: Statement,
}

/// A table whose rows change.
struct Changing {
    /// `COPY` for new rows.
    add: Statement,
    /// `COPY` into the temporary table.
    stage: Statement,
    /// Inserts or updates from the temporary table.
    merge: Statement,
}

impl PostgresWriter {
    pub(super) fn new(settings: PostgresSettings) -> Self {
        Self {
            settings,
            session: None,
            migrated: false,
        }
    }
}

impl Deliver for PostgresWriter {
    type Item = Rows;
    type Error = PostgresError;

    async fn open(
        &mut self,
        log_id: u64,
        generation: Generation,
    ) -> Result<Option<Cursor>, PostgresError> {
        self.session = None;
        if !self.migrated && self.settings.migrate == Migrate::Auto {
            schema::migrate(&self.settings).await?;
            self.migrated = true;
        }
        let connected = connect(&self.settings, self.settings.writer()).await?;
        let log_id = log_id_text(log_id);
        let (session, cursor) = Session::begin(connected, log_id, generation).await?;
        self.session = Some(session);
        Ok(Some(cursor))
    }

    async fn deliver(&mut self, batch: Batch<'_, Rows>) -> Result<Delivered, PostgresError> {
        let session = self.session.as_mut().ok_or(PostgresError::NotOpen)?;
        match batch.purpose {
            Purpose::Feed { from, to } => session.write(batch.items, from, to).await?,
            Purpose::Redrive { .. } => session.write_again(batch.items).await?,
        }
        Ok(Delivered::default())
    }

    async fn newest(
        &mut self,
        from: Lsn,
        before: Lsn,
    ) -> Result<Option<SinkRecord>, PostgresError> {
        let session = self.session.as_ref().ok_or(PostgresError::NotOpen)?;
        history::newest(&session.connected.client, from, before).await
    }

    async fn take_back(&mut self, from: &Cursor, to: &Cursor) -> Result<u64, PostgresError> {
        let session = self.session.as_mut().ok_or(PostgresError::NotOpen)?;
        let taken =
            history::take_back(&session.connected.client, &session.log_id, from, to).await?;
        session.generation = to.generation.to_string();
        Ok(taken)
    }

    fn classify(error: &PostgresError) -> Class {
        error.class()
    }
}

impl Session {
    /// Sets the writer's role, and reads the cursor.
    async fn begin(
        connected: Connected,
        log_id: String,
        generation: Generation,
    ) -> Result<(Self, Cursor), PostgresError> {
        let client = &connected.client;
        let doing = PostgresError::doing;
        client
            .batch_execute(&format!("SET ROLE holdfast_writer; {}", temporary_tables()))
            .await
            .map_err(doing("taking on the role holdfast_writer"))?;
        client
            .execute(
                "INSERT INTO holdfast.sink_cursor (sink, log_id, lsn, generation, chain) \
                 VALUES ($1, $2, 0, $3, 0) ON CONFLICT (sink) DO NOTHING",
                &[&super::NAME, &log_id, &generation.to_string()],
            )
            .await
            .map_err(doing("writing the cursor"))?;
        let row = client
            .query_one(
                "SELECT log_id, lsn, generation, chain FROM holdfast.sink_cursor WHERE sink = $1",
                &[&super::NAME],
            )
            .await
            .map_err(doing("reading the cursor"))?;
        let theirs: String = row.get(0);
        if theirs != log_id {
            return Err(PostgresError::OtherLog {
                theirs,
                ours: log_id,
            });
        }
        let generation: String = row.get(2);
        let chain = u32::try_from(row.get::<_, i64>(3)).ok();
        let (parsed, chain) = generation
            .parse()
            .ok()
            .zip(chain)
            .ok_or(PostgresError::Cursor)?;
        let cursor = Cursor {
            generation: parsed,
            lsn: Lsn(row.get::<_, i64>(1).unsigned_abs()),
            chain,
        };
        let statements = Statements::prepare(&connected).await?;
        let session = Self {
            connected,
            log_id,
            generation,
            statements,
            days: BTreeSet::new(),
        };
        Ok((session, cursor))
    }

    /// Makes the partitions of these rows' months, once a day: what has none goes to the partition
    /// for everything. Before the transaction, so that its locks end at once.
    async fn make_months(&mut self, items: &[Placed<Rows>]) -> Result<(), PostgresError> {
        let days: BTreeSet<i32> = items.iter().map(|it| it.item.day).collect();
        let new: Vec<i32> = days.difference(&self.days).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let client = &self.connected.client;
        let made = client.execute(&self.statements.months, &[&new]).await;
        made.map_err(PostgresError::doing("making the partitions of a month"))?;
        self.days.extend(new);
        Ok(())
    }

    async fn write(
        &mut self,
        items: &[Placed<Rows>],
        from: Lsn,
        to: Cursor,
    ) -> Result<(), PostgresError> {
        let doing = PostgresError::doing;
        self.make_months(items).await?;
        let transaction = self.connected.client.transaction().await;
        let transaction = transaction.map_err(doing("beginning a transaction"))?;
        let (before, after) = (bigint(from), bigint(to.lsn));
        let (generation, chain) = (to.generation.to_string(), i64::from(to.chain));
        let moved = transaction
            .execute(
                &self.statements.move_cursor,
                &[
                    &super::NAME,
                    &self.log_id,
                    &before,
                    &after,
                    &self.generation,
                    &generation,
                    &chain,
                ],
            )
            .await
            .map_err(doing("moving the cursor"))?;
        if moved == 0 {
            let row = transaction
                .query_one(
                    "SELECT lsn, generation, chain FROM holdfast.sink_cursor WHERE sink = $1",
                    &[&super::NAME],
                )
                .await
                .map_err(doing("reading the cursor"))?;
            let found: i64 = row.get(0);
            let is_ours = (found, row.get(1), row.get(2)) == (after, generation.as_str(), chain);
            // The commit succeeded, but its response was lost.
            return if is_ours && after > before {
                self.generation = generation;
                Ok(())
            } else {
                Err(PostgresError::CursorElsewhere {
                    found,
                    expected: before,
                })
            };
        }
        let written = RowBatch::of(items.iter().map(|it| &it.item), Some(from));
        self.statements.write(&transaction, written).await?;
        let committed = transaction.commit().await;
        committed.map_err(doing("committing"))?;
        self.generation = generation;
        Ok(())
    }

    async fn write_again(&mut self, items: &[Placed<Rows>]) -> Result<(), PostgresError> {
        let doing = PostgresError::doing;
        self.make_months(items).await?;
        let transaction = self.connected.client.transaction().await;
        let transaction = transaction.map_err(doing("beginning a transaction"))?;
        let places: Vec<i64> = items.iter().map(|it| bigint(it.lsn)).collect();
        let there = transaction
            .query(
                "SELECT lsn FROM holdfast.audit_log WHERE lsn = ANY($1)",
                &[&places],
            )
            .await
            .map_err(doing("looking for what is there"))?;
        let there: HashSet<i64> = there.iter().map(|row| row.get(0)).collect();
        let missing = items.iter().filter(|it| !there.contains(&bigint(it.lsn)));
        let written = RowBatch::of(missing.map(|it| &it.item), None);
        self.statements.write(&transaction, written).await?;
        // Their LSNs are before the one up to which segments are computed, so the next run would
        // miss these buyers.
        transaction
            .execute(LATE, &[&places])
            .await
            .map_err(doing("noting who came late"))?;
        let committed = transaction.commit().await;
        committed.map_err(doing("committing"))
    }
}

const LATE: &str = "INSERT INTO holdfast.segment_late (user_id) \
    SELECT DISTINCT user_id FROM holdfast.audit_log WHERE lsn = ANY($1) AND user_id IS NOT NULL";

impl Statements {
    async fn prepare(connected: &Connected) -> Result<Self, PostgresError> {
        Ok(Self {
            move_cursor: prepared(
                connected,
                "UPDATE holdfast.sink_cursor \
                 SET lsn = $4, generation = $6, chain = $7, updated_at = now() \
                 WHERE sink = $1 AND log_id = $2 AND lsn = $3 AND generation = $5",
            )
            .await?,
            audit: copy(connected, &AUDIT).await?,
            actions: copy(connected, &ACTIONS).await?,
            rewards: copy(connected, &REWARDS).await?,
            ledger: copy(connected, &LEDGER).await?,
            attempts: changing(connected, &ATTEMPTS, MERGE_ATTEMPTS).await?,
            transactions: changing(connected, &TRANSACTIONS, MERGE_TRANSACTIONS).await?,
            uses: changing(connected, &USES, MERGE_USES).await?,
            risks: changing(connected, &RISK, MERGE_RISK).await?,
            terms: prepared(connected, "SELECT holdfast.set_terms($1)").await?,
            months: prepared(connected, "SELECT holdfast.make_partitions($1)").await?,
        })
    }

    async fn write(
        &self,
        transaction: &Transaction<'_>,
        rows: RowBatch,
    ) -> Result<(), PostgresError> {
        for (statement, tuples) in [
            (&self.audit, rows.audit),
            (&self.actions, rows.actions),
            (&self.rewards, rows.rewards),
            (&self.ledger, rows.ledger),
            (&self.attempts.add, rows.new_attempts),
            (&self.transactions.add, rows.new_transactions),
            (&self.uses.add, rows.new_uses),
        ] {
            copy_in(transaction, statement, tuples).await?;
        }
        for (changing, tuples) in [
            (&self.attempts, rows.attempts),
            (&self.transactions, rows.transactions),
            (&self.uses, rows.uses),
            (&self.risks, rows.risks),
        ] {
            if tuples.is_empty() {
                continue;
            }
            copy_in(transaction, &changing.stage, tuples).await?;
            let merged = transaction.execute(&changing.merge, &[]).await;
            merged.map_err(PostgresError::doing("changing rows"))?;
        }
        if !rows.terms.is_empty() {
            let set = transaction.execute(&self.terms, &[&rows.terms]).await;
            set.map_err(PostgresError::doing("setting terms"))?;
        }
        Ok(())
    }
}

async fn copy_in(
    transaction: &Transaction<'_>,
    statement: &Statement,
    tuples: Vec<u8>,
) -> Result<(), PostgresError> {
    if tuples.is_empty() {
        return Ok(());
    }
    let failed = || PostgresError::doing("copying rows");
    let sink = transaction.copy_in::<_, Bytes>(statement).await;
    let mut sink = pin!(sink.map_err(failed())?);
    let sent = sink.send(Bytes::from_static(HEADER)).await;
    sent.map_err(failed())?;
    let mut left = Bytes::from(tuples);
    while !left.is_empty() {
        let chunk = left.split_to(left.len().min(COPY_CHUNK));
        sink.send(chunk).await.map_err(failed())?;
    }
    let sent = sink.send(Bytes::from_static(TRAILER)).await;
    sent.map_err(failed())?;
    sink.finish().await.map_err(failed())?;
    Ok(())
}

async fn prepared(connected: &Connected, sql: &str) -> Result<Statement, PostgresError> {
    let prepared = connected.client.prepare(sql).await;
    prepared.map_err(PostgresError::doing("preparing a statement"))
}

async fn copy(connected: &Connected, table: &RowTable) -> Result<Statement, PostgresError> {
    let (name, columns) = (table.name, table.columns.join(", "));
    let sql = format!("COPY holdfast.{name} ({columns}) FROM STDIN BINARY");
    prepared(connected, &sql).await
}

async fn changing(
    connected: &Connected,
    table: &RowTable,
    on_conflict: &str,
) -> Result<Changing, PostgresError> {
    let (name, columns) = (table.name, table.columns.join(", "));
    let stage = format!("COPY pg_temp.staged_{name} ({columns}) FROM STDIN BINARY");
    let merge = format!(
        "INSERT INTO holdfast.{name} AS there ({columns}) \
         SELECT {columns} FROM pg_temp.staged_{name} ORDER BY 1 {on_conflict}"
    );
    Ok(Changing {
        add: copy(connected, table).await?,
        stage: prepared(connected, &stage).await?,
        merge: prepared(connected, &merge).await?,
    })
}

/// Emptied at the end of every transaction.
fn temporary_tables() -> String {
    let table = |table: &RowTable| {
        let (name, columns) = (table.name, table.columns.join(", "));
        format!(
            "CREATE TEMPORARY TABLE staged_{name} ON COMMIT DELETE ROWS \
             AS SELECT {columns} FROM holdfast.{name} WITH NO DATA; "
        )
    };
    [&ATTEMPTS, &TRANSACTIONS, &USES, &RISK].map(table).concat()
}

const MERGE_ATTEMPTS: &str = "ON CONFLICT (lsn, at) DO UPDATE SET \
    result = CASE WHEN excluded.result = 'pending' THEN there.result ELSE excluded.result END, \
    reason = coalesce(excluded.reason, there.reason), \
    ended_lsn = coalesce(excluded.ended_lsn, there.ended_lsn), \
    ended_at = coalesce(excluded.ended_at, there.ended_at), \
    ip = coalesce(there.ip, excluded.ip), \
    device_id = coalesce(there.device_id, excluded.device_id), \
    key_owner = coalesce(there.key_owner, excluded.key_owner)";

const MERGE_TRANSACTIONS: &str = "ON CONFLICT (purchase_id) DO UPDATE SET \
    refunds = there.refunds + excluded.refunds, \
    refunded_amount = there.refunded_amount + excluded.refunded_amount, \
    charged_back_amount = CASE WHEN excluded.dispute_lsn > coalesce(there.dispute_lsn, -1) \
        THEN excluded.charged_back_amount ELSE there.charged_back_amount END, \
    dispute = CASE WHEN excluded.dispute_lsn > coalesce(there.dispute_lsn, -1) \
        THEN excluded.dispute ELSE there.dispute END, \
    dispute_lsn = greatest(there.dispute_lsn, excluded.dispute_lsn), \
    updated_lsn = greatest(there.updated_lsn, excluded.updated_lsn)";

const MERGE_USES: &str = "ON CONFLICT (purchase_id) DO UPDATE SET \
    used_lsn = coalesce(there.used_lsn, excluded.used_lsn), \
    used_at = coalesce(there.used_at, excluded.used_at), \
    given_back_lsn = coalesce(there.given_back_lsn, excluded.given_back_lsn), \
    given_back_at = coalesce(there.given_back_at, excluded.given_back_at)";

const MERGE_RISK: &str = "ON CONFLICT (user_id) DO UPDATE SET \
    declines = there.declines + excluded.declines, \
    risk_blocks = there.risk_blocks + excluded.risk_blocks, \
    disputes = there.disputes + excluded.disputes, \
    chargebacks = there.chargebacks + excluded.chargebacks, \
    updated_lsn = greatest(there.updated_lsn, excluded.updated_lsn)";
