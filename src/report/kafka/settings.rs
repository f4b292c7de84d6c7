//! Owns where events go, and how a producer is set up for it.
//!
//! Invariant: what order and durability hang on (idempotence, all replicas, no gaps, no time limit
//! of the library's own) is not a setting.

use super::super::feed::sink::Batching;
use rdkafka::ClientConfig;
use secrecy::{ExposeSecret, SecretString};

/// How messages are compressed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    Lz4,
    Gzip,
    Snappy,
}

impl Compression {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::None, Self::Lz4, Self::Gzip, Self::Snappy];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
        }
    }
}

/// A user name with its password, for SASL/PLAIN.
#[derive(Clone, Debug)]
pub struct Login {
    pub username: String,
    pub password: SecretString,
}

/// Where events go.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `HOST:PORT` of some of the brokers.
    pub brokers: Vec<String>,
    /// Where events go.
    pub topic: String,
    /// Where what the broker refuses for good goes; `None`: to the data directory alone.
    pub dlq_topic: Option<String>,
    /// What the brokers know this producer as.
    pub client_id: String,
    /// `ce_source`; `None`: `urn:holdfast:log:` and the log's id.
    pub source: Option<String>,
    /// How messages are compressed.
    pub compression: Compression,
    /// How long a message waits for others that go with it.
    pub linger_ms: u64,
    /// The largest message that is sent.
    pub message_bytes_max: usize,
    /// How to log in; `None`: not.
    pub login: Option<Login>,
}

impl KafkaSettings {
    /// How a producer is set up that packs messages up to `batch_bytes` together.
    pub(super) fn client_config(&self, batching: Batching, batch_bytes: usize) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A message that is refused must not be overtaken by those behind it.
            .set("enable.gapless.guarantee", "true")
            // How long is waited is decided here, where the order is known: a time limit in the
            // library could drop a message and send the one behind it.
            .set("message.timeout.ms", "0")
            // As Java's clients do it, so that other producers' keys fall in line.
            .set("partitioner", "murmur2_random")
            .set("compression.type", self.compression.as_str())
            .set("linger.ms", self.linger_ms.to_string())
            .set("message.max.bytes", self.message_bytes_max.to_string())
            .set("batch.size", batch_bytes.to_string())
            .set(
                "queue.buffering.max.messages",
                (batching.events_max + 1).to_string(),
            )
            .set(
                "queue.buffering.max.kbytes",
                queue_kbytes(batching.bytes_max).to_string(),
            )
            .set("topic.metadata.propagation.max.ms", "10000")
            .set("reconnect.backoff.max.ms", "2000")
            .set("log.connection.close", "false");
        if let Some(login) = &self.login {
            config
                .set("security.protocol", "sasl_plaintext")
                .set("sasl.mechanisms", "PLAIN")
                .set("sasl.username", &login.username)
                .set("sasl.password", login.password.expose_secret());
        }
        config
    }
}

/// Room for a whole batch, within what the library takes.
fn queue_kbytes(batch_bytes: usize) -> usize {
    (batch_bytes / 1024 * 2).clamp(1 << 14, 2_147_483_647)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::producer::BaseProducer;

    #[test]
    fn the_library_that_is_built_with_this_has_every_setting() {
        let batching = Batching {
            events_max: 1_000_000,
            bytes_max: 1 << 30,
            wait_ms: 0,
        };
        let login = Login {
            username: "holdfast".to_owned(),
            password: "a-secret-of-kafka".into(),
        };
        for compression in Compression::ALL {
            for login in [None, Some(login.clone())] {
                let settings = KafkaSettings {
                    brokers: vec!["127.0.0.1:1".to_owned()],
                    topic: "t".to_owned(),
                    dlq_topic: None,
                    client_id: "holdfast".to_owned(),
                    source: None,
                    compression,
                    linger_ms: 5,
                    message_bytes_max: 1_000_000_000,
                    login,
                };
                let shown = format!("{settings:?}");
                assert!(!shown.contains("a-secret-of-kafka"), "{shown}");
                let created = settings.client_config(batching, 1).create::<BaseProducer>();
                assert!(created.is_ok(), "{compression:?}: {:?}", created.err());
            }
        }
    }
}
