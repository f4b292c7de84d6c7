//! Owns the operator's settings: read from file, environment and flags at start, and again on
//! request, checked, and immutable once read.
//!
//! Invariants: every limit of the program has a name here; an unknown key is an error that names
//! the nearest known one; secrets are wrapped and shown as `***`; a demo fills only what is absent,
//! and listens on loopback only. Deliberately absent: what the settings do. Used by `cli` and
//! `http`; nothing below them reads configuration.

mod backup;
mod kafka;
pub mod keys;
mod payments;
mod read;
mod receipts;
mod report;
mod secret;
mod source;
mod webhooks;

pub use backup::BackupTools;
pub use payments::{GatewayKind, PaymentsConfig};
pub use receipts::{KeyHalf, ReceiptKeySettings, SigningKey};
pub use report::ReportConfig;
pub use secret::HIDDEN;
pub use source::{Demo, Environment, Sources};
pub use webhooks::{WebhookSecret, WebhooksConfig};

use crate::backup::BackupSettings;
use crate::engine::command::Verdict;
use crate::engine::risk::scoring::FeaturesWritten;
use crate::engine::settings::{AmountLimits, ReviewRules, SharedBy};
use crate::ids::KeyOwner;
use crate::journal::DayZone;
use crate::money::Currency;
use crate::webhooks::WebhookKey;
use read::{ConfigReader, SecretDigests, entry_text, integer_in_range, invalid};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toml::{Table, Value};

/// Why the configuration cannot be used. No message contains a value of the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`: {source}; check the path and its permissions", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration `{}` is not valid TOML at line {line}, column {column}: {cause}", path.display())]
    Syntax {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there, without what stands there.
        cause: String,
    },
    /// An environment variable for a key, or its value, is not text.
    #[error("the environment variable `{name}` {what}")]
    NotText {
        /// As it is called, as far as it is text.
        name: String,
        /// What is wrong, without the value.
        what: &'static str,
    },
    /// A key that does not exist.
    #[error("the configuration key `{key}` is unknown; did you mean `{nearest}`?")]
    UnknownKey {
        /// As in the file.
        key: String,
        /// The most similar known key.
        nearest: &'static str,
    },
    /// An environment variable for a key that does not exist.
    #[error(
        "the environment variable `{name}` does not match a known key; did you mean the one for `{nearest}`?"
    )]
    UnknownVariable {
        /// The name of the variable.
        name: String,
        /// The most similar known key.
        nearest: &'static str,
    },
    /// A key with an invalid value.
    #[error("the configuration key `{key}` {what}")]
    Invalid {
        key: String,
        /// The problem, without the value.
        what: String,
    },
}

/// All settings.
#[derive(Debug)]
pub struct Config {
    /// Sockets and their limits.
    pub server: ServerConfig,
    /// The log.
    pub storage: StorageConfig,
    /// Which differences of the wall clock are followed.
    pub clock: ClockConfig,
    /// API keys.
    pub keys: Vec<ApiKey>,
    pub sale: SaleConfig,
    /// Limits of buyers.
    pub limits: LimitsConfig,
    /// Reviews.
    pub review: ReviewConfig,
    /// Limits of the engine.
    pub engine: EngineConfig,
    /// The gateway.
    pub payments: PaymentsConfig,
    /// The risk rules.
    pub risk: RiskConfig,
    /// The first one seals; all verify.
    pub receipt_keys: Vec<ReceiptKeySettings>,
    pub webhooks: WebhooksConfig,
    /// Keys that sign receipts: the first one signs, all verify; may be empty.
    pub signing_keys: Vec<SigningKey>,
    /// The comparison with the gateway.
    pub reconcile: ReconcileConfig,
    /// Refused administrative acts logged per second for each key name.
    pub audit_refusals_per_s: u32,
    /// Refused attempts logged per second for each key name.
    pub audit_refused_attempts_per_s: u32,
    /// Sinks.
    pub report: ReportConfig,
    /// The backup, if one is configured.
    pub backup: Option<BackupSettings>,
    /// The filter of log lines.
    pub log: String,
    /// Whether this is a demo.
    pub demo: Demo,
    shown: serde_json::Value,
    secrets: SecretDigests,
    other_secrets: Vec<WebhookKey>,
}

