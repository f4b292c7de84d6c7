//! Owns where events go, and how a producer is configured for it.
//!
//! Invariant: what order and durability depend on (idempotence, all replicas, no gaps, no timeout
//! of the library) is not configurable.

use secrecy::SecretString;

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

/// The settings of the sink.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `HOST:PORT` of one or more brokers.
    pub brokers: Vec<String>,
    /// The settings of the sink.
    pub topic: String,
    /// The topic for rejected events; `None`: they stay in the data directory.
    pub dlq_topic: Option<String>,
    /// The client id of the producer.
    pub client_id: String,
    /// `ce_source` but for the generation; `None`: `urn:holdfast:log:` and the log's id.
    pub source: Option<String>,
    /// How messages are compressed.
    pub compression: Compression,
    /// How long a message waits for others to be sent with it.
    pub linger_ms: u64,
    /// Maximum size of a message.
    pub message_bytes_max: usize,
    /// `None`: no login.
    pub login: Option<Login>,
}
