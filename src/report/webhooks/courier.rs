//! Owns delivering to one endpoint: which delivery goes next, what is kept for another try, and when
//! one is given up.
//!
//! Invariants: 1. `deliver` returns once each event of the batch is delivered or durably kept; 2. at
//! most `waiting_max` are kept: then the sink waits, and the log is kept for it; 3. a delivery is given
//! up only after it was kept for `give_up_after` and tried; 4. an event that was taken is not taken
//! again, however often the runner hands its batch over.
//! Deliberately absent: the order of a buyer's events (`lanes`), and requests (`post`).

use super::endpoint::{DeliveryRecord, WebhookEndpoint};
use super::lanes::{BuyerLanes, KeepWhich, PendingDelivery, Wake};
use super::messages::{message_body, message_id};
use super::post::{Posted, Poster, RetryAfter};
use super::redrive::Redriver;
use crate::ids::Lsn;
use crate::journal::{Cursor, Directory, Generation, Journal};
use crate::report::feed::cursor::{CursorError, SinkState};
use crate::report::feed::files::PUT_OFF;
use crate::report::feed::sink::{
    Batch, Class, Deliver, Delivered, Fed, GivenUp, Placed, Purpose, PutOff, SinkRecord,
};
use crate::report::feed::{DeadLetters, Durability, Letter, LetterError};
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
/// When the process stops, what is under way may still land for so long.
const LEAVE_MAX: Duration = Duration::from_secs(1);
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
    #[error("TLS: {0}")]
    Tls(String),
}

/// Delivers to one endpoint.
pub struct Courier {
    endpoint: Arc<WebhookEndpoint>,
    journal: Arc<Journal>,
    /// Where the cursors are.
    folder: Arc<Directory>,
    /// Both from the first opening on.
    open: Option<OpenCourier>,
    lanes: BuyerLanes,
    flights: JoinSet<Landed>,
    /// Openings: an older flight does not say what the endpoint wants now.
    epoch: u64,
    /// Everything before it was taken.
    taken_to: Lsn,
    /// Delivered, but still in the file.
    struck: HashSet<Lsn>,
    given_up: Vec<GivenUp>,
    last_failure: Option<String>,
    failures: u32,
    /// The endpoint asked not to be called before.
    not_before: Option<Instant>,
    delivered: u64,
    retried: u64,
}

struct OpenCourier {
    poster: Poster,
    /// What is kept for another try.
    kept: DeadLetters,
}

