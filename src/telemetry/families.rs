//! Owns the one table of metrics: each family's name, type, labels and help text.
//!
//! Invariants: a family that is rendered stands here, because [`Exposition`] takes nothing else;
//! the table of metrics in `docs/operations.md` has exactly these rows, and a test holds the two
//! together. Names begin with `holdfast_` except `purchase_attempt_total`, the conventional
//! `process_*` and `http_server_*`; no label holds a user, a card, a product or free text.
//! Deliberately absent: values, which the callers of [`Exposition`] bring.
//!
//! [`Exposition`]: super::exposition::Exposition

/// The Prometheus type of a family.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl Type {
    /// The word after `# TYPE NAME`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    /// The name on `/metrics`.
    pub name: &'static str,
    pub kind: Type,
    /// The labels and their values, in Markdown; empty: no labels.
    pub labels: &'static str,
    /// The text after `# HELP NAME`.
    pub help: &'static str,
    /// The name in OTLP: ours, or the conventions'.
    pub otlp: &'static str,
}

impl Family {
    /// The unit in OTLP, which the name says; empty: a number of things.
    pub fn unit(&self) -> &'static str {
        let units = [("_seconds", "s"), ("_bytes", "By"), ("_ratio", "1")];
        let unit = units.iter().find(|(word, _)| self.name.contains(word));
        unit.map_or("", |(_, unit)| unit)
    }
}

macro_rules! families {
    ($($item:ident: $kind:ident $name:literal $(as $otlp:literal)? [$labels:literal] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $item: Family = Family {
                name: $name,
                kind: Type::$kind,
                labels: $labels,
                help: $help,
                otlp: families!(@otlp $name $($otlp)?),
            };
        )*

        /// Every family, in the order of the documentation.
        pub const ALL: &[&Family] = &[$(&$item),*];
    };
    (@otlp $name:literal) => { $name };
    (@otlp $name:literal $otlp:literal) => { $otlp };
}

