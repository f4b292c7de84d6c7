//! Owns the section `report`: what carries events out of the log, and what goes first when the
//! disk is nearly full.

use super::ConfigError;
use super::read::{Reader, invalid};
use crate::report::feed::sink::Batching;
use crate::report::feed::{Backoff, OnDiskFull};
use crate::report::jsonl::JsonlSettings;
use crate::report::kafka::{Compression, KafkaSettings, Login};
use std::time::Duration;
use toml::Value;

/// Sinks and how they are run.
#[derive(Debug)]
pub struct ReportConfig {
    /// What goes first when the disk is nearly full.
    pub on_disk_full: OnDiskFull,
    /// Free bytes below which a sink is given up, where one is.
    pub give_up_below_bytes: u64,
    /// Bytes of all dead letters.
    pub dead_letters_bytes_max: u64,
    /// Waits between tries.
    pub backoff: Backoff,
    /// For one delivery.
    pub deliver_timeout: Duration,
    /// How events are gathered.
    pub batching: Batching,
    /// The JSON Lines sink.
    pub jsonl: Option<JsonlSettings>,
    /// The Kafka sink.
    pub kafka: Option<KafkaSettings>,
}

impl ReportConfig {
    /// The names of the sinks that are set up.
    pub fn sinks(&self) -> Vec<&'static str> {
        let jsonl = self.jsonl.as_ref().map(|_| crate::report::jsonl::NAME);
        let kafka = self.kafka.as_ref().map(|_| crate::report::kafka::NAME);
        jsonl.into_iter().chain(kafka).collect()
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<ReportConfig, ConfigError> {
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
        jsonl: jsonl(reader)?,
        kafka: kafka(reader)?,
    };
    if let OnDiskFull::GiveUp(name) = &config.on_disk_full
        && !config.sinks().contains(&name.as_str())
    {
        return Err(invalid(
            "report.on_disk_full",
            "names a sink that is not set up",
        ));
    }
    Ok(config)
}

fn on_disk_full(reader: &mut Reader<'_>) -> Result<OnDiskFull, ConfigError> {
    const FORMS: &str = "takes \"refuse_sales\" or { give_up = \"NAME\" }";
    let path = "report.on_disk_full";
    match reader.given(path) {
        None => {}
        Some(Value::String(word)) if word == "refuse_sales" => {}
        Some(Value::Table(table)) if table.len() == 1 => {
            let name = table.get("give_up").and_then(Value::as_str);
            let name = name.ok_or_else(|| invalid(path, FORMS))?;
            reader.show(path, serde_json::json!({ "give_up": name }));
            return Ok(OnDiskFull::GiveUp(name.to_owned()));
        }
        Some(_) => return Err(invalid(path, FORMS)),
    }
    reader.show(path, "refuse_sales".into());
    Ok(OnDiskFull::RefuseSales)
}

fn jsonl(reader: &mut Reader<'_>) -> Result<Option<JsonlSettings>, ConfigError> {
    let path = reader.text_if_given("report.jsonl.path")?;
    let rotate_bytes = reader.integer("report.jsonl.rotate_bytes")?;
    let keep = reader.size("report.jsonl.keep")?;
    Ok(path.map(|path| JsonlSettings {
        path: path.into(),
        rotate_bytes,
        keep,
    }))
}

/// Shortest password that is taken.
const PASSWORD_CHARS_MIN: usize = 1;

fn kafka(reader: &mut Reader<'_>) -> Result<Option<KafkaSettings>, ConfigError> {
    let brokers = reader.texts("report.kafka.brokers")?;
    for broker in &brokers {
        let port = broker.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) || broker.contains([',', ' ']) {
            let what = format!("takes HOST:PORT in each text, not {broker:?}");
            return Err(invalid("report.kafka.brokers", what));
        }
    }
    let topic = kafka_topic(reader, "report.kafka.topic")?
        .ok_or_else(|| invalid("report.kafka.topic", "is empty"))?;
    let dlq_topic = kafka_topic(reader, "report.kafka.dlq_topic")?;
    if dlq_topic.as_ref() == Some(&topic) {
        return Err(invalid(
            "report.kafka.dlq_topic",
            "is the topic of the events; readers could not tell them apart",
        ));
    }
    let word = reader.text("report.kafka.compression")?;
    let compression = Compression::ALL.into_iter().find(|it| it.as_str() == word);
    let compression = compression.ok_or_else(|| {
        invalid(
            "report.kafka.compression",
            "takes none, lz4, gzip or snappy",
        )
    })?;
    let settings = KafkaSettings {
        brokers,
        topic,
        dlq_topic,
        client_id: reader.text("report.kafka.client_id")?,
        source: reader.text_if_given("report.kafka.source")?,
        compression,
        linger_ms: reader.integer("report.kafka.linger_ms")?,
        message_bytes_max: reader.size("report.kafka.message_bytes_max")?,
        login: kafka_login(reader)?,
    };
    Ok((!settings.brokers.is_empty()).then_some(settings))
}

/// A topic's name; `None` where it is empty.
fn kafka_topic(reader: &mut Reader<'_>, path: &'static str) -> Result<Option<String>, ConfigError> {
    const TOPIC_CHARS_MAX: usize = 249;
    let name = reader.text(path)?;
    let fits = name.len() <= TOPIC_CHARS_MAX
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !fits || name == "." || name == ".." {
        let what = "takes at most 249 letters, digits, dots, underscores and hyphens";
        return Err(invalid(path, what));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

fn kafka_login(reader: &mut Reader<'_>) -> Result<Option<Login>, ConfigError> {
    let username = reader.text_if_given("report.kafka.username")?;
    let password = reader.secret_if_given("report.kafka.password", PASSWORD_CHARS_MIN)?;
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some(Login { username, password })),
        (Some(_), None) => Err(invalid(
            "report.kafka.password",
            "has to go with the username",
        )),
        (None, Some(_)) => Err(invalid(
            "report.kafka.username",
            "has to go with the password",
        )),
    }
}
