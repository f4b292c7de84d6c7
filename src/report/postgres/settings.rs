//! Owns the settings of the PostgreSQL sink. URLs contain passwords and are never shown.

#[cfg(feature = "postgres")]
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::path::PathBuf;

/// The settings of the sink.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// The URL, with a user who is a member of `holdfast_writer`.
    pub url: SecretString,
    /// The URL for migrations, if it has another user.
    pub migrator_url: Option<SecretString>,
    /// Whether the sink migrates the schema.
    pub migrate: Migrate,
    /// PEM file of the authorities that sign the server's certificate; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
}

/// Whether the sink migrates the schema.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// At its first connection.
    Auto,
    /// The operator does, with `holdfast schema postgres`.
    Off,
}

#[cfg(feature = "postgres")]
impl PostgresSettings {
    pub(super) fn writer(&self) -> &str {
        self.url.expose_secret()
    }

    pub(super) fn migrator(&self) -> &str {
        let url = self.migrator_url.as_ref().unwrap_or(&self.url);
        url.expose_secret()
    }
}