/// Keys whose changes take effect on a reload, without a restart.
pub const RELOADABLE: [&str; 10] = [
    "auth.keys",
    "limits.rate.count",
    "limits.rate.per_s",
    "risk.features",
    "risk.model_file",
    "risk.rules_file",
    "server.tls.cert",
    "server.tls.key",
    "telemetry.log",
    "webhooks.secrets",
];

/// Sockets and their limits.
#[derive(Debug)]
pub struct ServerConfig {
    /// The main listener.
    pub listen: SocketAddr,
    /// The listener for administration, metrics and probes.
    pub admin_listen: Option<SocketAddr>,
    /// HTTP threads, at least 1.
    pub workers: usize,
    /// Maximum number of open connections.
    pub max_connections: usize,
    /// Maximum of one address without a key; 0: half of `max_connections`.
    pub connections_per_peer_max: usize,
    /// Connections that the kernel queues, per worker.
    pub backlog: u32,
    /// Timeout of a handshake, of a request's header, and of an idle connection.
    pub header_read_timeout: Duration,
    /// Maximum size of a request's header.
    pub header_bytes_max: usize,
    /// Timeout of a request's body.
    pub body_read_timeout: Duration,
    /// Maximum size of a request's body.
    pub body_bytes_max: usize,
    /// Maximum bytes of all bodies being received.
    pub bodies_bytes_max: usize,
    /// Timeout for a peer to read a response.
    pub send_timeout: Duration,
    /// Maximum concurrent requests on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Maximum number of shop requests in flight.
    pub in_flight_max: usize,
    /// Time after SIGTERM in which requests are still served.
    pub leave: Duration,
    /// Time to finish requests in flight at shutdown.
    pub drain: Duration,
    /// The files for TLS.
    pub tls: Option<TlsConfig>,
}

impl ServerConfig {
    /// Every listening address, with its configuration key.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let admin = self.admin_listen.map(|it| ("server.admin_listen", it));
        std::iter::once(("server.listen", self.listen)).chain(admin)
    }
}

/// The files for TLS.
#[derive(Debug)]
pub struct TlsConfig {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// The log.
#[derive(Debug)]
pub struct StorageConfig {
    pub data_dir: PathBuf,
    /// Size of a segment.
    pub segment_bytes: u64,
    /// Size of the ring buffer, a power of two.
    pub ring_bytes: usize,
    /// Bytes of log between two snapshots.
    pub snapshot_every_bytes: u64,
    /// `None`: every response waits for the disk.
    pub sync_interval_ms: Option<u64>,
    /// Whether the witness is kept.
    pub witness: bool,
    /// Free disk space that new purchases need.
    pub disk_free_bytes_min: u64,
}

/// Which differences of the wall clock are followed.
#[derive(Debug)]
pub struct ClockConfig {
    /// The largest difference that is not a step, in milliseconds.
    pub step_max_ms: u64,
    /// How long a step must last before it is followed.
    pub settle: Duration,
}

/// The role of an API key.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything under `/limited`.
    Shop,
    /// Everything under `/admin`, and reading under `/limited`.
    Admin,
    /// Reading under `/admin`.
    Auditor,
    /// `/metrics`.
    Metrics,
}

impl Role {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "shop" => Some(Self::Shop),
            "admin" => Some(Self::Admin),
            "auditor" => Some(Self::Auditor),
            "metrics" => Some(Self::Metrics),
            _ => None,
        }
    }
}

/// An API key.
#[derive(Debug)]
pub struct ApiKey {
    pub owner: KeyOwner,
    pub role: Role,
    pub secret: SecretString,
    /// Maximum requests per second, if limited.
    pub rate_per_s: Option<u32>,
}

/// The sale.
#[derive(Debug)]
pub struct SaleConfig {
    /// Lifetime of holds, in seconds.
    pub hold_ttl_s: u64,
    /// Accepted currencies; never empty.
    pub currencies: Vec<Currency>,
    /// Maximum attempts of a buyer in a window.
    pub rate_count: u32,
    /// The window, in seconds.
    pub rate_per_s: u64,
    /// How long outcomes are kept, in seconds.
    pub idempotency_retention_s: u64,
}

