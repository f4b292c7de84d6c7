//! Owns the thread that ships a running core's log, and how it stands.
//!
//! Invariants: no purchase waits for it; a store that is away is tried again for ever, with waits that
//! grow; the log is kept for it up to a bound that is set; a process that may not write the backup is
//! stopped, for it may not sell either. Deliberately absent: what is shipped, which `ship` has.

use super::lease::{BEAT, LeaseStanding, LeaseWriter, Leasing, place_of};
use super::settings::BackupSettings;
use super::ship::{Round, ShipError, Shipper};
use super::store::{Store, StoreError};
use super::upload::Carried;
use crate::ids::Lsn;
use crate::journal::{CopySource, Journal, JournalError};
use crate::random::Random;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Whose sake the log is kept for.
pub const RETENTION: &str = "backup";

/// Waits after failures double from the first to the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Nothing is shipped on the word of a beat that is older.
const HELD_FOR: Duration = Duration::from_secs(6);

/// Time between two searches for objects to delete, if nothing else causes one.
const TIDY_EVERY: Duration = Duration::from_mins(10);

/// For what is left to be shipped when the core ends in good order.
const LAST_ROUND: Duration = Duration::from_secs(5);

/// For the store to say who may write, before the core listens.
const CLAIM_PATIENCE: Duration = Duration::from_secs(20);

/// The backup of a running core.
pub struct Backup {
    shared: Arc<SharedStatus>,
    stopping: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct SharedStatus {
    journal: Arc<Journal>,
    settings: BackupSettings,
    carried: Carried,
    figures: Mutex<Figures>,
}

struct Figures {
    shipped: Lsn,
    snapshot: Option<Lsn>,
    failures: u64,
    gaps: u64,
    failing: Option<String>,
    /// When everything that was durable then was in the store.
    caught_up_at: Instant,
    held_at: Option<Instant>,
}

/// How a backup stands.
#[derive(Clone, Debug)]
pub struct BackupStatus {
    /// Where it goes.
    pub to: String,
    /// Everything before is in the store.
    pub shipped: Lsn,
    /// The newest snapshot in the store.
    pub snapshot: Option<Lsn>,
    /// Bytes of log that are durable here and not in the store.
    pub lag_bytes: u64,
    /// For how long something durable has not been in the store.
    pub lag: Duration,
    /// Bytes shipped since the start.
    pub bytes: u64,
    /// Objects shipped since the start.
    pub objects: u64,
    /// Tries that failed since the start.
    pub failures: u64,
    /// How often the log was not kept for as long as the store was away.
    pub gaps: u64,
    /// Why it fails, while it does.
    pub failing: Option<String>,
}

/// Why a core may not start.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be used.
    #[error("the backup: {0}")]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error("the backup: {0}")]
    Journal(#[from] JournalError),
    /// No thread.
    #[error("the backup's thread cannot be started: {0}")]
    Spawn(#[from] std::io::Error),
    /// Another process has it, or the store has another history.
    #[error("{0}")]
    Refused(String),
}

/// What the store said of this process first.
enum FirstClaim {
    Held,
    Unreachable,
    Refused(String),
}

impl Backup {
    /// Starts shipping. Waits for the store to say that this process may write there; goes on without
    /// its word where it cannot be reached.
    pub fn start(
        journal: &Arc<Journal>,
        data_dir: &Path,
        settings: BackupSettings,
    ) -> Result<Arc<Self>, BackupError> {
        let store = Store::open(&settings.target)?;
        let writer = LeaseWriter {
            log_id: journal.log_id(),
            token: Random::System.draw(),
            place: place_of(data_dir),
        };
        let shared = Arc::new(SharedStatus {
            journal: Arc::clone(journal),
            settings,
            carried: Carried::default(),
            figures: Mutex::new(Figures {
                shipped: Lsn(0),
                snapshot: None,
                failures: 0,
                gaps: 0,
                failing: None,
                caught_up_at: Instant::now(),
                held_at: None,
            }),
        });
        let (stopping, stopped) = watch::channel(false);
        let (claim, claimed) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let running = RunningJob {
            shared: Arc::clone(&shared),
            store,
            claim,
            stopped,
        };
        let thread = std::thread::Builder::new()
            .name("backup".to_owned())
            .spawn(move || runtime.block_on(running.run(Leasing::new(writer))))?;
        let backup = Arc::new(Self {
            shared,
            stopping,
            thread: Mutex::new(Some(thread)),
        });
        match claimed.recv_timeout(CLAIM_PATIENCE) {
            Ok(FirstClaim::Refused(why)) => Err(BackupError::Refused(why)),
            Ok(FirstClaim::Held | FirstClaim::Unreachable) | Err(_) => Ok(backup),
        }
    }

    /// How it stands.
    pub fn status(&self) -> BackupStatus {
        let durable = self.shared.journal.durable_lsn();
        let figures = self.shared.figures.lock();
        let lag_bytes = durable.0.saturating_sub(figures.shipped.0);
        BackupStatus {
            to: self.shared.settings.target.to_string(),
            shipped: figures.shipped,
            snapshot: figures.snapshot,
            lag_bytes,
            lag: if lag_bytes == 0 {
                Duration::ZERO
            } else {
                figures.caught_up_at.elapsed()
            },
            bytes: self.shared.carried.bytes(),
            objects: self.shared.carried.objects(),
            failures: figures.failures,
            gaps: figures.gaps,
            failing: figures.failing.clone(),
        }
    }

    /// Ships what is left, for a few seconds at most, and ends. Blocks.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        if let Some(thread) = self.thread.lock().take() {
            // A panic has stopped the process already.
            let _ = thread.join();
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.stop();
    }
}

struct RunningJob {
    shared: Arc<SharedStatus>,
    store: Store,
    claim: mpsc::Sender<FirstClaim>,
    stopped: watch::Receiver<bool>,
}

impl RunningJob {
    async fn run(self, leasing: Leasing) {
        let source = || self.shared.journal.copy_source();
        let refused = tokio::select! {
            why = self.keep_lease(leasing, source()) => why,
            why = self.ship(source()) => why,
        };
        if let Some(why) = refused {
            tracing::error!(event = "backup_refused", "{why}");
            let _ = self.claim.send(FirstClaim::Refused(why.clone()));
            self.shared.journal.withdraw(why);
        }
    }

