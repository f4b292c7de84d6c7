//! `schema`: prints what to create downstream.
//!
//! Deliberately absent: creating it, for which this program need not have the rights.

use super::print;
use crate::report::types::event_types;
use clap::Args;
use std::process::ExitCode;

/// What `schema kafka` takes.
#[derive(Debug, Args)]
pub(super) struct Kafka {
    /// The topic of events, as in `report.kafka.topic`.
    #[arg(long, default_value = "holdfast.events")]
    topic: String,
    /// The topic of rejected events, as in `report.kafka.dlq_topic`.
    #[arg(long, default_value = "holdfast.events.dlq")]
    dlq_topic: String,
    /// Number of partitions. Choose it once: after adding some, a buyer's events are in two
    /// partitions.
    #[arg(long, default_value_t = 12)]
    partitions: u32,
    /// Replicas of each partition.
    #[arg(long, default_value_t = 3)]
    replication: u32,
}

/// Prints the migrations.
#[cfg(feature = "postgres")]
pub(super) fn postgres() -> ExitCode {
    print(crate::report::postgres::script(), ExitCode::SUCCESS)
}

/// Says that there are none in this build.
#[cfg(not(feature = "postgres"))]
pub(super) fn postgres() -> ExitCode {
    super::fail(
        1,
        "this program was built without PostgreSQL; build it with the cargo feature `postgres`",
    )
}

/// Prints topics, commands and types.
pub(super) fn kafka(arguments: &Kafka) -> ExitCode {
    let Kafka {
        topic,
        dlq_topic,
        partitions,
        replication,
    } = arguments;
    let in_sync = replication.saturating_sub(1).max(1);
    let mut text = format!(
        "# Topics. min.insync.replicas and acks=all together keep what was acknowledged.\n\
         kafka-topics.sh --bootstrap-server \"$BROKERS\" --create --topic {topic} --partitions \
         {partitions} --replication-factor {replication} --config min.insync.replicas={in_sync} \
         --config retention.ms=604800000 --config max.message.bytes=1048588\n\
         kafka-topics.sh --bootstrap-server \"$BROKERS\" --create --topic {dlq_topic} --partitions \
         1 --replication-factor {replication} --config min.insync.replicas={in_sync} \
         --config retention.ms=-1 --config max.message.bytes=10485760\n\n\
         # Rights of holdfast.\n\
         kafka-acls.sh --bootstrap-server \"$BROKERS\" --add --allow-principal User:holdfast \
         --operation Write --operation Describe --topic {topic} --topic {dlq_topic}\n\
         # At each start it reads the newest messages, to recognise a restored copy; it joins no group.\n\
         kafka-acls.sh --bootstrap-server \"$BROKERS\" --add --allow-principal User:holdfast \
         --operation Read --topic {topic}\n\
         kafka-acls.sh --bootstrap-server \"$BROKERS\" --add --allow-principal User:holdfast \
         --operation IdempotentWrite --cluster\n\n\
         # Types of the events (ce_type); docs/events/ has a schema for each.\n"
    );
    for (_, name) in event_types() {
        text.push_str(name);
        text.push('\n');
    }
    print(text, ExitCode::SUCCESS)
}