/// Limits of buyers.
#[derive(Debug)]
pub struct LimitsConfig {
    /// Limits per day and lifetime.
    pub amounts: AmountLimits,
    /// The time zone whose days are counted.
    pub zone: DayZone,
}

/// Which purchases are reviewed, and the decision at the deadline.
#[derive(Debug)]
pub struct ReviewConfig {
    /// The reviewed purchases.
    pub rules: ReviewRules,
    /// The decision at the deadline.
    pub on_deadline: Verdict,
    /// How long before the authorization lapses a review ends.
    pub capture_margin: Duration,
    /// How long a person has to decide.
    pub deadline: Duration,
}

/// Limits of the engine; the first three per shard.
#[derive(Debug)]
pub struct EngineConfig {
    pub buyers_max: usize,
    pub purchases_max: usize,
    /// Idempotency keys.
    pub keys_max: usize,
    /// How long ended holds are kept, in seconds.
    pub ended_keep_s: u64,
    pub open_holds_per_user_max: usize,
    /// Idempotency keys of one buyer.
    pub keys_per_user_max: usize,
    /// Keys of velocity counters.
    pub velocity_keys_max: usize,
    /// Cards and devices with counted amounts.
    pub amount_keys_max: usize,
    pub products_max: usize,
    pub promotions_max: usize,
}

/// Sources of risk rules and model.
#[derive(Debug)]
pub struct RiskConfig {
    /// The file with the rules.
    pub rules_file: Option<PathBuf>,
    /// Whether the shipped rules are used if no others are set.
    pub default_rules: bool,
    /// Whether the features of every attempt are written.
    pub features: FeaturesWritten,
    /// The file with the model that scores attempts.
    pub model_file: Option<PathBuf>,
}

/// The comparison with the gateway.
#[derive(Debug)]
pub struct ReconcileConfig {
    /// Time between two runs; `None`: on request only.
    pub every: Option<Duration>,
    /// Maximum age of compared payments; `None`: all are compared.
    pub window: Option<Duration>,
    /// Pause between two pages of the gateway's list.
    pub pause: Duration,
    /// Maximum number of differences in a report.
    pub differences_max: usize,
}

const API_KEY_CHARS_MIN: usize = 24;
/// For the demo, whose keys are public and which listens on loopback only.
const API_KEY_CHARS_MIN_OF_DEMO: usize = 1;

