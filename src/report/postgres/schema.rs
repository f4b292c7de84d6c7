//! Owns the schema: its migrations, printing them, and running them.
//!
//! Invariants:
//! 1. A released migration is never changed; a change is the next migration.
//! 2. A migration runs once, with its entry in the history in the same transaction, whether it runs
//!    here or as printed: either continues where the other stopped.

use super::connect::connect;
use super::fault::PostgresError;
use super::settings::PostgresSettings;
use refinery::{Migration, Runner};

/// The table of migrations that have run.
const HISTORY: &str = "holdfast.schema_history";

/// Every migration: its name (`V`, number, two underscores, description) and its SQL.
const MIGRATIONS: [(&str, &str); 8] = [
    ("V1__tables", include_str!("sql/V1__tables.sql")),
    ("V2__segments", include_str!("sql/V2__segments.sql")),
    ("V3__history", include_str!("sql/V3__history.sql")),
    ("V4__comments", include_str!("sql/V4__comments.sql")),
    ("V5__catalogue", include_str!("sql/V5__catalogue.sql")),
    ("V6__questions", include_str!("sql/V6__questions.sql")),
    ("V7__traces", include_str!("sql/V7__traces.sql")),
    ("V8__partitions", include_str!("sql/V8__partitions.sql")),
];

fn migrations() -> [Migration; MIGRATIONS.len()] {
    MIGRATIONS.map(|(name, sql)| {
        Migration::unapplied(name, sql)
            .expect("names are `V`, a number, two underscores and a word")
    })
}

/// All migrations as one script, which runs those that have not run yet.
///
/// A `DO` is one statement, so a migration and its entry in the history are one transaction,
/// whichever client runs them.
pub fn script() -> String {
    let migrations = migrations();
    let mut script = prologue(&migrations[0]);
    for migration in &migrations {
        script.push_str(&guarded(migration));
    }
    script
}

/// Creates the history in the format of `refinery`. Earlier versions printed the first migration
/// without an entry: if its last object exists, it has run.
fn prologue(first: &Migration) -> String {
    format!(
        "-- Brings the schema holdfast up to date: what has run already is left out, so that this may be
-- run again at any time. Each step is one transaction.

DO $migration$
BEGIN
    IF to_regnamespace('holdfast') IS NULL THEN
        CREATE SCHEMA holdfast;
    END IF;
    IF to_regclass('{HISTORY}') IS NULL THEN
        CREATE TABLE {HISTORY} (
            version int4 PRIMARY KEY,
            name varchar(255),
            applied_on varchar(255),
            checksum varchar(255)
        );
    END IF;
    IF to_regprocedure('holdfast.cursor_moves_on()') IS NOT NULL
            AND NOT EXISTS (SELECT FROM {HISTORY}) THEN
        ALTER TABLE {HISTORY} OWNER TO holdfast_migrator;
        {note}
    END IF;
END
$migration$;
",
        note = note(first),
    )
}

/// One migration, which runs only if it is the next.
fn guarded(migration: &Migration) -> String {
    let version = migration.version();
    let before = version - 1;
    let checksum = migration.checksum();
    format!(
        "
-- {migration}
DO $migration$
DECLARE
    reached integer := (SELECT coalesce(max(version), 0) FROM {HISTORY});
BEGIN
    IF reached < {before} THEN
        RAISE EXCEPTION '{migration} comes after V{before}, and V% is the last that has run', reached
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF reached >= {version} THEN
        IF NOT EXISTS (
            SELECT FROM {HISTORY} WHERE version = {version} AND checksum = '{checksum}'
        ) THEN
            RAISE EXCEPTION '{migration} has run here as something else: move this schema aside (ALTER SCHEMA holdfast RENAME TO holdfast_before), and the sink fills a new one from the log'
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        RETURN;
    END IF;
    EXECUTE $statements$
{sql}$statements$;
    {note}
END
$migration$;
",
        sql = migration.sql().unwrap_or_default(),
        note = note(migration),
    )
}

/// The history entry of a migration, in the format of `refinery`, which reads the time as RFC 3339.
fn note(migration: &Migration) -> String {
    format!(
        "INSERT INTO {HISTORY} (version, name, applied_on, checksum) VALUES ({}, '{}',
            to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), '{}');",
        migration.version(),
        migration.name(),
        migration.checksum()
    )
}

/// Runs the migrations that have not run yet.
pub(super) async fn migrate(settings: &PostgresSettings) -> Result<(), PostgresError> {
    let mut connected = connect(settings, settings.migrator()).await?;
    let client = &mut connected.client;
    let there = client
        .query_one("SELECT to_regnamespace('holdfast') IS NOT NULL", &[])
        .await
        .map_err(PostgresError::doing("looking for the schema"))?;
    if !there.get::<_, bool>(0) {
        client
            .batch_execute("CREATE SCHEMA holdfast")
            .await
            .map_err(PostgresError::doing("creating the schema"))?;
    }
    let mut runner = Runner::new(&migrations());
    runner.set_migration_table_name(HISTORY);
    let report = runner.run_async(client).await;
    let report = report.map_err(|error| PostgresError::of_migration(&error))?;
    for migration in report.applied_migrations() {
        tracing::info!(
            event = "migrated",
            migration = migration.name(),
            "a migration of the PostgreSQL schema was applied"
        );
    }
    Ok(())
}

/// Whether this text is a valid URL. The result contains nothing of it.
pub fn is_url(url: &str) -> bool {
    super::connect::config_of(url).is_some_and(|config| !config.get_hosts().is_empty())
}
