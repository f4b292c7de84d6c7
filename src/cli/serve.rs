//! Owns `serve`: opens the data directory, starts the parts in order, and ends them in order.
//!
//! Invariants: until recovery is complete it only answers probes; on SIGTERM or SIGINT it reports
//! that it is not ready, takes requests for `server.leave_s` more, stops accepting, finishes what
//! is in progress, syncs, exits 0; when the log stops, it reports why and exits 1; on SIGHUP it
//! reads its configuration again. It reports everything as log lines.

use super::bounds;
use super::compose::StartedSinks;
use super::faces::{Listeners, Surroundings};
use super::prepare::{self, Prepared};
use super::reload::Reloader;
use super::signals::{ServeEnd, Signals};
use super::supervisor::{Heartbeat, Supervisor};
use super::watch::HealthWatch;
use super::{Serve, compose, demo, descriptors, notices, rules, scoring};
use crate::backup::Backup;
use crate::config::{Config, Demo, GatewayKind};
use crate::files::{self, Reach};
use crate::http::core::{Core, CoreParts};
use crate::http::ops::recovering::Recovering;
use crate::http::route;
use crate::http::server::Server;
use crate::http::server::tls::Tls;
use crate::ids::PurchaseId;
use crate::journal::{ClockBehind, Journal, Progress, TakenDirectory, refuse_emptied};
use crate::payments::breaker::Circuit;
use crate::payments::gateway::{CallClass, Gateway, GatewayCall};
use crate::payments::sandbox::{self, Sandbox};
use crate::payments::stripe::Stripe;
use crate::payments::{Meter, Payments, RoundEnded};
use crate::receipts::Sealer;
use crate::reconcile::Reconciler;
use crate::report::feed::Sinks;
use crate::telemetry::logging::{self, Filter, Style};
use crate::telemetry::metrics::{Metrics, Stage};
use crate::telemetry::otlp;
use crate::telemetry::tracer::{Spanned, Tracer};
use crate::trace::RequestTrace;
use crate::webhooks::Secrets;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long `/readyz` fails before the process ends because the log stopped.
const FAULT_NOTICE: Duration = Duration::from_millis(500);

/// How long the start waits for each sink to report its position.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Why the process fails.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs until it is stopped.
pub(super) fn run(arguments: &Serve) -> ExitCode {
    let read = prepare::sources(arguments).and_then(|sources| Prepared::read(&sources));
    let (filter, read) = match read {
        Ok(mut prepared) => (std::mem::take(&mut prepared.filter), Ok(prepared)),
        Err(failure) => (Filter::default(), Err(failure)),
    };
    if let Err(error) = logging::start(filter, Style::of_stderr()) {
        return super::fail(1, error);
    }
    report_panics();
    let status = match read.and_then(|prepared| serve(arguments, prepared)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(event = "failed", "{failure}");
            ExitCode::FAILURE
        }
    };
    logging::flush();
    status
}

/// A panic is a bug: it is logged like everything else, and ends the process.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or_default();
        tracing::error!(event = "panic", at, "a bug: the process stops: {what}");
        logging::flush();
        // Also in builds that unwind: locks do not poison, and nothing may continue with a state
        // that a turn left half changed. Everything acknowledged is in the log.
        std::process::abort();
    }));
}

