//! Owns turning the configuration into the settings of the parts, each in its own words.

use super::serve::Failure;
use crate::backup::{Backup, BackupError, RETENTION};
use crate::config::{Config, KeyHalf, SaleConfig, SigningKey, WebhooksConfig};
use crate::engine::payable::AmountRules;
use crate::engine::settings::{Bounds, EngineSettings, RateLimit};
use crate::ids::{Lsn, ReceiptKeyId};
use crate::journal::{
    Clock, ClockBehind, ClockSettings, Journal, JournalOptions, LogSettings, RefusalBounds,
    Retention, Sync, Witness,
};
use crate::payments::settings::{PaymentSettings, ReviewSettings};
use crate::random::Random;
use crate::receipts::{self, Ed25519Key, KeyUnread, PublicKey, Sealer, SealerError};
use crate::reconcile::{JobSettings, ReconcileLimits};
use crate::report::feed::files::{self, Orphan};
use crate::report::feed::{self, CursorError, FeedSettings, Sinks};
use crate::report::jsonl;
#[cfg(feature = "kafka")]
use crate::report::kafka;
#[cfg(feature = "postgres")]
use crate::report::postgres;
use crate::report::postgres::segments::SegmentJob;
use crate::report::webhooks::{self, EndpointCredentials, WebhookEndpoint};
use crate::time::UnixMs;
use crate::webhooks::{Secret, Source};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;

/// How the journal is opened.
pub(super) fn journal(config: &Config, behind: ClockBehind) -> Result<JournalOptions, CursorError> {
    let storage = &config.storage;
    Ok(JournalOptions {
        data_dir: storage.data_dir.clone(),
        engine: engine(config),
        log: LogSettings {
            segment_bytes: storage.segment_bytes,
            ring_bytes: storage.ring_bytes,
            sync: match storage.sync_interval_ms {
                None => Sync::Always,
                Some(interval_ms) => Sync::Interval { interval_ms },
            },
            witness: if storage.witness {
                Witness::On
            } else {
                Witness::Off
            },
            disk_free_bytes_min: storage.disk_free_bytes_min,
        },
        snapshot_every_bytes: storage.snapshot_every_bytes,
        clock: Clock::System,
        random: Random::System,
        time: ClockSettings {
            step_max_ms: config.clock.step_max_ms,
            settle_ms: u64::try_from(config.clock.settle.as_millis()).unwrap_or(u64::MAX),
            behind,
        },
        day_zone: config.limits.zone.clone(),
        retentions: retentions(config)?,
        refusals: RefusalBounds {
            acts_per_s: config.audit_refusals_per_s,
            attempts_per_s: config.audit_refused_attempts_per_s,
        },
    })
}

/// The readers for which the log is kept, and from which LSN.
fn retentions(config: &Config) -> Result<Vec<Retention>, CursorError> {
    let sinks = config.report.sinks();
    let mut retentions = feed::retentions(&config.storage.data_dir, &sinks)?;
    if config.backup.is_some() {
        // The whole log, until the store has reported its position.
        retentions.push(Retention {
            name: RETENTION.to_owned(),
            from: Lsn(0),
        });
    }
    Ok(retentions)
}

/// Starts the backup, if one is configured.
pub(super) fn backup(
    config: &Config,
    journal: &Arc<Journal>,
) -> Result<Option<Arc<Backup>>, BackupError> {
    let Some(settings) = config.backup.clone() else {
        return Ok(None);
    };
    Backup::start(journal, &config.storage.data_dir, settings).map(Some)
}

/// The sinks of the process.
pub(super) struct StartedSinks {
    pub(super) sinks: Arc<Sinks>,
    /// The endpoints of webhooks, whose sinks are among them.
    pub(super) endpoints: Vec<Arc<WebhookEndpoint>>,
}

/// What a sink put off is tried again by that sink alone: one that was renamed or removed says so.
fn tell_of_orphans(sinks: &Sinks) {
    match files::orphans(sinks.folder().path(), |name| sinks.has(name)) {
        Ok(orphans) => {
            for Orphan { sink, waiting } in orphans {
                tracing::warn!(
                    event = "sink_orphaned",
                    sink,
                    waiting,
                    "a sink that is not configured any more left files in the data directory; what waits \
                     there is not delivered: configure it again, or remove its files (docs/webhooks.md)"
                );
            }
        }
        Err(error) => tracing::warn!(
            event = "sink_orphaned",
            "sinks that are not configured any more cannot be looked for: {error}"
        ),
    }
}