impl Config {
    /// Reads the configuration from `sources`.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut table = sources.merged()?;
        if sources.demo == Demo::Yes {
            fill_for_demo(&mut table);
        }
        let mut reader = ConfigReader::new(&table, &sources.environment, sources.demo);
        let config = Self {
            server: server(&mut reader)?,
            storage: storage(&mut reader)?,
            clock: clock(&mut reader)?,
            keys: api_keys(&mut reader, sources.demo)?,
            sale: sale(&mut reader)?,
            limits: limits(&mut reader)?,
            review: review(&mut reader)?,
            engine: engine(&mut reader)?,
            payments: payments::read(&mut reader)?,
            risk: RiskConfig {
                rules_file: reader.text_if_given("risk.rules_file")?.map(PathBuf::from),
                default_rules: reader.switch("risk.default_rules")?,
                features: if reader.switch("risk.features")? {
                    FeaturesWritten::Always
                } else {
                    FeaturesWritten::WithScores
                },
                model_file: reader.text_if_given("risk.model_file")?.map(PathBuf::from),
            },
            receipt_keys: receipts::sealing(&mut reader)?,
            webhooks: webhooks::read(&mut reader)?,
            signing_keys: receipts::signing(&mut reader)?,
            reconcile: reconcile(&mut reader)?,
            audit_refusals_per_s: reader.small("audit.refusals_per_s")?,
            audit_refused_attempts_per_s: reader.small("audit.refused_attempts_per_s")?,
            report: report::read(&mut reader)?,
            backup: backup::read(&mut reader)?,
            log: reader.text("telemetry.log")?,
            demo: sources.demo,
            secrets: reader.secret_digests(),
            other_secrets: reader.others(),
            shown: reader.into_shown(),
        };
        if sources.demo == Demo::No
            && let Some((one, other)) = config.secrets.reused()
        {
            return Err(invalid(
                &one,
                format!("has the same secret as `{other}`; use a separate secret for each purpose"),
            ));
        }
        if let Some(backup) = &config.backup
            && backup.target.lies_in(&config.storage.data_dir)
        {
            return Err(invalid(
                "backup.to",
                "is inside storage.data_dir and would be lost with it; name another disk or store",
            ));
        }
        let gateway = &config.payments.gateway;
        let not_taken = |currency: &&Currency| gateway.amounts(**currency).is_none();
        if let Some(currency) = config.sale.currencies.iter().find(not_taken) {
            return Err(invalid(
                "drop.currencies",
                format!("lists {currency}, whose minor unit differs at Stripe; remove it"),
            ));
        }
        if config.demo == Demo::Yes {
            for (key, address) in config.server.addresses() {
                if !address.ip().is_loopback() {
                    return Err(invalid(
                        key,
                        "must be a loopback address with --demo, because the demo's keys are public; listen on 127.0.0.1, or set your own keys and remove --demo",
                    ));
                }
            }
        }
        Ok(config)
    }

    /// Every key with its current value; secrets are [`HIDDEN`].
    pub fn shown(&self) -> &serde_json::Value {
        &self.shown
    }

    /// The secrets with other purposes than webhooks.
    pub fn other_secrets(&self) -> &[WebhookKey] {
        &self.other_secrets
    }

    /// Every key with its value after a reload that takes `keys` from `reloaded`.
    pub fn shown_after(&self, reloaded: &Self, keys: &BTreeSet<&str>) -> serde_json::Value {
        let mut shown = self.shown.clone();
        if let Some(shown) = shown.as_object_mut() {
            for key in keys {
                match reloaded.shown.get(*key) {
                    Some(value) => shown.insert((*key).to_owned(), value.clone()),
                    None => shown.remove(*key),
                };
            }
        }
        shown
    }

    /// The keys and lists that differ in `other`, secrets included.
    pub fn changed(&self, other: &Self) -> BTreeSet<String> {
        let shown = |config: &Self, key: &str| config.shown.get(key).cloned();
        let keys = [&self.shown, &other.shown].into_iter();
        let keys = keys.filter_map(|shown| shown.as_object());
        let keys = keys.flat_map(|keys| keys.keys());
        let mut changed: BTreeSet<String> = keys
            .filter(|key| shown(self, key) != shown(other, key))
            .cloned()
            .collect();
        let secrets = self.secrets.changed(&other.secrets);
        changed.extend(secrets.map(|path| path.split("[]").next().unwrap_or(path).to_owned()));
        changed
    }
}

/// Fills what a demo needs and the table does not have.
fn fill_for_demo(table: &mut Table) {
    const DEMO: &str = r#"
        [[auth.keys]]
        name = "demo-shop"
        role = "shop"
        key = "demo-shop-key"
        [[auth.keys]]
        name = "demo-admin"
        role = "admin"
        key = "demo-admin-key"
        [payments]
        gateway = "sandbox"
        [risk]
        default_rules = false
        [[receipts.hmac_keys]]
        id = "demo-r1"
        key = "demo-receipt-key-that-everybody-knows"
        [[webhooks.secrets]]
        id = "demo-w1"
        key = "demo-webhook-secret-that-everybody-knows"
        [[receipts.ed25519_keys]]
        id = "demo-e1"
        key = "64656d6f2d7365656420746861742065766572796f6e65206b6e6f7773212121"
    "#;
    let demo: Table = DEMO.parse().expect("the demo's settings are TOML");
    for (section, values) in demo {
        let kept = table
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let (Value::Table(kept), Value::Table(values)) = (kept, values) {
            for (name, value) in values {
                kept.entry(name).or_insert(value);
            }
        }
    }
}

