//! Sinks: the feed, what becomes of them on an older copy of the data directory, PostgreSQL with its segments of buyers, and Kafka.

mod accepting;
mod copies;
mod feed;
mod kafka;
mod kafka_copies;
mod links;
mod postgres;
mod segments;
mod segments_feedback;
