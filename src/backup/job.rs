//! Owns the thread that uploads a running core's log, and its status.
//!
//! Invariants: no purchase waits for it; an unavailable store is retried without end, with growing
//! waits; the log is kept for it up to a configured limit; a process that may not write the backup
//! is stopped, because it may not sell either. Deliberately absent: what is uploaded (`ship`).

use super::lease::{BEAT, LeaseRefusal, LeaseStanding, LeaseWriter, Leasing, place_of};
use super::settings::BackupSettings;
use super::ship::{OtherHistory, Round, ShipError, Shipper};
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

/// The name of the log's retention for the backup.
pub const RETENTION: &str = "backup";

/// Waits after failures double from this one to the maximum.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Nothing is uploaded if the last beat is older than this, because another process may hold the
/// lease by now.
const HELD_FOR: Duration = Duration::from_secs(6);

/// Time between two searches for objects to delete, if nothing else causes one.
const TIDY_EVERY: Duration = Duration::from_mins(10);

/// Time for the last upload when the core stops cleanly.
const LAST_ROUND: Duration = Duration::from_secs(5);

/// How long a start waits for the store to confirm that this process may write.
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
    /// The last time at which everything durable was in the store.
    caught_up_at: Instant,
    held_at: Option<Instant>,
}

/// The status of a backup.
#[derive(Clone, Debug)]
pub struct BackupStatus {
    pub to: String,
    /// Everything before this LSN is in the store.
    pub shipped: Lsn,
    /// The newest snapshot in the store.
    pub snapshot: Option<Lsn>,
    /// Bytes of durable log that are not in the store yet.
    pub lag_bytes: u64,
    /// How long the oldest durable log has waited for its upload.
    pub lag: Duration,
    /// Bytes uploaded since the start.
    pub bytes: u64,
    /// Objects uploaded since the start.
    pub objects: u64,
    /// Failed uploads since the start.
    pub failures: u64,
    /// Times that log was deleted before it was uploaded.
    pub gaps: u64,
    /// The current failure, if any.
    pub failing: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be used.
    #[error("the backup: {0}")]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error("the backup: {0}")]
    Journal(#[from] JournalError),
    /// The thread could not be started.
    #[error("the backup's thread cannot be started: {0}")]
    Spawn(#[from] std::io::Error),
    #[error(transparent)]
    Refused(#[from] BackupRefusal),
}

/// Why this process may not write the backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupRefusal {
    /// Another process writes it.
    #[error(transparent)]
    Lease(LeaseRefusal),
    /// The store has another history.
    #[error(transparent)]
    History(OtherHistory),
    #[error("cannot read the log for the backup: {0}")]
    Log(JournalError),
}

/// The first answer of the store about the lease.
enum FirstClaim {
    Held,
    Unreachable,
    Refused(BackupRefusal),
}

impl Backup {
    /// Starts uploading. Waits until the store confirms that this process may write; continues
    /// without confirmation if the store cannot be reached.
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
            Ok(FirstClaim::Refused(why)) => Err(why.into()),
            Ok(FirstClaim::Held | FirstClaim::Unreachable) | Err(_) => Ok(backup),
        }
    }

    /// The current status.
    pub fn status(&self) -> BackupStatus {
        let durable = self.shared.journal.tail().durable_lsn();
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

    /// Uploads the rest, for a few seconds at most, and ends. Blocks.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        if let Some(thread) = self.thread.lock().take() {
            // A panic would have stopped the process already.
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
        let source = || self.shared.journal.tail().copy_source();
        let refused = tokio::select! {
            why = self.keep_lease(leasing, source()) => why,
            why = self.ship(source()) => why,
        };
        if let Some(why) = refused {
            tracing::error!(event = "backup_refused", "{why}");
            let told = why.to_string();
            let _ = self.claim.send(FirstClaim::Refused(why));
            self.shared.journal.tail().withdraw(told);
        }
    }

    /// Renews the lease every few seconds; returns the reason once this process may no longer
    /// write.
    async fn keep_lease(&self, mut leasing: Leasing, source: CopySource) -> Option<BackupRefusal> {
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
                Ok(LeaseStanding::Refused(why)) => return Some(BackupRefusal::Lease(why)),
                Err(why) => self.failed(&why),
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Uploads until stopped; returns the reason once this process may no longer write.
    async fn ship(&self, source: CopySource) -> Option<BackupRefusal> {
        let mut stopped = self.stopped.clone();
        let mut shipper = match Shipper::new(&self.store, source, &self.shared.carried) {
            Ok(shipper) => shipper,
            Err(error) => return Some(BackupRefusal::Log(error)),
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
                    Some(Err(ShipError::History(why))) => return Some(BackupRefusal::History(why)),
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
        let durable = journal.tail().durable_lsn();
        shipper.look(journal.now()).await?;
        // The store had no objection.
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
        self.shared
            .journal
            .tail()
            .retention_moves(RETENTION, round.needed);
        if round.gap {
            self.shared.figures.lock().gaps += 1;
            tracing::error!(
                event = "backup_gap",
                from_lsn = round.needed.0,
                "the backup has a gap: log was deleted before it was uploaded, so instants in between cannot be restored; the backup continues from the newest snapshot"
            );
        }
    }

    /// Releases log beyond `backup.log_kept_bytes_max`, although it is not uploaded.
    fn bound_retention(&self) {
        let durable = self.shared.journal.tail().durable_lsn();
        let least = durable
            .0
            .saturating_sub(self.shared.settings.log_kept_bytes_max);
        self.shared
            .journal
            .tail()
            .retention_moves(RETENTION, Lsn(least));
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
