//! Owns the section `report.kafka`.

use super::ConfigError;
use super::read::{ConfigReader, invalid};
use crate::report::kafka::{Compression, KafkaSettings, Login};

/// Minimum length of the password.
const PASSWORD_CHARS_MIN: usize = 1;

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<Option<KafkaSettings>, ConfigError> {
    let brokers = reader.texts("report.kafka.brokers")?;
    for broker in &brokers {
        let port = broker.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) || broker.contains([',', ' ']) {
            let what = format!("must be a list of HOST:PORT, which {broker:?} is not");
            return Err(invalid("report.kafka.brokers", what));
        }
    }
    let topic = topic_name(reader, "report.kafka.topic")?
        .ok_or_else(|| invalid("report.kafka.topic", "is empty"))?;
    let dlq_topic = topic_name(reader, "report.kafka.dlq_topic")?;
    if dlq_topic.as_ref() == Some(&topic) {
        return Err(invalid(
            "report.kafka.dlq_topic",
            "must differ from report.kafka.topic",
        ));
    }
    let word = reader.text("report.kafka.compression")?;
    let compression = Compression::ALL.into_iter().find(|it| it.as_str() == word);
    let compression = compression.ok_or_else(|| {
        invalid(
            "report.kafka.compression",
            "must be none, lz4, gzip or snappy",
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
        login: login(reader)?,
    };
    Ok((!settings.brokers.is_empty()).then_some(settings))
}

/// A topic's name; `None` if it is empty.
fn topic_name(
    reader: &mut ConfigReader<'_>,
    path: &'static str,
) -> Result<Option<String>, ConfigError> {
    const TOPIC_CHARS_MAX: usize = 249;
    let name = reader.text(path)?;
    let fits = name.len() <= TOPIC_CHARS_MAX
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !fits || name == "." || name == ".." {
        let what = "must be at most 249 letters, digits, dots, underscores and hyphens";
        return Err(invalid(path, what));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

fn login(reader: &mut ConfigReader<'_>) -> Result<Option<Login>, ConfigError> {
    let username = reader.text_if_given("report.kafka.username")?;
    let password = reader.secret_if_given("report.kafka.password", PASSWORD_CHARS_MIN)?;
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some(Login { username, password })),
        (Some(_), None) => Err(invalid(
            "report.kafka.password",
            "must be set together with report.kafka.username",
        )),
        (None, Some(_)) => Err(invalid(
            "report.kafka.username",
            "must be set together with report.kafka.password",
        )),
    }
}
