//! Sinks: the feed, what becomes of them on an older copy of the data directory, PostgreSQL with its segments of buyers, and Kafka.

mod accepting;
mod copies;
mod feed;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_copies;
mod links;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod segments;
#[cfg(feature = "postgres")]
mod segments_feedback;
mod webhook_libraries;
mod webhook_waits;
mod webhooks;
