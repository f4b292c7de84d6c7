//! Owns the section `report`: the sinks, and what happens when the disk is nearly full.

use super::ConfigError;
use super::read::{ConfigReader, invalid};
use crate::report::feed::sink::Batching;
use crate::report::feed::{Backoff, OnDiskFull};
use crate::report::jsonl::{self, JsonlSettings};
use crate::report::kafka::{self, KafkaSettings};
use crate::report::postgres::segments::SegmentSettings;
use crate::report::postgres::{self, Migrate, PostgresSettings};
use crate::report::webhooks::EndpointSettings;
use secrecy::SecretString;
use std::time::Duration;
use toml::Value;

/// The settings of the sinks.
#[derive(Debug)]
pub struct ReportConfig {
    /// What happens when the disk is nearly full.
    pub on_disk_full: OnDiskFull,
    /// Free disk space below which a sink is given up, if one is configured.
    pub give_up_below_bytes: u64,
    /// Maximum size of all dead letters.
    pub dead_letters_bytes_max: u64,
    /// Waits between retries.
    pub backoff: Backoff,
    /// Timeout of one delivery.
    pub deliver_timeout: Duration,
    /// The limits of a batch.
    pub batching: Batching,
    /// The JSON Lines sink.
    pub jsonl: Option<JsonlSettings>,
    /// The PostgreSQL sink.
    pub postgres: Option<PostgresSettings>,
    /// The computation of segments.
    pub segments: SegmentSettings,
    /// The Kafka sink.
    pub kafka: Option<KafkaSettings>,
    /// The endpoints of webhooks, each a sink.
    pub webhooks: Vec<EndpointSettings>,
}

impl ReportConfig {
    /// The names of the configured sinks.
    pub fn sinks(&self) -> Vec<&'static str> {
        let jsonl = self.jsonl.as_ref().map(|_| jsonl::NAME);
        let postgres = self.postgres.as_ref().map(|_| postgres::NAME);
        let kafka = self.kafka.as_ref().map(|_| kafka::NAME);
        let webhooks = self.webhooks.iter().map(|it| it.sink);
        let others = jsonl.into_iter().chain(postgres).chain(kafka);
        others.chain(webhooks).collect()
    }
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<ReportConfig, ConfigError> {
    let config = ReportConfig {
        on_disk_full: on_disk_full(reader)?,
        give_up_below_bytes: reader.integer("report.give_up_below_bytes")?,
        dead_letters_bytes_max: reader.integer("report.dead_letters_bytes_max")?,
        backoff: Backoff::new(
            reader.integer("report.backoff_first_ms")?,
            reader.integer("report.backoff_max_ms")?,
        ),
        deliver_timeout: Duration::from_millis(reader.integer("report.deliver_timeout_ms")?),
        batching: Batching {
            events_max: reader.size("report.batch.events_max")?,
            bytes_max: reader.size("report.batch.bytes_max")?,
            wait_ms: reader.integer("report.batch.wait_ms")?,
        },
        jsonl: jsonl_sink(reader)?,
        postgres: postgres_sink(reader)?,
        segments: segments(reader)?,
        kafka: super::kafka::read(reader)?,
        webhooks: super::shop_webhooks::read(reader)?,
    };
    are_built_in(&config)?;
    if let OnDiskFull::GiveUp(names) = &config.on_disk_full
        && let Some(name) = names
            .iter()
            .find(|it| !config.sinks().contains(&it.as_str()))
    {
        return Err(invalid(
            "report.on_disk_full",
            format!("names `{name}`, which is not a sink that is configured"),
        ));
    }
    Ok(config)
}

/// Refuses a sink that this program was built without.
fn are_built_in(config: &ReportConfig) -> Result<(), ConfigError> {
    let sinks = [
        (
            "report.postgres",
            cfg!(feature = "postgres"),
            config.postgres.is_some(),
            "postgres",
        ),
        (
            "report.kafka",
            cfg!(feature = "kafka"),
            config.kafka.is_some(),
            "kafka",
        ),
    ];
    for (key, is_built_in, is_set_up, feature) in sinks {
        if is_set_up && !is_built_in {
            return Err(invalid(
                key,
                format!(
                    "is set up, but this program was built without it; build it with the cargo feature `{feature}`, or remove [{key}]"
                ),
            ));
        }
    }
    Ok(())
}