fn serve(arguments: &Serve, prepared: Prepared) -> Result<(), Failure> {
    let Prepared {
        config,
        certified,
        sealer,
        stripe,
        model,
        rules,
        endpoints,
        ..
    } = prepared;
    let config = &config;
    let mut signals = Signals::caught()?;
    let supervisor = Supervisor::of_process();
    notices::of_unsafe_settings(config);
    let connections_max = descriptors::share_out(config)?;
    // Recovery can take minutes, so everything that can fail the start is done first.
    let tls = certified.map(|certified| Arc::new(Tls::new(certified)));
    let listeners = Listeners::bind(&config.server)?;
    let recovering = listeners.probed(&config.server, tls.as_ref())?;
    let journal =
        signals.ending_at_once(|| open(arguments, config, &recovering, &supervisor))??;
    // Before sinks start: a copy that may not run must not send them anything.
    let backup = compose::backup(config, &journal)?;
    bounds::say_memory(&journal, config.storage.ring_bytes);
    rules::start(&config.risk, rules, &journal)?;
    scoring::start(&config.risk, model, &journal)?;
    if config.demo == Demo::Yes {
        demo::put_on_sale(&journal)?;
    }
    let configured = compose::webhook_secrets(&config.webhooks, journal.now());
    let others = config.other_secrets().to_vec();
    let secrets = Arc::new(Secrets::new(configured, others));
    let started = compose::sinks(config, endpoints, &journal)?;
    let sinks = &started.sinks;
    // Before the first sale: a sink that has more than the log reveals an older copy.
    sinks.wait_for_first_look(FIRST_LOOK);
    notices::of_history(&journal);
    let gateway = chosen(config, stripe)?;
    let shown = Surroundings::of(&listeners, tls.as_ref(), backup.as_ref(), connections_max);
    let core = parts(config, &journal, &secrets, &started, sealer, gateway, shown)?;
    let (main, admin) = listeners.faces(config, &core, &journal, connections_max);
    core.start_driving()?;
    core.start_exporting();
    let server = Server::start(&config.server, tls.as_ref(), main, admin)?;
    recovering.stop();
    core.start_reconciling()?;
    core.start_segmenting()?;
    notices::listening(config, &server);
    if config.demo == Demo::Yes && Style::of_stderr() == Style::Readable {
        demo::greet(config, server.address(), &journal);
    }
    let mut reloader = Reloader {
        arguments,
        started: config,
        last: None,
        journal: &journal,
        core: &core,
        secrets: &secrets,
        endpoints: &started.endpoints,
        supervisor: &supervisor,
        tls,
    };
    let heartbeat = Heartbeat::new(&supervisor, &journal, server.pulse());
    let mut watch = HealthWatch::new(&journal, &core, &config.storage.data_dir, heartbeat);
    supervisor.ready();
    let end = serve_until_left(&mut signals, &mut watch, &mut reloader);
    stop(end, &core, server, sinks, backup.as_deref(), &journal)
}

/// Serves until the process is stopped, and then for `leave` more, while `/readyz` already fails.
fn serve_until_left(
    signals: &mut Signals,
    watch: &mut HealthWatch<'_>,
    reloader: &mut Reloader<'_>,
) -> ServeEnd {
    let end = signals.wait(watch, reloader, None);
    let server = &reloader.started.server;
    let leave = server.leave;
    reloader.supervisor.stopping(leave + server.drain);
    reloader.core.leave();
    if end == ServeEnd::Ordered && !leave.is_zero() {
        tracing::info!(
            event = "leaving",
            leave_s = leave.as_secs(),
            "/readyz fails now; requests are still served for leave_s, so that load balancers can react"
        );
        return signals.wait(watch, reloader, Some(leave));
    }
    end
}

/// Ends the parts in order: new connections, work in progress, sinks and backup, the log last.
fn stop(
    end: ServeEnd,
    core: &Core,
    server: Server,
    sinks: &Sinks,
    backup: Option<&Backup>,
    journal: &Journal,
) -> Result<(), Failure> {
    core.stop();
    if end == ServeEnd::Fault {
        std::thread::sleep(FAULT_NOTICE);
    }
    tracing::info!(
        event = "stopping",
        "no new connections; finishing requests and payments in progress"
    );
    server.drain();
    core.stop_driving();
    core.stop_tracing();
    sinks.stop();
    if let Some(backup) = backup {
        backup.stop();
    }
    let fault = journal.fault();
    journal.close();
    if let Some(fault) = fault {
        return Err(Box::new(fault));
    }
    tracing::info!(
        event = "stopped",
        "stopped; everything acknowledged is on disk"
    );
    Ok(())
}

