//! Owns the keys of the listeners, their limits, and of API keys.

use super::{GIB, MIB, Setting, ValueKind, number, other, text};

/// Sockets, their limits and TLS.
pub(super) const SERVER: &[Setting] = &[
    text(
        "server.listen",
        "\"127.0.0.1:8080\"",
        "Address and port of the main listener. Port 0 takes a free port and logs it.",
    ),
    text(
        "server.admin_listen",
        "",
        "Address and port of a second listener for `/admin`, `/console`, `/metrics` and the probes, with its own thread, 64 connections, and the same TLS settings. The probes stay on both listeners; `/admin`, `/console` and `/metrics` answer 404 on the main one. Not set: everything is on `server.listen`.",
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
];

/// API keys.
pub(super) const AUTH: &[Setting] = &[
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
];
