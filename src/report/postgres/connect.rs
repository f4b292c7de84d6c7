//! Owns connections: TLS by rustls, and the settings of every session.
//!
//! Invariants: with TLS, the server's certificate is always verified; the session ends
//! automatically if this process disappears during a transaction.

use super::fault::PostgresError;
use super::settings::PostgresSettings;
use rustls::ClientConfig;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection.
pub(super) struct Connected {
    pub(super) client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        // A hanging connection does not end by itself.
        self.driver.abort();
    }
}

/// Parses a URL. Without `sslmode`, only a local server is used without TLS; `verify-ca` and
/// `verify-full` mean the same as `require`, which always verifies. `prefer` is refused, because an
/// attacker on the network could make it send the password without TLS.
pub(super) fn config_of(url: &str) -> Option<Config> {
    let has_scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if !has_scheme || url.contains("sslmode=prefer") {
        return None;
    }
    let url = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let mut config: Config = url.parse().ok()?;
    if config.get_ssl_mode() == SslMode::Prefer && !is_this_machine(&config) {
        config.ssl_mode(SslMode::Require);
    }
    Some(config)
}

fn is_this_machine(config: &Config) -> bool {
    let is_loopback = |name: &str| {
        let address = name.parse::<std::net::IpAddr>();
        name == "localhost" || address.is_ok_and(|it| it.is_loopback())
    };
    let mut hosts = config.get_hosts().iter();
    let named = hosts.all(|host| match host {
        Host::Tcp(name) => is_loopback(name),
        Host::Unix(_) => true,
    });
    let mut addresses = config.get_hostaddrs().iter();
    named && addresses.all(std::net::IpAddr::is_loopback)
}

/// Connects.
pub(super) async fn connect(
    settings: &PostgresSettings,
    url: &str,
) -> Result<Connected, PostgresError> {
    let mut config = config_of(url).ok_or(PostgresError::Url)?;
    config
        .application_name("holdfast")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3);
    let tls = MakeRustlsConnect::new(tls_config(settings.ca_file.as_deref())?);
    let connected = config.connect(tls).await;
    let (client, connection) = connected.map_err(PostgresError::doing("connecting"))?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            let why = PostgresError::doing("keeping the connection")(error);
            tracing::debug!(event = "postgres_connection_ended", "{why}");
        }
    });
    let connected = Connected { client, driver };
    connected
        .client
        .batch_execute(
            "SET idle_in_transaction_session_timeout = '30s'; SET TIME ZONE 'UTC'; \
             SET client_min_messages = 'warning'",
        )
        .await
        .map_err(PostgresError::doing("setting the session up"))?;
    Ok(connected)
}

pub(super) fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, PostgresError> {
    crate::trust::tls_client(ca_file).map_err(PostgresError::Authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_reached_over_tls_unless_the_url_says_otherwise() {
        for (url, mode) in [
            ("postgres://u:p@db.example/shop", Some(SslMode::Require)),
            ("postgresql://u:p@10.0.0.7/shop", Some(SslMode::Require)),
            (
                "postgres://u:p@127.0.0.1,db.example/shop",
                Some(SslMode::Require),
            ),
            (
                "postgres://u:p@db.example/shop?sslmode=verify-full",
                Some(SslMode::Require),
            ),
            (
                "postgres://u:p@db.example/shop?sslmode=disable",
                Some(SslMode::Disable),
            ),
            ("postgres://u:p@127.0.0.1/shop", Some(SslMode::Prefer)),
            ("postgres://u:p@%2Frun%2Fpg/shop", Some(SslMode::Prefer)),
            ("postgres://u:p@db.example/shop?sslmode=prefer", None),
            ("host=db.example password=p", None),
        ] {
            let read = config_of(url).map(|it| it.get_ssl_mode());
            assert_eq!(read, mode, "{url}");
        }
    }
}