    /// Shows every few seconds that this process is there; why it may not be, once that is so.
    async fn keep_lease(&self, mut leasing: Leasing, source: CopySource) -> Option<String> {
        loop {
            let shipped = self.shared.figures.lock().shipped;
            let beat = match source.identity() {
                Ok((_, generation)) => leasing
                    .beat(&self.store, generation, shipped.0)
                    .await
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match beat {
                Ok(LeaseStanding::Held) => {
                    self.shared.figures.lock().held_at = Some(Instant::now());
                }
                Ok(LeaseStanding::Watching) => {}
                Ok(LeaseStanding::Refused(why)) => return Some(why.to_string()),
                Err(why) => self.failed(&why),
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Ships until told to stop; why this process may not, once that is so.
    async fn ship(&self, source: CopySource) -> Option<String> {
        let mut stopped = self.stopped.clone();
        let mut shipper = match Shipper::new(&self.store, source, &self.shared.carried) {
            Ok(shipper) => shipper,
            Err(error) => return Some(format!("cannot read the log for the backup: {error}")),
        };
        let mut wait = WAIT_FIRST;
        let mut tidied = None;
        loop {
            let is_last = *stopped.borrow_and_update();
            let rest = if self.is_held() {
                let round = self.round(&mut shipper, &mut tidied);
                let ended = if is_last {
                    tokio::time::timeout(LAST_ROUND, round).await.ok()
                } else {
                    Some(round.await)
                };
                match ended {
                    None => return None,
                    Some(Ok(())) => {
                        wait = WAIT_FIRST;
                        self.shared.settings.every
                    }
                    Some(Err(ShipError::History(why))) => return Some(why.to_string()),
                    Some(Err(error)) => {
                        self.failed(&error.to_string());
                        let rest = wait;
                        wait = (wait * 2).min(WAIT_MAX);
                        rest
                    }
                }
            } else {
                self.shared.settings.every.min(WAIT_FIRST)
            };
            self.bound_retention();
            if is_last {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                _ = stopped.changed() => {}
            }
        }
    }

    fn is_held(&self) -> bool {
        let held_at = self.shared.figures.lock().held_at;
        held_at.is_some_and(|it| it.elapsed() < HELD_FOR)
    }

    async fn round(
        &self,
        shipper: &mut Shipper<'_>,
        tidied: &mut Option<Instant>,
    ) -> Result<(), ShipError> {
        let (journal, began) = (&self.shared.journal, Instant::now());
        let durable = journal.durable_lsn();
        shipper.look(journal.now()).await?;
        // The store has said nothing against it.
        let _ = self.claim.send(FirstClaim::Held);
        let round = shipper.round(journal.now()).await;
        if let Some(shipped) = shipper.shipped() {
            let mut figures = self.shared.figures.lock();
            figures.shipped = shipped;
            figures.snapshot = shipper.newest_snapshot();
            if shipped >= durable {
                figures.caught_up_at = began;
            }
        }
        let round = round?;
        self.note(&round);
        let is_due = round.grown || tidied.is_none_or(|it| it.elapsed() >= TIDY_EVERY);
        if is_due {
            let keep = i64::try_from(self.shared.settings.keep.as_millis()).unwrap_or(i64::MAX);
            shipper.tidy(journal.now().moved_ms(-keep)).await?;
            *tidied = Some(Instant::now());
        }
        self.went_well();
        Ok(())
    }

    fn note(&self, round: &Round) {
        self.shared.journal.retention_moves(RETENTION, round.needed);
        if round.gap {
            self.shared.figures.lock().gaps += 1;
            tracing::error!(
                event = "backup_gap",
                from_lsn = round.needed.0,
                "the backup has a gap: log was deleted before it was uploaded, so instants in between cannot be restored; the backup continues from the newest snapshot"
            );
        }
    }

    /// Lets go of the log that a store which is away for too long would keep.
    fn bound_retention(&self) {
        let durable = self.shared.journal.durable_lsn();
        let least = durable
            .0
            .saturating_sub(self.shared.settings.log_kept_bytes_max);
        self.shared.journal.retention_moves(RETENTION, Lsn(least));
    }

    fn failed(&self, why: &str) {
        let mut figures = self.shared.figures.lock();
        figures.failures += 1;
        let is_first = figures.failing.is_none();
        figures.failing = Some(why.to_owned());
        drop(figures);
        if is_first {
            tracing::warn!(event = "backup_failing", "{why}");
        }
        let _ = self.claim.send(FirstClaim::Unreachable);
    }

    fn went_well(&self) {
        let failing = self.shared.figures.lock().failing.take();
        if failing.is_some() {
            tracing::info!(event = "backup_again", "the backup works again");
        }
    }
}
