//! Owns whether new purchases are accepted, for `/readyz` and `/admin/status`.

use crate::journal::{Journal, Readiness};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why new purchases are not accepted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The log is being read; answered by another handler, because this one does not exist yet.
    Recovering,
    /// The process is stopping.
    Stopping,
    DiskFull,
    /// A write or sync of the log failed.
    DiskFailing,
    /// Another process has taken over the log.
    NotLeader,
    /// The data directory is a restored or older copy that is not accepted.
    RestoredCopy,
}

impl NotReady {
    /// What a process that serves metrics may be.
    pub const AFTER_RECOVERY: [Self; 5] = [
        Self::Stopping,
        Self::DiskFull,
        Self::DiskFailing,
        Self::NotLeader,
        Self::RestoredCopy,
    ];

    /// The reason, as `/readyz` says it.
    pub const fn reason(self) -> &'static str {
        self.texts().0
    }

    /// The reason, and what to do.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Recovering => (
                "recovering",
                "The server is starting and reads its log. It accepts requests when that is done.",
            ),
            Self::Stopping => (
                "stopping",
                "The process is shutting down. Send requests to another one.",
            ),
            Self::DiskFull => (
                "disk_full",
                "Less than storage.disk_free_bytes_min is free on the disk of the data directory. Free disk space.",
            ),
            Self::DiskFailing => (
                "disk_failing",
                "A write or sync of the log failed, and the process is stopping. Check the disk, then start the process again.",
            ),
            Self::NotLeader => (
                "not_leader",
                "Another process writes this log's backup, and this one ends; send requests to the other one. The log line `backup_refused` names it.",
            ),
            Self::RestoredCopy => (
                "restored_copy",
                "The data directory is a restored or older copy, or a sink has more than its log, or a copied directory has a sink that cannot be reached (GET /admin/status says which). Put the right directory back, or order to go on with this one: POST /admin/history/accept.",
            ),
        }
    }
}

/// Readiness in `/readyz` and `/admin/status`.
pub fn readiness_json(not_ready: Option<NotReady>) -> Value {
    let texts = not_ready.map(NotReady::texts);
    json!({
        "status": if texts.is_some() { "not_ready" } else { "ready" },
        "reason": texts.map(|(reason, _)| reason),
        "detail": texts.map(|(_, detail)| detail),
    })
}

/// Checks whether new purchases are accepted.
pub struct ReadinessCheck {
    journal: Arc<Journal>,
    stopping: AtomicBool,
}

impl ReadinessCheck {
    pub fn new(journal: &Arc<Journal>) -> Arc<Self> {
        Arc::new(Self {
            journal: Arc::clone(journal),
            stopping: AtomicBool::new(false),
        })
    }

    /// Reports the process as stopping from now on.
    pub fn leave(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to end, by order or by a fault.
    pub fn is_stopping(&self) -> bool {
        matches!(
            self.not_ready(),
            Some(NotReady::Stopping | NotReady::DiskFailing | NotReady::NotLeader)
        )
    }

    /// The reason, if not ready.
    pub fn not_ready(&self) -> Option<NotReady> {
        let stopping = self.stopping.load(Ordering::Relaxed);
        match self.journal.figures().readiness() {
            // A fault stops the process, so it is more specific than `stopping`.
            Readiness::NotLeader => Some(NotReady::NotLeader),
            Readiness::RestoredCopy => Some(NotReady::RestoredCopy),
            Readiness::Failed(_) => Some(NotReady::DiskFailing),
            Readiness::Ready | Readiness::DiskFull if stopping => Some(NotReady::Stopping),
            Readiness::DiskFull => Some(NotReady::DiskFull),
            Readiness::Ready => None,
        }
    }
}
