//! Owns reloading the configuration on SIGHUP, while requests continue.
//!
//! Invariants: 1. all or nothing: everything is read before anything changes, and what can be
//! refused comes first; 2. only what may change without a restart does ([`RELOADABLE`]); of what
//! else differs, the keys are logged, never the values; 3. either is in the audit trail before it
//! is logged as done.

use super::prepare::{self, Prepared};
use super::serve::Failure;
use super::supervisor::Supervisor;
use super::{Serve, compose, scoring};
use crate::config::{Config, RELOADABLE};
use crate::engine::event::{Act, Actor, ActorRole, AdminActed, AdminRefused, Shown};
use crate::http::core::Core;
use crate::http::server::tls::Tls;
use crate::ids::{KeyOwner, Lsn, RequestId};
use crate::journal::{Journal, StorageFault};
use crate::report::webhooks::{EndpointCredentials, Renewed, WebhookEndpoint};
use crate::telemetry::logging;
use crate::webhooks::{Reloaded, Secrets};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

/// What a reload changes, and what the process was started with.
pub(super) struct Reloader<'a> {
    pub(super) arguments: &'a Serve,
    pub(super) started: &'a Config,
    /// What was read last; `None`: what it was started with.
    pub(super) last: Option<Config>,
    pub(super) journal: &'a Journal,
    pub(super) core: &'a Core,
    pub(super) secrets: &'a Secrets,
    pub(super) endpoints: &'a [Arc<WebhookEndpoint>],
    pub(super) supervisor: &'a Supervisor,
    pub(super) tls: Option<Arc<Tls>>,
}

/// The effects of a reload.
struct Done {
    changed: BTreeSet<String>,
    restart_needed: BTreeSet<String>,
    secrets: Reloaded,
}

impl Reloader<'_> {
    /// Reads the configuration again, and reports the result.
    pub(super) fn reload(&mut self) {
        self.supervisor.reloading();
        match self.take_over() {
            Ok(done) => self.say(&done),
            Err(failure) => {
                let refused = AdminRefused {
                    act: Act::ConfigurationReloaded.as_str().to_owned(),
                    target: None,
                    reason: "invalid_configuration".to_owned(),
                    left_out: 0,
                    by: by_signal(),
                };
                self.written(&self.journal.trail().admin_refused(refused));
                tracing::error!(
                    event = "reload_failed",
                    "the configuration was not reloaded, nothing has changed: {failure}"
                );
            }
        }
        // Also of a refused one: the process goes on with what it had.
        self.supervisor.ready();
    }

    /// Reads everything, then applies what may be refused (the secrets of webhooks), then the rest,
    /// which cannot fail.
    fn take_over(&mut self) -> Result<Done, Failure> {
        let sources = prepare::sources(self.arguments)?;
        let Prepared {
            config,
            filter,
            certified,
            model,
            rules,
            endpoints,
            ..
        } = Prepared::read_strictly(&sources)?;
        let (journal, rules) = (self.journal, rules?);

        let configured = compose::webhook_secrets(&config.webhooks, journal.now());
        let others = config.other_secrets().to_vec();
        let secrets = self.secrets.reload(configured, others)?;

        let mut taken = BTreeSet::from(RELOADABLE);
        // Files whose content changed under the same name.
        let mut files = BTreeSet::new();
        match (&self.tls, certified) {
            (Some(tls), Some(certified)) => {
                let other = tls.replace(certified).then_some("server.tls.cert");
                files.extend(other);
            }
            (None, None) => {}
            // Listeners start with or without TLS, and stay so.
            (Some(_), None) | (None, Some(_)) => {
                taken.retain(|key| !key.starts_with("server.tls."));
            }
        }
        if !self.only_credentials_differ(&config) {
            taken.remove("report.webhooks");
        }
        if self.replace_credentials(&config, endpoints) == Renewed::Yes {
            files.insert("report.webhooks");
        }
        logging::set(filter);
        self.written(&journal.upkeep().set_rate(compose::rate(&config.sale)));
        // A stopped log stops the process, which reports the fault; so it is not kept here.
        if scoring::start(&config.risk, model, journal).unwrap_or_default() {
            files.insert("risk.model_file");
        }
        if rules.is_some_and(|rules| rules.put(journal).unwrap_or_default()) {
            files.insert("risk.rules_file");
        }
        let shown = self.started.shown_after(&config, &taken);
        self.core.reload(&config.keys, &shown);

        let before = self.last.as_ref().unwrap_or(self.started);
        let mut changed = before.changed(&config);
        changed.retain(|key| taken.contains(key.as_str()));
        changed.extend(files.into_iter().map(str::to_owned));
        let mut restart_needed = self.started.changed(&config);
        restart_needed.retain(|key| !taken.contains(key.as_str()));
        self.last = Some(config);
        Ok(Done {
            changed,
            restart_needed,
            secrets,
        })
    }

    /// Whether the endpoints of webhooks are those of the start, but for keys and authorities.
    fn only_credentials_differ(&self, config: &Config) -> bool {
        let (started, read) = (&self.started.report.webhooks, &config.report.webhooks);
        let mut pairs = started.iter().zip(read);
        started.len() == read.len() && pairs.all(|(it, other)| it.differ_in_credentials_only(other))
    }

    /// Gives each endpoint that runs the keys and authorities that were read for its name.
    fn replace_credentials(&self, config: &Config, read: Vec<EndpointCredentials>) -> Renewed {
        let mut replaced = Renewed::No;
        for (settings, credentials) in config.report.webhooks.iter().zip(read) {
            let mut running = self.endpoints.iter();
            if let Some(endpoint) = running.find(|it| it.settings().sink == settings.sink)
                && endpoint.replace(credentials) == Renewed::Yes
            {
                replaced = Renewed::Yes;
            }
        }
        replaced
    }

    fn say(&self, done: &Done) {
        let Done {
            changed,
            restart_needed,
            secrets,
        } = done;
        let after = json!({
            "changed": changed,
            "restart_needed": restart_needed,
            "webhook_secrets_added": texts(&secrets.added),
            "webhook_secrets_removed": texts(&secrets.removed),
        });
        let acted = AdminActed {
            act: Act::ConfigurationReloaded.as_str().to_owned(),
            target: None,
            before: None,
            after: Some(Shown::new(after.to_string())),
            by: by_signal(),
        };
        self.written(&self.journal.trail().admin_acted(acted).map(Some));
        if !secrets.still_retired.is_empty() {
            tracing::warn!(
                event = "webhook_secret_retired",
                secrets = listed(&secrets.still_retired),
                "retired webhook secrets stay retired; remove them from the configuration"
            );
        }
        tracing::info!(
            event = "reloaded",
            changed = listed(changed),
            restart_needed = listed(restart_needed),
            webhook_secrets_added = listed(&secrets.added),
            webhook_secrets_removed = listed(&secrets.removed),
            "the configuration was reloaded; keys in restart_needed take effect at the next start"
        );
    }

    /// Waits until the audit trail has it. A stopped log stops the process, which reports the
    /// fault.
    fn written(&self, appended: &Result<Option<Lsn>, StorageFault>) {
        if let Ok(Some(end)) = appended {
            let _ = self.journal.wait_durable(*end);
        }
    }
}

fn by_signal() -> Actor {
    Actor {
        request: RequestId(0),
        owner: KeyOwner::parse("sighup").expect("it keeps to the alphabet of ids"),
        role: ActorRole::Process,
    }
}

fn listed(names: impl IntoIterator<Item = impl Display>) -> String {
    texts(names).join(", ")
}

fn texts(names: impl IntoIterator<Item = impl Display>) -> Vec<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}
