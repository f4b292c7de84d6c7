//! Owns dividing the process's file descriptors: as many as the system allows, a reserve for what
//! must never lack one, and the rest for connections.
//!
//! Invariants: connections never take what the log, snapshots, sinks and the gateway need; it is
//! logged if connections get fewer than configured. Only `serve` calls this.

use super::faces::ADMIN_CONNECTIONS_MAX;
use super::serve::Failure;
use crate::config::{Config, GatewayKind};
use crate::http::server::admission::{CLOSING_MAX, RESERVED_MAX};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The log's files (lock, directory, two segments, witness), snapshots, files of the configuration,
/// standard streams, sandbox ledger, dead letters, and the runtimes beside the workers.
const OF_THE_CORE: u64 = 64;
/// Two listeners, a connection that is being turned away, and the runtime's poll and wake handles.
const OF_A_WORKER: u64 = 8;
/// A reader of the log, a cursor and connections, to several brokers for Kafka.
const OF_A_SINK: u64 = 24;
/// With fewer connections a core is useless.
const CONNECTIONS_MIN: u64 = 16;

/// Raises the limit as far as possible, and returns how many connections that leaves.
pub(super) fn share_out(config: &Config) -> Result<usize, Failure> {
    let limit = raised();
    let reserve = reserve(config);
    let room = limit.saturating_sub(reserve);
    if room < CONNECTIONS_MIN {
        let least = reserve + CONNECTIONS_MIN;
        return Err(format!(
            "the limit of open files is {limit}, of which the log, sinks, gateway and workers need {reserve}; raise it to at least {least} (ulimit -n, LimitNOFILE= in a systemd unit)"
        )
        .into());
    }
    let configured = config.server.max_connections;
    let connections = configured.min(usize::try_from(room).unwrap_or(usize::MAX));
    if connections < configured {
        tracing::warn!(
            event = "connections_capped",
            configured,
            max_connections = connections,
            open_files = limit,
            reserve,
            "server.max_connections is lowered because of the limit of open files; raise that limit (ulimit -n, LimitNOFILE= in a systemd unit)"
        );
    }
    Ok(connections)
}

/// The soft limit, after raising it to the hard one.
fn raised() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // If that fails, the soft limit stays, and fewer connections are accepted.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Descriptors reserved from connections.
fn reserve(config: &Config) -> u64 {
    let workers = config.server.workers as u64;
    let sinks = config.report.sinks().len() as u64;
    let gateway = match &config.payments.gateway {
        GatewayKind::Sandbox => 0,
        // Payments and reconciliation have connections of their own.
        GatewayKind::Stripe(settings) => 2 * settings.connections_max as u64,
    };
    let beyond_the_bound = (RESERVED_MAX + CLOSING_MAX) as u64;
    let admin = match config.server.admin_listen {
        None => 0,
        Some(_) => OF_A_WORKER + ADMIN_CONNECTIONS_MAX as u64 + beyond_the_bound,
    };
    OF_THE_CORE + beyond_the_bound + admin + OF_A_WORKER * workers + OF_A_SINK * sinks + gateway
}
