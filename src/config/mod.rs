//! Owns the operator's settings: read from file, environment and flags at start, and again on
//! request, checked, and immutable once read.
//!
//! Invariants: every limit of the program has a name here; an unknown key is an error that names
//! the nearest known one; secrets are wrapped and shown as `***`; a demo fills only what is absent,
//! and listens on loopback only. Deliberately absent: what the settings do. Used by `cli` and
//! `http`; nothing below them reads configuration.

mod api_keys;
mod backup;
mod fault;
mod kafka;
pub mod keys;
mod payments;
mod read;
mod receipts;
mod reconcile;
mod report;
mod review;
mod sale;
mod secret;
mod server;
mod shop_webhooks;
mod source;
mod storage;
mod telemetry;
mod webhooks;

pub use api_keys::{ApiKey, Role};
pub use backup::BackupTools;
pub use fault::ConfigError;
pub use payments::{GatewayKind, PaymentsConfig};
pub use receipts::{KeyHalf, ReceiptKeySettings, SigningKey};
pub use reconcile::ReconcileConfig;
pub use report::ReportConfig;
pub use review::ReviewConfig;
pub use sale::{EngineConfig, LimitsConfig, RiskConfig, SaleConfig};
pub use secret::HIDDEN;
pub use server::{ServerConfig, TlsConfig};
pub use source::{Demo, DemoReach, Environment, Sources};
pub use storage::{ClockConfig, StorageConfig};
pub use webhooks::{WebhookSecret, WebhooksConfig};

use crate::backup::BackupSettings;
use crate::money::Currency;
use crate::receipts::SignWhen;
use crate::telemetry::otlp::OtlpSettings;
use crate::webhooks::WebhookKey;
use read::{ConfigReader, SecretDigests, invalid};
use std::collections::BTreeSet;

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
    /// When receipts are signed.
    pub sign_when: SignWhen,
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
    /// Where spans of traced requests are sent.
    pub otlp: Option<OtlpSettings>,
    /// Whether this is a demo.
    pub demo: Demo,
    shown: serde_json::Value,
    secrets: SecretDigests,
    other_secrets: Vec<WebhookKey>,
}

/// Keys whose changes take effect on a reload, without a restart.
pub const RELOADABLE: [&str; 11] = [
    "auth.keys",
    "limits.rate.count",
    "limits.rate.per_s",
    "report.webhooks",
    "risk.features",
    "risk.model_file",
    "risk.rules_file",
    "server.tls.cert",
    "server.tls.key",
    "telemetry.log",
    "webhooks.secrets",
];

impl Config {
    /// Reads the configuration from `sources`.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut table = sources.merged()?;
        if sources.demo == Demo::Yes {
            source::fill_for_demo(&mut table);
        }
        let mut reader = ConfigReader::new(&table, &sources.environment, sources.demo);
        let config = Self {
            server: server::read(&mut reader)?,
            storage: storage::read(&mut reader)?,
            clock: storage::clock(&mut reader)?,
            keys: api_keys::read(&mut reader, sources.demo)?,
            sale: sale::read(&mut reader)?,
            limits: sale::limits(&mut reader)?,
            review: review::read(&mut reader)?,
            engine: sale::engine(&mut reader)?,
            payments: payments::read(&mut reader)?,
            risk: sale::risk(&mut reader)?,
            receipt_keys: receipts::sealing(&mut reader)?,
            webhooks: webhooks::read(&mut reader)?,
            signing_keys: receipts::signing(&mut reader)?,
            sign_when: receipts::sign_when(&mut reader)?,
            reconcile: reconcile::read(&mut reader)?,
            audit_refusals_per_s: reader.small("audit.refusals_per_s")?,
            audit_refused_attempts_per_s: reader.small("audit.refused_attempts_per_s")?,
            report: report::read(&mut reader)?,
            backup: backup::read(&mut reader)?,
            log: reader.text("telemetry.log")?,
            otlp: telemetry::otlp(&mut reader)?,
            demo: sources.demo,
            secrets: reader.secret_digests(),
            other_secrets: reader.others(),
            shown: reader.into_shown(),
        };
        config.check_together(sources.demo_reach)?;
        Ok(config)
    }

    /// Refuses settings that are valid alone, but not with each other.
    fn check_together(&self, demo_reach: DemoReach) -> Result<(), ConfigError> {
        if self.demo == Demo::No
            && let Some((one, other)) = self.secrets.reused()
        {
            return Err(invalid(
                &one,
                format!("has the same secret as `{other}`; use a separate secret for each purpose"),
            ));
        }
        if let Some(backup) = &self.backup
            && backup.target.lies_in(&self.storage.data_dir)
        {
            return Err(invalid(
                "backup.to",
                "is inside storage.data_dir and would be lost with it; name another disk or store",
            ));
        }
        let gateway = &self.payments.gateway;
        let not_taken = |currency: &&Currency| gateway.amounts(**currency).is_none();
        if let Some(currency) = self.sale.currencies.iter().find(not_taken) {
            return Err(invalid(
                "drop.currencies",
                format!("lists {currency}, whose minor unit differs at Stripe; remove it"),
            ));
        }
        if self.demo == Demo::Yes {
            for (key, address) in self.server.addresses() {
                let is_ordered = key == "server.listen" && demo_reach == DemoReach::Anyone;
                if !address.ip().is_loopback() && !is_ordered {
                    return Err(invalid(
                        key,
                        "must be a loopback address with --demo, because the demo's keys are public; listen on 127.0.0.1, give --demo-listen in a container, or set your own keys and remove --demo",
                    ));
                }
            }
        }
        Ok(())
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

const ID_FORM: &str = "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -";
