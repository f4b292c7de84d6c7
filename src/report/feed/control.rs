//! Owns the shared state of a running sink: figures, status, pause and resume.
//!
//! Invariant: everything here is read and written without waiting for the sink.

use super::cursor::{Gap, Lost, Mode, SinkState};
use super::sink::Kept;
use crate::ids::Lsn;
use crate::journal::Elsewhere;
use crate::time::UnixMs;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{oneshot, watch};

/// The requested state of a sink.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum SinkOrder {
    Mode(Mode),
    Stop,
}

/// The shared state of one sink.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) name: &'static str,
    pub(super) kept: Kept,
    pub(super) wanted: watch::Sender<SinkOrder>,
    pub(super) up: AtomicBool,
    /// What operators see: it stands before the oldest delivery that was put off.
    pub(super) cursor: AtomicU64,
    /// From where on the sink needs the log. What was put off does not need it.
    pub(super) needs_from: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) retries: AtomicU64,
    /// The time of the oldest known undelivered event; 0: none is known.
    pub(super) oldest_ms: AtomicU64,
    pub(super) troubles: Mutex<SinkTroubles>,
}

/// The parts of the status that are not numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct SinkTroubles {
    /// Why the last delivery failed.
    pub(super) failure: Option<String>,
    pub(super) gaps: Vec<Gap>,
    pub(super) lost: Vec<Lost>,
}

/// A request that gets an answer.
#[derive(Debug)]
pub(super) struct Redrive {
    pub(super) from: Lsn,
    pub(super) to: Option<Lsn>,
    pub(super) answer: oneshot::Sender<Redriven>,
}

/// The result of redriving dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    pub delivered: usize,
    /// Rejected again.
    pub refused: usize,
    /// The first dead letter for which there was no time.
    pub next: Option<Lsn>,
    /// Why it ended early.
    pub failure: Option<String>,
}

/// The status of a sink for operators.
#[derive(Clone, Debug)]
pub struct SinkStatus {
    pub name: &'static str,
    pub mode: Mode,
    /// Whether the last delivery succeeded.
    pub up: bool,
    /// Why the last delivery failed.
    pub failure: Option<String>,
    /// Everything before this LSN is delivered.
    pub cursor: Lsn,
    /// Bytes of durable log that are not delivered yet.
    pub lag_bytes: u64,
    /// The age of the oldest undelivered event, in milliseconds.
    pub age_ms: u64,
    /// Events delivered since the start.
    pub delivered: u64,
    /// Events rejected permanently since the start.
    pub rejected: u64,
    /// Retried deliveries since the start.
    pub retries: u64,
    /// Ranges that it never got.
    pub gaps: Vec<Gap>,
    /// Events that it took back, because the log no longer has them.
    pub lost: Vec<Lost>,
    pub dead_letter_bytes: u64,
    /// Its cursor, if that belongs to another history of the log.
    pub elsewhere: Option<Elsewhere>,
}

impl Control {
    pub(super) fn new(name: &'static str, kept: Kept, mode: Mode) -> Self {
        Self {
            name,
            kept,
            wanted: watch::Sender::new(SinkOrder::Mode(mode)),
            up: AtomicBool::new(false),
            cursor: AtomicU64::new(0),
            needs_from: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(0),
            troubles: Mutex::default(),
        }
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        match *self.wanted.borrow() {
            SinkOrder::Mode(mode) => Some(mode),
            SinkOrder::Stop => None,
        }
    }

    pub(super) fn is_up(&self) {
        self.up.store(true, Ordering::Relaxed);
        self.troubles.lock().failure = None;
    }

    pub(super) fn is_down(&self, why: String) {
        self.up.store(false, Ordering::Relaxed);
        self.troubles.lock().failure = Some(why);
    }

    /// Publishes what the sink has missed and lost.
    pub(super) fn tells(&self, state: &SinkState) {
        let mut troubles = self.troubles.lock();
        troubles.gaps.clone_from(&state.gaps);
        troubles.lost.clone_from(&state.lost);
    }

    /// Publishes the cursor, and what operators see of it.
    pub(super) fn cursor_at(&self, cursor: Lsn, shown: Lsn) {
        self.needs_from.store(cursor.0, Ordering::Release);
        self.cursor.store(shown.0, Ordering::Release);
    }

    pub(super) fn status(&self, durable: Lsn, now: UnixMs, dead_letter_bytes: u64) -> SinkStatus {
        let troubles = self.troubles.lock().clone();
        let cursor = Lsn(self.cursor.load(Ordering::Acquire));
        let lag_bytes = durable.0.saturating_sub(cursor.0);
        let oldest_ms = self.oldest_ms.load(Ordering::Relaxed);
        let age_ms = if lag_bytes == 0 || oldest_ms == 0 {
            0
        } else {
            now.get().saturating_sub(oldest_ms)
        };
        SinkStatus {
            name: self.name,
            mode: self.mode().unwrap_or(Mode::Run),
            up: self.up.load(Ordering::Relaxed),
            failure: troubles.failure,
            cursor,
            lag_bytes,
            age_ms,
            delivered: self.delivered.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            gaps: troubles.gaps,
            lost: troubles.lost,
            dead_letter_bytes,
            elsewhere: None,
        }
    }
}
