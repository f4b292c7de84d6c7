//! Owns the keys of the backup and of logs.

use super::{MIB, Setting, ValueKind, number, other, text};

/// The backup and telemetry.
pub(super) const OPERATIONS: &[Setting] = &[
    text(
        "backup.to",
        "",
        "Store for the log and its snapshots: `s3://BUCKET/PREFIX` or `file:///DIRECTORY`, a separate one for each log. Not set: no backup.",
    ),
    text(
        "backup.endpoint",
        "",
        "Address of an S3-compatible store: `https://HOST[:PORT]`, or `http://` on a loopback address. Not set: AWS, in the region.",
    ),
    text(
        "backup.region",
        "\"us-east-1\"",
        "Region used to sign requests to the store.",
    ),
    text(
        "backup.ca_file",
        "",
        "PEM file with the authorities that sign the store's certificate. Not set: the authorities that browsers trust.",
    ),
    other(
        "backup.access_key",
        "",
        ValueKind::Secret,
        "Access key id for the store.",
    ),
    other(
        "backup.secret_key",
        "",
        ValueKind::Secret,
        "Secret access key for the store.",
    ),
    number(
        "backup.every_ms",
        "1000",
        (100, 3_600_000),
        "Time between two uploads of new log.",
    ),
    number(
        "backup.keep_s",
        "604800",
        (1, 3_155_760_000),
        "How long every instant stays restorable. Objects that only older instants need are deleted from the store.",
    ),
    number(
        "backup.log_kept_bytes_max",
        "17179869184",
        (MIB, 1 << 50),
        "Maximum bytes of log kept on disk while the store cannot be reached. Beyond it, the oldest segments are deleted, and the backup has a gap.",
    ),
    text(
        "telemetry.log",
        "\"info\"",
        "Log filter: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,hyper=debug`. A level without a target applies to holdfast; libraries log only if they are named.",
    ),
    text(
        "telemetry.otlp_endpoint",
        "",
        "OpenTelemetry collector that spans of traced requests and metrics are sent to by OTLP over HTTP: `http://HOST:4318`, or `https://`; `/v1/traces` and `/v1/metrics` are added. Not set: no request is traced here, and a caller's `traceparent` is passed on.",
    ),
    number(
        "telemetry.metrics_every_s",
        "60",
        (0, 3_600),
        "Time between two exports of the metrics to `telemetry.otlp_endpoint`; 0: metrics are not exported.",
    ),
    number(
        "telemetry.trace_sample_per_million",
        "10000",
        (0, 1_000_000),
        "How many of a million requests are traced if the caller did not decide. A caller with a valid key decides by the flag in its `traceparent`.",
    ),
];