/// Whether two listeners would take the same connections: a wildcard takes every address, and that of IPv6
/// those of IPv4 too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |it: IpAddr, of: IpAddr| match it {
        IpAddr::V4(_) => it.is_unspecified() && of.to_canonical().is_ipv4(),
        IpAddr::V6(_) => it.is_unspecified(),
    };
    let (first, second) = (one.ip(), other.ip());
    let is_same = first.to_canonical() == second.to_canonical();
    one.port() == other.port()
        && one.port() != 0
        && (is_same || takes(first, second) || takes(second, first))
}

fn server(reader: &mut ConfigReader<'_>) -> Result<ServerConfig, ConfigError> {
    let listen = reader.text("server.listen")?;
    let listen = address("server.listen", &listen)?;
    let admin_listen = reader.text_if_given("server.admin_listen")?;
    let admin_listen = admin_listen
        .map(|text| address("server.admin_listen", &text))
        .transpose()?;
    if admin_listen.is_some_and(|admin| overlap(admin, listen)) {
        return Err(invalid(
            "server.admin_listen",
            "takes the same port of the same address as server.listen; use another address or port, or remove it",
        ));
    }
    let workers = match reader.size("server.workers")? {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    Ok(ServerConfig {
        listen,
        admin_listen,
        workers,
        max_connections: reader.size("server.max_connections")?,
        connections_per_peer_max: reader.size("server.connections_per_peer_max")?,
        backlog: reader.small("server.backlog")?,
        header_read_timeout: milliseconds(reader, "server.header_read_timeout_ms")?,
        header_bytes_max: reader.size("server.header_bytes_max")?,
        body_read_timeout: milliseconds(reader, "server.body_read_timeout_ms")?,
        body_bytes_max: reader.size("server.body_bytes_max")?,
        bodies_bytes_max: reader.size("server.bodies_bytes_max")?,
        send_timeout: milliseconds(reader, "server.send_timeout_ms")?,
        http2_streams_max: reader.small("server.http2_streams_max")?,
        in_flight_max: reader.size("server.in_flight_max")?,
        leave: seconds(reader, "server.leave_s")?,
        drain: seconds(reader, "server.drain_s")?,
        tls: tls(reader)?,
    })
}

fn address(key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        invalid(
            key,
            "must be an IP address and a port, such as \"127.0.0.1:8080\"",
        )
    })
}

fn tls(reader: &mut ConfigReader<'_>) -> Result<Option<TlsConfig>, ConfigError> {
    let cert = reader.text_if_given("server.tls.cert")?;
    let key = reader.text_if_given("server.tls.key")?;
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsConfig {
            cert: cert.into(),
            key: key.into(),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid(
            "server.tls.key",
            "is missing; server.tls.cert needs it",
        )),
        (None, Some(_)) => Err(invalid(
            "server.tls.cert",
            "is missing; server.tls.key needs it",
        )),
    }
}

fn storage(reader: &mut ConfigReader<'_>) -> Result<StorageConfig, ConfigError> {
    let ring_bytes = reader.size("storage.ring_bytes")?;
    if !ring_bytes.is_power_of_two() {
        return Err(invalid(
            "storage.ring_bytes",
            "must be a power of two, such as 8388608",
        ));
    }
    Ok(StorageConfig {
        data_dir: reader.text("storage.data_dir")?.into(),
        segment_bytes: reader.integer("storage.segment_bytes")?,
        ring_bytes,
        snapshot_every_bytes: reader.integer("storage.snapshot_every_bytes")?,
        sync_interval_ms: sync_interval(reader)?,
        witness: reader.switch("storage.witness")?,
        disk_free_bytes_min: reader.integer("storage.disk_free_bytes_min")?,
    })
}

fn clock(reader: &mut ConfigReader<'_>) -> Result<ClockConfig, ConfigError> {
    Ok(ClockConfig {
        step_max_ms: reader.integer("clock.step_max_ms")?,
        settle: Duration::from_secs(reader.integer("clock.settle_s")?),
    })
}

