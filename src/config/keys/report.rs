//! Owns the keys of the audit trail and of the sinks.

use super::{DAY_S, GIB, Setting, ValueKind, number, other, text};

/// The audit trail and the sinks.
pub(super) const REPORT: &[Setting] = &[
    number(
        "audit.refusals_per_s",
        "10",
        (0, 10_000),
        "Maximum refused administrative acts logged per second for each key name. Further ones are counted, and the next one logged carries the count.",
    ),
    number(
        "audit.refused_attempts_per_s",
        "1000",
        (0, 1_000_000),
        "Maximum refused attempts logged per second for each key name, of those whose outcome is not stored under the idempotency key (invalid shape, rate limit, key in flight or reused). Further ones are counted, and the next one logged carries the count. Outcomes of keys are always logged.",
    ),
    text(
        "report.on_disk_full",
        "\"refuse_sales\"",
        "What happens when the disk is nearly full: `\"refuse_sales\"` (every sink still gets every event) or `{ give_up = \"NAME\" }` (the log is no longer kept for that sink).",
    ),
    text(
        "report.on_disk_full.give_up",
        "",
        "Name of that sink: `jsonl`, `postgres` or `kafka`.",
    ),
    number(
        "report.give_up_below_bytes",
        "2147483648",
        (0, 1 << 50),
        "Free disk space below which that sink is given up. More than `storage.disk_free_bytes_min`, so that sales go on.",
    ),
    number(
        "report.dead_letters_bytes_max",
        "67108864",
        (4_096, 1 << 40),
        "Maximum size of the dead letters of all sinks. When it is reached, a sink stops and retries.",
    ),
    number(
        "report.backoff_first_ms",
        "100",
        (1, 600_000),
        "Wait before a sink's first retry. It doubles with each retry.",
    ),
    number(
        "report.backoff_max_ms",
        "10000",
        (1, 3_600_000),
        "Maximum wait between two retries.",
    ),
    number(
        "report.deliver_timeout_ms",
        "30000",
        (10, 3_600_000),
        "Timeout of one delivery to a sink. After it the delivery is retried.",
    ),
    number(
        "report.batch.events_max",
        "10000",
        (1, 1_000_000),
        "Maximum number of events in one delivery.",
    ),
    number(
        "report.batch.bytes_max",
        "8388608",
        (1_024, GIB),
        "Approximate maximum size of one delivery; it may exceed this by one event.",
    ),
    number(
        "report.batch.wait_ms",
        "50",
        (0, 60_000),
        "How long an incomplete batch waits for more events.",
    ),
    text(
        "report.jsonl.path",
        "",
        "File to which every event is appended as a line of JSON. Not set: no such sink.",
    ),
    number(
        "report.jsonl.rotate_bytes",
        "268435456",
        (1_024, 1 << 50),
        "Size at which the file is renamed and a new one is started.",
    ),
    number(
        "report.jsonl.keep",
        "8",
        (0, 1_000_000),
        "Number of renamed files to keep. The oldest are deleted first.",
    ),
    other(
        "report.postgres.url",
        "",
        ValueKind::Secret,
        "URL of PostgreSQL, with a user who is a member of `holdfast_writer`. Not set: no such sink. `sslmode` is `disable` or `require`, and `require` where it is left out, unless the host is this machine; certificates are always verified.",
    ),
    other(
        "report.postgres.migrator_url",
        "",
        ValueKind::Secret,
        "URL with a user who may change the schema. Not set: `report.postgres.url`.",
    ),
    text(
        "report.postgres.migrate",
        "\"auto\"",
        "`auto`: migrate the schema before the first write. `off`: the operator does, with `holdfast schema postgres`.",
    ),
    text(
        "report.postgres.ca_file",
        "",
        "PEM file with the authorities that sign the server's certificate. Not set: the authorities that browsers trust.",
    ),
    number(
        "report.postgres.segments.every_s",
        "3600",
        (0, 30 * DAY_S),
        "Time between two runs that update the segments of buyers. 0: on request only.",
    ),
    number(
        "report.postgres.segments.batch",
        "1000",
        (1, 100_000),
        "Number of buyers computed in one transaction of such a run.",
    ),
    number(
        "report.postgres.segments.batches_max",
        "100000",
        (2, 1_000_000_000),
        "Maximum number of transactions in one run, including the last one, which finds nothing left. A run that needs more fails, and the next run continues from there.",
    ),
    number(
        "report.postgres.segments.feedback_per_s",
        "200",
        (1, 100_000),
        "Maximum number of changed segments that the core takes over per second, so that they do not slow a sale.",
    ),
    other(
        "report.kafka.brokers",
        "[]",
        ValueKind::Texts,
        "`HOST:PORT` of one or more Kafka brokers. Empty: no such sink.",
    ),
    text(
        "report.kafka.topic",
        "\"holdfast.events\"",
        "Topic of all events.",
    ),
    text(
        "report.kafka.dlq_topic",
        "\"holdfast.events.dlq\"",
        "Topic of events that the broker rejects permanently. Empty: they stay in the data directory.",
    ),
    text(
        "report.kafka.client_id",
        "\"holdfast\"",
        "Client id of the producer.",
    ),
    text(
        "report.kafka.source",
        "",
        "`ce_source` of the events, without the generation, which follows after a colon. Not set: `urn:holdfast:log:` and the log's id.",
    ),
    text(
        "report.kafka.compression",
        "\"lz4\"",
        "Compression of messages: `\"none\"`, `\"lz4\"`, `\"gzip\"` or `\"snappy\"`.",
    ),
    number(
        "report.kafka.linger_ms",
        "5",
        (0, 10_000),
        "How long a message waits for others to be sent with it.",
    ),
    number(
        "report.kafka.message_bytes_max",
        "1000000",
        (1000, 1_000_000_000),
        "Maximum size of a message. The topic's `max.message.bytes` must be at least as large.",
    ),
    text(
        "report.kafka.username",
        "",
        "User name for SASL/PLAIN. Not set: no login.",
    ),
    other(
        "report.kafka.password",
        "",
        ValueKind::Secret,
        "Password for SASL/PLAIN.",
    ),
];