/// A try that has ended.
struct Landed {
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
            open: None,
            lanes: BuyerLanes::new(backoff),
            flights: JoinSet::new(),
            epoch: 0,
            taken_to: Lsn(0),
            struck: HashSet::new(),
            given_up: Vec::new(),
            last_failure: None,
            failures: 0,
            not_before: None,
            delivered: 0,
            retried: 0,
        }
    }

    fn opened(&self) -> &OpenCourier {
        let open = self.open.as_ref();
        open.expect("the runner opens a sink before it uses it")
    }

    fn load(&mut self) -> Result<(), CourierError> {
        let settings = self.endpoint.settings();
        let poster = Poster::new(settings).map_err(CourierError::Tls)?;
        let name = format!("{}.{PUT_OFF}", settings.sink);
        let kept = DeadLetters::open_in(&self.folder, &name, u64::MAX)?;
        let now = Instant::now();
        for letter in kept.of(settings.sink, Lsn(0), None)? {
            self.lanes.push(letter.fed, Some(letter.refused_at), now);
        }
        self.open = Some(OpenCourier { poster, kept });
        Ok(())
    }

    fn take(&mut self, items: &[Placed<Fed>]) {
        let now = Instant::now();
        for placed in items {
            if placed.lsn >= self.taken_to {
                // One may be kept from before a crash, which the cursor did not survive.
                if !self.lanes.has(placed.lsn) {
                    self.lanes.push(placed.item.clone(), None, now);
                }
                self.taken_to = placed.end;
            }
        }
    }

    /// Keeps deliveries durably, as far as there is room.
    fn keep(&mut self, which: KeepWhich) -> Result<(), CourierError> {
        let waiting_max = self.endpoint.settings().waiting_max;
        let room = waiting_max.saturating_sub(self.lanes.kept());
        let now = self.journal.now();
        let letter = |(fed, cause)| Letter {
            fed,
            cause,
            refused_at: now,
        };
        let found = self.lanes.to_keep(which, room).into_iter();
        let letters: Vec<_> = found.map(letter).collect();
        if letters.is_empty() {
            return Ok(());
        }
        let sink = self.endpoint.settings().sink;
        self.opened().kept.keep(sink, &letters)?;
        for letter in &letters {
            self.lanes.is_kept(letter.fed.entry.lsn, now);
        }
        Ok(())
    }

    /// Strikes out what was delivered. Without a sync: what a crash of the machine undoes is repeated.
    fn strike(&mut self) -> Result<(), CourierError> {
        if self.struck.is_empty() {
            return Ok(());
        }
        let sink = self.endpoint.settings().sink;
        let kept = &self.opened().kept;
        kept.strike(sink, &self.struck, Durability::Written)?;
        self.struck.clear();
        Ok(())
    }

    /// Lets what is under way land, and keeps the rest. Where everything before is delivered or kept.
    async fn settle_to_leave(&mut self) -> Result<Option<Lsn>, CourierError> {
        let until = Instant::now() + LEAVE_MAX;
        while let Ok(Some(landed)) = tokio::time::timeout_at(until, self.flights.join_next()).await
        {
            // An endpoint that wants no more is asked again by the next process.
            let _ = self.land(landed.expect("sending does not panic and is not aborted"));
        }
        self.keep(KeepWhich::All)?;
        self.strike()?;
        Ok((!self.lanes.has_unkept()).then_some(self.taken_to))
    }

    fn launch(&mut self) {
        let now = Instant::now();
        if self.not_before.is_some_and(|at| at > now) {
            return;
        }
        while self.flights.len() < self.endpoint.settings().parallel_max {
            let Some(pending) = self.lanes.take_due(now) else {
                return;
            };
            let entry = &pending.fed.entry;
            let id = message_id(self.journal.log_id(), entry);
            let message = self.endpoint.signed(id.clone(), message_body(entry));
            let (sender, epoch) = (self.opened().poster.clone(), self.epoch);
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

    fn land(&mut self, landed: Landed) -> Result<(), CourierError> {
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
        let failed = self.lanes.failed(lsn, cause.clone(), now, asked);
        let give_up_after_ms = self.endpoint.settings().give_up_after_ms;
        let is_over = |since| self.journal.now().since_ms(since) >= give_up_after_ms;
        if let Some(pending) = failed
            && pending.kept_since.is_some_and(is_over)
        {
            let fed = pending.fed;
            self.lanes.done(lsn, now);
            self.given_up.push(GivenUp { fed, cause });
        }
        Ok(())
    }

    fn succeeded(&mut self, lsn: Lsn, now: Instant) {
        if let Some(done) = self.lanes.done(lsn, now)
            && done.kept_since.is_some()
        {
            self.struck.insert(lsn);
            self.delivered += 1;
        }
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
        if self.open.is_none() {
            self.load()?;
        }
        self.epoch += 1;
        Ok(None)
    }

    async fn deliver(&mut self, batch: Batch<'_, Fed>) -> Result<Delivered, CourierError> {
        match batch.purpose {
            Purpose::Redrive { until } => {
                let (poster, endpoint) = (self.opened().poster.clone(), Arc::clone(&self.endpoint));
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
        self.strike()
    }

    async fn leave(&mut self) -> Result<Option<Lsn>, CourierError> {
        if self.open.is_none() {
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
        self.endpoint.settings().answer_timeout
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
        let kept = &self.opened().kept;
        kept.strike(sink, &lsns, Durability::Synced)?;
        Ok(count)
    }

    fn classify(error: &CourierError) -> Class {
        match error {
            CourierError::Full { .. } | CourierError::Letters(_) => Class::Retriable,
            CourierError::Gone => Class::Unwanted,
            CourierError::Cursor(_) | CourierError::Tls(_) => Class::Misconfigured,
        }
    }
}
