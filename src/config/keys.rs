//! Owns the list of every key that may be set, with its default, its range and what it means.
//!
//! Invariants: a key that is not on this list is refused, and `docs/configuration.md` shows
//! exactly this list; a test holds the two together. `[]` stands for the entries of an array.
//! Deliberately absent: reading and checking values, which `read` and the parent do.

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its dotted path, as in the file.
    pub path: &'static str,
    /// What it is when nothing is said, written as TOML; empty: nothing.
    pub default: &'static str,
    /// The least and the largest value of a whole number.
    pub range: Option<(u64, u64)>,
    /// What it takes.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub what: &'static str,
}

/// What a key takes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, taken from the environment as it stands.
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

const fn text(path: &'static str, default: &'static str, what: &'static str) -> Key {
    Key {
        path,
        default,
        range: None,
        kind: Kind::Text,
        what,
    }
}

const fn number(
    path: &'static str,
    default: &'static str,
    range: (u64, u64),
    what: &'static str,
) -> Key {
    Key {
        path,
        default,
        range: Some(range),
        kind: Kind::Integer,
        what,
    }
}

const fn other(path: &'static str, default: &'static str, kind: Kind, what: &'static str) -> Key {
    Key {
        path,
        default,
        range: None,
        kind,
        what,
    }
}

const fn amounts(path: &'static str, what: &'static str) -> Key {
    Key {
        path,
        default: "{}",
        range: Some((1, AMOUNT_MAX)),
        kind: Kind::Amounts,
        what,
    }
}

/// Above any sum that is meant, and far below what overflows.
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;
const DAY_S: u64 = 86_400;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// A segment has room for its header and for the largest frame.
const SEGMENT_BYTES_MIN: u64 = MIB + 512;