fn on_disk_full(reader: &mut ConfigReader<'_>) -> Result<OnDiskFull, ConfigError> {
    const FORMS: &str =
        "must be \"refuse_sales\", { give_up = \"NAME\" } or { give_up = [\"NAME\", …] }";
    let path = "report.on_disk_full";
    match reader.given(path) {
        None => {}
        Some(Value::String(word)) if word == "refuse_sales" => {}
        Some(Value::Table(table)) if table.len() == 1 => {
            let names = match table.get("give_up") {
                Some(Value::String(name)) => Some(vec![name.clone()]),
                Some(Value::Array(names)) => {
                    let names = names.iter().map(|it| it.as_str().map(str::to_owned));
                    names.collect::<Option<Vec<_>>>()
                }
                _ => None,
            };
            let names = names.filter(|it| !it.is_empty());
            let names = names.ok_or_else(|| invalid(path, FORMS))?;
            reader.show(path, serde_json::json!({ "give_up": names }));
            return Ok(OnDiskFull::GiveUp(names));
        }
        Some(_) => return Err(invalid(path, FORMS)),
    }
    reader.show(path, "refuse_sales".into());
    Ok(OnDiskFull::RefuseSales)
}

fn jsonl_sink(reader: &mut ConfigReader<'_>) -> Result<Option<JsonlSettings>, ConfigError> {
    let path = reader.text_if_given("report.jsonl.path")?;
    let rotate_bytes = reader.integer("report.jsonl.rotate_bytes")?;
    let keep = reader.size("report.jsonl.keep")?;
    Ok(path.map(|path| JsonlSettings {
        path: path.into(),
        rotate_bytes,
        keep,
    }))
}

/// A URL has a scheme, a host and a name.
const URL_CHARS_MIN: usize = 12;

fn postgres_sink(reader: &mut ConfigReader<'_>) -> Result<Option<PostgresSettings>, ConfigError> {
    let url = url(reader, "report.postgres.url")?;
    let migrator_url = self::url(reader, "report.postgres.migrator_url")?;
    let migrate = match reader.text("report.postgres.migrate")?.as_str() {
        "auto" => Migrate::Auto,
        "off" => Migrate::Off,
        _ => return Err(invalid("report.postgres.migrate", "must be auto or off")),
    };
    let ca_file = reader.text_if_given("report.postgres.ca_file")?;
    Ok(url.map(|url| PostgresSettings {
        url,
        migrator_url,
        migrate,
        ca_file: ca_file.map(Into::into),
    }))
}

fn segments(reader: &mut ConfigReader<'_>) -> Result<SegmentSettings, ConfigError> {
    let every_s = reader.integer("report.postgres.segments.every_s")?;
    let small = |it: u64| u32::try_from(it).unwrap_or(u32::MAX);
    Ok(SegmentSettings {
        every: (every_s > 0).then(|| Duration::from_secs(every_s)),
        batch: small(reader.integer("report.postgres.segments.batch")?),
        batches_max: reader.integer("report.postgres.segments.batches_max")?,
        feedback_per_s: small(reader.integer("report.postgres.segments.feedback_per_s")?),
        timeout: Duration::from_millis(reader.integer("report.deliver_timeout_ms")?),
    })
}

fn url(
    reader: &mut ConfigReader<'_>,
    path: &'static str,
) -> Result<Option<SecretString>, ConfigError> {
    let url = reader.secret_if_given(path, URL_CHARS_MIN)?;
    #[cfg(feature = "postgres")]
    if let Some(url) = &url
        && !postgres::is_url(secrecy::ExposeSecret::expose_secret(url))
    {
        return Err(invalid(
            path,
            "must be a URL such as postgres://NAME:PASSWORD@HOST:PORT/DATABASE?sslmode=require, where sslmode is disable or require",
        ));
    }
    Ok(url)
}