families! {
    ATTEMPTS: Counter "purchase_attempt_total" ["`flow` hold, buy, refund, webhook, reward; `result` success, pending, refused, failed; `reason`"]
        "Purchase attempts by flow, result and reason; pending ones were answered 202. Replays of an idempotency key are not counted.";
    STAGES: Histogram "holdfast_stage_seconds" ["`stage` shard, log_wait, gateway, request"]
        "Duration of each stage of a request; gateway is one call.";
    REQUESTS: Histogram "http_server_request_duration_seconds" as "http.server.request.duration" ["`http_request_method`, `http_route`, `http_response_status_code`"]
        "Duration of HTTP requests by method, route and status, as OpenTelemetry names it; no route: none took the request, or it was a HEAD.";
    ANSWERS: Counter "holdfast_answers_total" ["`class` 2xx, 3xx, 4xx, 5xx"]
        "HTTP responses by status class.";
    UNAUTHORIZED: Counter "holdfast_unauthorized_total" [""]
        "Requests without a valid API key; they are not in the log.";
    KEY_RATE_LIMITED: Counter "holdfast_key_rate_limited_total" [""]
        "Requests refused because their API key exceeded its `rate_per_s`; they are not in the log.";
    AUDIT_REFUSALS_LEFT_OUT: Counter "holdfast_audit_refusals_left_out_total" [""]
        "Refused administrative acts that were not logged because their key exceeded `audit.refusals_per_s`.";
    ATTEMPT_REFUSALS_LEFT_OUT: Counter "holdfast_attempt_refusals_left_out_total" [""]
        "Refused attempts that were not logged because their key exceeded `audit.refused_attempts_per_s`.";
    LOG_LINES_DROPPED: Counter "holdfast_log_lines_dropped_total" [""]
        "Log lines dropped because stderr was not read in time.";
    LOG_LINES_LEFT_OUT: Counter "holdfast_log_lines_left_out_total" [""]
        "Log lines left out because their event exceeded its rate.";
    TRACE_SPANS: Counter "holdfast_trace_spans_total" ["`result`"]
        "Spans of traced requests: taken by the collector, dropped because too many waited, not taken by the collector.";
    METRIC_EXPORTS: Counter "holdfast_metric_exports_total" ["`result` exported, failed"]
        "Exports of the metrics to the collector: taken, not taken.";
    CONNECTIONS: Gauge "holdfast_connections" [""]
        "Open connections.";
    CONNECTIONS_MAX: Gauge "holdfast_connections_max" [""]
        "Connections that may be open: `server.max_connections`, or what the limit of open files allows, and those of `server.admin_listen`.";
    CONNECTIONS_ACCEPTED: Counter "holdfast_connections_accepted_total" [""]
        "Accepted connections.";
    CONNECTIONS_TURNED_AWAY: Counter "holdfast_connections_turned_away_total" [""]
        "Connections refused because too many were open and none could be closed for them.";
    CONNECTIONS_EVICTED: Counter "holdfast_connections_evicted_total" ["`cause` full, peer"]
        "Connections without a valid key that were closed for new ones, because too many were open in total (full) or from one address (peer).";
    IN_FLIGHT: Gauge "holdfast_in_flight" [""]
        "Requests in flight.";
    POOL_IN_FLIGHT: Gauge "holdfast_pool_in_flight" ["`pool` probe, keyless, webhook, shop, admin"]
        "Requests in flight, by pool.";
    POOL_IN_FLIGHT_MAX: Gauge "holdfast_pool_in_flight_max" ["`pool` keyless, webhook, shop, admin"]
        "Requests that may be in flight, by pool, on all threads of `server.listen`; each thread has an equal share.";
    POOL_BODY_BYTES: Gauge "holdfast_pool_body_bytes" ["`pool` probe, keyless, webhook, shop, admin"]
        "Bytes reserved for request bodies being received, by pool.";
    POOL_BODY_BYTES_MAX: Gauge "holdfast_pool_body_bytes_max" ["`pool` keyless, webhook, shop, admin"]
        "Bytes of request bodies that may be received at once, by pool, on all threads of `server.listen`; each thread has an equal share.";
    POOL_REFUSED: Counter "holdfast_pool_refused_total" ["`pool` probe, keyless, webhook, shop, admin"]
        "Requests answered 503 because their pool was full.";
    BUYERS: Gauge "holdfast_buyers" [""]
        "Buyers in memory.";
    PURCHASES: Gauge "holdfast_purchases" [""]
        "Holds and purchases in memory.";
    IDEMPOTENCY_KEYS: Gauge "holdfast_idempotency_keys" [""]
        "Idempotency keys in memory.";
    BOUND_USED: Gauge "holdfast_bound_used_ratio" ["`bound` buyers, purchases, idempotency_keys, products, promotions, amount_keys"]
        "Used share of each limit in `[engine]`, 0 to 1; for a limit per shard, the share of the fullest shard. At 1, requests are refused.";
    UNITS: Gauge "holdfast_units" ["`state` available, held, sold"]
        "Units of all products, by state.";
    STOCK: Gauge "holdfast_stock_units" [""]
        "Units of all products ever for sale: the sum of `holdfast_units` if none is lost or sold twice.";
    UNITS_OVERSOLD: Gauge "holdfast_oversold_units" [""]
        "Units held or sold beyond their product's stock; anything but 0 is a bug.";
    PAYMENTS_IN_FLIGHT: Gauge "holdfast_payments_in_flight" [""]
        "Payments that a task is driving.";
    OPEN_PAYMENTS: Gauge "holdfast_open_payments" [""]
        "Payments and refunds whose outcome is not known yet.";
    PAYMENTS_LEFT_OPEN: Counter "holdfast_payments_left_open_total" [""]
        "Times a payment had no outcome in time and was left for a retry in the background.";
    PAYMENTS_NEGLECTED: Counter "holdfast_payments_neglected_total" [""]
        "Payments found in a transient state with no task driving them; the sweeper resumed them.";
    STUCK_VOIDS: Gauge "holdfast_stuck_voids" [""]
        "Authorizations that could not be voided in time, or that the gateway refuses to void; an operator must act.";
    DIFFERING_CAPTURES: Gauge "holdfast_differing_captures" [""]
        "Captures whose amount differs from the requested one; an operator must settle them.";
    REFUNDS_FAILED_LATE: Counter "holdfast_refunds_failed_late_total" [""]
        "Refunds that the gateway failed after reporting success.";
    GATEWAY_CALLS: Counter "holdfast_gateway_calls_total" ["`call`, `class`"]
        "Calls to the payment gateway, by call and result.";
    GATEWAY_CIRCUIT: Gauge "holdfast_gateway_circuit" ["`state` closed, open, half_open"]
        "1 for the current state of the circuit to the gateway; calls are sent only while it is closed.";
    GATEWAY_WAITING: Gauge "holdfast_gateway_waiting" ["`class` urgent, new"]
        "Calls that wait because of the gateway's request rate: new authorizations, and urgent calls, which finish payments already begun.";
    REVIEWS_OPEN: Gauge "holdfast_reviews_open" [""]
        "Purchases under review.";
    REVIEWS_OLDEST_AGE: Gauge "holdfast_reviews_oldest_age_seconds" [""]
        "Age of the oldest open review; 0: none is open.";
    RISK_HITS: Counter "holdfast_risk_hits_total" ["`rule`, `outcome`"]
        "Attempts that matched a risk rule, by rule and outcome.";
    VELOCITY_KEYS_GIVEN_UP: Counter "holdfast_velocity_keys_given_up_total" [""]
        "Velocity counters dropped or not created because `engine.velocity_keys_max` was reached.";
    LOG_SYNCS: Counter "holdfast_log_syncs_total" [""]
        "Syncs of the log.";
    LOG_FRAMES: Counter "holdfast_log_frames_total" [""]
        "Frames written to the log.";
    LOG_RECORDS: Counter "holdfast_log_records_total" [""]
        "Records written to the log.";
    LOG_BYTES: Counter "holdfast_log_bytes_total" [""]
        "Bytes written to the log.";
    LOG_SYNC: Histogram "holdfast_log_sync_seconds" [""]
        "Duration of each sync of the log.";
    LOG_SYNC_SLOWEST: Gauge "holdfast_log_sync_slowest_seconds" [""]
        "Longest sync of the last ten seconds, including one in progress.";
    LOG_DURABLE: Gauge "holdfast_log_durable_lsn" [""]
        "LSN before which the log is durable.";
    LOG_APPENDED: Gauge "holdfast_log_appended_lsn" [""]
        "LSN before which the log is appended in memory.";
    LOG_SEGMENTS: Gauge "holdfast_log_segments" [""]
        "Segment files of the log.";
    LOG_RING_USED: Gauge "holdfast_log_ring_used_bytes" [""]
        "Bytes in the ring that are not written to disk yet.";
    LOG_RING_MAX: Gauge "holdfast_log_ring_max_bytes" [""]
        "Bytes that the ring holds: `storage.ring_bytes`.";
    SNAPSHOT_LSN: Gauge "holdfast_snapshot_lsn" [""]
        "LSN of the newest snapshot, from which a start reads the log; 0: none.";
    SNAPSHOT_AGE: Gauge "holdfast_snapshot_age_seconds" [""]
        "Age of the newest snapshot; absent: there is none.";
    SNAPSHOT_FAILING: Gauge "holdfast_snapshot_failing" [""]
        "1 if the last snapshot failed.";
    DISK_FREE: Gauge "holdfast_disk_free_bytes" [""]
        "Free bytes on the disk of the data directory; 0: not known.";
    DISK_FREE_MIN: Gauge "holdfast_disk_free_bytes_min" [""]
        "Free bytes below which new purchases are refused: `storage.disk_free_bytes_min`.";
    CLOCK_OFFSET: Gauge "holdfast_clock_offset_seconds" [""]
        "How far the wall clock is ahead of the core's clock; negative: behind.";
    READY: Gauge "holdfast_ready" [""]
        "1 if new purchases are accepted.";
    NOT_READY: Gauge "holdfast_not_ready" ["`reason` stopping, disk_full, disk_failing, not_leader, restored_copy"]
        "1 for the reason why new purchases are not accepted. During recovery there are no metrics.";
    CERTIFICATE_EXPIRY: Gauge "holdfast_tls_certificate_expiry_timestamp_seconds" [""]
        "Instant at which the certificate of `server.tls.cert` expires, in Unix seconds; absent without TLS.";
    SINK_UP: Gauge "holdfast_sink_up" ["`sink`"]
        "1 if the sink's last delivery succeeded.";
    SINK_GIVEN_UP: Gauge "holdfast_sink_given_up" ["`sink`"]
        "1 if the log is no longer kept for the sink.";
    SINK_LAG_BYTES: Gauge "holdfast_sink_lag_bytes" ["`sink`"]
        "Bytes of durable log that are not delivered yet.";
    SINK_AGE: Gauge "holdfast_sink_age_seconds" ["`sink`"]
        "Age of the oldest undelivered event.";
    SINK_CURSOR: Gauge "holdfast_sink_cursor_lsn" ["`sink`"]
        "LSN before which every event is delivered.";
    SINK_DELIVERED: Counter "holdfast_sink_delivered_total" ["`sink`"]
        "Events delivered.";
    SINK_REJECTED: Counter "holdfast_sink_rejected_total" ["`sink`"]
        "Events rejected permanently: dead letters in the data directory and in Kafka's dead-letter topic.";
    SINK_RETRIES: Counter "holdfast_sink_retries_total" ["`sink`"]
        "Retried deliveries.";
    SINK_DEAD_LETTERS: Gauge "holdfast_sink_dead_letter_bytes" ["`sink`"]
        "Bytes of dead letters in the data directory.";
    RECONCILE_DIFFERENCES: Gauge "holdfast_reconcile_differences" ["`kind`"]
        "Differences between the gateway's charges and holdfast's purchases in the last successful comparison; absent before the first.";
    RECONCILE_LAST_SUCCESS: Gauge "holdfast_reconcile_last_success_timestamp_seconds" [""]
        "End of the last successful comparison with the gateway, in Unix seconds; 0: none yet.";
    RECONCILE_FAILED: Counter "holdfast_reconcile_failed_total" [""]
        "Failed comparisons with the gateway.";
    BACKUP_UP: Gauge "holdfast_backup_up" [""]
        "1 if the last upload to the backup store succeeded. The metrics of the backup are present if `backup.to` is set.";
    BACKUP_LAG_BYTES: Gauge "holdfast_backup_lag_bytes" [""]
        "Bytes of durable log that are not in the store yet.";
    BACKUP_LAG: Gauge "holdfast_backup_lag_seconds" [""]
        "How long the oldest durable log has waited for its upload; 0: everything is in the store.";
    BACKUP_SHIPPED: Gauge "holdfast_backup_shipped_lsn" [""]
        "LSN before which the log is in the store.";
    BACKUP_SNAPSHOT: Gauge "holdfast_backup_snapshot_lsn" [""]
        "LSN of the newest snapshot in the store; 0: none.";
    BACKUP_BYTES: Counter "holdfast_backup_bytes_total" [""]
        "Bytes uploaded to the store.";
    BACKUP_OBJECTS: Counter "holdfast_backup_objects_total" [""]
        "Objects written to the store.";
    BACKUP_FAILURES: Counter "holdfast_backup_failures_total" [""]
        "Failed uploads to the store.";
    BACKUP_GAPS: Counter "holdfast_backup_gaps_total" [""]
        "Times that log was deleted before it was uploaded, because `backup.log_kept_bytes_max` was reached.";
    SEGMENTS_LAST_SUCCESS: Gauge "holdfast_segments_last_success_timestamp_seconds" [""]
        "End of the last successful run over buyers' segments, in Unix seconds; 0: none yet.";
    SEGMENTS_FAILED: Counter "holdfast_segments_failed_total" [""]
        "Failed runs over buyers' segments.";
    SEGMENTS_FED: Counter "holdfast_segments_fed_total" [""]
        "Changed segments that the core took over.";
    BUILD_INFO: Gauge "holdfast_build_info" ["`version`, `features`, `arch`"]
        "Always 1; its labels describe the running program.";
    PROCESS_START: Gauge "process_start_time_seconds" [""]
        "Start of the process, in Unix seconds.";
    PROCESS_CPU: Counter "process_cpu_seconds_total" as "process.cpu.time" [""]
        "Processor time of the process, in user and kernel mode.";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" as "process.memory.usage" [""]
        "Memory of the process that is in RAM.";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" as "process.memory.virtual" [""]
        "Address space of the process.";
    PROCESS_OPEN_FDS: Gauge "process_open_fds" as "process.unix.file_descriptor.count" [""]
        "Open file descriptors.";
    PROCESS_MAX_FDS: Gauge "process_max_fds" [""]
        "File descriptors that may be open.";
}