/// Every key there is, in the order of the sections.
pub const KEYS: &[Key] = &[
    text(
        "server.listen",
        "\"127.0.0.1:8080\"",
        "Address and port; port 0 takes a free one and logs it.",
    ),
    text(
        "server.admin_listen",
        "",
        "Address and port of a listener of its own for `/admin`, `/metrics` and the probes, with 64 connections and a thread of its own, and TLS as on the other one; the probes stay on both, the rest is 404 there. Not set: all is on `server.listen`.",
    ),
    number(
        "server.workers",
        "0",
        (0, 1_024),
        "HTTP threads, each with its own listener; 0: one per core.",
    ),
    number(
        "server.max_connections",
        "16384",
        (1, 1_000_000),
        "Open connections. At the bound, the connection longest without a good answer makes room for a new one, if it never showed a valid key; where all have, further ones are answered 503 and closed, but for 16 that are kept for probes, metrics and administration. Lowered at start to what the limit of open files leaves, with a log line.",
    ),
    number(
        "server.connections_per_peer_max",
        "0",
        (0, 1_000_000),
        "Open connections of one address that never showed a valid key; the one of them that is longest without a good answer makes room for a further one. IPv6 counts by /64. 0: half of the connections.",
    ),
    number(
        "server.backlog",
        "4096",
        (1, 65_535),
        "Connections that wait in the kernel to be accepted, per worker.",
    ),
    number(
        "server.header_read_timeout_ms",
        "10000",
        (10, 600_000),
        "Time for a TLS handshake and for a request's head; an idle connection is closed after it, too.",
    ),
    number(
        "server.header_bytes_max",
        "16384",
        (8_192, 1_048_576),
        "Size of a request's head; larger ones are answered 431.",
    ),
    number(
        "server.body_read_timeout_ms",
        "10000",
        (10, 600_000),
        "Time for a request's body; slower ones are answered 408.",
    ),
    number(
        "server.body_bytes_max",
        "16384",
        (256, 1_048_576),
        "Size of a request's body; larger ones are answered 413.",
    ),
    number(
        "server.bodies_bytes_max",
        "67108864",
        (MIB, 64 * GIB),
        "Bytes of all bodies that are on their way, in equal shares for each worker and for shop, administration, webhooks and paths without a key; further ones are answered 503.",
    ),
    number(
        "server.send_timeout_ms",
        "30000",
        (100, 600_000),
        "Time in which a peer has to take what is sent to it; it is cut off after.",
    ),
    number(
        "server.http2_streams_max",
        "128",
        (1, 1_000),
        "Requests under way on one HTTP/2 connection.",
    ),
    number(
        "server.in_flight_max",
        "8192",
        (1, 1_000_000),
        "Requests of the shop under way, in equal shares for each worker, and an eighth as many (at least 8) for each of administration, webhooks and paths without a key; further ones are answered 503. A request counts once its body is there; probes and metrics have no bound.",
    ),
    number(
        "server.leave_s",
        "0",
        (0, 3_600),
        "Time after SIGTERM in which `/readyz` fails but requests are still taken, so that load balancers notice; a second SIGTERM ends it.",
    ),
    number(
        "server.drain_s",
        "30",
        (0, 3_600),
        "Time for requests and payments under way to end when the program is told to stop.",
    ),
    text(
        "server.tls.cert",
        "",
        "PEM file with the certificate chain; with `server.tls.key` it turns TLS on.",
    ),
    text(
        "server.tls.key",
        "",
        "PEM file with the certificate's private key.",
    ),
    text(
        "storage.data_dir",
        "\"./data\"",
        "Where the log and its snapshots are kept.",
    ),
    number(
        "storage.segment_bytes",
        "67108864",
        (SEGMENT_BYTES_MIN, 4 * GIB),
        "Size of one file of the log; a multiple of 512.",
    ),
    number(
        "storage.ring_bytes",
        "8388608",
        (MIB, GIB),
        "Memory between the shards and the log thread; a power of two.",
    ),
    number(
        "storage.snapshot_every_bytes",
        "268435456",
        (MIB, 1 << 40),
        "Log written between two snapshots; as much as the newest snapshot where that is larger, so that snapshots never write more than the log.",
    ),
    text(
        "storage.sync",
        "\"always\"",
        "`\"always\"`: answered means on disk; `{ interval_ms = … }`: a crash of the machine may lose that much.",
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
        Kind::Switch,
        "Keep the small file that vouches for the last acknowledged batch.",
    ),
    number(
        "storage.disk_free_bytes_min",
        "268435456",
        (0, 1 << 50),
        "With less free space, new purchases are refused and those under way are settled.",
    ),
    number(
        "clock.step_max_ms",
        "2000",
        (100, 60_000),
        "The largest difference of the wall clock that is followed by itself, slowly; a larger one is a step and is not followed.",
    ),
    number(
        "clock.settle_s",
        "60",
        (1, 3_600),
        "How long a step has to last before it is followed as a correction, and how long after a start no key and no nonce is forgotten.",
    ),
    text(
        "auth.keys[].name",
        "",
        "The name that the audit trail shows; keys of one name share their idempotency keys, so that a key can be changed.",
    ),
    text(
        "auth.keys[].role",
        "",
        "`shop`, `admin`, `auditor` (reads only) or `metrics`.",
    ),
    other(
        "auth.keys[].key",
        "",
        Kind::Secret,
        "The secret, at least 24 characters and used for nothing else (`--demo` lifts both).",
    ),
    number(
        "auth.keys[].rate_per_s",
        "",
        (1, 1_000_000),
        "Requests with this key in a second, and at once; beyond them 429 `rate_limited`, which nothing remembers. Not set: no bound.",
    ),
    number(
        "drop.hold_ttl_s",
        "300",
        (1, 30 * DAY_S),
        "How long a hold lasts where its product does not say.",
    ),
    other(
        "drop.currencies",
        "[\"USD\", \"EUR\", \"KRW\"]",
        Kind::Texts,
        "ISO 4217 codes that may be asked for; the first is what holds are quoted in.",
    ),
    number(
        "limits.rate.count",
        "5",
        (1, 1_000),
        "Holds and buys that one buyer has in a window.",
    ),
    number(
        "limits.rate.per_s",
        "10",
        (1, DAY_S),
        "Length of that window.",
    ),
    amounts(
        "limits.daily",
        "Minor units that one buyer may spend in a day, by currency, such as `{ USD = 500000 }`; without a currency, no limit in it. A refund lowers what counts, on the day of the payment; a lost dispute does not.",
    ),
    amounts(
        "limits.lifetime",
        "Minor units that one buyer may ever spend, by currency.",
    ),
    text(
        "limits.zone",
        "\"UTC\"",
        "Time zone whose days are counted, by its IANA name, such as `Asia/Seoul`.",
    ),
    other(
        "limits.by",
        "[\"user\"]",
        Kind::Texts,
        "What amounts are counted by: `user`, and also `card_token` or `device` where one person's accounts are to be counted together.",
    ),
    text(
        "risk.rules_file",
        "",
        "TOML file with the risk rules, read at start and on SIGHUP; where it changed since it was last read it is put in force.",
    ),
    other(
        "risk.default_rules",
        "true",
        Kind::Switch,
        "Put the rules that are shipped in force where no file is named and none were ever set; `false` with `--demo`, whose test cards everybody shares.",
    ),
    other(
        "risk.features",
        "false",
        Kind::Switch,
        "Write the features of every attempt into its event, to train a model on; without it they are written where a rule asks for a model's score.",
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
        "How long the outcome of an idempotency key is remembered.",
    ),
    number(
        "engine.buyers_max",
        "100000",
        (1, 1 << 22),
        "Buyers kept in one of the 256 shards; with more the answer is 503.",
    ),
    number(
        "engine.purchases_max",
        "100000",
        (1, 1 << 32),
        "Holds and purchases kept in one shard; holds that ended without a payment leave after `engine.ended_keep_s`.",
    ),
    number(
        "engine.keys_max",
        "200000",
        (1, 1 << 32),
        "Idempotency keys remembered in one shard.",
    ),
    number(
        "engine.ended_keep_s",
        "",
        (1, 365 * DAY_S),
        "How long a hold that was released, ran out or was declined is kept, and a buyer of whom nothing else is left. Not shorter than `idempotency.retention_s` and `limits.rate.per_s`, the longer of which it is where it is not set.",
    ),
    number(
        "engine.open_holds_per_user_max",
        "100",
        (1, 1 << 32),
        "Open holds of one buyer; beyond them the answer is 429 until one ends.",
    ),
    number(
        "engine.keys_per_user_max",
        "1000",
        (1, 1 << 32),
        "Idempotency keys of one buyer that are remembered; beyond them the answer is 429 until one is forgotten.",
    ),
    number(
        "engine.velocity_keys_max",
        "1000000",
        (1, 1 << 32),
        "Cards, addresses, devices and products whose attempts are counted.",
    ),
    number(
        "engine.amount_keys_max",
        "1000000",
        (1, 1 << 32),
        "Cards and devices whose amounts are counted, for each currency and day; a new one beyond it is answered 503.",
    ),
    number(
        "engine.products_max",
        "10000",
        (1, 1_000_000),
        "Products in the catalogue.",
    ),
    number(
        "engine.promotions_max",
        "10000",
        (1, 1_000_000),
        "Promotions in the catalogue.",
    ),
    text(
        "payments.gateway",
        "",
        "`sandbox`: a gateway in this process that charges nobody; `stripe`.",
    ),
    number(
        "payments.attempt_timeout_ms",
        "8000",
        (1, 600_000),
        "Time for one call to the gateway; after it the outcome is unknown and looked up.",
    ),
    number(
        "payments.retries_max",
        "4",
        (0, 100),
        "Further attempts after a call that is known to have failed in passing.",
    ),
    number(
        "payments.answer_within_ms",
        "5000",
        (1, 600_000),
        "A buy whose payment takes longer is answered 202, and the payment goes on.",
    ),
    number(
        "payments.backoff_first_ms",
        "100",
        (1, 60_000),
        "First wait between two attempts; each next one is twice as long.",
    ),
    number(
        "payments.backoff_max_ms",
        "30000",
        (1, 3_600_000),
        "Longest wait between two attempts.",
    ),
    number(
        "payments.unknown_after_ms",
        "10000",
        (1, 600_000),
        "Time after which a payment without an outcome is left open and tried again in the background.",
    ),
    number(
        "payments.resume_parallel_max",
        "64",
        (1, 100_000),
        "Payments among those under way that were left open and are tried again.",
    ),
    number(
        "payments.in_flight_max",
        "4096",
        (1, 1_000_000),
        "Payments under way; further buys are answered 503.",
    ),
    number(
        "payments.give_up_after_s",
        "900",
        // Before a gateway's own limits on how late a card may be asked.
        (1, 72_000),
        "How long after its start a payment may still be authorized. One that the gateway has not answered by then ends as `gateway_unavailable`, once nothing of it can arrive late.",
    ),
    number(
        "payments.tries_per_hold_max",
        "5",
        (1, 50),
        "Declined payments after which an earlier hold ends; until then it lives on until it expires.",
    ),
    number(
        "payments.void_deadline_s",
        "86400",
        (1, 30 * DAY_S),
        "How long giving an authorization back may take before it is `stuck` and the operator is called; it goes on being tried.",
    ),
    number(
        "payments.pending_after_s",
        "60",
        (1, DAY_S),
        "How long a payment may rest in a passing state, in nobody's hand, before the sweeper takes it up.",
    ),
    number(
        "payments.sweep_every_ms",
        "10000",
        (10, 3_600_000),
        "How often the sweeper looks over all open payments.",
    ),
    number(
        "payments.circuit.failures",
        "20",
        (0, 1_000_000),
        "Calls to the gateway that fail in a row before none is sent for a while; 0: the circuit never opens.",
    ),
    number(
        "payments.circuit.open_ms",
        "5000",
        (1, 3_600_000),
        "How long none is sent then; buys are answered 503 `gateway_unavailable` meanwhile, and one call finds out whether the gateway is back.",
    ),
    other(
        "payments.scheme.never_retry_codes",
        "[\"invalid_account\", \"lost_card\", \"new_account_information_available\", \"pickup_card\", \"restricted_card\", \"revocation_of_all_authorizations\", \"revocation_of_authorization\", \"stolen_card\", \"stop_payment_order\"]",
        Kind::Texts,
        "The gateway's decline codes after which a card's network forbids another try.",
    ),
    other(
        "payments.scheme.limited_codes",
        "[\"call_issuer\", \"card_declined\", \"card_velocity_exceeded\", \"do_not_honor\", \"generic_decline\", \"insufficient_funds\", \"no_action_taken\", \"not_permitted\", \"transaction_not_allowed\", \"try_again_later\"]",
        Kind::Texts,
        "Decline codes after which a card may be tried again a limited number of times.",
    ),
    number(
        "payments.scheme.limited_max",
        "15",
        (1, 32),
        "Such declines of one buyer's card in the window, after which the card is refused.",
    ),
    number(
        "payments.scheme.window_s",
        "2592000",
        (1, 365 * DAY_S),
        "Length of that window, and how long a card stays refused that must never be tried again.",
    ),
    other(
        "payments.stripe.secret_key",
        "",
        Kind::Secret,
        "The account's secret key, `sk_…`, or a restricted one, `rk_…`; needed with `stripe`.",
    ),
    text(
        "payments.stripe.api_base",
        "\"https://api.stripe.com\"",
        "Scheme, host and port of Stripe's interface; plain http only to a loopback address.",
    ),
    number(
        "payments.stripe.requests_per_s",
        "80",
        (0, 100_000),
        "Requests to Stripe begun in a second; further ones wait for their turn, what captures, voids and looks up before what authorizes. Stripe takes 100 in live mode, 25 in test mode. 0: as they come.",
    ),
    number(
        "payments.stripe.connections_max",
        "256",
        (1, 100_000),
        "Requests to Stripe under way, each on a connection of its own; further ones wait for at most the time to connect.",
    ),
    number(
        "payments.stripe.connect_timeout_ms",
        "3000",
        (1, 600_000),
        "Time to connect to Stripe; a call that has sent nothing by then is tried again.",
    ),
    number(
        "payments.stripe.body_bytes_max",
        "4194304",
        (MIB, GIB),
        "Size of an answer of Stripe; larger ones count as not read. A page of 100 payments has to fit.",
    ),
    amounts(
        "review.amount_over",
        "A purchase of more than this waits for a person with the money authorized, by currency, in minor units.",
    ),
    text(
        "review.on_deadline",
        "\"reject\"",
        "What becomes of it where nobody has decided in time: `reject` or `approve`.",
    ),
    number(
        "review.capture_margin_s",
        "3600",
        (0, 7 * DAY_S),
        "How long before the gateway's authorization lapses a review ends at the latest.",
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
        "The name of the key, written on receipts; the first key seals, all of them verify.",
    ),
    other(
        "receipts.hmac_keys[].key",
        "",
        Kind::Secret,
        "The secret, at least 32 bytes, used for nothing else.",
    ),
    number(
        "webhooks.tolerance_s",
        "300",
        (1, 3_600),
        "How far a webhook's timestamp may lie from now, before or after; nonces are remembered for twice that and a second more.",
    ),
    number(
        "webhooks.event_retention_s",
        "604800",
        (1, 365 * DAY_S),
        "How long the ids of webhooks' events are remembered; at least as long as nonces.",
    ),
    number(
        "webhooks.nonces_max",
        "100000",
        (1, 100_000_000),
        "Nonces remembered in that time; with more the answer is 503.",
    ),
    number(
        "webhooks.events_max",
        "1000000",
        (1, 100_000_000),
        "Event ids remembered in that time; with more the answer is 503.",
    ),
    number(
        "webhooks.body_bytes_max",
        "524288",
        (16_384, 16_777_216),
        "Bytes of a webhook's body; more is answered 413. A dispute comes with its evidence.",
    ),
    text(
        "webhooks.secrets[].id",
        "",
        "The name of the secret, newest first; at most 16 entries. SIGHUP reads them again.",
    ),
    text(
        "webhooks.secrets[].format",
        "",
        "`holdfast` (where it is left out), `standard` or `stripe`; has to be there where the secret begins with `whsec_`, which Stripe's and those of Standard Webhooks both do.",
    ),
    other(
        "webhooks.secrets[].key",
        "",
        Kind::Secret,
        "The secret, at least 24 bytes; `whsec_BASE64` for Standard Webhooks, as it stands for the others.",
    ),
    text(
        "receipts.ed25519_keys[].id",
        "",
        "The name of the key, written on receipts and in the key set; the first key signs, all of them verify; no key: receipts are not signed.",
    ),
    other(
        "receipts.ed25519_keys[].key",
        "",
        Kind::Secret,
        "The secret: the PEM of `openssl genpkey -algorithm ed25519`, or the 32 bytes of a seed in hexadecimal or base64.",
    ),
    text(
        "receipts.ed25519_keys[].public",
        "",
        "In place of `key`: the public half of a retired key or of another region's, as PEM or 32 bytes in hexadecimal, base64 or base64url, which only verifies.",
    ),
    number(
        "reconcile.every_s",
        "3600",
        (0, 30 * DAY_S),
        "Time between two comparisons of the gateway's charges with ours; 0: only when asked.",
    ),
    number(
        "reconcile.window_s",
        "1209600",
        (0, 365 * DAY_S),
        "Payments begun so long ago at most are compared, longer than money stays set aside; 0: all. `full=true` and `holdfast reconcile` compare all, too.",
    ),
    number(
        "reconcile.pause_ms",
        "100",
        (0, 60_000),
        "Pause between two pages of the gateway's list, which keeps the comparison out of the way of purchases.",
    ),
    number(
        "reconcile.differences_max",
        "1000",
        (1, 100_000),
        "Differences in one report; a comparison that finds more ends early and says so.",
    ),
    number(
        "audit.refusals_per_s",
        "10",
        (0, 10_000),
        "Refused administrative acts of keys of one name that are written down in a second; further ones are counted, and the next one written down says how many.",
    ),
    number(
        "audit.refused_attempts_per_s",
        "1000",
        (0, 1_000_000),
        "Refused attempts of keys of one name that are written down in a second, of those that leave nothing behind (a wrong shape, a rate limit, a key in flight or reused); further ones are counted, and the next one written down says how many. What is a key's outcome is always written down.",
    ),
    text(
        "report.on_disk_full",
        "\"refuse_sales\"",
        "What goes first when the disk is nearly full: `\"refuse_sales\"`, and every sink gets everything, or `{ give_up = \"NAME\" }`, and the log is no longer kept for that sink.",
    ),
    text(
        "report.on_disk_full.give_up",
        "",
        "That sink's name: `jsonl`, `postgres` or `kafka`.",
    ),
    number(
        "report.give_up_below_bytes",
        "2147483648",
        (0, 1 << 50),
        "Free room on the disk below which that sink is given up; more than `storage.disk_free_bytes_min`, so that sales go on.",
    ),
    number(
        "report.dead_letters_bytes_max",
        "67108864",
        (4_096, 1 << 40),
        "Room for the dead letters of all sinks; without any left, a sink stops where it is and tries again.",
    ),
    number(
        "report.backoff_first_ms",
        "100",
        (1, 600_000),
        "First wait before a sink is tried again; each further one is twice as long.",
    ),
    number(
        "report.backoff_max_ms",
        "10000",
        (1, 3_600_000),
        "Longest such wait.",
    ),
    number(
        "report.deliver_timeout_ms",
        "30000",
        (10, 3_600_000),
        "Time for one delivery to a sink; it is tried again after.",
    ),
    number(
        "report.batch.events_max",
        "10000",
        (1, 1_000_000),
        "Events delivered at once.",
    ),
    number(
        "report.batch.bytes_max",
        "8388608",
        (1_024, GIB),
        "Bytes delivered at once, give or take one event.",
    ),
    number(
        "report.batch.wait_ms",
        "50",
        (0, 60_000),
        "How long a batch that is not full waits for more events.",
    ),
    text(
        "report.jsonl.path",
        "",
        "File that every event is appended to as a line of JSON; nothing: no such file.",
    ),
    number(
        "report.jsonl.rotate_bytes",
        "268435456",
        (1_024, 1 << 50),
        "Size after which the file is renamed and a new one begun.",
    ),
    number(
        "report.jsonl.keep",
        "8",
        (0, 1_000_000),
        "Renamed files that are kept; the oldest go first.",
    ),
    other(
        "report.postgres.url",
        "",
        Kind::Secret,
        "Where PostgreSQL is, as a URL with a user who is a member of `holdfast_writer`; nothing: no such sink. `sslmode=disable` or `require`; certificates are always verified.",
    ),
    other(
        "report.postgres.migrator_url",
        "",
        Kind::Secret,
        "The same for a user who may change the schema; left out: `report.postgres.url`.",
    ),
    text(
        "report.postgres.migrate",
        "\"auto\"",
        "`auto`: the schema is brought up to date before anything is written; `off`: the operator does, with `holdfast schema postgres`.",
    ),
    text(
        "report.postgres.ca_file",
        "",
        "PEM file of the authorities that sign the server's certificate; left out: those that browsers trust.",
    ),
    number(
        "report.postgres.segments.every_s",
        "3600",
        (0, 30 * DAY_S),
        "Time between two runs that bring the segments of buyers up to date; 0: only when asked.",
    ),
    number(
        "report.postgres.segments.batch",
        "1000",
        (1, 100_000),
        "Buyers that are computed in one transaction of such a run.",
    ),
    number(
        "report.postgres.segments.batches_max",
        "100000",
        (2, 1_000_000_000),
        "Such transactions of one run, with the one that finds nothing left to do; one that needs more fails, and the next one goes on from there.",
    ),
    number(
        "report.postgres.segments.feedback_per_s",
        "200",
        (1, 100_000),
        "Changed segments that the core takes over in a second, so that a sale is not disturbed.",
    ),
    other(
        "report.kafka.brokers",
        "[]",
        Kind::Texts,
        "`HOST:PORT` of some of the Kafka brokers; none: no Kafka sink.",
    ),
    text(
        "report.kafka.topic",
        "\"holdfast.events\"",
        "Topic that every event goes to.",
    ),
    text(
        "report.kafka.dlq_topic",
        "\"holdfast.events.dlq\"",
        "Topic for events that the broker refuses for good; empty: they stay in the data directory.",
    ),
    text(
        "report.kafka.client_id",
        "\"holdfast\"",
        "What the brokers know the producer as.",
    ),
    text(
        "report.kafka.source",
        "",
        "The events' `ce_source`; nothing: `urn:holdfast:log:` and the log's id.",
    ),
    text(
        "report.kafka.compression",
        "\"lz4\"",
        "How messages are compressed: `\"none\"`, `\"lz4\"`, `\"gzip\"` or `\"snappy\"`.",
    ),
    number(
        "report.kafka.linger_ms",
        "5",
        (0, 10_000),
        "How long a message waits for others that go with it.",
    ),
    number(
        "report.kafka.message_bytes_max",
        "1000000",
        (1000, 1_000_000_000),
        "The largest message that is sent; the topic's `max.message.bytes` has to be as large.",
    ),
    text(
        "report.kafka.username",
        "",
        "User name for SASL/PLAIN; nothing: no login.",
    ),
    other("report.kafka.password", "", Kind::Secret, "Its password."),
    text(
        "backup.to",
        "",
        "Where the log and its snapshots are shipped to: `s3://BUCKET/PREFIX` or `file:///DIRECTORY`, a place of its own for each log; nothing: no backup.",
    ),
    text(
        "backup.endpoint",
        "",
        "Where an S3-compatible store answers: `https://HOST[:PORT]`, or `http://` on a loopback address; nothing: AWS in the region.",
    ),
    text(
        "backup.region",
        "\"us-east-1\"",
        "The region that requests to the store are signed for.",
    ),
    text(
        "backup.ca_file",
        "",
        "PEM file of the authorities that sign the store's certificate; left out: those that browsers trust.",
    ),
    other(
        "backup.access_key",
        "",
        Kind::Secret,
        "Who the store is asked as.",
    ),
    other(
        "backup.secret_key",
        "",
        Kind::Secret,
        "The secret that goes with it.",
    ),
    number(
        "backup.every_ms",
        "1000",
        (100, 3_600_000),
        "Time between two shipments of what was written since.",
    ),
    number(
        "backup.keep_s",
        "604800",
        (1, 3_155_760_000),
        "How long every instant stays restorable; what only older ones need is removed from the store.",
    ),
    number(
        "backup.log_kept_bytes_max",
        "17179869184",
        (MIB, 1 << 50),
        "Bytes of log that stay on the disk for a store that is away; beyond, the oldest go, and the backup has a gap.",
    ),
    text(
        "telemetry.log",
        "\"info\"",
        "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,hyper=debug`. A level without a target is that of holdfast; libraries say nothing unless they are named.",
    ),
];

/// The key with this path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The known path, of a key or of a section, that looks most like `path`.
pub fn nearest(path: &str) -> &'static str {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(path, known);
    KEYS.iter()
        .map(|key| key.path)
        .max_by(|one, two| likeness(one).total_cmp(&likeness(two)))
        .expect("the list of keys is not empty")
}

/// Whether `path` is a key or a part of the way to one.
pub fn leads_somewhere(path: &str) -> bool {
    KEYS.iter().any(|key| {
        key.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with("[]"))
    })
}
