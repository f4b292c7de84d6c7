//! Owns delivering to one endpoint: which delivery goes next, what is kept for another try, and when
//! one is given up.
//!
//! Invariants: 1. `deliver` returns once each event of the batch is delivered or durably kept; 2. at
//! most `waiting_max` are kept: then the sink waits, and the log is kept for it; 3. a delivery is given
//! up only once it is kept, and `give_up_after` after its first try, or when its buyer has more than
//! `waiting_per_buyer_max` waiting and the endpoint refuses it alone; 4. an event that was taken is not taken
//! again, however often the runner hands its batch over.
//! Deliberately absent: the order of a buyer's events (`lanes`), and requests (`post`).

use super::endpoint::{DeliveryRecord, WebhookEndpoint};
use super::lanes::{BuyerLanes, KeepWhich, PendingDelivery, TakenFrom, Wake};
use super::messages::{message_body, message_id};
use super::post::{Posted, Poster, RetryAfter};
use super::redrive::Redriver;
use crate::ids::Lsn;
use crate::journal::{Cursor, Directory, Generation, Journal};
use crate::report::feed::cursor::{CursorError, SinkState};
use crate::report::feed::sink::{
    Batch, Class, Deliver, Delivered, Fed, GivenUp, Placed, Purpose, PutOff, SinkRecord,
};
use crate::report::feed::{DeadLetters, Durability, LetterError};
use hyper::StatusCode;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A batch that takes longer is kept durably, and the next one begins.
const KEEP_ALL_AFTER: Duration = Duration::from_secs(2);
/// How long a batch waits for room among the kept deliveries before the sink reports it.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
/// After so many failures one behind the other, a success wakes every lane.
const FAILURES_OF_AN_OUTAGE: u32 = 3;

