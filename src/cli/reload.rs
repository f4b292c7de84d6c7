//! Owns reading the configuration again on SIGHUP, while requests go on.
//!
//! Invariants: only what may change without a restart does (the secrets of webhooks, the risk rules, the risk model); of what else
//! has changed, the keys are logged, never the values; a configuration that cannot be used changes
//! nothing. Either is in the audit trail before it is logged as done.

use super::{Serve, compose, rules, scoring, serve};
use crate::config::Config;
use crate::engine::event::{Act, Actor, ActorRole, AdminActed, AdminRefused, Shown};
use crate::ids::{KeyOwner, Lsn, RequestId};
use crate::journal::{Journal, StorageFault};
use crate::webhooks::Secrets;
use serde_json::json;
use std::fmt::Display;

/// What takes effect without a restart.
const RELOADABLE: &str = "webhooks.secrets";

/// The configuration that `arguments` name is read again; `running` is what the process was
/// started with.
pub(super) fn reload(arguments: &Serve, running: &Config, secrets: &Secrets, journal: &Journal) {
    let config = match serve::load(arguments) {
        Ok(config) => config,
        Err(failure) => {
            tracing::error!(
                event = "reload_failed",
                "nothing is changed by the configuration read again: {failure}"
            );
            let refused = AdminRefused {
                act: Act::ConfigurationReloaded.as_str().to_owned(),
                target: None,
                reason: "invalid_configuration".to_owned(),
                left_out: 0,
                by: by_signal(),
            };
            written(journal, &journal.admin_refused(refused));
            return;
        }
    };
    rules::reload(&running.risk, journal);
    scoring::reload(&running.risk, journal);
    let mut changed = running.changed(&config);
    changed.remove(RELOADABLE);
    let configured = compose::webhook_secrets(&config.webhooks, journal.now());
    let reloaded = secrets.reload(configured);
    let after = json!({
        "webhook_secrets_added": texts(&reloaded.added),
        "webhook_secrets_removed": texts(&reloaded.removed),
        "restart_needed": texts(&changed),
    });
    let acted = AdminActed {
        act: Act::ConfigurationReloaded.as_str().to_owned(),
        target: None,
        before: None,
        after: Some(Shown::new(after.to_string())),
        by: by_signal(),
    };
    written(journal, &journal.admin_acted(acted).map(Some));
    if !reloaded.still_retired.is_empty() {
        tracing::warn!(
            event = "webhook_secret_retired",
            secrets = listed(&reloaded.still_retired),
            "retired secrets of webhooks stay retired; take them out of the configuration"
        );
    }
    if !changed.is_empty() {
        tracing::warn!(
            event = "restart_needed",
            keys = listed(&changed),
            "these keys have changed, too, and take effect at the next start"
        );
    }
    tracing::info!(
        event = "reloaded",
        added = listed(&reloaded.added),
        removed = listed(&reloaded.removed),
        known = secrets.known().len(),
        "the secrets of webhooks are those of the configuration read again"
    );
}

fn by_signal() -> Actor {
    Actor {
        request: RequestId(0),
        owner: KeyOwner::parse("sighup").expect("it keeps to the alphabet of ids"),
        role: ActorRole::Process,
    }
}

/// Waits until the trail has it. A log that has stopped stops the process, which says why.
fn written(journal: &Journal, appended: &Result<Option<Lsn>, StorageFault>) {
    if let Ok(Some(end)) = appended {
        let _ = journal.wait_durable(*end);
    }
}

fn listed(names: impl IntoIterator<Item = impl Display>) -> String {
    texts(names).join(", ")
}

fn texts(names: impl IntoIterator<Item = impl Display>) -> Vec<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}
