//! The PostgreSQL sink beside bare `COPY` into temporary tables and `INSERT … ON CONFLICT` of the
//! same rows, in alternating turns against one server: events and rows a second while catching up.
//!
//! `HOLDFAST_BENCH_EVENTS` sets how many events there are (1,000,000 where it is not set).

mod common;

use bytes::Bytes;
use common::Bench;
use common::sale::{events_wanted, feed_settings, fill, until_caught_up};
use futures_util::{SinkExt, TryStreamExt};
use holdfast::ids::ReceiptKeyId;
use holdfast::receipts::{ReceiptKey, Sealer};
use holdfast::report::feed::Sinks;
use holdfast::report::feed::sink::Batching;
use holdfast::report::postgres::{self, Migrate, PostgresSettings};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use support::postgres_server::Postgres;
use tokio_postgres::NoTls;

const ROUNDS: usize = 3;

/// Rows of one transaction of the bare contender, as the sink has events.
const BATCH: usize = 10_000;
const TABLES: [&str; 7] = [
    "audit_log",
    "user_actions",
    "user_rewards",
    "ledger_entries",
    "purchase_attempts",
    "shop_transactions",
    "promotion_uses",
];

fn main() {
    let postgres = Postgres::start();
    let bench = Bench::open();
    let events = fill(&bench, events_wanted());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for round in 1..=ROUNDS {
        let sink_s = catch_up(&bench, &postgres);
        let (rows, bare_s) = runtime.block_on(bare(&postgres.url()));
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (events, rows) = (events as f64, rows as f64);
        println!(
            "round {round}: sink {:.0} events/s, {:.0} rows/s; bare client, the same rows, \
             {:.0} events/s, {:.0} rows/s; ratio {:.2}",
            events / sink_s,
            rows / sink_s,
            events / bare_s,
            rows / bare_s,
            bare_s / sink_s
        );
        runtime.block_on(empty(&postgres.url()));
    }
}

/// Empties the tables and forgets the cursor, so that the sink begins again on a server as warm as
/// the bare client has it.
async fn empty(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it is up");
    tokio::spawn(connection);
    let tables = TABLES.map(|it| format!("holdfast.{it}")).join(", ");
    let sql = format!("TRUNCATE {tables}, holdfast.risk_profiles, holdfast.sink_cursor");
    client.batch_execute(&sql).await.expect("empty tables");
}

/// Seconds until the sink has everything.
fn catch_up(bench: &Bench, postgres: &Postgres) -> f64 {
    let scratch = tempfile::tempdir().expect("a directory");
    let key = ReceiptKey::new(ReceiptKeyId::parse("r1").expect("an id"), &[7; 32]);
    let sealer = Sealer::new(vec![key.expect("long enough")]).expect("one key");
    let batching = Batching {
        events_max: BATCH,
        bytes_max: 8 << 20,
        wait_ms: 50,
    };
    let to = PostgresSettings {
        url: postgres.url().into(),
        migrator_url: None,
        migrate: Migrate::Auto,
        ca_file: None,
    };
    let sinks = Sinks::new(Arc::clone(&bench.journal), feed_settings(scratch.path()))
        .expect("an empty directory");
    let began = Instant::now();
    let sink = postgres::sink(to, batching, Arc::clone(&bench.journal), sealer);
    sinks.start(sink).expect("threads");
    until_caught_up(&sinks, &bench.journal);
    began.elapsed().as_secs_f64()
}

/// The rows that there are, written once more by hand; how many, and in how many seconds.
async fn bare(url: &str) -> (usize, f64) {
    let (mut client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it is up");
    tokio::spawn(connection);
    let mut work = Vec::new();
    for table in TABLES {
        let columns = client
            .query_one(
                "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
                 FROM information_schema.columns
                 WHERE table_schema = 'holdfast' AND table_name = $1 AND is_generated = 'NEVER'",
                &[&table],
            )
            .await
            .expect("its columns");
        let columns: String = columns.get(0);
        let sql = format!("COPY (SELECT {columns} FROM holdfast.{table}) TO STDOUT BINARY");
        let out = client.copy_out(&sql).await.expect("its rows");
        let chunks: Vec<Bytes> = pin!(out).try_collect().await.expect("its rows");
        work.push((table, columns, tuples(&chunks.concat())));
        let setup = format!(
            "TRUNCATE holdfast.{table}; CREATE TEMPORARY TABLE bare_{table} ON COMMIT DELETE ROWS
             AS SELECT * FROM holdfast.{table} WITH NO DATA"
        );
        client.batch_execute(&setup).await.expect("empty tables");
    }
    let rows = work.iter().map(|it| it.2.len()).sum();
    let batches = work
        .iter()
        .map(|it| it.2.len())
        .max()
        .unwrap_or(0)
        .div_ceil(BATCH);
    let began = Instant::now();
    for batch in 0..batches {
        let transaction = client.transaction().await.expect("a transaction");
        for (table, columns, tuples) in &work {
            let share = tuples.len().div_ceil(batches);
            let part = tuples.chunks(share.max(1)).nth(batch).unwrap_or_default();
            if part.is_empty() {
                continue;
            }
            let copy = format!("COPY bare_{table} ({columns}) FROM STDIN BINARY");
            let sink = transaction
                .copy_in::<_, Bytes>(&copy)
                .await
                .expect("a stream");
            let mut sink = pin!(sink);
            let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
            for it in part {
                bytes.extend_from_slice(it);
            }
            bytes.extend_from_slice(&[0xff, 0xff]);
            sink.send(Bytes::from(bytes)).await.expect("sent");
            sink.finish().await.expect("copied");
            let insert = format!(
                "INSERT INTO holdfast.{table} ({columns}) SELECT {columns} FROM bare_{table}
                 ON CONFLICT DO NOTHING"
            );
            transaction.execute(&insert, &[]).await.expect("inserted");
        }
        transaction.commit().await.expect("committed");
    }
    (rows, began.elapsed().as_secs_f64())
}

/// The tuples of a binary copy.
fn tuples(copied: &[u8]) -> Vec<Vec<u8>> {
    let mut tuples = Vec::new();
    let mut at = 19;
    loop {
        let start = at;
        let count = i16::from_be_bytes(copied[at..at + 2].try_into().expect("two bytes"));
        if count < 0 {
            return tuples;
        }
        at += 2;
        for _ in 0..count {
            let length = i32::from_be_bytes(copied[at..at + 4].try_into().expect("four bytes"));
            at += 4 + usize::try_from(length.max(0)).expect("not negative");
        }
        tuples.push(copied[start..at].to_vec());
    }
}
