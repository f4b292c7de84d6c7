//! Owns how the PostgreSQL sink is set up. URLs hold passwords and are never shown.

#[cfg(feature = "postgres")]
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::path::PathBuf;

/// How the sink is set up.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Where to connect, as a member of `holdfast_writer`.
    pub url: SecretString,
    /// Where to connect for migrations, where that is somebody else.
    pub migrator_url: Option<SecretString>,
    /// Whether the sink brings the schema up to date.
    pub migrate: Migrate,
    /// PEM file of the authorities that sign the server's certificate; `None`: the world's.
    pub ca_file: Option<PathBuf>,
}

/// Whether the sink brings the schema up to date.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// When it first connects.
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
