//! Owns the errors of PostgreSQL, and their classification.

use crate::causes::with_causes;
use crate::report::feed::sink::Class;
use tokio_postgres::error::SqlState;

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// An error of the database or the connection.
    #[error("{doing}: {}", error_text(.error))]
    Database {
        /// What was tried.
        doing: &'static str,
        /// The error of the driver. Not marked as `source`, because an error shown with its causes
        /// would then show the row that PostgreSQL quotes.
        error: tokio_postgres::Error,
    },
    /// The URL cannot be used.
    #[error("report.postgres.url is not the URL of a PostgreSQL server")]
    Url,
    /// The certificates of `ca_file` cannot be used.
    #[error("report.postgres.ca_file: {0}")]
    Authorities(String),
    /// A migration failed.
    #[error(
        "cannot migrate the schema: {0}; run the output of `holdfast schema postgres` as its owner, or correct report.postgres.migrator_url"
    )]
    Migration(String),
    /// The schema was made by another version, before the first release.
    #[error(
        "{0}: the schema holdfast was made by another version of this program; move it aside (ALTER SCHEMA holdfast RENAME TO holdfast_before), and the sink fills a new one from the log"
    )]
    OtherSchema(String),
    /// The connection failed during a migration.
    #[error("bringing the schema up to date: {0}")]
    MigrationCutOff(String),
    /// The tables belong to another log.
    #[error(
        "the tables belong to log {theirs}, but this is log {ours}; use a separate database for each log"
    )]
    OtherLog {
        theirs: String,
        /// Which log this is.
        ours: String,
    },
    /// The cursor was not written by a sink.
    #[error(
        "the row of postgres in holdfast.sink_cursor has a generation or chain that no sink writes; restore it"
    )]
    Cursor,
    /// Another process moved the cursor.
    #[error(
        "the cursor is at {found}, but {expected} was expected; another process writes to this database"
    )]
    CursorElsewhere {
        /// Where it stands.
        found: i64,
        /// Where it was left.
        expected: i64,
    },
    /// The connection was not opened again after an error.
    #[error("there is no connection")]
    NotOpen,
}

impl PostgresError {
    pub(super) fn doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |error| Self::Database { doing, error }
    }

    pub(super) fn of_migration(error: &refinery::Error) -> Self {
        use refinery::error::Kind;
        use std::error::Error;
        if let Kind::DivergentVersion(..) | Kind::MissingVersion(..) = error.kind() {
            return Self::OtherSchema(error.to_string());
        }
        let mut text = error.to_string();
        let mut inner = error.source();
        let mut refused = inner.is_none();
        while let Some(cause) = inner {
            if let Some(cause) = cause.downcast_ref::<tokio_postgres::Error>() {
                refused |= cause
                    .code()
                    .is_some_and(|code| class_of(code) != Class::Retriable);
                text = format!("{text}: {}", error_text(cause));
            }
            inner = cause.source();
        }
        if refused {
            Self::Migration(text)
        } else {
            Self::MigrationCutOff(text)
        }
    }

    /// What the error means for the runner.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Database { error, .. } => error.code().map_or(Class::Retriable, class_of),
            Self::Url
            | Self::Authorities(_)
            | Self::Migration(_)
            | Self::OtherSchema(_)
            | Self::Cursor
            | Self::OtherLog { .. } => Class::Misconfigured,
            Self::CursorElsewhere { .. } | Self::NotOpen | Self::MigrationCutOff(_) => {
                Class::Retriable
            }
        }
    }
}

/// The first two characters of an `SQLSTATE` are its class.
fn class_of(code: &SqlState) -> Class {
    match code.code().get(..2).unwrap_or_default() {
        // The data is wrong: a value, a constraint, a check of a view, a limit of a row.
        "22" | "23" | "44" | "54" | "P0" => Class::Rejected,
        // Privileges or missing objects; no row is wrong.
        "28" | "3D" | "3F" | "42" | "0A" | "0L" | "0P" => Class::Misconfigured,
        _ => Class::Retriable,
    }
}

/// The database's error without the row: always the code and the names of table, column and
/// constraint; the message only if it contains no values. Detail, hint and context quote rows, so
/// they are never used.
fn error_text(error: &tokio_postgres::Error) -> String {
    let Some(told) = error.as_db_error() else {
        return with_causes(error);
    };
    let code = told.code().code();
    let sentence = match code.get(..2).unwrap_or_default() {
        // Classes whose messages only name connections, roles, objects and constraints.
        "08" | "0A" | "0L" | "0P" | "21" | "23" | "25" | "26" | "28" | "3D" | "3F" | "40"
        | "42" | "44" | "53" | "54" | "55" | "57" | "58" => told.message(),
        "22" => "a value does not fit its column",
        "P0" => "a function or a trigger of the database refused it",
        _ => "the database refused it",
    };
    let places = [told.table(), told.column(), told.constraint()];
    let places: Vec<&str> = places.into_iter().flatten().collect();
    if places.is_empty() {
        format!("{code} {sentence}")
    } else {
        format!("{code} {sentence} ({})", places.join(", "))
    }
}
