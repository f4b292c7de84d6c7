//! Owns reading everything that the operator writes: configuration, secrets, certificate, keys,
//! rules and model, into what `serve` runs with.
//!
//! Invariants: 1. `serve`, `config check` and a reload read through this alone, so they accept the
//! same; 2. nothing is bound and nothing is written, and the data directory need not exist.
//! Deliberately absent: what a log in the data directory may add to it.

use super::compose;
use super::rules::{self, RulesFault, RulesFile};
use super::scoring::{self, ScoringModel};
use super::serve::Failure;
use super::{ConfigCheck, Serve};
use crate::config::{Config, Demo, DemoReach, Environment, GatewayKind, Role, Sources};
use crate::http::server::tls::{self, Certified};
use crate::payments::stripe::Stripe;
use crate::receipts::{Sealer, SignWhen};
use crate::report::webhooks::EndpointCredentials;
use crate::telemetry::logging::Filter;
use std::process::ExitCode;

/// The settings, each in the form that it is used in.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) filter: Filter,
    pub(super) certified: Option<Certified>,
    pub(super) sealer: Sealer,
    /// The gateway, if it is Stripe.
    pub(super) stripe: Option<Stripe>,
    pub(super) model: Option<ScoringModel>,
    /// Of each endpoint of webhooks, in their order.
    pub(super) endpoints: Vec<EndpointCredentials>,
    /// `Err`: a start continues without the file's rules if the log has rules.
    pub(super) rules: Result<Option<RulesFile>, RulesFault>,
}

impl Prepared {
    /// Reads what `sources` names.
    pub(super) fn read(sources: &Sources) -> Result<Self, Failure> {
        let config = Config::load(sources)?;
        if let Some(backup) = &config.backup {
            crate::backup::check(&backup.target)?;
        }
        #[cfg(feature = "postgres")]
        if let Some(settings) = &config.report.postgres {
            crate::report::postgres::check(settings)?;
        }
        Ok(Self {
            filter: Filter::parse(&config.log)?,
            certified: config.server.tls.as_ref().map(tls::load).transpose()?,
            sealer: compose::sealer(&config)?,
            stripe: match &config.payments.gateway {
                GatewayKind::Stripe(settings) => Some(Stripe::new(settings.clone())?),
                GatewayKind::Sandbox => None,
            },
            model: scoring::read(&config.risk)?,
            endpoints: compose::endpoint_credentials(&config)?,
            rules: rules::read(&config.risk),
            config,
        })
    }

    /// The same; the rules must be valid, too.
    pub(super) fn read_strictly(sources: &Sources) -> Result<Self, Failure> {
        let mut prepared = Self::read(sources)?;
        prepared.rules = Ok(prepared.rules?);
        Ok(prepared)
    }
}

/// The sources of the settings of `serve`.
pub(super) fn sources(arguments: &Serve) -> Result<Sources, Failure> {
    let mut sources = Sources {
        environment: Environment::of_process(),
        listen: arguments
            .demo_listen
            .clone()
            .or_else(|| arguments.listen.clone()),
        demo_reach: match arguments.demo_listen {
            Some(_) => DemoReach::Anyone,
            None => DemoReach::Loopback,
        },
        data_dir: arguments.data_dir.clone(),
        demo: if arguments.demo { Demo::Yes } else { Demo::No },
        ..Sources::default()
    };
    if let Some(path) = &arguments.config {
        sources.read_file(path)?;
    }
    Ok(sources)
}

/// `config check`.
pub(super) fn check(arguments: &ConfigCheck) -> ExitCode {
    let arguments = Serve {
        config: arguments.config.clone(),
        demo: arguments.demo,
        demo_listen: None,
        data_dir: None,
        listen: None,
        accept_clock: false,
    };
    let read = sources(&arguments).and_then(|sources| Prepared::read_strictly(&sources));
    match read {
        Ok(prepared) => super::print(summary(&prepared), ExitCode::SUCCESS),
        Err(failure) => super::fail(1, failure),
    }
}

/// A summary in a few words, without a secret.
fn summary(prepared: &Prepared) -> String {
    let config = &prepared.config;
    let of_role = |role| config.keys.iter().filter(|key| key.role == role).count();
    let rules = match &prepared.rules {
        Ok(Some(file)) => format!("{} of the file", file.count()),
        Ok(None) | Err(_) if config.risk.default_rules => "the shipped rules".to_owned(),
        Ok(None) | Err(_) => "none".to_owned(),
    };
    let sinks: Vec<_> = config
        .report
        .sinks()
        .iter()
        .map(ToString::to_string)
        .collect();
    let or_none = |text: String| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text
        }
    };
    let addresses = config.server.addresses();
    let addresses: Vec<_> = addresses.map(|(_, it)| it.to_string()).collect();
    format!(
        "the configuration is valid\n\
         listen:   {}, {}\n\
         keys:     {} shop, {} admin, {} auditor, {} metrics\n\
         secrets:  {} of webhooks, {} seal and {} sign or verify receipts{}\n\
         gateway:  {}\n\
         rules:    {rules}\n\
         model:    {}\n\
         sinks:    {}\n\
         data:     {}\n",
        addresses.join(" and "),
        if prepared.certified.is_some() {
            "TLS"
        } else {
            "without TLS"
        },
        of_role(Role::Shop),
        of_role(Role::Admin),
        of_role(Role::Auditor),
        of_role(Role::Metrics),
        config.webhooks.secrets.len(),
        config.receipt_keys.len(),
        config.signing_keys.len(),
        match config.sign_when {
            SignWhen::AtCapture => "",
            SignWhen::WhenRead => ", which are signed when they are read",
        },
        if prepared.stripe.is_some() {
            "stripe"
        } else {
            "sandbox"
        },
        prepared
            .model
            .as_ref()
            .map_or("none", |(_, named)| named.kind.as_str()),
        or_none(sinks.join(", ")),
        config.storage.data_dir.display(),
    )
}
