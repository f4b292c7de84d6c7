//! Owns where events go. How a producer is set up for it is `setup`'s.

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
    /// `ce_source` but for the generation; `None`: `urn:holdfast:log:` and the log's id.
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