/// The keys and authorities of each endpoint of webhooks, in their order.
pub(super) fn endpoint_credentials(config: &Config) -> Result<Vec<EndpointCredentials>, String> {
    let endpoints = config.report.webhooks.iter();
    endpoints.map(EndpointCredentials::read).collect()
}

/// Starts every configured sink. The endpoints of webhooks are sinks, too.
pub(super) fn sinks(
    config: &Config,
    credentials: Vec<EndpointCredentials>,
    journal: &Arc<Journal>,
) -> Result<StartedSinks, Failure> {
    let (storage, report) = (&config.storage, &config.report);
    let settings = FeedSettings {
        data_dir: storage.data_dir.clone(),
        backoff: report.backoff,
        deliver_timeout: report.deliver_timeout,
        dead_letters_bytes_max: report.dead_letters_bytes_max,
        on_disk_full: report.on_disk_full.clone(),
        give_up_below_bytes: report.give_up_below_bytes,
        segment_bytes: storage.segment_bytes,
    };
    let sinks = Sinks::new(Arc::clone(journal), settings)?;
    if let Some(settings) = &report.jsonl {
        sinks.start(jsonl::sink(settings.clone(), report.batching))?;
    }
    #[cfg(feature = "postgres")]
    if let Some(settings) = &report.postgres {
        let (journal, sealer) = (Arc::clone(journal), sealer(config)?);
        let sink = postgres::sink(settings.clone(), report.batching, journal, sealer);
        sinks.start(sink)?;
    }
    #[cfg(feature = "kafka")]
    if let Some(settings) = &report.kafka {
        let sink = kafka::sink(
            settings.clone(),
            report.batching,
            report.deliver_timeout,
            Arc::clone(journal),
            sinks.folder(),
        );
        sinks.start(sink)?;
    }
    let mut endpoints = Vec::new();
    for (settings, credentials) in report.webhooks.iter().zip(credentials) {
        let settings = settings.clone();
        let endpoint = WebhookEndpoint::new(settings, credentials, Arc::clone(journal));
        let endpoint = Arc::new(endpoint);
        sinks.start(webhooks::sink(
            Arc::clone(&endpoint),
            report.batching,
            Arc::clone(journal),
            sinks.folder(),
        ))?;
        endpoints.push(endpoint);
    }
    tell_of_orphans(&sinks);
    Ok(StartedSinks {
        sinks: Arc::new(sinks),
        endpoints,
    })
}

fn engine(config: &Config) -> EngineSettings {
    let (sale, engine) = (&config.sale, &config.engine);
    EngineSettings {
        hold_ttl_ms: sale.hold_ttl_s * 1_000,
        currencies: sale.currencies.clone(),
        payable: payable(config),
        rate: rate(sale),
        idempotency_retention_ms: sale.idempotency_retention_s * 1_000,
        ended_keep_ms: engine.ended_keep_s * 1_000,
        card_retries: config.payments.card_retries,
        tries_per_hold_max: config.payments.tries_per_hold_max,
        amounts: config.limits.amounts.clone(),
        review: config.review.rules.clone(),
        webhooks: config.webhooks.memory,
        bounds: Bounds {
            buyers_max: engine.buyers_max,
            purchases_max: engine.purchases_max,
            keys_max: engine.keys_max,
            open_holds_per_user_max: engine.open_holds_per_user_max,
            keys_per_user_max: engine.keys_per_user_max,
            velocity_keys_max: engine.velocity_keys_max,
            amount_keys_max: engine.amount_keys_max,
            products_max: engine.products_max,
            promotions_max: engine.promotions_max,
        },
    }
}

/// The rate limit of a buyer.
pub(super) fn rate(sale: &SaleConfig) -> RateLimit {
    RateLimit {
        count: sale.rate_count,
        window_ms: sale.rate_per_s * 1_000,
    }
}