/// Why a batch could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    #[error(
        "{count} deliveries wait for their next try, which is the limit (waiting_max); the last failure: {cause}"
    )]
    Full { count: usize, cause: String },
    /// The endpoint answered 410.
    #[error("the endpoint answered 410 Gone: it wants no more deliveries")]
    Gone,
    #[error("keeping deliveries for another try: {0}")]
    Letters(#[from] LetterError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// Delivers to one endpoint.
pub struct Courier {
    pub(super) endpoint: Arc<WebhookEndpoint>,
    pub(super) journal: Arc<Journal>,
    /// Where the cursors are.
    pub(super) folder: Arc<Directory>,
    /// From the first delivery on.
    pub(super) poster: Option<Poster>,
    /// What is kept for another try; `None`: not loaded yet.
    pub(super) kept: Option<DeadLetters>,
    pub(super) lanes: BuyerLanes,
    pub(super) flights: JoinSet<Landed>,
    /// Openings: an older flight does not say what the endpoint wants now.
    pub(super) epoch: u64,
    /// Everything before it was taken.
    pub(super) taken_to: Lsn,
    /// Delivered, but still in the file.
    pub(super) struck: HashSet<Lsn>,
    pub(super) given_up: Vec<GivenUp>,
    pub(super) last_failure: Option<String>,
    pub(super) failures: u32,
    /// When the endpoint accepted a delivery last.
    pub(super) accepted_at: Option<Instant>,
    /// The endpoint asked not to be called before.
    pub(super) not_before: Option<Instant>,
    pub(super) delivered: u64,
    pub(super) retried: u64,
}

/// A try that has ended.
pub(super) struct Landed {
    pending: PendingDelivery,
    epoch: u64,
    id: String,
    posted: Posted,
}

impl Courier {
    pub(super) fn new(
        endpoint: Arc<WebhookEndpoint>,
        journal: Arc<Journal>,
        folder: Arc<Directory>,
    ) -> Self {
        let backoff = endpoint.settings().backoff;
        Self {
            endpoint,
            journal,
            folder,
            poster: None,
            kept: None,
            lanes: BuyerLanes::new(backoff),
            flights: JoinSet::new(),
            epoch: 0,
            taken_to: Lsn(0),
            struck: HashSet::new(),
            given_up: Vec::new(),
            last_failure: None,
            failures: 0,
            accepted_at: None,
            not_before: None,
            delivered: 0,
            retried: 0,
        }
    }

    /// What sends with the credentials of now.
    fn poster(&mut self) -> Poster {
        let current = self.poster.take();
        let current = current.filter(|it| !it.is_outdated(&self.endpoint));
        let poster = current.unwrap_or_else(|| Poster::new(&self.endpoint));
        self.poster.insert(poster).clone()
    }

    fn take(&mut self, items: &[Placed<Fed>]) {
        let now = Instant::now();
        for placed in items {
            if placed.lsn >= self.taken_to {
                // One may be kept from before a crash, which the cursor did not survive.
                if !self.lanes.has(placed.lsn) {
                    self.lanes.push(placed.item.clone(), TakenFrom::Log, now);
                }
                self.taken_to = placed.end;
            }
        }
    }

    fn launch(&mut self) {
        let now = Instant::now();
        if self.not_before.is_some_and(|at| at > now) {
            return;
        }
        while self.flights.len() < self.endpoint.settings().parallel_max {
            let Some(pending) = self.lanes.take_due(now, self.accepted_at) else {
                return;
            };
            let entry = &pending.fed.entry;
            let id = message_id(self.journal.log_id(), entry);
            let message = self.endpoint.signed(id.clone(), message_body(entry));
            let (sender, epoch) = (self.poster(), self.epoch);
            self.flights.spawn(async move {
                let posted = sender.post(message).await;
                Landed {
                    pending,
                    epoch,
                    id,
                    posted,
                }
            });
        }
    }

    /// When there is something to launch.
    fn next_launch(&self) -> Option<Instant> {
        if self.flights.len() >= self.endpoint.settings().parallel_max {
            return None;
        }
        let due = self.lanes.next_due()?;
        Some(self.not_before.map_or(due, |at| at.max(due)))
    }

    /// Launches what is due, and waits for the first of: a flight lands, the next one is due, `until`.
    async fn step(&mut self, until: Option<Instant>) -> Result<(), CourierError> {
        self.launch();
        let wake = self.next_launch().into_iter().chain(until).min();
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(landed) = self.flights.join_next() => {
                self.land(landed.expect("sending does not panic and is not aborted"))
            }
            () = self.endpoint.answers() => {
                self.wake();
                Ok(())
            }
            () = sleep => Ok(()),
        }
    }

    pub(super) fn land(&mut self, landed: Landed) -> Result<(), CourierError> {
        let Landed {
            pending,
            epoch,
            id,
            posted,
        } = landed;
        let entry = &pending.fed.entry;
        let (lsn, now) = (entry.lsn, Instant::now());
        self.endpoint.note(DeliveryRecord {
            id,
            lsn,
            kind: entry.event.kind(),
            attempt: pending.tries,
            at: self.journal.now(),
            status: posted.status.map(|it| it.as_u16()),
            failure: posted.failure.clone(),
        });
        let Some(cause) = posted.failure else {
            self.succeeded(lsn, now);
            return Ok(());
        };
        if posted.status == Some(StatusCode::GONE) {
            self.lanes.again(lsn, now);
            return if epoch == self.epoch {
                Err(CourierError::Gone)
            } else {
                Ok(())
            };
        }
        self.retried += 1;
        if self.failures == 0 {
            let sink = self.endpoint.settings().sink;
            tracing::warn!(event = "webhook_failed", sink, lsn = lsn.0, "{cause}");
        }
        self.failures = self.failures.saturating_add(1);
        let asked = self.asked(posted.retry_after);
        if posted.status == Some(StatusCode::TOO_MANY_REQUESTS) && !asked.is_zero() {
            self.not_before = Some(now + asked);
        }
        self.last_failure = Some(cause.clone());
        let at = self.journal.now();
        let failed = self.lanes.failed(lsn, cause.clone(), (now, at), asked);
        let give_up_after_ms = self.endpoint.settings().give_up_after_ms;
        let is_over = |since| at.since_ms(since) >= give_up_after_ms;
        if let Some(pending) = failed
            && pending.is_kept
            && pending.tried_since.is_some_and(is_over)
        {
            self.give_up(lsn, cause, now);
        }
        Ok(())
    }

    fn succeeded(&mut self, lsn: Lsn, now: Instant) {
        if let Some(done) = self.lanes.done(lsn, now)
            && (done.is_kept || done.tried_since.is_some())
        {
            self.struck.insert(lsn);
            self.delivered += 1;
        }
        self.accepted_at = Some(now);
        if self.failures >= FAILURES_OF_AN_OUTAGE {
            self.lanes.wake_all(now, Wake::Heeding);
        }
        self.failures = 0;
    }

    /// The wait that the endpoint asks for, within the bound.
    fn asked(&self, retry_after: Option<RetryAfter>) -> Duration {
        let wait = match retry_after {
            None => return Duration::ZERO,
            Some(RetryAfter::Seconds(seconds)) => Duration::from_secs(seconds),
            Some(RetryAfter::At(at_s)) => {
                let now_s = self.journal.upkeep().wall_clock().get() / 1_000;
                Duration::from_secs(at_s.saturating_sub(now_s))
            }
        };
        wait.min(self.endpoint.settings().retry_after_max)
    }

    /// Each event of the batch is delivered or durably kept when it returns.
    async fn settle(&mut self) -> Result<(), CourierError> {
        let keep_all_at = Instant::now() + KEEP_ALL_AFTER;
        let patient_until = Instant::now() + ROOM_PATIENCE;
        loop {
            let now = Instant::now();
            let is_late = now >= keep_all_at;
            self.make_room(now);
            self.keep(if is_late {
                KeepWhich::All
            } else {
                KeepWhich::Failed
            })?;
            if !self.lanes.has_unkept() {
                return Ok(());
            }
            if now >= patient_until && self.lanes.is_failing() {
                return Err(CourierError::Full {
                    count: self.lanes.kept(),
                    cause: self.last_failure.clone().unwrap_or_default(),
                });
            }
            let until = if is_late {
                now + ROOM_PATIENCE
            } else {
                keep_all_at
            };
            self.step(Some(until)).await?;
            self.strike()?;
        }
    }
}

