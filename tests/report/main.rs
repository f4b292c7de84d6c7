//! Sinks: the feed, PostgreSQL with its segments of buyers, and Kafka.

mod feed;
mod kafka;
mod links;
mod postgres;
mod segments;
mod segments_feedback;