/// The amounts that the gateway takes in the drop's currencies.
fn payable(config: &Config) -> AmountRules {
    let gateway = &config.payments.gateway;
    let currencies = config.sale.currencies.iter();
    let rules = currencies.filter_map(|it| Some((*it, gateway.amounts(*it)?)));
    AmountRules::new(rules.collect())
}

/// The settings for driving payments.
pub(super) fn payments(config: &Config) -> PaymentSettings {
    let (config, review) = (&config.payments, &config.review);
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    PaymentSettings {
        attempt_timeout_ms: ms(config.attempt_timeout),
        retries_max: config.retries_max,
        backoff_first_ms: config.backoff_first_ms,
        backoff_max_ms: config.backoff_max_ms,
        unknown_after_ms: config.unknown_after_ms,
        in_flight_max: config.in_flight_max,
        resume_parallel_max: config.resume_parallel_max,
        give_up_after_ms: ms(config.give_up_after),
        void_deadline_ms: ms(config.void_deadline),
        sweep_every_ms: ms(config.sweep_every),
        pending_after_ms: ms(config.pending_after),
        breaker: config.breaker,
        scheme: config.scheme.clone(),
        review: ReviewSettings {
            deadline_ms: ms(review.deadline),
            capture_margin_ms: ms(review.capture_margin),
            on_deadline: review.on_deadline,
        },
    }
}

/// The secrets that verify webhooks, as of now.
pub(super) fn webhook_secrets(config: &WebhooksConfig, now: UnixMs) -> Vec<Secret> {
    let secrets = config.secrets.iter().map(|secret| Secret {
        id: secret.id.clone(),
        key: secret.key.clone(),
        source: Source::Configuration,
        added_at: now,
    });
    secrets.collect()
}

/// The settings of reconciliation.
pub(super) fn reconcile(config: &Config) -> JobSettings {
    JobSettings {
        every: config.reconcile.every,
        limits: ReconcileLimits {
            window: config.reconcile.window,
            pause: config.reconcile.pause,
            call_timeout: config.payments.attempt_timeout,
            differences_max: config.reconcile.differences_max,
        },
    }
}

/// Computes segments of buyers, if a database for it is configured.
#[cfg(feature = "postgres")]
pub(super) fn segments(config: &Config, journal: &Arc<Journal>) -> Option<Arc<SegmentJob>> {
    let postgres = config.report.postgres.clone()?;
    let settings = config.report.segments;
    Some(SegmentJob::new(Arc::clone(journal), postgres, settings))
}

/// None: the configuration refuses a database in a build without the feature.
#[cfg(not(feature = "postgres"))]
pub(super) fn segments(_: &Config, _: &Arc<Journal>) -> Option<Arc<SegmentJob>> {
    None
}

/// What seals and signs receipts.
pub(super) fn sealer(config: &Config) -> Result<Sealer, KeysUnusable> {
    let keys = config.receipt_keys.iter().map(|key| {
        receipts::ReceiptKey::new(key.id.clone(), key.secret.expose_secret().as_bytes())
    });
    let sealer = Sealer::new(keys.collect::<Result<_, _>>()?)?;
    let signing = config.signing_keys.iter().map(signing_key);
    let sealer = sealer.with_signatures(signing.collect::<Result<_, _>>()?)?;
    Ok(sealer.signing_when(config.sign_when))
}

fn signing_key(key: &SigningKey) -> Result<Ed25519Key, KeysUnusable> {
    let id = || key.id.clone();
    let (field, read) = match &key.half {
        KeyHalf::Secret(text) => (
            "key",
            Ed25519Key::from_secret_text(id(), text.expose_secret()),
        ),
        KeyHalf::Public(text) => (
            "public",
            PublicKey::from_text(id(), text).map(Ed25519Key::retired),
        ),
    };
    read.map_err(|why| KeysUnusable::Unread {
        id: id(),
        field,
        why,
    })
}

/// Why the keys of receipts cannot be used. It never contains a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysUnusable {
    /// As a whole.
    #[error(transparent)]
    Sealer(#[from] SealerError),
    /// A signing key is malformed.
    #[error("in receipts.ed25519_keys, the `{field}` of {id} {why}")]
    Unread {
        id: ReceiptKeyId,
        field: &'static str,
        why: KeyUnread,
    },
}
