//! Owns reconciliation in a running core: on its own thread, periodically and on request.
//!
//! Invariants: one run at a time. A request during a run gets that run's report, or the next run's
//! if the current one compares less than was requested. The last report stays until there is
//! another. A failed run is repeated at the next period and does not change the time of the last
//! success.
//! Deliberately absent: what to do about a difference, except for logging it.

use crate::ids::PurchaseId;
use crate::job::Alarm;
use crate::journal::Journal;
use crate::payments::driver::tell_time;
use crate::payments::gateway::Gateway;
use crate::reconcile::report::{DifferenceKind, ReconcileReport};
use crate::reconcile::run::{ReconcileLimits, ReconcileProgress, reconcile};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first run comes this long after the start, so that payments left open have ended.
const FIRST_AFTER: Duration = Duration::from_mins(1);

/// When and how it runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct JobSettings {
    /// Between two runs; `None`: only when asked.
    pub every: Option<Duration>,
    /// The bounds of each.
    pub limits: ReconcileLimits,
}

/// Which payments a run compares.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Those of the window in [`ReconcileLimits`].
    Window,
    All,
}

/// Whether it makes sense to ask the gateway just now.
pub type Reachable = Box<dyn Fn() -> bool + Send + Sync>;

/// Told of each payment whose amounts differ: what the gateway did without us is written down.
pub type Differs = Box<dyn Fn(PurchaseId) + Send + Sync>;

/// Reconciliation in a running core.
pub struct Reconciler {
    journal: Arc<Journal>,
    gateway: Arc<dyn Gateway>,
    settings: JobSettings,
    reachable: Reachable,
    differs: Differs,
    state: Mutex<ReconcileStatus>,
    /// The number of the run that ended last; no run ends any more at the greatest number.
    ended: watch::Sender<u64>,
    alarm: Arc<Alarm>,
}

/// How it stands.
#[derive(Clone, Debug, Default)]
pub struct ReconcileStatus {
    /// Runs begun in this process; the last one's number.
    pub runs: u64,
    /// Runs that failed.
    pub failed: u64,
    /// How far the run under way is.
    pub running: Option<ReconcileProgress>,
    /// The latest report.
    pub last: Option<Arc<ReconcileReport>>,
    /// The latest report of a run that did not fail.
    pub last_good: Option<Arc<ReconcileReport>>,
    /// What the run under way compares.
    scope: Option<Scope>,
    /// What the next run is asked to compare.
    asked: Option<Scope>,
}

impl ReconcileStatus {
    /// Runs begun or asked for in this process; the last one's number.
    pub fn asked_for(&self) -> u64 {
        self.runs + u64::from(self.asked.is_some())
    }
}

impl Reconciler {
    /// Compares `journal` with `gateway`, once [`Reconciler::start`] is called. A run that is due
    /// while the gateway is not `reachable` is left out. The gateway goes by the journal's time,
    /// whether or not payments go to it, too. `differs` is told of payments whose amounts
    /// are not the same, and brings our books up to date where it can.
    pub fn new(
        journal: Arc<Journal>,
        gateway: Arc<dyn Gateway>,
        settings: JobSettings,
        reachable: Reachable,
        differs: Differs,
    ) -> Arc<Self> {
        tell_time(&*gateway, &journal);
        Arc::new(Self {
            journal,
            gateway,
            settings,
            reachable,
            differs,
            state: Mutex::default(),
            ended: watch::Sender::default(),
            alarm: Arc::default(),
        })
    }