fn open(
    arguments: &Serve,
    config: &Config,
    recovering: &Recovering,
    supervisor: &Supervisor,
) -> Result<Arc<Journal>, Failure> {
    keep_from_others(&config.storage.data_dir)?;
    let behind = if arguments.accept_clock {
        ClockBehind::Accept
    } else {
        ClockBehind::Refuse
    };
    let mut shown = Instant::now();
    let mut progress = |progress: Progress| {
        recovering.at(progress);
        if shown.elapsed() >= Duration::from_secs(1) {
            shown = Instant::now();
            supervisor.recovering(progress);
            let Progress { stage, done, total } = progress;
            tracing::info!(
                event = "recovering",
                stage,
                done,
                total,
                "recovery is in progress"
            );
        }
    };
    let data_dir = &config.storage.data_dir;
    refuse_emptied(data_dir, &[sandbox::path_in(data_dir)])?;
    // The sinks' cursors decide from where the log is kept, so they are read once no other process
    // can move them.
    let taken = TakenDirectory::take(data_dir)?;
    let journal = taken.open(compose::journal(config, behind)?, &mut progress)?;
    let opened = journal.opened();
    for problem in &opened.bad_snapshots {
        tracing::warn!(
            event = "bad_snapshot",
            problem,
            "a damaged snapshot was skipped"
        );
    }
    if let Some(tail) = &opened.torn_tail {
        tracing::warn!(
            event = "torn_tail",
            tail,
            "the log's torn tail, which was never acknowledged, was cut"
        );
    }
    tracing::info!(
        event = "recovered",
        events = opened.events_replayed,
        durable_lsn = opened.durable.0,
        snapshot_lsn = opened.snapshot.map(|lsn| lsn.0),
        elapsed_ms = opened.elapsed_ms,
        digest = opened.digest,
        "the data directory is open and recovered"
    );
    Ok(journal)
}

/// Denies other users of the machine access to the data directory.
fn keep_from_others(data_dir: &Path) -> Result<(), Failure> {
    let path = data_dir.display();
    let reach = files::make_private(data_dir)
        .map_err(|error| format!("cannot make the data directory {path} private: {error}"))?;
    match reach {
        Reach::Owner => {}
        Reach::Narrowed { mode } => tracing::warn!(
            event = "data_dir_narrowed",
            %path,
            mode = format!("{mode:o}"),
            "other users could access the data directory; its mode is now 700"
        ),
        // All files in it are ours and are narrowed, but the directory may be a volume that belongs
        // to another user.
        Reach::Others { mode, why } => tracing::warn!(
            event = "data_dir_open",
            %path,
            mode = format!("{mode:o}"),
            "other users can access the data directory, and its mode cannot be changed ({why}); give holdfast its own directory with mode 700"
        ),
        Reach::Shared { mode, beside } => {
            let beside = beside.map_or("many programs share it".to_owned(), |name| {
                format!("it also holds {}, which is not holdfast's", name.display())
            });
            return Err(format!(
                "other users can access the data directory {path} (mode {mode:o}), and {beside}: its mode is not changed, because others may need it; give holdfast a directory of its own, or remove the access of others (chmod 700)"
            )
            .into());
        }
    }
    let files = files::make_files_private(data_dir)
        .map_err(|error| format!("cannot make the files in {path} private: {error}"))?;
    if files.count > 0 {
        tracing::warn!(
            event = "data_files_narrowed",
            %path,
            count = files.count,
            "other users could access files of the data directory; their mode is now 600"
        );
    }
    if let Some((file, error)) = files.left {
        tracing::warn!(
            event = "data_file_open",
            path = %file.display(),
            "other users can access a file of the data directory, and its mode cannot be changed ({error})"
        );
    }
    Ok(())
}