impl Deliver for Courier {
    type Item = Fed;
    type Error = CourierError;

    async fn open(&mut self, _: u64, _: Generation) -> Result<Option<Cursor>, CourierError> {
        self.load()?;
        self.epoch += 1;
        Ok(None)
    }

    async fn deliver(&mut self, batch: Batch<'_, Fed>) -> Result<Delivered, CourierError> {
        match batch.purpose {
            Purpose::Redrive { until } => {
                let (poster, endpoint) = (self.poster(), Arc::clone(&self.endpoint));
                let redriver = Redriver::new(poster, endpoint, self.journal.log_id());
                Ok(redriver.redrive(batch.items, until).await)
            }
            Purpose::Feed { .. } => {
                self.take(batch.items);
                self.settle().await?;
                let waits = |it: &&Placed<Fed>| self.lanes.has(it.lsn);
                Ok(Delivered {
                    put_off: batch.items.iter().filter(waits).count(),
                    ..Delivered::default()
                })
            }
        }
    }

    async fn tend(&mut self) -> Result<(), CourierError> {
        self.strike()?;
        self.step(None).await?;
        self.keep(KeepWhich::Failed)?;
        self.make_room(Instant::now());
        self.strike()
    }

    fn recall(&mut self) -> Result<(), CourierError> {
        self.load()
    }

    async fn leave(&mut self) -> Result<Option<Lsn>, CourierError> {
        if self.kept.is_none() {
            return Ok(None);
        }
        self.settle_to_leave().await
    }

    fn put_off(&mut self) -> PutOff {
        let failure = self.last_failure.clone();
        let given_up = self.given_up.iter().map(|it| {
            let entry = &it.fed.entry;
            (entry.lsn, entry.at)
        });
        PutOff {
            oldest: given_up.chain(self.lanes.oldest()).min(),
            failure: failure.filter(|_| self.lanes.is_failing()),
            delivered: std::mem::take(&mut self.delivered),
            retried: std::mem::take(&mut self.retried),
            given_up: self.given_up.clone(),
        }
    }

    fn longest_try(&self) -> Duration {
        Poster::longest_try(self.endpoint.settings().answer_timeout)
    }

    fn wake(&mut self) {
        self.not_before = None;
        self.lanes.wake_all(Instant::now(), Wake::Ordered);
    }

    fn buried(&mut self) {
        let buried = self.given_up.drain(..).map(|it| it.fed.entry.lsn);
        self.struck.extend(buried);
    }

    /// Where the next generation begins: a copy sells nothing before it is accepted.
    async fn parting(&mut self) -> Result<Option<Lsn>, CourierError> {
        let state = SinkState::read_in(&self.folder, self.endpoint.settings().sink)?;
        let Some(cursor) = state.map(|it| it.cursor()) else {
            return Ok(None);
        };
        let begun = self.journal.history().generations();
        let place = begun.iter().position(|(it, _)| *it == cursor.generation);
        let next = place.and_then(|place| begun.get(place + 1));
        Ok(next.map(|(_, first)| cursor.lsn.min(*first)))
    }

    async fn newest(&mut self, _: Lsn, _: Lsn) -> Result<Option<SinkRecord>, CourierError> {
        Ok(None)
    }

    /// Requests cannot be taken back; what waits and is not in the log any more is dropped.
    async fn take_back(&mut self, _: &Cursor, to: &Cursor) -> Result<u64, CourierError> {
        // What is in flight may be of the other history.
        self.flights = JoinSet::new();
        let cut = self.lanes.cut(to.lsn, Instant::now());
        self.taken_to = self.taken_to.min(to.lsn);
        let (count, lsns) = (cut.len() as u64, cut.into_iter().collect());
        let sink = self.endpoint.settings().sink;
        self.letters().strike(sink, &lsns, Durability::Synced)?;
        Ok(count)
    }

    fn classify(error: &CourierError) -> Class {
        match error {
            CourierError::Full { .. } | CourierError::Letters(_) => Class::Retriable,
            CourierError::Gone => Class::Unwanted,
            CourierError::Cursor(_) => Class::Misconfigured,
        }
    }
}
