//! The Kafka sink: every event as one of `CloudEvents`, in the binary content mode.
//!
//! Invariants: 1. each event reaches the topic at least once, and the events of one buyer in the
//! order of the log: their key is the user id, and nothing is sent past a message that the broker
//! has not acknowledged; 2. repeats have the same `ce_source` and `ce_id` (the LSN) and follow the
//! first; 3. an event that the broker rejects permanently goes to the dead-letter topic with its
//! cause, otherwise to the dead letters of the data directory.
//! `messages` makes messages of events, `settings` says where to, `setup` configures the client
//! library, `failure` classifies errors, `producer` delivers, `sizes` knows the brokers' limits,
//! `flight` counts messages in flight, `history` says which history of the log a message is from,
//! `topic` reads what the topic has, `taken_back` takes back the events that the log has lost.
//! Built with the feature `kafka`; without it only the settings exist, and the configuration
//! rejects them.
//! Deliberately absent: reading the log, waiting and retrying, which the runner does.

#[cfg(feature = "kafka")]
mod failure;
#[cfg(feature = "kafka")]
mod flight;
#[cfg(feature = "kafka")]
mod history;
#[cfg(feature = "kafka")]
mod messages;
#[cfg(feature = "kafka")]
mod producer;
mod settings;
#[cfg(feature = "kafka")]
mod setup;
#[cfg(feature = "kafka")]
mod sizes;
#[cfg(feature = "kafka")]
mod taken_back;
#[cfg(feature = "kafka")]
mod topic;

#[cfg(feature = "kafka")]
pub use {
    failure::KafkaFailure,
    messages::{Messages, sink},
    producer::Producing,
};

pub use settings::{Compression, KafkaSettings, Login};

/// The sink's name.
pub const NAME: &str = "kafka";
