//! Owns what can go wrong with a broker, and one function that classifies it.
//!
//! Invariant: an unknown error is retried; only an error about one message rejects that message.

use super::super::feed::sink::Class;
use crate::journal::JournalError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::io;
use std::path::PathBuf;

/// Why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFailure {
    /// The producer could not be created.
    #[error("cannot create the Kafka producer: {0}; check [report.kafka]")]
    Setup(KafkaError),
    /// The brokers could not be asked about the topic.
    #[error("asking {brokers} about the topic {topic}: {code}{}", after(.last.as_ref()))]
    Ask {
        brokers: String,
        topic: String,
        code: RDKafkaErrorCode,
        /// The last error of a connection.
        last: Option<String>,
    },
    /// The topic does not exist, or writing is not permitted.
    #[error(
        "the topic {topic}: {code}; create it (`holdfast schema kafka` prints how) and allow this \
         client to write to it"
    )]
    Topic {
        topic: String,
        code: RDKafkaErrorCode,
    },
    /// What the topic has cannot be read.
    #[error(
        "reading the topic {topic}: {code}; this client has to be allowed to read it (`holdfast schema \
         kafka` prints how), because the newest messages tell whether they are of this history of the log"
    )]
    Read {
        /// Which.
        topic: String,
        /// What the broker or the library said.
        code: RDKafkaErrorCode,
    },
    /// The log cannot be compared with what the topic has.
    #[error("comparing the topic with the log: {0}")]
    Compare(#[source] JournalError),
    /// What is taken back cannot be listed.
    #[error("listing in {path} what the log has lost: {source}")]
    Listing {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A message was not taken.
    #[error("{topic} did not take the event at LSN {lsn}: {code}{}", after(.last.as_ref()))]
    Message {
        topic: String,
        lsn: u64,
        /// Its index among the sent messages.
        index: usize,
        /// The error of the broker or the library.
        code: RDKafkaErrorCode,
        /// The last or fatal error of a connection.
        last: Option<String>,
    },
    /// No acknowledgement came in time; the messages may have arrived.
    #[error("{unanswered} messages to {topic} are not acknowledged after {waited_ms} ms{}", after(.last.as_ref()))]
    Silent {
        topic: String,
        unanswered: usize,
        /// How long was waited.
        waited_ms: u128,
        /// The last error of a connection.
        last: Option<String>,
    },
    /// The producer was dropped after an error.
    #[error("the Kafka producer is not open")]
    NotOpen,
}

fn after(last: Option<&String>) -> String {
    last.map_or(String::new(), |it| format!(" ({it})"))
}

impl KafkaFailure {
    /// What the error means for the runner.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Setup(_) => Class::Misconfigured,
            Self::Ask { code, .. } | Self::Topic { code, .. } | Self::Read { code, .. } => {
                match class_of(*code) {
                    // A request for metadata cannot reject a message.
                    Class::Rejected => Class::Misconfigured,
                    class => class,
                }
            }
            Self::Message { code, .. } => class_of(*code),
            Self::Silent { .. } | Self::NotOpen | Self::Compare(_) | Self::Listing { .. } => {
                Class::Retriable
            }
        }
    }
}

/// Whether a message, or the batch with it, is larger than the brokers accept.
pub(super) const fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge
    )
}

/// What an error of broker or library means for a message.
pub(super) fn class_of(code: RDKafkaErrorCode) -> Class {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::PolicyViolation => Class::Rejected,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::IllegalSASLState
        | Code::UnsupportedSASLMechanism
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedCompressionType
        | Code::UnsupportedForMessageFormat
        | Code::InvalidRequiredAcks => Class::Misconfigured,
        _ => Class::Retriable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_of_their_class() {
        use RDKafkaErrorCode as Code;
        for (code, class) in [
            (Code::MessageSizeTooLarge, Class::Rejected),
            (Code::InvalidRecord, Class::Rejected),
            (Code::TopicAuthorizationFailed, Class::Misconfigured),
            (Code::UnknownTopicOrPartition, Class::Misconfigured),
            (Code::AllBrokersDown, Class::Retriable),
            (Code::NotEnoughReplicas, Class::Retriable),
            (Code::Fatal, Class::Retriable),
            (Code::OutOfOrderSequenceNumber, Class::Retriable),
        ] {
            assert_eq!(class_of(code), class, "{code}");
        }
        let topic = KafkaFailure::Topic {
            topic: "t".to_owned(),
            code: Code::PolicyViolation,
        };
        assert_eq!(topic.class(), Class::Misconfigured);
    }
}
