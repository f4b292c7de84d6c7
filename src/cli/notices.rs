//! Owns what `serve` says at its start about its settings, its history and its addresses.
//!
//! Invariant: it only reports. What is refused is refused where it is read (`config`, `journal`).

use crate::config::{Config, Demo, GatewayKind};
use crate::http::server::Server;
use crate::journal::Journal;

/// Reports that requests are accepted, and where.
pub(super) fn listening(config: &Config, server: &Server) {
    tracing::info!(
        event = "listening",
        address = %server.address(),
        admin_address = server.admin_address().map(tracing::field::display),
        workers = config.server.workers,
        tls = config.server.tls.is_some(),
        demo = config.demo == Demo::Yes,
        pid = std::process::id(),
        "taking requests"
    );
}

/// Reports that this history of the log waits for the operator's order.
pub(super) fn of_history(journal: &Journal) {
    if journal.history().may_sell() {
        return;
    }
    let elsewhere = journal.history().readers_elsewhere();
    let sinks: Vec<_> = elsewhere.iter().map(|(name, _)| *name).collect();
    tracing::error!(
        event = "restored_copy",
        generation = %journal.generation(),
        accepted = journal.history().is_accepted(),
        sinks = sinks.join(" "),
        "the data directory is a restored or older copy: the shop's calls are refused until it is replaced, or POST /admin/history/accept orders to go on with it"
    );
}

/// Reports settings that are fine for a trial, but not for a sale.
pub(super) fn of_unsafe_settings(config: &Config) {
    if config.demo == Demo::No && matches!(config.payments.gateway, GatewayKind::Sandbox) {
        tracing::warn!(
            event = "sandbox_gateway",
            "payments go to the sandbox gateway, which moves no money; for a sale, set payments.gateway"
        );
    }
    for (key, address) in config.server.addresses() {
        if config.demo == Demo::Yes && !address.ip().is_loopback() {
            tracing::warn!(
                event = "demo_open",
                %address,
                key,
                "the demo listens beyond this machine: everyone who reaches this address can buy, refund and change everything with the demo's public keys; never put real data here"
            );
        }
    }
    if config.server.tls.is_some() {
        return;
    }
    for (key, address) in config.server.addresses() {
        if !address.ip().is_loopback() {
            tracing::warn!(
                event = "plain_http",
                %address,
                key,
                "this address is served without TLS, so the network can read keys and purchases; set server.tls, or listen on loopback behind a proxy with TLS"
            );
        }
    }
}
