//! Owns what the calls of one worker thread share: the journal with the thread's gate, its counters,
//! and the bounds of what it takes in at once.
//!
//! Invariants: a request counts among those under way once its body is there, and only once; one that
//! appends begins only while the log has room, so that no append waits for the disk and stops the
//! thread; nothing is told before it is durable ([`Worker::durable`]).
//! Deliberately absent: what the calls mean.

use super::Call;
use super::acting::Actor;
use crate::engine::event::{Act, AdminActed, AdminRefused, Target};
use crate::engine::refusal::Refusal;
use crate::http::wire::answer::Answer;
use crate::http::wire::body::{self, BodyBounds};
use crate::ids::Lsn;
use crate::journal::{CommitGate, Journal};
use crate::telemetry::metrics::{Entered, Pool, Shard, Stage};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What the calls of one thread share.
pub struct Worker {
    pub journal: Arc<Journal>,
    pub gate: Arc<CommitGate>,
    pub counters: Arc<Shard>,
    bounds: WorkerBounds,
}

/// What one thread takes in at once.
#[derive(Copy, Clone, Debug)]
pub struct WorkerBounds {
    /// Of one body.
    pub body: BodyBounds,
    /// Requests of the shop under way.
    pub in_flight_shop_max: u64,
    /// Requests under way of each other pool but the probes'.
    pub in_flight_others_max: u64,
    /// Bytes of the bodies that are on their way, for each pool.
    pub bodies_bytes_max: u64,
}

/// How long a request that appends to the log waits for room in the log's ring: then it is answered
/// 503, because the disk takes nothing.
const LOG_ROOM_WAIT: Duration = Duration::from_secs(1);
/// How often it looks.
const LOG_ROOM_LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a request does with the log.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LogUse {
    Appends,
    ReadsOnly,
}

/// A request's place among those under way in its pool.
#[derive(Debug)]
pub struct InFlightSlot {
    pool: Pool,
    log_use: LogUse,
    entered: OnceLock<Entered>,
}

impl InFlightSlot {
    /// A place that is not taken yet.
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
        counters: &Arc<Shard>,
        bounds: WorkerBounds,
    ) -> Arc<Self> {
        Arc::new(Self {
            journal: Arc::clone(journal),
            gate,
            counters: Arc::clone(counters),
            bounds,
        })
    }

    /// Counts the request among those under way, once, and has room for it in the log.
    pub async fn enter(&self, slot: &InFlightSlot) -> Result<(), Refusal> {
        if slot.entered.get().is_some() {
            return Ok(());
        }
        let max = match slot.pool {
            // Whoever probes would else stop the process mid-sale.
            Pool::Probe => u64::MAX,
            Pool::Shop => self.bounds.in_flight_shop_max,
            Pool::Keyless | Pool::Webhook | Pool::Admin => self.bounds.in_flight_others_max,
        };
        let entered = self.counters.enter(slot.pool, max);
        let entered = entered.ok_or(Refusal::Overloaded)?;
        // Nobody else has this slot.
        let _ = slot.entered.set(entered);
        match slot.log_use {
            LogUse::Appends => self.log_room().await,
            LogUse::ReadsOnly => Ok(()),
        }
    }

    /// Waits for room in the log's ring, but not for long. An append into a full ring would stop the
    /// thread until the disk takes something, and with it everybody else's requests.
    async fn log_room(&self) -> Result<(), Refusal> {
        if self.journal.log_has_room() {
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < LOG_ROOM_WAIT {
            tokio::time::sleep(LOG_ROOM_LOOK_EVERY).await;
            if self.journal.log_has_room() {
                return Ok(());
            }
        }
        Err(Refusal::StorageUnavailable)
    }

    /// The whole body, after which the request has its slot.
    pub async fn body_within(
        &self,
        call: &Call,
        body: Incoming,
        bounds: BodyBounds,
    ) -> Result<Bytes, Refusal> {
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

    /// The body, whatever it is by its content type.
    pub async fn any_body(&self, call: &Call, body: Incoming) -> Result<Bytes, Refusal> {
        self.body_within(call, body, self.bounds.body).await
    }

    /// The body, which must be JSON by its content type.
    pub async fn json_body(&self, call: &Call, body: Incoming) -> Result<Bytes, Refusal> {
        self.body_of(call, body, &["application/json"]).await
    }

    /// The body, which must be a JSON merge patch, or JSON, by its content type.
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

    /// Waits until everything before `lsn` is durable; the reason to tell where it never will be.
    pub async fn durable(&self, lsn: Option<Lsn>) -> Result<(), Refusal> {
        let Some(lsn) = lsn else { return Ok(()) };
        let began = Instant::now();
        let waited = self.gate.wait(lsn).await;
        self.counters.took(Stage::LogWait, began.elapsed());
        waited.map_err(|_| Refusal::StorageUnavailable)
    }

    /// Tells what was read, once that is durable.
    pub async fn read(&self, call: &Call, durable_at: Lsn, shown: &Value) -> Answer {
        match self.durable(Some(durable_at)).await {
            Ok(()) => Answer::value(StatusCode::OK, shown),
            Err(reason) => call.problem(reason),
        }
    }

    /// Writes down an act that changes nothing that the engine keeps, durably.
    pub async fn write_down(&self, acted: AdminActed) -> Result<(), Refusal> {
        let appended = self.journal.admin_acted(acted);
        let durable_at = appended.map_err(|_| Refusal::StorageUnavailable)?;
        self.durable(Some(durable_at)).await
    }

    /// Writes down an act that was refused, durably, unless its key has too many of them.
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
        // Where the log has stopped there is no trail to add to, and the process stops. The refusal
        // is told all the same: it changed nothing.
        if let Ok(Some(end)) = self.journal.admin_refused(refused) {
            let _ = self.durable(Some(end)).await;
        }
    }
}

/// One of these kinds of JSON, with or without `charset=utf-8`.
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