fn sync_interval(reader: &mut ConfigReader<'_>) -> Result<Option<u64>, ConfigError> {
    const FORMS: &str = "must be \"always\" or { interval_ms = 50 }";
    match reader.given("storage.sync") {
        None => {}
        Some(Value::String(word)) if word == "always" => {}
        Some(Value::Table(table)) => {
            let value = table
                .get("interval_ms")
                .ok_or_else(|| invalid("storage.sync", FORMS))?;
            let path = "storage.sync.interval_ms";
            let interval_ms = integer_in_range(path, path, value)?;
            reader.show(
                "storage.sync",
                serde_json::json!({ "interval_ms": interval_ms }),
            );
            return Ok(Some(interval_ms));
        }
        Some(_) => return Err(invalid("storage.sync", FORMS)),
    }
    reader.show("storage.sync", "always".into());
    Ok(None)
}

fn api_keys(reader: &mut ConfigReader<'_>, demo: Demo) -> Result<Vec<ApiKey>, ConfigError> {
    let chars_min = match demo {
        Demo::Yes => API_KEY_CHARS_MIN_OF_DEMO,
        Demo::No => API_KEY_CHARS_MIN,
    };
    let mut keys: Vec<ApiKey> = Vec::new();
    let mut shown = Vec::new();
    reader.each_entry("auth.keys", |reader, entry| {
        let name = entry_text("auth.keys[].name", entry, "name")?;
        let role = entry_text("auth.keys[].role", entry, "role")?;
        let key = ApiKey {
            owner: KeyOwner::parse(name).ok_or_else(|| invalid("auth.keys[].name", ID_FORM))?,
            role: Role::parse(role).ok_or_else(|| {
                invalid(
                    "auth.keys[].role",
                    "must be shop, admin, auditor or metrics",
                )
            })?,
            secret: reader.secret("auth.keys[].key", entry, chars_min)?,
            rate_per_s: rate_of(entry)?,
        };
        let visible = |text: &str| text.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if !visible(key.secret.expose_secret()) {
            return Err(invalid(
                "auth.keys[].key",
                "must be visible ASCII, because it is sent in a header",
            ));
        }
        let same = |other: &ApiKey| other.secret.expose_secret() == key.secret.expose_secret();
        if keys.iter().any(same) {
            return Err(invalid(
                "auth.keys[].key",
                "is the same for two entries; use a different one for each",
            ));
        }
        let mut fields = vec![("name", name.to_owned()), ("role", role.to_owned())];
        fields.extend(key.rate_per_s.map(|rate| ("rate_per_s", rate.to_string())));
        shown.push(fields);
        keys.push(key);
        Ok(())
    })?;
    if keys.is_empty() {
        return Err(invalid(
            "auth.keys",
            "has no entry, so no request would be accepted; add [[auth.keys]] with name, role and key, or start with --demo",
        ));
    }
    reader.show_entries("auth.keys", shown);
    Ok(keys)
}

fn rate_of(entry: &Table) -> Result<Option<u32>, ConfigError> {
    let path = "auth.keys[].rate_per_s";
    let Some(value) = entry.get("rate_per_s") else {
        return Ok(None);
    };
    let rate = integer_in_range(path, path, value)?;
    Ok(u32::try_from(rate).ok())
}

const ID_FORM: &str = "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -";

fn sale(reader: &mut ConfigReader<'_>) -> Result<SaleConfig, ConfigError> {
    let path = "drop.currencies";
    let mut currencies = Vec::new();
    for code in reader.texts(path)? {
        let currency = Currency::parse(&code)
            .ok_or_else(|| invalid(path, "must be ISO 4217 codes in capitals, such as \"USD\""))?;
        if currencies.contains(&currency) {
            return Err(invalid(path, "lists a currency twice"));
        }
        currencies.push(currency);
    }
    if currencies.is_empty() {
        return Err(invalid(path, "must list at least one currency"));
    }
    Ok(SaleConfig {
        hold_ttl_s: reader.integer("drop.hold_ttl_s")?,
        currencies,
        rate_count: reader.small("limits.rate.count")?,
        rate_per_s: reader.integer("limits.rate.per_s")?,
        idempotency_retention_s: reader.integer("idempotency.retention_s")?,
    })
}

