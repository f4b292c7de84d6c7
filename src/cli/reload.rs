//! Owns reading the configuration again on SIGHUP, while requests go on.
//!
//! Invariants: only what may change without a restart does (the secrets of webhooks, the risk rules); of what else
//! has changed, the keys are logged, never the values; a configuration that cannot be used changes
//! nothing.

use super::{Serve, compose, rules, serve};
use crate::config::Config;
use crate::engine::event::{AdminAct, AdminActed};
use crate::ids::{KeyOwner, RequestId};
use crate::journal::Journal;
use crate::webhooks::Secrets;
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
            return;
        }
    };
    rules::reload(&running.risk, journal);
    let mut changed = running.changed(&config);
    changed.remove(RELOADABLE);
    let configured = compose::webhook_secrets(&config.webhooks, journal.now());
    let reloaded = secrets.reload(configured);
    if reloaded.added.len() + reloaded.removed.len() > 0 {
        let by = AdminAct {
            request: RequestId(0),
            owner: KeyOwner::parse("sighup").expect("it keeps to the alphabet of ids"),
        };
        let names = reloaded.added.iter().chain(&reloaded.removed);
        let act = format!("webhook_secrets_reloaded {}", listed(names));
        // A log that has stopped stops the process, which says why.
        let _ = journal.admin_acted(AdminActed { act, by });
    }
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

fn listed(names: impl IntoIterator<Item = impl Display>) -> String {
    let names = names.into_iter().map(|name| name.to_string());
    names.collect::<Vec<_>>().join(", ")
}
