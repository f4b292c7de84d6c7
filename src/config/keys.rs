//! Owns the list of all keys, with default, range and meaning.
//!
//! Invariants: a key that is not on this list is refused; `docs/configuration.md` shows exactly
//! this list, and a test compares both. `[]` stands for the entries of an array.
//! Deliberately absent: reading and checking values, which `read` and the parent do.

/// One configuration key.
#[derive(Debug)]
pub struct Setting {
    /// Its dotted path, as in the file.
    pub path: &'static str,
    /// The default as TOML; empty: no default.
    pub default: &'static str,
    /// Minimum and maximum of a whole number.
    pub range: Option<(u64, u64)>,
    /// The type of its value.
    pub kind: ValueKind,
    /// What it means, in one sentence.
    pub what: &'static str,
}

/// The type of a key's value.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Text; taken unchanged from the environment.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Switch,
    /// An array of texts.
    Texts,
    /// A table from currency codes to minor units.
    Amounts,
    /// A secret: text, `{ file = "…" }` or `{ env = "…" }`.
    Secret,
}

const fn text(path: &'static str, default: &'static str, what: &'static str) -> Setting {
    Setting {
        path,
        default,
        range: None,
        kind: ValueKind::Text,
        what,
    }
}

const fn number(
    path: &'static str,
    default: &'static str,
    range: (u64, u64),
    what: &'static str,
) -> Setting {
    Setting {
        path,
        default,
        range: Some(range),
        kind: ValueKind::Integer,
        what,
    }
}

const fn other(
    path: &'static str,
    default: &'static str,
    kind: ValueKind,
    what: &'static str,
) -> Setting {
    Setting {
        path,
        default,
        range: None,
        kind,
        what,
    }
}

const fn amounts(path: &'static str, what: &'static str) -> Setting {
    Setting {
        path,
        default: "{}",
        range: Some((1, AMOUNT_MAX)),
        kind: ValueKind::Amounts,
        what,
    }
}

/// Above any sensible amount, and far below an overflow.
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;
const DAY_S: u64 = 86_400;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// A segment has room for its header and for the largest frame.
const SEGMENT_BYTES_MIN: u64 = MIB + 512;