fn limits(reader: &mut ConfigReader<'_>) -> Result<LimitsConfig, ConfigError> {
    const BY: &str = "must be a list with \"user\", and optionally \"card_token\" and \"device\"";
    let mut shared = Vec::new();
    let by = reader.texts("limits.by")?;
    for word in &by {
        let more = match word.as_str() {
            "user" => continue,
            "card_token" => SharedBy::Card,
            "device" => SharedBy::Device,
            _ => return Err(invalid("limits.by", BY)),
        };
        if shared.contains(&more) {
            return Err(invalid("limits.by", "lists an entry twice"));
        }
        shared.push(more);
    }
    if !by.iter().any(|word| word == "user") {
        return Err(invalid("limits.by", BY));
    }
    let zone = DayZone::parse(&reader.text("limits.zone")?);
    Ok(LimitsConfig {
        amounts: AmountLimits {
            daily: reader.amounts("limits.daily")?,
            lifetime: reader.amounts("limits.lifetime")?,
            shared,
        },
        zone: zone.ok_or_else(|| {
            invalid(
                "limits.zone",
                "must be the IANA name of a time zone, such as \"Asia/Seoul\"",
            )
        })?,
    })
}

fn review(reader: &mut ConfigReader<'_>) -> Result<ReviewConfig, ConfigError> {
    let on_deadline = match reader.text("review.on_deadline")?.as_str() {
        "reject" => Verdict::Reject,
        "approve" => Verdict::Approve,
        _ => return Err(invalid("review.on_deadline", "must be reject or approve")),
    };
    Ok(ReviewConfig {
        rules: ReviewRules {
            amount_over: reader.amounts("review.amount_over")?,
        },
        on_deadline,
        capture_margin: seconds(reader, "review.capture_margin_s")?,
        deadline: seconds(reader, "payments.review_deadline_s")?,
    })
}

fn engine(reader: &mut ConfigReader<'_>) -> Result<EngineConfig, ConfigError> {
    let retention_s = reader.integer("idempotency.retention_s")?;
    let least_s = retention_s.max(reader.integer("limits.rate.per_s")?);
    let ended_keep_s = reader.integer_if_given("engine.ended_keep_s")?;
    // A hold must be kept for as long as its idempotency key, and as long as its attempt counts.
    if ended_keep_s.is_some_and(|keep_s| keep_s < least_s) {
        return Err(invalid(
            "engine.ended_keep_s",
            format!(
                "must be at least {least_s}, the longer of idempotency.retention_s and limits.rate.per_s"
            ),
        ));
    }
    Ok(EngineConfig {
        ended_keep_s: ended_keep_s.unwrap_or(least_s),
        buyers_max: reader.size("engine.buyers_max")?,
        purchases_max: reader.size("engine.purchases_max")?,
        keys_max: reader.size("engine.keys_max")?,
        open_holds_per_user_max: reader.size("engine.open_holds_per_user_max")?,
        keys_per_user_max: reader.size("engine.keys_per_user_max")?,
        velocity_keys_max: reader.size("engine.velocity_keys_max")?,
        amount_keys_max: reader.size("engine.amount_keys_max")?,
        products_max: reader.size("engine.products_max")?,
        promotions_max: reader.size("engine.promotions_max")?,
    })
}

fn reconcile(reader: &mut ConfigReader<'_>) -> Result<ReconcileConfig, ConfigError> {
    let every_s = reader.integer("reconcile.every_s")?;
    let window_s = reader.integer("reconcile.window_s")?;
    Ok(ReconcileConfig {
        every: (every_s > 0).then(|| Duration::from_secs(every_s)),
        window: (window_s > 0).then(|| Duration::from_secs(window_s)),
        pause: milliseconds(reader, "reconcile.pause_ms")?,
        differences_max: reader.size("reconcile.differences_max")?,
    })
}

fn seconds(reader: &mut ConfigReader<'_>, path: &'static str) -> Result<Duration, ConfigError> {
    Ok(Duration::from_secs(reader.integer(path)?))
}

fn milliseconds(
    reader: &mut ConfigReader<'_>,
    path: &'static str,
) -> Result<Duration, ConfigError> {
    Ok(Duration::from_millis(reader.integer(path)?))
}