/// Everything that requests are answered from.
fn parts(
    config: &Config,
    journal: &Arc<Journal>,
    secrets: &Arc<Secrets>,
    sinks: &StartedSinks,
    sealer: Sealer,
    (gateway, sandbox): Chosen,
    surroundings: Surroundings,
) -> Result<Arc<Core>, Failure> {
    // One shard of counters for administration, and one for threads without requests.
    let metrics = Arc::new(Metrics::new(config.server.workers + 2, route::served()));
    let tracer = otlp::start(config.otlp.as_ref())?;
    let payable = &journal.settings().payable;
    let mut currencies = config.sale.currencies.iter();
    debug_assert!(
        currencies.all(|it| gateway.amounts(*it) == Some(payable.of(*it))),
        "deciding goes by what the gateway takes"
    );
    let payments = Payments::new(
        Arc::clone(journal),
        Arc::clone(&gateway),
        compose::payments(config),
        sealer.capture_keys(),
        Arc::new(GatewayMeter(Arc::clone(&metrics), Arc::clone(&tracer))),
    )?;
    // Connections end with the runtime that opened them, and the reconciler's runtime ends before
    // the payments' last calls, so it has a client of its own.
    let compared = match &sandbox {
        Some(_) => gateway,
        None => chosen(config, None)?.0,
    };
    let driven = Arc::clone(&payments);
    let suspected = Arc::clone(&payments);
    let reconciler = Reconciler::new(
        Arc::clone(journal),
        compared,
        compose::reconcile(config),
        Box::new(move || driven.circuit() == Circuit::Closed),
        Box::new(move |purchase| suspected.look_again(purchase)),
    );
    let parts = CoreParts {
        journal: Arc::clone(journal),
        payments,
        reconciler,
        segments: compose::segments(config, journal),
        backup: surroundings.backup,
        tls: surroundings.tls,
        connections_max: surroundings.connections_max,
        sealer,
        sandbox,
        metrics,
        tracer,
        webhook_secrets: Arc::clone(secrets),
        sinks: Arc::clone(&sinks.sinks),
        endpoints: sinks.endpoints.clone(),
    };
    Ok(Core::new(config, parts)?)
}

/// A gateway; also as the sandbox, if it is that.
type Chosen = (Arc<dyn Gateway>, Option<Arc<Sandbox>>);

/// The configured gateway; `stripe` if it was built already.
fn chosen(config: &Config, stripe: Option<Stripe>) -> Result<Chosen, Failure> {
    match &config.payments.gateway {
        GatewayKind::Stripe(settings) => {
            let stripe = stripe.map_or_else(|| Stripe::new(settings.clone()), Ok)?;
            Ok((Arc::new(stripe), None))
        }
        GatewayKind::Sandbox => {
            let sandbox = Arc::new(Sandbox::open(&config.storage.data_dir)?);
            Ok((Arc::clone(&sandbox) as _, Some(sandbox)))
        }
    }
}

/// Counts, traces and logs what payments report.
struct GatewayMeter(Arc<Metrics>, Arc<Tracer>);

impl Meter for GatewayMeter {
    fn gateway_call(
        &self,
        span: Option<RequestTrace>,
        call: GatewayCall,
        class: CallClass,
        took: Duration,
    ) {
        let counters = self.0.of_thread();
        let traced = span.as_ref().map(|it| it.context);
        counters.took(Stage::Gateway, took, traced);
        counters.gateway_call(call, class);
        if let Some(span) = span {
            self.1.ended(span, took, Spanned::Gateway { call, class });
        }
    }

    fn log_waited(&self, took: Duration) {
        let traced = self.1.child_ended(took, Spanned::LogWait);
        self.0.of_thread().took(Stage::LogWait, took, traced);
    }

    fn span_begins(&self) -> Option<RequestTrace> {
        self.1.child()
    }

    fn round_ended(&self, span: RequestTrace, round: RoundEnded, took: Duration) {
        self.1.ended(span, took, Spanned::Round(round));
    }

    fn left_open(&self) {
        self.0.of_thread().left_open();
    }

    fn void_stuck(&self, purchase: PurchaseId) {
        tracing::error!(
            event = "void_stuck",
            purchase_id = %purchase,
            "an authorization could not be voided; retries continue, but check it at the gateway"
        );
    }

    fn capture_differs(&self, purchase: PurchaseId) {
        tracing::error!(
            event = "capture_differs",
            purchase_id = %purchase,
            "the gateway captured a different amount than requested; settle the purchase: POST /admin/purchases/{purchase}/settle"
        );
    }

    fn neglected(&self, purchase: PurchaseId) {
        self.0.of_thread().neglected();
        tracing::warn!(
            event = "payment_neglected",
            purchase_id = %purchase,
            "a payment was in a transient state with no task driving it; it is resumed"
        );
    }
}