/// Every key, in the order of the sections.
pub const KEYS: &[Setting] = &[
    text(
        "server.listen",
        "\"127.0.0.1:8080\"",
        "Address and port of the main listener. Port 0 takes a free port and logs it.",
    ),
    text(
        "server.admin_listen",
        "",
        "Address and port of a second listener for `/admin`, `/metrics` and the probes, with its own thread, 64 connections, and the same TLS settings. The probes stay on both listeners; `/admin` and `/metrics` answer 404 on the main one. Not set: everything is on `server.listen`.",
    ),
    number(
        "server.workers",
        "0",
        (0, 1_024),
        "HTTP threads, each with its own listener. 0: one per core.",
    ),
    number(
        "server.max_connections",
        "16384",
        (1, 1_000_000),
        "Maximum number of open connections. At the maximum, a new connection replaces the one that has gone longest without a successful response, if that one never showed a valid key. If all showed one, new connections get 503 and are closed; 16 places stay reserved for probes, metrics and administration. At start the value is lowered to what the limit of open files allows, and this is logged.",
    ),
    number(
        "server.connections_per_peer_max",
        "0",
        (0, 1_000_000),
        "Maximum number of open connections from one address that never showed a valid key. At the maximum, a new one replaces the one that has gone longest without a successful response. An IPv6 /64 counts as one address. 0: half of `server.max_connections`.",
    ),
    number(
        "server.backlog",
        "4096",
        (1, 65_535),
        "Connections that the kernel queues for each worker until they are accepted.",
    ),
    number(
        "server.header_read_timeout_ms",
        "10000",
        (10, 600_000),
        "Maximum time for a TLS handshake and for a request's header. Idle connections are closed after the same time.",
    ),
    number(
        "server.header_bytes_max",
        "16384",
        (8_192, 1_048_576),
        "Maximum size of a request's header. Larger ones get 431.",
    ),
    number(
        "server.body_read_timeout_ms",
        "10000",
        (10, 600_000),
        "Maximum time to read a request's body. Slower ones get 408.",
    ),
    number(
        "server.body_bytes_max",
        "16384",
        (256, 1_048_576),
        "Maximum size of a request's body. Larger ones get 413.",
    ),
    number(
        "server.bodies_bytes_max",
        "67108864",
        (MIB, 64 * GIB),
        "Maximum bytes of all bodies being received, split equally between the workers and, within each, between shop, administration, webhooks and requests without a key. Beyond it, requests get 503.",
    ),
    number(
        "server.send_timeout_ms",
        "30000",
        (100, 600_000),
        "Maximum time for a peer to read a response. After it the connection is closed.",
    ),
    number(
        "server.http2_streams_max",
        "128",
        (1, 1_000),
        "Maximum number of concurrent requests on one HTTP/2 connection.",
    ),
    number(
        "server.in_flight_max",
        "8192",
        (1, 1_000_000),
        "Maximum number of shop requests in flight, split equally between the workers. Administration, webhooks and requests without a key may each have an eighth as many, but at least 8. Beyond it, requests get 503. A request counts once its body has arrived. Probes and metrics are not limited.",
    ),
    number(
        "server.leave_s",
        "0",
        (0, 3_600),
        "Time after SIGTERM in which `/readyz` fails but requests are still served, so that load balancers can react. A second SIGTERM ends it.",
    ),
    number(
        "server.drain_s",
        "30",
        (0, 3_600),
        "Maximum time at shutdown to finish requests and payments in flight.",
    ),
    text(
        "server.tls.cert",
        "",
        "PEM file with the certificate chain. Together with `server.tls.key` it turns TLS on.",
    ),
    text(
        "server.tls.key",
        "",
        "PEM file with the certificate's private key.",
    ),
    text(
        "storage.data_dir",
        "\"./data\"",
        "Directory of the log and its snapshots.",
    ),
    number(
        "storage.segment_bytes",
        "67108864",
        (SEGMENT_BYTES_MIN, 4 * GIB),
        "Size of one segment of the log, a multiple of 512.",
    ),
    number(
        "storage.ring_bytes",
        "8388608",
        (MIB, GIB),
        "Size of the buffer between the shards and the log thread, a power of two.",
    ),
    number(
        "storage.snapshot_every_bytes",
        "268435456",
        (MIB, 1 << 40),
        "Bytes of log between two snapshots. If the newest snapshot is larger than this, its size is used instead, so that snapshots never write more than the log.",
    ),
    text(
        "storage.sync",
        "\"always\"",
        "`\"always\"`: every answer is on disk before it is sent. `{ interval_ms = … }`: a crash of the machine may lose that much time.",
    ),
    number(
        "storage.sync.interval_ms",
        "",
        (1, 10_000),
        "Time between two syncs, in place of `\"always\"`.",
    ),
    other(
        "storage.witness",
        "true",
        ValueKind::Switch,
        "Keep the small file that records the last acknowledged batch. Recovery uses it to tell a torn tail from damage.",
    ),
    number(
        "storage.disk_free_bytes_min",
        "268435456",
        (0, 1 << 50),
        "Free disk space below which new purchases are refused. Purchases in progress are finished.",
    ),
    number(
        "clock.step_max_ms",
        "2000",
        (100, 60_000),
        "Largest difference of the wall clock that the core's clock follows on its own, slowly. A larger difference is a step and is not followed.",
    ),
    number(
        "clock.settle_s",
        "60",
        (1, 3_600),
        "How long a step must last before it is followed as a correction. For the same time after a start, no idempotency key and no nonce is forgotten.",
    ),
    text(
        "auth.keys[].name",
        "",
        "Name shown in the audit trail. Keys with the same name share their idempotency keys, so that an API key can be rotated.",
    ),
    text(
        "auth.keys[].role",
        "",
        "`shop`, `admin`, `auditor` (read only) or `metrics`.",
    ),
    other(
        "auth.keys[].key",
        "",
        ValueKind::Secret,
        "The secret: at least 24 characters, not used for anything else (`--demo` lifts both rules).",
    ),
    number(
        "auth.keys[].rate_per_s",
        "",
        (1, 1_000_000),
        "Maximum requests per second with this key, and maximum burst. Beyond it, requests get 429 `rate_limited`, and nothing about them is stored. Not set: no limit.",
    ),
    number(
        "drop.hold_ttl_s",
        "300",
        (1, 30 * DAY_S),
        "Lifetime of a hold whose product sets none.",
    ),
    other(
        "drop.currencies",
        "[\"USD\", \"EUR\", \"KRW\"]",
        ValueKind::Texts,
        "ISO 4217 codes of the accepted currencies. Holds are quoted in the first one.",
    ),
    number(
        "limits.rate.count",
        "5",
        (1, 1_000),
        "Maximum number of holds and buys of one buyer in a window.",
    ),
    number(
        "limits.rate.per_s",
        "10",
        (1, DAY_S),
        "Length of that window.",
    ),
    amounts(
        "limits.daily",
        "Maximum amount that one buyer may spend in a day, per currency in minor units, such as `{ USD = 500000 }`. A currency that is not listed has no limit. A refund lowers the amount of the day of the payment; a lost dispute does not.",
    ),
    amounts(
        "limits.lifetime",
        "Maximum amount that one buyer may ever spend, per currency in minor units.",
    ),
    text(
        "limits.zone",
        "\"UTC\"",
        "Time zone whose days are counted, by IANA name, such as `Asia/Seoul`.",
    ),
    other(
        "limits.by",
        "[\"user\"]",
        ValueKind::Texts,
        "What amounts are counted by: `user`, and optionally `card_token` or `device`, to count the accounts of one person together.",
    ),
    text(
        "risk.rules_file",
        "",
        "TOML file with the risk rules, read at start and on SIGHUP. The rules take effect when the file has changed since it was last read.",
    ),
    other(
        "risk.default_rules",
        "true",
        ValueKind::Switch,
        "Use the shipped rules if no file is set and no rules were ever set. `false` with `--demo`, because everyone shares its test cards.",
    ),
    other(
        "risk.features",
        "false",
        ValueKind::Switch,
        "Write the features of every attempt into its event, as training data for a model. When `false`, they are written only if a rule uses a model's score.",
    ),
    text(
        "risk.model_file",
        "",
        "JSON file with the model that scores attempts, read at start and on SIGHUP.",
    ),
    number(
        "idempotency.retention_s",
        "604800",
        (1, 365 * DAY_S),
        "How long the outcome of an idempotency key is kept.",
    ),
    number(
        "engine.buyers_max",
        "100000",
        (1, 1 << 22),
        "Maximum number of buyers in each of the 256 shards. Beyond it, requests get 503.",
    ),
    number(
        "engine.purchases_max",
        "100000",
        (1, 1 << 32),
        "Maximum number of holds and purchases in each shard. Holds that ended without a payment are removed after `engine.ended_keep_s`.",
    ),
    number(
        "engine.keys_max",
        "200000",
        (1, 1 << 32),
        "Maximum number of idempotency keys in each shard.",
    ),
    number(
        "engine.ended_keep_s",
        "",
        (1, 365 * DAY_S),
        "How long a released, expired or declined hold is kept, and a buyer who has nothing else. At least the longer of `idempotency.retention_s` and `limits.rate.per_s`, which is also the default.",
    ),
    number(
        "engine.open_holds_per_user_max",
        "100",
        (1, 1 << 32),
        "Maximum number of open holds of one buyer. Beyond it, requests get 429 until a hold ends.",
    ),
    number(
        "engine.keys_per_user_max",
        "1000",
        (1, 1 << 32),
        "Maximum number of idempotency keys kept for one buyer. Beyond it, requests get 429 until a key is forgotten.",
    ),
    number(
        "engine.velocity_keys_max",
        "1000000",
        (1, 1 << 32),
        "Maximum number of cards, addresses, devices and products whose attempts are counted. Beyond it, a new one replaces one that has not been seen for long.",
    ),
    number(
        "engine.amount_keys_max",
        "1000000",
        (1, 1 << 32),
        "Maximum number of cards and devices whose amounts are counted, per currency and day. Beyond it, a purchase with a new one gets 503.",
    ),
    number(
        "engine.products_max",
        "10000",
        (1, 1_000_000),
        "Maximum number of products in the catalogue.",
    ),
    number(
        "engine.promotions_max",
        "10000",
        (1, 1_000_000),
        "Maximum number of promotions in the catalogue.",
    ),
    text(
        "payments.gateway",
        "",
        "`sandbox` (a gateway in this process that charges nobody) or `stripe`.",
    ),
    number(
        "payments.attempt_timeout_ms",
        "8000",
        (1, 600_000),
        "Timeout of one call to the gateway. After it the outcome is unknown and is looked up.",
    ),
    number(
        "payments.retries_max",
        "4",
        (0, 100),
        "Maximum number of retries after a call that failed temporarily.",
    ),
    number(
        "payments.answer_within_ms",
        "5000",
        (1, 600_000),
        "A buy whose payment takes longer gets 202, and the payment continues in the background.",
    ),
    number(
        "payments.backoff_first_ms",
        "100",
        (1, 60_000),
        "Wait before the first retry. It doubles with each retry.",
    ),
    number(
        "payments.backoff_max_ms",
        "30000",
        (1, 3_600_000),
        "Maximum wait between two retries.",
    ),
    number(
        "payments.unknown_after_ms",
        "10000",
        (1, 600_000),
        "Time after which a payment without an outcome leaves the request and is retried in the background.",
    ),
    number(
        "payments.resume_parallel_max",
        "64",
        (1, 100_000),
        "Maximum number of payments in flight that are retried in the background.",
    ),
    number(
        "payments.in_flight_max",
        "4096",
        (1, 1_000_000),
        "Maximum number of payments in flight. Beyond it, buys get 503.",
    ),
    number(
        "payments.give_up_after_s",
        "900",
        // Below the gateways' own limits for a late authorization.
        (1, 72_000),
        "How long after its start a payment may still be authorized. If the gateway has not answered by then, the payment ends as `gateway_unavailable`, as soon as no late authorization is possible.",
    ),
    number(
        "payments.tries_per_hold_max",
        "5",
        (1, 50),
        "Number of declined payments that end a hold. Until then the hold stays open until it expires.",
    ),
    number(
        "payments.void_deadline_s",
        "86400",
        (1, 30 * DAY_S),
        "How long a void may take before the purchase becomes `stuck` and needs an operator. Retries continue.",
    ),
    number(
        "payments.pending_after_s",
        "60",
        (1, DAY_S),
        "How long a payment may stay in a transient state with no task driving it, before the sweeper resumes it.",
    ),
    number(
        "payments.sweep_every_ms",
        "10000",
        (10, 3_600_000),
        "Time between two runs of the sweeper over all open payments.",
    ),
    number(
        "payments.circuit.failures",
        "20",
        (0, 1_000_000),
        "Number of consecutive failed gateway calls that opens the circuit. 0: the circuit never opens.",
    ),
    number(
        "payments.circuit.open_ms",
        "5000",
        (1, 3_600_000),
        "How long an open circuit sends no calls. Buys get 503 `gateway_unavailable` meanwhile; then one call tests the gateway.",
    ),
    other(
        "payments.scheme.never_retry_codes",
        "[\"invalid_account\", \"lost_card\", \"new_account_information_available\", \"pickup_card\", \"restricted_card\", \"revocation_of_all_authorizations\", \"revocation_of_authorization\", \"stolen_card\", \"stop_payment_order\"]",
        ValueKind::Texts,
        "Decline codes after which the card network forbids another try.",
    ),
    other(
        "payments.scheme.limited_codes",
        "[\"call_issuer\", \"card_declined\", \"card_velocity_exceeded\", \"do_not_honor\", \"generic_decline\", \"insufficient_funds\", \"no_action_taken\", \"not_permitted\", \"transaction_not_allowed\", \"try_again_later\"]",
        ValueKind::Texts,
        "Decline codes after which a card may be tried again a limited number of times.",
    ),
    number(
        "payments.scheme.limited_max",
        "15",
        (1, 32),
        "Number of such declines of one buyer's card within the window after which the card is refused.",
    ),
    number(
        "payments.scheme.window_s",
        "2592000",
        (1, 365 * DAY_S),
        "Length of that window. A card with a code of `never_retry_codes` stays refused for the same time.",
    ),
    other(
        "payments.stripe.secret_key",
        "",
        ValueKind::Secret,
        "The account's secret key, `sk_…`, or a restricted key, `rk_…`. Required with `stripe`.",
    ),
    text(
        "payments.stripe.api_base",
        "\"https://api.stripe.com\"",
        "Scheme, host and port of Stripe's API. Plain http is allowed to loopback addresses only.",
    ),
    number(
        "payments.stripe.requests_per_s",
        "80",
        (0, 100_000),
        "Maximum requests to Stripe per second. Further ones wait; captures, voids and look-ups go before authorizations. Stripe allows 100 in live mode and 25 in test mode. 0: no limit.",
    ),
    number(
        "payments.stripe.connections_max",
        "256",
        (1, 100_000),
        "Maximum number of requests to Stripe in flight, each on its own connection. Further ones wait up to `connect_timeout_ms`.",
    ),
    number(
        "payments.stripe.connect_timeout_ms",
        "3000",
        (1, 600_000),
        "Timeout of a connection to Stripe. A call that has sent nothing by then is retried.",
    ),
    number(
        "payments.stripe.body_bytes_max",
        "4194304",
        (MIB, GIB),
        "Maximum size of a response from Stripe. A larger one counts as not received. It must hold a page of 100 payments.",
    ),
    amounts(
        "review.amount_over",
        "A purchase above this amount is authorized and then waits for a person's decision, per currency in minor units.",
    ),
    text(
        "review.on_deadline",
        "\"reject\"",
        "Decision when nobody has decided in time: `reject` or `approve`.",
    ),
    number(
        "review.capture_margin_s",
        "3600",
        (0, 7 * DAY_S),
        "A review ends at the latest this long before the gateway's authorization lapses.",
    ),
    number(
        "payments.review_deadline_s",
        "86400",
        (1, 30 * DAY_S),
        "How long a person has to decide about a purchase under review.",
    ),
    text(
        "receipts.hmac_keys[].id",
        "",
        "Name of the key, written on receipts. The first key seals; all keys verify.",
    ),
    other(
        "receipts.hmac_keys[].key",
        "",
        ValueKind::Secret,
        "The secret: at least 32 bytes, not used for anything else.",
    ),
    number(
        "webhooks.tolerance_s",
        "300",
        (1, 3_600),
        "Maximum difference between a webhook's timestamp and now, in either direction. Nonces are kept for twice that plus one second.",
    ),
    number(
        "webhooks.event_retention_s",
        "604800",
        (1, 365 * DAY_S),
        "How long the ids of webhook events are kept, at least as long as nonces.",
    ),
    number(
        "webhooks.nonces_max",
        "100000",
        (1, 100_000_000),
        "Maximum number of nonces kept. Beyond it, webhooks get 503.",
    ),
    number(
        "webhooks.events_max",
        "1000000",
        (1, 100_000_000),
        "Maximum number of event ids kept. Beyond it, webhooks get 503.",
    ),
    number(
        "webhooks.body_bytes_max",
        "524288",
        (16_384, 16_777_216),
        "Maximum size of a webhook's body. Larger ones get 413. A dispute includes its evidence.",
    ),
    text(
        "webhooks.secrets[].id",
        "",
        "Name of the secret. List the newest first, at most 16. SIGHUP reads the list again.",
    ),
    text(
        "webhooks.secrets[].format",
        "",
        "`holdfast` (the default), `standard` or `stripe`. Required for a secret that begins with `whsec_`, because both Stripe and Standard Webhooks use that prefix.",
    ),
    other(
        "webhooks.secrets[].key",
        "",
        ValueKind::Secret,
        "The secret: at least 24 bytes; `whsec_BASE64` for Standard Webhooks, unchanged for the others.",
    ),
    text(
        "receipts.ed25519_keys[].id",
        "",
        "Name of the key, written on receipts and in the key set. The first key signs; all keys verify. No key: receipts are not signed.",
    ),
    other(
        "receipts.ed25519_keys[].key",
        "",
        ValueKind::Secret,
        "The secret: the PEM of `openssl genpkey -algorithm ed25519`, or a 32-byte seed in hexadecimal or base64.",
    ),
    text(
        "receipts.ed25519_keys[].public",
        "",
        "In place of `key`, for a key that only verifies (a retired key, or another region's): the public half as PEM, or as 32 bytes in hexadecimal, base64 or base64url.",
    ),
    number(
        "reconcile.every_s",
        "3600",
        (0, 30 * DAY_S),
        "Time between two comparisons of the gateway's charges with holdfast's purchases. 0: on request only.",
    ),
    number(
        "reconcile.window_s",
        "1209600",
        (0, 365 * DAY_S),
        "Maximum age of the payments that are compared; choose it longer than authorizations last. 0: all. `full=true` and `holdfast reconcile` compare all as well.",
    ),
    number(
        "reconcile.pause_ms",
        "100",
        (0, 60_000),
        "Pause between two pages of the gateway's list, so that the comparison does not slow purchases.",
    ),
    number(
        "reconcile.differences_max",
        "1000",
        (1, 100_000),
        "Maximum number of differences in one report. A comparison that finds more ends early and says so.",
    ),
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
];

/// The key with this path.
pub fn find(path: &str) -> Option<&'static Setting> {
    KEYS.iter().find(|key| key.path == path)
}

/// The known path of a key or section that is most similar to `path`.
pub fn nearest(path: &str) -> &'static str {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(path, known);
    KEYS.iter()
        .map(|key| key.path)
        .max_by(|one, two| likeness(one).total_cmp(&likeness(two)))
        .expect("the list of keys is not empty")
}

/// Whether `path` is a key or a prefix of one.
pub fn leads_somewhere(path: &str) -> bool {
    KEYS.iter().any(|key| {
        key.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with("[]"))
    })
}
