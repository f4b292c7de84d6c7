//! Owns the shared context of one worker thread: the journal with the thread's gate, its counters,
//! and its limits.
//!
//! Invariants: a request counts as in flight once its body has arrived, and only once; a request
//! that appends starts only while the log has room, so that no append waits for the disk and blocks
//! the thread; nothing is answered before it is durable ([`Worker::durable`]).
//! Deliberately absent: the meaning of calls.

use super::Call;
use super::acting::Actor;
use crate::engine::event::{Act, AdminActed, AdminRefused, Target};
use crate::engine::refusal::Refusal;
use crate::http::wire::answer::Answer;
use crate::http::wire::body::{self, BodyBounds};
use crate::ids::Lsn;
use crate::journal::{CommitGate, Journal};
use crate::telemetry::metrics::{Entered, Pool, Stage, ThreadCounters};
use crate::telemetry::tracer::{Spanned, Tracer};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The shared context of the calls of one thread.
pub struct Worker {
    pub journal: Arc<Journal>,
    pub gate: Arc<CommitGate>,
    pub counters: Arc<ThreadCounters>,
    tracer: Arc<Tracer>,
    bounds: WorkerBounds,
}

/// The limits of one thread.
#[derive(Copy, Clone, Debug)]
pub struct WorkerBounds {
    /// The limits of one body.
    pub body: BodyBounds,
    /// Shop requests in flight.
    pub in_flight_shop_max: u64,
    /// Requests in flight of each other pool except probes.
    pub in_flight_others_max: u64,
    /// Bytes of bodies being received, per pool.
    pub bodies_bytes_max: u64,
}

impl WorkerBounds {
    /// Requests of `pool` in flight; `None`: without a limit.
    pub fn in_flight_max(&self, pool: Pool) -> Option<u64> {
        match pool {
            // Otherwise a monitoring system could restart the process in the middle of a sale.
            Pool::Probe => None,
            Pool::Shop => Some(self.in_flight_shop_max),
            Pool::Keyless | Pool::Webhook | Pool::Admin => Some(self.in_flight_others_max),
        }
    }
}

/// How long a request that appends waits for room in the log's ring. Then it gets 503, because the
/// disk is too slow.
const LOG_ROOM_WAIT: Duration = Duration::from_secs(1);
/// How often it checks for room.
const LOG_ROOM_LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a request does with the log.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LogUse {
    Appends,
    ReadsOnly,
}

/// A request's slot among those in flight in its pool.
#[derive(Debug)]
pub struct InFlightSlot {
    pool: Pool,
    log_use: LogUse,
    entered: OnceLock<Entered>,
}

impl InFlightSlot {
    /// A slot that is not taken yet.
    pub const fn of(pool: Pool, log_use: LogUse) -> Self {
        let entered = OnceLock::new();
        Self {
            pool,
            log_use,
            entered,
        }
    }
}

impl Worker {
    pub fn new(
        journal: &Arc<Journal>,
        gate: Arc<CommitGate>,
        counters: &Arc<ThreadCounters>,
        tracer: &Arc<Tracer>,
        bounds: WorkerBounds,
    ) -> Arc<Self> {
        Arc::new(Self {
            tracer: Arc::clone(tracer),
            journal: Arc::clone(journal),
            gate,
            counters: Arc::clone(counters),
            bounds,
        })
    }

    /// Shop requests that this worker may have in flight.
    pub const fn shop_slots(&self) -> u64 {
        self.bounds.in_flight_shop_max
    }

    /// Counts the request as in flight, once, and waits for room in the log.
    pub async fn enter(&self, slot: &InFlightSlot) -> Result<(), Refusal> {
        if slot.entered.get().is_some() {
            return Ok(());
        }
        let max = self.bounds.in_flight_max(slot.pool).unwrap_or(u64::MAX);
        let entered = self.counters.enter(slot.pool, max);
        let entered = entered.ok_or(Refusal::Overloaded)?;
        // The slot belongs to this request alone.
        let _ = slot.entered.set(entered);
        match slot.log_use {
            LogUse::Appends => self.log_room().await,
            LogUse::ReadsOnly => Ok(()),
        }
    }

