//! Owns what happens when the disk is nearly full: the log is no longer kept for the sinks that the
//! settings name.
//!
//! Invariants: a sink that is less than a segment behind is not given up, since it keeps no segment; who is
//! given up is logged. Deliberately absent: refusing sales, which the journal does.

use super::control::SinkOrder;
use super::cursor::Mode;
use super::sinks::Running;
use crate::ids::Lsn;
use crate::journal::Journal;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::sync::mpsc as blocking;
use std::time::Duration;

/// How often the free disk space is read.
const DISK_LOOK: Duration = Duration::from_millis(500);

/// Gives a sink up when the disk is nearly full.
pub(super) struct DiskWatch {
    /// In the order in which they go.
    pub(super) names: Vec<String>,
    pub(super) below_bytes: u64,
    pub(super) segment_bytes: u64,
    pub(super) journal: Arc<Journal>,
    pub(super) running: Arc<Mutex<Vec<Running>>>,
}

impl DiskWatch {
    pub(super) fn run(&self, stopped: &blocking::Receiver<()>) {
        while stopped.recv_timeout(DISK_LOOK) == Err(blocking::RecvTimeoutError::Timeout) {
            let free = self.journal.tail().disk_free_bytes();
            if free.is_some_and(|free| free < self.below_bytes) {
                let mut names = self.names.iter();
                names.any(|name| self.gives_up(name, free.unwrap_or(0)));
            }
        }
    }

    /// Gives a sink up, if it runs and keeps a part of the log.
    fn gives_up(&self, name: &str, free_bytes: u64) -> bool {
        let control = {
            let running = self.running.lock();
            let found = running.iter().find(|it| it.control.name == name);
            found.map(|it| Arc::clone(&it.control))
        };
        let Some(control) = control else { return false };
        // Not the cursor that operators see: what the sink put off keeps none of the log.
        let cursor = Lsn(control.needs_from.load(Acquire));
        let behind = self.journal.tail().durable_lsn().0.saturating_sub(cursor.0);
        if behind < self.segment_bytes {
            return false;
        }
        let given_up = control.wanted.send_if_modified(|wanted| {
            let gives_up = matches!(wanted, SinkOrder::Mode(Mode::Run | Mode::Paused));
            if gives_up {
                *wanted = SinkOrder::Mode(Mode::GivenUp);
            }
            gives_up
        });
        if !given_up {
            return false;
        }
        self.journal.tail().retention_ends(name);
        tracing::error!(
            event = "sink_given_up",
            sink = name,
            cursor = cursor.0,
            behind_bytes = behind,
            free_bytes,
            "the disk is nearly full and the log is no longer kept for this sink, as \
             report.on_disk_full says; resume it once there is room, and it goes on where the log begins"
        );
        if let Err(error) = self.journal.tail().let_go() {
            tracing::warn!(event = "log_not_tidied", "{error}");
        }
        true
    }
}
