//! Owns the configuration of the producer and of the reader of a topic.
//!
//! Invariant: what order and durability depend on (idempotence, all replicas, no gaps, no timeout
//! of the library) is not configurable.

use super::settings::KafkaSettings;
use crate::report::feed::sink::Batching;
use rdkafka::ClientConfig;
use secrecy::ExposeSecret;

impl KafkaSettings {
    /// The configuration of a producer with batches of up to `batch_bytes`.
    pub(super) fn client_config(&self, batching: Batching, batch_bytes: usize) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Later messages must not overtake a rejected one.
            .set("enable.gapless.guarantee", "true")
            // Timeouts are decided in this sink, where the order is known: a timeout of the library
            // could drop a message and send the next one.
            .set("message.timeout.ms", "0")
            // The partitioner of the Java clients, so that other producers put the same key into
            // the same partition.
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
        self.log_in(&mut config);
        config
    }

    /// How the topic is read. The library asks for a group's name; no group is joined.
    pub(super) fn reader_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            .set("group.id", &self.client_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("log.connection.close", "false");
        self.log_in(&mut config);
        config
    }

    fn log_in(&self, config: &mut ClientConfig) {
        if let Some(login) = &self.login {
            config
                .set("security.protocol", "sasl_plaintext")
                .set("sasl.mechanisms", "PLAIN")
                .set("sasl.username", &login.username)
                .set("sasl.password", login.password.expose_secret());
        }
    }
}

/// Room for a whole batch, within the limits of the library.
fn queue_kbytes(batch_bytes: usize) -> usize {
    (batch_bytes / 1024 * 2).clamp(1 << 14, 2_147_483_647)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::kafka::{Compression, Login};
    use rdkafka::consumer::BaseConsumer;
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
                let reader = settings.reader_config().create::<BaseConsumer>();
                assert!(reader.is_ok(), "{:?}", reader.err());
            }
        }
    }
}
