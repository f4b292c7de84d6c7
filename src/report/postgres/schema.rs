//! Owns the schema: its migrations, printing them, and running them.
//!
//! Invariant: a migration that was released is never changed; what has to change comes as the next.

use super::connect::connect;
use super::fault::PostgresError;
use super::settings::PostgresSettings;
use refinery::{Migration, Runner};

/// Where the migrations that have run are noted.
const HISTORY: &str = "holdfast.schema_history";

/// Every migration: its name, `V`, number, two underscores and what it is, and its SQL.
const MIGRATIONS: [(&str, &str); 2] = [
    ("V1__tables", include_str!("sql/V1__tables.sql")),
    ("V2__segments", include_str!("sql/V2__segments.sql")),
];

/// All migrations as one script.
pub fn script() -> String {
    let mut script = String::new();
    for (name, sql) in MIGRATIONS {
        script.push_str("-- ");
        script.push_str(name);
        script.push('\n');
        script.push_str(sql);
        script.push('\n');
    }
    script
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
    let migrations = MIGRATIONS.map(|(name, sql)| Migration::unapplied(name, sql));
    let migrations = migrations.into_iter().collect::<Result<Vec<_>, _>>();
    let migrations = migrations.map_err(|error| PostgresError::Migration(error.to_string()))?;
    let mut runner = Runner::new(&migrations);
    runner.set_migration_table_name(HISTORY);
    let report = runner.run_async(client).await;
    let report = report.map_err(|error| PostgresError::of_migration(&error))?;
    for migration in report.applied_migrations() {
        tracing::info!(
            event = "migrated",
            migration = migration.name(),
            "the PostgreSQL schema is one step further"
        );
    }
    Ok(())
}

/// Whether this text can be a connection's URL; the answer repeats nothing of it.
pub fn is_url(url: &str) -> bool {
    super::connect::config_of(url).is_some_and(|config| !config.get_hosts().is_empty())
}
