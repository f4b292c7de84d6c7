//! Owns what the outside sees of a running sink and tells it: figures, state, pause and resume.
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

/// What a sink is to do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Mode(Mode),
    /// End.
    Stop,
}

/// One sink's figures and wishes.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) name: &'static str,
    pub(super) kept: Kept,
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) up: AtomicBool,
    pub(super) cursor: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) retries: AtomicU64,
    /// When the oldest event happened that is known to be undelivered; 0: none is known.
    pub(super) oldest_ms: AtomicU64,
    pub(super) told: Mutex<Told>,
}

/// What is told in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Why it is down, where it is.
    pub(super) failure: Option<String>,
    /// What it has missed.
    pub(super) gaps: Vec<Gap>,
    /// What it took back.
    pub(super) lost: Vec<Lost>,
}

/// A wish that is answered.
#[derive(Debug)]
pub(super) struct Redrive {
    pub(super) from: Lsn,
    pub(super) to: Option<Lsn>,
    pub(super) answer: oneshot::Sender<Result<Redriven, String>>,
}

/// What driving dead letters again led to.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Delivered now.
    pub delivered: usize,
    /// Refused again.
    pub refused: usize,
}

/// What the outside sees of a sink.
#[derive(Clone, Debug)]
pub struct SinkStatus {
    pub name: &'static str,
    pub mode: Mode,
    /// Whether it takes what it is given.
    pub up: bool,
    /// Why not.
    pub failure: Option<String>,
    /// Everything before is delivered.
    pub cursor: Lsn,
    /// Bytes of log that are durable and not delivered.
    pub lag_bytes: u64,
    /// How long ago the oldest undelivered event happened, in milliseconds.
    pub age_ms: u64,
    /// Events delivered since the start.
    pub delivered: u64,
    /// Events refused for good since the start.
    pub rejected: u64,
    /// Deliveries that were tried again since the start.
    pub retries: u64,
    /// What it never got.
    pub gaps: Vec<Gap>,
    /// What it had and took back, because the log does not have it any more.
    pub lost: Vec<Lost>,
    pub dead_letter_bytes: u64,
    /// Where its cursor is, while that is another history of the log.
    pub elsewhere: Option<Elsewhere>,
}

impl Control {
    pub(super) fn new(name: &'static str, kept: Kept, mode: Mode) -> Self {
        Self {
            name,
            kept,
            wanted: watch::Sender::new(Wanted::Mode(mode)),
            up: AtomicBool::new(false),
            cursor: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        match *self.wanted.borrow() {
            Wanted::Mode(mode) => Some(mode),
            Wanted::Stop => None,
        }
    }

    pub(super) fn is_up(&self) {
        self.up.store(true, Ordering::Relaxed);
        self.told.lock().failure = None;
    }

    pub(super) fn is_down(&self, why: String) {
        self.up.store(false, Ordering::Relaxed);
        self.told.lock().failure = Some(why);
    }

    /// Tells what the sink has missed and lost.
    pub(super) fn tells(&self, state: &SinkState) {
        let mut told = self.told.lock();
        told.gaps.clone_from(&state.gaps);
        told.lost.clone_from(&state.lost);
    }

    pub(super) fn cursor_at(&self, cursor: Lsn) {
        self.cursor.store(cursor.0, Ordering::Release);
    }

    pub(super) fn status(&self, durable: Lsn, now: UnixMs, dead_letter_bytes: u64) -> SinkStatus {
        let told = self.told.lock().clone();
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
            failure: told.failure,
            cursor,
            lag_bytes,
            age_ms,
            delivered: self.delivered.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            gaps: told.gaps,
            lost: told.lost,
            dead_letter_bytes,
            elsewhere: None,
        }
    }
}