    /// Waits a limited time for room in the log's ring. An append into a full ring would block the
    /// thread until the disk has written something, and with it all other requests of the thread.
    async fn log_room(&self) -> Result<(), Refusal> {
        if self.journal.figures().log_has_room() {
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < LOG_ROOM_WAIT {
            tokio::time::sleep(LOG_ROOM_LOOK_EVERY).await;
            if self.journal.figures().log_has_room() {
                return Ok(());
            }
        }
        Err(Refusal::StorageUnavailable)
    }

    /// Reads the whole body; then the request takes its slot.
    pub async fn body_within(
        &self,
        call: &Call,
        body: Incoming,
        bounds: BodyBounds,
    ) -> Result<Bytes, Refusal> {
        if call.has_coding() {
            return Err(Refusal::UnsupportedMediaType);
        }
        // A call reads its body once.
        let _ = call.body_bytes_max.set(bounds.bytes_max);
        let pool = call.slot.pool;
        let keep_room = |bytes: usize| {
            let max = self.bounds.bodies_bytes_max;
            let room = self.counters.expect_body(pool, bytes as u64, max);
            room.ok_or(Refusal::Overloaded)
        };
        let body = body::read(body, bounds, keep_room).await?;
        self.enter(&call.slot).await?;
        Ok(body)
    }

    /// The body with any content type.
    pub async fn any_body(&self, call: &Call, body: Incoming) -> Result<Bytes, Refusal> {
        self.body_within(call, body, self.bounds.body).await
    }

    /// The body; its content type must be JSON.
    pub async fn json_body(&self, call: &Call, body: Incoming) -> Result<Bytes, Refusal> {
        self.body_of(call, body, &["application/json"]).await
    }

    /// The body; its content type must be JSON merge patch or JSON.
    pub async fn patch_body(&self, call: &Call, body: Incoming) -> Result<Bytes, Refusal> {
        let kinds = ["application/merge-patch+json", "application/json"];
        self.body_of(call, body, &kinds).await
    }

    async fn body_of(&self, call: &Call, body: Incoming, kinds: &[&str]) -> Result<Bytes, Refusal> {
        let mut types = call.parts.headers.get_all(CONTENT_TYPE).iter();
        let known = types.next().is_some_and(|it| is_one_of(it, kinds)) && types.next().is_none();
        if !known {
            return Err(Refusal::UnsupportedMediaType);
        }
        self.any_body(call, body).await
    }

    /// Counts the time that the turn of a shard took.
    pub fn shard_took(&self, took: Duration) {
        self.counters
            .took(Stage::Shard, took, self.tracer.current());
    }

    /// Waits until everything before `lsn` is durable, or returns the refusal if it never will be.
    pub async fn durable(&self, lsn: Option<Lsn>) -> Result<(), Refusal> {
        let Some(lsn) = lsn else { return Ok(()) };
        let began = Instant::now();
        let waited = self.gate.wait(lsn).await;
        let took = began.elapsed();
        let traced = self.tracer.child_ended(took, Spanned::LogWait);
        self.counters.took(Stage::LogWait, took, traced);
        waited.map_err(|_| Refusal::StorageUnavailable)
    }

    /// Answers a read once it is durable.
    pub async fn read(&self, call: &Call, durable_at: Lsn, shown: &Value) -> Answer {
        match self.durable(Some(durable_at)).await {
            Ok(()) => Answer::value(StatusCode::OK, shown),
            Err(reason) => call.problem(reason),
        }
    }

    /// Logs an act without an effect on the engine, durably.
    pub async fn write_down(&self, acted: AdminActed) -> Result<(), Refusal> {
        let appended = self.journal.trail().admin_acted(acted);
        let durable_at = appended.map_err(|_| Refusal::StorageUnavailable)?;
        self.durable(Some(durable_at)).await
    }

    /// Logs a refused act durably, unless its key has too many of them.
    pub async fn write_down_refused(
        &self,
        act: Act,
        target: Option<Target>,
        reason: &str,
        by: Actor,
    ) {
        let refused = AdminRefused {
            act: act.as_str().to_owned(),
            target,
            reason: reason.to_owned(),
            left_out: 0,
            by,
        };
        // If the log has stopped, nothing can be added to the audit trail, and the process stops.
        // The refusal is answered nevertheless: it changed nothing.
        if let Ok(Some(end)) = self.journal.trail().admin_refused(refused) {
            let _ = self.durable(Some(end)).await;
        }
    }
}

/// Whether it is one of these JSON types, with or without `charset=utf-8`.
fn is_one_of(value: &HeaderValue, kinds: &[&str]) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let (kind, rest) = text.split_once(';').unwrap_or((text, ""));
    let rest = rest.trim();
    let utf8 = ["charset=utf-8", "charset=\"utf-8\""];
    let kind = kind.trim();
    kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
        && (rest.is_empty() || utf8.iter().any(|known| rest.eq_ignore_ascii_case(known)))
}