    /// Starts the thread, which goes on until [`Reconciler::stop`].
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let job = Arc::clone(self);
        self.alarm
            .start("reconcile", move || async move { job.go_on().await })
    }

    /// Ends the thread; a run under way ends without a report.
    pub fn stop(&self) {
        self.alarm.stop();
        self.ended.send_replace(u64::MAX);
    }

    /// Asks for a run; the number of the one whose report answers: the run under way, if there is
    /// one that compares as much, else the next.
    pub fn ask(&self, scope: Scope) -> u64 {
        let mut state = self.state.lock();
        if state.scope >= Some(scope) {
            return state.runs;
        }
        state.asked = state.asked.max(Some(scope));
        self.alarm.wake();
        state.asked_for()
    }

    /// The report of this run or a later one, once it has ended; `None`: reconciliation stopped before.
    pub async fn report_of(&self, run: u64) -> Option<Arc<ReconcileReport>> {
        let mut ended = self.ended.subscribe();
        // The sender is in `self`.
        ended.wait_for(|ended| *ended >= run).await.ok()?;
        self.state
            .lock()
            .last
            .clone()
            .filter(|last| last.run >= run)
    }

    /// How it stands. Everything that it reveals is durable.
    pub fn status(&self) -> ReconcileStatus {
        self.state.lock().clone()
    }

    async fn go_on(&self) {
        let mut wait = self.settings.every.map(|every| every.min(FIRST_AFTER));
        loop {
            let asked = || self.state.lock().asked.is_some();
            self.alarm.due(wait, asked).await;
            wait = self.settings.every;
            if self.state.lock().asked.is_some() || (self.reachable)() {
                self.run().await;
            } else {
                tracing::info!(
                    event = "reconcile_skipped",
                    "the comparison with the gateway was skipped, because the circuit to the gateway is open"
                );
            }
        }
    }

    async fn run(&self) {
        let (number, scope) = {
            let mut state = self.state.lock();
            let scope = state.asked.take().unwrap_or(Scope::Window);
            state.scope = Some(scope);
            state.runs += 1;
            state.running = Some(ReconcileProgress::default());
            (state.runs, scope)
        };
        let window = match scope {
            Scope::Window => self.settings.limits.window,
            Scope::All => None,
        };
        let limits = ReconcileLimits {
            window,
            ..self.settings.limits
        };
        let mut progress = |progress| self.state.lock().running = Some(progress);
        let report = reconcile(&*self.journal, &self.gateway, limits, number, &mut progress).await;
        log(&report);
        for difference in &report.differences {
            if difference.kind == DifferenceKind::AmountDiffers {
                (self.differs)(difference.reference.purchase());
            }
        }
        let mut state = self.state.lock();
        state.running = None;
        state.scope = None;
        let report = Arc::new(report);
        if report.succeeded() {
            state.last_good = Some(Arc::clone(&report));
        } else {
            state.failed += 1;
        }
        state.last = Some(report);
        drop(state);
        self.ended.send_modify(|ended| *ended = number.max(*ended));
    }
}

fn log(report: &ReconcileReport) {
    let counts = &report.counts;
    let (charges, payments, open) = (counts.charges, counts.payments, counts.open);
    let elapsed_ms = report.ended_at.since_ms(report.started_at);
    let result = report.word();
    match &report.outcome {
        super::RunOutcome::Failed(why) => tracing::error!(
            event = "reconcile",
            result,
            run = report.run,
            charges,
            payments,
            elapsed_ms,
            "the comparison with the gateway failed: {why}"
        ),
        _ if report.agrees() => tracing::info!(
            event = "reconcile",
            result,
            run = report.run,
            charges,
            payments,
            open,
            elapsed_ms,
            "the gateway's charges match our captures"
        ),
        _ => {
            let kinds = DifferenceKind::ALL.map(|kind| (kind.as_str(), report.count(kind)));
            let found = kinds.iter().filter(|(_, count)| *count > 0);
            let found: Vec<_> = found
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            tracing::error!(
                event = "reconcile",
                result,
                run = report.run,
                charges,
                payments,
                open,
                elapsed_ms,
                differences = report.differences.len(),
                "the gateway's charges differ from our captures: {}; see GET /admin/reconcile",
                found.join(", ")
            );
        }
    }
}
